//! Every component and modifier of LiteLLM's list: an example each, worked out on paper.

use super::*;

fn shown(price: &Value, input: i64, output: i64, parts: Value, terms: PriceConditions) -> String {
    match price_llm(&model(price.clone()), &usage(input, output, parts), terms) {
        Ok(Priced::Priced(breakdown)) => breakdown.total().to_string(),
        Ok(Priced::Unpriced { missing }) => format!("no rate for {missing}"),
        Ok(Priced::Unmeasured { needs }) => format!("needs {needs}"),
        Err(error) => error.to_string(),
    }
}

fn cost(price: &Value, input: i64, output: i64, parts: Value) -> String {
    shown(price, input, output, parts, PriceConditions::default())
}

/// Each of the 54 bases of the list has a price of 3 USD for one. The call uses two of them, and six million tokens.
#[test]
fn every_base_of_the_list_is_charged_or_told() {
    let tokens = [
        ("input_cost_per_token", json!({})),
        ("cache_read_input_token_cost", json!({"cache_read_input_tokens": 2})),
        ("input_cost_per_token_cache_hit", json!({"cache_read_input_tokens": 2})),
        ("explicit_cache_read_input_token_cost", json!({"explicit_cache_read_input_tokens": 2})),
        ("cache_read_input_audio_token_cost", json!({"cache_read_input_audio_tokens": 2})),
        ("cache_read_input_image_token_cost", json!({"cache_read_input_image_tokens": 2})),
        ("cache_creation_input_token_cost", json!({"cache_creation_input_tokens": 2})),
        ("cache_creation_input_token_cost_above_1hr", json!({"cache_creation_1h_input_tokens": 2})),
        ("cache_creation_input_token_cost_above_12hr", json!({"cache_creation_12h_input_tokens": 2})),
        ("cache_creation_input_audio_token_cost", json!({"cache_creation_input_audio_tokens": 2})),
        ("input_cost_per_audio_token", json!({"input_audio_tokens": 2})),
        ("input_cost_per_image_token", json!({"input_image_tokens": 2})),
        ("input_cost_per_video_token", json!({"input_video_tokens": 2})),
    ];
    for (key, parts) in tokens {
        assert_eq!(cost(&json!({key: 3}), 2, 0, parts), "6", "{key}");
    }
    let outputs = [
        ("output_cost_per_token", json!({})),
        ("output_cost_per_reasoning_token", json!({"reasoning_output_tokens": 2})),
        ("output_cost_per_audio_token", json!({"output_audio_tokens": 2})),
        ("output_cost_per_image_token", json!({"output_image_tokens": 2})),
        ("output_cost_per_video_token", json!({"output_video_tokens": 2})),
    ];
    for (key, parts) in outputs {
        assert_eq!(cost(&json!({key: 3}), 0, 2, parts), "6", "{key}");
    }
    let others = [
        ("input_cost_per_character", json!({"input_characters": 2})),
        ("output_cost_per_character", json!({"output_characters": 2})),
        ("input_cost_per_image", json!({"input_images": 2})),
        ("output_cost_per_image", json!({"output_images": 2})),
        ("input_cost_per_pixel", json!({"input_pixels": 2})),
        ("output_cost_per_pixel", json!({"output_pixels": 2})),
        ("input_cost_per_second", json!({"input_seconds": 2})),
        ("input_cost_per_second", json!({"input_audio_seconds": 2})),
        ("output_cost_per_second", json!({"output_seconds": 2})),
        ("cost_per_second", json!({"seconds": 2})),
        ("input_cost_per_audio_per_second", json!({"input_audio_seconds": 2})),
        ("input_cost_per_video_per_second", json!({"input_video_seconds": 2})),
        ("output_cost_per_video_per_second", json!({"output_video_seconds": 2})),
        ("input_cost_per_query", json!({"queries": 2})),
        ("input_cost_per_request", json!({"requests": 2})),
        ("input_cost_per_text_message", json!({"text_messages": 2})),
        ("ocr_cost_per_page", json!({"ocr_pages": 2})),
        ("ocr_cost_per_credit", json!({"ocr_credits": 2})),
        ("annotation_cost_per_page", json!({"annotation_pages": 2})),
        ("citation_cost_per_token", json!({"citation_tokens": 2})),
        ("google_maps_grounding_cost_per_query", json!({"google_maps_requests": 2})),
        ("code_interpreter_cost_per_session", json!({"code_interpreter_sessions": 2})),
        ("output_cost_per_image_0.5K", json!({"output_images": 2, "output_image_size": "0.5K"})),
        ("output_cost_per_image_1K", json!({"output_images": 2, "output_image_size": "1k"})),
        ("output_cost_per_image_2K", json!({"output_images": 2, "output_image_size": "2K"})),
        ("output_cost_per_image_4K", json!({"output_images": 2, "output_image_size": "4K"})),
        ("output_cost_per_image_512", json!({"output_images": 2, "output_image_size": "512"})),
        ("output_cost_per_image_1024", json!({"output_images": 2, "output_image_size": "1024"})),
        ("output_cost_per_image_1536", json!({"output_images": 2, "output_image_size": "1536"})),
        ("output_cost_per_second_480p", json!({"output_seconds": 2, "output_resolution": "480p"})),
        ("output_cost_per_second_720p", json!({"output_seconds": 2, "output_resolution": "720P"})),
        ("output_cost_per_second_768p", json!({"output_seconds": 2, "output_resolution": "768p"})),
        ("output_cost_per_second_1080p", json!({"output_seconds": 2, "output_resolution": "1080p"})),
        ("output_cost_per_second_2k", json!({"output_seconds": 2, "output_resolution": "2K"})),
        ("output_cost_per_second_4k", json!({"output_seconds": 2, "output_resolution": "4k"})),
    ];
    for (key, parts) in others {
        assert_eq!(cost(&json!({key: 3}), 0, 0, parts), "6", "{key}");
    }
    // The provider's own units stand beside a price in USD and are none.
    let dbu = json!({"input_cost_per_token": 3, "input_dbu_cost_per_token": 5, "output_dbu_cost_per_token": 5});
    assert_eq!((cost(&dbu, 2, 0, json!({})), model(dbu).unknown.len()), ("6".to_owned(), 0));
}

