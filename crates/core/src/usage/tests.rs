//! One case of each way to report usage: `golden.json` has them, with what comes of each.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn normal(provider: &str, raw: &Value) -> Result<Value, String> {
    normalize(provider, raw).map(Value::Object)
}

#[test]
fn golden() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden.json")).unwrap();
    let mut wrong = 0;
    for case in &cases {
        let field = |name: &str| case[name].as_str().unwrap();
        let (provider, raw) = (field("provider"), &case["usage"]);
        let got = normal(provider, raw);
        let right = match &got {
            Err(_) => case["want"] == "refuse",
            Ok(got) => {
                *got == case["want"]
                    && normal(provider, got).as_ref() == Ok(got)
                    && normal("any", got).as_ref() == Ok(got)
            }
        };
        let reader = reader_of(provider, raw).unwrap_or("none");
        println!("{} {} ({reader})", if right { "ok  " } else { "FAIL" }, field("name"));
        if !right {
            println!("     got  {}\n     want {}", got.unwrap_or_else(Value::String), case["want"]);
        }
        wrong += usize::from(!right);
    }
    println!("{} of {} shapes", cases.len() - wrong, cases.len());
    assert_eq!(wrong, 0);
}

/// What is read of a report whose shape was met, in our form with what was billed; nothing where it is read from scratch.
fn from_memory(provider: &str, raw: &Value) -> Option<(Understood, Value)> {
    let (understood, counted) = recognise(provider, raw)?;
    let mut ours = serde_json::to_value(&counted).unwrap();
    if let Some(cost) = counted.cost {
        ours[REPORTED_COST] = number::decimal(cost.get(), 12);
    }
    Some((understood, ours))
}

fn from_scratch(provider: &str, raw: &Value) -> Option<(Understood, Value)> {
    understand(provider, raw).ok().map(|(understood, ours)| (understood, Value::Object(ours)))
}

#[test]
fn a_shape_that_was_met_is_read_with_the_same_result() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden.json")).unwrap();
    let mut met = 0;
    for case in &cases {
        let (provider, raw) = (case["provider"].as_str().unwrap(), &case["usage"]);
        let scratch = from_scratch(provider, raw);
        let memory = from_memory(provider, raw);
        met += usize::from(memory.is_some());
        assert!(memory.is_none() || memory == scratch, "{}: {memory:?} {scratch:?}", case["name"]);
    }
    println!("{met} of {} shapes are read from memory", cases.len());
    assert!(met > 150, "{met}");
}

