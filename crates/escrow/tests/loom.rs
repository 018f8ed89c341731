//! Every interleaving of two or three threads, with every value that the memory model lets them read.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p pg_tollgate-escrow --test loom --release`
//!
//! The table has one bucket of two entries here. Loom takes sequentially consistent accesses for acquire and release
//! ones, but knows fences; what the code needs of that kind are fences.
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicI64, Ordering};
use loom::thread;
use tollgate_escrow::journal::Journal;
use tollgate_escrow::registry::{Closed, Epochs, Identity, InFlight, Registry, Slot};
use tollgate_escrow::table::{CounterKey, Delta, Entry, Full, Handle, Pin, Reading, Table, WAYS};

const LEVEL: u32 = 1;
const PARTITION: usize = 0;
const DATABASE: u32 = 1;

/// Runs every interleaving with at most so many preemptions.
fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

fn key(database: u32, quota: u8, period: u64) -> CounterKey {
    CounterKey { database, ledger: 1, quota: [quota; 16], period, epoch: 2 }
}

fn reading(reserved: i64, in_flight: i64) -> Reading {
    Reading { reserved, in_flight, held: 0, horizon: 0, next_expiry: i64::MAX }
}

/// One bucket, and a number for what the tables of the database say: seen only by whoever is told to look.
struct Memory {
    entries: Vec<Entry>,
    ledger: AtomicI64,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self { entries: (0..WAYS).map(|_| Entry::default()).collect(), ledger: AtomicI64::new(0) })
    }

    fn table(&self) -> Table<'_> {
        Table::new(&self.entries)
    }

    /// Publishes an entry that nobody has pinned.
    fn publish(&self, key: &CounterKey, reading: Reading) -> Handle {
        self.table().publish(key, reading, 0).unwrap().handle
    }

    /// Publishes an entry with one pin.
    fn publish_pinned(&self, key: &CounterKey, reading: Reading) -> Result<(Handle, Pin), Full> {
        let handle = self.table().publish(key, reading, 1)?.handle;
        let pin = self.table().pin(handle).unwrap();
        self.table().unpin(pin);
        Ok((handle, pin))
    }
}

/// Starts a thread on the memory.
fn on<T: 'static>(memory: &Arc<Memory>, body: impl FnOnce(&Memory) -> T + 'static) -> thread::JoinHandle<T> {
    let memory = memory.clone();
    thread::spawn(move || body(&memory))
}

/// Charges six of ten and keeps it to the end.
fn charge(memory: &Memory, handle: Handle, journal: &mut Journal) -> bool {
    let table = memory.table();
    journal.make_room(1).unwrap();
    let pin = table.pin(handle).unwrap();
    let admitted = table.reserve(pin, 6, 10);
    if admitted {
        journal.push(&table, pin, LEVEL, 6);
    } else {
        table.unpin(pin);
    }
    admitted
}

#[test]
fn one_of_two_chargers_fits() {
    model(3, || {
        let memory = Memory::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(0, 0));
        let charger = move |memory: &Memory| {
            let mut journal = Journal::new();
            (charge(memory, handle, &mut journal), journal)
        };
        let other = on(&memory, charger);
        let (own_fits, mut own) = charger(&memory);
        let (other_fits, mut other) = other.join().unwrap();
        assert!(own_fits != other_fits);
        let table = memory.table();
        assert_eq!(table.peek(handle), Some(reading(6, 6)));
        own.commit(&table);
        other.abort(&table);
        assert_eq!(table.peek(handle), Some(reading(if own_fits { 6 } else { 0 }, 0)));
        assert_eq!(table.census(), (WAYS, 1, 0));
    });
}

