-- Without parts, an estimate counts every token at the dearest rate that could apply, so that no call of that size
-- costs more. With parts it is the exact cost.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
-- gpt-4o: caching only makes it cheaper. 1000 × 0.0000025 = 0.0025, 100 × 0.00001 = 0.001.
select * from estimate_llm_cost('openai', 'gpt-4o', 1000, 100);
select * from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, '{"cache_read_input_tokens": 400}');
-- claude-haiku-4-5: all 1000 might be written to the cache for an hour at 0.000002 = 0.002; 10 × 0.000005 = 0.00005.
select * from estimate_llm_cost('anthropic', 'claude-haiku-4-5', 1000, 10);
-- gemini-2.5-pro above 200,000 tokens: 200001 × 0.0000025 = 0.5000025, 10 × 0.000015 = 0.00015.
select estimated_cost_usd from estimate_llm_cost('gemini', 'gemini-2.5-pro', 200001, 10);
select estimated_cost_usd from estimate_llm_cost('gemini', 'gemini-2.5-pro', 200000, 10);
-- A price that drops above 1,000 tokens: a prompt of at most 1,500 may turn out to have 1,000, so the dearer rate counts.
select set_model_price('acme', 'discount', 3, 1, '2020-01-01Z', '{"input_cost_per_token_above_1k_tokens": 0.000001}') is not null as made;
-- 1500 × 0.000003 = 0.0045.
select estimated_cost_usd from estimate_llm_cost('acme', 'discount', 1500, 0);
select cost_usd from record_llm_cost(:'tenant', 'acme', 'discount', 1500, 0);
select cost_usd from record_llm_cost(:'tenant', 'acme', 'discount', 1000, 0);
-- A tier is known beforehand: 1000 × 0.00000125 + 100 × 0.000005 = 0.00175.
select estimated_cost_usd from estimate_llm_cost('openai', 'gpt-4o', 1000, 100, null, 'batch');

-- Over many shapes of a call, of every shipped model, none costs more than its estimate.
create temp table shapes as
    select p.model_provider, p.model_name, t.tier, i.tokens as input, o.tokens as output, u.usage
    from copilot_internal.shipped_model_prices p,
         unnest(array[null, 'batch', 'priority', 'flex']) as t (tier),
         unnest(array[0, 100, 200000, 200001, 300000]) as i (tokens),
         unnest(array[0, 100]) as o (tokens),
         lateral (values ('{}'::jsonb), (jsonb_build_object('cache_read_input_tokens', i.tokens)),
             (jsonb_build_object('cache_creation_input_tokens', i.tokens)),
             (jsonb_build_object('cache_creation_1h_input_tokens', i.tokens / 2, 'cache_read_input_tokens', i.tokens / 2)),
             (jsonb_build_object('reasoning_output_tokens', o.tokens))) as u (usage);
select count(*) > 1000 as many, count(*) filter (where c.exact > e.bound) as above, count(*) filter (where c.exact is null or e.bound is null) as unknown,
       bool_or(c.exact < e.bound) as some_are_cheaper
from shapes s,
     lateral (select estimated_cost_usd as exact from estimate_llm_cost(s.model_provider, s.model_name, s.input, s.output, s.usage, s.tier)) c,
     lateral (select estimated_cost_usd as bound from estimate_llm_cost(s.model_provider, s.model_name, s.input, s.output, null, s.tier)) e;

-- Both sides add up to the whole.
select estimated_cost_usd = input_cost_usd + output_cost_usd as adds_up
from estimate_llm_cost('anthropic', 'claude-opus-4-5', 333, 77);

-- Sandboxes: 90 × 0.001 = 0.09. By allocation the quantities are needed.
select * from estimate_e2b_cost('gpu', 90);

select * from estimate_llm_cost(null, 'gpt-4o', 1, 1);
select * from estimate_llm_cost('openai', null, 1, 1);
select * from estimate_llm_cost('openai', 'gpt-4o', -1, 1);
select * from estimate_llm_cost('openai', 'gpt-4o', null, 1);
select * from estimate_llm_cost('openai', 'gpt-4o', 1000, 1, '{"cache_read_input_tokens": 1001}');
select * from estimate_e2b_cost(null, 90);
select * from estimate_e2b_cost('gpu', null);
select * from estimate_e2b_cost('gpu', -1);
select * from estimate_e2b_cost('gpu', 'NaN');
