-- Reading costs: rollups plus what is pending, in one snapshot. The views of copilot_internal run with their reader's
-- rights, so that row level security holds roles that may read all tables. Kernels read them as the owner; what people
-- see is decided in metrics.sql.

-- A record is looked up by its id and nothing else, however many the queue was when that was planned.
create view copilot_internal.pending_lines with (security_invoker) as
    select p.tenant_id, p.record_id, l.source, l.provider, l.name, l.user_id, l.conversation_id, l.path_id,
           l.occurred_at, coalesce(l.cost_usd, 0) as cost_usd, l.records::bigint as record_count,
           (l.cost_usd is null)::integer::bigint as unpriced_count, l.input_tokens::numeric as input_tokens,
           l.output_tokens::numeric as output_tokens, l.duration_seconds,
           coalesce(l.provider_cost_usd, 0) as provider_cost_usd
    from copilot_internal.pending_costs p
    cross join lateral (
        select v.* from copilot_internal.ledger_lines v
        where v.record_id = p.record_id and v.written_in = p.source
        offset 0
    ) l
    where l.tenant_id = p.tenant_id;
comment on view copilot_internal.pending_lines is
    'What no rollup holds yet, in the terms of the rollups.';

create view copilot_internal.daily_lines with (security_invoker) as
    select r.tenant_id, (r.bucket at time zone 'UTC')::date as day, r.source, r.provider, r.name, r.cost_usd,
           r.record_count, r.unpriced_count, r.input_tokens, r.output_tokens, r.duration_seconds, r.provider_cost_usd
    from copilot_internal.period_rollups r
    where r.grain = 'day'
    union all
    select p.tenant_id, (p.occurred_at at time zone 'UTC')::date, p.source, p.provider, p.name, p.cost_usd,
           p.record_count, p.unpriced_count, p.input_tokens, p.output_tokens, p.duration_seconds, p.provider_cost_usd
    from copilot_internal.pending_lines p;
comment on view copilot_internal.daily_lines is
    'Costs by UTC day and model or sandbox type: to be summed.';

create view copilot_internal.user_lines with (security_invoker) as
    select r.tenant_id, r.user_id, r.source, r.cost_usd, r.record_count, r.unpriced_count
    from copilot_internal.user_rollups r
    union all
    select p.tenant_id, p.user_id, p.source, p.cost_usd, p.record_count, p.unpriced_count
    from copilot_internal.pending_lines p;
comment on view copilot_internal.user_lines is
    'Costs by user, all time: to be summed.';

create view copilot_internal.conversation_lines with (security_invoker) as
    select r.tenant_id, r.conversation_id, r.path_id, r.source, r.cost_usd, r.record_count, r.unpriced_count
    from copilot_internal.conversation_rollups r
    union all
    select p.tenant_id, coalesce(p.conversation_id, '00000000-0000-0000-0000-000000000000'),
           coalesce(p.path_id, '00000000-0000-0000-0000-000000000000'), p.source, p.cost_usd, p.record_count,
           p.unpriced_count
    from copilot_internal.pending_lines p
    where p.conversation_id is not null or p.path_id is not null;
comment on view copilot_internal.conversation_lines is
    'Costs by conversation and path, the nil UUID for none: to be summed.';

