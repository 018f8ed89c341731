//! Servers that have workers.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::world::until;

/// A server that preloads the library, with so many workers.
pub fn server(workers: u32) -> Result<Cluster> {
    Cluster::start(ClusterOptions { preload: true, extra_conf: conf(workers), ..ClusterOptions::default() })
}

pub fn conf(workers: u32) -> Vec<(String, String)> {
    vec![("pg_tollgate.workers".to_string(), workers.to_string())]
}

/// Processes of ours by their name, in a database or in none.
pub fn processes(admin: &mut Client, name: &str, database: Option<&str>) -> Result<Vec<i32>> {
    let sql = "select pid from pg_stat_activity where backend_type = $1 and ($2::text is null or datname = $2)";
    Ok(admin.query(sql, &[&name, &database])?.iter().map(|row| row.get(0)).collect())
}

pub const LAUNCHER: &str = "pg_tollgate launcher";
pub const WORKER: &str = "pg_tollgate worker";

/// The process id of a worker in the database, once there is one.
pub fn worker_in(admin: &mut Client, database: &str) -> Result<i32> {
    let mut found = None;
    until("a worker runs", || {
        found = processes(admin, WORKER, Some(database))?.first().copied();
        Ok(found.is_some())
    })?;
    found.ok_or_else(|| anyhow::anyhow!("no worker"))
}
