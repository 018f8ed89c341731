//! A `jsonb` as a value of `serde_json`'s, without its text in between.

use pgrx::pg_sys;
use serde_json::{Number, Value};
use tollgate_core::usage::{Kind, Node};

use super::jsonb::{Bounds, Excess};
use super::jsonb_node::JsonbNode;
use super::value::{GivenJson, Json, output};
use tollgate_core::json;

/// A document that a caller gives, of no more bytes than it may have. The bytes are those that are stored.
pub fn open<'a>(given: &GivenJson, bounds: &'a Bounds) -> Result<JsonbNode<'a>, Excess> {
    // SAFETY: it is a jsonb, which lives as long as the call.
    unsafe {
        if pg_sys::toast_raw_datum_size(given.datum()) > bounds.bytes {
            return Err(Excess::Bytes);
        }
        Ok(JsonbNode::of(given.datum(), bounds))
    }
}

/// What a `jsonb` says that a caller gives, or which bound it exceeds.
pub fn read(given: &GivenJson, bounds: &Bounds) -> Result<Value, Excess> {
    value(open(given, bounds)?)
}

/// What a document says that is within its bounds.
pub fn of(json: &Json) -> Value {
    const ANY: Bounds = Bounds { bytes: usize::MAX, depth: usize::MAX, number: usize::MAX };
    match json {
        // SAFETY: what is stored is a jsonb of this call.
        Json::Stored(stored) => value(unsafe { JsonbNode::of(stored.datum(), &ANY) }).unwrap_or_default(),
        Json::Text(text) => json::parse(text).unwrap_or_default(),
    }
}

/// What a document says, or which bound it exceeds. Nothing is printed but numbers that are short in print.
pub fn value(node: JsonbNode<'_>) -> Result<Value, Excess> {
    let kind = node.kind();
    if matches!(kind, Kind::List | Kind::Object) && node.levels() == 0 {
        return Err(Excess::Depth);
    }
    Ok(match kind {
        Kind::Null => Value::Null,
        Kind::Bool(truth) => Value::Bool(truth),
        Kind::Number => number(node)?,
        Kind::Text(bytes) => Value::String(text(bytes)),
        Kind::List => Value::Array(node.elements().map(value).collect::<Result<_, _>>()?),
        Kind::Object => {
            let members = node.members().map(|(key, member)| Ok((text(key), value(member)?)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
    })
}

/// The database's encoding is UTF-8.
fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}

fn number(node: JsonbNode<'_>) -> Result<Value, Excess> {
    if let Some(whole) = node.whole() {
        return Ok(Value::Number(whole.into()));
    }
    if !node.is_short() {
        return Err(Excess::Number);
    }
    Ok(output(pg_sys::numeric_out, node.numeric()).parse::<Number>().map_or(Value::Null, Value::Number))
}
