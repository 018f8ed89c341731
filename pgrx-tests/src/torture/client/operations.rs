//! Each kind of operation but the plain charge and the transaction around several, which are their parts.

use std::thread;
use std::time::Duration;

use postgres::Error;
use rand::RngExt;
use uuid::Uuid;

use super::{ABANDONED, End, Memory, Open, Operation, Worker, outcome};
use crate::charging::{Answer, Charge, Function, usd};
use crate::torture::burst::{CLIENT, Connection, OPTIONS, Session};
use crate::torture::errors::{Circumstances, Failure};
use crate::torture::expectation::Outcome;
use crate::torture::raw::RawClient;
use crate::torture::world::{Kind, Tenant, USD};

impl Worker<'_> {
    pub(super) fn batch(&mut self) {
        let operation = Operation::Batch;
        let mut charges = Vec::new();
        for _ in 0..self.rng.random_range(2..9) {
            let mut charge = if self.rng.random_ratio(1, 4) { self.after_the_fact() } else { self.fresh() };
            charge.function = Function::Llm;
            charges.push(charge);
        }
        let Some(mut connection) = self.session.take() else { return };
        match connection.statements.batch(&mut connection.client, &charges) {
            Ok(answers) => {
                self.session.put(connection);
                for (charge, answer) in charges.into_iter().zip(answers) {
                    self.note(operation, charge, outcome(&answer), answer.retryable == Some(true));
                }
            }
            Err(error) => {
                let failure = self.session.failure(operation.name(), Circumstances::default(), &error);
                if matches!(failure, Failure::Failed { .. }) {
                    self.session.put(connection);
                }
                for charge in charges {
                    self.failed(operation, charge, &failure);
                }
            }
        }
    }

    pub(super) fn several(
        &mut self,
        operation: Operation,
        begin: &str,
        circumstances: Circumstances,
        tenants: &[Tenant],
        end: End,
    ) {
        let charges: Vec<Charge> = tenants.iter().map(|tenant| self.charge_of(tenant)).collect();
        self.transact(operation, begin, circumstances, end, |connection, open| {
            charges.into_iter().try_for_each(|charge| open.charge(connection, charge))
        });
    }

    /// Down a ladder of savepoints with a charge on each step, then some random moves up and down.
    pub(super) fn savepoints(&mut self) {
        let operation = Operation::Savepoints;
        let tenant = self.tenant();
        let depth = if self.rng.random_ratio(1, 8) { 70 } else { self.rng.random_range(2..12) };
        // Moves are chosen before, so that the plan does not depend on answers.
        let mut moves: Vec<Move> = Vec::new();
        for level in 0..depth {
            moves.push(Move::Down(level));
            if depth < 20 || level % 8 == 0 {
                moves.push(Move::Charge(Box::new(self.charge_of(&tenant))));
            }
        }
        let mut level = depth;
        for _ in 0..self.rng.random_range(1..5) {
            if level == 0 {
                break;
            }
            let to = self.rng.random_range(0..level);
            if self.rng.random_ratio(2, 3) {
                moves.push(Move::RollbackTo(to));
                // The savepoint itself stays.
                level = to + 1;
            } else {
                moves.push(Move::Release(to));
                level = to;
            }
            moves.push(Move::Charge(Box::new(self.charge_of(&tenant))));
        }
        let end = if self.rng.random_ratio(3, 4) { End::Commit } else { End::Rollback };
        self.transact(operation, "begin", Circumstances::default(), end, |connection, open| {
            // How many charges had been made when each savepoint was.
            let mut marks: Vec<usize> = Vec::new();
            for it in moves {
                match it {
                    Move::Down(level) => {
                        connection.client.batch_execute(&format!("savepoint s{level}"))?;
                        marks.push(open.kept.len());
                    }
                    Move::Charge(charge) => open.charge(connection, *charge)?,
                    Move::RollbackTo(level) => {
                        connection.client.batch_execute(&format!("rollback to savepoint s{level}"))?;
                        open.undone.extend(open.kept.drain(marks[level]..).map(|(charge, _)| charge));
                        marks.truncate(level + 1);
                    }
                    Move::Release(level) => {
                        connection.client.batch_execute(&format!("release savepoint s{level}"))?;
                        marks.truncate(level);
                    }
                }
            }
            Ok(())
        });
    }

    pub(super) fn storm(&mut self, operation: Operation) {
        let tenant = self.tenant();
        let times: i32 = self.rng.random_range(3..25);
        let template = Charge { function: Function::Llm, ..self.charge_of(&tenant) };
        let prefix = format!("{}.", template.request.clone().unwrap_or_default());
        let charge = |number: i32| Charge { request: Some(format!("{prefix}{number}")), ..template.clone() };
        let Some(mut connection) = self.session.take() else { return };
        let sql = "select number, recorded, id, replayed from torture.storm($1, $2, $3::text::numeric, $4, $5)";
        let parameters: [&(dyn postgres::types::ToSql + Sync); 5] =
            [&template.tenant, &template.user, &template.usd(), &prefix, &times];
        match connection.client.query(sql, &parameters) {
            Ok(rows) => {
                self.session.put(connection);
                let mut kept: Vec<i32> = Vec::new();
                for row in &rows {
                    let number: i32 = row.get(0);
                    kept.push(number);
                    let answer = Answer {
                        recorded: row.get(1),
                        id: row.get(2),
                        replayed: row.get(3),
                        retryable: None,
                        remaining_nanos: None,
                    };
                    self.note(operation, charge(number), outcome(&answer), false);
                }
                let taken_back: Vec<i32> = (1..=times).filter(|number| !kept.contains(number)).collect();
                for number in taken_back {
                    self.note(operation, charge(number), Outcome::Undone, false);
                }
            }
            Err(error) => {
                let failure = self.session.failure(operation.name(), Circumstances::default(), &error);
                if matches!(failure, Failure::Failed { .. }) {
                    self.session.put(connection);
                }
                for number in 1..=times {
                    self.failed(operation, charge(number), &failure);
                }
            }
        }
    }

    /// A timeout so short that it strikes anywhere in a charge.
    pub(super) fn short_timeout(&mut self) {
        let timeout = format!("set statement_timeout = '{}ms'", self.rng.random_range(1..=20));
        let run = |sql: &str, session: &mut Session| {
            session.run("setting", Circumstances::default(), |connection| connection.client.batch_execute(sql))
        };
        if !matches!(run(&timeout, &mut self.session), Some(Ok(()))) {
            return;
        }
        if self.rng.random_ratio(1, 3) {
            self.storm(Operation::ShortTimeout);
        } else {
            let charge = self.fresh();
            self.single(Operation::ShortTimeout, charge, Circumstances::default());
        }
        // The reset itself may be cancelled; a session that lost its backstop would wait for ever.
        for _ in 0..5 {
            if matches!(run("set statement_timeout = '90s'", &mut self.session), None | Some(Ok(()))) {
                break;
            }
        }
    }

    /// The socket is closed at an awkward moment.
    pub(super) fn vanish(&mut self) {
        let operation = Operation::Vanish;
        let burst = self.session.burst;
        let tenant = self.tenant();
        let charges: Vec<Charge> = (0..self.rng.random_range(1..4)).map(|_| self.charge_of(&tenant)).collect();
        let moment = self.rng.random_range(0..4);
        let pause = Duration::from_millis(self.rng.random_range(0..8));
        let sent = || -> std::io::Result<Outcome> {
            let mut raw = RawClient::connect(burst.cluster.dir(), &burst.world.database, OPTIONS, CLIENT)?;
            raw.run("begin")?;
            let (last, before) = charges.split_last().ok_or(std::io::ErrorKind::InvalidInput)?;
            before.iter().try_for_each(|charge| raw.run(&charge.sql()))?;
            match moment {
                // In the middle of a message: the statement is never run.
                0 => raw.send_half(&last.sql())?,
                // In the middle of a statement.
                1 => raw.send(&last.sql())?,
                // Idle in transaction.
                2 => raw.run(&last.sql())?,
                // In the middle of the commit.
                _ => {
                    raw.run(&last.sql())?;
                    raw.send("commit")?;
                    thread::sleep(pause);
                    return Ok(Outcome::Unknown);
                }
            }
            thread::sleep(pause);
            Ok(Outcome::Undone)
        };
        // An error on the way comes before the commit was sent.
        let outcome = sent().unwrap_or(Outcome::Undone);
        for charge in charges {
            self.note(operation, charge, outcome.clone(), false);
        }
    }

    /// The same request once more, whatever came of it before.
    pub(super) fn retry(&mut self) {
        if self.memories.is_empty() {
            return;
        }
        let place = self.rng.random_range(0..self.memories.len());
        let Memory { charge, outcome: before } = self.memories.swap_remove(place);
        let again = self.single(Operation::Retry, charge.clone(), Circumstances::default());
        if matches!(before, Outcome::Recorded(_) | Outcome::Replayed(_)) && again == Some(Outcome::Refused) {
            self.session.burst.violations.report(format!("acknowledged, and refused when sent again: {charge:?}"));
        }
    }

    /// The same request from two sessions at the same time.
    pub(super) fn duplicates(&mut self) {
        let operation = Operation::Duplicates;
        let charge = self.fresh();
        let (Some(mut one), Some(mut other)) = (self.session.take(), self.second.take()) else { return };
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(|| other.statements.charge(&mut other.client, &charge));
            let first = one.statements.charge(&mut one.client, &charge);
            (first, second.join())
        });
        let Ok(second) = second else {
            self.session.burst.violations.report("a duplicate's thread panicked".to_string());
            return;
        };
        let first = settle(&mut self.session, one, first, operation);
        let second = settle(&mut self.second, other, second, operation);
        for (outcome, retryable) in [first, second] {
            self.note(operation, charge.clone(), outcome, retryable);
        }
    }

    pub(super) fn hold(&mut self) {
        let tenant = self.tenant();
        let charge = Charge { picos: (USD / 4) * 1_000, ..self.charge_of(&tenant) };
        let end = if self.rng.random_ratio(1, 2) { End::Commit } else { End::Rollback };
        let pause = Duration::from_millis(self.rng.random_range(10..120));
        self.transact(Operation::Hold, "begin", Circumstances::default(), end, |connection, open| {
            open.charge(connection, charge)?;
            thread::sleep(pause);
            Ok(())
        });
    }

    /// Sets an upper bound aside. Some time later, in transactions of their own, it extends it, records what it cost,
    /// commits or releases it, or is gone. Holds that last only a moment are those of tenants whose limits may be
    /// passed: what comes late is charged all the same. All others last until the rest, where those without a holder
    /// are released.
    pub(super) fn reserve(&mut self) {
        let operation = Operation::Reserve;
        let brief = self.rng.random_ratio(1, 4);
        let tenant = match brief {
            true => self.session.burst.world.tenant_of(&mut self.rng, Kind::Mixed).clone(),
            false => self.tenant(),
        };
        // Its ledger row is known by its id: sent again under a request id, it would be another request.
        let charge = self.charge_of(&tenant);
        let request = charge.request.clone().unwrap_or_default();
        let charge = Charge { function: Function::Llm, enforce: true, request: None, ..charge };
        let bound = usd(charge.picos + self.rng.random_range(0..USD / 50) * 1_000);
        let ttl = if brief { "1 second" } else { "1 hour" };
        let again = self.rng.random_ratio(1, 5);
        let extend = self.rng.random_ratio(1, 5);
        let pause = Duration::from_millis(if brief && self.rng.random_ratio(1, 10) {
            1_100
        } else {
            self.rng.random_range(0..10)
        });
        let end: i32 = self.rng.random_range(0..10);

        let reserve = "select allowed, reservation_id, retryable
                       from public.reserve_quota($1, 'llm', $2::text::numeric, $3, $4, $5::text::interval)";
        let (id, user) = (charge.tenant, charge.user);
        let work = |connection: &mut Connection| {
            let answer = connection.client.query_one(reserve, &[&id, &bound, &request, &user, &ttl])?;
            let repeated = match again {
                true => Some(connection.client.query_one(reserve, &[&id, &bound, &request, &user, &ttl])?),
                false => None,
            };
            let hold: Option<Uuid> = answer.get(1);
            Ok((hold, answer.get::<_, bool>(2), repeated.map(|row| row.get::<_, Option<Uuid>>(1))))
        };
        let Some(Ok((hold, retryable, repeated))) = self.session.run(operation.name(), Circumstances::default(), work)
        else {
            return;
        };
        let Some(hold) = hold else {
            self.note(operation, charge, Outcome::Refused, retryable);
            return;
        };
        if repeated.is_some_and(|repeated| repeated != Some(hold)) {
            let sentence = format!("the hold {hold} was told to be {repeated:?} when asked for again");
            self.session.burst.violations.report(sentence);
        }
        if extend && !self.extend(hold, &request) {
            return;
        }
        thread::sleep(pause);
        self.settle(hold, charge, end);
    }

    /// Adds a little to a hold; whether the session goes on.
    fn extend(&mut self, hold: Uuid, request: &str) -> bool {
        let work = |connection: &mut Connection| {
            let sql =
                "select allowed from public.extend_reservation($1, p_additional_usd => 0.001, p_request_id => $2)";
            connection.client.query_one(sql, &[&hold, &request])
        };
        matches!(self.session.run(Operation::Reserve.name(), Circumstances::default(), work), Some(Ok(_)))
    }

    /// One of several ends of a hold, by a number below ten.
    fn settle(&mut self, hold: Uuid, mut charge: Charge, end: i32) {
        let operation = Operation::Reserve;
        let usd = charge.usd();
        let Some(mut connection) = self.session.take() else { return };
        let outcome = match end {
            // The session dies while it holds the reservation.
            0 => {
                drop(connection);
                self.note(operation, charge, Outcome::Undone, false);
                return;
            }
            1 => connection
                .client
                .query_one("select status from public.release_reservation($1)", &[&hold])
                .map(|_| Outcome::Undone),
            2..5 => {
                charge.function = Function::Bare;
                let sql = "select status from public.commit_reservation($1, $2::text::numeric)";
                connection.client.query_one(sql, &[&hold, &usd]).map(|_| Outcome::Recorded(None))
            }
            _ => {
                let sql = "select cost_record_id from public.record_llm_cost($1, 'p', 'm', 1, 1,
                               p_cost_usd => $2::text::numeric, p_reservation_id => $3)";
                connection
                    .client
                    .query_one(sql, &[&charge.tenant, &usd, &hold])
                    .map(|row| Outcome::Recorded(row.get(0)))
            }
        };
        match outcome {
            Ok(outcome) => {
                self.session.put(connection);
                self.note(operation, charge, outcome, false);
            }
            Err(error) => {
                let failure = self.session.failure(operation.name(), Circumstances::default(), &error);
                if matches!(failure, Failure::Failed { .. }) {
                    self.session.put(connection);
                }
                // What was to be released is in no ledger, whatever became of it.
                let failure = if end == 1 { Outcome::Undone } else { self.failed_as(&failure) };
                self.note(operation, charge, failure, false);
            }
        }
    }

    fn failed_as(&self, failure: &Failure) -> Outcome {
        match failure {
            Failure::Failed { .. } => Outcome::Undone,
            Failure::Lost { .. } => Outcome::Unknown,
        }
    }

    /// In the shared mode PREPARE is refused, since no session would be there to keep count.
    pub(super) fn prepare(&mut self) {
        let operation = Operation::Prepare;
        let burst = self.session.burst;
        let tenant = burst.world.tenant_of(&mut self.rng, Kind::Parked).clone();
        let charges: Vec<Charge> = (0..self.rng.random_range(1..3)).map(|_| self.charge_of(&tenant)).collect();
        // After the fault another session ends what is prepared.
        if burst.progress() >= 1.0 {
            return;
        }
        // Only shortly before the burst ends: a charge of the tenant waits until the transaction is ended.
        let abandon = burst.progress() > 0.8 && self.rng.random_ratio(1, 2);
        let transaction = format!("{}{}", self.request(), if abandon { ABANDONED } else { "" });
        let circumstances = Circumstances { provoked: burst.preload.then_some("0A000"), ..Circumstances::default() };
        let word = if self.rng.random_ratio(3, 4) { "commit" } else { "rollback" };
        let pause = Duration::from_millis(self.rng.random_range(0..20));

        let Some(mut connection) = self.session.take() else { return };
        let mut open = Open::default();
        let mut work = || -> Result<(), Error> {
            connection.client.batch_execute("begin")?;
            charges.iter().cloned().try_for_each(|charge| open.charge(&mut connection, charge))?;
            connection.client.batch_execute(&format!("prepare transaction '{transaction}'"))
        };
        let prepared = work();
        let Open { kept, trying, .. } = open;
        let mut outcome_of_all = Outcome::Prepared { transaction: transaction.clone(), commit_sent: false };
        let mut lost = false;
        match prepared {
            Err(error) => {
                let failure = self.session.failure(operation.name(), circumstances, &error);
                lost = matches!(failure, Failure::Lost { .. });
                if !lost {
                    outcome_of_all = Outcome::Undone;
                    lost = connection.client.batch_execute("rollback").is_err();
                }
            }
            Ok(()) if abandon && burst.progress() < 1.0 => {}
            Ok(()) => {
                thread::sleep(pause);
                let end = connection.client.batch_execute(&format!("{word} prepared '{transaction}'"));
                match (word, end) {
                    ("commit", Ok(())) => outcome_of_all = Outcome::Recorded(None),
                    (_, Ok(())) => outcome_of_all = Outcome::Undone,
                    (_, Err(error)) => {
                        let failure = self.session.failure(operation.name(), Circumstances::default(), &error);
                        lost = matches!(failure, Failure::Lost { .. });
                        outcome_of_all = Outcome::Prepared { transaction, commit_sent: word == "commit" };
                    }
                }
            }
        }
        if !lost {
            self.session.put(connection);
        }
        if let Some(charge) = trying {
            self.note(operation, charge, Outcome::Undone, false);
        }
        for (charge, answer) in kept {
            let outcome = match (&outcome_of_all, outcome(&answer)) {
                (_, Outcome::Refused) => Outcome::Refused,
                (Outcome::Recorded(_), outcome) => outcome,
                (outcome, _) => outcome.clone(),
            };
            self.note(operation, charge, outcome, answer.retryable == Some(true));
        }
    }

    /// A user's quota is made or changed and the user charged, in one transaction.
    pub(super) fn definition(&mut self) {
        let burst = self.session.burst;
        let tenant = burst.world.tenant_of(&mut self.rng, Kind::Churn).clone();
        let user = self.rng.random_range(0..2);
        let (resource, period) = (["llm", "all"][self.rng.random_range(0..2)], "day");
        let nanos = self.rng.random_range(0..2 * USD);
        let mut charge = self.charge_of(&tenant);
        charge.user = Some(tenant.users[user]);
        let end = if self.rng.random_ratio(1, 2) { End::Commit } else { End::Rollback };
        let key = tenant.key(Some(user), resource, period);
        burst.limits().about_to_change(key.clone(), Some(nanos));
        self.transact(Operation::Definition, "begin", Circumstances::default(), end, |connection, open| {
            let sql = "select public.set_quota('user', $1, $2, $3::bigint::numeric / 1000000000, $4, $5)";
            connection.client.execute(sql, &[&key.scope_id, &key.resource, &nanos, &key.period, &key.tenant])?;
            open.charge(connection, charge)
        });
    }

    /// Calls that must be refused, each with its own SQLSTATE.
    pub(super) fn provoke(&mut self) {
        let acknowledged =
            self.memories.iter().find(|memory| matches!(memory.outcome, Outcome::Recorded(_) | Outcome::Replayed(_)));
        let (state, sql) = match (self.rng.random_range(0..3), acknowledged) {
            (0, Some(memory)) => ("23505", Charge { picos: memory.charge.picos + 1, ..memory.charge.clone() }.sql()),
            (1, _) => {
                let tenant = self.session.burst.world.newest(Kind::Roomy).id;
                ("PT429", format!("select public.require_quota('{tenant}', 'llm', 999999999)"))
            }
            _ => {
                let tenant = self.session.burst.world.newest(Kind::Roomy).id;
                (
                    "22023",
                    format!("select * from public.record_llm_cost('{tenant}', 'p', 'm', -1, 1, p_cost_usd => 'NaN')"),
                )
            }
        };
        let circumstances = Circumstances { provoked: Some(state), ..Circumstances::default() };
        let name = Operation::Provoke.name();
        let ended = self.session.run(name, circumstances, |connection| connection.client.batch_execute(&sql));
        if let Some(Ok(())) = ended {
            self.session.burst.violations.report(format!("{state} was not raised by {sql}"));
        }
    }
}

enum Move {
    Down(usize),
    Charge(Box<Charge>),
    RollbackTo(usize),
    Release(usize),
}

/// How a duplicate's attempt ended; gives its connection back unless that is lost.
fn settle(
    session: &mut Session,
    connection: Connection,
    result: Result<Answer, Error>,
    operation: Operation,
) -> (Outcome, bool) {
    match result {
        Ok(answer) => {
            session.put(connection);
            (outcome(&answer), answer.retryable == Some(true))
        }
        Err(error) => match session.failure(operation.name(), Circumstances::default(), &error) {
            Failure::Failed { .. } => {
                session.put(connection);
                (Outcome::Undone, false)
            }
            Failure::Lost { .. } => (Outcome::Unknown, false),
        },
    }
}
