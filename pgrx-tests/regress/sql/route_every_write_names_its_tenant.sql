-- A call that writes can name the tenant that it is about. Of another tenant, what it names is as unknown.
\set acme a0000000-0000-4000-8000-000000000001
\set zeta a0000000-0000-4000-8000-000000000002
set role service_role;
-- Functions of the server or of people without p_tenant_id: those of a person, a batch, which names them in its rows, and
-- what reads no table.
select p.proname from pg_proc p
where p.pronamespace = 'public'::regnamespace and (has_function_privilege('service_role', p.oid, 'execute')
      or has_function_privilege('authenticated', p.oid, 'execute')) and not 'p_tenant_id' = any (p.proargnames)
  and exists (select from pg_depend d join pg_extension e on e.oid = d.refobjid and d.deptype = 'e'
              where d.classid = 'pg_proc'::regclass and d.objid = p.oid and e.extname = 'pg_tollgate')
order by 1;
-- The server chooses a tenant's id, once.
select create_tenant('Acme', p_tenant_id => :'acme'), create_tenant('Zeta', p_tenant_id => :'zeta');
select create_personal_tenant('f0000000-0000-4000-8000-000000000001', 'ann@example.com', 'a0000000-0000-4000-8000-000000000003');
-- One that is there keeps its own.
select create_personal_tenant('f0000000-0000-4000-8000-000000000001', 'ann@example.com', 'a0000000-0000-4000-8000-000000000004');
select set_quota('tenant', :'acme', 'llm', 10) as quota \gset
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour', p_tenant_id => :'acme') is not null as raised;
select adjustment_id is not null as adjusted from copilot_internal.adjust_quota(:'quota', 1, 'a', p_tenant_id => :'acme');
select cost_record_id as cost from record_llm_cost(:'acme', 'p', 'm', 1, 1, p_cost_usd => 10) \gset
select recorded from record_llm_cost(:'zeta', 'p', 'm', 1, 1, p_cost_usd => 90);
-- Events of one tenant, and of all.
select id as event, tenant_id from claim_quota_events(1, p_tenant_id => :'acme') \gset
select :'tenant_id' = :'acme' as of_acme;
select distinct tenant_id from claim_quota_events(p_tenant_id => :'zeta');
select count(*) from claim_quota_events(p_tenant_id => :'zeta');
select distinct tenant_id from claim_quota_events();
select acknowledge_quota_events(array[:'event'::uuid], :'zeta'), acknowledge_quota_events(array[:'event'::uuid], :'acme');
select reservation_id as hold from reserve_quota(:'acme', 'e2b', 0.1, 'h') \gset

\set VERBOSITY sqlstate
select create_tenant('Acme', p_tenant_id => :'acme');
select create_personal_tenant('f0000000-0000-4000-8000-000000000002', 'bob@example.com', :'acme');
select create_tenant('Nobody', p_tenant_id => '00000000-0000-0000-0000-000000000000');
select raise_quota(:'quota', 1, clock_timestamp() + interval '1 hour', p_tenant_id => :'zeta');
select copilot_internal.adjust_quota(:'quota', 1, 'b', p_tenant_id => :'zeta');
select refund_cost(:'cost', 1, 'r', p_tenant_id => :'zeta');
select extend_reservation(:'hold', '1 hour', p_tenant_id => :'zeta');
select release_reservation(:'hold', p_tenant_id => :'zeta');
select commit_reservation(:'hold', 0.1, p_tenant_id => :'zeta');
-- People choose no ids.
reset role;
set pg_tollgate.tenants_per_user = 5;
set role authenticated;
select set_config('request.jwt.claims', '{"sub": "f0000000-0000-4000-8000-000000000003", "email": "cy@example.com"}', false) is null;
select create_tenant('Mine', p_tenant_id => 'a0000000-0000-4000-8000-000000000005');
select create_personal_tenant('f0000000-0000-4000-8000-000000000003', 'cy@example.com', 'a0000000-0000-4000-8000-000000000006');
