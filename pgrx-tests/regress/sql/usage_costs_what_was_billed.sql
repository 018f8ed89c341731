-- Reports that were published with what their provider billed, or with its prices, cost just that. Each stands for a kind.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
create function pg_temp.cost(p_provider text, p_model text, p_report jsonb) returns numeric language sql as $$
    select e.estimated_cost_usd
    from public.normalize_llm_usage(p_provider, p_report) u, lateral public.estimate_llm_cost(
        p_provider, p_model, (u ->> 'input_tokens')::bigint, (u ->> 'output_tokens')::bigint, u) e
$$;

-- tensorzero/tensorzero#5688: Bedrock's Converse counts caches under two names, and the total is of all.
-- 18 × 0.000001 + 7502 × 0.00000125 + 386 × 0.000005; 18 × 0.000001 + 7502 × 0.0000001 + 503 × 0.000005.
select set_model_price('bedrock', 'm1', 1, 5, '2025-01-01Z', '{"cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 1.25e-6}') is not null as made;
select pg_temp.cost(p, 'm1', u) from (values
    (1, 'bedrock', '{"cacheDetails": [{"inputTokens": 7502, "ttl": "5m"}], "cacheReadInputTokenCount": 0, "cacheReadInputTokens": 0, "cacheWriteInputTokenCount": 7502,
        "cacheWriteInputTokens": 7502, "inputTokens": 18, "outputTokens": 386, "serverToolUsage": {}, "totalTokens": 7906}'::jsonb),
    (2, 'aws.bedrock', '{"cacheReadInputTokenCount": 7502, "cacheReadInputTokens": 7502, "cacheWriteInputTokenCount": 0, "cacheWriteInputTokens": 0,
        "inputTokens": 18, "outputTokens": 503, "serverToolUsage": {}, "totalTokens": 8023}'),
    (3, 'bedrock', '{"cacheReadInputTokens": 0, "cacheWriteInputTokens": 7502, "inputTokens": 18, "outputTokens": 386, "totalTokens": 7906}')) r (place, p, u)
order by place;
-- Of three such calls none fits a tenth of a cent.
select set_quota('tenant', :'tenant', 'llm', 0.001, 'lifetime') is not null as made;
select r.recorded, r.quota_status
from normalize_llm_usage('bedrock', '{"cacheReadInputTokenCount": 0, "cacheReadInputTokens": 0, "cacheWriteInputTokenCount": 7502, "cacheWriteInputTokens": 7502,
         "inputTokens": 18, "outputTokens": 386, "totalTokens": 7906}') u, generate_series(1, 3),
     lateral record_llm_cost(:'tenant', 'bedrock', 'm1', (u ->> 'input_tokens')::bigint, (u ->> 'output_tokens')::bigint, p_usage => u, p_enforce => true) r;

-- Wei-Shaw/sub2api#5771, vercel/ai#12425, UKGovernmentBEIS/inspect_ai#5528: xAI counts reasoning beside the completion, which the total
-- tells, by whatever way it comes. It billed 0.0232856: (10120 − 128) × 0.00000125 + 128 × 0.0000002 + 4308 × 0.0000025.
select set_model_price('xai', 'm3', 1.25, 2.5, '2025-01-01Z', '{"cache_read_input_token_cost": 2e-7}') is not null as made;
select pg_temp.cost('xai', 'm3', '{"prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": 14428, "prompt_tokens_details": {"cached_tokens": 128},
    "completion_tokens_details": {"reasoning_tokens": 2809}, "cost_in_usd_ticks": 232856000}');
select p, normalize_llm_usage(p, u) -> 'output_tokens' as output from (values
    (1, 'xai', '{"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399, "completion_tokens_details": {"reasoning_tokens": 386}}'::jsonb),
    (2, 'openai', '{"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399, "completion_tokens_details": {"reasoning_tokens": 386}}'),
    (3, 'xai', '{"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "completion_tokens_details": {"reasoning_tokens": 30}}')) r (place, p, u)
order by place;

