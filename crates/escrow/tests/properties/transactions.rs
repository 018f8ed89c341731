//! Random transactions on one small table, each step against a model.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_escrow::journal::{Journal, Level};
use tollgate_escrow::table::{Entry, Full, Handle, Pin, Published, Table, WAYS};

use crate::{BACKENDS, KEYS, charge_of, key, memory, reading};

#[derive(Clone, Debug)]
enum Step {
    /// Loads entries, one after the other.
    Load {
        backend: usize,
        keys: Vec<u8>,
    },
    /// Charges within a limit, all or nothing; perhaps takes it back at once.
    Charge {
        backend: usize,
        keys: Vec<u8>,
        amount: i64,
        limit: i64,
        undo: bool,
    },
    /// Records after the fact, whether there is an entry or not.
    Record {
        backend: usize,
        key: u8,
        amount: i64,
    },
    Savepoint {
        backend: usize,
    },
    Release {
        backend: usize,
    },
    /// So many savepoints at once.
    Rollback {
        backend: usize,
        depth: usize,
    },
    Commit {
        backend: usize,
    },
    Abort {
        backend: usize,
    },
    /// Databases 1 and 2.
    Purge {
        database: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let backend = || 0..BACKENDS;
    let keys = |most| vec(0..KEYS, 1..most);
    prop_oneof![
        6 => (backend(), keys(5)).prop_map(|(backend, keys)| Step::Load { backend, keys }),
        10 => (backend(), keys(12), 0..30i64, prop_oneof![Just(25), Just(60), Just(i64::MAX)], prop::bool::weighted(0.2))
            .prop_map(|(backend, keys, amount, limit, undo)| Step::Charge { backend, keys, amount, limit, undo }),
        4 => (backend(), 0..KEYS, 0..30i64).prop_map(|(backend, key, amount)| Step::Record { backend, key, amount }),
        3 => backend().prop_map(|backend| Step::Savepoint { backend }),
        2 => backend().prop_map(|backend| Step::Release { backend }),
        2 => (backend(), 1..4usize).prop_map(|(backend, depth)| Step::Rollback { backend, depth }),
        1 => backend().prop_map(|backend| Step::Commit { backend }),
        1 => backend().prop_map(|backend| Step::Abort { backend }),
        1 => (1..3u32).prop_map(|database| Step::Purge { database }),
    ]
}

/// A charge on a key by an open transaction.
#[derive(Clone, Copy, Debug)]
struct Line {
    level: Level,
    key: u8,
    amount: i64,
    /// Whether an entry counts it and is pinned for it.
    counted: bool,
}

#[derive(Default)]
struct Transaction {
    /// The levels of the open savepoints.
    savepoints: Vec<Level>,
    /// The last level given.
    last: Level,
    lines: Vec<Line>,
}

impl Transaction {
    const TOP: Level = 1;

    fn level(&self) -> Level {
        self.savepoints.last().copied().unwrap_or(Self::TOP)
    }

    fn sum(&self, key: u8) -> i64 {
        self.lines.iter().filter(|line| line.key == key && line.counted).map(|line| line.amount).sum()
    }
}

#[derive(Default)]
struct Model {
    /// What the tables say.
    durable: HashMap<u8, i64>,
    /// The entries that there are.
    present: HashMap<u8, Handle>,
    transactions: [Transaction; BACKENDS],
}

impl Model {
    fn durable(&self, key: u8) -> i64 {
        self.durable.get(&key).copied().unwrap_or(0)
    }

    fn in_flight(&self, key: u8) -> i64 {
        self.transactions.iter().map(|transaction| transaction.sum(key)).sum()
    }

    fn reserved(&self, key: u8) -> i64 {
        self.durable(key) + self.in_flight(key)
    }

    fn pinned(&self) -> HashSet<u8> {
        let lines = self.transactions.iter().flat_map(|transaction| &transaction.lines);
        lines.filter(|line| line.counted).map(|line| line.key).collect()
    }
}

struct Run<'memory> {
    table: Table<'memory>,
    journals: [Journal; BACKENDS],
    model: Model,
    entries: usize,
}

impl<'memory> Run<'memory> {
    fn new(entries: &'memory [Entry]) -> Self {
        Self {
            table: Table::new(entries),
            journals: Default::default(),
            model: Model::default(),
            entries: entries.len(),
        }
    }

