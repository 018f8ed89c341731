-- has_quota answers what check_quota_before_operation would, as one truth value; inside a policy no row may abort the
-- query, so every mistake is false.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
set role service_role;
insert into copilot_internal.tenants (id, name) values (:'acme', 'Acme'), (:'other', 'Other');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'acme', :'ann', 'member'), (:'acme', :'bob', 'admin');
select set_quota('tenant', :'acme', 'llm', 1, 'lifetime') is not null as made;
select has_quota(:'acme', 'llm', 1), has_quota(:'acme', 'llm', 1.000000001), has_quota(:'acme', 'llm', 0), has_quota(:'acme', 'e2b', 5);

create temp table questions as
    select * from (values
        ('no tenant', null::uuid, 'llm', 0.5::numeric, null::uuid), ('nil tenant', '00000000-0000-0000-0000-000000000000', 'llm', 0.5, null),
        ('no resource', :'acme', null, 0.5, null), ('all', :'acme', 'all', 0.5, null), ('unknown resource', :'acme', 'gpu', 0.5, null),
        ('no amount', :'acme', 'llm', null, null), ('NaN', :'acme', 'llm', 'NaN', null), ('Infinity', :'acme', 'llm', 'Infinity', null),
        ('negative', :'acme', 'llm', -0.5, null), ('10^131071', :'acme', 'llm', 1e131071, null),
        ('nil user', :'acme', 'llm', 0.5, '00000000-0000-0000-0000-000000000000')) as q (what, tenant, resource, amount, who);
grant select on questions to authenticated;
select what, has_quota(tenant, resource, amount, who) from questions;
-- The function that it rests on raises for each.
create function pg_temp.state(p_tenant uuid, p_resource text, p_amount numeric, p_user uuid) returns text language plpgsql as $$
begin
    perform public.check_quota_before_operation(p_tenant, p_resource, p_amount, p_user);
    return 'none';
exception when others then
    return sqlstate;
end $$;
select what, pg_temp.state(tenant, resource, amount, who) from questions;

-- Members ask about their tenant and themselves, admins also about others. Of a foreign tenant nothing is told.
set role authenticated;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001"}', false) is not null as ann;
select has_quota(:'acme', 'llm', 1), has_quota(:'acme', 'llm', 2), has_quota(:'acme', 'llm', 1, :'ann'), has_quota(:'acme', 'llm', 1, :'bob'),
       has_quota(:'other', 'llm', 0), has_quota('a0000000-0000-4000-8000-00000000000f', 'llm', 0);
select * from check_quota_before_operation(:'acme', 'llm', 1, :'bob');
select * from check_quota_before_operation(:'other', 'llm', 0);
select * from check_quota_before_operation('a0000000-0000-4000-8000-00000000000f', 'llm', 0);
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000002"}', false) is not null as bob;
select has_quota(:'acme', 'llm', 1, :'ann');
select set_config('request.jwt.claims', '', false) is not null as nobody;
select has_quota(:'acme', 'llm', 0);
select what, has_quota(tenant, resource, amount, who) from questions where what in ('no tenant', 'NaN');
set role anon;
select has_quota(:'acme', 'llm', 0);
