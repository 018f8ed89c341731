//! The escrow mode: counters in shared memory decide. The protocol, step by step, is in the crate `escrow`; the numbers
//! in here are its numbers.

use pgrx::pg_sys;
use tollgate_escrow::journal::{self, Level, TooMany};
use tollgate_escrow::registry::{Closed, Event, PLATFORM, partition};
use tollgate_escrow::table::{Full, Handle, Key, Pin, Reading};

use super::definitions::Definition;
use super::locked::Sums;
use super::{Admission, Charge, Standing, Subject, definitions, nil};
use crate::admission::{Mode, Quota, Scope, judge};
use crate::error::{Error, Result};
use crate::period::Bounds;
use crate::pg::invalidation::{current_generation, generation, watch};
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::{identity, level, own_slot, with};
use crate::pg::{Timestamp, to_unix_seconds};
use crate::settings;

/// What an admitted charge has added, for [`retract`].
#[derive(Default)]
pub struct Counted {
    additions: Vec<(Pin, i64)>,
    level: Level,
}

/// Where the figures of one quota come from.
enum Place {
    Entry(Pin),
    /// This transaction has changed the definitions, and has the partition to itself.
    Tables(i64),
}

/// The epochs that a charge is made in.
#[derive(Clone, Copy)]
struct Epochs {
    tenant: u32,
    platform: u32,
}

