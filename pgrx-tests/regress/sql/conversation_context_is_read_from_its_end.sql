-- A context is read from its end: a long path costs as much as what is shown of it.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select count(*) from generate_series(1, 20) g, lateral append_messages(:'tenant', :'chat', :'main', (select jsonb_agg(jsonb_build_object('role', 'user', 'content', format('word %s', i), 'token_count', 1)) from generate_series(1, 100) i where g > 0));
select id as pinned from copilot_internal.conversation_messages where sequence_in_path = 7 \gset
select pin_message(:'tenant', :'chat', :'pinned', null);
begin;
select content, effective_sequence, truncated from get_path_context(:'tenant', :'main', 3);
select pg_stat_get_xact_tuples_fetched('copilot_internal.conversation_messages'::regclass) < 50 as is_bounded;
commit;
-- Too long for the tokens, as well; and what is cut is said, though nothing but the summary is left.
select content, truncated from get_path_context(:'tenant', :'main', p_max_tokens => 3);
select unpin_message(:'tenant', :'chat', :'pinned');
select state from apply_compaction(:'tenant', :'chat', :'main', :'pinned', 'semantic', 'A summary');
select kind, content, truncated from get_path_context(:'tenant', :'main', p_max_tokens => 2);
-- A unit that goes on beyond what a summary covers is shown whole, and one with a draft not at all.
select message_id as call from append_message(:'tenant', :'chat', 'assistant', 'call') \gset
select path_id as twig from branch_from_message(:'tenant', :'chat', :'call') \gset
select id as base from copilot_internal.compaction_operations \gset
select state from apply_compaction(:'tenant', :'chat', :'main', :'call', 'semantic', 'All of it', p_base_operation_id => :'base');
select message_id as result from append_message(:'tenant', :'chat', 'tool', 'result', p_path_id => :'twig') \gset
select kind, role, content from get_path_context(:'tenant', :'twig');
select message_id as draft from append_message(:'tenant', :'chat', 'tool', null, p_path_id => :'twig', p_draft => true) \gset
select kind, role, content from get_path_context(:'tenant', :'twig');
select * from verify_conversations();
