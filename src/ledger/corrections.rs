//! Corrections: refunds of cost records, and adjustments of what a quota has counted. The ledger is append-only, so each is
//! a row of its own. What is given back counts once it has committed. A refund of what an adjustment gave back before may
//! leave a sum below zero, which counts like any other.

use pgrx::Uuid;

use super::direct_charge;
use super::pending::leave_pending;
use super::under_way::{Affected, UnderWay};
use super::{Charged, Source};
use crate::admission::{AdmissionMode, Charge, quota_usage};
use crate::error::{Error, Result};
use crate::pg::nil;
use crate::pg::queue::new_record_id;
use crate::pg::shape::{nullable, required};
use crate::pg::spi::types::{BIGINT, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::pg::{self, Timestamp, lock};
use crate::quota::Payer;
use crate::settings;
use tollgate_core::decision::{ALL_RESOURCES, Quota, Resource, Scope};
use tollgate_core::money::{Picos, PicosDifference};

const RECORD: &str = "
    select l.source, l.tenant_id, nullif(l.user_id, '00000000-0000-0000-0000-000000000000') as user_id,
           l.conversation_id, l.path_id, l.provider, l.name, l.charged_at, l.occurred_at,
           coalesce(l.cost_usd, 0)::text as cost_usd, coalesce(l.provider_cost_usd, 0)::text as provider_cost_usd
    from copilot_internal.ledger_lines l
    where l.record_id = $1 and l.written_in in ('llm', 'e2b') and ($2::uuid is null or l.tenant_id = $2)";
columns! {
    RecordColumn(
        source, tenant_id, user_id, conversation_id, path_id, provider, name, charged_at, occurred_at, cost_usd,
        provider_cost_usd
    )
}

static RECORD_PLAN: Plan = Plan::new(RECORD, &[UUID, UUID]);

/// What earlier corrections came to, and the provider's share of an amount that is taken back of a record with these two
/// costs: what is left of the one is to what is left of the other as the share to the amount.
const CORRECTED: &str = "
    select k.cost_usd::text as cost_usd,
           case when $5 = 0 or n.paid <= 0 then 0
                when $5 = n.paid then n.billed
                else pg_catalog.round(n.billed * $5 / n.paid, 12) end::text as share,
           n.billed::text as billed
    from (
        select coalesce(sum(c.cost_usd), 0) as cost_usd,
               coalesce(sum(coalesce(c.provider_cost_usd, c.cost_usd)), 0) as provider_cost_usd
        from (select * from copilot_internal.cost_corrections o where o.record_id = $1 offset 0) c where c.tenant_id = $2
    ) k
    cross join lateral (
        select $3::numeric + k.cost_usd as paid, greatest($4::numeric + k.provider_cost_usd, 0) as billed
    ) n";
static CORRECTED_PLAN: Plan = Plan::new(CORRECTED, &[UUID, UUID, NUMERIC, NUMERIC, NUMERIC]);

const FIND: &str = "
    select c.id, (c.record_id, c.cost_usd) is not distinct from ($3::uuid, -$4::numeric)
    from copilot_internal.cost_corrections c where c.tenant_id = $1 and c.request_id = $2";
static FIND_PLAN: Plan = Plan::new(FIND, &[UUID, TEXT, UUID, NUMERIC]);

static TABLE: Table = Table::new(
    c"cost_corrections",
    &[
        required("id", UUID),
        required("tenant_id", UUID),
        required("record_id", UUID),
        required("source", TEXT),
        nullable("user_id", UUID),
        nullable("conversation_id", UUID),
        required("provider", TEXT),
        required("name", TEXT),
        required("cost_usd", NUMERIC),
        required("charge_nanos", BIGINT),
        required("request_id", TEXT),
        nullable("reason", TEXT),
        required("charged_at", MOMENT),
        required("occurred_at", MOMENT),
        required("recorded_at", MOMENT),
        nullable("provider_cost_usd", NUMERIC),
        nullable("path_id", UUID),
    ],
    &["(source = ANY (ARRAY['llm'::text, 'e2b'::text]))"],
    true,
);

/// A correction that was made, now or by an earlier call with the same request id.
pub struct Correction {
    pub id: Uuid,
    pub replayed: bool,
}

fn reused() -> Error {
    Error::Conflict { message: "this request id was used before with other arguments".to_owned(), detail: None }
}

/// A record of the ledger, as far as its corrections repeat it.
pub(super) struct Corrected {
    pub id: Uuid,
    pub tenant: Uuid,
    pub source: String,
    pub payer: Payer,
    pub conversation: Option<Uuid>,
    pub path: Option<Uuid>,
    pub provider: String,
    pub name: String,
    pub charged_at: Timestamp,
    pub occurred_at: Timestamp,
}

/// A correction that is to be written: what it adds to the record's cost, to what the provider bills, and to what quotas
/// count.
pub(super) struct NewCorrection<'a> {
    pub id: Uuid,
    pub usd: Value,
    pub billed: Value,
    pub nanos: i64,
    /// What the platform counts of the record beyond what others do, where it counts what the provider bills.
    pub platform_extra: i64,
    pub request_id: &'a str,
    pub reason: Option<&'a str>,
}

