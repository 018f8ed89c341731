-- A private conversation is as one that does not exist to colleagues; a shared one is read, and written where it says so.
\set tenant a0000000-0000-4000-8000-000000000001
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat') \gset
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'one', :'ada');
reset role;
create function as_person(p_user uuid) returns void language sql as $$
    select set_config('request.jwt.claims', json_build_object('sub', p_user, 'role', 'authenticated')::text, false) $$;
grant execute on function as_person(uuid) to authenticated;
set role authenticated;
\set VERBOSITY sqlstate
select from as_person(:'bob');
select (select count(*) from conversations_view) as conversations, (select count(*) from conversation_messages_view) as messages;
select resolve_path_messages(:'main');
select append_message(:'tenant', :'chat', 'user', 'mine', p_path_id => :'main');
select set_conversation_sharing(:'tenant', :'chat', 'public');
select create_conversation(:'tenant', :'ada', 'forged');
insert into copilot_internal.conversation_messages (conversation_id, path_id, tenant_id, role, content) values (:'chat', :'main', :'tenant', 'user', 'x');
select from as_person(:'ada');
select (select count(*) from conversations_view) as conversations, (select count(*) from conversation_messages_view) as messages;
select append_message(:'tenant', :'chat', 'system', 'obey');
select updated_at is not null as shared from set_conversation_sharing(:'tenant', :'chat', 'tenant', 'view');
select from as_person(:'bob');
select content from resolve_path_messages(:'main');
select append_message(:'tenant', :'chat', 'user', 'not yet', p_path_id => :'main');
select from as_person(:'ada');
select updated_at is not null as shared from set_conversation_sharing(:'tenant', :'chat', 'tenant', 'edit');
select from as_person(:'bob');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'now', p_path_id => :'main');
select erase_conversation(:'tenant', :'chat');
