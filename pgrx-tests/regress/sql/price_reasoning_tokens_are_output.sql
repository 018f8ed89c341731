-- Reasoning tokens are counted in the output. They cost their own price where there is one, else that of output.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_model_price('acme', 'thinker', 1, 4, '2020-01-01Z',
    '{"output_cost_per_reasoning_token": 0.000006}') is not null as made;

-- 1000 × 0.000001 = 0.001, 200 × 0.000004 = 0.0008, 300 × 0.000006 = 0.0018: 0.0036.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'thinker', 1000, 500,
    p_usage => '{"reasoning_output_tokens": 300}');
-- Without parts all 500 are plain output: 0.001 + 500 × 0.000004 = 0.003.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'thinker', 1000, 500);

-- gpt-5 has no price for reasoning: 1000 × 0.00000125 + 500 × 0.00001 = 0.00625, however the 500 are made up.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-5', 1000, 500,
    p_usage => '{"reasoning_output_tokens": 300}');
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-5', 1000, 500);

select * from record_llm_cost(:'tenant', 'openai', 'gpt-5', 1000, 500, p_usage => '{"reasoning_output_tokens": 501}');

-- The ledger keeps the inclusive count.
select model_name, input_tokens, output_tokens, usage from copilot_internal.llm_cost_records order by recorded_at;