#[test]
fn a_charger_fits_after_another_gave_back() {
    model(2, || {
        let memory = Memory::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(0, 0));
        let other = on(&memory, move |memory| {
            let mut journal = Journal::new();
            let admitted = charge(memory, handle, &mut journal);
            journal.abort(&memory.table());
            admitted
        });
        let watcher = on(&memory, move |memory| memory.table().peek(handle).unwrap());
        let mut journal = Journal::new();
        let own_fits = charge(&memory, handle, &mut journal);
        journal.commit(&memory.table());
        let other_fits = other.join().unwrap();
        assert!(own_fits || other_fits);
        let seen = watcher.join().unwrap();
        assert!(seen.reserved <= 10 && (0..=seen.reserved).contains(&seen.in_flight));
        assert_eq!(memory.table().peek(handle), Some(reading(if own_fits { 6 } else { 0 }, 0)));
        assert_eq!(memory.table().census(), (WAYS, 1, 0));
    });
}

#[test]
fn sums_are_exact() {
    model(2, || {
        let memory = Memory::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(1, 0));
        let back = on(&memory, move |memory| {
            let table = memory.table();
            let pin = table.pin(handle).unwrap();
            assert_eq!(table.add(pin, 5), 5);
            table.give_back(pin, 5);
            table.unpin(pin);
        });
        let settled = on(&memory, move |memory| {
            let table = memory.table();
            let pin = table.pin(handle).unwrap();
            assert_eq!(table.add(pin, 7), 7);
            table.settle(pin, 7);
            table.unpin(pin);
        });
        let table = memory.table();
        let pin = table.pin(handle).unwrap();
        // It may or may not fit, but nothing of it stays.
        if table.reserve(pin, 2, 9) {
            table.give_back(pin, 2);
        }
        table.unpin(pin);
        back.join().unwrap();
        settled.join().unwrap();
        assert_eq!(table.peek(handle), Some(reading(8, 0)));
        assert_eq!(table.census(), (WAYS, 1, 0));
    });
}

#[test]
fn the_ceiling_holds_for_two() {
    const CEILING: i64 = i64::MAX / 2;
    model(3, || {
        let memory = Memory::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(CEILING - 5, 0));
        let add = move |memory: &Memory| {
            let table = memory.table();
            let pin = table.pin(handle).unwrap();
            (pin, table.add(pin, 3))
        };
        let other = on(&memory, add);
        let (own_pin, own) = add(&memory);
        let (other_pin, other) = other.join().unwrap();
        assert_eq!(own + other, 5);
        let table = memory.table();
        assert_eq!(table.read(own_pin), reading(CEILING, 5));
        table.give_back(own_pin, own);
        table.settle(other_pin, other);
        assert_eq!(table.read(own_pin), reading(CEILING - 5 + other, 0));
    });
}

#[test]
fn an_addition_lands_on_its_own_key() {
    model(3, || {
        let memory = Memory::new();
        let [first, second] = [key(DATABASE, 1, 1), key(DATABASE, 2, 1)];
        let handle = memory.publish(&first, reading(10, 0));
        let _kept = memory.publish_pinned(&second, reading(20, 0)).unwrap();
        let charger = on(&memory, move |memory| {
            let table = memory.table();
            let pin = table.pin(handle)?;
            assert_eq!(table.add(pin, 5), 5);
            // Pinned, it is still what it was.
            assert_eq!(table.find(&first), Some(handle));
            assert_eq!(table.read(pin), reading(15, 5));
            Some(pin)
        });
        let third = key(DATABASE, 3, 1);
        let published = memory.publish_pinned(&third, reading(100, 0));
        let pin = charger.join().unwrap();
        let table = memory.table();
        assert!(pin.is_some() != published.is_ok());
        if let Some(pin) = pin {
            assert_eq!(table.read(pin), reading(15, 5));
            assert_eq!(table.find(&third), None);
        }
        if let Ok((handle, pin)) = published {
            assert_eq!(table.peek(handle), Some(reading(100, 0)));
            assert_eq!(table.read(pin), reading(100, 0));
            assert_eq!(table.find(&first), None);
        }
        assert_eq!(table.census(), (WAYS, 2, 2));
    });
}

