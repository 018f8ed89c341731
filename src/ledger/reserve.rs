//! Setting an amount aside: [`super::record`] like any charge, but held and not spent.

use pgrx::Uuid;

use super::reservation::{RESERVATIONS, State};
use super::{Cost, Outcome, Record, RecordTerms, Row, Source, Stored};
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::spi::types::{INTERVAL, NUMERIC, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::value::{Interval, Json, Value};
use crate::quota::Payer;
use crate::tenancy::policy;
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

/// How long a hold may be asked to last, in microseconds.
const MIN_TTL: i64 = 1_000_000;
const MAX_TTL: i64 = 8 * 86_400_000_000;

/// The duration of a hold, 1 second to 8 days.
pub fn time_to_live(given: &Interval) -> Result<i64> {
    match given.microseconds() {
        Some(ttl @ MIN_TTL..=MAX_TTL) => Ok(ttl),
        _ => Err(Error::invalid("p_ttl must be from 1 second to 8 days")),
    }
}

/// A request for a hold, whose arguments are valid.
pub struct Request {
    pub tenant: Uuid,
    pub user: Option<Uuid>,
    pub resource: Resource,
    pub amount: Picos,
    pub request_id: String,
    pub ttl: Interval,
    /// The same in microseconds.
    pub lasts: i64,
    pub metadata: Option<Json>,
    /// A refusal is told to the outbox.
    pub log_denial: bool,
}

const FIND: &str = "
    select r.id, r.requested_usd::text as cost_usd, 'held'::text as cost_status,
           (r.user_id, r.resource_type, r.requested_usd, r.ttl)
             is not distinct from ($3::uuid, $4::text, $5::numeric, $6::interval) as same_content,
           (r.reserved_at at time zone 'UTC' + r.ttl) at time zone 'UTC' as expires_at,
           case when r.state = 'held' and r.expires_at <= pg_catalog.clock_timestamp() then 'expired' else r.state end as state,
           null::uuid as reservation_id, null::text as unpriced_because
    from copilot_internal.quota_reservations r
    where r.tenant_id = $1 and r.request_id = $2";

static FIND_PLAN: Plan = Plan::new(FIND, &[UUID, TEXT, UUID, TEXT, NUMERIC, INTERVAL]);

impl Record for Request {
    fn terms(&self) -> RecordTerms<'_> {
        RecordTerms {
            payer: Payer { tenant: Some(self.tenant), user: self.user, resource: self.resource },
            request_id: Some(&self.request_id),
            enforce: true,
            occurred_at: None,
            reservation: None,
            hold_for: Some(self.lasts),
            log_denial: self.log_denial,
        }
    }

    fn source(&self) -> Source {
        Source { name: "hold", table: &RESERVATIONS }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let parameters = [
            self.tenant.into(),
            request_id.into(),
            user.into(),
            self.resource.as_str().into(),
            Value::cost(self.amount),
            self.ttl.value(),
        ];
        super::stored(&spi.run(&FIND_PLAN, Snapshot::Latest, &parameters)?)
    }

    fn cost(&self, _occurred_at: Timestamp) -> Result<Cost> {
        Ok(Cost::provided(self.amount))
    }

    fn denied(&self) -> Result<Option<String>> {
        match self.resource {
            Resource::Llm => policy::refuses_described(self.tenant, self.user, self.metadata.as_ref()),
            _ => Ok(None),
        }
    }

    fn row(&self, row: &Row<'_>) -> Result<Vec<Value>> {
        let amount = Value::cost(self.amount);
        Ok(vec![
            row.id.into(),
            self.tenant.into(),
            row.user.into(),
            self.resource.as_str().into(),
            self.request_id.as_str().into(),
            amount,
            self.ttl.value(),
            amount,
            row.cost.nanos.into(),
            Value::timestamp(row.moments.charged_at),
            Value::timestamp(row.expires_at),
            State::Held.as_str().into(),
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            self.metadata.as_ref().map_or_else(Value::empty_object, Json::value),
        ])
    }
}

/// Sets an amount aside.
pub fn reserve(spi: &Session, request: &Request) -> Result<Outcome> {
    super::record(spi, &[request])?.pop().ok_or_else(|| Error::internal("a reservation had no outcome"))
}
