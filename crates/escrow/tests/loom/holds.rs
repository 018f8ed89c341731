//! Active holds, and the horizon.

use loom::thread;
use tollgate_escrow::journal::Journal;
use tollgate_escrow::table::{Delta, Handle, Reading};

use super::support::{Backends, CHARGER, DATABASE, LEVEL, Memory, PARTITION, key, model, reading};

/// Publishes an active hold that expires then, and says whether it is counted, as far as the horizon tells.
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
fn an_active_hold_is_seen_or_sees_the_horizon() {
    model(3, || {
        let memory = Memory::new();
        let backends = Backends::new();
        let handle = memory.publish(&key(DATABASE, 1, 1), reading(10, 0));
        let (its_memory, its_backends) = (memory.clone(), backends.clone());
        let other = thread::spawn(move || resolver(&its_memory, &its_backends, handle, 5));
        let table = memory.table();
        let pin = table.pin(handle).unwrap();
        table.set_horizon(pin, 7);
        let seen =
            backends.registry().earliest_active_expiry(DATABASE, PARTITION).is_some_and(|(expiry, _)| expiry == 5);
        let counted = other.join().unwrap();
        assert!(!counted || seen, "a hold that is counted was passed over");
        table.unpin(pin);
    });
}

#[test]
fn a_slot_without_an_active_hold_has_credited() {
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
