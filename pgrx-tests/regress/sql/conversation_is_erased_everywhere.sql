-- What was erased is in no table of the two extensions; a sandbox that runs keeps a stub until it is billed, and costs stay.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
reset role;
create function pg_temp.hits(relation name, pattern text) returns bigint language plpgsql as $$
declare v_hits bigint;
begin
    execute format('select count(*) from copilot_internal.%I r where r::text ~* %L', relation, pattern) into v_hits;
    return v_hits;
end $$;
create temp view found as
    select c.relname, q.hits
    from pg_class c
    cross join lateral (select pg_temp.hits(c.relname, 'secret') as hits) q
    where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r' and q.hits > 0;
set role service_role;
update copilot_internal.conversations set title = 'secret', metadata = '{"a": "secret"}', jurisdictions = '{secret}';
select count(*) from append_messages(:'tenant', :'chat', :'path', '[{"role": "user", "content": "secret 1", "parts": [{"type": "file", "storage_key": "files/1"}]},
    {"role": "assistant", "content": "secret 2", "metadata": {"a": "secret"}}, {"role": "user", "content": "secret 3"}]');
select active_node_ids from merge_conversation_context(:'tenant', :'chat', '{secret}');
select path_id as branch from branch_from_message(:'tenant', :'chat', (select id from copilot_internal.conversation_messages where content = 'secret 2'), 'secret name', 'secret words') \gset
select sequence_in_path from append_message(:'tenant', :'chat', 'user', 'secret 4', :'owner', :'branch');
select cardinality(merged_message_ids) from merge_path(:'tenant', :'chat', :'branch', :'path', 'full', p_user_id => :'owner');
select state from apply_compaction(:'tenant', :'chat', :'path', (select id from copilot_internal.conversation_messages where content = 'secret 2'), 'semantic', 'secret', p_tokens_before => 90, p_tokens_after => 1, p_metadata => '{"a": "secret"}');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'chat', :'path', 'secret task', p_cost_usd => 0.25, p_metadata => '{"a": "secret"}');
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select activated from activate_execution_context(:'context', 'box');
update copilot_internal.execution_contexts set error_message = 'secret', resource_usage = '{"a": "secret"}';
reset role;
select * from found order by 1;
set role service_role;
-- A message with its copy.
select done, erased from erase_message(:'tenant', :'chat', (select id from copilot_internal.conversation_messages where content = 'secret 4' order by created_at limit 1));
select count(*) from copilot_internal.conversation_messages where content = 'secret 4';
select * from verify_conversations();
select done, remaining_contexts, attachments from erase_conversation(:'tenant', :'chat');
reset role;
select * from found order by 1;
set role service_role;
select count(*) from list_conversations(:'tenant');
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select cost_usd is not null as billed from release_execution_context(:'context', 10);
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select (select count(*) from copilot_internal.conversations) as conversations, (select count(*) from copilot_internal.conversation_paths) as paths, (select count(*) from copilot_internal.execution_contexts) as contexts;
select kind, completed_at is not null as completed from copilot_internal.conversation_erasures order by requested_at;
select sum(cost_usd) from copilot_internal.llm_cost_records;
\set VERBOSITY sqlstate
select erase_conversation(:'tenant', :'chat');
reset role;
select * from copilot_internal.verify();
