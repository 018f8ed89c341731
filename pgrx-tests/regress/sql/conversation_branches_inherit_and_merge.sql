-- A branch of a branch shows what stood before it; what is merged is all that the target does not show.
\set tenant a0000000-0000-4000-8000-000000000001
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat') \gset
select count(*) from append_messages(:'tenant', :'chat', :'main', '[{"role": "user", "content": "m1"}, {"role": "assistant", "content": "m2"}]');
select id as m2 from copilot_internal.conversation_messages where content = 'm2' \gset
select path_id as a from branch_from_message(:'tenant', :'chat', :'m2', 'a') \gset
select message_id as a1 from append_message(:'tenant', :'chat', 'user', 'a1', :'ada', :'a') \gset
select path_id as b from branch_from_message(:'tenant', :'chat', :'a1') \gset
select effective_sequence from append_message(:'tenant', :'chat', 'assistant', 'b1', p_path_id => :'b');
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'm3', :'ada', :'main');
select effective_sequence, sequence_in_path, content, is_branch_point from resolve_path_messages(:'b');
select depth, path_id = :'main' as is_main from get_path_ancestors(:'b');
-- Before a message: it is edited, and not inherited.
select branch_sequence, inherited_count from branch_from_message(:'tenant', :'chat', :'m2', p_position => 'before');
select cardinality(merged_message_ids) as merged, contexts_terminated, replayed from merge_path(:'tenant', :'chat', :'b', :'main', 'full', p_request_id => 'merge');
select replayed from merge_path(:'tenant', :'chat', :'b', :'main', 'full', p_request_id => 'merge');
select effective_sequence, role, content from resolve_path_messages(:'main');
select summary_message_id is not null as has_summary from merge_path(:'tenant', :'chat', :'a', :'main', 'summary', p_summary_content => 'a in short');
select role, content from get_path_messages(:'tenant', :'main', 1);
select * from verify_conversations();
\set VERBOSITY sqlstate
select merge_path(:'tenant', :'chat', :'b', :'main', 'full');
select merge_path(:'tenant', :'chat', :'main', :'main', 'full');
select append_message(:'tenant', :'chat', 'user', 'to a merged path', :'ada', :'b');
