//! Who pays for a record and how it is to be taken: what every kind of cost record has in common.

use pgrx::Uuid;

use super::RecordTerms;
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::value::{GivenJson, Json, Value};
use crate::quota::Payer;
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

/// The arguments that `record_llm_cost` and `record_e2b_cost` share, as they came.
#[derive(Default)]
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

    pub fn metadata_or_empty(&self) -> Value {
        self.metadata.as_ref().map_or_else(|| Value::jsonb("{}"), Json::value)
    }

    pub fn provided_usd(&self) -> Value {
        usd(self.provided)
    }
}

pub fn usd(amount: Option<Picos>) -> Value {
    amount.map_or(Value::NULL, |amount| Value::numeric(&amount.to_string()))
}

pub fn moment(at: Option<Timestamp>) -> Value {
    at.map_or(Value::NULL, Value::timestamp)
}

pub fn json(text: Option<&str>) -> Value {
    text.map_or(Value::NULL, Value::jsonb)
}
