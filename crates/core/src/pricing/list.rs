//! Reading LiteLLM's price list: which of an entry's keys are prices, and what they are worth to this version. The rest
//! is kept beside them, so that every value comes out again as it went in.

use std::collections::{BTreeMap, HashSet};

use super::{ModelPrice, Rate};
use crate::decimal::Exact;
use serde_json::{Map, Value};

/// Keys whose plain prices have columns of their own, in USD per million tokens.
const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";

const PROVIDER: &str = "litellm_provider";

/// The longest name of a provider or model, in characters.
const MAX_CHARACTERS: usize = 200;

/// The entry whose prices and description an entry goes by.
const ALIAS_OF: &str = "alias_of";

/// Further names of an entry.
const ALIASES: &str = "aliases";

/// The longest way from an alias to the entry that has the price.
const MAX_STEPS: usize = 8;

/// The most bytes, about, that all aliases and further names of a list take together: each is a row of its own.
const MAX_COPIED: usize = 32_000_000;

/// A price list as rows to be stored.
#[derive(Debug, Default)]
pub struct Reading {
    /// An array of objects with the keys `list_key`, `provider`, `name`, `input`, `output` (USD per token),
    /// `components`, `details`, `entry` and `named_by`. `entry` is the entry as it stands in the list, where it goes by
    /// another's price. `named_by` is the key of the entry that has this one for a further name.
    pub rows: Vec<Value>,
    /// Prices that are single numbers.
    pub price_values: u64,
    /// Entries that go by the price of another.
    pub aliases: u64,
    /// Entries of which no row is made, by the reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Keys that look like prices and take no part in pricing, with how often they are met. They are kept all the same.
    pub unknown: BTreeMap<String, u64>,
    /// Providers and names that rows have.
    taken: HashSet<(String, String)>,
    /// Further names that rows have.
    further: HashSet<String>,
    copied: usize,
}

