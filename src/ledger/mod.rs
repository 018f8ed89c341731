//! Writing the ledger: price, admit, insert, in one transaction.
//!
//! One charge goes through here from top to bottom: [`record`] opens the [`Gate`] and calls [`charge`] for each record,
//! which replays a request that is known, prices, asks the gate, and has the record insert itself.

pub mod attribution;
pub mod batch;
pub mod corrections;
pub mod direct_charge;
pub mod e2b;

pub mod llm;
pub mod reprice;
pub mod reservations;

use pgrx::Uuid;
use tollgate_escrow::registry::Event;

use self::reservations::{Reservation, Settled};
use crate::admission::{Admission, Charge, Gate, Hold, standing};
use crate::error::{Error, Result};
use crate::outbox::{self, Told};
use crate::pg::duplicate::wait_for_twin;
use crate::pg::lock;
use crate::pg::nil;
use crate::pg::spi::types::{MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Look, Rows, Session};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::pg::{self, Timestamp};
use crate::pricing::lookup::Quote;
use crate::quota::rollup::fold_long_tail;
use crate::quota::{Standing, Subject};
use crate::settings;
use tollgate_core::decision::{Status, Verdict, judge};
use tollgate_core::money::Picos;

/// The cost of one record as it will be stored.
pub struct Cost {
    /// `None` when no price is known.
    pub usd: Option<Picos>,
    pub status: &'static str,
    /// What quotas count: rounded up to 1e-9 USD, 0 when unpriced.
    pub nanos: i64,
    /// The breakdown as JSON text.
    pub pricing: Option<String>,
    pub unpriced_because: Option<String>,
}

impl Cost {
    /// A provided cost is authoritative; what the price list says is stored beside it.
    pub fn new(provided: Option<Picos>, quote: &Quote) -> Self {
        let computed = match &quote.priced {
            Ok(tollgate_core::pricing::Priced::Priced(breakdown)) => Some(breakdown.total()),
            _ => None,
        };
        let usd = provided.or(computed);
        let status = match (provided, computed) {
            (Some(_), _) => "provided",
            (None, Some(_)) => "priced",
            (None, None) => "unpriced",
        };
        Self {
            usd,
            status,
            nanos: usd.map_or(0, Picos::ceil_nanos),
            pricing: quote.to_json(),
            unpriced_because: if usd.is_none() { quote.unpriced_because() } else { None },
        }
    }

    /// A cost that the caller has said.
    pub fn provided(usd: Picos) -> Self {
        let nanos = usd.ceil_nanos();
        Self { usd: Some(usd), status: "provided", nanos, pricing: None, unpriced_because: None }
    }

    /// What has no price costs what was set aside for it: nothing is free because its price is not known.
    fn or_estimated(self, reserved: Picos) -> Self {
        match self.usd {
            Some(_) => self,
            None => Self { usd: Some(reserved), status: "estimated", nanos: reserved.ceil_nanos(), ..self },
        }
    }
}

/// The moments of a record.
#[derive(Clone, Copy)]
pub struct Moments {
    /// Decides the quota periods.
    pub charged_at: Timestamp,
    /// Decides the price and the day it is shown under.
    pub occurred_at: Timestamp,
    /// When the row is written.
    pub recorded_at: Timestamp,
}

/// A row that is to be written.
pub struct Row<'a> {
    pub id: Uuid,
    pub cost: &'a Cost,
    pub moments: Moments,
    /// Who asked: as the caller said, or else as the reservation says.
    pub user: Option<Uuid>,
    /// When it expires, for a hold.
    pub expires_at: Timestamp,
}

/// A record that an earlier call with the same request id has left.
pub struct Stored {
    pub id: Uuid,
    /// Exact decimal text.
    pub cost_usd: Option<String>,
    pub cost_status: String,
    /// Whether the earlier call had the same money and attribution arguments.
    pub same_content: bool,
    /// When it was to expire at first, for a hold.
    pub expires_at: Option<Timestamp>,
}

