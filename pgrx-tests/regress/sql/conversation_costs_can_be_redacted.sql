-- What costs say in words can be emptied, conversation by conversation, and no amount changes.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', :'chat', :'path', 'words', p_cost_usd => 0.25, p_metadata => '{"a": "words"}');
select recorded from record_e2b_cost(:'tenant', 'box', 'standard', 60, :'owner', :'chat', :'path', p_metadata => '{"a": "words"}');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, :'owner', p_task => 'others', p_cost_usd => 0.5);
select redact_cost_metadata(:'tenant', :'chat');
select redact_cost_metadata(:'tenant', :'chat');
select task, metadata, cost_usd from copilot_internal.llm_cost_records order by cost_usd;
select llm_cost, e2b_cost from metrics.cost_by_conversation where conversation_id = :'chat';
\set VERBOSITY sqlstate
select redact_cost_metadata(:'tenant', null);
reset role;
select * from copilot_internal.verify();
set role authenticated;
select redact_cost_metadata(:'tenant', :'chat');
