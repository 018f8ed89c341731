//! Writing the ledger: price, admit, insert, in one transaction and under the subject's locks.
//!
//! One charge goes through here from top to bottom: [`record`] locks and calls [`charge`] for each record, which replays
//! a request that is known, prices, asks [`crate::admission::judge`], and has the record insert itself.

pub mod attribution;
pub mod bare;
pub mod batch;
pub mod e2b;
pub mod input;
pub mod llm;

use pgrx::Uuid;

use crate::admission::{Status, judge};
use crate::error::{Error, Result};
use crate::money::Picos;
use crate::pg::spi::{Look, Rows, Session};
use crate::pg::{self, Timestamp};
use crate::prices::Quote;
use crate::quota::{Standing, Subject, fold_long_tail, lock_subjects, standing};
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
            pricing: quote.to_json().map(|json| json.to_string()),
            unpriced_because: if usd.is_none() { quote.unpriced_because() } else { None },
        }
    }
}

/// The two moments of a record.
#[derive(Clone, Copy)]
pub struct Moments {
    /// Decides the quota periods.
    pub charged_at: Timestamp,
    /// Decides the price and the day it is shown under.
    pub occurred_at: Timestamp,
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

/// What every kind of record can do.
pub trait Record {
    fn terms(&self) -> Terms<'_>;
    /// The record with this request id, if there is one.
    fn find(&self, spi: &Session, request_id: &str) -> Result<Option<Stored>>;
    fn cost(&self, spi: &Session, occurred_at: Timestamp) -> Result<Cost>;
    /// Writes the ledger row and its pending row in one statement.
    fn insert(&self, spi: &Session, id: Uuid, cost: &Cost, moments: Moments) -> Result<()>;
}

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
}

/// Records all of them or, by raising an error, none. Each answer says whether its record was admitted.
pub fn record(spi: &Session, records: &[&dyn Record]) -> Result<Vec<Outcome>> {
    lock_subjects(spi, records.iter().map(|record| record.terms().subject.tenant))?;
    let single = records.len() == 1;
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let outcome = charge(spi, *record);
        outcomes.push(if single { outcome? } else { outcome.map_err(|error| error.at_ordinal(index + 1))? });
    }
    if let Some((record, outcome)) = records.iter().zip(&outcomes).max_by_key(|(_, outcome)| outcome.standing.tail) {
        fold_long_tail(spi, record.terms().subject.tenant, outcome.standing.tail)?;
    }
    Ok(outcomes)
}

fn charge(spi: &Session, record: &dyn Record) -> Result<Outcome> {
    let terms = record.terms();
    if let Some(request_id) = terms.request_id
        && let Some(stored) = record.find(spi, request_id)?
    {
        return replay(spi, terms.subject, stored);
    }
    // The clock is read under the locks, so that periods follow the order of the charges.
    let now = pg::clock_timestamp();
    let occurred_at = terms.occurred_at.unwrap_or(now);
    let charged_at = if terms.enforce { now } else { occurred_at };
    let cost = record.cost(spi, occurred_at)?;
    let mut standing = standing(spi, terms.subject, charged_at, Look::Latest)?;
    let verdict = judge(&standing.quotas, cost.nanos, settings::allow_without_quota());

    let refusal = if !terms.enforce {
        None
    } else if cost.usd.is_none() && !settings::allow_unpriced() {
        Some(format!("unpriced: {}", cost.unpriced_because.as_deref().unwrap_or("no price")))
    } else if !verdict.allowed {
        Some(crate::look::refusal(&standing.quotas, verdict, cost.nanos))
    } else {
        None
    };
    let recorded = refusal.is_none();
    let id = recorded.then(pg::new_id);
    if let Some(id) = id {
        record.insert(spi, id, &cost, Moments { charged_at, occurred_at })?;
        for quota in &mut standing.quotas {
            quota.spent = quota.spent.saturating_add(cost.nanos);
        }
    }
    Ok(Outcome {
        recorded,
        id,
        cost_usd: cost.usd.map(|usd| usd.to_string()),
        cost_status: cost.status.to_owned(),
        quota_status: verdict.status,
        standing,
        told: verdict.subject,
        overrun_nanos: if recorded { verdict.overrun } else { 0 },
        reason: refusal.or(cost.unpriced_because).or_else(|| {
            (verdict.status == Status::Exceeded).then(|| "recorded although it exceeds a limit".to_owned())
        }),
        replayed: false,
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
