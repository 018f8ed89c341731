//! What the settings allow and deny, and which roles may set them.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::session::{Caller, sqlstate};

use crate::calls::{CHECK, E2B, LLM, call, prepared};
use crate::support::{assert_verified, id, preloaded};

#[test]
fn the_settings_are_the_superuser_s_and_do_what_they_say() -> Result<()> {
    let (database, mut session) = prepared()?;
    // Their ranks are known once the library is loaded, which the first call does.
    session.request(&Caller::service(), |tx| tx.query(&call("has_quota", CHECK, &[]), &[]))?;
    for (setting, values) in
        [("no_quota", ["allow", "deny"]), ("unpriced", ["allow", "deny"]), ("tenants_per_user", ["0", "7"])]
    {
        for value in values {
            for statement in [
                format!("set pg_tollgate.{setting} = '{value}'"),
                format!("set local pg_tollgate.{setting} = '{value}'"),
                format!("select set_config('pg_tollgate.{setting}', '{value}', true)"),
            ] {
                for caller in [Caller::service(), Caller::anon(), Caller::user(id(9), None)] {
                    session.expect_sqlstate(&caller, &statement, &[], "42501");
                }
                let mut postgres = database.cluster.connect(&database.name, "postgres")?;
                postgres.batch_execute(&call("has_quota", CHECK, &[]))?;
                match postgres.batch_execute(&format!("begin; {statement}; rollback")) {
                    Ok(()) => panic!("postgres may: {statement}"),
                    Err(error) => assert_eq!(sqlstate(&error), "42501", "{statement}"),
                }
            }
        }
    }
    let mut client = database.superuser()?;
    client.batch_execute(&call("has_quota", CHECK, &[]))?;
    match client.batch_execute("set pg_tollgate.no_such = 1") {
        Ok(()) => panic!("a misspelt setting is taken"),
        Err(error) => assert_eq!(sqlstate(&error), "42602"),
    }
    // A tenant without a row has no quota, not even a default one.
    let stray = "'00000000-0000-0000-0000-000000000077'";
    let check = call("check_quota_before_operation", CHECK, &[("p_tenant_id", stray)]);
    let answer = |client: &mut Client| -> Result<(bool, String)> {
        let row = client.query_one(&check, &[])?;
        Ok((row.get("allowed"), row.get("status")))
    };
    assert_eq!(answer(&mut client)?, (false, "NO_TENANT".to_string()));
    client.batch_execute("set pg_tollgate.unknown_tenant = 'allow'")?;
    assert_eq!(answer(&mut client)?, (true, "NO_QUOTA".to_string()));
    client.batch_execute("set pg_tollgate.no_quota = 'deny'")?;
    assert_eq!(answer(&mut client)?, (false, "NO_QUOTA".to_string()));
    assert!(!client.query_one(&call("has_quota", CHECK, &[("p_tenant_id", stray)]), &[])?.get::<_, bool>(0));
    let enforced = call("record_llm_cost", LLM, &[("p_tenant_id", stray), ("p_enforce", "true")]);
    assert!(!client.query_one(&enforced, &[])?.get::<_, bool>("recorded"));
    let after_the_fact = call("record_llm_cost", LLM, &[("p_tenant_id", stray)]);
    assert!(client.query_one(&after_the_fact, &[])?.get::<_, bool>("recorded"));
    client.batch_execute("reset pg_tollgate.no_quota")?;
    assert!(client.query_one(&enforced, &[])?.get::<_, bool>("recorded"));
    assert_verified(&mut client);
    Ok(())
}

/// Before the library is loaded, Postgres lets any role set a name that it does not know. That must weaken nothing.
/// Where it is preloaded, the name is known and refused.
#[test]
fn a_setting_made_before_the_library_is_loaded_weakens_nothing() -> Result<()> {
    let (database, _session) = prepared()?;
    let name = &database.name;
    database.superuser()?.batch_execute(&format!("alter database \"{name}\" set pg_tollgate.no_quota = 'deny'"))?;
    let stray =
        call("check_quota_before_operation", CHECK, &[("p_tenant_id", "'00000000-0000-0000-0000-000000000077'")]);
    let unpriced = call("record_llm_cost", LLM, &[("p_model_name", "'of-tomorrow'"), ("p_enforce", "true")]);
    let known = preloaded(&mut database.superuser()?)?;
    let settings = [("set pg_tollgate.no_quota = 'allow'", &stray), ("set pg_tollgate.unpriced = 'allow'", &unpriced)];
    for (statement, query) in settings {
        let mut fresh = database.session()?;
        if known {
            fresh.expect_sqlstate(&Caller::service(), statement, &[], "42501");
            continue;
        }
        let allowed = fresh.request(&Caller::service(), |tx| {
            tx.batch_execute(statement)?;
            Ok(tx.query_one(query, &[])?.get::<_, bool>(0))
        })?;
        assert!(!allowed, "{statement}");
    }
    Ok(())
}

