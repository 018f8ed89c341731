//! Laws of pricing over generated models and calls.

use super::*;
use crate::pricing::breakdown::Quantity;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const TIERS: [Option<&str>; 6] =
    [None, Some("batches"), Some("priority"), Some("flex"), Some("balanced"), Some("auto")];
/// The usage key of each token part, in the order of [`Part::ALL`]; none for text, which is the rest.
const KEYS: [Option<&str>; 17] = [
    None,
    Some("cache_read_input_tokens"),
    Some("explicit_cache_read_input_tokens"),
    Some("cache_read_input_audio_tokens"),
    Some("cache_read_input_image_tokens"),
    Some("cache_creation_input_tokens"),
    Some("cache_creation_1h_input_tokens"),
    Some("cache_creation_12h_input_tokens"),
    Some("cache_creation_input_audio_tokens"),
    Some("input_audio_tokens"),
    Some("input_image_tokens"),
    Some("input_video_tokens"),
    None,
    Some("reasoning_output_tokens"),
    Some("output_audio_tokens"),
    Some("output_image_tokens"),
    Some("output_video_tokens"),
];
const PARTS: usize = KEYS.len();
const INPUTS: usize = 12;

fn tokens() -> Vec<Part> {
    Part::tokens(Side::Input).chain(Part::tokens(Side::Output)).collect()
}

fn key() -> impl Strategy<Value = String> {
    let above = select(&["", "", "_above_1k_tokens", "_above_2k_tokens"][..]);
    let tier = select(&["", "", "_batches", "_priority", "_flex"][..]);
    (0..PARTS, above, tier).prop_map(|(part, above, tier)| format!("{}{above}{tier}", tokens()[part].price_key()))
}

type Prices = Vec<(String, u64, u32)>;

fn object(prices: &Prices) -> serde_json::Map<String, Value> {
    prices.iter().map(|(key, price, scale)| (key.clone(), number(&format!("{price}e-{scale}")))).collect()
}

fn prices(most: usize) -> impl Strategy<Value = Prices> {
    vec((key(), 0..10_u64.pow(9), 12..25_u32), 0..most)
}

/// Any prices at all, also ones that fall above a threshold, with or without text prices; some with bands, off-peak
/// prices and multipliers.
fn any_model() -> impl Strategy<Value = ModelPrice> {
    let plain =
        |prices: Prices| prices.into_iter().map(|(key, ..)| key.split("_above_").next().unwrap_or("").to_owned());
    let standard = move |prices: &Prices| {
        let keys = plain(prices.clone()).map(|key| {
            ["_batches", "_priority", "_flex"].iter().find_map(|tier| key.strip_suffix(tier)).unwrap_or(&key).to_owned()
        });
        object(&keys.zip(prices).map(|(key, (_, price, scale))| (key, *price, *scale)).collect())
    };
    let factor = select(&["0.5", "1.1", "2", "1.25"][..]);
    (prices(16), prices(6), prices(6), any::<[bool; 5]>(), factor).prop_map(
        move |(base, band, off_peak, has, factor)| {
            let mut all = object(&base);
            if has[0] {
                let mut high = standard(&band);
                high.insert("range".into(), json!([1000, 9000]));
                let mut low = standard(&off_peak);
                low.insert("range".into(), json!([0, 1000.0]));
                all.insert("tiered_pricing".into(), json!([high, low]));
            }
            if has[1] {
                let mut off_peak = standard(&off_peak);
                off_peak.insert("hours_utc".into(), json!("00:00-00:00"));
                all.insert("off_peak_pricing".into(), Value::Object(off_peak));
            }
            if has[2] {
                let speeds = json!({"us": number(factor), "fast": 2, "eu": number("1.1"), "reference": "first_frame"});
                all.insert("provider_specific_entry".into(), speeds);
            }
            if has[3] {
                all.insert("regional_processing_uplift_multiplier_eu".into(), number(factor));
                all.insert("regional_endpoint_uplift_multiplier".into(), number("1.1"));
            }
            let mut price = model(Value::Object(all));
            price.inclusive = has[4];
            price
        },
    )
}

