-- A refund of what an adjustment has given back before leaves a sum below zero: exact, also in a counter that is read
-- anew, and with what is held.
\set ON_ERROR_STOP 0
\set VERBOSITY terse
set role service_role;
select create_tenant('t') as tenant \gset
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') as quota \gset
select cost_record_id as id from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 0.5) \gset
select current_spend_usd from copilot_internal.adjust_quota(:'quota', -0.5, 'a', 'a gift');
select refunded_usd from refund_cost(:'id', 0.5, 'f');
reset role;
select copilot_internal.reload_counters() >= 0 as reloaded;
set role service_role;
select allowed, current_spend_usd, reserved_usd, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 1.5);
select allowed, reason from check_quota_before_operation(:'tenant', 'llm', 1.500000001);
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
-- What is held is shown as far as there is any of both.
select reservation_id as hold from reserve_quota(:'tenant', 'llm', 0.7, 'r') \gset
select allowed, current_spend_usd, reserved_usd, remaining_usd from check_quota_before_operation(:'tenant', 'llm', 0.8);
select allowed, retryable, reason from check_quota_before_operation(:'tenant', 'llm', 0.800000001);
select * from copilot_internal.verify_counters();
select status, charged_usd from commit_reservation(:'hold', 0.7);
select allowed, current_spend_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.800000001, 'llm');
select allowed, current_spend_usd from check_and_record_quota_atomic('tenant', :'tenant', 0.8, 'llm');
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
-- What is charged more is taken also where a sum is below zero, and shares of a limit are exact there.
select create_tenant('u') as tenant \gset
select set_quota('tenant', :'tenant', 'llm', 10, 'lifetime') as quota \gset
select cost_record_id as id from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 5) \gset
select current_spend_usd from copilot_internal.adjust_quota(:'quota', -5, 'a1');
select refunded_usd from refund_cost(:'id', 5, 'f1');
select current_spend_usd, usage_percentage from check_quota_before_operation(:'tenant', 'llm', 0);
select current_spend_usd, usage_percentage from metrics.quota_status where tenant_id = :'tenant' and resource_type = 'llm' and period = 'lifetime';
select * from copilot_internal.adjust_quota(:'quota', -1, 'a2');
select current_spend_usd from copilot_internal.adjust_quota(:'quota', 1, 'a3');
select current_spend_usd from copilot_internal.adjust_quota(:'quota', 6, 'a4');
select * from copilot_internal.verify();
