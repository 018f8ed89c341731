//! What survives in the tables is what is counted: over crashes, restarts and changes of the mode.

use std::thread;

use anyhow::{Context, Result};
use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};
use tollgate_tests::cluster::Cluster;

use crate::servers::{assert_exact, backend, charge, counter, no_defaults, quota_figures, server, start, until};
use crate::support::{USD, charged_nanos, id, limit, make_tenant};

const TENANTS: u128 = 4;

fn furnished(cluster: &Cluster) -> Result<String> {
    let database = cluster.fresh_database()?;
    let mut client = server(cluster, &database)?;
    for number in 1..=TENANTS {
        make_tenant(&mut client, id(number))?;
        limit(&mut client, id(number), "llm", "1000")?;
    }
    no_defaults(&mut client)?;
    client.batch_execute("select public.set_quota('platform', null, 'all', 100000)")?;
    Ok(database)
}

fn assert_all_exact(client: &mut Client) -> Result<()> {
    for number in 1..=TENANTS {
        assert_exact(client, id(number), 1000);
    }
    Ok(())
}

/// Postgres ends every session and makes new shared memory. What was committed counts, what was in flight does not.
#[test]
fn a_backend_that_is_killed_empties_the_table_and_changes_no_figure() -> Result<()> {
    let cluster = start(&[])?;
    let database = furnished(&cluster)?;
    for round in 1..=2 {
        let mut watcher = server(&cluster, &database)?;
        let before: Vec<i64> =
            (1..=TENANTS).map(|number| charged_nanos(&mut watcher, id(number))).collect::<Result<_>>()?;
        let mut victim = server(&cluster, &database)?;
        victim.batch_execute("begin")?;
        assert!(charge(&mut victim, id(1), "500")?);
        let pid = Pid::from_raw(backend(&mut victim)?).context("no process")?;
        // Sessions that charge until the server is gone; each says what was acknowledged.
        let acknowledged: Vec<i64> = thread::scope(|scope| -> Result<Vec<i64>> {
            let threads: Vec<_> = (1..=TENANTS)
                .map(|number| {
                    let (cluster, database) = (&cluster, database.as_str());
                    scope.spawn(move || -> Result<i64> {
                        let mut client = server(cluster, database)?;
                        let mut charged = 0;
                        while charge(&mut client, id(number), "0.001").unwrap_or(false) {
                            charged += USD / 1000;
                        }
                        Ok(charged)
                    })
                })
                .collect();
            until("they charge", || {
                Ok(charged_nanos(&mut watcher, id(TENANTS))? > before[TENANTS as usize - 1] + USD / 50)
            })?;
            kill_process(pid, Signal::KILL)?;
            threads.into_iter().map(|it| it.join().ok().context("a session panicked")?).collect()
        })?;
        until("the server is back", || Ok(server(&cluster, &database).is_ok()))?;
        let mut client = server(&cluster, &database)?;
        // Of each session one charge was on its way, committed or not.
        for (index, acknowledged) in acknowledged.into_iter().enumerate() {
            let more = charged_nanos(&mut client, id(index as u128 + 1))? - before[index] - acknowledged;
            assert!((0..=USD / 1000).contains(&more), "{more} of tenant {} in round {round}", index + 1);
        }
        assert_all_exact(&mut client)?;
    }
    Ok(())
}

/// The modes follow each other, and neither loses nor adds anything.
#[test]
fn each_mode_goes_on_where_the_other_ended() -> Result<()> {
    let cluster = start(&[])?;
    let database = furnished(&cluster)?;
    let status = "select string_agg(q::text, E'\\n' order by q::text) from metrics.quota_status q";
    for round in 0..2 {
        for preload in [true, false] {
            cluster.configure_preload(preload)?;
            cluster.restart()?;
            let mut client = server(&cluster, &database)?;
            let mode: String = client.query_one("select mode from metrics.admission", &[])?.get(0);
            assert_eq!(mode, if preload { "escrow" } else { "locked" });
            assert_all_exact(&mut client)?;
            for number in 1..=TENANTS {
                assert!(charge(&mut client, id(number), "1.000000001")?);
            }
            if round > 0 {
                client.batch_execute("select copilot_internal.maintain()")?;
            }
            assert_all_exact(&mut client)?;
            let shown: String = client.query_one(status, &[])?.get(0);
            let seen =
                (1..=TENANTS).map(|number| quota_figures(&mut client, id(number))).collect::<Result<Vec<_>>>()?;
            drop(client);
            cluster.configure_preload(!preload)?;
            cluster.restart()?;
            let mut client = server(&cluster, &database)?;
            assert_eq!(client.query_one(status, &[])?.get::<_, String>(0), shown);
            let again =
                (1..=TENANTS).map(|number| quota_figures(&mut client, id(number))).collect::<Result<Vec<_>>>()?;
            assert_eq!(again, seen);
        }
    }
    Ok(())
}

#[test]
fn the_view_says_which_mode_it_is_and_what_it_does() -> Result<()> {
    let cluster = start(&[("pg_tollgate.quota_entries", "1000")])?;
    let database = furnished(&cluster)?;
    let mut client = server(&cluster, &database)?;
    assert_eq!(counter(&mut client, "entries")?, 1000);
    assert_eq!(counter(&mut client, "entry_bytes")?, 96);
    assert!(counter(&mut client, "shared_bytes")? > 96_000);
    let columns = [
        "admissions",
        "refusals",
        "retryable_refusals",
        "loads",
        "evictions",
        "waits",
        "entries_used",
        "entries_pinned",
    ];
    let read = |client: &mut Client| columns.map(|column| counter(client, column).unwrap_or(-1));
    assert_eq!(read(&mut client), [0; 8]);
    // The tenant's own quota, its two defaults, and the platform's.
    assert!(charge(&mut client, id(1), "1")?);
    assert_eq!(read(&mut client), [1, 0, 0, 4, 0, 0, 4, 0]);
    assert!(!charge(&mut client, id(1), "10000")?);
    assert_eq!(read(&mut client), [1, 1, 0, 4, 0, 0, 4, 0]);
    let mut other = server(&cluster, &database)?;
    other.batch_execute("begin")?;
    assert!(charge(&mut other, id(1), "100")?);
    assert_eq!(read(&mut client), [2, 1, 0, 4, 0, 0, 4, 4]);
    assert!(!charge(&mut client, id(1), "899.5")?);
    assert_eq!(read(&mut client), [2, 1, 1, 4, 0, 0, 4, 4]);
    other.batch_execute("rollback")?;
    assert_eq!(read(&mut client), [2, 1, 1, 4, 0, 0, 4, 0]);
    // Changed definitions make a later epoch, in which counters are loaded again.
    limit(&mut client, id(1), "e2b", "1")?;
    assert!(charge(&mut client, id(1), "1")?);
    assert_eq!(read(&mut client)[3], 7);
    cluster.configure_preload(false)?;
    cluster.restart()?;
    let mut client = server(&cluster, &database)?;
    let nothing = "select mode = 'locked' and coalesce(entries, entries_used, admissions, loads, waits) is null from metrics.admission";
    assert!(client.query_one(nothing, &[])?.get::<_, bool>(0));
    Ok(())
}
