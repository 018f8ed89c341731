//! People's data: erasing, exporting and purging are SQL, as far as they need no kernel. It checks the caller, and runs the
//! SQL as the owner, who alone passes by the ledger's guard.

use pgrx::{pg_extern, pg_sys};
use tollgate_core::pricing::Tier;
use tollgate_core::usage::understood_alone;

use super::events::write_for_service_role;
use super::require_service_role_to;
use crate::error::Error;
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::jsonb::Bounds;
use crate::pg::spi::types::{INT, TEXT, UUID};
use crate::pg::spi::{self, Plan, Snapshot};
use crate::pg::{jsonb_value, jsonb_writer};

signatures! {
    EraseUser = erase_user(p_user_id, p_tenant_id);
    ExportUserData = export_user_data(p_user_id, p_tenant_id, p_cursor, p_limit);
    PurgeTenant = purge_tenant(p_tenant_id);
    RedactCostMetadata = redact_cost_metadata(p_tenant_id, p_conversation_id);
    TierUnderstood = tier_understood(p_service_tier);
    UsageUnderstood = usage_understood(p_provider, p_input_tokens, p_output_tokens, p_usage);
}

static ERASE_PLAN: Plan = Plan::new("select * from copilot_internal.erase_person($1, $2)", &[UUID, UUID]);
static EXPORT_PLAN: Plan =
    Plan::new("select * from copilot_internal.export_person($1, $2, $3, $4)", &[UUID, UUID, TEXT, INT]);
static PURGE_PLAN: Plan = Plan::new("select * from copilot_internal.purge_rows($1)", &[UUID]);
static REDACT_PLAN: Plan = Plan::new("select copilot_internal.redact_costs($1, $2)", &[UUID, UUID]);

#[pg_extern(sql = false)]
fn erase_user(fcinfo: pg_sys::FunctionCallInfo) {
    use EraseUser::*;

    let call = Call::<EraseUser>::new(fcinfo);
    write_for_service_role(call, "erase a user", &ERASE_PLAN, &[call.value(p_user_id), call.value(p_tenant_id)]);
}

#[pg_extern(sql = false)]
fn export_user_data(fcinfo: pg_sys::FunctionCallInfo) {
    use ExportUserData::*;

    let call = Call::<ExportUserData>::new(fcinfo);
    call.kernel(|caller| {
        require_service_role_to(caller, "export a user's data")?;
        spi::session_for_functions(|spi| {
            let arguments = [p_user_id, p_tenant_id, p_cursor, p_limit].map(|argument| call.value(argument));
            call.rows_of(&spi.run(&EXPORT_PLAN, Snapshot::Statement, &arguments)?);
            Ok(())
        })
    });
}

#[pg_extern(sql = false)]
fn purge_tenant(fcinfo: pg_sys::FunctionCallInfo) {
    use PurgeTenant::*;

    let call = Call::<PurgeTenant>::new(fcinfo);
    write_for_service_role(call, "purge a tenant", &PURGE_PLAN, &[call.value(p_tenant_id)]);
}

#[pg_extern(sql = false)]
fn redact_cost_metadata(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    use RedactCostMetadata::*;

    let call = Call::<RedactCostMetadata>::new(fcinfo);
    call.kernel(|caller| {
        require_service_role_to(caller, "redact costs")?;
        spi::session_for_functions(|spi| {
            let rows = spi.run_write(&REDACT_PLAN, &[call.value(p_tenant_id), call.value(p_conversation_id)])?;
            rows.first().ok_or_else(|| Error::internal("nothing was counted"))?.need(1)
        })
    })
}

/// The name that prices have for a record's tier: it costs as the caller's own word for it.
#[pg_extern(sql = false)]
fn tier_understood(fcinfo: pg_sys::FunctionCallInfo) -> Option<&'static str> {
    let call = Call::<TierUnderstood>::new(fcinfo);
    call.with_text(TierUnderstood::p_service_tier, |tier| Tier::parse(Some(tier)).as_str())
}

/// What a record keeps of its usage.
const KEPT: Bounds = Bounds { bytes: 16 * 1024 * 1024, depth: 200, number: 2_000 };

/// What reads and costs as the usage does, without the caller's own words; NULL where nothing of it is understood.
#[pg_extern(sql = false)]
fn usage_understood(fcinfo: pg_sys::FunctionCallInfo) -> Option<Reply> {
    use UsageUnderstood::*;

    let call = Call::<UsageUnderstood>::new(fcinfo);
    let usage = jsonb_value::read(&call.jsonb(p_usage)?, &KEPT).ok()?;
    let (input, output) = (call.bigint(p_input_tokens)?, call.bigint(p_output_tokens)?);
    let ours = understood_alone(&call.text(p_provider)?, input, output, &usage)?;
    let written = jsonb_writer::write(&ours).unwrap_or_else(|error| error.raise());
    Some(Reply::new(written.value().datum()))
}
