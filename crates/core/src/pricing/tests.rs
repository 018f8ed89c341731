//! Examples of the rules, each worked out on paper.

mod list_components;
mod markups;
pub(super) mod properties;

use super::*;
use serde_json::{Value, json};

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn model(components: Value) -> ModelPrice {
    ModelPrice::new(None, None, &components).unwrap()
}

fn usage(input: i64, output: i64, parts: Value) -> Usage {
    Usage::new(input, output, Some(&parts)).unwrap()
}

fn breakdown(priced: Result<Priced, PricingError>) -> Breakdown {
    match priced {
        Ok(Priced::Priced(breakdown)) => breakdown,
        other => panic!("not priced: {other:?}"),
    }
}

#[track_caller]
fn costs(price: &ModelPrice, usage: &Usage, tier: Option<&str>, expected: &str) {
    assert_eq!(breakdown(price_llm(price, usage, tier)).total().to_string(), expected);
}

fn unpriced(missing: &'static str) -> Result<Priced, PricingError> {
    Ok(Priced::Unpriced { missing })
}

#[test]
fn usage_is_taken_apart_into_exclusive_parts() {
    let parts = json!({
        "cache_read_input_tokens": 10, "cache_creation_input_tokens": 30, "cache_creation_1h_input_tokens": 20,
        "input_audio_tokens": 5, "input_image_tokens": 4, "reasoning_output_tokens": 7, "output_audio_tokens": 3,
        "output_image_tokens": 2, "something_new": "kept elsewhere", "tool_use": -1,
    });
    let counts: Vec<i64> = usage(100, 50, parts).parts().map(|(_, tokens)| tokens).collect();
    assert_eq!(counts, [51, 10, 10, 20, 5, 4, 38, 7, 3, 2]);
    // Zero parts are left out.
    let hour_only = usage(100, 0, json!({"cache_creation_1h_input_tokens": 20, "cache_read_input_tokens": null}));
    assert_eq!(hour_only.parts().collect::<Vec<_>>(), [(Part::Input, 80), (Part::CacheCreation1h, 20)]);
    assert_eq!(Usage::new(1, 2, Some(&Value::Null)), Usage::new(1, 2, None));
}

#[test]
fn usage_counts_are_whole_json_numbers() {
    let read = |text: &str| {
        Usage::new(i64::MAX, 0, Some(&json!({ "input_audio_tokens": number(text) })))
            .map(|usage| usage.parts().find(|(part, _)| *part == Part::InputAudio).unwrap().1)
    };
    let key = "input_audio_tokens";
    assert_eq!((read("1e3"), read("5.0"), read("9223372036854775807")), (Ok(1000), Ok(5), Ok(i64::MAX)));
    assert_eq!(read("-1"), Err(UsageError::Negative { key }));
    assert_eq!(read("1.5"), Err(UsageError::NotWhole { key }));
    assert_eq!(read("9223372036854775808"), Err(UsageError::TooLarge { key }));
    assert_eq!(read("1e400"), Err(UsageError::TooLarge { key }));
    assert_eq!(read("\"5\""), Err(UsageError::NotANumber { key }));
    assert_eq!(read("true"), Err(UsageError::NotANumber { key }));
    assert_eq!(Usage::new(1, 1, Some(&json!([]))), Err(UsageError::NotAnObject));
    assert_eq!(Usage::new(1, -1, None), Err(UsageError::Negative { key: "output_tokens" }));
}

#[test]
fn parts_that_exceed_the_whole_are_named() {
    let error = |input, parts: Value| Usage::new(input, 0, Some(&parts)).unwrap_err().to_string();
    assert_eq!(
        error(10, json!({"cache_read_input_tokens": 8, "input_audio_tokens": 5})),
        "input_tokens is 10, which is less than its parts cache_read_input_tokens (8) and input_audio_tokens (5)"
    );
    assert_eq!(
        error(100, json!({"cache_creation_input_tokens": 1, "cache_creation_1h_input_tokens": 2})),
        "cache_creation_input_tokens is 1, which is less than its parts cache_creation_1h_input_tokens (2)"
    );
    error(i64::MAX, json!({"cache_read_input_tokens": i64::MAX, "input_audio_tokens": i64::MAX}));
}

