//! As PostgREST calls: what it makes of an error, read-only requests, and sessions that are used again.

use tollgate_tests::support;

use anyhow::Result;
use postgres::{Error, IsolationLevel};
use serde_json::Value;
use support::{Database, assert_none, id, limit, make_tenant};
use tollgate_tests::session::{Caller, Session, message, sqlstate};
use uuid::Uuid;

const OWNER: u128 = 0xf1;

/// A tenant with an owner, and a limit of one dollar for LLM calls that is used up.
fn exhausted(period: &str) -> Result<(Database, Session, Uuid)> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    let tenant = id(1);
    make_tenant(&mut client, tenant)?;
    client.batch_execute(&format!(
        "update copilot_internal.tenants set owner_id = '{}' where id = '{tenant}';
         select public.set_quota('tenant', '{tenant}', 'llm', 1, '{period}');
         select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 1)",
        id(OWNER)
    ))?;
    let session = database.session()?;
    Ok((database, session, tenant))
}

fn parts(error: &Error) -> (String, String, String) {
    let server = error.as_db_error();
    let text = |value: Option<&str>| value.unwrap_or_default().to_string();
    (message(error), text(server.and_then(|it| it.detail())), text(server.and_then(|it| it.hint())))
}

const REQUIRE: &str = "select public.require_quota($1, 'llm', 0.5)";

#[test]
fn outside_of_a_request_a_refusal_is_pt429_with_the_figures() -> Result<()> {
    let (database, _session, tenant) = exhausted("month")?;
    let mut client = database.superuser()?;
    let error = match client.query(REQUIRE, &[&tenant]) {
        Ok(_) => panic!("not refused"),
        Err(error) => error,
    };
    assert_eq!(sqlstate(&error), "PT429");
    let (message, detail, hint) = parts(&error);
    // It becomes the reason phrase of the response: one short line of ASCII.
    assert!(message.len() < 40 && message.is_ascii() && !message.contains('\n'), "{message}");
    let figures: Value = serde_json::from_str(&detail)?;
    assert_eq!((&figures["scope"], &figures["resource_type"]), (&"tenant".into(), &"llm".into()));
    for (figure, value) in
        [("limit_usd", "1"), ("current_spend_usd", "1"), ("remaining_usd", "0"), ("reserved_usd", "0")]
    {
        assert_eq!(figures[figure].to_string(), value, "{figure}");
    }
    assert!(figures["period_end"].is_string() && figures["reason"].is_string(), "{figures}");
    assert!(hint.starts_with("Retry after ") && hint.contains(" seconds"), "{hint}");
    Ok(())
}

#[test]
fn inside_a_request_a_refusal_is_pgrst_with_retry_after() -> Result<()> {
    let (_database, mut session, tenant) = exhausted("hour")?;
    for caller in [Caller::service(), Caller::service().read_only(), Caller::user(id(OWNER), Some(tenant)).read_only()]
    {
        let error = session.expect_sqlstate(&caller, REQUIRE, &[&tenant], "PGRST");
        let (message, detail, _) = parts(&error);
        let body: Value = serde_json::from_str(&message)?;
        // PostgREST wants all four, as texts.
        for key in ["code", "message", "details", "hint"] {
            assert!(body[key].is_string(), "{key}: {body}");
        }
        let figures: Value = serde_json::from_str(body["details"].as_str().unwrap_or_default())?;
        assert_eq!(figures["scope"], "tenant", "{body}");
        let response: Value = serde_json::from_str(&detail)?;
        assert_eq!(response["status"], 429);
        let wait: u32 = response["headers"]["Retry-After"].as_str().unwrap_or_default().parse()?;
        assert!((1..=3600).contains(&wait), "{wait}");
    }
    Ok(())
}

