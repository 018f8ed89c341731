//! One charge, step by step: replay what is known, price, ask the gate, write the row and what follows from it.

use pgrx::Uuid;
use tollgate_escrow::registry::Statistic;

use super::pending::leave_pending;
use super::reservation::Reservation;
use super::{Cost, Moments, Outcome, Record, RecordTerms, Row, Stored};
use crate::admission::{Admission, AdmissionMode, Charge, Hold, quota_usage};
use crate::error::{Error, Result};
use crate::outbox::{self, Refusal};
use crate::pg::duplicate::wait_for_duplicate;
use crate::pg::lock;
use crate::pg::spi::{self, Session, Snapshot};
use crate::pg::{self, Timestamp, nil};
use crate::quota::figures::refusal;
use crate::quota::{Payer, QuotaUsage};
use crate::settings;
use tollgate_core::decision::{Status, Verdict, judge};

pub fn charge(
    spi: &Session,
    gate: &AdmissionMode,
    record: &dyn Record,
    reservation: Option<Reservation>,
) -> Result<Outcome> {
    spi::see_own_rows();
    let mut attempt = Attempt::new(spi, gate, record, reservation);
    loop {
        if let Some(stored) = attempt.find_duplicate()? {
            return replay(spi, attempt.payer, stored);
        }
        if let Some(outcome) = attempt.run()? {
            return Ok(outcome);
        }
    }
}

/// A record that is on its way into the ledger.
struct Attempt<'a> {
    spi: &'a Session,
    gate: &'a AdmissionMode,
    record: &'a dyn Record,
    terms: RecordTerms<'a>,
    /// Who pays: the user as the caller said, or else as the reservation says.
    payer: Payer,
    reservation: Option<Reservation>,
    /// What a reservation admitted is not asked again.
    enforce: bool,
    /// Where twins are serial a retry is found before anything is done. Elsewhere the index that its row meets tells, so
    /// that a first call need not look; but a transaction with one snapshot could not insert beside a row it cannot see,
    /// and a reservation that is settled already was so by this very request, or by another.
    look_first: bool,
}

impl<'a> Attempt<'a> {
    fn new(
        spi: &'a Session,
        gate: &'a AdmissionMode,
        record: &'a dyn Record,
        reservation: Option<Reservation>,
    ) -> Self {
        let terms = record.terms();
        let held_for = reservation.as_ref().and_then(|reservation| reservation.payer.user);
        let payer = Payer { user: terms.payer.user.or(held_for), ..terms.payer };
        let enforce = terms.enforce && reservation.is_none();
        let look_first = !gate.may_run_concurrently() || spi::has_one_snapshot() || reservation.is_some();
        Self { spi, gate, record, terms, payer, reservation, enforce, look_first }
    }

    fn find_duplicate(&self) -> Result<Option<Stored>> {
        match self.terms.request_id {
            Some(request_id) if self.look_first => self.record.find(self.spi, request_id, self.payer.user),
            _ => Ok(None),
        }
    }

    /// `None` when a duplicate may have been recorded meanwhile: then look again.
    fn run(&mut self) -> Result<Option<Outcome>> {
        if let Some(reservation) = &self.reservation {
            reservation.must_be_open()?;
        }
        // In the locked mode the clock is read under the locks, so that periods follow the order of the charges.
        let moments = self.moments(pg::clock_timestamp());
        let mut cost = self.record.cost(moments.occurred_at)?;
        if let Some(reservation) = &self.reservation {
            cost = cost.or_estimated(reservation.reserved);
        }
        let unpriced = self.enforce && cost.usd.is_none() && !settings::allow_unpriced();
        let denied = if self.enforce { self.record.denied()? } else { None };
        if unpriced || denied.is_some() {
            return self.refuse_unasked(&cost, moments.charged_at, denied);
        }
        let asked = self.ask(&cost, moments);
        let admission = self.gate.admit(self.spi, asked)?;
        if admission.admitted {
            return self.write(&cost, moments, &asked, admission);
        }
        if self.duplicate_was_recorded()? {
            return Ok(None);
        }
        self.gate.count_outcome(if admission.verdict.retryable {
            Statistic::RetryableRefusal
        } else {
            Statistic::Refusal
        });
        let reason = refusal(&admission.usage.quotas, admission.verdict, cost.nanos);
        refused(self.spi, &self.terms, &cost, admission.usage, admission.verdict, reason).map(Some)
    }

