//! Epochs, and the slots that show which transaction is in flight.

use loom::sync::Arc;
use loom::sync::atomic::Ordering;
use loom::thread;
use tollgate_escrow::epochs::EpochsByDatabase;
use tollgate_escrow::registry::{Closed, Identity, InFlight};

use super::support::{Backends, CHARGER, DATABASE, LOADER, PARTITION, model, with};

#[test]
fn a_charge_that_misses_the_new_epoch_is_seen() {
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
fn a_charge_that_misses_the_new_epoch_is_seen_by_a_loader_that_knows_it() {
    model(3, || {
        let backends = Backends::new();
        let charger = with(&backends, |backends| backends.enter(7).unwrap());
        let changer = with(&backends, |backends| backends.registry().advance(PARTITION));
        // The loader knows of the change only because it read the epoch.
        let known = backends.registry().epoch(PARTITION);
        let seen = backends.earlier(known);
        let epoch = charger.join().unwrap();
        changer.join().unwrap();
        assert!(epoch >= known || seen == Some(InFlight { slot: CHARGER, transaction: 7 }), "{epoch} {known} {seen:?}");
    });
}

#[test]
fn a_charge_that_sees_the_new_epoch_sees_what_changed() {
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
            // In flight since before the change, whatever it does meanwhile.
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
fn a_closed_partition_is_not_entered_unseen() {
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
            // It may have been seen on its way out, but leaves no trace.
            Err(Closed) => assert_eq!(backends.earlier(closed), None),
        }
        let owner = Identity { database: DATABASE, transaction: 9, process: 2, since: 2 };
        assert_eq!(backends.registry().enter(LOADER, owner, PARTITION, true), Ok(3));
        backends.registry().advance(PARTITION);
        assert_eq!(backends.registry().epoch(PARTITION), 4);
    });
}

#[test]
fn a_slot_that_is_empty_has_left_its_charges() {
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
fn a_withdrawal_leaves_nothing_unseen() {
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
fn a_withdrawal_comes_after_giving_back() {
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
fn a_successor_does_not_hide_a_transaction_in_flight() {
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
fn a_successor_is_not_taken_for_its_predecessor() {
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
fn a_successor_of_another_database_does_not_hide_its_predecessor() {
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

#[test]
fn sessions_of_a_database_find_one_place_and_no_others() {
    model(3, || {
        let all = Arc::new(EpochsByDatabase::default());
        let place = |database| {
            let all = all.clone();
            thread::spawn(move || all.of(database).0)
        };
        let (same, other) = (place(1), place(2));
        let own = all.of(1).0;
        assert_eq!(same.join().unwrap(), own);
        assert_ne!(other.join().unwrap(), own);
        assert_eq!(all.of(1).0, own);
    });
}
