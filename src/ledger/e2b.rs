//! Sandbox sessions in the ledger.

use pgrx::{Uuid, pg_sys};

use super::{Cost, Moments, Record, Stored, input};
use crate::admission::Resource;
use crate::error::{Error, Result};
use crate::money::{Picos, Rounding, format_scaled, parse_scaled};
use crate::pg::Timestamp;
use crate::pg::spi::{Look, Plan, Session};
use crate::pg::value::Value;
use crate::prices::{SandboxUse, quote_sandbox};
use crate::quota::{Subject, nil};

/// The arguments of `record_e2b_cost`, as they came.
pub struct Arguments {
    pub tenant_id: Option<Uuid>,
    pub sandbox_id: Option<String>,
    pub sandbox_type: Option<String>,
    pub duration_seconds: Option<String>,
    pub user_id: Option<Uuid>,
    pub conversation_id: Option<Uuid>,
    pub path_id: Option<Uuid>,
    pub region: Option<String>,
    pub vcpu_seconds: Option<String>,
    pub memory_gib_seconds: Option<String>,
    pub cost_usd: Option<String>,
    pub request_id: Option<String>,
    pub reservation_id: Option<Uuid>,
    pub enforce: Option<bool>,
    pub occurred_at: Option<Timestamp>,
    pub metadata: Option<String>,
}

/// A session whose arguments hold. Quantities are decimal text of at most nine places.
pub struct SandboxSession {
    tenant: Uuid,
    sandbox_id: Option<String>,
    sandbox_type: String,
    duration_seconds: String,
    user: Option<Uuid>,
    conversation: Option<Uuid>,
    path: Option<Uuid>,
    region: Option<String>,
    vcpu_seconds: Option<String>,
    memory_gib_seconds: Option<String>,
    provided: Option<Picos>,
    request_id: Option<String>,
    enforce: bool,
    occurred_at: Option<Timestamp>,
    metadata: Option<String>,
}

/// Decimal places of a stored quantity: nanoseconds.
const QUANTITY_SCALE: u32 = 9;

/// A quantity in seconds, rounded half to even to nine places.
pub fn quantity(text: &str, name: &str) -> Result<String> {
    /// A thousand years of a thousand processors; a bound, not a judgement.
    const MAX_SECONDS: i128 = 1_000 * 1_000 * 366 * 86_400;
    let parsed =
        parse_scaled(text, QUANTITY_SCALE, Rounding::HalfEven).map_err(|error| input::out_of_range(name, error))?;
    if parsed > MAX_SECONDS * 1_000_000_000 {
        return Err(Error::invalid(format!("{name} must not be more than {MAX_SECONDS}")));
    }
    Ok(format_scaled(parsed, QUANTITY_SCALE))
}

impl TryFrom<Arguments> for SandboxSession {
    type Error = Error;

    fn try_from(given: Arguments) -> Result<Self> {
        if given.reservation_id.is_some() {
            return Err(Error::NotFound { message: "there is no such reservation".to_owned() });
        }
        let duration = input::required(given.duration_seconds, "p_duration_seconds")?;
        let vcpu = given.vcpu_seconds.map(|text| quantity(&text, "p_vcpu_seconds"));
        let memory = given.memory_gib_seconds.map(|text| quantity(&text, "p_memory_gib_seconds"));
        Ok(Self {
            tenant: input::tenant(given.tenant_id)?,
            sandbox_id: input::text(given.sandbox_id, "p_sandbox_id")?,
            sandbox_type: input::required_text(given.sandbox_type, "p_sandbox_type")?,
            duration_seconds: quantity(&duration, "p_duration_seconds")?,
            user: input::id(given.user_id, "p_user_id")?,
            conversation: given.conversation_id,
            path: given.path_id,
            region: input::text(given.region, "p_region")?,
            vcpu_seconds: vcpu.transpose()?,
            memory_gib_seconds: memory.transpose()?,
            provided: given.cost_usd.map(|text| input::amount(&text, "p_cost_usd")).transpose()?,
            request_id: input::text(given.request_id, "p_request_id")?,
            enforce: input::required(given.enforce, "p_enforce")?,
            occurred_at: input::moment(given.occurred_at)?,
            metadata: input::json(given.metadata, "p_metadata")?,
        })
    }
}

