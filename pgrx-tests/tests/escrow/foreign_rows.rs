//! Rows that the kernels did not write: an import, a repair, a subscription. The next charge is judged with them.

use std::io::Write;

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::Cluster;

use crate::servers::{charge, connect, counter, fresh, quota_figures, server, start, until_blocked, while_blocked};
use crate::support::{Database, USD, assert_verified, differences, id, limit, make_tenant};

/// A tenant with a limit of 1 USD and 0.2 spent, whose counters are loaded, and its owner.
fn prepared() -> Result<(Database, Client, Client)> {
    let database = fresh()?;
    let mut owner = database.superuser()?;
    make_tenant(&mut owner, id(1))?;
    limit(&mut owner, id(1), "llm", "1")?;
    let mut client = connect(&database)?;
    assert!(charge(&mut client, id(1), "0.2")?);
    assert_eq!(quota_figures(&mut client, id(1))?, (2 * USD / 10, 0));
    Ok((database, owner, client))
}

/// The same on a server of its own: on the shared one others move the epochs.
fn alone() -> Result<(Cluster, Client, Client)> {
    let cluster = start(&[])?;
    let database = cluster.fresh_database()?;
    let (mut owner, mut client) = (cluster.superuser(&database)?, server(&cluster, &database)?);
    make_tenant(&mut owner, id(1))?;
    limit(&mut owner, id(1), "llm", "1")?;
    assert!(charge(&mut client, id(1), "0.2")?);
    Ok((cluster, owner, client))
}

/// A charge of 0.5 USD as another server has written it.
fn ledger_row(request: &str) -> String {
    format!(
        "insert into copilot_internal.quota_charges
             (id, tenant_id, resource_type, cost_usd, charge_nanos, request_id, charged_at)
         values (md5('{request}')::uuid, '{tenant}', 'llm', 0.5, 500000000, '{request}', now());",
        tenant = id(1)
    )
}

fn pending_row(request: &str) -> String {
    format!(
        "insert into copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         values ('{tenant}', md5('{request}')::uuid, 'charge', '{no_user}', 'llm', now(), 500000000);",
        tenant = id(1),
        no_user = id(0)
    )
}

fn hold(request: &str) -> String {
    format!(
        "insert into copilot_internal.quota_reservations (id, tenant_id, resource_type, request_id, requested_usd, ttl,
             reserved_usd, held_nanos, reserved_at, expires_at, state, metadata)
         values (md5('{request}')::uuid, '{tenant}', 'llm', '{request}', 0.5, '1 hour', 0.5, 500000000, now(),
             now() + interval '1 hour', 'held', '{{}}');",
        tenant = id(1)
    )
}

/// What is left is admitted, and not a nano-dollar more, by sessions that knew the counter before.
fn assert_left(client: &mut Client, what: &str, nanos: i64) -> Result<()> {
    let usd = |nanos: i64| format!("{}.{:09}", nanos / USD, nanos % USD);
    assert!(!charge(client, id(1), &usd(nanos + 1))?, "{what}: more than is left was admitted");
    client.batch_execute("begin")?;
    assert!(charge(client, id(1), &usd(nanos))?, "{what}: what is left was refused");
    client.batch_execute("rollback")?;
    assert_verified(client);
    Ok(())
}

