//! Steps of a markup: what the provider bills and what the tenant pays are exact products, each rounded once.

use super::*;
use crate::money::{Picos, format_scaled};
use num_bigint::BigInt;
use proptest::collection::vec;
use proptest::prelude::*;

/// A step of so many millionths: the provider's own, or one on what it bills.
type Step = (u32, bool, bool);

fn stacked(steps: &[Step]) -> Option<Markup> {
    steps.iter().try_fold(Markup::NONE, |markup, (millionths, is_providers, on_provided)| {
        let factor = Factor::parse(&format_scaled(i128::from(*millionths), 6)).unwrap();
        markup.step(factor, *is_providers, *on_provided)
    })
}

/// The amount of 10^-15 USD times the millionths of the steps, as pico-dollars, rounded half-even.
fn expected(amount: i128, steps: &[Step], counts: impl Fn(&Step) -> bool) -> BigInt {
    let counted: Vec<_> = steps.iter().filter(|step| counts(step)).collect();
    let product = counted.iter().fold(BigInt::from(amount), |product, step| product * step.0);
    let unit = BigInt::from(10).pow(3 + 6 * counted.len() as u32);
    let (whole, rest) = (&product / &unit, &product % &unit);
    let twice: BigInt = rest * 2;
    let up = match twice.cmp(&unit) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => &whole % 2 != BigInt::ZERO,
        std::cmp::Ordering::Greater => true,
    };
    whole + i32::from(up)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn steps_multiply_exactly(
        rate in 0..1_000_000_000_i128, tokens in 0..1_000_000_i64,
        steps in vec((0..2_000_000_u32, any::<bool>(), any::<bool>()), 0..4),
    ) {
        let price = model(json!({"input_cost_per_token": number(&format!("{rate}e-15"))}));
        let terms = PriceConditions { markup: stacked(&steps), ..PriceConditions::default() };
        let found = breakdown(price_llm(&price, &usage(tokens, 0, json!({})), terms));
        let list = rate * i128::from(tokens);
        prop_assert_eq!(BigInt::from(found.total().get()), expected(list, &steps, |_| true));
        prop_assert_eq!(BigInt::from(found.billed().get()), expected(list, &steps, |step| step.1));
        let paid = stacked(&steps).and_then(|markup| markup.on_provided(Picos::new(list / 1_000).unwrap())).unwrap();
        let on_provided = expected(list / 1_000 * 1_000, &steps, |step| !step.1 && step.2);
        prop_assert_eq!(BigInt::from(paid.get()), on_provided);
    }
}

#[test]
fn a_discount_and_a_margin_are_both_applied() {
    let price = model(json!({"input_cost_per_token": 1}));
    let terms = |steps: &[Step]| PriceConditions { markup: stacked(steps), ..PriceConditions::default() };
    let cost = |steps: &[Step]| {
        let found = breakdown(price_llm(&price, &usage(1, 0, json!({})), terms(steps)));
        (found.billed().to_string(), found.total().to_string())
    };
    let (discount, margin) = (900_000, 1_300_000);
    assert_eq!(cost(&[(discount, true, false), (margin, false, false)]), ("0.9".into(), "1.17".into()));
    assert_eq!(cost(&[(discount, false, false), (margin, false, false)]), ("1".into(), "1.17".into()));
    assert_eq!(cost(&[]), ("1".into(), "1".into()));
    // What a caller provides is what the provider bills already.
    let markup = stacked(&[(discount, true, false), (margin, false, true), (500_000, false, false)]).unwrap();
    assert_eq!(markup.on_provided(Picos::parse("10").unwrap()), Picos::parse("13").ok());
    let dear = stacked(&[(1_000_000_000, false, true); 3]).unwrap();
    assert_eq!(dear.on_provided(Picos::parse("10").unwrap()), None);
}
