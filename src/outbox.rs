//! The outbox: what an operator wants to hear of once, written in the transaction that did it.
//!
//! # Protocol
//! A charge that reaches a threshold of a quota, or goes above its limit, leaves an event. The question is not whether
//! this charge crossed the mark, but whether the mark is reached and the outbox lacks its event. So nothing is lost
//! when the transaction that crossed rolls back while others went by. Nor is anything lost when two charges cross only
//! together. The next charge writes the event, or else a call that claims events, or `maintain()`: the tables show it
//! too ([`catch_up`]).
//!
//! No row is updated and no transaction is waited for. Each session remembers per quota and period the least figure at
//! which something could be left to write ([`Quiet`]). Below it, which is nearly always, a charge compares two
//! integers. At or above it the session reads which events are there. If one is missing it *tries* a lock of the quota
//! and period, held to the end of the transaction, and inserts. A transaction that does not get the lock goes on. The
//! one that has it writes the event, or rolls back and leaves it to the next. A session remembers only what it has seen
//! committed: after its own insert it reads again. A unique index over quota, period, mark and limit stands behind all
//! this.
//!
//! A mark can be reached again under a higher limit. It counts again only if the higher limit had put it out of reach.

use std::cell::Cell;

use pgrx::Uuid;
use serde_json::{Map, json};

use crate::error::{Error, Result};
use crate::pg::from_unix_seconds;
use crate::pg::identity::print_uuid;
use crate::pg::lock::{self, Strength};
use crate::pg::nil;
use crate::pg::notify;
use crate::pg::spi::types::{BIGINT, JSONB, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};
use crate::pg::transaction::identity;
use crate::pg::value::Value;
use crate::quota::rollup::keep_marked;
use crate::quota::{Payer, QuotaUsage};
use tollgate_core::decision::{Mode, Scope, Verdict};
use tollgate_core::money::{format_scaled, usd_from_nanos};
use tollgate_core::period::Bounds;
use tollgate_core::thresholds::{Mark, Quiet, Seen, is_open, marks};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Threshold,
    Overrun,
    Denied,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Overrun => "overrun",
            Self::Denied => "denied",
        }
    }
}

/// One event, as it is written.
pub struct QuotaEvent {
    pub kind: Kind,
    /// `None` for the platform's.
    pub tenant: Option<Uuid>,
    pub quota: Option<Uuid>,
    /// The share of the limit, in 1e-12.
    pub threshold: Option<i64>,
    pub bounds: Option<Bounds>,
    /// Nano-dollars.
    pub limit: Option<i64>,
    /// Nano-dollars, as counted when it is written.
    pub spent: Option<i64>,
    pub payload: Map<String, serde_json::Value>,
}

/// A quota in one period, as far as events need it.
struct QuotaPeriod<'a> {
    quota: Uuid,
    tenant: Option<Uuid>,
    scope: &'a str,
    scope_id: Option<Uuid>,
    resource_type: &'a str,
    mode: Mode,
    period: &'a str,
    bounds: Bounds,
    limit: i64,
    spent: i64,
    shares: &'a [i64],
}

/// What came of reading the outbox.
enum OutboxResult {
    /// Nothing was due. Nothing will be below the figure, if all that is there is committed.
    Nothing(Option<i64>),
    Written(i64),
    /// Another transaction is writing.
    Busy,
}

const SEEN: &str = "
    select (e.threshold * 1000000000000)::bigint, e.limit_nanos, e.spent_nanos
    from copilot_internal.quota_events e
    where e.quota_id = $1 and e.period_start = $2 and e.event_type in ('threshold', 'overrun')
    union all
    select (e.threshold * 1000000000000)::bigint, e.limit_nanos, e.spent_nanos
    from copilot_internal.quota_events e
    where e.quota_id = $1 and e.period_start is null and $2 is null and e.event_type in ('threshold', 'overrun')";

const WRITE: &str = "
    insert into copilot_internal.quota_events
        (tenant_id, quota_id, event_type, threshold, period_start, period_end, limit_nanos, spent_nanos, payload)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict do nothing";