#[test]
fn sizes_without_a_price_of_their_own_cost_the_plain_one() {
    let price = json!({"output_cost_per_image": 1, "output_cost_per_image_2K": 3, "output_cost_per_second": 1, "output_cost_per_second_4k": 3});
    assert_eq!(cost(&price, 0, 0, json!({"output_images": 2, "output_image_size": "4K"})), "2");
    assert_eq!(cost(&price, 0, 0, json!({"output_images": 2, "output_image_size": "huge"})), "2");
    assert_eq!(cost(&price, 0, 0, json!({"output_seconds": 2.5, "output_resolution": "4k"})), "7.5");
    assert_eq!(cost(&price, 0, 0, json!({"output_seconds": 2.5})), "2.5");
}

#[test]
fn searches_cost_by_the_size_of_their_context() {
    let price = json!({"input_cost_per_token": 0, "search_context_cost_per_query":
        {"search_context_size_low": number("0.01"), "search_context_size_medium": number("0.02"), "search_context_size_high": number("0.03")}});
    for (size, expected) in
        [(json!("low"), "0.02"), (json!("medium"), "0.04"), (json!("high"), "0.06"), (json!(null), "0.04")]
    {
        assert_eq!(cost(&price, 1, 0, json!({"web_search_requests": 2, "search_context_size": size})), expected);
    }
    let wrong = Usage::new(1, 0, Some(&json!({"web_search_requests": 1, "search_context_size": "huge"})));
    assert_eq!(wrong.unwrap_err().to_string(), "search_context_size must be low, medium or high");
    // A search without a price is not free.
    assert_eq!(
        cost(&json!({"input_cost_per_token": 1}), 1, 0, json!({"web_search_requests": 1})),
        "no rate for web_search_medium"
    );
}

