-- A record keeps what the tenant pays and what the provider bills. Without a markup both are the same.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1000, 'lifetime') is not null as made;
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z') is not null as made;
select cost_usd, cost_status from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2024-01-01Z');
select cost_usd, cost_status from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 7, p_occurred_at => '2024-01-01Z');
select cost_usd, cost_status from record_llm_cost(:'tenant', 'acme', 'unheard of', 1, 0, p_occurred_at => '2024-01-01Z');
select cost_usd, provider_cost_usd, cost_status from copilot_internal.llm_cost_records order by recorded_at;

-- From 2025 on the tenant pays half as much again; in 2026 also of what a caller or a gateway says that it was billed.
insert into copilot_internal.price_markups (factor, effective_from, effective_to, on_provided) values
    (1.5, '2025-01-01Z', '2026-01-01Z', false), (1.5, '2026-01-01Z', null, true);
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2025-02-01Z', p_request_id => 'computed');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 7, p_occurred_at => '2025-03-01Z');
select cost_usd, cost_status
from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 7, p_occurred_at => '2026-01-01Z', p_request_id => 'provided');
select cost_usd, cost_status
from record_llm_cost(:'tenant', 'acme', 'unheard of', 1, 0, p_cost_usd => 0.1, p_occurred_at => '2026-01-02Z');
select cost_usd, cost_status from record_llm_usage(:'tenant', 'openrouter', 'acme/m',
    '{"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "cost": 0.02}', p_occurred_at => '2026-01-03Z');
select cost_usd, cost_status
from record_llm_usage(:'tenant', 'acme', 'm', '{"nothing": "known"}', p_cost_usd => 4, p_occurred_at => '2026-01-04Z');
select cost_usd, cost_status from record_e2b_cost(:'tenant', 's', 'box', 10, p_cost_usd => 2, p_occurred_at => '2026-01-05Z');
select occurred_at::date as day, cost_usd, provider_cost_usd, cost_status, charge_nanos
from copilot_internal.llm_cost_records where occurred_at > '2025-01-01Z' order by occurred_at;
select cost_usd, provider_cost_usd from copilot_internal.e2b_cost_records;
-- What a gateway billed is not left in the usage, which members do not read either.
select usage from copilot_internal.llm_cost_records where model_provider = 'openrouter';

-- A request is known by what the caller said, whatever has become of the markups.
update copilot_internal.price_markups set factor = 3 where on_provided;
select cost_usd, replayed
from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 7, p_occurred_at => '2026-01-01Z', p_request_id => 'provided');
\set VERBOSITY sqlstate
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 10.5, p_occurred_at => '2026-01-01Z', p_request_id => 'provided');
\set VERBOSITY terse
update copilot_internal.price_markups set factor = 1.5 where on_provided;

-- What settles a hold and has no price is what was held, of both.
select allowed, reservation_id as hold from reserve_quota(:'tenant', 'llm', 0.3, 'held')
\gset
select cost_usd, cost_status from record_llm_cost(:'tenant', 'acme', 'unheard of', 1, 0, p_reservation_id => :'hold');
select cost_usd, provider_cost_usd from copilot_internal.llm_cost_records where cost_status = 'estimated';

-- A refund takes the provider's share with it, in proportion; the last one takes what is left.
select cost_record_id as id from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2025-02-01Z', p_request_id => 'computed')
\gset
select refunded_usd from refund_cost(:'id', 0.1, 'first');
select refunded_usd from refund_cost(:'id', 1.4, 'rest');
select cost_usd, provider_cost_usd from copilot_internal.cost_corrections where record_id = :'id' order by recorded_at;
select cost_record_id as free from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_cost_usd => 0, p_occurred_at => '2024-01-01Z')
\gset
select refunded_usd from refund_cost(:'free', 0, 'none of none');

-- Prices that were wrong are corrected in both, also where only one of them is another.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2025-04-01Z');
reset role;
insert into copilot_internal.price_markups (step, factor, effective_from) values (0, 0.8, '2020-01-01Z');
select resource_type, name, records, present_usd, repriced_usd, adjusted, adjustment_usd
from copilot_internal.reprice('2020-01-01Z', '2026-06-01Z');
update copilot_internal.price_markups set factor = 1.875 where not on_provided and step = 1;
select name, records, present_usd, repriced_usd, adjusted, adjustment_usd from copilot_internal.reprice('2025-01-01Z', '2026-01-01Z');
update copilot_internal.price_markups set factor = 1.5 where not on_provided and step = 1;
update copilot_internal.price_markups set factor = 1 where step = 0;
select name, records, present_usd, repriced_usd, adjusted, adjustment_usd from copilot_internal.reprice('2025-01-01Z', '2026-01-01Z');
select name, records, adjusted from copilot_internal.reprice('2025-01-01Z', '2026-01-01Z');
select cost_usd, provider_cost_usd, reason from copilot_internal.cost_corrections order by recorded_at;

-- The margin, live and folded.
set role metrics_reader;
select date, resource_type, provider, name, total_cost, provider_cost, margin, margin_percentage from metrics.margins
where date < '2026-06-01' order by 1, 2, 3, 4;
reset role;
create table before as select * from metrics.margins;
select task, done > 0 as done from copilot_internal.maintain() where task = 'fold';
select count(*) from copilot_internal.pending_costs where tenant_id = :'tenant';
(table before except table metrics.margins) union all (table metrics.margins except table before);
select count(*) > 5 as some from before;
select * from copilot_internal.verify();
-- verify() sees a provider's cost that is not what the ledger says.
update copilot_internal.cost_rollups set provider_cost_usd = provider_cost_usd + 1 where day = '2024-01-01';
select check_name, trim_scale(actual - expected) as difference from copilot_internal.verify();
