//! Folding: pending rows become rollups, so that sums stay quick.

use pgrx::Uuid;

use crate::error::Result;
use crate::pg::spi::types::{INT, UUID};
use crate::pg::spi::{self, Plan, Session};

/// A pending row of nothing.
const MARK: &str = "
    insert into copilot_internal.pending_costs (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
    select $1, pg_catalog.gen_random_uuid(), 'fold', '00000000-0000-0000-0000-000000000000', 'llm',
           pg_catalog.clock_timestamp(), 0
    where not exists (select from copilot_internal.pending_costs p where p.tenant_id = $1)";

const FOLD: &str = "select copilot_internal.fold($1, $2)";

static MARK_PLAN: Plan = Plan::new(MARK, &[UUID]);
static FOLD_PLAN: Plan = Plan::new(FOLD, &[UUID, INT]);

/// How many pending rows a charger leaves alone, and how many it folds when there are more.
const TAIL_KEPT: i64 = 256;
const TAIL_FOLDED: i32 = 1_024;

/// Shortens a long tail of pending rows, so that sums stay quick where `maintain()` is never called. Only at READ
/// COMMITTED: elsewhere a rollup row that another fold has written since would be a serialization failure.
pub fn fold_long_tail(spi: &Session, tenant: Option<Uuid>, tail: i64) -> Result<()> {
    if tail <= TAIL_KEPT || spi::has_one_snapshot() {
        return Ok(());
    }
    if let Some(tenant) = tenant {
        spi.run_write(&FOLD_PLAN, &[tenant.into(), TAIL_FOLDED.into()])?;
        keep_marked(spi, tenant)?;
    }
    Ok(())
}

/// Sees to it that the tenant has a pending row: pending rows mark the tenants whose events may be missing. A fold
/// calls this unless it has checked to the end that no event is missing.
pub fn keep_marked(spi: &Session, tenant: Uuid) -> Result<()> {
    spi.run_write(&MARK_PLAN, &[tenant.into()])?;
    Ok(())
}
