//! A subscriber with the same unique indexes follows the ledger, retries and races included, and ends equal.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions, SUPERUSER};
use uuid::Uuid;

use crate::charger::{race, until};
use crate::support::{Database, assert_verified, id, make_tenant};

const TABLES: [&str; 4] = ["llm_cost_records", "e2b_cost_records", "quota_charges", "cost_corrections"];
const SESSIONS: usize = 4;

/// How many calls are made in all; `PG_TOLLGATE_CHARGES` says more.
fn calls() -> usize {
    env::var("PG_TOLLGATE_CHARGES").ok().and_then(|number| number.parse().ok()).unwrap_or(4_000)
}

fn published() -> String {
    TABLES.map(|table| format!("copilot_internal.{table}")).join(", ")
}

fn subscriber(publisher: &Database) -> Result<Client> {
    let cluster = publisher.cluster;
    let mut target = cluster.superuser(&cluster.fresh_database()?)?;
    let mut source = publisher.superuser()?;
    source.batch_execute(&format!("create publication ledger for table {}", published()))?;
    source.execute("select pg_create_logical_replication_slot('ledger', 'pgoutput')", &[])?;
    let from = format!("host={} dbname={} user={SUPERUSER}", cluster.dir().display(), publisher.name);
    target.batch_execute(&format!(
        "create subscription ledger connection '{from}' publication ledger with (create_slot = false, slot_name = 'ledger')"
    ))?;
    Ok(target)
}

/// Rows, and all that is in them, table by table.
fn contents(client: &mut Client) -> Result<Vec<(i64, Option<String>)>> {
    let of = |table: &&str| {
        let sql =
            format!("select count(*), md5(string_agg(r::text, '|' order by r.id)) from copilot_internal.{table} r");
        let row = client.query_one(&sql, &[])?;
        Ok((row.get(0), row.get(1)))
    };
    TABLES.iter().map(of).collect()
}

/// Lets sessions go on together, so that their next calls meet in the index. One that fails keeps no other for long.
fn meet(arrived: &AtomicUsize) {
    let number = arrived.fetch_add(1, Ordering::SeqCst);
    let (all, deadline) = ((number / SESSIONS + 1) * SESSIONS, Instant::now() + Duration::from_secs(2));
    while arrived.load(Ordering::SeqCst) < all && Instant::now() < deadline {
        thread::yield_now();
    }
}

/// Every fifth call is a retry of this session's last; every tenth has a request id that the others send as well.
fn charge(client: &mut Client, tenant: Uuid, session: usize, number: usize) -> Result<()> {
    let request = match number % 10 {
        4 | 9 => format!("{session}-{}", number - 1),
        7 => format!("all-{number}"),
        _ => format!("{session}-{number}"),
    };
    let call = match number % 50 {
        33 | 34 => "record_e2b_cost($1, 's', 't', 1, p_cost_usd => 0.01, p_request_id => $2)",
        43 | 44 => "check_and_record_quota_atomic('tenant', $1, 0.01, p_request_id => $2)",
        _ => "record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.01, p_request_id => $2)",
    };
    client.execute(&format!("select * from public.{call}"), &[&tenant, &request])?;
    Ok(())
}

#[test]
fn a_subscriber_follows_charges_and_retries_and_ends_equal() -> Result<()> {
    let extra_conf = vec![("wal_level".to_string(), "logical".to_string())];
    let cluster: &'static Cluster =
        Box::leak(Box::new(Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?));
    let publisher = Database { cluster, name: cluster.fresh_database()? };
    let tenant = id(1);
    let mut source = publisher.superuser()?;
    make_tenant(&mut source, tenant)?;
    source.execute("select public.set_quota('tenant', $1, 'llm', null, 'month')", &[&tenant])?;
    source.execute("select public.set_quota('tenant', $1, 'e2b', null, 'month')", &[&tenant])?;
    source.execute("select public.set_quota('tenant', $1, 'all', null, 'month')", &[&tenant])?;
    let mut target = subscriber(&publisher)?;
    let arrived = AtomicUsize::new(0);
    race(&publisher, SESSIONS, |session, client| {
        (0..calls() / SESSIONS).try_for_each(|number| {
            if number % 10 == 7 {
                meet(&arrived);
            }
            charge(client, tenant, session, number)
        })
    })?;
    let refund = "select public.refund_cost(r.id, 0.005, 'r' || n) from copilot_internal.llm_cost_records r,
                      generate_series(1, 2) n where r.request_id = '0-0'";
    source.batch_execute(&format!("{refund}; {refund}"))?;
    let expected = contents(&mut source)?;
    // A subscriber that stumbles says so, and never gets there.
    let errors = "select apply_error_count from pg_stat_subscription_stats";
    until("the subscriber has it all", || {
        assert_eq!(target.query_one(errors, &[])?.get::<_, i64>(0), 0, "the subscriber stumbles");
        Ok(contents(&mut target)? == expected)
    })?;
    assert!(expected[0].0 > 0 && expected[3].0 == 2, "{expected:?}");
    assert_verified(&mut source);
    target.batch_execute(
        "alter subscription ledger disable; alter subscription ledger set (slot_name = none); drop subscription ledger",
    )?;
    Ok(())
}
