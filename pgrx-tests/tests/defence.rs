//! What must hold although somebody has been careless or worse: a schema in strange hands, a grant too many, a time zone
//! that is gone.

mod support;

use anyhow::Result;
use postgres::error::SqlState;
use serde_json::json;
use support::{Database, assert_verified, differences, id, make_tenant, text, texts};
use tollgate_tests::cluster::Cluster;
use tollgate_tests::session::{Caller, message, sqlstate};

/// An operator that fits better than pg_catalog's is taken while a script runs with its schema in the search path; ours
/// would then call it with the owner's rights.
#[test]
fn the_owner_of_a_schema_that_was_there_before_gets_nothing_into_our_objects() -> Result<()> {
    let cluster = Cluster::shared();
    cluster.create_database_without_extension("hostile_schema")?;
    let mut client = cluster.superuser("hostile_schema")?;
    client.batch_execute(
        "create role mallory;
         create schema copilot_internal authorization mallory;
         set role mallory;
         create function copilot_internal.evil(numeric, integer) returns numeric language plpgsql as $$
         begin raise exception 'called as %', current_user using errcode = 'XX001'; end $$;
         create function copilot_internal.evil_too(numeric, integer) returns boolean language plpgsql as $$
         begin raise exception 'called as %', current_user using errcode = 'XX001'; end $$;",
    )?;
    for operator in ["*", "+", "-", "/"] {
        client.batch_execute(&format!(
            "create operator copilot_internal.{operator} (leftarg = numeric, rightarg = integer, function = copilot_internal.evil)"
        ))?;
    }
    for operator in ["=", "<", ">", "<=", ">=", "<>"] {
        client.batch_execute(&format!(
            "create operator copilot_internal.{operator} (leftarg = numeric, rightarg = integer, function = copilot_internal.evil_too)"
        ))?;
    }
    client.batch_execute("reset role; create extension pg_tollgate")?;
    let tenant = id(1);
    make_tenant(&mut client, tenant)?;
    client.batch_execute("select public.set_quota('platform', null, 'all', 5, 'day')")?;
    client.execute("select public.set_model_price('p', 'm', 1, 2)", &[])?;
    let recorded: bool = client
        .query_one(
            "select recorded from public.record_llm_cost($1, 'p', 'm', 10, 10, p_conversation_id => $1, p_enforce => true)",
            &[&tenant],
        )?
        .get(0);
    assert!(recorded);
    client.batch_execute(
        "select * from copilot_internal.maintain(); select * from copilot_internal.verify();
         select * from metrics.quota_status; select * from metrics.llm_costs; select * from metrics.cost_by_user;
         select * from metrics.tenant_total_costs; select public.get_llm_cost_estimate('openai', 'gpt-4o');",
    )?;
    client.execute("select * from public.get_tenant_cost_summary($1)", &[&tenant])?;
    client.execute("select * from public.check_quota_before_operation($1, 'llm', 1)", &[&tenant])?;
    Ok(())
}

/// The grants say who may spend; the kernels say it again.
#[test]
fn a_grant_on_every_function_lets_nobody_spend() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    database
        .superuser()?
        .batch_execute("grant execute on all functions in schema public to public, anon, authenticated")?;
    let mut session = database.session()?;
    let record = json!([{ "tenant_id": tenant.to_string(), "model_provider": "p", "model_name": "m",
        "input_tokens": 1, "output_tokens": 1, "cost_usd": 1 }]);
    for caller in [Caller::anon(), Caller::user(id(0xf1), Some(tenant))] {
        for sql in [
            "select * from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)",
            "select * from public.record_e2b_cost($1, 's', 'standard', 1)",
            "select * from public.check_and_record_quota_atomic('tenant', $1, 1)",
            "select public.set_quota('tenant', $1, 'llm', 1000)",
            "select public.set_model_price('p', 'm', 0, 0, p_tenant_id => $1)",
            "select public.initialize_tenant_quotas($1)",
            "select public.set_llm_policy($1, '{}')",
            "select public.set_llm_policy($1, null)",
            "select public.create_tenant('Another', p_owner_id => $1)",
            "select public.create_personal_tenant($1, 'ann@example.com')",
            "select public.invite_member($1, $1, 'owner')",
            "select public.accept_invitation($1)",
            "select public.delete_tenant($1)",
        ] {
            session.expect_sqlstate(&caller, sql, &[&tenant], "42501");
        }
        session.expect_sqlstate(&caller, "select * from public.record_llm_costs($1)", &[&record], "42501");
        let platform = "select * from public.check_and_record_quota_atomic('platform', null, 1)";
        session.expect_sqlstate(&caller, platform, &[], "42501");
    }
    let charges = text(&mut database.superuser()?, "select count(*)::text from copilot_internal.pending_costs", &[])?;
    assert_eq!(charges, "0");
    Ok(())
}