-- What each quota has spent in its present period. The same sum as the admission kernel's, over all quotas at once,
-- and from where a tenant's queue starts (src/pg/queue.rs).
create view copilot_internal.quota_standings with (security_invoker) as
    select q.quota_id, q.scope, q.scope_id, q.tenant_id, q.resource_type,
           pg_catalog.trim_scale(q.limit_usd + m.raised_usd) as limit_usd,
           pg_catalog.trim_scale(s.nanos * 0.000000001) as spent_usd,
           case when m.nanos = 0 then 100
                else pg_catalog.trim_scale(pg_catalog.round((s.nanos + h.nanos) * 100 / m.nanos, 2))
                end as usage_percentage,
           case when q.suspended or s.nanos + h.nanos >= m.nanos then 'EXCEEDED'
                when s.nanos + h.nanos >= m.nanos * q.warning_threshold then 'WARNING'
                else 'OK' end as status,
           pg_catalog.trim_scale(h.nanos * 0.000000001) as reserved_usd,
           case when m.nanos is not null
                then pg_catalog.trim_scale(greatest(m.nanos - s.nanos - h.nanos, 0) * 0.000000001) end as remaining_usd,
           q.period, b.period_start, b.period_end, q.mode, q.is_default, q.suspended, q.event_thresholds,
           m.nanos as limit_nanos, s.nanos as spent_nanos
    from copilot_internal.effective_quotas q
    cross join lateral (
        select pg_catalog.floor(q.limit_usd * 1000000000) + r.usd * 1000000000 as nanos, r.usd as raised_usd
        from (
            select pg_catalog.trim_scale(coalesce(sum(pg_catalog.trunc(o.amount_usd, 9)), 0)) as usd
            from copilot_internal.quota_overrides o
            where o.quota_id = q.quota_id and o.starts_at <= pg_catalog.clock_timestamp()
              and o.ends_at > pg_catalog.clock_timestamp()
        ) r
    ) m
    -- A function in FROM would fill a store of rows for each quota.
    cross join lateral (
        select (a.parts).period_start, (a.parts).period_end, (a.parts).first_moment, (a.parts).first_day,
               (a.parts).first_month, (a.parts).last_month, (a.parts).last_day, (a.parts).last_moment
        from (select copilot_internal.period_parts(q.period, q.time_zone, pg_catalog.clock_timestamp()) as parts
              offset 0) a
        offset 0
    ) b
    cross join lateral (
        select coalesce(q.tenant_id, '00000000-0000-0000-0000-000000000000') as tenant_id,
               case q.scope when 'user' then q.scope_id else '00000000-0000-0000-0000-000000000000' end as user_id,
               case q.resource_type when 'all' then array['llm', 'e2b', 'all'] else array[q.resource_type] end
                   as resource_types
    ) o
    cross join lateral (
        select coalesce(sum(n.nanos), 0) as nanos
        from (
            select r.nanos
            from (values ('quarter', b.first_moment, b.first_day), ('day', b.first_day, b.first_month),
                         ('month', b.first_month, b.last_month), ('day', b.last_month, b.last_day),
                         ('quarter', b.last_day, b.last_moment)) as v (grain, first, last)
            cross join lateral (
                select l.nanos from copilot_internal.quota_rollups l
                where l.tenant_id = o.tenant_id and l.user_id = o.user_id
                  and l.resource_type = any (o.resource_types)
                  and l.grain = v.grain and l.bucket >= v.first and l.bucket < v.last
                offset 0
            ) r
            where v.first < v.last
            union all
            select p.nanos from copilot_internal.pending_costs p
            where p.tenant_id = o.tenant_id and (q.scope <> 'user' or p.user_id = q.scope_id)
              and p.record_id >= coalesce((
                  select n.first_id from copilot_internal.checked_queue_starts n
                  where n.tenant_id = o.tenant_id order by n.since desc limit 1),
                  '00000000-0000-0000-0000-000000000000')
              and q.resource_type in (p.resource_type, 'all')
              and p.charged_at >= b.first_moment and p.charged_at < b.last_moment
            union all
            select p.nanos from copilot_internal.pending_costs p
            where q.scope = 'platform' and p.tenant_id > '00000000-0000-0000-0000-000000000000'
              and q.resource_type in (p.resource_type, 'all')
              and p.charged_at >= b.first_moment and p.charged_at < b.last_moment
        ) n
    ) s
    cross join lateral (
        select coalesce(sum(n.held_nanos), 0) as nanos
        from (
            select r.held_nanos from copilot_internal.quota_reservations r
            where q.scope <> 'platform' and r.state = 'held' and r.tenant_id = q.tenant_id
              and r.expires_at > pg_catalog.clock_timestamp()
              and (q.scope <> 'user' or r.user_id = q.scope_id)
              and q.resource_type in (r.resource_type, 'all')
              and r.reserved_at >= b.first_moment and r.reserved_at < b.last_moment
            union all
            select r.held_nanos from copilot_internal.quota_reservations r
            where q.scope = 'platform' and r.state = 'held' and r.expires_at > pg_catalog.clock_timestamp()
              and q.resource_type in (r.resource_type, 'all')
              and r.reserved_at >= b.first_moment and r.reserved_at < b.last_moment
        ) n
    ) h;