#[test]
fn what_has_no_price_is_refused_before_and_recorded_after() -> Result<()> {
    let (database, _session) = prepared()?;
    let mut client = database.superuser()?;
    let cases = [
        call("record_llm_cost", LLM, &[("p_model_name", "'of-tomorrow'")]),
        // A price without a rate for what was used is no price.
        call("record_e2b_cost", E2B, &[("p_sandbox_type", "'of-tomorrow'")]),
    ];
    for (number, sql) in (1..).zip(&cases) {
        let enforced = sql.replace(")", ", p_enforce => true)");
        let row = client.query_one(&enforced, &[])?;
        assert_eq!(
            (row.get::<_, bool>("recorded"), row.get::<_, &str>("cost_status")),
            (false, "unpriced"),
            "{enforced}"
        );
        assert!(row.get::<_, &str>("reason").contains("no price is known"), "{}", row.get::<_, &str>("reason"));
        let row = client.query_one(sql, &[])?;
        assert_eq!((row.get::<_, bool>("recorded"), row.get::<_, &str>("cost_status")), (true, "unpriced"), "{sql}");
        client.batch_execute("set pg_tollgate.unpriced = 'allow'")?;
        assert!(client.query_one(&enforced, &[])?.get::<_, bool>("recorded"));
        client.batch_execute("reset pg_tollgate.unpriced")?;
        let sql = "select count(*) filter (where cost_usd is null), count(*) from copilot_internal.ledger_lines";
        let row = client.query_one(sql, &[])?;
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2 * number, 2 * number));
    }
    // Unknown is not free: the sum of nothing known is NULL, and the unknown ones are counted.
    let shown = client.query_one("select total_cost is null, unpriced_count::bigint from metrics.llm_costs", &[])?;
    assert_eq!((shown.get::<_, bool>(0), shown.get::<_, i64>(1)), (true, 2));
    let estimate =
        "select estimated_cost_usd is null, pricing_found from public.estimate_llm_cost('openai', 'of-tomorrow', 1, 1)";
    let row = client.query_one(estimate, &[])?;
    assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), (true, false));
    assert_verified(&mut client);
    Ok(())
}

/// Postgres warns of it once, in the log, and goes on with the default, which may be weaker than what was meant.
#[test]
fn a_mistake_in_the_configuration_file_weakens_nothing() -> Result<()> {
    let weak = [("pg_tollgate.unknown_tenant", "allow"), ("pg_tollgate.enforcement", "off")];
    let mistakes =
        [("pg_tollgate.no_quota", "denyy"), ("pg_tollgate.no_qouta", "deny"), ("pg_tollgate.quota_entries", "512")];
    for (name, value) in mistakes {
        let settings = [&weak[..], &[(name, value)]].concat();
        let extra_conf = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let cluster = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?;
        let mut client = cluster.superuser(&cluster.fresh_database()?)?;
        let stray = "'00000000-0000-0000-0000-000000000077'";
        let mut ask =
            |function: &str, arguments: &[_], more: &[(&str, &str)], column: &str| -> Result<(bool, String)> {
                let more = [&[("p_tenant_id", stray)], more].concat();
                let row = client.query_one(&call(function, arguments, &more), &[])?;
                Ok((row.get(column), row.get::<_, Option<String>>("reason").unwrap_or_default()))
            };
        let (allowed, reason) = ask("check_quota_before_operation", CHECK, &[], "allowed")?;
        let (enforced, _) = ask("record_llm_cost", LLM, &[("p_enforce", "true")], "recorded")?;
        let (recorded, after_the_fact) = ask("record_llm_cost", LLM, &[], "recorded")?;
        assert!(recorded, "{name}");
        // The library asks for this one where it is preloaded, and nobody knows it otherwise.
        let is_mistake = value != "512";
        assert_eq!((allowed, enforced), (!is_mistake, !is_mistake), "{name}: {reason}");
        for reason in [reason, after_the_fact] {
            assert_eq!(reason.contains(&format!("{name} is no valid setting")), is_mistake, "{name}: {reason}");
        }
    }
    Ok(())
}

/// Before the server loads the library, a superuser may store any name and value for a database or a role. Sessions that
/// begin afterwards warn of it in the log.
#[test]
fn a_mistake_that_was_stored_before_the_library_weakens_nothing() -> Result<()> {
    let extra_conf = vec![("pg_tollgate.unknown_tenant".to_string(), "allow".to_string())];
    let cluster = Cluster::start(ClusterOptions { preload: false, extra_conf, ..ClusterOptions::default() })?;
    let stray = "'00000000-0000-0000-0000-000000000077'";
    let check = call("check_quota_before_operation", CHECK, &[("p_tenant_id", stray)]);
    // The role that it is stored for, and whether it is a mistake.
    let stored = [
        ("alter database {d} set pg_tollgate.no_quota = 'denyy'", true),
        ("alter database {d} set pg_tollgate.no_qouta = 'deny'", true),
        ("alter role all set \"PG_Tollgate.no_qouta\" = 'deny'", true),
        ("alter role postgres_stray in database {d} set pg_tollgate.no_qouta = 'deny'", false),
        ("alter database {d} set pg_tollgate.tenants_per_user = 7", false),
        ("alter database {d} set pg_tollgate.quota_entries = 512", false),
    ];
    let mut databases = Vec::new();
    for (statement, is_mistake) in stored {
        let name = cluster.fresh_database()?;
        let mut client = cluster.superuser(&name)?;
        client.batch_execute(
            "do $$ begin create role postgres_stray; exception when duplicate_object then null; end $$",
        )?;
        databases.push((name, statement, is_mistake));
    }
    for (name, statement, is_mistake) in &databases {
        cluster.configure_preload(false)?;
        cluster.restart()?;
        cluster.superuser(name)?.batch_execute(&statement.replace("{d}", &format!("\"{name}\"")))?;
        cluster.configure_preload(true)?;
        cluster.restart()?;
        let mut client = cluster.superuser(name)?;
        let row = client.query_one(&check, &[])?;
        let reason = row.get::<_, Option<String>>("reason").unwrap_or_default();
        assert_eq!(row.get::<_, bool>("allowed"), !is_mistake, "{statement}: {reason}");
        assert_eq!(reason.contains("no valid setting"), *is_mistake, "{statement}: {reason}");
        client.batch_execute("alter role all reset all")?;
        client.batch_execute(&format!("alter database \"{name}\" reset all"))?;
        assert!(cluster.superuser(name)?.query_one(&check, &[])?.get::<_, bool>("allowed"), "{statement}");
    }
    Ok(())
}
