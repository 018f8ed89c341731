//! The same request, sent again and again, by several at once.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::charger::{LEVELS, Way, connect, race};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, limit, make_tenant};

const SESSIONS: usize = 8;

/// Charges a dollar under a request id; whether it was admitted, whether it was a replay, and the record's id.
fn send(
    client: &mut Client,
    level: postgres::IsolationLevel,
    way: Way,
    tenant: Uuid,
    request: &str,
) -> Result<(bool, bool, Option<Uuid>)> {
    let sql = way.charge(tenant, None, "1", &format!(", p_request_id => '{request}'"));
    let sql = match way {
        // This one does not say; the ledger does.
        Way::Bare => sql.replace("select allowed", "select allowed, null::boolean, null::uuid"),
        _ => sql.replace("select recorded", "select recorded, replayed, cost_record_id"),
    };
    for _ in 0..500 {
        let mut attempt = || {
            let mut transaction = client.build_transaction().isolation_level(level).start()?;
            let row = transaction.query_one(&sql, &[])?;
            transaction.commit()?;
            Ok((row.get(0), row.get::<_, Option<bool>>(1).unwrap_or_default(), row.get(2)))
        };
        match attempt() {
            Err(error) if sqlstate(&error) == "40001" => {}
            other => return other.map_err(|error: postgres::Error| error.into()),
        }
    }
    anyhow::bail!("500 serialization failures in a row")
}

/// There is room for one only, so any but the first would be refused if it were not known as its duplicate.
#[test]
fn duplicates_have_one_effect_and_are_never_refused() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    let mut number = 0;
    for way in [Way::Llm, Way::E2b, Way::Bare] {
        for level in LEVELS {
            number += 1;
            let tenant = id(number);
            make_tenant(&mut database.superuser()?, tenant)?;
            limit(&mut database.superuser()?, tenant, way.resource(), "1")?;
            let answers = race(&database, SESSIONS, |_, client| send(client, level, way, tenant, "the same"))?;
            let case = format!("{way:?} at {level:?}: {answers:?}");
            assert!(answers.iter().all(|answer| answer.0), "{case}");
            assert!(answers.iter().all(|answer| answer.2 == answers[0].2), "{case}");
            if way != Way::Bare {
                assert_eq!(answers.iter().filter(|answer| answer.1).count(), SESSIONS - 1, "{case}");
            }
            assert_eq!(charged_nanos(&mut server, tenant)?, USD, "{case}");
            // Another id is another operation, for which there is no room.
            assert!(!send(&mut server, level, way, tenant, "another")?.0, "{case}");
        }
    }
    assert_verified(&mut server);
    Ok(())
}

/// The duplicate that rolls back leaves nothing; the next one is the first.
#[test]
fn a_duplicate_of_a_rolled_back_request_is_the_first() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    limit(&mut database.superuser()?, tenant, "llm", "1")?;
    let mut gone = connect(&database)?;
    gone.batch_execute("begin")?;
    gone.query_one(&Way::Llm.charge(tenant, None, "1", ", p_request_id => 'r'"), &[])?;
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| send(&mut connect(&database)?, LEVELS[0], Way::Llm, tenant, "r"));
        crate::charger::wait_until_blocked(&database, 1)?;
        gone.batch_execute("rollback")?;
        second.join().unwrap_or_else(|_| anyhow::bail!("the second session panicked"))
    })?;
    assert!(second.0 && !second.1, "{second:?}");
    // A denial is not remembered: the same id may try again once there is room.
    assert!(!send(&mut gone, LEVELS[0], Way::Llm, tenant, "later")?.0);
    limit(&mut database.superuser()?, tenant, "llm", "2")?;
    let retried = send(&mut gone, LEVELS[0], Way::Llm, tenant, "later")?;
    assert!(retried.0 && !retried.1, "{retried:?}");
    assert_eq!(charged_nanos(&mut database.superuser()?, tenant)?, 2 * USD);
    Ok(())
}

/// Each argument that is money or attribution makes another request of it; what describes the call does not.
#[test]
fn the_same_id_with_other_content_is_refused() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    let mut client = connect(&database)?;
    let llm = |change: &str| {
        let mut arguments = vec![
            ("p_tenant_id", format!("'{tenant}'")),
            ("p_model_provider", "'openai'".to_string()),
            ("p_model_name", "'gpt-4o'".to_string()),
            ("p_input_tokens", "100".to_string()),
            ("p_output_tokens", "10".to_string()),
            ("p_request_id", "'r'".to_string()),
        ];
        if let Some((name, value)) = change.split_once(" => ") {
            arguments.retain(|(known, _)| *known != name);
            arguments.push((name, value.to_string()));
        }
        let list: Vec<String> = arguments.iter().map(|(name, value)| format!("{name} => {value}")).collect();
        format!("select replayed from public.record_llm_cost({})", list.join(", "))
    };
    assert!(!client.query_one(&llm(""), &[])?.get::<_, bool>(0));
    for same in ["", "p_metadata => '{\"a\": 1}'", "p_trace_id => 't'", "p_span_id => 's'", "p_enforce => true"] {
        assert!(client.query_one(&llm(same), &[])?.get::<_, bool>(0), "{same}");
    }
    for other in [
        "p_model_provider => 'azure'",
        "p_model_name => 'gpt-4o-mini'",
        "p_input_tokens => 101",
        "p_output_tokens => 11",
        "p_user_id => '00000000-0000-0000-0000-0000000000f1'",
        "p_conversation_id => '00000000-0000-0000-0000-0000000000f1'",
        "p_path_id => '00000000-0000-0000-0000-0000000000f1'",
        "p_task => 'another'",
        "p_usage => '{\"cache_read_input_tokens\": 1}'",
        "p_service_tier => 'flex'",
        "p_cost_usd => 0.00035",
        "p_occurred_at => '2020-01-01'",
    ] {
        match client.query_one(&llm(other), &[]) {
            Ok(row) => panic!("{other}: replayed = {}", row.get::<_, bool>(0)),
            Err(error) => assert_eq!(sqlstate(&error), "23505", "{other}: {error}"),
        }
    }
    // Ids are unique per tenant and function.
    for free in [
        "select replayed from public.record_e2b_cost($1, 's', 'standard', 1, p_request_id => 'r')",
        "select not allowed from public.check_and_record_quota_atomic('tenant', $1, 1, 'llm', null, 'r')",
    ] {
        assert!(!client.query_one(free, &[&tenant])?.get::<_, bool>(0), "{free}");
    }
    for (way, other) in [
        ("public.record_e2b_cost($1, 's', 'standard', 2, p_request_id => 'r')", "23505"),
        ("public.check_and_record_quota_atomic('tenant', $1, 2, 'llm', null, 'r')", "23505"),
        ("public.check_and_record_quota_atomic('tenant', $1, 1, 'e2b', null, 'r')", "23505"),
    ] {
        match client.query(&format!("select * from {way}"), &[&tenant]) {
            Ok(_) => panic!("{way} is taken for the same"),
            Err(error) => assert_eq!(sqlstate(&error), other, "{way}: {error}"),
        }
    }
    assert_verified(&mut client);
    Ok(())
}