/// On what terms a record is to be taken.
pub struct Terms<'a> {
    pub subject: Subject,
    pub request_id: Option<&'a str>,
    /// Over a hard limit nothing is recorded; otherwise recording always succeeds.
    pub enforce: bool,
    /// When it happened, if the caller said.
    pub occurred_at: Option<Timestamp>,
    /// The hold that it settles. What was admitted with it is not asked again.
    pub reservation: Option<Uuid>,
    /// To be held for so long (microseconds), and not yet spent.
    pub hold_for: Option<i64>,
    /// A refusal leaves an event.
    pub log_denial: bool,
}

/// Where a kind of record is kept.
#[derive(Clone, Copy)]
pub struct Source {
    /// As rollups and pending rows name it.
    pub name: &'static str,
    pub table: &'static Table,
}

/// What every kind of record can do.
pub trait Record {
    fn terms(&self) -> Terms<'_>;
    fn source(&self) -> Source;
    /// The record with this request id, if there is one; its content is compared with this record's, of this user.
    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>>;
    fn cost(&self, occurred_at: Timestamp) -> Result<Cost>;
    /// Why the tenant's policy does not let it happen, where there is one that could.
    fn denied(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// Writes the row; `false` when another has its request id, which then is committed or our own.
    fn insert(&self, row: &Row<'_>) -> Result<bool>;
}

/// What rollups have yet to take up.
static PENDING: Table = Table::new(
    c"pending_costs",
    &[
        ("tenant_id", UUID),
        ("record_id", UUID),
        ("source", TEXT),
        ("user_id", UUID),
        ("resource_type", TEXT),
        ("charged_at", MOMENT),
        ("nanos", NUMERIC),
    ],
    1,
    None,
);

/// The outcome of one record.
pub struct Outcome {
    pub recorded: bool,
    pub id: Option<Uuid>,
    /// Exact decimal text.
    pub cost_usd: Option<String>,
    pub cost_status: String,
    pub quota_status: Status,
    /// The quotas after the charge (or as they stand, when it was refused or replayed).
    pub standing: Standing,
    /// The quota that blocked, or the tightest.
    pub told: Option<usize>,
    pub overrun_nanos: i64,
    pub reason: Option<String>,
    pub replayed: bool,
    /// Refused, and nothing but holds and transactions in flight is in the way.
    pub retryable: bool,
    /// When the hold that was made expires, or was to expire at first.
    pub expires_at: Option<Timestamp>,
    /// What became of the reservation.
    pub settled: Option<Settled>,
}

/// Records all of them or, by raising an error, none. Each answer says whether its record was admitted.
pub fn record(spi: &Session, records: &[&dyn Record]) -> Result<Vec<Outcome>> {
    let gate = Gate::open(records.iter().map(|record| record.terms().subject.tenant))?;
    let single = records.len() == 1;
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let outcome = reservation_of(spi, *record).and_then(|reservation| charge(spi, &gate, *record, reservation));
        outcomes.push(if single { outcome? } else { outcome.map_err(|error| error.at_ordinal(index + 1))? });
    }
    if let Some((record, outcome)) = records.iter().zip(&outcomes).max_by_key(|(_, outcome)| outcome.standing.tail) {
        fold_long_tail(spi, record.terms().subject.tenant, outcome.standing.tail)?;
    }
    Ok(outcomes)
}

/// The reservation that a record settles, locked.
fn reservation_of(spi: &Session, record: &dyn Record) -> Result<Option<Reservation>> {
    let terms = record.terms();
    let Some(id) = terms.reservation else { return Ok(None) };
    let reservation = Reservation::lock(spi, id, terms.subject.tenant)?;
    reservation.must_fit(terms.subject)?;
    Ok(Some(reservation))
}

fn charge(spi: &Session, gate: &Gate, record: &dyn Record, reservation: Option<Reservation>) -> Result<Outcome> {
    let terms = record.terms();
    let held_for = reservation.as_ref().and_then(|reservation| reservation.subject.user);
    let subject = Subject { user: terms.subject.user.or(held_for), ..terms.subject };
    let enforce = terms.enforce && reservation.is_none();
    spi::see_own_rows();
    // Where twins are serial a retry is found before anything is done. Elsewhere the index that its row meets tells, so
    // that a first call need not look; but a transaction with one snapshot could not insert beside a row it cannot see,
    // and a reservation that is settled already was so by this very request, or by another.
    let mut look_first = !gate.meets_twins() || spi::has_one_snapshot() || reservation.is_some();
    loop {
        if look_first
            && let Some(request_id) = terms.request_id
            && let Some(stored) = record.find(spi, request_id, subject.user)?
        {
            return replay(spi, subject, stored);
        }
        if let Some(reservation) = &reservation {
            reservation.must_be_open()?;
        }
        // In the locked mode the clock is read under the locks, so that periods follow the order of the charges.
        let now = pg::clock_timestamp();
        let occurred_at = terms.occurred_at.unwrap_or(now);
        let charged_at = match &reservation {
            Some(reservation) => reservation.reserved_at,
            None if enforce => now,
            None => occurred_at,
        };
        let mut cost = record.cost(occurred_at)?;
        if let Some(reservation) = &reservation {
            cost = cost.or_estimated(reservation.reserved);
        }
        let unpriced = enforce && cost.usd.is_none() && !settings::allow_unpriced();
        let hold = terms.hold_for.map(|ttl| Hold { amount: cost.nanos, expires: now.saturating_add(ttl) });
        let asked = Charge {
            subject,
            at: charged_at,
            amount: if hold.is_some() { 0 } else { cost.nanos },
            hold,
            gives_up: reservation.as_ref().and_then(Reservation::hold),
            user_held: held_for.is_some(),
            enforce,
            request: request_hash(record),
        };
        let denied = if enforce { record.denied()? } else { None };
        if !unpriced && denied.is_none() {
            let admission = gate.admit(spi, asked)?;
            if admission.admitted {
                let id = pg::new_id();
                let moments = Moments { charged_at, occurred_at, recorded_at: now };
                let expires_at = admission.hold.map_or(now, |hold| hold.expires);
                if !record.insert(&Row { id, cost: &cost, moments, user: subject.user, expires_at })? {
                    gate.retract(asked, &admission);
                    gate.written();
                    if let Some(request_id) = terms.request_id {
                        wait_for_twin(record.source().table, terms.subject.tenant, request_id)?;
                    }
                    look_first = true;
                    continue;
                }
                gate.written();
                if hold.is_none() {
                    leave_pending(record.source(), id, &asked)?;
                }
                gate.tell(Event::Admission);
                let mut outcome = recorded(id, &cost, admission, &asked);
                if let Some(reservation) = &reservation {
                    let settled = reservation.settle(spi, cost.usd, now)?;
                    outcome.overrun_nanos = settled.overrun.ceil_nanos();
                    outcome.settled = Some(settled);
                }
                if hold.is_none() {
                    outbox::note(spi, subject, &outcome.standing)?;
                }
                return Ok(outcome);
            }
            if !twin_may_have_won(spi, gate, record, &mut look_first)? {
                gate.tell(if admission.verdict.retryable { Event::RetryableRefusal } else { Event::Refusal });
                let reason = crate::quota::figures::refusal(&admission.standing.quotas, admission.verdict, cost.nanos);
                return refused(spi, &terms, &cost, admission.standing, admission.verdict, reason);
            }
        } else if !twin_may_have_won(spi, gate, record, &mut look_first)? {
            gate.tell(Event::Refusal);
            let standing = standing(spi, subject, charged_at, Look::Latest)?;
            let verdict = judge(&standing.quotas, 0, settings::allow_without_quota());
            if let Some(reason) = denied {
                let verdict = Verdict { status: Status::ModelDenied, retryable: false, ..verdict };
                return refused(spi, &terms, &cost, standing, verdict, reason);
            }
            let reason = format!("unpriced: {}", cost.unpriced_because.as_deref().unwrap_or("no price"));
            return refused(spi, &terms, &cost, standing, verdict, reason);
        }
    }
}

/// Before a refusal is told: whether the same request has been recorded, or another call is just recording it. Waits for
/// that one. Says whether to begin anew, by looking.
fn twin_may_have_won(spi: &Session, gate: &Gate, record: &dyn Record, looked: &mut bool) -> Result<bool> {
    let terms = record.terms();
    let Some(request_id) = terms.request_id.filter(|_| gate.meets_twins()) else { return Ok(false) };
    *looked = true;
    // First whoever has taken room and not yet written his row, then whoever has written it and not yet committed.
    let waited = gate.wait_for_request(request_hash(record));
    Ok(wait_for_twin(record.source().table, terms.subject.tenant, request_id)?
        || waited
        // Also after a first look: since then it may have been committed.
        || record.find(spi, request_id, terms.subject.user)?.is_some())
}

/// What tells requests apart while they are admitted: two that are taken for each other wait for each other in vain.
fn request_hash(record: &dyn Record) -> u64 {
    let terms = record.terms();
    terms.request_id.map_or(0, |request_id| {
        let tenant = terms.subject.tenant.unwrap_or_else(nil);
        lock::hash(&[record.source().name.as_bytes(), tenant.as_bytes(), request_id.as_bytes()]) | 1
    })
}

fn leave_pending(source: Source, id: Uuid, charge: &Charge) -> Result<()> {
    PENDING.insert(&[
        charge.subject.tenant.unwrap_or_else(nil).into(),
        id.into(),
        source.name.into(),
        charge.subject.user.unwrap_or_else(nil).into(),
        charge.subject.resource.as_str().into(),
        Value::timestamp(charge.at),
        Value::whole(charge.amount),
    ])?;
    Ok(())
}

fn recorded(id: Uuid, cost: &Cost, admission: Admission, charge: &Charge) -> Outcome {
    let Admission { mut standing, verdict, hold, .. } = admission;
    for quota in &mut standing.quotas {
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
        standing,
        told: verdict.subject,
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
    terms: &Terms,
    cost: &Cost,
    standing: Standing,
    verdict: Verdict,
    reason: String,
) -> Result<Outcome> {
    if terms.log_denial {
        let told = Told { amount: cost.nanos, reason: &reason, request_id: terms.request_id };
        outbox::denied(spi, terms.subject, &standing, verdict, &told)?;
    }
    Ok(Outcome {
        recorded: false,
        id: None,
        cost_usd: cost.usd.map(|usd| usd.to_string()),
        cost_status: cost.status.to_owned(),
        quota_status: verdict.status,
        standing,
        told: verdict.subject,
        overrun_nanos: 0,
        reason: Some(reason),
        replayed: false,
        retryable: verdict.retryable,
        expires_at: None,
        settled: None,
    })
}

/// The stored effect, with the quotas as they are now.
fn replay(spi: &Session, subject: Subject, stored: Stored) -> Result<Outcome> {
    if !stored.same_content {
        return Err(Error::Conflict {
            message: "this request id was used before with other arguments".to_owned(),
            detail: Some(format!("It recorded {}.", stored.id)),
        });
    }
    let standing = standing(spi, subject, pg::clock_timestamp(), Look::Latest)?;
    let verdict = judge(&standing.quotas, 0, settings::allow_without_quota());
    let unpriced = stored.cost_usd.is_none().then(|| "no price was known when it was recorded".to_owned());
    Ok(Outcome {
        recorded: true,
        id: Some(stored.id),
        cost_usd: stored.cost_usd,
        cost_status: stored.cost_status,
        quota_status: verdict.status,
        standing,
        told: verdict.subject,
        overrun_nanos: 0,
        reason: unpriced,
        replayed: true,
        retryable: false,
        expires_at: stored.expires_at,
        settled: None,
    })
}

/// Reads what a look-up by request id gave: id, cost as text, status, whether the content is the same, and for a hold
/// when it was to expire.
fn stored(rows: &Rows) -> Result<Option<Stored>> {
    rows.first()
        .map(|row| {
            Ok(Stored {
                id: row.need(1)?,
                cost_usd: row.get(2),
                cost_status: row.need(3)?,
                same_content: row.need(4)?,
                expires_at: row.get(5),
            })
        })
        .transpose()
}
