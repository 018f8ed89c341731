//! What is not understood, as far as it is worth keeping: never a message, never without a bound.

use serde_json::{Map, Value};

/// Longest word, longest list and largest object that are told in full.
const MOST_BYTES: usize = 200;
const MOST_ITEMS: usize = 50;
const MOST_TOLD: usize = 16 * 1024;
const MOST_LEVELS: usize = 16;

/// What holds what a model read or wrote, or says how to: no usage.
const CONTENT: [&str; 67] = [
    "annotations",
    "arguments",
    "artifacts",
    "background",
    "candidates",
    "choices",
    "content",
    "content_block",
    "context",
    "created",
    "created_at",
    "data",
    "delta",
    "done",
    "done_reason",
    "embedding",
    "embeddings",
    "embeddings_by_type",
    "error",
    "finish_reason",
    "finish_reasons",
    "generated_text",
    "generation",
    "generations",
    "id",
    "image",
    "images",
    "index",
    "input",
    "instructions",
    "logprobs",
    "message",
    "messages",
    "metadata",
    "model",
    "name",
    "object",
    "output",
    "output_text",
    "parallel_tool_calls",
    "parts",
    "predictions",
    "previous_response_id",
    "prompt",
    "reasoning",
    "response",
    "response_format",
    "role",
    "search_results",
    "segments",
    "status",
    "status_code",
    "stop_reason",
    "stop_sequence",
    "system_fingerprint",
    "text",
    "token",
    "tool_calls",
    "tool_choice",
    "tools",
    "transcript",
    "type",
    "words",
    "custom_id",
    "raw",
    "native_usage",
    "completion_reason",
];

/// Words that a key has which stands beside a usage object and says how much was used or what it costs.
const MEASURES: [&str; 16] = [
    "usage",
    "token",
    "cost",
    "price",
    "billed",
    "billing",
    "tier",
    "traffic",
    "search",
    "grounding",
    "credit",
    "units",
    "seconds",
    "characters",
    "byok",
    "charge",
];

/// Whether a key's value is what the model read or wrote.
pub fn is_content(tidy: &str) -> bool {
    CONTENT.contains(&tidy)
}

/// Whether a key beside a usage object is about usage.
pub fn is_measure(tidy: &str) -> bool {
    !tidy.starts_with("max_") && !is_content(tidy) && MEASURES.iter().any(|word| tidy.contains(word))
}

/// Whether anything but nothing is in it: no null, and no object or list of nothing.
pub fn says_something(value: &Value) -> bool {
    within(value, MOST_LEVELS)
}

fn within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Null => false,
        Value::Object(object) => levels > 0 && object.values().any(|value| within(value, levels - 1)),
        Value::Array(list) => levels > 0 && list.iter().any(|value| within(value, levels - 1)),
        _ => true,
    }
}

/// A copy in which no word, number or list is long and nothing is deep.
pub fn shortened(value: &Value) -> Value {
    cut(value, MOST_LEVELS)
}

fn cut(value: &Value, levels: usize) -> Value {
    match value {
        Value::Number(number) if number.as_str().len() > MOST_BYTES => {
            Value::String(format!("a number of {} digits", number.as_str().len()))
        }
        Value::String(text) if text.len() > MOST_BYTES => {
            let mut end = MOST_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Value::String(format!("{}…", text.get(..end).unwrap_or_default()))
        }
        Value::Array(_) | Value::Object(_) if levels == 0 => Value::String("…".to_owned()),
        Value::Array(list) => Value::Array(list.iter().take(MOST_ITEMS).map(|value| cut(value, levels - 1)).collect()),
        Value::Object(object) => {
            let cut_keys = object.iter().take(MOST_ITEMS).map(|(key, value)| (short_key(key), cut(value, levels - 1)));
            Value::Object(cut_keys.collect())
        }
        other => other.clone(),
    }
}

fn short_key(key: &str) -> String {
    key.chars().take(MOST_BYTES).collect()
}

/// The rest without what says nothing, and its keys alone where it would be too much.
pub fn bounded(mut rest: Map<String, Value>) -> Map<String, Value> {
    if rest.is_empty() {
        return rest;
    }
    rest.retain(|_, value| says_something(value));
    let size = Value::Object(rest.clone()).to_string().len();
    if size <= MOST_TOLD {
        return rest;
    }
    let keys = rest.into_iter().take(MOST_ITEMS).map(|(key, _)| (short_key(&key), Value::String("…".to_owned())));
    keys.collect()
}