/// Exclusive counts in the order of `Part::ALL`, put together as a provider reports them, and what else there is to tell.
fn combine_with(counts: &[i64], more: Value) -> Usage {
    let Value::Object(mut parts) = more else { panic!("an object") };
    for (key, count) in KEYS.iter().zip(counts) {
        if let Some(key) = key {
            parts.insert(key.to_string(), json!(count));
        }
    }
    // These include others of theirs.
    parts.insert(KEYS[1].unwrap().into(), json!(counts[1..5].iter().sum::<i64>()));
    parts.insert(KEYS[5].unwrap().into(), json!(counts[5..9].iter().sum::<i64>()));
    usage(counts[..INPUTS].iter().sum(), counts[INPUTS..].iter().sum(), Value::Object(parts))
}

/// How a call was served.
fn served() -> impl Strategy<Value = Value> {
    let word = |words: &'static [Option<&'static str>]| select(words);
    (
        word(&[None, Some("us"), Some("eu"), Some("global"), Some("US")]),
        word(&[None, Some("fast"), Some("standard")]),
        word(&[None, Some("eu"), Some("us")]),
        word(&[None, Some("global"), Some("europe-west1")]),
    )
        .prop_map(|(geo, speed, residency, location)| {
            json!({"inference_geo": geo, "speed": speed, "data_residency": residency, "location": location})
        })
}

fn terms(tier: Option<&'static str>, off_peak: bool, markup: Option<&str>) -> PriceConditions<'static> {
    PriceConditions { tier, off_peak, markup: markup.map(|factor| stacked(&[factor])) }
}

/// A markup of these steps, of which none is the provider's.
fn stacked(factors: &[&str]) -> Markup {
    factors
        .iter()
        .fold(Markup::NONE, |markup, factor| markup.step(Factor::parse(factor).unwrap(), false, true).unwrap())
}

const NESTED: [&str; 12] = [
    "tiered_pricing",
    "off_peak_pricing",
    "windows",
    "hours_utc",
    "range",
    "max_results_range",
    "provider_specific_entry",
    "search_context_cost_per_query",
    "guardrail_cost_per_unit",
    "search_context_size_low",
    "weekdays",
    "guardrail_units",
];

pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,40})([.][0-9]{1,40})?(e-?[0-9]{1,20})?"
            .prop_map(|text| serde_json::from_str(&text).unwrap_or(Value::Null)),
    ];
    let usage_keys: Vec<&str> = KEYS.into_iter().flatten().collect();
    let keys = prop_oneof![
        key(),
        select(usage_keys).prop_map(String::from),
        select(NESTED.to_vec()).prop_map(String::from),
        ".*"
    ];
    leaf.prop_recursive(2, 16, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys.clone(), inner), 0..8).prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
        ]
    })
}

/// Decimals of the sums of these tests: a line's 27, and those of the factors.
const TEST_SCALE: u32 = 34;

