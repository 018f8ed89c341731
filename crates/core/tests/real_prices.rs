//! Every price of LiteLLM's list, times tokens, times factors: equal to whole numbers of any length at 1e-12 USD.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::Read;

use num_bigint::BigInt;
use serde_json::Value;
use tollgate_core::decimal::Exact;

const TOKENS: [i64; 6] = [1, 7, 999, 123_457, 1_000_000, 987_654_321_012];
const FACTORS: [&str; 5] = ["1", "0.9", "1.17", "1.123457", "999.999999"];

/// The texts of all numbers under keys of prices.
fn prices(value: &Value, is_price: bool, found: &mut Vec<String>) {
    match value {
        Value::Number(number) if is_price => found.push(number.to_string()),
        Value::Array(list) => list.iter().for_each(|inner| prices(inner, is_price, found)),
        Value::Object(object) => {
            object.iter().for_each(|(key, inner)| prices(inner, is_price || key.contains("cost"), found));
        }
        _ => {}
    }
}

/// A number as its digits before the exponent, and how many of them are decimals.
fn digits(text: &str) -> (BigInt, i32) {
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent: i32 = exponent.parse().unwrap();
    (format!("{whole}{fraction}").parse().unwrap(), i32::try_from(fraction.len()).unwrap() - exponent)
}

fn half_even(units: &BigInt, scale: i32) -> BigInt {
    let ten = |power: i32| BigInt::from(10).pow(power.try_into().unwrap());
    if scale <= 12 {
        return units * ten(12 - scale);
    }
    let (quotient, rest) = (units / ten(scale - 12), 2 * (units % ten(scale - 12)));
    let up = rest > ten(scale - 12) || (rest == ten(scale - 12) && quotient.bit(0));
    quotient + i32::from(up)
}

#[test]
fn products_of_every_listed_price_are_exact() {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pgrx-tests/data/litellm_model_prices.json.gz");
    let mut list = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_string(&mut list).unwrap();
    let mut texts = Vec::new();
    prices(&serde_json::from_str(&list).unwrap(), false, &mut texts);
    let count = texts.len();
    assert!(count > 16_000, "{count} prices");
    texts.sort();
    texts.dedup();
    for text in &texts {
        let price = Exact::parse(text, 24).unwrap();
        let (units, scale) = digits(text);
        for tokens in TOKENS {
            for factor in FACTORS {
                let (factor_units, factor_scale) = digits(factor);
                let exact = Exact::new(tokens.into(), 0).times(Exact::parse(factor, 6).unwrap());
                let found = exact.and_then(|exact| exact.times(price)).and_then(|exact| exact.round(12)).unwrap();
                let expected = half_even(&(&units * tokens * factor_units), scale + factor_scale);
                assert_eq!(BigInt::from(found), expected, "{text} x {tokens} x {factor}");
            }
        }
    }
    println!("{count} prices, {} of them different", texts.len());
}