#[test]
fn what_is_found_is_what_was_looked_for() {
    model(2, || {
        let memory = Memory::new();
        let first = key(DATABASE, 1, 1);
        memory.publish(&first, reading(7, 3));
        let _kept = memory.publish_pinned(&key(DATABASE, 2, 1), reading(20, 0)).unwrap();
        let reader = on(&memory, move |memory| {
            let table = memory.table();
            // One word of the old key and one of the new are no key.
            assert_eq!(table.find(&key(DATABASE, 1, 9)), None);
            assert_eq!(table.find(&key(DATABASE, 3, 1)), None);
            let Some(handle) = table.find(&first) else { return };
            let Some(pin) = table.pin(handle) else { return };
            assert_eq!(table.read(pin), reading(7, 3));
        });
        let third = key(DATABASE, 3, 9);
        let published = memory.table().publish(&third, reading(100, 50), 0);
        reader.join().unwrap();
        if let Ok(published) = published {
            assert_eq!(memory.table().find(&third), Some(published.handle));
            assert_eq!(memory.table().peek(published.handle), Some(reading(100, 50)));
        }
    });
}

#[test]
fn a_new_key_is_found_whole_with_its_figures() {
    model(3, || {
        let memory = Memory::new();
        let first = key(DATABASE, 1, 1);
        let reader = on(&memory, move |memory| {
            let table = memory.table();
            let Some(handle) = table.find(&first) else { return };
            assert_eq!(table.peek(handle), Some(reading(7, 3)));
            let pin = table.pin(handle).unwrap();
            assert_eq!(table.read(pin), reading(7, 3));
        });
        memory.publish(&first, reading(7, 3));
        reader.join().unwrap();
    });
}

#[test]
fn a_pin_sees_the_figures_without_having_looked() {
    model(3, || {
        let memory = Memory::new();
        let place = Arc::new(std::sync::Mutex::new(None));
        // The handle comes by a way that orders nothing.
        let given = place.clone();
        let reader = on(&memory, move |memory| {
            let handle: Option<Handle> = *given.lock().unwrap();
            let Some(pin) = handle.and_then(|handle| memory.table().pin(handle)) else { return };
            assert_eq!(memory.table().read(pin), reading(7, 3));
            assert_eq!(memory.ledger.load(Ordering::Relaxed), 5);
        });
        memory.ledger.store(5, Ordering::Relaxed);
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(7, 3));
        *place.lock().unwrap() = Some(handle);
        reader.join().unwrap();
    });
}

#[test]
fn a_reading_without_having_looked_is_the_figures() {
    model(3, || {
        let memory = Memory::new();
        let place = Arc::new(std::sync::Mutex::new(None));
        let given = place.clone();
        let reader = on(&memory, move |memory| {
            let handle: Option<Handle> = *given.lock().unwrap();
            let seen = handle.and_then(|handle| memory.table().peek(handle));
            assert!(seen.is_none_or(|seen| seen == reading(7, 3)), "{seen:?}");
        });
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(7, 3));
        *place.lock().unwrap() = Some(handle);
        reader.join().unwrap();
    });
}

#[test]
fn a_reading_is_of_its_own_key() {
    model(3, || {
        let memory = Memory::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(7, 3));
        let _kept = memory.publish_pinned(&key(DATABASE, 2, 1), reading(20, 0)).unwrap();
        let reader = on(&memory, move |memory| {
            let seen = memory.table().peek(handle);
            assert!(seen.is_none_or(|seen| seen == reading(7, 3)), "{seen:?}");
        });
        let published = memory.table().publish(&key(DATABASE, 3, 9), reading(100, 50), 0).unwrap();
        assert!(published.evicted);
        reader.join().unwrap();
        assert_eq!(memory.table().peek(handle), None);
        assert_eq!(memory.table().peek(published.handle), Some(reading(100, 50)));
    });
}

