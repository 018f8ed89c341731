//! Servers, charges, and the figures that must agree.

#![allow(clippy::panic, reason = "assertions, which say what they found")]

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postgres::{Client, Error};
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::cluster_pool::{ClusterPool, Lease};
use uuid::Uuid;

use crate::support::{Database, USD, assert_verified, charged_nanos};

/// A server of one's own that preloads the library, with further settings.
pub fn start(settings: &[(&str, &str)]) -> Result<Cluster> {
    let mut extra_conf: Vec<(String, String)> =
        settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    extra_conf.push(("max_prepared_transactions".to_string(), "4".to_string()));
    Cluster::start(ClusterOptions { preload: true, extra_conf, ..ClusterOptions::default() })
}

/// The server of the test that runs in this thread, with a database for the caller.
pub fn fresh() -> Result<Database> {
    static POOL: ClusterPool = ClusterPool::new(|| start(&[]));
    thread_local! {
        static LEASE: Lease = POOL.lease();
    }
    let cluster = LEASE.with(Lease::cluster);
    Ok(Database { cluster, name: cluster.fresh_database()? })
}

/// A connection as the application's server, in which nothing waits for ever.
pub fn server(cluster: &Cluster, database: &str) -> Result<Client> {
    let mut client = cluster.superuser(database)?;
    client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    Ok(client)
}

pub fn connect(database: &Database) -> Result<Client> {
    server(database.cluster, &database.name)
}

/// Defaults that limit nothing, for amounts above those that ship.
pub fn no_defaults(client: &mut Client) -> Result<(), Error> {
    client.batch_execute(
        "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('llm', null), ('all', null)",
    )
}

/// Charges if it fits; whether it did.
pub fn charge(client: &mut Client, tenant: Uuid, usd: &str) -> Result<bool, Error> {
    let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::text::numeric,
                   p_enforce => true)";
    client.query_one(sql, &[&tenant, &usd])?.try_get(0)
}

/// What a check tells, in nano-dollars: spent, and held by others.
pub fn quota_figures(client: &mut Client, tenant: Uuid) -> Result<(i64, i64)> {
    let sql = "select (current_spend_usd * 1000000000)::bigint, (reserved_usd * 1000000000)::bigint
               from public.check_quota_before_operation($1, 'llm', 0)";
    let row = client.query_one(sql, &[&tenant])?;
    Ok((row.get(0), row.get(1)))
}

/// Nothing is in flight: the counter has what the tables have, and admits what is left and not a nano-dollar more.
#[track_caller]
pub fn assert_exact(client: &mut Client, tenant: Uuid, limit_usd: i64) {
    if let Err(error) = exact(client, tenant, limit_usd) {
        panic!("{error:#}");
    }
}

fn exact(client: &mut Client, tenant: Uuid, limit_usd: i64) -> Result<()> {
    let charged = charged_nanos(client, tenant)?;
    assert_eq!(quota_figures(client, tenant)?, (charged, 0), "a check against the ledger of {tenant}");
    let left = limit_usd * USD - charged;
    let usd = |nanos: i64| format!("{}.{:09}", nanos / USD, nanos % USD);
    client.batch_execute("begin")?;
    assert!(!charge(client, tenant, &usd(left + 1))?, "a nano-dollar more than is left to {tenant}");
    assert!(charge(client, tenant, &usd(left))?, "what is left to {tenant}: {}", usd(left));
    client.batch_execute("rollback")?;
    assert_eq!(quota_figures(client, tenant)?, (charged, 0), "a check after the rollback");
    assert_verified(client);
    Ok(())
}

/// A value of `metrics.admission`.
pub fn counter(client: &mut Client, column: &str) -> Result<i64> {
    Ok(client.query_one(&format!("select {column} from metrics.admission"), &[])?.get(0))
}

/// What `pending()` shows, as text.
pub fn pending(client: &mut Client) -> Result<Vec<String>> {
    let sql = "select format('%s %s %s', pid, tenant_id, amount_usd) from copilot_internal.pending() order by 1";
    crate::support::texts(client, sql, &[])
}

/// Asks again and again. The bound is far above what a busy machine needs: it only keeps a fault from hanging the test.
pub fn until(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !happened()? {
        if Instant::now() > deadline {
            bail!("it does not happen that {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Waits until so many clients of the database wait for a lock.
pub fn until_blocked(cluster: &Cluster, database: &str, backends: i64) -> Result<()> {
    let mut watcher = cluster.superuser(database)?;
    let sql = "select count(*) from pg_stat_activity
               where datname = current_database() and backend_type = 'client backend' and wait_event_type = 'Lock'";
    until("a client waits for a lock", || Ok(watcher.query_one(sql, &[])?.get::<_, i64>(0) >= backends))
}

/// Ends what is prepared, which no other statement may go along with. Any session may.
pub fn end_prepared(client: &mut Client, ending: &str, name: &str) -> Result<()> {
    for sql in ["reset role", &format!("{ending} prepared '{name}'"), "set role service_role"] {
        client.batch_execute(sql)?;
    }
    Ok(())
}

/// Runs the work in a thread of its own, waits until it is blocked, goes on with `then`, and gives what it came to.
pub fn while_blocked<T: Send>(
    cluster: &Cluster,
    database: &str,
    work: impl FnOnce(&mut Client) -> Result<T> + Send,
    then: impl FnOnce() -> Result<()>,
) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&mut server(cluster, database)?));
        let blocked = until_blocked(cluster, database, 1);
        if blocked.is_err() && worker.is_finished() {
            // What stopped it says more.
            worker.join().unwrap_or_else(|_| bail!("the session panicked"))?;
        } else {
            blocked?;
            then()?;
            return worker.join().unwrap_or_else(|_| bail!("the blocked session panicked"));
        }
        bail!("the session was not blocked")
    })
}

pub fn backend(client: &mut Client) -> Result<i32> {
    Ok(client.query_one("select pg_backend_pid()", &[])?.get(0))
}
