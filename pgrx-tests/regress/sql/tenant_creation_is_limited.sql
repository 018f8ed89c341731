-- create_tenant is the server's, unless a setting lets users make some; deleted and given away ones count.
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
create function pg_temp.sign_in(p_user uuid) returns boolean language sql as $$
    select set_config('role', 'authenticated', false) is not null
       and set_config('request.jwt.claims', jsonb_build_object('sub', p_user, 'role', 'authenticated')::text, false) is not null
$$;
select pg_temp.sign_in(:'ann');
select create_tenant('Acme');
show pg_tollgate.tenants_per_user;
set pg_tollgate.tenants_per_user = 5;
reset role;
set pg_tollgate.tenants_per_user = 2;
select pg_temp.sign_in(:'ann');
select create_tenant('Acme', p_plan => 'enterprise');
select create_tenant('Acme', p_owner_id => :'bob');
select create_tenant('Acme', p_type => 'personal');
select create_tenant('Acme') as acme \gset
select get_current_tenant_id() = :'acme' as works_in_it, (select limit_usd from metrics.quota_status where resource_type = 'llm');
select invite_member(:'acme', :'bob', 'owner');
select pg_temp.sign_in(:'bob');
select accept_invitation(:'acme');
select pg_temp.sign_in(:'ann');
select remove_member(:'acme', :'ann');
select create_tenant('Second') as second \gset
select delete_tenant(:'second');
select create_tenant('Third');
reset role;
reset pg_tollgate.tenants_per_user;

-- The server makes what it likes.
set role service_role;
select create_tenant('Big', 'big-one', 'team', 'enterprise', :'ann') is not null as made;
select create_tenant('Other', 'big-one');
select tenant_name, tenant_slug, tenant_plan, role from get_user_tenants(:'ann');
select create_tenant('Ownerless') is not null as made;
select create_tenant('  '), 1;
select create_tenant(null);
select create_tenant('X', 'Not A Slug');
select create_tenant('X', p_plan => 'Not a plan');
select create_tenant('X', p_type => null);