/// What the platform has counted of a record beyond what others did, if anything.
const EXTRA: &str = "
    select sum(c.charge_nanos)::bigint from copilot_internal.quota_charges c where c.record_id = $1";
static EXTRA_PLAN: Plan = Plan::new(EXTRA, &[UUID]);

impl Corrected {
    /// Corrections of one record come one after the other, and not while all of the tenant are repriced.
    fn lock(&self) -> Result<UnderWay> {
        lock::LockTarget::Corrections(lock::key(self.tenant)).lock(lock::Strength::Shared);
        lock::LockTarget::Correction(*self.id.as_bytes()).lock(lock::Strength::Exclusive);
        UnderWay::begin(Affected::Record { tenant: self.tenant, id: self.id })
    }

    /// See [`append`].
    pub(super) fn correct(&self, spi: &Session, mode: &AdmissionMode, new: &NewCorrection<'_>) -> Result<bool> {
        let source = Source { name: "correction", table: &TABLE };
        let row = [
            new.id.into(),
            self.tenant.into(),
            self.id.into(),
            self.source.as_str().into(),
            self.payer.user.into(),
            self.conversation.into(),
            self.provider.as_str().into(),
            self.name.as_str().into(),
            new.usd,
            new.nanos.into(),
            new.request_id.into(),
            new.reason.into(),
            Value::timestamp(self.charged_at),
            Value::timestamp(self.occurred_at),
            Value::timestamp(pg::clock_timestamp()),
            new.billed,
            self.path.into(),
        ];
        let rows = spi.run(&EXTRA_PLAN, Snapshot::Latest, &[self.id.into()])?;
        let counted: Option<i64> = rows.first().and_then(|row| row.get(1));
        let extra = match counted {
            None if !settings::platform_counts_provider_cost() => 0,
            counted => new.platform_extra - counted.unwrap_or(0),
        };
        let asked = Charge { platform_extra: extra, ..asked(self.payer, self.charged_at, new.nanos) };
        append(spi, mode, source, (asked, self.id), new, &row)
    }
}

/// The charge of a correction.
fn asked(payer: Payer, at: Timestamp, amount: i64) -> Charge {
    Charge {
        payer,
        at,
        amount,
        platform_extra: 0,
        hold: None,
        gives_up: None,
        user_held: false,
        enforce: false,
        request: 0,
    }
}

/// Counts a correction, and writes its row and its pending row. `false` when a duplicate's row was there first: it is there
/// for good now, or gone, so the caller reads again.
fn append(
    spi: &Session,
    mode: &AdmissionMode,
    source: Source,
    (asked, record): (Charge, Uuid),
    new: &NewCorrection<'_>,
    row: &[Value],
) -> Result<bool> {
    let mut admission = mode.admit(spi, asked)?;
    let _unwritten = admission.unwritten.take().map(|unwritten| unwritten.will_be_in(new.id, None));
    if source.table.insert(row)? {
        leave_pending(source, new.id, &asked)?;
        direct_charge::count_for_platform(record, &asked)?;
        return Ok(true);
    }
    mode.retract(asked, &admission);
    source.table.has_request(asked.payer.tenant, new.request_id)?;
    Ok(false)
}