#[test]
fn guardrails_cost_by_the_unit_of_each_policy() {
    let price = json!({"guardrail_cost_per_unit": {"contentPolicyUnits": number("0.00015"), "wordPolicyUnits": 0,
        "contextualGroundingPolicyUnits": number("0.0001")}});
    // 10 × 0.00015 + 5 × 0.0001 + 7 × 0.
    let units = json!({"contentPolicyUnits": 10, "contextualGroundingPolicyUnits": 5, "wordPolicyUnits": 7});
    assert_eq!(cost(&price, 0, 0, json!({"guardrail_units": units})), "0.002");
    assert_eq!(
        cost(&price, 0, 0, json!({"guardrail_units": {"topicPolicyUnits": 1}})),
        "no rate for guardrail_topic_units"
    );
}

#[test]
fn a_call_is_one_request_and_one_query() {
    let request = json!({"input_cost_per_request": number("0.005"), "output_cost_per_token": number("0.000001")});
    assert_eq!(cost(&request, 10, 100, json!({})), "no rate for input");
    let request = json!({"input_cost_per_request": number("0.005"), "input_cost_per_token": 0, "output_cost_per_token": number("0.000001")});
    assert_eq!(cost(&request, 10, 100, json!({})), "0.0051");
    assert_eq!(cost(&request, 10, 100, json!({"requests": 3})), "0.0151");
    assert_eq!(cost(&request, 10, 100, json!({"requests": 0})), "0.0001");
    assert_eq!(cost(&json!({"input_cost_per_query": number("0.002")}), 0, 0, json!({})), "0.002");
}

#[test]
fn a_query_costs_by_the_results_it_asks_for() {
    let price = json!({"tiered_pricing": [
        {"input_cost_per_query": number("0.025"), "max_results_range": [26, 100]},
        {"input_cost_per_query": number("0.005"), "max_results_range": [0, 25]}]});
    for (asked, expected) in
        [(json!(25), "0.01"), (json!(26), "0.05"), (json!(1000), "0.05"), (json!(0), "0.01"), (json!(null), "0.01")]
    {
        assert_eq!(cost(&price, 0, 0, json!({"queries": 2, "max_results": asked})), expected);
    }
}

#[test]
fn a_second_of_video_costs_by_the_length_of_the_whole() {
    let price = json!({"input_cost_per_video_per_second": 1, "input_cost_per_video_per_second_above_8s_interval": 2,
        "input_cost_per_video_per_second_above_15s_interval": 3});
    for (seconds, expected) in [("8", "8"), ("8.5", "17"), ("15", "30"), ("15.1", "45.3")] {
        assert_eq!(cost(&price, 0, 0, json!({"input_video_seconds": number(seconds)})), expected);
    }
    // The list's longest price of a second has 21 decimals, and a thousandth of a second has its price.
    let fine = json!({"input_cost_per_video_per_second": number("0.000033333333333333335")});
    assert_eq!(cost(&fine, 0, 0, json!({"input_video_seconds": number("0.003")})), "0.0000001");
}

#[test]
fn other_measures_replace_tokens_where_they_have_prices() {
    let price = json!({"input_cost_per_token": 1, "input_cost_per_character": number("0.1"), "input_cost_per_image": 7,
        "input_cost_per_audio_per_second": 5, "output_cost_per_token": 1, "output_cost_per_character": number("0.2")});
    assert_eq!(cost(&price, 10, 10, json!({})), "20");
    assert_eq!(cost(&price, 10, 10, json!({"input_characters": 30})), "13");
    assert_eq!(cost(&price, 10, 10, json!({"output_characters": 30})), "16");
    assert_eq!(cost(&price, 10, 0, json!({"input_image_tokens": 4, "input_images": 1})), "13");
    assert_eq!(cost(&price, 10, 0, json!({"input_audio_tokens": 4, "input_audio_seconds": 2})), "16");
    // Without a price they are only told: the tokens are charged.
    assert_eq!(
        cost(&json!({"input_cost_per_token": 1}), 10, 0, json!({"input_characters": 30, "input_images": 2})),
        "10"
    );
}

