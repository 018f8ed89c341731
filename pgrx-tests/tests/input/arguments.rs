//! Each function, each of its arguments, each way to get it wrong.

use anyhow::Result;
use tollgate_tests::session::Caller;

use crate::calls::*;
use crate::support::{assert_verified, texts};

#[test]
fn record_llm_cost_refuses() -> Result<()> {
    let tokens: &[&str] = &["null", "-1", "9223372036854775807", "-9223372036854775808", "1000000000001"];
    let label: &[&str] = &["''", LONG];
    let mut cases = each(
        "record_llm_cost",
        LLM,
        &[
            ("p_tenant_id", &["null", NIL]),
            ("p_model_provider", &["null", "''", LONG]),
            ("p_model_name", &["null", "''", LONG]),
            ("p_input_tokens", tokens),
            ("p_output_tokens", tokens),
            ("p_user_id", &[NIL]),
            ("p_task", label),
            ("p_service_tier", label),
            ("p_request_id", label),
            ("p_trace_id", label),
            ("p_span_id", label),
            ("p_cost_usd", NO_AMOUNTS),
            ("p_enforce", &["null"]),
            (
                "p_occurred_at",
                &[
                    "now() + interval '1 hour'",
                    "'infinity'",
                    "'-infinity'",
                    "'1999-12-31 23:59:59Z'",
                    "'4713-01-01 BC'",
                ],
            ),
            ("p_metadata", &["'[]'", "'1'", "'\"x\"'", "jsonb_build_object('a', repeat('x', 70000))"]),
            (
                "p_usage",
                &[
                    "'[]'",
                    "'\"x\"'",
                    "'7'",
                    "jsonb_build_object('a', repeat('x', 70000))",
                    "'{\"cache_read_input_tokens\": 101}'",
                    "'{\"cache_read_input_tokens\": 60, \"cache_creation_input_tokens\": 60}'",
                    "'{\"reasoning_output_tokens\": 11}'",
                    "'{\"cache_creation_input_tokens\": 5, \"cache_creation_1h_input_tokens\": 6}'",
                    "'{\"cache_read_input_tokens\": -1}'",
                    "'{\"cache_read_input_tokens\": 1.5}'",
                    "'{\"cache_read_input_tokens\": \"1\"}'",
                    "'{\"cache_read_input_tokens\": 1e300}'",
                    "'{\"input_audio_tokens\": true}'",
                ],
            ),
        ],
    );
    cases.push((call("record_llm_cost", LLM, &[("p_reservation_id", TENANT)]), "P0002"));
    refused(&cases)
}

#[test]
fn record_e2b_cost_refuses() -> Result<()> {
    let quantity: &[&str] = &["'NaN'", "'Infinity'", "'-Infinity'", "-1", "-1e-20", "'1e131071'", "1e20"];
    let mut cases = each(
        "record_e2b_cost",
        E2B,
        &[
            ("p_tenant_id", &["null", NIL]),
            ("p_sandbox_type", &["null", "''", LONG]),
            ("p_sandbox_id", &["''", LONG]),
            ("p_region", &["''", LONG]),
            ("p_duration_seconds", quantity),
            ("p_duration_seconds", &["null"]),
            ("p_vcpu_seconds", quantity),
            ("p_memory_gib_seconds", quantity),
            ("p_provider", &["''", LONG]),
            ("p_disk_gib_seconds", quantity),
            ("p_gpu_seconds", quantity),
            ("p_creations", quantity),
            ("p_egress_gib", quantity),
            ("p_user_id", &[NIL]),
            ("p_request_id", &["''", LONG]),
            ("p_cost_usd", NO_AMOUNTS),
            ("p_enforce", &["null"]),
            ("p_occurred_at", &["now() + interval '1 hour'", "'infinity'", "'-infinity'", "'1999-12-31 23:59:59Z'"]),
            ("p_metadata", &["'[]'", "'1'"]),
        ],
    );
    cases.push((call("record_e2b_cost", E2B, &[("p_reservation_id", TENANT)]), "P0002"));
    refused(&cases)
}

#[test]
fn check_and_record_quota_atomic_refuses() -> Result<()> {
    let mut cases = each(
        "check_and_record_quota_atomic",
        BARE,
        &[
            ("p_scope", &["null", "''", "'galaxy'", "'platform'"]),
            ("p_scope_id", &["null", NIL]),
            ("p_cost_usd", NO_AMOUNTS),
            ("p_cost_usd", &["null"]),
            ("p_resource_type", &["null", "''", "'all'", "'gpu'"]),
            ("p_tenant_id", &[NIL, "'00000000-0000-0000-0000-000000000002'"]),
            ("p_request_id", &["''", LONG]),
            // A user of no tenant, or of several, must say which.
        ],
    );
    cases.push((call("check_and_record_quota_atomic", BARE, &[("p_scope", "'user'")]), "22023"));
    refused(&cases)
}

