-- A price of 0 is a price: the cost is 0, known, and admitted.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select set_model_price('local', 'llama', 0, 0, '2020-01-01Z') is not null as made;

select recorded, cost_usd, cost_status, quota_status, remaining_usd, reason
from record_llm_cost(:'tenant', 'local', 'llama', 1000, 100, p_enforce => true);
-- No tokens at all cost 0 too, where there is a price.
select cost_usd, cost_status from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 0, 0);
-- So does an embedding's output: 1000 × 0.00000002 = 0.00002 is for its input.
select cost_usd, cost_status from record_llm_cost(:'tenant', 'openai', 'text-embedding-3-small', 1000, 0);

select model_name, total_cost, unpriced_count from metrics.llm_costs order by model_name;
select estimated_cost_usd, pricing_found, basis from estimate_llm_cost('local', 'llama', 1000, 100);
select get_llm_cost_estimate('local', 'llama');