comment on view copilot_internal.quota_standings is
    'Every quota in force with what has been spent in its present period.';
comment on column copilot_internal.quota_standings.limit_usd is
    'USD per period, with the raises in force; NULL without a limit.';
comment on column copilot_internal.quota_standings.spent_usd is 'USD spent, in whole nano-dollars as charged.';
comment on column copilot_internal.quota_standings.usage_percentage is
    'Percent of the limit that is spent or held; NULL without a limit, 100 for a limit of 0.';
comment on column copilot_internal.quota_standings.status is
    'EXCEEDED when nothing more fits or the quota is suspended, WARNING from warning_threshold on, else OK.';
comment on column copilot_internal.quota_standings.reserved_usd is 'USD held by live reservations.';
comment on column copilot_internal.quota_standings.remaining_usd is 'USD left, never below 0; NULL without a limit.';
comment on column copilot_internal.quota_standings.period_start is 'When the present period began; NULL for lifetime.';
comment on column copilot_internal.quota_standings.period_end is 'When it ends (exclusive); NULL for lifetime.';
comment on column copilot_internal.quota_standings.limit_nanos is 'The limit with the raises in force, in nano USD.';
comment on column copilot_internal.quota_standings.spent_nanos is 'What is spent, in nano USD.';

-- The middle of a span comes from the coarsest rollups that it holds whole, its ends from finer ones, and parts of an
-- hour at both ends from the ledger by index. So it reads some hundred rows of each model at most, whatever was spent.
-- What is pending is looked at from where the tenant's queue starts (src/pg/queue.rs).
create function copilot_internal.cost_summary(p_tenant_id uuid, p_from timestamptz, p_to timestamptz)
    returns table (tenant_id uuid, period_start timestamptz, period_end timestamptz, llm_cost_usd numeric,
        e2b_cost_usd numeric, total_cost_usd numeric, llm_request_count bigint, e2b_session_count bigint,
        input_tokens bigint, output_tokens bigint, e2b_duration_seconds numeric, unpriced_count bigint,
        reserved_usd numeric, by_model jsonb, by_sandbox_type jsonb, quotas jsonb, other_charges_usd numeric)
    language sql stable
