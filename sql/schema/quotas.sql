-- Quota definitions. What a quota has spent is never stored with it: that is a question to the ledger.

create table copilot_internal.cost_quotas (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    scope text not null check (scope in ('platform', 'tenant', 'user')),
    scope_id uuid,
    tenant_id uuid check (tenant_id <> '00000000-0000-0000-0000-000000000000'),
    resource_type text not null check (resource_type in ('llm', 'e2b', 'all')),
    limit_usd numeric check (limit_usd >= 0 and limit_usd <= 1000000000),
    period text not null default 'month' check (period in ('hour', 'day', 'week', 'month', 'year', 'lifetime')),
    time_zone text not null default 'UTC' check (copilot_internal.is_time_zone(time_zone)),
    mode text not null default 'hard' check (mode in ('hard', 'soft', 'shadow')),
    warning_threshold numeric not null default 0.8 check (warning_threshold >= 0 and warning_threshold <= 1),
    metadata jsonb not null default '{}' check (pg_catalog.jsonb_typeof(metadata) = 'object'),
    event_thresholds numeric[] not null default '{0.8,1.0}'
        check (pg_catalog.cardinality(event_thresholds) <= 16
            and (0 < all (event_thresholds) and 10 >= all (event_thresholds)) is true),
    suspended boolean not null default false,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    unique nulls not distinct (tenant_id, scope, scope_id, resource_type, period),
    check (case scope
        when 'platform' then scope_id is null and tenant_id is null
        when 'tenant' then scope_id = tenant_id and tenant_id is not null
        else scope_id is not null and tenant_id is not null
            and scope_id <> '00000000-0000-0000-0000-000000000000' end)
);
create index cost_quotas_user_idx on copilot_internal.cost_quotas (scope_id, tenant_id, id) where scope = 'user';
comment on table copilot_internal.cost_quotas is
    'Limits on what may be spent: by which subject (scope), on what (resource_type), in which calendar period. Every '
    'quota that applies to an operation must allow it.';
comment on column copilot_internal.cost_quotas.id is 'Key.';
comment on column copilot_internal.cost_quotas.scope is
    'platform (all tenants together), tenant, or user (one user within one tenant).';
comment on column copilot_internal.cost_quotas.scope_id is 'The tenant or user; NULL for the platform.';
comment on column copilot_internal.cost_quotas.tenant_id is
    'The tenant that the quota belongs to; NULL for the platform. Filled from scope_id for a tenant''s quota.';
comment on column copilot_internal.cost_quotas.resource_type is 'llm, e2b, or all together.';
comment on column copilot_internal.cost_quotas.limit_usd is
    'USD per period, rounded down to 1e-9. NULL meters without a limit; 0 blocks everything.';
comment on column copilot_internal.cost_quotas.period is
    'hour, day, week (ISO), month, year or lifetime, in time_zone''s calendar.';
comment on column copilot_internal.cost_quotas.time_zone is
    'IANA name of the zone in whose calendar periods begin and end; UTC where the server''s time zone database has '
    'lost it.';
comment on column copilot_internal.cost_quotas.mode is
    'hard refuses; soft allows and says EXCEEDED; shadow is counted and shown and never affects an answer.';
comment on column copilot_internal.cost_quotas.warning_threshold is
    'The share of the limit, 0 to 1, from which the status is WARNING.';
comment on column copilot_internal.cost_quotas.metadata is 'The operator''s own notes.';
comment on column copilot_internal.cost_quotas.event_thresholds is
    'The shares of the limit (0.8 is 80 percent, 1e-12 the finest) whose reaching writes an event. Each is above 0 and '
    'at most 10; there are at most 16. No event where the limit is NULL or 0.';
comment on column copilot_internal.cost_quotas.suspended is
    'While it is true the quota blocks everything it counts, whatever its limit and mode, and keeps them.';
comment on column copilot_internal.cost_quotas.created_at is 'When the row was made.';
comment on column copilot_internal.cost_quotas.updated_at is 'When it was last changed.';