#[test]
fn who_loads_again_sees_what_was_left() {
    model(2, || {
        let memory = Memory::new();
        let first = key(DATABASE, 1, 1);
        let (handle, pin) = memory.publish_pinned(&first, reading(0, 0)).unwrap();
        let _kept = memory.publish_pinned(&key(DATABASE, 2, 1), reading(20, 0)).unwrap();
        let charger = on(&memory, move |memory| {
            let table = memory.table();
            let mut journal = Journal::new();
            journal.make_room(1).unwrap();
            assert!(table.reserve(pin, 5, 10));
            journal.push(&table, pin, LEVEL, 5);
            memory.ledger.store(5, Ordering::Relaxed);
            journal.commit(&table);
        });
        // Told that it is gone, somebody reads the tables.
        let loader = on(&memory, move |memory| {
            if memory.table().find(&first).is_none() {
                assert_eq!(memory.ledger.load(Ordering::Relaxed), 5);
            }
        });
        let third = key(DATABASE, 3, 1);
        if let Ok(published) = memory.table().publish(&third, reading(100, 0), 0) {
            assert_eq!(memory.ledger.load(Ordering::Relaxed), 5);
            assert_eq!(memory.table().peek(published.handle), Some(reading(100, 0)));
            assert_eq!(memory.table().peek(handle), None);
        }
        charger.join().unwrap();
        loader.join().unwrap();
        let table = memory.table();
        if table.find(&first).is_none() {
            let again = memory.publish(&first, reading(memory.ledger.load(Ordering::Relaxed), 0));
            assert_eq!(table.peek(again), Some(reading(5, 0)));
        } else {
            assert_eq!(table.peek(handle), Some(reading(5, 0)));
        }
    });
}

#[test]
fn the_end_of_a_transaction_touches_no_later_key() {
    for commits in [true, false] {
        model(3, move || {
            let memory = Memory::new();
            let (handle, pin) = memory.publish_pinned(&key(DATABASE, 1, 1), reading(0, 0)).unwrap();
            let _kept = memory.publish_pinned(&key(DATABASE, 2, 1), reading(20, 0)).unwrap();
            let charger = on(&memory, move |memory| {
                let table = memory.table();
                let mut journal = Journal::new();
                journal.make_room(1).unwrap();
                assert!(table.reserve(pin, 5, 10));
                journal.push(&table, pin, LEVEL, 5);
                if commits {
                    journal.commit(&table);
                } else {
                    journal.abort(&table);
                }
            });
            let published = memory.table().publish(&key(DATABASE, 3, 1), reading(100, 50), 0);
            charger.join().unwrap();
            match published {
                Ok(published) => assert_eq!(memory.table().peek(published.handle), Some(reading(100, 50))),
                Err(Full) => assert_eq!(memory.table().peek(handle), Some(reading(if commits { 5 } else { 0 }, 0))),
            }
        });
    }
}

#[test]
fn no_two_publishers_get_the_same_entry() {
    model(3, || {
        let memory = Memory::new();
        let [first, second] = [key(DATABASE, 1, 1), key(DATABASE, 2, 1)];
        let other = on(&memory, move |memory| memory.publish_pinned(&first, reading(10, 1)).unwrap());
        let own = memory.publish_pinned(&second, reading(20, 2)).unwrap();
        let other = other.join().unwrap();
        let table = memory.table();
        assert_ne!(own.1.index(), other.1.index());
        assert_eq!((table.find(&first), table.find(&second)), (Some(other.0), Some(own.0)));
        assert_eq!((table.read(other.1), table.read(own.1)), (reading(10, 1), reading(20, 2)));
        assert_eq!(table.census(), (WAYS, 2, 2));
    });
}

