//! The functions of tenants, their people and their policies.

use anyhow::Result;

use crate::calls::*;

const USER: &str = "'00000000-0000-0000-0000-0000000000f1'";
/// A tenant that does not exist.
const UNKNOWN: &str = "'00000000-0000-0000-0000-0000000000ff'";

#[test]
fn making_tenants_refuses() -> Result<()> {
    let personal: &[(&str, &str)] = &[("p_user_id", USER), ("p_user_email", "'ann@example.com'")];
    let email: &[&str] =
        &["''", "'ann'", "'@example.com'", "'ann@'", "'a b@example.com'", "repeat('x', 320) || '@x'", "e'a\\n@x'"];
    let mut cases = each(
        "create_personal_tenant",
        personal,
        &[("p_user_id", &["null", NIL]), ("p_user_email", email), ("p_user_email", &["null"])],
    );
    let team: &[(&str, &str)] = &[("p_name", "'Acme'")];
    let label: &[&str] = &["null", "''", "'Team'", "'1a'", "repeat('x', 41)", "'a b'"];
    cases.extend(each(
        "create_tenant",
        team,
        &[
            ("p_name", &["null", "''", "'  '", "repeat('x', 201)", "e'a\\nb'"]),
            ("p_slug", &["''", "'Acme'", "'a--b'", "'-a'", "'a-'", "'a_b'", "repeat('x', 64)", "'ä'"]),
            ("p_type", label),
            ("p_type", &["'personal'"]),
            ("p_plan", label),
            ("p_owner_id", &[NIL]),
        ],
    ));
    for function in ["delete_tenant", "initialize_tenant_quotas"] {
        cases.extend(each(function, &[("p_tenant_id", TENANT)], &[("p_tenant_id", &["null", NIL])]));
        cases.push((call(function, &[], &[("p_tenant_id", UNKNOWN)]), "P0002"));
    }
    refused(&cases)
}

#[test]
fn changing_members_refuses() -> Result<()> {
    let both: &[(&str, &str)] = &[("p_tenant_id", TENANT), ("p_user_id", USER)];
    let ids: &[(&str, &[&str])] = &[("p_tenant_id", &["null", NIL]), ("p_user_id", &["null", NIL])];
    let mut cases = Vec::new();
    for function in ["invite_member", "accept_invitation", "remove_member", "switch_tenant", "verify_tenant_access"] {
        cases.extend(each(function, both, ids));
    }
    let role: &[(&str, &str)] = &[("p_tenant_id", TENANT), ("p_user_id", USER), ("p_role", "'member'")];
    cases.extend(each("set_member_role", role, ids));
    for function in ["invite_member", "set_member_role"] {
        cases.extend(each(function, role, &[("p_role", &["null", "''", "'Owner'", "'god'"])]));
        cases.push((call(function, role, &[("p_tenant_id", UNKNOWN)]), "P0002"));
    }
    cases.push((call("set_member_role", role, &[]), "P0002"));
    cases.push((call("accept_invitation", both, &[]), "P0002"));
    cases.push((call("switch_tenant", both, &[]), "42501"));
    cases.push((call("remove_member", both, &[("p_tenant_id", UNKNOWN)]), "P0002"));
    cases.extend(each("get_user_tenants", &[], &[("p_user_id", &["null"])]));
    refused(&cases)
}

#[test]
fn policies_are_refused() -> Result<()> {
    let good: &[(&str, &str)] = &[("p_tenant_id", TENANT), ("p_policy", "'{}'")];
    let policy: &[&str] = &[
        "'[]'",
        "'null'",
        "'7'",
        "'{\"egress_mode\": \"shut\"}'",
        "'{\"egress_mode\": 1}'",
        "'{\"model\": \"x\"}'",
        "'{\"default_model\": \"\"}'",
        "'{\"denied_models\": {}}'",
        "'{\"denied_models\": [null]}'",
        "'{\"denied_models\": [\"a*b\"]}'",
        "'{\"allowed_providers\": \"openai\"}'",
        "'{\"task_overrides\": {\"\": {}}}'",
        "'{\"task_overrides\": {\"t\": {\"user_overrides\": {}}}}'",
        "'{\"user_overrides\": {\"ann\": {}}}'",
        "jsonb_build_object('denied_models', jsonb_build_array(repeat('x', 501)))",
        "jsonb_build_object('denied_models', (select jsonb_agg(n) from generate_series(1, 1001) n))",
        "jsonb_build_object('denied_models', (select jsonb_agg(repeat('x', 400) || n) from generate_series(1, 1000) n))",
    ];
    let mut cases = each("set_llm_policy", good, &[("p_tenant_id", &["null"]), ("p_policy", policy)]);
    cases.push((call("set_llm_policy", good, &[("p_tenant_id", UNKNOWN)]), "P0002"));
    let ask: &[(&str, &str)] = &[("p_tenant_id", TENANT)];
    let bad: &[(&str, &[&str])] = &[("p_tenant_id", &["null", NIL]), ("p_task", &["''", LONG]), ("p_user_id", &[NIL])];
    cases.extend(each("resolve_llm_policy", ask, bad));
    refused(&cases)
}
