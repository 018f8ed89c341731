//! Random use of the table, the journal and the registry by several backends, against models that count with maps.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use tollgate_escrow::journal::Charge;
use tollgate_escrow::table::{CounterKey, Entry, Reading};

mod registry;
mod table;
mod transactions;

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
