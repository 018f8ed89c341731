//! Reading LiteLLM's price list: which of an entry's keys are prices, what they are worth to this version, and all of the
//! rest beside them, so that every value comes out again as it went in.

use std::collections::BTreeMap;

use super::{ModelPrice, Rate};
use crate::decimal::Exact;
use serde_json::{Map, Value};

/// Keys whose plain prices have columns of their own, in USD per million tokens.
const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";

const PROVIDER: &str = "litellm_provider";

/// The longest name of a provider or model, in characters.
const MAX_CHARACTERS: usize = 200;

/// A price list as rows to be stored.
#[derive(Debug, Default)]
pub struct Reading {
    /// An array of objects with the keys `list_key`, `provider`, `name`, `input`, `output` (USD per token), `components`
    /// and `details`.
    pub rows: Vec<Value>,
    /// Prices that are single numbers.
    pub price_values: u64,
    /// Entries that are no models.
    pub skipped: u64,
    /// Keys that look like prices and take no part in pricing, with how often they are met. They are kept all the same.
    pub unknown: BTreeMap<String, u64>,
}

impl Reading {
    /// Reads the list, or says in one sentence without its full stop why it is none.
    pub fn of(list: &Value) -> Result<Self, String> {
        let Value::Object(list) = list else { return Err("the price list must be an object of models".to_owned()) };
        let mut reading = Self::default();
        for (key, entry) in list {
            let Value::Object(entry) = entry else {
                return Err(format!("the entry of {} must be an object", quoted(key)));
            };
            match entry.get(PROVIDER) {
                None => reading.skipped += 1,
                Some(_) if key == "sample_spec" => reading.skipped += 1,
                Some(Value::String(provider)) => {
                    reading
                        .add(list, key, provider, entry)
                        .map_err(|why| format!("the price of {}: {why}", quoted(key)))?;
                }
                Some(_) => return Err(format!("the entry of {}: {PROVIDER} must be a string", quoted(key))),
            }
        }
        if reading.rows.is_empty() {
            return Err(format!("the price list has no models: no entry has a {PROVIDER}"));
        }
        Ok(reading)
    }

    fn add(
        &mut self,
        list: &Map<String, Value>,
        key: &str,
        provider: &str,
        entry: &Map<String, Value>,
    ) -> Result<(), String> {
        for (what, text) in [("the name", key), (PROVIDER, provider)] {
            if !(1..=MAX_CHARACTERS).contains(&text.chars().count()) {
                return Err(format!("{what} must have 1 to {MAX_CHARACTERS} characters"));
            }
        }
        let mut components = Map::new();
        let mut details = Map::new();
        for (name, value) in entry.iter().filter(|(name, _)| *name != PROVIDER) {
            let kept = if is_price(name) { &mut components } else { &mut details };
            kept.insert(name.clone(), value.clone());
        }
        let read = Value::Object(components);
        let price = ModelPrice::new(None, None, &read).map_err(|error| error.to_string())?;
        for name in &price.unknown {
            *self.unknown.entry(name.clone()).or_default() += 1;
        }
        let Value::Object(mut components) = read else { return Err("no object".to_owned()) };
        self.price_values +=
            components.iter().filter(|(name, value)| name.contains("cost") && value.is_number()).count() as u64;
        let mut row = Map::new();
        for (column, name) in [("input", INPUT), ("output", OUTPUT)] {
            if let Some(Value::Number(number)) = components.get(name) {
                // A column's bound is a thousand USD a token.
                if Rate::parse(number.as_str()).is_ok_and(|rate| rate.exact() > Exact::THOUSAND) {
                    return Err(format!("{name} is too large"));
                }
                if let Some(value) = components.remove(name) {
                    row.insert(column.to_owned(), value);
                }
            }
        }
        row.insert("list_key".to_owned(), key.into());
        row.insert("provider".to_owned(), provider.into());
        row.insert("name".to_owned(), name_of(list, key, provider).into());
        row.insert("components".to_owned(), Value::Object(components));
        row.insert("details".to_owned(), Value::Object(details));
        self.rows.push(Value::Object(row));
        Ok(())
    }
}

