-- Each personal tenant brings a budget, and a person is an e-mail address: together they are bounded.
\set VERBOSITY terse
create function pg_temp.sign_up(number integer) returns text language plpgsql as $$
declare
    v_user uuid := format('b0000000-0000-4000-8000-%s', lpad(number::text, 12, '0'));
begin
    perform set_config('request.jwt.claims', json_build_object('sub', v_user, 'email', v_user || '@example.com')::text, true);
    set local role authenticated;
    perform create_personal_tenant(v_user, v_user || '@example.com');
    reset role;
    return 'made';
exception when others then
    return sqlstate || ' ' || sqlerrm;
end $$;
-- Twenty, and no more, however often they come again.
select pg_temp.sign_up(n), count(*) from generate_series(1, 200) n group by 1 order by 1;
select pg_temp.sign_up(1), pg_temp.sign_up(20), pg_temp.sign_up(21);
select count(*), sum(limit_usd) filter (where resource_type = 'all') as budget from copilot_internal.tenants t join copilot_internal.effective_quotas q on q.tenant_id = t.id where resource_type = 'all';
-- Deleting makes no room.
update copilot_internal.tenants set deleted_at = now() where true;
select pg_temp.sign_up(21);
-- The server is not bound.
set role service_role;
select create_personal_tenant('b0000000-0000-4000-8000-000000000099', 'x@example.com') is not null as made;
reset role;
-- A quota that bounds them all together: a hard one, of all resources or of each.
select q.*, pg_temp.sign_up(21 + (row_number() over ())::integer)
from (values ('{"mode": "soft", "resource": "all", "limit": 1}'::jsonb), ('{"mode": "hard", "resource": "all", "limit": null}')) q (quota)
where set_quota('platform', null, q.quota ->> 'resource', (q.quota ->> 'limit')::numeric, p_mode => q.quota ->> 'mode') is not null;
delete from copilot_internal.cost_quotas where true;
select set_quota('platform', null, 'llm', 500, 'month') is not null as made;
select pg_temp.sign_up(31);
select set_quota('platform', null, 'e2b', 500, 'month') is not null as made;
select pg_temp.sign_up(31);
delete from copilot_internal.cost_quotas where true;
select pg_temp.sign_up(32);
select set_quota('platform', null, 'all', 1000, 'month') is not null as made;
select pg_temp.sign_up(n), count(*) from generate_series(32, 100) n group by 1;
-- An operator who knows better.
delete from copilot_internal.cost_quotas where true;
set pg_tollgate.personal_tenants = 1000;
select pg_temp.sign_up(101);
set pg_tollgate.personal_tenants = 0;
select pg_temp.sign_up(102);
-- Nobody else changes it.
set role service_role;
set pg_tollgate.personal_tenants = 1000;
reset role;
reset pg_tollgate.personal_tenants;
