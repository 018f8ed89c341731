//! Costs by the prices as they are now known: what a record came to otherwise is corrected by rows of their own. The
//! records stay as they are, and so does every cost that a caller provided.
//!
//! A call goes through records in one order: tenant by tenant, those of one table and then of the other, by their moments.
//! It reads pages by the index of moments, and ends after so many records, corrections and tenants with corrections. The
//! cursor that it gives says where the next call goes on. Whatever it was corrects nothing twice.
//!
//! # Locks
//! Before it corrects a page it takes what a charge takes for the tenant, and then the tenant's lock of corrections, which
//! refunds share, and without which no record moves or goes. So it has two locks a tenant, in the order of tenants, whatever
//! it corrects. It corrects by what it has read under them.

use std::collections::BTreeMap;

use pgrx::Uuid;

use super::corrections::{Corrected, NewCorrection};
use super::report::{Tariff, price};
use super::under_way::{Affected, UnderWay};
use super::{Charged, Cost, llm};
use crate::admission::AdmissionMode;
use crate::error::{Error, Result};
use crate::pg::identity::{parse_uuid, print_uuid};
use crate::pg::nil;
use crate::pg::queue::new_record_id;
use crate::pg::spi::types::{MOMENT, UUID};
use crate::pg::spi::{self, Plan, Row, Session, Snapshot, columns};
use crate::pg::value::Value;
use crate::pg::{Timestamp, lock};
use crate::pricing::lookup::{Model, SandboxUse, quote_sandbox};
use crate::quota::Payer;
use tollgate_core::decision::Resource;
use tollgate_core::json;
use tollgate_core::money::{Picos, PicosDifference};
use tollgate_core::pricing::SANDBOX_PARTS;

/// Records that are read together; the queries say so, too.
const PAGE: usize = 2_000;
/// Records, and tenants without any, that one call looks at.
const MAX_LOOKED_AT: usize = 50_000;
/// Tenants that one call corrects something of: it holds locks for each.
const MAX_TENANTS: usize = 32;

/// The request ids of these corrections are this and their own ids. A caller of refund_cost cannot know those in
/// advance.
const MARK: &str = "reprice:";

const NEXT_TENANT: &str = "
    select least(
        (select r.tenant_id from copilot_internal.llm_cost_records r where r.tenant_id > $1 order by r.tenant_id limit 1),
        (select r.tenant_id from copilot_internal.e2b_cost_records r where r.tenant_id > $1 order by r.tenant_id limit 1))";
static NEXT_TENANT_PLAN: Plan = Plan::new(NEXT_TENANT, &[UUID]);

/// The statement that reads a page of a tenant's records after a moment and an id, with what earlier calls have already
/// corrected. They are looked up by the record alone: a plan that is made while there are none may go by the tenant, and
/// read all of its corrections for each. It is given the source, the table and the columns that tell what was used. A caller's own cost is read, too:
/// else a page would have no bound.
macro_rules! records {
    ($source:literal, $table:literal, $columns:literal) => {
        concat!(
            "
    select '",
            $source,
            "'::text as source, r.tenant_id, r.id, r.user_id, r.conversation_id, r.path_id, r.charged_at, r.occurred_at,
           r.cost_usd::text, r.billed_usd::text as provider_cost_usd, r.cost_status in ('priced', 'unpriced') as computed,
           k.ours::text, k.every::text, k.ours_billed::text, k.every_billed::text, ",
            $columns,
            "
    from (
        select l.*, coalesce(l.provider_cost_usd, l.cost_usd) as billed_usd
        from copilot_internal.",
            $table,
            " l
        where l.tenant_id = $1 and l.occurred_at >= $2 and l.occurred_at < $3 and (l.occurred_at, l.id) > ($2, $4)
        order by l.occurred_at, l.id
        limit 2000
    ) r
    cross join lateral (
        select coalesce(sum(c.cost_usd), 0) as every,
               coalesce(sum(c.cost_usd) filter (where c.request_id = 'reprice:' || c.id), 0) as ours,
               coalesce(sum(coalesce(c.provider_cost_usd, c.cost_usd)), 0) as every_billed,
               coalesce(sum(coalesce(c.provider_cost_usd, c.cost_usd))
                   filter (where c.request_id = 'reprice:' || c.id), 0) as ours_billed
        from (select * from copilot_internal.cost_corrections k where k.record_id = r.id offset 0) c
        where c.tenant_id = r.tenant_id
    ) k
    order by r.occurred_at, r.id"
        )
    };
}

