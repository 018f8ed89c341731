//! Usage as it was reported, and what it costs.

use super::Cost;
use crate::arguments;
use crate::error::Result;
use crate::pg::Timestamp;
use crate::pricing::lookup::{Model, exactly, quote_llm};
use pgrx::Uuid;
use serde_json::Value;
use tollgate_core::money::Picos;
use tollgate_core::usage::{Understood, kept, understand};

/// What was understood of a report, and it in our form; or why nothing was, and what is kept of it.
pub fn read(
    report: std::result::Result<Value, String>,
    provider: &str,
) -> std::result::Result<(Understood, Value), (String, Value)> {
    let raw = report.map_err(|why| (format!("it {why}"), serde_json::json!({ "unknown": { "p_usage": why } })))?;
    match understand(provider, &raw) {
        Ok((understood, ours)) => Ok((understood, Value::Object(ours))),
        Err(why) => Err((why, kept(raw))),
    }
}

/// By which prices.
#[derive(Clone, Copy)]
pub struct Tariff<'a> {
    pub tenant: Uuid,
    pub at: Timestamp,
    pub tier: Option<&'a str>,
}

/// What a call costs, with what other models used on its behalf; without a price for one of them it has none.
pub fn price(
    by: Tariff<'_>,
    provider: &str,
    model: &str,
    understood: &Understood,
    provided: Option<Picos>,
) -> Result<Cost> {
    let quote =
        |name: &str, usage| quote_llm(Some(by.tenant), Model { provider, name }, by.at, &exactly(usage, by.tier));
    let mut cost = Cost::new(provided, quote(model, &understood.usage)?);
    for other in &understood.other_models {
        let name = if other.name.is_empty() { model } else { &other.name };
        arguments::required_text(Some(name.to_owned()), "the name of another model")?;
        cost = cost.with_other(name, &Cost::new(None, quote(name, &other.usage)?))?;
    }
    Ok(cost)
}
