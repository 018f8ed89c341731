//! Exact decimal money.
//!
//! A cost is kept in pico-dollars (1e-12 USD), rounded once, half-even. Quota arithmetic is in whole nano-dollars
//! (1e-9 USD, `i64`): a charge rounds up and a limit rounds down, so that rounding never makes room. No number here is
//! ever a float, and every amount is bounded, so that sums of amounts cannot overflow unnoticed.

use std::fmt;

/// The largest amount of one charge, limit or cost, in whole US dollars. An `i64` holds its nano-dollars nine times.
pub const MAX_USD: i128 = 1_000_000_000;

/// Nano-dollars (1e-9 USD) in one dollar.
pub const NANOS_PER_USD: i128 = 1_000_000_000;

/// Pico-dollars (1e-12 USD) in one dollar.
pub const PICOS_PER_USD: i128 = 1_000_000_000_000;

const PICOS_PER_NANO: i128 = PICOS_PER_USD / NANOS_PER_USD;
const MAX_PICOS: i128 = MAX_USD * PICOS_PER_USD;

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

    /// The amount in pico-dollars (1e-12 USD).
    pub fn get(self) -> i128 {
        self.0
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

/// Prints `value` × 10^-`scale` exactly, without trailing zeros, an exponent or a negative zero.
pub fn format_scaled(value: i128, scale: u32) -> String {
    let mut out = String::with_capacity(48);
    write_scaled(&mut out, value, scale);
    out
}

/// The same at the end of a text.
pub fn write_scaled(out: &mut String, value: i128, scale: u32) {
    /// What nineteen digits make: as many as a machine word holds, so that a wide number is divided twice at most.
    const WORD: u128 = 10_000_000_000_000_000_000;
    // An i128 has 39 digits; a scale may ask for more zeros than that.
    let scale = usize::try_from(scale).unwrap_or(usize::MAX).min(63);
    let mut digits = [b'0'; 64];
    let mut rest = value.unsigned_abs();
    let mut first = digits.len();
    while rest != 0 {
        let (word, more) = if rest < WORD { (rest as u64, 0) } else { ((rest % WORD) as u64, rest / WORD) };
        let end = first;
        let mut word = word;
        while word != 0 {
            first -= 1;
            digits[first] = b'0' + (word % 10) as u8;
            word /= 10;
        }
        rest = more;
        if rest != 0 {
            first = end - 19;
        }
    }
    let point = digits.len() - scale;
    let whole = &digits[first.min(point - 1)..point];
    let last = digits[point..].iter().rposition(|digit| *digit != b'0').map_or(point, |place| point + place + 1);
    if value < 0 {
        out.push('-');
    }
    let mut push = |digits: &[u8]| out.extend(digits.iter().map(|digit| char::from(*digit)));
    push(whole);
    if last > point {
        push(b".");
        push(&digits[point..last]);
    }
}

/// Divides non-negative `value` by positive `divisor`, to the nearest whole, a tie to the even one (roundTiesToEven of
/// IEEE 754).
pub(crate) fn div_half_even(value: i128, divisor: i128) -> Option<i128> {
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
