-- A cost that nobody knows is NULL and says so, everywhere. Enforced, it is refused: a model without a price must not
-- be free.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;

select recorded, cost_usd, cost_status, quota_status, remaining_usd, reason
from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1000, 100);
select recorded, cost_record_id, cost_usd, cost_status, reason
from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1000, 100, p_enforce => true);
select recorded, cost_usd, cost_status, reason from record_e2b_cost(:'tenant', 'box', 'unheard-of', 60);
select recorded, cost_usd, cost_status, reason
from record_e2b_cost(:'tenant', 'box', 'unheard-of', 60, p_enforce => true);

select cost_usd, cost_status, charge_nanos, pricing from copilot_internal.llm_cost_records;
select model_name, total_cost, request_count, unpriced_count from metrics.llm_costs;
select sandbox_type, total_cost, session_count, unpriced_count from metrics.e2b_costs;
select llm_cost_usd, total_cost_usd, llm_request_count, unpriced_count, by_model -> 0 -> 'cost_usd' as model_cost
from get_tenant_cost_summary(:'tenant', '2020-01-01Z', '2199-01-01Z');
select * from estimate_llm_cost('acme', 'unheard-of', 1000, 100);
select * from estimate_e2b_cost('unheard-of', 60);
select get_llm_cost_estimate('acme', 'unheard-of'), get_e2b_cost_estimate('unheard-of');

-- The provider decides: what the model costs at one says nothing of another.
select cost_status from record_llm_cost(:'tenant', 'groq', 'gpt-4o', 1000, 100);

-- Half a price is none, where the other half is needed.
select set_model_price('acme', 'half', 1, null, '2020-01-01Z') is not null as made;
select cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'acme', 'half', 1000, 100);
select cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'acme', 'half', 1000, 0);
select set_model_price('acme', 'nothing', null, null, '2020-01-01Z') is not null as made;
select cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'acme', 'nothing', 0, 0);

-- Only a superuser may let enforced charges through without a price.
set pg_tollgate.unpriced = 'allow';
reset role;
set pg_tollgate.unpriced = 'allow';
set role service_role;
select recorded, cost_usd, cost_status, reason
from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1000, 100, p_enforce => true);
