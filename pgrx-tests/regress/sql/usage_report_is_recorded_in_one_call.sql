-- record_llm_usage takes the usage object of a provider, gateway or library, alone or in its whole response: normalized,
-- priced with its tier, recorded, in one call.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 10, 'lifetime') is not null as made;

-- gpt-4o: 40 × 0.0000025 + 60 × 0.00000125 + 20 × 0.00001.
select recorded, cost_usd, cost_status, remaining_usd, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o',
    '{"id": "chatcmpl-1", "choices": [{"message": {"content": "secret"}}], "usage": {"prompt_tokens": 100, "completion_tokens": 20,
      "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60}}}', :'user', p_task => 'chat', p_trace_id => 't');
-- claude-haiku-4-5: 10 × 0.000001 + 1000 × 0.0000001 + 20 × 0.000005.
select cost_usd, cost_status from record_llm_usage(:'tenant', 'anthropic', 'claude-haiku-4-5',
    '{"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 0}');
-- A batch is half of it; what the caller says goes before what was found.
select cost_usd from record_llm_usage(:'tenant', 'anthropic', 'claude-haiku-4-5', '{"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 1000, "service_tier": "batch"}');
select cost_usd from record_llm_usage(:'tenant', 'anthropic', 'claude-haiku-4-5', '{"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 1000, "service_tier": "batch"}', p_service_tier => 'standard');
-- Reasoning beside the completion: 100 × 0.0000025 + 50 × 0.00001.
select cost_usd from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150}');
select user_id is not null as user, task, input_tokens, output_tokens, usage, service_tier, cost_usd
from copilot_internal.llm_cost_records order by recorded_at;

-- What a gateway says that it billed is the cost, unless the caller says; what the list says stands beside it.
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0.00045, "is_byok": false}', p_request_id => 'gateway');
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0.00002, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.00045}}');
select cost_usd, cost_status from record_llm_usage(:'tenant', 'xai', 'grok-4', '{"prompt_tokens": 10120, "completion_tokens": 1499, "total_tokens": 14428, "completion_tokens_details": {"reasoning_tokens": 2809}, "cost_in_usd_ticks": 232856000}');
select cost_usd, cost_status from record_llm_usage(:'tenant', 'perplexity', 'sonar', '{"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110, "search_context_size": "low", "num_search_queries": 1, "cost": {"input_tokens_cost": 0.00001, "output_tokens_cost": 0.0001, "request_cost": 0.005, "total_cost": 0.00511}}');
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"prompt_tokens": 100, "completion_tokens": 20, "cost": 0.00045}', p_cost_usd => 0.5);
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"prompt_tokens": 100, "completion_tokens": 20, "cost": 0.00045}', p_cost_usd => 0.00045);
-- Where the two differ, what the gateway said is kept beside it, and counts nowhere.
select cost_usd, provider_cost_usd, reported_cost_usd, usage ? 'reported_cost_usd' as told from copilot_internal.llm_cost_records where reported_cost_usd is not null;

-- The same request again replays, in whatever spelling; other content is refused.
select recorded, cost_usd, replayed from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"usage": {"promptTokens": 100, "completionTokens": 20, "totalTokens": 120, "cost": 0.00045}}', p_request_id => 'gateway');
\set VERBOSITY sqlstate
select * from record_llm_usage(:'tenant', 'openrouter', 'openai/gpt-4o', '{"prompt_tokens": 101, "completion_tokens": 20, "cost": 0.00045}', p_request_id => 'gateway');
\set VERBOSITY terse

-- Another model that worked on behalf of the call costs what it costs: claude-haiku-4-5 and, 100 × 0.0000025 + 10 × 0.00001, gpt-4o.
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 0, "iterations": [{"type": "message", "input_tokens": 10, "output_tokens": 20}, {"type": "advisor_message", "model": "gpt-4o", "input_tokens": 100, "output_tokens": 10}]}', p_request_id => 'advised');
select cost_usd, cost_status, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"input_tokens": 10, "output_tokens": 20, "iterations": [{"type": "advisor_message", "model": "unheard-of", "input_tokens": 100, "output_tokens": 10}]}');
select pricing ->> 'total_usd' as own, pricing -> 'other_model' ->> 'model' as other, pricing -> 'other_model' ->> 'cost_usd' as others
from copilot_internal.llm_cost_records where request_id = 'advised';

-- What is not understood is never 0. Enforced it is refused; when the money is spent it is kept, and costs what a hold set aside.
select * from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"foo": "bar"}', p_enforce => true);
select * from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"prompt_tokens": -1}', p_enforce => true);
select * from record_llm_usage(:'tenant', 'openai', 'gpt-4o', null);
select recorded, cost_usd, cost_status, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"foo": "bar"}', p_request_id => 'lost');
select recorded, cost_usd, cost_status, reason, replayed from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"foo": "bar"}', p_request_id => 'lost');
select recorded, cost_usd, cost_status, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '[1]');
select recorded, cost_usd, cost_status, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"prompt_tokens": 1e131000}');
select recorded, cost_usd, cost_status, reason from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"foo": "bar"}', p_cost_usd => 0.25);
select reservation_id as hold from reserve_quota(:'tenant', 'llm', 0.5, 'hold') \gset
select recorded, cost_usd, cost_status from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"foo": "bar"}', p_reservation_id => :'hold', p_enforce => true);
select input_tokens, usage, cost_usd, cost_status, pricing -> 'not_understood' as not_understood, pricing ->> 'because' as because
from copilot_internal.llm_cost_records where pricing ? 'not_understood' order by recorded_at;

-- Enforced it is check and record in one step.
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select recorded, quota_status, remaining_usd from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"prompt_tokens": 1000000, "completion_tokens": 20}', p_enforce => true);
reset role;
set role authenticated;
select * from record_llm_usage(:'tenant', 'openai', 'gpt-4o', '{"prompt_tokens": 1}');