    fn moments(&self, now: Timestamp) -> Moments {
        let occurred_at = self.terms.occurred_at.unwrap_or(now);
        let charged_at = match &self.reservation {
            Some(reservation) => reservation.reserved_at,
            None if self.enforce => now,
            None => occurred_at,
        };
        Moments { charged_at, occurred_at, recorded_at: now }
    }

    fn ask(&self, cost: &Cost, moments: Moments) -> Charge {
        let expires = |ttl| moments.recorded_at.saturating_add(ttl);
        let hold = self.terms.hold_for.map(|ttl| Hold { amount: cost.nanos, expires: expires(ttl) });
        Charge {
            payer: self.payer,
            at: moments.charged_at,
            amount: if hold.is_some() { 0 } else { cost.nanos },
            hold,
            gives_up: self.reservation.as_ref().and_then(Reservation::hold),
            user_held: self.reservation.as_ref().is_some_and(|reservation| reservation.payer.user.is_some()),
            enforce: self.enforce,
            request: request_hash(self.record),
        }
    }

    /// The row of what was admitted, and what follows from it.
    fn write(
        &mut self,
        cost: &Cost,
        moments: Moments,
        asked: &Charge,
        mut admission: Admission,
    ) -> Result<Option<Outcome>> {
        let _unwritten = admission.unwritten.take();
        let id = pg::new_id();
        let expires_at = admission.hold.map_or(moments.recorded_at, |hold| hold.expires);
        if !self.record.insert(&Row { id, cost, moments, user: self.payer.user, expires_at })? {
            self.gate.retract(*asked, &admission);
            self.gate.row_written();
            if let Some(request_id) = self.terms.request_id {
                wait_for_duplicate(self.record.source().table, self.terms.payer.tenant, request_id)?;
            }
            self.look_first = true;
            return Ok(None);
        }
        self.gate.row_written();
        let held = asked.hold.is_some();
        if !held {
            leave_pending(self.record.source(), id, asked)?;
        }
        self.gate.count_outcome(Statistic::Admission);
        let mut outcome = recorded(id, cost, admission, asked);
        if let Some(reservation) = &self.reservation {
            let settled = reservation.settle(self.spi, cost.usd, moments.recorded_at)?;
            outcome.overrun_nanos = settled.overrun.ceil_nanos();
            outcome.settled = Some(settled);
        }
        if !held {
            outbox::note(self.spi, self.payer, &outcome.usage)?;
        }
        Ok(Some(outcome))
    }

    /// Refuses what no gate is asked about: it has no price, or the tenant's policy denies the model.
    fn refuse_unasked(&mut self, cost: &Cost, at: Timestamp, denied: Option<String>) -> Result<Option<Outcome>> {
        if self.duplicate_was_recorded()? {
            return Ok(None);
        }
        self.gate.count_outcome(Statistic::Refusal);
        let usage = quota_usage(self.spi, self.payer, at, Snapshot::Latest)?;
        let verdict = judge(&usage.quotas, 0, settings::allow_without_quota());
        let (verdict, reason) = match denied {
            Some(reason) => (Verdict { status: Status::ModelDenied, retryable: false, ..verdict }, reason),
            None => (verdict, format!("unpriced: {}", cost.unpriced_because.as_deref().unwrap_or("no price"))),
        };
        refused(self.spi, &self.terms, cost, usage, verdict, reason).map(Some)
    }

