-- A sandbox that is recorded from time to time is one session, in every view and span in which it ran.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
\set conversation c0000000-0000-4000-8000-000000000001
set role service_role;
set timezone = 'UTC';
select count(*) from generate_series(0, 59) i, lateral record_e2b_cost(:'tenant', 'one', 'standard', 60, p_user_id => :'user', p_conversation_id => :'conversation',
    p_cost_usd => 0.01, p_occurred_at => '2026-01-31 23:30Z'::timestamptz + i * interval '1 minute');
-- Another sandbox, another provider's of the same id, and two that have none.
select count(*) from (values ('two', 'e2b'), ('one', 'acme'), (null, 'e2b'), (null, 'e2b')) as s (id, provider),
    lateral record_e2b_cost(:'tenant', s.id, 'standard', 1, p_cost_usd => 0.01, p_provider => s.provider, p_occurred_at => '2026-01-15Z');
select sandbox_type, total_cost, total_duration, session_count from metrics.e2b_costs;
select date, total_cost, session_count from metrics.e2b_costs_daily order by date;
select user_id, e2b_cost, e2b_session_count from metrics.cost_by_user order by user_id;
select conversation_id, e2b_cost, e2b_session_count from metrics.cost_by_conversation;
select e2b_cost, e2b_session_count from metrics.tenant_total_costs;
select f.from, s.e2b_cost_usd, s.e2b_session_count, s.by_sandbox_type -> 0 -> 'session_count' as of_type
from (values ('2026-01-01Z'::timestamptz, '2026-02-01Z'::timestamptz), ('2026-02-01Z', '2026-03-01Z'), ('2026-01-01Z', '2026-03-01Z'), ('2026-02-01 00:10Z', '2026-02-01 00:20Z')) as f ("from", "to"),
    lateral get_tenant_cost_summary(:'tenant', f."from", f."to") s;
-- Folding changes nothing of it.
select count(*) from copilot_internal.maintain() where task = 'unheard of';
select total_cost, session_count from metrics.e2b_costs;
select count(*) from copilot_internal.verify();
