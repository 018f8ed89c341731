-- A sandbox is billed to one context at a time.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select conversation_id as other_chat, path_id as other from create_conversation(:'tenant', :'owner', 'Another') \gset
select outcome, context_id as one from acquire_execution_context(:'tenant', :'chat', :'main', p_estimated_cost_usd => 1) \gset
select outcome, context_id as two from acquire_execution_context(:'tenant', :'other_chat', :'other', p_estimated_cost_usd => 1) \gset
select activated from activate_execution_context(:'one', 'box');
select from activate_execution_context(:'two', 'box');
-- It has ended, and its bill has not.
select terminated from terminate_execution_context(:'one');
select from activate_execution_context(:'two', 'box');
insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status) values (:'tenant', :'chat', :'main', 'box', 'ready');
select replayed from release_execution_context(:'one', 10);
select activated from activate_execution_context(:'two', 'box');
select replayed from release_execution_context(:'two', 5);
select sum(duration_seconds), count(*) from copilot_internal.e2b_cost_records;
select * from verify_conversations();
