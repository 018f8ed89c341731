-- cache_creation_1h_input_tokens are a part of cache_creation_input_tokens, at a price of their own.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;

-- claude-sonnet-4-5, USD per million: 3 input, 0.3 cached, 3.75 written for five minutes, 6 for an hour, 15 output.
-- Of 10,000 input tokens 1,000 were read and 4,000 written, 1,000 of these for an hour:
-- 5000 × 0.000003 = 0.015, 1000 × 0.0000003 = 0.0003, 3000 × 0.00000375 = 0.01125, 1000 × 0.000006 = 0.006,
-- and 200 × 0.000015 = 0.003 for the output: 0.03555.
select cost_usd from record_llm_cost(:'tenant', 'anthropic', 'claude-sonnet-4-5', 10000, 200, p_usage =>
    '{"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 4000, "cache_creation_1h_input_tokens": 1000}');

-- Alone, they are all that was written: 9000 × 0.000003 + 1000 × 0.000006 = 0.033.
select cost_usd from record_llm_cost(:'tenant', 'anthropic', 'claude-sonnet-4-5', 10000, 0,
    p_usage => '{"cache_creation_1h_input_tokens": 1000}');

-- Without a one-hour price the five-minute one applies (1000 × 0.00000125 = 0.00125), and without that the input price
-- (1000 × 0.000001 = 0.001).
select set_model_price('acme', 'five-minutes', 1, 1, '2020-01-01Z',
    '{"cache_creation_input_token_cost": 0.00000125}') is not null as made;
select set_model_price('acme', 'plain', 1, 1, '2020-01-01Z') is not null as made;
select m.name, r.cost_usd
from (values ('five-minutes'), ('plain')) as m (name),
     lateral record_llm_cost(:'tenant', 'acme', m.name, 1000, 0,
         p_usage => '{"cache_creation_1h_input_tokens": 1000}') r
order by m.name;

select * from record_llm_cost(:'tenant', 'anthropic', 'claude-sonnet-4-5', 10000, 0,
    p_usage => '{"cache_creation_input_tokens": 10, "cache_creation_1h_input_tokens": 11}');
