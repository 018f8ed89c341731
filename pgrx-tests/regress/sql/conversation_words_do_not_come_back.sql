-- A summary is of what its writer has read. What was deleted or erased meanwhile does not come back in it, nor with a
-- retry, nor in what is noted beside.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as m1 from append_message(:'tenant', :'chat', 'user', 'Rumpelstiltskin' || repeat(' x', 300), p_user_id => :'owner', p_request_id => 'one') \gset
select message_id as m2 from append_message(:'tenant', :'chat', 'assistant', 'fine' || repeat(' x', 300)) \gset
select message_id as m3 from append_message(:'tenant', :'chat', 'user', 'next') \gset
insert into copilot_internal.conversation_contexts (conversation_id, tenant_id, summary) values (:'chat', :'tenant', 'Rumpelstiltskin');
-- A worker reads, the message is deleted, the summary comes.
select distinct removal_count as read from get_path_context(:'tenant', :'main') \gset
select operations_reverted from delete_message(:'tenant', :'chat', :'m1');
select from apply_compaction(:'tenant', :'chat', :'main', :'m2', 'semantic', 'Rumpelstiltskin', p_removal_count => :read);
select from apply_compaction(:'tenant', :'chat', :'main', :'m2', 'semantic', 'Rumpelstiltskin');
-- What it does not cover matters to who says nothing as little as a compaction without words.
select path_id as early from branch_from_message(:'tenant', :'chat', :'m1', p_position => 'before') \gset
begin;
select state from apply_compaction(:'tenant', :'chat', :'main', :'m2', 'sliding_window', p_tokens_after => 1);
rollback;
select removal_count as again from get_path_context(:'tenant', :'main') limit 1 \gset
select :again > :read as counted;
select state from apply_compaction(:'tenant', :'chat', :'main', :'m2', 'semantic', 'All is fine', p_removal_count => :again, p_request_id => 'compaction');
-- Of what goes later the one who says nothing is told for an hour.
select message_id as m4 from append_message(:'tenant', :'chat', 'user', 'Rumpelstiltskin once more' || repeat(' x', 300)) \gset
select message_id as m5 from append_message(:'tenant', :'chat', 'user', 'last') \gset
select id as base from copilot_internal.compaction_operations where state = 'applied' \gset
select done from erase_message(:'tenant', :'chat', :'m4');
select from apply_compaction(:'tenant', :'chat', :'main', :'m4', 'semantic', 'Rumpelstiltskin', p_base_operation_id => :'base');
reset role;
update copilot_internal.conversation_messages set erased_at = erased_at - interval '1 hour', deleted_at = deleted_at - interval '1 hour' where erased_at is not null or deleted_at is not null;
set role service_role;
select state from apply_compaction(:'tenant', :'chat', :'main', :'m4', 'semantic', 'hm', p_base_operation_id => :'base', p_tokens_after => 1);
-- A merge tells of what its source shows.
select path_id as twig from branch_from_message(:'tenant', :'chat', :'m5') \gset
select message_id as secret from append_message(:'tenant', :'chat', 'user', 'Rumpelstiltskin is mine', p_path_id => :'twig', p_request_id => 'secret') \gset
select message_id as other from append_message(:'tenant', :'chat', 'user', 'another', p_path_id => :'twig') \gset
select distinct removal_count as read from get_path_context(:'tenant', :'twig') \gset
select done from erase_message(:'tenant', :'chat', :'secret');
select from merge_path(:'tenant', :'chat', :'twig', :'main', 'summary', p_summary_content => 'Rumpelstiltskin', p_removal_count => :read);
select from merge_path(:'tenant', :'chat', :'twig', :'main', 'summary', p_summary_content => 'Rumpelstiltskin');
select summary_message_id is not null as merged from merge_path(:'tenant', :'chat', :'twig', :'main', 'summary', p_summary_content => 'Nothing much', p_removal_count => (select removal_count from copilot_internal.conversation_paths where id = :'twig'));
-- A retry is answered, and writes nothing.
select message_id = :'secret' as same, sequence_in_path, replayed from append_message(:'tenant', :'chat', 'user', 'Rumpelstiltskin is mine', p_path_id => :'twig', p_request_id => 'secret');
select done from erase_message(:'tenant', :'chat', :'m1');
select message_id = :'m1' as same, sequence_in_path, replayed from append_message(:'tenant', :'chat', 'user', 'Rumpelstiltskin' || repeat(' x', 300), p_user_id => :'owner', p_request_id => 'one');
select from append_message(:'tenant', :'chat', 'assistant', 'Rumpelstiltskin', p_request_id => 'one');
select message_id as b1 from append_messages(:'tenant', :'chat', :'main', '[{"role": "user", "content": "Rumpelstiltskin"}, {"role": "user", "content": "and"}]', p_request_id => 'batch') where ordinal = 1 \gset
select done from erase_message(:'tenant', :'chat', :'b1');
select ordinal, replayed from append_messages(:'tenant', :'chat', :'main', '[{"role": "user", "content": "Rumpelstiltskin"}, {"role": "user", "content": "and"}]', p_request_id => 'batch');
select from append_messages(:'tenant', :'chat', :'main', '[{"role": "user", "content": "Rumpelstiltskin"}, {"role": "user", "content": "or"}]', p_request_id => 'batch');
select message_id as draft from append_message(:'tenant', :'chat', 'assistant', 'Rumpel', p_draft => true, p_request_id => 'draft') \gset
select done from erase_message(:'tenant', :'chat', :'draft');
select from finish_message(:'tenant', :'draft', 'Rumpelstiltskin');
select message_id = :'draft' as same, replayed from append_message(:'tenant', :'chat', 'assistant', 'Rumpel', p_draft => true, p_request_id => 'draft');
update copilot_internal.conversation_messages set metadata = '{"said": "Rumpelstiltskin"}' where id = :'m1';
-- What is noted beside an erasure is without a word.
select record_compaction_operation(:'chat', :'main', p_tokens_before => 7, p_success => false, p_error => 'Rumpelstiltskin', p_metadata => '{"said": "Rumpelstiltskin"}') is not null as noted;
select record_compaction_operation(:'chat', :'early', p_success => false, p_error => 'too long') is not null as noted;
reset role;
update copilot_internal.conversation_paths set last_erasure_at = last_erasure_at - interval '1 hour';
set role service_role;
select record_compaction_operation(:'chat', p_success => false, p_error => 'Rumpelstiltskin', p_metadata => '{"said": "Rumpelstiltskin"}') is not null as noted;
select done from erase_message(:'tenant', :'chat', :'m5');
select path_id = :'early' as early, tokens_before, error, metadata from copilot_internal.compaction_operations where state = 'failed' order by timestamp;
select (select count(*) from copilot_internal.conversation_messages m where m::text like '%Rumpel%') as messages, (select count(*) from copilot_internal.compaction_operations o where o::text like '%Rumpel%') as operations, (select count(*) from copilot_internal.conversation_contexts c where c::text like '%Rumpel%') as contexts;
select * from verify_conversations();
-- A conversation that was erased is not made again by a retry, even if another erased it.
select conversation_id as second from create_conversation(:'tenant', :'owner', 'Rumpelstiltskin', p_request_id => 'made') \gset
select done from erase_conversation(:'tenant', :'second');
select from create_conversation(:'tenant', :'owner', 'Rumpelstiltskin', p_request_id => 'made');
select conversation_id as third from create_conversation(:'tenant', :'owner', 'Rumpelstiltskin', p_request_id => 'made too') \gset
select done from erase_user_conversations(:'tenant', :'owner');
select from create_conversation(:'tenant', :'owner', 'Rumpelstiltskin', p_request_id => 'made too');
select kind, completed_at is not null as completed, request_id_digest is not null as remembers from copilot_internal.conversation_erasures where kind <> 'message' order by requested_at;
select count(*) from copilot_internal.conversations;
