//! One quota's counter in shared memory: found, loaded from the tables, read, and let go of holds that expired. The
//! numbers of steps are those of the crate `escrow`.

use tollgate_escrow::epochs::PLATFORM;
use tollgate_escrow::journal::{self, Level, TooMany};
use tollgate_escrow::registry::{InFlight, Statistic};
use tollgate_escrow::table::{CounterKey, Delta, Full, Handle, Pin, Reading};

use super::waiting::{barrier, partitions, wait_for, withdraw};
use crate::error::{Error, Result};
use crate::pg::invalidation::{handle_messages, ledger, now};
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Session, Snapshot};
use crate::pg::transaction::{Advance, level, own_slot, with};
use crate::pg::{Timestamp, clock_timestamp, own_database, to_unix_seconds};
use crate::quota::Payer;
use crate::quota::definitions::{self, Definition, Definitions, EpochPair, TenantRow, Window};
use crate::quota::sums::{self, Sum};
use tollgate_core::decision::{Quota, Scope};

/// Where the figures of one quota come from.
pub enum CounterSource {
    Entry(Pin),
    /// This transaction has changed the definitions, and has the partition to itself.
    Tables {
        spent: i64,
        held: i64,
        horizon: Timestamp,
    },
}

/// Why a step is taken again from the beginning.
pub enum Retry {
    Again,
    /// The tables have to be read, and the journal has a charge of the quota that they do not show yet.
    WhenWritten,
    Failed(Error),
}

impl From<Error> for Retry {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<TooMany> for Retry {
    fn from(_: TooMany) -> Self {
        Self::Failed(Error::Limit {
            message: "the transaction has charged too many quotas".to_owned(),
            hint: "Commit more often.",
        })
    }
}

/// One quota that applies to a payer, in the period of a moment.
pub struct QuotaCounter<'a> {
    pub shared: &'a Shared,
    pub payer: Payer,
    pub definition: &'a Definition,
    pub window: Window,
    pub partition: usize,
    /// Whether there may be charges in flight that do not know the quota because they do not know its tenant's row.
    of_row: bool,
}

impl<'a> QuotaCounter<'a> {
    pub fn new(
        shared: &'a Shared,
        payer: Payer,
        definitions: &Definitions,
        definition: &'a Definition,
        at: Timestamp,
    ) -> Self {
        let [tenant, platform] = partitions(payer);
        let is_platforms = definition.scope == Scope::Platform;
        let partition = if is_platforms { platform } else { tenant };
        let of_row = !is_platforms && definitions.row == TenantRow::There;
        Self { shared, payer, definition, window: definition.window_at(to_unix_seconds(at)), partition, of_row }
    }

    /// Whether this transaction changes the definition, so that it decides from the tables.
    pub fn is_changed(&self) -> bool {
        self.definition.is_own || with(|state| state.has_changed(self.partition))
    }

    pub fn key(&self, epoch: u32) -> CounterKey {
        CounterKey {
            database: own_database(),
            ledger: ledger().to_u32(),
            quota: self.definition.id,
            period: self.window.packed,
            epoch,
        }
    }

