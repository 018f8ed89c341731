//! One tenant's bill.

use pgrx::{pg_extern, pg_sys};

use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::spi::types::{MOMENT, UUID};
use crate::pg::spi::{self, Plan, Snapshot};
use crate::tenancy::access::authorise;

signatures! {
    GetTenantCostSummary = get_tenant_cost_summary(p_tenant_id, p_from, p_to);
}

const SUMMARY: &str = "select * from copilot_internal.cost_summary($1, $2, $3)";

static SUMMARY_PLAN: Plan = Plan::new(SUMMARY, &[UUID, MOMENT, MOMENT]);

/// Authorises; the sums themselves are SQL, run as the owner.
#[pg_extern(sql = false)]
fn get_tenant_cost_summary(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use GetTenantCostSummary::*;

    let call = Call::<GetTenantCostSummary>::new(fcinfo);
    call.kernel(|caller| -> Result<Reply> {
        let tenant = arguments::tenant(call.uuid(p_tenant_id))?;
        authorise(caller, tenant, None)?;
        spi::session(|spi| {
            let rows =
                spi.run(&SUMMARY_PLAN, Snapshot::Statement, &[tenant.into(), call.value(p_from), call.value(p_to)])?;
            rows.first()
                .map(|row| Reply::new(row.composite()))
                .ok_or_else(|| Error::invalid("the span must not end before it begins"))
        })
    })
}
