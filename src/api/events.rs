//! The outbox and maintenance, as far as their SQL needs the kernel: it asks who calls, and runs the SQL as the owner.

use pgrx::{Uuid, pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::events;
use crate::ledger::input;
use crate::pg::call::Call;
use crate::pg::identity::Caller;
use crate::pg::spi::types::{INT, INTERVAL, UUIDS};
use crate::pg::spi::{self, Look, Plan};
use crate::pg::value::Value;

static CLAIM_PLAN: Plan = Plan::new("select * from copilot_internal.claim_events($1, $2)", &[INT, INTERVAL]);
static ACKNOWLEDGE_PLAN: Plan = Plan::new("select copilot_internal.acknowledge_events($1)", &[UUIDS]);
static MAINTAIN_PLAN: Plan = Plan::new("select * from copilot_internal.run_maintenance($1)", &[INT]);
static VERIFY_PLAN: Plan = Plan::new("select * from copilot_internal.ledger_differences()", &[]);

/// Refuses everybody but the application's server, the owner, and superusers.
pub fn only_the_server(caller: &Caller, what: &str) -> Result<()> {
    if caller.serves_all_tenants() {
        return Ok(());
    }
    Err(Error::forbidden(format!("only service_role may {what}")))
}

fn rows_for_the_server(call: Call, what: &str, plan: &Plan, look: Look, arguments: &[Value]) {
    call.kernel(|caller| {
        only_the_server(caller, what)?;
        spi::session_for_functions(|spi| {
            call.rows_of(&spi.run(plan, look, arguments)?);
            Ok(())
        })
    });
}

#[pg_extern(sql = false)]
fn claim_quota_events(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::new(fcinfo);
    rows_for_the_server(call, "claim events", &CLAIM_PLAN, Look::Write, &[call.value(0), call.value(1)]);
}

#[pg_extern(sql = false)]
fn acknowledge_quota_events(fcinfo: pg_sys::FunctionCallInfo) -> i32 {
    let call = Call::new(fcinfo);
    call.kernel(|caller| {
        only_the_server(caller, "acknowledge events")?;
        spi::session_for_functions(|spi| {
            let rows = spi.run(&ACKNOWLEDGE_PLAN, Look::Write, &[call.value(0)])?;
            rows.first().ok_or_else(|| Error::internal("nothing was counted"))?.need(1)
        })
    })
}

#[pg_extern(sql = false)]
fn maintain(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::new(fcinfo);
    rows_for_the_server(call, "maintain", &MAINTAIN_PLAN, Look::Write, &[call.value(0)]);
}

#[pg_extern(sql = false)]
fn verify(fcinfo: pg_sys::FunctionCallInfo) {
    rows_for_the_server(Call::new(fcinfo), "verify the ledger", &VERIFY_PLAN, Look::Statement, &[]);
}

#[pg_extern(sql = false)]
fn catch_up_events(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    let call = Call::new(fcinfo);
    call.kernel(|caller| {
        only_the_server(caller, "write events")?;
        let tenant: Uuid = input::required(call.uuid(0), "p_tenant_id")?;
        spi::session(|spi| events::catch_up(spi, tenant))
    })
}