    fn pin(&self, key: u8) -> Option<Pin> {
        let handle = self.model.present.get(&key)?;
        Some(self.table.pin(*handle).expect("an entry that the model has"))
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Load { backend, keys } => keys.iter().for_each(|number| self.load(*backend, *number)),
            Step::Charge { backend, keys, amount, limit, undo } => self.charge(*backend, keys, *amount, *limit, *undo),
            Step::Record { backend, key, amount } => self.record(*backend, *key, *amount),
            Step::Savepoint { backend } => {
                let transaction = &mut self.model.transactions[*backend];
                transaction.last = (transaction.last + 1).max(Transaction::TOP + 1);
                transaction.savepoints.push(transaction.last);
            }
            Step::Release { backend } => {
                let transaction = &mut self.model.transactions[*backend];
                let Some(level) = transaction.savepoints.pop() else { return };
                let parent = transaction.level();
                transaction.lines.iter_mut().filter(|line| line.level >= level).for_each(|line| line.level = parent);
                self.journals[*backend].merge_level(&self.table, level, parent);
            }
            Step::Rollback { backend, depth } => {
                let transaction = &mut self.model.transactions[*backend];
                let Some(left) = transaction.savepoints.len().checked_sub(*depth) else { return };
                let level = transaction.savepoints[left];
                transaction.savepoints.truncate(left);
                transaction.lines.retain(|line| line.level < level);
                self.journals[*backend].abort_level(&self.table, level);
            }
            Step::Commit { backend } => {
                let transaction = std::mem::take(&mut self.model.transactions[*backend]);
                for line in transaction.lines {
                    *self.model.durable.entry(line.key).or_default() += line.amount;
                }
                self.journals[*backend].commit(&self.table);
                assert!(self.journals[*backend].is_empty());
            }
            Step::Abort { backend } => {
                self.model.transactions[*backend] = Transaction::default();
                self.journals[*backend].abort(&self.table);
                assert!(self.journals[*backend].is_empty());
            }
            Step::Purge { database } => {
                let pinned = self.model.pinned();
                self.model.present.retain(|number, _| key(*number).database != *database || pinned.contains(number));
                self.table.purge(*database);
            }
        }
    }

    /// As a loader does: it has waited for the others that charged without knowing the quota.
    fn load(&mut self, backend: usize, number: u8) {
        let mut others = self.model.transactions.iter().enumerate().filter(|(other, _)| *other != backend);
        let unknown = |line: &Line| line.key == number && !line.counted;
        if self.model.present.contains_key(&number) || others.any(|(_, other)| other.lines.iter().any(unknown)) {
            return;
        }
        let own: Vec<(Level, i64)> = self.journals[backend]
            .charges(Some(charge_of(number).tenant), |charge| *charge == charge_of(number))
            .map(|(level, delta)| (level, delta.amount))
            .collect();
        let sum: i64 = own.iter().map(|(_, amount)| amount).sum();
        self.journals[backend].make_room(own.len()).unwrap();
        let figures = reading(self.model.durable(number) + sum, sum);
        let pinned = self.model.pinned();
        match self.table.publish(&key(number), figures, own.len() as u32) {
            Ok(Published { handle, evicted }) => {
                for (level, amount) in own {
                    let pin = self.table.pin(handle).unwrap();
                    self.table.unpin(pin);
                    self.journals[backend].push(&self.table, pin, level, amount);
                }
                let lines = self.model.transactions[backend].lines.iter_mut();
                lines.filter(|line| line.key == number).for_each(|line| line.counted = true);
                let before = self.model.present.len();
                self.model.present.retain(|number, handle| {
                    let stays = self.table.find(&key(*number)) == Some(*handle);
                    assert!(stays || !pinned.contains(number), "what is pinned stays");
                    stays
                });
                assert_eq!(before - self.model.present.len(), usize::from(evicted));
                assert!(!evicted || before >= WAYS, "there was room");
                self.model.present.insert(number, handle);
            }
            Err(Full) => {
                assert!(pinned.len() >= WAYS, "not everything is pinned");
                assert_eq!(self.table.find(&key(number)), None);
                return;
            }
        }
        // One bucket: no room for one more than there are entries.
        assert!(self.entries > WAYS || pinned.len() < WAYS);
    }

    fn charge(&mut self, backend: usize, keys: &[u8], amount: i64, limit: i64, undo: bool) {
        let level = self.model.transactions[backend].level();
        let journal = &mut self.journals[backend];
        let table = self.table;
        // Pins go to the journal first, as additions of nothing.
        let mut pins = Vec::new();
        for number in keys {
            let Some(handle) = self.model.present.get(number) else { continue };
            journal.make_room(1).unwrap();
            let pin = table.pin(*handle).unwrap();
            journal.push(&table, pin, level, 0);
            pins.push((*number, pin));
            self.model.transactions[backend].lines.push(Line { level, key: *number, amount: 0, counted: true });
        }
        for (place, (number, pin)) in pins.iter().enumerate() {
            let before = pins[..place].iter().filter(|(other, _)| other == number).count() as i64;
            let admitted = table.reserve(*pin, amount, limit);
            assert_eq!(admitted, self.model.reserved(*number) + (before + 1) * amount <= limit);
            if !admitted {
                pins[..place].iter().for_each(|(_, pin)| table.give_back(*pin, amount));
                return;
            }
        }
        for (number, pin) in &pins {
            journal.make_room(0).unwrap();
            journal.put(*pin, level, amount);
            journal.charge(charge_of(*number), level, amount);
        }
        if undo {
            for (number, pin) in pins {
                journal.retract(&table, pin, level, amount);
                journal.forget(charge_of(number), level, amount);
            }
            return;
        }
        let lines = pins.into_iter().map(|(key, _)| Line { level, key, amount, counted: true });
        self.model.transactions[backend].lines.extend(lines);
    }

    fn record(&mut self, backend: usize, number: u8, amount: i64) {
        let level = self.model.transactions[backend].level();
        let pin = self.pin(number);
        let journal = &mut self.journals[backend];
        journal.make_room(1).unwrap();
        if let Some(pin) = pin {
            assert_eq!(self.table.add(pin, amount), amount);
            journal.push(&self.table, pin, level, amount);
        }
        journal.charge(charge_of(number), level, amount);
        self.model.transactions[backend].lines.push(Line { level, key: number, amount, counted: pin.is_some() });
    }

    fn check(&self) {
        let pinned = self.model.pinned();
        for (journal, transaction) in self.journals.iter().zip(&self.model.transactions) {
            let level = transaction.level();
            let inner: i64 = journal.charges_from(level).map(|(_, delta)| delta.amount).sum();
            let lines = transaction.lines.iter().filter(|line| line.level >= level);
            assert_eq!(inner, lines.map(|line| line.amount).sum::<i64>());
        }
        for number in 0..KEYS {
            assert_eq!(self.table.find(&key(number)), self.model.present.get(&number).copied());
            for (journal, transaction) in self.journals.iter().zip(&self.model.transactions) {
                let mut charged: HashMap<Level, i64> = HashMap::new();
                for (level, delta) in
                    journal.charges(Some(charge_of(number).tenant), |charge| *charge == charge_of(number))
                {
                    *charged.entry(level).or_default() += delta.amount;
                }
                for line in transaction.lines.iter().filter(|line| line.key == number) {
                    *charged.entry(line.level).or_default() -= line.amount;
                }
                assert!(charged.values().all(|rest| *rest == 0), "{charged:?}");
            }
            let Some(handle) = self.model.present.get(&number) else {
                assert!(!pinned.contains(&number));
                continue;
            };
            let expected = reading(self.model.reserved(number), self.model.in_flight(number));
            assert_eq!(self.table.peek(*handle), Some(expected));
            let pin = self.table.pin(*handle).unwrap();
            assert_eq!(self.table.read(pin), expected);
            for (journal, transaction) in self.journals.iter().zip(&self.model.transactions) {
                assert_eq!(journal.done(pin.index()).amount, transaction.sum(number));
            }
            self.table.unpin(pin);
        }
        assert_eq!(self.table.census(), (self.entries, self.model.present.len(), pinned.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transactions_agree_with_the_model(
        entries in prop_oneof![Just(WAYS), Just(2 * WAYS), Just(3 * WAYS + 1), Just(4 * WAYS)],
        steps in vec(step(), 1..80),
        commits in any::<bool>(),
    ) {
        let entries = memory(entries);
        let mut run = Run::new(&entries);
        for step in &steps {
            run.take(step);
            run.check();
        }
        for backend in 0..BACKENDS {
            run.take(&if commits { Step::Commit { backend } } else { Step::Abort { backend } });
            run.check();
        }
        prop_assert_eq!(run.table.census(), (entries.len(), run.model.present.len(), 0));
        for (number, handle) in &run.model.present {
            prop_assert_eq!(run.table.peek(*handle), Some(reading(run.model.durable(*number), 0)));
        }
    }
}
