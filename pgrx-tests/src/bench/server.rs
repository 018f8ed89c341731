//! The server that everything is measured on, and how it is brought back to an even start.

use anyhow::{Context, Result, bail};
use postgres::Client;

use crate::books::DIFFERENCES;
use crate::cluster::{Cluster, ClusterOptions};

/// Checkpoints and autovacuum would come at random moments, so both are run outside of what is measured.
const SETTINGS: [(&str, &str); 6] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("synchronous_commit", "on"),
    ("jit", "off"),
];

/// What else decides the figures.
const SHOWN: [&str; 4] = ["fsync", "full_page_writes", "max_connections", "shared_preload_libraries"];

/// How many quotas fit the table of the shared mode.
pub const ENTRIES: &str = "pg_tollgate.quota_entries";

pub fn start(preload: bool, entries: Option<u64>) -> Result<Cluster> {
    let mut extra_conf: Vec<(String, String)> =
        SETTINGS.map(|(name, value)| (name.to_string(), value.to_string())).to_vec();
    extra_conf.extend(entries.map(|entries| (ENTRIES.to_string(), entries.to_string())));
    Cluster::start(ClusterOptions { preload, fsync: true, extra_conf, ..ClusterOptions::default() })
}

pub fn describe(cluster: &Cluster) -> Result<String> {
    let mut admin = cluster.superuser("postgres")?;
    let names = SETTINGS.iter().map(|(name, _)| *name).chain(SHOWN);
    let settings = names.map(|name| {
        let value: String = admin.query_one("select current_setting($1)", &[&name])?.get(0);
        Ok(format!("{name} = {}", if value.is_empty() { "''" } else { &value }))
    });
    let settings = settings.collect::<Result<Vec<String>>>()?;
    Ok(format!("{}: {}", cluster.postgres().version()?, settings.join(", ")))
}

/// A database with the extension and the schema `bench` in it, dropped when the work is done.
pub fn in_database<T>(cluster: &Cluster, name: &str, work: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    cluster.create_database(name)?;
    cluster.superuser(name)?.batch_execute("create schema bench")?;
    let done = work(name)?;
    cluster.drop_database(name)?;
    Ok(done)
}

/// Before each measurement that writes, tables are vacuumed and analyzed, and every buffer is written to disk. The
/// queue of pending costs is folded by plans that know how large the ledger has become.
pub fn settle(admin: &mut Client) -> Result<()> {
    even(admin)?;
    while admin.query_one("select sum(done)::bigint from copilot_internal.maintain(1000000)", &[])?.get::<_, i64>(0) > 0
    {
    }
    even(admin)
}

/// The same without folding.
pub fn even(admin: &mut Client) -> Result<()> {
    let tables: String = admin
        .query_one(
            "select string_agg(oid::regclass::text, ', ') from pg_class
              where relkind = 'r' and relnamespace::regnamespace::text in ('copilot_internal', 'bench', 'baseline')",
            &[],
        )?
        .get(0);
    admin.batch_execute(&format!("vacuum (analyze) {tables}"))?;
    admin.batch_execute("checkpoint")?;
    Ok(())
}

/// The rollups must agree with the ledger.
pub fn verify(admin: &mut Client) -> Result<()> {
    let differences = admin.query(&format!("{DIFFERENCES} limit 5"), &[]);
    let differences: Vec<String> = differences.context("verify()")?.iter().map(|row| row.get(0)).collect();
    if !differences.is_empty() {
        bail!("verify() is not empty: {}", differences.join("; "));
    }
    Ok(())
}
