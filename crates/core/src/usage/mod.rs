//! What a provider, gateway or client library reports as usage, in the one form that prices go by.
//!
//! What providers call the same thing differs, and so does what includes what: OpenAI counts cached tokens among the input,
//! Anthropic beside it; xAI counts reasoning beside the output. The way of an object:
//!
//! 1. [`locate`] finds it, alone or in a whole response, and what stands beside it.
//! 2. [`shape`] makes a flat list of it, in which [`key`] has one spelling for each key.
//! 3. [`readers`] says who speaks like that, and with [`slot`] where each count goes.
//! 4. [`resolve`] makes parts of it that fit their wholes.
//!
//! What is not understood comes back under `unknown`, as far as [`told`] lets it. Where no count is recognised there is
//! no answer rather than 0.

mod beside;
mod compiled;
mod iterations;
mod key;
mod learning;
mod lexicon;
mod locate;
mod met;
mod node;
mod number;
mod own;
mod quantities;
mod readers;
mod reading;
mod resolve;
mod role;
mod shape;
mod slot;
mod stream;
mod told;
mod understood;

pub use met::Counted;
pub use node::{Kind, Node};
pub use understood::{OtherModel, Understood, kept, recognise, understand, understand_parts, understood_alone};

use serde_json::{Map, Value};

use compiled::{Compiled, Provider};
use locate::Found;
use number::Count;
use reading::Reading;
use shape::Leaves;
use slot::Place;

/// What is not known comes back under this key, as it was.
pub const UNKNOWN: &str = "unknown";
/// What a gateway says that the call cost, in US dollars.
pub const REPORTED_COST: &str = "reported_cost_usd";
/// What other models used on behalf of this one: each with its name and counts of this form.
pub const OTHER_MODELS: &str = "other_models";
/// What an image model used on behalf of a response, below its `tool_usage`.
const IMAGE_TOOL: &str = "image_gen";
/// The tier that the call was served in.
pub const SERVICE_TIER: &str = "service_tier";

/// A usage object in our form: `input_tokens` and `output_tokens`, inclusive; parts that are not zero; what else is charged;
/// and under `unknown` whatever has no place there. An object of that form comes back as it is.
pub fn normalize(provider: &str, raw: &Value) -> Result<Map<String, Value>, String> {
    normalized(provider, raw, &|_, _| {})
}

/// The same, and what is to be done with what was read before it is brought into our form.
fn normalized(provider: &str, raw: &Value, then: &dyn Fn(&Found<'_>, &Reading)) -> Result<Map<String, Value>, String> {
    let raw = match raw {
        // Hugging Face's answer to one input.
        Value::Array(list) if list.len() == 1 => list.first().and_then(Value::as_object),
        Value::Array(list) => return stream::read(provider, list).ok_or_else(|| "it is no JSON object".to_owned()),
        // An object that was written as JSON twice.
        Value::String(text) if text.starts_with('{') => {
            let inner: Value = serde_json::from_str(text).map_err(|_| "it is no JSON object".to_owned())?;
            return normalized(provider, &inner, then);
        }
        raw => raw.as_object(),
    };
    let raw = raw.ok_or("it is no JSON object")?;
    if own::is_own(raw) {
        return Ok(raw.clone());
    }
    reported_and(&Provider::new(provider), raw, then)
}

/// The same for an object that is in another form.
fn reported(provider: &Provider<'_>, raw: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    reported_and(provider, raw, &|_, _| {})
}

fn reported_and(
    provider: &Provider<'_>,
    raw: &Map<String, Value>,
    then: &dyn Fn(&Found<'_>, &Reading),
) -> Result<Map<String, Value>, String> {
    let Some(mut found) = locate::locate(provider, raw) else {
        let holder = raw.get("usage").and_then(Value::as_object).unwrap_or(raw);
        if let Some(summed) = iterations::summed(holder) {
            return reported(provider, &summed);
        }
        let mut out = beside::without_usage(raw).ok_or_else(|| nothing(raw))?;
        out.extend(reported_cost(raw));
        return Ok(out);
    };
    if found.usage.contains_key(UNKNOWN) && own::is_own(found.usage) {
        return Ok(found.usage.clone());
    }
    let summed = if found.leaves.iterates { iterations::summed(found.usage) } else { None };
    if let Some(summed) = &summed {
        found = found.of(provider, summed);
    }
    let rest = locate::beside(provider, &mut found);
    let mut reading = Reading::new(found.reader, rest);
    reading.read(&found.leaves)?;
    for (around, _) in &found.around {
        reading.beside(around);
    }
    then(&found, &reading);
    let mut out = reading.finish(&found.leaves);
    let images = found.around.iter().find_map(|(around, _)| beside::image_tool(provider, around));
    if found.leaves.iterates || images.is_some() {
        iterations::add(provider, found.usage, images, &mut out);
    }
    // Where the usage counts nothing, what came of the call may count.
    if !counts_something(&out)
        && let Some(more) = beside::without_usage(raw)
    {
        out.extend(more);
    }
    Ok(out)
}

/// Whether an object of our form counts or costs anything.
fn counts_something(ours: &Map<String, Value>) -> bool {
    ours.iter().any(|(key, value)| match value {
        Value::Number(_) => *value != 0,
        Value::Object(_) => key != UNKNOWN,
        other => other.is_array(),
    })
}

/// The cost that is reported where no count is, under its key.
fn reported_cost(raw: &Map<String, Value>) -> Option<(String, Value)> {
    let mut leaves = Leaves::default();
    leaves.add(raw);
    let mut reading = Reading::new(Compiled::of(&Provider::new(""), &leaves), Map::new());
    reading.read(&leaves).ok()?;
    Some((REPORTED_COST.to_owned(), number::decimal(reading.reported_cost()?.get(), 12)))
}

/// The name of the reader that an object goes to; for tests of the table.
#[cfg(test)]
fn reader_of(provider: &str, raw: &Value) -> Option<&'static str> {
    let provider = Provider::new(provider);
    let mut found = locate::locate(&provider, raw.as_object()?)?;
    locate::beside(&provider, &mut found);
    Some(found.reader.reader.name)
}

/// Why an object without a count is refused.
fn nothing(raw: &Map<String, Value>) -> String {
    let mut leaves = Leaves::default();
    leaves.add(raw);
    let reader = Compiled::of(&Provider::new(""), &leaves);
    let unreadable = leaves.list.iter().find_map(|leaf| match (reader.place(leaf), number::count(leaf.value)) {
        (Some(Place::Tokens(_)), Count::Unreadable(why)) => Some(format!("{} {why}", lexicon::name(leaf.meaning.id))),
        _ => None,
    });
    unreadable.unwrap_or_else(|| "no count is recognised in it".to_owned())
}

#[cfg(test)]
mod tests;