#[test]
fn the_last_entry_goes_to_one() {
    model(3, || {
        let memory = Memory::new();
        let _kept = memory.publish_pinned(&key(DATABASE, 1, 1), reading(10, 0)).unwrap();
        let old = memory.publish(&key(DATABASE, 2, 1), reading(20, 0));
        let [third, fourth] = [key(DATABASE, 3, 1), key(DATABASE, 4, 1)];
        let other = on(&memory, move |memory| memory.publish_pinned(&third, reading(30, 3)));
        let own = memory.publish_pinned(&fourth, reading(40, 4));
        let other = other.join().unwrap();
        let table = memory.table();
        assert!(own.is_ok() != other.is_ok());
        assert_eq!((table.find(&third).is_some(), table.find(&fourth).is_some()), (other.is_ok(), own.is_ok()));
        assert_eq!(table.peek(old), None);
        if let Ok((handle, pin)) = other {
            assert_eq!((table.peek(handle), table.read(pin)), (Some(reading(30, 3)), reading(30, 3)));
        }
        if let Ok((handle, pin)) = own {
            assert_eq!((table.peek(handle), table.read(pin)), (Some(reading(40, 4)), reading(40, 4)));
        }
        assert_eq!(table.census(), (WAYS, 2, 2));
    });
}

#[test]
fn what_is_pinned_is_not_purged() {
    model(3, || {
        let memory = Memory::new();
        let first = key(DATABASE, 1, 1);
        let handle = memory.publish(&first, reading(10, 0));
        let charger = on(&memory, move |memory| {
            let table = memory.table();
            let pin = table.pin(handle)?;
            assert_eq!(table.add(pin, 5), 5);
            assert_eq!(table.find(&first), Some(handle));
            assert_eq!(table.read(pin), reading(15, 5));
            Some(pin)
        });
        memory.table().purge(DATABASE);
        let pin = charger.join().unwrap();
        let table = memory.table();
        assert_eq!(table.find(&first).is_some(), pin.is_some());
        if let Some(pin) = pin {
            table.unpin(pin);
            table.purge(DATABASE);
        }
        assert_eq!(table.find(&first), None);
        assert_eq!(table.census(), (WAYS, 0, 0));
    });
}

#[test]
fn a_purge_frees_no_entry_of_another_database() {
    model(3, || {
        let memory = Memory::new();
        let [first, second] = [key(DATABASE, 1, 1), key(DATABASE + 1, 2, 1)];
        memory.publish(&first, reading(10, 0));
        let _kept = memory.publish_pinned(&key(DATABASE + 1, 3, 1), reading(20, 0)).unwrap();
        let purger = on(&memory, |memory| memory.table().purge(DATABASE));
        let handle = memory.publish(&second, reading(100, 0));
        purger.join().unwrap();
        let table = memory.table();
        assert_eq!(table.find(&first), None);
        assert_eq!(table.find(&second), Some(handle));
        assert_eq!(table.peek(handle), Some(reading(100, 0)));
    });
}

#[test]
fn a_purge_misses_nothing_that_is_only_looked_at() {
    model(3, || {
        let memory = Memory::new();
        let [first, second] = [key(DATABASE + 1, 1, 1), key(DATABASE, 2, 1)];
        memory.publish(&first, reading(10, 0));
        memory.publish(&second, reading(20, 0));
        let purger = on(&memory, |memory| memory.table().purge(DATABASE));
        // Clears the marks of all when all are marked.
        memory.publish(&key(DATABASE + 1, 3, 1), reading(100, 0));
        purger.join().unwrap();
        assert_eq!(memory.table().find(&second), None);
    });
}

