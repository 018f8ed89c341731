-- What erasing and purging share: the share that ledger rows have in the rollups moves with them, and a record's words
-- are reduced to those by which it costs what it does.

create function copilot_internal.usage_understood(
    p_provider text, p_input_tokens bigint, p_output_tokens bigint, p_usage jsonb)
    returns jsonb language c immutable parallel safe as 'MODULE_PATHNAME', 'usage_understood_wrapper';
comment on function copilot_internal.usage_understood(text, bigint, bigint, jsonb) is
    'What of a record''s usage reads and costs as all of it, without the caller''s own words; NULL where nothing was '
    'understood.';

create function copilot_internal.tier_understood(p_service_tier text) returns text
    language c immutable parallel safe as 'MODULE_PATHNAME', 'tier_understood_wrapper';
comment on function copilot_internal.tier_understood(text) is
    'The name that prices have for a service tier, by which it costs the same: standard for whatever else a caller '
    'said.';

create function copilot_internal.pricing_alone(p_pricing jsonb) returns jsonb
    language sql immutable parallel safe
begin atomic
    select pg_catalog.jsonb_object_agg(p.key, p.value) from pg_catalog.jsonb_each(p_pricing) p
    where p.key in ('lines', 'multipliers', 'exact_usd', 'total_usd', 'source', 'price_id', 'price_provider',
                    'price_model') or p.key ~ '^other_model(_[0-9]+)?$';
end;
comment on function copilot_internal.pricing_alone(jsonb) is
    'A record''s pricing without what tells of words in the usage that were not understood.';

create function copilot_internal.try_corrections_lock(p_tenant_id uuid) returns boolean
    language c volatile strict as 'MODULE_PATHNAME', 'try_corrections_lock_wrapper';
comment on function copilot_internal.try_corrections_lock(uuid) is
    'Keeps refunds and reprices away from a tenant''s records until the transaction ends. False while there is one, or '
    'where a trigger asks whose statement charges. Run as the owner.';

-- Others have these locks in transactions that they may keep open.
create function copilot_internal.await_fold_lock(p_tenant_id uuid, p_with_corrections boolean default false)
    returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    for v_attempt in 1..100 loop
        if copilot_internal.try_fold_lock(p_tenant_id)
           and (not p_with_corrections or copilot_internal.try_corrections_lock(p_tenant_id))
        then
            return true;
        end if;
        perform pg_sleep(0.02);
    end loop;
    return false;
end $$;
comment on function copilot_internal.await_fold_lock(uuid, boolean) is
    'try_fold_lock, tried for up to two seconds. While ledger rows change or go, with try_corrections_lock: a '
    'correction repeats what its record says, and sums up those before it. Run as the owner.';

