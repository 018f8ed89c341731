//! Which price is in force for a model or sandbox, and what a call costs by it. Price lists are kept until one changes.

use std::collections::HashSet;

use pgrx::Uuid;
use pgrx::pg_sys::Oid;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::pg::identity::print_uuid;
use crate::pg::invalidation::{Kind, Subject, handle_messages};
use crate::pg::nil;
use crate::pg::spi::types::{TEXT, UUID};
use crate::pg::spi::{self, Plan, Row, Snapshot, columns};
use crate::pg::zone::PostgresZone;
use crate::pg::{self, Timestamp};
use tollgate_core::json;
use tollgate_core::money::Picos;
use tollgate_core::period::Zone;
use tollgate_core::pricing::names::{self, Fit, Grade, Place, Wanted};
use tollgate_core::pricing::{
    Factor, Markup, ModelPrice, PriceConditions, Priced, Rate, SANDBOX_PARTS, SandboxPrice, StoredPricing, Usage,
    price_llm, price_sandbox,
};

/// Every price that a model may go by: the tenant's own, the operator's, those of the imported list, the shipped ones. The
/// names, in lower case, are separated by a character that no name holds. To those of the second list a row may add a date
/// or a version.
const MODEL_PRICES: &str = "
    select c.source, c.id, c.effective_from, c.effective_to,
           c.input_per_million_usd::text, c.output_per_million_usd::text, c.components::text,
           c.model_provider, c.model_name, c.max_output_tokens, c.list_key, c.mode, c.list_name
    from (
        select case when p.tenant_id is not null then 'tenant' when p.imported then 'imported' else 'operator' end as source,
               p.id, p.input_per_million_usd, p.output_per_million_usd, p.components, p.effective_from, p.effective_to,
               p.model_provider, p.model_name,
               case when pg_catalog.jsonb_typeof(p.details -> 'max_output_tokens') = 'number'
                    then pg_catalog.trunc((p.details ->> 'max_output_tokens')::numeric)::text end as max_output_tokens,
               case when p.list_name = 'litellm' then p.list_key end as list_key, p.details ->> 'mode' as mode, p.list_name
        from copilot_internal.model_pricing p
        where (pg_catalog.lower(p.model_name) = any (pg_catalog.string_to_array($2, E'\\x01'))
            or p.id = any (array(
                select q.id
                from pg_catalog.unnest(pg_catalog.string_to_array($3, E'\\x01')) as f (name),
                     (values ('-20', '-21'), ('-v', '-w'), ('@', 'A')) as e (least, beyond),
                     copilot_internal.model_pricing q
                where pg_catalog.lower(q.model_name) operator(pg_catalog.~>=~) (f.name || e.least)
                  and pg_catalog.lower(q.model_name) operator(pg_catalog.~<~) (f.name || e.beyond))))
          and (p.tenant_id = $1 or p.tenant_id is null)
        union all
        select 'shipped', null, s.input_per_million_usd, s.output_per_million_usd, s.components, null, null,
               s.model_provider, s.model_name, s.max_output_tokens::text, null, null, null
        from copilot_internal.shipped_model_prices s
        where s.model_name = any (pg_catalog.string_to_array($2, E'\\x01'))
    ) c";

columns! {
    ModelColumn from 5 (
        input_per_million_usd, output_per_million_usd, components,
        model_provider, model_name, max_output_tokens, list_key, mode, list_name
    )
}

/// The list whose keys are what a caller without a provider names models by.
const MAIN_LIST: &str = "litellm";

/// What the operator says that a model goes by.
const ALIAS: &str = "
    select a.price_provider, a.price_model
    from copilot_internal.model_aliases a
    where pg_catalog.lower(a.model_provider) = pg_catalog.lower($1) and pg_catalog.lower(a.model_name) = pg_catalog.lower($2)";

/// What the costs of a tenant are multiplied by, step after step; in each the most specific first.
const MARKUPS: &str = "
    select m.model_provider, m.model_name, m.factor::text as factor, m.effective_from, m.effective_to, m.step::integer as step,
           m.on_provided
    from copilot_internal.price_markups m
    where m.tenant_id = $1 or m.tenant_id is null
    order by m.step, m.tenant_id is null, m.model_provider is null, m.model_name is null, m.effective_from desc";

columns! {
    MarkupColumn(model_provider, model_name, factor, effective_from, effective_to, step, on_provided)
}

