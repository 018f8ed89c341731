//! LLM calls in the ledger.

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use super::attribution::{
    Attribution, BILLED_COLUMN, COST_CHECKS, COST_COLUMNS, FIND_TYPES, METADATA_COLUMN, OWNER_COLUMNS, RecordArgs,
    find_record, join, usd,
};
use super::report::{self, Tariff, price};
use super::{Cost, Record, RecordTerms, Row, Source, Stored};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::jsonb_node::JsonbNode;
use crate::pg::jsonb_value;
use crate::pg::shape::{Column, nullable, required};
use crate::pg::spi::types::{BIGINT, JSONB, NUMERIC, TEXT};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::table::Table;
use crate::pg::value::{GivenJson, Json, Value};
use crate::pricing::lookup::Model;
use crate::tenancy::policy;
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;
use tollgate_core::usage::{Understood, understand_parts};

/// The arguments of `record_llm_cost`, as they came.
#[derive(Default)]
pub struct Arguments {
    pub attribution: RecordArgs,
    pub model_provider: Option<String>,
    pub model_name: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub task: Option<String>,
    pub usage: Option<GivenJson>,
    pub service_tier: Option<String>,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
}

/// A call whose arguments are valid.
pub struct LlmCall {
    attribution: Attribution,
    provider: String,
    model: String,
    input_tokens: i64,
    output_tokens: i64,
    task: Option<String>,
    /// As it is stored, beside what it says.
    usage_stored: Option<Json>,
    usage: Reading,
    tier: Option<String>,
    trace: Option<String>,
    span: Option<String>,
    /// What the report says that was billed, where the caller says another cost.
    reported_cost: Option<Picos>,
}

/// What was understood of a call's usage, or why nothing was.
enum Reading {
    Understood(Box<Understood>),
    Unread(String),
}

/// The tokens of a call and their parts, checked against each other.
pub fn usage(provider: &str, input_tokens: i64, output_tokens: i64, parts: &serde_json::Value) -> Result<Understood> {
    understand_parts(provider, input_tokens, output_tokens, parts)
        .map_err(|error| Error::invalid(format!("p_usage does not fit: {error}")))
}

impl TryFrom<Arguments> for LlmCall {
    type Error = Error;

    fn try_from(given: Arguments) -> Result<Self> {
        let input_tokens = arguments::tokens(given.input_tokens, "p_input_tokens")?;
        let output_tokens = arguments::tokens(given.output_tokens, "p_output_tokens")?;
        let stored = arguments::json(given.usage, "p_usage")?;
        let attribution = given.attribution.try_into()?;
        let provider = arguments::required_text(given.model_provider, "p_model_provider")?;
        let model = arguments::required_text(given.model_name, "p_model_name")?;
        let task = arguments::text(given.task, "p_task")?;
        let parts = stored.as_ref().map(jsonb_value::of).unwrap_or_default();
        let understood = usage(&provider, input_tokens, output_tokens, &parts)?;
        Ok(Self {
            attribution,
            provider,
            model,
            // A report whose parts are beside what the caller counted has more tokens than the caller said.
            input_tokens: understood.input,
            output_tokens: understood.output,
            task,
            usage_stored: stored,
            tier: arguments::text(given.service_tier, "p_service_tier")?.or_else(|| understood.tier.clone()),
            usage: Reading::Understood(Box::new(understood)),
            trace: arguments::text(given.trace_id, "p_trace_id")?,
            span: arguments::text(given.span_id, "p_span_id")?,
            reported_cost: None,
        })
    }
}

impl LlmCall {
    /// A call by the report that its provider, gateway or library gave. What a gateway says that it billed is the cost,
    /// unless the caller names one. A report that is not understood is refused when it is to be enforced. When the
    /// money is spent already, it is kept with a record that has no price.
    pub fn reported(given: Arguments, report: std::result::Result<JsonbNode<'_>, String>) -> Result<Self> {
        let mut attribution: Attribution = given.attribution.try_into()?;
        let provider = arguments::required_text(given.model_provider, "p_model_provider")?;
        let model = arguments::required_text(given.model_name, "p_model_name")?;
        let (reading, stored) = match report::read(report, &provider)? {
            Ok((understood, ours)) => (Reading::Understood(Box::new(understood)), ours),
            Err((why, _)) if attribution.enforce && attribution.reservation.is_none() => {
                return Err(Error::invalid(format!("p_usage does not fit: {why}")));
            }
            Err((why, kept)) => (Reading::Unread(format!("p_usage is not understood: {why}")), kept),
        };
        let mut tier = arguments::text(given.service_tier, "p_service_tier")?;
        let (mut input_tokens, mut output_tokens, mut reported_cost) = (0, 0, None);
        if let Reading::Understood(understood) = &reading {
            (input_tokens, output_tokens) = (understood.input, understood.output);
            tier = tier.or_else(|| understood.tier.clone());
            attribution.provided = attribution.provided.or(understood.reported_cost);
            reported_cost = understood.reported_cost.filter(|cost| attribution.provided != Some(*cost));
        }
        Ok(Self {
            attribution,
            provider,
            model,
            input_tokens: arguments::tokens(Some(input_tokens), "the usage's input_tokens")?,
            output_tokens: arguments::tokens(Some(output_tokens), "the usage's output_tokens")?,
            task: arguments::text(given.task, "p_task")?,
            usage_stored: Some(stored),
            usage: reading,
            tier,
            trace: arguments::text(given.trace_id, "p_trace_id")?,
            span: arguments::text(given.span_id, "p_span_id")?,
            reported_cost,
        })
    }
}

