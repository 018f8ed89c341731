//! What an operation would cost, by the prices that are for everybody.

use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::ledger::{e2b, input, llm};
use crate::pg;
use crate::pg::call::{Call, Reply};
use crate::pg::value::Value;
use crate::prices::{Model, Quote, SandboxUse, quote_llm, quote_sandbox};
use crate::pricing::{Breakdown, ModelPrice, Priced, Terms, upper_bound};

/// The breakdown if there is one, whether a price was found, and in words what the answer rests on.
fn answer(quote: &Quote) -> (Option<&Breakdown>, Value, Value) {
    let found = matches!(quote.priced, Ok(Priced::Priced(_)));
    let basis = quote.unpriced_because().unwrap_or_else(|| match &quote.source {
        Some(source) => format!("{source} price"),
        None => "no price".to_owned(),
    });
    let breakdown = match &quote.priced {
        Ok(Priced::Priced(breakdown)) => Some(breakdown),
        _ => None,
    };
    (breakdown, found.into(), basis.as_str().into())
}

#[pg_extern(sql = false)]
fn estimate_llm_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let quote = call.kernel(|_| {
        let provider = input::required_text(call.text(0), "p_model_provider")?;
        let name = input::required_text(call.text(1), "p_model_name")?;
        let input_tokens = input::tokens(call.bigint(2), "p_input_tokens")?;
        let output_tokens = input::tokens(call.bigint(3), "p_output_tokens")?;
        let parts = input::json(call.jsonb(4), "p_usage")?;
        let tier = input::text(call.text(5), "p_service_tier")?;
        let usage = parts.map(|parts| llm::usage(input_tokens, output_tokens, Some(&parts.text()))).transpose()?;
        let model = Model { provider: &provider, name: &name };
        quote_llm(None, model, pg::clock_timestamp(), &|price, terms| {
            upper_bound(price, input_tokens, output_tokens, usage.as_ref(), Terms { tier: tier.as_deref(), ..terms })
        })
    });
    let (breakdown, found, basis) = answer(&quote);
    call.row(&[
        Value::decimal(breakdown.map(|costs| costs.total().to_string()).as_deref()),
        Value::decimal(breakdown.map(|costs| costs.input_cost().to_string()).as_deref()),
        Value::decimal(breakdown.map(|costs| costs.output_cost().to_string()).as_deref()),
        found,
        basis,
    ])
}

#[pg_extern(sql = false)]
fn estimate_e2b_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let quantity = |index: usize, name: &str| -> Result<Option<String>> {
        call.numeric(index).map(|text| e2b::quantity(&text, name)).transpose()
    };
    let quote = call.kernel(|_| {
        let sandbox_type = input::required_text(call.text(0), "p_sandbox_type")?;
        let duration =
            quantity(1, "p_duration_seconds")?.ok_or_else(|| Error::invalid("p_duration_seconds must not be NULL"))?;
        let region = input::text(call.text(2), "p_region")?;
        let vcpu = quantity(3, "p_vcpu_seconds")?;
        let memory = quantity(4, "p_memory_gib_seconds")?;
        let sandbox = SandboxUse {
            sandbox_type: &sandbox_type,
            region: region.as_deref(),
            duration_seconds: &duration,
            vcpu_seconds: vcpu.as_deref(),
            memory_gib_seconds: memory.as_deref(),
        };
        quote_sandbox(None, sandbox, pg::clock_timestamp())
    });
    let (breakdown, found, basis) = answer(&quote);
    call.row(&[Value::decimal(breakdown.map(|costs| costs.total().to_string()).as_deref()), found, basis])
}

#[pg_extern(sql = false)]
fn price_problem(fcinfo: pg_sys::FunctionCallInfo) -> Option<String> {
    let call = Call::new(fcinfo);
    let components = call.jsonb(2).map_or_else(|| "{}".to_owned(), |json| json.text().into_owned());
    let components = match serde_json::from_str(&components) {
        Ok(components) => components,
        Err(error) => return Some(format!("p_components cannot be read: {error}")),
    };
    match ModelPrice::new(call.numeric(0).as_deref(), call.numeric(1).as_deref(), &components) {
        Err(error) => Some(error.to_string()),
        Ok(price) => price.unknown.first().map(|key| format!("unknown price component \"{}\"", input::shown(key))),
    }
}
