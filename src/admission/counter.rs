//! One quota's counter in shared memory: found, loaded from the tables, read, and let go of holds that expired. The
//! numbers of steps are those of the crate `escrow`.

use tollgate_escrow::journal::{self, Level, TooMany};
use tollgate_escrow::registry::{Event, InFlight, PLATFORM};
use tollgate_escrow::table::{Delta, Full, Handle, Key, Pin, Reading};

use super::waiting::{barrier, partitions, wait_for, withdraw};
use crate::error::{Error, Result};
use crate::pg::invalidation::{current_generation, generation, watch};
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::{Advance, level, own_slot, with};
use crate::pg::{Timestamp, clock_timestamp, own_database, to_unix_seconds};
use crate::quota::Subject;
use crate::quota::definitions::{Definition, Epochs, Window, quarter};
use crate::quota::sums::{self, Sum};
use tollgate_core::decision::{Quota, Scope};

/// Where the figures of one quota come from.
pub enum Place {
    Entry(Pin),
    /// This transaction has changed the definitions, and has the partition to itself.
    Tables {
        spent: i64,
        held: i64,
        horizon: Timestamp,
    },
}

/// Why a step is taken again from the beginning.
pub enum Stop {
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

/// One quota that applies to a subject, in the period of a moment.
pub struct Line<'a> {
    pub shared: &'a Shared,
    pub subject: Subject,
    pub definition: &'a Definition,
    pub window: Window,
    pub partition: usize,
}

impl<'a> Line<'a> {
    pub fn new(shared: &'a Shared, subject: Subject, definition: &'a Definition, at: Timestamp) -> Self {
        let [tenant, platform] = partitions(subject);
        let partition = if definition.scope == Scope::Platform { platform } else { tenant };
        Self { shared, subject, definition, window: definition.window_at(to_unix_seconds(at)), partition }
    }

    pub fn key(&self, epoch: u32) -> Key {
        Key {
            database: own_database(),
            ledger: watch().to_u32(),
            quota: self.definition.id,
            period: self.window.packed,
            epoch,
        }
    }

    /// Where the counter is, as far as anybody knows.
    pub fn find(&self, epoch: u32) -> Option<Handle> {
        let found = match self.definition.place.get() {
            Some((period, known, handle)) if period == self.window.packed && known == epoch => Some(handle),
            _ => self.shared.table.find(&self.key(epoch)),
        };
        self.definition.place.set(found.map(|handle| (self.window.packed, epoch, handle)));
        found
    }

    /// The quota as this transaction sees it: what others have in flight is held, its own is spent or held as it will be.
    /// What it will give back is held until it has committed.
    pub fn figures(&self, reading: Reading, own: Delta) -> Quota {
        let others = reading.in_flight.saturating_sub(own.amount).max(0);
        let held = [reading.held, own.held, own.credit].into_iter().fold(others, i64::saturating_add);
        let held = held.clamp(0, reading.reserved.max(0));
        self.definition.counting(self.window.bounds, reading.reserved - held, held)
    }

    /// The lock that the locked mode holds while it charges what the quota counts.
    pub fn counted(&self) -> lock::Subject {
        match self.definition.scope {
            Scope::Platform => lock::Subject::Platform,
            Scope::Tenant | Scope::User => lock::Subject::Tenant(self.subject.tenant_key()),
        }
    }

    /// What the tables say has been spent, and is held by what expires after the horizon.
    pub fn sum(&self, spi: &Session, horizon: Timestamp, tail: &mut i64) -> Result<(i64, i64)> {
        let sum = Sum::read(spi, self.subject, self.definition.scope, self.window.bounds, horizon, Look::Latest)?;
        *tail = sum.tail.max(*tail);
        let counts_all = self.definition.counts_all();
        Ok((sum.spent(counts_all), sum.held(counts_all)))
    }

    /// Step 3. The pin is in the journal, as an addition of nothing, before anything can fail.
    pub fn place(&self, spi: &Session, epochs: Epochs, tail: &mut i64) -> std::result::Result<Place, Stop> {
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
    pub fn load(
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
    pub fn first_horizon(&self) -> Timestamp {
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
    pub fn publish(&self, epoch: u32, horizon: Timestamp, spent: i64, held: i64) -> std::result::Result<Handle, Stop> {
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
    pub fn counts(&self, charge: &journal::Charge) -> bool {
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
    pub fn glance(&self) -> Option<Quota> {
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
    pub fn expire(&self, spi: &Session, pin: Pin, patience: Patience) -> std::result::Result<Expiry, Stop> {
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
    pub fn refresh(&self, spi: &Session, handle: Handle) -> Result<()> {
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
    pub fn fetch(&self, spi: &Session, tail: &mut i64) -> Result<Option<Quota>> {
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
pub enum Expiry {
    Gained,
    Nothing,
    /// Somebody has a hold in hand that has expired: no other may be passed over before he is done.
    InHand(InFlight),
}

/// Whether a load may wait for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    Wait,
    Try,
}

impl Patience {
    pub fn lock(self, subject: lock::Subject, strength: Strength) -> bool {
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
