-- The public surface. Native where no SQLSTATE of ours is raised; PL/pgSQL where one is. All run as the invoker: the
-- kernels authorise by the role that called, then act as the owner.
--
-- Native functions have no SET clause, which would cost each call more than the call itself: what they query, they query
-- under a search_path of their own (the library's module pg::spi), and most calls query nothing.

-- Looking before spending -----------------------------------------------------------------------------------------

create function public.check_quota_before_operation(
    p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid default null)
    returns table (allowed boolean, status text, blocked_scope text, blocked_resource_type text, limit_usd numeric,
        current_spend_usd numeric, reserved_usd numeric, remaining_usd numeric, usage_percentage numeric,
        period_start timestamptz, period_end timestamptz, retry_after_seconds integer, reason text, retryable boolean)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'check_quota_before_operation_wrapper';
comment on function public.check_quota_before_operation(uuid, text, numeric, uuid) is
    'Whether every quota of the platform, tenant and user leaves room for an operation of this cost (USD). Advisory: it reserves nothing. The row tells of the quota that blocks, or else the tightest.';

create function public.has_quota(
    p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid default null)
    returns boolean language c stable parallel restricted
    as 'MODULE_PATHNAME', 'has_quota_wrapper';
comment on function public.has_quota(uuid, text, numeric, uuid) is
    'As check_quota_before_operation, as one truth value, for policies. Never raises: a NULL or foreign tenant or a bad amount is false.';

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
    'Raises a refusal: PT429, inside a PostgREST request PGRST with the same in it and a Retry-After header. NULL is none.';

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
    'Raises PT429 (HTTP 429) when check_quota_before_operation says no, with the figures as JSON in DETAIL and the wait in HINT; inside a PostgREST request PGRST, so that the answer has a Retry-After header.';

-- Spending ---------------------------------------------------------------------------------------------------------

create function public.check_and_record_quota_atomic(
    p_scope text, p_scope_id uuid, p_cost_usd numeric, p_resource_type text default 'llm',
    p_tenant_id uuid default null, p_request_id text default null, p_log_denial boolean default false)
    returns table (allowed boolean, current_spend_usd numeric, limit_usd numeric, remaining_usd numeric,
        utilization_percent numeric, reason text, period text, period_end timestamptz, status text, replayed boolean,
        retryable boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'check_and_record_quota_atomic_wrapper';
comment on function public.check_and_record_quota_atomic(text, uuid, numeric, text, uuid, text, boolean) is
    'Charges a cost (USD) that no record explains, if every applicable quota allows it; else charges nothing and says why. The figures are those after the charge. A request id, unique per tenant, makes a retry harmless.';

create function public.record_llm_cost(
    p_tenant_id uuid, p_model_provider text, p_model_name text, p_input_tokens bigint, p_output_tokens bigint,
    p_user_id uuid default null, p_conversation_id uuid default null, p_path_id uuid default null,
    p_task text default null, p_usage jsonb default null, p_service_tier text default null,
    p_cost_usd numeric default null, p_request_id text default null, p_reservation_id uuid default null,
    p_enforce boolean default false, p_occurred_at timestamptz default null, p_trace_id text default null,
    p_span_id text default null, p_metadata jsonb default '{}', p_log_denial boolean default false)
    returns table (recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text, quota_status text,
        remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'record_llm_cost_wrapper';
comment on function public.record_llm_cost(uuid, text, text, bigint, bigint, uuid, uuid, uuid, text, jsonb, text, numeric, text, uuid, boolean, timestamptz, text, text, jsonb, boolean) is
    'Records what an LLM call cost, priced by the price in force when it happened. Always succeeds, also over a limit, unless p_enforce: then it is check and record in one step, and over a hard limit nothing is recorded. Tokens include cached and reasoning ones; p_usage names the parts.';

create function public.record_e2b_cost(
    p_tenant_id uuid, p_sandbox_id text, p_sandbox_type text, p_duration_seconds numeric, p_user_id uuid default null,
    p_conversation_id uuid default null, p_path_id uuid default null, p_region text default null,
    p_vcpu_seconds numeric default null, p_memory_gib_seconds numeric default null, p_cost_usd numeric default null,
    p_request_id text default null, p_reservation_id uuid default null, p_enforce boolean default false,
    p_occurred_at timestamptz default null, p_metadata jsonb default '{}', p_log_denial boolean default false,
    p_provider text default null, p_disk_gib_seconds numeric default null, p_gpu_seconds numeric default null,
    p_creations numeric default null, p_egress_gib numeric default null)
    returns table (recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text, quota_status text,
        remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'record_e2b_cost_wrapper';
comment on function public.record_e2b_cost(uuid, text, text, numeric, uuid, uuid, uuid, text, numeric, numeric, numeric, text, uuid, boolean, timestamptz, jsonb, boolean, text, numeric, numeric, numeric, numeric) is
    'Records what a sandbox cost, as record_llm_cost does for LLM calls: at its end, or from time to time while it runs, each time what came since. Quantities in seconds, vCPU-seconds, GiB-seconds of memory and disk, GPU-seconds, creations and GiB of egress. p_provider is e2b unless it says otherwise.';

create function public.record_llm_costs(p_records jsonb)
    returns table (ordinal integer, recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text,
        quota_status text, remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 100
    as 'MODULE_PATHNAME', 'record_llm_costs_wrapper';
comment on function public.record_llm_costs(jsonb) is
    'record_llm_cost for an array of up to 1,000 objects keyed by its argument names without p_, in one transaction. A bad record refuses the batch, naming its ordinal (from 1). Times as RFC 3339; decimals as numbers or strings.';

create function public.reserve_quota(
    p_tenant_id uuid, p_resource_type text, p_amount_usd numeric, p_request_id text, p_user_id uuid default null,
    p_ttl interval default '10 minutes', p_metadata jsonb default '{}', p_log_denial boolean default false)
    returns table (allowed boolean, reservation_id uuid, reserved_usd numeric, expires_at timestamptz, status text,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, current_spend_usd numeric,
        remaining_usd numeric, period_end timestamptz, retry_after_seconds integer, reason text, replayed boolean,
        retryable boolean, state text)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'reserve_quota_wrapper';
comment on function public.reserve_quota(uuid, text, numeric, text, uuid, interval, jsonb, boolean) is
    'Sets an amount (USD, an upper bound) aside for an operation whose cost is known only afterwards, if every quota that applies allows it; else sets nothing aside and says why. It counts until it is committed, released or expired (1 second to 8 days). The same request id again gives the first answer.';

create function public.commit_reservation(
    p_reservation_id uuid, p_actual_cost_usd numeric, p_overrun text default 'record', p_tenant_id uuid default null)
    returns table (status text, charged_usd numeric, released_usd numeric, overrun_usd numeric, late boolean,
        replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'commit_reservation_wrapper';
comment on function public.commit_reservation(uuid, numeric, text, uuid) is
    'Charges what the operation of a reservation cost (USD), to the moment of the reservation, and frees the rest. More than was reserved, or too late, is charged all the same; with p_overrun => reject more is refused (status rejected) and the hold stays.';

create function public.release_reservation(
    p_reservation_id uuid, p_reason text default null, p_tenant_id uuid default null)
    returns table (status text, released_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'release_reservation_wrapper';
comment on function public.release_reservation(uuid, text, uuid) is
    'Frees a reservation whose operation cost nothing. One that has expired says so: expired, 0.';

create function public.extend_reservation(
    p_reservation_id uuid, p_ttl interval default null, p_additional_usd numeric default null,
    p_request_id text default null, p_tenant_id uuid default null)
    returns table (allowed boolean, reserved_usd numeric, expires_at timestamptz, status text, reason text,
        retryable boolean, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'extend_reservation_wrapper';
comment on function public.extend_reservation(uuid, interval, numeric, text, uuid) is
    'Lets a reservation last for p_ttl from now on (never shorter than before), and sets more (USD) aside where every quota allows it. One that has expired is admitted again in full, for p_ttl or as long as at first, or refused.';

create function public.refund_cost(
    p_cost_record_id uuid, p_amount_usd numeric, p_request_id text, p_reason text default null,
    p_tenant_id uuid default null)
    returns table (refund_id uuid, refunded_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'refund_cost_wrapper';
comment on function public.refund_cost(uuid, numeric, text, text, uuid) is
    'Takes back a part of a recorded cost (USD), or all of it, as a row of its own that belongs to the moments of the original. More than is left of it is refused.';

create function copilot_internal.reprice(
    p_from timestamptz, p_to timestamptz, p_dry_run boolean default false, p_limit bigint default 1000)
    returns table (tenant_id uuid, resource_type text, provider text, name text, records bigint, present_usd numeric,
        repriced_usd numeric, adjusted bigint, adjustment_usd numeric)
    language c volatile
    as 'MODULE_PATHNAME', 'reprice_wrapper';
comment on function copilot_internal.reprice(timestamptz, timestamptz, boolean, bigint) is
    'Corrects computed costs of records that occurred in the range (half-open) to what the prices of their moments, as they are known now, make of them: by rows of cost_corrections, which quotas count; records stay as they are. Costs that callers provided stay, and so does what has no price. One row for each tenant and model, or sandbox type (provider is its region), whose costs differ: how many records, what they come to at present and would by the prices (USD), how many were corrected now and by how much; at most p_limit records a call (at most 5,000), so repeat it until adjusted is 0. p_dry_run only tells. What was refunded is not given back again.';

create function copilot_internal.adjust_quota(
    p_quota_id uuid, p_delta_usd numeric, p_request_id text, p_reason text default null)
    returns table (adjustment_id uuid, current_spend_usd numeric, replayed boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'adjust_quota_wrapper';
comment on function copilot_internal.adjust_quota(uuid, numeric, text, text) is
    'Corrects what the subject of a quota has spent in the present period by p_delta_usd (USD; below zero gives back, never more than was spent). As any charge it counts against every quota of the subject and resource, not only this one.';

-- Reading ----------------------------------------------------------------------------------------------------------

create function public.get_tenant_cost_summary(
    p_tenant_id uuid, p_from timestamptz default null, p_to timestamptz default null)
    returns table (tenant_id uuid, period_start timestamptz, period_end timestamptz, llm_cost_usd numeric,
        e2b_cost_usd numeric, total_cost_usd numeric, llm_request_count bigint, e2b_session_count bigint,
        input_tokens bigint, output_tokens bigint, e2b_duration_seconds numeric, unpriced_count bigint,
        reserved_usd numeric, by_model jsonb, by_sandbox_type jsonb, quotas jsonb, other_charges_usd numeric)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'get_tenant_cost_summary_wrapper';
comment on function public.get_tenant_cost_summary(uuid, timestamptz, timestamptz) is
    'One tenant''s bill between two moments (half-open, exact; default the present calendar month, UTC), to the last committed record, in USD.';

create function public.estimate_llm_cost(
    p_model_provider text, p_model_name text, p_input_tokens bigint, p_output_tokens bigint,
    p_usage jsonb default null, p_service_tier text default null, p_tenant_id uuid default null)
    returns table (estimated_cost_usd numeric, input_cost_usd numeric, output_cost_usd numeric, pricing_found boolean,
        basis text)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'estimate_llm_cost_wrapper';
comment on function public.estimate_llm_cost(text, text, bigint, bigint, jsonb, text, uuid) is
    'What a call of so many tokens costs at most (USD): every token at the dearest rate that may apply, be it for audio, for writing a cache or in another region, unless p_usage names the parts ({} says that there are none). p_output_tokens NULL is the model''s max_output_tokens. With p_tenant_id by the tenant''s own prices and markup. NULL, never 0, when no price is known.';

create function public.estimate_e2b_cost(
    p_sandbox_type text, p_duration_seconds numeric, p_region text default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null, p_tenant_id uuid default null, p_provider text default null,
    p_disk_gib_seconds numeric default null, p_gpu_seconds numeric default null, p_creations numeric default null,
    p_egress_gib numeric default null)
    returns table (estimated_cost_usd numeric, pricing_found boolean, basis text)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'estimate_e2b_cost_wrapper';
comment on function public.estimate_e2b_cost(text, numeric, text, numeric, numeric, uuid, text, numeric, numeric, numeric, numeric) is
    'What a sandbox session costs (USD). NULL, never 0, when no price is known.';

create function copilot_internal.check_confidence_level(p_level text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_level is null or p_level not in ('conservative', 'typical', 'optimistic') then
        raise exception 'the confidence level must be conservative, typical or optimistic'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_confidence_level(text) is 'Raises 22023 for anything but conservative, typical, optimistic.';

create function copilot_internal.check_own_tenant(p_tenant_id uuid) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_tenant_id is not null and not copilot_internal.caller_sees_all()
       and not p_tenant_id = any (copilot_internal.caller_tenants()) then
        raise exception 'you are not an active member of this tenant' using errcode = 'insufficient_privilege';
    end if;
end $$;
comment on function copilot_internal.check_own_tenant(uuid) is
    'Raises 42501 for a tenant of which the caller is no active member; NULL is none in particular.';

create function public.get_llm_cost_estimate(
    p_provider text, p_model text, p_operation_type text default 'chat', p_confidence_level text default 'conservative',
    p_tenant_id uuid default null)
    returns numeric language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
    v_estimate numeric;
begin
    perform copilot_internal.check_confidence_level(p_confidence_level);
    perform copilot_internal.check_own_tenant(p_tenant_id);
    select e.estimated_cost_usd into v_estimate
    from copilot_internal.llm_cost_estimates e
    where e.model_provider = p_provider and e.model_name = p_model and e.operation_type = p_operation_type
      and e.confidence_level = p_confidence_level and e.effective_from <= clock_timestamp()
      and (e.effective_to is null or e.effective_to > clock_timestamp())
      and (e.tenant_id is null or e.tenant_id = p_tenant_id)
    order by e.from_history, e.tenant_id is null, e.effective_from desc
    limit 1;
    if not found then
        select c.estimated_cost_usd into v_estimate
        from copilot_internal.shipped_operation_profiles o
        cross join lateral public.estimate_llm_cost(
            p_provider, p_model, o.input_tokens, o.output_tokens, null::jsonb, null::text, p_tenant_id) c
        where o.operation_type = p_operation_type and o.confidence_level = p_confidence_level
          and o.input_tokens is not null;
    end if;
    return v_estimate;
end $$;
comment on function public.get_llm_cost_estimate(text, text, text, text, uuid) is
    'What one operation of a kind costs (USD): the operator''s estimate, with p_tenant_id else what that tenant''s own records of that task tell, else the shipped token profile at the model''s price; NULL when there is none.';

create function public.get_e2b_cost_estimate(
    p_tier text, p_region text default 'us-east-1', p_operation_type text default 'standard_session',
    p_confidence_level text default 'conservative', p_tenant_id uuid default null)
    returns numeric language plpgsql stable parallel restricted set search_path = pg_catalog, pg_temp as $$
declare
    v_estimate numeric;
begin
    perform copilot_internal.check_confidence_level(p_confidence_level);
    perform copilot_internal.check_own_tenant(p_tenant_id);
    select e.estimated_cost_usd into v_estimate
    from copilot_internal.e2b_cost_estimates e
    where e.sandbox_type = p_tier and e.region = p_region and e.operation_type = p_operation_type
      and e.confidence_level = p_confidence_level and e.effective_from <= clock_timestamp()
      and (e.effective_to is null or e.effective_to > clock_timestamp())
      and (e.tenant_id is null or e.tenant_id = p_tenant_id)
    order by e.from_history, e.tenant_id is null, e.effective_from desc
    limit 1;
    if not found then
        select c.estimated_cost_usd into v_estimate
        from copilot_internal.shipped_operation_profiles o
        cross join lateral public.estimate_e2b_cost(
            p_tier, o.duration_seconds, p_region, null::numeric, null::numeric, p_tenant_id) c
        where o.operation_type = p_operation_type and o.confidence_level = p_confidence_level
          and o.duration_seconds is not null;
    end if;
    return v_estimate;
end $$;
comment on function public.get_e2b_cost_estimate(text, text, text, text, uuid) is
    'What one sandbox session of a kind costs (USD): the operator''s estimate, with p_tenant_id else what that tenant''s own sessions tell, else the shipped duration at the type''s price; NULL when there is none.';

-- Operations -------------------------------------------------------------------------------------------------------

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
        when p_scope = 'user' and p_tenant_id is null then 'a user''s quota belongs to one tenant: p_tenant_id is needed'
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
        coalesce(p_mode, 'hard'), coalesce(p_warning_threshold, 0.8), coalesce(p_event_thresholds, '{0.8,1.0}'), coalesce(p_suspended, false))
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
    'Creates a quota or changes it, and returns its id. p_limit_usd: USD; NULL is no limit, 0 blocks. What is not named stays as it is; a new quota is in UTC, hard, warns at 0.8, has events at 0.8 and 1 of its limit, and is not suspended. Another time zone than the quota''s is 22023. Applies when the transaction commits; a new quota counts what its period has already cost.';

create function public.raise_quota(
    p_quota_id uuid, p_amount_usd numeric, p_ends_at timestamptz, p_starts_at timestamptz default null,
    p_reason text default null)
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
    select q.tenant_id into v_tenant_id from metrics.quota_status q where q.quota_id = p_quota_id;
    if not found then
        raise exception 'there is no such quota' using errcode = 'no_data_found';
    end if;
    insert into copilot_internal.quota_overrides as o (quota_id, tenant_id, starts_at, ends_at, amount_usd, reason)
    values (p_quota_id, v_tenant_id, v_starts_at, p_ends_at, p_amount_usd, p_reason)
    returning o.id into v_id;
    return v_id;
end $$;
comment on function public.raise_quota(uuid, numeric, timestamptz, timestamptz, text) is
    'Adds an amount (USD) to a quota''s limit from a moment (default now) until another, by the clock of the server, and returns the raise''s id in quota_overrides. Raises add up; at most 32 of a quota may not have ended.';

create function public.set_model_price(
    p_model_provider text, p_model_name text, p_input_per_million_usd numeric, p_output_per_million_usd numeric,
    p_effective_from timestamptz default null, p_components jsonb default '{}', p_tenant_id uuid default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
    v_wrong text := case
        when p_model_provider is null or length(p_model_provider) not between 1 and 200 then
            'p_model_provider must have 1 to 200 characters'
        when p_model_name is null or length(p_model_name) not between 1 and 200 then
            'p_model_name must have 1 to 200 characters'
        when p_input_per_million_usd < 0 or p_input_per_million_usd > 1000000000 then
            'p_input_per_million_usd must be between 0 and 1000000000, or NULL when unknown'
        when p_output_per_million_usd < 0 or p_output_per_million_usd > 1000000000 then
            'p_output_per_million_usd must be between 0 and 1000000000, or NULL when unknown'
        when p_components is null or jsonb_typeof(p_components) <> 'object' then 'p_components must be a JSON object'
        when not isfinite(p_effective_from) then 'p_effective_from must be finite'
        when p_tenant_id = '00000000-0000-0000-0000-000000000000' then 'the nil UUID names nobody'
    end;
begin
    v_wrong := coalesce(v_wrong, copilot_internal.price_problem(p_input_per_million_usd, p_output_per_million_usd,
        p_components));
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    insert into copilot_internal.model_pricing as p
        (model_provider, model_name, input_per_million_usd, output_per_million_usd, components, effective_from,
         tenant_id)
    values (p_model_provider, p_model_name, p_input_per_million_usd, p_output_per_million_usd, p_components,
        coalesce(p_effective_from, clock_timestamp()), p_tenant_id)
    on conflict (model_provider, model_name, tenant_id, list_name, effective_from) do update
        set input_per_million_usd = excluded.input_per_million_usd,
            output_per_million_usd = excluded.output_per_million_usd, components = excluded.components
    returning p.id into v_id;
    return v_id;
end $$;
comment on function public.set_model_price(text, text, numeric, numeric, timestamptz, jsonb, uuid) is
    'Adds a model''s price from a moment on (default now), in USD per million tokens; NULL is unknown, 0 is free. p_components as in model_pricing. The same moment again corrects the row.';

create function public.set_sandbox_price(
    p_provider text, p_sandbox_type text, p_components jsonb, p_effective_from timestamptz default null,
    p_region text default null, p_tenant_id uuid default null)
    returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_known constant text[] := array['per_second_usd', 'vcpu_second_usd', 'memory_gib_second_usd', 'disk_gib_second_usd',
        'gpu_second_usd', 'creation_usd', 'egress_gib_usd'];
    v_prices jsonb := '{}';
    v_name text;
    v_price jsonb;
    v_id uuid;
    v_wrong text := case
        when p_provider is null or length(p_provider) not between 1 and 200 then 'p_provider must have 1 to 200 characters'
        when p_sandbox_type is null or length(p_sandbox_type) not between 1 and 200 then
            'p_sandbox_type must have 1 to 200 characters'
        when length(p_region) not between 1 and 200 then 'p_region must have 1 to 200 characters, or be NULL for all'
        when p_components is null or jsonb_typeof(p_components) <> 'object' or p_components = '{}' then
            'p_components must be a JSON object of prices'
        when not isfinite(p_effective_from) then 'p_effective_from must be finite'
        when p_tenant_id = '00000000-0000-0000-0000-000000000000' then 'the nil UUID names nobody'
    end;
begin
    if v_wrong is null then
        for v_name, v_price in select c.key, c.value from jsonb_each(p_components) c order by c.key loop
            v_wrong := case
                when not (v_name = any (v_known) or v_name || '_usd' = any (v_known)) then
                    format('unknown sandbox price "%s": there are per_second, vcpu_second, memory_gib_second, disk_gib_second, gpu_second, creation and egress_gib', left(v_name, 60))
                when v_prices ? (regexp_replace(v_name, '_usd$', '') || '_usd') then format('%s is given twice', v_name)
                when jsonb_typeof(v_price) <> 'number' then format('%s must be a number', v_name)
                when v_price::numeric < 0 or v_price::numeric > 1000 then format('%s must be between 0 and 1000', v_name)
                when scale(v_price::numeric) > 18 then format('%s has more than 18 decimals', v_name)
            end;
            exit when v_wrong is not null;
            v_prices := v_prices || jsonb_build_object(regexp_replace(v_name, '_usd$', '') || '_usd', v_price);
        end loop;
    end if;
    if v_wrong is not null then
        raise exception '%', v_wrong using errcode = 'invalid_parameter_value';
    end if;
    insert into copilot_internal.e2b_pricing as p
        (provider, sandbox_type, region, tenant_id, effective_from, per_second_usd, vcpu_second_usd, memory_gib_second_usd,
         disk_gib_second_usd, gpu_second_usd, creation_usd, egress_gib_usd)
    values (p_provider, p_sandbox_type, p_region, p_tenant_id, coalesce(p_effective_from, clock_timestamp()),
        (v_prices -> 'per_second_usd')::numeric, (v_prices -> 'vcpu_second_usd')::numeric,
        (v_prices -> 'memory_gib_second_usd')::numeric, (v_prices -> 'disk_gib_second_usd')::numeric,
        (v_prices -> 'gpu_second_usd')::numeric, (v_prices -> 'creation_usd')::numeric, (v_prices -> 'egress_gib_usd')::numeric)
    on conflict (provider, sandbox_type, region, tenant_id, effective_from) do update
        set per_second_usd = excluded.per_second_usd, vcpu_second_usd = excluded.vcpu_second_usd,
            memory_gib_second_usd = excluded.memory_gib_second_usd, disk_gib_second_usd = excluded.disk_gib_second_usd,
            gpu_second_usd = excluded.gpu_second_usd, creation_usd = excluded.creation_usd,
            egress_gib_usd = excluded.egress_gib_usd
    returning p.id into v_id;
    return v_id;
end $$;
comment on function public.set_sandbox_price(text, text, jsonb, timestamptz, text, uuid) is
    'Adds a sandbox type''s price from a moment on (default now). p_components is an object of USD per unit, each adding to the cost: per_second, vcpu_second, memory_gib_second, disk_gib_second, gpu_second, creation, egress_gib (with or without _usd). p_region NULL is all regions, p_tenant_id NULL everybody. The same moment again corrects the row.';
