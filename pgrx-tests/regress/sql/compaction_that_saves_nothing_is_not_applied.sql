-- A compaction that would make nothing smaller is recorded as failed, so that no chat is compacted on every turn.
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
select state, through_position from apply_compaction(:'tenant', :'chat', :'path', :'m4', 'semantic', 'the sum', p_tokens_before => 60, p_tokens_after => 60);
select kind, content from get_path_context(:'tenant', :'path');
select state, success, error from copilot_internal.compaction_operations;
select open_token_count, compaction_checked_at > '-infinity' as moved_back from copilot_internal.conversation_paths;
