-- What a tenant pays is for its members to see; what the operator adds to the price is not.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-000000000001
\set two b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann'),
    ('a0000000-0000-4000-8000-000000000002', 'First', :'two'), ('a0000000-0000-4000-8000-000000000003', 'Second', :'two');
set role service_role;
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z', '{"provider_specific_entry": {"us": 1.1}}') is not null as made;
insert into copilot_internal.price_markups (tenant_id, factor) values (:'tenant', 3.5), ('a0000000-0000-4000-8000-000000000003', 2);
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100);
select cost_usd from record_e2b_cost(:'tenant', 's', 'standard', 10);
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_usage => '{"inference_geo": "us"}');
-- The record tells what each part came to with it; the factor is in price_markups alone.
select pricing - 'price_id' as pricing from copilot_internal.llm_cost_records order by recorded_at;
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100);
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, p_tenant_id => :'tenant');
reset role;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001"}', false) is null as set;
set role authenticated;
select cost_usd, input_tokens from copilot_internal.llm_cost_records;
select cost_usd, duration_seconds from copilot_internal.e2b_cost_records;
select count(*) from copilot_internal.llm_cost_records r where r.pricing::text ~ 'markup|3\.5';
-- Beside the cost, what the provider bills would tell the factor.
select provider_cost_usd from copilot_internal.llm_cost_records;
select provider_cost_usd from copilot_internal.e2b_cost_records;
select count(*) from copilot_internal.cost_corrections where provider_cost_usd < 0;
select sum(provider_cost_usd) from copilot_internal.cost_rollups;
select r from copilot_internal.llm_cost_records r;
table metrics.margins;
select pricing from copilot_internal.e2b_cost_records;
table copilot_internal.price_markups;
-- An estimate that names no tenant is for the caller's own, by preference or because there is one only.
select e.estimated_cost_usd, f.estimated_cost_usd = e.estimated_cost_usd as same, f.basis
from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, p_tenant_id => :'tenant') e, estimate_llm_cost('openai', 'gpt-4o', 1000, 100) f;
select e.estimated_cost_usd = f.estimated_cost_usd as same
from estimate_e2b_cost('standard', 10, p_tenant_id => :'tenant') e, estimate_e2b_cost('standard', 10) f;
select get_llm_cost_estimate('openai', 'gpt-4o') = get_llm_cost_estimate('openai', 'gpt-4o', p_tenant_id => :'tenant') as same;
reset role;
-- Who has two and prefers none says which.
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000002"}', false) is null as set;
set role authenticated;
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100);
select switch_tenant('a0000000-0000-4000-8000-000000000003');
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100);
reset role;
-- Who has none pays what everybody would.
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000009"}', false) is null as set;
set role authenticated;
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100);
