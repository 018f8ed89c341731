-- An application that archives by an update of its own archives the paths too.
\set tenant a0000000-0000-4000-8000-000000000001
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat') \gset
update copilot_internal.conversations set archived_at = clock_timestamp() where id = :'chat';
select archived_at is not null as archived from copilot_internal.conversation_paths;
update copilot_internal.conversations set archived_at = null where id = :'chat';
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'again', :'ada');
select archived_at is not null as archived, contexts_terminated from archive_conversation(:'tenant', :'chat');
\set VERBOSITY sqlstate
select append_message(:'tenant', :'chat', 'user', 'late', :'ada');
