//! Random transactions of several backends on one small table, each step against a model that counts with a map.
#![cfg(not(loom))]

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_escrow::journal::{Charge, Journal, Level};
use tollgate_escrow::registry::{
    Closed, Epochs, Holding, Identity, InFlight, PLATFORM, Registry, Slot, Statistic, TENANT_PARTITIONS, partition,
};
use tollgate_escrow::table::{CounterKey, Entry, Full, Handle, Pin, Published, Reading, Table, WAYS};

const KEYS: u8 = 20;
const BACKENDS: usize = 3;
const CEILING: i64 = i64::MAX / 2;

fn memory(entries: usize) -> Vec<Entry> {
    (0..entries).map(|_| Entry::default()).collect()
}

fn key(number: u8) -> CounterKey {
    CounterKey {
        database: 1 + u32::from(number % 2),
        ledger: 7,
        quota: [number; 16],
        period: u64::from(number) << 32,
        epoch: 2,
    }
}

fn charge_of(number: u8) -> Charge {
    Charge { tenant: [number; 16], user: [0; 16], resource: 1, quarter: i64::from(number) }
}

fn reading(reserved: i64, in_flight: i64) -> Reading {
    Reading { reserved, in_flight, held: 0, horizon: 0, next_expiry: i64::MAX }
}

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

    /// As a loader does, who has waited for whoever else charged without knowing the quota.
    fn load(&mut self, backend: usize, number: u8) {
        let mut others = self.model.transactions.iter().enumerate().filter(|(other, _)| *other != backend);
        let unknown = |line: &Line| line.key == number && !line.counted;
        if self.model.present.contains_key(&number) || others.any(|(_, other)| other.lines.iter().any(unknown)) {
            return;
        }
        let own: Vec<(Level, i64)> = self.journals[backend]
            .charges(|charge| *charge == charge_of(number))
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
                for (level, delta) in journal.charges(|charge| *charge == charge_of(number)) {
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

    #[test]
    fn sums_end_at_the_ceiling(
        start in prop_oneof![0..100i64, CEILING - 100..=CEILING, Just(i64::MAX)],
        amounts in vec(prop_oneof![0..100i64, CEILING - 100..=CEILING, Just(i64::MAX)], 1..12),
    ) {
        let entries = memory(WAYS);
        let table = Table::new(&entries);
        let handle = table.publish(&key(1), reading(start, 0), 0).unwrap().handle;
        let start = start.min(CEILING);
        let mut sum = start;
        let mut journal = Journal::new();
        for amount in &amounts {
            journal.make_room(1).unwrap();
            let pin = table.pin(handle).unwrap();
            let added = table.add(pin, *amount);
            prop_assert_eq!(i128::from(added), i128::from(*amount).min(i128::from(CEILING - sum)));
            sum += added;
            journal.push(&table, pin, 1, added);
            journal.charge(charge_of(1), 1, *amount);
            prop_assert_eq!(table.peek(handle), Some(reading(sum, sum - start)));
            prop_assert_eq!(journal.done(pin.index()).amount, sum - start);
            // No limit is large enough for a sum that no integer holds.
            let before = table.read(pin);
            let fits = i128::from(sum) + i128::from(*amount) <= i128::from(i64::MAX);
            prop_assert_eq!(table.reserve(pin, *amount, i64::MAX), fits);
            if fits {
                table.give_back(pin, *amount);
            }
            prop_assert_eq!(table.read(pin), before);
        }
        let charged: i128 = amounts.iter().map(|amount| i128::from(*amount)).sum();
        let noted: i64 = journal.charges(|_| true).map(|(_, delta)| delta.amount).sum();
        prop_assert_eq!(i128::from(noted), charged.min(i128::from(i64::MAX)));
        journal.abort(&table);
        prop_assert_eq!(table.peek(handle), Some(reading(start, 0)));
    }

    #[test]
    fn every_word_of_a_key_counts(number in 0..KEYS, change in 0..5usize, bit in 0..32u32) {
        let entries = memory(2 * WAYS);
        let table = Table::new(&entries);
        let known = key(number);
        let mut other = known;
        match change {
            0 => other.database ^= 1 << bit,
            1 => other.ledger ^= 1 << bit,
            2 => other.quota[bit as usize % 16] ^= 1 << (bit % 8),
            3 => other.period ^= 1 << (bit * 2),
            _ => other.epoch ^= 1 << bit,
        }
        let handle = table.publish(&known, reading(1, 0), 0).unwrap().handle;
        prop_assert_eq!(table.find(&known), Some(handle));
        prop_assert_eq!(table.find(&other), None);
        let second = table.publish(&other, reading(2, 0), 0).unwrap();
        prop_assert!(!second.evicted);
        prop_assert_eq!(table.find(&known), Some(handle));
        prop_assert_eq!(table.find(&other), Some(second.handle));
    }

    #[test]
    fn partitions_are_stable_and_within_range(database in any::<u32>(), tenant in any::<[u8; 16]>()) {
        let first = partition(database, &tenant);
        prop_assert!(first < TENANT_PARTITIONS && first != PLATFORM);
        prop_assert_eq!(partition(database, &tenant), first);
    }

    #[test]
    fn holdings_are_what_was_noted(
        notes in vec((0..BACKENDS, 0..8u8, -50..50i64, prop::bool::weighted(0.1)), 1..60),
    ) {
        let (epochs, slots) = backends();
        let registry = Registry::new(&epochs, &slots);
        let mut noted: [HashMap<u8, i64>; BACKENDS] = Default::default();
        for (slot, tenant, amount, leaves) in notes {
            if leaves {
                registry.leave(slot);
                noted[slot].clear();
            } else {
                registry.enter(slot, identity(slot, 1), PLATFORM, false).unwrap();
                registry.note(slot, &[tenant; 16], amount);
                *noted[slot].entry(tenant).or_default() += amount;
            }
            for (slot, noted) in noted.iter().enumerate() {
                let shown: Vec<Holding> = registry.holdings(database(slot)).filter(|holding| holding.process == process(slot)).collect();
                let total: i64 = shown.iter().map(|holding| holding.amount).sum();
                prop_assert_eq!(total, noted.values().sum::<i64>());
                let named: HashSet<[u8; 16]> = shown.iter().filter_map(|holding| holding.tenant).collect();
                for holding in &shown {
                    prop_assert_eq!(holding.since, i64::from(process(slot)));
                    if let Some(tenant) = holding.tenant {
                        prop_assert_eq!(holding.amount, noted[&tenant[0]]);
                    }
                }
                // As long as there are lines for all, all have one.
                let others = noted.iter().filter(|(tenant, amount)| **amount != 0 && !named.contains(&[**tenant; 16]));
                if noted.len() <= 4 && !noted.contains_key(&0) {
                    prop_assert_eq!(others.count(), 0);
                }
            }
            let other_databases = registry.holdings(9).count();
            prop_assert_eq!(other_databases, 0);
        }
    }

    #[test]
    fn epochs_agree_with_the_model(
        steps in vec((0..BACKENDS, 0..2usize, 0..7u8), 1..80),
    ) {
        let (epochs, slots) = backends();
        let registry = Registry::new(&epochs, &slots);
        let partitions = [0, PLATFORM];
        let mut current = [2u32; 2];
        let mut first = [[0u32; 2]; BACKENDS];
        let mut transactions = [1u32; BACKENDS];
        for (slot, which, what) in steps {
            let partition = partitions[which];
            match what {
                0..=2 => {
                    let owner = what == 2;
                    let entered = registry.enter(slot, identity(slot, transactions[slot]), partition, owner);
                    if current[which] % 2 == 1 && !owner {
                        // Whoever is in already goes on in the epoch before.
                        let expected = if first[slot][which] == 0 { Err(Closed) } else { Ok(current[which] - 1) };
                        prop_assert_eq!(entered, expected);
                    } else {
                        prop_assert_eq!(entered, Ok(current[which]));
                        if first[slot][which] == 0 {
                            first[slot][which] = current[which];
                        }
                    }
                }
                3 => {
                    registry.leave(slot);
                    first[slot] = [0; 2];
                    transactions[slot] += 1;
                }
                4 => {
                    registry.withdraw(slot, partition);
                    first[slot][which] = 0;
                }
                5 => {
                    current[which] |= 1;
                    prop_assert_eq!(registry.close(partition), current[which]);
                }
                _ => {
                    current[which] = (current[which] | 1) + 1;
                    registry.advance(partition);
                }
            }
            for (which, partition) in partitions.into_iter().enumerate() {
                prop_assert_eq!(registry.epoch(partition), current[which]);
                let mut from = 0;
                let mut found = Vec::new();
                while let Some(seen) = registry.earlier(from, slot, 1, partition, current[which]) {
                    found.push(seen);
                    from = seen.slot + 1;
                }
                let expected: Vec<InFlight> = (0..BACKENDS)
                    .filter(|other| *other != slot && database(*other) == 1)
                    .filter(|other| first[*other][which] != 0 && first[*other][which] < current[which])
                    .map(|slot| InFlight { slot, transaction: transactions[slot] })
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn events_are_counted(counted in vec((0..BACKENDS, 0..STATISTICS.len()), 0..60)) {
        let (epochs, slots) = backends();
        let registry = Registry::new(&epochs, &slots);
        let mut sums = [0u64; STATISTICS.len()];
        for (slot, event) in counted {
            registry.count(slot, STATISTICS[event]);
            sums[event] += 1;
            // Events outlive transactions.
            registry.leave(slot);
        }
        for (event, sum) in STATISTICS.into_iter().zip(sums) {
            prop_assert_eq!(registry.counted(event), sum);
        }
    }
}

const STATISTICS: [Statistic; 6] = [
    Statistic::Admission,
    Statistic::Refusal,
    Statistic::RetryableRefusal,
    Statistic::Load,
    Statistic::Eviction,
    Statistic::Wait,
];

fn backends() -> (Epochs, Vec<Slot>) {
    (Epochs::default(), (0..BACKENDS).map(|_| Slot::default()).collect())
}

/// The last backend is of another database.
fn database(slot: usize) -> u32 {
    if slot + 1 == BACKENDS { 2 } else { 1 }
}

fn process(slot: usize) -> u32 {
    100 + slot as u32
}

fn identity(slot: usize, transaction: u32) -> Identity {
    Identity { database: database(slot), transaction, process: process(slot), since: i64::from(process(slot)) }
}

/// Publishes so many keys in one bucket, each with so many pins.
fn filled(table: &Table, pins: u32) -> Vec<Handle> {
    (0..WAYS as u8).map(|number| table.publish(&key(number), reading(0, 0), pins).unwrap().handle).collect()
}

#[test]
fn a_bucket_of_pinned_entries_is_full() {
    let entries = memory(WAYS);
    let table = Table::new(&entries);
    let handles = filled(&table, 1);
    assert_eq!(table.publish(&key(100), reading(0, 0), 0), Err(Full));
    assert_eq!(table.census(), (WAYS, WAYS, WAYS));
    // The one that is not pinned any more makes room.
    let pin = table.pin(handles[3]).unwrap();
    table.unpin(pin);
    table.unpin(pin);
    let published = table.publish(&key(100), reading(5, 0), 1).unwrap();
    assert!(published.evicted);
    assert_eq!(table.pin(handles[3]), None);
    assert_eq!(table.peek(handles[3]), None);
    assert_eq!(table.peek(published.handle), Some(reading(5, 0)));
    assert_eq!(table.publish(&key(101), reading(0, 0), 0), Err(Full));
}

#[test]
fn keys_that_differ_in_one_word_spread() {
    let change: [fn(&mut CounterKey, u32); 6] = [
        |key, number| key.database = number,
        |key, number| key.ledger = number,
        |key, number| key.quota[..4].copy_from_slice(&number.to_le_bytes()),
        |key, number| key.quota[12..].copy_from_slice(&number.to_le_bytes()),
        |key, number| key.period = u64::from(number),
        |key, number| key.epoch = number,
    ];
    for change in change {
        // Were all in the same two buckets, an eighth of the table would do.
        let entries = memory(16 * WAYS);
        let table = Table::new(&entries);
        for number in 0..8 * WAYS as u32 {
            let mut key = key(1);
            change(&mut key, number);
            assert!(table.publish(&key, reading(0, 0), 1).is_ok(), "{key:?}");
        }
    }
}

#[test]
fn what_was_used_of_late_is_spared() {
    let entries = memory(WAYS);
    let table = Table::new(&entries);
    let handles = filled(&table, 0);
    // Everything is marked, so all marks go, and one entry.
    assert!(table.publish(&key(100), reading(0, 0), 0).unwrap().evicted);
    let left: Vec<Handle> =
        handles.into_iter().filter(|handle| table.find(&key_of(&table, *handle)).is_some()).collect();
    assert_eq!(left.len(), WAYS - 1);
    // All but one are looked at again.
    for handle in &left[1..] {
        assert!(table.peek(*handle).is_some());
    }
    assert!(table.publish(&key(101), reading(0, 0), 0).unwrap().evicted);
    assert_eq!(table.peek(left[0]), None);
    assert!(left[1..].iter().all(|handle| table.peek(*handle).is_some()));
}

fn key_of(table: &Table, handle: Handle) -> CounterKey {
    (0..WAYS as u8).map(key).find(|key| table.find(key) == Some(handle)).unwrap_or_else(|| key(u8::MAX))
}

#[test]
fn a_part_larger_than_the_whole_is_not_told() {
    let entries = memory(WAYS);
    let table = Table::new(&entries);
    let published = table.publish(&key(1), reading(3, 7), 0).unwrap();
    assert_eq!(table.peek(published.handle), Some(reading(3, 3)));
}

#[test]
fn figures_of_an_entry_start_at_zero_and_end_at_the_ceiling() {
    let entries = memory(WAYS);
    let table = Table::new(&entries);
    let low = table.publish(&key(1), reading(-5, 0), 0).unwrap().handle;
    let high = table.publish(&key(2), reading(i64::MAX, 0), 0).unwrap().handle;
    assert_eq!(table.peek(low), Some(reading(0, 0)));
    assert_eq!(table.peek(high), Some(reading(CEILING, 0)));
}

#[test]
fn partitions_are_used_evenly() {
    let mut used = vec![0u32; TENANT_PARTITIONS];
    for number in 0..64 * 1000u32 {
        let mut tenant = [0; 16];
        tenant[..4].copy_from_slice(&number.to_le_bytes());
        used[partition(1, &tenant)] += 1;
    }
    assert!(used.iter().all(|times| (500..2000).contains(times)), "{used:?}");
}

#[test]
fn epochs_go_around() {
    let (epochs, slots) = backends();
    let registry = Registry::new(&epochs, &slots);
    assert_eq!(registry.epoch(PLATFORM), 2);
    assert_eq!(registry.close(PLATFORM), 3);
    assert_eq!(registry.close(PLATFORM), 3);
    registry.advance(PLATFORM);
    assert_eq!(registry.epoch(PLATFORM), 4);
    assert_eq!(registry.enter(0, identity(0, 1), PLATFORM, false), Ok(4));
    assert_eq!(registry.earlier(0, 1, 1, PLATFORM, 4), None);
    let in_flight = Some(InFlight { slot: 0, transaction: 1 });
    assert_eq!(registry.earlier(0, 1, 1, PLATFORM, 6), in_flight);
    assert_eq!(registry.earlier(0, 1, 1, PLATFORM, u32::MAX - 1), None, "epochs have begun anew: 4 is the later one");
    assert_eq!(registry.earlier(0, 0, 1, PLATFORM, 6), None, "not oneself");
    assert_eq!(registry.earlier(1, 1, 1, PLATFORM, 6), None, "not before");
    assert_eq!(registry.earlier(0, 1, 2, PLATFORM, 6), None, "not of another database");
    registry.leave(0);
    assert_eq!(registry.earlier(0, 1, 1, PLATFORM, 6), None);
}

#[test]
fn a_slot_shows_its_last_owner() {
    let (epochs, slots) = backends();
    let registry = Registry::new(&epochs, &slots);
    registry.enter(0, identity(0, 1), PLATFORM, false).unwrap();
    registry.leave(0);
    // Another backend has the slot now, and counts its transactions from the beginning.
    registry.enter(0, identity(BACKENDS - 1, 1), PLATFORM, false).unwrap();
    registry.note(0, &[1; 16], 5);
    assert_eq!(registry.holdings(1).count(), 0);
    let since = i64::from(process(BACKENDS - 1));
    let holding = Holding { process: process(BACKENDS - 1), since, tenant: Some([1; 16]), amount: 5 };
    assert_eq!(registry.holdings(2).collect::<Vec<_>>(), [holding]);
}

#[test]
fn a_full_journal_says_so() {
    let mut journal = Journal::new();
    assert!(journal.make_room(1 << 20).is_ok());
    assert!(journal.make_room((1 << 20) + 1).is_err());
}