/// The record and its cost, with its locks. Before they are there it may go, or become another person's.
fn lock_record(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<(AdmissionMode, UnderWay, Corrected, Charged)> {
    AdmissionMode::open_for_housekeeping()?;
    let (found, _) = find_record(spi, id, tenant)?;
    // In locked mode the tenant's charges wait from the next line on: not for those who add up its ledger.
    lock::LockTarget::Corrections(lock::key(found.tenant)).pass();
    let mode = AdmissionMode::open([Some(found.tenant)])?;
    let under_way = found.lock()?;
    let (record, cost) = find_record(spi, id, Some(found.tenant))?;
    Ok((mode, under_way, record, cost))
}

fn find_record(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<(Corrected, Charged)> {
    let missing = || Error::NotFound { message: "there is no such cost record".to_owned() };
    spi::see_own_rows();
    let rows = spi.run(&RECORD_PLAN, Snapshot::Latest, &[id.into(), tenant.into()])?;
    let row = rows.first().ok_or_else(missing)?;
    let source: String = row.need(RecordColumn::source)?;
    let tenant: Uuid = row.need(RecordColumn::tenant_id)?;
    let resource = Resource::parse(&source).ok_or_else(|| Error::internal("a record has an unknown resource"))?;
    let record = Corrected {
        id,
        tenant,
        source,
        payer: Payer { tenant: Some(tenant), user: row.get(RecordColumn::user_id), resource },
        conversation: row.get(RecordColumn::conversation_id),
        path: row.get(RecordColumn::path_id),
        provider: row.need(RecordColumn::provider)?,
        name: row.need(RecordColumn::name)?,
        charged_at: row.need(RecordColumn::charged_at)?,
        occurred_at: row.need(RecordColumn::occurred_at)?,
    };
    let usd = |column: RecordColumn| stored(&row.need::<String>(column)?);
    Ok((record, Charged { paid: usd(RecordColumn::cost_usd)?, billed: usd(RecordColumn::provider_cost_usd)? }))
}

/// Takes back a part of what a record cost.
pub fn refund(
    spi: &Session,
    record: Uuid,
    tenant: Option<Uuid>,
    amount: Picos,
    request_id: &str,
    reason: Option<&str>,
) -> Result<Correction> {
    let (mode, _under_way, record, cost) = lock_record(spi, record, tenant)?;
    let tenant = record.tenant;
    loop {
        spi::see_own_rows();
        let key = [tenant.into(), request_id.into(), record.id.into(), Value::numeric(&amount.to_string())];
        let rows = spi.run(&FIND_PLAN, Snapshot::Latest, &key)?;
        if let Some(row) = rows.first() {
            return if row.need(2)? { Ok(Correction { id: row.need(1)?, replayed: true }) } else { Err(reused()) };
        }
        let [paid, billed, taken] = [cost.paid, cost.billed, amount].map(|usd| Value::numeric(&usd.to_string()));
        let key = [record.id.into(), tenant.into(), paid, billed, taken];
        let rows = spi.run(&CORRECTED_PLAN, Snapshot::Latest, &key)?;
        let row = rows.first().ok_or_else(|| Error::internal("a sum gave no row"))?;
        let corrected = PicosDifference::parse(&row.need::<String>(1)?)
            .map_err(|_| Error::internal("a correction has no proper cost"))?;
        let before = Picos::new(cost.paid.with(corrected).get()).unwrap_or(Picos::ZERO);
        let after = before.checked_sub(amount).map_err(|_| {
            Error::invalid(format!("p_amount_usd is more than is left of the record's cost, {before} USD"))
        })?;
        let (share, billed) = (stored(&row.need::<String>(2)?)?, stored(&row.need::<String>(3)?)?);
        let left = Charged { paid: after, billed: billed.checked_sub(share).unwrap_or(Picos::ZERO) };
        let new = NewCorrection {
            id: new_record_id(),
            usd: Value::numeric(&amount.negated()),
            billed: Value::numeric(&share.negated()),
            platform_extra: left.extra_nanos(),
            // What quotas are given back never sums up to more than they were charged.
            nanos: after.ceil_nanos() - before.ceil_nanos(),
            request_id,
            reason,
        };
        if record.correct(spi, &mode, &new)? {
            return Ok(Correction { id: new.id, replayed: false });
        }
    }
}

fn stored(text: &str) -> Result<Picos> {
    Picos::parse(text).map_err(|_| Error::internal("a record has no proper cost"))
}

const QUOTA: &str = "
    select q.scope, q.scope_id, q.tenant_id, q.resource_type, q.period
    from copilot_internal.effective_quotas q
    where q.quota_id = $1 and ($2::uuid is null or q.tenant_id = $2)";
static QUOTA_PLAN: Plan = Plan::new(QUOTA, &[UUID, UUID]);

const FIND_ADJUSTMENT: &str = "
    select c.id, (c.user_id, c.resource_type, c.cost_usd) is not distinct from ($3::uuid, $4::text, $5::numeric)
    from copilot_internal.quota_charges c
    where (c.tenant_id = $1 or (c.tenant_id is null and $1 is null)) and c.request_id = $2";
static FIND_ADJUSTMENT_PLAN: Plan = Plan::new(FIND_ADJUSTMENT, &[UUID, TEXT, UUID, TEXT, NUMERIC]);

/// What `adjust_quota` has to tell: the correction, and what the quota has counted with it (nano-dollars).
pub struct Adjustment {
    pub correction: Correction,
    pub spent: i64,
}

/// The quota that an adjustment is about, and its payer.
struct Adjusted {
    payer: Payer,
    scope: Scope,
    period: String,
}

impl Adjusted {
    fn find(spi: &Session, quota: Uuid, tenant: Option<Uuid>) -> Result<Self> {
        let missing = || Error::NotFound { message: "there is no such quota in force".to_owned() };
        let rows = spi.run(&QUOTA_PLAN, Snapshot::Latest, &[quota.into(), tenant.into()])?;
        let row = rows.first().ok_or_else(missing)?;
        let scope = Scope::parse(&row.need::<String>(1)?);
        let scope = scope.ok_or_else(|| Error::internal("a quota has an unknown scope"))?;
        let user = if scope == Scope::User { row.get(2) } else { None };
        let resource = Resource::parse(&row.need::<String>(4)?).unwrap_or(Resource::All);
        Ok(Self { payer: Payer { tenant: row.get(3), user, resource }, scope, period: row.need(5)? })
    }

    fn is(&self, quota: &Quota) -> bool {
        quota.scope == self.scope
            && quota.period.as_str() == self.period
            && (quota.resource_type == ALL_RESOURCES) == (self.payer.resource == Resource::All)
    }
}

/// Corrects what the payer of a quota has spent in the present period. Adjustments come one after the other.
pub fn adjust(
    spi: &Session,
    quota: Uuid,
    tenant: Option<Uuid>,
    delta: PicosDifference,
    request_id: &str,
    reason: Option<&str>,
) -> Result<Adjustment> {
    let adjusted = Adjusted::find(spi, quota, tenant)?;
    let payer = adjusted.payer;
    let mode = AdmissionMode::open([payer.tenant])?;
    // One lock for all: an adjustment counts against every quota of its payer, and the platform's.
    lock::LockTarget::Correction(*nil().as_bytes()).lock(lock::Strength::Exclusive);
    let _under_way = UnderWay::begin(Affected::Adjustments)?;
    // Request ids are unique per function; those of check_and_record_quota_atomic are in the same column.
    let request_id = format!("adjust_quota:{request_id}");
    let (usd, resource) = (Value::numeric(&delta.to_string()), payer.resource.as_str());
    let nanos = delta.ceil_nanos();
    loop {
        spi::see_own_rows();
        let now = pg::clock_timestamp();
        let before = quota_usage(spi, payer, now, Snapshot::Latest)?;
        let spent = before.quotas.iter().find(|of| adjusted.is(of)).map_or(0, |of| of.spent);
        let key = [payer.tenant.into(), request_id.as_str().into(), payer.user.into(), resource.into(), usd];
        let rows = spi.run(&FIND_ADJUSTMENT_PLAN, Snapshot::Latest, &key)?;
        if let Some(row) = rows.first() {
            if !row.need::<bool>(2)? {
                return Err(reused());
            }
            return Ok(Adjustment { correction: Correction { id: row.need(1)?, replayed: true }, spent });
        }
        if nanos < 0 && before.quotas.iter().any(|of| of.spent.saturating_add(nanos) < 0) {
            return Err(Error::invalid("p_delta_usd gives back more than was spent in the period of a quota"));
        }
        let new = NewCorrection {
            id: new_record_id(),
            usd,
            billed: usd,
            nanos,
            platform_extra: 0,
            request_id: &request_id,
            reason,
        };
        let row = [
            new.id.into(),
            payer.tenant.into(),
            payer.user.into(),
            resource.into(),
            usd,
            nanos.into(),
            request_id.as_str().into(),
            Value::timestamp(now),
            Value::timestamp(now),
            Value::NULL,
            reason.into(),
            Value::NULL,
        ];
        let source = Source { name: "charge", table: &direct_charge::TABLE };
        if append(spi, &mode, source, (asked(payer, now, nanos), new.id), &new, &row)? {
            let correction = Correction { id: new.id, replayed: false };
            return Ok(Adjustment { correction, spent: spent.saturating_add(nanos) });
        }
    }
}
