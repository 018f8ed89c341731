-- A price that was wrong is corrected for what has been recorded, by rows beside the records, and quotas count them.
\set tenant a0000000-0000-4000-8000-000000000001
set timezone = 'UTC';
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1000, 'lifetime') is not null as made;
select set_model_price('acme', 'm', 2, 2, '2020-01-01Z') is not null as made;
select cost_usd, remaining_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2024-01-01Z', p_request_id => 'a');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2024-01-02Z', p_request_id => 'b');
-- What is not repriced: another day, a cost that was provided, a model without a price.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2025-01-01Z');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2024-01-01Z', p_cost_usd => 5);
select cost_usd from record_llm_cost(:'tenant', 'acme', 'later', 1000000, 0, p_occurred_at => '2024-01-01Z');
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'b'), 1.5, 'refund');
select set_model_price('acme', 'm', 3, 3, '2020-01-01Z') is not null as made;
create view pg_temp.spent as select current_spend_usd as spent from check_quota_before_operation('a0000000-0000-4000-8000-000000000001', 'llm', 0);
select * from pg_temp.spent;
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', true);
select * from pg_temp.spent;
-- One record a call, each 1 USD more: the next goes on where the last has come to.
select records, adjusted, adjustment_usd, cursor from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_limit => 1) \gset
select :records as records, :adjusted as adjusted, :adjustment_usd as adjustment_usd, :'cursor' ~ '^a0000000-0000-4000-8000-000000000001:llm:[0-9]+:[0-9a-f-]{36}$' as goes_on;
select records, adjusted, adjustment_usd, cursor from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_limit => 1, p_cursor => :'cursor') \gset
select :records as records, :adjusted as adjusted, :adjustment_usd as adjustment_usd;
select records, adjusted, adjustment_usd from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_limit => 1, p_cursor => :'cursor');
-- From the beginning there is nothing to do either.
select records, adjusted, adjustment_usd from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_limit => 1);
select * from pg_temp.spent;
select r.request_id, r.cost_usd as recorded, c.cost_usd as corrected, c.reason, c.charged_at = r.charged_at as same_moment
from copilot_internal.cost_corrections c join copilot_internal.llm_cost_records r on r.id = c.record_id
order by r.request_id, c.cost_usd;
-- Down, and to nothing: of b, 1.5 of 3 USD was refunded, so no more than 1.5 is given back.
select set_model_price('acme', 'm', 0, 0, '2020-01-01Z') is not null as made;
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', false);
select * from pg_temp.spent;
select count(*) from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', false);
-- A model that has a price by now was unpriced, and is charged.
select set_model_price('acme', 'later', 4, 4, '2020-01-01Z') is not null as made;
select name, records, present_usd, repriced_usd, adjusted, adjustment_usd from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', false);
select * from pg_temp.spent;
-- Sandboxes alike: 100 × (0.0002 − 0.00003025).
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100, p_occurred_at => '2024-01-01Z');
insert into copilot_internal.e2b_pricing (sandbox_type, per_second_usd, effective_from) values ('standard', 0.0002, '2020-01-01Z');
select resource_type, provider, name, adjusted, adjustment_usd from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', false);
-- A refund of what a correction has made dearer: 0.02 can be taken back, no more.
select refunded_usd from refund_cost((select id from copilot_internal.e2b_cost_records), 0.02, 'all');
-- The books are whole, and the bill says the net.
select task, done > 0 as done from copilot_internal.maintain();
select * from copilot_internal.verify();
select llm_cost_usd, e2b_cost_usd from get_tenant_cost_summary(:'tenant', '2024-01-01Z', '2024-02-01Z');
\set VERBOSITY sqlstate
select * from copilot_internal.reprice(null, '2024-02-01Z', false);
select * from copilot_internal.reprice('2024-02-01Z', '2024-02-01Z', false);
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', null);
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', false, 0);
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_cursor => '');
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_cursor => 'a0000000-0000-4000-8000-000000000001:all:5:a0000000-0000-4000-8000-000000000001');
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_cursor => 'a0000000-0000-4000-8000-000000000001:llm:5:a0000000-0000-4000-8000-000000000001:');
-- Well formed, and of another range.
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', p_cursor => 'a0000000-0000-4000-8000-000000000001:llm:5:a0000000-0000-4000-8000-000000000001');
set role authenticated;
select * from copilot_internal.reprice('2024-01-01Z', '2024-02-01Z', true);
