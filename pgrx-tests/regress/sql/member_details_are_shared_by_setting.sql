-- What a user does and spends is for that user, owners and admins, unless the tenant shares it.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set cleo b0000000-0000-4000-8000-000000000003
\set dan b0000000-0000-4000-8000-000000000004
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'bob', 'member'), (:'tenant', :'cleo', 'admin'), (:'tenant', :'dan', 'viewer');
set role service_role;
select count(*) from (select record_llm_cost(:'tenant', 'p', 'm', 1, 1, u.id::uuid, p_cost_usd => 1, p_task => u.task, p_metadata => u.metadata::jsonb) from (values
    (:'ann', 'ann''s', '{}'), (:'ann', null, '{"of": "ann"}'), (:'ann', null, '{}'), (:'bob', 'bob''s', '{}'), (null, 'nobody''s', '{}')) u (id, task, metadata)) r;
select count(*) from (select record_e2b_cost(:'tenant', 's', 'standard', 1, u.id::uuid, p_metadata => u.metadata::jsonb) from (values
    (:'ann', '{"of": "ann"}'), (:'ann', '{}'), (:'bob', '{"of": "bob"}')) u (id, metadata)) r;
select count(*) from (select reserve_quota(:'tenant', 'llm', 1, u.place, u.id::uuid, p_metadata => u.metadata::jsonb) from (values
    ('1', :'ann', '{"of": "ann"}'), ('2', :'ann', '{}'), ('3', :'bob', '{"of": "bob"}')) u (place, id, metadata)) r;
reset role;
-- Estimates from history are named by tasks.
insert into copilot_internal.llm_cost_estimates (tenant_id, from_history, model_provider, model_name, operation_type, estimated_cost_usd)
values (:'tenant', true, 'p', 'm', 'ann''s', 1), (:'tenant', true, 'p', 'm', 'chat', 1), (:'tenant', false, 'p', 'm', 'the operator''s', 1);
create view public.seen as
    select 'llm' as source, task, metadata from copilot_internal.llm_cost_records
    union all select 'e2b', null, metadata from copilot_internal.e2b_cost_records
    union all select 'hold', null, metadata from copilot_internal.quota_reservations
    union all select 'estimate', operation_type, null from copilot_internal.llm_cost_estimates
    union all select 'estimate in metrics', operation_type, null from metrics.cost_estimates where tenant_id is not null;
alter view public.seen set (security_invoker = true);
grant select on public.seen to authenticated;
create function public.as_user(p_user text) returns void language sql as $$
    select set_config('request.jwt.claims', format('{"sub": "%s"}', p_user), false) $$;
select as_user(:'bob');
set role authenticated;
select * from public.seen order by 1, 2, 3::text;
-- The sums are the tenant's.
select llm_cost, llm_request_count from metrics.tenant_total_costs;
reset role;
select as_user(:'dan');
set role authenticated;
select * from public.seen order by 1, 2, 3::text;
reset role;
select as_user(:'cleo');
set role authenticated;
select count(*) from public.seen;
reset role;
update copilot_internal.tenants set settings = '{"share_details": true}';
select as_user(:'dan');
set role authenticated;
select count(*) from public.seen;
reset role;
-- Nothing else than true says so, and the next statement knows.
update copilot_internal.tenants set settings = '{"share_details": "true"}';
set role authenticated;
select count(*) from public.seen;
reset role;