#[test]
fn a_model_that_is_not_paid_by_the_token_needs_what_it_is_paid_by() {
    let image = json!({"output_cost_per_image": number("0.04")});
    assert_eq!(cost(&image, 20, 0, json!({"output_images": 2})), "0.08");
    assert_eq!(cost(&image, 20, 0, json!({})), "needs output_images");
    assert_eq!(cost(&image, 0, 0, json!({})), "needs output_images");
    assert_eq!(cost(&image, 20, 0, json!({"seconds": 3})), "no rate for seconds");
    // Nor is anything free because it is measured by what has no price.
    assert_eq!(cost(&json!({"input_cost_per_token": 1}), 0, 0, json!({"seconds": 3})), "no rate for seconds");
}

#[test]
fn bands_are_all_or_nothing() {
    let price = json!({"output_cost_per_token": 9, "input_cost_per_audio_token": 8, "tiered_pricing": [
        {"range": [0, 1000], "input_cost_per_token": 1, "output_cost_per_token": 2},
        {"range": [number("1e3"), 2000], "input_cost_per_token": 3, "cache_read_input_token_cost": 1, "output_cost_per_reasoning_token": 5}]});
    let cached = |input| cost(&price, input, 0, json!({"cache_read_input_tokens": 10}));
    // In the first band a cached token costs as any input; the second begins after 1000 tokens, and never ends.
    assert_eq!((cached(1000), cached(1001), cached(5000)), ("1000".into(), "2983".into(), "14980".into()));
    let answered = |input| cost(&price, input, 10, json!({"reasoning_output_tokens": 4}));
    // 10 × 2; then 6 × 9 of the model's own price, which the band does not name, and 4 × 5.
    assert_eq!((answered(1000), answered(1001)), ("1020".into(), "3077".into()));
    assert_eq!(cost(&price, 0, 1, json!({})), "2");
    assert_eq!(cost(&price, 100, 0, json!({"input_audio_tokens": 100})), "800");
    assert_eq!(shown(&price, 1000, 0, json!({}), Some("batch").into()), "500");
}

#[test]
fn off_peak_prices_hold_in_their_hours() {
    let price = json!({"input_cost_per_token": 4, "output_cost_per_token": 8, "input_cost_per_token_above_1k_tokens": 6,
        "off_peak_pricing": {"input_cost_per_token": 1, "output_cost_per_token": 2, "weekday_timezone": "Asia/Shanghai",
            "windows": [{"hours_utc": ["00:00-01:00", "10:00-00:00"], "weekdays": [1, 2, 3, 4, 5]},
                        {"hours_utc": "00:00-00:00", "weekdays": [6, "Sunday"]}]}});
    let at = |off_peak| shown(&price, 1001, 10, json!({}), PriceConditions { off_peak, ..PriceConditions::default() });
    // 1001 × 6 + 10 × 8; off-peak there is no cliff: 1001 × 1 + 10 × 2.
    assert_eq!((at(false), at(true)), ("6086".into(), "1021".into()));
    let read = model(price);
    let utc = |_: &str, _| Some(0);
    let holds = |day: i64, hour: i64, minute: i64| read.is_off_peak((day * 24 + hour) * 3600 + minute * 60, utc);
    // 1970-01-01 was a Thursday.
    assert_eq!(
        [holds(0, 0, 0), holds(0, 0, 59), holds(0, 1, 0), holds(0, 9, 59), holds(0, 10, 0), holds(0, 23, 59)],
        [true, true, false, false, true, true]
    );
    assert_eq!([holds(2, 5, 0), holds(3, 5, 0), holds(4, 5, 0)], [true, true, false]);
    // Friday, 17:00 UTC is Saturday in Shanghai: off-peak either way; Sunday at 17:00 is Monday there.
    let shanghai = |zone: &str, _| (zone == "Asia/Shanghai").then_some(8 * 3600);
    assert!(read.is_off_peak((24 + 5) * 3600, utc) != read.is_off_peak((24 + 10) * 3600, shanghai));
    assert!(read.is_off_peak((24 * 3 + 5) * 3600, shanghai));
    assert!(!read.is_off_peak((24 * 4 + 5) * 3600, shanghai));
}

