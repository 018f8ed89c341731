-- The platform's quotas can count what providers bill, while tenants' quotas count what tenants pay.
\set tenant a0000000-0000-4000-8000-000000000001
\set cheap a0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
set role service_role;
select set_quota('platform', null, 'llm', 6, 'lifetime') is not null as made;
set pg_tollgate.platform_counts = 'provider_cost';
reset role;
set pg_tollgate.platform_counts = 'provider_cost';
create view spent as select scope, tenant_id, current_spend_usd, reserved_usd, remaining_usd from metrics.quota_status;
grant select on spent to service_role;
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 100, 'lifetime') is not null as made;
select set_quota('tenant', :'cheap', 'llm', 100, 'lifetime') is not null as made;
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z') is not null as made;
-- One pays double, the other half.
insert into copilot_internal.price_markups (tenant_id, factor, effective_from) values
    (:'tenant', 2, '2020-01-01Z'), (:'cheap', 0.5, '2020-01-01Z');
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_request_id => 'a');
select cost_usd from record_llm_cost(:'cheap', 'acme', 'm', 1000000, 0, p_request_id => 'b');
select cost_usd, replayed from record_llm_cost(:'cheap', 'acme', 'm', 1000000, 0, p_request_id => 'b');
select * from spent order by 1, 2;

-- What is rolled back is counted by none.
begin;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0);
savepoint one;
select cost_usd from record_llm_cost(:'cheap', 'acme', 'm', 1000000, 0);
rollback to one;
select * from spent order by 1, 2;
rollback;
select * from spent order by 1, 2;

-- A hold counts as it is, and what it came to as the provider bills it.
select reservation_id as hold from reserve_quota(:'tenant', 'llm', 3, 'held')
\gset
select * from spent order by 1, 2;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_reservation_id => :'hold');
select * from spent order by 1, 2;

-- The platform has room for what the provider bills, to the last of it.
select recorded, cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 3000000, 0, p_enforce => true);
select recorded, cost_usd, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 0, p_enforce => true);
select recorded, cost_usd, reason from record_llm_cost(:'cheap', 'acme', 'm', 1000000, 0, p_enforce => true);
select * from spent order by 1, 2;

-- A refund gives the platform back what the provider billed; folded or not, and after a reload, all figures agree.
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'a'), 0.5, 'part');
select * from spent order by 1, 2;
reset role;
select task, done > 0 as done from copilot_internal.maintain() where task = 'fold';
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'a'), 1.5, 'rest');
select * from spent order by 1, 2;
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
select copilot_internal.reload_counters() is not null as reloaded;
select * from spent order by 1, 2;

-- No view shows it as a cost.
select tenant_id, total_cost from metrics.tenant_total_costs where total_cost <> 0 order by 1;
select sum(total_cost) as total_cost, sum(provider_cost) as provider_cost from metrics.margins;

-- Prices that were wrong: 0.9 × what was billed of what is left, which is 5; the tenants pay as much less.
insert into copilot_internal.price_markups (step, factor, effective_from) values (0, 0.9, '2020-01-01Z');
select sum(adjustment_usd) as adjusted from copilot_internal.reprice(now() - interval '1 hour', now() + interval '1 hour');
select * from spent order by 1, 2;
select * from copilot_internal.verify();

-- The setting says how what is recorded from now on is counted. What was counted as the provider bills it still is.
set pg_tollgate.platform_counts = 'cost';
select cost_usd from record_llm_cost(:'cheap', 'acme', 'm', 1000000, 0, p_request_id => 'c');
select * from spent order by 1, 2;
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'c'), 0.45, 'whole');
select refunded_usd from refund_cost((select id from copilot_internal.llm_cost_records where request_id = 'b'), 0.45, 'whole of b');
select * from spent order by 1, 2;
select done > 0 as done from copilot_internal.maintain() where task = 'fold';
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
-- verify() sees what the platform counts of a record and should not.
delete from copilot_internal.pending_costs p using copilot_internal.quota_charges c where p.record_id = c.id;
update copilot_internal.quota_charges set charge_nanos = charge_nanos + 1 where id = (
    select id from copilot_internal.quota_charges where record_id is not null order by recorded_at limit 1);
select distinct check_name from copilot_internal.verify() where check_name like '%platform%';
-- No member learns of it.
set role authenticated;
select count(*) from copilot_internal.quota_charges;
