//! A counter belongs to one database, one installation and one life of a quota: no other meets it.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, once_unused};

use crate::servers::{assert_exact, charge, connect, counter, fresh, server, start};
use crate::support::{USD, charged_nanos, id, limit, make_tenant};

/// A copy has the quotas, their ids, the ledger and even its oid. It goes on from what was spent, for itself.
#[test]
fn a_copy_of_a_database_counts_for_itself() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut client = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    assert!(charge(&mut client, tenant, "0.3")?);
    drop(client);
    let copy = format!("{}_copy", database.name);
    let sql = format!("create database {copy} template {}", database.name);
    once_unused(&mut database.cluster.superuser("postgres")?, &sql)?;
    let mut original = connect(&database)?;
    let mut copy = server(database.cluster, &copy)?;
    assert_exact(&mut original, tenant, 1);
    assert_exact(&mut copy, tenant, 1);
    assert!(charge(&mut copy, tenant, "0.7")?);
    assert!(charge(&mut original, tenant, "0.6")?);
    assert_exact(&mut original, tenant, 1);
    assert_exact(&mut copy, tenant, 1);
    Ok(())
}

/// Everything that names a counter comes back: the oid of the database, of the ledger, the id of the quota, the period.
/// Each round finds a table with stale counters of the last one.
#[test]
fn a_database_with_the_oid_of_a_dropped_one_starts_from_its_own_tables() -> Result<()> {
    let cluster = start(&[])?;
    let tenant = id(1);
    let source = cluster.fresh_database()?;
    let mut client = server(&cluster, &source)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    drop(client);
    for round in 0..3 {
        let mut admin = cluster.superuser("postgres")?;
        once_unused(&mut admin, &format!("create database reborn oid = 70000 template {source}"))?;
        let mut client = server(&cluster, "reborn")?;
        assert_exact(&mut client, tenant, 1);
        assert!(charge(&mut client, tenant, "0.75")?, "round {round}");
        assert!(!charge(&mut client, tenant, "0.000000001")?);
        match round {
            0 => {
                drop(client);
                once_unused(&mut admin, "drop database reborn")?;
            }
            // With a charge in flight, whose session is ended.
            _ => {
                client.batch_execute("begin; select public.record_llm_cost('00000000-0000-0000-0000-000000000001', 'p', 'm', 1, 1, p_cost_usd => 1)")?;
                once_unused(&mut admin, "drop database reborn with (force)")?;
            }
        }
    }
    Ok(())
}

fn install(client: &mut Client) -> Result<()> {
    client.batch_execute(
        "reset role; create extension pg_tollgate;
         insert into copilot_internal.tenants (id, name) values ('00000000-0000-0000-0000-000000000001', 't');
         insert into copilot_internal.cost_quotas (id, scope, scope_id, resource_type, limit_usd, period)
         values ('00000000-0000-0000-0000-0000000000c1', 'tenant', '00000000-0000-0000-0000-000000000001', 'llm', 1, 'lifetime')",
    )?;
    Ok(())
}

