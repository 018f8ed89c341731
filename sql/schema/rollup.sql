-- Folding, and the proof that folding loses nothing.

create function copilot_internal.try_fold_lock(p_tenant_id uuid) returns boolean
    language c volatile strict as 'MODULE_PATHNAME', 'try_fold_lock_wrapper';
comment on function copilot_internal.try_fold_lock(uuid) is
    'Takes the right to fold one tenant''s pending rows until the transaction ends, unless somebody has it.';

-- Rows of these tables are moved by what each has counted. A trigger that skips or rewrites one would lose the amount,
-- as would a rule. One on the ledger that sees to its own inserts is in the way of no fold.
create function copilot_internal.trigger_in_the_way(p_ledger boolean) returns text
    language sql stable
begin atomic
    select pg_catalog.min(w.kind || ' on copilot_internal.' || c.relname::text)
    from (
        -- Of rows (1), before (2), on delete (8) or update (16).
        select t.tgrelid as relation, 'a BEFORE trigger' as kind, t.tgtype & 24 <> 0 as changes
        from pg_catalog.pg_trigger t
        join pg_catalog.pg_proc p on p.oid = t.tgfoid and p.pronamespace <> 'copilot_internal'::regnamespace
        where t.tgtype & 3 = 3 and t.tgenabled <> 'D'
        union all
        -- On update (2) or delete (4).
        select r.ev_class, 'a rule', r.ev_type in ('2', '4')
        from pg_catalog.pg_rewrite r
        where r.ev_enabled <> 'D'
    ) w
    join pg_catalog.pg_class c on c.oid = w.relation and c.relnamespace = 'copilot_internal'::regnamespace
    where c.relname in ('pending_costs', 'quota_rollups', 'cost_rollups', 'conversation_rollups')
       or p_ledger and c.relname in ('purged_costs', 'erasures')
       or p_ledger and w.changes
          and c.relname in ('llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections',
                            'quota_reservations', 'reservation_extensions');
end;
comment on function copilot_internal.trigger_in_the_way(boolean) is
    'A rule, or a BEFORE trigger of others, that could keep a fold from moving rows, and its table; NULL when there is '
    'none. With the ledger also one that could keep an erasure or a purge. Run as the owner.';

create function copilot_internal.refuse_triggers(p_ledger boolean) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_found constant text := copilot_internal.trigger_in_the_way(p_ledger);
begin
    if v_found is not null then
        raise exception '% could keep amounts from being moved', v_found
            using errcode = 'object_not_in_prerequisite_state', hint = 'Disable or drop it first.';
    end if;
end $$;
comment on function copilot_internal.refuse_triggers(boolean) is
    'Raises 55000 where trigger_in_the_way finds one. Run as the owner.';

-- One statement, so that every snapshot sees a cost either pending or rolled up. The rollup rows of a tenant are only
-- ever written under its fold lock, so no transaction waits for them. A tenant's fold adds nothing to the platform's
-- rollups, which would be one hot row for all: it leaves sums in the platform's own queue.
create function copilot_internal.fold(p_tenant_id uuid, p_limit integer) returns bigint
    language sql volatile
