//! Whether the counters in memory say what the tables say.

use std::collections::HashMap;

use pgrx::{Uuid, pg_sys};
use tollgate_escrow::epochs::{PLATFORM, partition};
use tollgate_escrow::table::{CEILING, CounterKey, Delta, Handle, Reading};

use crate::error::{Error, Result};
use crate::pg::invalidation::ledger;
use crate::pg::memory::{Shared, shared};
use crate::pg::spi::types::TEXT;
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::transaction::with;
use crate::pg::{nil, own_database};
use crate::quota::Payer;
use crate::quota::definitions::unpacked;
use crate::quota::sums::Sum;
use tollgate_core::decision::{ALL_RESOURCES, Resource, Scope};

/// A figure of a counter that is not what the tables have, in nano-dollars.
pub struct Difference {
    pub check: &'static str,
    /// `None` for the platform.
    pub tenant: Option<Uuid>,
    pub expected: i64,
    pub actual: i64,
}

/// The ids are read once, into a hash: an array would be made of the text, and gone through, for every quota in force. A
/// join by them may come to the same, for the planner cannot know how many there are. `is true` keeps it from making one.
const QUOTAS: &str = "
    select q.quota_id, q.scope, q.scope_id, q.tenant_id, q.resource_type
    from copilot_internal.effective_quotas q
    where (q.quota_id in (select pg_catalog.unnest($1::uuid[]))) is true";
static QUOTAS_PLAN: Plan = Plan::new(QUOTAS, &[TEXT]);

/// The payer whose charges a counter counts.
struct Counted {
    scope: Scope,
    payer: Payer,
    counts_all: bool,
}

/// The counters of this database that do not say what the tables say, while no other transaction has them pinned. A
/// counter that others keep pinned all the time is left out. So are counters that no charge can meet any more.
pub fn differing(spi: &Session) -> Result<Vec<Difference>> {
    // SAFETY: reads the state of the server.
    let Some(shared) = shared().filter(|_| !unsafe { pg_sys::RecoveryInProgress() }) else { return Ok(Vec::new()) };
    let mut counters: HashMap<[u8; 16], Vec<(CounterKey, Handle)>> = HashMap::new();
    for (key, handle) in shared.table.counters(own_database(), ledger().to_u32()) {
        counters.entry(key.quota).or_default().push((key, handle));
    }
    let ids: Vec<String> = counters.keys().map(|quota| Uuid::from_bytes(*quota).to_string()).collect();
    let ids = format!("{{{}}}", ids.join(","));
    let rows = spi.run(&QUOTAS_PLAN, Snapshot::Latest, &[ids.as_str().into()])?;
    let mut differences = Vec::new();
    for row in rows.iter() {
        let id: Uuid = row.need(1)?;
        let (scope, resource): (String, String) = (row.need(2)?, row.need(5)?);
        let scope = Scope::parse(&scope).ok_or_else(|| Error::internal("a quota has an unknown scope"))?;
        let user = if scope == Scope::User { row.get(3) } else { None };
        let payer = Payer { tenant: row.get(4), user, resource: Resource::parse(&resource).unwrap_or(Resource::All) };
        let counted = Counted { scope, payer, counts_all: resource == ALL_RESOURCES };
        for (key, handle) in counters.get(id.as_bytes()).into_iter().flatten() {
            pgrx::check_for_interrupts!();
            if counted.is_met_by(&shared, key) {
                differences.extend(counted.compare(&shared, spi, key, *handle)?);
            }
        }
    }
    Ok(differences)
}

/// How often a counter in use is read, and how often it must be found to differ.
const MAX_PAUSES: u32 = 20;
const AGREEING: u32 = 3;

impl Counted {
    fn partition(&self) -> usize {
        match self.scope {
            Scope::Platform => PLATFORM,
            Scope::Tenant | Scope::User => partition(own_database(), self.payer.tenant.unwrap_or_else(nil).as_bytes()),
        }
    }

    /// Whether charges meet the counter. A transaction that changes definitions decides from the tables.
    fn is_met_by(&self, shared: &Shared, key: &CounterKey) -> bool {
        let partition = self.partition();
        shared.registry.epoch(partition) == key.epoch && !with(|state| state.has_changed(partition))
    }

    /// The tables are read between two equal reads of a counter that no other transaction has pinned: none was adding
    /// to it or taking back. It could have been used and left as it was in between, but not every time.
    fn compare(&self, shared: &Shared, spi: &Session, key: &CounterKey, handle: Handle) -> Result<Vec<Difference>> {
        let mut found: Option<([i64; 4], u32)> = None;
        for _ in 0..MAX_PAUSES {
            let Some(before) = self.resting(shared, handle) else { return Ok(Vec::new()) };
            let Some(before) = before else {
                pause();
                continue;
            };
            let bounds = unpacked(key.period);
            let sum = Sum::read(spi, self.payer, self.scope, bounds, before.horizon, Snapshot::Latest)?;
            let (spent, held) = (sum.spent(self.counts_all), sum.held(self.counts_all));
            if self.resting(shared, handle) != Some(Some(before)) {
                pause();
                continue;
            }
            let own = with(|state| state.journal.done(handle.index()));
            let (durable, durably_held) = as_the_tables_show(before, own);
            let figures = [spent.saturating_add(held).clamp(-CEILING, CEILING), durable, held, durably_held];
            if figures[0] == figures[1] && figures[2] == figures[3] || before.reserved >= CEILING {
                return Ok(Vec::new());
            }
            let times = found.filter(|(before, _)| *before == figures).map_or(1, |(_, times)| times + 1);
            if times == AGREEING {
                return Ok(if self.is_met_by(shared, key) { self.differences(figures) } else { Vec::new() });
            }
            found = Some((figures, times));
            pause();
        }
        Ok(Vec::new())
    }

    /// What the counter says: nothing when it has gone, and not what while others have it pinned.
    fn resting(&self, shared: &Shared, handle: Handle) -> Option<Option<Reading>> {
        let pins = shared.table.pins(handle)?;
        let reading = shared.table.peek(handle)?;
        let own = with(|state| state.journal.pins(handle.index()));
        Some((pins == own && shared.table.pins(handle)? == own).then_some(reading))
    }

    fn differences(&self, figures: [i64; 4]) -> Vec<Difference> {
        let [spent_and_held, counted, held, counted_held] = figures;
        let tenant = self.payer.tenant;
        let difference = |check, expected, actual| Difference { check, tenant, expected, actual };
        [
            difference("counter of a quota (nano USD)", spent_and_held, counted),
            difference("held by a counter (nano USD)", held, counted_held),
        ]
        .into_iter()
        .filter(|difference| difference.expected != difference.actual)
        .collect()
    }
}

/// The tables show this transaction its own changes, and none of other transactions in flight.
fn as_the_tables_show(reading: Reading, own: Delta) -> (i64, i64) {
    let others = reading.in_flight.saturating_sub(own.amount);
    (reading.reserved.saturating_sub(others).saturating_sub(own.credit), reading.held.saturating_add(own.held))
}

fn pause() {
    pgrx::check_for_interrupts!();
    // SAFETY: sleeps.
    unsafe { pg_sys::pg_usleep(2_000) };
}
