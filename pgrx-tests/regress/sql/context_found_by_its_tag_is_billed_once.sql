-- A killer finds the sandbox of a stuck context by its tag, before or after its slow creator comes with its id. The
-- first of them bills it, and it is billed once.
\set tenant a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
create extension pg_tollgate_conversations;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'owner');
set role service_role;
select conversation_id as chat, path_id as path from create_conversation(:'tenant', :'owner', 'A chat') \gset
create temp view bills as select sandbox_id, cost_usd, duration_seconds from copilot_internal.e2b_cost_records order by occurred_at;
create temp view rows as select sandbox_id, termination_reason, duration_seconds, released_at is not null as released, cost_record_id is not null as billed from copilot_internal.execution_contexts order by created_at, late_for_context_id nulls first, terminated_at;
reset role;
create procedure stuck(inout context uuid) language plpgsql as $$
begin
    select a.context_id into context
    from copilot_internal.conversation_paths p, public.acquire_execution_context(p.tenant_id, p.conversation_id, p.id, p_estimated_cost_usd => 1) a;
    update copilot_internal.execution_contexts set created_at = created_at - interval '150 s',
        creating_until = creating_until - interval '150 s', expires_at = expires_at - interval '150 s' where id = context;
end $$;
-- Released by the tag, then activated.
call stuck(null) \gset
set role service_role;
select sandbox_id, reason from claim_expired_execution_contexts();
select cost_usd, duration_seconds, replayed from release_execution_context(:'context', 140);
select activated from activate_execution_context(:'context', 'box');
select context_id as orphan, sandbox_id, reason from claim_expired_execution_contexts() \gset
select :'reason' as reason, cost_usd, duration_seconds, replayed from release_execution_context(:'orphan');
select cost_usd, duration_seconds, replayed from release_execution_context(:'orphan', 7);
table bills;
table rows;
-- A second one of the same creator is another sandbox.
select activated from activate_execution_context(:'context', 'second box');
select context_id as orphan from claim_expired_execution_contexts() \gset
select duration_seconds, replayed from release_execution_context(:'orphan', 30);
table bills;
select * from verify_conversations();
-- Activated, then released by the tag.
reset role;
truncate copilot_internal.execution_contexts, copilot_internal.e2b_cost_records;
call stuck(null) \gset
set role service_role;
select reason from claim_expired_execution_contexts();
select activated from activate_execution_context(:'context', 'box');
select duration_seconds, replayed from release_execution_context(:'context', 140);
select context_id as orphan from claim_expired_execution_contexts() \gset
select duration_seconds, replayed from release_execution_context(:'orphan', 150);
table bills;
table rows;
select * from verify_conversations();
-- The orphan's bill comes first. The hold of the other is given back all the same.
reset role;
truncate copilot_internal.execution_contexts, copilot_internal.e2b_cost_records;
call stuck(null) \gset
set role service_role;
select reason from claim_expired_execution_contexts();
select activated from activate_execution_context(:'context', 'box');
select context_id as orphan from claim_expired_execution_contexts() \gset
select duration_seconds, replayed from release_execution_context(:'orphan', 150);
select duration_seconds, replayed from release_execution_context(:'context', 140);
table bills;
table rows;
select state, count(*) from copilot_internal.quota_reservations group by state order by state;
-- Nobody found one, and then it came.
reset role;
truncate copilot_internal.execution_contexts, copilot_internal.e2b_cost_records;
call stuck(null) \gset
set role service_role;
select reason from claim_expired_execution_contexts();
select cost_usd, duration_seconds, replayed from release_execution_context(:'context');
select activated from activate_execution_context(:'context', 'box');
select context_id as orphan from claim_expired_execution_contexts() \gset
select duration_seconds, replayed from release_execution_context(:'orphan', 20);
select cost_usd, duration_seconds, replayed from release_execution_context(:'context');
table bills;
table rows;
select * from verify_conversations();
