//! Costs by the prices as they are now known: what a record came to otherwise is corrected by rows of their own. The
//! records stay as they are, and so does every cost that a caller provided.

use std::collections::BTreeMap;

use pgrx::Uuid;

use super::corrections::{Corrected, NewCorrection};
use super::llm;
use super::report::{Tariff, price};
use crate::admission::AdmissionMode;
use crate::error::{Error, Result};
use crate::pg::nil;
use crate::pg::spi::types::{MOMENT, UUID};
use crate::pg::spi::{self, Plan, Row, Session, Snapshot, columns};
use crate::pg::value::Value;
use crate::pg::{self, Timestamp};
use crate::pricing::lookup::{SandboxUse, quote_sandbox};
use crate::quota::Payer;
use tollgate_core::decision::Resource;
use tollgate_core::money::{Picos, PicosDifference};
use tollgate_core::pricing::{Priced, SANDBOX_PARTS};

/// Records that are read together.
const PAGE: usize = 2_000;

/// The request ids of these corrections are this and their own ids. A caller of refund_cost cannot know those in
/// advance.
const MARK: &str = "reprice:";

/// Records whose cost was computed, after a tenant and a record, with what earlier calls have already corrected.
const RECORDS: &str = "
    select r.source, r.tenant_id, r.id, r.user_id, r.conversation_id, r.provider, r.name, r.charged_at, r.occurred_at,
           r.cost_usd::text, r.input_tokens, r.output_tokens, r.usage::text, r.service_tier, r.duration_seconds::text,
           r.vcpu_seconds::text, r.memory_gib_seconds::text,
           k.ours::text, k.every::text, r.disk_gib_seconds::text, r.gpu_seconds::text, r.creations::text, r.egress_gib::text,
           r.sandbox_provider
    from (
        select 'llm'::text as source, l.tenant_id, l.id, l.user_id, l.conversation_id, l.model_provider as provider,
               l.model_name as name, l.charged_at, l.occurred_at, l.cost_usd, l.input_tokens, l.output_tokens, l.usage,
               l.service_tier, null::numeric as duration_seconds, null::numeric as vcpu_seconds,
               null::numeric as memory_gib_seconds, null::numeric as disk_gib_seconds, null::numeric as gpu_seconds,
               null::numeric as creations, null::numeric as egress_gib, null::text as sandbox_provider
        from copilot_internal.llm_cost_records l
        where l.cost_status in ('priced', 'unpriced') and l.occurred_at >= $1 and l.occurred_at < $2
        union all
        select 'e2b', e.tenant_id, e.id, e.user_id, e.conversation_id, coalesce(e.region, ''), e.sandbox_type, e.charged_at,
               e.occurred_at, e.cost_usd, null, null, null, null, e.duration_seconds, e.vcpu_seconds, e.memory_gib_seconds,
               e.disk_gib_seconds, e.gpu_seconds, e.creations, e.egress_gib, e.provider
        from copilot_internal.e2b_cost_records e
        where e.cost_status in ('priced', 'unpriced') and e.occurred_at >= $1 and e.occurred_at < $2
    ) r
    cross join lateral (
        select coalesce(sum(c.cost_usd), 0) as every,
               coalesce(sum(c.cost_usd) filter (where c.request_id = 'reprice:' || c.id), 0) as ours
        from copilot_internal.cost_corrections c where c.record_id = r.id and c.tenant_id = r.tenant_id
    ) k
    where (r.tenant_id, r.id) > ($3, $4)
    order by r.tenant_id, r.id
    limit 2000";
columns! {
    RecordColumn(
        source, tenant_id, id, user_id, conversation_id, provider, name, charged_at, occurred_at, cost_usd,
        input_tokens, output_tokens, usage, service_tier, duration_seconds, vcpu_seconds, memory_gib_seconds, ours,
        every, disk_gib_seconds, gpu_seconds, creations, egress_gib, sandbox_provider
    )
}

static RECORDS_PLAN: Plan = Plan::new(RECORDS, &[MOMENT, MOMENT, UUID, UUID]);