/// The quota has its old id again, and a ledger that has nothing.
#[test]
fn an_extension_that_is_dropped_and_created_starts_from_nothing() -> Result<()> {
    let database = fresh()?;
    let name = format!("{}_again", database.name);
    database.cluster.create_database_without_extension(&name)?;
    let tenant = id(1);
    let mut client = database.cluster.superuser(&name)?;
    let mut other = database.cluster.superuser(&name)?;
    install(&mut client)?;
    for round in 0..4 {
        assert_eq!(charged_nanos(&mut client, tenant)?, 0);
        assert_exact(&mut other, tenant, 1);
        assert!(charge(&mut client, tenant, "0.75")?, "round {round}");
        assert!(!charge(&mut other, tenant, "0.5")?);
        match round {
            0 => {
                client.batch_execute("drop extension pg_tollgate")?;
                install(&mut client)?;
            }
            1 => {
                client.batch_execute("begin; drop extension pg_tollgate")?;
                install(&mut client)?;
                client.batch_execute("commit")?;
            }
            // Dropped, but not in the end.
            2 => {
                client.batch_execute("begin; drop extension pg_tollgate")?;
                install(&mut client)?;
                assert!(charge(&mut client, tenant, "1")?);
                client.batch_execute("rollback")?;
                assert_eq!(charged_nanos(&mut client, tenant)?, 750_000_000);
                assert_exact(&mut client, tenant, 1);
                assert_exact(&mut other, tenant, 1);
                break;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A server whose table holds counters of many databases.
#[test]
fn databases_do_not_see_each_other_s_counters_or_transactions() -> Result<()> {
    let cluster: Cluster = start(&[])?;
    let names = (0..3).map(|_| cluster.fresh_database()).collect::<Result<Vec<_>>>()?;
    let mut clients = names.iter().map(|name| server(&cluster, name)).collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        make_tenant(client, id(1))?;
        limit(client, id(1), "llm", "1")?;
        client.batch_execute("begin")?;
        assert!(charge(client, id(1), "1")?);
        assert_eq!(crate::servers::pending(client)?.len(), 1);
    }
    // A quota that is new in one waits for the transactions of that one alone.
    let mut fourth = server(&cluster, &names[0])?;
    clients[0].batch_execute("commit")?;
    limit(&mut fourth, id(1), "all", "2")?;
    fourth.batch_execute("set lock_timeout = '60s'")?;
    assert!(!charge(&mut fourth, id(1), "1")?);
    for client in &mut clients[1..] {
        client.batch_execute("commit")?;
        assert_eq!(charged_nanos(client, id(1))?, USD);
    }
    Ok(())
}

/// What a database does with its definitions is its own: others load counters meanwhile, and cannot wait for it.
#[test]
fn definitions_that_change_in_a_database_hold_up_no_other() -> Result<()> {
    const CHANGE: &str =
        "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('new', 'e2b', 1)";
    let cluster: Cluster = start(&[])?;
    let (changed, quiet) = (cluster.fresh_database()?, cluster.fresh_database()?);
    let mut other = cluster.superuser(&changed)?;
    make_tenant(&mut other, id(1))?;
    let mut client = server(&cluster, &quiet)?;
    make_tenant(&mut client, id(1))?;
    limit(&mut client, id(1), "llm", "1")?;
    for sql in [
        // Every partition is changed, and two are closed.
        &format!(
            "{CHANGE}; select public.set_quota('platform', null, 'llm', 1, 'lifetime');
             select public.check_and_record_quota_atomic('tenant', '{}', 0.5, 'llm')",
            id(1)
        ),
        "insert into copilot_internal.tenants (id, name) select gen_random_uuid(), 'many' from generate_series(1, 500)",
    ] {
        other.batch_execute(&format!("begin; {sql}"))?;
        // Loads the counter, as its quota is changed again each time; and then decides from the tables.
        let mut cold = cluster.superuser(&quiet)?;
        cold.batch_execute("set lock_timeout = '20s'")?;
        limit(&mut cold, id(1), "all", "1")?;
        assert!(charge(&mut cold, id(1), "0.125")?, "{sql}");
        cold.batch_execute(&format!("begin; {CHANGE}"))?;
        assert!(charge(&mut cold, id(1), "0.125")?, "{sql}");
        cold.batch_execute("rollback")?;
        other.batch_execute("commit")?;
    }
    assert!(charge(&mut client, id(1), "0.125")?);
    let loads = counter(&mut client, "loads")?;
    other.batch_execute(&CHANGE.replace("new", "newer"))?;
    assert!(charge(&mut client, id(1), "0.125")?);
    assert_eq!(counter(&mut client, "loads")?, loads, "what changed there moves no epoch here");
    assert_exact(&mut client, id(1), 1);
    Ok(())
}
