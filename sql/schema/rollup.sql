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
    where c.relname in ('pending_costs', 'quota_rollups', 'cost_rollups', 'period_rollups', 'total_rollups',
                        'user_rollups', 'conversation_rollups')
       or p_ledger and c.relname in ('purged_costs', 'erasures', 'retired_costs')
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

-- # Protocol
-- Each tenant's rollup rows are only ever written under its fold lock, which is tried and never waited for by folds. So
-- no transaction waits for a rollup row. A fold
-- 1. takes the locks, in a statement of its own: what somebody did to the rows under the lock is visible in the next;
-- 2. deletes pending rows and adds them to the rollups in one statement, so that every snapshot sees a cost either
--    pending or rolled up.
-- It takes rows as it finds them, in no order: a row that is committed later is found later, whatever its id. It begins
-- to look where the queue starts (src/pg/queue.rs), else at a random id. From the first id on it would pass all that
-- were folded and are not yet vacuumed; ids are sixteen sequences, so this passes a sixteenth of those. At REPEATABLE
-- READ its snapshot is older than its locks: a row that was moved since is a serialization failure.
--
-- A tenant's fold adds nothing to the platform's rollups, which would be one hot row for all: it leaves sums in the
-- platform's own queue.
create function copilot_internal.fold_batch(p_tenant_ids uuid[], p_limits integer[]) returns bigint
    language plpgsql volatile
    -- Planned once a session, perhaps while tables are small: every look-up goes by an index, row by row. A bitmap of
    -- all that a tenant has is made before its first row is taken, and marks no dead row as one to be passed over.
    set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off set jit = off
    set plan_cache_mode = force_generic_plan as $$
declare
    v_ids uuid[];
    v_limits integer[];
    v_starts uuid[];
    v_floors uuid[];
    v_done bigint;
