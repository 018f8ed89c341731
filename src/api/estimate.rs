//! What an operation would cost, by the shared prices or by those of one tenant.

use pgrx::{Uuid, pg_extern, pg_sys};

use crate::arguments;
use crate::error::{Error, Result};
use crate::ledger::{e2b, llm};
use crate::pg;
use crate::pg::call::{Argument, Call, Reply, signatures};
use crate::pg::identity::Caller;
use crate::pg::value::Value;
use crate::pg::{jsonb_value, jsonb_writer};
use crate::pricing::lookup::{Model, Quote, SandboxUse, quote_llm, quote_sandbox};
use crate::tenancy::access;
use tollgate_core::money::Picos;
use tollgate_core::pricing::{Breakdown, ModelPrice, PriceConditions, Priced, upper_bound};
use tollgate_core::usage::normalize;

signatures! {
    EstimateLlmCost = estimate_llm_cost(
        p_model_provider, p_model_name, p_input_tokens, p_output_tokens, p_usage, p_service_tier, p_tenant_id
    );
    EstimateE2bCost = estimate_e2b_cost(
        p_sandbox_type, p_duration_seconds, p_region, p_vcpu_seconds, p_memory_gib_seconds, p_tenant_id, p_provider,
        p_disk_gib_seconds, p_gpu_seconds, p_creations, p_egress_gib
    );
    PriceProblem = price_problem(p_input_per_million_usd, p_output_per_million_usd, p_components);
    NormalizeLlmUsage = normalize_llm_usage(p_provider, p_usage);
}

/// The breakdown if there is one, whether a price was found, and in words what the answer rests on.
fn answer(quote: &Quote) -> (Option<&Breakdown>, Value, Value) {
    let found = matches!(quote.priced, Ok(Priced::Priced(_)));
    let basis = quote.unpriced_because().unwrap_or_else(|| match &quote.source {
        Some(source) => {
            let goes_by = quote.goes_by.as_ref().map(|(provider, name)| format!(" of {provider}/{name}"));
            format!("{source} price{}", goes_by.unwrap_or_default())
        }
        None => "no price".to_owned(),
    });
    let breakdown = match &quote.priced {
        Ok(Priced::Priced(breakdown)) => Some(breakdown),
        _ => None,
    };
    (breakdown, found.into(), basis.as_str().into())
}

fn cost(amount: Option<Picos>) -> Value {
    amount.map_or(Value::NULL, Value::cost)
}

/// The tenant whose own prices and markups are asked about; `None` for the shared ones. A user who could ask for both
/// would learn the markup from the difference. So a user's estimate that names no tenant is for their own.
fn tenant(given: Option<Uuid>, caller: &Caller) -> Result<Option<Uuid>> {
    let tenant = arguments::id(given, "p_tenant_id")?;
    if let Some(tenant) = tenant {
        access::authorise(caller, tenant, None)?;
        return Ok(Some(tenant));
    }
    if caller.serves_all_tenants() {
        return Ok(None);
    }
    let current = access::current(caller, None)?;
    if current.is_some() {
        return Ok(current);
    }
    match access::of_caller(caller)?.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        _ => Err(Error::invalid("p_tenant_id is needed: you belong to more than one tenant and prefer none")),
    }
}

#[pg_extern(sql = false)]
fn estimate_llm_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use EstimateLlmCost::*;

    let call = Call::<EstimateLlmCost>::new(fcinfo);
    let quote = call.kernel(|caller| {
        let provider = arguments::required_text(call.text(p_model_provider), "p_model_provider")?;
        let name = arguments::required_text(call.text(p_model_name), "p_model_name")?;
        let input_tokens = arguments::tokens(call.bigint(p_input_tokens), "p_input_tokens")?;
        let output_tokens = call
            .bigint(p_output_tokens)
            .map(|tokens| arguments::tokens(Some(tokens), "p_output_tokens"))
            .transpose()?;
        let parts = arguments::json(call.jsonb(p_usage), "p_usage")?;
        let tier = arguments::text(call.text(p_service_tier), "p_service_tier")?;
        let tenant = tenant(call.uuid(p_tenant_id), caller)?;
        // Parts that exceed their whole are an error of the call's, whatever the price says. Without a count of the output
        // the answer may be as long as it gets, whatever its parts; the tier counts all the same.
        let most = output_tokens.unwrap_or(arguments::MAX_TOKENS);
        let understood =
            parts.map(|parts| llm::usage(&provider, input_tokens, most, &jsonb_value::of(&parts))).transpose()?;
        let told = understood.as_ref();
        let tier = tier.as_deref().or_else(|| told.and_then(|told| told.tier.as_deref()));
        let input_tokens = told.map_or(input_tokens, |told| told.input);
        let output_tokens = output_tokens.map(|output| told.map_or(output, |told| told.output));
        let parts = told.filter(|_| output_tokens.is_some()).map(|told| &told.usage);
        let model = Model { provider: &provider, name: &name };
        quote_llm(tenant, model, pg::clock_timestamp(), &|price, terms| {
            let terms = PriceConditions { tier, ..terms };
            match output_tokens.or(price.max_output_tokens.filter(|most| *most <= arguments::MAX_TOKENS)) {
                Some(output) => upper_bound(price, input_tokens, output, parts, terms),
                None => Ok(Priced::Unmeasured { needs: "p_output_tokens or a max_output_tokens in its details" }),
            }
        })
    });
    let (breakdown, found, basis) = answer(&quote);
    call.row(&[
        cost(breakdown.map(Breakdown::total)),
        cost(breakdown.map(Breakdown::input_cost)),
        cost(breakdown.map(Breakdown::output_cost)),
        found,
        basis,
    ])
}

