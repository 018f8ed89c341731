//! The escrow mode: counters in shared memory decide. The protocol, step by step, is in the crate `escrow`; the numbers
//! in here are its numbers.

use std::rc::Rc;

use pgrx::pg_sys;
use tollgate_escrow::journal;
use tollgate_escrow::registry::Closed;
use tollgate_escrow::table::{Delta, Pin};

use super::charge::{Admission, Charge, Counted};
use super::counter::{Expiry, Line, Patience, Place, Stop};
use super::waiting::{barrier, partitions, wait_for, wait_for_hand, withdraw};
use crate::error::Result;
use crate::pg::invalidation::{current_generation, generation};
use crate::pg::lock::{self, Strength};
use crate::pg::memory::Shared;
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::{identity, level, own_slot, with};
use crate::pg::{Timestamp, clock_timestamp, nil, own_database, to_unix_seconds};
use crate::quota::definitions::{self, Definitions, Epochs, quarter};
use crate::quota::sums::Sums;
use crate::quota::{Standing, Subject};
use crate::settings;
use tollgate_core::decision::{Mode, Quota, judge};

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
    let nobodys = journal::Charge { user: *nil().as_bytes(), ..own };
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

/// The steps of a charge, in the order and by the names of the protocol.
fn try_admit(shared: &Shared, spi: &Session, charge: Charge) -> std::result::Result<Admission, Stop> {
    let epochs = enter(shared, charge)?;
    let known = current_generation();
    let definitions = read_definitions(shared, charge.subject, epochs)?;
    let mut attempt = Attempt::pin_counters(shared, spi, charge, &definitions, epochs)?;
    if generation() != known {
        return Err(Stop::Again);
    }
    attempt.make_room()?;
    let mut judged_anew = false;
    loop {
        let standing = attempt.standing();
        let verdict = judge(&standing.quotas, attempt.charge.wanted(), settings::allow_without_quota());
        if charge.enforce && !verdict.allowed {
            // Also if nothing has expired: others may have given back meanwhile what stood in the way.
            match let_expire(spi, &attempt.places, Patience::Wait)? {
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
        // Where another transaction was admitted in between, the figures have changed.
        let Some(counted) = attempt.reserve_within_limits(&standing) else { continue };
        if current_generation() != known {
            retract(shared, attempt.charge, &counted);
            return Err(Stop::Again);
        }
        return Ok(Admission { standing, verdict, admitted: true, counted, hold: attempt.charge.hold });
    }
}

/// The definitions that apply, as of the epochs that the slot shows.
fn read_definitions(shared: &Shared, subject: Subject, epochs: Epochs) -> std::result::Result<Rc<Definitions>, Stop> {
    let definitions = definitions::of(subject, epochs)?;
    let mut entered = partitions(subject).into_iter().zip(epochs);
    if entered.all(|(partition, epoch)| shared.registry.is_current(partition, epoch)) {
        Ok(definitions)
    } else {
        Err(Stop::Again)
    }
}

/// A charge whose counters are pinned.
struct Attempt<'a> {
    shared: &'a Shared,
    spi: &'a Session,
    charge: Charge,
    definitions: &'a Rc<Definitions>,
    places: Vec<(Line<'a>, Place)>,
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
        epochs: Epochs,
    ) -> std::result::Result<Self, Stop> {
        let mut tail = 0;
        let mut places = Vec::with_capacity(definitions.all.len());
        for definition in &definitions.all {
            let line = Line::new(shared, charge.subject, definition, charge.at);
            let place = line.place(spi, epochs, &mut tail)?;
            places.push((line, place));
        }
        Ok(Self { shared, spi, charge, definitions, places, given_up: Vec::new(), tail })
    }

    /// Room in the journal, and in the counters that of holds that have expired. The last step that can fail.
    fn make_room(&mut self) -> std::result::Result<(), Stop> {
        if self.charge.gives_up.is_some_and(|hold| hold.expires <= clock_timestamp()) {
            // Once it is in hand, what expired after it is not passed over.
            let_expire(self.spi, &self.places, Patience::Wait)?;
        }
        self.given_up = take_in_hand(self.shared, &mut self.charge, &self.places);
        with(|state| state.journal.make_room(0))?;
        let_expire(self.spi, &self.places, Patience::Try)?;
        Ok(())
    }

    /// What the quotas have counted at this moment, without the hold that is given up.
    fn standing(&self) -> Standing {
        let quotas = self.places.iter().zip(&self.given_up).map(|((line, place), given_up)| {
            let mut quota = match place {
                Place::Tables { spent, held, .. } => line.definition.counting(line.window.bounds, *spent, *held),
                Place::Entry(pin) => {
                    let own = with(|state| state.journal.done(pin.index()));
                    line.figures(self.shared.table.read(*pin), own)
                }
            };
            quota.held -= given_up;
            quota
        });
        Standing { quotas: quotas.collect(), definitions: Some(Rc::clone(self.definitions)), tail: self.tail }
    }

    /// Adds to every counter, within its limit, and notes what it added; or gives back and says `None`. No call into
    /// Postgres from here to the end of the closure.
    fn reserve_within_limits(&self, standing: &Standing) -> Option<Counted> {
        let (shared, charge, level) = (self.shared, &self.charge, level());
        let mut additions: Vec<(Pin, Delta)> = Vec::with_capacity(self.places.len());
        let reserved = with(|state| {
            for (((_, place), quota), given_up) in self.places.iter().zip(&standing.quotas).zip(&self.given_up) {
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
            }
            shared.registry.note(own_slot(), &charge.subject.tenant_key(), shown(charge));
            true
        });
        reserved.then_some(Counted { additions, level })
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
