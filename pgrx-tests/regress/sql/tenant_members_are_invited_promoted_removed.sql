-- Which roles may invite, promote and remove which. Every member may leave; the last owner stays.
\set acme a0000000-0000-4000-8000-000000000001
\set owner b0000000-0000-4000-8000-000000000001
\set admin b0000000-0000-4000-8000-000000000002
\set member b0000000-0000-4000-8000-000000000003
\set viewer b0000000-0000-4000-8000-000000000004
\set new b0000000-0000-4000-8000-000000000005
\set VERBOSITY sqlstate
insert into copilot_internal.tenants (id, name, owner_id) values (:'acme', 'Acme', :'owner');
insert into copilot_internal.tenant_memberships (tenant_id, user_id, role)
values (:'acme', :'admin', 'admin'), (:'acme', :'member', 'member'), (:'acme', :'viewer', 'viewer');
create function pg_temp.sign_in(p_user uuid) returns boolean language sql as $$
    select set_config('role', 'authenticated', false) is not null
       and set_config('request.jwt.claims', jsonb_build_object('sub', p_user, 'role', 'authenticated')::text, false) is not null
$$;
create function pg_temp.outcome(p_call text) returns text language plpgsql as $$
declare v_told text;
begin
    execute 'select ' || p_call into v_told;
    return v_told;
exception when others then
    return sqlstate;
end $$;
-- Each call is undone, so that each is asked of the same members.
create function pg_temp.tried(p_call text) returns text language plpgsql as $$
declare v_told text;
begin
    begin
        execute 'select ' || p_call into v_told;
        raise exception using errcode = 'P9999';
    exception when sqlstate 'P9999' then null;
              when others then v_told := sqlstate;
    end;
    return v_told;
end $$;
-- By each role, and for each role: inviting to it, giving it to the member, removing who has it.
create function pg_temp.may(p_user uuid) returns table (role text, invite text, give text, remove text) language plpgsql as $$
declare
    v_roles constant text[] := array['owner', 'admin', 'member', 'viewer'];
begin
    perform pg_temp.sign_in(p_user);
    for v_number in 1..4 loop
        role := v_roles[v_number];
        invite := pg_temp.tried(format('invite_member(%L, %L, %L)', 'a0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000005', role));
        give := pg_temp.tried(format('set_member_role(%L, %L, %L)', 'a0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-000000000003', role));
        remove := pg_temp.tried(format('remove_member(%L, %L)', 'a0000000-0000-4000-8000-000000000001', 'b0000000-0000-4000-8000-00000000000' || v_number));
        return next;
    end loop;
end $$;
select 'owner' as who, * from pg_temp.may(:'owner');
select 'admin' as who, * from pg_temp.may(:'admin');
-- Members may remove themselves.
select 'member' as who, * from pg_temp.may(:'member');
select 'viewer' as who, * from pg_temp.may(:'viewer');
select 'stranger' as who, * from pg_temp.may(:'new');

-- An invitation is no membership before it is accepted, and the person invited sees it.
select pg_temp.sign_in(:'admin');
select invite_member(:'acme', :'new', 'viewer');
select invite_member(:'acme', :'member');
select invite_member(:'acme', :'new', 'god');
select pg_temp.sign_in(:'new');
select tenant_name, role, is_active from get_user_tenants();
select has_access, role from verify_tenant_access(:'new', :'acme');
select switch_tenant(:'acme');
select count(*) from copilot_internal.tenants;
select accept_invitation(:'acme', :'member');
select accept_invitation(:'acme'), accept_invitation(:'acme') as again;
select accept_invitation('a0000000-0000-4000-8000-00000000000f');
select has_access, role from verify_tenant_access(:'new', :'acme');
select verify_tenant_access(:'member', :'acme');
select count(*) from copilot_internal.tenants;
select switch_tenant(:'acme'), get_current_tenant_id() = :'acme' as works_in_it;

-- An owner's offer is not for an admin to change; declining is leaving.
select pg_temp.sign_in(:'owner');
select invite_member(:'acme', 'b0000000-0000-4000-8000-000000000006', 'owner');
select pg_temp.sign_in(:'admin');
select invite_member(:'acme', 'b0000000-0000-4000-8000-000000000006', 'viewer');
select remove_member(:'acme', 'b0000000-0000-4000-8000-000000000006');
select pg_temp.sign_in('b0000000-0000-4000-8000-000000000006');
select remove_member(:'acme', 'b0000000-0000-4000-8000-000000000006');
select accept_invitation(:'acme');

-- The last owner stays, for every caller; with a second one the first may go, and the tenant is the second's.
select pg_temp.sign_in(:'owner');
select remove_member(:'acme', :'owner');
select set_member_role(:'acme', :'owner', 'viewer');
reset role;
set role service_role;
select remove_member(:'acme', :'owner');
reset role;
select pg_temp.sign_in(:'owner');
select set_member_role(:'acme', :'admin', 'owner');
select set_member_role(:'acme', :'owner', 'viewer');
select role from verify_tenant_access(:'owner', :'acme');
select remove_member(:'acme', :'admin');
select pg_temp.sign_in(:'admin');
select remove_member(:'acme', :'admin');
select set_member_role(:'acme', :'owner', 'owner'), remove_member(:'acme', :'admin');
select has_access, role from verify_tenant_access(:'admin', :'acme');
select get_current_tenant_id(), invite_member(:'acme', :'admin');

-- Removed and suspended are out; one comes back by a new invitation, the other when the server says so, whatever members do.
reset role;
set role service_role;
select right(owner_id::text, 1) as owner from copilot_internal.tenants;
update copilot_internal.tenant_memberships set status = 'suspended' where user_id = :'member';
select pg_temp.sign_in(:'member');
select count(*) from get_user_tenants();
select accept_invitation(:'acme');
select remove_member(:'acme', :'member');
select pg_temp.sign_in(:'owner');
select invite_member(:'acme', :'member');
select remove_member(:'acme', :'member');
reset role;
set role service_role;
select remove_member(:'acme', :'member'), remove_member(:'acme', :'member') as again;
select pg_temp.sign_in(:'owner');
select invite_member(:'acme', :'admin'), invite_member(:'acme', :'member');

-- What a tenant has is the server's business.
reset role;
set role service_role;
select accept_invitation(:'acme', :'member'), switch_tenant(:'acme', :'member');
select accept_invitation(:'acme'), 1;
select switch_tenant(:'acme', :'new'), 1;
select switch_tenant(:'acme', 'b0000000-0000-4000-8000-00000000000f');
select set_member_role(:'acme', 'b0000000-0000-4000-8000-00000000000f', 'viewer');
select invite_member('a0000000-0000-4000-8000-00000000000f', :'new');
select get_user_tenants(null);