const DENIED_LATELY: &str = "
    select true
    from copilot_internal.quota_events e
    where coalesce(e.quota_id, e.tenant_id, '00000000-0000-0000-0000-000000000000') = $1 and e.event_type = 'denied'
      and e.created_at > pg_catalog.clock_timestamp() - interval '1 minute'
    limit 1";

static SEEN_PLAN: Plan = Plan::new(SEEN, &[UUID, MOMENT]);
static WRITE_PLAN: Plan = Plan::new(WRITE, &[UUID, UUID, TEXT, NUMERIC, MOMENT, MOMENT, BIGINT, BIGINT, JSONB]);
static DENIED_LATELY_PLAN: Plan = Plan::new(DENIED_LATELY, &[UUID]);

thread_local! {
    /// The transaction of this backend that has last written an event.
    static WROTE_IN: Cell<u32> = const { Cell::new(0) };
}

fn moment(at: Option<i64>) -> Value {
    at.map(from_unix_seconds).map_or(Value::NULL, Value::timestamp)
}

/// US dollars as an exact JSON number.
fn usd(nanos: i64) -> serde_json::Value {
    tollgate_core::json::parse(&usd_from_nanos(nanos.into())).unwrap_or_default()
}

fn uuid(id: Option<Uuid>) -> serde_json::Value {
    id.map(print_uuid).into()
}

impl QuotaPeriod<'_> {
    fn marks(&self) -> Vec<Mark> {
        marks(self.limit, self.shares, self.mode != Mode::Shadow)
    }

    fn lowest_mark(&self) -> i64 {
        self.marks().first().map_or(i64::MAX, |mark| mark.nanos)
    }

    /// The marks that no event in sight tells of.
    fn open_marks(&self, spi: &Session) -> Result<Vec<Mark>> {
        spi::see_own_rows();
        let rows = spi.run(&SEEN_PLAN, Snapshot::Latest, &[self.quota.into(), moment(self.bounds.start)])?;
        let seen: Vec<Seen> = rows
            .iter()
            .map(|row| Ok(Seen { share: row.get(1), limit: row.need(2)?, spent: row.need(3)? }))
            .collect::<Result<_>>()?;
        Ok(self.marks().into_iter().filter(|mark| is_open(*mark, self.limit, &seen)).collect())
    }

    /// Writes what is due, if no other transaction is writing it.
    fn settle(&self, spi: &Session) -> Result<OutboxResult> {
        let open = self.open_marks(spi)?;
        let lowest = open.first().map_or(i64::MAX, |mark| mark.nanos);
        if self.spent < lowest {
            // Rows of this very transaction may yet be rolled back.
            let committed = WROTE_IN.get() != identity().transaction;
            return Ok(OutboxResult::Nothing(committed.then_some(lowest)));
        }
        let start = self.bounds.start.unwrap_or(i64::MIN);
        let name = lock::hash(&[self.quota.as_bytes(), &start.to_le_bytes()]);
        if !lock::LockTarget::Events(name).try_lock(Strength::Exclusive) {
            return Ok(OutboxResult::Busy);
        }
        let mut written = 0;
        for mark in self.open_marks(spi)?.into_iter().filter(|mark| mark.nanos <= self.spent) {
            write(spi, &self.event(mark))?;
            written += 1;
        }
        Ok(OutboxResult::Written(written))
    }

    fn event(&self, mark: Mark) -> QuotaEvent {
        let mut payload = Map::new();
        payload.insert("scope".into(), self.scope.into());
        payload.insert("scope_id".into(), uuid(self.scope_id));
        payload.insert("resource_type".into(), self.resource_type.into());
        payload.insert("period".into(), self.period.into());
        payload.insert("mode".into(), self.mode.as_str().into());
        payload.insert("limit_usd".into(), usd(self.limit));
        payload.insert("current_spend_usd".into(), usd(self.spent));
        QuotaEvent {
            kind: if mark.share.is_some() { Kind::Threshold } else { Kind::Overrun },
            tenant: self.tenant,
            quota: Some(self.quota),
            threshold: mark.share,
            bounds: Some(self.bounds),
            limit: Some(self.limit),
            spent: Some(self.spent),
            payload,
        }
    }
}