/// Every price of a sandbox type: a row of the region before one of every region.
const SANDBOX_PRICES: &str = "
    select c.source, c.id, c.effective_from, c.effective_to,
           c.per_second_usd::text, c.vcpu_second_usd::text, c.memory_gib_second_usd::text, c.disk_gib_second_usd::text,
           c.gpu_second_usd::text, c.creation_usd::text, c.egress_gib_usd::text
    from (
        select case when p.tenant_id is null then 2 else 1 end as precedence,
               case when p.tenant_id is null then 'operator' else 'tenant' end as source,
               p.id, p.region, p.per_second_usd, p.vcpu_second_usd, p.memory_gib_second_usd, p.disk_gib_second_usd,
               p.gpu_second_usd, p.creation_usd, p.egress_gib_usd, p.effective_from, p.effective_to
        from copilot_internal.e2b_pricing p
        where pg_catalog.lower(p.provider) = pg_catalog.lower($4) and p.sandbox_type = $2 and (p.tenant_id = $1 or p.tenant_id is null)
          and (p.region = $3 or p.region is null)
        union all
        select 3, 'shipped', null, null, s.per_second_usd, s.vcpu_second_usd, s.memory_gib_second_usd, null, null, null, null,
               null, null
        from copilot_internal.shipped_sandbox_prices s
        where s.provider = pg_catalog.lower($4) and s.sandbox_type = $2
    ) c
    order by c.precedence, c.region nulls last, c.effective_from desc";

columns! {
    SandboxColumn from 5 (
        per_second_usd, vcpu_second_usd, memory_gib_second_usd,
        disk_gib_second_usd, gpu_second_usd, creation_usd, egress_gib_usd
    )
}

/// The tenants that have prices of their own: few, so that all others share what is cached.
const OWN_PRICES: &str = "
    select p.tenant_id from copilot_internal.model_pricing p where p.tenant_id is not null
    union
    select p.tenant_id from copilot_internal.e2b_pricing p where p.tenant_id is not null
    union
    select coalesce(m.tenant_id, '00000000-0000-0000-0000-000000000000') from copilot_internal.price_markups m";

static OWN_PRICES_PLAN: Plan = Plan::new(OWN_PRICES, &[]);

const PARAMETERS: &[Oid] = &[UUID, TEXT, TEXT, TEXT];
static MODEL_PRICES_PLAN: Plan = Plan::new(MODEL_PRICES, &[UUID, TEXT, TEXT]);
static ALIAS_PLAN: Plan = Plan::new(ALIAS, &[TEXT, TEXT]);
static MARKUPS_PLAN: Plan = Plan::new(MARKUPS, &[UUID]);
static SANDBOX_PRICES_PLAN: Plan = Plan::new(SANDBOX_PRICES, PARAMETERS);

// Both lists begin with these.
columns! {
    DatedColumn(source, id, effective_from, effective_to)
}

/// A price with the range in which it is in force.
struct Dated<P> {
    source: &'static str,
    /// Whether an imported price is from LiteLLM's list.
    is_of_main_list: bool,
    id: Option<Uuid>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// The provider and model of the row, where they are not those that were asked for.
    goes_by: Option<Box<(String, String)>>,
    /// How well it fits: rows of one grade and source are alternatives to each other.
    grade: Grade,
    /// Or why the row cannot be read.
    price: std::result::Result<P, String>,
}

