//! What all sessions of a burst share, and one session that lives through cancels, crashes and restarts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Error, NoTls};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::errors::{Circumstances, Failure, expected};
use super::expectation::Limits;
use super::tally::{Said, Tally};
use super::world::World;
use crate::charging::{Statements, Surface};
use crate::cluster::{Cluster, SUPERUSER};

/// By which the saboteur knows its victims.
pub const CLIENT: &str = "torture";
/// The application's server; the timeout is a backstop, far above anything that should happen.
pub const OPTIONS: &str = "-c role=service_role -c statement_timeout=90s";
/// No client may wait longer for anything: a lock that is not given back would make all of them.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What was found to be wrong, by whichever thread.
#[derive(Debug, Default)]
pub struct Violations(Mutex<Vec<String>>);

impl Violations {
    pub fn report(&self, sentence: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sentence);
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub struct Burst<'a> {
    pub cluster: &'a Cluster,
    pub world: &'a World,
    pub surface: Surface,
    pub limits: &'a Mutex<Limits>,
    pub violations: &'a Violations,
    pub preload: bool,
    pub seed: u64,
    pub cycle: u64,
    pub started: Instant,
    pub length: Duration,
    pub stop: AtomicBool,
}

impl Burst<'_> {
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// The share of the burst that is over, above 1 after the fault that ends it.
    pub fn progress(&self) -> f64 {
        self.started.elapsed().as_secs_f64() / self.length.as_secs_f64()
    }

    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream of its own for each: what one does never depends on how quick the others are.
    pub fn rng(&self, number: u64) -> ChaCha8Rng {
        stream(self.seed, self.cycle << 16 | number)
    }
}

pub fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

pub struct Connection {
    pub client: Client,
    pub statements: Statements,
}

/// A session that is opened again whenever it was lost.
pub struct Session<'a> {
    pub burst: &'a Burst<'a>,
    connection: Option<Connection>,
    pub tally: Tally,
}

impl<'a> Session<'a> {
    pub fn new(burst: &'a Burst<'a>) -> Session<'a> {
        Session { burst, connection: None, tally: Tally::default() }
    }

    /// The connection, to be given back by [`Session::put`] unless it is lost. Nothing while the server is away.
    pub fn take(&mut self) -> Option<Connection> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        match self.connect() {
            Ok(connection) => Some(connection),
            Err(error) => {
                self.failure("connect", Circumstances::default(), &error);
                thread::sleep(RECONNECT_PAUSE);
                None
            }
        }
    }

    pub fn put(&mut self, connection: Connection) {
        self.connection = Some(connection);
    }

    /// Ends a transaction that has failed. A cancellation may strike the rollback itself: then the session ends.
    pub fn roll_back(&mut self) {
        let ended = self.run("setting", Circumstances::default(), |it| it.client.batch_execute("rollback"));
        if !matches!(ended, Some(Ok(()))) {
            self.connection = None;
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        let mut config = self.burst.cluster.config(&self.burst.world.database, SUPERUSER);
        let mut client = config.options(OPTIONS).application_name(CLIENT).connect(NoTls)?;
        let statements = Statements::prepare(&mut client, self.burst.surface)?;
        Ok(Connection { client, statements })
    }

    /// Counts an error, and reports it unless it is expected.
    pub fn failure(&mut self, operation: &str, circumstances: Circumstances, error: &Error) -> Failure {
        let failure = Failure::of(error);
        // In the shared mode a tenant that comes while others are charged moves the epoch on. Two transactions that
        // charge again and again may wait for that.
        let crossing = self.burst.world.crossing || self.burst.preload;
        let circumstances = Circumstances { crossing, ..circumstances };
        let (Failure::Failed { state, message } | Failure::Lost { state, message }) = &failure;
        let reason = if state.is_empty() {
            Some("the connection was lost, or the server was away")
        } else {
            expected(state, circumstances)
        };
        match reason {
            Some(reason) => self.tally.error(state, reason),
            None => {
                self.tally.error(state, "NOT EXPECTED");
                self.burst.violations.report(format!("{operation}: unexpected SQLSTATE {state}: {message}"));
            }
        }
        failure
    }

    /// Runs a statement that is no charge. Returns the failure, if any.
    pub fn run<T>(
        &mut self,
        operation: &'static str,
        circumstances: Circumstances,
        work: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Option<Result<T, Failure>> {
        let mut connection = self.take()?;
        match work(&mut connection) {
            Ok(value) => {
                self.tally.said(operation, Said::Done);
                self.put(connection);
                Some(Ok(value))
            }
            Err(error) => {
                let failure = self.failure(operation, circumstances, &error);
                self.tally.said(operation, Said::Failed);
                if matches!(failure, Failure::Failed { .. }) {
                    self.put(connection);
                }
                Some(Err(failure))
            }
        }
    }

    /// Runs an operation and reports when it took longer than anything may.
    pub fn within_timeout<T>(&mut self, operation: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let started = Instant::now();
        let result = work(self);
        report_wait(self.burst, operation, started);
        result
    }
}

pub fn report_wait(burst: &Burst, operation: &str, started: Instant) {
    let waited = started.elapsed();
    if waited > LONGEST_WAIT {
        burst.violations.report(format!("{operation} took {:.1} s", waited.as_secs_f64()));
    }
}