const CALLS: &str = records!(
    "llm",
    "llm_cost_records",
    "r.model_provider, r.model_name, r.input_tokens, r.output_tokens, r.usage::text, r.service_tier"
);
const SESSIONS: &str = records!(
    "e2b",
    "e2b_cost_records",
    "coalesce(r.region, '') as region, r.sandbox_type, r.provider as sandbox_provider, r.duration_seconds::text,
           r.vcpu_seconds::text, r.memory_gib_seconds::text, r.disk_gib_seconds::text, r.gpu_seconds::text, r.creations::text,
           r.egress_gib::text"
);
columns! {
    RecordColumn(
        source, tenant_id, id, user_id, conversation_id, path_id, charged_at, occurred_at, cost_usd, provider_cost_usd,
        computed, ours, every, ours_billed, every_billed
    )
}
columns! {
    CallColumn from 16 (model_provider, model_name, input_tokens, output_tokens, usage, service_tier)
}
columns! {
    SessionColumn from 16 (
        region, sandbox_type, sandbox_provider, duration_seconds, vcpu_seconds, memory_gib_seconds, disk_gib_seconds,
        gpu_seconds, creations, egress_gib
    )
}
const RECORD_TYPES: [pgrx::pg_sys::Oid; 4] = [UUID, MOMENT, MOMENT, UUID];
static CALLS_PLAN: Plan = Plan::new(CALLS, &RECORD_TYPES);
static SESSIONS_PLAN: Plan = Plan::new(SESSIONS, &RECORD_TYPES);

/// One of a record's two costs: with what was corrected by earlier calls of this kind, and with whatever was corrected.
#[derive(Clone, Copy)]
struct Amount {
    present: PicosDifference,
    net: PicosDifference,
}

impl Amount {
    fn new(recorded: Picos, ours: PicosDifference, every: PicosDifference) -> Self {
        Self { present: recorded.with(ours), net: recorded.with(every) }
    }

    /// What there is to correct. What was refunded is not given back again.
    fn missing(self, target: Picos) -> PicosDifference {
        PicosDifference::new((target.get() - self.present.get()).max(-self.net.get()))
    }
}

/// A record whose cost is another by the present prices. A sandbox's provider is the region that its price was looked up by.
struct Found {
    record: Corrected,
    paid: Amount,
    billed: Amount,
    target: Charged,
}

impl Found {
    /// What there is to correct of both costs; `None` when nothing is.
    fn missing(&self) -> Option<(PicosDifference, PicosDifference)> {
        let missing = (self.paid.missing(self.target.paid), self.billed.missing(self.target.billed));
        (missing.0.get() != 0 || missing.1.get() != 0).then_some(missing)
    }
}

/// What became of the records of one tenant and model, or sandbox type; amounts in pico-dollars.
#[derive(Default)]
pub struct Sum {
    pub records: i64,
    pub before: i128,
    pub after: i128,
    pub adjusted: i64,
    pub adjustment: i128,
}

/// The tenant, the resource, the provider and the model or sandbox type.
pub type Group = (Uuid, String, String, String);

/// A place in the order in which records are gone through: behind this one.
#[derive(Clone, Copy)]
pub struct Place {
    tenant: Uuid,
    resource: Resource,
    at: Timestamp,
    id: Uuid,
}

impl Place {
    /// As a caller is given it; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next();
        let (tenant, resource, at, id) = (next()?, next()?, next()?, next()?);
        let resource = Resource::parse(resource).filter(|resource| *resource != Resource::All)?;
        let place = Self { tenant: parse_uuid(tenant)?, resource, at: at.parse().ok()?, id: parse_uuid(id)? };
        // In another spelling it is none that was given.
        (parts.next().is_none() && place.text() == text).then_some(place)
    }

    pub fn text(&self) -> String {
        format!("{}:{}:{}:{}", print_uuid(self.tenant), self.resource.as_str(), self.at, print_uuid(self.id))
    }
}