/// Puts an event into the outbox, unless it is there.
pub fn write(spi: &Session, event: &QuotaEvent) -> Result<()> {
    let bounds = event.bounds.unwrap_or(Bounds { start: None, end: None });
    let threshold = event.threshold.map(|share| format_scaled(share.into(), 12));
    let payload = serde_json::to_string(&event.payload).map_err(|_| Error::internal("a payload cannot be written"))?;
    spi.run_write(
        &WRITE_PLAN,
        &[
            event.tenant.into(),
            event.quota.into(),
            event.kind.as_str().into(),
            Value::decimal(threshold.as_deref()),
            moment(bounds.start),
            moment(bounds.end),
            event.limit.into(),
            event.spent.into(),
            Value::jsonb(&payload),
        ],
    )?;
    WROTE_IN.set(identity().transaction);
    notify::hint();
    Ok(())
}

/// After a charge: what the quotas that it counts against have to tell. The usage holds it, and came of an admission.
/// Says whether an event was written, whose triggers may have charged.
pub fn note(spi: &Session, payer: Payer, usage: &QuotaUsage) -> Result<bool> {
    let Some(definitions) = &usage.definitions else { return Ok(false) };
    let mut has_written = false;
    for (definition, quota) in definitions.all.iter().zip(&usage.quotas) {
        let Some(limit) = quota.limit else { continue };
        let known = definition.quiet.get().filter(|quiet| quiet.bounds == quota.bounds && quiet.limit == limit);
        if known.is_some_and(|quiet| quota.spent < quiet.below) {
            continue;
        }
        let period = QuotaPeriod {
            quota: Uuid::from_bytes(definition.id),
            tenant: payer.tenant.filter(|_| quota.scope != Scope::Platform),
            scope: quota.scope.as_str(),
            scope_id: definition.scope_id,
            resource_type: quota.resource_type,
            mode: quota.mode,
            period: quota.period.as_str(),
            bounds: quota.bounds,
            limit,
            spent: quota.spent,
            shares: &definition.thresholds,
        };
        let lowest = period.lowest_mark();
        let below = if quota.spent < lowest {
            Some(lowest)
        } else {
            match period.settle(spi)? {
                OutboxResult::Nothing(below) => below,
                OutboxResult::Written(_) => {
                    has_written = true;
                    None
                }
                OutboxResult::Busy => None,
            }
        };
        definition.quiet.set(below.map(|below| Quiet { bounds: quota.bounds, limit, below }));
    }
    Ok(has_written)
}

/// After a refusal of which its caller wants an event. A quota has at most one of them a minute, so that a client that
/// asks in a loop does not fill the table. Where no quota was the reason, the tenant has one.
pub fn denied(spi: &Session, payer: Payer, usage: &QuotaUsage, verdict: Verdict, refusal: &Refusal<'_>) -> Result<()> {
    let quota = verdict.quota_index.filter(|_| !verdict.allowed).map(|index| &usage.quotas[index]);
    let definition = usage.definitions.as_ref().zip(verdict.quota_index).filter(|_| !verdict.allowed);
    let id = definition.map(|(definitions, index)| Uuid::from_bytes(definitions.all[index].id));
    let tenant = payer.tenant.filter(|_| quota.is_none_or(|quota| quota.scope != Scope::Platform));
    let key = id.or(tenant).unwrap_or_else(nil);
    let name = lock::hash(&[b"denied", key.as_bytes()]);
    if !lock::LockTarget::Events(name).try_lock(Strength::Exclusive) {
        return Ok(());
    }
    spi::see_own_rows();
    if spi.run(&DENIED_LATELY_PLAN, Snapshot::Latest, &[key.into()])?.first().is_some() {
        return Ok(());
    }
    let mut payload = Map::new();
    payload.insert("tenant_id".into(), uuid(payer.tenant));
    payload.insert("user_id".into(), uuid(payer.user));
    payload.insert("resource_type".into(), payer.resource.as_str().into());
    payload.insert("amount_usd".into(), usd(refusal.amount));
    payload.insert("reason".into(), refusal.reason.into());
    payload.insert("retryable".into(), verdict.retryable.into());
    payload.insert("request_id".into(), json!(refusal.request_id));
    write(
        spi,
        &QuotaEvent {
            kind: Kind::Denied,
            tenant,
            quota: id,
            threshold: None,
            bounds: quota.map(|quota| quota.bounds),
            limit: quota.and_then(|quota| quota.limit),
            spent: quota.map(|quota| quota.spent),
            payload,
        },
    )
}