impl<P> Dated<P> {
    fn read(row: &Row, price: std::result::Result<P, String>) -> Result<Self> {
        Ok(Self {
            source: match row.need::<String>(DatedColumn::source)?.as_str() {
                "tenant" => "tenant",
                "operator" => "operator",
                "imported" => "imported",
                _ => "shipped",
            },
            is_of_main_list: true,
            id: row.get(DatedColumn::id),
            from: row.get(DatedColumn::effective_from),
            to: row.get(DatedColumn::effective_to),
            goes_by: None,
            grade: Grade::EXACT,
            price,
        })
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    /// A tenant's own price goes before the operator's, that before those of lists, that before the shipped one. A list that
    /// was imported beside LiteLLM's goes before it.
    fn precedence(&self) -> u8 {
        match self.source {
            "tenant" => 1,
            "operator" => 2,
            "imported" if !self.is_of_main_list => 3,
            "imported" => 4,
            _ => 5,
        }
    }
}

/// What a model, or a sandbox type in a region, has cost and will cost a tenant; what fits best comes first.
struct PriceList<P> {
    rows: Vec<Dated<P>>,
    /// Whether alternatives of the same grade have to agree.
    is_open: bool,
    /// Prices of the same model in other places than the caller named, and whether the place is everywhere.
    elsewhere: Vec<(bool, Dated<P>)>,
    place: Option<Place>,
}

impl<P> PriceList<P> {
    /// The first whose range holds the moment.
    fn in_force(&self, at: Timestamp) -> Option<&Dated<P>> {
        self.rows.iter().find(|dated| dated.holds(at))
    }
}

impl PriceList<SandboxPrice> {
    fn read(key: &Key) -> Result<Self> {
        let (tenant, first, second) = key;
        let (provider, kind) = first.split_once(BETWEEN).unwrap_or_default();
        let parameters = [(*tenant).into(), kind.into(), second.as_deref().into(), provider.into()];
        spi::session(|spi| {
            let rows = spi.run(&SANDBOX_PRICES_PLAN, Snapshot::Latest, &parameters)?;
            let rows = rows.iter().map(|row| Dated::read(&row, sandbox_price(&row))).collect::<Result<Vec<_>>>()?;
            Ok(Self { rows, is_open: false, elsewhere: Vec::new(), place: None })
        })
    }
}

impl PriceList<ModelPrice> {
    fn read(key: &Key) -> Result<Self> {
        let (tenant, provider, name) = key;
        let name = name.as_deref().unwrap_or_default();
        spi::session(|spi| {
            let rows = spi.run(&ALIAS_PLAN, Snapshot::Latest, &[provider.as_str().into(), name.into()])?;
            let alias = rows.first().map(|row| Ok::<_, Error>((row.need(1)?, row.need(2)?))).transpose()?;
            let wanted = Wanted::new(provider, name, alias);
            let (names, undated) = (wanted.names().join("\u{1}"), wanted.undated_names().join("\u{1}"));
            let parameters = [(*tenant).into(), names.as_str().into(), undated.as_str().into()];
            let rows = spi.run(&MODEL_PRICES_PLAN, Snapshot::Latest, &parameters)?;
            let (mut fitting, mut elsewhere) = (Vec::new(), Vec::new());
            for row in rows.iter() {
                let (row_provider, row_name) =
                    (row.need::<String>(ModelColumn::model_provider)?, row.need::<String>(ModelColumn::model_name)?);
                let fit = wanted.fit(&row_provider, &row_name, row.get::<String>(ModelColumn::list_key).as_deref());
                let Some(fit) = fit else { continue };
                let mut dated = Dated::read(&row, model_price(&row, &row_provider))?;
                dated.is_of_main_list = row.get::<String>(ModelColumn::list_name).is_none_or(|list| list == MAIN_LIST);
                match fit {
                    Fit::Price(grade) => dated.grade = grade,
                    Fit::Elsewhere { global } => {
                        elsewhere.push((global, dated));
                        continue;
                    }
                }
                if (row_provider.as_str(), row_name.as_str()) != (provider.as_str(), name) {
                    dated.goes_by = Some(Box::new((row_provider, row_name)));
                }
                fitting.push(dated);
            }
            let path = |dated: &Dated<ModelPrice>| dated.goes_by.is_none();
            // Of the list's two spellings of a model, the one with the provider before it goes first.
            fitting.sort_by_key(|dated| (dated.grade, dated.precedence(), path(dated), std::cmp::Reverse(dated.from)));
            Ok(Self { rows: fitting, is_open: wanted.is_without_provider(), elsewhere, place: wanted.place() })
        })
    }

    /// Whether the row is for no place in particular, while the model's price is known to differ between places.
    fn is_of_another_place(&self, dated: &Dated<ModelPrice>, at: Timestamp) -> bool {
        let others = self.elsewhere.iter().filter(|(_, other)| other.holds(at));
        dated.grade.drops_place() && {
            let global = others.clone().any(|(global, _)| *global);
            let mut others = others.filter(|(global, _)| !*global).peekable();
            let is_known = others.peek().is_some();
            let all_agree = others.all(|(_, other)| other.price == dated.price);
            !names::place_does_not_matter(self.place, is_known, all_agree, global)
        }
    }

