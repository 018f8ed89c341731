//! Which price is in force for a model or sandbox, and what a call costs by it.

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use crate::error::Result;
use crate::pg::Timestamp;
use crate::pg::spi::types::{MOMENT, TEXT, UUID};
use crate::pg::spi::{Look, Plan, Row, Session};
use crate::pg::value::Value;
use crate::pricing::{ModelPrice, Priced, Rate, SandboxPrice, Usage, price_llm, price_sandbox};

/// Of the rows whose range holds the moment, the one that began last: a tenant's own before the operator's before the
/// shipped one.
const MODEL_PRICE: &str = "
    select c.source, c.id, c.input_per_million_usd::text, c.output_per_million_usd::text, c.components::text
    from (
        select 1 as precedence, 'tenant' as source, p.id, p.input_per_million_usd, p.output_per_million_usd,
               p.components, p.effective_from, p.effective_to
        from copilot_internal.model_pricing p
        where p.tenant_id = $1 and p.model_provider = $2 and p.model_name = $3 and p.effective_from <= $4
        union all
        select 2, 'operator', p.id, p.input_per_million_usd, p.output_per_million_usd, p.components,
               p.effective_from, p.effective_to
        from copilot_internal.model_pricing p
        where p.tenant_id is null and p.model_provider = $2 and p.model_name = $3 and p.effective_from <= $4
        union all
        select 3, 'shipped', null, s.input_per_million_usd, s.output_per_million_usd, s.components, null, null
        from copilot_internal.shipped_model_prices s
        where s.model_provider = $2 and s.model_name = $3
    ) c
    where c.effective_to is null or c.effective_to > $4
    order by c.precedence, c.effective_from desc
    limit 1";

const SANDBOX_PRICE: &str = "
    select c.source, c.id, c.per_second_usd::text, c.vcpu_second_usd::text, c.memory_gib_second_usd::text
    from (
        select case when p.tenant_id is null then 2 else 1 end as precedence,
               case when p.tenant_id is null then 'operator' else 'tenant' end as source,
               p.id, p.region, p.per_second_usd, p.vcpu_second_usd, p.memory_gib_second_usd,
               p.effective_from, p.effective_to
        from copilot_internal.e2b_pricing p
        where p.sandbox_type = $2 and (p.tenant_id = $1 or p.tenant_id is null)
          and (p.region = $3 or p.region is null) and p.effective_from <= $4
        union all
        select 3, 'shipped', null, null, s.per_second_usd, null, null, null, null
        from copilot_internal.shipped_sandbox_prices s
        where s.sandbox_type = $2
    ) c
    where c.effective_to is null or c.effective_to > $4
    order by c.precedence, c.region nulls last, c.effective_from desc
    limit 1";

const PARAMETERS: &[Oid] = &[UUID, TEXT, TEXT, MOMENT];
static MODEL_PRICE_PLAN: Plan = Plan::new(MODEL_PRICE, PARAMETERS);
static SANDBOX_PRICE_PLAN: Plan = Plan::new(SANDBOX_PRICE, PARAMETERS);

/// What a call costs, or why that is unknown; and by which price row.
pub struct Quote {
    pub priced: std::result::Result<Priced, String>,
    /// `tenant`, `operator`, `shipped`, or `None` when no row fits.
    pub source: Option<String>,
    pub price_id: Option<Uuid>,
}

impl Quote {
    const UNKNOWN: fn(String) -> Self = |why| Self { priced: Err(why), source: None, price_id: None };

    /// What is stored with a record: the breakdown, and the price row that it came from.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        let Ok(Priced::Priced(breakdown)) = &self.priced else { return None };
        let mut json = breakdown.to_json();
        if let Some(object) = json.as_object_mut() {
            object.insert("source".into(), self.source.clone().into());
            object.insert("price_id".into(), self.price_id.map(|id| id.to_string()).into());
        }
        Some(json)
    }

    /// Why there is no cost; `None` when there is one.
    pub fn unpriced_because(&self) -> Option<String> {
        match &self.priced {
            Ok(Priced::Priced(_)) => None,
            Ok(Priced::Unpriced { missing }) => Some(format!("the price has no rate for {missing}")),
            Err(why) => Some(why.clone()),
        }
    }
}

