//! What a call costs: exact products of tokens and rates, one sum, one rounding.
//!
//! The rules are stated where they are applied: usage is taken apart in [`usage`],
//! rates are chosen in [`rates`], and this module multiplies and adds. Exact costs are whole numbers of 1e-27 USD; the
//! only rounding is that of the total to 1e-12 USD, half-even.

mod bound;
mod breakdown;
mod rates;
mod sandbox;
mod usage;

pub use bound::upper_bound;
pub use breakdown::{Breakdown, Line, Side};
pub use rates::{ModelPrice, Rate, Tier};
pub use sandbox::{SandboxPrice, price_sandbox};
pub use usage::{Usage, UsageError};

use crate::money::AmountError;
use std::fmt;

/// The parts of a call that can have prices of their own. Every token is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Text input that was neither read from nor written to a cache.
    Input,
    /// Input read from a prompt cache.
    CacheRead,
    /// Input written to a prompt cache for its usual time, five minutes at Anthropic.
    CacheCreation,
    /// Input written to a prompt cache for one hour.
    CacheCreation1h,
    /// Audio input.
    InputAudio,
    /// Image input.
    InputImage,
    /// Text output.
    Output,
    /// Output that the model kept to itself.
    ReasoningOutput,
    /// Audio output.
    OutputAudio,
    /// Image output.
    OutputImage,
}

impl Part {
    /// All parts, in the order in which a breakdown lists them.
    pub const ALL: [Self; 10] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheCreation,
        Self::CacheCreation1h,
        Self::InputAudio,
        Self::InputImage,
        Self::Output,
        Self::ReasoningOutput,
        Self::OutputAudio,
        Self::OutputImage,
    ];

    /// The component's name in a breakdown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheCreation => "cache_creation",
            Self::CacheCreation1h => "cache_creation_1h",
            Self::InputAudio => "input_audio",
            Self::InputImage => "input_image",
            Self::Output => "output",
            Self::ReasoningOutput => "reasoning_output",
            Self::OutputAudio => "output_audio",
            Self::OutputImage => "output_image",
        }
    }

    /// The side of the call that the part belongs to.
    pub fn side(self) -> Side {
        match self {
            Self::Output | Self::ReasoningOutput | Self::OutputAudio | Self::OutputImage => Side::Output,
            _ => Side::Input,
        }
    }

    /// The key of its standard price in LiteLLM's list, in USD per token.
    fn price_key(self) -> &'static str {
        match self {
            Self::Input => "input_cost_per_token",
            Self::CacheRead => "cache_read_input_token_cost",
            Self::CacheCreation => "cache_creation_input_token_cost",
            Self::CacheCreation1h => "cache_creation_input_token_cost_above_1hr",
            Self::InputAudio => "input_cost_per_audio_token",
            Self::InputImage => "input_cost_per_image_token",
            Self::Output => "output_cost_per_token",
            Self::ReasoningOutput => "output_cost_per_reasoning_token",
            Self::OutputAudio => "output_cost_per_audio_token",
            Self::OutputImage => "output_cost_per_image_token",
        }
    }

    /// The part whose price applies when this one has none.
    fn fallback(self) -> Option<Self> {
        match self {
            Self::Input | Self::Output => None,
            Self::CacheCreation1h => Some(Self::CacheCreation),
            Self::CacheRead | Self::CacheCreation | Self::InputAudio | Self::InputImage => Some(Self::Input),
            Self::ReasoningOutput | Self::OutputAudio | Self::OutputImage => Some(Self::Output),
        }
    }
}

/// The outcome of pricing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Priced {
    /// What it costs and why.
    Priced(Breakdown),
    /// There is no price for `missing`, a component or a quantity. That is not the same as free.
    Unpriced { missing: &'static str },
}

/// Why something could not be priced at all. Each prints as one sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PricingError {
    /// The total is above the largest amount, [`crate::money::MAX_USD`].
    TooLarge,
    /// Token counts that are none.
    Usage(UsageError),
    /// A quantity of seconds that is none.
    Quantity { name: &'static str, error: AmountError },
    /// A sandbox rate with more than 18 decimals, whose products would not be exact.
    RateTooPrecise { name: &'static str },
}

impl fmt::Display for PricingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the cost is larger than one billion US dollars"),
            Self::Usage(error) => error.fmt(f),
            Self::Quantity { name, error } => write!(f, "{name} {error}"),
            Self::RateTooPrecise { name } => write!(f, "the price of {name} has more than 18 decimals"),
        }
    }
}

impl std::error::Error for PricingError {}

/// Prices one call of a model. `tier` is the service tier that the provider reported; NULL is the standard one.
///
/// Parts without tokens need no price, but a model without any token price is unpriced even for zero tokens.
pub fn price_llm(price: &ModelPrice, usage: &Usage, tier: Option<&str>) -> Result<Priced, PricingError> {
    if price.is_empty() {
        return Ok(Priced::Unpriced { missing: Part::Input.as_str() });
    }
    let tier = Tier::parse(tier);
    let mut lines = Vec::new();
    for (part, tokens) in usage.parts().filter(|(_, tokens)| *tokens > 0) {
        let Some(rate) = price.rate(part, usage.input_tokens(), tier) else {
            return Ok(Priced::Unpriced { missing: part.as_str() });
        };
        lines.push(Line::tokens(part, tokens, rate)?);
    }
    Ok(Priced::Priced(Breakdown::new(lines)?))
}

#[cfg(test)]
mod tests;