begin
    select array_agg(t.id), array_agg(t.most), array_agg(coalesce(s.first_id, gen_random_uuid())),
           array_agg(coalesce(s.first_id, '00000000-0000-0000-0000-000000000000'))
    into v_ids, v_limits, v_starts, v_floors
    from unnest(p_tenant_ids, p_limits) as t (id, most)
    left join lateral (
        select n.first_id from copilot_internal.checked_queue_starts n
        where n.tenant_id = t.id order by n.since desc limit 1
    ) s on true
    where copilot_internal.try_fold_lock(t.id);
    if v_ids is null then
        return 0;
    end if;
    with batch as (
        delete from copilot_internal.pending_costs p
        where p.ctid = any (array(
                select c.ctid
                from unnest(v_ids, v_limits, v_starts, v_floors) as t (id, most, start, floor)
                cross join lateral (
                    select o.ctid
                    from (
                        select a.ctid from copilot_internal.pending_costs a
                        where a.tenant_id = t.id and a.record_id >= t.start
                        union all
                        select b.ctid from copilot_internal.pending_costs b
                        where b.tenant_id = t.id and b.record_id < t.start and b.record_id >= t.floor
                    ) o
                    limit t.most
                ) c))
          and (select copilot_internal.trigger_in_the_way(false)) is null
          -- They are held. This says that the statement is a fold.
          and (select bool_and(copilot_internal.try_fold_lock(i.id)) from unnest(v_ids) as i (id))
        returning p.*
    ), quarters as materialized (
        select b.tenant_id, b.user_id, b.resource_type,
               date_bin('15 minutes', b.charged_at, '2000-01-01 00:00+00') as quarter, sum(b.nanos) as nanos
        from batch b
        group by 1, 2, 3, 4
    ), quota_sums as (
        select q.tenant_id, u.user_id, q.resource_type, g.grain, g.bucket, sum(q.nanos) as nanos
        from quarters q
        cross join lateral (values
            (q.user_id, true),
            ('00000000-0000-0000-0000-000000000000'::uuid, q.user_id <> '00000000-0000-0000-0000-000000000000')
        ) as u (user_id, is_another)
        cross join lateral (values
            ('quarter', q.quarter),
            ('day', date_bin('1 day', q.quarter, '2000-01-01 00:00+00')),
            ('month', date_trunc('month', q.quarter, 'UTC'))
        ) as g (grain, bucket)
        where u.is_another
        group by 1, 2, 3, 4, 5
    ), quota_done as (
        insert into copilot_internal.quota_rollups as r (tenant_id, user_id, resource_type, grain, bucket, nanos)
        select * from quota_sums s order by s.tenant_id, s.user_id, s.resource_type, s.grain, s.bucket
        on conflict (tenant_id, user_id, resource_type, grain, bucket) do update set nanos = r.nanos + excluded.nanos
    ), platform_done as (
        insert into copilot_internal.pending_costs
            (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
        select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'fold',
               '00000000-0000-0000-0000-000000000000', q.resource_type, q.quarter, sum(q.nanos)
        from quarters q
        where q.tenant_id <> '00000000-0000-0000-0000-000000000000'
        group by q.resource_type, q.quarter
    ), lines as materialized (
        select l.* from batch b
        cross join lateral (
            select v.* from copilot_internal.ledger_lines v
            where v.record_id = b.record_id and v.written_in = b.source
            -- By the id and nothing else: of an empty table any index looks as good, and this is planned once.
            offset 0
        ) l
        where l.tenant_id = b.tenant_id
    ), hours as materialized (
        select l.tenant_id, l.user_id, l.source, l.provider, l.name,
               date_bin('1 hour', l.occurred_at, '2000-01-01 00:00+00') as hour,
               coalesce(sum(l.cost_usd), 0) as cost_usd, sum(l.records) as record_count,
               count(*) filter (where l.cost_usd is null) as unpriced_count, sum(l.input_tokens) as input_tokens,
               sum(l.output_tokens) as output_tokens, sum(l.duration_seconds) as duration_seconds,
               coalesce(sum(l.provider_cost_usd), 0) as provider_cost_usd
        from lines l
        group by 1, 2, 3, 4, 5, 6
    ), cost_done as (
        insert into copilot_internal.cost_rollups as r
            (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select h.tenant_id, (h.hour at time zone 'UTC')::date, h.source, h.provider, h.name, h.user_id,
               sum(h.cost_usd), sum(h.record_count), sum(h.unpriced_count), sum(h.input_tokens), sum(h.output_tokens),
               sum(h.duration_seconds), sum(h.provider_cost_usd)
        from hours h
        group by 1, 2, 3, 4, 5, 6
        on conflict (tenant_id, day, source, provider, name, user_id) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count,
            input_tokens = r.input_tokens + excluded.input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            duration_seconds = r.duration_seconds + excluded.duration_seconds,
            provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd
    ), period_done as (
        insert into copilot_internal.period_rollups as r
            (tenant_id, grain, bucket, source, provider, name, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select h.tenant_id, g.grain, g.bucket, h.source, h.provider, h.name,
               sum(h.cost_usd), sum(h.record_count), sum(h.unpriced_count), sum(h.input_tokens), sum(h.output_tokens),
               sum(h.duration_seconds), sum(h.provider_cost_usd)
        from hours h
        cross join lateral (values
            ('hour', h.hour),
            ('day', date_bin('1 day', h.hour, '2000-01-01 00:00+00')),
            ('month', date_trunc('month', h.hour, 'UTC'))
        ) as g (grain, bucket)
        group by 1, 2, 3, 4, 5, 6
        on conflict (tenant_id, grain, bucket, source, provider, name) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count,
            input_tokens = r.input_tokens + excluded.input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            duration_seconds = r.duration_seconds + excluded.duration_seconds,
            provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd
    ), total_done as (
        insert into copilot_internal.total_rollups as r
            (tenant_id, source, provider, name, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select h.tenant_id, h.source, h.provider, h.name,
               sum(h.cost_usd), sum(h.record_count), sum(h.unpriced_count), sum(h.input_tokens), sum(h.output_tokens),
               sum(h.duration_seconds), sum(h.provider_cost_usd)
        from hours h
        group by 1, 2, 3, 4
        on conflict (tenant_id, source, provider, name) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count,
            input_tokens = r.input_tokens + excluded.input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            duration_seconds = r.duration_seconds + excluded.duration_seconds,
            provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd
    ), user_done as (
        insert into copilot_internal.user_rollups as r
            (tenant_id, user_id, source, cost_usd, record_count, unpriced_count)
        select h.tenant_id, h.user_id, h.source, sum(h.cost_usd), sum(h.record_count), sum(h.unpriced_count)
        from hours h
        group by 1, 2, 3
        on conflict (tenant_id, user_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    ), conversation_done as (
        insert into copilot_internal.conversation_rollups as r
            (tenant_id, conversation_id, path_id, source, cost_usd, record_count, unpriced_count)
        select l.tenant_id, coalesce(l.conversation_id, '00000000-0000-0000-0000-000000000000'),
               coalesce(l.path_id, '00000000-0000-0000-0000-000000000000'), l.source,
               coalesce(sum(l.cost_usd), 0), sum(l.records), count(*) filter (where l.cost_usd is null)
        from lines l
        where l.conversation_id is not null or l.path_id is not null
        group by 1, 2, 3, 4
        on conflict (tenant_id, conversation_id, path_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    )
    select count(*) into v_done from batch;
    return v_done;
end $$;
comment on function copilot_internal.fold_batch(uuid[], integer[]) is
    'Moves pending rows of these tenants (the nil UUID for the platform), of each at most so many, into the rollups. '
    'Returns how many; passes over tenants that another session is folding. Run as the owner.';

create function copilot_internal.fold(p_tenant_id uuid, p_limit integer) returns bigint
    language sql volatile
begin atomic
    select copilot_internal.fold_batch(array[p_tenant_id], array[p_limit]);
end;
comment on function copilot_internal.fold(uuid, integer) is
    'Moves up to p_limit pending rows of one tenant (the nil UUID for the platform) into the rollups. Returns how '
    'many; 0 also when another session is folding it. Run as the owner.';

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
            ('day', pg_catalog.date_bin('1 day', v.charged_at, '2000-01-01 00:00+00')),
            ('month', pg_catalog.date_trunc('month', v.charged_at, 'UTC'))
        ) as g (grain, bucket)
        union all
        select r.tenant_id, r.user_id, r.resource_type, r.grain, r.bucket, r.nanos, false
        from copilot_internal.quota_rollups r
    ), lines as (
        select l.*, true as is_ledger from ledger l
        union all
        select l.*, false
        from pending p
        join ledger l on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
    ), hours as materialized (
        select l.tenant_id, l.source, l.provider, l.name, l.user_id, l.is_ledger,
               pg_catalog.date_bin('1 hour', l.occurred_at, '2000-01-01 00:00+00') as hour,
               coalesce(sum(l.cost_usd), 0) as cost_usd, sum(l.records)::numeric as record_count,
               coalesce(sum(l.records) filter (where l.cost_usd is null), 0)::numeric as unpriced_count,
               sum(l.input_tokens) as input_tokens, sum(l.output_tokens) as output_tokens,
               sum(l.duration_seconds) as duration_seconds,
               coalesce(sum(l.provider_cost_usd), 0) as provider_cost_usd
        from lines l
        group by 1, 2, 3, 4, 5, 6, 7
    ), costs as (
        select h.tenant_id, g.label, g.bucket, h.source, g.provider, g.name, g.user_id, h.is_ledger, h.cost_usd,
               h.record_count, h.unpriced_count, g.weight * h.input_tokens as input_tokens,
               g.weight * h.output_tokens as output_tokens, g.weight * h.duration_seconds as duration_seconds,
               g.weight * h.provider_cost_usd as provider_cost_usd
        from hours h
        cross join lateral (
            select pg_catalog.date_bin('1 day', h.hour, '2000-01-01 00:00+00') as day
        ) d
        cross join lateral (values
            ('day', d.day, h.provider, h.name, h.user_id, 1),
            ('tenant and hour', h.hour, h.provider, h.name, null::uuid, 1),
            ('tenant and day', d.day, h.provider, h.name, null, 1),
            ('tenant and month', pg_catalog.date_trunc('month', h.hour, 'UTC'), h.provider, h.name, null, 1),
            ('tenant', null, h.provider, h.name, null, 1),
            -- Of a user only these are kept.
            ('user', null, null, null, h.user_id, 0)
        ) as g (label, bucket, provider, name, user_id, weight)
        union all
        select r.tenant_id, 'day', r.day::timestamp at time zone 'UTC', r.source, r.provider, r.name, r.user_id, false,
               r.cost_usd, r.record_count, r.unpriced_count, r.input_tokens, r.output_tokens, r.duration_seconds,
               r.provider_cost_usd
        from copilot_internal.cost_rollups r
        union all
        select r.tenant_id, 'tenant and ' || r.grain, r.bucket, r.source, r.provider, r.name, null, false, r.cost_usd,
               r.record_count, r.unpriced_count, r.input_tokens, r.output_tokens, r.duration_seconds,
               r.provider_cost_usd
        from copilot_internal.period_rollups r
        union all
        select r.tenant_id, 'tenant', null, r.source, r.provider, r.name, null, false, r.cost_usd, r.record_count,
               r.unpriced_count, r.input_tokens, r.output_tokens, r.duration_seconds, r.provider_cost_usd
        from copilot_internal.total_rollups r
        union all
        select r.tenant_id, 'user', null, r.source, null, null, r.user_id, false, r.cost_usd, r.record_count,
               r.unpriced_count, 0, 0, 0, 0
        from copilot_internal.user_rollups r
    ), conversations as (
        select l.tenant_id, coalesce(l.conversation_id, '00000000-0000-0000-0000-000000000000') as conversation_id,
               coalesce(l.path_id, '00000000-0000-0000-0000-000000000000') as path_id, l.source,
               coalesce(l.cost_usd, 0) as cost_usd, l.records::numeric as record_count,
               (case when l.cost_usd is null then l.records else 0 end)::numeric as unpriced_count, l.is_ledger
        from lines l where l.conversation_id is not null or l.path_id is not null
        union all
        select r.tenant_id, r.conversation_id, r.path_id, r.source, r.cost_usd, r.record_count, r.unpriced_count, false
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
            select c.tenant_id, c.label,
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
            group by c.tenant_id, c.label, c.bucket, c.source, c.provider, c.name, c.user_id
        ) c
        cross join lateral (values
            ('costs by ' || c.label || ' (USD)', c.cost_expected, c.cost_actual),
            ('provider costs by ' || c.label || ' (USD)', c.billed_expected, c.billed_actual),
            ('records by ' || c.label, c.count_expected, c.count_actual),
            ('unpriced records by ' || c.label, c.unpriced_expected, c.unpriced_actual),
            ('tokens by ' || c.label, c.tokens_expected, c.tokens_actual),
            ('sandbox seconds by ' || c.label, c.seconds_expected, c.seconds_actual)
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
            group by c.tenant_id, c.conversation_id, c.path_id, c.source
        ) c
        cross join lateral (values
            ('costs by conversation (USD)', c.cost_expected, c.cost_actual),
            ('records by conversation', c.count_expected, c.count_actual),
            ('unpriced records by conversation', c.unpriced_expected, c.unpriced_actual)
        ) as v (check_name, expected, actual)
        union all
        select 'charge of a priced record (nano USD)', l.tenant_id, ceil(coalesce(l.cost_usd, 0) * 1000000000),
               l.charge_nanos
        from ledger l where l.records > 0 and l.written_in <> 'retired'
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
        union all
        select 'pending rows before their queue starts', p.tenant_id, 0, count(*)
        from (select distinct a.tenant_id from pending a) t
        cross join lateral (
            select n.first_id from copilot_internal.checked_queue_starts n
            where n.tenant_id = t.tenant_id order by n.since desc limit 1
        ) s
        join pending p on p.tenant_id = t.tenant_id and p.record_id < s.first_id
        where p.nanos <> 0
        group by p.tenant_id
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
