//! Amounts and moments as SQL says them.

use std::fmt::Display;

pub fn usd(picos: i64) -> String {
    let sign = if picos < 0 { "-" } else { "" };
    let (whole, part) = (picos.unsigned_abs() / 1_000_000_000_000, picos.unsigned_abs() % 1_000_000_000_000);
    format!("{sign}{whole}.{part:012}")
}

/// Whole pico-dollars out of a decimal.
pub fn picos(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    (part.len() <= 12).then_some(())?;
    let part: i64 = if part.is_empty() { 0 } else { format!("{part:0<12}").parse().ok()? };
    Some(sign * (whole.parse::<i64>().ok()?.checked_mul(1_000_000_000_000)? + part))
}

pub fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as i64
}

pub fn quoted(value: Option<impl Display>) -> String {
    value.map_or("null".to_string(), |value| format!("'{value}'"))
}

pub fn interval(micros: i64) -> String {
    format!("'{} microseconds'", micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_as_it_is_written() {
        for amount in [0, 1, -1, 1_000_000_000_000, -2_500_000_000_001] {
            assert_eq!(picos(&usd(amount)), Some(amount));
        }
        assert_eq!(picos("1"), Some(1_000_000_000_000));
        assert_eq!(picos("0.0000000000001"), None);
    }
}