begin atomic
    with batch as (
        delete from copilot_internal.pending_costs p
        where p.ctid = any (array(
                select c.ctid from copilot_internal.pending_costs c where c.tenant_id = p_tenant_id limit p_limit))
          and (select copilot_internal.trigger_in_the_way(false)) is null
          and (select copilot_internal.try_fold_lock(p_tenant_id))
        returning p.*
    ), quota_sums as (
        select b.tenant_id, u.user_id, b.resource_type, g.grain, g.bucket, sum(b.nanos) as nanos
        from batch b
        cross join lateral (
            select b.user_id
            union
            select '00000000-0000-0000-0000-000000000000'::uuid
        ) u
        cross join lateral (values
            ('quarter', pg_catalog.date_bin('15 minutes', b.charged_at, '2000-01-01 00:00+00')),
            ('day', pg_catalog.date_bin('1 day', b.charged_at, '2000-01-01 00:00+00'))
        ) as g (grain, bucket)
        group by 1, 2, 3, 4, 5
    ), quota_done as (
        insert into copilot_internal.quota_rollups as r (tenant_id, user_id, resource_type, grain, bucket, nanos)
        select * from quota_sums s order by s.tenant_id, s.user_id, s.resource_type, s.grain, s.bucket
        on conflict (tenant_id, user_id, resource_type, grain, bucket) do update set nanos = r.nanos + excluded.nanos
    ), platform_done as (
        insert into copilot_internal.pending_costs
            (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
        select '00000000-0000-0000-0000-000000000000', pg_catalog.gen_random_uuid(), 'fold',
               '00000000-0000-0000-0000-000000000000', s.resource_type, s.bucket, s.nanos
        from quota_sums s
        where s.grain = 'quarter' and s.user_id = '00000000-0000-0000-0000-000000000000'
          and s.tenant_id <> '00000000-0000-0000-0000-000000000000'
    ), lines as materialized (
        select l.* from batch b
        join copilot_internal.ledger_lines l
          on l.tenant_id = b.tenant_id and l.record_id = b.record_id and l.written_in = b.source
    ), cost_done as (
        insert into copilot_internal.cost_rollups as r
            (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select l.tenant_id, (l.occurred_at at time zone 'UTC')::date, l.source, l.provider, l.name, l.user_id,
               coalesce(sum(l.cost_usd), 0), sum(l.records), count(*) filter (where l.cost_usd is null),
               sum(l.input_tokens), sum(l.output_tokens), sum(l.duration_seconds),
               coalesce(sum(l.provider_cost_usd), 0)
        from lines l
        group by 1, 2, 3, 4, 5, 6
        on conflict (tenant_id, day, source, provider, name, user_id) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count,
            input_tokens = r.input_tokens + excluded.input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            duration_seconds = r.duration_seconds + excluded.duration_seconds,
            provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd
    ), conversation_done as (
        insert into copilot_internal.conversation_rollups as r
            (tenant_id, conversation_id, source, cost_usd, record_count, unpriced_count)
        select l.tenant_id, l.conversation_id, l.source, coalesce(sum(l.cost_usd), 0), sum(l.records),
               count(*) filter (where l.cost_usd is null)
        from lines l
        where l.conversation_id is not null
        group by 1, 2, 3
        on conflict (tenant_id, conversation_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    )
    select count(*) from batch;
end;
comment on function copilot_internal.fold(uuid, integer) is
    'Moves up to p_limit pending rows of one tenant (the nil UUID for the platform) into the rollups. Returns how '
    'many; 0 also when another session is folding it. Run as the owner.';

-- A tenant's named estimates from its own latest records: at most 5,000 of thirty days, twenty of a kind at least.
create function copilot_internal.refresh_estimates(p_tenant_id uuid) returns bigint
    language sql volatile
begin atomic
    with calls as (
        select r.model_provider, r.model_name, coalesce(r.task, 'chat') as operation_type, r.cost_usd
        from copilot_internal.llm_cost_records r
        where r.tenant_id = p_tenant_id and r.cost_usd is not null
          and r.occurred_at > pg_catalog.clock_timestamp() - interval '30 days'
        order by r.occurred_at desc
        limit 5000
    ), call_levels as (
        select c.model_provider, c.model_name, c.operation_type, l.level, pg_catalog.trim_scale(
                   pg_catalog.percentile_disc(l.fraction) within group (order by c.cost_usd)) as estimate
        from calls c
        cross join (values ('conservative', 0.95::float8), ('typical', 0.5), ('optimistic', 0.05))
            as l (level, fraction)
        where pg_catalog.length(c.model_provider) <= 200 and pg_catalog.length(c.model_name) <= 200
          and pg_catalog.length(c.operation_type) <= 200
        group by c.model_provider, c.model_name, c.operation_type, l.level, l.fraction
        having count(*) >= 20
    ), calls_done as (
        insert into copilot_internal.llm_cost_estimates as e
            (tenant_id, from_history, model_provider, model_name, operation_type, confidence_level, estimated_cost_usd)
        select p_tenant_id, true, c.model_provider, c.model_name, c.operation_type, c.level, c.estimate
        from call_levels c order by 3, 4, 5, 6
        on conflict (tenant_id, model_provider, model_name, operation_type, confidence_level) where from_history
        do update set estimated_cost_usd = excluded.estimated_cost_usd, effective_from = excluded.effective_from
        where e.effective_from < excluded.effective_from
        returning 1
    ), sessions as (
        select r.sandbox_type, coalesce(r.region, 'us-east-1') as region, r.cost_usd
        from copilot_internal.e2b_cost_records r
        where r.tenant_id = p_tenant_id and r.cost_usd is not null
          and r.occurred_at > pg_catalog.clock_timestamp() - interval '30 days'
        order by r.occurred_at desc
        limit 5000
    ), session_levels as (
        select s.sandbox_type, s.region, l.level, pg_catalog.trim_scale(
                   pg_catalog.percentile_disc(l.fraction) within group (order by s.cost_usd)) as estimate
        from sessions s
        cross join (values ('conservative', 0.95::float8), ('typical', 0.5), ('optimistic', 0.05))
            as l (level, fraction)
        where pg_catalog.length(s.sandbox_type) <= 200 and pg_catalog.length(s.region) <= 200
        group by s.sandbox_type, s.region, l.level, l.fraction
        having count(*) >= 20
    ), sessions_done as (
        insert into copilot_internal.e2b_cost_estimates as e
            (tenant_id, from_history, sandbox_type, region, confidence_level, estimated_cost_usd)
        select p_tenant_id, true, s.sandbox_type, s.region, s.level, s.estimate
        from session_levels s order by 3, 4, 5
        on conflict (tenant_id, sandbox_type, region, operation_type, confidence_level) where from_history
        do update set estimated_cost_usd = excluded.estimated_cost_usd, effective_from = excluded.effective_from
        where e.effective_from < excluded.effective_from
        returning 1
    )
    select (select count(*) from calls_done) + (select count(*) from sessions_done);
end;
comment on function copilot_internal.refresh_estimates(uuid) is
    'Brings a tenant''s named estimates up to date with its own records and returns how many there are. Run as the '
    'owner.';

create function copilot_internal.run_maintenance(p_limit integer)
    returns table (task text, done bigint)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant_id uuid;
    v_done bigint;
    v_events bigint := 0;
    v_tenants uuid[] := '{}';
begin
    if p_limit is null or p_limit < 1 then
        raise exception 'p_limit must be at least 1' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.refuse_triggers(false);
    task := 'fold';
    done := 0;
    -- The platform's queue comes last: the tenants' folds add to it.
    for v_tenant_id in
        select p.tenant_id from copilot_internal.pending_costs p
        group by p.tenant_id order by p.tenant_id = '00000000-0000-0000-0000-000000000000', p.tenant_id
    loop
        exit when done >= p_limit;
        v_done := copilot_internal.fold(v_tenant_id, (p_limit - done)::integer);
        done := done + v_done;
        -- Nothing may be left that marks the tenant: see events.sql.
        if v_done > 0 then
            v_events := v_events + copilot_internal.catch_up_events(v_tenant_id);
        end if;
        v_tenants := v_tenants || v_tenant_id;
    end loop;
    if done < p_limit then
        done := done + copilot_internal.fold('00000000-0000-0000-0000-000000000000', (p_limit - done)::integer);
    end if;
    return next;
    task := 'expire';
    done := copilot_internal.expire_reservations(p_limit::bigint);
    return next;
    task := 'events';
    done := v_events + copilot_internal.catch_up_events_of_charged(100);
    return next;
    task := 'old events';
    done := copilot_internal.delete_old_events(p_limit);
    return next;
    -- Of those who have spent something, once an hour.
    task := 'estimate';
    done := 0;
    for v_tenant_id in
        select t.id from unnest(v_tenants[1:100]) as t (id)
        where t.id <> '00000000-0000-0000-0000-000000000000'
          and not exists (select from copilot_internal.llm_cost_estimates e
                          where e.from_history and e.tenant_id = t.id
                            and e.effective_from > clock_timestamp() - interval '1 hour')
          and not exists (select from copilot_internal.e2b_cost_estimates e
                          where e.from_history and e.tenant_id = t.id
                            and e.effective_from > clock_timestamp() - interval '1 hour')
    loop
        done := done + copilot_internal.refresh_estimates(v_tenant_id);
    end loop;
    return next;
    task := 'triggers';
    done := copilot_internal.arm_triggers();
    if done > 0 then
        return next;
    end if;
end $$;
comment on function copilot_internal.run_maintenance(integer) is
    'What maintain() does, for its kernel, which has asked who calls. Run as the owner.';

create function copilot_internal.maintain(p_limit integer default 10000)
    returns table (task text, done bigint)
    language c volatile as 'MODULE_PATHNAME', 'maintain_wrapper';
comment on function copilot_internal.maintain(integer) is
    'Housekeeping, at most p_limit rows a task: folds pending rows into the rollups, marks expired reservations, '
    'writes missed events, deletes old ones, arms triggers. Once an hour it renews estimates. Safe to call at any '
    'time, as often as liked.';

create function copilot_internal.ledger_differences()
    returns table (check_name text, tenant_id uuid, expected numeric, actual numeric)
    language sql stable set search_path = pg_catalog, pg_temp
begin atomic
    with ledger as materialized (
        select * from copilot_internal.ledger_lines
    ), pending as materialized (
        select * from copilot_internal.pending_costs
    ), charges as (
        select l.tenant_id, l.user_id, l.resource_type, l.charged_at, l.charge_nanos::numeric as nanos,
               true as is_ledger
        from ledger l
        union all
        select p.tenant_id, p.user_id, p.resource_type, p.charged_at, p.nanos, false
        from pending p where p.source <> 'fold'
    ), levels as (
        select c.tenant_id, u.user_id, c.resource_type, c.charged_at, c.nanos, c.is_ledger
        from charges c
        cross join lateral (
            select c.user_id
            union
            select '00000000-0000-0000-0000-000000000000'::uuid
        ) u
        union all
        select '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', c.resource_type,
               c.charged_at, c.nanos, c.is_ledger
        from charges c
        where c.tenant_id <> '00000000-0000-0000-0000-000000000000'
        union all
        select p.tenant_id, p.user_id, p.resource_type, p.charged_at, p.nanos, false
        from pending p where p.source = 'fold'
    ), buckets as (
        select v.tenant_id, v.user_id, v.resource_type, g.grain, g.bucket, v.nanos, v.is_ledger
        from levels v
        cross join lateral (values
            ('quarter', pg_catalog.date_bin('15 minutes', v.charged_at, '2000-01-01 00:00+00')),
            ('day', pg_catalog.date_bin('1 day', v.charged_at, '2000-01-01 00:00+00'))
        ) as g (grain, bucket)
        union all
        select r.tenant_id, r.user_id, r.resource_type, r.grain, r.bucket, r.nanos, false
        from copilot_internal.quota_rollups r
    ), costs as (
        select l.tenant_id, (l.occurred_at at time zone 'UTC')::date as day, l.source, l.provider, l.name, l.user_id,
               coalesce(l.cost_usd, 0) as cost_usd, l.records::numeric as record_count,
               (l.cost_usd is null)::integer::numeric as unpriced_count,
               l.input_tokens::numeric as input_tokens, l.output_tokens::numeric as output_tokens, l.duration_seconds,
               coalesce(l.provider_cost_usd, 0) as provider_cost_usd, true as is_ledger
        from ledger l
        union all
        select l.tenant_id, (l.occurred_at at time zone 'UTC')::date, l.source, l.provider, l.name, l.user_id,
               coalesce(l.cost_usd, 0), l.records, (l.cost_usd is null)::integer, l.input_tokens, l.output_tokens,
               l.duration_seconds, coalesce(l.provider_cost_usd, 0), false
        from pending p
        join ledger l on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
        union all
        select r.tenant_id, r.day, r.source, r.provider, r.name, r.user_id, r.cost_usd, r.record_count,
               r.unpriced_count, r.input_tokens, r.output_tokens, r.duration_seconds, r.provider_cost_usd, false
        from copilot_internal.cost_rollups r
    ), conversations as (
        select l.tenant_id, l.conversation_id, l.source, coalesce(l.cost_usd, 0) as cost_usd,
               l.records::numeric as record_count, (l.cost_usd is null)::integer::numeric as unpriced_count,
               true as is_ledger
        from ledger l where l.conversation_id is not null
        union all
        select l.tenant_id, l.conversation_id, l.source, coalesce(l.cost_usd, 0), l.records,
               (l.cost_usd is null)::integer, false
        from pending p
        join ledger l on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
        where l.conversation_id is not null
        union all
        select r.tenant_id, r.conversation_id, r.source, r.cost_usd, r.record_count, r.unpriced_count, false
        from copilot_internal.conversation_rollups r
    ), differences as (
        select 'quota charges by ' || b.grain || ' (nano USD)' as check_name, b.tenant_id,
               coalesce(sum(b.nanos) filter (where b.is_ledger), 0) as expected,
               coalesce(sum(b.nanos) filter (where not b.is_ledger), 0) as actual
        from buckets b
        group by b.tenant_id, b.user_id, b.resource_type, b.grain, b.bucket
        union all
        select v.check_name, c.tenant_id, v.expected, v.actual
        from (
            select c.tenant_id,
                   coalesce(sum(c.cost_usd) filter (where c.is_ledger), 0) as cost_expected,
                   coalesce(sum(c.cost_usd) filter (where not c.is_ledger), 0) as cost_actual,
                   coalesce(sum(c.record_count) filter (where c.is_ledger), 0) as count_expected,
                   coalesce(sum(c.record_count) filter (where not c.is_ledger), 0) as count_actual,
                   coalesce(sum(c.unpriced_count) filter (where c.is_ledger), 0) as unpriced_expected,
                   coalesce(sum(c.unpriced_count) filter (where not c.is_ledger), 0) as unpriced_actual,
                   coalesce(sum(c.input_tokens + c.output_tokens) filter (where c.is_ledger), 0) as tokens_expected,
                   coalesce(sum(c.input_tokens + c.output_tokens) filter (where not c.is_ledger), 0) as tokens_actual,
                   coalesce(sum(c.duration_seconds) filter (where c.is_ledger), 0) as seconds_expected,
                   coalesce(sum(c.duration_seconds) filter (where not c.is_ledger), 0) as seconds_actual,
                   coalesce(sum(c.provider_cost_usd) filter (where c.is_ledger), 0) as billed_expected,
                   coalesce(sum(c.provider_cost_usd) filter (where not c.is_ledger), 0) as billed_actual
            from costs c
            group by c.tenant_id, c.day, c.source, c.provider, c.name, c.user_id
        ) c
        cross join lateral (values
            ('costs by day (USD)', c.cost_expected, c.cost_actual),
            ('provider costs by day (USD)', c.billed_expected, c.billed_actual),
            ('records by day', c.count_expected, c.count_actual),
            ('unpriced records by day', c.unpriced_expected, c.unpriced_actual),
            ('tokens by day', c.tokens_expected, c.tokens_actual),
            ('sandbox seconds by day', c.seconds_expected, c.seconds_actual)
        ) as v (check_name, expected, actual)
        union all
        select v.check_name, c.tenant_id, v.expected, v.actual
        from (
            select c.tenant_id,
                   coalesce(sum(c.cost_usd) filter (where c.is_ledger), 0) as cost_expected,
                   coalesce(sum(c.cost_usd) filter (where not c.is_ledger), 0) as cost_actual,
                   coalesce(sum(c.record_count) filter (where c.is_ledger), 0) as count_expected,
                   coalesce(sum(c.record_count) filter (where not c.is_ledger), 0) as count_actual,
                   coalesce(sum(c.unpriced_count) filter (where c.is_ledger), 0) as unpriced_expected,
                   coalesce(sum(c.unpriced_count) filter (where not c.is_ledger), 0) as unpriced_actual
            from conversations c
            group by c.tenant_id, c.conversation_id, c.source
        ) c
        cross join lateral (values
            ('costs by conversation (USD)', c.cost_expected, c.cost_actual),
            ('records by conversation', c.count_expected, c.count_actual),
            ('unpriced records by conversation', c.unpriced_expected, c.unpriced_actual)
        ) as v (check_name, expected, actual)
        union all
        select 'charge of a priced record (nano USD)', l.tenant_id, ceil(coalesce(l.cost_usd, 0) * 1000000000),
               l.charge_nanos
        from ledger l where l.records > 0
          and not exists (select from copilot_internal.cost_corrections c
                          where c.record_id = l.record_id and c.tenant_id = l.tenant_id)
        union all
        select 'charge of a corrected record (nano USD)', l.tenant_id,
               ceil((coalesce(l.cost_usd, 0) + c.cost_usd) * 1000000000), l.charge_nanos + c.charge_nanos
        from (
            select c.tenant_id, c.record_id, c.source, sum(c.cost_usd) as cost_usd, sum(c.charge_nanos) as charge_nanos
            from copilot_internal.cost_corrections c group by 1, 2, 3
        ) c
        join ledger l on l.tenant_id = c.tenant_id and l.record_id = c.record_id and l.written_in = c.source
        union all
        -- Where the platform counts what the provider bills, it counts it of all that is left of the record.
        select 'charge of a record to the platform (nano USD)', l.tenant_id,
               ceil(sum(l.provider_cost_usd) * 1000000000), sum(l.charge_nanos) + max(e.charge_nanos)
        from (
            select c.record_id, sum(c.charge_nanos) as charge_nanos
            from copilot_internal.quota_charges c where c.record_id is not null group by c.record_id
        ) e
        join (
            select r.tenant_id, r.record_id, r.charge_nanos, r.provider_cost_usd, true as is_record
            from ledger r where r.written_in in ('llm', 'e2b')
            union all
            select c.tenant_id, c.record_id, c.charge_nanos, coalesce(c.provider_cost_usd, c.cost_usd), false
            from copilot_internal.cost_corrections c
        ) l on l.record_id = e.record_id
        group by l.tenant_id, l.record_id
        -- Of a tenant that is being purged corrections go after their records.
        having pg_catalog.bool_or(l.is_record)
        union all
        select 'cost of a committed reservation (USD)', h.tenant_id, h.charged_usd, coalesce(s.cost_usd, 0)
        from copilot_internal.quota_reservations h
        left join (
            select r.tenant_id, r.reservation_id, r.cost_usd from copilot_internal.llm_cost_records r
            where r.reservation_id is not null
            union all
            select r.tenant_id, r.reservation_id, r.cost_usd from copilot_internal.e2b_cost_records r
            where r.reservation_id is not null
            union all
            select r.tenant_id, r.reservation_id, r.cost_usd from copilot_internal.quota_charges r
            where r.reservation_id is not null
        ) s on s.tenant_id = h.tenant_id and s.reservation_id = h.id
        where h.state = 'committed'
        union all
        select 'ledger rows of a pending row', p.tenant_id, 1, count(l.record_id)
        from pending p
        left join ledger l on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
        where p.source <> 'fold'
        group by p.tenant_id, p.record_id
    )
    select d.check_name, nullif(d.tenant_id, '00000000-0000-0000-0000-000000000000'),
           pg_catalog.trim_scale(d.expected), pg_catalog.trim_scale(d.actual)
    from differences d
    where d.expected <> d.actual;
end;
comment on function copilot_internal.ledger_differences() is
    'What verify() returns, for its kernel, which has asked who calls. Run as the owner.';

create function copilot_internal.verify()
    returns table (check_name text, tenant_id uuid, expected numeric, actual numeric)
    language c stable as 'MODULE_PATHNAME', 'verify_wrapper';
comment on function copilot_internal.verify() is
    'Recomputes every rollup from the ledger in one snapshot and returns where they differ; no rows means exact. Reads '
    'the whole ledger.';
