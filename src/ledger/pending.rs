//! The queue of what rollups have yet to take up: one narrow row beside each row of the ledger.

use pgrx::Uuid;

use super::Source;
use crate::admission::Charge;
use crate::error::Result;
use crate::pg::nil;
use crate::pg::shape::required;
use crate::pg::spi::types::{MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::table::Table;
use crate::pg::transaction::with;
use crate::pg::value::Value;

/// What rollups have yet to take up.
static PENDING: Table = Table::new(
    c"pending_costs",
    &[
        required("tenant_id", UUID),
        required("record_id", UUID),
        required("source", TEXT),
        required("user_id", UUID),
        required("resource_type", TEXT),
        required("charged_at", MOMENT),
        required("nanos", NUMERIC),
    ],
    &["(source = ANY (ARRAY['llm'::text, 'e2b'::text, 'charge'::text, 'correction'::text, 'fold'::text]))"],
    false,
);

pub fn leave_pending(source: Source, id: Uuid, charge: &Charge) -> Result<()> {
    PENDING.insert(&[
        charge.payer.tenant.unwrap_or_else(nil).into(),
        id.into(),
        source.name.into(),
        charge.payer.user.unwrap_or_else(nil).into(),
        charge.payer.resource.as_str().into(),
        Value::timestamp(charge.at),
        Value::whole(charge.amount),
    ])?;
    with(|state| state.note_pending());
    Ok(())
}