#[test]
fn who_reuses_a_purged_entry_sees_what_was_left() {
    model(2, || {
        let memory = Memory::new();
        let (_, pin) = memory.publish_pinned(&key(DATABASE, 1, 1), reading(0, 0)).unwrap();
        let _kept = memory.publish_pinned(&key(DATABASE + 1, 2, 1), reading(20, 0)).unwrap();
        let charger = on(&memory, move |memory| {
            memory.ledger.store(5, Ordering::Relaxed);
            memory.table().unpin(pin);
        });
        let purger = on(&memory, |memory| memory.table().purge(DATABASE));
        if memory.table().publish(&key(DATABASE + 1, 3, 1), reading(0, 0), 0).is_ok() {
            assert_eq!(memory.ledger.load(Ordering::Relaxed), 5);
        }
        charger.join().unwrap();
        purger.join().unwrap();
    });
}

/// Epochs and two slots: the charger's and the loader's, and a number that the charger leaves behind.
struct Backends {
    epochs: Epochs,
    slots: [Slot; 2],
    ledger: AtomicI64,
}

const CHARGER: usize = 0;
const LOADER: usize = 1;

impl Backends {
    fn new() -> Arc<Self> {
        Arc::new(Self { epochs: Epochs::default(), slots: Default::default(), ledger: AtomicI64::new(0) })
    }

    fn registry(&self) -> Registry<'_> {
        Registry::new(&self.epochs, &self.slots)
    }

    fn enter(&self, transaction: u32) -> Result<u32, Closed> {
        let who = Identity { database: DATABASE, transaction, process: 1, since: 1 };
        self.registry().enter(CHARGER, who, PARTITION, false)
    }

    fn earlier(&self, epoch: u32) -> Option<InFlight> {
        self.registry().earlier(0, LOADER, DATABASE, PARTITION, epoch)
    }
}

fn with<T: 'static>(backends: &Arc<Backends>, body: impl FnOnce(&Backends) -> T + 'static) -> thread::JoinHandle<T> {
    let backends = backends.clone();
    thread::spawn(move || body(&backends))
}

#[test]
fn who_misses_the_new_epoch_is_seen() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| backends.enter(7).unwrap());
        backends.registry().advance(PARTITION);
        let seen = backends.earlier(4);
        let epoch = charger.join().unwrap();
        assert!(epoch == 4 || seen == Some(InFlight { slot: CHARGER, transaction: 7 }), "{epoch} {seen:?}");
        assert_eq!(backends.earlier(4).is_some(), epoch != 4);
    });
}

#[test]
fn who_misses_the_new_epoch_is_seen_by_whoever_knows_it() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| backends.enter(7).unwrap());
        let changer = with(&backends, |backends| backends.registry().advance(PARTITION));
        // The loader knows of the change only because he read the epoch.
        let known = backends.registry().epoch(PARTITION);
        let seen = backends.earlier(known);
        let epoch = charger.join().unwrap();
        changer.join().unwrap();
        assert!(epoch >= known || seen == Some(InFlight { slot: CHARGER, transaction: 7 }), "{epoch} {known} {seen:?}");
    });
}

#[test]
fn who_sees_the_new_epoch_knows_what_changed() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| {
            if backends.registry().epoch(PARTITION) == 4 || backends.enter(7) == Ok(4) {
                assert_eq!(backends.ledger.load(Ordering::Relaxed), 5);
            }
        });
        backends.ledger.store(5, Ordering::Relaxed);
        backends.registry().advance(PARTITION);
        charger.join().unwrap();
    });
}

#[test]
fn a_second_charge_keeps_the_first_epoch() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        let changer = with(&backends, |backends| {
            backends.registry().advance(PARTITION);
            // In flight since before the change, whatever he does meanwhile.
            assert_eq!(backends.earlier(4), Some(InFlight { slot: CHARGER, transaction: 7 }));
        });
        let epoch = backends.enter(7).unwrap();
        changer.join().unwrap();
        assert!(epoch == 2 || epoch == 4);
        assert_eq!(backends.enter(7), Ok(4));
        assert!(backends.earlier(4).is_some());
    });
}

