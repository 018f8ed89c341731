-- A sandbox is billed by whatever its provider bills: disk, GPU, creations and egress too, at the price of that provider.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
select set_sandbox_price('acme', 'box', '{"vcpu_second": 0.01, "memory_gib_second": 0.001, "disk_gib_second": 0.0001, "gpu_second": 0.1, "creation": 0.5, "egress_gib": 0.02}',
    '2020-01-01Z') is not null as made;
-- 10 × 0.01 + 20 × 0.001 + 30 × 0.0001 + 2 × 0.1 + 1 × 0.5 + 1.5 × 0.02 = 0.853.
select cost_usd from record_e2b_cost(:'tenant', 'a', 'box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'acme',
    p_disk_gib_seconds => 30, p_gpu_seconds => 2, p_creations => 1, p_egress_gib => 1.5, p_request_id => 'all');
select line ->> 'component' as component, line ->> 'quantity' as quantity, line ->> 'cost_usd' as cost_usd
from copilot_internal.e2b_cost_records, jsonb_array_elements(pricing -> 'lines') as line where request_id = 'all';
-- Later records of it create nothing and need not say so; what was allocated has to be told.
select cost_usd from record_e2b_cost(:'tenant', 'a', 'box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'ACME',
    p_disk_gib_seconds => 30, p_gpu_seconds => 2);
select cost_usd, reason from record_e2b_cost(:'tenant', 'a', 'box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'acme', p_gpu_seconds => 2);
-- Another provider's box has no price, and E2B's standard is not theirs.
select cost_usd, reason from record_e2b_cost(:'tenant', 'b', 'box', 10);
select cost_usd, reason from record_e2b_cost(:'tenant', 'b', 'standard', 10, p_provider => 'acme');
select estimated_cost_usd, basis from estimate_e2b_cost('box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'acme', p_disk_gib_seconds => 0, p_gpu_seconds => 0, p_creations => 2);
-- The same id again with another quantity is another content.
select replayed from record_e2b_cost(:'tenant', 'a', 'box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'acme',
    p_disk_gib_seconds => 30, p_gpu_seconds => 2, p_creations => 1, p_egress_gib => 1.5, p_request_id => 'all');
select replayed from record_e2b_cost(:'tenant', 'a', 'box', 10, p_vcpu_seconds => 10, p_memory_gib_seconds => 20, p_provider => 'acme',
    p_disk_gib_seconds => 30, p_gpu_seconds => 2, p_creations => 2, p_egress_gib => 1.5, p_request_id => 'all');
-- A flat price is the operator's choice; for one tenant, for a region, from a moment on; the same moment corrects.
select set_sandbox_price('e2b', 'standard', '{"per_second_usd": 0.0001}', '2020-01-01Z') = set_sandbox_price('e2b', 'standard', '{"per_second": 0.0002}', '2020-01-01Z') as corrected;
select set_sandbox_price('e2b', 'standard', '{"per_second": 0.001}', '2020-01-01Z', 'eu-west-1', :'tenant') is not null as made;
select estimated_cost_usd, basis from estimate_e2b_cost('standard', 100);
select estimated_cost_usd, basis from estimate_e2b_cost('standard', 100, 'eu-west-1', p_tenant_id => :'tenant');
-- A correction of the price finds the quantities of the record.
select set_sandbox_price('acme', 'box', '{"egress_gib": 2}', '2020-01-01Z') is not null as made;
select provider, name, records, present_usd, repriced_usd from copilot_internal.reprice('2020-01-01Z', '2100-01-01Z', true) order by name;
-- What is no price is told in a sentence.
select set_sandbox_price('acme', 'box', '{}');
select set_sandbox_price('acme', 'box', '{"per_hour": 1}');
select set_sandbox_price('acme', 'box', '{"creation": "1"}');
select set_sandbox_price('acme', 'box', '{"creation": -1}');
select set_sandbox_price('acme', 'box', '{"creation": 1, "creation_usd": 1}');
select set_sandbox_price('acme', 'box', '{"creation": 1e-19}');
select set_sandbox_price(null, 'box', '{"creation": 1}');
select set_sandbox_price('acme', 'box', '{"creation": 1}', 'infinity');
