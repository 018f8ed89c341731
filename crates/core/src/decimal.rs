//! Exact decimals: read, printed, multiplied, added, and rounded once.
//!
//! A `rust_decimal` number has 96 bits and 28 decimals, and rounds in silence what leaves them. [`Exact`] takes no
//! rounded answer. What does not fit goes on as a whole number of 128 bits with its scale. What does not fit that is
//! refused.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// Why a decimal text is not an amount. Each prints as a clause that follows the name of the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountError {
    /// The text is no decimal number at all.
    Malformed,
    /// `NaN`, which Postgres sorts above every number and so would pass any "at least" check.
    NaN,
    /// `Infinity` or `-Infinity`.
    Infinite,
    /// Below zero, also when it would round to zero.
    Negative,
    /// Above the bound of its kind.
    TooLarge,
    /// More decimals than an exact value of its kind may have.
    TooPrecise,
}

impl fmt::Display for AmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "must be a decimal number",
            Self::NaN => "must not be NaN",
            Self::Infinite => "must not be infinite",
            Self::Negative => "must not be negative",
            Self::TooLarge => "is too large",
            Self::TooPrecise => "has too many decimals",
        })
    }
}

impl std::error::Error for AmountError {}

/// What [`parse_scaled`] does with digits beyond the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Round to the nearest unit, a tie to the even one.
    HalfEven,
    /// Refuse with [`AmountError::TooPrecise`] unless those digits are all zero.
    Exact,
}

/// A decimal that no operation has rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exact(Form);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nearly every number.
    Decimal(Decimal),
    /// So many units of 10 to the power of minus the scale, where no `Decimal` holds them, without trailing zeros: equal
    /// numbers have one form.
    Wide(Units, u32),
}

/// A whole number in two words: an `i128` would make every [`Exact`] half as large again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Units(i64, u64);

impl Units {
    fn new(units: i128) -> Self {
        Self((units >> 64) as i64, units as u64)
    }

    fn get(self) -> i128 {
        i128::from(self.0) << 64 | i128::from(self.1)
    }
}

impl Exact {
    pub const ZERO: Self = Self(Form::Decimal(Decimal::ZERO));
    pub const HALF: Self = Self(Form::Decimal(Decimal::from_parts(5, 0, 0, false, 1)));
    pub const ONE: Self = Self(Form::Decimal(Decimal::ONE));
    pub const THOUSAND: Self = Self(Form::Decimal(Decimal::ONE_THOUSAND));
    pub const MILLION: Self = Self(Form::Decimal(Decimal::from_parts(1_000_000, 0, 0, false, 0)));

    /// `units` × 10^-`scale`.
    pub fn new(mut units: i128, mut scale: u32) -> Self {
        if let Ok(decimal) = Decimal::try_from_i128_with_scale(units, scale) {
            return Self(Form::Decimal(decimal));
        }
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Self(
            Decimal::try_from_i128_with_scale(units, scale).map_or(Form::Wide(Units::new(units), scale), Form::Decimal),
        )
    }

    /// Reads a non-negative number as [`parse_scaled`] does, refusing more decimals than so many.
    pub fn parse(text: &str, decimals: u32) -> Result<Self, AmountError> {
        match decimal(text) {
            Some(number) if number.scale() <= decimals => Ok(Self(Form::Decimal(number))),
            _ => parse_scaled(text, decimals, Rounding::Exact).map(|units| Self::new(units, decimals)),
        }
    }

    /// The product; `None` when 128 bits do not hold that of their digits.
    pub fn times(self, other: Self) -> Option<Self> {
        if let (Form::Decimal(one), Form::Decimal(two)) = (self.0, other.0)
            && let Some(product) = product(one, two)
        {
            return Some(Self(Form::Decimal(product)));
        }
        let ((one, one_scale), (two, two_scale)) = (self.parts(), other.parts());
        Some(Self::new(one.checked_mul(two)?, one_scale.checked_add(two_scale)?))
    }

    /// The sum; `None` when 128 bits do not hold its digits.
    pub fn plus(self, other: Self) -> Option<Self> {
        // Most sums are of nothing and something.
        if self.is_zero() {
            return Some(other);
        }
        if other.is_zero() {
            return Some(self);
        }
        if let (Form::Decimal(one), Form::Decimal(two)) = (self.0, other.0)
            && let Some(sum) = one.checked_add(two)
            // Digits that do not fit would be rounded away, and the scale tells.
            && sum.scale() == one.scale().max(two.scale())
        {
            return Some(Self(Form::Decimal(sum)));
        }
        let scale = self.parts().1.max(other.parts().1);
        Some(Self::new(self.units(scale)?.checked_add(other.units(scale)?)?, scale))
    }

