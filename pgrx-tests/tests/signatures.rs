//! The public functions have the signatures of the contract: other programs call them by argument name.

use tollgate_tests::support;

use anyhow::Result;
use support::{Database, texts};

const RECORDED: &str = "recorded boolean, cost_record_id uuid, cost_usd numeric, cost_status text, quota_status text, \
                        remaining_usd numeric, overrun_usd numeric, reason text, replayed boolean, retryable boolean, \
                        blocked_scope text, blocked_resource_type text, limit_usd numeric, \
                        period_end timestamp with time zone, retry_after_seconds integer";

/// Name, volatility, arguments with their defaults, result.
const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    (
        "check_quota_before_operation",
        "stable",
        "p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid DEFAULT NULL::uuid",
        "TABLE(allowed boolean, status text, blocked_scope text, blocked_resource_type text, limit_usd numeric, \
         current_spend_usd numeric, reserved_usd numeric, remaining_usd numeric, usage_percentage numeric, \
         period_start timestamp with time zone, period_end timestamp with time zone, retry_after_seconds integer, \
         reason text, retryable boolean)",
    ),
    (
        "has_quota",
        "stable",
        "p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid DEFAULT NULL::uuid",
        "boolean",
    ),
    (
        "require_quota",
        "stable",
        "p_tenant_id uuid, p_resource_type text, p_estimated_cost_usd numeric, p_user_id uuid DEFAULT NULL::uuid",
        "void",
    ),
    (
        "check_and_record_quota_atomic",
        "volatile",
        "p_scope text, p_scope_id uuid, p_cost_usd numeric, p_resource_type text DEFAULT 'llm'::text, \
         p_tenant_id uuid DEFAULT NULL::uuid, p_request_id text DEFAULT NULL::text, p_log_denial boolean DEFAULT false",
        "TABLE(allowed boolean, current_spend_usd numeric, limit_usd numeric, remaining_usd numeric, \
         utilization_percent numeric, reason text, period text, period_end timestamp with time zone, \
         status text, replayed boolean, retryable boolean)",
    ),
    (
        "record_llm_cost",
        "volatile",
        "p_tenant_id uuid, p_model_provider text, p_model_name text, p_input_tokens bigint, p_output_tokens bigint, \
         p_user_id uuid DEFAULT NULL::uuid, p_conversation_id uuid DEFAULT NULL::uuid, p_path_id uuid DEFAULT NULL::uuid, \
         p_task text DEFAULT NULL::text, p_usage jsonb DEFAULT NULL::jsonb, p_service_tier text DEFAULT NULL::text, \
         p_cost_usd numeric DEFAULT NULL::numeric, p_request_id text DEFAULT NULL::text, \
         p_reservation_id uuid DEFAULT NULL::uuid, p_enforce boolean DEFAULT false, \
         p_occurred_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_trace_id text DEFAULT NULL::text, p_span_id text DEFAULT NULL::text, p_metadata jsonb DEFAULT '{}'::jsonb, \
         p_log_denial boolean DEFAULT false",
        "TABLE({RECORDED})",
    ),
    (
        "record_llm_usage",
        "volatile",
        "p_tenant_id uuid, p_model_provider text, p_model_name text, p_usage jsonb, p_user_id uuid DEFAULT NULL::uuid, \
         p_conversation_id uuid DEFAULT NULL::uuid, p_path_id uuid DEFAULT NULL::uuid, p_task text DEFAULT NULL::text, \
         p_service_tier text DEFAULT NULL::text, p_cost_usd numeric DEFAULT NULL::numeric, \
         p_request_id text DEFAULT NULL::text, p_reservation_id uuid DEFAULT NULL::uuid, p_enforce boolean DEFAULT false, \
         p_occurred_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_trace_id text DEFAULT NULL::text, p_span_id text DEFAULT NULL::text, p_metadata jsonb DEFAULT '{}'::jsonb, \
         p_log_denial boolean DEFAULT false",
        "TABLE({RECORDED})",
    ),
    (
        "record_e2b_cost",
        "volatile",
        "p_tenant_id uuid, p_sandbox_id text, p_sandbox_type text, p_duration_seconds numeric, \
         p_user_id uuid DEFAULT NULL::uuid, p_conversation_id uuid DEFAULT NULL::uuid, p_path_id uuid DEFAULT NULL::uuid, \
         p_region text DEFAULT NULL::text, p_vcpu_seconds numeric DEFAULT NULL::numeric, \
         p_memory_gib_seconds numeric DEFAULT NULL::numeric, p_cost_usd numeric DEFAULT NULL::numeric, \
         p_request_id text DEFAULT NULL::text, p_reservation_id uuid DEFAULT NULL::uuid, \
         p_enforce boolean DEFAULT false, \
         p_occurred_at timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_metadata jsonb DEFAULT '{}'::jsonb, p_log_denial boolean DEFAULT false, p_provider text DEFAULT NULL::text, \
         p_disk_gib_seconds numeric DEFAULT NULL::numeric, p_gpu_seconds numeric DEFAULT NULL::numeric, \
         p_creations numeric DEFAULT NULL::numeric, p_egress_gib numeric DEFAULT NULL::numeric",
        "TABLE({RECORDED})",
    ),
    ("record_llm_costs", "volatile", "p_records jsonb", "TABLE(ordinal integer, {RECORDED})"),
    ("record_e2b_costs", "volatile", "p_records jsonb", "TABLE(ordinal integer, {RECORDED})"),
    (
        "reserve_quota",
        "volatile",
        "p_tenant_id uuid, p_resource_type text, p_amount_usd numeric, p_request_id text, \
         p_user_id uuid DEFAULT NULL::uuid, p_ttl interval DEFAULT '00:10:00'::interval, \
         p_metadata jsonb DEFAULT '{}'::jsonb, p_log_denial boolean DEFAULT false",
        "TABLE(allowed boolean, reservation_id uuid, reserved_usd numeric, expires_at timestamp with time zone, \
         status text, blocked_scope text, blocked_resource_type text, limit_usd numeric, current_spend_usd numeric, \
         remaining_usd numeric, period_end timestamp with time zone, retry_after_seconds integer, reason text, \
         replayed boolean, retryable boolean, state text)",
    ),
    (
        "commit_reservation",
        "volatile",
        "p_reservation_id uuid, p_actual_cost_usd numeric, p_overrun text DEFAULT 'record'::text, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(status text, charged_usd numeric, released_usd numeric, overrun_usd numeric, late boolean, \
         replayed boolean)",
    ),
    (
        "release_reservation",
        "volatile",
        "p_reservation_id uuid, p_reason text DEFAULT NULL::text, p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(status text, released_usd numeric, replayed boolean)",
    ),
    (
        "extend_reservation",
        "volatile",
        "p_reservation_id uuid, p_ttl interval DEFAULT NULL::interval, p_additional_usd numeric DEFAULT NULL::numeric, \
         p_request_id text DEFAULT NULL::text, p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(allowed boolean, reserved_usd numeric, expires_at timestamp with time zone, status text, reason text, \
         retryable boolean, replayed boolean)",
    ),
    (
        "refund_cost",
        "volatile",
        "p_cost_record_id uuid, p_amount_usd numeric, p_request_id text, p_reason text DEFAULT NULL::text, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(refund_id uuid, refunded_usd numeric, replayed boolean)",
    ),
    (
        "get_tenant_cost_summary",
        "stable",
        "p_tenant_id uuid, p_from timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_to timestamp with time zone DEFAULT NULL::timestamp with time zone",
        "TABLE(tenant_id uuid, period_start timestamp with time zone, period_end timestamp with time zone, \
         llm_cost_usd numeric, e2b_cost_usd numeric, total_cost_usd numeric, llm_request_count bigint, \
         e2b_session_count bigint, input_tokens bigint, output_tokens bigint, e2b_duration_seconds numeric, \
         unpriced_count bigint, reserved_usd numeric, by_model jsonb, by_sandbox_type jsonb, quotas jsonb, \
         other_charges_usd numeric)",
    ),
    (
        "estimate_llm_cost",
        "stable",
        "p_model_provider text, p_model_name text, p_input_tokens bigint, p_output_tokens bigint, \
         p_usage jsonb DEFAULT NULL::jsonb, p_service_tier text DEFAULT NULL::text, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(estimated_cost_usd numeric, input_cost_usd numeric, output_cost_usd numeric, pricing_found boolean, basis text)",
    ),
    (
        "estimate_e2b_cost",
        "stable",
        "p_sandbox_type text, p_duration_seconds numeric, p_region text DEFAULT NULL::text, \
         p_vcpu_seconds numeric DEFAULT NULL::numeric, p_memory_gib_seconds numeric DEFAULT NULL::numeric, \
         p_tenant_id uuid DEFAULT NULL::uuid, p_provider text DEFAULT NULL::text, \
         p_disk_gib_seconds numeric DEFAULT NULL::numeric, p_gpu_seconds numeric DEFAULT NULL::numeric, \
         p_creations numeric DEFAULT NULL::numeric, p_egress_gib numeric DEFAULT NULL::numeric",
        "TABLE(estimated_cost_usd numeric, pricing_found boolean, basis text)",
    ),
    ("normalize_llm_usage", "immutable", "p_provider text, p_usage jsonb", "jsonb"),
    (
        "get_llm_cost_estimate",
        "stable",
        "p_provider text, p_model text, p_operation_type text DEFAULT 'chat'::text, \
         p_confidence_level text DEFAULT 'conservative'::text, p_tenant_id uuid DEFAULT NULL::uuid",
        "numeric",
    ),
    (
        "get_e2b_cost_estimate",
        "stable",
        "p_tier text, p_region text DEFAULT 'us-east-1'::text, p_operation_type text DEFAULT 'standard_session'::text, \
         p_confidence_level text DEFAULT 'conservative'::text, p_tenant_id uuid DEFAULT NULL::uuid",
        "numeric",
    ),
    ("get_current_tenant_id", "stable", "p_user_id uuid DEFAULT NULL::uuid", "uuid"),
    (
        "get_user_tenants",
        "stable",
        "p_user_id uuid DEFAULT NULL::uuid",
        "TABLE(tenant_id uuid, tenant_name text, tenant_slug text, tenant_type text, tenant_plan text, role text, \
         is_active boolean, joined_at timestamp with time zone, is_current boolean)",
    ),
    ("verify_tenant_access", "stable", "p_user_id uuid, p_tenant_id uuid", "TABLE(has_access boolean, role text)"),
    (
        "create_personal_tenant",
        "volatile",
        "p_user_id uuid, p_user_email text, p_tenant_id uuid DEFAULT NULL::uuid",
        "uuid",
    ),
    (
        "create_tenant",
        "volatile",
        "p_name text, p_slug text DEFAULT NULL::text, p_type text DEFAULT 'team'::text, \
         p_plan text DEFAULT 'free'::text, p_owner_id uuid DEFAULT NULL::uuid, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "uuid",
    ),
    ("invite_member", "volatile", "p_tenant_id uuid, p_user_id uuid, p_role text DEFAULT 'member'::text", "boolean"),
    ("accept_invitation", "volatile", "p_tenant_id uuid, p_user_id uuid DEFAULT NULL::uuid", "boolean"),
    ("set_member_role", "volatile", "p_tenant_id uuid, p_user_id uuid, p_role text", "boolean"),
    ("remove_member", "volatile", "p_tenant_id uuid, p_user_id uuid", "boolean"),
    ("switch_tenant", "volatile", "p_tenant_id uuid, p_user_id uuid DEFAULT NULL::uuid", "boolean"),
    ("delete_tenant", "volatile", "p_tenant_id uuid", "boolean"),
    ("initialize_tenant_quotas", "volatile", "p_tenant_id uuid", "integer"),
    ("set_llm_policy", "volatile", "p_tenant_id uuid, p_policy jsonb", "boolean"),
    (
        "resolve_llm_policy",
        "stable",
        "p_tenant_id uuid, p_task text DEFAULT NULL::text, p_user_id uuid DEFAULT NULL::uuid",
        "TABLE(default_provider text, default_model text, allowed_providers jsonb, denied_providers jsonb, \
         allowed_models jsonb, denied_models jsonb, egress_mode text, has_policy boolean)",
    ),
    (
        "set_quota",
        "volatile",
        "p_scope text, p_scope_id uuid, p_resource_type text, p_limit_usd numeric, \
         p_period text DEFAULT 'month'::text, p_tenant_id uuid DEFAULT NULL::uuid, p_time_zone text DEFAULT NULL::text, \
         p_mode text DEFAULT NULL::text, p_warning_threshold numeric DEFAULT NULL::numeric, \
         p_event_thresholds numeric[] DEFAULT NULL::numeric[], p_suspended boolean DEFAULT NULL::boolean",
        "uuid",
    ),
    (
        "raise_quota",
        "volatile",
        "p_quota_id uuid, p_amount_usd numeric, p_ends_at timestamp with time zone, \
         p_starts_at timestamp with time zone DEFAULT NULL::timestamp with time zone, p_reason text DEFAULT NULL::text, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "uuid",
    ),
    (
        "erase_user",
        "volatile",
        "p_user_id uuid, p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(finished boolean, changed bigint, remaining text[])",
    ),
    (
        "export_user_data",
        "stable",
        "p_user_id uuid, p_tenant_id uuid DEFAULT NULL::uuid, p_cursor text DEFAULT NULL::text, p_limit integer DEFAULT 500",
        "TABLE(source text, data jsonb, cursor text)",
    ),
    ("redact_cost_metadata", "volatile", "p_tenant_id uuid, p_conversation_id uuid", "bigint"),
    ("purge_tenant", "volatile", "p_tenant_id uuid", "TABLE(finished boolean, changed bigint, remaining text[])"),
    (
        "claim_quota_events",
        "volatile",
        "p_limit integer DEFAULT 100, p_lease interval DEFAULT '00:01:00'::interval, \
         p_tenant_id uuid DEFAULT NULL::uuid",
        "TABLE(id uuid, tenant_id uuid, quota_id uuid, event_type text, threshold numeric, \
         period_start timestamp with time zone, payload jsonb, created_at timestamp with time zone, \
         acknowledged_at timestamp with time zone)",
    ),
    ("acknowledge_quota_events", "volatile", "p_event_ids uuid[], p_tenant_id uuid DEFAULT NULL::uuid", "integer"),
    (
        "set_model_price",
        "volatile",
        "p_model_provider text, p_model_name text, p_input_per_million_usd numeric, p_output_per_million_usd numeric, \
         p_effective_from timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_components jsonb DEFAULT '{}'::jsonb, p_tenant_id uuid DEFAULT NULL::uuid",
        "uuid",
    ),
    (
        "set_sandbox_price",
        "volatile",
        "p_provider text, p_sandbox_type text, p_components jsonb, \
         p_effective_from timestamp with time zone DEFAULT NULL::timestamp with time zone, \
         p_region text DEFAULT NULL::text, p_tenant_id uuid DEFAULT NULL::uuid",
        "uuid",
    ),
];

