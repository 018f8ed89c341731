-- Tenants and their people, for applications. Native: the caller is known by the role that invoked it, and a user by
-- verified claims. The kernels (the library's modules tenants and tenancy) decide who may, then act as the owner.

create function public.get_current_tenant_id(p_user_id uuid default null) returns uuid
    language c stable parallel restricted
    as 'MODULE_PATHNAME', 'get_current_tenant_id_wrapper';
comment on function public.get_current_tenant_id(uuid) is
    'The tenant that a user works in: app_metadata.tenant_id of the verified claims, else the user''s preference. NULL '
    'where the user is no active member of it. An authenticated caller may ask only about themselves.';

create function public.get_user_tenants(p_user_id uuid default null)
    returns table (tenant_id uuid, tenant_name text, tenant_slug text, tenant_type text, tenant_plan text, role text,
        is_active boolean, joined_at timestamptz, is_current boolean)
    language c stable parallel restricted rows 5
    as 'MODULE_PATHNAME', 'get_user_tenants_wrapper';
comment on function public.get_user_tenants(uuid) is
    'The tenants of which a user is an active member, and those that have invited the user (is_active is false), the '
    'oldest first. An authenticated caller may ask only about themselves.';

create function public.verify_tenant_access(p_user_id uuid, p_tenant_id uuid)
    returns table (has_access boolean, role text)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'verify_tenant_access_wrapper';
comment on function public.verify_tenant_access(uuid, uuid) is
    'Whether a user is an active member of a tenant, and with which role. An authenticated caller may ask only about '
    'themselves.';

create function public.create_personal_tenant(
    p_user_id uuid, p_user_email text, p_tenant_id uuid default null)
    returns uuid language c volatile as 'MODULE_PATHNAME', 'create_personal_tenant_wrapper';
comment on function public.create_personal_tenant(uuid, text, uuid) is
    'The personal tenant of a user, made when there is none, and preferred when the user prefers none. An '
    'authenticated caller gives their own id and the e-mail of their claims. The server brings a deleted one back, '
    'and may choose a new one''s id.';

create function public.create_tenant(
    p_name text, p_slug text default null, p_type text default 'team', p_plan text default 'free',
    p_owner_id uuid default null, p_tenant_id uuid default null)
    returns uuid language c volatile as 'MODULE_PATHNAME', 'create_tenant_wrapper';
comment on function public.create_tenant(text, text, text, text, uuid, uuid) is
    'Makes a tenant and returns its id; without a slug one is made from the name. The server may choose the id (23505: '
    'taken). An authenticated caller makes as many as pg_tollgate.tenants_per_user says, on the plan free, and owns '
    'them.';

create function public.invite_member(p_tenant_id uuid, p_user_id uuid, p_role text default 'member') returns boolean
    language c volatile as 'MODULE_PATHNAME', 'invite_member_wrapper';
comment on function public.invite_member(uuid, uuid, text) is
    'Invites a user, or changes the role that a pending invitation offers. Owners invite to every role, admins to '
    'member and viewer. 23505 for who is a member already.';

create function public.accept_invitation(p_tenant_id uuid, p_user_id uuid default null) returns boolean
    language c volatile as 'MODULE_PATHNAME', 'accept_invitation_wrapper';
comment on function public.accept_invitation(uuid, uuid) is
    'The caller accepts an invitation and is an active member; also true for one that was a member already. The server '
    'names the user.';

create function public.set_member_role(p_tenant_id uuid, p_user_id uuid, p_role text) returns boolean
    language c volatile as 'MODULE_PATHNAME', 'set_member_role_wrapper';
comment on function public.set_member_role(uuid, uuid, text) is
    'Gives a member another role. Owners give and take every role, admins member and viewer. The last owner stays one.';

create function public.remove_member(p_tenant_id uuid, p_user_id uuid) returns boolean
    language c volatile as 'MODULE_PATHNAME', 'remove_member_wrapper';
comment on function public.remove_member(uuid, uuid) is
    'Ends a membership or withdraws an invitation; false when there was none. Owners remove any member, admins '
    'members and viewers, and each member themselves. The last owner stays.';

create function public.switch_tenant(p_tenant_id uuid, p_user_id uuid default null) returns boolean
    language c volatile as 'MODULE_PATHNAME', 'switch_tenant_wrapper';
comment on function public.switch_tenant(uuid, uuid) is
    'Makes a tenant of the caller the preferred one: the caller works in it while the token names none. The server '
    'names the user.';

create function public.delete_tenant(p_tenant_id uuid) returns boolean
    language c volatile as 'MODULE_PATHNAME', 'delete_tenant_wrapper';
comment on function public.delete_tenant(uuid) is
    'Marks a tenant as deleted: from the commit on it has no members. Its ledger, quotas and slug stay. For its owners '
    'and the server; false when it was deleted before.';

create function public.initialize_tenant_quotas(p_tenant_id uuid) returns integer
    language c volatile as 'MODULE_PATHNAME', 'initialize_tenant_quotas_wrapper';
comment on function public.initialize_tenant_quotas(uuid) is
    'Writes the default quotas that apply to a tenant as rows of its own, to be edited one by one. From then on the '
    'defaults no longer move them. Returns how many it wrote: 0 the second time. For the server; no tenant needs it to '
    'be under its defaults.';
