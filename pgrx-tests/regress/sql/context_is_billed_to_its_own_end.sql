-- A sandbox ends by its own time-out, however late its killer comes: that long it is billed.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set member b0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'tenant', :'member');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select activated from activate_execution_context(:'context', 'box');
reset role;
update copilot_internal.execution_contexts set created_at = created_at - interval '5 hours', ready_at = date_trunc('second', ready_at) - interval '5 hours';
update copilot_internal.execution_contexts set expires_at = ready_at + interval '30 minutes', max_expires_at = ready_at + interval '1 day';
set role service_role;
select count(*) from get_expired_execution_contexts();
select sandbox_id, reason from claim_expired_execution_contexts();
select cost_usd, duration_seconds from release_execution_context(:'context');
-- What no killer comes for is billed a day after its last possible end.
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'path', :'owner') \gset
select activated from activate_execution_context(:'context', 'forgotten');
select task, done from maintain_conversations() where task = 'release';
reset role;
update copilot_internal.execution_contexts set created_at = created_at - interval '3 days', ready_at = date_trunc('second', ready_at) - interval '3 days' where sandbox_id = 'forgotten';
update copilot_internal.execution_contexts set expires_at = ready_at + interval '10 minutes', max_expires_at = ready_at + interval '1 day' where sandbox_id = 'forgotten';
set role service_role;
select task, done from maintain_conversations() where task = 'release';
select sandbox_status, duration_seconds from copilot_internal.execution_contexts where sandbox_id = 'forgotten';
select * from verify_conversations();
