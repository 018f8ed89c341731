//! Charges on one counter: limits, sums and the ceiling.

use tollgate_escrow::journal::Journal;
use tollgate_escrow::table::{Handle, WAYS};

use super::support::{DATABASE, LEVEL, Memory, key, model, on, reading};

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
        // Of a part there may be more than of the whole: it is never too small.
        assert!((0..=10).contains(&seen.reserved) && (0..=12).contains(&seen.in_flight));
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
