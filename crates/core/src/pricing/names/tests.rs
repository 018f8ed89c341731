use super::*;

fn grade(provider: &str, name: &str, row: (&str, &str)) -> Option<Grade> {
    match Wanted::new(provider, name, None).fit(row.0, row.1, None)? {
        Fit::Price(grade) => Some(grade),
        Fit::Elsewhere { .. } => None,
    }
}

/// The rows that fit, best first.
fn ranked<'a>(provider: &str, name: &str, rows: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<_> = rows.iter().filter_map(|row| Some((grade(provider, name, *row)?, *row))).collect();
    found.sort_by_key(|(grade, _)| *grade);
    found.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn a_name_alone_fits_nothing_of_another_provider() {
    assert_eq!(grade("groq", "gpt-oss-120b", ("cerebras", "gpt-oss-120b")), None);
    assert!(grade("unknown", "gpt-oss-120b", ("cerebras", "gpt-oss-120b")).is_some());
    assert_eq!(grade("unknown", "openai/gpt-oss-120b", ("groq", "openai/gpt-oss-120b")), None);
}

#[test]
fn names_fit_by_case_path_date_version_and_region() {
    for (provider, name, row) in [
        ("OpenAI", "GPT-4o", ("openai", "gpt-4o")),
        ("openai", "openai/gpt-4o", ("openai", "gpt-4o")),
        ("openai", "gpt-4o-2099-01-31", ("openai", "gpt-4o")),
        ("anthropic", "claude-opus-4-5-20251101", ("anthropic", "claude-opus-4-5")),
        ("anthropic", "claude-opus-4.5", ("anthropic", "claude-opus-4-5")),
        ("anthropic", "claude-sonnet-4-5-20250929[1m]", ("anthropic", "claude-sonnet-4-5-20250929")),
        ("anthropic", "claude-3-7-sonnet-latest", ("anthropic", "claude-3-7-sonnet-20250219")),
        ("anthropic", "claude-sonnet-4-0", ("anthropic", "claude-sonnet-4-20250514")),
        ("vertex_ai", "claude-opus-4-5@20251101", ("vertex_ai-anthropic_models", "vertex_ai/claude-opus-4-5")),
        ("gcp.vertex_ai", "claude-opus-4-5", ("vertex_ai-anthropic_models", "vertex_ai/claude-opus-4-5@20251101")),
        ("vertex", "publishers/xai/models/grok-4.3", ("vertex_ai", "xai/grok-4.3")),
        ("aws.bedrock", "us.anthropic.claude-x-v1:0", ("bedrock_converse", "anthropic.claude-x-v1:0")),
        ("bedrock", "eu.anthropic.claude-x-20250101-v1:0", ("bedrock", "anthropic.claude-x")),
        ("bedrock", "us.anthropic.claude-x", ("bedrock_converse", "us.anthropic.claude-x-20250101-v1:0")),
        ("bedrock", "bedrock/converse/us.anthropic.claude-x", ("bedrock_converse", "us.anthropic.claude-x")),
        ("bedrock", "xai.grok-4.3", ("bedrock_mantle", "xai.grok-4.3")),
        ("azure", "gpt-4o", ("openai", "gpt-4o")),
        ("google", "models/gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("google", "gemini/gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("openai", "ft:gpt-4o-mini:acme::id", ("openai", "ft:gpt-4o-mini")),
        ("gemini", "gemini-1.5-pro-001", ("gemini", "gemini-1.5-pro")),
        ("gemini", "gemini-2.5-flash-latest", ("gemini", "gemini-2.5-flash")),
        ("fireworks.chat", "kimi-k3", ("fireworks_ai", "accounts/fireworks/models/kimi-k3")),
        ("litellm_proxy", "anthropic/claude-x", ("anthropic", "claude-x")),
        ("unknown", "google-gla:gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
        ("openrouter", "anthropic/claude-opus-4.5", ("anthropic", "claude-opus-4-5")),
    ] {
        assert!(grade(provider, name, row).is_some_and(|grade| grade > Grade::EXACT), "{provider} {name} {row:?}");
    }
}

#[test]
fn what_is_another_model_platform_or_offer_does_not_fit() {
    for (provider, name, row) in [
        ("openai", "gpt-4o", ("openai", "gpt-4o-2024-05-13")),
        ("openai", "gpt-4o", ("azure", "gpt-4o")),
        ("openai", "gpt-4o-mini", ("openai", "gpt-4o")),
        ("openai", "gpt-5", ("openai", "gpt")),
        ("openai", "gpt-5-chat-latest", ("openai", "gpt-5-chat")),
        ("openai", "ft:gpt-4o-mini:acme::id", ("openai", "gpt-4o-mini")),
        ("acme", "model-v2", ("acme", "model")),
        ("mistral", "mistral-large-latest", ("mistral", "mistral-large")),
        ("azure", "eu/gpt-5", ("openai", "gpt-5")),
        ("azure", "eu/gpt-5", ("azure", "gpt-5")),
        ("google", "gemini-2.5-pro", ("vertex_ai-language-models", "gemini-2.5-pro")),
        ("bedrock", "us.anthropic.claude-haiku-4-5", ("bedrock_mantle", "anthropic.claude-haiku-4-5")),
        ("bedrock_mantle", "anthropic.claude-x", ("bedrock_converse", "anthropic.claude-x")),
        ("bedrock_mantle", "us.anthropic.claude-x", ("bedrock_mantle", "anthropic.claude-x")),
        ("bedrock", "us-gov.anthropic.claude-x", ("bedrock_converse", "anthropic.claude-x")),
        ("bedrock", "us-gov-west-1/anthropic.claude-x", ("bedrock_converse", "anthropic.claude-x")),
        ("openrouter", "openai/gpt-5:free", ("openai", "gpt-5")),
        ("openrouter", "deepseek/deepseek-chat", ("deepseek", "deepseek-chat")),
        ("openrouter", "google/gemma-3-27b-it", ("gemini", "gemma-3-27b-it")),
        ("unknown", "google/gemma-3-27b-it", ("gemini", "gemma-3-27b-it")),
        ("unknown", "deepseek-ai/DeepSeek-V3", ("deepseek", "deepseek-v3")),
        ("huggingface", "openai/gpt-oss-120b", ("groq", "openai/gpt-oss-120b")),
        ("openai-compatible", "gpt-5", ("openai", "gpt-5")),
    ] {
        assert_eq!(grade(provider, name, row), None, "{provider} {name} {row:?}");
    }
}

#[test]
fn a_resource_name_fits_when_it_names_its_model() {
    let fits = |resource: &str, row: &str| {
        let arn = format!("arn:aws:bedrock:us-east-1:111122223333:{resource}");
        let fit = |provider| grade(provider, &arn, ("bedrock_converse", row)).is_some();
        assert_eq!(fit("bedrock"), fit("unknown"), "{arn}");
        fit("bedrock")
    };
    assert!(fits("inference-profile/us.anthropic.claude-x", "us.anthropic.claude-x"));
    assert!(fits("foundation-model/anthropic.claude-x", "anthropic.claude-x"));
    assert!(fits("foundation-model/anthropic.claude-x", "us-east-1/anthropic.claude-x"));
    assert!(!fits("foundation-model/anthropic.claude-x", "eu-west-1/anthropic.claude-x"));
    for kind in
        ["application-inference-profile", "provisioned-model", "custom-model", "imported-model", "inference-profile"]
    {
        assert!(!fits(&format!("{kind}/anthropic.claude-x"), "anthropic.claude-x"), "{kind}");
    }
    assert!(!fits("inference-profile/a1b2c3", "a1b2c3"));
    let gov = "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-x";
    assert!(grade("bedrock", gov, ("bedrock", "us-gov-west-1/anthropic.claude-x")).is_some());
    assert_eq!(grade("bedrock", gov, ("bedrock", "anthropic.claude-x")), None);
}

#[test]
fn the_closest_goes_first() {
    let rows =
        [("openai", "gpt-4o"), ("azure", "gpt-4o"), ("azure", "gpt-4o-2024-08-06"), ("openai", "gpt-4o-2024-08-06")];
    let found = ranked("azure", "gpt-4o-2024-08-06", &rows);
    assert_eq!(found, [rows[2], rows[1], rows[3], rows[0]]);
    let rows = [("deepseek", "deepseek-chat"), ("deepseek", "deepseek/deepseek-chat")];
    assert!(rows.iter().all(|row| grade("deepseek", "deepseek-chat", *row) == Some(Grade::EXACT)));
    assert_eq!(ranked("deepseek.chat", "deepseek-chat", &rows), [rows[1], rows[0]]);
    // A date is dropped before a place is, and another platform's price comes last.
    let rows = [
        ("bedrock_mantle", "us.anthropic.claude-x"),
        ("bedrock_converse", "anthropic.claude-x"),
        ("bedrock_converse", "us.anthropic.claude-x-20250101-v1:0"),
    ];
    assert_eq!(ranked("bedrock", "us.anthropic.claude-x", &rows), [rows[2], rows[1], rows[0]]);
}

#[test]
fn a_price_for_no_place_is_weighed_against_those_of_others() {
    let wanted = Wanted::new("bedrock", "ca.anthropic.claude-x", None);
    assert!(
        matches!(wanted.fit("bedrock", "anthropic.claude-x", None), Some(Fit::Price(grade)) if grade.drops_place())
    );
    for (name, fit) in [
        ("us.anthropic.claude-x", Some(Fit::Elsewhere { global: false })),
        ("global.anthropic.claude-x", Some(Fit::Elsewhere { global: true })),
        ("us-gov.anthropic.claude-x", None),
        ("us.anthropic.claude-y", None),
    ] {
        assert_eq!(wanted.fit("bedrock_converse", name, None), fit, "{name}");
    }
    assert!(wanted.names().contains(&"us.anthropic.claude-x".to_owned()));
    let matters = |is_known, all_agree, global| !place_does_not_matter(wanted.place(), is_known, all_agree, global);
    assert_eq!(
        [matters(true, false, false), matters(true, true, true), matters(false, true, false)],
        [true, false, false]
    );
    assert!(matters(false, true, true));
    assert!(!place_does_not_matter(Some(Place::Global), true, true, false));
}

#[test]
fn a_caller_that_names_no_provider_spells_a_model_as_the_list_does() {
    let fit = |provider: &str, key: &str| Wanted::new(provider, "gpt-5", None).fit("openai", "gpt-5", Some(key));
    assert_eq!(fit("unknown", "gpt-5"), Some(Fit::Price(Grade::KEY)));
    assert_ne!(fit("unknown", "acme/gpt-5"), Some(Fit::Price(Grade::KEY)));
    assert_eq!(fit("groq", "gpt-5"), None);
    let wanted = Wanted::new("litellm_proxy", "groq/openai/gpt-oss-120b", None);
    assert_eq!(
        wanted.fit("groq", "openai/gpt-oss-120b", Some("groq/openai/gpt-oss-120b")),
        Some(Fit::Price(Grade::KEY))
    );
    assert!(wanted.names().contains(&"openai/gpt-oss-120b".to_owned()));
}

#[test]
fn an_operators_alias_goes_before_every_other() {
    let alias = Some(("Acme".to_owned(), "Base".to_owned()));
    let wanted = Wanted::new("mine", "model-2025-01-01", alias);
    assert_eq!(wanted.fit("acme", "base", None), Some(Fit::Price(Grade::ALIAS)));
    assert!(matches!(wanted.fit("mine", "model", None), Some(Fit::Price(grade)) if grade > Grade::ALIAS));
    assert_eq!(wanted.fit("mine", "model-2025-01-01", None), Some(Fit::Price(Grade::EXACT)));
    assert!(wanted.names().iter().any(|name| name == "base"));
}

#[test]
fn odd_names_do_no_harm() {
    let odd = [
        "",
        "@",
        "-",
        ":",
        "/",
        "ft:",
        "é-20240101",
        "-20240101",
        "20240101",
        "a-v",
        "::0",
        "ß@ß",
        "a-é2024-01-01",
        "arn:",
        "arn:::::",
        "arn:aws:bedrock:::/",
        "é/x",
        "openai:",
        "claude-é-4.5",
        "claude-4-é",
        "us.",
        "us-east-1/",
        "models/",
        "İ/İ",
    ];
    for provider in ["openai", "bedrock", "unknown", "openrouter", "fireworks", "vertex", ".", ".chat", ""] {
        for name in odd {
            let wanted = Wanted::new(provider, name, None);
            assert!(wanted.names().len() + wanted.undated_names().len() < 1_000, "{provider} {name}");
            let _ = wanted.fit("openai", name, Some(name));
        }
    }
    let long = "us.".repeat(60) + "claude-4-5-20240101-20240101-v1:0";
    assert!(Wanted::new("bedrock", &long, None).names().len() < 1_000);
}
