//! What a whole response says of usage outside of its usage object: tools that ran, images that were made, a batch.

use serde_json::{Map, Value};

use super::compiled::Provider;
use super::node::{Kind, Node};
use super::number::Count;
use super::quantities::{self, Quantities};
use super::{IMAGE_TOOL, UNKNOWN, reported};

const MOST_ITEMS: usize = 1_000;

fn objects<'a>(object: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    let list = object.get(key).and_then(Value::as_array);
    list.into_iter().flatten().take(MOST_ITEMS).filter_map(Value::as_object)
}

/// The objects in a list.
fn listed<'a, N: Node<'a>>(list: Option<N>) -> impl Iterator<Item = N> {
    list.map(Node::elements).into_iter().flatten().take(MOST_ITEMS).filter(|item| item.kind() == Kind::Object)
}

fn either<'a, N: Node<'a>>(object: N, keys: [&str; 2]) -> Option<N> {
    keys.into_iter().find_map(|key| object.get(key))
}

fn word<'a, N: Node<'a>>(object: Option<N>, key: &str) -> Option<&'a [u8]> {
    object?.get(key)?.text()
}

/// Searches, maps and containers in the `output` or among the `candidates` of a response.
pub fn tools<'a, N: Node<'a>>(
    output: Option<N>,
    candidates: Option<N>,
) -> impl Iterator<Item = (&'static str, usize)> + use<N> {
    let (mut searches, mut containers, mut calls) = (0, Vec::new(), 0);
    for item in listed(output) {
        match word(Some(item), "type") {
            Some(b"web_search_call") => {
                let action = word(item.get("action"), "type");
                searches += usize::from(action.is_none_or(|action| action == b"search"));
            }
            Some(b"code_interpreter_call") => {
                calls = 1;
                let container = word(Some(item), "container_id");
                containers.extend(container.filter(|id| !containers.contains(id)));
            }
            _ => {}
        }
    }
    let mut maps = 0;
    for candidate in listed(candidates) {
        let Some(grounding) = either(candidate, ["groundingMetadata", "grounding_metadata"]) else { continue };
        let queries = either(grounding, ["webSearchQueries", "web_search_queries"]);
        let queries = queries.map_or(0, |list| list.elements().filter(|query| query.text() != Some(b"")).count());
        let chunks = ["groundingChunks", "grounding_chunks"].map(|key| grounding.get(key));
        let has = |kind: &str| chunks.iter().any(|list| listed(*list).any(|chunk| chunk.get(kind).is_some()));
        searches += if queries == 0 { usize::from(has("web")) } else { queries };
        maps += usize::from(has("maps"));
    }
    let counts = [
        ("web_search_requests", searches),
        ("google_maps_requests", maps),
        ("code_interpreter_sessions", containers.len().max(calls)),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0)
}

/// The tools that xAI says it ran, one name for each time.
pub fn tools_run(value: &Value, told: &mut Quantities) -> bool {
    let Some(list) = value.as_array() else { return value.is_null() };
    let is_search = |item: &&Value| item.as_str().is_some_and(|name| name.to_ascii_lowercase().ends_with("web_search"));
    let searches = list.iter().filter(is_search).count();
    quantities::put(told, "web_search_requests", quantities::whole(searches));
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

/// Where responses say how long something was, of what it is the length, and the decimals of its unit. It is said in a
/// recording's metadata, or alone.
const LENGTHS: [(&[&str], &str, u32); 11] = [
    (&["usage", "duration"], "input_seconds", 0),
    (&["duration"], "input_seconds", 0),
    (&["durationMilliseconds"], "input_seconds", 3),
    (&["audio_duration_ms"], "input_seconds", 3),
    (&["totalBilledTime"], "input_seconds", 0),
    (&["metadata", "totalBilledDuration"], "input_seconds", 0),
    (&["metadata", "billing_time"], "input_seconds", 0),
    (&["metadata", "audio_duration"], "input_seconds", 0),
    (&["transcription_info", "duration"], "input_seconds", 0),
    (&["job", "duration"], "input_seconds", 0),
    (&["video", "duration"], "output_seconds", 0),
];

/// What holds the response of one that says no usage.
const HOLDERS: [&str; 4] = ["result", "response", "body", "output"];

/// What responses say that have no usage object: images, vectors with statistics, one ranking or search, a recording's
/// length.
pub fn without_usage(root: &Map<String, Value>) -> Option<Map<String, Value>> {
    said(root).or_else(|| HOLDERS.iter().find_map(|key| root.get(*key)?.as_object()).and_then(without_usage))
}

fn said(root: &Map<String, Value>) -> Option<Map<String, Value>> {
    let statistics = objects(root, "predictions").filter_map(|item| item.get("embeddings")?.get("statistics"));
    let tokens = statistics.filter_map(|statistics| statistics.get("token_count").map(super::number::count));
    let tokens = tokens.filter_map(|count| if let Count::Whole(count) = count { Some(count) } else { None });
    if let Some(tokens) = tokens.reduce(i64::saturating_add) {
        return Some(only("input_tokens", tokens.into()));
    }
    let images = images(root);
    if images > 0 {
        return Some(only("output_images", images.into()));
    }
    let ranked = |item: &Map<String, Value>| {
        ["relevance_score", "relevanceScore", "url"].iter().any(|key| item.contains_key(*key))
    };
    if objects(root, "results").any(ranked) {
        return Some(only("queries", 1.into()));
    }
    // Transcriptions of some say no more than how long the recording was.
    let recorded = root.get("metadata").filter(|metadata| metadata.get("channels").is_some());
    let recorded = recorded.and_then(|metadata| Some((metadata.get("duration")?, "input_seconds", 0)));
    // Beside a usage object it is how long the call took.
    let is_told = |path: &[&str]| path != ["duration"] || !root.get("usage").is_some_and(Value::is_object);
    let told = LENGTHS.iter().filter(|(path, ..)| is_told(path)).find_map(|(path, key, places)| {
        let (first, rest) = path.split_first()?;
        Some((rest.iter().try_fold(root.get(*first)?, |value, key| value.get(*key))?, *key, *places))
    });
    let (length, key, places) = recorded.or(told)?;
    let units = super::number::quantity(length).ok()?? / 10_i128.pow(places);
    (units > 0).then(|| only(key, super::number::fraction(units)))
}

/// How many images a response holds, or where to find them.
fn images(root: &Map<String, Value>) -> usize {
    let has =
        |item: &Map<String, Value>, keys: &[&str]| keys.iter().any(|key| item.get(*key).is_some_and(Value::is_string));
    let words = |list: Option<&Value>| {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter(|item| item.as_str().is_some_and(|image| !image.is_empty())).count()
    };
    let in_lists = objects(root, "data").chain(objects(root, "images")).chain(objects(root, "artifacts"));
    let listed = in_lists.filter(|item| has(item, &["url", "b64_json", "base64", "base64Data"])).count();
    let predicted = objects(root, "predictions").filter(|item| has(item, &["bytesBase64Encoded", "gcsUri"])).count();
    let alone = usize::from(has(root, &["image", "sample"]));
    let below = root.get("data").and_then(|data| data.get("image_urls"));
    listed + predicted + words(root.get("images")) + words(below) + alone
}

fn only(key: &str, value: Value) -> Map<String, Value> {
    let wholes = [("input_tokens".to_owned(), 0.into()), ("output_tokens".to_owned(), 0.into())];
    wholes.into_iter().chain([(key.to_owned(), value)]).collect()
}
