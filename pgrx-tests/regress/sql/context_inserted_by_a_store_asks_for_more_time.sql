-- A context that an application inserts asks the quota for more time, too, and none begins on a path that takes no messages.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select set_quota('tenant', :'tenant', 'e2b', 0.05, 'lifetime') is not null as made;
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at)
values (:'tenant', :'chat', :'main', 'box', 'ready', now() + interval '1 minute') returning id as context \gset
select renewed from touch_execution_context(:'context', 60);
select outcome, reason from acquire_execution_context(:'tenant', :'chat', :'main', p_ttl => '60 minutes');
select renewed from touch_execution_context(:'context', 10);
select contexts_terminated from archive_conversation(:'tenant', :'chat');
\set VERBOSITY sqlstate
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status, expires_at)
values (:'tenant', :'chat', :'main', 'late', 'ready', now() + interval '1 minute');
