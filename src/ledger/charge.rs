//! One charge, step by step: replay what is known, price, ask for admission, write the row and what follows from it.

use pgrx::Uuid;
use tollgate_escrow::registry::Statistic;

use super::direct_charge;
use super::pending::leave_pending;
use super::reservation::{Reservation, State};
use super::under_way::UnderWay;
use super::{Cost, Moments, Outcome, Record, RecordTerms, Row, Stored};
use crate::admission::{Admission, AdmissionMode, Charge, Hold, quota_usage};
use crate::error::{Error, Result};
use crate::outbox::{self, Refusal};
use crate::pg::lock;
use crate::pg::queue::new_record_id;
use crate::pg::spi::{self, Session, Snapshot};
use crate::pg::{self, Timestamp, nil};
use crate::quota::figures::refusal;
use crate::quota::{Payer, QuotaUsage};
use crate::settings;
use tollgate_core::decision::{Status, Verdict};

pub fn charge(
    spi: &Session,
    mode: &AdmissionMode,
    record: &dyn Record,
    reservation: Option<Reservation>,
) -> Result<Outcome> {
    spi::see_own_rows();
    let mut attempt = Attempt::new(spi, mode, record, reservation);
    loop {
        if let Some(stored) = attempt.find_duplicate()? {
            return attempt.answer_duplicate(stored);
        }
        if let Some(outcome) = attempt.run()? {
            return Ok(outcome);
        }
    }
}