/// Nothing to wait for: no header, and still a valid answer.
#[test]
fn a_lifetime_limit_has_no_retry_after() -> Result<()> {
    let (_database, mut session, tenant) = exhausted("lifetime")?;
    let error = session.expect_sqlstate(&Caller::service(), REQUIRE, &[&tenant], "PGRST");
    let response: Value = serde_json::from_str(&parts(&error).1)?;
    assert_eq!((&response["status"], &response["headers"]), (&429.into(), &serde_json::json!({})));
    let allowed = "select public.require_quota($1, 'e2b', 0.5)";
    session.request(&Caller::service(), |tx| tx.query(allowed, &[&tenant]))?;
    Ok(())
}

/// What is STABLE runs on a standby and in a GET. A transaction id would be a write of its own.
#[test]
fn reading_functions_run_read_only_and_take_no_transaction_id() -> Result<()> {
    let (database, mut session, tenant) = exhausted("month")?;
    database.superuser()?.batch_execute("select public.set_quota('platform', null, 'all', 100)")?;
    let calls = [
        "public.check_quota_before_operation($1, 'llm', 0.5)",
        "public.has_quota($1, 'llm', 0.5)",
        "public.require_quota($1, 'e2b', 0.5)",
        "public.get_tenant_cost_summary($1)",
        "(select $1::uuid, c.* from public.estimate_llm_cost('openai', 'gpt-4o', 10, 10) c)",
        "(select $1::uuid, c.* from public.estimate_e2b_cost('standard', 10) c)",
        "(select $1::uuid, public.get_llm_cost_estimate('openai', 'gpt-4o'), public.get_e2b_cost_estimate('standard'))",
        "(select $1::uuid, public.get_current_tenant_id())",
        "(select $1::uuid, t.* from public.get_user_tenants('00000000-0000-0000-0000-0000000000f1') t)",
        "public.verify_tenant_access('00000000-0000-0000-0000-0000000000f1', $1)",
        "public.resolve_llm_policy($1)",
        "(select $1::uuid, v.* from metrics.quota_status v)",
        "(select $1::uuid, v.* from metrics.tenant_total_costs v)",
    ];
    for level in [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        for caller in [Caller::service(), Caller::user(id(OWNER), Some(tenant))] {
            for call in calls {
                let sql = format!("select * from {call} r");
                session.request(&caller.clone().read_only().isolation(level), |tx| tx.query(&sql, &[&tenant]))?;
                let assigned: Option<String> = session.request(&caller.clone().isolation(level), |tx| {
                    tx.query(&sql, &[&tenant])?;
                    tx.query_one("select pg_current_xact_id_if_assigned()::text", &[])?.try_get(0)
                })?;
                assert_eq!(assigned, None, "{call}");
            }
        }
    }
    Ok(())
}

#[test]
fn writing_functions_refuse_to_run_read_only() -> Result<()> {
    let (_database, mut session, tenant) = exhausted("month")?;
    let caller = Caller::service().read_only();
    for call in [
        "public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.1)",
        "public.record_e2b_cost($1, 's', 'standard', 1)",
        "public.record_llm_costs(jsonb_build_array(jsonb_build_object('tenant_id', $1::uuid, 'model_provider', 'p',
             'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 0.1)))",
        "public.check_and_record_quota_atomic('tenant', $1, 0.1, 'e2b')",
        "public.set_quota('tenant', $1, 'llm', 5)",
        "public.set_model_price('p', 'm', 1, 1, p_tenant_id => $1)",
        "public.create_personal_tenant($1, 'ann@example.com')",
        "(select $1::uuid, public.create_tenant('New'))",
        "public.invite_member($1, $1)",
        "public.remove_member($1, '00000000-0000-0000-0000-0000000000f1')",
        "public.delete_tenant($1)",
        "public.switch_tenant($1, '00000000-0000-0000-0000-0000000000f1')",
        "public.initialize_tenant_quotas($1)",
        "public.set_llm_policy($1, '{}')",
        "(select $1::uuid, m.* from copilot_internal.maintain() m)",
    ] {
        session.expect_sqlstate(&caller, &format!("select * from {call} r"), &[&tenant], "25006");
    }
    Ok(())
}

