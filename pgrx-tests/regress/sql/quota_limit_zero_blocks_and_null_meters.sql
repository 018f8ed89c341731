-- A limit of 0 blocks everything, what is free included. A limit of NULL counts and never blocks.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;

select set_quota('tenant', :'tenant', 'llm', 0, 'lifetime') is not null as made;
select allowed, status, limit_usd, remaining_usd, usage_percentage, reason
from check_quota_before_operation(:'tenant', 'llm', 0);
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0);
select recorded, quota_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0, p_enforce => true);
-- Another resource is not meant.
select allowed, status from check_quota_before_operation(:'tenant', 'e2b', 1);
select limit_usd, current_spend_usd, usage_percentage, status, remaining_usd from metrics.quota_status;

select set_quota('tenant', :'other', 'llm', null, 'lifetime') is not null as made;
select allowed, current_spend_usd, limit_usd, remaining_usd, utilization_percent
from check_and_record_quota_atomic('tenant', :'other', 1000000000);
select allowed, current_spend_usd, limit_usd, remaining_usd, utilization_percent
from check_and_record_quota_atomic('tenant', :'other', 1000000000);
select limit_usd, current_spend_usd, usage_percentage, status, remaining_usd
from metrics.quota_status where scope_id = :'other';
