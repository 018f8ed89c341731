//! Usage as it was reported, and what it costs.

use super::{Charged, Cost};
use crate::arguments;
use crate::error::Result;
use crate::pg::jsonb_node::JsonbNode;
use crate::pg::value::Json;
use crate::pg::{Timestamp, jsonb_writer};
use crate::pricing::lookup::{Model, exactly, quote_llm};
use pgrx::Uuid;
use serde_json::Value;
use tollgate_core::usage::{self, REPORTED_COST, Understood, recognise, understand};

/// What was understood of a report, and what is stored of it; or why nothing was, and what is kept.
pub type Read = std::result::Result<(Understood, Json), (String, Json)>;

/// Reads a report: where it lies, if one of its shape was read before. Members read what is stored, and not what the
/// provider bills. The record's costs have it.
pub fn read(report: std::result::Result<JsonbNode<'_>, String>, provider: &str) -> Result<Read> {
    if let Ok(node) = report
        && let Some((understood, counted)) = recognise(provider, node)
    {
        return Ok(Ok((understood, jsonb_writer::write(&counted)?)));
    }
    let kept = |why, kept: Value| Ok(Err((why, jsonb_writer::write(&kept)?)));
    let raw = match report.and_then(arguments::reported) {
        Ok(raw) => raw,
        Err(why) => return kept(format!("it {why}"), serde_json::json!({ "unknown": { "p_usage": why } })),
    };
    match understand(provider, &raw) {
        Ok((understood, mut ours)) => {
            ours.remove(REPORTED_COST);
            Ok(Ok((understood, jsonb_writer::write(&ours)?)))
        }
        Err(why) => kept(why, usage::kept(raw)),
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
pub fn price(by: Tariff<'_>, model: Model<'_>, understood: &Understood, provided: Option<Charged>) -> Result<Cost> {
    let quote = |name, usage| quote_llm(Some(by.tenant), Model { name, ..model }, by.at, &exactly(usage, by.tier));
    let mut cost = Cost::new(provided, quote(model.name, &understood.usage)?);
    for other in &understood.other_models {
        let name = if other.name.is_empty() { model.name } else { &other.name };
        arguments::required_text(Some(name.to_owned()), "the name of another model")?;
        cost = cost.with_other(name, &Cost::new(None, quote(name, &other.usage)?))?;
    }
    Ok(cost)
}
