-- A price above N tokens of context is a cliff: with one input token more than N, every part uses it.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;

-- gemini-2.5-pro, USD per million: 1.25 input, 0.125 cached, 10 output; above 200,000 tokens 2.5, 0.25 and 15.
-- At 200,000: 100000 × 0.00000125 = 0.125, 100000 × 0.000000125 = 0.0125, 1000 × 0.00001 = 0.01: 0.1475.
select cost_usd from record_llm_cost(:'tenant', 'gemini', 'gemini-2.5-pro', 200000, 1000,
    p_usage => '{"cache_read_input_tokens": 100000}');
-- At 200,001: 100001 × 0.0000025 = 0.2500025, 100000 × 0.00000025 = 0.025, 1000 × 0.000015 = 0.015: 0.2900025.
select cost_usd from record_llm_cost(:'tenant', 'gemini', 'gemini-2.5-pro', 200001, 1000,
    p_usage => '{"cache_read_input_tokens": 100000}');

-- The cached tokens count towards the threshold, the output does not: 1 × 0.00000125 + 300000 × 0.00001 = 3.00000125.
select cost_usd from record_llm_cost(:'tenant', 'gemini', 'gemini-2.5-pro', 1, 300000);

-- A part without a price above the threshold keeps its own: here the output.
-- At 1,000: 1000 × 0.000001 + 10 × 0.000004 = 0.00104. At 1,001: 1001 × 0.000003 + 10 × 0.000004 = 0.003043.
select set_model_price('acme', 'steep', 1, 4, '2020-01-01Z',
    '{"input_cost_per_token_above_1k_tokens": 0.000003}') is not null as made;
select n.tokens, r.cost_usd
from (values (1000), (1001)) as n (tokens),
     lateral record_llm_cost(:'tenant', 'acme', 'steep', n.tokens, 10) r
order by n.tokens;

-- Of several thresholds the highest that is passed counts: 2001 × 0.000002 = 0.004002.
select set_model_price('acme', 'stairs', 1, 4, '2020-01-01Z',
    '{"input_cost_per_token_above_1k_tokens": 0.000003, "input_cost_per_token_above_2k_tokens": 0.000002}') is not null as made;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'stairs', 2001, 0);
