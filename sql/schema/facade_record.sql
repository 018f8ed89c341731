-- Recording what was spent.

create function public.check_and_record_quota_atomic(
    p_scope text, p_scope_id uuid, p_cost_usd numeric, p_resource_type text default 'llm',
    p_tenant_id uuid default null, p_request_id text default null, p_log_denial boolean default false)
    returns table (allowed boolean, current_spend_usd numeric, limit_usd numeric, remaining_usd numeric,
        utilization_percent numeric, reason text, period text, period_end timestamptz, status text, replayed boolean,
        retryable boolean)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'check_and_record_quota_atomic_wrapper';
comment on function public.check_and_record_quota_atomic(text, uuid, numeric, text, uuid, text, boolean) is
    'Charges a cost (USD) that no record explains, if every applicable quota allows it; else charges nothing and says '
    'why. The figures are those after the charge. A request id, unique per tenant, makes a retry harmless.';

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
comment on function public.record_llm_cost(uuid, text, text, bigint, bigint, uuid, uuid, uuid, text, jsonb, text,
    numeric, text, uuid, boolean, timestamptz, text, text, jsonb, boolean) is
    'Records what an LLM call cost, at the price in force when it happened. Always succeeds, also over a limit. With '
    'p_enforce it is check and record in one step: over a hard limit nothing is recorded. Tokens include cached and '
    'reasoning ones.';

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
comment on function public.record_e2b_cost(uuid, text, text, numeric, uuid, uuid, uuid, text, numeric, numeric,
    numeric, text, uuid, boolean, timestamptz, jsonb, boolean, text, numeric, numeric, numeric, numeric) is
    'Records what a sandbox cost, as record_llm_cost does for a call: at its end, or from time to time what came '
    'since. Quantities in seconds, vCPU-seconds, GiB-seconds of memory and disk, GPU-seconds, creations, GiB of '
    'egress. p_provider: e2b by default.';

create function public.record_llm_costs(p_records jsonb)
    returns table (ordinal integer, recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text,
        quota_status text, remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 100
    as 'MODULE_PATHNAME', 'record_llm_costs_wrapper';
comment on function public.record_llm_costs(jsonb) is
    'record_llm_cost for an array of up to 10,000 objects keyed by its argument names without p_, in one transaction. '
    'A bad record refuses the batch, naming its ordinal (from 1). Times as RFC 3339; decimals as numbers or strings.';

create function public.record_e2b_costs(p_records jsonb)
    returns table (ordinal integer, recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text,
        quota_status text, remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 100
    as 'MODULE_PATHNAME', 'record_e2b_costs_wrapper';
comment on function public.record_e2b_costs(jsonb) is
    'record_e2b_cost for an array of up to 10,000 objects keyed by its argument names without p_. One transaction, '
    'like record_llm_costs.';