    /// Where the counter was found last. It may have moved since.
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
        self.definition.counting(self.window.bounds, reading.reserved - held, held)
    }

    /// The lock that the locked mode holds while it charges what the quota counts.
    pub fn counted(&self) -> lock::LockTarget {
        match self.definition.scope {
            Scope::Platform => lock::LockTarget::Platform,
            Scope::Tenant | Scope::User => lock::LockTarget::Tenant(self.payer.tenant_key()),
        }
    }

    /// What the tables say has been spent, and is held by what expires after the horizon.
    pub fn sum(&self, spi: &Session, horizon: Timestamp, tail: &mut i64) -> Result<(i64, i64)> {
        let sum = Sum::read(spi, self.payer, self.definition.scope, self.window.bounds, horizon, Snapshot::Latest)?;
        *tail = sum.tail.max(*tail);
        let counts_all = self.definition.counts_all();
        Ok((sum.spent(counts_all), sum.held(counts_all)))
    }

    /// Step 3. The pin is in the journal, as an addition of nothing, before anything can fail.
    pub fn place(&self, spi: &Session, epochs: EpochPair, tail: &mut i64) -> std::result::Result<CounterSource, Retry> {
        let [tenant, platform] = epochs;
        let epoch = if self.partition == PLATFORM { platform } else { tenant };
        if self.definition.is_own || with(|state| state.has_closed(self.partition)) {
            if self.counts_unwritten() {
                return Err(Retry::WhenWritten);
            }
            if self.definition.is_own && self.waits_for_earlier(epoch, LockWait::Wait) {
                // They may have charged the tenant before its row was deleted, which has come again.
                return Err(Retry::Again);
            }
            // The locked mode may have left a prepared transaction.
            self.counted().lock(Strength::Exclusive);
            if self.definition.is_own {
                // Charges of others are kept out by the lock on the tenant's row.
                self.counted().unlock(Strength::Exclusive);
            }
            let horizon = clock_timestamp();
            let (spent, held) = self.sum(spi, horizon, tail)?;
            return Ok(CounterSource::Tables { spent, held, horizon });
        }
        let level = level();
        loop {
            let handle = match self.find(epoch) {
                Some(handle) => handle,
                None => self.load(spi, epoch, LockWait::Wait, tail)?.ok_or(Retry::Again)?,
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
                Some(pin) => return Ok(CounterSource::Entry(pin)),
                // Evicted between two steps.
                None => self.definition.place.set(None),
            }
        }
    }

    /// Reads the counter from the tables into memory. `None` when the epoch has moved on, or where it may not wait and
    /// would have to.
    pub fn load(
        &self,
        spi: &Session,
        epoch: u32,
        wait: LockWait,
        tail: &mut i64,
    ) -> std::result::Result<Option<Handle>, Retry> {
        if self.counts_unwritten() {
            return match wait {
                LockWait::Try => Ok(None),
                LockWait::Wait => Err(Retry::WhenWritten),
            };
        }
        let registry = &self.shared.registry;
        let counted = self.counted();
        let known = now();
        let charged = with(|state| state.has_charged(self.partition));
        // Load 1. A transaction that has closed the partition and waits for this one holds the lock. It changes nothing
        // meanwhile.
        let closed = charged && registry.epoch(self.partition) != epoch && registry.is_current(self.partition, epoch);
        let locks = [
            (!closed).then_some(lock::LockTarget::Definitions(self.partition)),
            self.of_row.then_some(lock::LockTarget::Arrivals(self.partition)),
            self.of_row.then(|| lock::LockTarget::Row(self.payer.tenant_key())),
        ];
        for lock in locks.into_iter().flatten().filter(|lock| !lock.is_free()) {
            if wait == LockWait::Wait {
                withdraw(self.shared, self.payer);
                barrier(self.shared, lock);
            }
            // One that has charged goes on, for it has not withdrawn. The lock may never be free for it: others queue that
            // wait for this transaction.
            let stays = partitions(self.payer).into_iter().all(|entered| with(|state| state.has_charged(entered)));
            if wait == LockWait::Try || !stays {
                return Ok(None);
            }
        }
        if !closed {
            handle_messages();
            if registry.epoch(self.partition) != epoch || definitions::have_changed(self.payer, known) {
                return Ok(None);
            }
        }
        if self.waits_for_earlier(epoch, wait) {
            return Ok(None);
        }
        // Load 3
        if !wait.lock(counted, Strength::Exclusive) {
            return Ok(None);
        }
        // Load 4. A check goes on without what it could not load, so every way out releases the lock. An ERROR releases
        // it with the (sub)transaction.
        let handle = match self.shared.table.find(&self.key(epoch)) {
            Some(handle) => Ok(handle),
            None => {
                let horizon = self.first_horizon();
                let sum = self.sum(spi, horizon, tail).map_err(Retry::from);
                sum.and_then(|(spent, held)| self.publish(epoch, horizon, spent, held))
            }
        };
        // Load 5
        counted.unlock(Strength::Exclusive);
        handle.map(Some)
    }

    /// Load 2. Whether there was a transaction in an earlier epoch, which was waited for if that may be.
    fn waits_for_earlier(&self, epoch: u32, wait: LockWait) -> bool {
        let other = self.shared.registry.earlier(0, own_slot(), own_database(), self.partition, epoch);
        if let Some(other) = other
            && wait == LockWait::Wait
        {
            withdraw(self.shared, self.payer);
            wait_for(self.shared, other, self.partition, epoch);
        }
        other.is_some()
    }

    /// Where the horizon of a new counter is: now, but before the active expiry of this transaction, which it publishes
    /// again. Its holds count until it ends.
    pub fn first_horizon(&self) -> Timestamp {
        let now = clock_timestamp();
        match with(|state| state.earliest_active_expiry()) {
            Some(earliest) => {
                self.shared.registry.publish_active_expiry(own_slot(), self.partition, earliest);
                now.min(earliest - 1)
            }
            None => now,
        }
    }

    /// The end of load 4: one step that cannot fail once there is room, and does not call Postgres.
    pub fn publish(&self, epoch: u32, horizon: Timestamp, spent: i64, held: i64) -> std::result::Result<Handle, Retry> {
        let key = self.key(epoch);
        let published = with(|state| -> std::result::Result<_, Retry> {
            let tenant = (self.definition.scope != Scope::Platform).then(|| self.payer.tenant_key());
            let own: Vec<(Level, Delta)> = state.journal.charges(tenant, |charge| self.counts(charge)).collect();
            state.journal.make_room(own.len())?;
            let pins = own.len() as u32;
            // The tables show this transaction its own changes, which are in flight for all others.
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
        self.shared.registry.count(own_slot(), Statistic::Load);
        if published.evicted {
            self.shared.registry.count(own_slot(), Statistic::Eviction);
        }
        Ok(published.handle)
    }

    /// Whether the quota counts a charge that this transaction has made.
    pub fn counts(&self, charge: &journal::Charge) -> bool {
        self.definition.counts(self.payer, self.window.bounds, charge)
    }

    /// Whether the tables show too little for this quota.
    fn counts_unwritten(&self) -> bool {
        with(|state| state.unwritten().iter().any(|unwritten| self.counts(&unwritten.charge)))
    }

    /// The quota from its counter, if that is there and counts no hold that has expired, without pinning it.
    pub fn peek(&self) -> Option<Quota> {
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

    /// Moves the counter's horizon on to now, as far as active holds of other transactions let it, and subtracts what
    /// it passes.
    pub fn expire(&self, spi: &Session, pin: Pin, wait: LockWait) -> std::result::Result<Expiry, Retry> {
        let (table, counted) = (&self.shared.table, self.counted());
        let reading = table.read(pin);
        if reading.held == 0 || !reading.may_have_expired(clock_timestamp()) {
            return Ok(Expiry::Nothing);
        }
        if !wait.lock(counted, Strength::Exclusive) {
            return Ok(Expiry::Nothing);
        }
        let (before, now) = (table.horizon(pin), clock_timestamp());
        if now <= before || !table.read(pin).may_have_expired(now) {
            counted.unlock(Strength::Exclusive);
            return Ok(Expiry::Nothing);
        }
        with(|state| state.advance = Some(Advance { pin, before }));
        // A transaction that publishes an earlier active expiry from now on waits for our lock.
        table.set_horizon(pin, now);
        table.forget_next_expiry(pin);
        let active = self.shared.registry.earliest_active_expiry(own_database(), self.partition);
        let mut until = now;
        if let Some((expiry, _)) = active {
            until = until.min(expiry - 1).max(before);
            table.expires(pin, expiry);
            table.set_horizon(pin, until);
        }
        let (scope, counts_all) = (self.definition.scope, self.definition.counts_all());
        let expired = sums::expired(spi, self.payer, scope, counts_all, self.window.bounds, before, until);
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
        Ok(match active {
            _ if amount > 0 => Expiry::Gained,
            Some((expiry, other)) if expiry <= now && other.slot != own_slot() => Expiry::Active(other),
            _ => Expiry::Nothing,
        })
    }

    /// The same for a snapshot, which does not wait and leaves no pin behind.
    pub fn refresh(&self, spi: &Session, handle: Handle) -> Result<()> {
        let Some(pin) = self.shared.table.pin(handle) else { return Ok(()) };
        with(|state| state.looked_at = Some(pin));
        let outcome = self.expire(spi, pin, LockWait::Try);
        with(|state| state.let_go(&self.shared.table));
        match outcome {
            Err(Retry::Failed(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// The quota from a counter that is loaded for it, unless that would mean waiting.
    pub fn fetch(&self, spi: &Session, tail: &mut i64) -> Result<Option<Quota>> {
        let epoch = self.shared.registry.epoch(self.partition);
        match self.load(spi, epoch, LockWait::Try, tail) {
            Ok(Some(handle)) => match self.peek() {
                None => {
                    self.refresh(spi, handle)?;
                    Ok(self.peek())
                }
                seen => Ok(seen),
            },
            // No room for a figure that is only read: the tables have it as well.
            Ok(None) | Err(Retry::Again | Retry::WhenWritten | Retry::Failed(Error::Limit { .. })) => Ok(None),
            Err(Retry::Failed(error)) => Err(error),
        }
    }
}

/// What came of letting holds expire.
pub enum Expiry {
    Gained,
    Nothing,
    /// A hold that has expired is active in another transaction. No other hold may be passed over before that one ends.
    Active(InFlight),
}

/// Whether a load may wait for others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    Wait,
    Try,
}

impl LockWait {
    pub fn lock(self, payer: lock::LockTarget, strength: Strength) -> bool {
        match self {
            Self::Wait => {
                payer.lock(strength);
                true
            }
            Self::Try => payer.try_lock(strength),
        }
    }
}

fn full() -> Retry {
    Retry::Failed(Error::Limit {
        message: "every counter that this quota could have is in use by open transactions".to_owned(),
        hint: "Raise pg_tollgate.quota_entries, or let transactions that charge end sooner.",
    })
}
