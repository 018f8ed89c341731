//! Raw usage objects of providers in the terms of [`super::Usage`].
//!
//! What providers call the same thing differs, and so does what includes what: OpenAI and Gemini count cached tokens among
//! the input, Anthropic and Bedrock beside it. Sources, as of 2026: OpenAI's API reference (chat completions and
//! responses, `usage`), Anthropic's Messages API (`usage`), Gemini's `usageMetadata`, Bedrock's Converse `TokenUsage`,
//! OpenTelemetry's semantic conventions for generative AI (`gen_ai.usage.*`).

use serde_json::{Map, Value};

use super::Usage;
use super::names::canonical;
use super::usage::is_known;

/// What is not known comes back under this key, as it was.
const UNKNOWN: &str = "unknown";

/// The usage object in our form: `input_tokens` and `output_tokens`, inclusive; parts that are not zero; and under
/// `unknown` whatever has no place there. The shape is told by its keys, and only where these do not tell by the provider.
pub fn normalize(provider: &str, raw: &Value) -> Result<Value, String> {
    let Value::Object(raw) = raw else { return Err("p_usage must be a JSON object".to_owned()) };
    // Whole responses are taken too.
    for wrapper in ["usage", "usageMetadata", "usage_metadata"] {
        if let Some(Value::Object(inner)) = raw.get(wrapper) {
            return normalize(provider, &Value::Object(inner.clone()));
        }
    }
    let mut reader = Reader { raw: raw.clone(), out: Map::new() };
    match Shape::of(provider, raw) {
        Shape::Chat => reader.chat()?,
        Shape::Responses => reader.responses()?,
        Shape::Anthropic => reader.anthropic()?,
        Shape::Gemini => reader.gemini()?,
        Shape::Bedrock => reader.bedrock()?,
        Shape::OpenTelemetry => reader.open_telemetry()?,
    }
    reader.finish()
}

#[derive(Clone, Copy)]
enum Shape {
    Chat,
    Responses,
    Anthropic,
    Gemini,
    Bedrock,
    OpenTelemetry,
}

impl Shape {
    fn of(provider: &str, raw: &Map<String, Value>) -> Self {
        let has = |key: &str| raw.contains_key(key);
        let provider = canonical(provider);
        if raw.keys().any(|key| key.starts_with("gen_ai.usage.")) {
            Self::OpenTelemetry
        } else if has("prompt_tokens") || has("completion_tokens") {
            Self::Chat
        } else if raw.keys().any(|key| key.ends_with("TokenCount")) {
            Self::Gemini
        } else if has("inputTokens") || has("outputTokens") {
            Self::Bedrock
        } else if has("cache_read_input_tokens")
            || has("cache_creation_input_tokens")
            || has("cache_creation")
            || has("server_tool_use")
        {
            Self::Anthropic
        } else if has("input_tokens_details") || has("output_tokens_details") {
            Self::Responses
        } else {
            // Without any part the two conventions do not differ.
            match provider.as_str() {
                "gemini" => Self::Gemini,
                "anthropic" => Self::Anthropic,
                other if other.starts_with("bedrock") && !has("input_tokens") => Self::Bedrock,
                _ => Self::Responses,
            }
        }
    }
}

/// Takes what it knows out of the raw object; what is left over is unknown.
struct Reader {
    raw: Map<String, Value>,
    out: Map<String, Value>,
}

impl Reader {
    /// A count that is taken out of the object at the path, 0 when it is missing or null.
    fn take(&mut self, path: &[&str]) -> Result<i64, String> {
        Ok(self.take_if_there(path)?.unwrap_or(0))
    }