/// What a call has come to.
#[derive(Default)]
pub struct Repriced {
    pub sums: BTreeMap<Group, Sum>,
    /// Where the next call goes on; `None` at the end.
    pub next: Option<Place>,
}

/// A call on its way through the records.
struct Walk {
    from: Timestamp,
    to: Timestamp,
    /// How many records it may still correct; `None` when it only tells.
    left: Option<usize>,
    looked_at: usize,
    corrected_tenants: usize,
    sums: BTreeMap<Group, Sum>,
}

/// Finds records that occurred in the range and would cost something else now. Unless it is a dry run, it corrects as
/// many of them as the limit says.
pub fn reprice(from: Timestamp, to: Timestamp, limit: Option<usize>, after: Option<Place>) -> Result<Repriced> {
    if after.is_some_and(|place| place.at < from || place.at >= to) {
        return Err(Error::invalid("p_cursor must be one that reprice gave for the same range"));
    }
    let mut walk = Walk { from, to, left: limit, looked_at: 0, corrected_tenants: 0, sums: BTreeMap::new() };
    let mut tenant = match after {
        Some(place) => Some(place.tenant),
        None => next_tenant(nil())?,
    };
    let mut after = after;
    while let Some(present) = tenant {
        if let Some(next) = walk.tenant(present, after.take())? {
            return Ok(Repriced { sums: walk.sums, next: Some(next) });
        }
        tenant = next_tenant(present)?;
    }
    Ok(Repriced { sums: walk.sums, next: None })
}

fn next_tenant(after: Uuid) -> Result<Option<Uuid>> {
    spi::session(|spi| {
        Ok(spi.run(&NEXT_TENANT_PLAN, Snapshot::Latest, &[after.into()])?.first().and_then(|row| row.get(1)))
    })
}

impl Walk {
    /// Goes through a tenant's records; gives the place where it had to stop.
    fn tenant(&mut self, tenant: Uuid, after: Option<Place>) -> Result<Option<Place>> {
        self.looked_at += 1;
        let mut locked = None;
        let begin = |resource| Place { tenant, resource, at: self.from, id: nil() };
        let first = after.unwrap_or_else(|| begin(Resource::Llm));
        let second = (first.resource == Resource::Llm).then(|| begin(Resource::E2b));
        for mut place in [Some(first), second].into_iter().flatten() {
            loop {
                if self.has_come_far(locked.is_some()) {
                    return Ok(Some(place));
                }
                let mut page = self.page(place)?;
                if self.left.is_some() && locked.is_none() && !page.found.is_empty() {
                    locked = Some(self.lock(tenant)?);
                    page = self.page(place)?;
                }
                self.looked_at += page.read;
                let most = self.left.map_or(page.found.len(), |left| left.min(page.found.len()));
                let found = &page.found[..most];
                found.iter().for_each(|one| self.note(one));
                if let Some((mode, _)) = &locked {
                    self.correct(mode, found)?;
                }
                // Behind the last that was corrected, where more was found.
                let last = page.found.get(most).and_then(|_| found.last()).map(|one| place_of(&one.record));
                match last.or(page.last) {
                    Some(last) => place = last,
                    None => break,
                }
            }
        }
        Ok(None)
    }

    fn has_come_far(&self, in_corrected_tenant: bool) -> bool {
        self.left == Some(0)
            || self.looked_at >= MAX_LOOKED_AT
            || self.corrected_tenants >= MAX_TENANTS && !in_corrected_tenant
    }

    fn note(&mut self, one: &Found) {
        let sum = self.sums.entry(group(one)).or_default();
        sum.records += 1;
        sum.before += one.paid.present.get();
        sum.after += one.target.paid.get();
    }