/// Whether a key says something of prices, known or not. Everything else is kept beside them.
fn is_price(key: &str) -> bool {
    let known = [
        "tiered_pricing",
        "off_peak_pricing",
        "provider_specific_entry",
        "search_free_requests",
        "web_search_billing_unit",
    ];
    known.contains(&key) || ["cost", "price", "pricing", "multiplier"].iter().any(|word| key.contains(word))
}

/// The model's name at its provider: without the provider before it, unless the list has the provider's model of the plain
/// name as well.
fn name_of<'a>(list: &Map<String, Value>, key: &'a str, provider: &str) -> &'a str {
    let Some(bare) = key.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')) else { return key };
    let other = list.get(bare).and_then(|entry| entry.get(PROVIDER)).and_then(Value::as_str);
    if bare.is_empty() || other == Some(provider) { key } else { bare }
}

pub(super) fn quoted(key: &str) -> String {
    let shown: String = key.chars().filter(|character| !character.is_control()).take(60).collect();
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Reading, String> {
        Reading::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn an_entry_is_taken_apart_and_nothing_is_lost() {
        let reading = read(
            r#"{"sample_spec": {"litellm_provider": "one of", "mode": "chat"}, "rules": {"a": 1},
                "acme/m": {"litellm_provider": "acme", "input_cost_per_token": 1.3e-10, "output_cost_per_token": null,
                           "cache_read_input_token_cost": 0, "mode": "chat", "novel_cost_per_thought": 2,
                           "search_context_cost_per_query": {"search_context_size_low": 0.01, "huge": 1}},
                "acme/n": {"litellm_provider": "acme"}, "n": {"litellm_provider": "acme"}}"#,
        )
        .unwrap();
        assert_eq!((reading.price_values, reading.skipped), (3, 2));
        let unknown: Vec<_> = reading.unknown.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        assert_eq!(unknown, [("novel_cost_per_thought", 1), ("search_context_cost_per_query.huge", 1)]);
        let expected = serde_json::json!({
            "list_key": "acme/m", "provider": "acme", "name": "m",
            "input": serde_json::from_str::<Value>("1.3e-10").unwrap(), "details": {"mode": "chat"},
            "components": {"output_cost_per_token": null, "cache_read_input_token_cost": 0, "novel_cost_per_thought": 2,
                           "search_context_cost_per_query": {"search_context_size_low": serde_json::from_str::<Value>("0.01").unwrap(), "huge": 1}}});
        let row = |key: &str| reading.rows.iter().find(|row| row["list_key"] == key).unwrap();
        assert_eq!(*row("acme/m"), expected);
        // Two entries of one name: both keep their own.
        assert_eq!((&row("acme/n")["name"], &row("n")["name"]), (&Value::from("acme/n"), &Value::from("n")));
    }

    #[test]
    fn what_is_no_list_is_told_in_a_sentence() {
        for (text, why) in [
            ("[]", "the price list must be an object of models"),
            ("{}", "the price list has no models: no entry has a litellm_provider"),
            (r#"{"m": 1}"#, "the entry of \"m\" must be an object"),
            (r#"{"m": {"litellm_provider": 1}}"#, "the entry of \"m\": litellm_provider must be a string"),
            (
                r#"{"m": {"litellm_provider": ""}}"#,
                "the price of \"m\": litellm_provider must have 1 to 200 characters",
            ),
            (
                r#"{"m": {"litellm_provider": "a", "input_cost_per_token": -1}}"#,
                "the price of \"m\": input_cost_per_token must not be negative",
            ),
            (
                r#"{"m": {"litellm_provider": "a", "input_cost_per_token": "1"}}"#,
                "the price of \"m\": input_cost_per_token must be a number",
            ),
            (
                r#"{"m": {"litellm_provider": "a", "output_cost_per_token": 1000.1}}"#,
                "the price of \"m\": output_cost_per_token is too large",
            ),
            (
                r#"{"m": {"litellm_provider": "a", "tiered_pricing": {}}}"#,
                "the price of \"m\": tiered_pricing must be a list of ranges",
            ),
            (
                r#"{"m": {"litellm_provider": "a", "off_peak_pricing": {"hours_utc": "25:00-26:00"}}}"#,
                "the price of \"m\": off_peak_pricing.hours_utc must be hours such as 16:30-00:30, or a list of them",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), why);
        }
    }
}
