//! What callers may say: every argument has a bound, and each breach one sentence.

use pgrx::Uuid;

use crate::error::{Error, Result};
use crate::pg::jsonb::{Bounds, Excess};
use crate::pg::jsonb_node::JsonbNode;
use crate::pg::jsonb_value;
use crate::pg::value::{GivenJson, Json};
use crate::pg::{self, Timestamp, nil};
use crate::settings;
use tollgate_core::decision::Resource;
use tollgate_core::money::{AmountError, Picos};

/// Longest name, key or label, in bytes. Index entries must stay well below a third of a page.
const MAX_TEXT_BYTES: usize = 500;
/// A JSON document that is kept with a record.
pub const OBJECT: Bounds = Bounds { bytes: 64 * 1024, depth: 100, number: 1_000 };
/// Most tokens in one call. Sums of a tenant stay far from the end of a bigint.
pub const MAX_TOKENS: i64 = 1_000_000_000_000;

/// A value that must be there.
pub fn required<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| Error::invalid(format!("{name} must not be NULL")))
}

/// A tenant's or user's id; the nil UUID is taken.
pub fn id(value: Option<Uuid>, name: &str) -> Result<Option<Uuid>> {
    if value == Some(nil()) { Err(Error::invalid(format!("{name} must not be the nil UUID"))) } else { Ok(value) }
}

pub fn tenant(value: Option<Uuid>) -> Result<Uuid> {
    required(id(value, "p_tenant_id")?, "p_tenant_id")
}

/// A text that may be missing; an empty one is a mistake.
pub fn text(value: Option<String>, name: &str) -> Result<Option<String>> {
    match value {
        Some(text) if text.is_empty() => Err(Error::invalid(format!("{name} must not be empty"))),
        Some(text) if text.len() > MAX_TEXT_BYTES => {
            Err(Error::invalid(format!("{name} must not be longer than {MAX_TEXT_BYTES} bytes")))
        }
        other => Ok(other),
    }
}

pub fn required_text(value: Option<String>, name: &str) -> Result<String> {
    required(text(value, name)?, name)
}

/// A JSON object that may be missing; a JSON null is none.
pub fn json(value: Option<GivenJson>, name: &str) -> Result<Option<Json>> {
    let Some(value) = value else { return Ok(None) };
    let json = document(value, name, &OBJECT)?;
    match json.is_object() {
        None => Ok(None),
        Some(true) => Ok(Some(json)),
        Some(false) => Err(Error::invalid(format!("{name} must be a JSON object"))),
    }
}

/// Any JSON, checked before it is printed.
pub fn document(value: GivenJson, name: &str, bounds: &Bounds) -> Result<Json> {
    value.within(bounds).map_err(|excess| Error::invalid(beyond(name, bounds, excess)))
}

/// Tells which bound a document exceeds.
pub fn beyond(name: &str, bounds: &Bounds, excess: Excess) -> String {
    match excess {
        Excess::Bytes => format!("{name} must not be longer than {} bytes", bounds.bytes),
        Excess::Depth => format!("{name} must not be nested more than {} deep", bounds.depth),
        Excess::Number => format!("{name} must not hold a number of more than {} characters", bounds.number),
    }
}

/// A report of usage, alone or in a whole response: vectors and images are in it. The bytes are those that are stored.
const REPORT: Bounds = Bounds { bytes: 4 * 1024 * 1024, depth: 100, number: 1_000 };

/// A report that must be there, whatever it is; or how it is beyond its bounds, as a clause.
pub fn report<'a>(value: Option<GivenJson>, name: &str) -> Result<std::result::Result<JsonbNode<'a>, String>> {
    let given = required(value, name)?;
    Ok(jsonb_value::open(&given, &REPORT).map_err(beyond_report))
}

/// What a report says; or how it is beyond its bounds, as a clause.
pub fn reported(report: JsonbNode<'_>) -> std::result::Result<serde_json::Value, String> {
    jsonb_value::value(report).map_err(beyond_report)
}

fn beyond_report(excess: Excess) -> String {
    beyond("", &REPORT, excess).trim_start().to_owned()
}

pub fn tokens(value: Option<i64>, name: &str) -> Result<i64> {
    match required(value, name)? {
        ..0 => Err(Error::invalid(format!("{name} must not be negative"))),
        count if count > MAX_TOKENS => Err(Error::invalid(format!("{name} must not be more than {MAX_TOKENS}"))),
        count => Ok(count),
    }
}

/// An amount of money, rounded once to 1e-12 USD.
pub fn amount(text: &str, name: &str) -> Result<Picos> {
    Picos::parse(text).map_err(|error| out_of_range(name, error))
}

pub fn out_of_range(name: &str, error: AmountError) -> Error {
    Error::invalid(format!("{name} {error}"))
}

pub fn resource(value: Option<String>) -> Result<Resource> {
    let text = required(value, "p_resource_type")?;
    Resource::parse(&text).ok_or_else(|| Error::Invalid {
        message: format!("unknown resource type \"{}\"", shown(&text)),
        hint: Some("An operation uses llm or e2b; all is for quotas."),
    })
}

/// A moment that has passed; one that is in the future by no more than clocks differ is taken as now. Nothing that is metered here is older than the year 2000, where rollups begin.
pub fn moment(value: Option<Timestamp>) -> Result<Option<Timestamp>> {
    match value {
        Some(at) if at > pg::clock_timestamp() => match settings::clock_skew() {
            skew if at.saturating_sub(pg::clock_timestamp()) <= skew => Ok(None),
            _ => Err(Error::invalid("p_occurred_at must not be in the future")),
        },
        Some(..0) => Err(Error::invalid("p_occurred_at must not be before 2000-01-01 00:00 UTC")),
        other => Ok(other),
    }
}

/// A caller's text as far as it is worth repeating in a message.
pub fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(40).collect()
}
