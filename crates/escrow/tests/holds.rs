//! Holds, corrections and charges of one transaction after the other, rolled back and committed in part, against a
//! ledger that is simply copied. What is counted is exact whenever nothing is in flight, and never too little before.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_escrow::journal::{Charge, Journal, Level};
use tollgate_escrow::table::{CounterKey, Delta, Entry, Pin, Reading, Table, WAYS};

#[derive(Clone, Debug)]
enum Step {
    Charge(i64),
    /// Takes back a part of what has been spent, in percent.
    Refund(i64),
    Make(u8, i64),
    /// At this percentage of what was held.
    Settle(u8, i64),
    Release(u8),
    Extend(u8, i64),
    Savepoint,
    RollBackTo,
    ReleaseSavepoint,
    /// The second counter is read from the tables, in the middle of the transaction.
    Load,
    Commit,
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    let hold = 0..4u8;
    prop_oneof![
        3 => (0..100i64).prop_map(Step::Charge),
        1 => (0..=100i64).prop_map(Step::Refund),
        4 => (hold.clone(), 0..100i64).prop_map(|(hold, amount)| Step::Make(hold, amount)),
        4 => (hold.clone(), 0..200i64).prop_map(|(hold, percent)| Step::Settle(hold, percent)),
        1 => hold.clone().prop_map(Step::Release),
        2 => (hold, 0..50i64).prop_map(|(hold, more)| Step::Extend(hold, more)),
        1 => Just(Step::Savepoint),
        1 => Just(Step::RollBackTo),
        1 => Just(Step::ReleaseSavepoint),
        1 => Just(Step::Load),
        2 => Just(Step::Commit),
        1 => Just(Step::Abort),
    ]
}

/// What the tables say.
#[derive(Clone, Default, PartialEq, Debug)]
struct Ledger {
    spent: i64,
    holds: BTreeMap<u8, i64>,
}

impl Ledger {
    fn held(&self) -> i64 {
        self.holds.values().sum()
    }

    fn used(&self) -> i64 {
        self.spent + self.held()
    }
}

const CHARGE: Charge = Charge { tenant: [1; 16], user: [2; 16], resource: 0, quarter: 7 };
const TOP: Level = 1;

fn key(quota: u8) -> CounterKey {
    CounterKey { database: 1, ledger: 1, quota: [quota; 16], period: 1, epoch: 2 }
}

fn reading(ledger: &Ledger) -> Reading {
    Reading { reserved: ledger.used(), in_flight: 0, held: ledger.held(), horizon: 0, next_expiry: 0 }
}

struct Run<'memory> {
    table: Table<'memory>,
    journal: Journal,
    pins: Vec<Pin>,
    committed: Ledger,
    /// As the transaction sees it, and as its savepoints saw it.
    own: Ledger,
    savepoints: Vec<(Level, Ledger)>,
    last: Level,
}

