-- Output that an endpoint of images does not divide is images; Google bills the searches of a prompt once up to Gemini 2.
set role service_role;
select inserted from copilot_internal.import_model_pricing('{
    "image-1": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 5e-6, "input_cost_per_image_token": 8e-6, "output_cost_per_image_token": 3e-5},
    "image-2": {"litellm_provider": "openai", "mode": "image_edit", "output_cost_per_token": 1e-5, "output_cost_per_image_token": 3e-5},
    "chat-1": {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-5, "output_cost_per_image_token": 3e-5},
    "gemini/gemini-2.5-image": {"litellm_provider": "gemini", "mode": "image_generation", "output_cost_per_token": 1e-5, "output_cost_per_image_token": 3e-5,
        "search_context_cost_per_query": {"search_context_size_medium": 0.035}},
    "gemini/gemini-3-x": {"litellm_provider": "gemini", "output_cost_per_token": 1e-5, "search_context_cost_per_query": {"search_context_size_medium": 0.014}},
    "gemini/gemini-2-y": {"litellm_provider": "gemini", "output_cost_per_token": 1e-5, "web_search_billing_unit": "per_query", "search_context_cost_per_query": {"search_context_size_medium": 0.014}},
    "other/gemini-2-z": {"litellm_provider": "other", "output_cost_per_token": 1e-5, "search_context_cost_per_query": {"search_context_size_medium": 0.01}},
    "other/w": {"litellm_provider": "other", "output_cost_per_token": 1e-5, "web_search_billing_unit": "per_prompt", "search_context_cost_per_query": {"search_context_size_medium": 0.01}},
    "f": {"litellm_provider": "openai", "output_cost_per_token": 1e-5, "fedramp_uplift_multiplier": 1.1}}', 'test', '2026-01-01Z');
select m.provider, m.name, m.usage, e.estimated_cost_usd
from (values
    (1, 'openai', 'image-1', '{}'), (2, 'openai', 'image-1', '{"output_image_tokens": 1000000}'), (3, 'openai', 'image-2', '{}'),
    (4, 'openai', 'image-2', '{"output_image_tokens": 0}'), (5, 'openai', 'image-2', '{"output_image_tokens": 400000}'), (6, 'openai', 'chat-1', '{}'),
    (7, 'gemini', 'gemini-2.5-image', '{}'), (8, 'gemini', 'gemini-2.5-image', '{"web_search_requests": 3}'),
    (9, 'gemini', 'gemini-2.5-image', '{"web_search_requests": 3, "requests": 2}'), (10, 'gemini', 'gemini-2.5-image', '{"web_search_requests": 0}'),
    (11, 'gemini', 'gemini-3-x', '{"web_search_requests": 3}'), (12, 'gemini', 'gemini-2-y', '{"web_search_requests": 3}'),
    (13, 'other', 'gemini-2-z', '{"web_search_requests": 3}'), (14, 'other', 'w', '{"web_search_requests": 3}'),
    (15, 'openai', 'f', '{"data_residency": "fedramp"}'), (16, 'openai', 'f', '{"data_residency": "us"}')
) as m (place, provider, name, usage), lateral estimate_llm_cost(m.provider, m.name, 0, 1000000, m.usage::jsonb) e
order by m.place;
