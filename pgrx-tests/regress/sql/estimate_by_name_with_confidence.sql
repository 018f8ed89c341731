-- What one operation of a kind costs: the operator's figure in force, else a shipped size at the model's price, else
-- NULL.
\set VERBOSITY sqlstate
set role service_role;
-- Shipped: a chat is 8000 + 2000 tokens conservatively, 1000 + 250 typically, 300 + 50 optimistically.
-- gpt-4o: 8000 × 0.0000025 + 2000 × 0.00001 = 0.04, 0.0025 + 0.0025 = 0.005, 0.00075 + 0.0005 = 0.00125.
select l.name, get_llm_cost_estimate('openai', 'gpt-4o', 'chat', l.name) as estimate
from unnest(array['conservative', 'typical', 'optimistic']) as l (name);
select get_llm_cost_estimate('openai', 'gpt-4o');
-- An embedding has no output: 8000 × 0.00000002 = 0.00016.
select get_llm_cost_estimate('openai', 'text-embedding-3-small', 'embedding');
-- A standard session is an hour, ten minutes, or one minute: 3600, 600 or 60 × 0.00003025.
select l.name, get_e2b_cost_estimate('standard', p_confidence_level => l.name) as estimate
from unnest(array['conservative', 'typical', 'optimistic']) as l (name);
-- A kind, model or type that nobody has described is unknown.
select get_llm_cost_estimate('openai', 'gpt-4o', 'agent'), get_llm_cost_estimate('acme', 'unheard-of'),
       get_e2b_cost_estimate('unheard-of'), get_e2b_cost_estimate('standard', 'us-east-1', 'nightly');
-- A session is no chat and a chat no session.
select get_llm_cost_estimate('openai', 'gpt-4o', 'standard_session'), get_e2b_cost_estimate('standard', 'us-east-1', 'chat');

-- The operator's, of which the one that began last is in force, while it is.
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, operation_type, confidence_level, estimated_cost_usd, effective_from, effective_to)
values ('openai', 'gpt-4o', 'chat', 'typical', 0.1, '2020-01-01Z', null),
       ('openai', 'gpt-4o', 'chat', 'typical', 0.2, '2021-01-01Z', null),
       ('openai', 'gpt-4o', 'chat', 'typical', 0.3, '2022-01-01Z', '2022-02-01Z'),
       ('openai', 'gpt-4o', 'chat', 'typical', 0.4, '2199-01-01Z', null),
       ('acme', 'unheard-of', 'agent', 'conservative', 1.5, '2020-01-01Z', null);
select get_llm_cost_estimate('openai', 'gpt-4o', 'chat', 'typical'), get_llm_cost_estimate('openai', 'gpt-4o', 'chat', 'optimistic'),
       get_llm_cost_estimate('acme', 'unheard-of', 'agent');
insert into copilot_internal.e2b_cost_estimates (sandbox_type, region, operation_type, confidence_level, estimated_cost_usd)
values ('standard', 'eu-west-1', 'standard_session', 'conservative', 0.5);
select get_e2b_cost_estimate('standard', 'eu-west-1'), get_e2b_cost_estimate('standard');
-- 0 is an estimate.
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('local', 'llama', 0);
select get_llm_cost_estimate('local', 'llama');

select get_llm_cost_estimate('openai', 'gpt-4o', 'chat', 'certain');
select get_llm_cost_estimate('openai', 'gpt-4o', 'chat', null);
select get_e2b_cost_estimate('standard', p_confidence_level => 'certain');
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('openai', 'gpt-4o', 'NaN');
insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('openai', 'gpt-4o', -1);
-- Anybody who is signed in may ask.
set role authenticated;
select get_llm_cost_estimate('openai', 'gpt-4o', 'chat', 'typical'), get_e2b_cost_estimate('standard', 'eu-west-1');
