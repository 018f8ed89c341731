//! Writing the ledger: price, admit, insert, in one transaction.
//!
//! One charge goes through here from top to bottom. [`record`] opens the [`AdmissionMode`] and calls [`charge`] for
//! each record. That replays a request that is known, prices, asks for admission, and writes the record's row. Records
//! of a batch that nothing can refuse go through [`run`] instead, many at a time.

pub mod attribution;
pub mod batch;
mod charge;
pub mod corrections;
pub mod direct_charge;
pub mod e2b;
pub mod extend;
pub mod llm;
mod pending;
mod report;
pub mod reprice;
mod reservation;
pub mod reserve;
mod run;
pub mod settle;
pub mod under_way;

use std::iter;

use pgrx::Uuid;
use serde::{Serialize, Serializer};
use serde_json::json;

use self::charge::charge;
pub use self::reservation::State;
use self::reservation::{Reservation, Settlement};
use self::run::{Runs, record_run};
use crate::admission::AdmissionMode;
use crate::error::Result;
use crate::pg::spi::{Rows, Session, columns};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::pg::{Timestamp, jsonb_writer, queue, random_bits};
use crate::pricing::lookup::Quote;
use crate::quota::rollup::fold_long_tail;
use crate::quota::{Payer, QuotaUsage};
use crate::settings;
use tollgate_core::decision::{Quota, Spending, Status};
use tollgate_core::money::Picos;
use tollgate_core::pricing::StoredPricing;

/// What the tenant pays, and what the provider bills: the same but for the operator's markups.
#[derive(Clone, Copy)]
pub struct Charged {
    pub paid: Picos,
    pub billed: Picos,
}

impl Charged {
    /// What quotas would count of the one beyond what they count of the other.
    fn extra_nanos(self) -> i64 {
        self.billed.ceil_nanos() - self.paid.ceil_nanos()
    }

    /// Without a markup.
    pub fn plain(usd: Picos) -> Self {
        Self { paid: usd, billed: usd }
    }
}

/// The cost of one record as it will be stored.
pub struct Cost {
    /// What the tenant pays; `None` when no price is known.
    pub usd: Option<Picos>,
    /// What the provider bills.
    pub billed: Option<Picos>,
    pub status: &'static str,
    /// What quotas count: rounded up to 1e-9 USD, 0 when unpriced.
    pub nanos: i64,
    pub pricing: Pricing,
    pub unpriced_because: Option<String>,
}

impl Cost {
    /// A provided cost is authoritative; what the price list says is stored beside it.
    pub fn new(provided: Option<Charged>, quote: Quote) -> Self {
        let computed = match &quote.priced {
            Ok(tollgate_core::pricing::Priced::Priced(breakdown)) => {
                Some(Charged { paid: breakdown.total(), billed: breakdown.billed() })
            }
            _ => None,
        };
        let status = match (provided, computed) {
            (Some(_), _) => "provided",
            (None, Some(_)) => "priced",
            (None, None) => "unpriced",
        };
        let charged = provided.or(computed);
        let why = if charged.is_none() { quote.unpriced_because() } else { None };
        Self {
            pricing: Pricing { quote: Some(quote), ..Pricing::default() },
            unpriced_because: why,
            ..Self::of(charged, status)
        }
    }

    fn of(charged: Option<Charged>, status: &'static str) -> Self {
        let usd = charged.map(|charged| charged.paid);
        Self {
            usd,
            billed: charged.map(|charged| charged.billed),
            status,
            nanos: usd.map_or(0, Picos::ceil_nanos),
            pricing: Pricing::default(),
            unpriced_because: None,
        }
    }

    pub fn charged(&self) -> Option<Charged> {
        self.usd.zip(self.billed).map(|(paid, billed)| Charged { paid, billed })
    }

    /// What the platform's quotas count beyond what others do.
    fn platform_extra(&self) -> i64 {
        self.charged().filter(|_| settings::platform_counts_provider_cost()).map_or(0, Charged::extra_nanos)
    }

    fn spending(&self) -> Spending {
        Spending { paid: self.nanos, by_platform: self.nanos + self.platform_extra() }
    }

    /// A cost that the caller has said.
    pub fn provided(usd: Picos) -> Self {
        Self::of(Some(Charged::plain(usd)), "provided")
    }