/// Columns of the views, as far as the contract fixes them: these come first, in this order.
const VIEWS: &[(&str, &str)] = &[
    (
        "llm_costs",
        "tenant_id, model_provider, model_name, total_cost, total_input_tokens, total_output_tokens, request_count",
    ),
    ("e2b_costs", "tenant_id, sandbox_type, total_cost, total_duration, session_count"),
    (
        "quota_status",
        "scope, scope_id, resource_type, limit_usd, current_spend_usd, usage_percentage, status, reserved_usd, \
         remaining_usd, period, period_start, period_end",
    ),
    ("llm_costs_daily", "tenant_id, date"),
    ("e2b_costs_daily", "tenant_id, date"),
    ("cost_by_user", "tenant_id, user_id"),
    ("cost_by_conversation", "tenant_id, conversation_id"),
    ("tenant_total_costs", "tenant_id"),
    ("admission", "mode, entries, entries_used, entries_pinned"),
    ("cost_estimates", "resource_type"),
    ("tenants_without_quota", "tenant_id"),
    ("housekeeping", "pending_rows, unacknowledged_events, oldest_event_at"),
    ("margins", "tenant_id, date, resource_type, provider, name, total_cost, provider_cost, margin, margin_percentage"),
];

#[test]
fn the_functions_in_public_are_the_contract() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let sql = "
        select p.proname || ' | ' || case p.provolatile when 's' then 'stable' when 'v' then 'volatile' else 'immutable' end
               || ' | ' || pg_get_function_arguments(p.oid) || ' | ' || pg_get_function_result(p.oid)
        from pg_proc p where p.pronamespace = 'public'::regnamespace";
    let mut found = texts(&mut client, sql, &[])?;
    let mut expected: Vec<String> = FUNCTIONS
        .iter()
        .map(|(name, volatility, arguments, result)| {
            format!("{name} | {volatility} | {arguments} | {}", result.replace("{RECORDED}", RECORDED))
        })
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    // One by one, so that a failure shows the one that differs. Two of one name would differ too: PostgREST forbids them.
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    Ok(())
}

#[test]
fn the_views_begin_with_the_columns_of_the_contract() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let sql = "select string_agg(attname, ', ' order by attnum) from pg_attribute
               where attrelid = ('metrics.' || $1::text)::regclass and attnum > 0";
    for (view, columns) in VIEWS {
        let found = &texts(&mut client, sql, &[view])?[0];
        assert!(found == columns || found.starts_with(&format!("{columns}, ")), "{view}: {found}");
    }
    let all = "select relname::text from pg_class where relnamespace = 'metrics'::regnamespace order by 1";
    assert_eq!(texts(&mut client, all, &[])?.len(), VIEWS.len());
    Ok(())
}
