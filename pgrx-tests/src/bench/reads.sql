-- The shape of what is read: a thousand tenants, the first of which has 13 in a hundred of the records, 200 users each, 20
-- models, 90 days up to now, and a conversation of each user every five days. Written past the kernels, rollups too,
-- which is as good as folding and many times faster: verify() says whether it came to the same.
create table bench.shares as
    select n, sum(1.0 / n) over (order by n) / (select sum(1.0 / m) from generate_series(1, 1000) m) as upto
    from generate_series(1, 1000) n;

create function bench.tenant(p_number integer) returns uuid language sql immutable
    return md5('tenant ' || p_number)::uuid;
create function bench.person(p_tenant integer, p_number integer) returns uuid language sql immutable
    return md5('user ' || p_tenant || ' ' || p_number)::uuid;

insert into copilot_internal.tenants (id, name, owner_id)
    select bench.tenant(n), 'Tenant ' || n, bench.person(n, 0) from generate_series(1, 1000) n;

-- Ids ascend with time, as those that the kernels give.
create function bench.write(p_first bigint, p_count bigint, p_from timestamptz, p_to timestamptz) returns void
    language sql set work_mem = '256MB' as $$
    insert into copilot_internal.llm_cost_records
        (id, tenant_id, user_id, conversation_id, path_id, model_provider, model_name, input_tokens, output_tokens,
         cost_usd, cost_status, charge_nanos, request_id, charged_at, occurred_at, recorded_at)
    select ('80' || lpad(to_hex(g.n), 30, '0'))::uuid, bench.tenant(g.tenant), bench.person(g.tenant, g.person),
           md5(g.tenant || ' ' || g.person || ' ' || g.days / 5)::uuid,
           case when g.person % 2 = 0 then md5(g.tenant || ' path ' || g.person || ' ' || g.days / 5)::uuid end,
           (array['openai', 'anthropic', 'google'])[1 + g.model % 3], 'model-' || g.model, g.input, g.output,
           g.nanos * 0.000000001, 'provided', ceil(g.nanos), 'bench ' || g.n, g.at, g.at, g.at
    from (
        select s.n, width_bucket(random(), w.shares) + 1 as tenant, floor(random() * 200)::integer as person,
               floor(random() * 20)::integer as model, 100 + floor(random() * 4000)::bigint as input,
               10 + floor(random() * 1000)::bigint as output, round((random() * 40000000)::numeric, 3) as nanos,
               p_from + (p_to - p_from) * ((s.n - p_first)::float8 / p_count) as at,
               floor(extract(epoch from p_from + (p_to - p_from) * ((s.n - p_first)::float8 / p_count)) / 86400)::bigint
                   as days
        from generate_series(p_first, p_first + p_count - 1) as s (n)
        cross join (select array_agg(upto::float8 order by n) as shares from bench.shares) w
        offset 0
    ) g;
$$;

create function bench.queue(p_first bigint) returns void language sql as $$
    insert into copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
    select r.tenant_id, r.id, 'llm', r.user_id, 'llm', r.charged_at, r.charge_nanos
    from copilot_internal.llm_cost_records r
    where r.id >= ('80' || lpad(to_hex(p_first), 30, '0'))::uuid;
$$;

create function bench.roll_up() returns void language plpgsql set work_mem = '256MB' as $$
begin
    create temp table cells as
    select r.tenant_id, r.user_id, date_bin('15 minutes', r.occurred_at, '2000-01-01 00:00+00') as quarter,
           r.model_provider as provider, r.model_name as name, sum(r.cost_usd) as cost, count(*) as number,
           sum(r.input_tokens) as input, sum(r.output_tokens) as output, sum(r.charge_nanos) as nanos
    from copilot_internal.llm_cost_records r group by 1, 2, 3, 4, 5;

    insert into copilot_internal.quota_rollups (tenant_id, user_id, resource_type, grain, bucket, nanos)
    select t.tenant_id, u.user_id, 'llm', g.grain, g.bucket, sum(c.nanos)
    from cells c
    cross join lateral (values (c.tenant_id, true), ('00000000-0000-0000-0000-000000000000', false)) as t (tenant_id, own)
    cross join lateral (values (c.user_id, true), ('00000000-0000-0000-0000-000000000000', false)) as u (user_id, own)
    cross join lateral (values ('quarter', c.quarter), ('day', date_trunc('day', c.quarter, 'UTC')),
                               ('month', date_trunc('month', c.quarter, 'UTC'))) as g (grain, bucket)
    where t.own or not u.own
    group by 1, 2, 3, 4, 5;

    insert into copilot_internal.cost_rollups
        (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count, input_tokens,
         output_tokens, duration_seconds, provider_cost_usd)
    select c.tenant_id, (c.quarter at time zone 'UTC')::date, 'llm', c.provider, c.name, c.user_id, sum(c.cost),
           sum(c.number), 0, sum(c.input), sum(c.output), 0, sum(c.cost)
    from cells c group by 1, 2, 3, 4, 5, 6;

    insert into copilot_internal.period_rollups
        (tenant_id, grain, bucket, source, provider, name, cost_usd, record_count, unpriced_count, input_tokens,
         output_tokens, duration_seconds, provider_cost_usd)
    select c.tenant_id, g.grain, date_trunc(g.grain, c.quarter, 'UTC'), 'llm', c.provider, c.name, sum(c.cost),
           sum(c.number), 0, sum(c.input), sum(c.output), 0, sum(c.cost)
    from cells c cross join (values ('hour'), ('day'), ('month')) as g (grain) group by 1, 2, 3, 4, 5, 6;

    insert into copilot_internal.total_rollups
        (tenant_id, source, provider, name, cost_usd, record_count, unpriced_count, input_tokens, output_tokens,
         duration_seconds, provider_cost_usd)
    select c.tenant_id, 'llm', c.provider, c.name, sum(c.cost), sum(c.number), 0, sum(c.input), sum(c.output), 0,
           sum(c.cost)
    from cells c group by 1, 2, 3, 4;

    insert into copilot_internal.user_rollups (tenant_id, user_id, source, cost_usd, record_count, unpriced_count)
    select c.tenant_id, c.user_id, 'llm', sum(c.cost), sum(c.number), 0 from cells c group by 1, 2, 3;

    insert into copilot_internal.conversation_rollups
        (tenant_id, conversation_id, path_id, source, cost_usd, record_count, unpriced_count)
    select r.tenant_id, r.conversation_id, coalesce(r.path_id, '00000000-0000-0000-0000-000000000000'), 'llm',
           sum(r.cost_usd), count(*), 0
    from copilot_internal.llm_cost_records r group by 1, 2, 3;
    drop table cells;
end $$;

-- Three of each tenant, and seven of its users.
insert into copilot_internal.cost_quotas (scope, scope_id, tenant_id, resource_type, limit_usd)
    select 'tenant', bench.tenant(n), bench.tenant(n), r, 1000
    from generate_series(1, 1000) n cross join unnest(array['llm', 'e2b', 'all']) r
    union all
    select 'user', bench.person(n, u), bench.tenant(n), 'llm', 100
    from generate_series(1, 1000) n cross join generate_series(1, 7) u;
