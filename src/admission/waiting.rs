//! How an escrow charge waits for others, and how it keeps others from waiting for it. The rules are in the crate `escrow`.

use std::time::Duration;

use tollgate_escrow::epochs::{PLATFORM, partition};
use tollgate_escrow::registry::{InFlight, Statistic};

use crate::pg::lock::{self, Patience, Strength};
use crate::pg::memory::Shared;
use crate::pg::own_database;
use crate::pg::transaction::{own_slot, with};
use crate::quota::Payer;

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
            wait_to_the_end(other);
        }
        match duplicate() {
            Some(next) => other = next,
            None => return true,
        }
    }
}

/// Waits until no transaction is changing definitions.
pub fn barrier(shared: &Shared, partition: usize) {
    shared.registry.count(own_slot(), Statistic::Wait);
    let definitions = lock::LockTarget::Definitions(partition);
    definitions.lock(Strength::Shared);
    definitions.unlock(Strength::Shared);
}

/// Waits for a transaction that charged, or is about to, in an earlier epoch. One that is only about to soon charges or
/// withdraws. Its slot is waited for, not its end, before which it may come to wait for us.
pub fn wait_for(shared: &Shared, other: InFlight, partition: usize, epoch: u32) {
    let registry = &shared.registry;
    registry.count(own_slot(), Statistic::Wait);
    let mut patience = Patience::of(PATIENCE);
    while registry.earlier(other.slot, own_slot(), own_database(), partition, epoch) == Some(other) {
        if registry.stays(other.slot, partition) || !patience.pause() {
            return wait_to_the_end(other);
        }
    }
}

/// How long a slot is looked at before its transaction is waited for after all: something holds it up, which may be us,
/// and the deadlock detector sees only locks.
const PATIENCE: Duration = Duration::from_secs(1);

fn wait_to_the_end(other: InFlight) {
    // Backends count from 1, slots from 0.
    lock::wait_for_transaction(other.slot + 1, other.transaction);
}
