-- Usage as providers, gateways and client libraries report it.

create function public.record_llm_usage(
    p_tenant_id uuid, p_model_provider text, p_model_name text, p_usage jsonb, p_user_id uuid default null,
    p_conversation_id uuid default null, p_path_id uuid default null, p_task text default null,
    p_service_tier text default null, p_cost_usd numeric default null, p_request_id text default null,
    p_reservation_id uuid default null, p_enforce boolean default false, p_occurred_at timestamptz default null,
    p_trace_id text default null, p_span_id text default null, p_metadata jsonb default '{}',
    p_log_denial boolean default false)
    returns table (recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text, quota_status text,
        remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean,
        blocked_scope text, blocked_resource_type text, limit_usd numeric, period_end timestamptz,
        retry_after_seconds integer)
    language c volatile rows 1
    as 'MODULE_PATHNAME', 'record_llm_usage_wrapper';
comment on function public.record_llm_usage(uuid, text, text, jsonb, uuid, uuid, uuid, text, text, numeric, text, uuid,
    boolean, timestamptz, text, text, jsonb, boolean) is
    'record_llm_cost by the usage object of a provider, gateway or client library, alone or in its whole response. A '
    'cost that it reports counts unless p_cost_usd is given. What is not understood is never 0: with p_enforce 22023, '
    'else unpriced and kept.';

create function public.normalize_llm_usage(p_provider text, p_usage jsonb) returns jsonb
    language c immutable parallel safe as 'MODULE_PATHNAME', 'normalize_llm_usage_wrapper';
comment on function public.normalize_llm_usage(text, jsonb) is
    'A usage object, alone or in its whole response, in the form of record_llm_cost: input_tokens and output_tokens, '
    'inclusive, the parts of p_usage, service_tier and reported_cost_usd. What has no place there is under unknown. '
    '22023 without any count.';