-- Also fires during a restore, where it finds nothing to do: it names no relation and changes only what is missing.
create function copilot_internal.complete_quota() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'UPDATE' then
        if (new.id, new.scope, new.scope_id, new.tenant_id, new.resource_type, new.period, new.time_zone)
            is distinct from
            (old.id, old.scope, old.scope_id, old.tenant_id, old.resource_type, old.period, old.time_zone)
        then
            raise exception 'the scope, resource type, period and time zone of a quota cannot change'
                using errcode = 'invalid_parameter_value', hint = 'Delete the quota and create another.';
        end if;
        new.updated_at := clock_timestamp();
    elsif new.scope = 'tenant' then
        new.tenant_id := coalesce(new.tenant_id, new.scope_id);
        new.scope_id := coalesce(new.scope_id, new.tenant_id);
    end if;
    return new;
end $$;
comment on function copilot_internal.complete_quota() is
    'Fills tenant_id of a tenant''s quota from scope_id, and refuses a change of a quota''s key: charges are summed by '
    'it.';
create trigger complete_quota before insert or update on copilot_internal.cost_quotas
    for each row execute function copilot_internal.complete_quota();

-- Fires after the row is there and before anybody sees it; see the lock protocol in the library's lock module.
create function copilot_internal.lock_platform() returns trigger
    language c as 'MODULE_PATHNAME', 'lock_platform_wrapper';
comment on function copilot_internal.lock_platform() is
    'Makes the creation of a platform quota wait for the charges in flight, and later charges for its commit. So no '
    'transaction that charges sees the first one appear half way.';
create trigger lock_platform after insert on copilot_internal.cost_quotas
    for each row when (new.scope = 'platform') execute function copilot_internal.lock_platform();

create table copilot_internal.default_quotas (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    plan text check (plan ~ '^[a-z][a-z0-9_-]{0,39}$'),
    resource_type text not null check (resource_type in ('llm', 'e2b', 'all')),
    period text not null default 'month' check (period in ('hour', 'day', 'week', 'month', 'year', 'lifetime')),
    limit_usd numeric check (limit_usd >= 0 and limit_usd <= 1000000000),
    time_zone text not null default 'UTC' check (copilot_internal.is_time_zone(time_zone)),
    mode text not null default 'hard' check (mode in ('hard', 'soft', 'shadow')),
    warning_threshold numeric not null default 0.8 check (warning_threshold >= 0 and warning_threshold <= 1),
    event_thresholds numeric[] not null default '{0.8,1.0}'
        check (pg_catalog.cardinality(event_thresholds) <= 16
            and (0 < all (event_thresholds) and 10 >= all (event_thresholds)) is true),
    unique nulls not distinct (plan, resource_type, period)
);
comment on table copilot_internal.default_quotas is
    'The quotas of a tenant without a row in cost_quotas for that resource and period. Ships empty: 100 USD a month '
    'for llm, 50 for e2b and 150 for all apply. A row here replaces the shipped one; one with the tenant''s plan goes '
    'before one without.';
comment on column copilot_internal.default_quotas.id is 'Key.';
comment on column copilot_internal.default_quotas.plan is 'The plan that the default is for; NULL for every plan.';
comment on column copilot_internal.default_quotas.resource_type is 'llm, e2b, or all together.';
comment on column copilot_internal.default_quotas.period is
    'hour, day, week (ISO), month, year or lifetime, in time_zone''s calendar.';
comment on column copilot_internal.default_quotas.limit_usd is
    'USD per period, rounded down to 1e-9. NULL takes the limit away; 0 blocks everything.';
comment on column copilot_internal.default_quotas.time_zone is
    'IANA name of the zone in whose calendar periods begin and end.';
comment on column copilot_internal.default_quotas.mode is
    'hard refuses; soft allows and says EXCEEDED; shadow is counted and shown and never affects an answer.';
comment on column copilot_internal.default_quotas.warning_threshold is
    'The share of the limit, 0 to 1, from which the status is WARNING.';
comment on column copilot_internal.default_quotas.event_thresholds is
    'The shares of the limit whose reaching writes an event: above 0, at most 10, at most 16 of them.';