    fn take_if_there(&mut self, path: &[&str]) -> Result<Option<i64>, String> {
        match self.remove(path) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => whole(&value).map(Some).map_err(|why| format!("{} {why}", path.join("."))),
        }
    }

    fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut object = &mut self.raw;
        for parent in parents {
            object = object.get_mut(*parent)?.as_object_mut()?;
        }
        object.remove(*last)
    }

    fn put(&mut self, key: &str, count: i64) {
        if count != 0 {
            self.out.insert(key.to_owned(), count.into());
        }
    }

    fn put_word(&mut self, key: &str, path: &[&str]) {
        if let Some(Value::String(word)) = self.remove(path) {
            self.out.insert(key.to_owned(), word.into());
        }
    }

    fn totals(&mut self, input: i64, output: i64) {
        self.out.insert("input_tokens".to_owned(), input.into());
        self.out.insert("output_tokens".to_owned(), output.into());
    }

    /// A total that is said beside its parts has to be their sum.
    fn check_total(&mut self, path: &[&str], expected: Option<i64>) -> Result<(), String> {
        match self.take_if_there(path)? {
            Some(total) if Some(total) != expected => {
                let expected = expected.map_or_else(|| "too large".to_owned(), |sum| sum.to_string());
                Err(format!("{} is {total}, and its parts are {expected}", path.join(".")))
            }
            _ => Ok(()),
        }
    }

    /// OpenAI's chat completions, and whoever speaks like them. Cached tokens are among the prompt's; DeepSeek says them at
    /// the top.
    fn chat(&mut self) -> Result<(), String> {
        let (input, output) = (self.take(&["prompt_tokens"])?, self.take(&["completion_tokens"])?);
        self.totals(input, output);
        self.check_total(&["total_tokens"], input.checked_add(output))?;
        self.details("prompt_tokens_details", "completion_tokens_details")?;
        let hit = self.take(&["prompt_cache_hit_tokens"])?;
        if !self.out.contains_key("cache_read_input_tokens") {
            self.put("cache_read_input_tokens", hit);
        }
        // What missed the cache is the rest.
        self.take(&["prompt_cache_miss_tokens"])?;
        self.put_word("service_tier", &["service_tier"]);
        Ok(())
    }

    fn responses(&mut self) -> Result<(), String> {
        let (input, output) = (self.take(&["input_tokens"])?, self.take(&["output_tokens"])?);
        self.totals(input, output);
        self.check_total(&["total_tokens"], input.checked_add(output))?;
        self.details("input_tokens_details", "output_tokens_details")?;
        self.put_word("service_tier", &["service_tier"]);
        Ok(())
    }

    fn details(&mut self, input: &str, output: &str) -> Result<(), String> {
        let cached = self.take(&[input, "cached_tokens"])?;
        let cached_audio = self.take(&[input, "cached_tokens_details", "audio_tokens"])?;
        let cached_image = self.take(&[input, "cached_tokens_details", "image_tokens"])?;
        self.take(&[input, "cached_tokens_details", "text_tokens"])?;
        let written = self.take(&[input, "cache_write_tokens"])?;
        let created = self.take(&[input, "cache_creation_tokens"])?;
        self.put("cache_read_input_tokens", cached);
        self.put("cache_read_input_audio_tokens", cached_audio);
        self.put("cache_read_input_image_tokens", cached_image);
        self.put("cache_creation_input_tokens", if written != 0 { written } else { created });
        let audio = self.take(&[input, "audio_tokens"])?;
        let image = self.take(&[input, "image_tokens"])?;
        // Ours are those that no cache had.
        self.put_rest("input_audio_tokens", audio, cached_audio)?;
        self.put_rest("input_image_tokens", image, cached_image)?;
        for (theirs, ours) in [("video_tokens", "input_video_tokens"), ("text_tokens", "")] {
            let count = self.take(&[input, theirs])?;
            if !ours.is_empty() {
                self.put(ours, count);
            }
        }
        for (theirs, ours) in [
            ("reasoning_tokens", "reasoning_output_tokens"),
            ("audio_tokens", "output_audio_tokens"),
            ("image_tokens", "output_image_tokens"),
            ("video_tokens", "output_video_tokens"),
        ] {
            let count = self.take(&[output, theirs])?;
            self.put(ours, count);
        }
        // Text is the rest; tokens of a prediction, accepted or not, are output like any other.
        for theirs in ["text_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"] {
            self.take(&[output, theirs])?;
        }
        Ok(())
    }

    fn put_rest(&mut self, key: &str, all: i64, part: i64) -> Result<(), String> {
        match all.checked_sub(part) {
            Some(rest) if rest >= 0 || all == 0 => {
                self.put(key, rest.max(0));
                Ok(())
            }
            _ => Err(format!("{key} would be {all} less {part} cached ones")),
        }
    }

    /// `input_tokens` leaves out what was read from or written to the cache.
    fn anthropic(&mut self) -> Result<(), String> {
        let (fresh, output) = (self.take(&["input_tokens"])?, self.take(&["output_tokens"])?);
        let read = self.take(&["cache_read_input_tokens"])?;
        let hour = self.take(&["cache_creation", "ephemeral_1h_input_tokens"])?;
        let minutes = self.take(&["cache_creation", "ephemeral_5m_input_tokens"])?;
        let parts = hour.checked_add(minutes).ok_or("cache_creation is too large")?;
        let written = match self.take_if_there(&["cache_creation_input_tokens"])? {
            Some(written) if written < parts => {
                return Err(format!("cache_creation_input_tokens is {written}, and its parts are {parts}"));
            }
            Some(written) => written,
            None => parts,
        };
        let input =
            fresh.checked_add(read).and_then(|sum| sum.checked_add(written)).ok_or("input_tokens is too large")?;
        self.totals(input, output);
        self.put("cache_read_input_tokens", read);
        self.put("cache_creation_input_tokens", written);
        self.put("cache_creation_1h_input_tokens", hour);
        let searches = self.take(&["server_tool_use", "web_search_requests"])?;
        self.put("web_search_requests", searches);
        let reasoning = self.take(&["output_tokens_details", "thinking_tokens"])?;
        self.put("reasoning_output_tokens", reasoning);
        for word in ["service_tier", "inference_geo", "speed"] {
            self.put_word(word, &[word]);
        }
        Ok(())
    }

    /// Thoughts are beside the candidates' tokens, and what tools put into the prompt beside the prompt's.
    fn gemini(&mut self) -> Result<(), String> {
        let (prompt, tools) = (self.take(&["promptTokenCount"])?, self.take(&["toolUsePromptTokenCount"])?);
        let candidates = match self.take_if_there(&["candidatesTokenCount"])? {
            Some(count) => count,
            None => self.take(&["responseTokenCount"])?,
        };
        let thoughts = self.take(&["thoughtsTokenCount"])?;
        let cached = self.take(&["cachedContentTokenCount"])?;
        let input = prompt.checked_add(tools).ok_or("promptTokenCount is too large")?;
        let output = candidates.checked_add(thoughts).ok_or("candidatesTokenCount is too large")?;
        self.totals(input, output);
        self.check_total(&["totalTokenCount"], input.checked_add(output))?;
        self.put("cache_read_input_tokens", cached);
        self.put("reasoning_output_tokens", thoughts);
        let cached_of = self.modalities("cacheTokensDetails")?;
        let prompt_of = self.modalities("promptTokensDetails")?;
        let tools_of = self.modalities("toolUsePromptTokensDetails")?;
        let mut output_of = self.modalities("candidatesTokensDetails")?;
        if output_of == [0; 3] {
            output_of = self.modalities("responseTokensDetails")?;
        }
        self.put("cache_read_input_audio_tokens", cached_of[0]);
        self.put("cache_read_input_image_tokens", cached_of[1]);
        let names = ["input_audio_tokens", "input_image_tokens", "input_video_tokens"];
        for (place, name) in names.into_iter().enumerate() {
            let all = prompt_of[place].checked_add(tools_of[place]).ok_or("promptTokensDetails is too large")?;
            self.put_rest(name, all, cached_of[place])?;
        }
        for (name, count) in
            ["output_audio_tokens", "output_image_tokens", "output_video_tokens"].into_iter().zip(output_of)
        {
            self.put(name, count);
        }
        if let Some(Value::String(tier)) = self.remove(&["trafficType"]) {
            self.out.insert("service_tier".to_owned(), traffic(&tier).into());
        }
        Ok(())
    }

    /// Audio, image and video tokens of a list of modalities. Text and documents are the rest.
    fn modalities(&mut self, key: &str) -> Result<[i64; 3], String> {
        let mut sums = [0_i64; 3];
        let Some(list) = self.raw.get(key).and_then(Value::as_array) else { return Ok(sums) };
        for item in list {
            let count = match item.get("tokenCount") {
                None | Some(Value::Null) => 0,
                Some(count) => whole(count).map_err(|why| format!("{key}.tokenCount {why}"))?,
            };
            let place = match item.get("modality").and_then(Value::as_str) {
                Some("AUDIO") => 0,
                Some("IMAGE") => 1,
                Some("VIDEO") => 2,
                _ => continue,
            };
            sums[place] = sums[place].checked_add(count).ok_or_else(|| format!("{key} is too large"))?;
        }
        self.raw.remove(key);
        Ok(sums)
    }

    /// As Anthropic's: `inputTokens` leaves out what was read from or written to the cache.
    fn bedrock(&mut self) -> Result<(), String> {
        let (fresh, output) = (self.take(&["inputTokens"])?, self.take(&["outputTokens"])?);
        // Both spellings are met, of the interface and of its documentation.
        let mut either = |one: &str, other: &str| -> Result<i64, String> {
            let (one, other) = (self.take(&[one])?, self.take(&[other])?);
            Ok(one.max(other))
        };
        let read = either("cacheReadInputTokens", "cacheReadInputTokenCount")?;
        let written = either("cacheWriteInputTokens", "cacheWriteInputTokenCount")?;
        let input =
            fresh.checked_add(read).and_then(|sum| sum.checked_add(written)).ok_or("inputTokens is too large")?;
        self.totals(input, output);
        self.check_total(&["totalTokens"], input.checked_add(output))?;
        self.put("cache_read_input_tokens", read);
        self.put("cache_creation_input_tokens", written);
        if let Some(Value::Array(list)) = self.remove(&["cacheDetails"]) {
            let mut hour = 0_i64;
            for item in list.iter().filter(|item| item.get("ttl").and_then(Value::as_str) == Some("1h")) {
                let count =
                    item.get("inputTokens").map_or(Ok(0), whole).map_err(|why| format!("cacheDetails {why}"))?;
                hour = hour.checked_add(count).ok_or("cacheDetails is too large")?;
            }
            self.put("cache_creation_1h_input_tokens", hour);
        }
        Ok(())
    }

    /// `gen_ai.usage.*`, flat or as attributes; inclusive counts, as ours. The older names stand in for the present ones.
    fn open_telemetry(&mut self) -> Result<(), String> {
        let mut first = |names: &[&str]| -> Result<i64, String> {
            let mut found = 0;
            for name in names.iter().rev() {
                if let Some(count) = self.take_if_there(&[&format!("gen_ai.usage.{name}")])? {
                    found = count;
                }
            }
            Ok(found)
        };
        let input = first(&["input_tokens", "prompt_tokens"])?;
        let output = first(&["output_tokens", "completion_tokens"])?;
        let parts = [
            ("cache_read_input_tokens", first(&["cache_read.input_tokens", "cache_read_input_tokens"])?),
            ("cache_creation_input_tokens", first(&["cache_creation.input_tokens", "cache_creation_input_tokens"])?),
            (
                "reasoning_output_tokens",
                first(&["reasoning.output_tokens", "reasoning_output_tokens", "reasoning_tokens"])?,
            ),
        ];
        self.totals(input, output);
        for (key, count) in parts {
            self.put(key, count);
        }
        self.put_word("service_tier", &["gen_ai.openai.response.service_tier"]);
        Ok(())
    }

    /// What is left over, if it says anything, and whether the whole is possible.
    fn finish(mut self) -> Result<Value, String> {
        // Keys of our own form may stand in any object.
        let ours: Vec<String> =
            self.raw.keys().filter(|key| is_known(key) && !self.out.contains_key(*key)).cloned().collect();
        for key in ours {
            if let Some(value) = self.raw.remove(&key) {
                self.out.insert(key, value);
            }
        }
        self.raw.retain(|_, value| says_something(value));
        let count = |key: &str| self.out.get(key).and_then(Value::as_i64).unwrap_or(0);
        let (input, output) = (count("input_tokens"), count("output_tokens"));
        Usage::new(input, output, Some(&Value::Object(self.out.clone()))).map_err(|error| error.to_string())?;
        if !self.raw.is_empty() {
            self.out.insert(UNKNOWN.to_owned(), Value::Object(self.raw));
        }
        Ok(Value::Object(self.out))
    }
}

