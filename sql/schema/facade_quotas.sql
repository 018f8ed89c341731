-- Setting quotas.

create function public.set_quota(
    p_scope text, p_scope_id uuid, p_resource_type text, p_limit_usd numeric, p_period text default 'month',
    p_tenant_id uuid default null, p_time_zone text default null, p_mode text default null,
    p_warning_threshold numeric default null, p_event_thresholds numeric[] default null,
    p_suspended boolean default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_tenant_id uuid := case p_scope when 'tenant' then coalesce(p_tenant_id, p_scope_id) else p_tenant_id end;
    v_wrong text := case
        when p_scope is null or p_scope not in ('platform', 'tenant', 'user') then
            'the scope must be platform, tenant or user'
        when p_resource_type is null or p_resource_type not in ('llm', 'e2b', 'all') then
            'the resource type must be llm, e2b or all'
        when p_period is null or p_period not in ('hour', 'day', 'week', 'month', 'year', 'lifetime') then
            'the period must be hour, day, week, month, year or lifetime'
        when p_mode not in ('hard', 'soft', 'shadow') then 'the mode must be hard, soft or shadow'
        when not copilot_internal.is_time_zone(p_time_zone) then
            'the time zone must be an IANA name such as Europe/Berlin'
        -- NaN compares above every number, so it fails these too.
        when p_limit_usd < 0 or p_limit_usd > 1000000000 then
            'the limit must be between 0 and 1000000000 USD, or NULL for none'
        when p_warning_threshold < 0 or p_warning_threshold > 1 then
            'the warning threshold must be between 0 and 1'
        when p_event_thresholds is not null
             and not (cardinality(p_event_thresholds) <= 16
                      and (0 < all (p_event_thresholds) and 10 >= all (p_event_thresholds)) is true) then
            'p_event_thresholds must hold at most 16 numbers, each above 0 and at most 10'
        when p_scope = 'platform' and (p_scope_id is not null or p_tenant_id is not null) then
            'a quota of the platform names neither p_scope_id nor p_tenant_id'
        when p_scope <> 'platform' and p_scope_id is null then 'p_scope_id must not be NULL'
        when p_scope = 'user' and p_tenant_id is null then 'a user''s quota belongs to one tenant: p_tenant_id is '
            'needed'
        when p_scope = 'tenant' and p_tenant_id <> p_scope_id then 'p_tenant_id and p_scope_id name different tenants'
        when '00000000-0000-0000-0000-000000000000' in (p_scope_id, p_tenant_id) then 'the nil UUID names nobody'
    end;
begin
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    insert into copilot_internal.cost_quotas as q
        (scope, scope_id, tenant_id, resource_type, limit_usd, period, time_zone, mode, warning_threshold,
         event_thresholds, suspended)
    values (p_scope, p_scope_id, v_tenant_id, p_resource_type, p_limit_usd, p_period, coalesce(p_time_zone, 'UTC'),
        coalesce(p_mode, 'hard'), coalesce(p_warning_threshold, 0.8), coalesce(p_event_thresholds, '{0.8,1.0}'),
        coalesce(p_suspended, false))
    on conflict (tenant_id, scope, scope_id, resource_type, period) do update
        set limit_usd = excluded.limit_usd, mode = coalesce(p_mode, q.mode),
            warning_threshold = coalesce(p_warning_threshold, q.warning_threshold),
            event_thresholds = coalesce(p_event_thresholds, q.event_thresholds),
            suspended = coalesce(p_suspended, q.suspended),
            -- Another one than the quota's is refused, for a zone cannot change.
            time_zone = coalesce(p_time_zone, q.time_zone)
    returning q.id into v_id;
    return v_id;
end $$;
comment on function public.set_quota(text, uuid, text, numeric, text, uuid, text, text, numeric, numeric[], boolean) is
    'Creates a quota, or changes what is named, and returns its id. p_limit_usd: USD; NULL is no limit, 0 blocks. A '
    'new one is in UTC, hard, warns at 0.8, and has events at 0.8 and 1. Another time zone than the quota''s is '
    '22023. Applies at commit.';

create function public.raise_quota(
    p_quota_id uuid, p_amount_usd numeric, p_ends_at timestamptz, p_starts_at timestamptz default null,
    p_reason text default null, p_tenant_id uuid default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_tenant_id uuid;
    v_starts_at timestamptz := coalesce(p_starts_at, clock_timestamp());
    v_wrong text := case
        when p_quota_id is null then 'p_quota_id must not be NULL'
        when p_amount_usd is null or p_amount_usd <= 0 or p_amount_usd > 1000000000 then
            'p_amount_usd must be above 0 and at most 1000000000 USD'
        when p_ends_at is null or not isfinite(p_ends_at) or not isfinite(v_starts_at) then
            'p_ends_at must be given, and both moments finite'
        when p_ends_at <= greatest(v_starts_at, clock_timestamp()) then
            'p_ends_at must be after p_starts_at and in the future'
        when length(p_reason) not between 1 and 500 then 'p_reason must have 1 to 500 characters'
    end;
begin
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    select q.tenant_id into v_tenant_id from metrics.quota_status q where q.quota_id = p_quota_id
      and (p_tenant_id is null or q.tenant_id = p_tenant_id);
    if not found then
        raise exception 'there is no such quota' using errcode = 'no_data_found';
    end if;
    insert into copilot_internal.quota_overrides as o (quota_id, tenant_id, starts_at, ends_at, amount_usd, reason)
    values (p_quota_id, v_tenant_id, v_starts_at, p_ends_at, p_amount_usd, p_reason)
    returning o.id into v_id;
    return v_id;
end $$;
comment on function public.raise_quota(uuid, numeric, timestamptz, timestamptz, text, uuid) is
    'Adds an amount (USD) to a quota''s limit from a moment (default now) until another, by the clock of the server. '
    'Returns the raise''s id in quota_overrides. Raises add up; at most 32 of a quota may not have ended.';
