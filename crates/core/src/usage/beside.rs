//! What a whole response says of usage outside of its usage object: tools that ran, images that were made, a batch.

use serde_json::{Map, Value};

use super::compiled::Provider;
use super::number::Count;
use super::{IMAGE_TOOL, UNKNOWN, reported};

const MOST_ITEMS: usize = 1_000;

type Quantities = Vec<(&'static str, Value)>;

fn put(quantities: &mut Quantities, key: &'static str, count: usize) {
    if count > 0 && !quantities.iter().any(|(known, _)| *known == key) {
        quantities.push((key, count.into()));
    }
}

fn objects<'a>(object: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let list = object.get(key).and_then(Value::as_array);
    list.into_iter().flatten().take(MOST_ITEMS).filter_map(Value::as_object)
}

fn first<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().find_map(|key| object.get(*key))
}

fn length(value: Option<&Value>) -> usize {
    let list = value.and_then(Value::as_array);
    list.map_or(0, |list| list.iter().filter(|item| item.as_str() != Some("")).count())
}

/// Searches, maps and containers among what a response put out, unless its usage counts them.
pub fn tools(response: &Map<String, Value>, quantities: &mut Quantities) {
    let (mut searches, mut containers, mut calls) = (0, Vec::new(), 0);
    for item in objects(response, "output") {
        match item.get("type").and_then(Value::as_str) {
            Some("web_search_call") => {
                let action = item.get("action").and_then(|action| action.get("type")).and_then(Value::as_str);
                searches += usize::from(action.is_none_or(|action| action == "search"));
            }
            Some("code_interpreter_call") => {
                calls = 1;
                let container = item.get("container_id").and_then(Value::as_str);
                containers.extend(container.filter(|id| !containers.contains(id)));
            }
            _ => {}
        }
    }
    let mut maps = 0;
    for candidate in objects(response, "candidates") {
        let grounding = first(candidate, &["groundingMetadata", "grounding_metadata"]).and_then(Value::as_object);
        let Some(grounding) = grounding else { continue };
        let queries = length(first(grounding, &["webSearchQueries", "web_search_queries"]));
        let chunks = ["groundingChunks", "grounding_chunks"];
        let has = |kind: &str| chunks.iter().any(|key| objects(grounding, key).any(|chunk| chunk.contains_key(kind)));
        searches += if queries == 0 { usize::from(has("web")) } else { queries };
        maps += usize::from(has("maps"));
    }
    put(quantities, "web_search_requests", searches);
    put(quantities, "google_maps_requests", maps);
    put(quantities, "code_interpreter_sessions", containers.len().max(calls));
}

/// The tools that xAI says it ran, one name for each time.
pub fn tools_run(value: &Value, quantities: &mut Quantities) -> bool {
    let Some(list) = value.as_array() else { return value.is_null() };
    let is_search = |item: &&Value| item.as_str().is_some_and(|name| name.to_ascii_lowercase().ends_with("web_search"));
    let searches = list.iter().filter(is_search).count();
    put(quantities, "web_search_requests", searches);
    searches == list.len()
}

/// The tokens of the image model that a response's tool called, which its usage leaves out; the model is named where the
/// tool is.
pub fn image_tool(provider: &Provider<'_>, response: &Map<String, Value>) -> Option<Value> {
    let counts = response.get("tool_usage")?.get(IMAGE_TOOL)?.as_object()?;
    let mut counts = reported(provider, counts).ok().filter(|counts| counts.values().any(|count| *count != 0))?;
    let kind = |tool: &&Map<String, Value>| tool.get("type").and_then(Value::as_str) == Some("image_generation");
    let model = objects(response, "tools").find(kind).and_then(|tool| tool.get("model")).filter(|it| it.is_string());
    counts.remove(UNKNOWN);
    counts.insert("type".to_owned(), IMAGE_TOOL.into());
    if let Some(model) = model {
        counts.insert("model".to_owned(), super::told::shortened(model));
    }
    Some(Value::Object(counts))
}

/// What is around the usage of a call in a batch, by its provider: a line of the output at OpenAI and Mistral, which holds
/// a whole HTTP response, at Anthropic, at Bedrock, at Vertex.
const BATCH_LINES: [&[&str]; 4] = [
    &["status_code", "body"],
    &["custom_id", "result"],
    &["recordId", "modelInput", "modelOutput"],
    &["request", "response", "processed_time"],
];

/// What a batch's line holds is billed as a batch, and so is what OpenAI sums up of a whole one.
pub fn batch(object: &Map<String, Value>, tier: &mut Option<String>) {
    let is_usual = tier.as_deref().is_none_or(|tier| matches!(tier, "default" | "standard"));
    let has = |keys: &&[&str]| keys.iter().all(|key| object.contains_key(*key));
    let is_whole = || object.get("object").and_then(Value::as_str) == Some("batch");
    if is_usual && (BATCH_LINES.iter().any(has) || is_whole()) {
        *tier = Some("batch".to_owned());
    }
}

/// What responses say that have no usage object: images, vectors with statistics, one ranking, a recording's length.
pub fn without_usage(root: &Map<String, Value>) -> Option<Map<String, Value>> {
    let has =
        |item: &Map<String, Value>, keys: &[&str]| keys.iter().any(|key| item.get(*key).is_some_and(Value::is_string));
    let in_lists = objects(root, "data").chain(objects(root, "images"));
    let mut images = in_lists.filter(|item| has(item, &["url", "b64_json"])).count();
    images += objects(root, "predictions").filter(|item| has(item, &["bytesBase64Encoded", "gcsUri"])).count();
    images += objects(root, "artifacts").filter(|item| has(item, &["base64"])).count();
    if let Some(list) = root.get("images").and_then(Value::as_array) {
        images += list.iter().filter(|item| item.as_str().is_some_and(|image| !image.is_empty())).count();
    }
    let statistics = objects(root, "predictions").filter_map(|item| item.get("embeddings")?.get("statistics"));
    let tokens = statistics.filter_map(|statistics| statistics.get("token_count").map(super::number::count));
    let tokens = tokens.filter_map(|count| if let Count::Whole(count) = count { Some(count) } else { None });
    if let Some(tokens) = tokens.reduce(i64::saturating_add) {
        return Some(only("input_tokens", tokens.into()));
    }
    if images > 0 {
        return Some(only("output_images", images.into()));
    }
    let ranked =
        |item: &Map<String, Value>| ["relevance_score", "relevanceScore"].iter().any(|key| item.contains_key(*key));
    if objects(root, "results").any(ranked) {
        return Some(only("queries", 1.into()));
    }
    // Transcriptions of some say no more than how long the recording was.
    let below = |key: &str| root.get(key).and_then(Value::as_object);
    let recorded = below("metadata").filter(|metadata| metadata.contains_key("channels"));
    let duration = below("usage").or(recorded).unwrap_or(root).get("duration");
    let seconds = super::number::quantity(duration?).ok()??;
    (seconds > 0).then(|| only("input_seconds", super::number::fraction(seconds)))
}

fn only(key: &str, value: Value) -> Map<String, Value> {
    let wholes = [("input_tokens".to_owned(), 0.into()), ("output_tokens".to_owned(), 0.into())];
    wholes.into_iter().chain([(key.to_owned(), value)]).collect()
}
