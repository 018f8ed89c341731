//! Quotas that come and go while charges are made, in the same transaction and in others.

use anyhow::Result;
use postgres::Client;
use uuid::Uuid;

use crate::servers::{assert_exact, charge, connect, fresh, quota_figures, server, start, while_blocked};
use crate::support::{Database, USD, charged_nanos, id, limit, make_tenant};

const QUOTA: &str = "00000000-0000-0000-0000-0000000000c1";

fn prepared() -> Result<(Database, Client, Client, Uuid)> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let other = connect(&database)?;
    make_tenant(&mut client, id(1))?;
    create(&mut client, "1")?;
    Ok((database, client, other, id(1)))
}

/// Always the same id, which the counters are known by.
fn create(client: &mut Client, usd: &str) -> Result<()> {
    client.batch_execute(&format!(
        "insert into copilot_internal.cost_quotas (id, scope, scope_id, resource_type, limit_usd, period)
         values ('{QUOTA}', 'tenant', '{}', 'llm', {usd}, 'lifetime')",
        id(1)
    ))?;
    Ok(())
}

const REMOVE: &str = "delete from copilot_internal.cost_quotas where scope = 'tenant'";

#[test]
fn a_quota_that_comes_back_counts_what_was_spent_without_it() -> Result<()> {
    let (_database, mut client, mut other, tenant) = prepared()?;
    assert!(charge(&mut client, tenant, "0.25")?);
    // In different transactions, with a charge in between that only the default has seen.
    client.batch_execute(REMOVE)?;
    assert!(charge(&mut other, tenant, "0.25")?);
    create(&mut client, "1")?;
    assert_exact(&mut other, tenant, 1);
    assert_exact(&mut client, tenant, 1);
    // In one transaction.
    client.batch_execute("begin")?;
    client.batch_execute(REMOVE)?;
    create(&mut client, "2")?;
    client.batch_execute("commit")?;
    assert_exact(&mut other, tenant, 2);
    // In one that charges: before, in between and after.
    client.batch_execute("begin")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    client.batch_execute(REMOVE)?;
    assert!(charge(&mut client, tenant, "0.25")?);
    create(&mut client, "3")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    assert!(!charge(&mut client, tenant, "1.750000001")?);
    client.batch_execute("commit")?;
    assert_eq!(charged_nanos(&mut client, tenant)?, 1_250_000_000);
    assert_exact(&mut other, tenant, 3);
    assert_exact(&mut client, tenant, 3);
    Ok(())
}

#[test]
fn a_quota_whose_creation_is_rolled_back_leaves_nothing() -> Result<()> {
    let (_database, mut client, mut other, tenant) = prepared()?;
    client.batch_execute(REMOVE)?;
    for part in [false, true] {
        client.batch_execute(if part { "begin; savepoint s" } else { "begin" })?;
        create(&mut client, "1.5")?;
        assert!(charge(&mut client, tenant, "0.5")?);
        assert!(!charge(&mut client, tenant, "1.000000001")?, "its own quota binds it");
        client.batch_execute(if part { "rollback to s" } else { "rollback" })?;
        assert!(charge(&mut client, tenant, "1")?, "only the default is left");
        if part {
            assert!(charge(&mut client, tenant, "1")?);
            client.batch_execute("commit")?;
        }
    }
    assert_eq!(charged_nanos(&mut other, tenant)?, 3 * USD);
    create(&mut client, "4")?;
    assert_exact(&mut other, tenant, 4);
    Ok(())
}

/// A default has no row and an id of its own. It goes out of force and comes back by the tenant's own quota, by the
/// operator's row, and by another plan.
#[test]
fn a_default_that_is_exposed_again_counts_what_was_charged_meanwhile() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut client = connect(&database)?;
    let mut other = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    assert!(charge(&mut other, tenant, "40")?);
    let own = format!(
        "insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, limit_usd, period)
         values ('tenant', '{tenant}', 'llm', 1000, 'month')"
    );
    let changes = [
        (own.as_str(), REMOVE),
        (
            "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('llm', 1000)",
            "delete from copilot_internal.default_quotas where true",
        ),
        (
            "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('gold', 'llm', 1000);
             update copilot_internal.tenants set plan = 'gold' where true",
            "update copilot_internal.tenants set plan = 'free' where true",
        ),
    ];
    for (number, (instead, back)) in (0..).zip(changes) {
        let spent = 40 + number * 20;
        assert_eq!(quota_figures(&mut other, tenant)?, (spent * USD, 0), "{instead}");
        client.batch_execute(instead)?;
        assert!(charge(&mut other, tenant, "20")?, "{instead}");
        client.batch_execute(back)?;
        assert_exact(&mut other, tenant, 100);
        assert_exact(&mut client, tenant, 100);
    }
    assert!(!charge(&mut other, tenant, "0.000000001")?, "all of the default's 100 are spent");
    Ok(())
}

