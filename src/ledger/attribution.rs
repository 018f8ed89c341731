//! The payer of a record and how it is to be taken: what every kind of cost record has in common.

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use super::{Charged, RecordTerms, Row};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::shape::{Column, nullable, required};
use crate::pg::spi::types::{BIGINT, JSONB, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::value::{GivenJson, Json, Value};
use crate::pricing::lookup::{Model, on_provided};
use crate::quota::Payer;
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

/// The arguments that `record_llm_cost` and `record_e2b_cost` share, as they came.
pub struct RecordArgs {
    pub tenant_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub conversation_id: Option<Uuid>,
    pub path_id: Option<Uuid>,
    pub cost_usd: Option<String>,
    pub request_id: Option<String>,
    pub reservation_id: Option<Uuid>,
    pub enforce: Option<bool>,
    pub occurred_at: Option<Timestamp>,
    pub metadata: Option<GivenJson>,
    pub log_denial: Option<bool>,
}

impl Default for RecordArgs {
    /// What is not given.
    fn default() -> Self {
        Self {
            tenant_id: None,
            user_id: None,
            conversation_id: None,
            path_id: None,
            cost_usd: None,
            request_id: None,
            reservation_id: None,
            enforce: Some(false),
            occurred_at: None,
            metadata: None,
            log_denial: Some(false),
        }
    }
}

/// The same, once they hold.
pub struct Attribution {
    pub tenant: Uuid,
    pub user: Option<Uuid>,
    pub conversation: Option<Uuid>,
    pub path: Option<Uuid>,
    /// What the caller says that it cost.
    pub provided: Option<Picos>,
    pub request_id: Option<String>,
    pub reservation: Option<Uuid>,
    pub enforce: bool,
    pub occurred_at: Option<Timestamp>,
    pub metadata: Option<Json>,
    pub log_denial: bool,
}

impl TryFrom<RecordArgs> for Attribution {
    type Error = Error;

    fn try_from(given: RecordArgs) -> Result<Self> {
        Ok(Self {
            tenant: arguments::tenant(given.tenant_id)?,
            user: arguments::id(given.user_id, "p_user_id")?,
            conversation: given.conversation_id,
            path: given.path_id,
            provided: given.cost_usd.map(|text| arguments::amount(&text, "p_cost_usd")).transpose()?,
            request_id: arguments::text(given.request_id, "p_request_id")?,
            reservation: given.reservation_id,
            enforce: arguments::required(given.enforce, "p_enforce")?,
            occurred_at: arguments::moment(given.occurred_at)?,
            metadata: arguments::json(given.metadata, "p_metadata")?,
            log_denial: arguments::required(given.log_denial, "p_log_denial")?,
        })
    }
}

impl Attribution {
    pub fn terms(&self, resource: Resource) -> RecordTerms<'_> {
        RecordTerms {
            payer: Payer { tenant: Some(self.tenant), user: self.user, resource },
            request_id: self.request_id.as_deref(),
            enforce: self.enforce,
            occurred_at: self.occurred_at,
            reservation: self.reservation,
            hold_for: None,
            log_denial: self.log_denial,
        }
    }

    /// What the caller says that the provider has billed, and what the tenant pays for it.
    pub fn provided(&self, model: Model, at: Timestamp) -> Result<Option<Charged>> {
        let Some(billed) = self.provided else { return Ok(None) };
        Ok(Some(Charged { paid: on_provided(self.tenant, model, at, billed)?, billed }))
    }

    /// The values of [`FIND_TYPES`].
    pub fn find_values(&self, request_id: &str, user: Option<Uuid>) -> [Value; FIND_TYPES.len()] {
        [
            self.tenant.into(),
            request_id.into(),
            user.into(),
            self.conversation.into(),
            self.path.into(),
            usd(self.provided),
            moment(self.occurred_at),
        ]
    }

    /// The values of [`OWNER_COLUMNS`].
    pub fn owner_values(&self, row: &Row<'_>) -> [Value; OWNER_COLUMNS.len()] {
        [row.id.into(), self.tenant.into(), row.user.into(), self.conversation.into(), self.path.into()]
    }

    /// The values of [`COST_COLUMNS`].
    pub fn cost_values(&self, row: &Row<'_>) -> Result<[Value; COST_COLUMNS.len()]> {
        let (cost, moments) = (row.cost, row.moments);
        Ok([
            usd(cost.usd),
            cost.status.into(),
            cost.nanos.into(),
            cost.pricing.value()?,
            self.request_id.as_deref().into(),
            row.reservation.into(),
            Value::timestamp(moments.charged_at),
            Value::timestamp(moments.occurred_at),
            Value::timestamp(moments.recorded_at),
        ])
    }

    /// The value of [`BILLED_COLUMN`], which mostly is that of the cost.
    pub fn billed_value(row: &Row<'_>, [paid, ..]: [Value; COST_COLUMNS.len()]) -> Value {
        if row.cost.billed == row.cost.usd { paid } else { usd(row.cost.billed) }
    }

    /// The value of [`METADATA_COLUMN`].
    pub fn metadata_value(&self) -> Value {
        self.metadata.as_ref().map_or_else(Value::empty_object, Json::value)
    }
}

