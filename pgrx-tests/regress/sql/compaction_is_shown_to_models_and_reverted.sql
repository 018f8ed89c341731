-- A compaction changes what a model is shown and no message. Reverted, it gives back the context of before.
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
select kind, content, effective_sequence from get_path_context(:'tenant', :'path');
select pin_message(:'tenant', :'chat', :'m1', :'owner');
select operation_id as op, through_position, messages_covered, pinned_preserved, replayed, state
from apply_compaction(:'tenant', :'chat', :'path', :'m4', 'semantic', 'the sum', p_tokens_after => 35) \gset
select :'through_position' as through_position, :'messages_covered' as messages_covered, :'pinned_preserved' as pinned_preserved, :'replayed' as replayed, :'state' as state;
select kind, role, content, effective_sequence from get_path_context(:'tenant', :'path');
-- What was pinned when it was applied stays, though it is pinned no more.
select unpin_message(:'tenant', :'chat', :'m1');
select kind, content, effective_sequence from get_path_context(:'tenant', :'path');
select open_message_count, open_token_count from copilot_internal.conversation_paths;
select content, effective_sequence from get_path_messages(:'tenant', :'path');
select state, effective_operation_id, replayed from revert_compaction(:'tenant', :'op');
select state, effective_operation_id, replayed from revert_compaction(:'tenant', :'op');
select kind, content, effective_sequence from get_path_context(:'tenant', :'path');
select open_message_count, open_token_count from copilot_internal.conversation_paths;
select strategy, triggered_by, tokens_before, tokens_after, tokens_saved, messages_before, messages_after, messages_removed, messages_summarized, compression_ratio, state, revert_reason
from copilot_internal.compaction_operations;
select * from verify_conversations();
