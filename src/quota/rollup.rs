//! Folding: pending rows become rollups, so that sums stay quick.

use std::cell::Cell;
use std::time::Duration;

use pgrx::Uuid;

use crate::error::Result;
use crate::pg::lock::{self, LockTarget};
use crate::pg::memory::shared;
use crate::pg::new_id;
use crate::pg::queue::new_record_id;
use crate::pg::spi::types::{INT, UUID};
use crate::pg::spi::{self, Plan, Session};
use crate::worker;

/// A pending row of nothing.
const MARK: &str = "
    insert into copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
    select $1, $2, 'fold', '00000000-0000-0000-0000-000000000000', 'llm',
           pg_catalog.clock_timestamp(), 0
    where not exists (
        select from copilot_internal.pending_costs p
        where p.tenant_id = $1 and p.record_id >= coalesce((
            select n.first_id from copilot_internal.checked_queue_starts n
            where n.tenant_id = $1 order by n.since desc limit 1), '00000000-0000-0000-0000-000000000000'))";

const FOLD: &str = "select copilot_internal.fold($1, $2)";

static MARK_PLAN: Plan = Plan::new(MARK, &[UUID, UUID]);
static FOLD_PLAN: Plan = Plan::new(FOLD, &[UUID, INT]);

/// How many pending rows a charger leaves alone, and how many it folds when there are more.
const TAIL_KEPT: i64 = 256;
const TAIL_FOLDED: i32 = 1_024;
/// After so many records a session folds for a worker that is behind: so many rows for each, and at most so many.
const RECORDS_BETWEEN_HELP: usize = 64;
const ROWS_A_RECORD: usize = 16;
const MOST_ROWS: usize = 16_384;
/// For how long it waits for another that folds: without that, more would come than a single process can fold.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// From how many on another process is to do it.
const TAIL_TO_HAND_OVER: i64 = 16_384;

thread_local! {
    static RECORDS: Cell<usize> = const { Cell::new(0) };
}

/// How many rows are to be folded for a worker that does not keep up; 0 mostly.
fn help_wanted(records: usize) -> usize {
    if !shared().is_some_and(|shared| shared.activity.is_behind()) {
        return 0;
    }
    let since = RECORDS.get().saturating_add(records);
    let is_turn = since >= RECORDS_BETWEEN_HELP;
    RECORDS.set(if is_turn { 0 } else { since });
    if is_turn { since.saturating_mul(ROWS_A_RECORD).min(MOST_ROWS) } else { 0 }
}

/// After so many records: shortens a long tail of pending rows that had to be summed, so that sums stay quick where
/// nobody keeps house, or a tail that grows faster than a worker can fold. Only at READ COMMITTED: elsewhere a rollup
/// row that another fold has written since would be a serialization failure.
pub fn fold_long_tail(spi: &Session, tenant: Option<Uuid>, tail: i64, records: usize) -> Result<()> {
    let help = help_wanted(records);
    if help == 0 && tail <= TAIL_KEPT || spi::has_one_snapshot() {
        return Ok(());
    }
    if tail > TAIL_TO_HAND_OVER {
        worker::request();
    }
    let Some(tenant) = tenant else { return Ok(()) };
    if help > 0 {
        // Whether it gets it or not: the fold tries again.
        LockTarget::Fold(lock::key(tenant)).lock_within(LONGEST_WAIT);
    }
    let rows = i32::try_from(help).unwrap_or(i32::MAX).max(TAIL_FOLDED);
    spi.run_write(&FOLD_PLAN, &[tenant.into(), rows.into()])?;
    // Where the mode has an order of ids the tenant's lock is held, and a mark may be passed over once it is folded.
    mark(spi, tenant, new_record_id())
}

/// Sees to it that the tenant has a pending row: pending rows mark the tenants whose events may be missing. A fold
/// calls this unless it has checked to the end that no event is missing.
pub fn keep_marked(spi: &Session, tenant: Uuid) -> Result<()> {
    mark(spi, tenant, new_id())
}

fn mark(spi: &Session, tenant: Uuid, id: Uuid) -> Result<()> {
    spi.run_write(&MARK_PLAN, &[tenant.into(), id.into()])?;
    Ok(())
}