#[test]
fn the_check_functions_refuse_and_has_quota_is_false() -> Result<()> {
    let bad: &[(&str, &[&str])] = &[
        ("p_tenant_id", &["null", NIL]),
        ("p_resource_type", &["null", "''", "'all'", "'gpu'"]),
        ("p_estimated_cost_usd", NO_AMOUNTS),
        ("p_estimated_cost_usd", &["null"]),
        ("p_user_id", &[NIL]),
    ];
    for function in ["check_quota_before_operation", "require_quota"] {
        refused(&each(function, CHECK, bad))?;
    }
    let (_database, mut session) = prepared()?;
    for (sql, _) in each("has_quota", CHECK, bad) {
        assert!(!session.value::<bool>(&Caller::service(), &sql, &[])?, "{sql}");
    }
    assert!(session.value::<bool>(&Caller::service(), &call("has_quota", CHECK, &[]), &[])?);
    Ok(())
}

#[test]
fn set_quota_and_set_model_price_refuse() -> Result<()> {
    let mut cases = each(
        "set_quota",
        QUOTA,
        &[
            ("p_scope", &["null", "''", "'galaxy'", "'platform'", "'user'"]),
            ("p_scope_id", &["null", NIL]),
            ("p_resource_type", &["null", "''", "'gpu'"]),
            ("p_limit_usd", NO_AMOUNTS),
            ("p_period", &["null", "''", "'fortnight'", "'MONTH'"]),
            (
                "p_time_zone",
                &["''", "'Mars/Olympus'", "'../UTC'", "'UTC+3'", "'europe/berlin'", "'EST5EDT,M3.2.0,M11.1.0'", LONG],
            ),
            ("p_mode", &["''", "'gentle'"]),
            ("p_warning_threshold", &["-0.1", "1.1", "'NaN'", "'Infinity'"]),
            ("p_tenant_id", &[NIL, "'00000000-0000-0000-0000-000000000002'"]),
        ],
    );
    let price: &[&str] = &["'NaN'", "'Infinity'", "'-Infinity'", "-1", "'1e131071'"];
    cases.extend(each(
        "set_model_price",
        PRICE,
        &[
            ("p_model_provider", &["null", "''", LONG]),
            ("p_model_name", &["null", "''", LONG]),
            ("p_input_per_million_usd", price),
            ("p_output_per_million_usd", price),
            ("p_effective_from", &["'infinity'", "'-infinity'"]),
            (
                "p_components",
                &[
                    "null",
                    "'[]'",
                    "'1'",
                    "'{\"cache_read_input_token_cost\": -1}'",
                    "'{\"cache_read_input_token_cost\": \"much\"}'",
                    "'{\"cache_read_input_tokens_cost\": 1}'",
                    "'{\"cache_read_input_token_cost\": 1e131071}'",
                ],
            ),
            ("p_tenant_id", &[NIL]),
        ],
    ));
    refused(&cases)
}

#[test]
fn what_is_small_is_rounded_and_what_is_large_but_allowed_is_taken() -> Result<()> {
    let (database, mut session) = prepared()?;
    database.superuser()?.batch_execute(&format!("select public.set_quota('tenant', {TENANT}, 'llm', null)"))?;
    let mut record = |changed: &[(&str, &str)]| -> Result<String> {
        let sql = call("record_llm_cost", LLM, changed).replace("select *", "select cost_usd::text");
        Ok(session.value(&Caller::service(), &sql, &[])?)
    };
    assert_eq!(record(&[("p_cost_usd", "1e-20")])?, "0");
    // Once, half to even, to 1e-12.
    assert_eq!(record(&[("p_cost_usd", "0.0000000000025")])?, "0.000000000002");
    assert_eq!(record(&[("p_cost_usd", "0.0000000000035")])?, "0.000000000004");
    assert_eq!(record(&[("p_cost_usd", "1000000000")])?, "1000000000");
    record(&[("p_input_tokens", "1000000000000"), ("p_output_tokens", "1000000000000")])?;
    record(&[("p_occurred_at", "'2000-01-01 00:00Z'"), ("p_usage", "'null'"), ("p_metadata", "null")])?;
    let mut client = database.superuser()?;
    let charged = "select charge_nanos::text from copilot_internal.llm_cost_records where cost_status = 'provided' order by cost_usd";
    assert_eq!(texts(&mut client, charged, &[])?, ["0", "1", "1", "1000000000000000000"]);
    assert_verified(&mut client);
    Ok(())
}
