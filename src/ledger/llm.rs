//! LLM calls in the ledger.

use pgrx::Uuid;

use super::attribution::{Attribution, RecordArgs, json, moment, usd};
use super::{Cost, Record, RecordTerms, Row, Source, Stored};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::spi::types::{BIGINT, JSONB, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::table::Table;
use crate::pg::value::{Json, Value};
use crate::pricing::lookup::{Model, exactly, quote_llm};
use crate::tenancy::policy;
use tollgate_core::decision::Resource;
use tollgate_core::pricing::Usage;

/// The arguments of `record_llm_cost`, as they came.
#[derive(Default)]
pub struct Arguments {
    pub attribution: RecordArgs,
    pub model_provider: Option<String>,
    pub model_name: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub task: Option<String>,
    pub usage: Option<Json>,
    pub service_tier: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
}

/// A call whose arguments hold.
pub struct LlmCall {
    attribution: Attribution,
    provider: String,
    model: String,
    input_tokens: i64,
    output_tokens: i64,
    task: Option<String>,
    /// As it is stored, beside what it says.
    usage_stored: Option<Json>,
    usage: Usage,
    tier: Option<String>,
    trace: Option<String>,
    span: Option<String>,
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
        let input_tokens = arguments::tokens(given.input_tokens, "p_input_tokens")?;
        let output_tokens = arguments::tokens(given.output_tokens, "p_output_tokens")?;
        let usage_text = arguments::json(given.usage, "p_usage")?;
        Ok(Self {
            attribution: given.attribution.try_into()?,
            provider: arguments::required_text(given.model_provider, "p_model_provider")?,
            model: arguments::required_text(given.model_name, "p_model_name")?,
            input_tokens,
            output_tokens,
            task: arguments::text(given.task, "p_task")?,
            usage: usage(input_tokens, output_tokens, usage_text.as_ref().map(|json| json.text()).as_deref())?,
            usage_stored: usage_text,
            tier: arguments::text(given.service_tier, "p_service_tier")?,
            trace: arguments::text(given.trace_id, "p_trace_id")?,
            span: arguments::text(given.span_id, "p_span_id")?,
        })
    }
}

const FIND: &str = "
    select r.id, r.cost_usd::text, r.cost_status,
           (r.user_id, r.conversation_id, r.path_id, r.task, r.model_provider, r.model_name, r.input_tokens,
            r.output_tokens, r.usage, r.service_tier)
             is not distinct from ($3::uuid, $4::uuid, $5::uuid, $6::text, $7::text, $8::text, $9::bigint,
            $10::bigint, $11::jsonb, $12::text)
           and case when $13::numeric is null then r.cost_status <> 'provided'
               else r.cost_status = 'provided' and r.cost_usd = $13 end
           and ($14::timestamptz is null or r.occurred_at = $14)
           and r.reservation_id is not distinct from $15
    from copilot_internal.llm_cost_records r
    where r.tenant_id = $1 and r.request_id = $2";

static TABLE: Table = Table::new(
    c"llm_cost_records",
    &[
        ("id", UUID),
        ("tenant_id", UUID),
        ("user_id", UUID),
        ("conversation_id", UUID),
        ("path_id", UUID),
        ("task", TEXT),
        ("model_provider", TEXT),
        ("model_name", TEXT),
        ("input_tokens", BIGINT),
        ("output_tokens", BIGINT),
        ("usage", JSONB),
        ("service_tier", TEXT),
        ("cost_usd", NUMERIC),
        ("cost_status", TEXT),
        ("charge_nanos", BIGINT),
        ("pricing", JSONB),
        ("request_id", TEXT),
        ("reservation_id", UUID),
        ("charged_at", MOMENT),
        ("occurred_at", MOMENT),
        ("recorded_at", MOMENT),
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("metadata", JSONB),
    ],
    4,
    Some(c"llm_cost_records_request_id_idx"),
);
static FIND_PLAN: Plan = Plan::new(
    FIND,
    &[UUID, TEXT, UUID, UUID, UUID, TEXT, TEXT, TEXT, BIGINT, BIGINT, JSONB, TEXT, NUMERIC, MOMENT, UUID],
);

impl Record for LlmCall {
    fn terms(&self) -> RecordTerms<'_> {
        self.attribution.terms(Resource::Llm)
    }

    fn source(&self) -> Source {
        Source { name: "llm", table: &TABLE }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let who = &self.attribution;
        let parameters = [
            who.tenant.into(),
            request_id.into(),
            user.into(),
            who.conversation.into(),
            who.path.into(),
            self.task.as_deref().into(),
            self.provider.as_str().into(),
            self.model.as_str().into(),
            self.input_tokens.into(),
            self.output_tokens.into(),
            self.usage_stored.as_ref().into(),
            self.tier.as_deref().into(),
            who.provided_usd(),
            moment(who.occurred_at),
            who.reservation.into(),
        ];
        super::stored(&spi.run(&FIND_PLAN, Snapshot::Latest, &parameters)?)
    }

    fn cost(&self, occurred_at: Timestamp) -> Result<Cost> {
        let who = &self.attribution;
        let model = Model { provider: &self.provider, name: &self.model };
        let price = exactly(&self.usage, self.tier.as_deref());
        let quote = quote_llm(Some(who.tenant), model, occurred_at, &price)?;
        Ok(Cost::new(who.provided, &quote))
    }

    fn denied(&self) -> Result<Option<String>> {
        let who = &self.attribution;
        policy::refuses(who.tenant, who.user, self.task.as_deref(), &self.provider, &self.model)
    }

    fn insert(&self, row: &Row<'_>) -> Result<bool> {
        let (who, cost, moments) = (&self.attribution, row.cost, row.moments);
        TABLE.insert(&[
            row.id.into(),
            who.tenant.into(),
            row.user.into(),
            who.conversation.into(),
            who.path.into(),
            self.task.as_deref().into(),
            self.provider.as_str().into(),
            self.model.as_str().into(),
            self.input_tokens.into(),
            self.output_tokens.into(),
            self.usage_stored.as_ref().into(),
            self.tier.as_deref().into(),
            usd(cost.usd),
            cost.status.into(),
            cost.nanos.into(),
            json(cost.pricing.as_deref()),
            who.request_id.as_deref().into(),
            who.reservation.into(),
            Value::timestamp(moments.charged_at),
            Value::timestamp(moments.occurred_at),
            Value::timestamp(moments.recorded_at),
            self.trace.as_deref().into(),
            self.span.as_deref().into(),
            who.metadata_or_empty(),
        ])
    }
}
