//! What a call costs: exact products of tokens and rates, one sum, one rounding.
//!
//! The rules are stated where they are applied: usage is taken apart in [`usage`],
//! rates are chosen in [`rates`], and this module multiplies and adds. Exact costs are whole numbers of 1e-27 USD; the
//! only rounding is that of the total to 1e-12 USD, half-even.

mod bound;
mod breakdown;
mod factor;
pub mod list;
pub mod names;
mod off_peak;
mod part;
mod price_key;
mod rate;
mod rates;
mod sandbox;
pub mod strict;
mod usage;

pub use bound::upper_bound;
pub use breakdown::{Breakdown, CostLine, Multiplier, Side, StoredPricing};
pub use factor::{Factor, Markup};
pub use part::Part;
pub use price_key::Tier;
pub use rate::Rate;
pub use rates::ModelPrice;
pub use sandbox::{SANDBOX_PARTS, SandboxPrice, price_sandbox};
pub use usage::{Usage, UsageError, has_fractions, is_known, known_keys};

use crate::money::AmountError;
use part::Unit;
use std::fmt;

/// The outcome of pricing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Priced {
    /// What it costs and why.
    Priced(Breakdown),
    /// There is no price for `missing`, a component or a quantity. That is not the same as free.
    Unpriced { missing: &'static str },
    /// There are prices, but not the quantity that they are for.
    Unmeasured { needs: &'static str },
}

/// Why something could not be priced at all. Each prints as one sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PricingError {
    /// The total is above the largest amount, [`crate::money::MAX_USD`], or no number holds its digits.
    TooLarge,
    /// Token counts that are none.
    Usage(UsageError),
    /// A quantity of seconds that is none.
    Quantity { name: &'static str, error: AmountError },
    /// A price of a measured quantity with so many decimals that its products would not be exact.
    RateTooPrecise { name: &'static str, decimals: u32 },
}

impl fmt::Display for PricingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the cost is larger than one billion US dollars, or has too many digits"),
            Self::Usage(error) => error.fmt(f),
            Self::Quantity { name, error } => write!(f, "{name} {error}"),
            Self::RateTooPrecise { name, decimals } => {
                write!(f, "the price of {name} has more than {decimals} decimals")
            }
        }
    }
}

impl std::error::Error for PricingError {}

/// What a call is priced by besides what it used.
#[derive(Debug, Clone, Copy, Default)]
pub struct PriceConditions<'a> {
    /// The service tier that the provider reported; `None` is the standard one.
    pub tier: Option<&'a str>,
    /// Whether it is an hour of the model's off-peak price.
    pub off_peak: bool,
    /// What the price of the list becomes for the tenant.
    pub markup: Option<Markup>,
}

impl<'a> From<Option<&'a str>> for PriceConditions<'a> {
    fn from(tier: Option<&'a str>) -> Self {
        Self { tier, ..Self::default() }
    }
}

impl PriceConditions<'_> {
    fn conditions(self) -> rates::Conditions {
        rates::Conditions { tier: Tier::parse(self.tier), off_peak: self.off_peak }
    }
}

/// Prices one call of a model.
///
/// Parts without tokens need no price, but a model without any price is unpriced even for zero tokens. Where a model
/// has prices by another measure, and none by the token, tokens are not charged. Where nothing at all could be charged
/// of what was used, it is unpriced rather than free.
pub fn price_llm<'a>(
    price: &ModelPrice,
    usage: &Usage,
    terms: impl Into<PriceConditions<'a>>,
) -> Result<Priced, PricingError> {
    let terms = terms.into();
    let Some(first) = price.first_part() else { return Ok(Priced::Unpriced { missing: Part::Input.as_str() }) };
    let when = terms.conditions();
    let by_token = price.prices_tokens();
    let mut lines = Vec::new();
    let mut left_out = None;
    for (part, amount) in usage.parts() {
        let (part, amount) = price.as_billed(part, amount, usage);
        let replaced = |other: &Part| usage.amount(*other) > 0 && price.rate_in(*other, usage, when).is_some();
        if usage.has_other_measures() && part.replaced_by().iter().any(replaced) {
            continue;
        }
        match (price.rate_in(part, usage, when), part.unit()) {
            (Some(rate), _) => lines.push(CostLine::of(part, amount, rate)?),
            (None, Unit::Token) if !by_token => {}
            (None, Unit::Other | Unit::Fraction) => left_out = left_out.or(Some(part)),
            (None, Unit::Token | Unit::Extra | Unit::ExtraFraction) => {
                return Ok(Priced::Unpriced { missing: part.as_str() });
            }
        }
    }
    lines.extend(single(price, usage, when)?);
    match left_out {
        Some(part) if lines.is_empty() => Ok(Priced::Unpriced { missing: part.as_str() }),
        None if lines.is_empty() && !by_token => Ok(Priced::Unmeasured { needs: first.as_str() }),
        _ => Ok(Priced::Priced(Breakdown::new(lines, price.multipliers(usage), terms.markup)?)),
    }
}

/// A call is one request and one query, where the model has a price for that and the report does not count them.
fn single(price: &ModelPrice, usage: &Usage, when: rates::Conditions) -> Result<Vec<CostLine>, PricingError> {
    let priced = [Part::Requests, Part::Queries].into_iter().filter(|part| price.has(*part));
    let uncounted = priced.filter(|part| !usage.counts(*part));
    let rated = uncounted.filter_map(|part| Some((part, price.rate_in(part, usage, when)?)));
    rated.map(|(part, rate)| CostLine::of(part, 1, rate)).collect()
}

#[cfg(test)]
mod tests;
