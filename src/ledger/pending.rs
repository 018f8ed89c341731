//! The queue of what rollups have yet to take up: one narrow row beside each row of the ledger.

use pgrx::Uuid;

use super::Source;
use crate::admission::Charge;
use crate::error::Result;
use crate::pg::nil;
use crate::pg::spi::types::{MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::table::Table;
use crate::pg::value::Value;

/// What rollups have yet to take up.
static PENDING: Table = Table::new(
    c"pending_costs",
    &[
        ("tenant_id", UUID),
        ("record_id", UUID),
        ("source", TEXT),
        ("user_id", UUID),
        ("resource_type", TEXT),
        ("charged_at", MOMENT),
        ("nanos", NUMERIC),
    ],
    1,
    None,
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
    Ok(())
}
