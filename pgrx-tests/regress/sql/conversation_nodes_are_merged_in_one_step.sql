-- Nodes that a conversation is about are merged, each once, the newest last, and the view begins with the application's columns.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select active_node_ids from merge_conversation_context(:'tenant', :'chat', '{a,b,a}', 'trace');
select active_node_ids from merge_conversation_context(:'tenant', :'chat', '{c,b}');
select cardinality(active_node_ids), active_node_ids[1000] from merge_conversation_context(:'tenant', :'chat', array(select 'n' || n from generate_series(1, 999) n));
select cardinality(active_node_ids), active_node_ids[1], active_node_ids[1000] from merge_conversation_context(:'tenant', :'chat', '{last}');
select trace_id, summary, archived_at from conversation_contexts_view;
\set VERBOSITY sqlstate
select merge_conversation_context(:'tenant', :'chat', null);
select merge_conversation_context(:'tenant', :'chat', '{""}');
select merge_conversation_context(:'tenant', gen_random_uuid(), '{a}');
