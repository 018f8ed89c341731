//! `cargo xtask demo`: a real trace of model calls against three tenants with quotas, and one conversation, on a server of
//! its own.

mod charts;
mod conversation;
mod observe;
mod page;
mod replay;
mod report;
mod world;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, ClusterOptions, SUPERUSER};
use crate::trace;
use observe::Observer;

/// Supabase's one database.
const DATABASE: &str = "postgres";

#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The server stays up.
    pub keep: bool,
    /// Only so many calls of the trace.
    pub rows: Option<usize>,
    /// Connections that replay them.
    pub clients: usize,
    /// Where to write a page with charts.
    pub html: Option<PathBuf>,
}

/// Whether everything that the demo claims came out true.
pub fn run(options: &DemoOptions) -> Result<bool> {
    let calls = trace::load(options.rows)?;
    let cluster = Cluster::start(ClusterOptions { fsync: true, ..ClusterOptions::default() })?;
    let mut admin = cluster.superuser(DATABASE)?;
    admin.batch_execute("create extension pg_tollgate").context("create extension pg_tollgate")?;
    println!(
        "A server that looks like Supabase runs in {}; create extension pg_tollgate: done.\n",
        cluster.dir().display()
    );
    let world = world::build(&cluster, &calls)?;
    world.describe();
    let started = Instant::now();
    let observer = options.html.as_ref().map(|_| Observer::start(&cluster, &world, started)).transpose()?;
    let replayed = replay::replay(&cluster, &world, &calls, options.clients, started)?;
    let took = started.elapsed();
    let samples = observer.map(Observer::finish).transpose()?;
    let report = report::print(&mut admin, &world, &calls, &replayed, took, options.clients)?;
    let conversation = conversation::play(&cluster, &mut admin, &world)?;
    if let (Some(path), Some(samples)) = (&options.html, &samples) {
        page::write(path, &world, samples, &replayed, &report, &conversation)?;
    }
    drop(admin);
    farewell(cluster, options.keep)?;
    Ok(report.is_good && conversation.is_good)
}

fn farewell(cluster: Cluster, keep: bool) -> Result<()> {
    if !keep {
        println!(
            "The server and its files are removed now; `cargo xtask demo --keep` leaves them, to look around with psql."
        );
        return Ok(());
    }
    println!("The server stays up. Look around, for example with `select * from metrics.quota_status`:");
    println!("  {}", cluster.psql_line(DATABASE, SUPERUSER));
    println!("Be the application's server with `set role service_role`. Stop and remove it with:");
    println!("  {}", cluster.keep()?);
    Ok(())
}