#[test]
fn hours_are_to_the_minute_and_days_are_those_of_the_zone() {
    let off_peak = |more: Value| {
        let mut object = json!({"input_cost_per_token": 1});
        object.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        ModelPrice::new(None, None, &json!({ "off_peak_pricing": object }))
    };
    let holds = |more: Value, moments: &[(i64, i64, i64)], offset: i32| -> Vec<bool> {
        let price = off_peak(more).unwrap();
        let at = |(day, hour, minute): &(i64, i64, i64)| (day * 24 + hour) * 3600 + minute * 60 + 59;
        moments
            .iter()
            .map(|moment| price.is_off_peak(at(moment), |zone, _| (zone == "Asia/Shanghai").then_some(offset)))
            .collect()
    };
    // Every day of a week.
    let edges = [(0, 16, 29), (1, 16, 30), (2, 17, 0), (3, 18, 4), (4, 18, 5), (5, 16, 31), (6, 0, 0)];
    assert_eq!(holds(json!({"hours_utc": "16:30-18:05"}), &edges, 0), [false, true, true, true, false, true, false]);
    let past_midnight = json!({"hours_utc": ["22:15 - 01:10"]});
    assert_eq!(
        holds(past_midnight, &[(0, 22, 14), (0, 22, 15), (1, 1, 9), (1, 1, 10), (1, 1, 11)], 0),
        [false, true, true, false, false]
    );
    // 1970-01-02 was a Friday; at 17:00 UTC it was Saturday in Shanghai. A day that is named twice is one.
    let friday =
        json!({"weekday_timezone": "Asia/Shanghai", "windows": [{"hours_utc": "15:00-18:00", "weekdays": ["fri", 5]}]});
    let moments = [(0, 17, 0), (1, 15, 0), (1, 17, 0)];
    assert_eq!(holds(friday.clone(), &moments, 8 * 3600), [true, true, false]);
    assert_eq!(holds(friday, &moments, 0), [false, true, true]);
    assert_eq!(holds(json!({"windows": [{"hours_utc": "15:00-18:00"}]}), &moments, 0), [true, true, true]);
    let needs = "off_peak_pricing.hours_utc must be hours such as 16:30-00:30, or a list of them";
    for hours in
        ["24:00-01:00", "01:00-24:30", "05:60-06:00", "+5:00-06:00", "005:00-06:00", "5:-6:00", "5-6", "05:00", ""]
    {
        assert_eq!(off_peak(json!({ "hours_utc": hours })).unwrap_err().to_string(), needs, "{hours}");
    }
    for (more, told) in [
        (json!({"hours_utc": 5}), needs),
        (json!({"weekday_timezone": 5}), "off_peak_pricing.weekday_timezone must be a time zone"),
        (json!({"windows": {}}), "off_peak_pricing.windows must be a list of windows"),
        (
            json!({"windows": [{"hours_utc": "x"}]}),
            "off_peak_pricing.windows must be hours such as 16:30-00:30, or a list of them",
        ),
    ] {
        assert_eq!(off_peak(more).unwrap_err().to_string(), told);
    }
    for rule in [
        json!(5),
        json!(["01:00-02:00", [1]]),
        json!({"weekdays": [1]}),
        json!({"hours_utc": "01:00-02:00", "weekdays": 1}),
        json!({"hours_utc": "01:00-02:00", "weekdays": [0]}),
        json!({"hours_utc": "01:00-02:00", "weekdays": [8]}),
        json!({"hours_utc": "01:00-02:00", "weekdays": ["day"]}),
    ] {
        let told = off_peak(json!({ "windows": [rule] })).unwrap_err().to_string();
        assert_eq!(told, "off_peak_pricing.windows must be a list of windows with hours_utc and weekdays", "{rule}");
    }
}

