-- What the provider billed is the cost, whatever the price list says; what we would have computed is kept beside it.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select set_quota('tenant', :'tenant', 'all', 10, 'lifetime') is not null as made;

-- gpt-4o by the list: 1000 × 0.0000025 + 100 × 0.00001 = 0.0035.
select cost_usd, cost_status, remaining_usd
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_cost_usd => 0.5);
-- 0 is a cost as well.
select cost_usd, cost_status, remaining_usd
from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_cost_usd => 0);
-- With it no price is needed, also when enforced.
select recorded, cost_usd, cost_status, remaining_usd, reason
from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1000, 100, p_cost_usd => 0.25, p_enforce => true);
-- standard by the list: 60 × 0.00003025 = 0.001815.
select cost_usd, cost_status, remaining_usd
from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_cost_usd => 0.125);

select cost_usd, charge_nanos, pricing ->> 'total_usd' as computed_usd, pricing ->> 'source' as price
from copilot_internal.llm_cost_records order by recorded_at;
select cost_usd, charge_nanos, pricing ->> 'total_usd' as computed_usd, pricing ->> 'source' as price
from copilot_internal.e2b_cost_records;