/// A model as callers name it.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    pub provider: &'a str,
    pub name: &'a str,
}

/// How the tokens of a call become a cost, exactly ([`price_llm`]) or as an upper bound.
pub type PriceTokens<'a> = &'a dyn Fn(&ModelPrice) -> std::result::Result<Priced, crate::pricing::PricingError>;

/// The cost by the price in force at the moment.
pub fn quote_llm(
    spi: &Session,
    look: Look,
    tenant: Option<Uuid>,
    model: Model,
    at: Timestamp,
    price_tokens: PriceTokens,
) -> Result<Quote> {
    let parameters = [tenant.into(), model.provider.into(), model.name.into(), Value::timestamp(at)];
    let rows = spi.run(&MODEL_PRICE_PLAN, look, &parameters)?;
    let Some(row) = rows.first() else {
        return Ok(Quote::UNKNOWN(format!("no price is known for {}/{}", model.provider, model.name)));
    };
    let components: String = row.need(5)?;
    let price = || {
        let components = serde_json::from_str(&components).map_err(|error| error.to_string())?;
        let price = ModelPrice::new(row.get::<String>(3).as_deref(), row.get::<String>(4).as_deref(), &components)
            .map_err(|error| format!("the price row cannot be read: {error}"))?;
        price_tokens(&price).map_err(|error| error.to_string())
    };
    Ok(Quote { priced: price(), source: row.get(1), price_id: row.get(2) })
}

/// The exact cost of a call.
pub fn exactly<'a>(
    usage: &'a Usage,
    tier: Option<&'a str>,
) -> impl Fn(&ModelPrice) -> std::result::Result<Priced, crate::pricing::PricingError> + 'a {
    move |price| price_llm(price, usage, tier)
}

/// A sandbox session as callers describe it; quantities as decimal text.
#[derive(Clone, Copy)]
pub struct SandboxUse<'a> {
    pub sandbox_type: &'a str,
    pub region: Option<&'a str>,
    pub duration_seconds: &'a str,
    pub vcpu_seconds: Option<&'a str>,
    pub memory_gib_seconds: Option<&'a str>,
}

/// The cost by the price in force at the moment.
pub fn quote_sandbox(
    spi: &Session,
    look: Look,
    tenant: Option<Uuid>,
    sandbox: SandboxUse,
    at: Timestamp,
) -> Result<Quote> {
    let parameters = [tenant.into(), sandbox.sandbox_type.into(), sandbox.region.into(), Value::timestamp(at)];
    let rows = spi.run(&SANDBOX_PRICE_PLAN, look, &parameters)?;
    let Some(row) = rows.first() else {
        return Ok(Quote::UNKNOWN(format!("no price is known for sandbox type {}", sandbox.sandbox_type)));
    };
    let price = || {
        let price =
            SandboxPrice { per_second: rate(&row, 3)?, vcpu_second: rate(&row, 4)?, memory_gib_second: rate(&row, 5)? };
        match price_sandbox(&price, sandbox.duration_seconds, sandbox.vcpu_seconds, sandbox.memory_gib_seconds) {
            // The duration is always given; of the others it is the caller's quantity that is missing, not our price.
            Ok(Priced::Unpriced { missing }) if missing != "duration_seconds" => {
                Err(format!("the price needs {missing}, which was not given"))
            }
            other => other.map_err(|error| error.to_string()),
        }
    };
    Ok(Quote { priced: price(), source: row.get(1), price_id: row.get(2) })
}

fn rate(row: &Row, column: i32) -> std::result::Result<Option<Rate>, String> {
    row.get::<String>(column)
        .map(|text| Rate::parse(&text).map_err(|error| format!("the price row cannot be read: a rate {error}")))
        .transpose()
}