/// An entry as a row is made of it.
struct Row<'a> {
    key: &'a str,
    provider: &'a str,
    content: &'a Map<String, Value>,
    entry: Option<&'a Map<String, Value>>,
    named_by: Option<&'a str>,
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
            let skip = if key == "sample_spec" { Some("it is an example") } else { reading.read(list, key, entry)? };
            if let Some(why) = skip {
                *reading.skipped.entry(why).or_default() += 1;
            }
        }
        if reading.rows.is_empty() {
            return Err(format!("the price list has no models: no entry has a {PROVIDER}"));
        }
        Ok(reading)
    }

    /// How many entries no row is made of.
    pub fn count_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Makes the rows of an entry, or says why there are none.
    fn read(
        &mut self,
        list: &Map<String, Value>,
        key: &str,
        entry: &Map<String, Value>,
    ) -> Result<Option<&'static str>, String> {
        let merged;
        let (content, own) = match entry.get(ALIAS_OF) {
            None | Some(Value::Null) => (entry, None),
            Some(Value::String(_)) => match resolved(list, key) {
                Ok(content) => {
                    merged = content;
                    self.aliases += 1;
                    (&merged, Some(entry))
                }
                Err(why) => return Ok(Some(why)),
            },
            Some(_) => return Err(format!("the entry of {}: {ALIAS_OF} must be a string", quoted(key))),
        };
        let provider = match content.get(PROVIDER) {
            None | Some(Value::Null) => return Ok(Some("it has no litellm_provider")),
            Some(Value::String(provider)) => provider,
            Some(_) => return Err(format!("the entry of {}: {PROVIDER} must be a string", quoted(key))),
        };
        let told = |key: &str| format!("the price of {}", quoted(key));
        let row = Row { key, provider, content, entry: own, named_by: None };
        self.add(list, row).map_err(|why| format!("{}: {why}", told(key)))?;
        for other in entry.get(ALIASES).and_then(Value::as_array).into_iter().flatten() {
            let Value::String(other) = other else {
                return Err(format!("the entry of {}: {ALIASES} must be a list of strings", quoted(key)));
            };
            // An entry of its own goes before, and so does the first that has the name.
            if !list.contains_key(other) && self.further.insert(other.clone()) {
                let row = Row { key: other, provider, content, entry: None, named_by: Some(key) };
                self.add(list, row).map_err(|why| format!("{}: {why}", told(other)))?;
            }
        }
        Ok(None)
    }

    fn add(&mut self, list: &Map<String, Value>, row: Row) -> Result<(), String> {
        let Row { key, provider, content, entry, named_by } = row;
        for (what, text) in [("the name", key), (PROVIDER, provider)] {
            if !(1..=MAX_CHARACTERS).contains(&text.chars().count()) {
                return Err(format!("{what} must have 1 to {MAX_CHARACTERS} characters"));
            }
        }
        let is_copy = entry.is_some() || named_by.is_some();
        self.copied += if is_copy { content.iter().map(|(name, value)| name.len() + size(value)).sum() } else { 0 };
        if self.copied > MAX_COPIED {
            return Err(format!("the aliases of the list take more than {} MB", MAX_COPIED / 1_000_000));
        }
        let mut components = Map::new();
        let mut details = Map::new();
        for (name, value) in content.iter().filter(|(name, _)| *name != PROVIDER) {
            let kept = if is_price(name) { &mut components } else { &mut details };
            kept.insert(name.clone(), value.clone());
        }
        let read = Value::Object(components);
        let price = ModelPrice::new(None, None, &read).map_err(|error| error.to_string())?;
        let Value::Object(mut components) = read else { return Err("no object".to_owned()) };
        // What is another entry's is counted there.
        if !is_copy {
            for name in &price.unknown {
                *self.unknown.entry(name.clone()).or_default() += 1;
            }
            self.price_values +=
                components.iter().filter(|(name, value)| name.contains("cost") && value.is_number()).count() as u64;
        }
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
        row.insert("name".to_owned(), self.name_of(list, key, provider).into());
        row.insert("components".to_owned(), Value::Object(components));
        row.insert("details".to_owned(), Value::Object(details));
        row.insert("entry".to_owned(), entry.cloned().map_or(Value::Null, Value::Object));
        row.insert("named_by".to_owned(), named_by.into());
        self.rows.push(Value::Object(row));
        Ok(())
    }

    /// The model's name at its provider: without the provider before it, unless the list has the provider's model of the plain
    /// name as well.
    fn name_of<'a>(&mut self, list: &Map<String, Value>, key: &'a str, provider: &str) -> &'a str {
        let bare = key.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')).filter(|bare| !bare.is_empty());
        let is_free = |bare: &&str| {
            let other = match list.get(*bare) {
                Some(Value::Object(entry)) if entry.contains_key(ALIAS_OF) => {
                    resolved(list, bare).ok().and_then(|content| content.get(PROVIDER)?.as_str().map(str::to_owned))
                }
                other => other.and_then(|entry| entry.get(PROVIDER)?.as_str().map(str::to_owned)),
            };
            other.as_deref() != Some(provider) && !self.taken.contains(&(provider.to_owned(), (*bare).to_owned()))
        };
        let name = bare.filter(is_free).unwrap_or(key);
        self.taken.insert((provider.to_owned(), name.to_owned()));
        name
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

/// The content of an entry that goes by another: the other's, with its own on top; or why there is none.
fn resolved(list: &Map<String, Value>, key: &str) -> Result<Map<String, Value>, &'static str> {
    let mut way = Vec::new();
    let mut key = key;
    let content = loop {
        let Some(Value::Object(entry)) = list.get(key) else {
            return Err("the entry that it goes by is not in the list");
        };
        let Some(Value::String(next)) = entry.get(ALIAS_OF) else { break entry };
        if way.len() == MAX_STEPS {
            return Err("it goes by itself, or by too many others");
        }
        way.push(entry);
        key = next;
    };
    let mut content = content.clone();
    for own in way.into_iter().rev() {
        content.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    content.remove(ALIASES);
    content.remove(ALIAS_OF);
    Ok(content)
}

