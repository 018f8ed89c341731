//! Which price is in force for a model or sandbox, and what a call costs by it. Price lists are kept until one changes.

use std::collections::HashSet;
use std::rc::Rc;

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use crate::cache::Cache;
use crate::error::Result;
use crate::pg::Timestamp;
use crate::pg::invalidation::{current_generation, generation, watch};
use crate::pg::spi::types::{TEXT, UUID};
use crate::pg::spi::{self, Look, Plan, Row};
use crate::pricing::{ModelPrice, Priced, Rate, SandboxPrice, Usage, price_llm, price_sandbox};

/// Every price of a model: a tenant's own before the operator's before the shipped one, the latest first.
const MODEL_PRICES: &str = "
    select c.source, c.id, c.effective_from, c.effective_to,
           c.input_per_million_usd::text, c.output_per_million_usd::text, c.components::text
    from (
        select 1 as precedence, 'tenant' as source, p.id, p.input_per_million_usd, p.output_per_million_usd,
               p.components, p.effective_from, p.effective_to
        from copilot_internal.model_pricing p
        where p.tenant_id = $1 and p.model_provider = $2 and p.model_name = $3
        union all
        select 2, 'operator', p.id, p.input_per_million_usd, p.output_per_million_usd, p.components,
               p.effective_from, p.effective_to
        from copilot_internal.model_pricing p
        where p.tenant_id is null and p.model_provider = $2 and p.model_name = $3
        union all
        select 3, 'shipped', null, s.input_per_million_usd, s.output_per_million_usd, s.components, null, null
        from copilot_internal.shipped_model_prices s
        where s.model_provider = $2 and s.model_name = $3
    ) c
    order by c.precedence, c.effective_from desc";

/// Every price of a sandbox type: a row of the region before one of every region.
const SANDBOX_PRICES: &str = "
    select c.source, c.id, c.effective_from, c.effective_to,
           c.per_second_usd::text, c.vcpu_second_usd::text, c.memory_gib_second_usd::text
    from (
        select case when p.tenant_id is null then 2 else 1 end as precedence,
               case when p.tenant_id is null then 'operator' else 'tenant' end as source,
               p.id, p.region, p.per_second_usd, p.vcpu_second_usd, p.memory_gib_second_usd,
               p.effective_from, p.effective_to
        from copilot_internal.e2b_pricing p
        where p.sandbox_type = $2 and (p.tenant_id = $1 or p.tenant_id is null)
          and (p.region = $3 or p.region is null)
        union all
        select 3, 'shipped', null, null, s.per_second_usd, null, null, null, null
        from copilot_internal.shipped_sandbox_prices s
        where s.sandbox_type = $2
    ) c
    order by c.precedence, c.region nulls last, c.effective_from desc";

/// Who has prices of his own: few, so that all others share what is kept.
const OWN_PRICES: &str = "
    select p.tenant_id from copilot_internal.model_pricing p where p.tenant_id is not null
    union
    select p.tenant_id from copilot_internal.e2b_pricing p where p.tenant_id is not null";

static OWN_PRICES_PLAN: Plan = Plan::new(OWN_PRICES, &[]);

const PARAMETERS: &[Oid] = &[UUID, TEXT, TEXT];
static MODEL_PRICES_PLAN: Plan = Plan::new(MODEL_PRICES, PARAMETERS);
static SANDBOX_PRICES_PLAN: Plan = Plan::new(SANDBOX_PRICES, PARAMETERS);

/// A price with the range in which it is in force.
struct Dated<P> {
    source: &'static str,
    id: Option<Uuid>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Or why the row cannot be read.
    price: std::result::Result<P, String>,
}

/// What a model, or a sandbox type in a region, has cost and will cost a tenant.
struct PriceList<P>(Vec<Dated<P>>);

impl<P> PriceList<P> {
    /// Reads the list; the price itself from the columns that follow its range.
    fn read(plan: &Plan, key: &Key, price: impl Fn(&Row) -> std::result::Result<P, String>) -> Result<Self> {
        let (tenant, first, second) = key;
        let parameters = [(*tenant).into(), first.as_str().into(), second.as_deref().into()];
        spi::session(|spi| {
            let rows = spi.run(plan, Look::Latest, &parameters)?;
            let dated = |row: Row| {
                Ok(Dated {
                    source: match row.need::<String>(1)?.as_str() {
                        "tenant" => "tenant",
                        "operator" => "operator",
                        _ => "shipped",
                    },
                    id: row.get(2),
                    from: row.get(3),
                    to: row.get(4),
                    price: price(&row),
                })
            };
            rows.iter().map(dated).collect::<Result<Vec<_>>>().map(Self)
        })
    }

    /// The first whose range holds the moment.
    fn in_force(&self, at: Timestamp) -> Option<&Dated<P>> {
        self.0.iter().find(|dated| dated.from.is_none_or(|from| from <= at) && dated.to.is_none_or(|to| at < to))
    }
}

/// The tenant, and the two names that the price goes by.
type Key = (Option<Uuid>, String, Option<String>);

/// Price lists that are kept in a backend, of each kind.
const MOST_LISTS: usize = 1_024;