/// Whether anything but nothing is in it: no null, and no object or list of nothing.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(object) => object.values().any(says_something),
        Value::Array(list) => list.iter().any(says_something),
        _ => true,
    }
}

/// Gemini's kinds of traffic as the list's tiers.
fn traffic(kind: &str) -> &str {
    match kind {
        "ON_DEMAND" => "standard",
        "ON_DEMAND_PRIORITY" => "priority",
        "ON_DEMAND_FLEX" => "flex",
        other => other,
    }
}

fn whole(value: &Value) -> Result<i64, &'static str> {
    use crate::money::{AmountError, Rounding, parse_scaled};
    let Value::Number(number) = value else { return Err("must be a number") };
    let count = parse_scaled(number.as_str(), 0, Rounding::Exact).map_err(|error| match error {
        AmountError::Negative => "must not be negative",
        AmountError::TooPrecise => "must be a whole number",
        _ => "is too large",
    })?;
    i64::try_from(count).map_err(|_| "is too large")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn gives(provider: &str, raw: Value, expected: Value) {
        assert_eq!(normalize(provider, &raw).unwrap(), expected);
    }

    #[test]
    fn openai_chat_counts_cached_tokens_among_the_prompt() {
        let raw = json!({"prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 20, "cached_tokens_details": {"audio_tokens": 5, "text_tokens": 1915}},
            "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 0, "accepted_prediction_tokens": 3, "rejected_prediction_tokens": 4}});
        let expected = json!({"input_tokens": 2006, "output_tokens": 300, "cache_read_input_tokens": 1920,
            "cache_read_input_audio_tokens": 5, "input_audio_tokens": 15, "reasoning_output_tokens": 100});
        gives("openai", raw.clone(), expected.clone());
        gives("openai", json!({"id": "chatcmpl-1", "usage": raw}), expected);
        let deepseek = json!({"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36});
        gives("deepseek", deepseek, json!({"input_tokens": 100, "output_tokens": 5, "cache_read_input_tokens": 64}));
    }

    #[test]
    fn openai_responses() {
        let raw = json!({"input_tokens": 75, "input_tokens_details": {"cached_tokens": 32}, "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024}, "total_tokens": 1261});
        gives(
            "openai",
            raw,
            json!({"input_tokens": 75, "output_tokens": 1186, "cache_read_input_tokens": 32, "reasoning_output_tokens": 1024}),
        );
    }

    #[test]
    fn anthropic_counts_cached_tokens_beside_the_input() {
        let raw = json!({"input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 2051, "output_tokens": 393,
            "cache_creation": {"ephemeral_5m_input_tokens": 88, "ephemeral_1h_input_tokens": 100},
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}, "service_tier": "standard", "inference_geo": "us"});
        gives(
            "anthropic",
            raw,
            json!({"input_tokens": 2260, "output_tokens": 393, "cache_read_input_tokens": 2051,
            "cache_creation_input_tokens": 188, "cache_creation_1h_input_tokens": 100, "web_search_requests": 2,
            "service_tier": "standard", "inference_geo": "us", "unknown": {"server_tool_use": {"web_fetch_requests": 1}}}),
        );
        gives(
            "anthropic",
            json!({"input_tokens": 21, "output_tokens": 3}),
            json!({"input_tokens": 21, "output_tokens": 3}),
        );
    }

    #[test]
    fn gemini_counts_thoughts_beside_the_candidates() {
        let raw = json!({"promptTokenCount": 1000, "candidatesTokenCount": 50, "thoughtsTokenCount": 70, "totalTokenCount": 1125,
            "cachedContentTokenCount": 600, "toolUsePromptTokenCount": 5,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 500}, {"modality": "AUDIO", "tokenCount": 400}, {"modality": "IMAGE", "tokenCount": 100}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 300}, {"modality": "TEXT", "tokenCount": 300}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 40}], "trafficType": "ON_DEMAND_PRIORITY"});
        gives(
            "gemini",
            json!({"usageMetadata": raw}),
            json!({"input_tokens": 1005, "output_tokens": 120, "cache_read_input_tokens": 600,
            "cache_read_input_audio_tokens": 300, "input_audio_tokens": 100, "input_image_tokens": 100, "reasoning_output_tokens": 70,
            "output_image_tokens": 40, "service_tier": "priority"}),
        );
    }

    #[test]
    fn bedrock_counts_cached_tokens_beside_the_input() {
        let raw = json!({"inputTokens": 10, "outputTokens": 20, "totalTokens": 1030, "cacheReadInputTokens": 600, "cacheWriteInputTokens": 400,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 300}, {"ttl": "5m", "inputTokens": 100}]});
        gives(
            "aws.bedrock",
            raw,
            json!({"input_tokens": 1010, "output_tokens": 20, "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 400, "cache_creation_1h_input_tokens": 300}),
        );
    }

    #[test]
    fn open_telemetry_counts_as_we_do() {
        let raw = json!({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 180, "gen_ai.usage.cache_read.input_tokens": 50,
            "gen_ai.usage.cache_creation.input_tokens": 25, "gen_ai.usage.reasoning.output_tokens": 40, "gen_ai.request.model": "m"});
        gives(
            "openai",
            raw,
            json!({"input_tokens": 100, "output_tokens": 180, "cache_read_input_tokens": 50,
            "cache_creation_input_tokens": 25, "reasoning_output_tokens": 40, "unknown": {"gen_ai.request.model": "m"}}),
        );
        gives(
            "x",
            json!({"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": 2}),
            json!({"input_tokens": 1, "output_tokens": 2}),
        );
    }

    #[test]
    fn what_is_not_known_is_kept_and_reported() {
        let raw = json!({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0, "thought_tokens": 3},
            "novelty": {"a": [null, {}]}, "cost": 0.5, "web_search_requests": 1});
        gives(
            "openai",
            raw,
            json!({"input_tokens": 5, "output_tokens": 1, "web_search_requests": 1,
            "unknown": {"cost": 0.5, "prompt_tokens_details": {"thought_tokens": 3}}}),
        );
    }

    #[test]
    fn impossible_usage_is_refused() {
        for (raw, why) in [
            (json!([]), "p_usage must be a JSON object"),
            (json!({"prompt_tokens": -1}), "prompt_tokens must not be negative"),
            (json!({"prompt_tokens": 1.5}), "prompt_tokens must be a whole number"),
            (json!({"prompt_tokens": "7"}), "prompt_tokens must be a number"),
            (
                json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 7}),
                "total_tokens is 7, and its parts are 6",
            ),
            (
                json!({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}),
                "input_tokens is 5, which is less than its parts cache_read_input_tokens (6)",
            ),
            (
                json!({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}}),
                "output_tokens is 5, which is less than its parts reasoning_output_tokens (6)",
            ),
            (
                json!({"input_tokens": 1, "cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}}),
                "cache_creation_input_tokens is 1, and its parts are 2",
            ),
            (json!({"input_tokens": i64::MAX, "cache_read_input_tokens": i64::MAX}), "input_tokens is too large"),
        ] {
            assert_eq!(normalize("any", &raw).unwrap_err(), why, "{raw}");
        }
    }
}