    /// The difference; `None` when 128 bits do not hold its digits.
    pub fn minus(self, other: Self) -> Option<Self> {
        let (units, scale) = other.parts();
        self.plus(Self::new(units.checked_neg()?, scale))
    }

    /// How many decimals it has, without trailing zeros.
    pub fn decimals(self) -> u32 {
        self.parts().1
    }

    /// A non-negative number as a whole number of 10^-`scale`, rounded half-even; `None` when 128 bits do not hold it.
    pub fn round(self, scale: u32) -> Option<i128> {
        let (units, own) = match self.0 {
            Form::Decimal(number) => (number.mantissa(), number.scale()),
            Form::Wide(units, scale) => (units.get(), scale),
        };
        match own.checked_sub(scale) {
            None => self.units(scale),
            Some(0) => Some(units),
            Some(more) => div_half_even(units, ten_to(more)?),
        }
    }

    fn is_zero(self) -> bool {
        matches!(self.0, Form::Decimal(number) if number.is_zero())
    }

    /// Units and scale, without trailing zeros.
    fn parts(self) -> (i128, u32) {
        match self.0 {
            Form::Decimal(number) => {
                let number = number.normalize();
                (number.mantissa(), number.scale())
            }
            Form::Wide(units, scale) => (units.get(), scale),
        }
    }

    /// As a whole number of 10^-`scale`, a scale that is not below its own.
    fn units(self, scale: u32) -> Option<i128> {
        match self.parts() {
            (0, _) => Some(0),
            (units, own) => units.checked_mul(ten_to(scale.checked_sub(own)?)?),
        }
    }
}

/// A power of ten, as far as 128 bits hold it.
fn ten_to(power: u32) -> Option<i128> {
    const POWERS: [i128; 39] = {
        let mut powers = [1; 39];
        let mut power = 1;
        while power < powers.len() {
            powers[power] = powers[power - 1] * 10;
            power += 1;
        }
        powers
    };
    POWERS.get(power as usize).copied()
}

/// The product that `rust_decimal` does not round: it would, to 28 decimals or to the digits that 96 bits hold.
fn product(one: Decimal, two: Decimal) -> Option<Decimal> {
    let scale = one.scale() + two.scale();
    let product = (scale <= Decimal::MAX_SCALE).then(|| one.checked_mul(two))??;
    (product.scale() == scale || product.is_zero()).then_some(product)
}

