-- Rows that an application writes itself ask the quota as well, and what has ended stays ended.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
\set VERBOSITY sqlstate
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at)
values (:'tenant', :'chat', :'path', 'box', 'creating', now() + interval '30 minutes') returning sandbox_status;
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at)
values (:'tenant', :'chat', :'path', 'second', 'creating', now() + interval '30 minutes');
update copilot_internal.execution_contexts set sandbox_status = 'ready' where sandbox_id = 'box';
select outcome, sandbox_id from acquire_execution_context(:'tenant', :'chat', :'path', :'owner');
update copilot_internal.execution_contexts set sandbox_status = 'terminated', terminated_at = '2100-01-01' where sandbox_id = 'box';
select sandbox_status, terminated_at <= clock_timestamp() as now, ready_at is not null as was_ready from copilot_internal.execution_contexts;
update copilot_internal.execution_contexts set sandbox_status = 'ready' where sandbox_id = 'box';
update copilot_internal.execution_contexts set expires_at = '2100-01-01';
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, released_at) values (:'tenant', :'chat', :'path', 'x', now());
select set_quota('tenant', :'tenant', 'e2b', 0.01, 'lifetime') is not null as made;
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at)
values (:'tenant', :'chat', :'path', 'third', 'creating', now() + interval '30 minutes');
select cost_status, replayed from release_execution_context((select id from copilot_internal.execution_contexts where sandbox_id = 'box'));
