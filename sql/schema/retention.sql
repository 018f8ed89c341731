-- Retention: what is older than a tenant's horizon is added up. The sums count as the rows did, in every total, rollup
-- and quota, and verify() compares them. Words, request ids and what a price came from go with the rows. Sandbox
-- records stay: their sessions are counted by sandbox, which no sum can do.

create table copilot_internal.retired_costs (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid,
    user_id uuid,
    conversation_id uuid,
    path_id uuid,
    source text not null check (source in ('llm', 'charge')),
    provider text not null,
    name text not null,
    resource_type text not null check (resource_type in ('llm', 'e2b', 'all')),
    charged_at timestamptz not null,
    occurred_at timestamptz not null,
    records integer not null,
    cost_usd numeric,
    charge_nanos bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    provider_cost_usd numeric
);
create index retired_costs_occurred_at_idx on copilot_internal.retired_costs (tenant_id, occurred_at);
comment on table copilot_internal.retired_costs is
    'Sums of ledger rows that were older than their tenant''s horizon: pg_tollgate.ledger_retention_days.';
comment on column copilot_internal.retired_costs.id is 'Key.';
comment on column copilot_internal.retired_costs.tenant_id is 'The tenant; NULL for the platform.';
comment on column copilot_internal.retired_costs.user_id is 'The user; NULL for none.';
comment on column copilot_internal.retired_costs.conversation_id is 'The conversation.';
comment on column copilot_internal.retired_costs.path_id is 'The path.';
comment on column copilot_internal.retired_costs.source is 'llm or charge: what it is shown as.';
comment on column copilot_internal.retired_costs.provider is 'The model''s provider; empty for a charge.';
comment on column copilot_internal.retired_costs.name is 'The model; empty for a charge.';
comment on column copilot_internal.retired_costs.resource_type is 'llm, e2b or all, as it was charged.';
comment on column copilot_internal.retired_costs.charged_at is 'The quarter of an hour that was charged.';
comment on column copilot_internal.retired_costs.occurred_at is 'When the UTC hour of occurred_at began.';
comment on column copilot_internal.retired_costs.records is 'Records among them.';
comment on column copilot_internal.retired_costs.cost_usd is 'USD, or NULL of those without a price.';
comment on column copilot_internal.retired_costs.charge_nanos is
    'What quotas count, in 1e-9 USD: the sum of what was rounded up row by row.';
comment on column copilot_internal.retired_costs.input_tokens is 'Input tokens.';
comment on column copilot_internal.retired_costs.output_tokens is 'Output tokens.';
comment on column copilot_internal.retired_costs.provider_cost_usd is 'USD that providers have billed.';

-- What nobody can mean keeps everything.
create function copilot_internal.retention_days(p_settings jsonb) returns integer
    language sql stable
begin atomic
    select case when d.days = 0 then null else greatest(d.days, 35) end
    from (
        select case
            when p_settings -> 'ledger_retention_days' is null
            then pg_catalog.current_setting('pg_tollgate.ledger_retention_days')::integer
            when p_settings ->> 'ledger_retention_days' ~ '^[0-9]{1,5}$'
            then (p_settings ->> 'ledger_retention_days')::integer
            else 0
        end as days
    ) d;
end;
comment on function copilot_internal.retention_days(jsonb) is
    'For how many days a tenant with these settings keeps ledger rows; NULL for ever. Run as the owner.';

