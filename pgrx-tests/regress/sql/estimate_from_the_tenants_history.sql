-- What a tenant's own operations of a kind have cost is its estimate: the median is typical, the 95th percentile
-- conservative, the 5th optimistic.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;
select count(*) from generate_series(1, 100) g,
    lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_task => 'summary', p_cost_usd => g * 0.01) r;
-- Nineteen are too few to tell.
select count(*) from generate_series(1, 19) g,
    lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o-mini', 1, 1, p_cost_usd => 7) r;
select count(*) from generate_series(1, 20) g,
    lateral record_e2b_cost(:'tenant', 'box', 'gpu', 1, p_cost_usd => g) r;
select task, done from copilot_internal.maintain();
select l.level, get_llm_cost_estimate('openai', 'gpt-4o', 'summary', l.level, :'tenant') as calls,
       get_e2b_cost_estimate('gpu', p_confidence_level => l.level, p_tenant_id => :'tenant') as sessions
from unnest(array['conservative', 'typical', 'optimistic']) as l (level);
-- Nobody else's: for others there is no estimate of the kind, and what has too few records is the shipped profile.
select get_llm_cost_estimate('openai', 'gpt-4o', 'summary'), get_llm_cost_estimate('openai', 'gpt-4o', 'summary', p_tenant_id => :'other'),
       get_llm_cost_estimate('openai', 'gpt-4o-mini', 'chat', 'typical', :'tenant');
-- Once an hour.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1, 1, p_task => 'summary', p_cost_usd => 100);
select task, done from copilot_internal.maintain();
-- What the operator writes goes before history, a tenant's row before one for all.
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, operation_type, confidence_level, estimated_cost_usd)
values ('openai', 'gpt-4o', 'summary', 'typical', 3);
select get_llm_cost_estimate('openai', 'gpt-4o', 'summary', 'typical', :'tenant');
insert into copilot_internal.llm_cost_estimates (tenant_id, model_provider, model_name, operation_type, confidence_level, estimated_cost_usd)
values (:'tenant', 'openai', 'gpt-4o', 'summary', 'typical', 4);
select get_llm_cost_estimate('openai', 'gpt-4o', 'summary', 'typical', :'tenant'), get_llm_cost_estimate('openai', 'gpt-4o', 'summary', 'typical');
select resource_type, operation_type, confidence_level, estimated_cost_usd, right(tenant_id::text, 1) as tenant, from_history
from metrics.cost_estimates order by 1, 2, 3, 4;
-- A stranger sees what is for all.
set role authenticated;
set request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000009"}';
select count(*) from metrics.cost_estimates;
select count(*) from copilot_internal.llm_cost_estimates;
