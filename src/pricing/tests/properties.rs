//! Laws of pricing over generated models and calls.

use super::*;
use crate::pricing::breakdown::Quantity;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const TIERS: [Option<&str>; 6] =
    [None, Some("batches"), Some("priority"), Some("flex"), Some("balanced"), Some("auto")];
const PARTS: [&str; 8] = [
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "reasoning_output_tokens",
    "output_audio_tokens",
    "output_image_tokens",
];

fn key() -> impl Strategy<Value = String> {
    let above = select(&["", "", "_above_1k_tokens", "_above_2k_tokens"][..]);
    let tier = select(&["", "", "_batches", "_priority", "_flex"][..]);
    (0..Part::ALL.len(), above, tier)
        .prop_map(|(part, above, tier)| format!("{}{above}{tier}", Part::ALL[part].price_key()))
}

/// Any prices at all, also ones that fall above a threshold, with or without text prices.
fn any_model() -> impl Strategy<Value = ModelPrice> {
    vec((key(), 0..10_u64.pow(12), 12..25_u32), 0..16).prop_map(|prices| {
        let object =
            prices.into_iter().map(|(key, price, scale)| (key, number(&format!("{price}e-{scale}")))).collect();
        model(Value::Object(object))
    })
}

/// Exclusive counts in the order of `Part::ALL`, put together as a provider reports them.
fn combine(counts: &[i64]) -> Usage {
    let creation = counts[2] + counts[3];
    let input = counts[0] + counts[1] + creation + counts[4] + counts[5];
    let values = [counts[1], creation, counts[3], counts[4], counts[5], counts[7], counts[8], counts[9]];
    let parts = PARTS.iter().zip(values).map(|(key, count)| (key.to_string(), json!(count))).collect();
    usage(input, counts[6..].iter().sum(), Value::Object(parts))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,40})([.][0-9]{1,40})?(e-?[0-9]{1,20})?"
            .prop_map(|text| serde_json::from_str(&text).unwrap_or(Value::Null)),
    ];
    let keys = prop_oneof![key(), select(&PARTS[..]).prop_map(String::from), ".*"];
    leaf.prop_recursive(2, 16, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys.clone(), inner), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn lines_add_up_and_are_rounded_once(price in any_model(), counts in vec(0..3000_i64, 10), tier in select(&TIERS[..])) {
        let call = combine(&counts);
        prop_assert_eq!(call.parts().map(|(_, tokens)| tokens).collect::<Vec<_>>(), counts);
        if let Priced::Priced(found) = price_llm(&price, &call, tier).unwrap() {
            let mut sum = 0;
            for line in found.lines() {
                let Quantity::Tokens(tokens) = line.quantity else { panic!("tokens") };
                prop_assert_eq!(Rate::parse(&line.rate.to_string()).or(Err(AmountError::TooPrecise)).unwrap_or(line.rate), line.rate);
                let cost = line.rate.rontos() * i128::from(tokens);
                prop_assert_eq!(line.cost.to_string(), crate::money::format_scaled(cost, 27));
                sum += cost;
            }
            prop_assert_eq!(found.exact().to_string(), crate::money::format_scaled(sum, 27));
            let error = (found.total().get() * 10_i128.pow(15) - sum).abs();
            prop_assert!(2 * error <= 10_i128.pow(15));
            prop_assert_eq!(found.input_cost().checked_add(found.output_cost()), Ok(found.total()));
        }
    }

    #[test]
    fn more_tokens_never_cost_less(
        prices in vec(0..10_u64.pow(9), 30), counts in vec(0..1500_i64, 10), part in 0..10_usize, more in 1..3000_i64,
        tier in select(&TIERS[..]),
    ) {
        // Prices that rise with the context, as all real ones do; a falling one is cheaper on purpose.
        let mut object = serde_json::Map::new();
        for (part, price) in Part::ALL.into_iter().zip(prices.chunks(3)) {
            let mut sum = 0;
            for (price, above) in price.iter().zip(["", "_above_1k_tokens", "_above_2k_tokens"]) {
                sum += price;
                object.insert(format!("{}{above}", part.price_key()), number(&format!("{sum}e-15")));
            }
        }
        let price = model(Value::Object(object));
        let mut larger = counts.clone();
        larger[part] += more;
        let cost = |counts: &[i64]| breakdown(price_llm(&price, &combine(counts), tier)).exact();
        prop_assert!(cost(&counts) <= cost(&larger));
    }

    #[test]
    fn no_call_costs_more_than_its_bound(
        price in any_model(), mut counts in vec(0..1500_i64, 10), spare in (0..2500_i64, 0..100_i64), tier in select(&TIERS[..]),
    ) {
        for media in [4, 5, 8, 9] {
            counts[media] = 0;
        }
        let call = combine(&counts);
        let (input, output) = (call.input_tokens() + spare.0, call.output_tokens() + spare.1);
        let bound = upper_bound(&price, input, output, None, tier).unwrap();
        if let (Priced::Priced(cost), Priced::Priced(bound)) = (price_llm(&price, &call, tier).unwrap(), bound) {
            prop_assert!(cost.total() <= bound.total(), "{cost:?} {bound:?}");
        }
        prop_assert_eq!(upper_bound(&price, 0, 0, Some(&call), tier), price_llm(&price, &call, tier));
    }

    #[test]
    fn rates_print_as_they_were_read(units in 0..10_i128.pow(30)) {
        let text = crate::money::format_scaled(units, 24);
        prop_assert_eq!(Rate::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn nothing_panics(
        text in ".*", components in any_json(), parts in any_json(), input in any::<i64>(), output in any::<i64>(),
        price in any_model(), tier in prop_oneof![Just("priority".to_string()), ".*"],
    ) {
        let tier = Some(tier.as_str());
        let models = [Ok(price), ModelPrice::new(None, None, &components), ModelPrice::new(Some(&text), Some("1e12"), &components)];
        for price in models.into_iter().flatten() {
            let _ = upper_bound(&price, input, output, None, tier);
            if let Ok(call) = Usage::new(input, output, Some(&parts)) {
                let _ = price_llm(&price, &call, tier);
            }
        }
        let rate = Rate::parse("1e6").ok();
        let price = SandboxPrice { per_second: rate, vcpu_second: rate, memory_gib_second: rate };
        let _ = price_sandbox(&price, &text, Some(&input.to_string()), Some(&output.to_string()));
        let _ = price_sandbox(&price, "1e21", Some(&text), Some("1e-21"));
    }
}
