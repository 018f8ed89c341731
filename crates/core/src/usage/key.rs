//! One spelling for the many spellings of a key.
//!
//! `inputTokenCount`, `input_token_count`, `InputTokens` and `num_input_token` are one key here: `input_tokens`. So are
//! `prompt_tokens_details`, `inputTokenDetails` and `input_tokens_by_modality`: `in`. What a table of readers has to list
//! is what providers mean, not how each library spells it.

/// What libraries put before the keys of a usage object; the leading segments of a path that say nothing.
const PREFIXES: [(&str, bool); 13] = [
    ("gen_ai.usage.", true),
    ("gen_ai.response.", true),
    ("gen_ai.openai.response.", true),
    ("gen_ai.", true),
    ("llm.usage.", true),
    ("llm.", true),
    ("ai.usage.", true),
    ("ai.", true),
    ("attributes.", false),
    ("openai.response.", false),
    ("aws.bedrock.", false),
    ("original_usage.", false),
    ("usage.", false),
];

/// Endings of a key that holds the parts of a count.
const DETAILS: [&str; 5] =
    ["_tokens_details", "_token_details", "_tokens_detail", "_tokens_by_modality", "_by_modality"];

/// Appends a raw key to a path; its dots are borders of segments, too.
pub fn push(path: &mut String, raw: &str) {
    for segment in raw.split('.') {
        if !path.is_empty() {
            path.push('.');
        }
        let begin = path.len();
        snake(path, segment);
        simplify(path, begin);
    }
}

/// Lower case with underscores.
fn snake(path: &mut String, segment: &str) {
    let begin = path.len();
    let mut previous = '_';
    let mut letters = segment.chars().peekable();
    while let Some(letter) = letters.next() {
        let letter = if matches!(letter, '-' | ' ' | ':' | '/') { '_' } else { letter };
        if letter.is_ascii_uppercase() {
            let after_lower = previous.is_ascii_lowercase() || previous.is_ascii_digit();
            let before_lower = previous.is_ascii_uppercase() && letters.peek().is_some_and(char::is_ascii_lowercase);
            if path.len() > begin && (after_lower || before_lower) {
                path.push('_');
            }
        }
        path.push(letter.to_ascii_lowercase());
        previous = letter;
    }
}

/// Rewrites the last segment, which starts at `begin`, where several words are in use for one.
fn simplify(path: &mut String, begin: usize) {
    for prefix in ["$ai_", "num_", "nb_", "n_", "number_of_", "x_amzn_bedrock_"] {
        if path.get(begin..).is_some_and(|segment| segment.len() > prefix.len() && segment.starts_with(prefix)) {
            path.replace_range(begin..begin + prefix.len(), "");
        }
    }
    for many in ["token_counts", "token_count", "tokens_count"] {
        if let Some(at) = path.get(begin..).and_then(|segment| segment.find(many)) {
            path.replace_range(begin + at..begin + at + many.len(), "tokens");
        }
    }
    let ending = DETAILS.into_iter().find(|ending| path.get(begin..).is_some_and(|s| s.ends_with(ending)));
    if let Some(ending) = ending {
        path.truncate(path.len() - ending.len());
        path.push_str("_details");
    } else if path.ends_with("_token") {
        path.push('s');
    }
    let short = match path.get(begin..).unwrap_or_default() {
        "prompt_details" | "input_details" | "total_input_details" => "in",
        "completion_details"
        | "output_details"
        | "candidates_details"
        | "response_details"
        | "total_output_details" => "out",
        "cache_details" | "cached_content_details" | "total_cached_details" => "cached_details",
        "tool_use_prompt_details" | "tool_use_details" | "total_tool_use_details" => "tools",
        _ => return,
    };
    path.truncate(begin);
    path.push_str(short);
}

/// The path without what stands before the usage, and whether that was the prefix of a tracing convention.
pub fn without_prefix(mut path: &str) -> (&str, bool) {
    let mut traced = false;
    while let Some((rest, tracing)) =
        PREFIXES.iter().find_map(|(prefix, tracing)| path.strip_prefix(prefix).map(|rest| (rest, *tracing)))
    {
        path = rest;
        traced |= tracing;
    }
    // OpenInference puts parts below the count that they are part of.
    let inner = path.strip_prefix("tokens.").filter(|inner| inner.starts_with("in.") || inner.starts_with("out."));
    (inner.unwrap_or(path), traced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_key_are_one() {
        for (raw, expected) in [
            ("inputTokens", "input_tokens"),
            ("InputTokenCount", "input_tokens"),
            ("input_token_count", "input_tokens"),
            ("num_input_token", "input_tokens"),
            ("promptTokensDetails", "in"),
            ("input_tokens_by_modality", "in"),
            ("completion_tokens_details", "out"),
            ("cachedContentTokenCount", "cached_content_tokens"),
            ("cacheTokensDetails", "cached_details"),
            ("toolUsePromptTokensDetails", "tools"),
            ("ephemeral_5m_input_tokens", "ephemeral_5m_input_tokens"),
            ("llm.token_count.prompt_details.cache_read", "llm.tokens.in.cache_read"),
            ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read.input_tokens"),
            ("x-amzn-bedrock-input-token-count", "input_tokens"),
            ("$ai_input_tokens", "input_tokens"),
            ("LLMUsage", "llm_usage"),
            ("", ""),
        ] {
            let mut path = String::new();
            push(&mut path, raw);
            assert_eq!(path, expected, "{raw}");
        }
        assert_eq!(without_prefix("attributes.gen_ai.usage.input_tokens"), ("input_tokens", true));
        assert_eq!(without_prefix("usage.prompt_tokens"), ("prompt_tokens", false));
    }
}
