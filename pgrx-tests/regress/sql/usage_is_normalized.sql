-- What providers report becomes what record_llm_cost takes: input with cached tokens, output with reasoning.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
select normalize_llm_usage('openai', '{"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens_details": {"reasoning_tokens": 5}}') as chat;
select normalize_llm_usage('openai', '{"input_tokens": 100, "output_tokens": 20, "input_tokens_details": {"cached_tokens": 60}, "output_tokens_details": {"reasoning_tokens": 5}}') as responses;
select normalize_llm_usage('anthropic', '{"input_tokens": 40, "output_tokens": 20, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 0, "novel": 1}') as anthropic;
select normalize_llm_usage('google', '{"promptTokenCount": 100, "candidatesTokenCount": 15, "thoughtsTokenCount": 5, "totalTokenCount": 120, "cachedContentTokenCount": 60}') as gemini;
select normalize_llm_usage('bedrock', '{"inputTokens": 40, "outputTokens": 20, "totalTokens": 120, "cacheReadInputTokens": 60}') as bedrock;
select normalize_llm_usage('any', '{"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20, "gen_ai.usage.cache_read.input_tokens": 60}') as otel;
-- Straight into a record: 40 × 0.0000025 + 60 × 0.00000125 + 20 × 0.00001.
select r.cost_usd
from normalize_llm_usage('openai', '{"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 60}}') u,
     lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o', (u ->> 'input_tokens')::bigint, (u ->> 'output_tokens')::bigint, p_usage => u) r;
-- Cached tokens that the prompt cannot include stand beside it; a total that is less is told, one that is more is reasoning.
select normalize_llm_usage('openai', '{"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 101}}');
select normalize_llm_usage('openai', '{"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 100}');
select normalize_llm_usage('openai', '{"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 150}');
select normalize_llm_usage('acme', normalize_llm_usage('anthropic', '{"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 60, "novel": 1}')) as twice;
select normalize_llm_usage('openai', '{"response": {"status_code": 200, "body": {"service_tier": "default", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}}}') as batch;
select normalize_llm_usage('openai', '{"foo": "bar"}');
select normalize_llm_usage('openai', '{}');
select normalize_llm_usage('openai', '{"prompt_tokens": null, "completion_tokens": null}');
select normalize_llm_usage('openai', '{"prompt_tokens": -1}');
select normalize_llm_usage('openai', '{"prompt_tokens": 1e30}');
select normalize_llm_usage('openai', '{"prompt_tokens": 1e131000}');
select normalize_llm_usage('openai', '[]');
select normalize_llm_usage('openai', null);
select normalize_llm_usage(null, '{}');
-- Whatever a document holds is read as it lies: keys and elements beyond the thirty-second, numbers of every kind, nothing.
select normalize_llm_usage('openai', '{"prompt_tokens": 1}'::jsonb || d) -> 'unknown' = d as same, octet_length(d::text) as bytes
from (select jsonb_build_object('kinds', '{"s": "é😀\"\\\n", "": "", "t": true, "f": false, "n": null, "i": -5, "d": 0.00045, "w": 12.50, "b": 123456789012345678901234567890,
        "l": [1, "a", [2, {"k": [3, null]}], null, false, [], 1e-20]}'::jsonb,
    'many', (select jsonb_agg(i * 1000003) from generate_series(1, 50) i),
    'keys', (select jsonb_object_agg('key' || i, case when i % 3 = 0 then to_jsonb(i::text) when i % 3 = 1 then to_jsonb(i / 7.0) else to_jsonb(array[i]) end)
             from generate_series(1, 48) i)) as d) documents;
select normalize_llm_usage('openai', j) from unnest(array['null', '5', '"x"', 'true', '[{"prompt_tokens": 1}]']::jsonb[]) j limit 1;
