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

-- A setting that is no number of days keeps everything.
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

create function copilot_internal.add_up(p_table text, p_written_in text, p_payer_id uuid, p_ids uuid[]) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    insert into copilot_internal.retired_costs
        (tenant_id, user_id, conversation_id, path_id, source, provider, name, resource_type, charged_at, occurred_at,
         records, cost_usd, charge_nanos, input_tokens, output_tokens, provider_cost_usd)
    select l.payer_id, nullif(l.user_id, '00000000-0000-0000-0000-000000000000'), l.conversation_id, l.path_id,
           l.source, l.provider, l.name, l.resource_type,
           date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00'),
           date_bin('1 hour', l.occurred_at, '2000-01-01 00:00+00'), sum(l.records), sum(l.cost_usd),
           sum(l.charge_nanos), sum(l.input_tokens), sum(l.output_tokens), sum(l.provider_cost_usd)
    from unnest(p_ids) as i (id)
    join copilot_internal.ledger_lines l on l.record_id = i.id and l.written_in = p_written_in
    where l.payer_id is not distinct from p_payer_id
    -- Millions of rows of up to 1,000 USD add up in 64 bits. A dearer one stays by itself.
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, l.cost_usd is null,
             case when abs(l.charge_nanos) > 1000000000000 then l.record_id end;
    execute format('delete from copilot_internal.%I r where r.id = any ($1) and r.tenant_id is not distinct from $2',
                   p_table) using p_ids, p_payer_id;
end $$;
comment on function copilot_internal.add_up(text, text, uuid, uuid[]) is
    'Replaces rows of a ledger table by sums in retired_costs. They are not pending. Run as the owner.';

-- A call goes with its corrections, its hold, and what the platform alone counted of it; a charge goes with its hold.
-- Each stays while a part of it is pending, or younger. The fold lock, taken in an earlier statement, keeps folds,
-- erasures and purges of the tenant away, and the lock of corrections refunds and reprices, which sum up what a record
-- was corrected by. A correction that an older snapshot does not show stays by itself. The platform's fold lock is not
-- needed: a row of its own that is not pending is in its rollups.
create function copilot_internal.retire_rows(p_tenant_id uuid, p_before timestamptz, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_platform constant uuid := '00000000-0000-0000-0000-000000000000';
    v_limit constant integer := least(p_limit, 10000);
    v_table text;
    v_moment text;
    v_written_in text;
    v_ids uuid[];
    v_holds uuid[];
    v_done bigint := 0;
begin
    for v_table, v_moment, v_written_in in
        values ('llm_cost_records', 'occurred_at', 'llm'), ('quota_charges', 'charged_at', 'charge')
    loop
        exit when v_done >= v_limit;
        execute format('select array(select r.id from copilot_internal.%1$I r
            where r.tenant_id = $1 and r.%2$I < $2 and r.charged_at < $2 and r.recorded_at < $2
              and not exists (select from copilot_internal.pending_costs p
                              where p.tenant_id = $1 and p.record_id = r.id)
              and not exists (select from copilot_internal.cost_corrections c
                              where c.record_id = r.id and c.tenant_id = $1
                                and (c.recorded_at >= $2
                                     or exists (select from copilot_internal.pending_costs p
                                                where p.tenant_id = $1 and p.record_id = c.id)))
              and not exists (select from copilot_internal.quota_charges e
                              join copilot_internal.pending_costs p on p.tenant_id = $4 and p.record_id = e.id
                              where e.record_id = r.id)
            order by r.%2$I limit $3 for update skip locked)', v_table, v_moment)
        into v_ids using p_tenant_id, p_before, v_limit - v_done, c_platform;
        execute format('select array(select r.reservation_id from copilot_internal.%I r
            where r.id = any ($1) and r.tenant_id = $2 and r.reservation_id is not null)', v_table)
        into v_holds using v_ids, p_tenant_id;
        delete from copilot_internal.reservation_extensions x
        where x.reservation_id = any (v_holds) and x.tenant_id = p_tenant_id;
        delete from copilot_internal.quota_reservations h where h.id = any (v_holds) and h.tenant_id = p_tenant_id;
        if v_table = 'llm_cost_records' then
            perform copilot_internal.add_up('cost_corrections', 'correction', p_tenant_id, array(
                select c.id from copilot_internal.cost_corrections c
                where c.record_id = any (v_ids) and c.tenant_id = p_tenant_id and c.recorded_at < p_before));
            perform copilot_internal.add_up('quota_charges', 'charge', null, array(
                select e.id from copilot_internal.quota_charges e
                where e.record_id = any (v_ids) and e.tenant_id is null and e.recorded_at < p_before));
        end if;
        perform copilot_internal.add_up(v_table, v_written_in, p_tenant_id, v_ids);
        v_done := v_done + cardinality(v_ids);
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.retire_rows(uuid, timestamptz, integer) is
    'Adds up at most so many calls and charges of a tenant from before a moment, and removes them. Returns how many. '
    'The locks of folds and corrections are held. Run as the owner.';

-- Any hundred tenants in a call: so each has its turn, whatever fails for others.
create function copilot_internal.retire_ledger(p_limit integer, p_until timestamptz) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant_id uuid;
    v_before timestamptz;
    v_done bigint := 0;
begin
    -- A trigger that skips a DELETE would count a row twice.
    if copilot_internal.trigger_in_the_way(true) is not null then
        return 0;
    end if;
    for v_tenant_id, v_before in
        select t.id, clock_timestamp() - make_interval(days => d.days)
        from copilot_internal.tenants t
        cross join lateral copilot_internal.retention_days(t.settings) as d (days)
        where d.days is not null
        order by random() limit 100
    loop
        exit when v_done >= p_limit or clock_timestamp() >= p_until;
        continue when not exists (select from copilot_internal.llm_cost_records r
                                  where r.tenant_id = v_tenant_id and r.occurred_at < v_before)
            and not exists (select from copilot_internal.quota_charges r
                            where r.tenant_id = v_tenant_id and r.charged_at < v_before)
            or not copilot_internal.try_fold_lock(v_tenant_id)
            or not copilot_internal.try_corrections_lock(v_tenant_id);
        begin
            v_done := v_done + copilot_internal.retire_rows(v_tenant_id, v_before, (p_limit - v_done)::integer);
        exception
            when serialization_failure or deadlock_detected then
                raise;
            when others then
                -- A foreign key or a trigger of others, mostly. Nothing else waits for it.
                raise warning 'the ledger of tenant % was not added up: %', v_tenant_id, sqlerrm;
        end;
    end loop;
    return v_done;
end $$;
comment on function copilot_internal.retire_ledger(integer, timestamptz) is
    'Retires at most so many ledger rows of any hundred tenants until about the moment. Returns how many. Run as the '
    'owner.';
