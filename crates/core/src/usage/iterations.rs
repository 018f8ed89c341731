//! Anthropic's `iterations`: what one request ran beside the message that its totals are of.

use serde_json::{Map, Value};

use super::compiled::Provider;
use super::{OTHER_MODELS, UNKNOWN, reported};

const MOST: usize = 1_000;

/// An object that leaves its wholes to its iterations, with what they sum up to; `None` for every other.
pub fn summed(usage: &Map<String, Value>) -> Option<Map<String, Value>> {
    let list = usage.get("iterations")?.as_array()?;
    if usage.contains_key("input_tokens") {
        return None;
    }
    let included = |item: &&Value| item.get("type").and_then(Value::as_str).is_none_or(is_included);
    let mut summed = usage.clone();
    for key in ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"] {
        let counts = list.iter().take(MOST).filter(included).filter_map(|item| item.get(key)?.as_i64());
        if let Some(sum) = counts.reduce(i64::saturating_add).filter(|_| !usage.contains_key(key)) {
            summed.insert(key.to_owned(), sum.into());
        }
    }
    summed.contains_key("input_tokens").then_some(summed)
}

/// Whether the totals have it in them.
fn is_included(kind: &str) -> bool {
    matches!(kind, "message" | "") || kind.starts_with("fallback")
}

/// Adds a compaction's tokens to the wholes, tells an adviser's and an image tool's apart under their models, and leaves
/// what the totals include.
pub fn add(
    provider: &Provider<'_>,
    usage: &Map<String, Value>,
    image_tool: Option<Value>,
    out: &mut Map<String, Value>,
) {
    let list = usage.get("iterations").and_then(Value::as_array);
    let mut others = Vec::from_iter(image_tool);
    let mut unknown = Vec::new();
    for item in list.into_iter().flatten().take(MOST) {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        if is_included(kind) {
            continue;
        }
        let counts = without_type(item).and_then(|counts| reported(provider, &counts).ok());
        match counts {
            Some(counts) if kind == "compaction" => sum(out, &counts),
            Some(mut counts) if kind.starts_with("advisor") => {
                counts.remove(UNKNOWN);
                counts.insert("type".to_owned(), kind.into());
                if let Some(model) = item.get("model").filter(|model| model.is_string()) {
                    counts.insert("model".to_owned(), super::told::shortened(model));
                }
                others.push(Value::Object(counts));
            }
            _ => unknown.push(super::told::shortened(item)),
        }
    }
    if !others.is_empty() {
        out.insert(OTHER_MODELS.to_owned(), Value::Array(others));
    }
    if !unknown.is_empty() {
        let rest = out.entry(UNKNOWN).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(rest) = rest {
            rest.insert("iterations".to_owned(), Value::Array(unknown));
        }
    }
}

/// The entry as a usage object of its own, whose counts are Anthropic's also where it has no cache.
fn without_type(item: &Value) -> Option<Map<String, Value>> {
    let mut item = item.as_object()?.clone();
    item.remove("type");
    item.remove("model");
    item.remove("iterations");
    item.entry("cache_read_input_tokens").or_insert(0.into());
    Some(item)
}

/// Adds the counts of one object of our form to another's.
fn sum(out: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        let Some(count) = value.as_i64() else { continue };
        let told = out.get(key).and_then(Value::as_i64).unwrap_or(0);
        out.insert(key.clone(), told.saturating_add(count).into());
    }
}