    /// Whether another row, which fits as well as this one, says something else.
    fn is_ambiguous(&self, dated: &Dated<ModelPrice>, at: Timestamp) -> bool {
        dated.grade != Grade::EXACT
            && self.rows.iter().any(|other| {
                other.grade == dated.grade
                    && (self.is_open || other.precedence() == dated.precedence())
                    && other.goes_by != dated.goes_by
                    && other.holds(at)
                    && other.price != dated.price
            })
    }
}

/// What stands between a sandbox's provider and its type in a key; no name holds it.
const BETWEEN: char = '\u{1}';

/// The tenant, and the two names that the price goes by.
type Key = (Option<Uuid>, String, Option<String>);

/// Price lists that are kept in a backend, of each kind.
const MAX_LISTS: usize = 1_024;

thread_local! {
    static MODELS: Cache<Key, PriceList<ModelPrice>> =
        Cache::new(Kind::Prices, |(tenant, ..)| prices_of(*tenant), MAX_LISTS);
    static SANDBOXES: Cache<Key, PriceList<SandboxPrice>> =
        Cache::new(Kind::Prices, |(tenant, ..)| prices_of(*tenant), MAX_LISTS);
    static TENANTS: Cache<(), HashSet<Uuid>> = Cache::new(Kind::Prices, |()| Subject::Any, 1);
    static MARKUPS_KEPT: Cache<Option<Uuid>, Vec<MarkupRow>> =
        Cache::new(Kind::Prices, |tenant| prices_of(*tenant), MAX_LISTS);
}

/// The subject of prices that were read for a tenant, or for all that have none of their own.
fn prices_of(tenant: Option<Uuid>) -> Subject {
    tenant.map_or(Subject::Everybody, |tenant| Subject::One(*tenant.as_bytes()))
}

/// The owner of the prices.
#[derive(Clone, Copy)]
struct Owner {
    /// The tenant, if it has prices or markups of its own.
    tenant: Option<Uuid>,
    /// Whether anything may be added to the tenant's costs.
    has_markups: bool,
}

/// The tenant, if it has prices of its own.
fn owner(tenant: Option<Uuid>) -> Result<Owner> {
    let read = |(): &()| {
        spi::session(|spi| {
            let rows = spi.run(&OWN_PRICES_PLAN, Snapshot::Latest, &[])?;
            rows.iter().map(|row| row.need(1)).collect::<Result<HashSet<Uuid>>>()
        })
    };
    let tenants = TENANTS.with(|cache| cache.get_or_read((), read))?;
    if tenants.is_empty() {
        return Ok(Owner { tenant: None, has_markups: false });
    }
    let tenant = tenant.filter(|tenant| tenants.contains(tenant));
    // The nil UUID stands for a markup on all tenants.
    Ok(Owner { tenant, has_markups: tenant.is_some() || tenants.contains(&nil()) })
}

/// A factor on the costs of some models, of all of a provider's, or of all.
struct MarkupRow {
    provider: Option<String>,
    name: Option<String>,
    factor: std::result::Result<Factor, String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    step: i32,
    on_provided: bool,
}

/// The step that is the provider's own.
const PROVIDERS_STEP: i32 = 0;

fn read_markups(tenant: Option<Uuid>) -> Result<Vec<MarkupRow>> {
    spi::session(|spi| {
        let rows = spi.run(&MARKUPS_PLAN, Snapshot::Latest, &[tenant.into()])?;
        let markup = |row: Row| {
            let factor = Factor::parse(&row.need::<String>(MarkupColumn::factor)?);
            Ok(MarkupRow {
                provider: row.get(MarkupColumn::model_provider),
                name: row.get(MarkupColumn::model_name),
                factor: factor.map_err(|error| format!("the markup cannot be used: it {error}")),
                from: row.get(MarkupColumn::effective_from),
                to: row.get(MarkupColumn::effective_to),
                step: row.need(MarkupColumn::step)?,
                on_provided: row.need(MarkupColumn::on_provided)?,
            })
        };
        rows.iter().map(markup).collect()
    })
}

type FoundMarkup = std::result::Result<Option<Markup>, String>;

/// What the tenant's costs of the model are multiplied by, if by anything: in each step by the most specific row. `owner`
/// holds the tenant if it has prices or markups of its own.
fn markup(owner: Owner, provider: &str, name: &str, at: Timestamp) -> Result<FoundMarkup> {
    if !owner.has_markups {
        return Ok(Ok(None));
    }
    let markups = MARKUPS_KEPT.with(|cache| cache.get_or_read(owner.tenant, |tenant| read_markups(*tenant)))?;
    let is = |own: &Option<String>, given: &str| own.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(given));
    let fits = |markup: &&MarkupRow| {
        is(&markup.provider, provider)
            && is(&markup.name, name)
            && markup.from.is_none_or(|from| from <= at)
            && markup.to.is_none_or(|to| at < to)
    };
    let (mut product, mut done) = (None, None);
    for row in markups.iter().filter(fits) {
        if done.replace(row.step) == Some(row.step) {
            continue;
        }
        let factor = match &row.factor {
            Ok(factor) => *factor,
            Err(why) => return Ok(Err(why.clone())),
        };
        product = product.unwrap_or(Markup::NONE).step(factor, row.step == PROVIDERS_STEP, row.on_provided);
        if product.is_none() {
            return Ok(Err("the markups' product has too many digits".to_owned()));
        }
    }
    Ok(Ok(product))
}