#[test]
fn rows_that_arrive_are_counted_by_the_next_charge() -> Result<()> {
    let replica = |sql: String| format!("begin; set local session_replication_role = replica; {sql} commit");
    let ways = [
        ("INSERT", ledger_row("a") + &pending_row("a"), 3 * USD / 10),
        ("a hold", hold("a"), 3 * USD / 10),
        ("a subscription's", replica(ledger_row("a") + &pending_row("a")), 3 * USD / 10),
        ("a subscription's hold", replica(hold("a")), 3 * USD / 10),
        ("one that is rolled back", format!("begin; {}{} rollback", ledger_row("a"), pending_row("a")), 8 * USD / 10),
        (
            "one in a savepoint that is kept",
            format!("begin; savepoint s; {}{} release s; commit", ledger_row("a"), pending_row("a")),
            3 * USD / 10,
        ),
        (
            "DELETE",
            "begin; delete from copilot_internal.pending_costs; delete from copilot_internal.llm_cost_records; commit"
                .into(),
            USD,
        ),
        ("TRUNCATE", "truncate copilot_internal.pending_costs, copilot_internal.llm_cost_records".into(), USD),
        (
            "UPDATE",
            "begin; update copilot_internal.pending_costs set nanos = 700000000;
             update copilot_internal.llm_cost_records set cost_usd = 0.7, charge_nanos = 700000000; commit"
                .into(),
            3 * USD / 10,
        ),
    ];
    for (what, sql, left) in ways {
        let (_database, mut owner, mut client) = prepared()?;
        owner.batch_execute(&sql)?;
        assert_left(&mut client, what, left)?;
    }
    // COPY, of the ledger first, as a restore does.
    let (_database, mut owner, mut client) = prepared()?;
    owner.batch_execute(&ledger_row("a"))?;
    let sql =
        "copy copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
               from stdin";
    let mut copy = owner.copy_in(sql)?;
    let record = "0cc175b9-c0f1-b6a8-31c3-99e269772661";
    writeln!(copy, "{}\t{record}\tcharge\t{}\tllm\tnow\t500000000", id(1), id(0))?;
    copy.finish()?;
    assert_left(&mut client, "COPY", 3 * USD / 10)
}

/// A trigger on what a kernel writes runs inside its statement, and what the trigger imports is not the kernel's.
#[test]
fn rows_that_a_trigger_on_the_ledger_imports_are_counted() -> Result<()> {
    let (_database, mut owner, mut client) = prepared()?;
    owner.batch_execute(&format!(
        "create function public.import() returns trigger language plpgsql security definer as $$
         begin if pg_trigger_depth() = 1 then {}{} end if; return null; end $$;
         create trigger import after insert on copilot_internal.llm_cost_records for each row
             execute function public.import()",
        ledger_row("a"),
        pending_row("a")
    ))?;
    assert!(charge(&mut client, id(1), "0.1")?);
    owner.batch_execute("drop trigger import on copilot_internal.llm_cost_records")?;
    assert_left(&mut client, "a trigger's", 2 * USD / 10)
}

/// While an import is open it keeps no session from charging, itself included. All see its end at once.
#[test]
fn an_open_import_stops_no_session() -> Result<()> {
    let (_database, mut owner, mut client) = prepared()?;
    owner.batch_execute(&format!("begin; {}{}", ledger_row("a"), pending_row("a")))?;
    assert!(charge(&mut client, id(1), "0.1")?);
    // Also one that has to load its counter.
    client.batch_execute(
        "select public.set_quota('tenant', (select id from copilot_internal.tenants), 'all', 2, 'year')",
    )?;
    assert!(charge(&mut client, id(1), "0.1")?);
    owner.batch_execute("commit")?;
    assert_left(&mut client, "after the import", USD / 10)
}

/// A transaction that imports and charges decides from the tables.
#[test]
fn an_import_that_charges_counts_itself() -> Result<()> {
    let (_database, mut owner, mut client) = prepared()?;
    for ending in ["rollback", "commit"] {
        owner.batch_execute(&format!("begin; {}{}", ledger_row("a"), pending_row("a")))?;
        assert!(!charge(&mut owner, id(1), "0.300000001")?);
        assert!(charge(&mut owner, id(1), "0.1")?);
        owner.batch_execute(ending)?;
        assert_left(&mut client, ending, if ending == "commit" { 2 } else { 8 } * USD / 10)?;
    }
    Ok(())
}

