-- Every refusal has a status that says why, and what an answer to a client needs; what is free is allowed at the limit.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
set role service_role;
create temp view denied as
    select r.recorded, r.quota_status, r.blocked_scope, r.blocked_resource_type, r.limit_usd, r.remaining_usd, r.period_end = b.period_end as ends,
           r.retry_after_seconds between 1 and 31 * 86400 as waits, r.reason
    from record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'm', 1, 1, p_user_id => 'b0000000-0000-4000-8000-000000000001', p_cost_usd => 5, p_enforce => true) r,
         copilot_internal.period_bounds('month', 'UTC', clock_timestamp()) b;
select set_quota('user', :'user', 'llm', 4, 'month', :'tenant') is not null as made;
table denied;
select set_quota('user', :'user', 'llm', 50, 'month', :'tenant') is not null as made;
-- Allowed, the quota that is the tightest is told, and blocks nothing.
select recorded, quota_status, blocked_scope, blocked_resource_type, limit_usd, remaining_usd, period_end is not null as ends, retry_after_seconds
from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 48, p_enforce => true);
select ordinal, recorded, quota_status, blocked_scope, blocked_resource_type, limit_usd, retry_after_seconds > 0 as waits from record_llm_costs(jsonb_build_array(
    jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'acme', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 5, 'user_id', :'user', 'enforce', true)));
select recorded, quota_status, blocked_scope, blocked_resource_type, limit_usd, retry_after_seconds > 0 as waits
from record_e2b_cost(:'tenant', 's', 'standard', 1, p_cost_usd => 51, p_enforce => true);
select allowed, status, replayed from check_and_record_quota_atomic('user', :'user', 5, p_tenant_id => :'tenant');
select allowed, status, replayed from check_and_record_quota_atomic('user', :'user', 1, p_tenant_id => :'tenant', p_request_id => 'x');
select allowed, status, replayed from check_and_record_quota_atomic('user', :'user', 1, p_tenant_id => :'tenant', p_request_id => 'x');
-- No price, a model that is not allowed, a suspension: no quota's figures stand in the way.
select recorded, quota_status, blocked_scope, retry_after_seconds, reason from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1, 1, p_enforce => true);
select set_llm_policy(:'tenant', '{"denied_models": ["m"]}');
select recorded, quota_status, blocked_scope, retry_after_seconds, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_enforce => true);
select allowed, status, blocked_scope, retry_after_seconds, state from reserve_quota(:'tenant', 'llm', 1, 'm', p_metadata => '{"model_name": "m"}');
select set_llm_policy(:'tenant', null);
select set_quota('user', :'user', 'llm', 50, 'month', :'tenant', p_suspended => true) is not null as made;
table denied;
select set_quota('user', :'user', 'llm', 50, 'month', :'tenant', p_suspended => false) is not null as made;

-- At the limit and beyond, what is free is allowed; not where nothing is to be spent.
select recorded, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 1, p_enforce => true);
select recorded, quota_status, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 0, p_enforce => true);
select recorded, quota_status, overrun_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'user', p_cost_usd => 3);
select c.allowed, c.status, has_quota(:'tenant', 'llm', 0, :'user'), r.allowed as held, a.allowed as charged
from check_quota_before_operation(:'tenant', 'llm', 0, :'user') c, reserve_quota(:'tenant', 'llm', 0, 'free', :'user') r, check_and_record_quota_atomic('user', :'user', 0, p_tenant_id => :'tenant') a;
select has_quota(:'tenant', 'llm', 0.000000001, :'user');
select set_quota('user', :'user', 'llm', 0, 'month', :'tenant') is not null as made;
select allowed, status from check_quota_before_operation(:'tenant', 'llm', 0, :'user');
select * from copilot_internal.verify();