#[test]
fn a_range_is_two_whole_numbers_in_an_object_with_prices() {
    let read = |band: Value| ModelPrice::new(None, None, &json!({"tiered_pricing": [band]}));
    let needs = "tiered_pricing must be a list of objects, each with prices and a range [from, to] of whole numbers, from below to";
    for band in [
        json!(5),
        json!([[0, 5]]),
        json!({}),
        json!({"range": [0]}),
        json!({"range": [0, 1, 2]}),
        json!({"range": [0.5, 1]}),
        json!({"range": ["0", 1]}),
        json!({"range": [number("1e30"), 1]}),
        json!({"range": [0, 1], "max_results_range": [0, 1]}),
        json!({"range": [0, "1"]}),
        json!({"range": [0, {}]}),
        json!({"range": [5, 5]}),
        json!({"range": [9, 5]}),
        json!({"range": [-1, 5]}),
    ] {
        assert_eq!(read(band.clone()).unwrap_err().to_string(), needs, "{band}");
    }
    let band =
        json!({"range": [number("1e3"), null], "input_cost_per_token": 2, "odd": 1, "input_cost_per_token_flex": 1});
    assert_eq!(read(band).unwrap().unknown, ["tiered_pricing.input_cost_per_token_flex", "tiered_pricing.odd"]);
    let results = json!({"max_results_range": [0, 25], "input_cost_per_query": 1, "input_cost_per_token": 1});
    assert_eq!(read(results).unwrap().unknown, ["tiered_pricing.input_cost_per_token"]);
}

/// What a call costs by the price of whose model it is.
fn described(price: Value, (provider, name, mode): (&str, &str, Option<&str>), usage: &Usage) -> String {
    let mut price = model(price);
    price.describe(provider, name, mode);
    breakdown(price_llm(&price, usage, None)).total().to_string()
}

#[test]
fn a_threshold_is_reached_by_its_last_token_at_xai_alone() {
    let price = json!({"input_cost_per_token": 1, "input_cost_per_token_above_1k_tokens": 2});
    let at = |provider| described(price.clone(), (provider, "m", None), &usage(1000, 0, json!({})));
    assert_eq!((at("xai"), at("x-ai"), at("openai")), ("2000".into(), "2000".into(), "1000".into()));
}

#[test]
fn google_bills_the_searches_of_a_prompt_once_up_to_gemini_2() {
    let price = json!({"input_cost_per_token": 0, "search_context_cost_per_query": {"search_context_size_medium": 5}});
    let searched = |more: Value, provider, name, requests: Value| {
        let mut price = price.clone();
        price.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
        described(price, (provider, name, None), &usage(1, 0, json!({"web_search_requests": 4, "requests": requests})))
    };
    for (provider, name, expected) in [
        ("gemini", "gemini-2.5-pro", "5"),
        ("vertex_ai-language-models", "Gemini-1.5-pro", "5"),
        ("gemini", "gemini-pro", "5"),
        ("gemini", "gemini-3-pro", "20"),
        ("gemini", "gemini-4", "20"),
        ("gemini", "gemma-2", "20"),
        ("openrouter", "gemini-2.5-pro", "20"),
    ] {
        assert_eq!(searched(json!({}), provider, name, Value::Null), expected, "{provider} {name}");
    }
    assert_eq!(searched(json!({}), "gemini", "gemini-2.0", json!(3)), "15");
    // What the list says goes before.
    let unit = |unit: &str| json!({ "web_search_billing_unit": unit });
    assert_eq!(searched(unit("per_prompt"), "gemini", "gemini-3-pro", Value::Null), "5");
    assert_eq!(searched(unit("per_query"), "gemini", "gemini-2.0", Value::Null), "20");
}

