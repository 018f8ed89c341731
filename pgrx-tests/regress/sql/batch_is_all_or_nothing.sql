-- record_llm_costs takes up to 10,000 records in one transaction. A bad one refuses them all and is named by its ordinal.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;

-- In order, each priced and judged as by itself: 0.0035 for gpt-4o; 0.9 and 0.2 of what is left; a known request.
select ordinal, recorded, cost_usd, cost_status, quota_status, remaining_usd, overrun_usd, reason, replayed
from record_llm_costs(format('[
    {"tenant_id": "%1$s", "model_provider": "openai", "model_name": "gpt-4o", "input_tokens": 1000, "output_tokens": 100},
    {"tenant_id": "%1$s", "model_provider": "acme", "model_name": "m", "input_tokens": 1, "output_tokens": 1,
     "cost_usd": 0.9, "request_id": "r1", "enforce": true},
    {"tenant_id": "%1$s", "model_provider": "acme", "model_name": "m", "input_tokens": 1, "output_tokens": 1,
     "cost_usd": "0.2", "enforce": true},
    {"tenant_id": "%1$s", "model_provider": "acme", "model_name": "m", "input_tokens": 1, "output_tokens": 1,
     "cost_usd": 0.90, "request_id": "r1"},
    {"tenant_id": "%2$s", "model_provider": "openai", "model_name": "gpt-4o", "input_tokens": 1000, "output_tokens": 100,
     "usage": {"cache_read_input_tokens": 400}, "service_tier": "batch", "occurred_at": "2024-02-29T23:59:59.5+01:00",
     "task": "plan", "trace_id": null, "metadata": {"a": 1}}]', :'tenant', :'other')::jsonb);
set timezone = 'UTC';
set datestyle = 'ISO';
select cost_usd, service_tier, usage, task, metadata, occurred_at from copilot_internal.llm_cost_records where tenant_id = :'other';

-- One bad record, and nothing of the batch is there.
create function pg_temp.batch(p_second jsonb) returns bigint language sql as $$
    select count(*) from public.record_llm_costs(jsonb_build_array(
        '{"tenant_id": "a0000000-0000-4000-8000-000000000001", "model_provider": "acme", "model_name": "m",
          "input_tokens": 1, "output_tokens": 1}'::jsonb,
        '{"tenant_id": "a0000000-0000-4000-8000-000000000001", "model_provider": "acme", "model_name": "m",
          "input_tokens": 1, "output_tokens": 1}'::jsonb || p_second))
$$;
select pg_temp.batch('{"input_tokens": -1}');
select pg_temp.batch('{"input_tokens": 1.5}');
select pg_temp.batch('{"input_tokens": "1"}');
select pg_temp.batch('{"input_tokens": null}');
select pg_temp.batch('{"tenant_id": "acme"}');
select pg_temp.batch('{"tenant_id": "00000000-0000-0000-0000-000000000000"}');
select pg_temp.batch('{"cost_usd": "NaN"}');
select pg_temp.batch('{"cost_usd": -1e-30}');
select pg_temp.batch('{"cost_usd": true}');
select pg_temp.batch('{"usage": [1]}');
select pg_temp.batch('{"usage": {"cache_read_input_tokens": 2}}');
select pg_temp.batch('{"occurred_at": "yesterday"}');
select pg_temp.batch('{"occurred_at": "2023-02-29T00:00:00Z"}');
select pg_temp.batch('{"occurred_at": "2199-01-01T00:00:00Z"}');
select pg_temp.batch('{"enforce": "true"}');
select pg_temp.batch('{"model": "gpt-4o"}');
select pg_temp.batch('{"p_task": null}');
select count(*) from record_llm_costs('[["00000000-0000-0000-0000-000000000001"]]');
select pg_temp.batch('{"request_id": "r1"}');
\set VERBOSITY sqlstate
select pg_temp.batch('{"input_tokens": -1}');
select pg_temp.batch('{"request_id": "r1"}');
select pg_temp.batch('{"reservation_id": "a0000000-0000-4000-8000-000000000001"}');
select * from record_llm_costs('{}');
select * from record_llm_costs('[1]');
select * from record_llm_costs(null);
select count(*) from copilot_internal.llm_cost_records where tenant_id = :'tenant';

-- 10,000 are taken, 10,001 are not; none is none.
create function pg_temp.many(p_count integer) returns bigint language sql as $$
    select count(*) from public.record_llm_costs((select jsonb_agg('{"tenant_id": "a0000000-0000-4000-8000-000000000002",
        "model_provider": "openai", "model_name": "gpt-4o", "input_tokens": 1, "output_tokens": 0}'::jsonb)
        from generate_series(1, p_count)))
$$;
select pg_temp.many(10001);
select pg_temp.many(10000);
select * from record_llm_costs('[]');
-- 0.0015 from the batch above and 10000 × 0.0000025 = 0.025.
select request_count, total_cost from metrics.llm_costs where tenant_id = :'other';

-- A key by which our reader passes on numbers is a key like any other.
select ordinal, recorded, cost_usd from public.record_llm_costs('[{"tenant_id": "a0000000-0000-4000-8000-000000000002", "model_provider": "acme", "model_name": "odd",
    "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.1, "usage": {"$serde_json::private::Number": "5"}, "metadata": {"$serde_json::private::Number": "none"}}]');
select usage, metadata from copilot_internal.llm_cost_records where model_name = 'odd';
select * from public.record_llm_costs('[{"tenant_id": "a0000000-0000-4000-8000-000000000002", "model_provider": "acme", "model_name": "odd",
    "input_tokens": {"$serde_json::private::Number": "5"}, "output_tokens": 1}]');
select * from public.record_llm_costs('[{"$serde_json::private::Number": "5"}]');

-- What is kept with a record is kept as it was given, to the last zero; a whole number is written as one.
select pg_temp.batch('{"input_tokens": 1.0}');
select pg_temp.batch('{"task": 5}');
select pg_temp.batch('{"metadata": null, "usage": null, "enforce": null, "cost_usd": 0.10}');
select count(*) from record_llm_costs('[{"tenant_id": "a0000000-0000-4000-8000-000000000002", "model_provider": "acme", "model_name": "kept",
    "input_tokens": 1, "output_tokens": 1, "usage": {"a": 1.50, "b": [1.0, {"c": -0.0}]}, "metadata": {"e": 1e3, "list": [], "null": null}}]');
select usage, metadata from copilot_internal.llm_cost_records where model_name = 'kept';
