-- A sandbox that comes after its hold's time, or after the conversation was erased, is in the killers' queue and billed.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as main from create_conversation(:'tenant', :'owner', 'A chat') \gset
select outcome, context_id as context from acquire_execution_context(:'tenant', :'chat', :'main', p_estimated_cost_usd => 1) \gset
reset role;
update copilot_internal.execution_contexts set created_at = created_at - interval '16 minutes', creating_until = creating_until - interval '16 minutes';
set role service_role;
select activated, sandbox_status from activate_execution_context(:'context', 'late');
-- Again is the same.
select activated, sandbox_status from activate_execution_context(:'context', 'late');
select sandbox_id, termination_reason, reservation_id is not null as has_hold, released_at is not null as is_released from copilot_internal.execution_contexts order by termination_reason;
select outcome, context_id as another from acquire_execution_context(:'tenant', :'chat', :'main', p_estimated_cost_usd => 1) \gset
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select c.sandbox_id, c.reason, r.cost_status is not null as is_billed from claim_expired_execution_contexts() c, lateral release_execution_context(c.context_id) r order by c.sandbox_id;
select count(*) from copilot_internal.quota_reservations where state = 'held';
-- Nobody found a sandbox of the second, whose creator is still on its way.
select done, remaining_contexts > 0 as waits from erase_conversation(:'tenant', :'chat');
select activated from activate_execution_context(:'another', 'very late');
select c.sandbox_id, c.reason, r.cost_status is not null as is_billed from claim_expired_execution_contexts() c, lateral release_execution_context(c.context_id) r;
select deleted_count from cleanup_old_terminated_contexts(0) where deleted_count > 2;
reset role;
update copilot_internal.execution_contexts set created_at = created_at - interval '1 hour';
set role service_role;
select done, remaining_contexts from erase_conversation(:'tenant', :'chat');
select sandbox_id, count(*) from copilot_internal.e2b_cost_records group by 1 order by 1;
select * from verify_conversations();
