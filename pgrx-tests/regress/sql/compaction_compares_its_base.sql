-- A compaction is of what governed when its caller read. Another one meanwhile refuses it; the same request replays.
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
\set VERBOSITY sqlstate
select operation_id as op1 from apply_compaction(:'tenant', :'chat', :'path', :'m3', 'semantic', 'first', p_request_id => 'r') \gset
select apply_compaction(:'tenant', :'chat', :'path', :'m4', 'semantic', 'second');
select operation_id = :'op1' as same, replayed from apply_compaction(:'tenant', :'chat', :'path', :'m3', 'semantic', 'first', p_request_id => 'r');
select apply_compaction(:'tenant', :'chat', :'path', :'m3', 'semantic', 'other', p_request_id => 'r');
select operation_id as op2, state from apply_compaction(:'tenant', :'chat', :'path', :'m5', 'semantic', 'second', p_base_operation_id => :'op1') \gset
select kind, content from get_path_context(:'tenant', :'path');
-- Not before the end of the base.
select apply_compaction(:'tenant', :'chat', :'path', :'m1', 'semantic', 'third', p_base_operation_id => :'op2');
select state, effective_operation_id = :'op1' as first_governs from revert_compaction(:'tenant', :'op2');
select kind, content from get_path_context(:'tenant', :'path');
select apply_compaction(:'tenant', :'chat', :'path', null, 'semantic', 'x');
select apply_compaction(:'tenant', :'chat', :'path', :'m5', 'guess', 'x');
select apply_compaction(:'tenant', :'chat', :'path', gen_random_uuid(), 'semantic', 'x');
select apply_compaction(:'tenant', :'chat', gen_random_uuid(), :'m5', 'semantic', 'x');
select revert_compaction(:'tenant', gen_random_uuid());
