-- A creator that was overtaken gets no context, and its sandbox stands in the killers' queue: killed and billed.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select outcome, context_id as late from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
reset role;
update copilot_internal.execution_contexts set creating_until = clock_timestamp();
set role service_role;
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select :'outcome' as outcome, :'context' <> :'late' as another;
select activated, sandbox_status from activate_execution_context(:'late', 'late box');
select activated, sandbox_status from activate_execution_context(:'late', 'late box');
select activated, sandbox_status from activate_execution_context(:'context', 'box');
select activated, sandbox_status from activate_execution_context(:'context', 'second box');
select sandbox_id, reason from claim_expired_execution_contexts();
select orphans, ended_unreleased, ready from metrics.execution_contexts;
select cost_usd, duration_seconds, replayed from release_execution_context((select id from copilot_internal.execution_contexts where sandbox_id = 'late box'), 60);
select cost_usd, duration_seconds, replayed from release_execution_context((select id from copilot_internal.execution_contexts where sandbox_id = 'second box'), 30);
-- Nobody found a sandbox of the one that was never activated: its hold is given back.
select cost_record_id, cost_usd, cost_status, duration_seconds from release_execution_context(:'late');
select released_usd from fail_execution_context(:'context', 'too late');
select state, count(*) from copilot_internal.quota_reservations group by state order by state;
