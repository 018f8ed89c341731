//! What a cost is multiplied by: a region's premium, a speed's, a tenant's markup.

use serde::Serialize;

use crate::decimal::Exact;
use crate::money::AmountError;

/// Decimals of a factor.
const FACTOR_DECIMALS: u32 = 6;

/// An exact factor from 0 to 1,000 with at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Factor(Exact);

impl Factor {
    pub const ONE: Self = Self(Exact::ONE);

    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let factor = Exact::parse(text, FACTOR_DECIMALS)?;
        if factor > Exact::THOUSAND { Err(AmountError::TooLarge) } else { Ok(Self(factor)) }
    }

    pub(super) fn exact(self) -> Exact {
        self.0
    }
}