    /// Takes a tenant's locks, and keeps triggers away from its records.
    fn lock(&mut self, tenant: Uuid) -> Result<(AdmissionMode, UnderWay)> {
        let mode = AdmissionMode::open([Some(tenant)])?;
        lock::LockTarget::Corrections(lock::key(tenant)).lock(lock::Strength::Exclusive);
        let under_way = UnderWay::begin(Affected::Records { tenant })?;
        self.corrected_tenants += 1;
        Ok((mode, under_way))
    }

    /// Corrects some of a tenant's records. Its locks are held, and the records were read under them.
    fn correct(&mut self, mode: &AdmissionMode, found: &[Found]) -> Result<()> {
        spi::session(|spi| {
            for one in found {
                let adjustment = correct_one(spi, mode, one)?;
                let sum = self.sums.entry(group(one)).or_default();
                sum.adjusted += i64::from(adjustment.is_some());
                sum.adjustment += adjustment.unwrap_or(0);
            }
            Ok(())
        })?;
        self.left = self.left.map(|left| left.saturating_sub(found.len()));
        Ok(())
    }

    /// The records after a place that cost something else now, with all that this command has corrected.
    fn page(&self, after: Place) -> Result<Page> {
        spi::see_own_rows();
        let plan = if after.resource == Resource::Llm { &CALLS_PLAN } else { &SESSIONS_PLAN };
        let from = Value::timestamp(after.at.max(self.from));
        let parameters = [after.tenant.into(), from, Value::timestamp(self.to), after.id.into()];
        let (read, computed) = spi::session_for_pages(|spi| {
            let rows = spi.run(plan, Snapshot::Latest, &parameters)?;
            let mut computed = Vec::new();
            let mut last = None;
            for row in rows.iter() {
                last = Some((row.need(RecordColumn::occurred_at)?, row.need(RecordColumn::id)?));
                if row.need(RecordColumn::computed)? {
                    computed.push(record(&row)?);
                }
            }
            Ok(((rows.len(), last), computed))
        })?;
        let (read, last) = read;
        let last = last.filter(|_| read == PAGE).map(|(at, id)| Place { at, id, ..after });
        let mut found = Vec::new();
        for (mut one, used) in computed {
            let Some(target) = now(&one.record, &used)? else { continue };
            one.target = target;
            if one.missing().is_some() {
                found.push(one);
            }
        }
        Ok(Page { read, found, last })
    }
}

fn place_of(record: &Corrected) -> Place {
    Place { tenant: record.tenant, resource: record.payer.resource, at: record.occurred_at, id: record.id }
}

/// What a page of records holds.
struct Page {
    read: usize,
    found: Vec<Found>,
    /// Its end, unless it is the last page of its kind.
    last: Option<Place>,
}

fn group(one: &Found) -> Group {
    let Corrected { tenant, source, provider, name, .. } = &one.record;
    (*tenant, source.clone(), provider.clone(), name.clone())
}

/// What a record used.
enum Used {
    Llm { input: i64, output: i64, usage: Option<String>, tier: Option<String> },
    Sandbox { provider: String, quantities: [Option<String>; SANDBOX_PARTS.len()] },
}

