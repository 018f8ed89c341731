//! The outbox and maintenance, as far as their SQL needs the kernel: it checks the caller, and runs the SQL as the
//! owner.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::require_service_role_to;
use crate::arguments;
use crate::error::Error;
use crate::outbox;
use crate::pg::call::{Argument, Call, signatures};
use crate::pg::clock_timestamp;
use crate::pg::spi::types::{BOOL, INT, INTERVAL, UUID, UUIDS};
use crate::pg::spi::{self, Plan, Snapshot};
use crate::pg::value::Value;

signatures! {
    ClaimQuotaEvents = claim_quota_events(p_limit, p_lease, p_tenant_id);
    AcknowledgeQuotaEvents = acknowledge_quota_events(p_event_ids, p_tenant_id);
    Maintain = maintain(p_limit, p_within);
    Housekeep = housekeep(p_within);
    CatchUpEvents = catch_up_events(p_tenant_id, p_limit);
}

static CLAIM_PLAN: Plan = Plan::new("select * from copilot_internal.claim_events($1, $2, $3)", &[INT, INTERVAL, UUID]);
static ACKNOWLEDGE_PLAN: Plan = Plan::new("select copilot_internal.acknowledge_events($1, $2)", &[UUIDS, UUID]);
static MAINTAIN_PLAN: Plan = Plan::new("select * from copilot_internal.run_maintenance($1, $2, 100)", &[INT, INTERVAL]);
static HOUSEKEEP_PLAN: Plan = Plan::new("select * from copilot_internal.housekeeping_step($1)", &[BOOL]);
/// What housekeep() leaves to the next call: others may be charging meanwhile.
const LITTLE: i64 = 100;

static VERIFY_PLAN: Plan = Plan::new("select * from copilot_internal.ledger_differences()", &[]);

pub(super) fn write_for_service_role<A: Argument>(call: Call<A>, what: &str, plan: &Plan, arguments: &[Value]) {
    call.kernel(|caller| {
        require_service_role_to(caller, what)?;
        spi::session_for_functions(|spi| {
            call.rows_of(&spi.run_write(plan, arguments)?);
            Ok(())
        })
    });
}

#[pg_extern(sql = false)]
fn claim_quota_events(fcinfo: pg_sys::FunctionCallInfo) {
    use ClaimQuotaEvents::*;

    let call = Call::<ClaimQuotaEvents>::new(fcinfo);
    let arguments = [call.value(p_limit), call.value(p_lease), call.value(p_tenant_id)];
    write_for_service_role(call, "claim events", &CLAIM_PLAN, &arguments);
}

#[pg_extern(sql = false)]
fn acknowledge_quota_events(fcinfo: pg_sys::FunctionCallInfo) -> i32 {
    use AcknowledgeQuotaEvents::*;

    let call = Call::<AcknowledgeQuotaEvents>::new(fcinfo);
    call.kernel(|caller| {
        require_service_role_to(caller, "acknowledge events")?;
        spi::session_for_functions(|spi| {
            let rows = spi.run_write(&ACKNOWLEDGE_PLAN, &[call.value(p_event_ids), call.value(p_tenant_id)])?;
            rows.first().ok_or_else(|| Error::internal("nothing was counted"))?.need(1)
        })
    })
}

#[pg_extern(sql = false)]
fn maintain(fcinfo: pg_sys::FunctionCallInfo) {
    use Maintain::*;

    let call = Call::<Maintain>::new(fcinfo);
    write_for_service_role(call, "maintain", &MAINTAIN_PLAN, &[call.value(p_limit), call.value(p_within)]);
}

/// Each step commits, unless the caller is in a transaction: then there is one step.
#[pg_extern(sql = false)]
fn housekeep(fcinfo: pg_sys::FunctionCallInfo) {
    use Housekeep::*;

    const DAY: i64 = 86_400_000_000;
    let call = Call::<Housekeep>::new(fcinfo);
    let within = call.interval(p_within).and_then(|within| within.microseconds());
    let within = within.filter(|within| (1..=DAY).contains(within));
    let Some(within) = within else {
        Error::invalid("p_within must be more than 0 and at most 1 day").raise();
    };
    let end = clock_timestamp().saturating_add(within);
    let mut is_first = true;
    loop {
        let (folded, remaining): (i64, i64) = call.kernel(|caller| {
            require_service_role_to(caller, "maintain")?;
            spi::session_for_functions(|spi| {
                let rows = spi.run_write(&HOUSEKEEP_PLAN, &[is_first.into()])?;
                let row = rows.first().ok_or_else(|| Error::internal("nothing was counted"))?;
                Ok((row.need(1)?, row.need(2)?))
            })
        });
        if !call.may_commit() || folded == 0 || remaining < LITTLE || clock_timestamp() >= end {
            return;
        }
        is_first = false;
        spi::commit();
    }
}

#[pg_extern(sql = false)]
fn verify(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::without_arguments(fcinfo);
    call.kernel(|caller| {
        require_service_role_to(caller, "verify the ledger")?;
        spi::session_for_functions(|spi| {
            call.rows_of(&spi.run(&VERIFY_PLAN, Snapshot::Statement, &[])?);
            Ok(())
        })
    });
}

#[pg_extern(sql = false)]
fn catch_up_events(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    use CatchUpEvents::*;

    let call = Call::<CatchUpEvents>::new(fcinfo);
    call.kernel(|caller| {
        require_service_role_to(caller, "write events")?;
        let tenant: Uuid = arguments::required(call.uuid(p_tenant_id), "p_tenant_id")?;
        let limit: i64 = arguments::required(call.bigint(p_limit), "p_limit")?;
        spi::session(|spi| outbox::catch_up(spi, tenant, limit))
    })
}
