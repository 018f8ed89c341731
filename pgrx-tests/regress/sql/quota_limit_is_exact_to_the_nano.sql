-- A limit of 1 USD takes charges that add up to exactly 1 USD, and not one nano-dollar (0.000000001 USD) more.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;

select allowed, current_spend_usd, remaining_usd, utilization_percent
from check_and_record_quota_atomic('tenant', :'tenant', 0.999999999);

-- 1 - 0.999999999 = 0.000000001 is left. Two nano-dollars do not fit, and the refusal charges nothing.
select allowed, current_spend_usd, limit_usd, remaining_usd, reason
from check_and_record_quota_atomic('tenant', :'tenant', 0.000000002);

-- A look agrees with the charge, on both sides of the edge.
select allowed, status, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 0.000000002);
select allowed, status, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 0.000000001);

-- The last nano-dollar fits: 0.999999999 + 0.000000001 = 1.
select allowed, current_spend_usd, remaining_usd, utilization_percent
from check_and_record_quota_atomic('tenant', :'tenant', 0.000000001);

-- From here on nothing that costs anything fits, by no way of charging: the smallest cost is 1e-12 USD, counted as
-- one nano-dollar.
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.000000000001);
select recorded, cost_record_id, quota_status, remaining_usd, overrun_usd
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_cost_usd => 0.000000000001, p_enforce => true);

-- What costs nothing still does.
select allowed, current_spend_usd from check_and_record_quota_atomic('tenant', :'tenant', 0);

select count(*), sum(charge_nanos) from copilot_internal.quota_charges;
select count(*) from copilot_internal.llm_cost_records;
