//! `cargo xtask torture`: everything that clients, operators and bad luck do to a database, all at once. After every
//! crash or restart it proves that nothing was lost, doubled, overspent or left behind.
//!
//! A run is a sequence of cycles: some seconds of load with cancels and terminations, one fault, some load once the
//! server is back. Then come rest and the checks. Every few cycles go on in a fresh database, so that checks that read
//! the whole ledger stay quick. The old ones are checked once more at the end.
//!
//! Commits are not flushed to disk (`fsync = off`). Killing processes loses nothing that the operating system has
//! already, and flushing would only make for fewer charges between two crashes. What a loss of power does is not shown
//! here. Full pages are written to the log all the same, since a process can be killed half way through writing one.

mod burst;
mod chaos;
mod client;
mod company;
mod errors;
pub mod expectation;
mod raw;
mod rest;
mod talk;
mod tally;
mod world;

use std::fs;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rand::RngExt;

use self::burst::{Burst, Violations, stream};
use self::chaos::{Ended, Fault};
use self::client::Worker;
use self::expectation::{Attempt, Book, Limits};
use self::rest::Ground;
use self::tally::{Said, Tally};
use self::world::World;
use crate::charging::Surface;
use crate::cluster::{Cluster, ClusterOptions};
use crate::progress::Step;

/// Cycles in one database.
const CYCLES_PER_DATABASE: u64 = 8;
/// Apart from the streams of any cycle.
const PLAN: u64 = u64::MAX;

#[derive(Clone, Debug)]
pub struct TortureOptions {
    /// No cycle begins after so long.
    pub time: Option<Duration>,
    /// No more cycles than that.
    pub cycles: Option<u64>,
    pub seed: u64,
    pub clients: usize,
    /// Whether the library is preloaded.
    pub preload: bool,
    /// Whether some restarts change that.
    pub switch_modes: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub violations: Vec<String>,
    tally: Tally,
}

impl Report {
    pub fn cycles(&self) -> u64 {
        self.tally.cycles()
    }

    pub fn admitted(&self) -> u64 {
        self.tally.total(Said::Admitted)
    }

    pub fn refused(&self) -> u64 {
        self.tally.total(Said::Refused) + self.tally.total(Said::Retryable)
    }
}

/// Runs, prints what happened, and says whether every promise was kept.
pub fn run(options: &TortureOptions) -> Result<Report> {
    let started = Instant::now();
    println!(
        "torture: seed {}, {} clients, {}{}",
        options.seed,
        options.clients,
        if options.preload { "preloaded" } else { "not preloaded" },
        if options.switch_modes { ", changing at some restarts" } else { "" }
    );
    let cluster = Cluster::start(ClusterOptions {
        preload: options.preload,
        extra_conf: configuration(),
        ..ClusterOptions::default()
    })?;
    let mut run = Run::new(options, &cluster);
    // A failure of the harness, such as a server that does not come back, is a finding like any other.
    if let Err(error) = run.cycles(started).and_then(|()| run.end()) {
        run.found.push(format!("{error:#}"));
    }
    let (tally, mut found) = (run.tally, run.found);
    println!("\n{}", tally.render());
    println!(
        "{} cycles in {:.0} s, {} costs acknowledged; fsync off: what is judged is the loss of processes, not of power.",
        tally.cycles(),
        started.elapsed().as_secs_f64(),
        run.grounds.iter().map(|ground| ground.book.acknowledged()).sum::<usize>()
    );
    if found.is_empty() {
        println!("every check passed");
    } else {
        let shown = found.len().min(20);
        println!("VIOLATED, with seed {}: {} findings, of which {shown}:", options.seed, found.len());
        found.iter().take(shown).for_each(|finding| println!("  - {finding}"));
        let dir = cluster.keep_files()?;
        println!("The server was stopped; its log and data directory are kept in {}", dir.display());
        found.push(format!("files are kept in {}", dir.display()));
    }
    Ok(Report { violations: found, tally })
}

fn configuration() -> Vec<(String, String)> {
    let settings = [
        ("full_page_writes", "on"),
        ("max_prepared_transactions", "50"),
        ("log_line_prefix", "%m [%p] %e %u@%d "),
        // Deadlocks are made on purpose; the usual second would be a good part of a burst.
        ("deadlock_timeout", "100ms"),
        ("checkpoint_timeout", "30s"),
        ("autovacuum_naptime", "5s"),
        // Beside a housekeeper that calls maintain().
        ("pg_tollgate.workers", "2"),
    ];
    settings.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
}

struct Run<'a> {
    options: &'a TortureOptions,
    cluster: &'a Cluster,
    /// The mode at present.
    preload: bool,
    grounds: Vec<Ground>,
    tally: Tally,
    found: Vec<String>,
    /// How much of the server's log has been read.
    log_read: usize,
}

