//! The real pg_cron, as Debian packages it, calls `housekeep()`. It is there for Postgres 15 alone.

use anyhow::Result;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::major::Major;

use crate::support::{assert_verified, id, make_tenant, texts};
use crate::world::{pend, pending, until};

/// More than one step folds, so that its call commits in between.
const ROWS: i64 = 60_000;

fn is_folded_by_the_clock(in_workers: bool) -> Result<()> {
    let mut extra_conf = vec![("shared_preload_libraries".to_string(), "pg_cron".to_string())];
    if in_workers {
        extra_conf.push(("cron.use_background_workers".to_string(), "on".to_string()));
    }
    let major = Major::Pg15;
    let cluster = Cluster::start(ClusterOptions { major, preload: false, extra_conf, ..ClusterOptions::default() })?;
    if !in_workers {
        // Its own sessions come as those of any client.
        cluster.configure("cron.host", &cluster.dir().display().to_string())?;
        cluster.restart()?;
    }
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    make_tenant(&mut client, id(1))?;
    pend(&mut client, id(1), ROWS)?;
    let mut admin = cluster.superuser("postgres")?;
    admin.batch_execute("create extension pg_cron")?;
    admin.execute(
        "select cron.schedule_in_database('tollgate', '* * * * *', 'call copilot_internal.housekeep()', $1)",
        &[&database],
    )?;
    let runs = "select status || ': ' || coalesce(return_message, '') from cron.job_run_details
                where status in ('succeeded', 'failed')";
    // A call ends within its minute, on a busy machine before it has folded all.
    until("calls have folded it", || {
        let runs = texts(&mut admin, runs, &[])?;
        assert!(runs.iter().all(|run| run.starts_with("succeeded")), "{runs:?}");
        Ok(!runs.is_empty() && pending(&mut client)? < 100)
    })?;
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn pg_cron_folds_in_sessions_of_its_own() -> Result<()> {
    is_folded_by_the_clock(false)
}

#[test]
fn pg_cron_folds_in_background_workers() -> Result<()> {
    is_folded_by_the_clock(true)
}