/// Every grant there is, and the role that may write everything: what was charged stays as it is, and the kernels work.
#[test]
fn nobody_changes_the_ledger_whatever_he_was_granted() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    let mut client = database.superuser()?;
    make_tenant(&mut client, tenant)?;
    client.batch_execute(
        "create role writer; grant pg_write_all_data, pg_read_all_data to writer; create role granted bypassrls;
         grant usage on schema copilot_internal to granted, authenticated;
         grant all on all tables in schema copilot_internal to granted, service_role, authenticated;",
    )?;
    let spend = "select * from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 2, p_request_id => 'a',
         p_conversation_id => $1)";
    client.execute(spend, &[&tenant])?;
    client.batch_execute("select copilot_internal.maintain()")?;
    let tables = texts(
        &mut client,
        "select tgrelid::regclass::text from pg_trigger where tgname = 'keep_ledger' order by 1",
        &[],
    )?;
    assert_eq!(tables.len(), 10, "{tables:?}");
    let mut refused = 0;
    for role in ["writer", "granted", "service_role", "authenticated"] {
        for table in &tables {
            for sql in [
                format!("update {table} set tenant_id = tenant_id"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("with gone as (delete from {table} returning 1) select count(*) from gone"),
            ] {
                // Nobody is granted TRUNCATE by pg_write_all_data.
                let error = client.batch_execute(&format!("begin; set local role {role}; {sql}")).unwrap_err();
                client.batch_execute("rollback")?;
                assert_eq!(sqlstate(&error), "42501", "{role}: {sql}: {}", message(&error));
                refused += usize::from(message(&error).contains("never changed"));
            }
        }
    }
    println!("{refused} changes of the ledger refused by its trigger");
    assert_eq!(refused, 4 * tables.len() * 4 - tables.len());
    // What the functions do goes on.
    let mut session = database.session()?;
    let id: uuid::Uuid = session.value(
        &Caller::service(),
        "select cost_record_id from public.record_llm_cost($1, 'p', 'm', 1, 1,
         p_cost_usd => 2)",
        &[&tenant],
    )?;
    session.value::<uuid::Uuid>(&Caller::service(), "select refund_id from public.refund_cost($1, 1, 'r')", &[&id])?;
    let hold = "select reservation_id from public.reserve_quota($1, 'llm', 1, 'h')";
    let hold: uuid::Uuid = session.value(&Caller::service(), hold, &[&tenant])?;
    session.value::<bool>(
        &Caller::service(),
        "select allowed from public.extend_reservation($1, '1 hour', 1)",
        &[&hold],
    )?;
    session.value::<String>(&Caller::service(), "select status from public.commit_reservation($1, 1)", &[&hold])?;
    session.value::<i64>(&Caller::service(), "select sum(done)::bigint from copilot_internal.maintain()", &[])?;
    assert_verified(&mut client);
    // The superuser repairs what has to be repaired.
    client.batch_execute("delete from copilot_internal.cost_rollups where true")?;
    assert!(!differences(&mut client)?.is_empty());
    Ok(())
}

/// Distributions drop names from their time zone data. A quota made before must not stop costs from being recorded.
#[test]
fn a_time_zone_that_is_gone_stops_nothing() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    let mut client = database.superuser()?;
    make_tenant(&mut client, tenant)?;
    client.batch_execute(
        "alter table copilot_internal.cost_quotas drop constraint cost_quotas_time_zone_check;
         insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, limit_usd, period, time_zone)
         select 'tenant', id, 'llm', 1, 'day', 'US/Gone' from copilot_internal.tenants",
    )?;
    let mut spend = |usd: &str| -> Result<bool> {
        let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1,
            p_cost_usd => $2::text::numeric, p_enforce => true)";
        Ok(client.query_one(sql, &[&tenant, &usd])?.get(0))
    };
    // Its limit holds, in UTC's days.
    assert_eq!((spend("0.6")?, spend("0.6")?), (true, false));
    let sql = "select period_start = date_trunc('day', clock_timestamp(), 'UTC') from metrics.quota_status
        where period = 'day'";
    assert!(client.query_one(sql, &[])?.get::<_, bool>(0));
    Ok(())
}

/// Text is handled as UTF-8, so a database of another encoding is refused whole and not later, by call.
#[test]
fn another_encoding_is_refused() -> Result<()> {
    let cluster = Cluster::shared();
    cluster
        .superuser("postgres")?
        .batch_execute("create database latin encoding 'LATIN1' locale 'C' template template0")?;
    let error = cluster.superuser("latin")?.batch_execute("create extension pg_tollgate").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{}", message(&error));
    assert_eq!(sqlstate(&error), "0A000");
    Ok(())
}