/// What a tenant pays for what a provider has billed. A markup that cannot be used leaves it as it is.
pub fn on_provided(tenant: Uuid, model: Model, at: Timestamp, billed: Picos) -> Result<Picos> {
    handle_messages();
    let found = markup(owner(Some(tenant))?, model.provider, model.name, at)?;
    let paid = found.ok().flatten().and_then(|markup| markup.on_provided(billed));
    Ok(paid.unwrap_or(billed))
}

/// What a call costs, or why that is unknown; and by which price row.
pub struct Quote {
    pub priced: std::result::Result<Priced, String>,
    /// `tenant`, `operator`, `imported`, `shipped`, or `None` when no row fits.
    pub source: Option<&'static str>,
    pub price_id: Option<Uuid>,
    /// The provider and model of the price row, where they are not those that were asked for.
    pub goes_by: Option<(String, String)>,
}

impl Quote {
    const UNKNOWN: fn(String) -> Self = |why| Self { priced: Err(why), source: None, price_id: None, goes_by: None };

    /// What is stored with a record, where there is a cost: the breakdown, and the price row that it came from.
    pub fn stored(&self) -> Option<StoredPricing<'_>> {
        let Ok(Priced::Priced(breakdown)) = &self.priced else { return None };
        let (price_provider, price_model) =
            self.goes_by.as_ref().map(|(provider, name)| (&**provider, &**name)).unzip();
        let source = self.source.unwrap_or_default();
        let price_id = self.price_id.map(print_uuid);
        Some(StoredPricing { breakdown, source, price_id, price_provider, price_model })
    }

    /// Why there is no cost; `None` when there is one.
    pub fn unpriced_because(&self) -> Option<String> {
        match &self.priced {
            Ok(Priced::Priced(_)) => None,
            Ok(Priced::Unpriced { missing }) => Some(format!("the price has no rate for {missing}")),
            Ok(Priced::Unmeasured { needs }) => Some(format!("the price needs {needs}, which was not given")),
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

/// How the tokens of a call become a cost, exactly ([`price_llm`]) or as an upper bound; the terms are the hour's and the
/// tenant's.
pub type PriceTokens<'a> =
    &'a dyn Fn(&ModelPrice, PriceConditions) -> std::result::Result<Priced, tollgate_core::pricing::PricingError>;

/// The cost by the price in force at the moment.
pub fn quote_llm(tenant: Option<Uuid>, model: Model, at: Timestamp, price_tokens: PriceTokens) -> Result<Quote> {
    handle_messages();
    let owner = owner(tenant)?;
    let key = (owner.tenant, model.provider.to_owned(), Some(model.name.to_owned()));
    let list = MODELS.with(|cache| cache.get_or_read(key, PriceList::<ModelPrice>::read))?;
    let Some(dated) = list.in_force(at) else {
        return Ok(Quote::UNKNOWN(format!("no price is known for {}/{}", model.provider, model.name)));
    };
    if list.is_of_another_place(dated, at) {
        return Ok(Quote::UNKNOWN(format!(
            "the price of {} differs between places, and none is known for the one that it names",
            model.name
        )));
    }
    if list.is_ambiguous(dated, at) {
        return Ok(Quote::UNKNOWN(format!(
            "the price of {} is ambiguous: {}",
            model.name,
            if list.is_open {
                format!("it differs between providers, and {} is none of them", model.provider)
            } else {
                format!("{} has several prices by that name", model.provider)
            }
        )));
    }
    let markup = markup(owner, model.provider, model.name, at)?;
    let priced = markup.and_then(|markup| {
        let price = dated.price.as_ref().map_err(String::clone)?;
        let terms = PriceConditions { tier: None, off_peak: is_off_peak(price, at), markup };
        price_tokens(price, terms).map_err(|error| error.to_string())
    });
    let goes_by = dated.goes_by.as_deref().cloned();
    Ok(Quote { priced, source: Some(dated.source), price_id: dated.id, goes_by })
}

fn is_off_peak(price: &ModelPrice, at: Timestamp) -> bool {
    let offset = |zone: &str, at: i64| PostgresZone::named(zone).ok().map(|zone| zone.offset_at(at));
    price.is_off_peak(pg::to_unix_seconds(at), offset)
}

fn model_price(row: &Row, provider: &str) -> std::result::Result<ModelPrice, String> {
    let components = row.get::<String>(ModelColumn::components).unwrap_or_default();
    let components = json::parse(&components).map_err(|error| error.to_string())?;
    let mut price = ModelPrice::new(
        row.get::<String>(ModelColumn::input_per_million_usd).as_deref(),
        row.get::<String>(ModelColumn::output_per_million_usd).as_deref(),
        &components,
    )
    .map_err(|error| format!("the price row cannot be read: {error}"))?;
    price.describe(
        provider,
        &row.get::<String>(ModelColumn::model_name).unwrap_or_default(),
        row.get::<String>(ModelColumn::mode).as_deref(),
    );
    price.max_output_tokens = row.get::<String>(ModelColumn::max_output_tokens).and_then(|tokens| tokens.parse().ok());
    Ok(price)
}

/// The exact cost of a call.
pub fn exactly<'a>(
    usage: &'a Usage,
    tier: Option<&'a str>,
) -> impl Fn(&ModelPrice, PriceConditions) -> std::result::Result<Priced, tollgate_core::pricing::PricingError> + 'a {
    move |price, terms| price_llm(price, usage, PriceConditions { tier, ..terms })
}

