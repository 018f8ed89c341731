-- What was erased is in no summary of a merge either, and no result is shown without its call.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select message_id as root from append_message(:'tenant', :'chat', 'user', 'Where to?') \gset
select path_id as twig from branch_from_message(:'tenant', :'chat', :'root') \gset
select message_id as secret from append_message(:'tenant', :'chat', 'user', 'My name is Rumpelstiltskin', p_path_id => :'twig') \gset
select summary_message_id as summary from merge_path(:'tenant', :'chat', :'twig', :'main', 'summary', p_summary_content => 'Rumpelstiltskin told a name', p_archive_source => false, p_request_id => 'merge') \gset
-- The summary is summed up itself; what came later is in neither.
select message_id as later from append_message(:'tenant', :'chat', 'user', 'Later', p_path_id => :'twig') \gset
select state from apply_compaction(:'tenant', :'chat', :'main', :'summary', 'semantic', 'R', p_tokens_after => 1);
select done, erased from erase_message(:'tenant', :'chat', :'later');
select count(*) from copilot_internal.conversation_messages where content like '%Rumpel%';
select done, erased from erase_message(:'tenant', :'chat', :'secret');
select count(*) from copilot_internal.conversation_messages where content like '%Rumpel%';
select state, summary from copilot_internal.compaction_operations;
select replayed from merge_path(:'tenant', :'chat', :'twig', :'main', 'summary', p_summary_content => 'Rumpelstiltskin told a name', p_archive_source => false, p_request_id => 'merge');
-- Who wrote a summary has also read what both paths show.
select message_id as shared from append_message(:'tenant', :'chat', 'user', 'My name is Rumpelstiltskin') \gset
select path_id as other from branch_from_message(:'tenant', :'chat', :'shared') \gset
select message_id as answer from append_message(:'tenant', :'chat', 'user', 'Good day', p_path_id => :'other') \gset
select removal_count from get_path_context(:'tenant', :'other') limit 1 \gset
select summary_message_id is not null as merged from merge_path(:'tenant', :'chat', :'other', :'main', 'summary', p_summary_content => 'Rumpelstiltskin was greeted', p_removal_count => :removal_count);
select done, erased from erase_message(:'tenant', :'chat', :'shared');
select count(*) from copilot_internal.conversation_messages where content like '%Rumpel%';
-- A call and its results, which go on on a branch.
select message_id as call from append_message(:'tenant', :'chat', 'assistant', 'call') \gset
select path_id as inner from branch_from_message(:'tenant', :'chat', :'call') \gset
select message_id as result from append_message(:'tenant', :'chat', 'tool', 'result') \gset
select message_id as inner_result from append_message(:'tenant', :'chat', 'tool', 'another result', p_path_id => :'inner') \gset
select role, content from get_path_context(:'tenant', :'inner') where role in ('assistant', 'tool');
select done, erased from erase_message(:'tenant', :'chat', :'call');
select role, content from get_path_context(:'tenant', :'main') where role in ('assistant', 'tool');
select role, content from get_path_context(:'tenant', :'inner') where role in ('assistant', 'tool');
select content, deleted_at is not null as is_deleted, erased_at is not null as is_erased from copilot_internal.conversation_messages where role in ('assistant', 'tool') order by created_at;
select * from verify_conversations();