fn signed_units(text: &str) -> i128 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    sign * crate::money::parse_scaled(digits, TEST_SCALE, crate::money::Rounding::Exact).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn lines_and_multipliers_add_up_and_are_rounded_once(
        price in any_model(), counts in vec(0..3000_i64, PARTS), served in served(), tier in select(&TIERS[..]),
        off_peak in any::<bool>(), markup in select(&[None, Some("1.25"), Some("0.9999"), Some("0")][..]),
    ) {
        let call = combine_with(&counts, served);
        let expected: Vec<_> = tokens().into_iter().zip(counts).filter(|(_, count)| *count > 0).collect();
        prop_assert_eq!(call.parts().collect::<Vec<_>>(), expected);
        if let Priced::Priced(found) = price_llm(&price, &call, terms(tier, off_peak, markup)).unwrap() {
            let units = |text: String| signed_units(&text);
            let mut sum = 0;
            for line in found.lines() {
                let Quantity::Tokens { tokens, rate } = line.quantity else { panic!("tokens") };
                prop_assert_eq!(units(line.cost.to_string()), units(rate.to_string()) * i128::from(tokens));
                sum += units(line.cost.to_string());
            }
            // As a reader adds them up who has nothing but the JSON.
            let told = json!(found);
            let rows = |name: &str| told[name].as_array().cloned().unwrap_or_default();
            let cost = |row: &Value| signed_units(row["cost_usd"].as_str().unwrap());
            let added: i128 = rows("lines").iter().chain(&rows("multipliers")).map(cost).sum();
            prop_assert_eq!(added, told["exact_usd"].as_str().map_or(sum, signed_units));
            let error = (found.total().get() * 10_i128.pow(TEST_SCALE - 12) - added).abs();
            prop_assert!(2 * error <= 10_i128.pow(TEST_SCALE - 12));
            prop_assert_eq!(found.input_cost().checked_add(found.output_cost()), Ok(found.total()));
        }
    }

    #[test]
    fn more_of_a_part_never_costs_less(
        prices in vec(0..10_u64.pow(9), 3 * PARTS), counts in vec(0..1500_i64, PARTS), part in 0..PARTS, more in 1..3000_i64,
        tier in select(&TIERS[..]), served in served(),
    ) {
        // Prices that rise with the context, as all real ones do; a falling one is cheaper on purpose.
        let mut object = serde_json::Map::new();
        for (part, price) in tokens().into_iter().zip(prices.chunks(3)) {
            let mut sum = 0;
            for (price, above) in price.iter().zip(["", "_above_1k_tokens", "_above_2k_tokens"]) {
                sum += price;
                object.insert(format!("{}{above}", part.price_key()), number(&format!("{sum}e-15")));
            }
        }
        object.insert("regional_endpoint_uplift_multiplier".into(), number("1.1"));
        let price = model(Value::Object(object));
        let mut larger = counts.clone();
        larger[part] += more;
        let cost = |counts: &[i64]| breakdown(price_llm(&price, &combine_with(counts, served.clone()), tier)).total();
        prop_assert!(cost(&counts) <= cost(&larger));
    }

    #[test]
    fn no_call_costs_more_than_its_bound(
        price in any_model(), counts in vec(0..200_i64, PARTS), spare in (0..2500_i64, 0..100_i64), tier in select(&TIERS[..]),
        served in served(), off_peak in any::<bool>(), markup in select(&[None, Some("1.25"), Some("0.5")][..]),
    ) {
        let call = combine_with(&counts, served);
        let (input, output) = (call.input_tokens() + spare.0, call.output_tokens() + spare.1);
        let bound = upper_bound(&price, input, output, None, terms(tier, false, markup)).unwrap();
        let cost = price_llm(&price, &call, terms(tier, off_peak, markup)).unwrap();
        if let (Priced::Priced(cost), Priced::Priced(bound)) = (&cost, bound) {
            prop_assert!(cost.total() <= bound.total(), "{cost:?} {bound:?} {price:?}");
        }
        let told = upper_bound(&price, 0, 0, Some(&call), terms(tier, false, markup)).unwrap();
        if let (Priced::Priced(cost), Priced::Priced(told)) = (&cost, told) {
            prop_assert!(cost.total() <= told.total());
        }
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
            let _ = upper_bound(&price, input, output, None, tier.into());
            if let Ok(call) = Usage::new(input, output, Some(&parts)) {
                let _ = price_llm(&price, &call, tier);
            }
        }
        let rate = Rate::parse("1e6").ok();
        let price = SandboxPrice { rates: [rate; SANDBOX_PARTS.len()], flat_unless_allocated: output % 2 == 0 };
        let (first, second) = (input.to_string(), output.to_string());
        for told in [[text.as_str(), &first, &second], ["1e21", &text, "1e-21"]] {
            let quantities = std::array::from_fn(|place| told.get(place).copied());
            let _ = price_sandbox(&price, &quantities, PriceConditions::default());
        }
    }
}
