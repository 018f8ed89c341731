-- A sandbox costs by the second, by what was allocated to it, or both; the prices that are given add up.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;

-- The four shipped types where nobody tells the allocation: 3600 × 0.00003025 = 0.1089, × 0.001 = 3.6, × 0.0005 = 1.8, × 0.0003 = 1.08.
select t.name, r.cost_usd, r.cost_status
from unnest(array['standard', 'gpu', 'high-memory', 'high-cpu']) with ordinality as t (name, place),
     lateral record_e2b_cost(:'tenant', 'box', t.name, 3600) r
order by t.place;
-- Where it is told, by E2B's published prices: 7200 × 0.000014 + 1800 × 0.0000045 = 0.1089, whatever the type; a GPU is not among them.
select t.name, r.cost_usd, r.cost_status
from unnest(array['standard', 'gpu', 'high-memory', 'high-cpu']) with ordinality as t (name, place),
     lateral record_e2b_cost(:'tenant', 'box', t.name, 3600, p_vcpu_seconds => 7200, p_memory_gib_seconds => 1800) r
order by t.place;
-- Half an allocation is none.
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 3600, p_vcpu_seconds => 72000);
-- Fractions of a second count: 0.5 × 0.00003025 = 0.000015125, and 0.000000001 × 0.00003025 = 3e-14, which is nearest to 0.
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 0.5);
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 0.000000001);

-- By allocation, as E2B bills: 2 vCPU and 4 GiB for an hour are 7200 vCPU-seconds and 14400 GiB-seconds.
-- 7200 × 0.000014 = 0.1008, 14400 × 0.0000045 = 0.0648: 0.1656.
insert into copilot_internal.e2b_pricing (sandbox_type, vcpu_second_usd, memory_gib_second_usd, effective_from)
values ('allocated', 0.000014, 0.0000045, '2020-01-01Z');
select cost_usd, cost_status from record_e2b_cost(:'tenant', 'box', 'allocated', 3600,
    p_vcpu_seconds => 7200, p_memory_gib_seconds => 14400);
select line ->> 'component' as component, line ->> 'quantity' as quantity, line ->> 'cost_usd' as cost_usd
from copilot_internal.e2b_cost_records, jsonb_array_elements(pricing -> 'lines') as line
where sandbox_type = 'allocated';
-- A price whose quantity is not told leaves the cost unknown. What is missing is the quantity, not the price.
select cost_usd, cost_status, reason like '%memory_gib_seconds%' as names_it, reason like '%no rate%' as blames_the_price
from record_e2b_cost(:'tenant', 'box', 'allocated', 3600, p_vcpu_seconds => 7200);

-- Both: 100 × 0.001 + 200 × 0.01 = 2.1.
insert into copilot_internal.e2b_pricing (sandbox_type, per_second_usd, vcpu_second_usd, effective_from)
values ('both', 0.001, 0.01, '2020-01-01Z');
select cost_usd from record_e2b_cost(:'tenant', 'box', 'both', 100, p_vcpu_seconds => 200);

-- A price for the region goes before one for all regions, whichever is younger.
insert into copilot_internal.e2b_pricing (sandbox_type, region, per_second_usd, effective_from)
values ('standard', 'eu-west-1', 0.0002, '2020-01-01Z'), ('standard', null, 0.0004, '2021-01-01Z');
select g.region, r.cost_usd
from (values ('eu-west-1'), ('us-east-1'), (null)) as g (region),
     lateral record_e2b_cost(:'tenant', 'box', 'standard', 100, p_region => g.region) r
order by g.region nulls last;
select estimated_cost_usd, pricing_found, basis from estimate_e2b_cost('standard', 100, 'eu-west-1');

-- What is no quantity is refused.
select * from record_e2b_cost(:'tenant', 'box', 'standard', -1);
select * from record_e2b_cost(:'tenant', 'box', 'standard', 'NaN');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 'Infinity');
select * from record_e2b_cost(:'tenant', 'box', 'standard', 31622400000001);
select * from record_e2b_cost(:'tenant', 'box', 'standard', null);
select * from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_vcpu_seconds => -1);
select * from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_memory_gib_seconds => 'NaN');
select * from record_e2b_cost(:'tenant', 'box', null, 60);