/// About how many bytes a value takes as text.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(number) => number.as_str().len(),
        Value::String(text) => text.len() + 2,
        Value::Array(values) => values.iter().map(|value| size(value) + 1).sum::<usize>() + 2,
        Value::Object(values) => values.iter().map(|(name, value)| name.len() + size(value) + 4).sum::<usize>() + 2,
    }
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
        assert_eq!((reading.price_values, reading.count_skipped()), (3, 2));
        let why: Vec<_> = reading.skipped.iter().map(|(why, count)| (*why, *count)).collect();
        assert_eq!(why, [("it has no litellm_provider", 1), ("it is an example", 1)]);
        let unknown: Vec<_> = reading.unknown.iter().map(|(key, count)| (key.as_str(), *count)).collect();
        assert_eq!(unknown, [("novel_cost_per_thought", 1), ("search_context_cost_per_query.huge", 1)]);
        let expected = serde_json::json!({
            "list_key": "acme/m", "provider": "acme", "name": "m", "entry": null, "named_by": null,
            "input": serde_json::from_str::<Value>("1.3e-10").unwrap(), "details": {"mode": "chat"},
            "components": {"output_cost_per_token": null, "cache_read_input_token_cost": 0, "novel_cost_per_thought": 2,
                           "search_context_cost_per_query": {"search_context_size_low": serde_json::from_str::<Value>("0.01").unwrap(), "huge": 1}}});
        let row = |key: &str| reading.rows.iter().find(|row| row["list_key"] == key).unwrap();
        assert_eq!(*row("acme/m"), expected);
        // Two entries of one name: both keep their own.
        assert_eq!((&row("acme/n")["name"], &row("n")["name"]), (&Value::from("acme/n"), &Value::from("n")));
    }

    #[test]
    fn an_alias_has_the_price_of_its_target_and_comes_out_as_it_went_in() {
        let reading = read(
            r#"{"m-2": {"litellm_provider": "acme", "input_cost_per_token": 1, "mode": "chat", "aliases": ["m", "other/m", "m-1"]},
                "m-1": {"litellm_provider": "acme", "input_cost_per_token": 2},
                "m-latest": {"alias_of": "m-stable", "mode": "embedding"}, "m-stable": {"alias_of": "m-2"},
                "acme/m-latest": {"alias_of": "m-2"},
                "m-lost": {"alias_of": "m-0"}, "m-round": {"alias_of": "m-around"}, "m-around": {"alias_of": "m-round"}}"#,
        )
        .unwrap();
        let row = |key: &str| reading.rows.iter().find(|row| row["list_key"] == key).unwrap();
        let latest = row("m-latest");
        assert_eq!(
            (&latest["provider"], &latest["name"], latest["input"].as_u64()),
            (&"acme".into(), &"m-latest".into(), Some(1))
        );
        assert_eq!(latest["details"], serde_json::json!({"mode": "embedding"}));
        assert_eq!(latest["entry"], serde_json::json!({"alias_of": "m-stable", "mode": "embedding"}));
        // Two aliases of one name: both keep their own.
        assert_eq!(row("acme/m-latest")["name"], "acme/m-latest");
        // An entry of its own goes before a further name.
        assert_eq!((row("m-1")["input"].as_u64(), &row("m-1")["named_by"]), (Some(2), &Value::Null));
        for name in ["m", "other/m"] {
            assert_eq!((row(name)["input"].as_u64(), &row(name)["named_by"]), (Some(1), &"m-2".into()), "{name}");
        }
        assert_eq!((reading.rows.len(), reading.aliases, reading.price_values), (7, 3, 2));
        let why: Vec<_> = reading.skipped.iter().map(|(why, count)| (*why, *count)).collect();
        assert_eq!(
            why,
            [("it goes by itself, or by too many others", 2), ("the entry that it goes by is not in the list", 1)]
        );
    }

    #[test]
    fn a_price_of_a_thousand_dollars_is_the_largest_of_a_column() {
        let text = r#"{"m": {"litellm_provider": "a", "output_cost_per_token": 1000}}"#;
        assert_eq!(read(text).unwrap().rows[0]["output"], 1000);
    }

    #[test]
    fn what_is_no_list_is_told_in_a_sentence() {
        for (text, why) in [
            ("[]", "the price list must be an object of models"),
            ("{}", "the price list has no models: no entry has a litellm_provider"),
            (r#"{"m": 1}"#, "the entry of \"m\" must be an object"),
            (r#"{"m": {"litellm_provider": 1}}"#, "the entry of \"m\": litellm_provider must be a string"),
            (r#"{"m": {"alias_of": 1}}"#, "the entry of \"m\": alias_of must be a string"),
            (
                r#"{"m": {"litellm_provider": "a", "aliases": [1]}}"#,
                "the entry of \"m\": aliases must be a list of strings",
            ),
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
                r#"{"m": {"litellm_provider": "a", "tiered_pricing": [{"range": [0, 9]}, {"range": [8, 20]}]}}"#,
                "the price of \"m\": tiered_pricing must be a list of ranges that do not overlap",
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
