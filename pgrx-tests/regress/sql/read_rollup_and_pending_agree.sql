-- maintain() moves what is pending into the rollups and changes no figure: not while it is half done, not afterwards,
-- and not when more has come meanwhile. verify() finds nothing at any time.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set user b0000000-0000-4000-8000-000000000001
\set talk c0000000-0000-4000-8000-000000000001
set role service_role;
-- Periods whose ends are not those of UTC days: Kathmandu is 5:45 ahead, St. John's 3:30 behind.
select count(set_quota(s.scope, s.id, s.resource, 100, s.period, s.tenant, s.zone)) as made
from (values ('platform', null::uuid, null::uuid, 'all', 'lifetime', 'UTC'),
             ('platform', null, null, 'llm', 'month', 'Asia/Kathmandu'),
             ('tenant', :'tenant', null, 'llm', 'lifetime', 'UTC'),
             ('tenant', :'tenant', null, 'all', 'year', 'Asia/Kathmandu'),
             ('tenant', :'other', null, 'all', 'day', 'America/St_Johns'),
             ('user', :'user', :'tenant', 'llm', 'week', 'UTC')) as s (scope, id, tenant, resource, period, zone);

-- Everything that anybody can read of costs.
create temp view figures as
    select 'quota ' || scope || ' ' || resource_type || ' ' || period as figure,
           row(current_spend_usd, usage_percentage, status, remaining_usd)::text as value
    from metrics.quota_status
    union all select 'llm', l::text from metrics.llm_costs l
    union all select 'e2b', l::text from metrics.e2b_costs l
    union all select 'llm daily', l::text from metrics.llm_costs_daily l
    union all select 'e2b daily', l::text from metrics.e2b_costs_daily l
    union all select 'user', l::text from metrics.cost_by_user l
    union all select 'conversation', l::text from metrics.cost_by_conversation l
    union all select 'total', l::text from metrics.tenant_total_costs l
    union all
    select 'summary ' || p.first, row(s.llm_cost_usd, s.e2b_cost_usd, s.total_cost_usd, s.llm_request_count,
               s.e2b_session_count, s.input_tokens, s.output_tokens, s.e2b_duration_seconds, s.unpriced_count,
               s.by_model, s.by_sandbox_type, s.other_charges_usd)::text
    from (values ('2020-01-01Z', '2199-01-01Z'), ('2024-01-31 23:50Z', '2024-02-01 00:10Z')) as p (first, last),
         lateral get_tenant_cost_summary(:'tenant', p.first::timestamptz, p.last::timestamptz) s
    union all
    select 'check', row(c.current_spend_usd, c.remaining_usd)::text
    from check_quota_before_operation(:'tenant', 'llm', 1, :'user') c;

create function pg_temp.spend() returns void language sql as $$
    select public.record_llm_cost('a0000000-0000-4000-8000-000000000001', 'openai', 'gpt-4o', 1000, 100,
               case when n % 2 = 0 then 'b0000000-0000-4000-8000-000000000001'::uuid end,
               case when n % 3 = 0 then 'c0000000-0000-4000-8000-000000000001'::uuid end,
               p_occurred_at => case when n % 4 = 0 then '2024-01-31 23:00Z'::timestamptz + n * interval '7 minutes' end)
    from generate_series(1, 20) n;
    select public.record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'unheard-of', 5, 5);
    select public.record_e2b_cost('a0000000-0000-4000-8000-000000000001', 'box', 'standard', 60 * n,
               p_conversation_id => 'c0000000-0000-4000-8000-000000000001') from generate_series(1, 5) n;
    select public.record_e2b_cost('a0000000-0000-4000-8000-000000000002', 'box', 'gpu', n) from generate_series(1, 3) n;
    select public.check_and_record_quota_atomic('tenant', 'a0000000-0000-4000-8000-000000000001', 0.001);
    select public.check_and_record_quota_atomic('platform', null, 0.002);
    select 1;
$$;
select pg_temp.spend();
create temp table before as select * from figures;
-- 21 and 5 and 3 records and 2 charges.
select count(*) as pending from copilot_internal.pending_costs;
select count(*) as rolled_up from copilot_internal.cost_rollups;
select * from copilot_internal.verify();

-- Half of it.
select task, case task when 'fold' then done >= 13 else done > 0 end as did_some from copilot_internal.maintain(13);
(table before except all table figures) union all (table figures except all table before);
select * from copilot_internal.verify();
-- The rest, and again, which finds nothing to do.
select task, done > 0 as did_some from copilot_internal.maintain();
select * from copilot_internal.maintain();
(table before except all table figures) union all (table figures except all table before);
select count(*) as pending from copilot_internal.pending_costs;
select * from copilot_internal.verify();

-- More of the same on top doubles every sum, in whatever mixture of both.
select pg_temp.spend();
select total_cost, unpriced_count from metrics.tenant_total_costs order by tenant_id;
create temp table doubled as select * from figures;
select task, done > 0 as did_some from copilot_internal.maintain();
(table doubled except all table figures) union all (table figures except all table doubled);
select total_cost, unpriced_count from metrics.tenant_total_costs order by tenant_id;
select * from copilot_internal.verify();
\set VERBOSITY sqlstate
select * from copilot_internal.maintain(0);
select * from copilot_internal.maintain(null);
