-- Each worker claims other paths. Who finds nothing to do records it, and the path goes to the end of the queue.
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
select message_count, token_count, path_id = :'path' as this from get_conversations_needing_compaction();
select message_count, token_count, path_id = :'path' as this from get_conversations_needing_compaction(p_message_count_gt => 5);
select message_count, token_count, path_id = :'path' as this from get_conversations_needing_compaction(p_message_count_gt => 50, p_token_count_gt => 50);
select message_count, path_id = :'path' as this from get_conversations_needing_compaction(p_message_count_gt => 5, p_last_activity_after => '2000-01-01');
select message_count, config ->> 'path_max_messages' as most from claim_paths_for_compaction(p_message_count_gt => 5);
select message_count from claim_paths_for_compaction(p_message_count_gt => 5);
select record_compaction_operation(:'chat', :'path', null, :'owner') is not null as recorded;
select message_count from claim_paths_for_compaction(p_message_count_gt => 5);
select record_compaction_operation(:'chat', :'path', p_strategy => 'semantic', p_tokens_before => 10, p_tokens_after => 2000) is not null as recorded;
select message_count from claim_paths_for_compaction(p_message_count_gt => 5);
select strategy, state, compression_ratio from copilot_internal.compaction_operations order by timestamp;
select total_operations, successful_operations, failed_operations, total_tokens_saved, operations_using_llm from get_compaction_metrics();
select strategy, operations, tokens_saved from get_compaction_strategy_breakdown(p_tenant_id => :'tenant');
select strategy, tokens_saved, success from get_recent_compaction_operations(1);
\set VERBOSITY sqlstate
select record_compaction_operation();
select record_compaction_operation(:'chat', p_strategy => 'guess');
select record_compaction_operation(:'chat', p_tokens_before => -1);
select record_compaction_operation(p_tenant_id => gen_random_uuid());
