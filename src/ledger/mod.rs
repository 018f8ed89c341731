//! Writing the ledger: price, admit, insert, in one transaction.
//!
//! One charge goes through here from top to bottom: [`record`] opens the [`Gate`] and calls [`charge`] for each record,
//! which replays a request that is known, prices, asks the gate, and has the record insert itself.

pub mod attribution;
pub mod bare;
pub mod batch;
pub mod e2b;
pub mod input;
pub mod llm;

use pgrx::Uuid;
use tollgate_escrow::registry::Event;

use crate::admission::{Status, Verdict, judge};
use crate::error::{Error, Result};
use crate::money::Picos;
use crate::pg::lock;
use crate::pg::spi::types::{MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Look, Rows, Session};
use crate::pg::table::Table;
use crate::pg::twin::wait_for_twin;
use crate::pg::value::Value;
use crate::pg::{self, Timestamp};
use crate::prices::Quote;
use crate::quota::{Admission, Charge, Gate, Standing, Subject, fold_long_tail, nil, standing};
use crate::settings;

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
            Ok(crate::pricing::Priced::Priced(breakdown)) => Some(breakdown.total()),
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

/// A record that an earlier call with the same request id has left.
pub struct Stored {
    pub id: Uuid,
    /// Exact decimal text.
    pub cost_usd: Option<String>,
    pub cost_status: String,
    /// Whether the earlier call had the same money and attribution arguments.
    pub same_content: bool,
}

/// On what terms a record is to be taken.
pub struct Terms<'a> {
    pub subject: Subject,
    pub request_id: Option<&'a str>,
    /// Over a hard limit nothing is recorded; otherwise recording always succeeds.
    pub enforce: bool,
    /// When it happened, if the caller said.
    pub occurred_at: Option<Timestamp>,
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
    /// The record with this request id, if there is one.
    fn find(&self, spi: &Session, request_id: &str) -> Result<Option<Stored>>;
    fn cost(&self, occurred_at: Timestamp) -> Result<Cost>;
    /// Writes the ledger row; `false` when another has its request id, which then is committed or our own.
    fn insert(&self, id: Uuid, cost: &Cost, moments: Moments) -> Result<bool>;
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
}

/// Records all of them or, by raising an error, none. Each answer says whether its record was admitted.
pub fn record(spi: &Session, records: &[&dyn Record]) -> Result<Vec<Outcome>> {
    let gate = Gate::open(records.iter().map(|record| record.terms().subject.tenant))?;
    let single = records.len() == 1;
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let outcome = charge(spi, &gate, *record);
        outcomes.push(if single { outcome? } else { outcome.map_err(|error| error.at_ordinal(index + 1))? });
    }
    if let Some((record, outcome)) = records.iter().zip(&outcomes).max_by_key(|(_, outcome)| outcome.standing.tail) {
        fold_long_tail(spi, record.terms().subject.tenant, outcome.standing.tail)?;
    }
    Ok(outcomes)
}

fn charge(spi: &Session, gate: &Gate, record: &dyn Record) -> Result<Outcome> {
    let terms = record.terms();
    spi::see_own_rows();
    // Where twins are serial a retry is found before anything is done. Elsewhere the index that its row meets tells, so
    // that a first call need not look; but a transaction with one snapshot could not insert beside a row it cannot see.
    let mut look_first = !gate.meets_twins() || spi::has_one_snapshot();
    loop {
        if look_first
            && let Some(request_id) = terms.request_id
            && let Some(stored) = record.find(spi, request_id)?
        {
            return replay(spi, terms.subject, stored);
        }
        // In the locked mode the clock is read under the locks, so that periods follow the order of the charges.
        let now = pg::clock_timestamp();
        let occurred_at = terms.occurred_at.unwrap_or(now);
        let charged_at = if terms.enforce { now } else { occurred_at };
        let cost = record.cost(occurred_at)?;
        let unpriced = terms.enforce && cost.usd.is_none() && !settings::allow_unpriced();
        let asked = Charge {
            subject: terms.subject,
            at: charged_at,
            amount: cost.nanos,
            enforce: terms.enforce,
            request: request_hash(record),
        };
        if !unpriced {
            let admission = gate.admit(spi, asked)?;
            if admission.admitted {
                let id = pg::new_id();
                if !record.insert(id, &cost, Moments { charged_at, occurred_at, recorded_at: now })? {
                    gate.retract(asked, &admission);
                    gate.written();
                    if let Some(request_id) = terms.request_id {
                        wait_for_twin(record.source().table, terms.subject.tenant, request_id)?;
                    }
                    look_first = true;
                    continue;
                }
                gate.written();
                leave_pending(record.source(), id, &asked)?;
                gate.tell(Event::Admission);
                return Ok(recorded(id, &cost, admission));
            }
            if !twin_may_have_won(spi, gate, record, &mut look_first)? {
                gate.tell(if admission.verdict.retryable { Event::RetryableRefusal } else { Event::Refusal });
                let reason = crate::look::refusal(&admission.standing.quotas, admission.verdict, cost.nanos);
                return Ok(refused(&cost, admission.standing, admission.verdict, reason));
            }
        } else if !twin_may_have_won(spi, gate, record, &mut look_first)? {
            gate.tell(Event::Refusal);
            let standing = standing(spi, terms.subject, charged_at, Look::Latest)?;
            let verdict = judge(&standing.quotas, 0, settings::allow_without_quota());
            let reason = format!("unpriced: {}", cost.unpriced_because.as_deref().unwrap_or("no price"));
            return Ok(refused(&cost, standing, verdict, reason));
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
        || record.find(spi, request_id)?.is_some())
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

fn recorded(id: Uuid, cost: &Cost, admission: Admission) -> Outcome {
    let Admission { mut standing, verdict, .. } = admission;
    for quota in &mut standing.quotas {
        quota.spent = quota.spent.saturating_add(cost.nanos);
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
    }
}

fn refused(cost: &Cost, standing: Standing, verdict: Verdict, reason: String) -> Outcome {
    Outcome {
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
    }
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
    })
}

/// Reads what a look-up by request id gave: id, cost as text, status, whether the content is the same.
fn stored(rows: &Rows) -> Result<Option<Stored>> {
    rows.first()
        .map(|row| {
            Ok(Stored { id: row.need(1)?, cost_usd: row.get(2), cost_status: row.need(3)?, same_content: row.need(4)? })
        })
        .transpose()
}