/// Why a step is taken again from the beginning.
enum Stop {
    Again,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<TooMany> for Stop {
    fn from(_: TooMany) -> Self {
        Self::Failed(Error::Limit {
            message: "the transaction has charged too many quotas".to_owned(),
            hint: "Commit more often.",
        })
    }
}

fn own_database() -> u32 {
    // SAFETY: set once when the backend chose its database.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

fn partition_of(subject: Subject, scope: Scope) -> usize {
    match scope {
        Scope::Platform => PLATFORM,
        Scope::Tenant | Scope::User => partition(own_database(), &subject.tenant_key()),
    }
}

/// The definitions of a charge to the platform alone are those of the platform.
fn partitions(subject: Subject) -> [usize; 2] {
    [partition_of(subject, Scope::Tenant), PLATFORM]
}

/// Quarters of an hour since 2000-01-01 00:00 UTC: no period of any zone begins or ends within one since then.
fn quarter(unix_seconds: i64) -> i64 {
    const POSTGRES_EPOCH: i64 = 946_684_800;
    (unix_seconds - POSTGRES_EPOCH).div_euclid(900)
}

/// The bounds in one word, as a counter's key has them.
fn packed(bounds: Bounds) -> u64 {
    let half =
        |at: Option<i64>, none: i32| at.map_or(none, |at| i32::try_from(quarter(at)).unwrap_or(none)).cast_unsigned();
    (u64::from(half(bounds.start, i32::MIN)) << 32) | u64::from(half(bounds.end, i32::MAX))
}

fn key(definition: &Definition, bounds: Bounds, epoch: u32) -> Key {
    Key { database: own_database(), ledger: watch().to_u32(), quota: definition.id, period: packed(bounds), epoch }
}

/// The charge as the journal knows it.
fn noted(subject: Subject, at: Timestamp) -> journal::Charge {
    journal::Charge {
        tenant: subject.tenant_key(),
        user: *subject.user.unwrap_or_else(nil).as_bytes(),
        resource: subject.resource as u8,
        quarter: quarter(to_unix_seconds(at)),
    }
}

/// Whether a quota counts a charge of this transaction.
fn counts(definition: &Definition, subject: Subject, bounds: Bounds, charge: &journal::Charge) -> bool {
    let whose = match definition.scope {
        Scope::Platform => true,
        Scope::Tenant => charge.tenant == subject.tenant_key(),
        Scope::User => {
            charge.tenant == subject.tenant_key() && charge.user == *subject.user.unwrap_or_else(nil).as_bytes()
        }
    };
    let within = bounds.start.is_none_or(|start| quarter(start) <= charge.quarter)
        && bounds.end.is_none_or(|end| charge.quarter < quarter(end));
    whose && within && (definition.counts_all() || charge.resource == subject.resource as u8)
}

/// The quota as this transaction sees it: what others have in flight is held, its own is spent.
fn figures(definition: &Definition, bounds: Bounds, reading: Reading, own: i64) -> Quota {
    let held = reading.in_flight.saturating_sub(own).clamp(0, reading.reserved.max(0));
    definition.counting(bounds, reading.reserved - held, held)
}

pub fn admit(shared: &Shared, spi: &Session, charge: Charge) -> Result<Admission> {
    loop {
        let outcome = try_admit(shared, spi, charge);
        let admitted = matches!(&outcome, Ok(admission) if admission.admitted);
        for partition in partitions(charge.subject) {
            let charged = with(|state| state.note_charged(partition, admitted));
            if !charged {
                // Nothing of this transaction is in flight here, so nobody needs to wait for it: not even another that
                // starts anew as we do.
                shared.registry.withdraw(own_slot(), partition);
            }
        }
        match outcome {
            Ok(admission) => return Ok(admission),
            Err(Stop::Again) => {
                pgrx::check_for_interrupts!();
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
}

fn try_admit(shared: &Shared, spi: &Session, charge: Charge) -> std::result::Result<Admission, Stop> {
    let subject = charge.subject;
    // 1
    let epochs = enter(shared, subject)?;
    // 2
    let known = current_generation();
    let definitions = definitions::of(subject)?;
    // 3. A pin is in the journal, as an addition of nothing, before anything can fail.
    let mut tail = 0;
    let mut places = Vec::with_capacity(definitions.len());
    for definition in definitions.iter() {
        let bounds = definition.bounds_at(to_unix_seconds(charge.at));
        let place = place(shared, spi, subject, definition, bounds, epochs, &mut tail)?;
        places.push((definition, bounds, place));
    }
    if generation() != known {
        return Err(Stop::Again);
    }
    // 4
    let level = level();
    with(|state| state.journal.make_room(0))?;
    let mut additions = Vec::with_capacity(places.len());
    loop {
        let standing = Standing {
            quotas: places
                .iter()
                .map(|(definition, bounds, place)| match place {
                    Place::Tables(spent) => definition.counting(*bounds, *spent, 0),
                    Place::Entry(pin) => {
                        let own = with(|state| state.journal.added(pin.index()));
                        figures(definition, *bounds, shared.table.read(*pin), own)
                    }
                })
                .collect(),
            tail,
        };
        let verdict = judge(&standing.quotas, charge.amount, settings::allow_without_quota());
        if charge.enforce && !verdict.allowed {
            return Ok(Admission { standing, verdict, admitted: false, counted: Counted::default() });
        }
        // 5 and 6: no call into Postgres from here to the end of the closure.
        additions.clear();
        let reserved = with(|state| {
            for (definition, _, place) in &places {
                let Place::Entry(pin) = *place else { continue };
                let added = match definition.limit {
                    Some(limit) if charge.enforce && definition.mode == Mode::Hard => {
                        shared.table.reserve(pin, charge.amount, limit).then_some(charge.amount)
                    }
                    _ => Some(shared.table.add(pin, charge.amount)),
                };
                let Some(added) = added else {
                    for (pin, added) in additions.drain(..) {
                        shared.table.give_back(pin, added);
                    }
                    return false;
                };
                additions.push((pin, added));
            }
            for (pin, added) in &additions {
                state.journal.put(*pin, level, *added);
            }
            state.journal.charge(noted(subject, charge.at), level, charge.amount);
            shared.registry.note(own_slot(), &subject.tenant_key(), charge.amount);
            true
        });
        if !reserved {
            // Somebody else was admitted in between: the figures have changed.
            continue;
        }
        let counted = Counted { additions, level };
        // 7
        if current_generation() != known {
            retract(shared, charge, &counted);
            return Err(Stop::Again);
        }
        return Ok(Admission { standing, verdict, admitted: true, counted });
    }
}

/// Gives back what an admitted charge added.
pub fn retract(shared: &Shared, charge: Charge, counted: &Counted) {
    with(|state| {
        for (pin, added) in &counted.additions {
            state.journal.retract(&shared.table, *pin, counted.level, *added);
        }
        state.journal.forget(noted(charge.subject, charge.at), counted.level, charge.amount);
        shared.registry.note(own_slot(), &charge.subject.tenant_key(), -charge.amount);
    });
}

/// Step 1, for the tenant and the platform. Waits where somebody has closed a partition, and closes what this
/// transaction has changed.
fn enter(shared: &Shared, subject: Subject) -> std::result::Result<Epochs, Stop> {
    let me = identity();
    let mut epochs = [0; 2];
    for (epoch, partition) in epochs.iter_mut().zip(partitions(subject)) {
        if with(|state| state.has_changed(partition) && !state.has_closed(partition)) {
            close(shared, partition);
        }
        let owner = with(|state| state.has_closed(partition));
        with(|state| state.entered = true);
        *epoch = loop {
            match shared.registry.enter(own_slot(), me, partition, owner) {
                Ok(epoch) => break epoch,
                Err(Closed) => {
                    shared.registry.count(own_slot(), Event::Wait);
                    barrier(partition);
                }
            }
        };
    }
    Ok(Epochs { tenant: epochs[0], platform: epochs[1] })
}

/// Waits until nobody is changing definitions.
fn barrier(partition: usize) {
    let definitions = lock::Subject::Definitions(partition);
    definitions.lock(Strength::Shared);
    definitions.unlock(Strength::Shared);
}

/// This transaction has changed definitions and now charges: it decides from the tables, so nobody else may be in flight.
fn close(shared: &Shared, partition: usize) {
    lock::Subject::Definitions(partition).lock(Strength::Exclusive);
    let epoch = shared.registry.close(partition);
    let level = level();
    with(|state| state.note_closed(partition, level));
    wait_for_earlier(shared, partition, epoch);
}

/// Waits for the transactions that charged in an earlier epoch.
fn wait_for_earlier(shared: &Shared, partition: usize, epoch: u32) {
    let mut from = 0;
    while let Some(other) = shared.registry.earlier(from, own_slot(), own_database(), partition, epoch) {
        shared.registry.count(own_slot(), Event::Wait);
        // Backends count from 1, slots from 0.
        lock::wait_for_transaction(other.slot + 1, other.transaction);
        from = other.slot;
    }
}

/// Step 3 for one quota.
fn place(
    shared: &Shared,
    spi: &Session,
    subject: Subject,
    definition: &Definition,
    bounds: Bounds,
    epochs: Epochs,
    tail: &mut i64,
) -> std::result::Result<Place, Stop> {
    let partition = partition_of(subject, definition.scope);
    if with(|state| state.has_closed(partition)) {
        let mut sums = Sums::new(subject, Look::Latest);
        let sum = sums.get(spi, definition.scope, bounds)?;
        *tail = sum.tail.max(*tail);
        return Ok(Place::Tables(sum.counted(definition.counts_all())));
    }
    let epoch = if definition.scope == Scope::Platform { epochs.platform } else { epochs.tenant };
    let key = key(definition, bounds, epoch);
    let level = level();
    loop {
        let handle = match at_hand(shared, definition, &key) {
            Some(handle) => handle,
            None => load(shared, spi, subject, definition, bounds, &key, Patience::Wait, tail)?.ok_or(Stop::Again)?,
        };
        let pinned = with(|state| -> std::result::Result<_, TooMany> {
            state.journal.make_room(1)?;
            let pin = shared.table.pin(handle);
            if let Some(pin) = pin {
                state.journal.push(&shared.table, pin, level, 0);
            }
            Ok(pin)
        })?;
        if let Some(pin) = pinned {
            definition.place.set(Some((key.period, key.epoch, handle)));
            return Ok(Place::Entry(pin));
        }
        // Evicted between two steps.
        definition.place.set(None);
    }
}

/// Where the counter is, as far as anybody knows.
fn at_hand(shared: &Shared, definition: &Definition, key: &Key) -> Option<Handle> {
    match definition.place.get() {
        Some((period, epoch, handle)) if period == key.period && epoch == key.epoch => Some(handle),
        _ => shared.table.find(key),
    }
}

/// Whether a load may wait for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    Try,
}

/// Reads a counter from the tables into memory. `None` when the epoch has moved on, or, without patience, where it would
/// have to wait.
#[allow(clippy::too_many_arguments)]
fn load(
    shared: &Shared,
    spi: &Session,
    subject: Subject,
    definition: &Definition,
    bounds: Bounds,
    key: &Key,
    patience: Patience,
    tail: &mut i64,
) -> std::result::Result<Option<Handle>, Stop> {
    let partition = partition_of(subject, definition.scope);
    let definitions = lock::Subject::Definitions(partition);
    let counted = match definition.scope {
        Scope::Platform => lock::Subject::Platform,
        Scope::Tenant | Scope::User => lock::Subject::Tenant(subject.tenant_key()),
    };
    let known = generation();
    // Load 1
    match patience {
        Patience::Wait => definitions.lock(Strength::Shared),
        Patience::Try if definitions.try_lock(Strength::Shared) => {}
        Patience::Try => return Ok(None),
    }
    definitions.unlock(Strength::Shared);
    if shared.registry.epoch(partition) != key.epoch || current_generation() != known {
        return Ok(None);
    }
    // Load 2
    match patience {
        Patience::Wait => wait_for_earlier(shared, partition, key.epoch),
        Patience::Try => {
            let earlier = shared.registry.earlier(0, own_slot(), own_database(), partition, key.epoch);
            if earlier.is_some() {
                return Ok(None);
            }
        }
    }
    // Load 3
    match patience {
        Patience::Wait => counted.lock(Strength::Exclusive),
        Patience::Try if counted.try_lock(Strength::Exclusive) => {}
        Patience::Try => return Ok(None),
    }
    // Load 4. An error from here on gives the lock back with the (sub)transaction.
    let found = shared.table.find(key);
    let handle = match found {
        Some(handle) => Ok(handle),
        None => {
            let sum = Sums::new(subject, Look::Latest).get(spi, definition.scope, bounds)?;
            *tail = sum.tail.max(*tail);
            publish(shared, subject, definition, bounds, key, sum.counted(definition.counts_all()))
        }
    };
    counted.unlock(Strength::Exclusive);
    Ok(Some(handle?))
}

/// The end of load 4: one step that allocates nothing once there is room, and does not call Postgres.
fn publish(
    shared: &Shared,
    subject: Subject,
    definition: &Definition,
    bounds: Bounds,
    key: &Key,
    spent: i64,
) -> std::result::Result<Handle, Stop> {
    let slot = own_slot();
    let published = with(|state| -> std::result::Result<_, Stop> {
        let own: Vec<(Level, i64)> =
            state.journal.charges(|charge| counts(definition, subject, bounds, charge)).collect();
        state.journal.make_room(own.len())?;
        let in_flight = own.iter().map(|(_, amount)| amount).sum();
        let pins = own.len() as u32;
        let published =
            shared.table.publish(key, Reading { reserved: spent, in_flight }, pins).map_err(|Full| full())?;
        for (level, amount) in own {
            state.journal.push(&shared.table, published.pin(), level, amount);
        }
        Ok(published)
    })?;
    shared.registry.count(slot, Event::Load);
    if published.evicted {
        shared.registry.count(slot, Event::Eviction);
    }
    Ok(published.handle)
}

fn full() -> Stop {
    Stop::Failed(Error::Limit {
        message: "every counter that this quota could have is in use by open transactions".to_owned(),
        hint: "Raise pg_tollgate.quota_entries, or let transactions that charge end sooner.",
    })
}

/// Looks without charging, and without waiting for anybody.
pub fn standing(shared: &Shared, spi: &Session, subject: Subject, at: Timestamp, look: Look) -> Result<Standing> {
    // SAFETY: both read the state of the server and of the query.
    let tables_only = unsafe { pg_sys::RecoveryInProgress() || pg_sys::IsInParallelMode() };
    current_generation();
    let definitions = definitions::of(subject)?;
    let mut sums = Sums::new(subject, look);
    let mut standing = Standing::default();
    let mut tail = 0;
    for definition in definitions.iter() {
        let bounds = definition.bounds_at(to_unix_seconds(at));
        let reading = if tables_only || with(|state| state.has_changed(partition_of(subject, definition.scope))) {
            None
        } else {
            match glance(shared, subject, definition, bounds) {
                None => fetch(shared, spi, subject, definition, bounds, &mut tail)?,
                seen => seen,
            }
        };
        standing.quotas.push(match reading {
            Some(quota) => quota,
            None => {
                let spent = sums.get(spi, definition.scope, bounds)?.counted(definition.counts_all());
                definition.counting(bounds, spent, 0)
            }
        });
    }
    standing.tail = sums.tail().max(tail);
    Ok(standing)
}

/// The quota from its counter, if that is there.
fn glance(shared: &Shared, subject: Subject, definition: &Definition, bounds: Bounds) -> Option<Quota> {
    let epoch = shared.registry.epoch(partition_of(subject, definition.scope));
    let key = key(definition, bounds, epoch);
    let handle = at_hand(shared, definition, &key)?;
    let Some(reading) = shared.table.peek(handle) else {
        definition.place.set(None);
        return None;
    };
    definition.place.set(Some((key.period, key.epoch, handle)));
    let own = with(|state| if state.journal.is_empty() { 0 } else { state.journal.added(handle.index()) });
    Some(figures(definition, bounds, reading, own))
}

/// The quota from a counter that is loaded for it, unless somebody would have to be waited for.
fn fetch(
    shared: &Shared,
    spi: &Session,
    subject: Subject,
    definition: &Definition,
    bounds: Bounds,
    tail: &mut i64,
) -> Result<Option<Quota>> {
    let epoch = shared.registry.epoch(partition_of(subject, definition.scope));
    let key = key(definition, bounds, epoch);
    match load(shared, spi, subject, definition, bounds, &key, Patience::Try, tail) {
        Ok(Some(_)) => Ok(glance(shared, subject, definition, bounds)),
        // No room for a figure that is only looked at: the tables have it as well.
        Ok(None) | Err(Stop::Again | Stop::Failed(Error::Limit { .. })) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// The standing if the definitions are kept and every counter is there.
pub fn standing_at_hand(shared: &Shared, subject: Subject, at: Timestamp, quotas: &mut Vec<Quota>) -> bool {
    let Some(definitions) = definitions::kept(subject) else { return false };
    for definition in definitions.iter() {
        if with(|state| state.has_changed(partition_of(subject, definition.scope))) {
            return false;
        }
        let bounds = definition.bounds_at(to_unix_seconds(at));
        let Some(quota) = glance(shared, subject, definition, bounds) else { return false };
        quotas.push(quota);
    }
    true
}
