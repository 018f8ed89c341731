-- Where no quota applies everything is allowed, unless pg_tollgate.no_quota is deny; and only a superuser sets that.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
-- The tenant is known by a quota of its own, for something else.
select set_quota('user', 'b0000000-0000-4000-8000-000000000001', 'llm', 1, 'lifetime', :'tenant') is not null as made;
select allowed, status, limit_usd, current_spend_usd, remaining_usd, period_end, reason
from check_quota_before_operation(:'tenant', 'llm', 1);
select recorded, quota_status, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_enforce => true);
select allowed, current_spend_usd, limit_usd, period, reason from check_and_record_quota_atomic('tenant', :'tenant', 1);

set pg_tollgate.no_quota = 'allow';
reset role;
set pg_tollgate.no_quota = 'deny';
set pg_tollgate.no_quota = 'perhaps';
set pg_tollgate.no_qouta = 'deny';
set role service_role;

select allowed, status, blocked_scope, reason from check_quota_before_operation(:'tenant', 'llm', 1);
select has_quota(:'tenant', 'llm', 1);
select recorded, quota_status, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_enforce => true);
select allowed, reason from check_and_record_quota_atomic('tenant', :'tenant', 1);
-- What has been spent already is recorded all the same.
select recorded, quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1);
-- Any quota will do, also one that only counts.
select set_quota('tenant', :'tenant', 'llm', null, 'lifetime') is not null as made;
select allowed, status from check_quota_before_operation(:'tenant', 'llm', 1);
-- Only for its resource.
select allowed, status from check_quota_before_operation(:'tenant', 'e2b', 1);
-- A shadow quota decides nothing, so it does not stand for one either.
select set_quota('tenant', :'tenant', 'llm', null, 'lifetime', p_mode => 'shadow') is not null as made;
select allowed, status from check_quota_before_operation(:'tenant', 'llm', 1);