#[test]
fn nobody_enters_unseen_what_is_closed() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| backends.enter(7));
        let closed = backends.registry().close(PARTITION);
        assert_eq!(closed, 3);
        let seen = backends.earlier(closed);
        match charger.join().unwrap() {
            Ok(epoch) => {
                assert_eq!(epoch, 2);
                assert_eq!(seen, Some(InFlight { slot: CHARGER, transaction: 7 }));
            }
            // He may have been seen on his way out, but leaves no trace.
            Err(Closed) => assert_eq!(backends.earlier(closed), None),
        }
        let owner = Identity { database: DATABASE, transaction: 9, process: 2, since: 2 };
        assert_eq!(backends.registry().enter(LOADER, owner, PARTITION, true), Ok(3));
        backends.registry().advance(PARTITION);
        assert_eq!(backends.registry().epoch(PARTITION), 4);
    });
}

#[test]
fn who_has_left_has_left_his_charges() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        backends.registry().advance(PARTITION);
        let charger = with(&backends, |backends| {
            backends.ledger.store(5, Ordering::Relaxed);
            backends.registry().leave(CHARGER);
        });
        match backends.earlier(4) {
            Some(seen) => assert_eq!(seen, InFlight { slot: CHARGER, transaction: 7 }),
            None => assert_eq!(backends.ledger.load(Ordering::Relaxed), 5),
        }
        charger.join().unwrap();
        assert_eq!(backends.earlier(4), None);
    });
}

#[test]
fn who_withdraws_leaves_nothing_unseen() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| {
            // Refused, and then again in whatever epoch it is.
            backends.enter(7).unwrap();
            backends.registry().withdraw(CHARGER, PARTITION);
            backends.enter(7).unwrap()
        });
        backends.registry().advance(PARTITION);
        let seen = backends.earlier(4);
        let epoch = charger.join().unwrap();
        assert!(epoch == 4 || seen == Some(InFlight { slot: CHARGER, transaction: 7 }), "{epoch} {seen:?}");
    });
}

#[test]
fn who_has_withdrawn_has_given_back() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        backends.registry().advance(PARTITION);
        let charger = with(&backends, |backends| {
            backends.ledger.store(5, Ordering::Relaxed);
            backends.registry().withdraw(CHARGER, PARTITION);
        });
        match backends.earlier(4) {
            Some(seen) => assert_eq!(seen, InFlight { slot: CHARGER, transaction: 7 }),
            None => assert_eq!(backends.ledger.load(Ordering::Relaxed), 5),
        }
        charger.join().unwrap();
    });
}

#[test]
fn a_successor_does_not_hide_who_is_in_flight() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        let charger = with(&backends, |backends| {
            backends.ledger.store(5, Ordering::Relaxed);
            backends.registry().leave(CHARGER);
            backends.enter(8).unwrap()
        });
        backends.registry().advance(PARTITION);
        let seen = backends.earlier(4);
        let left = backends.ledger.load(Ordering::Relaxed) == 5;
        let epoch = charger.join().unwrap();
        match seen {
            Some(seen) => assert!(seen.slot == CHARGER && (seen.transaction == 7 || seen.transaction == 8)),
            // The first has left, and the second knows.
            None => assert!(left && epoch == 4),
        }
        assert_eq!(backends.earlier(4).is_some(), epoch == 2);
    });
}

#[test]
fn a_successor_is_not_taken_for_who_was_before() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        backends.registry().advance(PARTITION);
        let charger = with(&backends, |backends| {
            backends.ledger.store(5, Ordering::Relaxed);
            backends.registry().leave(CHARGER);
            assert_eq!(backends.enter(8), Ok(4));
        });
        match backends.earlier(4) {
            Some(seen) => assert_eq!(seen, InFlight { slot: CHARGER, transaction: 7 }),
            None => assert_eq!(backends.ledger.load(Ordering::Relaxed), 5),
        }
        charger.join().unwrap();
    });
}

