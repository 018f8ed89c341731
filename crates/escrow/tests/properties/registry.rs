//! Slots, epochs, partitions and counted events.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_escrow::epochs::{DATABASES, Epochs, EpochsByDatabase, PLATFORM, TENANT_PARTITIONS, partition};
use tollgate_escrow::registry::{Closed, Holding, Identity, InFlight, Registry, Slot, Statistic};

use crate::BACKENDS;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

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
                        // A transaction that is in already goes on in the epoch before.
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
    assert_eq!(registry.earlier(0, 1, 1, PLATFORM, u32::MAX - 1), None, "epochs have begun again: 4 is the later one");
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
fn each_database_has_epochs_of_its_own_while_there_is_room() {
    let all = EpochsByDatabase::default();
    let slots = [Slot::default()];
    let databases = 1..=DATABASES as u32 + 2;
    let places: Vec<usize> = databases.clone().map(|database| all.of(database).0).collect();
    let distinct: HashSet<usize> = places[..DATABASES].iter().copied().collect();
    assert_eq!(distinct.len(), DATABASES);
    assert_eq!(places[DATABASES..], [DATABASES, DATABASES], "the last two share");
    assert_eq!(databases.map(|database| all.of(database).0).collect::<Vec<_>>(), places, "and again");
    let epoch = |database| Registry::new(all.of(database).1, &slots).epoch(0);
    Registry::new(all.of(1).1, &slots).advance(0);
    Registry::new(all.of(DATABASES as u32 + 1).1, &slots).advance(0);
    let last = DATABASES as u32;
    assert_eq!([1, 2, last, last + 1, last + 2].map(epoch), [4, 2, 2, 4, 4]);
}
