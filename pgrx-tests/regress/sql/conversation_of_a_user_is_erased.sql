-- A user's conversations go whole; elsewhere what they wrote goes, and what others wrote stays.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat', p_share_audience => 'tenant', p_tenant_access => 'edit') \gset
select count(*) from append_messages(:'tenant', :'chat', :'path', '[{"role": "user", "content": "one", "token_count": 10},
    {"role": "assistant", "content": "two", "token_count": 10}, {"role": "tool", "content": "three", "token_count": 10},
    {"role": "user", "content": "four", "token_count": 10}, {"role": "assistant", "content": "five", "token_count": 10},
    {"role": "user", "content": "six", "token_count": 10}]');
select id as m1 from copilot_internal.conversation_messages where content = 'one' \gset
select id as m2 from copilot_internal.conversation_messages where content = 'two' \gset
select id as m3 from copilot_internal.conversation_messages where content = 'three' \gset
select id as m4 from copilot_internal.conversation_messages where content = 'four' \gset
select id as m5 from copilot_internal.conversation_messages where content = 'five' \gset
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'a word of the member', :'member');
select conversation_id as own, path_id as own_path from create_conversation(:'tenant', :'member', 'Of the member') \gset
select sequence_in_path from append_message(:'tenant', :'own', 'user', 'another word', :'member');
select config is not null as set from set_conversation_config('user', :'tenant', :'member', '{"path_max_messages": 7}');
select done, remaining_contexts from erase_user_conversations(:'tenant', :'member');
select title from copilot_internal.conversations;
select sequence_in_path, content, user_id from copilot_internal.conversation_messages where path_id = :'path' order by 1 desc limit 2;
select count(*) from copilot_internal.conversation_configs;
select done, erased from erase_user_conversations(:'tenant', :'member');
select * from verify_conversations();
reset role;
select set_config('request.jwt.claims', json_build_object('sub', :'member')::text, false) is not null as member;
set role authenticated;
\set VERBOSITY sqlstate
select erase_user_conversations(:'tenant', :'owner');
select done from erase_user_conversations(:'tenant', :'member');