thread_local! {
    static MODELS: Cache<Key, PriceList<ModelPrice>> = Cache::new(MOST_LISTS);
    static SANDBOXES: Cache<Key, PriceList<SandboxPrice>> = Cache::new(MOST_LISTS);
    static TENANTS: Cache<(), HashSet<Uuid>> = Cache::new(1);
}

/// The tenant if he has prices of his own.
fn with_own_prices(tenant: Option<Uuid>) -> Result<Option<Uuid>> {
    let Some(tenant) = tenant else { return Ok(None) };
    let tenants = match TENANTS.with(|cache| cache.get(&())) {
        Some(tenants) => tenants,
        None => {
            watch();
            let read_in = generation();
            let tenants = spi::session(|spi| {
                let rows = spi.run(&OWN_PRICES_PLAN, Look::Latest, &[])?;
                rows.iter().map(|row| row.need(1)).collect::<Result<HashSet<Uuid>>>()
            })?;
            TENANTS.with(|cache| cache.keep(read_in, (), tenants))
        }
    };
    Ok(Some(tenant).filter(|tenant| tenants.contains(tenant)))
}

/// The list from the cache, or read into it.
fn list<P>(
    cache: &Cache<Key, PriceList<P>>,
    plan: &Plan,
    key: Key,
    price: impl Fn(&Row) -> std::result::Result<P, String>,
) -> Result<Rc<PriceList<P>>> {
    if let Some(list) = cache.get(&key) {
        return Ok(list);
    }
    watch();
    let read_in = generation();
    let list = PriceList::read(plan, &key, price)?;
    Ok(cache.keep(read_in, key, list))
}

/// What a call costs, or why that is unknown; and by which price row.
pub struct Quote {
    pub priced: std::result::Result<Priced, String>,
    /// `tenant`, `operator`, `shipped`, or `None` when no row fits.
    pub source: Option<&'static str>,
    pub price_id: Option<Uuid>,
}

impl Quote {
    const UNKNOWN: fn(String) -> Self = |why| Self { priced: Err(why), source: None, price_id: None };

    /// What is stored with a record, as JSON text: the breakdown, and the price row that it came from.
    pub fn to_json(&self) -> Option<String> {
        let Ok(Priced::Priced(breakdown)) = &self.priced else { return None };
        let id = self.price_id.map(|id| id.to_string());
        Some(breakdown.to_json(self.source.unwrap_or_default(), id.as_deref()))
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
pub fn quote_llm(tenant: Option<Uuid>, model: Model, at: Timestamp, price_tokens: PriceTokens) -> Result<Quote> {
    current_generation();
    let key = (with_own_prices(tenant)?, model.provider.to_owned(), Some(model.name.to_owned()));
    let list = MODELS.with(|cache| list(cache, &MODEL_PRICES_PLAN, key, model_price))?;
    let Some(dated) = list.in_force(at) else {
        return Ok(Quote::UNKNOWN(format!("no price is known for {}/{}", model.provider, model.name)));
    };
    let price = dated.price.as_ref().map_err(String::clone);
    let priced = price.and_then(|price| price_tokens(price).map_err(|error| error.to_string()));
    Ok(Quote { priced, source: Some(dated.source), price_id: dated.id })
}

fn model_price(row: &Row) -> std::result::Result<ModelPrice, String> {
    let components = row.get::<String>(7).unwrap_or_default();
    let components = serde_json::from_str(&components).map_err(|error| error.to_string())?;
    ModelPrice::new(row.get::<String>(5).as_deref(), row.get::<String>(6).as_deref(), &components)
        .map_err(|error| format!("the price row cannot be read: {error}"))
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
pub fn quote_sandbox(tenant: Option<Uuid>, sandbox: SandboxUse, at: Timestamp) -> Result<Quote> {
    current_generation();
    let key = (with_own_prices(tenant)?, sandbox.sandbox_type.to_owned(), sandbox.region.map(str::to_owned));
    let list = SANDBOXES.with(|cache| list(cache, &SANDBOX_PRICES_PLAN, key, sandbox_price))?;
    let Some(dated) = list.in_force(at) else {
        return Ok(Quote::UNKNOWN(format!("no price is known for sandbox type {}", sandbox.sandbox_type)));
    };
    let price = dated.price.as_ref().map_err(String::clone);
    let priced = price.and_then(|price| {
        match price_sandbox(price, sandbox.duration_seconds, sandbox.vcpu_seconds, sandbox.memory_gib_seconds) {
            // The duration is always given; of the others it is the caller's quantity that is missing, not our price.
            Ok(Priced::Unpriced { missing }) if missing != "duration_seconds" => {
                Err(format!("the price needs {missing}, which was not given"))
            }
            other => other.map_err(|error| error.to_string()),
        }
    });
    Ok(Quote { priced, source: Some(dated.source), price_id: dated.id })
}

fn sandbox_price(row: &Row) -> std::result::Result<SandboxPrice, String> {
    Ok(SandboxPrice { per_second: rate(row, 5)?, vcpu_second: rate(row, 6)?, memory_gib_second: rate(row, 7)? })
}

fn rate(row: &Row, column: i32) -> std::result::Result<Option<Rate>, String> {
    row.get::<String>(column)
        .map(|text| Rate::parse(&text).map_err(|error| format!("the price row cannot be read: a rate {error}")))
        .transpose()
}