impl<'a> Run<'a> {
    fn new(options: &'a TortureOptions, cluster: &'a Cluster) -> Run<'a> {
        Run {
            options,
            cluster,
            preload: options.preload,
            grounds: Vec::new(),
            tally: Tally::default(),
            found: Vec::new(),
            log_read: 0,
        }
    }

    fn cycles(&mut self, started: Instant) -> Result<()> {
        let mut step = Step::start("Torturing", &self.length());
        for cycle in 0..self.options.cycles.unwrap_or(u64::MAX) {
            if self.options.time.is_some_and(|time| started.elapsed() >= time) || !self.found.is_empty() {
                break;
            }
            step.note(&format!("{cycle} cycles, {} charges admitted", self.tally.total(Said::Admitted)));
            if cycle.is_multiple_of(CYCLES_PER_DATABASE) {
                self.new_ground(cycle)?;
            }
            self.cycle(cycle).with_context(|| format!("in cycle {cycle}"))?;
        }
        step.done();
        Ok(())
    }

    fn length(&self) -> String {
        match (self.options.time, self.options.cycles) {
            (Some(time), _) => format!("about {} s", time.as_secs()),
            (None, Some(cycles)) => format!("{cycles} cycles of about 5 s"),
            (None, None) => "until something is wrong".to_string(),
        }
    }

    fn new_ground(&mut self, cycle: u64) -> Result<()> {
        self.recheck()?;
        let database = format!("torture_{cycle}");
        self.cluster.create_database(&database)?;
        let mut limits = Limits::default();
        let number = cycle / CYCLES_PER_DATABASE;
        let world = World::furnish(&mut self.cluster.superuser(&database)?, &database, number, &mut limits)?;
        self.grounds.push(Ground { world, book: Book::default(), limits, ended: Ended::default() });
        Ok(())
    }

    fn cycle(&mut self, cycle: u64) -> Result<()> {
        let mut plan = stream(self.options.seed ^ PLAN, cycle);
        let fault = Fault::choose(&mut plan, cycle, self.options.switch_modes);
        let length = Duration::from_millis(plan.random_range(1_600..2_400));
        let ground = self.grounds.last_mut().context("there is no database")?;
        let mut client = self.cluster.superuser(&ground.world.database)?;
        ground.world.add_wave(&mut client, &mut ground.limits)?;
        let surface = Surface::of(&mut client)?;
        drop(client);

        let violations = Violations::default();
        let limits = Mutex::new(std::mem::take(&mut ground.limits));
        let burst = Burst {
            cluster: self.cluster,
            world: &ground.world,
            surface,
            limits: &limits,
            violations: &violations,
            preload: self.preload,
            seed: self.options.seed,
            cycle,
            started: Instant::now(),
            length,
            stop: AtomicBool::new(false),
        };
        let played = play(&burst, self.options.clients, fault);
        ground.limits = limits.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.found.extend(violations.take());
        let (attempts, tally, ended) = played?;
        self.tally.merge(tally);
        attempts.into_iter().for_each(|attempt| ground.book.add(attempt));
        ground.ended = ended;
        self.preload ^= fault.switches_mode();

        // The other mode may have another surface.
        let surface = Surface::of(&mut chaos::wait_for_server(self.cluster, &ground.world.database)?)?;
        let everything = (cycle + 1).is_multiple_of(CYCLES_PER_DATABASE);
        let wrong = rest::check(self.cluster, ground, surface, &mut plan, everything, &mut self.tally)?;
        self.found.extend(wrong.into_iter().map(|it| format!("cycle {cycle}, after {}: {it}", fault.name())));
        self.read_log()
    }

    /// The last database as a whole: its early tenants were not checked after every cycle.
    fn recheck(&mut self) -> Result<()> {
        let Some(ground) = self.grounds.last_mut() else { return Ok(()) };
        let mut client = chaos::wait_for_server(self.cluster, &ground.world.database)?;
        let surface = Surface::of(&mut client)?;
        drop(client);
        let mut plan = stream(self.options.seed ^ PLAN, u64::MAX);
        let wrong = rest::check(self.cluster, ground, surface, &mut plan, true, &mut self.tally)?;
        self.found.extend(wrong.into_iter().map(|it| format!("{}: {it}", ground.world.database)));
        Ok(())
    }

    /// Once more, what later crashes may have done to databases that were not used any more.
    fn end(&mut self) -> Result<()> {
        self.recheck()?;
        for ground in &self.grounds {
            let mut client = self.cluster.superuser(&ground.world.database)?;
            self.found.extend(rest::verify(&mut client, &mut self.tally)?);
        }
        if !self.found.is_empty() {
            for ground in &self.grounds {
                println!("{}", rest::describe(self.cluster, &ground.world)?);
            }
        }
        self.read_log()
    }

    fn read_log(&mut self) -> Result<()> {
        let bytes = fs::read(self.cluster.log_path()).context("cannot read the server's log")?;
        let log = String::from_utf8_lossy(&bytes[self.log_read.min(bytes.len())..]).into_owned();
        self.log_read = bytes.len();
        self.tally.checked("lines of the server's log", log.lines().count());
        self.found.extend(errors::suspicious(&log).into_iter().map(|line| format!("in the log: {line}")));
        Ok(())
    }
}

/// One burst with its fault: all clients' attempts, the count, and how prepared transactions ended.
fn play(burst: &Burst, clients: usize, fault: Fault) -> Result<(Vec<Attempt>, Tally, Ended)> {
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || Worker::new(burst, number).work())).collect();
        let company = [
            scope.spawn(|| company::operator(burst)),
            scope.spawn(|| company::housekeeper(burst)),
            scope.spawn(|| company::observer(burst)),
        ];
        let talkers: Vec<_> = (0..talk::TALKERS).map(|number| scope.spawn(move || talk::talk(burst, number))).collect();
        let sabotage = chaos::saboteur(burst, fault);
        let panicked = |_| anyhow!("a thread panicked");
        let (mut attempts, mut all) = (Vec::new(), Tally::default());
        for worker in workers {
            let (mine, tally) = worker.join().map_err(panicked)?;
            attempts.extend(mine);
            all.merge(tally);
        }
        for thread in company.into_iter().chain(talkers) {
            all.merge(thread.join().map_err(panicked)?);
        }
        let (tally, ended) = sabotage?;
        all.merge(tally);
        Ok((attempts, all, ended))
    })
}
