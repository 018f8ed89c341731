//! What a cost is multiplied by: a region's premium, a speed's, a tenant's markup.

use crate::money::{AmountError, Rounding, parse_scaled, write_scaled};

/// Decimals of a factor.
const FACTOR_DECIMALS: u32 = 6;

/// The largest factor.
const MAX_FACTOR: i128 = 1_000;

/// An exact factor from 0 to 1,000 with at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    units: i128,
    scale: u32,
}

impl Factor {
    pub const ONE: Self = Self { units: 1, scale: 0 };

    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let mut units = parse_scaled(text, FACTOR_DECIMALS, Rounding::Exact)?;
        if units > MAX_FACTOR * 10_i128.pow(FACTOR_DECIMALS) {
            return Err(AmountError::TooLarge);
        }
        let mut scale = FACTOR_DECIMALS;
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Ok(Self { units, scale })
    }

    pub(super) fn units(self) -> i128 {
        self.units
    }

    pub(super) fn scale(self) -> u32 {
        self.scale
    }

    pub(super) fn write(self, out: &mut String) {
        write_scaled(out, self.units, self.scale);
    }

    /// Whether the one makes a cost larger than the other.
    pub(super) fn exceeds(self, other: Self) -> bool {
        let millionths = |factor: Self| factor.units * 10_i128.pow(FACTOR_DECIMALS - factor.scale);
        millionths(self) > millionths(other)
    }
}
