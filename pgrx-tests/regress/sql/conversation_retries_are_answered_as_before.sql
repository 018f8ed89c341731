-- A retry is answered as the first call was, whatever has been renamed, archived or erased meanwhile.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main, replayed from create_conversation(:'tenant', :'owner', 'A chat', p_request_id => 'chat') \gset
select updated_at is not null as renamed from set_conversation_sharing(:'tenant', :'chat', 'tenant', p_title => 'Another name');
select conversation_id = :'chat' as same, path_id = :'main' as same_path, replayed from create_conversation(:'tenant', :'owner', 'A chat', p_request_id => 'chat');
select from create_conversation(:'tenant', :'owner', 'Another name', p_request_id => 'chat');
select message_id as m1 from append_message(:'tenant', :'chat', 'user', 'one one one one one') \gset
select message_id as m2 from append_message(:'tenant', :'chat', 'assistant', 'two') \gset
select path_id as twig, replayed from branch_from_message(:'tenant', :'chat', :'m2', p_request_id => 'branch') \gset
-- A merge that brings nothing is one.
select merged_message_ids, replayed from merge_path(:'tenant', :'chat', :'twig', :'main', 'full', p_request_id => 'merge');
select merged_message_ids, replayed from merge_path(:'tenant', :'chat', :'twig', :'main', 'full', p_request_id => 'merge');
select from merge_path(:'tenant', :'chat', :'twig', :'main', 'full', p_request_id => 'another');
select path_id as bough from branch_from_message(:'tenant', :'chat', :'m2') \gset
select message_id as m3 from append_message(:'tenant', :'chat', 'user', 'three', p_path_id => :'bough') \gset
select message_id as m4 from append_message(:'tenant', :'chat', 'user', 'four', p_path_id => :'bough') \gset
select from merge_path(:'tenant', :'chat', :'bough', :'main', 'full', p_request_id => 'merge');
select merged_message_ids as copies from merge_path(:'tenant', :'chat', :'bough', :'main', 'selective', array[:'m4'::uuid], p_request_id => 'some') \gset
select operation_id as operation from apply_compaction(:'tenant', :'chat', :'main', :'m1', 'semantic', 's', p_request_id => 'compaction') \gset
select archived_at is not null as archived from archive_conversation(:'tenant', :'chat');
select merged_message_ids = :'copies' as same, replayed from merge_path(:'tenant', :'chat', :'bough', :'main', 'selective', array[:'m4'::uuid], p_request_id => 'some');
select from merge_path(:'tenant', :'chat', :'bough', :'main', 'selective', array[:'m3'::uuid], p_request_id => 'some');
select path_id = :'twig' as same, replayed from branch_from_message(:'tenant', :'chat', :'m2', p_request_id => 'branch');
select operation_id = :'operation' as same, replayed from apply_compaction(:'tenant', :'chat', :'main', :'m1', 'semantic', 's', p_request_id => 'compaction');
-- What is new is refused.
select from branch_from_message(:'tenant', :'chat', :'m2', p_request_id => 'too late');
select from apply_compaction(:'tenant', :'chat', :'main', :'m2', 'semantic', 's', p_base_operation_id => :'operation');
-- Words that were erased come back with no retry.
select done from erase_message(:'tenant', :'chat', :'m1');
select operation_id = :'operation' as same, replayed, state from apply_compaction(:'tenant', :'chat', :'main', :'m1', 'semantic', 's', p_request_id => 'compaction');
select state, summary from copilot_internal.compaction_operations;
-- A merge goes to a path that takes messages, even if it brings none.
select archived_at from archive_conversation(:'tenant', :'chat', false);
select path_id as one from branch_from_message(:'tenant', :'chat', :'m2') \gset
select path_id as other from branch_from_message(:'tenant', :'chat', :'m2') \gset
select updated_at is not null as closed from update_path(:'tenant', :'other', p_is_active => false);
select from merge_path(:'tenant', :'chat', :'one', :'other', 'full');
select * from verify_conversations();
-- A table that an operator has given a column answers a retry all the same.
select ordinal, replayed from append_messages(:'tenant', :'chat', :'one', '[{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]', p_request_id => 'columns');
reset role;
alter table copilot_internal.conversation_messages add column embedding text;
set role service_role;
select ordinal, replayed from append_messages(:'tenant', :'chat', :'one', '[{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]', p_request_id => 'columns');
