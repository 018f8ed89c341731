-- What a merge has copied to another path is on both: a merge back brings what is new, a call with its results whole.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as root from append_message(:'tenant', :'chat', 'user', 'root') \gset
select path_id as one from branch_from_message(:'tenant', :'chat', :'root') \gset
select path_id as other from branch_from_message(:'tenant', :'chat', :'root') \gset
select count(*) from append_messages(:'tenant', :'chat', :'one', '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "call"}, {"role": "tool", "content": "result"}]');
select cardinality(merged_message_ids) from merge_path(:'tenant', :'chat', :'one', :'other', 'full', p_archive_source => false);
select count(*) from append_messages(:'tenant', :'chat', :'other', '[{"role": "tool", "content": "second result"}, {"role": "user", "content": "b"}]');
select id as copy from copilot_internal.conversation_messages where path_id = :'other' and content = 'a' \gset
select from merge_path(:'tenant', :'chat', :'other', :'one', 'selective', array[:'copy'::uuid]);
select cardinality(merged_message_ids) from merge_path(:'tenant', :'chat', :'other', :'one', 'full');
select content from get_path_messages(:'tenant', :'one') order by effective_sequence;
-- One that was deleted there comes again.
select path_id as third from branch_from_message(:'tenant', :'chat', :'root') \gset
select message_id as c from append_message(:'tenant', :'chat', 'user', 'c', p_path_id => :'third') \gset
select merged_message_ids[1] as there from merge_path(:'tenant', :'chat', :'third', :'one', 'full', p_archive_source => false) \gset
select path_id as fourth from branch_from_message(:'tenant', :'chat', :'there') \gset
select operations_reverted from delete_message(:'tenant', :'chat', :'c');
select cardinality(merged_message_ids) > 0 as brought from merge_path(:'tenant', :'chat', :'fourth', :'third', 'full');
select content from get_path_messages(:'tenant', :'third') order by effective_sequence;
select * from verify_conversations();
