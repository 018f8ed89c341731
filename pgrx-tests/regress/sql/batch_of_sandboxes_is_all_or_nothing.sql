-- record_e2b_costs takes up to 10,000 sandbox records in one transaction, as record_llm_costs does LLM calls.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
set role service_role;
select set_quota('tenant', :'tenant', 'e2b', 1, 'lifetime') is not null as made;
select set_sandbox_price('fly', 'box', '{"creation_usd": 0.05, "egress_gib_usd": 0.02}', '2020-01-01Z') is not null as made;

-- In order, each priced and judged as by itself: 450 × 0.000014 + 600 × 0.0000045 = 0.009; 0.05 + 2.5 × 0.02 = 0.1; 0.8 and
-- 0.2 of what is left; a known request.
select ordinal, recorded, cost_usd, cost_status, quota_status, remaining_usd, overrun_usd, reason, replayed
from record_e2b_costs(format('[
    {"tenant_id": "%1$s", "sandbox_id": "s1", "sandbox_type": "standard", "duration_seconds": 90, "vcpu_seconds": 450,
     "memory_gib_seconds": "600.0"},
    {"tenant_id": "%1$s", "sandbox_id": "s2", "sandbox_type": "box", "duration_seconds": "0.5", "provider": "fly", "creations": 1,
     "egress_gib": 2.5, "disk_gib_seconds": 3, "gpu_seconds": 4},
    {"tenant_id": "%1$s", "sandbox_type": "box", "duration_seconds": 1, "cost_usd": 0.8, "request_id": "r1", "enforce": true},
    {"tenant_id": "%1$s", "sandbox_type": "box", "duration_seconds": 1, "cost_usd": "0.2", "enforce": true},
    {"tenant_id": "%1$s", "sandbox_type": "box", "duration_seconds": 1.0, "cost_usd": 0.80, "request_id": "r1"},
    {"tenant_id": "%2$s", "sandbox_type": "unheard of", "duration_seconds": 1, "region": "mars", "metadata": {"a": 1},
     "occurred_at": "2024-02-29T23:59:59.5+01:00", "sandbox_id": null}]', :'tenant', :'other')::jsonb);
set timezone = 'UTC';
set datestyle = 'ISO';
select sandbox_id, sandbox_type, region, duration_seconds, provider, disk_gib_seconds, gpu_seconds, creations, egress_gib, metadata
from copilot_internal.e2b_cost_records order by recorded_at;
select occurred_at from copilot_internal.e2b_cost_records where tenant_id = :'other';

-- One bad record, and nothing of the batch is there.
create function pg_temp.batch(p_second jsonb) returns bigint language sql as $$
    select count(*) from public.record_e2b_costs(jsonb_build_array(
        '{"tenant_id": "a0000000-0000-4000-8000-000000000001", "sandbox_type": "box", "duration_seconds": 1}'::jsonb,
        '{"tenant_id": "a0000000-0000-4000-8000-000000000001", "sandbox_type": "box", "duration_seconds": 1}'::jsonb || p_second))
$$;
select pg_temp.batch('{"duration_seconds": -1}');
select pg_temp.batch('{"duration_seconds": "NaN"}');
select pg_temp.batch('{"duration_seconds": true}');
select pg_temp.batch('{"duration_seconds": null}');
select pg_temp.batch('{"vcpu_seconds": "many"}');
select pg_temp.batch('{"egress_gib": -1e-30}');
select pg_temp.batch('{"sandbox_type": ""}');
select pg_temp.batch('{"sandbox_type": 7}');
select pg_temp.batch('{"model_name": "gpt-4o"}');
select pg_temp.batch('{"p_region": null}');
select pg_temp.batch('{"request_id": "r1"}');
\set VERBOSITY sqlstate
select pg_temp.batch('{"duration_seconds": -1}');
select pg_temp.batch('{"request_id": "r1"}');
select pg_temp.batch('{"reservation_id": "a0000000-0000-4000-8000-000000000001"}');
select * from record_e2b_costs('{}');
select * from record_e2b_costs('[1]');
select * from record_e2b_costs(null);
select * from record_e2b_costs('[]');
select count(*) from copilot_internal.e2b_cost_records where tenant_id = :'tenant';

-- 10,000 are taken, 10,001 are not.
create function pg_temp.many(p_count integer) returns bigint language sql as $$
    select count(*) from public.record_e2b_costs((select jsonb_agg('{"tenant_id": "a0000000-0000-4000-8000-000000000002",
        "sandbox_type": "box", "duration_seconds": 1, "cost_usd": 0.0001}'::jsonb) from generate_series(1, p_count)))
$$;
select pg_temp.many(10001);
select pg_temp.many(10000);
select total_cost, total_duration from metrics.e2b_costs where tenant_id = :'other' and sandbox_type = 'box';
reset role;
select * from copilot_internal.verify();
-- Money is written by the server alone.
set role authenticated;
select * from record_e2b_costs('[]');
