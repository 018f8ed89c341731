//! Entries that are found, published, evicted and purged.

use std::sync::Arc;

use loom::sync::atomic::Ordering;
use tollgate_escrow::journal::Journal;
use tollgate_escrow::table::{Full, Handle, WAYS};

use super::support::{DATABASE, LEVEL, Memory, key, model, on, reading};

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
fn a_later_load_sees_what_was_left() {
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
        // A session that finds it gone reads the tables.
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
fn a_purged_entry_is_reused_with_what_was_left_in_sight() {
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
