//! One client: a random mix of everything that applications do, and do wrong, until the burst is over.

mod mix;
mod operations;

use std::time::Instant;

use postgres::Error;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use self::mix::Operation;
use super::burst::{Burst, Connection, Session, report_wait};
use super::errors::{Circumstances, Failure};
use super::expectation::{Attempt, Outcome};
use super::tally::{Said, Tally};
use super::world::{Kind, Tenant};
use crate::charging::{Answer, Charge, Function};

/// Requests that a client remembers in order to send them again.
const REMEMBERED: usize = 48;

/// The end of the name of a prepared transaction that its client leaves alone.
pub const ABANDONED: &str = "-left";

/// A request that was made, and how it ended when it was last sent.
struct Memory {
    charge: Charge,
    outcome: Outcome,
}

pub struct Worker<'a> {
    session: Session<'a>,
    second: Session<'a>,
    number: usize,
    rng: ChaCha8Rng,
    serial: u64,
    attempts: Vec<Attempt>,
    memories: Vec<Memory>,
    /// What must be sent again, since its outcome is unknown.
    lost: Vec<Charge>,
}

/// What a transaction has done so far.
#[derive(Default)]
struct Open {
    kept: Vec<(Charge, Answer)>,
    undone: Vec<Charge>,
    trying: Option<Charge>,
}

impl Open {
    fn charge(&mut self, connection: &mut Connection, charge: Charge) -> Result<(), Error> {
        self.trying = Some(charge.clone());
        let answer = connection.statements.charge(&mut connection.client, &charge)?;
        self.trying = None;
        self.kept.push((charge, answer));
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Rollback,
}

fn outcome(answer: &Answer) -> Outcome {
    match (answer.recorded, answer.replayed) {
        (false, _) => Outcome::Refused,
        (true, true) => Outcome::Replayed(answer.id),
        (true, false) => Outcome::Recorded(answer.id),
    }
}

impl<'a> Worker<'a> {
    pub fn new(burst: &'a Burst<'a>, number: usize) -> Worker<'a> {
        Worker {
            session: Session::new(burst),
            second: Session::new(burst),
            number,
            rng: burst.rng(number as u64),
            serial: 0,
            attempts: Vec::new(),
            memories: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Works until the burst is over; what came of it, and the count.
    pub fn work(mut self) -> (Vec<Attempt>, Tally) {
        let burst = self.session.burst;
        while burst.goes_on() {
            let operation = Operation::choose(&mut self.rng, burst.world.crossing);
            let started = Instant::now();
            self.step(operation);
            report_wait(burst, operation.name(), started);
        }
        let mut tally = self.session.tally;
        tally.merge(self.second.tally);
        (self.attempts, tally)
    }

    fn step(&mut self, operation: Operation) {
        // At-least-once clients: what is not known to have happened is sent again, mostly at once.
        if !self.lost.is_empty() && self.rng.random_ratio(7, 10) {
            let charge = self.lost.remove(0);
            self.single(Operation::Retry, charge, Circumstances::default());
            return;
        }
        match operation {
            Operation::Enforced => {
                let charge = self.fresh();
                self.single(operation, charge, Circumstances::default());
            }
            Operation::AfterTheFact => {
                let charge = self.after_the_fact();
                self.single(operation, charge, Circumstances::default());
            }
            Operation::WithoutRequest => {
                let mut charge = self.fresh();
                charge.request = None;
                if charge.function == Function::Bare {
                    // It tells no id, so its effect could not be told from any other.
                    charge.function = Function::Llm;
                }
                self.single(operation, charge, Circumstances::default());
            }
            Operation::Batch => self.batch(),
            Operation::Several => {
                let tenant = self.tenant();
                let count = self.rng.random_range(2..6);
                self.several(operation, "begin", Circumstances::default(), &vec![tenant; count], End::Commit);
            }
            Operation::Crossing => {
                let tenants: Vec<Tenant> = (0..self.rng.random_range(2..5)).map(|_| self.tenant()).collect();
                self.several(operation, "begin", Circumstances::default(), &tenants, End::Commit);
            }
            Operation::Rollback => {
                let tenant = self.tenant();
                let count = self.rng.random_range(1..5);
                self.several(operation, "begin", Circumstances::default(), &vec![tenant; count], End::Rollback);
            }
            Operation::Isolated => {
                let serializable = self.rng.random_ratio(1, 2);
                let level = if serializable { "serializable" } else { "repeatable read" };
                let tenant = self.tenant();
                let count = self.rng.random_range(1..4);
                let end = if self.rng.random_ratio(3, 4) { End::Commit } else { End::Rollback };
                let circumstances = Circumstances { serializable, ..Circumstances::default() };
                let begin = format!("begin isolation level {level}");
                self.several(operation, &begin, circumstances, &vec![tenant; count], end);
            }
            Operation::Savepoints => self.savepoints(),
            Operation::Storm => self.storm(operation),
            Operation::ShortTimeout => self.short_timeout(),
            Operation::LockTimeout => {
                let tenant = self.tenant();
                let begin = format!("begin; set local lock_timeout = '{}ms'", self.rng.random_range(1..20));
                let circumstances = Circumstances { provoked: Some("55P03"), ..Circumstances::default() };
                self.several(operation, &begin, circumstances, &[tenant], End::Commit);
            }
            Operation::Vanish => self.vanish(),
            Operation::Retry => self.retry(),
            Operation::Duplicates => self.duplicates(),
            Operation::Hold => self.hold(),
            Operation::Reserve => self.reserve(),
            Operation::Prepare => self.prepare(),
            Operation::Definition => self.definition(),
            Operation::Provoke => self.provoke(),
        }
    }

    fn tenant(&mut self) -> Tenant {
        self.session.burst.world.tenant(&mut self.rng).clone()
    }

    fn request(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}-{}", self.session.burst.cycle, self.number, self.serial)
    }

