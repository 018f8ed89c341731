//! The escrow mode: counters in shared memory decide. The protocol, step by step, is in the crate `escrow`; the numbers
//! in here are its numbers.

use std::rc::Rc;

use pgrx::pg_sys;
use tollgate_escrow::journal::{self, Level, TooMany};
use tollgate_escrow::registry::{Closed, Event, InFlight, PLATFORM, partition};
use tollgate_escrow::table::{Delta, Full, Handle, Key, Pin, Reading};

use super::definitions::{Definition, Epochs, Window, quarter};
use super::locked::Sums;
use super::sums::{self, Sum};
use super::{Admission, Charge, Standing, Subject, definitions};
use crate::error::{Error, Result};
use crate::pg::invalidation::{current_generation, generation, watch};
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::{Advance, identity, level, own_slot, with};
use crate::pg::{Timestamp, clock_timestamp, own_database, to_unix_seconds};
use crate::settings;
use tollgate_core::decision::{Mode, Quota, Scope, judge};

/// What an admitted charge has added, for [`retract`].
#[derive(Default)]
pub struct Counted {
    additions: Vec<(Pin, Delta)>,
    level: Level,
}

/// Where the figures of one quota come from.
enum Place {
    Entry(Pin),
    /// This transaction has changed the definitions, and has the partition to itself.
    Tables {
        spent: i64,
        held: i64,
        horizon: Timestamp,
    },
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

/// The partition of the tenant's definitions (of nobody's, for a charge to the platform alone) and the platform's.
fn partitions(subject: Subject) -> [usize; 2] {
    [partition(own_database(), &subject.tenant_key()), PLATFORM]
}

/// The charge as the journal knows it. What is given up that no user's quota counted is a line of nobody's.
fn noted(charge: &Charge) -> impl Iterator<Item = (journal::Charge, Delta)> {
    let own = journal::Charge {
        tenant: charge.subject.tenant_key(),
        user: charge.subject.user_key(),
        resource: charge.subject.resource as u8,
        quarter: quarter(to_unix_seconds(charge.at)),
    };
    let given_up = charge.gives_up.map_or(0, |hold| hold.amount);
    let (with_own, apart) = if charge.user_held { (given_up, 0) } else { (0, given_up) };
    let nobodys = journal::Charge { user: *super::nil().as_bytes(), ..own };
    let apart = (apart != 0).then(|| (nobodys, Delta::between(apart, 0, 0)));
    [(own, Delta::between(with_own, charge.amount, charge.held()))].into_iter().chain(apart)
}

/// What the transaction may give back, as people are shown it.
fn shown(charge: &Charge) -> i64 {
    noted(charge).map(|(_, delta)| delta.amount).fold(0, i64::saturating_add)
}

pub fn admit(shared: &Shared, spi: &Session, charge: Charge) -> Result<Admission> {
    loop {
        let outcome = try_admit(shared, spi, charge);
        match &outcome {
            Ok(admission) if admission.admitted => {
                for partition in partitions(charge.subject) {
                    with(|state| state.note_charged(partition));
                    shared.registry.stay(own_slot(), partition);
                }
            }
            _ => withdraw(shared, charge.subject),
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

/// Where nothing of this transaction is in flight nobody needs to wait for it. Before it waits for somebody itself this
/// keeps the two from waiting for each other; afterwards it starts anew.
fn withdraw(shared: &Shared, subject: Subject) {
    for partition in partitions(subject) {
        if !with(|state| state.has_charged(partition)) {
            shared.registry.withdraw(own_slot(), partition);
        }
    }
    shared.registry.show_request(own_slot(), 0);
}

fn try_admit(shared: &Shared, spi: &Session, charge: Charge) -> std::result::Result<Admission, Stop> {
    let subject = charge.subject;
    // 1
    let epochs = enter(shared, charge)?;
    // 2
    let known = current_generation();
    let definitions = definitions::of(subject, epochs)?;
    for (partition, epoch) in partitions(subject).into_iter().zip(epochs) {
        if !shared.registry.is_current(partition, epoch) {
            return Err(Stop::Again);
        }
    }
    // 3
    let mut tail = 0;
    let mut places = Vec::with_capacity(definitions.all.len());
    for definition in &definitions.all {
        let line = Line::new(shared, subject, definition, charge.at);
        let place = line.place(spi, epochs, &mut tail)?;
        places.push((line, place));
    }
    if generation() != known {
        return Err(Stop::Again);
    }
    // 4
    let level = level();
    let mut charge = charge;
    if charge.gives_up.is_some_and(|hold| hold.expires <= clock_timestamp()) {
        // Once it is in hand, what expired after it is not passed over.
        let_expire(spi, &places, Patience::Wait)?;
    }
    let given_up = take_in_hand(shared, &mut charge, &places);
    with(|state| state.journal.make_room(0))?;
    let mut additions = Vec::with_capacity(places.len());
    let_expire(spi, &places, Patience::Try)?;
    let mut judged_anew = false;
    loop {
        let standing = Standing {
            quotas: places
                .iter()
                .zip(&given_up)
                .map(|((line, place), given_up)| {
                    let mut quota = match place {
                        Place::Tables { spent, held, .. } => {
                            line.definition.counting(line.window.bounds, *spent, *held)
                        }
                        Place::Entry(pin) => {
                            let own = with(|state| state.journal.done(pin.index()));
                            line.figures(shared.table.read(*pin), own)
                        }
                    };
                    quota.held -= given_up;
                    quota
                })
                .collect(),
            definitions: Some(Rc::clone(&definitions)),
            tail,
        };
        let verdict = judge(&standing.quotas, charge.wanted(), settings::allow_without_quota());
        if charge.enforce && !verdict.allowed {
            // Also if nothing has expired: others may have given back meanwhile what stood in the way.
            match let_expire(spi, &places, Patience::Wait)? {
                _ if !judged_anew => judged_anew = true,
                Expiry::Gained => {}
                Expiry::InHand(other) => {
                    withdraw(shared, charge.subject);
                    if wait_for_hand(shared, other) {
                        return Err(Stop::Again);
                    }
                    return Ok(Admission::refused(standing, verdict));
                }
                Expiry::Nothing => return Ok(Admission::refused(standing, verdict)),
            }
            continue;
        }
        // 5 and 6: no call into Postgres from here to the end of the closure.
        additions.clear();
        let reserved = with(|state| {
            for (((_, place), quota), given_up) in places.iter().zip(&standing.quotas).zip(&given_up) {
                let Place::Entry(pin) = *place else { continue };
                let delta = Delta::between(*given_up, charge.amount, charge.held());
                let added = match quota.limit {
                    Some(limit) if charge.enforce && quota.mode == Mode::Hard => {
                        shared.table.reserve(pin, delta.amount, limit).then_some(delta.amount)
                    }
                    _ => Some(shared.table.add(pin, delta.amount)),
                };
                let Some(amount) = added else {
                    for (pin, delta) in additions.drain(..) {
                        let delta: Delta = delta;
                        shared.table.give_back(pin, delta.amount);
                    }
                    return false;
                };
                if let Some(hold) = charge.hold {
                    shared.table.expires(pin, hold.expires);
                }
                additions.push((pin, Delta { amount, ..delta }));
            }
            for (pin, delta) in &additions {
                state.journal.put(*pin, level, *delta);
            }
            for (noted, delta) in noted(&charge) {
                state.journal.charge(noted, level, delta);
            }
            shared.registry.note(own_slot(), &subject.tenant_key(), shown(&charge));
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
        return Ok(Admission { standing, verdict, admitted: true, counted, hold: charge.hold });
    }
}

/// Shows the holds that are made and given up in the slot, and then looks which counters count what is given up: see the
/// protocol.
fn take_in_hand(shared: &Shared, charge: &mut Charge, places: &[(Line<'_>, Place)]) -> Vec<i64> {
    let Some(earliest) = charge.in_hand() else { return vec![0; places.len()] };
    let [partition, _] = partitions(charge.subject);
    let before = shared.registry.take_in_hand(own_slot(), partition, earliest);
    with(|state| state.note_in_hand(earliest));
    let horizons: Vec<Timestamp> = places
        .iter()
        .map(|(line, place)| match place {
            Place::Tables { horizon, .. } => *horizon,
            Place::Entry(pin) => {
                let horizon = shared.table.horizon(*pin);
                if earliest > horizon {
                    return horizon;
                }
                // It may be moving at this moment, and not stay where it is.
                line.counted().lock(Strength::Exclusive);
                let horizon = shared.table.horizon(*pin);
                line.counted().unlock(Strength::Exclusive);
                horizon
            }
        })
        .collect();
    if let (Some(hold), Some(latest)) = (&mut charge.hold, horizons.iter().max())
        && hold.expires <= *latest
    {
        // The clock was set back: a hold that expires before the horizon would not be counted.
        let lasts = hold.expires.saturating_sub(clock_timestamp()).max(1_000_000);
        hold.expires = latest.saturating_add(lasts);
    }
    let late = charge.gives_up.is_some_and(|hold| horizons.iter().all(|horizon| hold.expires <= *horizon));
    if late {
        // Nobody counts it: it must not keep others from letting theirs expire.
        shared.registry.put_back(own_slot(), before);
        if let Some(hold) = charge.hold {
            shared.registry.take_in_hand(own_slot(), partition, hold.expires);
        }
    }
    places.iter().zip(horizons).map(|((line, _), horizon)| charge.given_up(line.definition.scope, horizon)).collect()
}

/// Lets go of holds that have expired and are still counted.
fn let_expire(spi: &Session, places: &[(Line<'_>, Place)], patience: Patience) -> std::result::Result<Expiry, Stop> {
    let mut outcome = Expiry::Nothing;
    for (line, place) in places {
        let Place::Entry(pin) = *place else { continue };
        match line.expire(spi, pin, patience)? {
            Expiry::Nothing => {}
            Expiry::Gained => outcome = Expiry::Gained,
            in_hand if matches!(outcome, Expiry::Nothing) => outcome = in_hand,
            Expiry::InHand(_) => {}
        }
    }
    Ok(outcome)
}

/// Gives back what an admitted charge added.
pub fn retract(shared: &Shared, charge: Charge, counted: &Counted) {
    with(|state| {
        for (pin, delta) in &counted.additions {
            state.journal.retract(&shared.table, *pin, counted.level, *delta);
        }
        for (noted, delta) in noted(&charge) {
            state.journal.forget(noted, counted.level, delta);
        }
        shared.registry.note(own_slot(), &charge.subject.tenant_key(), -shown(&charge));
    });
}

/// Waits, a second at most, until a transaction has let go of the holds that it had in hand, some of which have expired.
/// Says whether it has.
fn wait_for_hand(shared: &Shared, other: InFlight) -> bool {
    shared.registry.count(own_slot(), Event::Wait);
    (0..MOST_LOOKS).any(|_| {
        pause();
        !shared.registry.has_in_hand(other)
    })
}

/// See [`super::Gate::wait_for_request`]. The caller shows no request himself.
pub fn wait_for_request(shared: &Shared, request: u64) -> bool {
    let twin = || shared.registry.twin(own_slot(), own_database(), request);
    let mut looks = 0;
    while let Some(other) = twin() {
        if looks < MOST_LOOKS {
            pause()
        } else {
            wait_to_the_end(other)
        }
        looks += 1;
    }
    looks > 0
}

/// Step 1, for the tenant and the platform. Waits where somebody has closed a partition, and closes what this
/// transaction has changed.
fn enter(shared: &Shared, charge: Charge) -> std::result::Result<Epochs, Stop> {
    let subject = charge.subject;
    withdraw(shared, subject);
    let me = identity();
    let mut epochs = [0; 2];
    for (epoch, partition) in epochs.iter_mut().zip(partitions(subject)) {
        if with(|state| state.has_changed(partition) && !state.has_closed(partition)) {
            withdraw(shared, subject);
            close(shared, partition);
            return Err(Stop::Again);
        }
        let owner = with(|state| {
            state.entered = true;
            state.has_closed(partition)
        });
        match shared.registry.enter(own_slot(), me, partition, owner) {
            Ok(entered) => *epoch = entered,
            Err(Closed) => {
                withdraw(shared, subject);
                barrier(shared, partition);
                return Err(Stop::Again);
            }
        }
    }
    shared.registry.show_request(own_slot(), charge.request);
    Ok(epochs)
}

/// Waits until nobody is changing definitions.
fn barrier(shared: &Shared, partition: usize) {
    shared.registry.count(own_slot(), Event::Wait);
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
    while let Some(other) = shared.registry.earlier(0, own_slot(), own_database(), partition, epoch) {
        wait_for(shared, other, partition, epoch);
    }
}

/// Waits for a transaction that charged, or is about to, in an earlier epoch. Whoever is only about to soon charges or
/// withdraws: he is waited for in his slot, not to the end of his transaction, in which he may come to wait for us.
fn wait_for(shared: &Shared, other: InFlight, partition: usize, epoch: u32) {
    let registry = &shared.registry;
    registry.count(own_slot(), Event::Wait);
    for _ in 0..MOST_LOOKS {
        if registry.earlier(other.slot, own_slot(), own_database(), partition, epoch) != Some(other) {
            return;
        }
        if registry.stays(other.slot, partition) {
            break;
        }
        pause();
    }
    wait_to_the_end(other);
}

/// How often a slot is looked at, a second in all, before its transaction is waited for after all: something holds it up,
/// which may be us, and the deadlock detector sees only locks.
const MOST_LOOKS: u32 = 10_000;

fn pause() {
    pgrx::check_for_interrupts!();
    // SAFETY: sleeps.
    unsafe { pg_sys::pg_usleep(100) };
}

fn wait_to_the_end(other: InFlight) {
    // Backends count from 1, slots from 0.
    lock::wait_for_transaction(other.slot + 1, other.transaction);
}

/// One quota that applies to a subject, in the period of a moment.
struct Line<'a> {
    shared: &'a Shared,
    subject: Subject,
    definition: &'a Definition,
    window: Window,
    partition: usize,
}

impl<'a> Line<'a> {
    fn new(shared: &'a Shared, subject: Subject, definition: &'a Definition, at: Timestamp) -> Self {
        let [tenant, platform] = partitions(subject);
        let partition = if definition.scope == Scope::Platform { platform } else { tenant };
        Self { shared, subject, definition, window: definition.window_at(to_unix_seconds(at)), partition }
    }

    fn key(&self, epoch: u32) -> Key {
        Key {
            database: own_database(),
            ledger: watch().to_u32(),
            quota: self.definition.id,
            period: self.window.packed,
            epoch,
        }
    }

    /// Where the counter is, as far as anybody knows.
    fn find(&self, epoch: u32) -> Option<Handle> {
        let found = match self.definition.place.get() {
            Some((period, known, handle)) if period == self.window.packed && known == epoch => Some(handle),
            _ => self.shared.table.find(&self.key(epoch)),
        };
        self.definition.place.set(found.map(|handle| (self.window.packed, epoch, handle)));
        found
    }

    /// The quota as this transaction sees it: what others have in flight is held, its own is spent or held as it will be.
    /// What it will give back is held until it has committed.
    fn figures(&self, reading: Reading, own: Delta) -> Quota {
        let others = reading.in_flight.saturating_sub(own.amount).max(0);
        let held = [reading.held, own.held, own.credit].into_iter().fold(others, i64::saturating_add);
        let held = held.clamp(0, reading.reserved.max(0));
        self.definition.counting(self.window.bounds, reading.reserved - held, held)
    }

    /// The lock that the locked mode holds while it charges what the quota counts.
    fn counted(&self) -> lock::Subject {
        match self.definition.scope {
            Scope::Platform => lock::Subject::Platform,
            Scope::Tenant | Scope::User => lock::Subject::Tenant(self.subject.tenant_key()),
        }
    }

    /// What the tables say has been spent, and is held by what expires after the horizon.
    fn sum(&self, spi: &Session, horizon: Timestamp, tail: &mut i64) -> Result<(i64, i64)> {
        let sum = Sum::read(spi, self.subject, self.definition.scope, self.window.bounds, horizon, Look::Latest)?;
        *tail = sum.tail.max(*tail);
        let counts_all = self.definition.counts_all();
        Ok((sum.spent(counts_all), sum.held(counts_all)))
    }

    /// Step 3. The pin is in the journal, as an addition of nothing, before anything can fail.
    fn place(&self, spi: &Session, epochs: Epochs, tail: &mut i64) -> std::result::Result<Place, Stop> {
        if with(|state| state.has_closed(self.partition)) {
            // The locked mode may have left a prepared transaction.
            self.counted().lock(Strength::Exclusive);
            let horizon = clock_timestamp();
            let (spent, held) = self.sum(spi, horizon, tail)?;
            return Ok(Place::Tables { spent, held, horizon });
        }
        let [tenant, platform] = epochs;
        let epoch = if self.partition == PLATFORM { platform } else { tenant };
        let level = level();
        loop {
            let handle = match self.find(epoch) {
                Some(handle) => handle,
                None => self.load(spi, epoch, Patience::Wait, tail)?.ok_or(Stop::Again)?,
            };
            let pinned = with(|state| -> std::result::Result<_, TooMany> {
                state.journal.make_room(1)?;
                let pin = self.shared.table.pin(handle);
                if let Some(pin) = pin {
                    state.journal.push(&self.shared.table, pin, level, 0);
                }
                Ok(pin)
            })?;
            match pinned {
                Some(pin) => return Ok(Place::Entry(pin)),
                // Evicted between two steps.
                None => self.definition.place.set(None),
            }
        }
    }

    /// Reads the counter from the tables into memory. `None` when the epoch has moved on, or, without patience, where it
    /// would have to wait.
    fn load(
        &self,
        spi: &Session,
        epoch: u32,
        patience: Patience,
        tail: &mut i64,
    ) -> std::result::Result<Option<Handle>, Stop> {
        let registry = &self.shared.registry;
        let definitions = lock::Subject::Definitions(self.partition);
        let counted = self.counted();
        let known = generation();
        let charged = with(|state| state.has_charged(self.partition));
        // Load 1. While somebody has closed the partition and waits for us, he holds the lock and changes nothing.
        if !(charged && registry.epoch(self.partition) != epoch && registry.is_current(self.partition, epoch)) {
            if !definitions.try_lock(Strength::Shared) {
                if patience == Patience::Wait {
                    withdraw(self.shared, self.subject);
                    barrier(self.shared, self.partition);
                }
                return Ok(None);
            }
            definitions.unlock(Strength::Shared);
            if registry.epoch(self.partition) != epoch || current_generation() != known {
                return Ok(None);
            }
        }
        // Load 2
        if let Some(other) = registry.earlier(0, own_slot(), own_database(), self.partition, epoch) {
            if patience == Patience::Wait {
                withdraw(self.shared, self.subject);
                wait_for(self.shared, other, self.partition, epoch);
            }
            return Ok(None);
        }
        // Load 3
        if !patience.lock(counted, Strength::Exclusive) {
            return Ok(None);
        }
        // Load 4. A look goes on without what it could not load, so the lock is given back on every way out; an ERROR gives
        // it back with the (sub)transaction.
        let handle = match self.shared.table.find(&self.key(epoch)) {
            Some(handle) => Ok(handle),
            None => {
                let horizon = self.first_horizon();
                let sum = self.sum(spi, horizon, tail).map_err(Stop::from);
                sum.and_then(|(spent, held)| self.publish(epoch, horizon, spent, held))
            }
        };
        // Load 5
        counted.unlock(Strength::Exclusive);
        handle.map(Some)
    }

    /// Where the horizon of a new counter is: now, but before all holds that this transaction has had in hand, which it
    /// takes in hand again. They count until it ends.
    fn first_horizon(&self) -> Timestamp {
        let now = clock_timestamp();
        match with(|state| state.earliest_in_hand()) {
            Some(earliest) => {
                self.shared.registry.take_in_hand(own_slot(), self.partition, earliest);
                now.min(earliest - 1)
            }
            None => now,
        }
    }

    /// The end of load 4: one step that cannot fail once there is room, and does not call Postgres.
    fn publish(&self, epoch: u32, horizon: Timestamp, spent: i64, held: i64) -> std::result::Result<Handle, Stop> {
        let key = self.key(epoch);
        let published = with(|state| -> std::result::Result<_, Stop> {
            let own: Vec<(Level, Delta)> = state.journal.charges(|charge| self.counts(charge)).collect();
            state.journal.make_room(own.len())?;
            let pins = own.len() as u32;
            // The tables show this transaction its own changes, which for everybody else are in flight.
            let sum = own.iter().fold(Delta::default(), |sum, (_, delta)| sum.plus(*delta));
            let reading = Reading {
                reserved: spent.saturating_add(held).saturating_add(sum.credit),
                in_flight: sum.amount,
                held: held.saturating_sub(sum.held),
                horizon,
                next_expiry: if held == 0 && sum.held == 0 { Timestamp::MAX } else { horizon },
            };
            let published = self.shared.table.publish(&key, reading, pins).map_err(|Full| full())?;
            for (level, delta) in own {
                state.journal.push(&self.shared.table, published.pin(), level, delta);
            }
            Ok(published)
        })?;
        self.shared.registry.count(own_slot(), Event::Load);
        if published.evicted {
            self.shared.registry.count(own_slot(), Event::Eviction);
        }
        Ok(published.handle)
    }

    /// Whether the quota counts a charge that this transaction has made.
    fn counts(&self, charge: &journal::Charge) -> bool {
        let bounds = self.window.bounds;
        let whose = match self.definition.scope {
            Scope::Platform => true,
            Scope::Tenant => charge.tenant == self.subject.tenant_key(),
            Scope::User => charge.tenant == self.subject.tenant_key() && charge.user == self.subject.user_key(),
        };
        let within = bounds.start.is_none_or(|start| quarter(start) <= charge.quarter)
            && bounds.end.is_none_or(|end| charge.quarter < quarter(end));
        whose && within && (self.definition.counts_all() || charge.resource == self.subject.resource as u8)
    }

    /// The quota from its counter, if that is there and counts no hold that has expired, without pinning it.
    fn glance(&self) -> Option<Quota> {
        let epoch = self.shared.registry.epoch(self.partition);
        let handle = self.find(epoch)?;
        let Some(reading) = self.shared.table.peek(handle) else {
            self.definition.place.set(None);
            return None;
        };
        if reading.held > 0 && reading.may_have_expired(clock_timestamp()) {
            return None;
        }
        let own = with(|state| match state.journal.is_empty() {
            true => Delta::default(),
            false => state.journal.done(handle.index()),
        });
        Some(self.figures(reading, own))
    }

    /// Moves the counter's horizon on to now, as far as holds in somebody's hands let it, and subtracts what it passes.
    fn expire(&self, spi: &Session, pin: Pin, patience: Patience) -> std::result::Result<Expiry, Stop> {
        let (table, counted) = (&self.shared.table, self.counted());
        let reading = table.read(pin);
        if reading.held == 0 || !reading.may_have_expired(clock_timestamp()) {
            return Ok(Expiry::Nothing);
        }
        if !patience.lock(counted, Strength::Exclusive) {
            return Ok(Expiry::Nothing);
        }
        let (before, now) = (table.horizon(pin), clock_timestamp());
        if now <= before || !table.read(pin).may_have_expired(now) {
            counted.unlock(Strength::Exclusive);
            return Ok(Expiry::Nothing);
        }
        with(|state| state.advance = Some(Advance { pin, before }));
        // Whoever takes a hold in hand from now on that expires before this waits for our lock.
        table.set_horizon(pin, now);
        table.forget_next_expiry(pin);
        let in_hand = self.shared.registry.earliest_in_hand(own_database(), self.partition);
        let mut until = now;
        if let Some((hand, _)) = in_hand {
            until = until.min(hand - 1).max(before);
            table.expires(pin, hand);
            table.set_horizon(pin, until);
        }
        let (scope, counts_all) = (self.definition.scope, self.definition.counts_all());
        let expired = sums::expired(spi, self.subject, scope, counts_all, self.window.bounds, before, until);
        with(|state| match &expired {
            Ok((amount, next)) => {
                table.expire(pin, *amount);
                table.expires(pin, *next);
                state.advance = None;
            }
            Err(_) => state.give_up_advance(table),
        });
        counted.unlock(Strength::Exclusive);
        let (amount, _) = expired?;
        Ok(match in_hand {
            _ if amount > 0 => Expiry::Gained,
            Some((hand, other)) if hand <= now && other.slot != own_slot() => Expiry::InHand(other),
            _ => Expiry::Nothing,
        })
    }

    /// The same for a look, which does not wait and leaves no pin behind.
    fn refresh(&self, spi: &Session, handle: Handle) -> Result<()> {
        let Some(pin) = self.shared.table.pin(handle) else { return Ok(()) };
        with(|state| state.looked_at = Some(pin));
        let outcome = self.expire(spi, pin, Patience::Try);
        with(|state| state.let_go(&self.shared.table));
        match outcome {
            Err(Stop::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The quota from a counter that is loaded for it, unless somebody would have to be waited for.
    fn fetch(&self, spi: &Session, tail: &mut i64) -> Result<Option<Quota>> {
        let epoch = self.shared.registry.epoch(self.partition);
        match self.load(spi, epoch, Patience::Try, tail) {
            Ok(Some(handle)) => match self.glance() {
                None => {
                    self.refresh(spi, handle)?;
                    Ok(self.glance())
                }
                seen => Ok(seen),
            },
            // No room for a figure that is only looked at: the tables have it as well.
            Ok(None) | Err(Stop::Again | Stop::Failed(Error::Limit { .. })) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }
}

/// What came of letting holds expire.
enum Expiry {
    Gained,
    Nothing,
    /// Somebody has a hold in hand that has expired: no other may be passed over before he is done.
    InHand(InFlight),
}

/// Whether a load may wait for others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    Try,
}

impl Patience {
    fn lock(self, subject: lock::Subject, strength: Strength) -> bool {
        match self {
            Self::Wait => {
                subject.lock(strength);
                true
            }
            Self::Try => subject.try_lock(strength),
        }
    }
}

fn full() -> Stop {
    Stop::Failed(Error::Limit {
        message: "every counter that this quota could have is in use by open transactions".to_owned(),
        hint: "Raise pg_tollgate.quota_entries, or let transactions that charge end sooner.",
    })
}

/// The epochs as they are now.
fn present(shared: &Shared, subject: Subject) -> Epochs {
    partitions(subject).map(|partition| shared.registry.epoch(partition))
}

/// Looks without charging, and without waiting for anybody.
pub fn standing(shared: &Shared, spi: &Session, subject: Subject, at: Timestamp, look: Look) -> Result<Standing> {
    // SAFETY: both read the state of the server and of the query.
    let tables_only = unsafe { pg_sys::RecoveryInProgress() || pg_sys::IsInParallelMode() };
    current_generation();
    let definitions = definitions::of(subject, present(shared, subject))?;
    let mut sums = Sums::new(subject, look);
    let mut standing = Standing::default();
    for definition in &definitions.all {
        let line = Line::new(shared, subject, definition, at);
        let counter = if tables_only || with(|state| state.has_changed(line.partition)) {
            None
        } else {
            match line.glance() {
                None => line.fetch(spi, &mut standing.tail)?,
                seen => seen,
            }
        };
        standing.quotas.push(match counter {
            Some(quota) => quota,
            None => {
                let bounds = line.window.bounds;
                let (sum, counts_all) = (sums.get(spi, definition.scope, bounds)?, definition.counts_all());
                definition.counting(bounds, sum.spent(counts_all), sum.held(counts_all))
            }
        });
    }
    standing.tail = sums.tail().max(standing.tail);
    Ok(standing)
}

/// The standing if the definitions are kept and every counter is there.
pub fn standing_at_hand(shared: &Shared, subject: Subject, at: Timestamp, quotas: &mut Vec<Quota>) -> bool {
    let Some(definitions) = definitions::kept(subject, present(shared, subject)) else { return false };
    definitions.all.iter().all(|definition| {
        let line = Line::new(shared, subject, definition, at);
        let counter = if with(|state| state.has_changed(line.partition)) { None } else { line.glance() };
        let known = counter.is_some();
        quotas.extend(counter);
        known
    })
}
