//! An exact price of one unit.

use crate::money::{AmountError, Rounding, format_scaled, parse_scaled};
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
    pub(super) const THOUSAND: Self = Self(10_i128.pow(RONTO_SCALE + 3));

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
    pub(super) fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

/// US dollars per unit, exact, without trailing zeros.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_scaled(self.0, RONTO_SCALE))
    }
}
