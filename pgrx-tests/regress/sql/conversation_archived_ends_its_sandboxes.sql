-- An archived conversation is read-only, its sandboxes end, and no cost changes. It comes back as it was.
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
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select activated from activate_execution_context(:'context', 'box');
select archived_at is not null as archived, contexts_terminated from archive_conversation(:'tenant', :'chat');
select archived_at is not null as archived, contexts_terminated from archive_conversation(:'tenant', :'chat');
select content from get_path_messages(:'tenant', :'path') where effective_sequence = 1;
\set VERBOSITY sqlstate
select append_message(:'tenant', :'chat', 'user', 'x', :'owner');
select apply_compaction(:'tenant', :'chat', :'path', :'m4', 'semantic', 's');
select merge_conversation_context(:'tenant', :'chat', '{a}');
select archive_conversation(:'tenant', :'chat', null);
select archive_conversation(:'tenant', gen_random_uuid());
select archived_at from archive_conversation(:'tenant', :'chat', false);
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'x', :'owner');
select sandbox_id, reason from claim_expired_execution_contexts();