    /// What was reported and not understood: it has no price, unless the caller says what it cost.
    fn unread(provided: Option<Charged>, why: &str) -> Self {
        let unpriced = provided.is_none().then(|| why.to_owned());
        let status = if provided.is_some() { "provided" } else { "unpriced" };
        let cost = Self { unpriced_because: unpriced, ..Self::of(provided, status) };
        cost.noted("not_understood", json!(["p_usage"])).noted("because", json!(why))
    }

    /// The same with a note of what was not understood of the usage.
    fn without(self, not_understood: &[String]) -> Self {
        if not_understood.is_empty() {
            return self;
        }
        self.noted("not_understood", json!(not_understood))
    }

    /// The same with what another model used on behalf of the call; a provided cost has it in it.
    fn with_other(self, name: &str, other: &Self) -> Result<Self> {
        let sum = |one: Option<Picos>, other: Option<Picos>| {
            let sum = one.zip(other).map(|(one, other)| one.checked_add(other));
            sum.transpose().map_err(|error| crate::arguments::out_of_range("the cost", error))
        };
        let (usd, billed) = match self.status {
            "provided" => (self.usd, self.billed),
            _ => (sum(self.usd, other.usd)?, sum(self.billed, other.billed)?),
        };
        let unpriced_because = match usd {
            Some(_) => None,
            None => self.unpriced_because.clone().or_else(|| {
                other.unpriced_because.as_ref().map(|why| format!("{why} (for {name}, which worked on its behalf)"))
            }),
        };
        let status = if usd.is_none() { "unpriced" } else { self.status };
        let nanos = usd.map_or(0, Picos::ceil_nanos);
        let cost = other.usd.map(|usd| usd.to_string());
        let note = json!({ "model": name, "cost_usd": cost, "pricing": other.pricing });
        Ok(Self { usd, billed, nanos, status, unpriced_because, ..self }.noted("other_model", note))
    }

    /// Adds a note; one whose name stands there already gets a number.
    fn noted(mut self, name: &str, note: serde_json::Value) -> Self {
        let notes = &mut self.pricing.notes;
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        if let Some(name) = iter::once(name.to_owned()).chain(numbered).find(|name| !notes.contains_key(name)) {
            notes.insert(name, note);
        }
        self
    }

    /// What has no price costs what was set aside for it: nothing is free because its price is not known.
    fn or_estimated(self, reserved: Picos) -> Self {
        match self.usd {
            Some(_) => self,
            None => {
                let Self { pricing, unpriced_because, .. } = self;
                Self { pricing, unpriced_because, ..Self::of(Some(Charged::plain(reserved)), "estimated") }
            }
        }
    }
}

/// How a cost came about: by which price, and what else is to be said.
#[derive(Default)]
pub struct Pricing {
    quote: Option<Quote>,
    notes: serde_json::Map<String, serde_json::Value>,
}

impl Pricing {
    /// NULL when there is nothing to say.
    pub fn value(&self) -> Result<Value> {
        match (self.quote.as_ref().and_then(Quote::stored), self.notes.is_empty()) {
            (None, true) => Ok(Value::NULL),
            _ => Ok(jsonb_writer::write(self)?.value()),
        }
    }
}

impl Serialize for Pricing {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Stored<'a> {
            #[serde(flatten)]
            quote: Option<StoredPricing<'a>>,
            #[serde(flatten)]
            notes: &'a serde_json::Map<String, serde_json::Value>,
        }
        Stored { quote: self.quote.as_ref().and_then(Quote::stored), notes: &self.notes }.serialize(serializer)
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
    /// The user: as the caller said, or else as the reservation says.
    pub user: Option<Uuid>,
    /// The hold that it settles.
    pub reservation: Option<Uuid>,
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
    /// What it is now, for a hold.
    pub state: Option<State>,
    /// The hold that it settled.
    pub reservation: Option<Uuid>,
    /// Why its usage was not understood, where it has no cost for that.
    pub unpriced_because: Option<String>,
}

