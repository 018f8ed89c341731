//! `pg_dump` and `pg_restore`, as an operator moves a database or rehearses its loss.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, SUPERUSER};
use tollgate_tests::cluster_pool;
use tollgate_tests::populated::populate;

use crate::picture::{figures, grants};
use crate::sample_app;
use crate::support::{Database, assert_verified, id, text};

pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run a client program")?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn dump(cluster: &Cluster, name: &str) -> Result<PathBuf> {
    let file = cluster.dir().join(format!("{name}.dump"));
    run(cluster.client_program("pg_dump", name, SUPERUSER).arg("-Fc").arg("-f").arg(&file))?;
    Ok(file)
}

/// Into a database made for it, stopping at the first error.
pub fn restore(cluster: &Cluster, file: &PathBuf, name: &str) -> Result<Client> {
    cluster.superuser("postgres")?.batch_execute(&format!("create database \"{name}\" template template0"))?;
    run(cluster.client_program("pg_restore", name, SUPERUSER).args(["--exit-on-error", "-d", name]).arg(file))?;
    cluster.superuser(name)
}

#[test]
fn a_restored_database_says_the_same_and_goes_on() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    populate(&mut client)?;
    let file = dump(database.cluster, &database.name)?;
    let mut restored = restore(database.cluster, &file, "restored")?;
    assert_eq!(figures(&mut restored)?, figures(&mut client)?);
    assert_eq!(grants(&mut restored)?, grants(&mut client)?);
    assert_verified(&mut restored);
    // Nothing is told of twice.
    let sql = "select count(*) from public.claim_quota_events()";
    let waiting: i64 =
        client.query_one("select count(*) from copilot_internal.quota_events where claimed_until is null", &[])?.get(0);
    assert_eq!(restored.query_one(sql, &[])?.get::<_, i64>(0), waiting);
    assert_eq!(client.query_one(sql, &[])?.get::<_, i64>(0), waiting);

    // Retries of requests from before the dump replay; the next charge is new and counts on top.
    let before =
        text(&mut restored, "select current_spend_usd::text from metrics.quota_status where scope = 'user'", &[])?;
    for state in ["folded", "pending"] {
        let sql = "select replayed from public.record_e2b_cost($1, 's', 't', $2::integer, p_request_id => $3)";
        let seconds = if state == "folded" { 1 } else { 2 };
        assert!(restored.query_one(sql, &[&id(1), &seconds, &state])?.get::<_, bool>(0), "{state}");
    }
    let sql = "select recorded, not replayed from public.record_llm_cost($1, 'p', 'm', 1000000, 0, p_user_id => $2, p_enforce => true)";
    let row = restored.query_one(sql, &[&id(1), &id(0xf1)])?;
    assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), (true, true));
    let sql = "select (current_spend_usd - $1::text::numeric)::text from metrics.quota_status where scope = 'user'";
    assert_eq!(text(&mut restored, sql, &[&before])?.trim_end_matches('0').trim_end_matches('.'), "1");
    restored.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(&mut restored);

    // A dump of what was restored is as good.
    let file = dump(database.cluster, "restored")?;
    let mut again = restore(database.cluster, &file, "restored_again")?;
    assert_eq!(figures(&mut again)?, figures(&mut restored)?);
    assert_verified(&mut again);
    Ok(())
}

/// A second restore into the same database meets its own rows: it complains, and adds nothing.
#[test]
fn a_second_restore_doubles_nothing() -> Result<()> {
    let database = Database::fresh()?;
    populate(&mut database.superuser()?)?;
    let file = dump(database.cluster, &database.name)?;
    let mut restored = restore(database.cluster, &file, "restored_twice")?;
    let before = figures(&mut restored)?;
    let mut again = database.cluster.client_program("pg_restore", "restored_twice", SUPERUSER);
    again.args(["--data-only", "-d", "restored_twice"]).arg(&file);
    assert!(run(&mut again).is_err(), "rows that are there should be refused");
    assert_eq!(figures(&mut restored)?, before);
    assert_verified(&mut restored);
    Ok(())
}

/// The application's table refers to tenants and its policy calls `has_quota`, so the order of the dump matters.
#[test]
fn an_application_s_database_restores_too() -> Result<()> {
    let cluster = cluster_pool::shared();
    sample_app::reset(cluster, "app_dumped")?;
    let file = dump(cluster, "app_dumped")?;
    let mut restored = restore(cluster, &file, "app_restored")?;
    assert_eq!(figures(&mut restored)?, figures(&mut cluster.superuser("app_dumped")?)?);
    assert_eq!(grants(&mut restored)?, grants(&mut cluster.superuser("app_dumped")?)?);
    assert_verified(&mut restored);
    sample_app::works(cluster, "app_restored")
}
