//! Counts, quantities and amounts as providers write them: numbers, whole floats, strings of digits, null.

use serde_json::{Number, Value};

use crate::money::{AmountError, Picos, Rounding, format_scaled, parse_scaled};

/// Most of anything that one call can count.
pub const MOST: i64 = 1_000_000_000_000;

/// Longest number that is read; a longer one is no count.
const MOST_DIGITS: usize = 60;

/// Fractions of a quantity are kept to a millionth.
const FRACTION: u32 = 6;

/// What a value says as a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Null.
    Nothing,
    Whole(i64),
    /// A fraction of something that has none, rounded up.
    RoundedUp(i64),
    /// It is no count; why, as a clause.
    Unreadable(&'static str),
}

/// The text of a number, also where it stands in quotes.
fn text(value: &Value) -> Option<&str> {
    let text = match value {
        Value::Number(number) => number.as_str(),
        Value::String(text) => text.trim(),
        _ => return None,
    };
    // Words such as "NaN" are no numbers here.
    let first = text.strip_prefix('-').unwrap_or(text).bytes().next();
    first.is_some_and(|digit| digit.is_ascii_digit()).then_some(text)
}

pub fn count(value: &Value) -> Count {
    if value.is_null() {
        return Count::Nothing;
    }
    let Some(text) = text(value) else { return Count::Unreadable("must be a number") };
    match parse(text, 0, Rounding::Exact) {
        Ok(count) => Count::Whole(count),
        Err(AmountError::TooPrecise) => {
            let floor = text.split(['.', 'e', 'E']).next().unwrap_or_default();
            // An exponent makes the digits before the point no lower bound.
            match parse(floor, 0, Rounding::Exact) {
                Ok(floor) if !text.contains(['e', 'E']) => Count::RoundedUp(floor.saturating_add(1)),
                _ => Count::Unreadable("must be a whole number"),
            }
        }
        Err(AmountError::Negative) => Count::Unreadable("must not be negative"),
        Err(AmountError::TooLarge) => Count::Unreadable("is too large"),
        Err(_) => Count::Unreadable("must be a number"),
    }
}

/// A quantity that may have a fraction, in millionths. Durations such as `15s` are read.
pub fn quantity(value: &Value) -> Result<Option<i128>, &'static str> {
    if value.is_null() {
        return Ok(None);
    }
    let text = text(value).ok_or("must be a number")?;
    let text = text.strip_suffix('s').unwrap_or(text);
    if text.len() > MOST_DIGITS {
        return Err("is too long");
    }
    match parse_scaled(text, FRACTION, Rounding::HalfEven) {
        Ok(units) if units <= i128::from(MOST) * 1_000_000 => Ok(Some(units)),
        Ok(_) | Err(AmountError::TooLarge) => Err("is too large"),
        Err(AmountError::Negative) => Err("must not be negative"),
        Err(_) => Err("must be a number"),
    }
}

/// An amount of money in units of 10^-`places` US dollars.
pub fn money(value: &Value, places: u32) -> Option<Picos> {
    let text = text(value).filter(|text| text.len() <= MOST_DIGITS)?;
    Picos::new(parse_scaled(text, 12_u32.checked_sub(places)?, Rounding::HalfEven).ok()?).ok()
}

/// A JSON number of 10^-`scale` units, exact.
pub fn decimal(units: i128, scale: u32) -> Value {
    format_scaled(units, scale).parse::<Number>().map_or(Value::Null, Value::Number)
}

/// Millionths as a JSON number.
pub fn fraction(units: i128) -> Value {
    decimal(units, FRACTION)
}

fn parse(text: &str, scale: u32, rounding: Rounding) -> Result<i64, AmountError> {
    // Nearly all of them.
    if scale == 0
        && text.len() <= 12
        && let Some(count) = digits(text)
    {
        return Ok(count);
    }
    if text.len() > MOST_DIGITS {
        return Err(AmountError::TooLarge);
    }
    let count = parse_scaled(text, scale, rounding)?;
    i64::try_from(count).ok().filter(|count| *count <= MOST).ok_or(AmountError::TooLarge)
}

/// What a few digits say.
fn digits(text: &str) -> Option<i64> {
    text.bytes().try_fold(0_i64, |count, digit| Some(count * 10 + char::from(digit).to_digit(10).map(i64::from)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn number(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn counts_are_read_in_every_form() {
        for (value, expected) in [
            (json!(null), Count::Nothing),
            (json!(12), Count::Whole(12)),
            (number("12.0"), Count::Whole(12)),
            (number("1e3"), Count::Whole(1000)),
            (json!("12"), Count::Whole(12)),
            (json!(" 12.0 "), Count::Whole(12)),
            (number("12.5"), Count::RoundedUp(13)),
            (number("1.25e1"), Count::Unreadable("must be a whole number")),
            (json!(-1), Count::Unreadable("must not be negative")),
            (json!("-0"), Count::Whole(0)),
            (json!("NaN"), Count::Unreadable("must be a number")),
            (json!("Infinity"), Count::Unreadable("must be a number")),
            (json!(""), Count::Unreadable("must be a number")),
            (json!("twelve"), Count::Unreadable("must be a number")),
            (json!(true), Count::Unreadable("must be a number")),
            (json!({}), Count::Unreadable("must be a number")),
            (number("1e131000"), Count::Unreadable("is too large")),
            (json!(MOST + 1), Count::Unreadable("is too large")),
        ] {
            assert_eq!(count(&value), expected, "{value}");
        }
    }

    #[test]
    fn quantities_and_money_are_exact() {
        assert_eq!(quantity(&json!("8")), Ok(Some(8_000_000)));
        assert_eq!(quantity(&number("2.5")), Ok(Some(2_500_000)));
        assert_eq!(quantity(&json!("15s")), Ok(Some(15_000_000)));
        assert_eq!(quantity(&json!({})), Err("must be a number"));
        assert_eq!(fraction(2_500_000), number("2.5"));
        assert_eq!(money(&json!(232_856_000), 10).unwrap().get(), 23_285_600_000);
        assert_eq!(money(&number("0.00511"), 0).unwrap().get(), 5_110_000_000);
        assert_eq!(money(&json!(-1), 0), None);
    }
}
