//! The escrow mode: counters in shared memory decide. The protocol, step by step, is in the crate `escrow`; the numbers
//! in here are its numbers.

use std::rc::Rc;

use pgrx::pg_sys;
use tollgate_escrow::journal;
use tollgate_escrow::registry::Closed;
use tollgate_escrow::table::{Delta, Pin};

use super::charge::{Admission, Charge, Counted};
use super::counter::{CounterSource, Expiry, LockWait, QuotaCounter, Retry};
use super::unwritten;
use super::waiting::{barrier, lock_row, partitions, wait_for, wait_for_active_hold, withdraw};
use crate::error::{Error, Result};
use crate::pg::invalidation::handle_messages;
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Session, Snapshot};
use crate::pg::transaction::{identity, level, own_slot, with};
use crate::pg::{Timestamp, clock_timestamp, nil, own_database};
use crate::quota::definitions::{self, Definitions, EpochPair, TenantRow};
use crate::quota::sums::Sums;
use crate::quota::{Payer, QuotaUsage};
use tollgate_core::decision::{Mode, Quota};

/// The charge as the journal knows it. What is given up and counted by no user's quota is entered without a user, and what
/// only the platform counts without a tenant.
fn noted(charge: &Charge) -> impl Iterator<Item = (journal::Charge, Delta)> {
    let own = charge.noted();
    let given_up = charge.gives_up.map_or(0, |hold| hold.amount);
    let (with_own, apart) = if charge.user_held { (given_up, 0) } else { (0, given_up) };
    let nobodys = journal::Charge { user: *nil().as_bytes(), ..own };
    let platforms = journal::Charge { tenant: *nil().as_bytes(), ..nobodys };
    let extra = charge.platform_extra;
    let apart = (apart != 0).then(|| (nobodys, Delta::between(apart, 0, 0)));
    let extra = (extra != 0).then(|| (platforms, Delta::between(0, extra, 0)));
    [(own, Delta::between(with_own, charge.amount, charge.held()))].into_iter().chain(apart).chain(extra)
}

pub fn admit(shared: &Shared, spi: &Session, charge: Charge) -> Result<Admission> {
    admit_unless_unwritten(shared, spi, charge)?.ok_or_else(|| Error::State {
        message: "a trigger on the ledger cannot charge a quota whose counter is not loaded".to_owned(),
    })
}

/// `None` where a counter has to be loaded, and charges of this transaction were admitted that the tables do not show.
pub fn admit_unless_unwritten(shared: &Shared, spi: &Session, charge: Charge) -> Result<Option<Admission>> {
    loop {
        let mut rowless = false;
        let mut outcome = try_admit(shared, spi, charge, &mut rowless);
        match &mut outcome {
            Ok(admission) if admission.admitted => {
                admission.counted.rowless = rowless;
                let (entered, level) = (partitions(charge.payer), admission.counted.level);
                admission.counted.first = entered.map(|partition| with(|state| state.note_charged(partition, level)));
                admission.unwritten = admission.unwritten.take().map(|unwritten| unwritten.then_stays_in(entered));
            }
            _ => {
                withdraw(shared, charge.payer);
                unlock_row(charge.payer, rowless);
            }
        }
        match outcome {
            Ok(admission) => return Ok(Some(admission)),
            Err(Retry::Again) => {
                pgrx::check_for_interrupts!();
            }
            Err(Retry::WhenWritten) => return Ok(None),
            Err(Retry::Failed(error)) => return Err(error),
        }
    }
}

/// No other waits any more because this charge does not know its tenant's row. Earlier ones of the transaction may.
fn unlock_row(payer: Payer, rowless: bool) {
    if rowless {
        lock::LockTarget::Row(payer.tenant_key()).unlock(Strength::Joint);
    }
}

