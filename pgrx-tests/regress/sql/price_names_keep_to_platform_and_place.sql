-- A name finds the price of its own platform and place, and no other for the sake of some price.
\set VERBOSITY terse
set role service_role;
select inserted from copilot_internal.import_model_pricing('{
    "anthropic.claude-x": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 2e-6},
    "us.anthropic.claude-x": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 2.2e-6},
    "bedrock_mantle/anthropic.claude-x": {"litellm_provider": "bedrock_mantle", "input_cost_per_token": 2.4e-6},
    "bedrock_mantle/anthropic.claude-y": {"litellm_provider": "bedrock_mantle", "input_cost_per_token": 1e-6},
    "us.anthropic.claude-y-20250101-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 1.1e-6},
    "anthropic.claude-z-20250101-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 3e-6},
    "eu.anthropic.claude-z-20250101-v1:0": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 3e-6},
    "bedrock/us-gov-west-1/anthropic.claude-z-20250101-v1:0": {"litellm_provider": "bedrock", "input_cost_per_token": 3.6e-6},
    "amazon.t-v1": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6},
    "amazon.t-v2:0": {"litellm_provider": "bedrock", "input_cost_per_token": 2e-6},
    "xai.grok-x": {"litellm_provider": "bedrock_mantle", "input_cost_per_token": 5e-6},
    "gpt-x": {"litellm_provider": "openai", "input_cost_per_token": 1e-6},
    "azure/gpt-x": {"litellm_provider": "azure", "input_cost_per_token": 7e-6},
    "vercel_ai_gateway/openai/gpt-w": {"litellm_provider": "vercel_ai_gateway", "input_cost_per_token": 8e-6},
    "gpt-w": {"litellm_provider": "openai", "input_cost_per_token": 9e-6}}', 'test', '2026-01-01Z');
insert into copilot_internal.model_aliases (model_provider, model_name, price_provider, price_model)
values ('bedrock', 'arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/ours', 'bedrock_converse', 'us.anthropic.claude-x');
select m.provider, m.name, e.estimated_cost_usd, e.basis
from (values
    (1, 'bedrock', 'anthropic.claude-x'), (2, 'aws.bedrock', 'anthropic.claude-x'), (3, 'bedrock_mantle', 'anthropic.claude-x'),
    (4, 'bedrock', 'us.anthropic.claude-x'), (5, 'amazon-bedrock', 'eu.anthropic.claude-x'), (6, 'bedrock', 'us-gov.anthropic.claude-x'),
    (7, 'bedrock', 'us.anthropic.claude-y'), (8, 'bedrock', 'eu.anthropic.claude-y'), (9, 'bedrock', 'anthropic.claude-y'),
    (10, 'bedrock', 'us.anthropic.claude-z'), (11, 'bedrock', 'anthropic.claude-z'), (12, 'bedrock', 'us-east-1/anthropic.claude-z'),
    (13, 'bedrock', 'amazon.t'), (14, 'bedrock', 'xai.grok-x'), (15, 'bedrock', 'us.xai.grok-x'),
    (16, 'bedrock', 'arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-x'),
    (17, 'unknown', 'arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-z-20250101-v1:0'),
    (18, 'bedrock', 'arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-z-20250101-v1:0'),
    (19, 'bedrock', 'arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/ours'),
    (20, 'bedrock', 'arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/theirs'),
    (21, 'unknown', 'gpt-x'), (22, 'litellm_proxy', 'azure/gpt-x'), (23, 'unknown', 'openai:gpt-x'),
    (24, 'openai.responses', 'gpt-x'), (25, 'azure.chat', 'gpt-x'), (26, 'gateway', 'openai/gpt-x'), (27, 'gateway', 'openai/gpt-w'),
    (28, 'openrouter', 'openai/gpt-w:free'), (29, 'acme.chat', 'gpt-x')
) as m (place, provider, name), lateral estimate_llm_cost(m.provider, m.name, 1000000, 0, '{}') e
order by m.place;