const INSERT: &str = "
    with record as (
        insert into copilot_internal.e2b_cost_records
            (id, tenant_id, user_id, conversation_id, path_id, sandbox_id, sandbox_type, region, duration_seconds,
             vcpu_seconds, memory_gib_seconds, cost_usd, cost_status, charge_nanos, pricing, request_id, charged_at,
             occurred_at, metadata)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, coalesce($19, '{}'))
    )
    insert into copilot_internal.pending_costs
        (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
    values ($2, $1, 'e2b', $20, 'e2b', $17, $14)";

const FIND: &str = "
    select r.id, r.cost_usd::text, r.cost_status,
           (r.user_id, r.conversation_id, r.path_id, r.sandbox_id, r.sandbox_type, r.region, r.duration_seconds,
            r.vcpu_seconds, r.memory_gib_seconds)
             is not distinct from ($3::uuid, $4::uuid, $5::uuid, $6::text, $7::text, $8::text, $9::numeric,
            $10::numeric, $11::numeric)
           and case when $12::numeric is null then r.cost_status <> 'provided'
               else r.cost_status = 'provided' and r.cost_usd = $12 end
           and ($13::timestamptz is null or r.occurred_at = $13)
    from copilot_internal.e2b_cost_records r
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
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::JSONBOID,
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
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
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::NUMERICOID,
        pg_sys::TIMESTAMPTZOID,
    ],
);

fn numeric(text: Option<&str>) -> Value {
    text.map_or(Value::NULL, Value::numeric)
}

impl Record for SandboxSession {
    fn subject(&self) -> Subject {
        Subject { tenant: Some(self.tenant), user: self.user, resource: Resource::E2b }
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
            self.sandbox_id.as_deref().into(),
            self.sandbox_type.as_str().into(),
            self.region.as_deref().into(),
            Value::numeric(&self.duration_seconds),
            numeric(self.vcpu_seconds.as_deref()),
            numeric(self.memory_gib_seconds.as_deref()),
            self.provided.map_or(Value::NULL, |usd| Value::numeric(&usd.to_string())),
            self.occurred_at.map_or(Value::NULL, Value::timestamp),
        ];
        super::stored(&spi.run(&FIND_PLAN, Look::Latest, &parameters)?)
    }

    fn cost(&self, spi: &Session, occurred_at: Timestamp) -> Result<Cost> {
        let sandbox = SandboxUse {
            sandbox_type: &self.sandbox_type,
            region: self.region.as_deref(),
            duration_seconds: &self.duration_seconds,
            vcpu_seconds: self.vcpu_seconds.as_deref(),
            memory_gib_seconds: self.memory_gib_seconds.as_deref(),
        };
        Ok(Cost::new(self.provided, &quote_sandbox(spi, Look::Latest, Some(self.tenant), sandbox, occurred_at)?))
    }

    fn insert(&self, spi: &Session, id: Uuid, cost: &Cost, moments: Moments) -> Result<()> {
        let parameters = [
            id.into(),
            self.tenant.into(),
            self.user.into(),
            self.conversation.into(),
            self.path.into(),
            self.sandbox_id.as_deref().into(),
            self.sandbox_type.as_str().into(),
            self.region.as_deref().into(),
            Value::numeric(&self.duration_seconds),
            numeric(self.vcpu_seconds.as_deref()),
            numeric(self.memory_gib_seconds.as_deref()),
            cost.usd.map_or(Value::NULL, |usd| Value::numeric(&usd.to_string())),
            cost.status.into(),
            cost.nanos.into(),
            cost.pricing.as_deref().map_or(Value::NULL, Value::jsonb),
            self.request_id.as_deref().into(),
            Value::timestamp(moments.charged_at),
            Value::timestamp(moments.occurred_at),
            self.metadata.as_deref().map_or(Value::NULL, Value::jsonb),
            self.user.unwrap_or_else(nil).into(),
        ];
        spi.run(&INSERT_PLAN, Look::Write, &parameters)?;
        Ok(())
    }
}