/// The steps of a charge, in the order and by the names of the protocol. Says whether it has locked that its tenant has no
/// row.
fn try_admit(
    shared: &Shared,
    spi: &Session,
    charge: Charge,
    rowless: &mut bool,
) -> std::result::Result<Admission, Retry> {
    let epochs = enter(shared, charge)?;
    handle_messages();
    let definitions = read_definitions(shared, charge.payer, epochs)?;
    if charge.enforce && definitions.tenant.refuses() {
        // No counter is asked.
        let usage = QuotaUsage { tenant: definitions.tenant.clone(), ..QuotaUsage::default() };
        let verdict = usage.decide(charge.wanted(), true);
        return Ok(Admission::refused(usage, verdict));
    }
    if definitions.row == TenantRow::Founded && !lock_row(shared, charge.payer, definitions.row) {
        return Err(Retry::Again);
    }
    let mut attempt = Attempt::pin_counters(shared, spi, charge, &definitions, epochs)?;
    if definitions.have_changed(charge.payer) {
        return Err(Retry::Again);
    }
    if definitions.row == TenantRow::Missing {
        // From here on it waits for none that may wait for this lock.
        *rowless = lock_row(shared, charge.payer, definitions.row);
        if !*rowless {
            return Err(Retry::Again);
        }
    }
    attempt.make_room()?;
    let mut judged_anew = false;
    loop {
        let usage = attempt.usage();
        let verdict = usage.decide(attempt.charge.wanted(), charge.enforce);
        if charge.enforce && !verdict.allowed {
            // Also if nothing has expired: others may have given back meanwhile what stood in the way.
            match let_expire(spi, &attempt.places, LockWait::Wait)? {
                _ if !judged_anew => judged_anew = true,
                Expiry::Gained => {}
                Expiry::Active(other) => {
                    withdraw(shared, charge.payer);
                    if wait_for_active_hold(shared, other) {
                        return Err(Retry::Again);
                    }
                    return Ok(Admission::refused(usage, verdict));
                }
                Expiry::Nothing => return Ok(Admission::refused(usage, verdict)),
            }
            continue;
        }
        // Where another transaction was admitted in between, the figures have changed.
        let Some(counted) = attempt.reserve_within_limits(&usage) else { continue };
        handle_messages();
        if definitions.have_changed(charge.payer) {
            retract(shared, attempt.charge, &counted);
            return Err(Retry::Again);
        }
        return Ok(Admission::admitted(usage, verdict, &attempt.charge, counted));
    }
}

/// The definitions that apply, as of the epochs that the slot shows.
fn read_definitions(shared: &Shared, payer: Payer, epochs: EpochPair) -> std::result::Result<Rc<Definitions>, Retry> {
    let definitions = definitions_in(payer, epochs)?;
    let mut entered = partitions(payer).into_iter().zip(epochs);
    if entered.all(|(partition, epoch)| shared.registry.is_current(partition, epoch)) {
        Ok(definitions)
    } else {
        Err(Retry::Again)
    }
}

/// The definitions in these epochs, which are or were the present ones. If nobody is changing definitions any more, all
/// messages of the changes that led to them have come in. Then what is kept of earlier epochs is good if none was of it.
fn definitions_in(payer: Payer, epochs: EpochPair) -> Result<Rc<Definitions>> {
    if let Some(known) = definitions::kept(payer, epochs) {
        return Ok(known);
    }
    if let Some(known) = definitions::kept_in_any(payer) {
        let mut places = partitions(payer).into_iter().zip(known.epochs()).zip(epochs);
        if places.all(|((partition, known), now)| known == now || is_settled(partition)) {
            handle_messages();
            if !known.have_changed(payer) {
                known.hold_in(epochs);
            }
        }
    }
    definitions::of(payer, epochs)
}

/// Whether every other transaction that has changed definitions of the partition has ended, and sent its messages.
fn is_settled(partition: usize) -> bool {
    lock::LockTarget::Definitions(partition).is_free()
}

/// A charge whose counters are pinned.
struct Attempt<'a> {
    shared: &'a Shared,
    spi: &'a Session,
    charge: Charge,
    definitions: &'a Rc<Definitions>,
    places: Vec<(QuotaCounter<'a>, CounterSource)>,
    /// What each counter counts of the hold that is given up.
    given_up: Vec<i64>,
    /// How many pending rows had to be read.
    tail: i64,
}

impl<'a> Attempt<'a> {
    fn pin_counters(
        shared: &'a Shared,
        spi: &'a Session,
        charge: Charge,
        definitions: &'a Rc<Definitions>,
        epochs: EpochPair,
    ) -> std::result::Result<Self, Retry> {
        let mut tail = 0;
        let mut places = Vec::with_capacity(definitions.all.len());
        for definition in &definitions.all {
            let counter = QuotaCounter::new(shared, charge.payer, definitions, definition, charge.at);
            let place = counter.place(spi, epochs, &mut tail)?;
            places.push((counter, place));
        }
        Ok(Self { shared, spi, charge, definitions, places, given_up: Vec::new(), tail })
    }

    /// Room in the journal, and in the counters that of holds that have expired. The last step that can fail.
    fn make_room(&mut self) -> std::result::Result<(), Retry> {
        if self.charge.gives_up.is_some_and(|hold| hold.expires <= clock_timestamp()) {
            // Once its expiry is published, no horizon passes what expires after it.
            let_expire(self.spi, &self.places, LockWait::Wait)?;
        }
        self.given_up = publish_active_expiry(self.shared, &mut self.charge, &self.places);
        with(|state| state.journal.make_room(0))?;
        let_expire(self.spi, &self.places, LockWait::Try)?;
        Ok(())
    }

