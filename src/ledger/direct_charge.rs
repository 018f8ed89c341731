//! Charges that no cost record explains, and what a reservation came to that no record settled.

use pgrx::Uuid;

use super::pending::leave_pending;
use super::{Cost, Record, RecordTerms, Row, Source, Stored};
use crate::admission::Charge;
use crate::error::Result;
use crate::pg::queue::new_record_id;
use crate::pg::shape::{nullable, required};
use crate::pg::spi::types::{BIGINT, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::pg::{self, Timestamp};
use crate::quota::Payer;
use tollgate_core::money::{Picos, usd_from_nanos};

/// A charge whose arguments are valid.
pub struct DirectCharge {
    pub payer: Payer,
    pub cost: Picos,
    pub request_id: Option<String>,
    /// Over a hard limit nothing is charged.
    pub enforce: bool,
    /// The hold that it settles.
    pub reservation: Option<Uuid>,
    pub log_denial: bool,
}

const FIND: &str = "
    select c.id, c.cost_usd::text, 'provided'::text as cost_status,
           (c.user_id, c.resource_type, c.cost_usd) is not distinct from ($3::uuid, $4::text, $5::numeric) as same_content,
           null::timestamptz as expires_at, null::text as state, null::uuid as reservation_id,
           null::text as unpriced_because
    from copilot_internal.quota_charges c
    where (c.tenant_id = $1 or (c.tenant_id is null and $1 is null)) and c.request_id = $2";

pub static TABLE: Table = Table::new(
    c"quota_charges",
    &[
        required("id", UUID),
        nullable("tenant_id", UUID),
        nullable("user_id", UUID),
        required("resource_type", TEXT),
        required("cost_usd", NUMERIC),
        required("charge_nanos", BIGINT),
        nullable("request_id", TEXT),
        required("charged_at", MOMENT),
        required("recorded_at", MOMENT),
        nullable("reservation_id", UUID),
        nullable("reason", TEXT),
        nullable("record_id", UUID),
    ],
    &["(resource_type = ANY (ARRAY['llm'::text, 'e2b'::text, 'all'::text]))"],
    true,
);
static FIND_PLAN: Plan = Plan::new(FIND, &[UUID, TEXT, UUID, TEXT, NUMERIC]);

impl Record for DirectCharge {
    fn terms(&self) -> RecordTerms<'_> {
        RecordTerms {
            payer: self.payer,
            request_id: self.request_id.as_deref(),
            enforce: self.enforce,
            occurred_at: None,
            reservation: self.reservation,
            hold_for: None,
            log_denial: self.log_denial,
        }
    }

    fn source(&self) -> Source {
        Source { name: "charge", table: &TABLE }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let parameters = [
            self.payer.tenant.into(),
            request_id.into(),
            user.into(),
            self.payer.resource.as_str().into(),
            Value::cost(self.cost),
        ];
        super::stored(&spi.run(&FIND_PLAN, Snapshot::Latest, &parameters)?)
    }

    fn cost(&self, _occurred_at: Timestamp) -> Result<Cost> {
        Ok(Cost::provided(self.cost))
    }

    fn row(&self, row: &Row<'_>) -> Result<Vec<Value>> {
        Ok(vec![
            row.id.into(),
            self.payer.tenant.into(),
            row.user.into(),
            self.payer.resource.as_str().into(),
            Value::cost(self.cost),
            row.cost.nanos.into(),
            self.request_id.as_deref().into(),
            Value::timestamp(row.moments.charged_at),
            Value::timestamp(row.moments.recorded_at),
            row.reservation.into(),
            Value::NULL,
            Value::NULL,
        ])
    }
}

/// Writes what the platform alone counts of a record, beside what it pays: a charge to the platform, of which no cost is
/// shown, as it is in the record.
pub fn count_for_platform(record: Uuid, charge: &Charge) -> Result<()> {
    if charge.platform_extra == 0 {
        return Ok(());
    }
    let id = new_record_id();
    let (resource, at) = (charge.payer.resource, Value::timestamp(charge.at));
    let usd = usd_from_nanos(charge.platform_extra.into());
    TABLE.insert(&[
        id.into(),
        Value::NULL,
        Value::NULL,
        resource.as_str().into(),
        Value::numeric(&usd),
        charge.platform_extra.into(),
        Value::NULL,
        at,
        Value::timestamp(pg::clock_timestamp()),
        Value::NULL,
        Value::NULL,
        record.into(),
    ])?;
    let payer = Payer { tenant: None, user: None, resource };
    let extra = Charge { payer, amount: charge.platform_extra, platform_extra: 0, ..*charge };
    leave_pending(Source { name: "charge", table: &TABLE }, id, &extra)
}