#[test]
fn rates_are_exact_and_bounded() {
    for text in ["0", "0.00000000013", "1000000", "0.000000450000000000000003"] {
        assert_eq!(Rate::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Rate::parse_per_million("2.5"), Rate::parse("2.5e-6"));
    assert_eq!(Rate::parse("1e-24").unwrap().to_string(), "0.000000000000000000000001");
    assert_eq!(Rate::parse("1e-25"), Err(AmountError::TooPrecise));
    assert_eq!(Rate::parse("1000000.1"), Err(AmountError::TooLarge));
    assert_eq!(Rate::parse("1e20"), Err(AmountError::TooLarge));
    let per_million = |text| Rate::parse_per_million(text).map(|rate| rate.to_string());
    assert_eq!(per_million("1e-18").as_deref(), Ok("0.000000000000000000000001"));
    assert_eq!(per_million("1e-19"), Err(AmountError::TooPrecise));
    assert_eq!(
        (per_million("1e12").as_deref(), per_million("1000000000000.1")),
        (Ok("1000000"), Err(AmountError::TooLarge))
    );
}

#[test]
fn factors_are_exact_and_bounded() {
    let factor = |text| Factor::parse(text).map(|factor| json!(factor));
    for text in ["0", "0.000001", "1.17", "999.999999", "1000"] {
        assert_eq!(factor(text), Ok(json!(text)));
    }
    assert_eq!((factor("1000.000001"), factor("1001")), (Err(AmountError::TooLarge), Err(AmountError::TooLarge)));
    assert_eq!((factor("1.0000001"), factor("-1")), (Err(AmountError::TooPrecise), Err(AmountError::Negative)));
}

#[test]
fn price_errors_name_the_key() {
    let error = |components: Value| ModelPrice::new(Some("1"), None, &components).unwrap_err().to_string();
    assert_eq!(error(json!({"output_cost_per_token": -1})), "output_cost_per_token must not be negative");
    assert_eq!(error(json!({"output_cost_per_token": "1"})), "output_cost_per_token must be a number");
    assert_eq!(error(json!({"output_cost_per_token_flex": number("1e7")})), "output_cost_per_token_flex is too large");
    assert_eq!(
        error(json!({"input_cost_per_token": 1})),
        "input_per_million_usd and input_cost_per_token must not both be given"
    );
    assert_eq!(error(json!(3)), "price components must be a JSON object");
    let nan = ModelPrice::new(None, Some("NaN"), &json!(null)).unwrap_err().to_string();
    assert_eq!(nan, "output_per_million_usd must not be NaN");
}

#[test]
fn unknown_keys_are_kept_by_name() {
    let keys = [
        "input_cost_per_token_cache_hits",
        "cache_creation_input_token_cost_above_2hr",
        "input_cost_per_token_above_0k_tokens",
        "input_cost_per_token_above_k_tokens",
        "input_cost_per_token_above_99999999999999999999k_tokens",
        "input_cost_per_tokenflex",
        "output_cost_per_token_above_1hr",
        "mode",
    ];
    let components: serde_json::Map<_, _> = keys.iter().map(|key| (key.to_string(), json!("any"))).collect();
    let mut unknown = model(Value::Object(components)).unknown;
    unknown.sort();
    let mut expected = keys.map(String::from).to_vec();
    expected.sort();
    assert_eq!(unknown, expected);
    assert!(model(json!({"cache_creation_input_token_cost_above_1hr_above_200k_tokens_flex": 0})).unknown.is_empty());
}

#[test]
fn missing_cache_prices_fall_back_and_zero_is_a_price() {
    let parts = json!({"cache_read_input_tokens": 10, "cache_creation_input_tokens": 50,
        "cache_creation_1h_input_tokens": 20, "input_audio_tokens": 1, "input_image_tokens": 1});
    let call = usage(100, 0, parts);
    costs(&model(json!({"input_cost_per_token": 1})), &call, None, "100");
    costs(&model(json!({"input_cost_per_token": 1, "cache_read_input_token_cost": 0})), &call, None, "90");
    costs(&model(json!({"input_cost_per_token": 1, "cache_creation_input_token_cost": 2})), &call, None, "150");
    let hour = json!({"input_cost_per_token": 1, "cache_creation_input_token_cost_above_1hr": 3});
    costs(&model(hour), &call, None, "140");
    let output = usage(0, 10, json!({"reasoning_output_tokens": 4, "output_audio_tokens": 3}));
    costs(&model(json!({"output_cost_per_token": 1})), &output, None, "10");
    costs(&model(json!({"output_cost_per_token": 1, "output_cost_per_reasoning_token": 2})), &output, None, "14");
}

#[test]
fn a_context_threshold_is_a_cliff() {
    let price = model(json!({
        "input_cost_per_token": number("1e-6"), "input_cost_per_token_above_128k_tokens": number("2e-6"),
        "input_cost_per_token_above_200k_tokens": number("4e-6"), "output_cost_per_token": number("3e-6"),
        "output_cost_per_token_above_200k_tokens": number("5e-6"), "cache_read_input_token_cost": number("1e-7"),
    }));
    let call = |input| usage(input, 10, json!({"cache_read_input_tokens": 1000}));
    costs(&price, &call(128_000), None, "0.12713");
    costs(&price, &call(128_001), None, "0.254132");
    costs(&price, &call(200_001), None, "0.796154");
}

#[test]
fn a_tier_has_the_name_that_prices_have_for_it() {
    let names = [Tier::Standard, Tier::Batches, Tier::Flex, Tier::Decisions].map(Tier::as_str);
    assert_eq!(names, ["standard", "batches", "flex", "decisions"]);
}

#[test]
fn tiers_use_their_own_price_then_the_standard_one() {
    let price = model(json!({
        "input_cost_per_token": 4, "input_cost_per_token_priority": 7, "output_cost_per_token": 3,
        "output_cost_per_token_batches": 1, "input_cost_per_token_above_1k_tokens": 6,
    }));
    let call = usage(1, 1, json!(null));
    for tier in [None, Some("standard"), Some("default"), Some("auto"), Some("flex"), Some("scale"), Some("")] {
        costs(&price, &call, tier, "7");
    }
    costs(&price, &call, Some("Priority"), "10");
    costs(&price, &call, Some("batch"), "3");
    costs(&price, &call, Some("batches"), "3");
    // The price above the threshold wins, halved for a batch, over the base price of a tier.
    costs(&price, &usage(1001, 0, json!(null)), Some("priority"), "6006");
    costs(&price, &usage(1001, 0, json!(null)), Some("batches"), "3003");
    let smallest = model(json!({"input_cost_per_token": number("1e-24")}));
    let half = breakdown(price_llm(&smallest, &call_of(1), Some("batch")));
    assert_eq!(half.lines()[0].cost.to_string(), "0.0000000000000000000000005");
}

fn call_of(input: i64) -> Usage {
    Usage::new(input, 0, None).unwrap()
}

#[test]
fn what_has_no_price_is_unpriced() {
    assert_eq!(price_llm(&model(json!({})), &call_of(0), None), unpriced("input"));
    let output_only = model(json!({"output_cost_per_token": 1}));
    assert_eq!(price_llm(&output_only, &call_of(1), None), unpriced("input"));
    costs(&output_only, &call_of(0), None, "0");
    costs(&model(json!({"input_cost_per_token": 0, "output_cost_per_token": 0})), &usage(5, 5, json!({})), None, "0");
    let audio = usage(5, 0, json!({"input_audio_tokens": 5}));
    assert_eq!(price_llm(&output_only, &audio, None), unpriced("input_audio"));
    assert_eq!(upper_bound(&output_only, 1, 1, None, PriceConditions::default()), unpriced("input"));
}

#[test]
fn a_breakdown_prints_exact_strings() {
    let price = ModelPrice::new(Some("2.5"), Some("10"), &json!({})).unwrap();
    let priced = breakdown(price_llm(&price, &usage(100, 3, json!({})), None));
    let stored = |source, price_id, price_model| {
        let (breakdown, price_provider) = (&priced, price_model);
        json!(StoredPricing { breakdown, source, price_id, price_provider, price_model })
    };
    let expected = json!({"lines": [
        {"component": "input", "tokens": 100, "usd_per_token": "0.0000025", "cost_usd": "0.00025"},
        {"component": "output", "tokens": 3, "usd_per_token": "0.00001", "cost_usd": "0.00003"},
    ], "total_usd": "0.00028", "source": "operator", "price_id": "an id"});
    assert_eq!(stored("operator", Some("an id".to_owned()), None), expected);
    let shipped = stored("shipped", None, Some("other \"name\""));
    assert_eq!((&shipped["price_id"], &shipped["price_model"]), (&Value::Null, &json!("other \"name\"")));
    let measured = ModelPrice::new(None, None, &json!({"output_cost_per_second": number("0.25")})).unwrap();
    let priced = breakdown(price_llm(&measured, &usage(0, 0, json!({"output_seconds": number("1.50")})), None));
    assert_eq!(
        json!(priced)["lines"],
        json!([{"component": "output_seconds", "quantity": "1.5", "usd_per_unit": "0.25", "cost_usd": "0.375"}])
    );
}

#[test]
fn costs_are_rounded_once() {
    // Two lines of half a pico-dollar are one; rounded apart, half-even, they would be none.
    let price = model(json!({"input_cost_per_token": number("5e-13"), "output_cost_per_token": number("5e-13")}));
    costs(&price, &usage(1, 1, json!({})), None, "0.000000000001");
    costs(&price, &usage(1, 0, json!({})), None, "0");
    let bound = breakdown(upper_bound(&price, 1, 1, None, PriceConditions::default()));
    assert_eq!(
        (bound.input_cost().to_string(), bound.output_cost().to_string()),
        ("0".into(), "0.000000000001".into())
    );
}

#[test]
fn a_bound_looks_between_the_thresholds() {
    let price = json!({"input_cost_per_token": 1, "input_cost_per_token_above_1k_tokens": 9, "input_cost_per_token_above_2k_tokens": 2,
        "tiered_pricing": null});
    let equal = json!({"input_cost_per_token": 2, "input_cost_per_audio_token": 2, "output_cost_per_token": 5});
    let both = breakdown(upper_bound(&model(equal), 3, 4, None, PriceConditions::default()));
    // Of parts of one price the plain one is named; the two sides have sums of their own.
    assert_eq!((both.lines()[0].component, both.lines()[1].component), ("input", "output"));
    assert_eq!((both.input_cost().to_string(), both.output_cost().to_string()), ("6".into(), "20".into()));
    let bound = |price: &Value, input| {
        breakdown(upper_bound(&model(price.clone()), input, 0, None, PriceConditions::default())).total().to_string()
    };
    // A prompt of at most 3000 may turn out to have 2000, at 9 each; one of at most 1000 may not.
    assert_eq!((bound(&price, 3000), bound(&price, 1000)), ("27000".into(), "1000".into()));
    assert_eq!(bound(&price, 1001), "9009");
    let bands = json!({"tiered_pricing": [{"range": [0, 10], "input_cost_per_token": 1}, {"range": [10, 20], "input_cost_per_token": 5},
        {"range": [20, 30], "input_cost_per_token": 2}]});
    assert_eq!((bound(&bands, 25), bound(&bands, 10)), ("125".into(), "10".into()));
    let off_peak =
        json!({"input_cost_per_token": 1, "off_peak_pricing": {"hours_utc": "01:00-02:00", "input_cost_per_token": 3}});
    assert_eq!(bound(&off_peak, 10), "30");
    // What is known to be used is priced at the dearer hour.
    let cheap =
        json!({"input_cost_per_token": 3, "off_peak_pricing": {"hours_utc": "01:00-02:00", "input_cost_per_token": 1}});
    for price in [off_peak, cheap] {
        let known = upper_bound(&model(price), 0, 0, Some(&call_of(7)), PriceConditions::default());
        assert_eq!(breakdown(known).total().to_string(), "21");
    }
}

#[test]
fn costs_beyond_the_bound_are_refused() {
    let price = model(json!({"input_cost_per_token": 1000000, "output_cost_per_token": 1}));
    costs(&price, &call_of(1000), None, "1000000000");
    assert_eq!(price_llm(&price, &call_of(1001), None), Err(PricingError::TooLarge));
    assert_eq!(price_llm(&price, &call_of(i64::MAX), None), Err(PricingError::TooLarge));
    assert!(matches!(upper_bound(&price, -1, 0, None, PriceConditions::default()), Err(PricingError::Usage(_))));
}

#[test]
fn sandboxes_are_priced_flat_and_by_allocation() {
    let rate = |text: &str| Some(Rate::parse(text).unwrap());
    let rates = |rates: [Option<&str>; 3]| {
        let mut price = SandboxPrice::default();
        for (place, text) in rates.into_iter().enumerate() {
            price.rates[place] = text.and_then(rate);
        }
        price
    };
    let price = |price: &SandboxPrice, told: &[Option<&str>]| {
        let mut quantities = [None; SANDBOX_PARTS.len()];
        quantities[..told.len()].copy_from_slice(told);
        price_sandbox(price, &quantities, PriceConditions::default())
    };
    let total = |row: &SandboxPrice, told: &[Option<&str>]| breakdown(price(row, told)).total().to_string();
    let flat = rates([Some("0.0001"), None, None]);
    assert_eq!(total(&flat, &[Some("3600.5")]), "0.36005");
    let both = rates([None, Some("0.000014"), Some("0.0000045")]);
    assert_eq!(total(&both, &[Some("10"), Some("20"), Some("5.123456789")]), "0.000303055556");
    assert_eq!(price(&both, &[Some("10"), Some("20")]), unpriced("memory_gib_seconds"));
    assert_eq!(price(&SandboxPrice::default(), &[Some("10")]), unpriced("duration_seconds"));
    // Flat where the allocation is not told whole, else by it.
    let mut either = rates([Some("0.00003025"), Some("0.000014"), Some("0.0000045")]);
    either.flat_unless_allocated = true;
    for (told, cost) in [
        (&[Some("3600")] as &[_], "0.1089"),
        (&[Some("3600"), Some("7200")], "0.1089"),
        (&[Some("3600"), Some("28800"), Some("14400")], "0.468"),
    ] {
        assert_eq!(total(&either, told), cost);
    }
    // Events that are not told have not happened; an allocation that is not told is not known.
    let mut all = SandboxPrice { rates: [rate("1"); SANDBOX_PARTS.len()], ..Default::default() };
    assert_eq!(total(&all, &["1", "2", "3", "4", "5"].map(Some)), "15");
    assert_eq!(total(&all, &["1", "2", "3", "4", "5", "6", "7"].map(Some)), "28");
    assert_eq!(price(&all, &["1", "2", "3"].map(Some)), unpriced("disk_gib_seconds"));
    all.rates[3] = None;
    assert_eq!(price(&all, &["1", "2", "3"].map(Some)), unpriced("gpu_seconds"));
    let refused = |told: &[Option<&str>]| price(&flat, told).unwrap_err().to_string();
    assert_eq!(refused(&[Some("-1")]), "duration_seconds must not be negative");
    assert_eq!(refused(&[Some("1"), Some("NaN")]), "vcpu_seconds must not be NaN");
    assert!(matches!(
        price(&rates([Some("1e-19"), None, None]), &[Some("1")]),
        Err(PricingError::RateTooPrecise { .. })
    ));
    assert_eq!(price(&flat, &[Some(&"9".repeat(20))]), Err(PricingError::TooLarge));
}
