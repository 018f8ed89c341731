-- Looking before spending.
--
-- Native where no SQLSTATE of ours is raised; PL/pgSQL where one is. All run as the invoker: the kernels authorise by
-- the role that called, then act as the owner.
--
-- Native functions have no SET clause, which would cost each call more than the call itself. What they query, they
-- query under a search_path of their own (the library's module pg::spi), and most calls query nothing.

create function public.check_quota_before_operation(
    p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid default null)
    returns table (allowed boolean, status text, blocked_scope text, blocked_resource_type text, limit_usd numeric,
        current_spend_usd numeric, reserved_usd numeric, remaining_usd numeric, usage_percentage numeric,
        period_start timestamptz, period_end timestamptz, retry_after_seconds integer, reason text, retryable boolean)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'check_quota_before_operation_wrapper';
comment on function public.check_quota_before_operation(uuid, text, numeric, uuid) is
    'Whether an operation of this cost (USD) fits every quota of the platform, tenant and user. Advisory: it reserves '
    'nothing. The row tells of the quota that blocks, or else the tightest.';

create function public.has_quota(
    p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid default null)
    returns boolean language c stable parallel restricted
    as 'MODULE_PATHNAME', 'has_quota_wrapper';
comment on function public.has_quota(uuid, text, numeric, uuid) is
    'As check_quota_before_operation, as one truth value, for policies. Never raises: a NULL or foreign tenant or a '
    'bad amount is false.';

create function copilot_internal.raise_refusal(p_details jsonb, p_retry_after_seconds integer)
    returns void language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
    v_hint text := case
        when p_retry_after_seconds is not null then
            format('Retry after %s seconds, or raise the limit.', p_retry_after_seconds)
        when p_details ->> 'reason' ~ '^(no tenant |the tenant was deleted )' then 'Check the id of the tenant.'
        when p_details ->> 'reason' like '% is suspended%' then 'Wait until the suspension is lifted.'
        else 'Raise the limit.' end;
begin
    if p_details is null then
        return;
    end if;
    -- PostgREST announces its requests by this setting, and lets PGRST set headers. Elsewhere PT429 says it all.
    if nullif(current_setting('request.method', true), '') is null then
        raise exception 'Quota exceeded' using errcode = 'PT429', detail = p_details::text, hint = v_hint;
    end if;
    raise exception using errcode = 'PGRST',
        message = jsonb_build_object('code', 'PT429', 'message', 'Quota exceeded', 'details', p_details::text,
            'hint', v_hint)::text,
        detail = jsonb_build_object('status', 429, 'headers',
            case when p_retry_after_seconds is null then '{}'::jsonb
                 else jsonb_build_object('Retry-After', p_retry_after_seconds::text) end)::text;
end $$;
comment on function copilot_internal.raise_refusal(jsonb, integer) is
    'Raises a refusal: PT429, inside a PostgREST request PGRST with the same in it and a Retry-After header. NULL is '
    'none.';

create function public.require_quota(
    p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid default null)
    returns void language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
    v_check record;
begin
    select * into v_check from public.check_quota_before_operation(
        p_tenant_id, p_resource_type, p_estimated_cost_usd, p_user_id);
    if v_check.allowed then
        return;
    end if;
    perform copilot_internal.raise_refusal(
        jsonb_build_object('reason', v_check.reason, 'scope', v_check.blocked_scope,
            'resource_type', v_check.blocked_resource_type, 'limit_usd', v_check.limit_usd,
            'current_spend_usd', v_check.current_spend_usd, 'reserved_usd', v_check.reserved_usd,
            'remaining_usd', v_check.remaining_usd, 'period_end', v_check.period_end),
        v_check.retry_after_seconds);
end $$;
comment on function public.require_quota(uuid, text, numeric, uuid) is
    'Raises PT429 (HTTP 429) when check_quota_before_operation says no, with the figures as JSON in DETAIL and the '
    'wait in HINT. Inside a PostgREST request it raises PGRST, so that the answer has a Retry-After header.';