#[test]
fn a_successor_of_another_database_does_not_hide_who_was_before() {
    model(3, || {
        let backends = Backends::new();
        assert_eq!(backends.enter(7), Ok(2));
        backends.registry().advance(PARTITION);
        let charger = with(&backends, |backends| {
            backends.ledger.store(5, Ordering::Relaxed);
            backends.registry().leave(CHARGER);
            let other = Identity { database: DATABASE + 1, transaction: 8, process: 3, since: 3 };
            assert_eq!(backends.registry().enter(CHARGER, other, PARTITION, false), Ok(4));
        });
        match backends.earlier(4) {
            Some(seen) => assert_eq!(seen, InFlight { slot: CHARGER, transaction: 7 }),
            None => assert_eq!(backends.ledger.load(Ordering::Relaxed), 5),
        }
        charger.join().unwrap();
    });
}

#[test]
fn a_slot_is_of_the_database_that_it_shows() {
    model(3, || {
        let backends = Backends::new();
        // Before, another database had the slot.
        let other = Identity { database: DATABASE + 1, transaction: 6, process: 1, since: 1 };
        assert_eq!(backends.registry().enter(CHARGER, other, PARTITION, false), Ok(2));
        backends.registry().leave(CHARGER);
        let charger = with(&backends, |backends| backends.enter(7).unwrap());
        backends.registry().advance(PARTITION);
        let seen = backends.earlier(4);
        let foreign = backends.registry().earlier(0, LOADER, DATABASE + 1, PARTITION, 4);
        let epoch = charger.join().unwrap();
        assert!(epoch == 4 || seen == Some(InFlight { slot: CHARGER, transaction: 7 }), "{epoch} {seen:?}");
        assert_eq!(foreign, None);
    });
}

/// Takes a hold in hand that expires then, and says whether it is counted, as far as the horizon tells.
fn resolver(memory: &Memory, backends: &Backends, handle: Handle, expiry: i64) -> bool {
    let (table, registry) = (memory.table(), backends.registry());
    let pin = table.pin(handle).unwrap();
    backends.enter(7).unwrap();
    registry.publish_active_expiry(CHARGER, PARTITION, expiry);
    let counted = expiry > table.horizon(pin);
    table.unpin(pin);
    counted
}

#[test]
fn a_hold_in_hand_is_seen_or_sees_the_horizon() {
    model(3, || {
        let memory = Memory::new();
        let backends = Backends::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(10, 0));
        let (its_memory, its_backends) = (memory.clone(), backends.clone());
        let other = thread::spawn(move || resolver(&its_memory, &its_backends, handle, 5));
        let table = memory.table();
        let pin = table.pin(handle).unwrap();
        table.set_horizon(pin, 7);
        let seen = backends.registry().earliest_active_expiry(DATABASE, PARTITION).is_some_and(|(hand, _)| hand == 5);
        let counted = other.join().unwrap();
        assert!(!counted || seen, "a hold that is counted was passed over");
        table.unpin(pin);
    });
}

#[test]
fn who_has_let_go_has_credited() {
    model(3, || {
        let memory = Memory::new();
        let backends = Backends::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), Reading { held: 5, ..reading(10, 0) });
        backends.enter(7).unwrap();
        backends.registry().publish_active_expiry(CHARGER, PARTITION, 5);
        let (its_memory, its_backends) = (memory.clone(), backends.clone());
        let other = thread::spawn(move || {
            let table = its_memory.table();
            let mut journal = Journal::new();
            journal.make_room(1).unwrap();
            let pin = table.pin(handle).unwrap();
            journal.push(&table, pin, LEVEL, Delta::between(5, 2, 0));
            journal.commit(&table);
            its_backends.registry().leave(CHARGER);
        });
        if backends.registry().earliest_active_expiry(DATABASE, PARTITION).is_none() {
            let seen = memory.table().peek(handle).unwrap();
            assert_eq!((seen.reserved, seen.held), (7, 0));
        }
        other.join().unwrap();
    });
}
