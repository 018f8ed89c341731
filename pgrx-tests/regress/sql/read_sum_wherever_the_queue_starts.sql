-- What a quota counts is the same wherever a tenant's queue is said to start, and where nothing says so.
select set_quota('tenant', 'a0000000-0000-4000-8000-000000000001', 'llm', 1, 'lifetime') is not null as made;
select count(*) from generate_series(1, 200) n,
    record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'm', 1, 1, p_cost_usd => 0.0001 + 0 * n);
select done > 0 as folded from copilot_internal.maintain() where task = 'fold';
-- One in sixteen of these looks for the first row that is pending.
select count(*) from generate_series(1, 200) n,
    record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'm', 1, 1, p_cost_usd => 0.0001 + 0 * n);
select current_spend_usd from check_quota_before_operation('a0000000-0000-4000-8000-000000000001', 'llm', 0);
select * from copilot_internal.verify();
-- A repair puts a row back that has an earlier id.
insert into copilot_internal.quota_charges
    (id, tenant_id, resource_type, cost_usd, charge_nanos, request_id, charged_at)
values ('00000000-0000-8000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'llm', 0.5, 500000000,
    'repair', now());
insert into copilot_internal.pending_costs
    (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
values ('a0000000-0000-4000-8000-000000000001', '00000000-0000-8000-8000-000000000001', 'charge',
    '00000000-0000-0000-0000-000000000000', 'llm', now(), 500000000);
select allowed, current_spend_usd, remaining_usd
from check_and_record_quota_atomic('tenant', 'a0000000-0000-4000-8000-000000000001', 0.46);
select count(*) from generate_series(1, 200) n,
    record_llm_cost('a0000000-0000-4000-8000-000000000001', 'acme', 'm', 1, 1, p_cost_usd => 0.0001 + 0 * n);
select allowed, current_spend_usd, remaining_usd
from check_and_record_quota_atomic('tenant', 'a0000000-0000-4000-8000-000000000001', 0.4);
truncate copilot_internal.queue_starts;
select current_spend_usd from check_quota_before_operation('a0000000-0000-4000-8000-000000000001', 'llm', 0);
select * from copilot_internal.verify();