/// A transaction that changes which quotas exist and charges has its tenants to itself.
#[test]
fn a_transaction_that_creates_a_quota_and_charges_is_waited_for_and_waits() -> Result<()> {
    let (database, mut client, mut other, tenant) = prepared()?;
    // Others are in flight: it waits for them, and then counts them.
    other.batch_execute("begin")?;
    assert!(charge(&mut other, tenant, "0.25")?);
    let (cluster, name) = (database.cluster, database.name.as_str());
    let refused = while_blocked(
        cluster,
        name,
        |creator| {
            creator.batch_execute("begin")?;
            limit(creator, tenant, "all", "0.5")?;
            let refused = !charge(creator, tenant, "0.3")?;
            assert!(charge(creator, tenant, "0.25")?);
            creator.batch_execute("commit")?;
            Ok(refused)
        },
        || Ok(other.batch_execute("commit")?),
    )?;
    assert!(refused, "it did not count what was in flight");
    assert!(!charge(&mut other, tenant, "0.000000001")?, "the new quota is used up");
    // It is in flight: others wait for it. When it has not happened, nor has its quota.
    client.batch_execute("delete from copilot_internal.cost_quotas where resource_type = 'all'")?;
    for (period, usd, ending) in [("year", "0.75", "rollback"), ("week", "0.8", "commit")] {
        client.batch_execute("begin")?;
        let sql = "select public.set_quota('tenant', $1, 'all', $2::text::numeric, $3)";
        client.execute(sql, &[&tenant, &usd, &period])?;
        assert!(charge(&mut client, tenant, "0.05")?);
        let admitted = while_blocked(
            cluster,
            name,
            |client| Ok(charge(client, tenant, "0.25")?),
            || Ok(client.batch_execute(ending)?),
        )?;
        assert_eq!(admitted, ending == "rollback");
    }
    assert_eq!(charged_nanos(&mut client, tenant)?, 800_000_000);
    assert!(!charge(&mut other, tenant, "0.000000001")?, "the second quota is used up");
    Ok(())
}

/// Until it commits a change of definitions concerns its own transaction alone, whosever quotas it changes.
#[test]
fn an_open_change_of_quotas_keeps_no_first_charge_waiting() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let mut other = connect(&database)?;
    other.batch_execute("set lock_timeout = '5s'")?;
    for number in 1..=4 {
        make_tenant(&mut client, id(number))?;
    }
    let changes = [
        "select public.set_quota('tenant', '00000000-0000-0000-0000-000000000001', 'llm', 2, 'lifetime')",
        "select public.set_quota('platform', null, 'llm', 20)",
        "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('all', 30)",
        "update copilot_internal.tenants set plan = 'gold' where true",
    ];
    for (number, change) in (1..).zip(changes) {
        client.batch_execute(&format!("begin; {change}"))?;
        assert!(charge(&mut other, id(number), "1")?, "{change}");
        client.batch_execute("commit")?;
        assert!(charge(&mut other, id(number), "1")?, "{change}");
    }
    assert_exact(&mut other, id(1), 2);
    assert!(!charge(&mut other, id(2), "12.000000001")?, "the platform's quota counts all");
    Ok(())
}

/// A quota made by another session is met in mid-transaction: its counter has what the transaction charged before, and
/// loses it again part by part.
#[test]
fn a_counter_that_is_loaded_in_mid_transaction_gives_back_what_was_charged_before() -> Result<()> {
    // A server of its own. On the shared one others change defaults, which moves the epochs of all. A check that would
    // have to wait tells only what is committed.
    let cluster = start(&[])?;
    let database = cluster.fresh_database()?;
    let (mut client, mut other) = (server(&cluster, &database)?, server(&cluster, &database)?);
    let tenant = id(1);
    make_tenant(&mut client, tenant)?;
    create(&mut client, "1")?;
    for (period, ending) in [("year", "rollback"), ("lifetime", "commit")] {
        client.batch_execute("begin")?;
        assert!(charge(&mut client, tenant, "0.1")?);
        client.batch_execute("savepoint a")?;
        assert!(charge(&mut client, tenant, "0.1")?);
        other.execute("select public.set_quota('tenant', $1, 'all', 0.9, $2)", &[&tenant, &period])?;
        client.batch_execute("savepoint b")?;
        assert!(charge(&mut client, tenant, "0.1")?);
        let held = |client: &mut Client| -> Result<i64> { Ok(quota_figures(client, tenant)?.1) };
        assert_eq!(held(&mut other)?, 300_000_000);
        assert!(!charge(&mut other, tenant, "0.600000001")?);
        client.batch_execute("rollback to b")?;
        assert_eq!(held(&mut other)?, 200_000_000, "only what was charged since the savepoint is free");
        client.batch_execute("rollback to a")?;
        assert_eq!(held(&mut other)?, 100_000_000);
        assert!(!charge(&mut other, tenant, "0.800000001")?);
        client.batch_execute(ending)?;
        assert_eq!(charged_nanos(&mut client, tenant)?, if ending == "commit" { 100_000_000 } else { 0 });
        other.batch_execute("begin")?;
        let left = if ending == "commit" { "0.8" } else { "0.9" };
        assert!(!charge(&mut other, tenant, &format!("{left}00000001"))?, "after {ending}");
        assert!(charge(&mut other, tenant, left)?, "after {ending}");
        other.batch_execute("rollback")?;
    }
    Ok(())
}

/// A transaction that has changed definitions and charges has their partitions to itself. What it loads next waits for the
/// locks of other partitions. A reload waits for the first, so it must have none of the others meanwhile.
#[test]
fn a_reload_of_counters_has_no_lock_while_it_waits() -> Result<()> {
    for reload in [
        "select copilot_internal.reload_counters()",
        "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('e2b', 70)",
    ] {
        let database = fresh()?;
        let mut client = connect(&database)?;
        // In many partitions, on both sides of the one that is waited for.
        for number in (1..=3).chain(100..140) {
            make_tenant(&mut client, id(number))?;
        }
        client.batch_execute("begin")?;
        for number in 1..=3 {
            limit(&mut client, id(number), "llm", "9")?;
            assert!(charge(&mut client, id(number), "0.25")?);
        }
        let reloading = |other: &mut Client| Ok(other.batch_execute(reload)?);
        while_blocked(database.cluster, &database.name, reloading, || {
            for number in 100..140 {
                assert!(charge(&mut client, id(number), "0.25")?);
            }
            Ok(client.batch_execute("commit")?)
        })?;
        assert_exact(&mut client, id(1), 9);
    }
    Ok(())
}
