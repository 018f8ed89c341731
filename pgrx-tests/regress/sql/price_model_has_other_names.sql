-- A model without a price of its own goes by the price of what is the same by another name, and the record says so.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
select inserted from copilot_internal.import_model_pricing('{
    "gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
    "gpt-4o-2024-05-13": {"litellm_provider": "openai", "input_cost_per_token": 2e-6},
    "azure/gpt-4o-mini": {"litellm_provider": "azure", "input_cost_per_token": 3e-6},
    "vertex_ai/claude-x": {"litellm_provider": "vertex_ai-anthropic_models", "input_cost_per_token": 4e-6},
    "anthropic.claude-x-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 5e-6},
    "groq/open-20b": {"litellm_provider": "groq", "input_cost_per_token": 6e-6},
    "cerebras/open-20b": {"litellm_provider": "cerebras", "input_cost_per_token": 7e-6},
    "groq/same-20b": {"litellm_provider": "groq", "input_cost_per_token": 6e-6},
    "cerebras/same-20b": {"litellm_provider": "cerebras", "input_cost_per_token": 6e-6},
    "deepseek/chat": {"litellm_provider": "deepseek", "input_cost_per_token": 8e-6},
    "chat": {"litellm_provider": "deepseek", "input_cost_per_token": 9e-6}}', 'test', '2026-01-01Z');
insert into copilot_internal.model_aliases (model_provider, model_name, price_provider, price_model)
values ('azure', 'our-deployment', 'openai', 'gpt-4o'), ('openai', 'gpt-4o-2024-05-13', 'groq', 'open-20b');
select m.provider, m.name, e.estimated_cost_usd, e.basis
from (values
    (1, 'openai', 'gpt-4o'), (2, 'OpenAI', 'GPT-4o'), (3, 'openai', 'gpt-4o-2024-08-06'), (4, 'openai', 'gpt-4o-2024-05-13'),
    (5, 'azure', 'gpt-4o'), (6, 'azure.ai.openai', 'gpt-4o-mini'), (7, 'openai', 'gpt-4o-mini-2099-01-01'),
    (8, 'gcp.vertex_ai', 'claude-x@20250101'), (9, 'aws.bedrock', 'eu.anthropic.claude-x-v1:0'),
    (10, 'groq', 'open-20b'), (11, 'cerebras', 'open-20b'), (12, 'together_ai', 'open-20b'),
    (13, 'unknown', 'open-20b'), (14, 'unknown', 'same-20b'), (15, 'unknown', 'unheard-of'),
    (16, 'azure', 'our-deployment'), (17, 'AZURE', 'Our-Deployment'), (18, 'deepseek', 'chat'), (19, 'acme', 'gpt-4o')
) as m (place, provider, name), lateral estimate_llm_cost(m.provider, m.name, 1000000, 0) e
order by m.place;
select cost_record_id as id from record_llm_cost(:'tenant', 'azure', 'gpt-4o-2024-08-06', 1, 0)
\gset
select model_provider, model_name, pricing ->> 'price_provider' as provider, pricing ->> 'price_model' as model, pricing ->> 'price_id' is not null as has_row
from copilot_internal.llm_cost_records where id = :'id';
-- A tenant's own price and an operator's go before the list's of the same name.
select set_model_price('openai', 'gpt-4o', 10, 10, '2026-01-01Z') is not null as made;
select set_model_price('openai', 'gpt-4o', 20, 20, '2026-01-01Z', p_tenant_id => :'tenant') is not null as made;
select estimated_cost_usd, basis from estimate_llm_cost('azure', 'gpt-4o', 1000000, 0);
select estimated_cost_usd, basis from estimate_llm_cost('azure', 'gpt-4o', 1000000, 0, p_tenant_id => :'tenant');
insert into copilot_internal.tenants (id, name) values (:'tenant', 'Acme');
-- An ambiguous price is none: the record is unpriced, and an enforced one refused.
select recorded, cost_usd, cost_status, reason from record_llm_cost(:'tenant', 'unknown', 'open-20b', 1000, 0);
select recorded, reason from record_llm_cost(:'tenant', 'unknown', 'open-20b', 1000, 0, p_enforce => true);
-- One alias a name, whatever its case.
insert into copilot_internal.model_aliases (model_provider, model_name, price_provider, price_model) values ('Azure', 'OUR-deployment', 'x', 'y');
