-- In each step the most specific markup counts, and the steps multiply in ascending order: step 0 gives what the provider
-- bills, the later ones what the tenant pays.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
set timezone = 'UTC';
set role service_role;
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z') is not null as made;
insert into copilot_internal.price_markups (tenant_id, model_provider, step, factor, effective_from) values
    (null, null, 0, 0.9, '2020-01-01Z'),
    (null, null, 1, 1.3, '2020-01-01Z'),
    (:'tenant', null, 2, 0.5, '2024-01-01Z'),
    (:'tenant', 'acme', 1, 1.2, '2025-01-01Z');
-- 0.9 × 1.3 = 1.17; with the tenant's half, 0.585; and with its own margin, 0.9 × 1.2 × 0.5 = 0.54.
select cost_usd from record_llm_cost(:'other', 'acme', 'm', 1000000, 0);
select record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => o.at) is not null as done
from unnest(array['2023-01-01Z', '2024-06-01Z', '2025-06-01Z']::timestamptz[]) as o (at);
select occurred_at, cost_usd, provider_cost_usd, charge_nanos, pricing ->> 'total_usd' as total_usd
from copilot_internal.llm_cost_records where tenant_id = :'tenant' order by occurred_at;
-- A sandbox: 100 × 0.00003025 = 0.003025, × 0.9 = 0.0027225, × 1.3 × 0.5.
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100);
select cost_usd, provider_cost_usd from copilot_internal.e2b_cost_records;
-- Exact, and rounded once, half to even: 1e-12 × 0.5 × 3 is 1.5e-12, and not 0 and not 3e-12.
select set_model_price('acme', 'tiny', 0.000001, 1, '2020-01-01Z') is not null as made;
insert into copilot_internal.price_markups (model_provider, model_name, step, factor, effective_from) values
    ('acme', 'tiny', 0, 0.5, '2020-01-01Z'), ('acme', 'tiny', 1, 3, '2020-01-01Z');
select cost_usd from record_llm_cost(:'other', 'acme', 'tiny', 1, 0);
select cost_usd, provider_cost_usd from copilot_internal.llm_cost_records where model_name = 'tiny';
-- An estimate has all steps.
select estimated_cost_usd from estimate_llm_cost('acme', 'm', 1000000, 0, p_tenant_id => :'other');
-- One row for each step, subject and beginning; steps from 0 to 9; nothing to say of a provided cost in the provider's own.
insert into copilot_internal.price_markups (step, factor, effective_from) values (1, 2, '2020-01-01Z');
insert into copilot_internal.price_markups (step, factor) values (-1, 1);
insert into copilot_internal.price_markups (step, factor) values (10, 1);
insert into copilot_internal.price_markups (step, factor, on_provided) values (0, 1, true);
reset role;
select * from copilot_internal.verify();
