-- A sandbox is acquired with a hold on the quota, reused, ended once, and billed once, whatever is said again.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select set_quota('tenant', :'tenant', 'e2b', 0.2, 'lifetime') is not null as made;
select outcome, context_id as context, sandbox_id, reservation_id is not null as held from acquire_execution_context(:'tenant', :'chat', :'path', :'owner', p_request_id => 'r') \gset
select :'outcome' as outcome, :'held' as held;
select outcome, retry_after_seconds from acquire_execution_context(:'tenant', :'chat', :'path', :'owner');
select outcome, context_id = :'context' as same from acquire_execution_context(:'tenant', :'chat', :'path', :'owner', p_request_id => 'r');
select activated, sandbox_status from activate_execution_context(:'context', 'box');
select activated, sandbox_status from activate_execution_context(:'context', 'box');
select outcome, context_id = :'context' as same, sandbox_id from acquire_execution_context(:'tenant', :'chat', :'path', :'owner');
select renewed, sandbox_status from touch_execution_context(:'context', 60);
select state, round(reserved_usd, 5) as reserved_usd from copilot_internal.quota_reservations;
select terminated, sandbox_id from terminate_execution_context(:'context', 'done');
select terminated, sandbox_id from terminate_execution_context(:'context', 'again');
select renewed, sandbox_status from touch_execution_context(:'context');
select sandbox_id, reason from claim_expired_execution_contexts();
select sandbox_id, reason from claim_expired_execution_contexts();
select cost_usd, cost_status, duration_seconds, replayed from release_execution_context(:'context', 600);
select cost_usd, cost_status, duration_seconds, replayed from release_execution_context(:'context', 601);
select state, charged_usd from copilot_internal.quota_reservations;
select e2b_cost, e2b_session_count from metrics.cost_by_path;
select creating, ready, ended_unreleased, released_today, sandbox_seconds_today, reserved_usd from metrics.execution_contexts;
select deleted_count from cleanup_old_terminated_contexts();
select deleted_count from cleanup_old_terminated_contexts(0);
select * from verify_conversations();
reset role;
select * from copilot_internal.verify();
