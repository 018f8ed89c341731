//! What callers may say: every argument has a bound, and each breach one sentence.

use pgrx::Uuid;

use crate::error::{Error, Result};
use crate::pg::call::Call;
use crate::pg::value::Json;
use crate::pg::{self, Timestamp, jsonb, nil};
use tollgate_core::decision::Resource;
use tollgate_core::money::{AmountError, Picos};

/// Longest name, key or label, in bytes. Index entries must stay well below a third of a page.
const MAX_TEXT_BYTES: usize = 500;
/// Largest JSON document kept with a record, in bytes of its text.
const MAX_JSON_BYTES: usize = 64 * 1024;
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
pub fn json(value: Option<Json>, name: &str) -> Result<Option<Json>> {
    let Some(json) = value else { return Ok(None) };
    if json.is_short_object() {
        return Ok(Some(json));
    }
    let text = json.text();
    if text.len() > MAX_JSON_BYTES {
        Err(Error::invalid(format!("{name} must not be longer than {MAX_JSON_BYTES} bytes")))
    } else if text == "null" {
        Ok(None)
    } else if !text.starts_with('{') {
        Err(Error::invalid(format!("{name} must be a JSON object")))
    } else {
        drop(text);
        Ok(Some(json))
    }
}

/// A report of usage, alone or in a whole response, with numbers that stay short in print.
const REPORT_BOUNDS: jsonb::Bounds = jsonb::Bounds { bytes: 2_000_000, depth: 64, digits: 100 };

/// A usage object as a provider gave it: any JSON, or how it is beyond its bounds, as a clause.
pub enum Report {
    Json(Json),
    Excessive(String),
}

/// The report that a call has as its argument at this place.
pub fn report(call: Call, index: usize, name: &str) -> Result<Report> {
    let given = required(call.raw(index), name)?;
    // SAFETY: the SQL signature says that it is a jsonb.
    if let Some(excess) = unsafe { jsonb::excess(given, &REPORT_BOUNDS) } {
        return Ok(Report::Excessive(excess));
    }
    Ok(Report::Json(required(call.jsonb(index), name)?))
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

/// A moment that has passed. Nothing that is metered here is older than the year 2000, where rollups begin.
pub fn moment(value: Option<Timestamp>) -> Result<Option<Timestamp>> {
    match value {
        Some(at) if at > pg::clock_timestamp() => Err(Error::invalid("p_occurred_at must not be in the future")),
        Some(..0) => Err(Error::invalid("p_occurred_at must not be before 2000-01-01 00:00 UTC")),
        other => Ok(other),
    }
}

/// A caller's text as far as it is worth repeating to him.
pub fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(40).collect()
}
