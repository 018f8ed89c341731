-- What was spent, and what something would cost.

create function public.get_tenant_cost_summary(
    p_tenant_id uuid, p_from timestamptz default null, p_to timestamptz default null)
    returns table (tenant_id uuid, period_start timestamptz, period_end timestamptz, llm_cost_usd numeric,
        e2b_cost_usd numeric, total_cost_usd numeric, llm_request_count bigint, e2b_session_count bigint,
        input_tokens bigint, output_tokens bigint, e2b_duration_seconds numeric, unpriced_count bigint,
        reserved_usd numeric, by_model jsonb, by_sandbox_type jsonb, quotas jsonb, other_charges_usd numeric)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'get_tenant_cost_summary_wrapper';
comment on function public.get_tenant_cost_summary(uuid, timestamptz, timestamptz) is
    'One tenant''s bill between two moments (half-open, exact; default the present calendar month, UTC), to the last '
    'committed record, in USD.';

create function public.estimate_llm_cost(
    p_model_provider text, p_model_name text, p_input_tokens bigint, p_output_tokens bigint,
    p_usage jsonb default null, p_service_tier text default null, p_tenant_id uuid default null)
    returns table (estimated_cost_usd numeric, input_cost_usd numeric, output_cost_usd numeric, pricing_found boolean,
        basis text)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'estimate_llm_cost_wrapper';
comment on function public.estimate_llm_cost(text, text, bigint, bigint, jsonb, text, uuid) is
    'What a call of so many tokens costs at most (USD), each at its dearest rate. Where p_usage names the parts ({}: '
    'none), less. A NULL p_output_tokens is the model''s max_output_tokens. With p_tenant_id at its prices and '
    'markup. NULL without a price.';

create function public.estimate_e2b_cost(
    p_sandbox_type text, p_duration_seconds numeric, p_region text default null, p_vcpu_seconds numeric default null,
    p_memory_gib_seconds numeric default null, p_tenant_id uuid default null, p_provider text default null,
    p_disk_gib_seconds numeric default null, p_gpu_seconds numeric default null, p_creations numeric default null,
    p_egress_gib numeric default null)
    returns table (estimated_cost_usd numeric, pricing_found boolean, basis text)
    language c stable parallel restricted rows 1
    as 'MODULE_PATHNAME', 'estimate_e2b_cost_wrapper';
comment on function public.estimate_e2b_cost(text, numeric, text, numeric, numeric, uuid, text, numeric, numeric,
    numeric, numeric) is
    'What a sandbox session costs (USD). NULL, never 0, when no price is known.';

create function copilot_internal.check_confidence_level(p_level text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_level is null or p_level not in ('conservative', 'typical', 'optimistic') then
        raise exception 'the confidence level must be conservative, typical or optimistic'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_confidence_level(text) is
    'Raises 22023 for anything but conservative, typical, optimistic.';

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
    return trim_scale(v_estimate);
end $$;
comment on function public.get_llm_cost_estimate(text, text, text, text, uuid) is
    'What one operation of a kind costs (USD). The operator''s estimate comes first, then with p_tenant_id that of the '
    'tenant''s own records. The shipped token profile at the model''s price is the last. NULL when there is none.';

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
    return trim_scale(v_estimate);
end $$;
comment on function public.get_e2b_cost_estimate(text, text, text, text, uuid) is
    'What one sandbox session of a kind costs (USD). The operator''s estimate comes first, then with p_tenant_id that '
    'of the tenant''s own sessions, then the shipped duration at the type''s price. NULL when there is none.';