/// The kernels' own work and the fold reload nothing: the epochs do not move, so no counter is loaded twice.
#[test]
fn what_the_kernels_write_reloads_nothing() -> Result<()> {
    let (_cluster, mut owner, mut client) = alone()?;
    client.batch_execute(&format!("select public.reserve_quota('{}', 'llm', 0.1, 'a')", id(1)))?;
    client.batch_execute(&format!("select public.reserve_quota('{}', 'llm', 0.1, 'b', p_ttl => '1 second')", id(1)))?;
    let loads = |client: &mut Client| counter(client, "loads");
    let epoch = |client: &mut Client| -> Result<bool> {
        let before = loads(client)?;
        assert!(charge(client, id(1), "0.000000001")?);
        Ok(loads(client)? == before)
    };
    assert!(epoch(&mut client)?);
    for sql in [
        "select public.extend_reservation(id, '2 hours', 0.05, 'x') from copilot_internal.quota_reservations where request_id = 'a'",
        "select public.commit_reservation(id, 0.1) from copilot_internal.quota_reservations where request_id = 'a'",
        "select pg_sleep(1.1)",
        "select copilot_internal.maintain()",
        "select public.refund_cost(id, 0.01, 'c') from copilot_internal.llm_cost_records where cost_usd = 0.2",
        "select copilot_internal.maintain()",
        "select copilot_internal.maintain()",
    ] {
        client.batch_execute(sql)?;
        assert!(epoch(&mut client)?, "{sql}");
    }
    // A fold that had nothing to do excuses no statement that comes after it.
    owner.batch_execute(&format!(
        "begin; select copilot_internal.fold('{}', 10); {}{} commit",
        id(2),
        ledger_row("a"),
        pending_row("a")
    ))?;
    assert!(!epoch(&mut client)?, "an import after a fold was missed");
    assert_verified(&mut client);
    Ok(())
}

/// What no trigger sees is found by verify_counters() and mended by reload_counters().
#[test]
fn counters_are_reloaded_on_request() -> Result<()> {
    let (_cluster, mut owner, mut client) = alone()?;
    owner.batch_execute("alter table copilot_internal.pending_costs disable trigger all")?;
    // Counters are dropped with it, and loaded again by the next charge.
    assert!(charge(&mut client, id(1), "0")?);
    assert_eq!(quota_figures(&mut client, id(1))?, (2 * USD / 10, 0));
    owner.batch_execute(&format!("{}{}", ledger_row("a"), pending_row("a")))?;
    let found = differences(&mut client)?;
    assert!(
        found
            .iter()
            .any(|difference| difference.contains("counter of a quota") && difference.contains(",700000000,200000000")),
        "{found:?}"
    );
    let counters: i64 = client.query_one("select copilot_internal.reload_counters()", &[])?.get(0);
    assert!(counters >= 1, "{counters}");
    assert_left(&mut client, "after reload_counters()", 3 * USD / 10)
}

/// A trigger on the ledger that checks runs while its charge is in the journal and not in the tables.
#[test]
fn a_trigger_on_the_ledger_that_looks_loads_nothing_wrong() -> Result<()> {
    let (database, mut owner, mut client) = prepared()?;
    owner.batch_execute(
        "create function public.checks() returns trigger language plpgsql as $$
         begin
             perform pg_advisory_xact_lock(91);
             perform public.check_quota_before_operation(new.tenant_id, 'llm', 0);
             return new;
         end $$;
         create trigger checks before insert on copilot_internal.llm_cost_records
             for each row execute function public.checks();
         create trigger checks before insert on copilot_internal.pending_costs
             for each row execute function public.checks();
         create trigger checks_after after insert on copilot_internal.llm_cost_records
             for each row execute function public.checks()",
    )?;
    owner.batch_execute("select pg_advisory_lock(91)")?;
    while_blocked(
        database.cluster,
        &database.name,
        |charger| {
            assert!(charge(charger, id(1), "0.3")?);
            Ok(())
        },
        || {
            client.batch_execute("select copilot_internal.reload_counters()")?;
            until_blocked(database.cluster, &database.name, 1)?;
            owner.batch_execute("select pg_advisory_unlock(91)")?;
            Ok(())
        },
    )?;
    assert_eq!(differences(&mut client)?, Vec::<String>::new());
    assert_eq!(quota_figures(&mut client, id(1))?, (5 * USD / 10, 0));
    assert!(!charge(&mut client, id(1), "0.500000001")?);
    Ok(())
}
