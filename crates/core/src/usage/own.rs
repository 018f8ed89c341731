//! Our own form: what `record_llm_cost` takes as `p_usage`, with the two wholes.

use serde_json::{Map, Value};

use super::compiled::{Compiled, Provider};
use super::number::{self, Count};
use super::shape::Leaves;
use super::slot::{Place, Slot};
use super::{OTHER_MODELS, REPORTED_COST, SERVICE_TIER, UNKNOWN};
use crate::pricing::{Usage, is_known};

/// Whether an object is in our own form already, so that it is taken as it is.
///
/// Anthropic's objects have keys like ours and other sums. They are told by what ours never has: a count of nothing, or a
/// whole that is less than its parts.
pub fn is_own(object: &Map<String, Value>) -> bool {
    let whole = |key: &str| object.get(key).and_then(Value::as_i64).filter(|count| *count >= 0);
    let Some(input) = whole("input_tokens") else { return false };
    let Some(output) = whole("output_tokens") else { return false };
    let others_fit = object.iter().all(|(key, value)| match key.as_str() {
        "input_tokens" | "output_tokens" => true,
        UNKNOWN => value.is_object(),
        OTHER_MODELS => value.is_array(),
        SERVICE_TIER => value.is_string(),
        REPORTED_COST => value.is_number(),
        key => is_known(key) && is_something(value),
    });
    others_fit && Usage::of(input, output, object).is_ok()
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_str() != "0",
        Value::Null => false,
        _ => true,
    }
}

/// Whether a key is one of our own form.
pub fn is_own_key(key: &str) -> bool {
    matches!(key, "input_tokens" | "output_tokens" | UNKNOWN | OTHER_MODELS | SERVICE_TIER | REPORTED_COST)
        || is_known(key)
}

/// Whether an object itself counts as many tokens in and out as the caller says, or the caller says none.
pub fn says_wholes(leaves: &Leaves<'_>, input: i64, output: i64) -> bool {
    let reader = Compiled::of(&Provider::new(""), leaves);
    let says = |slot: Slot, whole: i64| {
        let mut told = leaves.list.iter().filter(|leaf| reader.place(leaf) == Some(Place::Tokens(slot)));
        told.any(|leaf| number::count(leaf.value) == Count::Whole(whole))
    };
    (input == 0 && output == 0) || (says(Slot::Input, input) && says(Slot::Output, output))
}