/// A pooled connection leaves `''` in the setting, and may leave more. The caller is then no user, without an error.
#[test]
fn a_reused_session_is_no_user() -> Result<()> {
    let (_database, mut session, tenant) = exhausted("month")?;
    let member = Caller::user(id(OWNER), Some(tenant));
    let mine = "select coalesce(public.get_current_tenant_id()::text, 'no user')";
    assert_eq!(session.value::<String>(&member, mine, &[])?, tenant.to_string());
    for claims in ["", " ", "null", "{}", "[]", "\"\"", "{", "{\"sub\": null}", "{\"sub\": \"\"}", "{\"sub\": 7}"] {
        let seen = session.request(&Caller::role("authenticated", None), |tx| {
            tx.execute("select set_config('request.jwt.claims', $1, true)", &[&claims])?;
            let row = tx.query_one(
                "select coalesce(public.get_current_tenant_id()::text, 'no user'), public.has_quota($1, 'e2b', 0),
                        (select count(*) from metrics.tenant_total_costs), (select count(*) from copilot_internal.tenants)",
                &[&tenant],
            )?;
            Ok((row.get::<_, String>(0), row.get::<_, bool>(1), row.get::<_, i64>(2), row.get::<_, i64>(3)))
        })?;
        assert_eq!(seen, ("no user".to_string(), false, 0, 0), "{claims:?}");
    }
    // Outside of any request, in the session that has served one.
    let client = session.client();
    client.batch_execute("set role authenticated")?;
    let current: Option<Uuid> = client.query_one("select public.get_current_tenant_id()", &[])?.get(0);
    assert_eq!(current, None);
    Ok(())
}

/// Two people in turn on one connection, over prepared statements: neither gets what was planned for the other.
#[test]
fn people_take_turns_on_one_connection() -> Result<()> {
    let (database, mut session, tenant) = exhausted("month")?;
    let mut client = database.superuser()?;
    let other = id(2);
    make_tenant(&mut client, other)?;
    limit(&mut client, other, "llm", "7")?;
    client.execute("update copilot_internal.tenants set owner_id = $1 where id = $2", &[&id(0xf2), &other])?;
    let limits = "select string_agg(limit_usd::text, ',') from metrics.quota_status where resource_type = 'llm' and not is_default";
    for _ in 0..8 {
        for (user, tenant, expected) in [(OWNER, tenant, "1"), (0xf2, other, "7")] {
            let caller = Caller::user(id(user), Some(tenant)).read_only();
            assert_eq!(session.value::<Uuid>(&caller, "select public.get_current_tenant_id()", &[])?, tenant);
            assert_eq!(session.value::<String>(&caller, limits, &[])?, expected);
        }
    }
    Ok(())
}

/// `safeupdate` is loaded for API sessions and refuses an UPDATE or DELETE without WHERE, also inside a function.
#[test]
fn every_update_and_delete_in_a_function_has_a_where() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    let bodies = "
        from pg_depend d join pg_proc p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        join pg_language l on l.oid = p.prolang
        cross join lateral (select regexp_replace(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), '--[^\\n]*', '', 'g')) b (body)
        cross join lateral regexp_split_to_table(lower(b.body), ';') as s (statement)
        cross join lateral regexp_matches(s.statement,
            '(?:^|[^a-z_])((?:update\\s+[a-z_]+\\.[a-z_]+\\M|delete\\s+from\\s+[a-z_.]+).*)', 'g') as w (words)
        where d.deptype = 'e' and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')
          and l.lanname in ('sql', 'plpgsql')";
    assert_none(
        &mut client,
        "functions with an UPDATE or DELETE without WHERE",
        &format!("select p.oid::regprocedure::text || ': ' || w.words[1] {bodies} and w.words[1] !~ '\\mwhere\\M'"),
    );
    let found: i64 = client.query_one(&format!("select count(*) {bodies}"), &[])?.get(0);
    assert!(found > 0, "the search finds no statement at all");
    Ok(())
}
