-- Reading costs: rollups plus what is pending, in one snapshot. The views of copilot_internal run with their reader's
-- rights, so that row level security holds roles that may read all tables. Kernels read them as the owner; what people
-- see is decided in metrics.sql.

create view copilot_internal.cost_lines with (security_invoker) as
    select r.tenant_id, r.day, r.source, r.provider, r.name, r.user_id, r.cost_usd, r.record_count, r.unpriced_count,
           r.input_tokens, r.output_tokens, r.duration_seconds, r.provider_cost_usd
    from copilot_internal.cost_rollups r
    union all
    select p.tenant_id, (l.occurred_at at time zone 'UTC')::date, l.source, l.provider, l.name, l.user_id,
           coalesce(l.cost_usd, 0), l.records::bigint, (l.cost_usd is null)::integer::bigint, l.input_tokens::numeric,
           l.output_tokens::numeric, l.duration_seconds, coalesce(l.provider_cost_usd, 0)
    from copilot_internal.pending_costs p
    join copilot_internal.ledger_lines l
      on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source;
comment on view copilot_internal.cost_lines is
    'Costs by day, model or sandbox type, and user: to be summed.';

create view copilot_internal.conversation_lines with (security_invoker) as
    select r.tenant_id, r.conversation_id, r.source, r.cost_usd, r.record_count, r.unpriced_count
    from copilot_internal.conversation_rollups r
    union all
    select p.tenant_id, l.conversation_id, l.source, coalesce(l.cost_usd, 0), l.records::bigint,
           (l.cost_usd is null)::integer::bigint
    from copilot_internal.pending_costs p
    join copilot_internal.ledger_lines l
      on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
    where l.conversation_id is not null;
comment on view copilot_internal.conversation_lines is
    'Costs by conversation: to be summed.';