/// On what terms a record is to be taken.
pub struct RecordTerms<'a> {
    pub payer: Payer,
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
    fn terms(&self) -> RecordTerms<'_>;
    fn source(&self) -> Source;
    /// The record with this request id, if there is one; its content is compared with this record's, of this user.
    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>>;
    fn cost(&self, occurred_at: Timestamp) -> Result<Cost>;
    /// Why the tenant's policy does not let it happen, where there is one that could.
    fn denied(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// The values of the row, in the order of the table's columns.
    fn row(&self, row: &Row<'_>) -> Result<Vec<Value>>;
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
    pub usage: QuotaUsage,
    /// The quota that blocked, or the tightest.
    pub reported_quota: Option<usize>,
    pub overrun_nanos: i64,
    pub reason: Option<String>,
    pub replayed: bool,
    /// Refused, and nothing but holds and transactions in flight is in the way.
    pub retryable: bool,
    /// When the hold that was made expires, or was to expire at first.
    pub expires_at: Option<Timestamp>,
    /// What became of the reservation.
    pub settled: Option<Settlement>,
    /// What a hold is now.
    pub state: Option<State>,
}

impl Outcome {
    /// The quota that blocked, where one did.
    pub fn blocking_quota(&self) -> Option<&Quota> {
        let blocked = !self.recorded && matches!(self.quota_status, Status::Exceeded | Status::Suspended);
        self.reported_quota.filter(|_| blocked).map(|index| &self.usage.quotas[index])
    }
}

/// Records all of them or, by raising an error, none. Each answer says whether its record was admitted.
pub fn record(spi: &Session, records: &[&dyn Record]) -> Result<Vec<Outcome>> {
    let mode = AdmissionMode::open(records.iter().map(|record| record.terms().payer.tenant))?;
    let mut outcomes = Vec::with_capacity(records.len());
    if let [single] = records {
        outcomes.push(record_one(spi, &mode, *single)?);
    } else {
        record_many(spi, &mode, records, &mut outcomes).map_err(|error| error.at_ordinal(outcomes.len() + 1))?;
    }
    if let Some((record, outcome)) = records.iter().zip(&outcomes).max_by_key(|(_, outcome)| outcome.usage.tail) {
        fold_long_tail(spi, record.terms().payer.tenant, outcome.usage.tail, records.len())?;
    }
    // Each tenant as often as it has new records. A retry writes nothing.
    let one = random_bits() as usize % records.len().max(1);
    let is_new = |outcome: &Outcome| outcome.recorded && !outcome.replayed;
    if outcomes.get(one).is_some_and(is_new)
        && let Some(tenant) = records[one].terms().payer.tenant
    {
        queue::advance(spi, tenant, records.len())?;
    }
    Ok(outcomes)
}

fn record_one(spi: &Session, mode: &AdmissionMode, record: &dyn Record) -> Result<Outcome> {
    let reservation = reservation_of(spi, record)?;
    charge(spi, mode, record, reservation)
}

/// In order, those together that can be. After an error, the next record is the one that it is of.
fn record_many(
    spi: &Session,
    mode: &AdmissionMode,
    records: &[&dyn Record],
    outcomes: &mut Vec<Outcome>,
) -> Result<()> {
    let mut runs = Runs::new();
    while let Some(record) = records.get(outcomes.len()) {
        let before = outcomes.len();
        record_run(spi, mode, &records[before..], &mut runs, outcomes)?;
        if outcomes.len() == before {
            outcomes.push(record_one(spi, mode, *record)?);
            runs.break_off();
        }
    }
    Ok(())
}

/// The reservation that a record settles, locked.
fn reservation_of(spi: &Session, record: &dyn Record) -> Result<Option<Reservation>> {
    let terms = record.terms();
    let Some(id) = terms.reservation else { return Ok(None) };
    let reservation = Reservation::lock(spi, id, terms.payer.tenant)?;
    reservation.must_fit(terms.payer)?;
    Ok(Some(reservation))
}

columns! {
    StoredColumn(id, cost_usd, cost_status, same_content, expires_at, state, reservation_id, unpriced_because)
}

/// Reads what a look-up by request id gave: id, cost as text, status, and whether the content is the same. For a hold
/// also its expiry and state, for others the hold that it settled.
fn stored(rows: &Rows) -> Result<Option<Stored>> {
    rows.first()
        .map(|row| {
            Ok(Stored {
                id: row.need(StoredColumn::id)?,
                cost_usd: row.get(StoredColumn::cost_usd),
                cost_status: row.need(StoredColumn::cost_status)?,
                same_content: row.need(StoredColumn::same_content)?,
                expires_at: row.get(StoredColumn::expires_at),
                state: row.get::<String>(StoredColumn::state).map(|state| State::parse(&state)).transpose()?,
                reservation: row.get(StoredColumn::reservation_id),
                unpriced_because: row.get(StoredColumn::unpriced_because),
            })
        })
        .transpose()
}
