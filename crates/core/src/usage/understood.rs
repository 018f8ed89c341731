//! A usage object as the ledger takes it: what is priced, and what else it says.

use serde_json::{Map, Value};

use super::compiled::{Compiled, Provider};
use super::locate::Found;
use super::met::{self, Counted};
use super::node::Node;
use super::reading::Reading;
use super::shape::Leaves;
use super::{OTHER_MODELS, REPORTED_COST, SERVICE_TIER, UNKNOWN, locate, normalized, number, own, told};
use crate::money::Picos;
use crate::pricing::{Tier, Usage, UsageError};

/// The longest name of a region or the like, in bytes. A user's id is longer.
const MAX_NAME: usize = 24;
/// Most names of what was not understood.
const MAX_NAMES: usize = 50;
/// Most bytes of an object that is kept as it came.
const MAX_KEPT: usize = 60_000;

/// What another model used on behalf of the one that was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherModel {
    pub name: String,
    pub usage: Usage,
}

/// What was understood of a usage object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    pub input: i64,
    pub output: i64,
    pub usage: Usage,
    pub tier: Option<String>,
    pub reported_cost: Option<Picos>,
    pub other_models: Vec<OtherModel>,
    /// The names of what was not.
    pub not_understood: Vec<String>,
}

/// Reads a report as a provider, gateway or library gave it; gives it in our form, too. Why it cannot, as a clause.
pub fn understand(provider: &str, raw: &Value) -> Result<(Understood, Map<String, Value>), String> {
    // Where a gateway tells a cost and no count, as of images and videos, the cost is all there is to know.
    let remember = |found: &Found<'_>, reading: &Reading| met::meet(provider, found, reading);
    let ours = normalized(provider, raw, &remember).or_else(|why| {
        let cost = raw.as_object().and_then(super::reported_cost).ok_or(why)?;
        Ok::<_, String>(with_wholes([cost].into_iter().collect(), 0, 0))
    })?;
    let understood = understood(&ours).map_err(|error| error.to_string())?;
    Ok((understood, ours))
}

/// Reads a report where it lies, if one of its shape was understood before, with the same result.
pub fn recognise<'a>(provider: &str, report: impl Node<'a>) -> Option<(Understood, Counted)> {
    let counted = met::met(provider, report)?;
    let Counted { resolved, quantities, words, tier, cost } = &counted;
    let mut more = Map::new();
    more.extend(quantities.iter().map(|(key, units)| ((*key).to_owned(), number::fraction(*units))));
    more.extend(words.iter().map(|(key, word)| ((*key).to_owned(), word.as_str().into())));
    let understood = Understood {
        input: resolved.input,
        output: resolved.output,
        usage: Usage::counted(resolved.input, resolved.output, &resolved.parts, &more).ok()?,
        tier: tier.as_deref().and_then(super::reading::tier),
        reported_cost: *cost,
        other_models: Vec::new(),
        not_understood: Vec::new(),
    };
    Some((understood, counted))
}

/// Reads what stands in `p_usage` beside the wholes that the caller counted. Keys of our own form mean what they say;
/// otherwise it is a report, whose parts are taken in whatever spelling, and whose wholes where the caller gives none.
pub fn understand_parts(provider: &str, input: i64, output: i64, raw: &Value) -> Result<Understood, UsageError> {
    let object = match raw {
        Value::Null => return understood(&with_wholes(Map::new(), input, output)),
        Value::Object(object) => object,
        _ => return Err(UsageError::NotAnObject),
    };
    if says_parts(object) {
        return understood(&with_wholes(object.clone(), input, output));
    }
    understood(&parts(&Provider::new(provider), input, output, object))
}

/// What of it is understood, in our form, and nothing of the caller's own words: it costs as before. `None` where nothing
/// is understood.
pub fn understood_alone(provider: &str, input: i64, output: i64, raw: &Value) -> Option<Map<String, Value>> {
    let before = understand_parts(provider, input, output, raw).ok()?;
    let object = raw.as_object()?;
    let mut ours =
        if says_parts(object) { object.clone() } else { parts(&Provider::new(provider), input, output, object) };
    ours.remove(UNKNOWN);
    let after = understand_parts(provider, input, output, &Value::Object(ours.clone())).ok()?;
    if (Understood { not_understood: Vec::new(), ..before }) != after {
        return None;
    }
    ours.retain(|key, value| keep_names(key, value));
    understand_parts(provider, input, output, &Value::Object(ours.clone())).ok()?;
    Some(ours)
}

