//! Where in a response the usage object lies.

use serde_json::{Map, Value};

use super::key;
use super::readers::Reader;
use super::shape::Leaves;
use super::slot::Place;
use super::told;

/// What libraries call the object, the most complete first: all steps of an agent before its last one.
const NAMES: [&str; 8] = [
    "total_usage",
    "usage",
    "usage_metadata",
    "tokens_usage",
    "usage_info",
    "usage_object",
    "usage_details",
    "last_tokens_usage",
];

/// What is looked into next, in this order; of some the name alone says that it is about usage.
const ENVELOPES: [(&str, bool); 24] = [
    ("amazon_bedrock_invocation_metrics", true),
    ("meta", true),
    ("x_groq", true),
    ("billed_units", true),
    ("tokens", true),
    ("metrics", true),
    ("statistics", true),
    ("extra_info", true),
    ("response", false),
    ("body", false),
    ("result", false),
    ("message", false),
    ("metadata", false),
    ("data", false),
    ("info", false),
    ("response_metadata", false),
    ("llm_output", false),
    ("generation_info", false),
    ("kwargs", false),
    ("item", false),
    ("event", false),
    ("output", false),
    ("choices", false),
    ("results", false),
];

/// What is never looked into: a model may write into it what looks like usage.
const CLOSED: [&str; 17] = [
    "content",
    "text",
    "arguments",
    "tool_calls",
    "tools",
    "input",
    "instructions",
    "messages",
    "logprobs",
    "embedding",
    "parts",
    "generated_text",
    "delta",
    "prompt",
    "parameters",
    "output_text",
    "predictions",
];

const MOST_LEVELS: usize = 8;
const MOST_OBJECTS: usize = 500;
const MOST_ITEMS: usize = 50;

/// An object that is read as usage, below those that it lies in, the outermost first.
pub struct Found<'a> {
    pub usage: &'a Map<String, Value>,
    /// Each with the key that leads on.
    pub around: Vec<(&'a Map<String, Value>, &'a str)>,
}

/// The usage object of whatever a caller gives: the object itself, or the first below it that says a count.
pub fn locate<'a>(provider: &str, root: &'a Map<String, Value>) -> Option<Found<'a>> {
    let mut search = Search { provider, around: Vec::new(), objects: 0 };
    let usage = search.object(root, true)?;
    Some(Found { usage, around: search.around })
}

struct Search<'a, 'p> {
    provider: &'p str,
    around: Vec<(&'a Map<String, Value>, &'a str)>,
    objects: usize,
}

impl<'a> Search<'a, '_> {
    fn object(&mut self, object: &'a Map<String, Value>, is_named: bool) -> Option<&'a Map<String, Value>> {
        self.objects += 1;
        if self.objects > MOST_OBJECTS || self.around.len() > MOST_LEVELS {
            return None;
        }
        let children = || object.iter().filter(|(_, value)| value.is_object() || value.is_array());
        let named: Vec<(String, &'a String, &'a Value)> =
            children().map(|(raw, value)| (tidy(raw), raw, value)).collect();
        // By its name, then the object itself, then wherever else.
        for name in NAMES {
            for (_, raw, value) in named.iter().filter(|(tidy, ..)| tidy == name) {
                if let Some(found) = self.below(object, raw, value, true) {
                    return Some(found);
                }
            }
        }
        if counts(self.provider, object, !is_named) {
            return Some(object);
        }
        for (name, is_named) in ENVELOPES {
            for (_, raw, value) in named.iter().filter(|(tidy, ..)| tidy == name) {
                if let Some(found) = self.below(object, raw, value, is_named) {
                    return Some(found);
                }
            }
        }
        for (tidy, raw, value) in &named {
            let tidy = tidy.as_str();
            let looked_at = NAMES.contains(&tidy) || ENVELOPES.iter().any(|(name, _)| *name == tidy);
            if looked_at || CLOSED.contains(&tidy) {
                continue;
            }
            if let Some(found) = self.below(object, raw, value, false) {
                return Some(found);
            }
        }
        None
    }

    fn below(
        &mut self,
        object: &'a Map<String, Value>,
        raw: &'a str,
        value: &'a Value,
        is_named: bool,
    ) -> Option<&'a Map<String, Value>> {
        self.around.push((object, raw));
        let found = match value {
            Value::Object(inner) => self.object(inner, is_named),
            Value::Array(list) => {
                list.iter().take(MOST_ITEMS).filter_map(Value::as_object).find_map(|inner| self.object(inner, false))
            }
            _ => None,
        };
        if found.is_none() {
            self.around.pop();
        }
        found
    }
}

fn tidy(raw: &str) -> String {
    let mut tidy = String::new();
    key::push(&mut tidy, raw);
    tidy
}

/// Whether an object says a count by itself. Somewhere deep in a response only a key that speaks of tokens is believed.
fn counts(provider: &str, object: &Map<String, Value>, only_tokens: bool) -> bool {
    let mut leaves = Leaves::default();
    leaves.add(object);
    let reader = Reader::of(provider, &leaves);
    leaves.list.iter().any(|leaf| {
        let counted = matches!(
            reader.place(&leaf.path),
            Some(Place::Tokens(_) | Place::Length(_) | Place::Quantity(_) | Place::Guardrail(_))
        );
        counted && (!only_tokens || leaf.path.contains("tokens")) && leaves.has(&leaf.path)
    })
}

/// Keys beside the usage object, or around it, that are read as part of it.
const BESIDE: [&str; 14] = [
    "service_tier",
    "traffic_type",
    "tool_usage",
    "tool_usage_details",
    "server_side_tool_usage",
    "server_side_tool_usage_details",
    "server_side_tools_used",
    "cost_in_usd_ticks",
    "provider_metadata",
    "experimental_provider_metadata",
    "is_byok",
    "speed",
    "inference_geo",
    "search_context_size",
];

/// Adds what stands beside the usage object to its leaves, the innermost first; the rest of it that is about usage comes back.
pub fn beside<'a>(found: &Found<'a>, leaves: &mut Leaves<'a>) -> Map<String, Value> {
    let mut rest = Map::new();
    for (around, inner) in found.around.iter().rev() {
        for (raw, value) in around.iter().filter(|(raw, _)| raw != inner) {
            let tidy = tidy(raw);
            if BESIDE.contains(&tidy.as_str()) {
                leaves.add_key(raw, value);
            } else if told::is_measure(&tidy) && told::says_something(value) && !rest.contains_key(raw) {
                rest.insert(raw.clone(), told::shortened(value));
            }
        }
    }
    rest
}
