-- A summary goes on telling what was deleted, so it is reverted; of what was erased no summary keeps a word.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select count(*) from append_messages(:'tenant', :'chat', :'path', '[{"role": "user", "content": "one", "token_count": 10},
    {"role": "assistant", "content": "two", "token_count": 10}, {"role": "tool", "content": "three", "token_count": 10},
    {"role": "user", "content": "four", "token_count": 10}, {"role": "assistant", "content": "five", "token_count": 10},
    {"role": "user", "content": "six", "token_count": 10}]');
select id as m1 from copilot_internal.conversation_messages where content = 'one' \gset
select id as m2 from copilot_internal.conversation_messages where content = 'two' \gset
select id as m3 from copilot_internal.conversation_messages where content = 'three' \gset
select id as m4 from copilot_internal.conversation_messages where content = 'four' \gset
select id as m5 from copilot_internal.conversation_messages where content = 'five' \gset
select state from apply_compaction(:'tenant', :'chat', :'path', :'m4', 'semantic', 'one and all') \gset
select operations_reverted from delete_message(:'tenant', :'chat', :'m1');
select state, revert_reason, summary from copilot_internal.compaction_operations;
select kind, content from get_path_context(:'tenant', :'path');
select done, erased from erase_message(:'tenant', :'chat', :'m1');
select state, revert_reason, summary from copilot_internal.compaction_operations;
select sequence_in_path, content, erased_at is not null as erased from copilot_internal.conversation_messages order by 1;
select * from verify_conversations();