/// Leaves counts, and names by which prices go. Says whether anything is left.
fn keep_names(key: &str, value: &mut Value) -> bool {
    match value {
        Value::String(name) if key == SERVICE_TIER => {
            *name = Tier::parse(Some(name)).as_str().to_owned();
            true
        }
        Value::String(name) => is_name(name),
        Value::Array(others) if key == OTHER_MODELS => {
            for other in others.iter_mut().filter_map(Value::as_object_mut) {
                other.retain(|key, value| key == "model" || keep_names(key, value));
            }
            true
        }
        Value::Object(units) => {
            units.retain(|_, value| value.is_number());
            true
        }
        Value::Number(_) | Value::Bool(_) => true,
        Value::Array(_) | Value::Null => false,
    }
}

/// Whether a word may be a region's, a size's or a speed's in a price list, such as `us-east-1` or `1024x1024`.
fn is_name(word: &str) -> bool {
    word.len() <= MAX_NAME
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Whether it is in our own form, with wholes or without.
fn says_parts(object: &Map<String, Value>) -> bool {
    let has_wholes = object.contains_key("input_tokens") || object.contains_key("output_tokens");
    object.keys().all(|key| own::is_own_key(key)) && (!has_wholes || own::is_own(object))
}

fn with_wholes(mut object: Map<String, Value>, input: i64, output: i64) -> Map<String, Value> {
    object.insert("input_tokens".to_owned(), input.into());
    object.insert("output_tokens".to_owned(), output.into());
    object
}

fn parts(provider: &Provider<'_>, input: i64, output: i64, object: &Map<String, Value>) -> Map<String, Value> {
    let mut found = locate::locate(provider, object);
    // A report whose own wholes are those that the caller gives, or who gives none, is read as one.
    if found.as_ref().is_some_and(|found| own::says_wholes(&found.leaves, input, output))
        && let Ok(reported) = super::reported(provider, object)
    {
        return reported;
    }
    let rest = found.as_mut().map(|found| locate::beside(provider, found)).unwrap_or_default();
    let (leaves, reader) = found.map_or_else(
        || {
            let mut leaves = Leaves::default();
            leaves.add(object);
            let reader = Compiled::of(provider, &leaves);
            (leaves, reader)
        },
        |found| (found.leaves, found.reader),
    );
    let mut reading = Reading::new(reader, rest);
    reading.read_parts(&leaves, input, output);
    reading.finish(&leaves)
}

fn understood(ours: &Map<String, Value>) -> Result<Understood, UsageError> {
    let (mut input, mut output, mut tier, mut reported_cost) = (0, 0, None, None);
    let (mut other_models, mut not_understood) = (Vec::new(), Vec::new());
    for (key, value) in ours {
        match key.as_str() {
            "input_tokens" => input = value.as_i64().unwrap_or(0),
            "output_tokens" => output = value.as_i64().unwrap_or(0),
            SERVICE_TIER => tier = value.as_str().and_then(super::reading::tier),
            REPORTED_COST => reported_cost = number::money(value, 0),
            UNKNOWN => not_understood = value.as_object().map(names).unwrap_or_default(),
            // Only a report tells of other models, and there each is an object of counts.
            OTHER_MODELS => {
                let others = value.as_array().into_iter().flatten();
                other_models = others.map(other_model).collect::<Result<Vec<_>, _>>()?;
            }
            _ => {}
        }
    }
    let usage = Usage::of(input, output, ours)?;
    Ok(Understood { input, output, usage, tier, reported_cost, other_models, not_understood })
}

fn other_model(other: &Value) -> Result<OtherModel, UsageError> {
    let object = other.as_object().ok_or(UsageError::NotAnObject)?;
    let whole = |key: &str| object.get(key).and_then(Value::as_i64).unwrap_or(0);
    Ok(OtherModel {
        name: object.get("model").and_then(Value::as_str).unwrap_or_default().to_owned(),
        usage: Usage::of(whole("input_tokens"), whole("output_tokens"), object)?,
    })
}

/// The keys of what was not understood, with those below them.
fn names(unknown: &Map<String, Value>) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in unknown {
        match value.as_object() {
            Some(inner) if !inner.is_empty() => names.extend(inner.keys().map(|below| format!("{key}.{below}"))),
            _ => names.push(key.clone()),
        }
    }
    names.truncate(MAX_NAMES);
    names
}

/// A report that was not understood, as far as it is kept: all of it, unless it is long.
pub fn kept(raw: Value) -> Value {
    let raw = if raw.is_object() { raw } else { serde_json::json!({ UNKNOWN: raw }) };
    if raw.to_string().len() <= MAX_KEPT {
        return raw;
    }
    match told::shortened(&raw) {
        Value::Object(object) => Value::Object(told::bounded(object)),
        other => other,
    }
}
