-- The multi-tenant model. Membership is a table; an owner is a member by being the owner, so that no trigger has to
-- write a row (a restore would fire it).

create table copilot_internal.tenants (
    id uuid primary key default pg_catalog.gen_random_uuid()
        check (id <> '00000000-0000-0000-0000-000000000000'),
    name text not null check (pg_catalog.length(name) between 1 and 200),
    slug text unique check (pg_catalog.length(slug) between 1 and 100),
    type text not null default 'team' check (type ~ '^[a-z][a-z0-9_-]{0,39}$'),
    plan text not null default 'free' check (plan ~ '^[a-z][a-z0-9_-]{0,39}$'),
    owner_id uuid check (owner_id <> '00000000-0000-0000-0000-000000000000'),
    created_by uuid,
    settings jsonb not null default '{}' check (pg_catalog.jsonb_typeof(settings) = 'object'),
    deleted_at timestamptz,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index tenants_owner_id_idx on copilot_internal.tenants (owner_id);
create index tenants_created_by_idx on copilot_internal.tenants (created_by) where created_by is not null;
-- A deleted one counts: deleting a personal tenant brings no other budget.
create unique index tenants_personal_idx on copilot_internal.tenants (owner_id) where type = 'personal';
comment on table copilot_internal.tenants is 'The tenants that are metered, limited and billed.';
comment on column copilot_internal.tenants.id is
    'The key of everything a tenant owns; never the nil UUID, which stands for the platform.';
comment on column copilot_internal.tenants.name is 'What people call it.';
comment on column copilot_internal.tenants.slug is 'Its unique name in addresses.';
comment on column copilot_internal.tenants.type is
    'Such as team; personal is for the one tenant that create_personal_tenant makes for a user.';
comment on column copilot_internal.tenants.plan is 'The plan, by which default_quotas may differ.';
comment on column copilot_internal.tenants.owner_id is
    'The user who owns it: an active member with role owner also without a row in tenant_memberships. A row there that '
    'is not active shuts the owner out.';
comment on column copilot_internal.tenants.created_by is
    'The user who made it by create_tenant or create_personal_tenant, also under another owner; NULL when the server '
    'did.';
comment on column copilot_internal.tenants.settings is
    'The application''s own settings. share_details true shows members what others do and spend. Otherwise rows of a '
    'user are for that user, owners and admins. ledger_retention_days says how long ledger rows stay.';
comment on column copilot_internal.tenants.deleted_at is
    'When it was deleted; a deleted tenant has no members, and its ledger stays.';
comment on column copilot_internal.tenants.created_at is 'When the row was made.';
comment on column copilot_internal.tenants.updated_at is 'When the row was last changed, as far as the writer says.';

create table copilot_internal.tenant_memberships (
    tenant_id uuid not null references copilot_internal.tenants (id) on delete cascade,
    user_id uuid not null check (user_id <> '00000000-0000-0000-0000-000000000000'),
    role text not null default 'member' check (role in ('owner', 'admin', 'member', 'viewer')),
    status text not null default 'active' check (status in ('pending', 'active', 'suspended', 'removed')),
    joined_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (tenant_id, user_id)
);
create index tenant_memberships_user_id_idx on copilot_internal.tenant_memberships (user_id);
comment on table copilot_internal.tenant_memberships is 'Who belongs to which tenant. Only active rows open anything.';
comment on column copilot_internal.tenant_memberships.tenant_id is 'The tenant.';
comment on column copilot_internal.tenant_memberships.user_id is 'The user, as in auth.users where that exists.';
comment on column copilot_internal.tenant_memberships.role is
    'owner, admin, member or viewer. Owners and admins may ask about any member.';
comment on column copilot_internal.tenant_memberships.status is
    'pending, active, suspended or removed. What is not active shuts its user out, the tenant''s owner too. Only the '
    'server suspends, and ends a suspension.';
comment on column copilot_internal.tenant_memberships.joined_at is 'When the membership began.';

create table copilot_internal.user_preferences (
    user_id uuid primary key check (user_id <> '00000000-0000-0000-0000-000000000000'),
    current_tenant_id uuid references copilot_internal.tenants (id) on delete set null,
    preferences jsonb not null default '{}' check (pg_catalog.jsonb_typeof(preferences) = 'object')
);
create index user_preferences_current_tenant_id_idx on copilot_internal.user_preferences (current_tenant_id);
comment on table copilot_internal.user_preferences is 'What a user chose, the tenant to work in among it.';
comment on column copilot_internal.user_preferences.user_id is 'The user.';
comment on column copilot_internal.user_preferences.current_tenant_id is
    'The tenant to use where the claims name none; counts only while the user is an active member.';
comment on column copilot_internal.user_preferences.preferences is 'The application''s own preferences.';

create view copilot_internal.active_memberships with (security_invoker) as
    select t.id as tenant_id, t.owner_id as user_id, 'owner'::text as role
    from copilot_internal.tenants t
    where t.owner_id is not null and t.deleted_at is null
      and not exists (select from copilot_internal.tenant_memberships o
                      where o.tenant_id = t.id and o.user_id = t.owner_id and o.status <> 'active')
    union all
    select m.tenant_id, m.user_id, m.role
    from copilot_internal.tenant_memberships m
    join copilot_internal.tenants t on t.id = m.tenant_id
    where m.status = 'active' and t.deleted_at is null and t.owner_id is distinct from m.user_id;
comment on view copilot_internal.active_memberships is
    'The users who belong to a living tenant now: its owner, unless a row of the owner is not active, and its active '
    'members. Read by kernels as the owner; row level security holds any other role.';
comment on column copilot_internal.active_memberships.tenant_id is 'The tenant.';
comment on column copilot_internal.active_memberships.user_id is 'The user.';
comment on column copilot_internal.active_memberships.role is 'The user''s role in it.';

create function copilot_internal.sole_tenant(p_user_id uuid) returns uuid
    language sql stable
begin atomic
    select case when count(*) = 1 then (pg_catalog.array_agg(m.tenant_id))[1] end
    from copilot_internal.active_memberships m where m.user_id = p_user_id;
end;
comment on function copilot_internal.sole_tenant(uuid) is
    'The tenant of a user who has exactly one; else NULL. Run as the owner.';