#[pg_extern(sql = false)]
fn estimate_e2b_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use EstimateE2bCost::*;

    let call = Call::<EstimateE2bCost>::new(fcinfo);
    let quantity = |argument: EstimateE2bCost| -> Result<Option<String>> {
        call.numeric(argument).map(|text| e2b::quantity(&text, argument.name())).transpose()
    };
    let quote = call.kernel(|caller| {
        let sandbox_type = arguments::required_text(call.text(p_sandbox_type), "p_sandbox_type")?;
        let duration =
            quantity(p_duration_seconds)?.ok_or_else(|| Error::invalid("p_duration_seconds must not be NULL"))?;
        let region = arguments::text(call.text(p_region), "p_region")?;
        let vcpu = quantity(p_vcpu_seconds)?;
        let memory = quantity(p_memory_gib_seconds)?;
        let provider = arguments::text(call.text(p_provider), "p_provider")?;
        let disk = quantity(p_disk_gib_seconds)?;
        let gpu = quantity(p_gpu_seconds)?;
        let creations = quantity(p_creations)?;
        let egress = quantity(p_egress_gib)?;
        let quantities = [&Some(duration), &vcpu, &memory, &disk, &gpu, &creations, &egress];
        let sandbox = SandboxUse {
            provider: provider.as_deref().unwrap_or(e2b::PROVIDER),
            sandbox_type: &sandbox_type,
            region: region.as_deref(),
            quantities: quantities.map(|quantity| quantity.as_deref()),
        };
        quote_sandbox(tenant(call.uuid(p_tenant_id), caller)?, sandbox, pg::clock_timestamp())
    });
    let (breakdown, found, basis) = answer(&quote);
    call.row(&[cost(breakdown.map(Breakdown::total)), found, basis])
}

#[pg_extern(sql = false)]
fn price_problem(fcinfo: pg_sys::FunctionCallInfo) -> Option<String> {
    use PriceProblem::*;

    let call = Call::<PriceProblem>::new(fcinfo);
    let components = match call.jsonb(p_components).map(|given| given.within(&arguments::OBJECT)).transpose() {
        Ok(components) => components.map_or_else(|| "{}".to_owned(), |json| json.text().into_owned()),
        Err(excess) => return Some(arguments::beyond("p_components", &arguments::OBJECT, excess)),
    };
    let components = match tollgate_core::json::parse(&components) {
        Ok(components) => components,
        Err(error) => return Some(format!("p_components cannot be read: {error}")),
    };
    match ModelPrice::new(
        call.numeric(p_input_per_million_usd).as_deref(),
        call.numeric(p_output_per_million_usd).as_deref(),
        &components,
    ) {
        Err(error) => Some(error.to_string()),
        Ok(price) => price.unknown.first().map(|key| format!("unknown price component \"{}\"", arguments::shown(key))),
    }
}

#[pg_extern(sql = false)]
fn normalize_llm_usage(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use NormalizeLlmUsage::*;

    let call = Call::<NormalizeLlmUsage>::new(fcinfo);
    let normalized = || -> Result<Value> {
        let provider = arguments::required_text(call.text(p_provider), "p_provider")?;
        let usage = arguments::report(call.jsonb(p_usage), "p_usage")?;
        let usage = usage.and_then(arguments::reported).map_err(|why| Error::invalid(format!("p_usage {why}")))?;
        let usage =
            normalize(&provider, &usage).map_err(|why| Error::invalid(format!("p_usage does not fit: {why}")))?;
        Ok(jsonb_writer::write(&usage)?.value())
    };
    Reply::new(normalized().unwrap_or_else(|error| error.raise()).datum())
}