-- BerriAI/litellm#39850: of 346 tokens, 194 of them an image, 322 were cached, and it is not said which. Each is priced once:
-- 24 × 0.0000008 + 170 × 0.00000008 + 152 × 0.00000006 + 29 × 0.0000024.
select set_model_price('openai', 'm5', 0.6, 2.4, '2025-01-01Z', '{"cache_read_input_token_cost": 6e-8, "cache_read_input_image_token_cost": 8e-8,
    "input_cost_per_image_token": 8e-7, "input_cost_per_audio_token": 1e-5}') is not null as made;
select pg_temp.cost('openai', 'm5', '{"total_tokens": 375, "prompt_tokens": 346, "completion_tokens": 29, "prompt_tokens_details": {"text_tokens": 152, "audio_tokens": 0,
    "image_tokens": 194, "video_tokens": 0, "cached_tokens": 322}, "completion_tokens_details": {"text_tokens": 10, "reasoning_tokens": 19}}');
select normalize_llm_usage(p, u) from (values
    (1, 'openai', '{"prompt_tokens": 2006, "completion_tokens": 10, "total_tokens": 2016, "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 500}}'::jsonb),
    (2, 'gemini', '{"promptTokenCount": 700, "candidatesTokenCount": 10, "totalTokenCount": 710, "cachedContentTokenCount": 600,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 400}, {"modality": "TEXT", "tokenCount": 300}]}'),
    -- litellm#18750: said, it is as it is said.
    (3, 'gemini', '{"promptTokenCount": 9660, "candidatesTokenCount": 20, "totalTokenCount": 9680, "cachedContentTokenCount": 9651,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9402}, {"modality": "IMAGE", "tokenCount": 258}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 9393}, {"modality": "IMAGE", "tokenCount": 258}]}')) r (place, p, u)
order by place;

-- m1guelpf/swift-realtime-openai#35, livekit/agents#2621, 2witstudios/PageSpace#2391: Realtime writes its details in the singular.
-- 164 × 0.000004 + 128 × 0.0000004 + 229 × 0.000032 + 5 × 0.000016 + 15 × 0.000064.
select set_model_price('openai', 'm6', 4, 16, '2025-01-01Z', '{"cache_read_input_token_cost": 4e-7, "cache_read_input_audio_token_cost": 4e-7,
    "input_cost_per_audio_token": 3.2e-5, "output_cost_per_audio_token": 6.4e-5}') is not null as made;
select pg_temp.cost('openai', 'm6', '{"total_tokens": 541, "input_tokens": 521, "output_tokens": 20, "input_token_details": {"text_tokens": 292, "audio_tokens": 229,
    "cached_tokens": 128, "cached_tokens_details": {"text_tokens": 128, "audio_tokens": 0}}, "output_token_details": {"text_tokens": 5, "audio_tokens": 15}}');
select normalize_llm_usage('openai', '{"type": "tokens", "total_tokens": 59, "input_tokens": 14, "input_token_details": {"text_tokens": 0, "audio_tokens": 14}, "output_tokens": 45}');

-- BerriAI/litellm#31142: the endpoints of images do not divide their output, which is images: 10 × 0.000005 + 40 × 0.000008 + 4160 × 0.000032.
-- Output of a chat model is text: 50 × 0.000005 + 4160 × 0.00001.
select inserted from copilot_internal.import_model_pricing('{
    "image-8": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 5e-6, "input_cost_per_image_token": 8e-6, "output_cost_per_image_token": 3.2e-5},
    "image-8t": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 5e-6, "output_cost_per_token": 1e-5, "input_cost_per_image_token": 8e-6,
        "output_cost_per_image_token": 3.2e-5},
    "chat-8": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 5e-6, "output_cost_per_token": 1e-5, "output_cost_per_image_token": 3.2e-5}}',
    'test', '2025-01-01Z', p_force => true);
select m, pg_temp.cost('openai', m, u) from (values
    (1, 'image-8', '{"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}'::jsonb),
    (2, 'image-8t', '{"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}'),
    (3, 'chat-8', '{"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}'),
    (4, 'image-8t', '{"total_tokens": 4210, "input_tokens": 50, "output_tokens": 4160, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0}}')) r (place, m, u)
order by place;