    fn fresh(&mut self) -> Charge {
        let tenant = self.tenant();
        self.charge_of(&tenant)
    }

    fn charge_of(&mut self, tenant: &Tenant) -> Charge {
        let request = self.request();
        self.session.burst.world.charge(&mut self.rng, tenant, request)
    }

    /// Of a tenant whose limits may be passed; no sandboxes where a quota of the platform judges their sum.
    fn after_the_fact(&mut self) -> Charge {
        let tenant = self.session.burst.world.tenant_of(&mut self.rng, Kind::Mixed).clone();
        let charge = self.charge_of(&tenant);
        let sandbox = charge.function == Function::E2b && !self.session.burst.world.platform;
        Charge { function: if sandbox { Function::E2b } else { Function::Llm }, enforce: false, ..charge }
    }

    /// Writes down how an attempt ended.
    fn note(&mut self, operation: Operation, charge: Charge, outcome: Outcome, retryable: bool) {
        let said = match &outcome {
            Outcome::Recorded(_) => Said::Admitted,
            Outcome::Replayed(_) => Said::Replayed,
            Outcome::Refused if retryable => Said::Retryable,
            Outcome::Refused => Said::Refused,
            Outcome::Undone => Said::Undone,
            Outcome::Unknown | Outcome::Prepared { .. } => Said::Unknown,
        };
        self.session.tally.said(operation.name(), said);
        if charge.request.is_some() {
            match &outcome {
                Outcome::Unknown => self.lost.push(charge.clone()),
                // Sent again, it would wait until the transaction is ended.
                Outcome::Prepared { .. } => {}
                _ => self.remember(charge.clone(), outcome.clone()),
            }
        }
        self.attempts.push(Attempt { charge, outcome });
    }

    fn remember(&mut self, charge: Charge, outcome: Outcome) {
        let memory = Memory { charge, outcome };
        if self.memories.len() < REMEMBERED {
            self.memories.push(memory);
        } else {
            let place = self.rng.random_range(0..REMEMBERED);
            self.memories[place] = memory;
        }
    }

    fn failed(&mut self, operation: Operation, charge: Charge, failure: &Failure) -> Outcome {
        let outcome = match failure {
            Failure::Failed { .. } => Outcome::Undone,
            Failure::Lost { .. } => Outcome::Unknown,
        };
        self.note(operation, charge, outcome.clone(), false);
        outcome
    }

    /// One charge that is a transaction of its own. Nothing when the server is away.
    fn single(&mut self, operation: Operation, charge: Charge, circumstances: Circumstances) -> Option<Outcome> {
        let Some(mut connection) = self.session.take() else {
            // Nothing was sent, and an attempt before that may still be open.
            if operation == Operation::Retry {
                self.lost.push(charge);
            }
            return None;
        };
        match connection.statements.charge(&mut connection.client, &charge) {
            Ok(answer) => {
                self.session.put(connection);
                let outcome = outcome(&answer);
                self.note(operation, charge, outcome.clone(), answer.retryable == Some(true));
                Some(outcome)
            }
            Err(error) => {
                let failure = self.session.failure(operation.name(), circumstances, &error);
                if matches!(failure, Failure::Failed { .. }) {
                    self.session.put(connection);
                }
                Some(self.failed(operation, charge, &failure))
            }
        }
    }

    /// A transaction; `body` charges through [`Open::charge`].
    fn transact(
        &mut self,
        operation: Operation,
        begin: &str,
        circumstances: Circumstances,
        end: End,
        body: impl FnOnce(&mut Connection, &mut Open) -> Result<(), Error>,
    ) {
        let Some(mut connection) = self.session.take() else { return };
        let mut open = Open::default();
        let done = connection.client.batch_execute(begin).and_then(|()| body(&mut connection, &mut open));
        let mut failure = match done {
            Ok(()) => None,
            Err(error) => Some(self.session.failure(operation.name(), circumstances, &error)),
        };
        let committing = failure.is_none() && end == End::Commit;
        let mut lost = matches!(failure, Some(Failure::Lost { .. }));
        if !lost {
            let word = if committing { "commit" } else { "rollback" };
            if let Err(error) = connection.client.batch_execute(word) {
                let second = self.session.failure(operation.name(), circumstances, &error);
                // A commit that was cancelled before it began has left the transaction open, and failed.
                lost = matches!(second, Failure::Lost { .. }) || connection.client.batch_execute("rollback").is_err();
                failure = failure.or(Some(second));
            }
        }
        if !lost {
            self.session.put(connection);
        }
        let undone = open.undone.into_iter().chain(open.trying);
        undone.for_each(|charge| self.note(operation, charge, Outcome::Undone, false));
        for (charge, answer) in open.kept {
            let outcome = match (outcome(&answer), committing, &failure) {
                // An earlier attempt is committed, whatever became of this transaction.
                (Outcome::Replayed(id), _, _) => Outcome::Replayed(id),
                (Outcome::Refused, _, _) => Outcome::Refused,
                (outcome, true, None) => outcome,
                (_, true, Some(Failure::Lost { .. })) => Outcome::Unknown,
                _ => Outcome::Undone,
            };
            self.note(operation, charge, outcome, answer.retryable == Some(true));
        }
    }
}