fn record(row: &Row) -> Result<(Found, Used)> {
    let source: String = row.need(RecordColumn::source)?;
    let resource = Resource::parse(&source).ok_or_else(|| Error::internal("a record has an unknown resource"))?;
    let tenant: Uuid = row.need(RecordColumn::tenant_id)?;
    let unfit = |_| Error::internal("a record has no proper cost");
    let amount = |recorded: RecordColumn, by_us: RecordColumn, by_all: RecordColumn| {
        let recorded =
            row.get::<String>(recorded).map_or(Ok(Picos::ZERO), |text| Picos::parse(&text)).map_err(unfit)?;
        let corrected = |column: RecordColumn| PicosDifference::parse(&row.need::<String>(column)?).map_err(unfit);
        Ok::<_, Error>(Amount::new(recorded, corrected(by_us)?, corrected(by_all)?))
    };
    let paid = amount(RecordColumn::cost_usd, RecordColumn::ours, RecordColumn::every)?;
    let billed = amount(RecordColumn::provider_cost_usd, RecordColumn::ours_billed, RecordColumn::every_billed)?;
    let (provider, name, used) = match resource {
        Resource::Llm => (
            row.need(CallColumn::model_provider)?,
            row.need(CallColumn::model_name)?,
            Used::Llm {
                input: row.need(CallColumn::input_tokens)?,
                output: row.need(CallColumn::output_tokens)?,
                usage: row.get(CallColumn::usage),
                tier: row.get(CallColumn::service_tier),
            },
        ),
        _ => (
            row.need(SessionColumn::region)?,
            row.need(SessionColumn::sandbox_type)?,
            Used::Sandbox {
                provider: row.need(SessionColumn::sandbox_provider)?,
                quantities: [
                    SessionColumn::duration_seconds,
                    SessionColumn::vcpu_seconds,
                    SessionColumn::memory_gib_seconds,
                    SessionColumn::disk_gib_seconds,
                    SessionColumn::gpu_seconds,
                    SessionColumn::creations,
                    SessionColumn::egress_gib,
                ]
                .map(|column| row.get(column)),
            },
        ),
    };
    let record = Corrected {
        id: row.need(RecordColumn::id)?,
        tenant,
        source,
        payer: Payer { tenant: Some(tenant), user: row.get(RecordColumn::user_id), resource },
        conversation: row.get(RecordColumn::conversation_id),
        path: row.get(RecordColumn::path_id),
        provider,
        name,
        charged_at: row.need(RecordColumn::charged_at)?,
        occurred_at: row.need(RecordColumn::occurred_at)?,
    };
    let found = Found { record, paid, billed, target: Charged::plain(Picos::ZERO) };
    Ok((found, used))
}

/// What a record costs by the price of its moment as it is now known; `None` when there is none.
fn now(record: &Corrected, used: &Used) -> Result<Option<Charged>> {
    match used {
        Used::Llm { input, output, usage, tier } => {
            let parts = usage.as_deref().map(json::parse).transpose().unwrap_or_default().unwrap_or_default();
            let Ok(understood) = llm::usage(&record.provider, *input, *output, &parts) else {
                return Ok(None);
            };
            let tier = tier.as_deref().or(understood.tier.as_deref());
            let by = Tariff { tenant: record.tenant, at: record.occurred_at, tier };
            let model = Model { provider: &record.provider, name: &record.name };
            Ok(price(by, model, &understood, None)?.charged())
        }
        Used::Sandbox { provider, quantities } => {
            let sandbox = SandboxUse {
                provider,
                sandbox_type: &record.name,
                region: Some(record.provider.as_str()).filter(|region| !region.is_empty()),
                quantities: quantities.each_ref().map(Option::as_deref),
            };
            let quote = quote_sandbox(Some(record.tenant), sandbox, record.occurred_at)?;
            Ok(Cost::new(None, quote).charged())
        }
    }
}

/// Writes what is missing to the target; gives it in pico-dollars.
fn correct_one(spi: &Session, mode: &AdmissionMode, one: &Found) -> Result<Option<i128>> {
    let record = &one.record;
    let Some((delta, billed_delta)) = one.missing() else { return Ok(None) };
    // In the ledger a sandbox has no provider.
    let provider = if record.source == "e2b" { String::new() } else { record.provider.clone() };
    let record = Corrected { provider, source: record.source.clone(), name: record.name.clone(), ..*record };
    let left = one.paid.net.plus(delta).ceil_nanos();
    let id = new_record_id();
    let new = NewCorrection {
        id,
        usd: Value::numeric(&delta.to_string()),
        billed: Value::numeric(&billed_delta.to_string()),
        nanos: left - one.paid.net.ceil_nanos(),
        platform_extra: one.billed.net.plus(billed_delta).ceil_nanos() - left,
        request_id: &format!("{MARK}{id}"),
        reason: Some("repriced"),
    };
    if record.correct(spi, mode, &new)? {
        Ok(Some(delta.get()))
    } else {
        Err(Error::internal("a correction met another with its own id"))
    }
}
