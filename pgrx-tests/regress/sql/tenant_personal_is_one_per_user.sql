-- create_personal_tenant makes the one personal tenant of a user, under its quotas at once and the one they work in.
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
create function pg_temp.sign_in(p_user uuid, p_email text, p_more jsonb default '{}') returns boolean language sql as $$
    select set_config('role', 'authenticated', false) is not null and set_config('request.jwt.claims',
        (jsonb_strip_nulls(jsonb_build_object('sub', p_user, 'role', 'authenticated', 'email', p_email)) || p_more)::text, false) is not null
$$;
select pg_temp.sign_in(:'ann', 'Ann.Lee@Example.com') as signed_in;
select create_personal_tenant(:'ann', 'ann.lee@example.com') as tenant \gset
select get_current_tenant_id() = :'tenant' as works_in_it;
-- Nothing of the address is in it.
select tenant_name, regexp_replace(tenant_slug, '[0-9a-f]{8}$', '…') as tenant_slug, tenant_type, tenant_plan, role, is_active, is_current from get_user_tenants();
select resource_type, limit_usd, period from metrics.quota_status order by resource_type;
select allowed from check_quota_before_operation(:'tenant', 'llm', 100.01);
-- Once is enough.
select create_personal_tenant(:'ann', 'ann.lee@example.com') = :'tenant' as the_same;
-- Nobody makes one for another, or by another's address, or without one, as an anonymous sign-in has none.
select create_personal_tenant(:'bob', 'bob@example.com');
select pg_temp.sign_in(:'bob', 'bob@example.com');
select create_personal_tenant(:'bob', 'ann.lee@example.com');
select create_personal_tenant(:'bob', null);
select create_personal_tenant(null, 'bob@example.com');
select pg_temp.sign_in(:'bob', null, '{"is_anonymous": true, "user_metadata": {"email": "bob@example.com"}}');
select create_personal_tenant(:'bob', 'bob@example.com');
reset role;
set role anon;
select create_personal_tenant(:'bob', 'bob@example.com');

-- The server makes it for anybody.
reset role;
set role service_role;
select create_personal_tenant(:'bob', 'ann-lee@example.org') as bobs \gset
select tenant_name, tenant_slug ~ '^personal-[0-9a-f]{8}$' as suffixed from get_user_tenants(:'bob');
select create_personal_tenant(:'bob', 'new@example.org') = :'bobs' as the_same;
select create_personal_tenant(:'bob', 'not an address'), 1;
select create_personal_tenant('00000000-0000-0000-0000-000000000000', 'a@example.org');
-- Where Supabase's table knows the user their address need not be said.
select create_personal_tenant('b0000000-0000-4000-8000-000000000003', null);
reset role;
insert into auth.users (id, email) values ('b0000000-0000-4000-8000-000000000003', 'cy@example.com');
set role service_role;
select create_personal_tenant('b0000000-0000-4000-8000-000000000003', null) is not null as made;
select count(*) from get_user_tenants('b0000000-0000-4000-8000-000000000003');

-- Deleting it is no way to another budget: only the server brings it back, with what it has spent.
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 60, p_enforce => true);
select pg_temp.sign_in(:'ann', 'ann.lee@example.com');
select delete_tenant(:'tenant');
select get_current_tenant_id(), (select count(*) from get_user_tenants()) as tenants, (select count(*) from metrics.quota_status) as quotas;
select create_personal_tenant(:'ann', 'ann.lee@example.com');
select delete_tenant(:'tenant');
reset role;
set role service_role;
select count(*) as ledger_stays from copilot_internal.llm_cost_records;
select delete_tenant(:'tenant'), create_personal_tenant(:'ann', 'ann.lee@example.com') = :'tenant' as brought_back;
select current_spend_usd from metrics.quota_status where tenant_id = :'tenant' and resource_type = 'llm';
select delete_tenant('a0000000-0000-4000-8000-00000000000f');
