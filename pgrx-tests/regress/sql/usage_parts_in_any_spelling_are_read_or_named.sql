-- p_usage in another form than ours is read all the same, and what is not understood of it is named in the record.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;

-- gpt-4o: 400 × 0.0000025 + 600 × 0.00000125 + 100 × 0.00001 = 0.00275, in whatever spelling.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"cache_read_input_tokens": 600}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"prompt_tokens_details": {"cached_tokens": 600}}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "prompt_tokens_details": {"cached_tokens": 600}}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"cache_read_input_token": 600}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"cachedInputTokens": "600", "cache_creation": null}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 0, 0, p_usage => '{"usage": {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}}');
select pricing ? 'not_understood' as named, count(*) from copilot_internal.llm_cost_records group by 1;

-- Anthropic counts the cache beside the input: what the caller took from its object is not all. claude-haiku-4-5:
-- 10 × 0.000001 + 1000 × 0.0000001 + 20 × 0.000005 = 0.00021.
select cost_usd from record_llm_cost(:'tenant', 'anthropic', 'claude-haiku-4-5', 10, 20, p_request_id => 'raw',
    p_usage => '{"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 0}');
select input_tokens, output_tokens from copilot_internal.llm_cost_records where request_id = 'raw';

-- What is not understood is named, and costs nothing.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_request_id => 'novel',
    p_usage => '{"cache_read_input_tokens": 600, "cash_read": 5, "prompt_tokens_details": {"novel_tokens": 7}}');
select pricing -> 'not_understood' as not_understood, usage from copilot_internal.llm_cost_records where request_id = 'novel';
select cost_usd from record_llm_cost(:'tenant', 'acme', 'unheard-of', 1, 1, p_request_id => 'unpriced', p_usage => '{"novel": 1}');
select pricing, cost_status from copilot_internal.llm_cost_records where request_id = 'unpriced';

-- A tier in p_usage counts like p_service_tier, which goes before it.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"service_tier": "batch"}', p_request_id => 'tier');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_usage => '{"service_tier": "batch"}', p_service_tier => 'default');
select service_tier from copilot_internal.llm_cost_records where request_id = 'tier';
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, '{"service_tier": "batch"}');
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, '{"prompt_tokens_details": {"cached_tokens": 600}}');
select ordinal, cost_usd from record_llm_costs(jsonb_build_array(jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'openai', 'model_name', 'gpt-4o',
    'input_tokens', 1000, 'output_tokens', 100, 'usage', '{"prompt_tokens_details": {"cached_tokens": 600}}'::jsonb)));

-- In our own form parts that exceed the whole are a mistake still.
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 100, 1, p_usage => '{"cache_read_input_tokens": 101}');

-- What a later version understands, reprice finds: here a price that came later, for a report that was kept in our form.
select cost_status from record_llm_usage(:'tenant', 'acme', 'late', '{"prompt_tokens": 1000000, "completion_tokens": 0, "total_tokens": 1000000}', p_occurred_at => '2026-01-02Z');
select set_model_price('acme', 'late', 2, 3, '2026-01-01Z') is not null as made;
select name, records, present_usd, repriced_usd, adjusted from copilot_internal.reprice('2026-01-01Z', '2026-01-03Z');