    /// Before a refusal is told: whether the same request has been recorded, or another call is just recording it. Waits
    /// for that one. Says whether to begin anew, by looking.
    fn duplicate_was_recorded(&mut self) -> Result<bool> {
        let Some(request_id) = self.terms.request_id.filter(|_| self.gate.may_run_concurrently()) else {
            return Ok(false);
        };
        self.look_first = true;
        // First the call that has taken room and not yet written its row, then one that has written and not committed.
        let waited = self.gate.wait_for_request(request_hash(self.record));
        Ok(wait_for_duplicate(self.record.source().table, self.terms.payer.tenant, request_id)?
            || waited
            // Also after a first look: since then it may have been committed.
            || self.record.find(self.spi, request_id, self.terms.payer.user)?.is_some())
    }
}

/// What tells requests apart while they are admitted: two that are taken for each other wait for each other in vain.
fn request_hash(record: &dyn Record) -> u64 {
    let terms = record.terms();
    terms.request_id.map_or(0, |request_id| {
        let tenant = terms.payer.tenant.unwrap_or_else(nil);
        lock::hash(&[record.source().name.as_bytes(), tenant.as_bytes(), request_id.as_bytes()]) | 1
    })
}

fn recorded(id: Uuid, cost: &Cost, admission: Admission, charge: &Charge) -> Outcome {
    let Admission { mut usage, verdict, hold, .. } = admission;
    for quota in &mut usage.quotas {
        quota.spent = quota.spent.saturating_add(charge.amount);
        quota.held = quota.held.saturating_add(hold.map_or(0, |hold| hold.amount));
    }
    let exceeded = (verdict.status == Status::Exceeded).then(|| "recorded although it exceeds a limit".to_owned());
    Outcome {
        recorded: true,
        id: Some(id),
        cost_usd: cost.usd.map(|usd| usd.to_string()),
        cost_status: cost.status.to_owned(),
        quota_status: verdict.status,
        usage,
        reported_quota: verdict.quota_index,
        overrun_nanos: verdict.overrun,
        reason: cost.unpriced_because.clone().or(exceeded),
        replayed: false,
        retryable: false,
        expires_at: hold.map(|hold| hold.expires),
        settled: None,
    }
}

fn refused(
    spi: &Session,
    terms: &RecordTerms,
    cost: &Cost,
    usage: QuotaUsage,
    verdict: Verdict,
    reason: String,
) -> Result<Outcome> {
    if terms.log_denial {
        let told = Refusal { amount: cost.nanos, reason: &reason, request_id: terms.request_id };
        outbox::denied(spi, terms.payer, &usage, verdict, &told)?;
    }
    Ok(Outcome {
        recorded: false,
        id: None,
        cost_usd: cost.usd.map(|usd| usd.to_string()),
        cost_status: cost.status.to_owned(),
        quota_status: verdict.status,
        usage,
        reported_quota: verdict.quota_index,
        overrun_nanos: 0,
        reason: Some(reason),
        replayed: false,
        retryable: verdict.retryable,
        expires_at: None,
        settled: None,
    })
}

/// The stored effect, with the quotas as they are now.
fn replay(spi: &Session, payer: Payer, stored: Stored) -> Result<Outcome> {
    if !stored.same_content {
        return Err(Error::Conflict {
            message: "this request id was used before with other arguments".to_owned(),
            detail: Some(format!("It recorded {}.", stored.id)),
        });
    }
    let usage = quota_usage(spi, payer, pg::clock_timestamp(), Snapshot::Latest)?;
    let verdict = judge(&usage.quotas, 0, settings::allow_without_quota());
    let unpriced = stored.cost_usd.is_none().then(|| "no price was known when it was recorded".to_owned());
    Ok(Outcome {
        recorded: true,
        id: Some(stored.id),
        cost_usd: stored.cost_usd,
        cost_status: stored.cost_status,
        quota_status: verdict.status,
        usage,
        reported_quota: verdict.quota_index,
        overrun_nanos: 0,
        reason: unpriced,
        replayed: true,
        retryable: false,
        expires_at: stored.expires_at,
        settled: None,
    })
}
