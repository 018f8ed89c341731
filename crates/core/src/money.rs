//! Exact decimal money.
//!
//! A cost is kept in pico-dollars (1e-12 USD), rounded once, half-even. Quota arithmetic is in whole nano-dollars
//! (1e-9 USD, `i64`): a charge rounds up and a limit rounds down, so that rounding never makes room. No number here is
//! ever a float, and every amount is bounded, so that sums of amounts cannot overflow unnoticed.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::decimal::Exact;
pub use crate::decimal::{AmountError, Rounding, format_scaled, parse_scaled};

/// The largest amount of one charge, limit or cost, in whole US dollars. An `i64` holds its nano-dollars nine times.
pub const MAX_USD: i128 = 1_000_000_000;

/// Nano-dollars (1e-9 USD) in one dollar.
pub const NANOS_PER_USD: i128 = 1_000_000_000;

/// Pico-dollars (1e-12 USD) in one dollar.
pub const PICOS_PER_USD: i128 = 1_000_000_000_000;

const PICOS_PER_NANO: i128 = PICOS_PER_USD / NANOS_PER_USD;
const MAX_PICOS: i128 = MAX_USD * PICOS_PER_USD;

/// A non-negative amount of at most [`MAX_USD`], in pico-dollars (1e-12 USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Picos(i128);

impl Picos {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The largest amount, [`MAX_USD`].
    #[cfg(test)]
    pub const MAX: Self = Self(MAX_PICOS);

    /// Takes a count of pico-dollars (1e-12 USD), refusing what is negative or above [`MAX_USD`].
    pub fn new(picos: i128) -> Result<Self, AmountError> {
        match picos {
            ..0 => Err(AmountError::Negative),
            0..=MAX_PICOS => Ok(Self(picos)),
            _ => Err(AmountError::TooLarge),
        }
    }

    /// Reads US dollars as Postgres prints a `numeric`, or as JSON writes a number; rounds once, half-even, to 1e-12.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self::new(parse_scaled(text, 12, Rounding::HalfEven)?)
    }

    /// The one rounding of a cost: half-even, to 1e-12 USD. `None` above [`MAX_USD`].
    pub fn round(usd: Exact) -> Option<Self> {
        Self::new(usd.round(12)?).ok()
    }

    /// The amount in pico-dollars (1e-12 USD).
    pub fn get(self) -> i128 {
        self.0
    }

    pub(crate) fn exact(self) -> Exact {
        Exact::new(self.0, 12)
    }

    /// The amount in nano-dollars, rounded up: what a charge takes from a quota.
    pub fn ceil_nanos(self) -> i64 {
        narrow(self.0.saturating_add(PICOS_PER_NANO - 1) / PICOS_PER_NANO)
    }

    /// The sum, or `TooLarge` above [`MAX_USD`].
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        Self::new(self.0.saturating_add(other.0))
    }

    /// The difference, or `Negative` below zero.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        Self::new(self.0.saturating_sub(other.0))
    }

    /// The amount with a correction, which may be below zero.
    pub fn with(self, correction: PicosDifference) -> PicosDifference {
        PicosDifference(self.0.saturating_add(correction.0))
    }

    /// US dollars with the sign turned, exact.
    pub fn negated(self) -> String {
        format_scaled(-self.0, 12)
    }
}

/// A correction: an amount that may be below zero, of at most [`MAX_USD`] either way, in pico-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PicosDifference(i128);

impl PicosDifference {
    /// Takes a count of pico-dollars.
    pub fn new(picos: i128) -> Self {
        Self(picos)
    }

    /// The amount in pico-dollars.
    pub fn get(self) -> i128 {
        self.0
    }

    /// The sum.
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Reads US dollars as Postgres prints a `numeric`; rounds once, half-even, to 1e-12.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        match text.strip_prefix('-') {
            Some(amount) => Picos::parse(amount).map(|amount| Self(-amount.0)),
            None => Picos::parse(text).map(|amount| Self(amount.0)),
        }
    }

    /// In nano-dollars, rounded up: it takes no less, and gives back no more.
    pub fn ceil_nanos(self) -> i64 {
        narrow(self.0.div_euclid(PICOS_PER_NANO) + i128::from(self.0.rem_euclid(PICOS_PER_NANO) != 0))
    }
}

/// US dollars, exact, without trailing zeros.
impl fmt::Display for PicosDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_scaled(self.0, 12))
    }
}

/// As a string, so that no reader makes a float of it.
impl Serialize for Picos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// US dollars, exact, without trailing zeros.
impl fmt::Display for Picos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_scaled(self.0, 12))
    }
}

/// The bound on `Picos` keeps its nano-dollars below 2^63, so this never saturates; it is here to be total.
fn narrow(nanos: i128) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

/// Prints a signed count of nano-dollars (1e-9 USD) as exact US dollars without trailing zeros.
pub fn usd_from_nanos(nanos: i128) -> String {
    format_scaled(nanos, 9)
}

#[cfg(test)]
mod tests;