-- Defaults apply without rows, so a tenant is under them from the statement on that made it, however it came, and an
-- operator who edits a default edits it for all. The derived id stays the same for as long as the default applies.
create view copilot_internal.effective_quotas with (security_invoker) as
    select q.id as quota_id, q.scope, q.scope_id, q.tenant_id, q.resource_type, q.limit_usd, q.period, q.time_zone,
           q.mode, q.warning_threshold, false as is_default, q.event_thresholds, q.suspended
    from copilot_internal.cost_quotas q
    union all
    select pg_catalog.encode(pg_catalog.substring(pg_catalog.sha256(
               pg_catalog.convert_to(t.id::text || d.resource_type || d.period, 'UTF8')), 1, 16), 'hex')::uuid,
           'tenant', t.id, t.id, d.resource_type, d.limit_usd, d.period, d.time_zone, d.mode, d.warning_threshold, true,
           d.event_thresholds, false
    from copilot_internal.tenants t
    cross join lateral (
        select distinct on (c.resource_type, c.period)
               c.resource_type, c.period, c.limit_usd, c.time_zone, c.mode, c.warning_threshold, c.event_thresholds
        from (
            select case when o.plan is null then 2 else 1 end as precedence,
                   o.resource_type, o.period, o.limit_usd, o.time_zone, o.mode, o.warning_threshold,
                   o.event_thresholds
            from copilot_internal.default_quotas o
            where o.plan = t.plan or o.plan is null
            union all
            select 3, s.resource_type, 'month', s.limit_usd, 'UTC', 'hard', 0.8, '{0.8,1.0}'
            from (values ('llm', 100::numeric), ('e2b', 50), ('all', 150)) as s (resource_type, limit_usd)
        ) c
        order by c.resource_type, c.period, c.precedence
    ) d
    where not exists (
        select from copilot_internal.cost_quotas q
        where q.tenant_id = t.id and q.scope = 'tenant' and q.scope_id = t.id
          and q.resource_type = d.resource_type and q.period = d.period);
comment on view copilot_internal.effective_quotas is
    'Every quota in force: the rows of cost_quotas, and for each tenant the defaults that it has no row for.';
comment on column copilot_internal.effective_quotas.quota_id is
    'The id of the row, or one derived from tenant, resource and period for a default.';
comment on column copilot_internal.effective_quotas.is_default is 'True where no row of cost_quotas says so.';
comment on column copilot_internal.effective_quotas.suspended is 'A default cannot be suspended.';

-- Temporary raises. No foreign key: a default quota has an id and no row.
create table copilot_internal.quota_overrides (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    quota_id uuid not null,
    tenant_id uuid,
    starts_at timestamptz not null default pg_catalog.clock_timestamp() check (pg_catalog.isfinite(starts_at)),
    ends_at timestamptz not null check (pg_catalog.isfinite(ends_at)),
    amount_usd numeric not null check (amount_usd > 0 and amount_usd <= 1000000000),
    reason text check (pg_catalog.length(reason) between 1 and 500),
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    check (starts_at < ends_at)
);
comment on table copilot_internal.quota_overrides is
    'Temporary raises of limits: while one is in force its amount is added to the limit of its quota. Written by '
    'raise_quota; an earlier end is an update of ends_at.';
comment on column copilot_internal.quota_overrides.id is 'Key.';
comment on column copilot_internal.quota_overrides.quota_id is
    'The quota, a default''s too, by its id in metrics.quota_status.';
comment on column copilot_internal.quota_overrides.tenant_id is
    'The quota''s tenant, whose members may read the row; NULL for the platform.';
comment on column copilot_internal.quota_overrides.starts_at is 'From this moment on, by the clock of the server.';
comment on column copilot_internal.quota_overrides.ends_at is 'Until this moment, exclusive.';
comment on column copilot_internal.quota_overrides.amount_usd is 'USD, rounded down to 1e-9; no limit stays no limit.';
comment on column copilot_internal.quota_overrides.reason is 'The operator''s own note.';
comment on column copilot_internal.quota_overrides.created_at is 'When the row was made.';
create index quota_overrides_tenant_idx on copilot_internal.quota_overrides (tenant_id);
create index quota_overrides_quota_idx on copilot_internal.quota_overrides (quota_id, ends_at);

-- Reads its own table alone. A restore makes no more of them than there were.
create function copilot_internal.bound_overrides() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.ends_at > clock_timestamp()
       and (select count(*) from copilot_internal.quota_overrides o
            where o.quota_id = new.quota_id and o.id <> new.id and o.ends_at > clock_timestamp()) >= 32
    then
        raise exception 'a quota can have no more than 32 raises that have not ended'
            using errcode = 'invalid_parameter_value', hint = 'Let some end, or raise the limit itself.';
    end if;
    return new;
end $$;
comment on function copilot_internal.bound_overrides() is
    'Refuses a quota''s 33rd raise that has not ended: every session that charges the quota keeps them all.';
create trigger bound_overrides before insert or update on copilot_internal.quota_overrides
    for each row execute function copilot_internal.bound_overrides();
