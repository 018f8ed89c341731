-- A release that bills a context and finds its row taken leaves the mark to the next, though that one knows no duration.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select context_id as context from acquire_execution_context(:'tenant', :'chat', :'main', :'owner') \gset
select terminated from terminate_execution_context(:'context');
select cost_usd, duration_seconds, replayed from release_execution_context(:'context', 60);
-- As if somebody had had the row.
reset role;
update copilot_internal.execution_contexts set released_at = null, duration_seconds = null, cost_record_id = null;
set role service_role;
select cost_usd, duration_seconds, replayed from release_execution_context(:'context');
select released_at is not null as released, duration_seconds from execution_contexts_view;
select * from verify_conversations();