/// A record that is on its way into the ledger.
pub(super) struct Attempt<'a> {
    spi: &'a Session,
    mode: &'a AdmissionMode,
    record: &'a dyn Record,
    terms: RecordTerms<'a>,
    /// The payer: the user as the caller said, or else as the reservation says.
    pub(super) payer: Payer,
    reservation: Option<Reservation>,
    /// A hold that is committed or released already, and its moment: what the operation cost comes after the fact.
    gone: Option<(State, Timestamp)>,
    /// What a reservation admitted is not asked again.
    enforce: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        spi: &'a Session,
        mode: &'a AdmissionMode,
        record: &'a dyn Record,
        reservation: Option<Reservation>,
    ) -> Self {
        let terms = record.terms();
        let held_for = reservation.as_ref().and_then(|reservation| reservation.payer.user);
        let payer = Payer { user: terms.payer.user.or(held_for), ..terms.payer };
        let enforce = terms.enforce && reservation.is_none();
        let is_gone = |reservation: &Reservation| matches!(reservation.state, State::Committed | State::Released);
        let gone = reservation.as_ref().filter(|reservation| is_gone(reservation));
        let gone = gone.map(|reservation| (reservation.state, reservation.reserved_at));
        let reservation = reservation.filter(|_| gone.is_none());
        Self { spi, mode, record, terms, payer, reservation, gone, enforce }
    }

    /// What the request recorded before. Waits for a call that is just recording it. So a retry writes nothing.
    fn find_duplicate(&self) -> Result<Option<Stored>> {
        match self.terms.request_id {
            Some(request_id) if self.is_recorded()? => self.record.find(self.spi, request_id, self.payer.user),
            _ => Ok(None),
        }
    }

    fn is_recorded(&self) -> Result<bool> {
        match self.terms.request_id {
            Some(request_id) => self.record.source().table.has_request(self.terms.payer.tenant, request_id),
            None => Ok(false),
        }
    }

    /// `None` when a duplicate may have been recorded meanwhile: then read again.
    fn run(&mut self) -> Result<Option<Outcome>> {
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
        let admission = self.mode.admit(self.spi, asked)?;
        if admission.admitted {
            return self.write(&cost, moments, &asked, admission);
        }
        if self.duplicate_was_recorded()? {
            return Ok(None);
        }
        self.mode.count_outcome(if admission.verdict.retryable {
            Statistic::RetryableRefusal
        } else {
            Statistic::Refusal
        });
        self.refuse(&cost, admission).map(Some)
    }

    fn refuse(&self, cost: &Cost, admission: Admission) -> Result<Outcome> {
        let Admission { usage, verdict, .. } = admission;
        let reason = refusal(self.payer, &usage, verdict, cost.spending());
        refused(self.spi, &self.terms, cost, usage, verdict, reason)
    }

    pub(super) fn moments(&self, now: Timestamp) -> Moments {
        let occurred_at = self.terms.occurred_at.unwrap_or(now);
        let charged_at = match &self.reservation {
            Some(reservation) => reservation.reserved_at,
            None if self.enforce => now,
            None => self.gone.map_or(occurred_at, |(_, reserved_at)| reserved_at),
        };
        Moments { charged_at, occurred_at, recorded_at: now }
    }

    pub(super) fn ask(&self, cost: &Cost, moments: Moments) -> Charge {
        let expires = |ttl| moments.recorded_at.saturating_add(ttl);
        let hold = self.terms.hold_for.map(|ttl| Hold { amount: cost.nanos, expires: expires(ttl) });
        Charge {
            payer: self.payer,
            at: moments.charged_at,
            amount: if hold.is_some() { 0 } else { cost.nanos },
            platform_extra: if hold.is_some() { 0 } else { cost.platform_extra() },
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
        let id = new_record_id();
        let expires_at = admission.hold.map_or(moments.recorded_at, |hold| hold.expires);
        let reservation = self.reservation.as_ref().map(|reservation| reservation.id);
        let unwritten = admission.unwritten.take().map(|unwritten| unwritten.will_be_in(id, reservation));
        let _under_way = UnderWay::of_new(self.payer.tenant.unwrap_or_else(nil), id);
        let row = Row { id, cost, moments, user: self.payer.user, reservation, expires_at };
        if !self.record.source().table.insert(&self.record.row(&row)?)? {
            self.mode.retract(*asked, &admission);
            return Ok(None);
        }
        self.mode.row_written();
        let held = asked.hold.is_some();
        if !held {
            leave_pending(self.record.source(), id, asked)?;
            direct_charge::count_for_platform(id, asked)?;
        }
        self.mode.count_outcome(Statistic::Admission);
        let mut outcome = recorded(id, cost, admission, asked, self.gone.map(|(state, _)| state));
        if let Some(reservation) = &self.reservation {
            let settled = reservation.settle(self.spi, cost.usd, moments.recorded_at)?;
            outcome.overrun_nanos = settled.overrun.ceil_nanos();
            if settled.late {
                outcome.reason = both(Some(gone_already(State::Expired)), outcome.reason);
            }
            outcome.settled = Some(settled);
        }
        // A trigger on an event finds all of it in the tables.
        drop(unwritten);
        if !held {
            outbox::note(self.spi, self.payer, &outcome.usage)?;
        }
        Ok(Some(outcome))
    }

    /// Refuses before admission is asked: it has no price, or the tenant's policy denies the model.
    fn refuse_unasked(&mut self, cost: &Cost, at: Timestamp, denied: Option<String>) -> Result<Option<Outcome>> {
        if self.duplicate_was_recorded()? {
            return Ok(None);
        }
        self.mode.count_outcome(Statistic::Refusal);
        let usage = quota_usage(self.spi, self.payer, at, Snapshot::Latest)?;
        let verdict = usage.decide(0, true);
        let (status, reason) = match denied {
            _ if verdict.status == Status::NoTenant => {
                (Status::NoTenant, refusal(self.payer, &usage, verdict, cost.spending()))
            }
            Some(reason) => (Status::ModelDenied, reason),
            None => {
                let why = cost.unpriced_because.as_deref().unwrap_or("no price");
                (Status::Unpriced, format!("unpriced: {why}"))
            }
        };
        let verdict = Verdict { status, retryable: false, ..verdict };
        refused(self.spi, &self.terms, cost, usage, verdict, reason).map(Some)
    }

    /// The request was recorded before. A hold that has gone since is asked for again. A new one that the retry brought
    /// is not needed.
    fn answer_duplicate(&mut self, stored: Stored) -> Result<Outcome> {
        if !stored.same_content {
            return Err(Error::Conflict {
                message: "this request id was used before with other arguments".to_owned(),
                detail: Some(format!("It recorded {}.", stored.id)),
            });
        }
        if matches!(stored.state, Some(State::Released | State::Expired)) {
            return self.renew(stored);
        }
        if let Some(reservation) = &self.reservation
            && stored.reservation != Some(reservation.id)
            && reservation.state == State::Held
        {
            let now = pg::clock_timestamp();
            let state = if reservation.has_expired(now) { State::Expired } else { State::Released };
            reservation.give_up(self.spi, self.mode, state, Some("the request was recorded before"), now)?;
        }
        replay(self.spi, self.payer, stored)
    }

    /// A hold of this request was there, and is not any more: it is admitted again, under the same id.
    fn renew(&mut self, stored: Stored) -> Result<Outcome> {
        let reservation = Reservation::lock(self.spi, stored.id, self.terms.payer.tenant)?;
        let now = pg::clock_timestamp();
        match reservation.state {
            // Another retry was faster.
            State::Held if !reservation.has_expired(now) => {
                return replay(self.spi, self.payer, Stored { state: Some(State::Held), ..stored });
            }
            State::Committed => {
                return replay(self.spi, self.payer, Stored { state: Some(State::Committed), ..stored });
            }
            State::Held => reservation.give_up(self.spi, self.mode, State::Expired, None, now)?,
            State::Released | State::Expired => {}
        }
        let cost = self.record.cost(now)?;
        if let Some(reason) = self.record.denied()? {
            let usage = quota_usage(self.spi, self.payer, now, Snapshot::Latest)?;
            let verdict = Verdict { status: Status::ModelDenied, retryable: false, ..usage.decide(0, true) };
            return refused(self.spi, &self.terms, &cost, usage, verdict, reason);
        }
        let moments = Moments { charged_at: now, occurred_at: now, recorded_at: now };
        let asked = Charge { request: 0, ..self.ask(&cost, moments) };
        let mut admission = self.mode.admit(self.spi, asked)?;
        if !admission.admitted {
            return self.refuse(&cost, admission);
        }
        let _unwritten = admission.unwritten.take().map(|unwritten| unwritten.will_be_in(stored.id, None));
        let expires_at = admission.hold.map_or(now, |hold| hold.expires);
        reservation.renew(self.spi, cost.nanos, now, expires_at)?;
        self.mode.row_written();
        self.mode.count_outcome(Statistic::Admission);
        Ok(recorded(stored.id, &cost, admission, &asked, None))
    }

    /// Before a refusal is returned: whether the same request has been recorded, or another call is just recording it.
    /// Waits for that call. Says whether to start again.
    fn duplicate_was_recorded(&self) -> Result<bool> {
        if self.terms.request_id.is_none() {
            return Ok(false);
        }
        // First the call that has taken room and not yet written its row, then one that has written and not committed.
        let waited = self.mode.wait_for_request(request_hash(self.record));
        Ok(self.is_recorded()? || waited)
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

fn both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first}; {second}")),
        (first, second) => first.or(second),
    }
}

