-- The views of metrics, each with the same few records beneath it. Costs are exact; what has no price adds nothing and
-- is counted.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set talk c0000000-0000-4000-8000-000000000001
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
-- Known by quotas that count and never refuse.
select count(set_quota('user', :'ann', 'e2b', null, 'hour', t)) as made from unnest(array[:'acme', :'other']::uuid[]) t;
-- gpt-4o: 1000 × 0.0000025 + 100 × 0.00001 = 0.0035. The last microsecond of a day belongs to it.
select count(*) from (values ('2024-01-31 23:59:59.999999Z', :'ann'::uuid, :'talk'::uuid),
        ('2024-02-01 00:00:00Z', null, :'talk'), ('2024-02-01 00:00:00+01', null, null)) as r (at, who, talk),
    lateral record_llm_cost(:'acme', 'openai', 'gpt-4o', 1000, 100, r.who, r.talk, p_occurred_at => r.at::timestamptz);
select recorded from record_llm_cost(:'acme', 'acme', 'unheard-of', 10, 20, :'ann', :'talk', p_occurred_at => '2024-02-01Z');
select recorded from record_llm_cost(:'other', 'openai', 'gpt-4o', 10, 1, p_cost_usd => 0.000000000001, p_occurred_at => '2024-02-01Z');
-- standard: 90 × 0.00003025 = 0.0027225.
select recorded from record_e2b_cost(:'acme', 'box', 'standard', 90, :'ann', :'talk', p_occurred_at => '2024-02-01Z');
select allowed from check_and_record_quota_atomic('user', :'ann', 0.25, p_tenant_id => :'acme');
select allowed from check_and_record_quota_atomic('platform', null, 0.5);

-- Three of 0.0035 are 0.0105.
select right(tenant_id::text, 1) as tenant, model_provider, model_name, total_cost, total_input_tokens, total_output_tokens, request_count, unpriced_count
from metrics.llm_costs order by tenant_id, model_name;
select right(tenant_id::text, 1) as tenant, date, model_name, total_cost, total_input_tokens, total_output_tokens, request_count, unpriced_count
from metrics.llm_costs_daily order by tenant_id, date, model_name;
select right(tenant_id::text, 1) as tenant, sandbox_type, total_cost, total_duration, session_count, unpriced_count
from metrics.e2b_costs;
select right(tenant_id::text, 1) as tenant, date, sandbox_type, total_cost, total_duration, session_count, unpriced_count
from metrics.e2b_costs_daily;
-- Ann: one call, one session, one charge: 0.0035 + 0.0027225 + 0.25 = 0.2562225. Nobody in particular: 2 × 0.0035.
select right(tenant_id::text, 1) as tenant, right(user_id::text, 1) as who, llm_cost, e2b_cost, other_cost, total_cost, llm_request_count, e2b_session_count, unpriced_count
from metrics.cost_by_user order by tenant_id, user_id;
-- The talk: two priced calls and the session: 0.007 + 0.0027225 = 0.0097225.
select right(tenant_id::text, 1) as tenant, right(conversation_id::text, 1) as talk, llm_cost, e2b_cost, total_cost, llm_request_count, e2b_session_count, unpriced_count
from metrics.cost_by_conversation;
-- 0.0105 + 0.0027225 + 0.25 = 0.2632225. Nobody's is the platform's own charge.
select right(tenant_id::text, 1) as tenant, llm_cost, e2b_cost, other_cost, total_cost, llm_request_count, e2b_session_count, unpriced_count
from metrics.tenant_total_costs order by tenant_id;

-- They show what has been committed, at once, and only that.
begin;
select recorded from record_llm_cost(:'acme', 'openai', 'gpt-4o', 1000, 100);
select total_cost, request_count from metrics.llm_costs where tenant_id = :'acme' and model_name = 'gpt-4o';
rollback;
select total_cost, request_count from metrics.llm_costs where tenant_id = :'acme' and model_name = 'gpt-4o';

-- quota_status and cost_estimates show what is defined.
select set_quota('tenant', :'other', 'llm', 1, 'lifetime', p_mode => 'soft') is not null as made;
select scope, right(scope_id::text, 1) as id, resource_type, limit_usd, current_spend_usd, usage_percentage, status, reserved_usd,
       remaining_usd, period, period_start, period_end, mode, is_default
from metrics.quota_status where scope = 'tenant';
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('openai', 'gpt-4o', 0.05);
insert into copilot_internal.e2b_cost_estimates (sandbox_type, estimated_cost_usd, effective_to)
values ('standard', 0.5, 'infinity'), ('gpu', 5, clock_timestamp() + interval '1 millisecond');
select pg_sleep(0.002);
select resource_type, model_provider, model_name, sandbox_type, region, operation_type, confidence_level, estimated_cost_usd
from metrics.cost_estimates order by 1;
