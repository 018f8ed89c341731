//! An exact price of one unit.

use std::fmt;

use serde::Serialize;

use crate::decimal::Exact;
use crate::money::AmountError;

/// Decimals of a price in USD per unit. LiteLLM's list has up to 24, artefacts of floats that cost what they say.
const PRICE_DECIMALS: u32 = 24;

/// An exact, non-negative price of one unit (a token or a second), at most one million USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rate(Exact);

impl Rate {
    /// Reads US dollars per unit, with at most 24 decimals.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self::new(Exact::parse(text, PRICE_DECIMALS)?)
    }

    /// Reads US dollars per million units, with at most 18 decimals.
    pub fn parse_per_million(text: &str) -> Result<Self, AmountError> {
        let millionth = Exact::new(1, 6);
        Self::new(Exact::parse(text, PRICE_DECIMALS - 6)?.times(millionth).ok_or(AmountError::TooLarge)?)
    }

    fn new(usd: Exact) -> Result<Self, AmountError> {
        if usd > Exact::MILLION { Err(AmountError::TooLarge) } else { Ok(Self(usd)) }
    }

    pub(super) fn exact(self) -> Exact {
        self.0
    }

    /// The price with a markup; `None` for what no number holds.
    pub(super) fn times(self, factor: Exact) -> Option<Self> {
        self.0.times(factor).map(Self)
    }

    /// Half the price. It has one decimal more at most, which no bound of a product keeps from being exact.
    pub(super) fn half(self) -> Self {
        Self(self.0.times(Exact::HALF).unwrap_or(self.0))
    }
}

/// US dollars per unit, exact, without trailing zeros.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
