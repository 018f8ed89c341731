//! All that a stream sent, in one list. What is told again in a later chunk is told again, not more.

use serde_json::{Map, Value};

use super::{UNKNOWN, normalize};

const MOST_CHUNKS: usize = 10_000;

/// What a stream says in all of its chunks; nothing where a list is none. The answers to several calls would be more.
pub fn read(provider: &str, list: &[Value]) -> Option<Map<String, Value>> {
    if list.len() > MOST_CHUNKS || !list.iter().all(is_chunk) || !are_of_one(list) {
        return None;
    }
    let mut out = Map::new();
    for chunk in list.iter().filter_map(|chunk| normalize(provider, chunk).ok()) {
        for (key, value) in chunk {
            let told = out.get(&key).and_then(Value::as_i64);
            let is_less = value.as_i64().is_some_and(|count| told.is_some_and(|told| told > count));
            if key != UNKNOWN && !is_less {
                out.insert(key, value);
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A chunk of OpenAI's and those who speak like it, of Gemini's, or an event.
fn is_chunk(chunk: &Value) -> bool {
    let word = |key: &str| chunk.get(key).and_then(Value::as_str);
    word("object").is_some_and(|object| object.ends_with(".chunk"))
        || chunk.get("candidates").is_some()
        || chunk.get("usageMetadata").is_some()
        || word("type").is_some_and(|kind| EVENTS.iter().any(|event| kind.starts_with(event)))
}

/// How the types of events begin: Anthropic's, and those of OpenAI's responses.
const EVENTS: [&str; 5] = ["message_", "content_block_", "ping", "response.", "error"];

/// Whether no two chunks are of different responses.
fn are_of_one(list: &[Value]) -> bool {
    let id = |chunk: &Value| {
        let of =
            |object: &Value| ["id", "responseId"].iter().find_map(|key| Some(object.get(*key)?.as_str()?.to_owned()));
        of(chunk).or_else(|| ["message", "response"].iter().find_map(|key| of(chunk.get(*key)?)))
    };
    let mut ids = list.iter().filter_map(id);
    let first = ids.next();
    ids.all(|other| Some(other) == first)
}
