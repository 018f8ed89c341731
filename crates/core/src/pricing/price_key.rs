//! The keys of a price list: which part, threshold and tier a key prices, and what its value must be.

use super::{Factor, Part, Rate};
use crate::money::AmountError;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// Why a price was refused. Each prints as one sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceError {
    /// The components are neither an object nor null.
    NotAnObject,
    /// A component that should be a price is no JSON number.
    NotANumber { key: String },
    /// A component that is an object or list in the price list is something else, or has other content.
    Shape { key: String, needs: &'static str },
    /// A price is no acceptable amount.
    Amount { key: String, error: AmountError },
    /// The price per million and the component both say what a token costs.
    Twice { per_million: &'static str, key: &'static str },
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("price components must be a JSON object"),
            Self::NotANumber { key } => write!(f, "{key} must be a number"),
            Self::Shape { key, needs } => write!(f, "{key} must be {needs}"),
            Self::Amount { key, error } => write!(f, "{key} {error}"),
            Self::Twice { per_million, key } => write!(f, "{per_million} and {key} must not both be given"),
        }
    }
}

impl std::error::Error for PriceError {}

/// Service tiers that a price can be named after, as LiteLLM's price list spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    Standard,
    Batches,
    Priority,
    Flex,
    Ultrafast,
    Balanced,
    Decisions,
}

impl Tier {
    const SUFFIXES: [(&'static str, Self); 6] = [
        ("batches", Self::Batches),
        ("priority", Self::Priority),
        ("flex", Self::Flex),
        ("ultrafast", Self::Ultrafast),
        ("balanced", Self::Balanced),
        ("decisions", Self::Decisions),
    ];

    /// The name that prices have for it.
    pub fn as_str(self) -> &'static str {
        let found = Self::SUFFIXES.into_iter().find(|(_, tier)| *tier == self);
        found.map_or("standard", |(name, _)| name)
    }

    /// Reads what a provider reported. A tier without prices of its own costs the standard price. So does every name
    /// that no price list has, `standard`, `default`, `auto` and NULL among them. `fast` is another word for
    /// `priority`.
    pub fn parse(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self::Standard };
        if name.eq_ignore_ascii_case("batch") {
            return Self::Batches;
        }
        if name.eq_ignore_ascii_case("fast") {
            return Self::Priority;
        }
        let found = Self::SUFFIXES.into_iter().find(|(suffix, _)| suffix.eq_ignore_ascii_case(name));
        found.map_or(Self::Standard, |(_, tier)| tier)
    }
}

/// An older name of [`Part::CacheRead`]'s key, which goes before it.
pub(super) const CACHE_HIT: &str = "input_cost_per_token_cache_hit";

/// A component whose value has another shape than its key asks for.
pub(super) fn shape(key: &str, needs: &'static str) -> PriceError {
    PriceError::Shape { key: key.to_owned(), needs }
}

/// A price.
pub(super) fn number(key: &str, value: &Value) -> Result<Rate, PriceError> {
    let Value::Number(number) = value else { return Err(PriceError::NotANumber { key: key.to_owned() }) };
    Rate::parse(number.as_str()).map_err(|error| PriceError::Amount { key: key.to_owned(), error })
}

pub(super) fn factor(key: &str, value: &Value) -> Result<Factor, PriceError> {
    let Value::Number(number) = value else { return Err(PriceError::NotANumber { key: key.to_owned() }) };
    Factor::parse(number.as_str()).map_err(|error| PriceError::Amount { key: key.to_owned(), error })
}

/// A value of a known shape.
pub(super) fn read<'a, T: Deserialize<'a>>(key: &str, value: &'a Value, needs: &'static str) -> Result<T, PriceError> {
    T::deserialize(value).map_err(|_| shape(key, needs))
}

/// An object, for a derived reader takes a list of its fields as well.
pub(super) fn read_object<'a, T: Deserialize<'a>>(
    key: &str,
    value: &'a Value,
    needs: &'static str,
) -> Result<T, PriceError> {
    value.as_object().and_then(|object| T::deserialize(object).ok()).ok_or_else(|| shape(key, needs))
}

/// Reads `base [_above_1hr] [_above_{N}k_tokens] [_tier]`, the grammar of LiteLLM's keys.
pub(super) fn parse_key(key: &str) -> Option<(Part, Option<i64>, Tier)> {
    let (base, suffix) = match key.strip_prefix(CACHE_HIT) {
        Some(suffix) => (Part::CacheRead, suffix),
        None => Part::ALL
            .into_iter()
            .filter_map(|part| Some((part, key.strip_prefix(part.price_key())?)))
            // The one-hour key extends the five-minute one, so that the longest base is the right one.
            .min_by_key(|(_, suffix)| suffix.len())?,
    };
    let (suffix, tier) = match Tier::SUFFIXES
        .iter()
        .find_map(|(name, tier)| Some((suffix.strip_suffix(name)?.strip_suffix('_')?, *tier)))
    {
        Some(found) => found,
        None => (suffix, Tier::Standard),
    };
    if suffix.is_empty() {
        return Some((base, None, tier));
    }
    let thousands = suffix.strip_prefix("_above_")?.strip_suffix("k_tokens")?;
    Some((base, Some(whole(thousands)?.checked_mul(1_000)?), tier))
}

/// One spelling per number: `0200` or `+200` would name the same threshold twice.
pub(super) fn whole(digits: &str) -> Option<i64> {
    if digits.starts_with('0') || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
