-- A soft quota allows and says EXCEEDED; a shadow quota is counted and shown, and no answer ever mentions it.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;

select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime', p_mode => 'soft') is not null as made;
select allowed, status, blocked_scope, remaining_usd, reason from check_quota_before_operation(:'tenant', 'llm', 3);
select recorded, quota_status, remaining_usd, overrun_usd, reason
from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 3, p_enforce => true);
select allowed, current_spend_usd, remaining_usd, utilization_percent, reason
from check_and_record_quota_atomic('tenant', :'tenant', 1);
select has_quota(:'tenant', 'llm', 100);

-- A hard quota beside it still refuses, and it is the one that is told.
select set_quota('tenant', :'tenant', 'all', 5, 'lifetime') is not null as made;
select allowed, blocked_resource_type, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 1.5);

-- In the shadow.
select set_quota('tenant', :'other', 'llm', 1, 'lifetime', p_mode => 'shadow') is not null as made;
select allowed, status, limit_usd, current_spend_usd, reason from check_quota_before_operation(:'other', 'llm', 3);
select recorded, quota_status, remaining_usd, overrun_usd, reason
from record_llm_cost(:'other', 'acme', 'm', 1, 1, p_cost_usd => 3, p_enforce => true);

select scope_id = :'tenant' as is_tenant, resource_type, mode, limit_usd, current_spend_usd, usage_percentage, status
from metrics.quota_status order by 1 desc, 2;

-- A mode can be changed in place, with what was counted: 3 of 1 USD are spent.
select set_quota('tenant', :'other', 'llm', 1, 'lifetime', p_mode => 'hard') is not null as made;
select allowed, status, current_spend_usd from check_quota_before_operation(:'other', 'llm', 0.01);