    /// What the quotas have counted at this moment, without the hold that is given up.
    fn usage(&self) -> QuotaUsage {
        let quotas = self.places.iter().zip(&self.given_up).map(|((counter, place), given_up)| {
            let mut quota = match place {
                CounterSource::Tables { spent, held, .. } => {
                    counter.definition.counting(counter.window.bounds, *spent, *held)
                }
                CounterSource::Entry(pin) => {
                    let own = with(|state| state.journal.done(pin.index()));
                    counter.figures(self.shared.table.read(*pin), own)
                }
            };
            quota.held -= given_up;
            quota
        });
        QuotaUsage {
            quotas: quotas.collect(),
            definitions: Some(Rc::clone(self.definitions)),
            tail: self.tail,
            tenant: self.definitions.tenant.clone(),
        }
    }

    /// Adds to every counter, within its limit, and notes what it added; or gives back and says `None`. No call into
    /// Postgres from here to the end of the closure.
    fn reserve_within_limits(&self, usage: &QuotaUsage) -> Option<Counted> {
        let (shared, charge, level) = (self.shared, &self.charge, level());
        let mut additions: Vec<(Pin, Delta)> = Vec::with_capacity(self.places.len());
        let reserved = with(|state| {
            for (((_, place), quota), given_up) in self.places.iter().zip(&usage.quotas).zip(&self.given_up) {
                let CounterSource::Entry(pin) = *place else { continue };
                let delta = Delta::between(*given_up, charge.spent(quota.scope), charge.held());
                let added = match quota.limit {
                    // What is free has been admitted wherever the counter stands.
                    Some(limit)
                        if charge.enforce && quota.mode == Mode::Hard && charge.wanted().of(quota.scope) != 0 =>
                    {
                        shared.table.reserve(pin, delta.amount, limit).then_some(delta.amount)
                    }
                    _ => Some(shared.table.add(pin, delta.amount)),
                };
                let Some(amount) = added else {
                    for (pin, delta) in additions.drain(..) {
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
            for (noted, delta) in noted(charge) {
                state.journal.charge(noted, level, delta);
                // What the transaction may give back, as people are shown it.
                shared.registry.note(own_slot(), &noted.tenant, delta.amount);
            }
            true
        });
        reserved.then_some(Counted { additions, level, ..Counted::default() })
    }
}

/// Shows the holds that are made and given up in the slot, and then reads which counters count what is given up: see the
/// protocol.
fn publish_active_expiry(
    shared: &Shared,
    charge: &mut Charge,
    places: &[(QuotaCounter<'_>, CounterSource)],
) -> Vec<i64> {
    let Some(earliest) = charge.earliest_expiry() else { return vec![0; places.len()] };
    let [partition, _] = partitions(charge.payer);
    let before = shared.registry.publish_active_expiry(own_slot(), partition, earliest);
    with(|state| state.note_active_expiry(earliest));
    let horizons: Vec<Timestamp> = places
        .iter()
        .map(|(counter, place)| match place {
            CounterSource::Tables { horizon, .. } => *horizon,
            CounterSource::Entry(pin) => {
                let horizon = shared.table.horizon(*pin);
                if earliest > horizon {
                    return horizon;
                }
                // It may be moving at this moment, and not stay where it is.
                counter.counted().lock(Strength::Exclusive);
                let horizon = shared.table.horizon(*pin);
                counter.counted().unlock(Strength::Exclusive);
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
        // No counter includes it, so it must not keep other holds from expiring.
        shared.registry.restore_active_expiry(own_slot(), before);
        if let Some(hold) = charge.hold {
            shared.registry.publish_active_expiry(own_slot(), partition, hold.expires);
        }
    }
    places
        .iter()
        .zip(horizons)
        .map(|((counter, _), horizon)| charge.given_up(counter.definition.scope, horizon))
        .collect()
}

/// Lets go of holds that have expired and are still counted.
fn let_expire(
    spi: &Session,
    places: &[(QuotaCounter<'_>, CounterSource)],
    wait: LockWait,
) -> std::result::Result<Expiry, Retry> {
    let mut outcome = Expiry::Nothing;
    for (counter, place) in places {
        let CounterSource::Entry(pin) = *place else { continue };
        match counter.expire(spi, pin, wait)? {
            Expiry::Nothing => {}
            Expiry::Gained => outcome = Expiry::Gained,
            active if matches!(outcome, Expiry::Nothing) => outcome = active,
            Expiry::Active(_) => {}
        }
    }
    Ok(outcome)
}

/// Gives back what an admitted charge added. Where it was the first, no other needs to wait for this transaction any
/// more; but a trigger may have charged there meanwhile.
pub fn retract(shared: &Shared, charge: Charge, counted: &Counted) {
    with(|state| {
        for (pin, delta) in &counted.additions {
            state.journal.retract(&shared.table, *pin, counted.level, *delta);
        }
        for (noted, delta) in noted(&charge) {
            state.journal.forget(noted, counted.level, delta);
            shared.registry.note(own_slot(), &noted.tenant, -delta.amount);
        }
        for (partition, first) in partitions(charge.payer).into_iter().zip(counted.first) {
            if first && !shared.registry.stays(own_slot(), partition) {
                state.forget_charged(partition);
            }
        }
    });
    withdraw(shared, charge.payer);
    unlock_row(charge.payer, counted.rowless);
}

/// Step 1, for the tenant and the platform. Waits where another transaction has closed a partition, and closes what
/// this transaction has changed.
fn enter(shared: &Shared, charge: Charge) -> std::result::Result<EpochPair, Retry> {
    let payer = charge.payer;
    withdraw(shared, payer);
    let me = identity();
    let mut epochs = [0; 2];
    for (epoch, partition) in epochs.iter_mut().zip(partitions(payer)) {
        if with(|state| state.has_changed(partition) && !state.has_closed(partition)) {
            withdraw(shared, payer);
            close(shared, partition);
            return Err(Retry::Again);
        }
        let owner = with(|state| {
            state.entered = true;
            state.has_closed(partition)
        });
        match shared.registry.enter(own_slot(), me, partition, owner) {
            Ok(entered) => *epoch = entered,
            Err(Closed) => {
                withdraw(shared, payer);
                barrier(shared, lock::LockTarget::Definitions(partition));
                return Err(Retry::Again);
            }
        }
    }
    shared.registry.show_request(own_slot(), charge.request);
    Ok(epochs)
}

/// This transaction has changed definitions and now charges. It decides from the tables, so no other transaction may be
/// in flight.
fn close(shared: &Shared, partition: usize) {
    lock::LockTarget::Definitions(partition).lock(Strength::Exclusive);
    let epoch = shared.registry.close(partition);
    let level = level();
    with(|state| state.note_closed(partition, level));
    while let Some(other) = shared.registry.earlier(0, own_slot(), own_database(), partition, epoch) {
        wait_for(shared, other, partition, epoch);
    }
}

/// The epochs as they are now.
fn present(shared: &Shared, payer: Payer) -> EpochPair {
    partitions(payer).map(|partition| shared.registry.epoch(partition))
}

/// The figures without a charge, and without waiting.
pub fn quota_usage(
    shared: &Shared,
    spi: &Session,
    payer: Payer,
    at: Timestamp,
    snapshot: Snapshot,
) -> Result<QuotaUsage> {
    // SAFETY: both read the state of the server and of the query.
    let tables_only = unsafe { pg_sys::RecoveryInProgress() || pg_sys::IsInParallelMode() };
    handle_messages();
    let definitions = definitions_in(payer, present(shared, payer))?;
    let mut sums = Sums::new(snapshot);
    let mut usage = QuotaUsage { tenant: definitions.tenant.clone(), ..QuotaUsage::default() };
    for definition in &definitions.all {
        let counter = QuotaCounter::new(shared, payer, &definitions, definition, at);
        let counted = if tables_only || counter.is_changed() {
            None
        } else {
            match counter.peek() {
                None => counter.fetch(spi, &mut usage.tail)?,
                seen => seen,
            }
        };
        usage.quotas.push(match counted {
            Some(quota) => quota,
            None => {
                let bounds = counter.window.bounds;
                let sum = sums.get(spi, payer, definition.scope, bounds)?;
                usage.tail = usage.tail.max(sum.tail);
                unwritten::counting(definition, payer, &sum)
            }
        });
    }
    Ok(usage)
}

/// The usage if the definitions are kept, of a tenant that there is, and every counter is there.
pub fn cached_quota_usage(shared: &Shared, payer: Payer, at: Timestamp, quotas: &mut Vec<Quota>) -> bool {
    let Some(definitions) = definitions::kept(payer, present(shared, payer)) else { return false };
    !definitions.tenant.refuses()
        && definitions.all.iter().all(|definition| {
            let counter = QuotaCounter::new(shared, payer, &definitions, definition, at);
            let quota = if counter.is_changed() { None } else { counter.peek() };
            let known = quota.is_some();
            quotas.extend(quota);
            known
        })
}
