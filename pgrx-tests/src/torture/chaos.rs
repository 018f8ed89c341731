//! Cancels, terminations, kills, crashes, restarts.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::Client;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};

use super::burst::{Burst, CLIENT};
use super::client::ABANDONED;
use super::tally::{Said, Tally};
use crate::cluster::Cluster;

/// Apart from the clients' streams of the seed.
pub const SABOTEUR: u64 = 1_000;
/// How long clients go on after the fault: their retries meet a server that has just come back.
const AFTERMATH: Duration = Duration::from_millis(450);
/// Prepared transactions that survived are left in the way of the returning clients for so long.
const LEFT_PREPARED: Duration = Duration::from_millis(200);
const COMES_BACK: Duration = Duration::from_secs(60);

/// What ends a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillBackend,
    KillPostmaster,
    ImmediateStop,
    Restart,
    /// A restart with the library preloaded when it was not, and the other way round.
    SwitchMode,
    CrashIntoOtherMode,
    /// Cancels and terminations alone.
    None,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillBackend => "kill -9 of a backend",
            Fault::KillPostmaster => "kill -9 of the postmaster",
            Fault::ImmediateStop => "immediate stop",
            Fault::Restart => "restart",
            Fault::SwitchMode => "restart in the other mode",
            Fault::CrashIntoOtherMode => "kill -9 of the postmaster, then the other mode",
            Fault::None => "no fault but cancels and terminations",
        }
    }

    /// The first cycles of a run take each kind in turn, so that also a short run has had them all.
    pub fn choose(rng: &mut ChaCha8Rng, cycle: u64, may_switch: bool) -> Fault {
        match cycle {
            0 => return Fault::KillPostmaster,
            1 => return Fault::KillBackend,
            2 => return Fault::ImmediateStop,
            3 => return Fault::Restart,
            4 if may_switch => return Fault::SwitchMode,
            _ => {}
        }
        match rng.random_range(0..100) {
            0..30 => Fault::KillBackend,
            30..60 => Fault::KillPostmaster,
            60..75 => Fault::ImmediateStop,
            75..85 => Fault::Restart,
            85..92 if may_switch => Fault::SwitchMode,
            92..97 if may_switch => Fault::CrashIntoOtherMode,
            _ => Fault::None,
        }
    }

    pub fn switches_mode(self) -> bool {
        matches!(self, Fault::SwitchMode | Fault::CrashIntoOtherMode)
    }
}

/// How prepared transactions ended.
#[derive(Debug, Default)]
pub struct Ended {
    pub committed: HashSet<String>,
    pub rolled_back: HashSet<String>,
}

impl Ended {
    pub fn merge(&mut self, other: Ended) {
        self.committed.extend(other.committed);
        self.rolled_back.extend(other.rolled_back);
    }
}

/// Disturbs sessions until the burst has had its length, and brings the fault about. It then waits for the server and
/// for what the clients make of it, and tells all clients to stop.
pub fn saboteur(burst: &Burst, fault: Fault) -> Result<(Tally, Ended)> {
    let done = sabotage(burst, fault);
    burst.stop.store(true, Ordering::SeqCst);
    done
}

fn sabotage(burst: &Burst, fault: Fault) -> Result<(Tally, Ended)> {
    let mut tally = Tally::default();
    let mut rng = burst.rng(SABOTEUR);
    let database = &burst.world.database;
    let mut client = burst.cluster.superuser(database)?;
    while burst.started.elapsed() < burst.length {
        thread::sleep(Duration::from_millis(rng.random_range(5..40)));
        let terminate = rng.random_ratio(1, 6);
        let (function, name) = if terminate {
            ("pg_terminate_backend", "terminate a session")
        } else {
            ("pg_cancel_backend", "cancel a session")
        };
        let sql = format!(
            "select {function}(pid) from (select pid from pg_stat_activity
              where application_name = $1 and state <> 'idle' order by hashint4(pid + $2) limit 1) victim"
        );
        if client.query(&sql, &[&CLIENT, &rng.random_range(0..1_000_000)])?.len() == 1 {
            tally.said(name, Said::Done);
        }
    }
    match fault {
        Fault::None => {}
        Fault::KillBackend => kill_backend(&mut client)?,
        Fault::KillPostmaster => burst.cluster.crash()?,
        Fault::ImmediateStop => burst.cluster.restart_immediately()?,
        Fault::Restart => burst.cluster.restart()?,
        Fault::SwitchMode => {
            burst.cluster.configure_preload(!burst.preload)?;
            burst.cluster.restart()?;
        }
        Fault::CrashIntoOtherMode => {
            burst.cluster.configure_preload(!burst.preload)?;
            burst.cluster.crash()?;
        }
    }
    drop(client);
    tally.cycle(fault.name());
    let mut client = wait_for_server(burst.cluster, database)?;
    let mut survived = prepared(&mut client)?;
    if fault == Fault::None {
        // The others have a living client.
        survived.retain(|transaction| transaction.ends_with(ABANDONED));
    }
    thread::sleep(LEFT_PREPARED);
    let ended = end_prepared(&mut client, &survived, &mut rng)?;
    thread::sleep(AFTERMATH - LEFT_PREPARED);
    Ok((tally, ended))
}

/// Postgres resets itself then: all other sessions are thrown out, and shared memory begins empty.
fn kill_backend(client: &mut Client) -> Result<()> {
    let sql =
        "select pid from pg_stat_activity where application_name = $1 order by state = 'active' desc, pid limit 1";
    let deadline = Instant::now() + COMES_BACK;
    loop {
        if let Some(row) = client.query_opt(sql, &[&CLIENT])? {
            let pid: i32 = row.get(0);
            let process = Pid::from_raw(pid).with_context(|| format!("{pid} is no process id"))?;
            match kill_process(process, Signal::KILL) {
                Ok(()) => return wait_until_lost(client, deadline),
                // It was faster.
                Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot kill process {pid}")),
            }
        }
        if Instant::now() > deadline {
            bail!("there is no session to kill");
        }
    }
}

fn wait_until_lost(client: &mut Client, deadline: Instant) -> Result<()> {
    while client.batch_execute("select 1").is_ok() {
        if Instant::now() > deadline {
            bail!("a backend was killed, and the server goes on as if nothing had happened");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

pub fn wait_for_server(cluster: &Cluster, database: &str) -> Result<Client> {
    let deadline = Instant::now() + COMES_BACK;
    loop {
        let tried = cluster.superuser(database).and_then(|mut client| {
            client.batch_execute("select 1").context("the server goes away again")?;
            Ok(client)
        });
        match tried {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error.context("the server does not come back")),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

pub fn prepared(client: &mut Client) -> Result<Vec<String>> {
    let rows = client.query("select gid from pg_prepared_xacts where database = current_database() order by 1", &[])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Commits or rolls back each.
pub fn end_prepared(client: &mut Client, transactions: &[String], rng: &mut ChaCha8Rng) -> Result<Ended> {
    let mut ended = Ended::default();
    for transaction in transactions {
        let commit = rng.random_ratio(1, 2);
        let word = if commit { "commit" } else { "rollback" };
        client
            .batch_execute(&format!("{word} prepared '{transaction}'"))
            .with_context(|| format!("cannot {word} the prepared transaction {transaction}"))?;
        let set = if commit { &mut ended.committed } else { &mut ended.rolled_back };
        set.insert(transaction.clone());
    }
    Ok(ended)
}
