//! LLM calls in the ledger.

use pgrx::{Uuid, pg_sys};

use super::{Cost, Moments, Record, Stored, input};
use crate::admission::Resource;
use crate::error::{Error, Result};
use crate::money::Picos;
use crate::pg::Timestamp;
use crate::pg::spi::{Look, Plan, Session};
use crate::pg::value::Value;
use crate::prices::{Model, exactly, quote_llm};
use crate::pricing::Usage;
use crate::quota::{Subject, nil};

/// The arguments of `record_llm_cost`, as they came.
#[derive(Default)]
pub struct Arguments {
    pub tenant_id: Option<Uuid>,
    pub model_provider: Option<String>,
    pub model_name: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub user_id: Option<Uuid>,
    pub conversation_id: Option<Uuid>,
    pub path_id: Option<Uuid>,
    pub task: Option<String>,
    pub usage: Option<String>,
    pub service_tier: Option<String>,
    pub cost_usd: Option<String>,
    pub request_id: Option<String>,
    pub reservation_id: Option<Uuid>,
    pub enforce: Option<bool>,
    pub occurred_at: Option<Timestamp>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub metadata: Option<String>,
}

/// A call whose arguments hold.
pub struct LlmCall {
    tenant: Uuid,
    provider: String,
    model: String,
    input_tokens: i64,
    output_tokens: i64,
    user: Option<Uuid>,
    conversation: Option<Uuid>,
    path: Option<Uuid>,
    task: Option<String>,
    /// The JSON text, kept beside what it says.
    usage_text: Option<String>,
    usage: Usage,
    tier: Option<String>,
    provided: Option<Picos>,
    request_id: Option<String>,
    enforce: bool,
    occurred_at: Option<Timestamp>,
    trace: Option<String>,
    span: Option<String>,
    metadata: Option<String>,
}

/// The tokens of a call and their parts, checked against each other.
pub fn usage(input_tokens: i64, output_tokens: i64, parts: Option<&str>) -> Result<Usage> {
    let parts = parts
        .map(serde_json::from_str::<serde_json::Value>)
        .transpose()
        .map_err(|error| Error::invalid(format!("p_usage cannot be read: {error}")))?;
    Usage::new(input_tokens, output_tokens, parts.as_ref())
        .map_err(|error| Error::invalid(format!("p_usage does not fit: {error}")))
}

impl TryFrom<Arguments> for LlmCall {
    type Error = Error;

    fn try_from(given: Arguments) -> Result<Self> {
        if given.reservation_id.is_some() {
            return Err(Error::NotFound { message: "there is no such reservation".to_owned() });
        }
        let input_tokens = input::tokens(given.input_tokens, "p_input_tokens")?;
        let output_tokens = input::tokens(given.output_tokens, "p_output_tokens")?;
        let usage_text = input::json(given.usage, "p_usage")?;
        Ok(Self {
            tenant: input::tenant(given.tenant_id)?,
            provider: input::required_text(given.model_provider, "p_model_provider")?,
            model: input::required_text(given.model_name, "p_model_name")?,
            input_tokens,
            output_tokens,
            user: input::id(given.user_id, "p_user_id")?,
            conversation: given.conversation_id,
            path: given.path_id,
            task: input::text(given.task, "p_task")?,
            usage: usage(input_tokens, output_tokens, usage_text.as_deref())?,
            usage_text,
            tier: input::text(given.service_tier, "p_service_tier")?,
            provided: given.cost_usd.map(|text| input::amount(&text, "p_cost_usd")).transpose()?,
            request_id: input::text(given.request_id, "p_request_id")?,
            enforce: input::required(given.enforce, "p_enforce")?,
            occurred_at: input::moment(given.occurred_at)?,
            trace: input::text(given.trace_id, "p_trace_id")?,
            span: input::text(given.span_id, "p_span_id")?,
            metadata: input::json(given.metadata, "p_metadata")?,
        })
    }
}

