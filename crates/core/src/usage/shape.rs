//! A usage object as a flat list of paths and values.

use serde_json::{Map, Value};

use super::lexicon::{self, Id, Meaning, Paths};
use super::number::{self, Count};

/// Deepest nesting and most values that are looked at; what is beyond stays unread and is told.
const MOST_LEVELS: usize = 8;
const MOST_LEAVES: usize = 400;

/// One value of the object.
pub struct Leaf<'a> {
    pub meaning: Meaning,
    pub value: &'a Value,
    /// The key, or the list that the value stands in, by its place in [`Leaves::nodes`].
    pub node: usize,
    /// Whether it stands in an object of a list.
    pub in_list: bool,
}

/// A key of the object with the one above it.
struct Node<'a> {
    parent: Option<usize>,
    key: &'a str,
    value: &'a Value,
}

/// Everything that an object says.
#[derive(Default)]
pub struct Leaves<'a> {
    pub list: Vec<Leaf<'a>>,
    nodes: Vec<Node<'a>>,
    /// The paths that are there and say something.
    pub said: Paths,
    /// Whether keys had the prefix of a tracing convention.
    pub traced: bool,
    /// Whether there are iterations, which are usage objects of their own: see [`super::iterations`].
    pub iterates: bool,
}

impl<'a> Leaves<'a> {
    /// Adds an object's values; `within` is the raw key that it stands under, if any.
    pub fn add(&mut self, object: &'a Map<String, Value>) {
        let mut path = String::with_capacity(64);
        self.list.reserve(16);
        self.nodes.reserve(16);
        self.object(object, &mut path, None, 0);
    }

    /// Adds the value of one key.
    pub fn add_key(&mut self, raw: &'a str, value: &'a Value) {
        let mut path = String::new();
        self.key(raw, value, &mut path, None, 0);
    }

    fn object(&mut self, object: &'a Map<String, Value>, path: &mut String, parent: Option<usize>, level: usize) {
        for (raw, value) in object {
            self.key(raw, value, path, parent, level);
        }
    }

    fn key(&mut self, raw: &'a str, value: &'a Value, path: &mut String, parent: Option<usize>, level: usize) {
        if raw == "iterations" && value.is_array() {
            self.iterates = true;
            return;
        }
        // See `beside::image_tool`.
        if raw == super::IMAGE_TOOL && path == "tool_usage" {
            return;
        }
        let end = path.len();
        join(path, raw);
        let node = self.nodes.len();
        self.nodes.push(Node { parent, key: raw, value });
        self.value(value, path, node, level);
        path.truncate(end);
    }

    fn value(&mut self, value: &'a Value, path: &mut String, node: usize, level: usize) {
        match value {
            Value::Object(object) if level < MOST_LEVELS => {
                if !object.is_empty() {
                    self.object(object, path, Some(node), level + 1);
                }
            }
            // Only how long it is says something.
            Value::Array(_) if path.ends_with(".prefill") => {
                self.leaf(path, value, node);
            }
            Value::Array(list) if level < MOST_LEVELS && list.iter().any(Value::is_object) => {
                for item in list.iter().filter_map(Value::as_object) {
                    self.item(item, path, node, level + 1);
                }
            }
            // What kind of thing it is tells readers apart.
            Value::String(word) if matches!(path.as_str(), "type" | "object") && word.len() <= 20 => {
                let path = format!("{path}={word}");
                let id = self.leaf(&path, value, node);
                id.into_iter().for_each(|id| self.said.add(id));
            }
            _ => {
                self.leaf(path, value, node);
            }
        }
    }

    /// An element of a list: a count of a modality, what was written for some time, an attribute, or an object of counts.
    fn item(&mut self, item: &'a Map<String, Value>, path: &mut String, node: usize, level: usize) {
        let end = path.len();
        let first = |keys: &[&str]| keys.iter().find_map(|key| item.get(*key));
        let word = |key: &str| item.get(key).and_then(Value::as_str);
        if let Some(modality) = word("modality") {
            let modality = modality.rsplit('.').next().unwrap_or(modality).to_ascii_lowercase();
            let modality = modality.strip_prefix("modality_").unwrap_or(&modality);
            path.push('.');
            path.push_str(if matches!(modality, "audio" | "image" | "video") { modality } else { "text" });
            path.push_str("_tokens");
            if let Some(count) = first(&["tokenCount", "token_count", "tokens"]) {
                self.leaf(path, count, node);
            }
        } else if let (Some(ttl), Some(count)) = (word("ttl"), first(&["inputTokens", "input_tokens"])) {
            path.push_str(".ttl_");
            path.push_str(if ttl == "1h" { ttl } else { "5m" });
            self.leaf(path, count, node);
        } else if let (Some(name), Some(value)) = (word("key"), item.get("value")) {
            // An attribute of OTLP: its value stands under the name of its type.
            let inner = value.as_object().and_then(|typed| typed.values().next()).unwrap_or(value);
            join(path, name);
            self.leaf(path, inner, node);
        } else if let (Some(kind), Some(count)) = (word("type"), item.get("count")) {
            join(path, kind);
            self.leaf(path, count, node);
        } else {
            // All elements count to the same place.
            for (raw, value) in item {
                let end = path.len();
                join(path, raw);
                self.value(value, path, node, level);
                path.truncate(end);
            }
        }
        path.truncate(end);
    }

    /// Takes a value; gives the number of its path.
    fn leaf(&mut self, path: &str, value: &'a Value, node: usize) -> Option<Id> {
        if self.list.len() >= MOST_LEAVES {
            return None;
        }
        let meaning = lexicon::meaning(path);
        let in_list = self.nodes.get(node).is_some_and(|node| node.value.is_array());
        self.traced |= meaning.traced;
        if says(value) {
            meaning.id.into_iter().for_each(|id| self.said.add(id));
            meaning.below.into_iter().for_each(|id| self.said.add(id));
        }
        self.list.push(Leaf { meaning, value, node, in_list });
        meaning.id
    }

    /// The outermost key that a leaf stands under.
    pub fn outermost(&self, leaf: &Leaf<'_>) -> Option<&'a str> {
        let mut node = self.nodes.get(leaf.node)?;
        while let Some(above) = node.parent.and_then(|parent| self.nodes.get(parent)) {
            node = above;
        }
        Some(node.key)
    }

    /// What was not read, under its own keys; empty values left out.
    pub fn rest(&self, unread: &[usize]) -> Map<String, Value> {
        let mut rest = Map::new();
        for node in unread {
            let Some(Node { value, .. }) = self.nodes.get(*node) else { continue };
            let mut keys = Vec::new();
            let mut at = Some(*node);
            while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
                keys.push(node.key);
                at = node.parent;
            }
            insert(&mut rest, &keys, value);
        }
        rest
    }
}

/// Appends a raw key to a path.
fn join(path: &mut String, raw: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(raw);
}

/// Puts a value under its keys, the outermost of which comes last.
fn insert(rest: &mut Map<String, Value>, keys: &[&str], value: &Value) {
    let Some((outermost, inner)) = keys.split_last() else { return };
    if inner.is_empty() {
        rest.insert((*outermost).to_owned(), super::told::shortened(value));
        return;
    }
    let entry = rest.entry((*outermost).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(object) = entry {
        insert(object, inner, value);
    }
}

/// Whether a value may be a count, or is a list or word.
pub fn says(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(_) => matches!(number::count(value), Count::Whole(_) | Count::RoundedUp(_)),
        Value::Array(_) => true,
        _ => false,
    }
}
