-- Numbers without gaps; a retry gets the first answer, another message under its id is refused; a draft is finished once.
\set tenant a0000000-0000-4000-8000-000000000001
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat') \gset
select conversation_id = :'chat' as same, path_id = :'main' as same_path, replayed from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat');
select message_id as first from append_message(:'tenant', :'chat', 'user', 'one', :'ada', p_request_id => 'a') \gset
select message_id = :'first' as same, sequence_in_path, replayed from append_message(:'tenant', :'chat', 'user', 'one', :'ada', p_request_id => 'a');
select message_id as draft from append_message(:'tenant', :'chat', 'assistant', '', p_draft => true) \gset
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'three', :'ada');
select role, content from get_path_context(:'tenant', :'main');
select finished_at is not null as finished, replayed from finish_message(:'tenant', :'draft', 'two');
select finished_at is not null as finished, replayed from finish_message(:'tenant', :'draft', 'two');
select effective_sequence, role, content from resolve_path_messages(:'main');
-- A batch that is repeated goes where it went, though another path is active.
select ordinal, sequence_in_path, replayed from append_messages(:'tenant', :'chat', null, '[{"role": "user", "content": "four"}]', p_request_id => 'b');
select inherited_count from branch_from_message(:'tenant', :'chat', :'first', p_activate => true);
select ordinal, sequence_in_path, replayed from append_messages(:'tenant', :'chat', null, '[{"role": "user", "content": "four"}]', p_request_id => 'b');
select * from verify_conversations();
\set VERBOSITY sqlstate
select append_message(:'tenant', :'chat', 'user', 'other', :'ada', p_request_id => 'a');
select create_conversation(:'tenant', :'ada', 'Another', p_request_id => 'chat');
select finish_message(:'tenant', :'draft', 'other');
select append_message(:'tenant', :'chat', 'user', 'late', :'ada', :'main', p_expected_last_message_id => :'first');
select append_message(:'tenant', :'chat', 'robot', 'x');
select append_message(:'tenant', gen_random_uuid(), 'user', 'x');
