-- Without p_enforce the money is spent already: it is recorded whatever the quotas say, and they say EXCEEDED.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;

-- Three times 0.6 against 1: 0.4 are left, then it is 0.2 over, then all of the 0.6 is.
select recorded, quota_status, remaining_usd, overrun_usd, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.6);
select recorded, quota_status, remaining_usd, overrun_usd, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.6);
select recorded, quota_status, remaining_usd, overrun_usd, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.6);
select set_quota('tenant', :'tenant', 'llm', 0, 'lifetime') is not null as made;
select recorded, quota_status, remaining_usd, overrun_usd, reason from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.6);
select recorded, quota_status, reason from record_e2b_cost(:'tenant', 'box', 'standard', 60);
select set_quota('tenant', :'tenant', 'all', 0, 'lifetime') is not null as made;
select recorded, quota_status, overrun_usd, reason from record_e2b_cost(:'tenant', 'box', 'standard', 60);

-- Enforced, the same is refused and leaves nothing.
select recorded, cost_record_id, cost_usd, quota_status, overrun_usd from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.6, p_enforce => true);
select recorded, cost_record_id, cost_usd, quota_status, overrun_usd from record_e2b_cost(:'tenant', 'box', 'standard', 60, p_enforce => true);
-- 4 × 0.6 = 2.4 and 2 × 60 × 0.00003025 = 0.00363 are there.
select count(*), sum(cost_usd) from copilot_internal.llm_cost_records;
select count(*), sum(cost_usd) from copilot_internal.e2b_cost_records;
select resource_type, current_spend_usd, status from metrics.quota_status order by 1;

-- What cannot be true is refused even so.
select * from record_llm_cost(null, 'acme', 'm', 1, 1);
select * from record_llm_cost('00000000-0000-0000-0000-000000000000', 'acme', 'm', 1, 1);
select * from record_llm_cost(:'tenant', null, 'm', 1, 1);
select * from record_llm_cost(:'tenant', 'acme', '', 1, 1);
select * from record_llm_cost(:'tenant', 'acme', 'm', null, 1);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, -1);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1000000000001, 1);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 'NaN');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 'Infinity');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => -0.01);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1000000000.01);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1e131071);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_enforce => null);
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_metadata => '[]');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_metadata => jsonb_build_object('a', repeat('x', 65536)));
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_occurred_at => clock_timestamp() + interval '1 hour');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_occurred_at => 'infinity');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_occurred_at => '-infinity');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_occurred_at => '1999-12-31 23:59:59Z');
select * from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_reservation_id => :'tenant');
select count(*) from copilot_internal.llm_cost_records;