/// What `rust_decimal` reads without rounding, of what [`parse_scaled`] takes too.
fn decimal(text: &str) -> Option<Decimal> {
    /// With more digits before an exponent it would round.
    const MAX_LENGTH: usize = 28;
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !number.starts_with('.')
        && !number.ends_with('.')
        && number.len() <= MAX_LENGTH
        // It takes two signs.
        && exponent.parse::<i32>().is_ok();
    match number.len() == text.len() {
        _ if !is_plain => None,
        true => Decimal::from_str_exact(text).ok(),
        false => Decimal::from_scientific(text).ok(),
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Form::Decimal(one), Form::Decimal(two)) = (self.0, other.0) {
            return one.cmp(&two);
        }
        let scale = self.parts().1.max(other.parts().1);
        match (self.units(scale), other.units(scale)) {
            (Some(one), Some(two)) => one.cmp(&two),
            // Of one that 128 bits do not hold at that scale, the sign tells.
            (None, _) => self.parts().0.cmp(&0),
            (_, None) => 0.cmp(&other.parts().0),
        }
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All digits, without trailing zeros, an exponent or a negative zero.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A breakdown prints a dozen of them with each record, nearly all of one word.
        if let Form::Decimal(number) = self.0
            && let Ok(units) = u64::try_from(number.mantissa().unsigned_abs())
        {
            return print_word(units, number.scale(), number.is_sign_negative(), f);
        }
        let (units, scale) = self.parts();
        let scale = scale as usize;
        let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let (sign, point) = (if units < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

/// Prints `units` × 10^-`scale`, a scale of at most 28, from the last digit to the first.
fn print_word(mut units: u64, mut scale: u32, is_negative: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    while scale > 0 && units.is_multiple_of(10) {
        (units, scale) = (units / 10, scale - 1);
    }
    let is_negative = is_negative && units != 0;
    let mut text = [0; 32];
    let mut begin = text.len();
    let mut put = |character| {
        begin -= 1;
        text[begin] = character;
    };
    for decimals in (0..=scale).rev() {
        // All of what is left stands before the point.
        put(b'0' + (units % 10) as u8);
        units /= 10;
        if decimals == 1 {
            put(b'.');
        }
    }
    while units > 0 {
        put(b'0' + (units % 10) as u8);
        units /= 10;
    }
    if is_negative {
        put(b'-');
    }
    f.write_str(std::str::from_utf8(&text[begin..]).unwrap_or_default())
}

/// As a string, so that no reader makes a float of it.
impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Prints `value` × 10^-`scale` as [`Exact`] does.
pub fn format_scaled(value: i128, scale: u32) -> String {
    Exact::new(value, scale).to_string()
}

/// Divides non-negative `value` by positive `divisor`, to the nearest whole, a tie to the even one (roundTiesToEven of
/// IEEE 754).
pub fn div_half_even(value: i128, divisor: i128) -> Option<i128> {
    let quotient = value.checked_div(divisor)?;
    let rest = value.checked_rem(divisor)?;
    // `rest` against what is missing to the next whole avoids doubling, which could overflow.
    let up = match rest.cmp(&divisor.checked_sub(rest)?) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    if up { quotient.checked_add(1) } else { Some(quotient) }
}

/// Reads a non-negative decimal as a whole number of 10^-`scale` units.
///
/// Takes what Postgres prints for a `numeric` (`12.340`, `NaN`, `-Infinity`) and what JSON allows as a number
/// (`1.3e-10`). A negative number is refused before it is rounded, so that `-1e-30` is no zero; `-0` is one. The work
/// is linear in the length of the text, whatever its exponent says, and nothing is allocated.
pub fn parse_scaled(text: &str, scale: u32, rounding: Rounding) -> Result<i128, AmountError> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if body.eq_ignore_ascii_case("nan") {
        return Err(AmountError::NaN);
    }
    if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") {
        return Err(AmountError::Infinite);
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if mantissa.ends_with('.') || whole.is_empty() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(AmountError::Malformed);
    }
    if digits().all(|digit| digit == b'0') {
        return Ok(0);
    }
    if negative {
        return Err(AmountError::Negative);
    }

    // The digit at index `kept` is the first one that weighs less than one unit.
    let kept = length(whole).saturating_add(exponent).saturating_add(i64::from(scale));
    let mut units: i128 = 0;
    let mut first_cut = 0;
    let mut more_cut = false;
    for (index, digit) in (0_i64..).zip(digits().map(|digit| digit.wrapping_sub(b'0'))) {
        if index < kept {
            units = append_digit(units, digit)?;
        } else if index == kept {
            first_cut = digit;
        } else {
            more_cut |= digit != 0;
        }
    }
    let mut missing = kept.saturating_sub(length(whole).saturating_add(length(fraction)));
    // A non-zero number overflows after at most 39 zeros, so a huge exponent ends this loop at once.
    while missing > 0 {
        units = append_digit(units, 0)?;
        missing = missing.saturating_sub(1);
    }

    match rounding {
        Rounding::Exact if first_cut != 0 || more_cut => Err(AmountError::TooPrecise),
        Rounding::HalfEven if first_cut > 5 || (first_cut == 5 && (more_cut || units % 2 != 0)) => {
            units.checked_add(1).ok_or(AmountError::TooLarge)
        }
        _ => Ok(units),
    }
}

/// A text of more than `i64::MAX` bytes cannot exist, so this never saturates.
fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

fn append_digit(units: i128, digit: u8) -> Result<i128, AmountError> {
    units.checked_mul(10).and_then(|tens| tens.checked_add(i128::from(digit))).ok_or(AmountError::TooLarge)
}

/// Reads the decimal exponent, saturating: beyond ±2^63 the number is too large or rounds to nothing all the same.
fn parse_exponent(text: &str) -> Result<i64, AmountError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(AmountError::Malformed);
    }
    let magnitude = digits
        .bytes()
        .fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))));
    Ok(if negative { magnitude.saturating_neg() } else { magnitude })
}

#[cfg(test)]
mod tests;
