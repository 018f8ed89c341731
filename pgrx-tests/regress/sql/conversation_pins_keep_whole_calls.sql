-- After a compaction a pinned call is shown with its results, though only one of them is pinned.
\set tenant a0000000-0000-4000-8000-000000000001
\set ada b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ada');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'bob');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'ada', 'A chat', p_request_id => 'chat') \gset
select count(*) from append_messages(:'tenant', :'chat', :'main', '[{"role": "user", "content": "ask"},
    {"role": "assistant", "content": "call"}, {"role": "tool", "content": "result 1"}, {"role": "tool", "content": "result 2"},
    {"role": "user", "content": "thanks"}, {"role": "assistant", "content": "welcome"}]');
select id as ask from copilot_internal.conversation_messages where content = 'ask' \gset
select id as call from copilot_internal.conversation_messages where content = 'call' \gset
select id as thanks from copilot_internal.conversation_messages where content = 'thanks' \gset
select operation_id is not null as applied from apply_compaction(:'tenant', :'chat', :'main', :'thanks', 'sliding_window', 'so far', p_tokens_before => 100, p_tokens_after => 5);
select kind, role, content from get_path_context(:'tenant', :'main');
select pin_message(:'tenant', :'chat', :'call', :'ada') as found;
select get_pinned_message_count(:'tenant', :'chat') as pinned;
select kind, role, content from get_path_context(:'tenant', :'main');
select unpin_message(:'tenant', :'chat', :'call') as found;
select kind, role, content from get_path_context(:'tenant', :'main');
select * from verify_conversations();