-- What each quota has spent in its present period. The same sum as the admission kernel's, over all quotas at once.
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
    cross join lateral copilot_internal.period_bounds(
        q.period, case when copilot_internal.is_time_zone(q.time_zone) then q.time_zone else 'UTC' end,
        pg_catalog.clock_timestamp()) b
    cross join lateral (
        select coalesce(b.period_start, '2000-01-01 00:00+00') as first_moment,
               coalesce(b.period_end, '2199-01-01 00:00+00') as last_moment,
               case q.resource_type when 'all' then array['llm', 'e2b', 'all']
                                    else array[q.resource_type] end as resources,
               coalesce(q.tenant_id, '00000000-0000-0000-0000-000000000000') as tenant_id,
               case q.scope when 'user' then q.scope_id else '00000000-0000-0000-0000-000000000000' end as user_id
    ) k
    cross join lateral (
        select case when d.first_day < d.last_day then d.first_day else k.last_moment end as first_day,
               case when d.first_day < d.last_day then d.last_day else k.last_moment end as last_day
        from (select pg_catalog.date_bin('1 day', k.first_moment + interval '23:59:59.999999', '2000-01-01 00:00+00'),
                     pg_catalog.date_bin('1 day', k.last_moment, '2000-01-01 00:00+00')) as d (first_day, last_day)
    ) d
    cross join lateral (
        select coalesce(sum(n.nanos), 0) as nanos
        from (
            select r.nanos from copilot_internal.quota_rollups r
            where r.tenant_id = k.tenant_id and r.user_id = k.user_id and r.resource_type = any (k.resources)
              and r.grain = 'quarter' and r.bucket >= k.first_moment and r.bucket < d.first_day
            union all
            select r.nanos from copilot_internal.quota_rollups r
            where r.tenant_id = k.tenant_id and r.user_id = k.user_id and r.resource_type = any (k.resources)
              and r.grain = 'day' and r.bucket >= d.first_day and r.bucket < d.last_day
            union all
            select r.nanos from copilot_internal.quota_rollups r
            where r.tenant_id = k.tenant_id and r.user_id = k.user_id and r.resource_type = any (k.resources)
              and r.grain = 'quarter' and r.bucket >= d.last_day and r.bucket < k.last_moment
            union all
            select p.nanos from copilot_internal.pending_costs p
            where p.tenant_id = k.tenant_id
              and (k.user_id = '00000000-0000-0000-0000-000000000000' or p.user_id = k.user_id)
              and p.resource_type = any (k.resources)
              and p.charged_at >= k.first_moment and p.charged_at < k.last_moment
            union all
            select p.nanos from copilot_internal.pending_costs p
            where q.scope = 'platform' and p.tenant_id > '00000000-0000-0000-0000-000000000000'
              and p.resource_type = any (k.resources)
              and p.charged_at >= k.first_moment and p.charged_at < k.last_moment
        ) n
    ) s
    cross join lateral (
        select coalesce(sum(n.held_nanos), 0) as nanos
        from (
            select r.held_nanos from copilot_internal.quota_reservations r
            where q.scope <> 'platform' and r.state = 'held' and r.tenant_id = q.tenant_id
              and r.expires_at > pg_catalog.clock_timestamp()
              and (q.scope <> 'user' or r.user_id = q.scope_id)
              and r.resource_type = any (k.resources)
              and r.reserved_at >= k.first_moment and r.reserved_at < k.last_moment
            union all
            select r.held_nanos from copilot_internal.quota_reservations r
            where q.scope = 'platform' and r.state = 'held' and r.expires_at > pg_catalog.clock_timestamp()
              and r.resource_type = any (k.resources)
              and r.reserved_at >= k.first_moment and r.reserved_at < k.last_moment
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

-- Whole UTC days come from the rollups, the parts of days at both ends from the ledger by index.
create function copilot_internal.cost_summary(p_tenant_id uuid, p_from timestamptz, p_to timestamptz)
    returns table (tenant_id uuid, period_start timestamptz, period_end timestamptz, llm_cost_usd numeric,
        e2b_cost_usd numeric, total_cost_usd numeric, llm_request_count bigint, e2b_session_count bigint,
        input_tokens bigint, output_tokens bigint, e2b_duration_seconds numeric, unpriced_count bigint,
        reserved_usd numeric, by_model jsonb, by_sandbox_type jsonb, quotas jsonb, other_charges_usd numeric)
    language sql stable
begin atomic
    with span as (
        select m.first_moment, m.last_moment,
               case when d.first_day < d.last_day then d.first_day else m.last_moment end as first_day,
               case when d.first_day < d.last_day then d.last_day else m.last_moment end as last_day
        from (
            select coalesce(p_from, pg_catalog.date_trunc('month', c.at, 'UTC')) as first_moment,
                   coalesce(p_to, (pg_catalog.date_trunc('month', c.at at time zone 'UTC') + interval '1 month')
                       at time zone 'UTC') as last_moment
            from (select pg_catalog.clock_timestamp() as at) c
        ) m
        cross join lateral (
            -- After the last moment that can be recorded there is nothing to round, and no day to round up to.
            select case when m.first_moment = pg_catalog.date_trunc('day', m.first_moment, 'UTC')
                          or m.first_moment > '2199-01-01 00:00+00' then m.first_moment
                        else pg_catalog.date_trunc('day', m.first_moment, 'UTC') + interval '24 hours' end as first_day,
                   pg_catalog.date_trunc('day', m.last_moment, 'UTC') as last_day
        ) d
    ), days as (
        select (s.first_day at time zone 'UTC')::date as first_day, (s.last_day at time zone 'UTC')::date as last_day
        from span s where s.first_day < s.last_day
    ), lines as materialized (
        select l.source, l.provider, l.name, l.cost_usd, l.record_count, l.unpriced_count, l.input_tokens,
               l.output_tokens, l.duration_seconds
        from days d
        join copilot_internal.cost_lines l on l.day >= d.first_day and l.day < d.last_day
        where l.tenant_id = p_tenant_id
        union all
        select l.source, l.provider, l.name, coalesce(l.cost_usd, 0), l.records, (l.cost_usd is null)::integer,
               l.input_tokens, l.output_tokens, l.duration_seconds
        from span s
        join copilot_internal.ledger_lines l
          on l.occurred_at >= s.first_moment and l.occurred_at < s.first_day
        where l.tenant_id = p_tenant_id
        union all
        select l.source, l.provider, l.name, coalesce(l.cost_usd, 0), l.records, (l.cost_usd is null)::integer,
               l.input_tokens, l.output_tokens, l.duration_seconds
        from span s
        join copilot_internal.ledger_lines l
          on l.occurred_at >= s.last_day and l.occurred_at < s.last_moment
        where l.tenant_id = p_tenant_id
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
        from lines l
    ), sandbox_counts as materialized (
        -- A sandbox that is recorded from time to time is one.
        select r.sandbox_type,
               count(distinct coalesce(pg_catalog.lower(r.provider) || '/' || r.sandbox_id, r.id::text)) as sessions
        from span s
        join copilot_internal.e2b_cost_records r on r.occurred_at >= s.first_moment and r.occurred_at < s.last_moment
        where r.tenant_id = p_tenant_id
        group by r.sandbox_type
    ), all_sandboxes as (
        select count(distinct coalesce(pg_catalog.lower(r.provider) || '/' || r.sandbox_id, r.id::text)) as e2b_count
        from span s
        join copilot_internal.e2b_cost_records r on r.occurred_at >= s.first_moment and r.occurred_at < s.last_moment
        where r.tenant_id = p_tenant_id
    ), models as (
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'model_provider', g.provider, 'model_name', g.name, 'cost_usd', g.cost, 'request_count', g.requests,
                   'input_tokens', g.input, 'output_tokens', g.output, 'unpriced_count', g.unpriced)
                   order by g.cost desc nulls last, g.provider, g.name), '[]') as list
        from (
            select l.provider, l.name, sum(l.record_count) as requests, sum(l.unpriced_count) as unpriced,
                   case when sum(l.unpriced_count) < sum(l.record_count)
                        then pg_catalog.trim_scale(sum(l.cost_usd)) end as cost,
                   sum(l.input_tokens) as input, sum(l.output_tokens) as output
            from lines l where l.source = 'llm' group by l.provider, l.name
        ) g
    ), sandboxes as (
        select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                   'sandbox_type', g.name, 'cost_usd', g.cost, 'session_count', g.sessions,
                   'duration_seconds', g.seconds, 'unpriced_count', g.unpriced)
                   order by g.cost desc nulls last, g.name), '[]') as list
        from (
            select l.name, coalesce(max(c.sessions), 0) as sessions, sum(l.unpriced_count) as unpriced,
                   case when sum(l.unpriced_count) < sum(l.record_count)
                        then pg_catalog.trim_scale(sum(l.cost_usd)) end as cost,
                   pg_catalog.trim_scale(sum(l.duration_seconds)) as seconds
            from lines l left join sandbox_counts c on c.sandbox_type = l.name
            where l.source = 'e2b' group by l.name
        ) g
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