#[test]
fn undivided_output_of_an_image_model_is_images() {
    let images = json!({"output_cost_per_image_token": 5});
    let both = json!({"output_cost_per_image_token": 5, "output_cost_per_token": 1});
    let of =
        |price: &Value, provider, mode, parts| described(price.clone(), (provider, "m", mode), &usage(0, 10, parts));
    let (generation, edit, chat) = (Some("image_generation"), Some("image_edit"), Some("chat"));
    assert_eq!(of(&images, "openai", generation, json!({})), "50");
    assert_eq!(
        (of(&both, "openai", generation, json!({})), of(&both, "openai", edit, json!({}))),
        ("50".into(), "50".into())
    );
    assert_eq!(
        (of(&both, "openai", chat, json!({})), of(&both, "openai", None, json!({}))),
        ("10".into(), "10".into())
    );
    // Divided, the rest is text.
    assert_eq!(of(&both, "openai", generation, json!({"output_image_tokens": 4})), "26");
    assert_eq!(of(&both, "openai", generation, json!({"output_image_tokens": 0})), "10");
    // Google divides what is; without a price of text there is nothing to divide.
    assert_eq!(
        (of(&both, "gemini", generation, json!({})), of(&images, "gemini", generation, json!({}))),
        ("10".into(), "50".into())
    );
    assert_eq!(of(&json!({"output_cost_per_token": 1}), "openai", generation, json!({})), "10");
    // So with what a model of speech spoke.
    let speech = json!({"output_cost_per_audio_token": 5, "output_cost_per_token": 1});
    let spoken = |provider, parts| of(&speech, provider, Some("audio_speech"), parts);
    assert_eq!((spoken("openai", json!({})), spoken("gemini", json!({}))), ("50".into(), "10".into()));
    assert_eq!(spoken("openai", json!({"output_audio_tokens": 4})), "26");
    assert_eq!(of(&speech, "openai", chat, json!({})), "10");
}

#[test]
fn of_two_names_of_one_price_the_present_one_counts() {
    let price =
        json!({"input_cost_per_token": 9, "cache_read_input_token_cost": 2, "input_cost_per_token_cache_hit": 5});
    assert_eq!(cost(&price, 1, 0, json!({"cache_read_input_tokens": 1})), "2");
}

#[test]
fn a_tier_without_a_price_costs_the_bands_price_and_a_batch_half() {
    let price = json!({"tiered_pricing": [{"range": [0, 5], "input_cost_per_token": 6}]});
    let of = |tier| shown(&price, 1, 0, json!({}), Some(tier).into());
    assert_eq!((of("priority"), of("batch"), of("standard")), ("6".into(), "3".into(), "6".into()));
}

#[test]
fn the_largest_multiplier_of_a_kind_bounds_and_the_first_of_equal_ones_is_named() {
    let bound = |entry: Value| {
        let price = json!({"input_cost_per_token": 10, "provider_specific_entry": entry});
        json!(breakdown(upper_bound(&model(price), 1, 0, None, PriceConditions::default())))
    };
    let largest = bound(json!({"eu": number("1.5"), "us": number("1.1"), "zz": number("1.2")}));
    let found = json!([{"name": "inference_geo eu", "factor": "1.5", "cost_usd": "5"}]);
    assert_eq!((&largest["multipliers"], &largest["total_usd"]), (&found, &json!("15")));
    assert_eq!(bound(json!({"eu": number("1.5"), "us": number("1.5")}))["multipliers"], found);
    // One that raises no price is none.
    assert_eq!(bound(json!({"eu": 1, "us": number("0.5")}))["multipliers"], Value::Null);
    // The longest name of a region.
    let price = json!({"input_cost_per_token": 10, "provider_specific_entry": {"abcdefghijkl": 2, "abcdefghijklm": 3}});
    let of = |region: &str| cost(&price, 1, 0, json!({ "inference_geo": region }));
    assert_eq!((of("abcdefghijkl"), of("abcdefghijklm")), ("20".into(), "10".into()));
}

#[test]
fn another_measure_of_the_same_work_replaces_its_tokens() {
    for (tokens, counted, measured, price_of_one) in [
        ("input_video_tokens", "input_video_seconds", "input_cost_per_video_per_second", 3),
        ("output_image_tokens", "output_images", "output_cost_per_image", 3),
        ("output_video_tokens", "output_video_seconds", "output_cost_per_video_per_second", 3),
        ("input_audio_tokens", "input_audio_seconds", "input_cost_per_audio_per_second", 3),
        ("input_image_tokens", "input_images", "input_cost_per_image", 3),
    ] {
        let price = json!({"input_cost_per_token": 1, "output_cost_per_token": 1, measured: price_of_one});
        // Two of the seven tokens are of that kind.
        assert_eq!(cost(&price, 7, 7, json!({tokens: 2})), "14", "{tokens}");
        assert_eq!(cost(&price, 7, 7, json!({tokens: 2, counted: 5})), "27", "{tokens}");
    }
}