fn gone_already(state: State) -> String {
    match state {
        State::Expired => "the reservation had expired".to_owned(),
        state => format!("the reservation was {} already", state.as_str()),
    }
}

pub(super) fn recorded(id: Uuid, cost: &Cost, admission: Admission, charge: &Charge, gone: Option<State>) -> Outcome {
    let Admission { mut usage, verdict, hold, .. } = admission;
    for quota in &mut usage.quotas {
        quota.spent = quota.spent.saturating_add(charge.spent(quota.scope));
        quota.held = quota.held.saturating_add(hold.map_or(0, |hold| hold.amount));
    }
    let although = match verdict.status {
        Status::Exceeded => Some("recorded although it exceeds a limit".to_owned()),
        Status::Suspended => Some("recorded although a quota is suspended".to_owned()),
        _ => None,
    };
    let reason = both(gone.map(gone_already), cost.unpriced_because.clone().or(although));
    Outcome {
        recorded: true,
        id: Some(id),
        cost_usd: cost.usd.map(|usd| usd.to_string()),
        cost_status: cost.status.to_owned(),
        quota_status: verdict.status,
        usage,
        reported_quota: verdict.quota_index,
        overrun_nanos: verdict.overrun,
        reason: settings::with_enforcement(reason),
        replayed: false,
        retryable: false,
        expires_at: hold.map(|hold| hold.expires),
        settled: None,
        state: hold.map(|_| State::Held),
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
        reason: settings::with_enforcement(Some(reason)),
        replayed: false,
        retryable: verdict.retryable,
        expires_at: None,
        settled: None,
        state: None,
    })
}

/// The stored effect, with the quotas as they are now.
fn replay(spi: &Session, payer: Payer, stored: Stored) -> Result<Outcome> {
    let usage = quota_usage(spi, payer, pg::clock_timestamp(), Snapshot::Latest)?;
    let verdict = usage.decide(0, false);
    let because = stored.unpriced_because;
    let because = || because.unwrap_or_else(|| "no price was known when it was recorded".to_owned());
    let unpriced = stored.cost_usd.is_none().then(because);
    Ok(Outcome {
        recorded: true,
        id: Some(stored.id),
        cost_usd: stored.cost_usd,
        cost_status: stored.cost_status,
        quota_status: verdict.status,
        usage,
        reported_quota: verdict.quota_index,
        overrun_nanos: 0,
        reason: settings::with_enforcement(unpriced),
        replayed: true,
        retryable: false,
        expires_at: stored.expires_at,
        settled: None,
        state: stored.state,
    })
}
