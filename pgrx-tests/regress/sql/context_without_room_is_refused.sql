-- No sandbox without room in the quota: refused with the figures, nothing written; nor is there one whose price is unknown.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select set_quota('tenant', :'tenant', 'e2b', 0.05, 'lifetime') is not null as made;
select outcome, context_id, reason, blocked_scope, remaining_usd from acquire_execution_context(:'tenant', :'chat', :'path', :'owner');
select outcome, reason from acquire_execution_context(:'tenant', :'chat', :'path', :'owner', 'unheard-of');
select outcome, reason from acquire_execution_context(:'tenant', :'chat', :'path', :'owner', p_estimated_cost_usd => 0.01);
select count(*) from copilot_internal.execution_contexts;
select state, count(*) from copilot_internal.quota_reservations group by state;
\set VERBOSITY sqlstate
select acquire_execution_context(:'tenant', :'chat', :'path', :'owner', p_ttl => '2 hours');
select acquire_execution_context(:'tenant', :'chat', :'path', :'owner', p_estimated_cost_usd => 'NaN');
select acquire_execution_context(:'tenant', :'chat', gen_random_uuid());
select acquire_execution_context(:'tenant', gen_random_uuid(), :'path');
select acquire_execution_context(:'tenant', :'chat', :'path', 'b0000000-0000-4000-8000-000000000009');
select touch_execution_context(gen_random_uuid());
select touch_execution_context(:'path', 61);
select activate_execution_context(:'path', '');
select release_execution_context(:'path', 'NaN');
select archived_at is not null as archived from archive_conversation(:'tenant', :'chat');
select acquire_execution_context(:'tenant', :'chat', :'path', :'owner');