/// A sandbox session as callers describe it; quantities as decimal text, in the order of [`SANDBOX_PARTS`].
#[derive(Clone, Copy)]
pub struct SandboxUse<'a> {
    pub provider: &'a str,
    pub sandbox_type: &'a str,
    pub region: Option<&'a str>,
    pub quantities: [Option<&'a str>; SANDBOX_PARTS.len()],
}

/// The cost by the price in force at the moment.
pub fn quote_sandbox(tenant: Option<Uuid>, sandbox: SandboxUse, at: Timestamp) -> Result<Quote> {
    handle_messages();
    let owner = owner(tenant)?;
    let kind = format!("{}{BETWEEN}{}", sandbox.provider, sandbox.sandbox_type);
    let key = (owner.tenant, kind, sandbox.region.map(str::to_owned));
    let list = SANDBOXES.with(|cache| cache.get_or_read(key, PriceList::<SandboxPrice>::read))?;
    let Some(dated) = list.in_force(at) else {
        return Ok(Quote::UNKNOWN(format!("no price is known for sandbox type {}", sandbox.sandbox_type)));
    };
    let markup = markup(owner, sandbox.provider, sandbox.sandbox_type, at)?;
    let priced = markup.and_then(|markup| {
        let price = dated.price.as_ref().map_err(String::clone)?;
        let terms = PriceConditions { markup, ..PriceConditions::default() };
        match price_sandbox(price, &sandbox.quantities, terms) {
            // The duration is always given; of the others it is the caller's quantity that is missing, not our price.
            Ok(Priced::Unpriced { missing }) if missing != "duration_seconds" => {
                Ok(Priced::Unmeasured { needs: missing })
            }
            other => other.map_err(|error| error.to_string()),
        }
    });
    Ok(Quote { priced, source: Some(dated.source), price_id: dated.id, goes_by: None })
}

fn sandbox_price(row: &Row) -> std::result::Result<SandboxPrice, String> {
    const RATES: [SandboxColumn; SANDBOX_PARTS.len()] = [
        SandboxColumn::per_second_usd,
        SandboxColumn::vcpu_second_usd,
        SandboxColumn::memory_gib_second_usd,
        SandboxColumn::disk_gib_second_usd,
        SandboxColumn::gpu_second_usd,
        SandboxColumn::creation_usd,
        SandboxColumn::egress_gib_usd,
    ];
    let mut price = SandboxPrice::default();
    for (own, column) in price.rates.iter_mut().zip(RATES) {
        *own = rate(row, column)?;
    }
    // What ships knows the price of an allocation and that of a usual one; an operator's prices add up.
    price.flat_unless_allocated = row.get::<String>(DatedColumn::source).as_deref() == Some("shipped");
    Ok(price)
}

fn rate(row: &Row, column: SandboxColumn) -> std::result::Result<Option<Rate>, String> {
    row.get::<String>(column)
        .map(|text| Rate::parse(&text).map_err(|error| format!("the price row cannot be read: a rate {error}")))
        .transpose()
}