const FIND: &str = find_record!(
    "llm_cost_records",
    "r.task, r.model_provider, r.model_name, r.input_tokens, r.output_tokens, r.usage, r.service_tier",
    "$8::text, $9::text, $10::text, $11::bigint, $12::bigint, $13::jsonb, $14::text"
);

/// The columns that tell what was used.
const CALL_COLUMNS: [Column; 7] = [
    nullable("task", TEXT),
    required("model_provider", TEXT),
    required("model_name", TEXT),
    required("input_tokens", BIGINT),
    required("output_tokens", BIGINT),
    nullable("usage", JSONB),
    nullable("service_tier", TEXT),
];
const TRACE_COLUMNS: [Column; 2] = [nullable("trace_id", TEXT), nullable("span_id", TEXT)];
const NOTED_COLUMNS: [Column; 3] = [METADATA_COLUMN, BILLED_COLUMN, nullable("reported_cost_usd", NUMERIC)];
const COLUMNS: [Column; 26] = join(&[&OWNER_COLUMNS, &CALL_COLUMNS, &COST_COLUMNS, &TRACE_COLUMNS, &NOTED_COLUMNS]);
const CHECKS: [&str; 4] = join(&[&COST_CHECKS, &["(input_tokens >= 0)", "(output_tokens >= 0)"]]);

static TABLE: Table = Table::new(c"llm_cost_records", &COLUMNS, &CHECKS, true);

const TYPES: [Oid; 14] = join(&[&FIND_TYPES, &[TEXT, TEXT, TEXT, BIGINT, BIGINT, JSONB, TEXT]]);
static FIND_PLAN: Plan = Plan::new(FIND, &TYPES);

impl LlmCall {
    /// The values of [`CALL_COLUMNS`].
    fn call_values(&self) -> [Value; CALL_COLUMNS.len()] {
        [
            self.task.as_deref().into(),
            self.provider.as_str().into(),
            self.model.as_str().into(),
            self.input_tokens.into(),
            self.output_tokens.into(),
            self.usage_stored.as_ref().into(),
            self.tier.as_deref().into(),
        ]
    }
}

impl Record for LlmCall {
    fn terms(&self) -> RecordTerms<'_> {
        self.attribution.terms(Resource::Llm)
    }

    fn source(&self) -> Source {
        Source { name: "llm", table: &TABLE }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let parameters: [Value; TYPES.len()] =
            join(&[&self.attribution.find_values(request_id, user), &self.call_values()]);
        super::stored(&spi.run(&FIND_PLAN, Snapshot::Latest, &parameters)?)
    }

    fn cost(&self, occurred_at: Timestamp) -> Result<Cost> {
        let attribution = &self.attribution;
        let model = Model { provider: &self.provider, name: &self.model };
        let provided = attribution.provided(model, occurred_at)?;
        match &self.usage {
            Reading::Unread(why) => Ok(Cost::unread(provided, why)),
            Reading::Understood(understood) => {
                let by = Tariff { tenant: attribution.tenant, at: occurred_at, tier: self.tier.as_deref() };
                let cost = price(by, model, understood, provided)?;
                Ok(cost.without(&understood.not_understood))
            }
        }
    }

    fn denied(&self) -> Result<Option<String>> {
        let attribution = &self.attribution;
        policy::refuses(attribution.tenant, attribution.user, self.task.as_deref(), &self.provider, &self.model)
    }

    fn row(&self, row: &Row<'_>) -> Result<Vec<Value>> {
        let attribution = &self.attribution;
        let trace = [self.trace.as_deref().into(), self.span.as_deref().into()];
        let cost = attribution.cost_values(row)?;
        Ok(join::<_, { COLUMNS.len() }>(&[
            &attribution.owner_values(row),
            &self.call_values(),
            &cost,
            &trace,
            &[attribution.metadata_value(), Attribution::billed_value(row, cost), usd(self.reported_cost)],
        ])
        .to_vec())
    }
}
