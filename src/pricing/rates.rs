//! The price of a model: exact rates by part, context threshold and service tier.

use super::Part;
use crate::money::{AmountError, Rounding, format_scaled, parse_scaled};
use serde_json::Value;
use std::fmt;

/// Decimals of a rate or an exact cost: both are whole numbers of 1e-27 USD (ronto-dollars).
pub(super) const RONTO_SCALE: u32 = 27;

/// Decimals of a price in USD per unit. LiteLLM's list has up to 24, artefacts of floats that cost what they say.
const PRICE_DECIMALS: u32 = 24;

/// Rontos in one unit of the last price decimal. It is even, so that half of any price is exact.
const RONTOS_PER_PRICE_UNIT: i128 = 1_000;

/// The largest price of one unit: one million USD, in rontos.
const MAX_RATE: i128 = 10_i128.pow(RONTO_SCALE + 6);

/// An exact, non-negative price of one unit (a token or a second), at most one million USD, in 1e-27 USD.
///
/// A product that leaves 128 bits is above 1.7e11 USD and therefore beyond any amount that is accepted as a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i128);

impl Rate {
    /// Reads US dollars per unit, with at most 24 decimals.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self::from_price_units(parse_scaled(text, PRICE_DECIMALS, Rounding::Exact)?)
    }

    /// Reads US dollars per million units, with at most 18 decimals.
    pub fn parse_per_million(text: &str) -> Result<Self, AmountError> {
        Self::from_price_units(parse_scaled(text, PRICE_DECIMALS - 6, Rounding::Exact)?)
    }

    fn from_price_units(units: i128) -> Result<Self, AmountError> {
        let rontos = units.checked_mul(RONTOS_PER_PRICE_UNIT).ok_or(AmountError::TooLarge)?;
        if rontos > MAX_RATE { Err(AmountError::TooLarge) } else { Ok(Self(rontos)) }
    }

    /// The price in rontos (1e-27 USD).
    pub(super) fn rontos(self) -> i128 {
        self.0
    }

    /// Half the price, exactly: prices are multiples of 1,000 rontos.
    fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

/// US dollars per unit, exact, without trailing zeros.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_scaled(self.0, RONTO_SCALE))
    }
}

/// Why a price was refused. Each prints as one sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriceError {
    /// The components are neither an object nor null.
    NotAnObject,
    /// A component that should be a price is no JSON number.
    NotANumber { key: String },
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

    /// Reads what a provider reported. A tier without prices of its own costs the standard price, and so does every
    /// name that no price list has: `standard`, `default`, `auto` and NULL among them.
    pub fn parse(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        if name.eq_ignore_ascii_case("batch") {
            return Self::Batches;
        }
        let found = Self::SUFFIXES.into_iter().find(|(suffix, _)| suffix.eq_ignore_ascii_case(name));
        found.map_or(Self::Standard, |(_, tier)| tier)
    }
}

/// One price of a part: in force with more than `above` prompt tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    part: Part,
    above: Option<i64>,
    tier: Tier,
    rate: Rate,
}

/// What a model costs: every price component that this version understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    entries: Vec<Entry>,
    /// Component keys that take no part in pricing, in the order of the object.
    pub unknown: Vec<String>,
}

impl ModelPrice {
    /// Builds a price from USD per million tokens and from components in USD per unit under LiteLLM's key names.
    ///
    /// `components` is an object or null; a component that is null is missing. Unknown keys are kept by name.
    pub fn new(
        input_per_million: Option<&str>,
        output_per_million: Option<&str>,
        components: &Value,
    ) -> Result<Self, PriceError> {
        let mut price = Self { entries: Vec::new(), unknown: Vec::new() };
        let object = match components {
            Value::Null => None,
            Value::Object(object) => Some(object),
            _ => return Err(PriceError::NotAnObject),
        };
        for (key, value) in object.into_iter().flatten() {
            let Some((part, above, tier)) = parse_key(key) else {
                price.unknown.push(key.clone());
                continue;
            };
            let rate = match value {
                Value::Null => continue,
                Value::Number(number) => Rate::parse(&number.to_string()),
                _ => return Err(PriceError::NotANumber { key: key.clone() }),
            };
            let rate = rate.map_err(|error| PriceError::Amount { key: key.clone(), error })?;
            price.entries.push(Entry { part, above, tier, rate });
        }
        price.add_per_million(Part::Input, ("input_per_million_usd", "input_cost_per_token"), input_per_million)?;
        price.add_per_million(Part::Output, ("output_per_million_usd", "output_cost_per_token"), output_per_million)?;
        Ok(price)
    }

    fn add_per_million(
        &mut self,
        part: Part,
        (per_million, key): (&'static str, &'static str),
        text: Option<&str>,
    ) -> Result<(), PriceError> {
        let Some(text) = text else { return Ok(()) };
        if self.entry(part, None, Tier::Standard).is_some() {
            return Err(PriceError::Twice { per_million, key });
        }
        let rate = Rate::parse_per_million(text)
            .map_err(|error| PriceError::Amount { key: per_million.to_string(), error })?;
        self.entries.push(Entry { part, above: None, tier: Tier::Standard, rate });
        Ok(())
    }

    fn entry(&self, part: Part, above: Option<i64>, tier: Tier) -> Option<Rate> {
        let found = self.entries.iter().find(|entry| (entry.part, entry.above, entry.tier) == (part, above, tier));
        found.map(|entry| entry.rate)
    }

    /// Whether no part of a call has a price at all, so that not even zero tokens can be called free.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The context thresholds of all parts, in tokens, with repetitions.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = i64> + '_ {
        self.entries.iter().filter_map(|entry| entry.above)
    }

    /// The rate of a part in a call with `prompt_tokens` input tokens in all.
    ///
    /// A part without any price that applies takes the price of the part that it falls back to.
    pub(super) fn rate(&self, part: Part, prompt_tokens: i64, tier: Tier) -> Option<Rate> {
        match self.own_rate(part, prompt_tokens, tier) {
            Some(rate) => Some(rate),
            None => self.rate(part.fallback()?, prompt_tokens, tier),
        }
    }

    /// The cliff comes first: a price above the threshold, be it the standard one, wins over the tier's base price.
    fn own_rate(&self, part: Part, prompt_tokens: i64, tier: Tier) -> Option<Rate> {
        let usable = |entry: &&Entry| {
            entry.part == part
                && (entry.tier == tier || entry.tier == Tier::Standard)
                && entry.above.is_none_or(|above| prompt_tokens > above)
        };
        let above = self.entries.iter().filter(usable).map(|entry| entry.above).max()?;
        if let Some(rate) = self.entry(part, above, tier) {
            return Some(rate);
        }
        let standard = self.entry(part, above, Tier::Standard)?;
        Some(if tier == Tier::Batches { standard.half() } else { standard })
    }
}

/// Reads `base [_above_1hr] [_above_{N}k_tokens] [_tier]`, the grammar of LiteLLM's keys for the bases that are priced.
fn parse_key(key: &str) -> Option<(Part, Option<i64>, Tier)> {
    let (base, suffix) = Part::ALL
        .into_iter()
        .filter_map(|part| Some((part, key.strip_prefix(part.price_key())?)))
        // The one-hour key extends the five-minute one, so that the longest base is the right one.
        .min_by_key(|(_, suffix)| suffix.len())?;
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
    // One spelling per threshold: `0200k` or `+200k` would name the same price twice.
    if thousands.starts_with('0') || !thousands.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some((base, Some(thousands.parse::<i64>().ok()?.checked_mul(1_000)?), tier))
}