impl Run<'_> {
    fn level(&self) -> Level {
        self.savepoints.last().map_or(TOP, |(level, _)| *level)
    }

    fn change(&mut self, before: i64, charged: i64, held: i64) {
        let (level, delta) = (self.level(), Delta::between(before, charged, held));
        self.journal.make_room(self.pins.len()).unwrap();
        for pin in &self.pins {
            assert_eq!(self.table.add(*pin, delta.amount), delta.amount);
            self.journal.push(&self.table, again(&self.table, *pin), level, delta);
        }
        self.journal.charge(CHARGE, level, delta);
    }

    fn end(&mut self) {
        self.own = self.committed.clone();
        self.savepoints.clear();
        for pin in &self.pins {
            let is = self.table.read(*pin);
            assert_eq!(is, Reading { next_expiry: is.next_expiry, ..reading(&self.committed) });
        }
    }

    /// Reads the second counter from the tables, as a loader does.
    fn load(&mut self) {
        if self.pins.len() > 1 {
            return;
        }
        let own: Vec<(Level, Delta)> = self.journal.charges(None, |_| true).collect();
        let sum = own.iter().fold(Delta::default(), |sum, (_, delta)| sum.plus(*delta));
        let figures = Reading {
            reserved: self.own.used() + sum.credit,
            in_flight: sum.amount,
            held: self.own.held() - sum.held,
            horizon: 0,
            next_expiry: 0,
        };
        self.journal.make_room(own.len()).unwrap();
        let handle = self.table.publish(&key(2), figures, 1 + own.len() as u32).unwrap().handle;
        let pin = self.table.pin(handle).unwrap();
        self.table.unpin(pin);
        for (level, delta) in own {
            self.journal.push(&self.table, pin, level, delta);
        }
        self.pins.push(pin);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Charge(amount) => {
                self.own.spent += amount;
                self.change(0, amount, 0);
            }
            Step::Refund(percent) => {
                let amount = self.own.spent.max(0) * percent / 100;
                self.own.spent -= amount;
                self.change(0, -amount, 0);
            }
            Step::Make(hold, amount) if !self.own.holds.contains_key(&hold) => {
                self.own.holds.insert(hold, amount);
                self.change(0, 0, amount);
            }
            Step::Settle(hold, percent) => {
                let Some(amount) = self.own.holds.remove(&hold) else { return };
                let cost = amount * percent / 100;
                self.own.spent += cost;
                self.change(amount, cost, 0);
            }
            Step::Release(hold) => {
                let Some(amount) = self.own.holds.remove(&hold) else { return };
                self.change(amount, 0, 0);
            }
            Step::Extend(hold, more) => {
                let Some(amount) = self.own.holds.get(&hold).copied() else { return };
                self.own.holds.insert(hold, amount + more);
                self.change(amount, 0, amount + more);
            }
            Step::Make(..) => {}
            Step::Savepoint => {
                self.last = self.last.max(TOP) + 1;
                self.savepoints.push((self.last, self.own.clone()));
            }
            Step::RollBackTo => {
                let Some((level, before)) = self.savepoints.pop() else { return };
                self.journal.abort_level(&self.table, level);
                self.own = before;
            }
            Step::ReleaseSavepoint => {
                let Some((level, _)) = self.savepoints.pop() else { return };
                self.journal.merge_level(&self.table, level, self.level());
            }
            Step::Load => self.load(),
            Step::Commit => {
                self.journal.commit(&self.table);
                self.committed = self.own.clone();
                self.end();
            }
            Step::Abort => {
                self.journal.abort(&self.table);
                self.end();
            }
        }
        for pin in &self.pins {
            let is = self.table.read(*pin);
            // Whatever becomes of the transaction, there is room for it.
            assert!(is.reserved >= self.committed.used() && is.reserved >= self.own.used(), "{is:?} {self:?}");
        }
    }
}

impl std::fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "committed {:?}, own {:?}", self.committed, self.own)
    }
}

/// One more pin of the same entry.
fn again(table: &Table<'_>, pin: Pin) -> Pin {
    let number = pin.index();
    let handle = [1, 2].into_iter().filter_map(|quota| table.find(&key(quota))).find(|it| it.index() == number);
    table.pin(handle.unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_counted_is_what_the_tables_say(steps in vec(step(), 0..60)) {
        let entries: Vec<Entry> = (0..2 * WAYS).map(|_| Entry::default()).collect();
        let table = Table::new(&entries);
        let handle = table.publish(&key(1), reading(&Ledger::default()), 1).unwrap().handle;
        let pin = table.pin(handle).unwrap();
        table.unpin(pin);
        let mut run = Run {
            table,
            journal: Journal::new(),
            pins: vec![pin],
            committed: Ledger::default(),
            own: Ledger::default(),
            savepoints: Vec::new(),
            last: TOP,
        };
        for step in &steps {
            run.take(step);
        }
        run.take(&Step::Commit);
    }
}