const INSERT: &str = "
    with record as (
        insert into copilot_internal.llm_cost_records
            (id, tenant_id, user_id, conversation_id, path_id, task, model_provider, model_name, input_tokens,
             output_tokens, usage, service_tier, cost_usd, cost_status, charge_nanos, pricing, request_id,
             charged_at, occurred_at, trace_id, span_id, metadata)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
                coalesce($22, '{}'))
    )
    insert into copilot_internal.pending_costs
        (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
    values ($2, $1, 'llm', $23, 'llm', $18, $15)";

const FIND: &str = "
    select r.id, r.cost_usd::text, r.cost_status,
           (r.user_id, r.conversation_id, r.path_id, r.task, r.model_provider, r.model_name, r.input_tokens,
            r.output_tokens, r.usage, r.service_tier)
             is not distinct from ($3::uuid, $4::uuid, $5::uuid, $6::text, $7::text, $8::text, $9::bigint,
            $10::bigint, $11::jsonb, $12::text)
           and case when $13::numeric is null then r.cost_status <> 'provided'
               else r.cost_status = 'provided' and r.cost_usd = $13 end
           and ($14::timestamptz is null or r.occurred_at = $14)
    from copilot_internal.llm_cost_records r
    where r.tenant_id = $1 and r.request_id = $2";

static INSERT_PLAN: Plan = Plan::new(
    INSERT,
    &[
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::NUMERICOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::JSONBOID,
        pg_sys::UUIDOID,
    ],
);
static FIND_PLAN: Plan = Plan::new(
    FIND,
    &[
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::NUMERICOID,
        pg_sys::TIMESTAMPTZOID,
    ],
);

impl LlmCall {
    fn usage_value(&self) -> Value {
        self.usage_text.as_deref().map_or(Value::NULL, Value::jsonb)
    }
}

impl Record for LlmCall {
    fn subject(&self) -> Subject {
        Subject { tenant: Some(self.tenant), user: self.user, resource: Resource::Llm }
    }

    fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    fn enforce(&self) -> bool {
        self.enforce
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        self.occurred_at
    }

    fn find(&self, spi: &Session, request_id: &str) -> Result<Option<Stored>> {
        let parameters = [
            self.tenant.into(),
            request_id.into(),
            self.user.into(),
            self.conversation.into(),
            self.path.into(),
            self.task.as_deref().into(),
            self.provider.as_str().into(),
            self.model.as_str().into(),
            self.input_tokens.into(),
            self.output_tokens.into(),
            self.usage_value(),
            self.tier.as_deref().into(),
            self.provided.map_or(Value::NULL, |usd| Value::numeric(&usd.to_string())),
            self.occurred_at.map_or(Value::NULL, Value::timestamp),
        ];
        super::stored(&spi.run(&FIND_PLAN, Look::Latest, &parameters)?)
    }

    fn cost(&self, spi: &Session, occurred_at: Timestamp) -> Result<Cost> {
        let model = Model { provider: &self.provider, name: &self.model };
        let price = exactly(&self.usage, self.tier.as_deref());
        Ok(Cost::new(self.provided, &quote_llm(spi, Look::Latest, Some(self.tenant), model, occurred_at, &price)?))
    }

    fn insert(&self, spi: &Session, id: Uuid, cost: &Cost, moments: Moments) -> Result<()> {
        let parameters = [
            id.into(),
            self.tenant.into(),
            self.user.into(),
            self.conversation.into(),
            self.path.into(),
            self.task.as_deref().into(),
            self.provider.as_str().into(),
            self.model.as_str().into(),
            self.input_tokens.into(),
            self.output_tokens.into(),
            self.usage_value(),
            self.tier.as_deref().into(),
            cost.usd.map_or(Value::NULL, |usd| Value::numeric(&usd.to_string())),
            cost.status.into(),
            cost.nanos.into(),
            cost.pricing.as_deref().map_or(Value::NULL, Value::jsonb),
            self.request_id.as_deref().into(),
            Value::timestamp(moments.charged_at),
            Value::timestamp(moments.occurred_at),
            self.trace.as_deref().into(),
            self.span.as_deref().into(),
            self.metadata.as_deref().map_or(Value::NULL, Value::jsonb),
            self.user.unwrap_or_else(nil).into(),
        ];
        spi.run(&INSERT_PLAN, Look::Write, &parameters)?;
        Ok(())
    }
}
