//! The queue of what rollups have yet to take up: one narrow row beside each row of the ledger.

use pgrx::Uuid;

use super::Source;
use crate::admission::Charge;
use crate::error::Result;
use crate::pg::nil;
use crate::pg::shape::required;
use crate::pg::spi::types::{MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::table::Table;
use crate::pg::transaction::{Unwritten, with};
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

fn row(source: Source, id: Uuid, charge: &Charge) -> [Value; 7] {
    [
        charge.payer.tenant.unwrap_or_else(nil).into(),
        id.into(),
        source.name.into(),
        charge.payer.user.unwrap_or_else(nil).into(),
        charge.payer.resource.as_str().into(),
        Value::timestamp(charge.at),
        Value::whole(charge.amount),
    ]
}

pub fn leave_pending(source: Source, id: Uuid, charge: &Charge) -> Result<()> {
    PENDING.insert(&row(source, id, charge))?;
    with(|state| state.note_pending());
    Ok(())
}

/// Rows of charges that were admitted, to be written together. Until then no figure is read from the tables.
#[derive(Default)]
pub struct Unqueued {
    rows: Vec<[Value; 7]>,
    admitted: Vec<Unwritten>,
}

impl Unqueued {
    pub fn push(&mut self, source: Source, id: Uuid, charge: &Charge, admitted: Option<Unwritten>) {
        self.rows.push(row(source, id, charge));
        self.admitted.extend(admitted);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn write(&mut self) -> Result<()> {
        PENDING.insert_rows(&self.rows)?;
        with(|state| state.note_pending());
        self.rows.clear();
        self.admitted.clear();
        Ok(())
    }
}

/// Whether nothing of others runs with a row of the queue.
pub fn is_as_shipped() -> Result<bool> {
    PENDING.is_as_shipped()
}