/// Numbers and content in place of a report's own.
fn varied(value: &Value, seed: &mut u64) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let drawn = *seed >> 33;
    match value {
        Value::Number(_) if drawn.is_multiple_of(8) => Value::from(0),
        Value::Number(number) if drawn % 8 == 1 => number.clone().into(),
        Value::Number(_) if drawn % 64 == 2 => serde_json::from_str("2.5").unwrap(),
        Value::Number(_) if drawn % 64 == 3 => Value::from(-1),
        Value::Number(_) => Value::from(drawn % 3_000),
        Value::String(_) if drawn.is_multiple_of(16) => Value::from("12"),
        Value::Null if drawn.is_multiple_of(16) => Value::from(7),
        Value::Array(list) if drawn.is_multiple_of(16) => list.iter().skip(1).cloned().collect(),
        Value::Array(list) if drawn % 16 == 1 => list.iter().chain(list.last()).cloned().collect(),
        Value::Array(list) => list.iter().map(|item| varied(item, seed)).collect(),
        Value::Object(object) => {
            Value::Object(object.iter().map(|(key, value)| (key.clone(), varied(value, seed))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn other_numbers_of_a_shape_are_read_as_from_scratch() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden.json")).unwrap();
    let (mut met, mut seed) = (0, 1);
    for case in &cases {
        let (provider, raw) = (case["provider"].as_str().unwrap(), &case["usage"]);
        let _ = understand(provider, raw);
        for _ in 0..60 {
            let other = varied(raw, &mut seed);
            let Some(memory) = from_memory(provider, &other) else { continue };
            met += 1;
            assert_eq!(Some(memory), from_scratch(provider, &other), "{}: {other}", case["name"]);
        }
    }
    println!("{met} reports are read from memory");
    assert!(met > 3_000, "{met}");
}

/// Keys that usage objects have, and some that they have not.
const KEYS: [&str; 44] = [
    "usage",
    "usageMetadata",
    "response",
    "choices",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "inputTokens",
    "outputTokens",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "cachedContentTokenCount",
    "promptTokensDetails",
    "cacheTokensDetails",
    "prompt_tokens_details",
    "completion_tokens_details",
    "cached_tokens",
    "cached_tokens_details",
    "audio_tokens",
    "image_tokens",
    "video_tokens",
    "text_tokens",
    "reasoning_tokens",
    "reasoning_output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation",
    "ephemeral_1h_input_tokens",
    "iterations",
    "type",
    "seconds",
    "unknown",
    "service_tier",
    "cost",
    "citation_tokens",
    "gen_ai.usage.input_tokens",
    "billed_units",
    "input",
    "output",
    "novel",
];

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => (0_i64..200).prop_map(Value::from),
        1 => (-9_i64..=i64::MAX).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => prop_oneof![Just("12"), Just("duration"), Just("message"), Just("compaction"), Just("AUDIO"), Just("1e9"), Just("x")].prop_map(Value::from),
        1 => prop_oneof![Just("1e131000"), Just("1.5"), Just("2.0"), Just("1e-400")].prop_map(|text| serde_json::from_str(text).unwrap()),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        let key =
            prop_oneof![8 => proptest::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => "[a-zA-Z._$]{0,12}"];
        prop_oneof![
            3 => proptest::collection::btree_map(key, inner.clone(), 0..8)
                .prop_map(|object| Value::Object(object.into_iter().collect())),
            1 => proptest::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

const PROVIDERS: [&str; 7] = ["openai", "anthropic", "gemini", "xai", "perplexity", "bedrock", "acme"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever is read fits, has no zero part, is read again as it is, and stays priceable.
    #[test]
    fn what_is_read_is_in_our_form(provider in proptest::sample::select(&PROVIDERS[..]), raw in values()) {
        if let Ok(read) = normalize(provider, &raw) {
            prop_assert!(own::is_own(&read), "{read:?}");
            let read = Value::Object(read);
            prop_assert_eq!(&normal("any", &read), &Ok(read.clone()));
            prop_assert!(read.to_string().len() < 40_000);
        }
    }

    /// A count that is not zero never becomes nothing.
    #[test]
    fn what_was_counted_is_not_nothing(
        provider in proptest::sample::select(&PROVIDERS[..]), key in proptest::sample::select(&KEYS[4..16]), count in 1_i64..1_000_000
    ) {
        let read = normalize(provider, &json!({ key: count })).unwrap();
        let said: i64 = read.values().filter_map(Value::as_i64).sum();
        prop_assert!(said >= count, "{key}: {read:?}");
    }
}

#[test]
fn numbers_and_messages_are_never_repeated_at_length() {
    let long = "x".repeat(10_000);
    let digits: Value = serde_json::from_str(&"9".repeat(10_000)).unwrap();
    let raw = json!({"prompt_tokens": 1, "note": long, "much": digits, "list": vec![1; 10_000]});
    let read = normal("openai", &raw).unwrap();
    assert!(read.to_string().len() < 2_000, "{read}");
    assert_eq!(read["unknown"]["much"], "a number of 10000 digits");
    let nested = (0..200).fold(json!({"prompt_tokens": 5}), |inner, _| json!({ "response": inner }));
    assert_eq!(normal("openai", &nested).unwrap_err(), "no count is recognised in it");
}

#[test]
fn what_is_no_usage_says_why() {
    for (raw, why) in [
        (json!([]), "it is no JSON object"),
        (json!({}), "no count is recognised in it"),
        (json!({"prompt_tokens": -1}), "prompt_tokens must not be negative"),
        (json!({"usage": {"prompt_tokens": "many"}}), "prompt_tokens must be a number"),
        (json!({"prompt_tokens": 1, "completion_tokens": i64::MAX}), "completion_tokens is too large"),
    ] {
        assert_eq!(normal("any", &raw).unwrap_err(), why, "{raw}");
    }
}

#[test]
fn a_cost_that_is_told_alone_is_a_cost() {
    let raw = json!({"usage": {"cost": 0.04, "is_byok": false}});
    let (understood, ours) = understand("openrouter", &raw).unwrap();
    assert_eq!((understood.input, understood.output, understood.reported_cost.unwrap().get()), (0, 0, 40_000_000_000));
    assert_eq!(ours.get(REPORTED_COST), Some(&json!(0.04)));
    assert_eq!(normalize("openrouter", &raw).unwrap_err(), "no count is recognised in it");
    assert!(understand("openrouter", &json!({"usage": {"cost": "much"}})).is_err());
}

#[test]
fn parts_are_read_beside_counted_wholes() {
    for (raw, (input, output), not_understood) in [
        (json!(null), (100, 10), vec![]),
        (json!({"cache_read_input_tokens": 60}), (100, 10), vec![]),
        (json!({"prompt_tokens_details": {"cached_tokens": 60}}), (100, 10), vec![]),
        (json!({"prompt_tokens_details": {"cached_tokens": 600}}), (700, 10), vec![]),
        (
            json!({"input_tokens": 100, "output_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7}),
            (107, 10),
            vec![],
        ),
        (json!({"input_tokens": 107, "output_tokens": 10, "cache_creation_input_tokens": 7}), (100, 10), vec![]),
        (
            json!({"cashed": 1, "usage": {"prompt_tokens": 100, "completion_tokens": 10, "x": {"y": 2}}}),
            (100, 10),
            vec!["x.y"],
        ),
        (json!({"cashed": 1, "deep": {"a": 1, "b": 2}}), (100, 10), vec!["cashed", "deep.a", "deep.b"]),
    ] {
        let understood = understand_parts("any", 100, 10, &raw).unwrap();
        assert_eq!((understood.input, understood.output), (input, output), "{raw}");
        assert_eq!(understood.not_understood, not_understood, "{raw}");
    }
    assert!(understand_parts("any", 100, 10, &json!({"cache_read_input_tokens": 101})).is_err());
    assert!(understand_parts("any", 100, 10, &json!([])).is_err());
}
