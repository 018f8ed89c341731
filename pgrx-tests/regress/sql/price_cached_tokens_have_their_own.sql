-- Input tokens that were read from a cache cost the cache price, and those written to it the creation price. The input
-- count includes both.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;

-- gpt-4o: 2.5 USD per million input, 1.25 cached, 10 output.
-- 600 × 0.0000025 = 0.0015, 400 × 0.00000125 = 0.0005, 100 × 0.00001 = 0.001: 0.003.
select cost_usd, cost_status from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100,
    p_usage => '{"cache_read_input_tokens": 400}');
select line ->> 'component' as component, line -> 'tokens' as tokens, line ->> 'usd_per_token' as usd_per_token,
       line ->> 'cost_usd' as cost_usd
from copilot_internal.llm_cost_records, jsonb_array_elements(pricing -> 'lines') as line;

-- gpt-4-turbo has no cache price: cached tokens cost what input costs. 1000 × 0.00001 + 100 × 0.00003 = 0.013.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4-turbo', 1000, 100,
    p_usage => '{"cache_read_input_tokens": 400}');

-- claude-haiku-4-5: 1 USD per million input, 1.25 to write the cache, 0.1 to read it, 5 output.
-- 300 × 0.000001 = 0.0003, 500 × 0.00000125 = 0.000625, 200 × 0.0000001 = 0.00002, 10 × 0.000005 = 0.00005: 0.000995.
select cost_usd from record_llm_cost(:'tenant', 'anthropic', 'claude-haiku-4-5', 1000, 10,
    p_usage => '{"cache_read_input_tokens": 200, "cache_creation_input_tokens": 500}');

-- deepseek-chat writes its cache for 0, which is a price: 500 × 0.00000028 = 0.00014 for the rest.
select cost_usd from record_llm_cost(:'tenant', 'deepseek', 'deepseek-chat', 1000, 0,
    p_usage => '{"cache_creation_input_tokens": 500}');

-- Parts that exceed the whole are a mistake, not a cost.
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0, p_usage => '{"cache_read_input_tokens": 1001}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0,
    p_usage => '{"cache_read_input_tokens": 600, "cache_creation_input_tokens": 401}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0, p_usage => '{"cache_read_input_tokens": -1}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0, p_usage => '{"cache_read_input_tokens": 0.5}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0, p_usage => '{"cache_read_input_tokens": "1"}');
select * from record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 0, p_usage => '[400]');
select count(*) from copilot_internal.llm_cost_records;