#[test]
fn multipliers_apply_to_tokens_and_a_markup_to_all() {
    let price = json!({"input_cost_per_token": 10, "output_cost_per_token": 20,
        "provider_specific_entry": {"us": number("1.1"), "fast": 2, "first_frames": 5, "schema": "v2"},
        "regional_processing_uplift_multiplier_eu": number("1.2"), "regional_processing_uplift_multiplier_us": number("1.3"),
        "regional_endpoint_uplift_multiplier": number("1.5"),
        "google_maps_grounding_cost_per_query": 1});
    let with = |parts: Value| cost(&price, 1, 1, parts);
    assert_eq!(with(json!({"inference_geo": "US"})), "33");
    assert_eq!(with(json!({"inference_geo": "global"})), "30");
    assert_eq!(with(json!({"speed": "fast", "inference_geo": "us"})), "66");
    assert_eq!(with(json!({"data_residency": "eu"})), "36");
    assert_eq!(with(json!({"data_residency": "us"})), "39");
    assert_eq!(with(json!({"location": "us-east5"})), "45");
    assert_eq!(with(json!({"location": "global"})), "30");
    assert_eq!(with(json!({"speed": "fast", "google_maps_requests": 2})), "62");
    let factor = Factor::parse("1.25").unwrap();
    let markup = PriceConditions { markup: Markup::NONE.step(factor, false, false), ..PriceConditions::default() };
    assert_eq!(shown(&price, 1, 1, json!({"speed": "fast", "google_maps_requests": 2}), markup), "77.5");
    // The bound takes the largest of each kind: 30 × 1.1 × 2 × 1.3 × 1.5.
    let bound = breakdown(upper_bound(&model(price.clone()), 1, 1, None, PriceConditions::default()));
    assert_eq!(bound.total().to_string(), "128.7");
    let told = json!(breakdown(price_llm(&model(price), &usage(1, 1, json!({"inference_geo": "us"})), None)));
    assert_eq!(told["multipliers"], json!([{"name": "inference_geo us", "factor": "1.1", "cost_usd": "3"}]));
    assert_eq!((&told["exact_usd"], &told["total_usd"]), (&json!("33"), &json!("33")));
}

#[test]
fn xai_reaches_a_threshold_with_its_last_token() {
    let mut price = model(json!({"input_cost_per_token": 1, "input_cost_per_token_above_1k_tokens": 2}));
    costs(&price, &usage(1000, 0, json!({})), None, "1000");
    price.inclusive = true;
    costs(&price, &usage(1000, 0, json!({})), None, "2000");
    costs(&price, &usage(999, 0, json!({})), None, "999");
}

#[test]
fn a_tiers_output_price_goes_before_the_standard_price_of_reasoning() {
    let price =
        json!({"output_cost_per_token": 1, "output_cost_per_reasoning_token": 5, "output_cost_per_token_priority": 3});
    let reasoned = |tier| shown(&price, 0, 10, json!({"reasoning_output_tokens": 10}), Some(tier).into());
    assert_eq!(
        (reasoned("standard"), reasoned("priority"), reasoned("fast"), reasoned("flex"), reasoned("batch")),
        ("50".into(), "30".into(), "30".into(), "50".into(), "25".into())
    );
}

#[test]
fn every_tier_of_the_list_has_its_price() {
    for tier in ["batches", "priority", "flex", "ultrafast", "balanced", "decisions"] {
        let mut price = json!({"input_cost_per_token": 1});
        price[format!("input_cost_per_token_{tier}")] = json!(3);
        price[format!("input_cost_per_token_above_272k_tokens_{tier}")] = json!(4);
        assert_eq!(shown(&price, 10, 0, json!({}), Some(tier).into()), "30");
        assert_eq!(shown(&price, 272_001, 0, json!({}), Some(tier).into()), "1088004");
        assert_eq!(shown(&price, 10, 0, json!({}), PriceConditions::default()), "10");
    }
}
