//! How an escrow charge waits for others, and how it keeps others from waiting for it. The rules are in the crate `escrow`.

use std::time::Duration;

use tollgate_escrow::epochs::{PLATFORM, partition};
use tollgate_escrow::registry::{InFlight, Statistic};

use crate::pg::lock::{self, LockTarget, Patience, Strength};
use crate::pg::memory::Shared;
use crate::pg::own_database;
use crate::pg::transaction::{own_slot, with};
use crate::quota::Payer;
use crate::quota::definitions::TenantRow;

/// The partition of the tenant's definitions (of no tenant's, for a charge to the platform alone) and the platform's.
pub fn partitions(payer: Payer) -> [usize; 2] {
    [partition(own_database(), &payer.tenant_key()), PLATFORM]
}

/// Where nothing of this transaction is in flight no other needs to wait for it. Before it waits for another itself this
/// keeps the two from waiting for each other. Afterwards it starts again.
pub fn withdraw(shared: &Shared, payer: Payer) {
    for partition in partitions(payer) {
        if !with(|state| state.has_charged(partition)) {
            shared.registry.withdraw(own_slot(), partition);
        }
    }
    shared.registry.show_request(own_slot(), 0);
}

/// Waits, a second at most, until a transaction has let go of the holds that it had in hand, some of which have expired.
/// Says whether it has.
pub fn wait_for_active_hold(shared: &Shared, other: InFlight) -> bool {
    shared.registry.count(own_slot(), Statistic::Wait);
    let mut patience = Patience::of(PATIENCE);
    loop {
        let waits = patience.pause();
        match shared.registry.is_active(other) {
            true if waits => {}
            active => return !active,
        }
    }
}

/// See [`super::AdmissionMode::wait_for_request`]. The caller itself shows no request.
pub fn wait_for_request(shared: &Shared, request: u64) -> bool {
    let duplicate = || shared.registry.duplicate(own_slot(), own_database(), request);
    let Some(mut other) = duplicate() else { return false };
    let mut patience = Patience::of(PATIENCE);
    loop {
        if !patience.pause() {
            wait_to_the_end(shared, other);
        }
        match duplicate() {
            Some(next) => other = next,
            None => return true,
        }
    }
}

/// Waits until no transaction holds the lock that is in the way.
pub fn barrier(shared: &Shared, lock: LockTarget) {
    shared.registry.count(own_slot(), Statistic::Wait);
    wait_for_persons(shared, lock, Strength::Shared);
    lock.pass();
}

/// Waits for the persons' transactions that have a lock, in a bounded time. Others may then be waited for as usual.
fn wait_for_persons(shared: &Shared, lock: LockTarget, against: Strength) {
    let persons = || {
        let mut holders = lock.holders(against).map(|(slot, transaction)| InFlight { slot, transaction });
        holders.find(|other| shared.registry.person(*other).is_some())
    };
    while let Some(other) = persons() {
        wait_to_the_end(shared, other);
    }
}

/// A charge keeps the lock on whether its tenant has a row: together with others where the tenant has none, alone where this
/// transaction has made the row. Says whether it got it without waiting; else it has waited, and starts again.
pub fn lock_row(shared: &Shared, payer: Payer, row: TenantRow) -> bool {
    let (lock, strength) = match row {
        TenantRow::There => return true,
        TenantRow::Missing => (LockTarget::Row(payer.tenant_key()), Strength::Joint),
        TenantRow::Founded => (LockTarget::Row(payer.tenant_key()), Strength::Exclusive),
    };
    if lock.try_lock(strength) {
        return true;
    }
    withdraw(shared, payer);
    shared.registry.count(own_slot(), Statistic::Wait);
    wait_for_persons(shared, lock, strength);
    lock.lock(strength);
    if row == TenantRow::Missing {
        // The row may be there now.
        lock.unlock(strength);
    }
    false
}

/// Waits for a transaction that charged, or is about to, in an earlier epoch. One that is only about to soon charges or
/// withdraws. Its slot is waited for, not its end, before which it may come to wait for us.
pub fn wait_for(shared: &Shared, other: InFlight, partition: usize, epoch: u32) {
    let registry = &shared.registry;
    registry.count(own_slot(), Statistic::Wait);
    let mut patience = Patience::of(PATIENCE);
    while registry.earlier(other.slot, own_slot(), own_database(), partition, epoch) == Some(other) {
        if registry.stays(other.slot, partition) || !patience.pause() {
            return wait_to_the_end(shared, other);
        }
    }
}

/// How long a slot is looked at before its transaction is waited for after all: something holds it up, which may be us,
/// and the deadlock detector sees only locks.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the open transaction of a person's own session keeps others waiting: a person may stay idle on purpose.
const PATIENCE_WITH_PERSONS: Duration = Duration::from_secs(5);

fn wait_to_the_end(shared: &Shared, other: InFlight) {
    let mut patience = Patience::of(PATIENCE_WITH_PERSONS);
    while let Some(process) = shared.registry.person(other) {
        if !patience.pause() {
            lock::end_session(process, "its open transaction keeps a charge of others waiting");
            break;
        }
    }
    lock::wait_for_transaction(other.slot, other.transaction);
}
