-- Service tiers: a tier's own price, else for batches half the standard one, else the standard one.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;

-- gpt-4o, USD per million: 2.5, 1.25 cached, 10. For batches 1.25 and 5, and no cache price: half of 1.25 = 0.625.
-- 600 × 0.00000125 = 0.00075, 400 × 0.000000625 = 0.00025, 100 × 0.000005 = 0.0005: 0.0015.
-- For priority 4.25, 2.125 cached, 17: 600 × 0.00000425 = 0.00255, 400 × 0.000002125 = 0.00085, 100 × 0.000017 = 0.0017:
-- 0.0051. For flex nothing, so the standard price: 0.0015 + 0.0005 + 0.001 = 0.003.
select t.tier, r.cost_usd
from (values (null), ('standard'), ('default'), ('batch'), ('batches'), ('BATCH'), ('priority'), ('flex')) as t (tier),
     lateral record_llm_cost(:'tenant', 'openai', 'gpt-4o', 1000, 100, p_service_tier => t.tier,
         p_usage => '{"cache_read_input_tokens": 400}') r
order by t.tier collate "C" nulls first;

-- gpt-4-turbo has no price for batches at all: (1000 × 0.00001 + 100 × 0.00003) / 2 = 0.0065.
select cost_usd from record_llm_cost(:'tenant', 'openai', 'gpt-4-turbo', 1000, 100, p_service_tier => 'batch');

-- gemini-2.5-pro's cache costs batches the same 0.125 as everybody: an own price is not halved.
-- 500 × 0.000000625 = 0.0003125, 500 × 0.000000125 = 0.0000625: 0.000375.
select cost_usd from record_llm_cost(:'tenant', 'gemini', 'gemini-2.5-pro', 1000, 0, p_service_tier => 'batch',
    p_usage => '{"cache_read_input_tokens": 500}');

-- An odd price is halved exactly: 3 × 0.000000000001 / 2 = 0.0000000000015 is rounded once, at the end, to even.
select set_model_price('acme', 'odd', 0.000001, 0, '2020-01-01Z') is not null as made;
select n.tokens, r.cost_usd
from (values (1), (2), (3), (5)) as n (tokens),
     lateral record_llm_cost(:'tenant', 'acme', 'odd', n.tokens, 0, p_service_tier => 'batch') r
order by n.tokens;