begin atomic
    with span as materialized (
        select a.first_moment, a.last_moment, f.first, f.last, h.first_hour, h.last_hour, d.first_day, d.last_day,
               case when m.first_month < m.last_month then m.first_month else d.last_day end as first_month,
               case when m.first_month < m.last_month then m.last_month else d.last_day end as last_month
        from (
            select coalesce(p_from, pg_catalog.date_trunc('month', c.at, 'UTC')) as first_moment,
                   coalesce(p_to, (pg_catalog.date_trunc('month', c.at at time zone 'UTC') + interval '1 month')
                       at time zone 'UTC') as last_moment
            from (select pg_catalog.clock_timestamp() as at) c
        ) a
        cross join lateral (
            -- No moment outside of these is ever recorded.
            select greatest(least(a.first_moment, '2199-01-01 00:00+00'), '2000-01-01 00:00+00') as first,
                   greatest(least(a.last_moment, '2199-01-01 00:00+00'), '2000-01-01 00:00+00') as last
        ) f
        cross join lateral (
            select case when o.first_hour < o.last_hour then o.first_hour else f.last end as first_hour,
                   case when o.first_hour < o.last_hour then o.last_hour else f.last end as last_hour
            from (select pg_catalog.date_bin('1 hour', f.first + interval '00:59:59.999999', '2000-01-01 00:00+00'),
                         pg_catalog.date_bin('1 hour', f.last, '2000-01-01 00:00+00')) as o (first_hour, last_hour)
        ) h
        cross join lateral (
            select case when o.first_day < o.last_day then o.first_day else h.last_hour end as first_day,
                   case when o.first_day < o.last_day then o.last_day else h.last_hour end as last_day
            from (select pg_catalog.date_bin('1 day', h.first_hour + interval '23:59:59.999999',
                             '2000-01-01 00:00+00'),
                         pg_catalog.date_bin('1 day', h.last_hour, '2000-01-01 00:00+00')) as o (first_day, last_day)
        ) d
        cross join lateral (
            select pg_catalog.date_trunc('month', d.first_day at time zone 'UTC' + interval '1 month'
                       - interval '1 day') at time zone 'UTC' as first_month,
                   pg_catalog.date_trunc('month', d.last_day, 'UTC') as last_month
        ) m
    ), lines as (
        select r.source, r.provider, r.name, r.cost_usd, r.record_count, r.unpriced_count, r.input_tokens,
               r.output_tokens, r.duration_seconds
        from span s
        cross join lateral (values
            ('hour', s.first_hour, s.first_day), ('day', s.first_day, s.first_month),
            ('month', s.first_month, s.last_month), ('day', s.last_month, s.last_day),
            ('hour', s.last_day, s.last_hour)
        ) as v (grain, first, last)
        cross join lateral (
            select o.* from copilot_internal.period_rollups o
            where o.tenant_id = p_tenant_id and o.grain = v.grain and o.bucket >= v.first and o.bucket < v.last
            offset 0
        ) r
        where v.first < v.last
        union all
        select l.source, l.provider, l.name, coalesce(l.cost_usd, 0), l.records,
               case when l.cost_usd is null then l.records else 0 end, l.input_tokens, l.output_tokens,
               l.duration_seconds
        from span s
        cross join lateral (values (s.first, s.first_hour), (s.last_hour, s.last)) as v (first, last)
        cross join lateral (
            select o.* from copilot_internal.ledger_lines o
            where o.payer_id = p_tenant_id and o.occurred_at >= v.first and o.occurred_at < v.last
            offset 0
        ) l
        where v.first < v.last
        union all
        select p.source, p.provider, p.name, p.cost_usd, p.record_count, p.unpriced_count, p.input_tokens,
               p.output_tokens, p.duration_seconds
        from span s
        join copilot_internal.pending_lines p
          on p.occurred_at >= s.first_hour and p.occurred_at < s.last_hour
        where p.tenant_id = p_tenant_id
          and p.record_id >= coalesce((
              select n.first_id from copilot_internal.checked_queue_starts n
              where n.tenant_id = p_tenant_id order by n.since desc limit 1), '00000000-0000-0000-0000-000000000000')
    ), names as materialized (
        select l.source, l.provider, l.name, sum(l.cost_usd) as cost_usd, sum(l.record_count) as record_count,
               sum(l.unpriced_count) as unpriced_count, sum(l.input_tokens) as input_tokens,
               sum(l.output_tokens) as output_tokens, sum(l.duration_seconds) as duration_seconds
        from lines l
        group by l.source, l.provider, l.name
    ), sums as (
        select pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'llm'), 0)) as llm_cost,
               pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'e2b'), 0)) as e2b_cost,
               pg_catalog.trim_scale(coalesce(sum(l.cost_usd) filter (where l.source = 'charge'), 0)) as other_cost,
               pg_catalog.trim_scale(coalesce(sum(l.cost_usd), 0)) as total_cost,
               coalesce(sum(l.record_count) filter (where l.source = 'llm'), 0)::bigint as llm_count,
               least(coalesce(sum(l.input_tokens), 0), 9223372036854775807)::bigint as input_tokens,
               least(coalesce(sum(l.output_tokens), 0), 9223372036854775807)::bigint as output_tokens,
               pg_catalog.trim_scale(coalesce(sum(l.duration_seconds), 0)) as seconds,
               coalesce(sum(l.unpriced_count), 0)::bigint as unpriced
        from names l
    ), sessions as materialized (
        -- A sandbox that is recorded from time to time is one.
        select r.sandbox_type, r.sandbox
        from span s
        cross join lateral (
            select o.sandbox_type, coalesce(pg_catalog.lower(o.provider) || '/' || o.sandbox_id, o.id::text) as sandbox
            from copilot_internal.e2b_cost_records o
            where o.tenant_id = p_tenant_id and o.occurred_at >= s.first and o.occurred_at < s.last
            offset 0
        ) r
    ), sandbox_counts as (
        select r.sandbox_type, count(distinct r.sandbox) as sessions from sessions r group by r.sandbox_type
    ), all_sandboxes as (
        select count(distinct r.sandbox) as e2b_count from sessions r
    ), models as (
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'model_provider', g.provider, 'model_name', g.name, 'cost_usd', g.cost,
                   'request_count', g.record_count, 'input_tokens', g.input_tokens,
                   'output_tokens', g.output_tokens, 'unpriced_count', g.unpriced_count)
                   order by g.cost desc nulls last, g.provider, g.name), '[]') as list
        from (
            select l.*, case when l.unpriced_count < l.record_count
                             then pg_catalog.trim_scale(l.cost_usd) end as cost
            from names l where l.source = 'llm'
        ) g
    ), sandboxes as (
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'sandbox_type', g.name, 'cost_usd', g.cost, 'session_count', coalesce(c.sessions, 0),
                   'duration_seconds', pg_catalog.trim_scale(g.duration_seconds), 'unpriced_count', g.unpriced_count)
                   order by g.cost desc nulls last, g.name), '[]') as list
        from (
            select l.*, case when l.unpriced_count < l.record_count
                             then pg_catalog.trim_scale(l.cost_usd) end as cost
            from names l where l.source = 'e2b'
        ) g
        left join sandbox_counts c on c.sandbox_type = g.name
    ), limits as (
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'scope', q.scope, 'scope_id', q.scope_id, 'resource_type', q.resource_type, 'period', q.period,
                   'limit_usd', q.limit_usd, 'current_spend_usd', q.spent_usd, 'reserved_usd', q.reserved_usd,
                   'remaining_usd', q.remaining_usd, 'usage_percentage', q.usage_percentage, 'status', q.status,
                   'period_start', q.period_start, 'period_end', q.period_end, 'mode', q.mode,
                   'suspended', q.suspended)
                   order by q.resource_type, q.period), '[]') as list
        from copilot_internal.quota_standings q
        where q.tenant_id = p_tenant_id and q.scope = 'tenant'
    ), holds as (
        select pg_catalog.trim_scale(coalesce(sum(r.reserved_usd), 0)) as reserved
        from copilot_internal.quota_reservations r
        where r.tenant_id = p_tenant_id and r.state = 'held' and r.expires_at > pg_catalog.clock_timestamp()
    )
    select p_tenant_id, s.first_moment, s.last_moment, u.llm_cost, u.e2b_cost, u.total_cost, u.llm_count, e.e2b_count,
           u.input_tokens, u.output_tokens, u.seconds, u.unpriced, h.reserved, m.list, b.list, q.list, u.other_cost
    from span s, sums u, all_sandboxes e, models m, sandboxes b, limits q, holds h
    where s.first_moment <= s.last_moment;
end;
comment on function copilot_internal.cost_summary(uuid, timestamptz, timestamptz) is
    'What get_tenant_cost_summary returns, for its kernel, which has authorised the caller; no row for a span that '
    'ends before it begins. Run as the owner.';