/// The columns with which every cost record begins.
pub const OWNER_COLUMNS: [Column; 5] = [
    required("id", UUID),
    required("tenant_id", UUID),
    nullable("user_id", UUID),
    nullable("conversation_id", UUID),
    nullable("path_id", UUID),
];

/// The columns of every cost record that follow what was used.
pub const COST_COLUMNS: [Column; 9] = [
    nullable("cost_usd", NUMERIC),
    required("cost_status", TEXT),
    required("charge_nanos", BIGINT),
    nullable("pricing", JSONB),
    nullable("request_id", TEXT),
    nullable("reservation_id", UUID),
    required("charged_at", MOMENT),
    required("occurred_at", MOMENT),
    required("recorded_at", MOMENT),
];

pub const METADATA_COLUMN: Column = required("metadata", JSONB);

/// What the provider bills: the last column that every cost record has.
pub const BILLED_COLUMN: Column = nullable("provider_cost_usd", NUMERIC);

/// The constraints on [`COST_COLUMNS`], as Postgres writes them.
pub const COST_CHECKS: [&str; 2] = [
    "((cost_usd IS NULL) = (cost_status = 'unpriced'::text))",
    "(cost_status = ANY (ARRAY['priced'::text, 'provided'::text, 'estimated'::text, 'unpriced'::text]))",
];

/// The parameters that every statement of [`find_record`] begins with.
pub const FIND_TYPES: [Oid; 7] = [UUID, TEXT, UUID, UUID, UUID, NUMERIC, MOMENT];

/// The statement that looks a record up by tenant and request id, and says whether its content is the same. It is given the
/// table, the columns that tell what was used, and their parameters, which begin at `$8`.
macro_rules! find_record {
    ($table:literal, $columns:literal, $parameters:literal) => {
        concat!(
            "
    select r.id, r.cost_usd::text, r.cost_status,
           (r.user_id, r.conversation_id, r.path_id, ",
            $columns,
            ")
             is not distinct from ($3::uuid, $4::uuid, $5::uuid, ",
            $parameters,
            ")
           and case when $6::numeric is null then r.cost_status <> 'provided'
               else r.cost_status = 'provided' and coalesce(r.provider_cost_usd, r.cost_usd) = $6 end
           -- A moment that was in the future was taken as now.
           and ($7::timestamptz is null or r.occurred_at = $7
                or ($7 > r.recorded_at and r.occurred_at = r.recorded_at)) as same_content,
           null::timestamptz as expires_at, null::text as state, r.reservation_id,
           case when r.cost_usd is null then r.pricing ->> 'because' end as unpriced_because
    from copilot_internal.",
            $table,
            " r
    where r.tenant_id = $1 and r.request_id = $2"
        )
    };
}
pub(super) use find_record;

/// The parts one after the other. Their lengths must add up to `N`, which the compiler sees to where the result is a
/// constant.
pub const fn join<T: Copy, const N: usize>(parts: &[&[T]]) -> [T; N] {
    let mut joined = [parts[0][0]; N];
    let (mut part, mut filled) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            joined[filled] = parts[part][index];
            (index, filled) = (index + 1, filled + 1);
        }
        part += 1;
    }
    assert!(filled == N, "the parts do not fill the whole");
    joined
}

pub fn usd(amount: Option<Picos>) -> Value {
    amount.map_or(Value::NULL, Value::cost)
}

fn moment(at: Option<Timestamp>) -> Value {
    at.map_or(Value::NULL, Value::timestamp)
}