/// What a refusal was about.
pub struct Refusal<'a> {
    /// Nano-dollars.
    pub amount: i64,
    pub reason: &'a str,
    pub request_id: Option<&'a str>,
}

/// Periods come in seconds since 1970; their quotas' figures as the views have them.
macro_rules! periods_of {
    ($whose:literal) => {
        concat!(
            "select q.quota_id, q.tenant_id, q.scope, q.scope_id, q.resource_type, q.mode, q.period,
                    extract(epoch from q.period_start)::bigint as period_start,
                    extract(epoch from q.period_end)::bigint as period_end,
                    least(q.limit_nanos, 9223372036854775807)::bigint as limit_nanos,
                    least(q.spent_nanos, 9223372036854775807)::bigint as spent_nanos,
                    array(select distinct pg_catalog.ceil(t.share * 1000000000000)::bigint
                          from pg_catalog.unnest(q.event_thresholds) as t (share) order by 1) as shares
             from copilot_internal.quota_standings q
             where q.limit_nanos is not null and ",
            $whose
        )
    };
}

columns! {
    PeriodColumn(
        quota_id, tenant_id, scope, scope_id, resource_type, mode, period, period_start, period_end, limit_nanos,
        spent_nanos, shares
    )
}

static TENANT_PLAN: Plan = Plan::new(periods_of!("q.tenant_id = $1"), &[UUID]);
static PLATFORM_PLAN: Plan = Plan::new(periods_of!("q.tenant_id is null"), &[]);

/// Writes the events that a tenant's quotas, or the platform's (the nil UUID), lack in their present periods, until it
/// has written so many: each quota takes a lock. Gives their number. Waits for no transaction.
pub fn catch_up(spi: &Session, tenant: Uuid, limit: i64) -> Result<i64> {
    if limit <= 0 && tenant != nil() {
        keep_marked(spi, tenant)?;
        return Ok(0);
    }
    let rows = if tenant == nil() {
        spi.run(&PLATFORM_PLAN, Snapshot::Latest, &[])?
    } else {
        spi.run(&TENANT_PLAN, Snapshot::Latest, &[tenant.into()])?
    };
    let mut written = 0;
    let mut busy = false;
    for row in rows.iter() {
        if written >= limit {
            busy = true;
            break;
        }
        let mode: String = row.need(PeriodColumn::mode)?;
        let period = QuotaPeriod {
            quota: row.need(PeriodColumn::quota_id)?,
            tenant: row.get(PeriodColumn::tenant_id),
            scope: &row.need::<String>(PeriodColumn::scope)?,
            scope_id: row.get(PeriodColumn::scope_id),
            resource_type: &row.need::<String>(PeriodColumn::resource_type)?,
            mode: Mode::parse(&mode).ok_or_else(|| Error::internal("a quota has an unknown mode"))?,
            period: &row.need::<String>(PeriodColumn::period)?,
            bounds: Bounds { start: row.get(PeriodColumn::period_start), end: row.get(PeriodColumn::period_end) },
            limit: row.need(PeriodColumn::limit_nanos)?,
            spent: row.need(PeriodColumn::spent_nanos)?,
            shares: &row.need::<Vec<i64>>(PeriodColumn::shares)?,
        };
        if period.spent >= period.lowest_mark() {
            match period.settle(spi)? {
                OutboxResult::Nothing(_) => {}
                OutboxResult::Written(count) => written += count,
                OutboxResult::Busy => busy = true,
            }
        }
    }
    // Every call that catches up reads the platform too, so only a tenant has to stay marked.
    if busy && tenant != nil() {
        keep_marked(spi, tenant)?;
    }
    Ok(written)
}