-- api7/aisix#868, BerriAI/litellm#36357, envoyproxy/ai-gateway#2186: a transcription that is billed by the second of its recording.
select set_model_price('openai', 'm9', null, null, '2025-01-01Z', '{"input_cost_per_second": 0.0001, "output_cost_per_second": 0}') is not null as made;
select pg_temp.cost('openai', 'm9', '{"type": "duration", "seconds": 11}') as whole, pg_temp.cost('openai', 'm9', '{"type": "duration", "seconds": 2.5}') as fraction;
select normalize_llm_usage('mistral', '{"prompt_audio_seconds": 12, "prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}');

-- PostHog/posthog-js#2323, pydantic/genai-prices#115, maximhq/bifrost#7306, Wei-Shaw/sub2api#4644, Embassy-of-the-Free-Mind/sourcelibrary-v2#4599:
-- the tier, tools and searches that a response tells beside its usage count.
select normalize_llm_usage(p, u) from (values
    (1, 'openai', '{"id": "r", "service_tier": "priority", "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}'::jsonb),
    (2, 'openai', '{"usage": {"input_tokens": 1000, "output_tokens": 50, "total_tokens": 1050}, "tool_usage": {"web_search": {"num_requests": 3}}}'),
    (3, 'gemini', '{"candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}}')) r (place, p, u)
order by place;
-- A batch is half of 0.0015, priority twice of it.
select count(set_model_price(p, 'm11', 1, 5, '2025-01-01Z', '{"input_cost_per_token_priority": 2e-6, "output_cost_per_token_priority": 1e-5}'))
from unnest(array['anthropic', 'gemini']) p;
select pg_temp.cost('anthropic', 'm11', '{"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 0, "service_tier": "batch"}') as batch,
       pg_temp.cost('gemini', 'm11', '{"promptTokenCount": 1000, "candidatesTokenCount": 100, "totalTokenCount": 1100, "trafficType": "ON_DEMAND_PRIORITY"}') as priority;

-- ccusage/ccusage#1115, getagentseal/codeburn#659: an advisor is another model's call, which the totals leave out; "message" they include.
select normalize_llm_usage('anthropic', '{"input_tokens": 2, "output_tokens": 491, "cache_read_input_tokens": 226584, "cache_creation_input_tokens": 7853, "iterations": [
    {"type": "message", "input_tokens": 1, "output_tokens": 45, "cache_read_input_tokens": 109696, "cache_creation_input_tokens": 7192},
    {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 159419, "output_tokens": 7805},
    {"type": "message", "input_tokens": 1, "output_tokens": 446, "cache_read_input_tokens": 116888, "cache_creation_input_tokens": 661}]}');
-- 159419 × 0.000001 + 7805 × 0.000005 beside 2 × 0.000001 + 226584 × 0.0000001 + 7853 × 0.00000125 + 491 × 0.000005, at prices made up.
select count(set_model_price('anthropic', m, 1, 5, '2025-01-01Z', '{"cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 1.25e-6}'))
from unnest(array['m12', 'claude-opus-4-7']) m;
select cost_usd, cost_status from record_llm_usage(:'tenant', 'anthropic', 'm12', '{"input_tokens": 2, "output_tokens": 491, "cache_read_input_tokens": 226584, "cache_creation_input_tokens": 7853,
    "iterations": [{"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 159419, "output_tokens": 7805}]}');
-- So is the model that drew what a response shows: 2000 × 0.000005 + 50 × 0.00001 beside 100 × 0.000005 + 1056 × 0.000032.
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openai', 'chat-8', '{"tools": [{"type": "image_generation", "model": "image-8t"}],
    "usage": {"input_tokens": 2000, "output_tokens": 50, "total_tokens": 2050}, "tool_usage": {"image_gen": {"input_tokens": 100,
        "input_tokens_details": {"text_tokens": 100, "image_tokens": 0}, "output_tokens": 1056, "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0}, "total_tokens": 1156}}}',
    p_request_id => 'drawn');
select pricing ->> 'total_usd' as own, pricing -> 'other_model' ->> 'model' as other, pricing -> 'other_model' ->> 'cost_usd' as others
from copilot_internal.llm_cost_records where request_id = 'drawn';
