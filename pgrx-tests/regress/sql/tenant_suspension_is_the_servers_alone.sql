-- A membership that is not active shuts its user out, the owner too, and no member brings a suspended one back.
\set tenant a0000000-0000-4000-8000-000000000001
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set ada b0000000-0000-4000-8000-000000000003
\set zoe b0000000-0000-4000-8000-000000000004
\set VERBOSITY terse
create function pg_temp.said(who uuid, query text) returns text language plpgsql as $$
declare v text;
begin
    perform set_config('request.jwt.claims', json_build_object('sub', who, 'role', 'authenticated')::text, true);
    set local role authenticated;
    execute query into v;
    reset role;
    return v;
exception when others then
    return sqlstate || ' ' || sqlerrm;
end $$;
insert into copilot_internal.tenants (id, name, owner_id) values (:'tenant', 'Acme', :'ann');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'ada', 'admin'), (:'tenant', :'bob', 'member');
create temp table asked (place serial, query text);
insert into asked (query)
select format(query, :'tenant', :'ann', :'zoe') from unnest(array[
    'select has_quota(%1$L, ''llm'', 1)', 'select count(*) from metrics.quota_status', 'select count(*) from copilot_internal.tenants',
    'select count(*) from get_user_tenants()', 'select v from verify_tenant_access(%2$L, %1$L) v', 'select switch_tenant(%1$L)',
    'select get_current_tenant_id()', 'select accept_invitation(%1$L)', 'select remove_member(%1$L, %2$L)',
    'select invite_member(%1$L, %3$L, ''owner'')', 'select delete_tenant(%1$L)']) query;
-- The owner with an active row, with none, and with each that is not active.
select s.status, a.query, pg_temp.said(:'ann', a.query) is not null as warm from asked a, (values ('none')) s (status) where place = 1;
begin;
insert into copilot_internal.tenant_memberships values (:'tenant', :'ann', 'owner', 'suspended');
select query, pg_temp.said(:'ann', query) from asked order by place;
update copilot_internal.tenant_memberships set status = 'removed' where user_id = :'ann';
select query, pg_temp.said(:'ann', query) from asked order by place;
update copilot_internal.tenant_memberships set status = 'pending' where user_id = :'ann';
select query, pg_temp.said(:'ann', query) from asked where place < 5 order by place;
-- An admin cannot bring the owner of the tenant back, and does not take the row away that shuts the owner out.
select pg_temp.said(:'ada', format('select invite_member(%L, %L, ''viewer'')', :'tenant', :'ann')) as invite,
       pg_temp.said(:'ada', format('select remove_member(%L, %L)', :'tenant', :'ann')) as remove;
update copilot_internal.tenant_memberships set status = 'active' where user_id = :'ann';
select query, pg_temp.said(:'ann', query) from asked where place < 5 order by place;
rollback;

-- A member who is suspended.
update copilot_internal.tenant_memberships set status = 'suspended' where user_id = :'bob';
select act, pg_temp.said(who, format('select %s(%L, %L%s)', act, :'tenant', :'bob', more))
from (values ('invite_member', :'ada'::uuid, ', ''viewer'''), ('remove_member', :'ada', ''), ('set_member_role', :'ann', ', ''viewer'''),
      ('remove_member', :'ann', ''), ('remove_member', :'bob', '')) v (act, who, more);
select pg_temp.said(:'bob', format('select accept_invitation(%L)', :'tenant'));
select role, status from copilot_internal.tenant_memberships where user_id = :'bob';
-- The server ends it, or the membership.
set role service_role;
select set_member_role(:'tenant', :'bob', 'viewer'), remove_member(:'tenant', :'bob');
reset role;
select role, status from copilot_internal.tenant_memberships where user_id = :'bob';

-- Invitations that were taken back, or declined, leave nothing behind.
do $$
declare v_user uuid;
begin
    perform set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000003", "role": "authenticated"}', true);
    set local role authenticated;
    for i in 1..200 loop
        v_user := gen_random_uuid();
        perform invite_member('a0000000-0000-4000-8000-000000000001', v_user, 'viewer');
        perform remove_member('a0000000-0000-4000-8000-000000000001', v_user);
    end loop;
end $$;
select pg_temp.said(:'ann', format('select invite_member(%L, %L)', :'tenant', :'zoe')) as invited,
       pg_temp.said(:'zoe', format('select remove_member(%L, %L)', :'tenant', :'zoe')) as declined;
select status, count(*) from copilot_internal.tenant_memberships group by 1 order by 1;

-- A handover of the tenant makes no session forget quotas; a plan does.
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values (:'tenant', :'zoe', 'owner');
create function pg_temp.reads_definitions() returns boolean language sql volatile as $$
    select sum(pg_stat_get_xact_numscans(i.indexrelid)) + pg_stat_get_xact_numscans('copilot_internal.cost_quotas'::regclass) > 0
    from pg_index i where i.indrelid = 'copilot_internal.cost_quotas'::regclass $$;
set role service_role;
select has_quota(:'tenant', 'llm', 1);
select set_member_role(:'tenant', :'ann', 'member');
-- What was counted before belongs to other transactions.
select pg_stat_force_next_flush();
begin;
select has_quota(:'tenant', 'llm', 1);
select pg_temp.reads_definitions();
commit;
update copilot_internal.tenants set plan = 'pro';
select pg_stat_force_next_flush();
begin;
select has_quota(:'tenant', 'llm', 1);
select pg_temp.reads_definitions();
commit;
-- Everybody knows at once who owns it.
reset role;
select owner_id = :'zoe' as zoe from copilot_internal.tenants;
select pg_temp.said(:'ann', format('select role from verify_tenant_access(%L, %L)', :'ann', :'tenant')) as ann,
       pg_temp.said(:'zoe', format('select role from verify_tenant_access(%L, %L)', :'zoe', :'tenant')) as zoe;