-- The caller has the fold lock, took it in an earlier statement, and changes the rows in a later one: until then
-- ledger_lines tells what they counted as. A row is either pending or in the rollups.
create function copilot_internal.move_lines(p_tenant_id uuid, p_source text, p_ids uuid[], p_pseudonym uuid)
    returns void language sql volatile set search_path = pg_catalog, pg_temp as $$
    -- Kept as text: Postgres does not read back what it writes of a body with several upserts, as pg_upgrade does.
    with pending as (
        update copilot_internal.pending_costs p set user_id = p_pseudonym
        where p.tenant_id = p_tenant_id and p.record_id = any (p_ids) and p.source = p_source
          and p_pseudonym is not null
        returning p.record_id
    ), lines as materialized (
        select l.*, (l.occurred_at at time zone 'UTC')::date as day
        from pg_catalog.unnest(p_ids) as i (id)
        join copilot_internal.ledger_lines l
          on l.record_id = i.id and l.tenant_id = p_tenant_id and l.written_in = p_source
        where not exists (select from pending p where p.record_id = i.id)
    ), platform_days as (
        -- What a purged tenant spent is the platform's, as a charge.
        select l.day, coalesce(sum(l.cost_usd), 0) as cost_usd,
               coalesce(sum(l.provider_cost_usd), 0) as provider_cost_usd
        from lines l
        where p_pseudonym is null
        group by l.day
    ), quota_sums as (
        select u.user_id, l.resource_type, g.grain, g.bucket, sum(u.sign * l.charge_nanos) as nanos
        from lines l
        cross join lateral (
            select l.user_id, -1 as sign
            union
            select coalesce(p_pseudonym, '00000000-0000-0000-0000-000000000000'),
                   case when p_pseudonym is null then -1 else 1 end
        ) u
        cross join lateral (values
            ('quarter', pg_catalog.date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00')),
            ('day', pg_catalog.date_bin('1 day', l.charged_at, '2000-01-01 00:00+00')),
            ('month', pg_catalog.date_trunc('month', l.charged_at, 'UTC'))
        ) as g (grain, bucket)
        group by 1, 2, 3, 4
    ), quota_done as (
        insert into copilot_internal.quota_rollups as r (tenant_id, user_id, resource_type, grain, bucket, nanos)
        select p_tenant_id, s.* from quota_sums s order by s.user_id, s.resource_type, s.grain, s.bucket
        on conflict (tenant_id, user_id, resource_type, grain, bucket) do update set nanos = r.nanos + excluded.nanos
    ), cost_done as (
        insert into copilot_internal.cost_rollups as r
            (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select p_tenant_id, l.day, l.source, l.provider, l.name, u.user_id,
               coalesce(sum(u.sign * l.cost_usd), 0), sum(u.sign * l.records),
               coalesce(sum(u.sign * l.records) filter (where l.cost_usd is null), 0),
               sum(u.sign * l.input_tokens), sum(u.sign * l.output_tokens), sum(u.sign * l.duration_seconds),
               coalesce(sum(u.sign * l.provider_cost_usd), 0)
        from lines l
        cross join lateral (values (l.user_id, -1), (p_pseudonym, 1)) as u (user_id, sign)
        where u.user_id is not null
        group by 1, 2, 3, 4, 5, 6
        union all
        select '00000000-0000-0000-0000-000000000000', d.day, 'charge', '', '',
               '00000000-0000-0000-0000-000000000000', d.cost_usd, 0, 0, 0, 0, 0, d.provider_cost_usd
        from platform_days d
        order by 1, 2, 3, 4, 5, 6
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
        select p_tenant_id, g.grain, g.bucket, l.source, l.provider, l.name,
               -coalesce(sum(l.cost_usd), 0), -sum(l.records),
               -coalesce(sum(l.records) filter (where l.cost_usd is null), 0),
               -sum(l.input_tokens), -sum(l.output_tokens), -sum(l.duration_seconds),
               -coalesce(sum(l.provider_cost_usd), 0)
        from lines l
        cross join lateral (values
            ('hour', pg_catalog.date_bin('1 hour', l.occurred_at, '2000-01-01 00:00+00')),
            ('day', pg_catalog.date_bin('1 day', l.occurred_at, '2000-01-01 00:00+00')),
            ('month', pg_catalog.date_trunc('month', l.occurred_at, 'UTC'))
        ) as g (grain, bucket)
        where p_pseudonym is null
        group by 1, 2, 3, 4, 5, 6
        union all
        -- purged_costs has it at the beginning of the day.
        select '00000000-0000-0000-0000-000000000000', g.grain, g.bucket, 'charge', '', '', sum(d.cost_usd), 0, 0,
               0, 0, 0, sum(d.provider_cost_usd)
        from platform_days d
        cross join lateral (
            select d.day::timestamp at time zone 'UTC' as begins
        ) b
        cross join lateral (values
            ('hour', b.begins),
            ('day', b.begins),
            ('month', pg_catalog.date_trunc('month', b.begins, 'UTC'))
        ) as g (grain, bucket)
        group by g.grain, g.bucket
        order by 1, 2, 3, 4, 5, 6
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
        select p_tenant_id, l.source, l.provider, l.name,
               -coalesce(sum(l.cost_usd), 0), -sum(l.records),
               -coalesce(sum(l.records) filter (where l.cost_usd is null), 0),
               -sum(l.input_tokens), -sum(l.output_tokens), -sum(l.duration_seconds),
               -coalesce(sum(l.provider_cost_usd), 0)
        from lines l
        where p_pseudonym is null
        group by 1, 2, 3, 4
        union all
        select '00000000-0000-0000-0000-000000000000', 'charge', '', '', sum(d.cost_usd), 0, 0, 0, 0, 0,
               sum(d.provider_cost_usd)
        from platform_days d
        having count(*) > 0
        order by 1, 2, 3, 4
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
        select p_tenant_id, u.user_id, l.source, coalesce(sum(u.sign * l.cost_usd), 0), sum(u.sign * l.records),
               coalesce(sum(u.sign * l.records) filter (where l.cost_usd is null), 0)
        from lines l
        cross join lateral (values (l.user_id, -1), (p_pseudonym, 1)) as u (user_id, sign)
        where u.user_id is not null
        group by 1, 2, 3
        union all
        select '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 'charge',
               sum(d.cost_usd), 0, 0
        from platform_days d
        having count(*) > 0
        order by 1, 2, 3
        on conflict (tenant_id, user_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    ), conversation_done as (
        insert into copilot_internal.conversation_rollups as r
            (tenant_id, conversation_id, path_id, source, cost_usd, record_count, unpriced_count)
        select p_tenant_id, coalesce(l.conversation_id, '00000000-0000-0000-0000-000000000000'),
               coalesce(l.path_id, '00000000-0000-0000-0000-000000000000'), l.source,
               -coalesce(sum(l.cost_usd), 0), -sum(l.records),
               -coalesce(sum(l.records) filter (where l.cost_usd is null), 0)
        from lines l
        where l.conversation_id is not null or l.path_id is not null
        group by 1, 2, 3, 4
        order by 1, 2, 3, 4
        on conflict (tenant_id, conversation_id, path_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    )
    insert into copilot_internal.purged_costs as r
        (resource_type, charged_at, occurred_at, cost_usd, charge_nanos, provider_cost_usd)
    select l.resource_type, pg_catalog.date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00'),
           l.day::timestamp at time zone 'UTC', coalesce(sum(l.cost_usd), 0), sum(l.charge_nanos),
           coalesce(sum(l.provider_cost_usd), 0)
    from lines l
    where p_pseudonym is null
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (resource_type, charged_at, occurred_at) do update set
        cost_usd = r.cost_usd + excluded.cost_usd, charge_nanos = r.charge_nanos + excluded.charge_nanos,
        provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd;

    delete from copilot_internal.conversation_rollups r
    where r.tenant_id = p_tenant_id and r.cost_usd = 0 and r.record_count = 0 and r.unpriced_count = 0
      and (r.conversation_id, r.path_id) in (
          select coalesce(l.conversation_id, '00000000-0000-0000-0000-000000000000'),
                 coalesce(l.path_id, '00000000-0000-0000-0000-000000000000')
          from pg_catalog.unnest(p_ids) as i (id)
          join copilot_internal.ledger_lines l
            on l.record_id = i.id and l.tenant_id = p_tenant_id and l.written_in = p_source);
$$;
comment on function copilot_internal.move_lines(uuid, text, uuid[], uuid) is
    'Moves the share that rows of one ledger table have in a tenant''s rollups to a pseudonym, and out of their '
    'conversations. Empty conversation rollups go. Without a pseudonym it moves it out of the tenant, into '
    'purged_costs. Run as the owner.';
