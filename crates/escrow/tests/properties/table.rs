//! What one entry and one bucket do.

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_escrow::journal::Journal;
use tollgate_escrow::table::{CounterKey, Full, Handle, Table, WAYS};

use crate::{CEILING, KEYS, charge_of, key, memory, reading};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A journal of many lines finds by an index what one of few lines looks for.
    #[test]
    fn a_long_journal_knows_what_was_done(steps in vec((0..10u8, 0..4u8, 1..100i64), 1..200)) {
        let entries = memory(WAYS);
        let table = Table::new(&entries);
        let pins: Vec<_> = (0..4).map(|number| table.publish(&key(number), reading(0, 0), 1).unwrap().pin()).collect();
        let (mut journal, mut level, mut lines) = (Journal::new(), 1, Vec::<(u32, u8, i64)>::new());
        for (step, number, amount) in steps {
            match step {
                0 => level += 1,
                1 if level > 1 => {
                    journal.abort_level(&table, level);
                    lines.retain(|line| line.0 < level);
                    level -= 1;
                }
                2 if level > 1 => {
                    journal.merge_level(&table, level, level - 1);
                    lines.iter_mut().filter(|line| line.0 == level).for_each(|line| line.0 -= 1);
                    level -= 1;
                }
                _ => {
                    journal.make_room(1).unwrap();
                    let pin = table.pin(table.find(&key(number)).unwrap()).unwrap();
                    table.add(pin, amount);
                    journal.push(&table, pin, level, amount);
                    journal.charge(charge_of(number), level, amount);
                    lines.push((level, number, amount));
                }
            }
            for number in 0..4 {
                let sum: i64 = lines.iter().filter(|line| line.1 == number).map(|line| line.2).sum();
                let tenant = charge_of(number).tenant;
                let charged: i64 = journal.charges(Some(tenant), |charge| charge.tenant == tenant).map(|it| it.1.amount).sum();
                prop_assert_eq!((charged, journal.done(pins[usize::from(number)].index()).amount), (sum, sum));
                prop_assert_eq!(table.read(pins[usize::from(number)]).reserved, sum);
            }
        }
        journal.abort(&table);
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
        let noted: i64 = journal.charges(None, |_| true).map(|(_, delta)| delta.amount).sum();
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
fn figures_of_an_entry_may_be_below_zero_and_end_at_the_ceiling() {
    let entries = memory(WAYS);
    let table = Table::new(&entries);
    let low = table.publish(&key(1), reading(-5, 3), 0).unwrap().handle;
    let lowest = table.publish(&key(3), reading(i64::MIN, 0), 0).unwrap().handle;
    let high = table.publish(&key(2), reading(i64::MAX, 0), 0).unwrap().handle;
    assert_eq!(table.peek(low), Some(reading(-5, 3)));
    assert_eq!(table.peek(lowest), Some(reading(-CEILING, 0)));
    assert_eq!(table.peek(high), Some(reading(CEILING, 0)));
}

/// Of two buckets the one with fewer pinned entries takes the next.
#[test]
fn most_entries_can_be_pinned() {
    let entries = memory(65_536);
    let table = Table::new(&entries);
    let key = |number: u64| CounterKey { period: number, ..key(1) };
    let pinned = (0..).take_while(|number| table.publish(&key(*number), reading(0, 0), 1).is_ok()).count();
    assert!(pinned > 65_536 * 7 / 10, "{pinned} of 65,536");
}

#[test]
fn a_full_journal_says_so() {
    let mut journal = Journal::new();
    assert!(journal.make_room(1 << 20).is_ok());
    assert!(journal.make_room((1 << 20) + 1).is_err());
}
