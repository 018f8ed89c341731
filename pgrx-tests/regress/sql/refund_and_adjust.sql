-- What is taken back is a row of its own, at the moment of the original, and never more than was taken.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
set role service_role;
insert into copilot_internal.tenants (id, name) values ('a0000000-0000-4000-8000-000000000001', 'Acme');
select set_quota('tenant', :'tenant', 'llm', 1) is not null as made, set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made_too;
create temp view standing as
    select period, current_spend_usd as spent, remaining_usd as remaining from metrics.quota_status where tenant_id = :'tenant' and resource_type = 'llm' order by period;
select cost_record_id as id from record_llm_cost(:'tenant', 'p', 'm', 10, 5, :'user', p_cost_usd => 0.0000000015, p_conversation_id => :'user') \gset
table standing;
-- 1.5 nano-dollars were charged as 2. Half a nano-dollar less is 1 of them; 0.4 less is still 1; the rest gives back the last.
select refunded_usd, replayed from refund_cost(:'id', 0.0000000005, 'f1', 'half');
table standing;
select refunded_usd, replayed from refund_cost(:'id', 0.0000000004, 'f2');
table standing;
select refunded_usd, replayed from refund_cost(:'id', 0.0000000004, 'f2');
select * from refund_cost(:'id', 0.0000000003, 'f2');
select * from refund_cost(:'id', 0.0000000007, 'f3');
select refunded_usd, replayed from refund_cost(:'id', 0.0000000006, 'f3');
table standing;
select * from refund_cost(:'id', 0.000000000001, 'f4');
select * from refund_cost(:'tenant', 1, 'f5');
select * from refund_cost(:'id', 0, 'f6', p_tenant_id => :'user');
select * from refund_cost(:'id', -1, 'f7');
select * from refund_cost(:'id', 1, null);
-- Net costs, and one call.
select total_cost, request_count, total_input_tokens from metrics.llm_costs;
select total_cost from metrics.cost_by_conversation;
select * from copilot_internal.verify();
select task from copilot_internal.maintain() where done > 0;
select total_cost, request_count, total_input_tokens from metrics.llm_costs;
select total_cost from metrics.cost_by_conversation;
select llm_cost_usd, llm_request_count from get_tenant_cost_summary(:'tenant');
select * from copilot_internal.verify();

-- Of last year: counted there, not in this period.
select cost_record_id as id from record_llm_cost(:'tenant', 'p', 'm', 1, 1, p_cost_usd => 0.5, p_occurred_at => clock_timestamp() - interval '400 days') \gset
table standing;
select refunded_usd from refund_cost(:'id', 0.2, 'f8');
table standing;
-- A sandbox.
select cost_record_id as id from record_e2b_cost(:'tenant', 's', 'standard', 1, p_cost_usd => 0.5) \gset
select refunded_usd from refund_cost(:'id', 0.1, 'f9');
select total_cost, session_count from metrics.e2b_costs;

-- Adjustments.
select id as quota from copilot_internal.cost_quotas where period = 'month' \gset
select current_spend_usd, replayed from copilot_internal.adjust_quota(:'quota', 0.25, 'a1', 'forgotten');
select current_spend_usd, replayed from copilot_internal.adjust_quota(:'quota', 0.25, 'a1');
select * from copilot_internal.adjust_quota(:'quota', 0.26, 'a1');
table standing;
select current_spend_usd, replayed from copilot_internal.adjust_quota(:'quota', -0.1, 'a2');
table standing;
select * from copilot_internal.adjust_quota(:'quota', -0.150000001, 'a3');
select * from copilot_internal.adjust_quota(:'tenant', 1, 'a4');
-- The quota of all resources alone, which is a default without a row.
reset role;
select quota_id as quota from copilot_internal.effective_quotas where resource_type = 'all' \gset
set role service_role;
select current_spend_usd from copilot_internal.adjust_quota(:'quota', 3, 'a5');
select resource_type, period, current_spend_usd from metrics.quota_status order by 1, 2;
select other_charges_usd from get_tenant_cost_summary(:'tenant');
select task from copilot_internal.maintain() where done > 0;
select resource_type, period, current_spend_usd from metrics.quota_status order by 1, 2;
select * from copilot_internal.verify();