/// What is left of a record's cost, and what of it is by earlier calls of this kind.
const CORRECTED: &str = "
    select coalesce(sum(c.cost_usd), 0)::text,
           coalesce(sum(c.cost_usd) filter (where c.request_id = 'reprice:' || c.id), 0)::text
    from copilot_internal.cost_corrections c where c.record_id = $1 and c.tenant_id = $2";
static CORRECTED_PLAN: Plan = Plan::new(CORRECTED, &[UUID, UUID]);

/// A record whose cost is another by the present prices. A sandbox's provider is the region that its price was looked up by.
struct Found {
    record: Corrected,
    cost: Picos,
    target: Picos,
    /// What it comes to, with what was corrected before.
    present: PicosDifference,
    /// What is left of it with what was refunded.
    net: PicosDifference,
}

/// What there is to correct, in pico-dollars. What was refunded is not given back again.
fn missing(target: Picos, present: PicosDifference, net: PicosDifference) -> i128 {
    (target.get() - present.get()).max(-net.get())
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

/// Finds records that occurred in the range and would cost something else now. Unless it is a dry run, it corrects as
/// many of them as the limit says. The rest waits for the next call.
pub fn reprice(from: Timestamp, to: Timestamp, dry_run: bool, limit: i64) -> Result<BTreeMap<Group, Sum>> {
    let mut sums: BTreeMap<Group, Sum> = BTreeMap::new();
    let mut after = (nil(), nil());
    let mut left = if dry_run { 0 } else { limit };
    loop {
        let (found, last) = page(from, to, after)?;
        for one in &found {
            let sum = sums.entry(group(one)).or_default();
            sum.records += 1;
            sum.before += one.present.get();
            sum.after += one.target.get();
        }
        let correct = usize::try_from(left).unwrap_or(usize::MAX).min(found.len());
        if correct > 0 {
            spi::session(|spi| {
                let mode = AdmissionMode::open(found[..correct].iter().map(|one| Some(one.record.tenant)))?;
                for one in &found[..correct] {
                    let adjustment = correct_one(spi, &mode, one)?;
                    let sum = sums.entry(group(one)).or_default();
                    sum.adjusted += i64::from(adjustment != 0);
                    sum.adjustment += adjustment;
                }
                Ok(())
            })?;
            left -= i64::try_from(correct).unwrap_or(i64::MAX);
        }
        match last {
            Some(last) => after = last,
            None => return Ok(sums),
        }
    }
}

fn group(one: &Found) -> Group {
    let Corrected { tenant, source, provider, name, .. } = &one.record;
    (*tenant, source.clone(), provider.clone(), name.clone())
}

type Position = (Uuid, Uuid);

/// The records of one page that cost something else now, and where the next page begins.
fn page(from: Timestamp, to: Timestamp, after: Position) -> Result<(Vec<Found>, Option<Position>)> {
    let parameters = [Value::timestamp(from), Value::timestamp(to), after.0.into(), after.1.into()];
    let read = spi::session(|spi| {
        let rows = spi.run(&RECORDS_PLAN, Snapshot::Latest, &parameters)?;
        rows.iter().map(|row| record(&row)).collect::<Result<Vec<_>>>()
    })?;
    let last = (read.len() == PAGE).then(|| read.last().map(|(one, _)| (one.record.tenant, one.record.id))).flatten();
    let mut found = Vec::new();
    for (mut one, used) in read {
        let Some(target) = now(&one.record, &used)? else { continue };
        one.target = target;
        if missing(target, one.present, one.net) != 0 {
            found.push(one);
        }
    }
    Ok((found, last))
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
    let cost =
        row.get::<String>(RecordColumn::cost_usd).map_or(Ok(Picos::ZERO), |text| Picos::parse(&text)).map_err(unfit)?;
    let corrected = |column: RecordColumn| PicosDifference::parse(&row.need::<String>(column)?).map_err(unfit);
    let (ours, every) = (corrected(RecordColumn::ours)?, corrected(RecordColumn::every)?);
    let used = if source == "llm" {
        Used::Llm {
            input: row.need(RecordColumn::input_tokens)?,
            output: row.need(RecordColumn::output_tokens)?,
            usage: row.get(RecordColumn::usage),
            tier: row.get(RecordColumn::service_tier),
        }
    } else {
        Used::Sandbox {
            provider: row.need(RecordColumn::sandbox_provider)?,
            quantities: [
                RecordColumn::duration_seconds,
                RecordColumn::vcpu_seconds,
                RecordColumn::memory_gib_seconds,
                RecordColumn::disk_gib_seconds,
                RecordColumn::gpu_seconds,
                RecordColumn::creations,
                RecordColumn::egress_gib,
            ]
            .map(|column| row.get(column)),
        }
    };
    let record = Corrected {
        id: row.need(RecordColumn::id)?,
        tenant,
        source,
        payer: Payer { tenant: Some(tenant), user: row.get(RecordColumn::user_id), resource },
        conversation: row.get(RecordColumn::conversation_id),
        provider: row.need(RecordColumn::provider)?,
        name: row.need(RecordColumn::name)?,
        charged_at: row.need(RecordColumn::charged_at)?,
        occurred_at: row.need(RecordColumn::occurred_at)?,
    };
    let found = Found { record, cost, target: Picos::ZERO, present: cost.with(ours), net: cost.with(every) };
    Ok((found, used))
}

/// What a record costs by the price of its moment as it is now known; `None` when there is none.
fn now(record: &Corrected, used: &Used) -> Result<Option<Picos>> {
    match used {
        Used::Llm { input, output, usage, tier } => {
            let parts = usage.as_deref().map(serde_json::from_str).transpose().unwrap_or_default().unwrap_or_default();
            let Ok(understood) = llm::usage(&record.provider, *input, *output, &parts) else {
                return Ok(None);
            };
            let tier = tier.as_deref().or(understood.tier.as_deref());
            let by = Tariff { tenant: record.tenant, at: record.occurred_at, tier };
            Ok(price(by, &record.provider, &record.name, &understood, None)?.usd)
        }
        Used::Sandbox { provider, quantities } => {
            let sandbox = SandboxUse {
                provider,
                sandbox_type: &record.name,
                region: Some(record.provider.as_str()).filter(|region| !region.is_empty()),
                quantities: quantities.each_ref().map(Option::as_deref),
            };
            let quote = quote_sandbox(Some(record.tenant), sandbox, record.occurred_at)?;
            Ok(match quote.priced {
                Ok(Priced::Priced(breakdown)) => Some(breakdown.total()),
                _ => None,
            })
        }
    }
}

/// Writes what is missing to the target, under the lock that refunds of the record take too; gives it in pico-dollars.
fn correct_one(spi: &Session, mode: &AdmissionMode, one: &Found) -> Result<i128> {
    let record = &one.record;
    record.lock();
    let rows = spi.run(&CORRECTED_PLAN, Snapshot::Latest, &[record.id.into(), record.tenant.into()])?;
    let row = rows.first().ok_or_else(|| Error::internal("a sum gave no row"))?;
    let sum = |column| -> Result<PicosDifference> {
        PicosDifference::parse(&row.need::<String>(column)?)
            .map_err(|_| Error::internal("a correction has no proper cost"))
    };
    let (all, ours) = (sum(1)?, sum(2)?);
    let before = one.cost.with(all);
    let delta = missing(one.target, one.cost.with(ours), before);
    if delta == 0 {
        return Ok(0);
    }
    let delta = PicosDifference::new(delta);
    let id = pg::new_id();
    let new = NewCorrection {
        id,
        usd: Value::numeric(&delta.to_string()),
        nanos: before.plus(delta).ceil_nanos() - before.ceil_nanos(),
        request_id: &format!("{MARK}{id}"),
        reason: Some("repriced"),
    };
    // In the ledger a sandbox has no provider.
    let provider = if record.source == "e2b" { String::new() } else { record.provider.clone() };
    let record = Corrected { provider, source: record.source.clone(), name: record.name.clone(), ..*record };
    if record.correct(spi, mode, &new)? {
        Ok(delta.get())
    } else {
        Err(Error::internal("a correction met another with its own id"))
    }
}