-- A settled hold goes with what it came to, a record before its corrections: verify() looks from the one to the other.
-- The fold lock, taken in an earlier statement, keeps folds, erasures and purges of the tenant away.
create function copilot_internal.retire_rows(p_tenant_id uuid, p_before timestamptz, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_platform constant uuid := '00000000-0000-0000-0000-000000000000';
    -- So many rows are added up in 64 bits.
    c_most constant bigint := 900000000000000;
    v_limit constant integer := least(p_limit, 10000);
    v_table text;
    v_moment text;
    v_source text;
    v_stays text;
    v_ids uuid[];
    v_holds uuid[];
    v_done bigint := 0;
begin
    for v_table, v_moment, v_source, v_stays in
        values ('llm_cost_records', 'occurred_at', 'llm', 'false'), ('quota_charges', 'charged_at', 'charge', 'false'),
               ('cost_corrections', 'occurred_at', 'correction', 'r.source <> ''llm'' or exists (
                    select from copilot_internal.llm_cost_records l
                    where l.id = r.record_id and l.tenant_id = r.tenant_id)')
    loop
        exit when v_done >= v_limit;
        execute format('select array(select r.id from copilot_internal.%1$I r
            where r.tenant_id %2$s and r.%3$I < $2 and r.charged_at < $2 and r.recorded_at < $2
              and abs(r.charge_nanos) <= $3 and not (%4$s)
              and not exists (select from copilot_internal.pending_costs p
                              where p.tenant_id = $1 and p.record_id = r.id)
            order by r.%3$I limit $4 for update skip locked)', v_table,
            case when p_tenant_id = c_platform then 'is null and $1 is not null' else '= $1' end, v_moment, v_stays)
        into v_ids using p_tenant_id, p_before, c_most, v_limit - v_done;
        insert into copilot_internal.retired_costs
            (tenant_id, user_id, conversation_id, path_id, source, provider, name, resource_type, charged_at,
             occurred_at, records, cost_usd, charge_nanos, input_tokens, output_tokens, provider_cost_usd)
        select l.payer_id, nullif(l.user_id, c_platform), l.conversation_id, l.path_id, l.source, l.provider, l.name,
               l.resource_type, date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00'),
               date_bin('1 hour', l.occurred_at, '2000-01-01 00:00+00'), sum(l.records), sum(l.cost_usd),
               sum(l.charge_nanos), sum(l.input_tokens), sum(l.output_tokens), sum(l.provider_cost_usd)
        from unnest(v_ids) as i (id)
        join copilot_internal.ledger_lines l
          on l.record_id = i.id and l.tenant_id = p_tenant_id and l.written_in = v_source
        group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, l.cost_usd is null;
        if v_source <> 'correction' then
            execute format('select array(select r.reservation_id from copilot_internal.%I r where r.id = any ($1)
                and r.reservation_id is not null)', v_table) into v_holds using v_ids;
            delete from copilot_internal.reservation_extensions x
            where x.reservation_id = any (v_holds) and x.tenant_id = p_tenant_id;
            delete from copilot_internal.quota_reservations h
            where h.id = any (v_holds) and h.tenant_id = p_tenant_id;
        end if;
        execute format('delete from copilot_internal.%I r where r.id = any ($1)', v_table) using v_ids;
        v_done := v_done + cardinality(v_ids);
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.retire_rows(uuid, timestamptz, integer) is
    'Adds up at most so many ledger rows of a tenant (the nil UUID for the platform) from before a moment. They and '
    'their holds are removed. Returns how many. The fold lock is held. Run as the owner.';

-- Any hundred tenants in a call: so each has its turn, whatever fails for others.
create function copilot_internal.retire_ledger(p_limit integer, p_until timestamptz) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant_id uuid;
    v_days integer;
    v_done bigint := 0;
begin
    -- A trigger that skips a DELETE would count a row twice.
    if copilot_internal.trigger_in_the_way(true) is not null then
        return 0;
    end if;
    for v_tenant_id, v_days in
        select '00000000-0000-0000-0000-000000000000'::uuid, d.days
        from copilot_internal.retention_days('{}') as d (days) where d.days is not null
        union all
        (select t.id, d.days
         from copilot_internal.tenants t
         cross join lateral copilot_internal.retention_days(t.settings) as d (days)
         where d.days is not null
         order by random() limit 100)
    loop
        exit when v_done >= p_limit or clock_timestamp() >= p_until;
        continue when not copilot_internal.try_fold_lock(v_tenant_id);
        v_done := v_done + copilot_internal.retire_rows(v_tenant_id,
            clock_timestamp() - make_interval(days => v_days), (p_limit - v_done)::integer);
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.retire_ledger(integer, timestamptz) is
    'Retires at most so many ledger rows of the platform and of any hundred tenants until about the moment; returns '
    'how many. Run as the owner.';
