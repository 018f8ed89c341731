//! Where what a usage object says can go, and what the keys that providers share mean.

/// A count of tokens. What includes what is the reader's to say; [`super::resolve`] takes it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Input,
    /// Input that no cache had.
    Fresh,
    /// Input beside the prompt: what tools put into it.
    Tools,
    Output,
    Total,
    CacheRead,
    CacheReadExplicit,
    CacheReadText,
    CacheReadAudio,
    CacheReadImage,
    CacheReadVideo,
    CacheWrite,
    CacheWrite5m,
    CacheWrite1h,
    CacheWrite12h,
    CacheWriteAudio,
    InputText,
    InputAudio,
    InputImage,
    InputVideo,
    ToolsAudio,
    ToolsImage,
    ToolsVideo,
    Reasoning,
    OutputText,
    OutputAudio,
    OutputImage,
    OutputVideo,
}

/// How many slots there are.
pub const SLOTS: usize = Slot::OutputVideo as usize + 1;

/// What a gateway says that a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// US dollars.
    Dollars,
    /// xAI's ticks of 1e-10 USD.
    Ticks,
    /// Billionths of a dollar.
    Nanos,
    /// What the provider behind a gateway bills to the caller's own key, beside the gateway's fee.
    Upstream,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Tokens(Slot),
    /// How many elements the list has.
    Length(Slot),
    /// A key of our own form that counts something else than tokens.
    Quantity(&'static str),
    /// A key of our own form that is a word.
    Word(&'static str),
    /// The service tier.
    Tier,
    Cost(Amount),
    /// Whether the caller's own key paid the provider.
    OwnKey,
    /// Units of a guardrail's policy, by the name that prices have for it.
    Guardrail(&'static str),
    /// A list of the tools that the provider ran.
    ToolsRun,
    /// How a cache came to be.
    CacheType,
    /// Understood, and said elsewhere or without weight.
    Known,
    /// Left to the caller, whatever other readers make of the key.
    Unknown,
}

use Amount::{Dollars, Nanos, Ticks, Upstream};
use Place::{Cost, Guardrail, Known, Quantity, Tier, Tokens, ToolsRun, Word};
use Slot::*;

/// Keys that mean the same wherever they stand, in the spelling of [`super::key`].
pub const COMMON: &[(&str, Place)] = &[
    // Input.
    ("prompt_tokens", Tokens(Input)),
    ("input_tokens", Tokens(Input)),
    ("input_tokens.total", Tokens(Input)),
    ("total_input_tokens", Tokens(Input)),
    ("prompt_eval_count", Tokens(Input)),
    ("request_tokens", Tokens(Input)),
    ("tokens.prompt", Tokens(Input)),
    ("tokens.input_tokens", Tokens(Input)),
    ("prompt_tokens.used", Tokens(Input)),
    ("tokens_evaluated", Tokens(Input)),
    ("tokens_prompt_total", Tokens(Input)),
    ("in.no_cache_tokens", Tokens(Fresh)),
    ("input_tokens.no_cache", Tokens(Fresh)),
    ("tool_use_prompt_tokens", Tokens(Tools)),
    ("total_tool_use_tokens", Tokens(Tools)),
    ("connector_tokens", Tokens(Tools)),
    // Output.
    ("completion_tokens", Tokens(Output)),
    ("output_tokens", Tokens(Output)),
    ("output_tokens.total", Tokens(Output)),
    ("total_output_tokens", Tokens(Output)),
    ("candidates_tokens", Tokens(Output)),
    ("response_tokens", Tokens(Output)),
    ("generated_tokens", Tokens(Output)),
    ("generation_tokens", Tokens(Output)),
    ("tokens_generated", Tokens(Output)),
    ("eval_count", Tokens(Output)),
    ("tokens.completion", Tokens(Output)),
    ("tokens.output_tokens", Tokens(Output)),
    ("completion_tokens.used", Tokens(Output)),
    ("tokens_predicted", Tokens(Output)),
    // Both.
    ("total_tokens", Tokens(Total)),
    ("tokens.total", Tokens(Total)),
    ("total_tokens.used", Tokens(Total)),
    // Read from a cache.
    ("cached_tokens", Tokens(CacheRead)),
    ("cached_input_tokens", Tokens(CacheRead)),
    ("cached_prompt_tokens", Tokens(CacheRead)),
    ("cached_prompt_text_tokens", Tokens(CacheRead)),
    ("cached_content_tokens", Tokens(CacheRead)),
    ("total_cached_tokens", Tokens(CacheRead)),
    ("cache_read_input_tokens", Tokens(CacheRead)),
    ("cache_read_tokens", Tokens(CacheRead)),
    ("cache_read.input_tokens", Tokens(CacheRead)),
    ("prompt_cache_hit_tokens", Tokens(CacheRead)),
    ("cache_hit_tokens", Tokens(CacheRead)),
    ("input_cached_tokens", Tokens(CacheRead)),
    ("input_tokens.cache_read", Tokens(CacheRead)),
    ("input_tokens.cached", Tokens(CacheRead)),
    ("in.cached_tokens", Tokens(CacheRead)),
    ("in.cached", Tokens(CacheRead)),
    ("in.cache_read", Tokens(CacheRead)),
    ("in.cache_read_tokens", Tokens(CacheRead)),
    ("in.cache_read_input_tokens", Tokens(CacheRead)),
    ("in.cached_input_tokens", Tokens(CacheRead)),
    ("in.cache_input", Tokens(CacheRead)),
    ("details.cached_tokens", Tokens(CacheRead)),
    ("details.cache_read_input_tokens", Tokens(CacheRead)),
    ("details.cached_content_tokens", Tokens(CacheRead)),
    ("details.cache_read_tokens", Tokens(CacheRead)),
    ("details.cache_audio_read_tokens", Tokens(CacheReadAudio)),
    ("details.input_audio_tokens", Tokens(InputAudio)),
    ("details.output_audio_tokens", Tokens(OutputAudio)),
    ("cached_details.text_tokens", Tokens(CacheReadText)),
    ("cached_details.document_tokens", Tokens(CacheReadText)),
    ("cached_details.audio_tokens", Tokens(CacheReadAudio)),
    ("cached_details.image_tokens", Tokens(CacheReadImage)),
    ("cached_details.video_tokens", Tokens(CacheReadVideo)),
    ("in.cached_details.text_tokens", Tokens(CacheReadText)),
    ("in.cached_details.audio_tokens", Tokens(CacheReadAudio)),
    ("in.cached_details.image_tokens", Tokens(CacheReadImage)),
    ("in.cached_details.video_tokens", Tokens(CacheReadVideo)),
    ("cache_audio_read_tokens", Tokens(CacheReadAudio)),
    ("explicit_cache_read_input_tokens", Tokens(CacheReadExplicit)),
    ("cache_read_input_audio_tokens", Tokens(CacheReadAudio)),
    ("cache_read_input_image_tokens", Tokens(CacheReadImage)),
    // Written to a cache.
    ("cache_creation_input_tokens", Tokens(CacheWrite)),
    ("cache_creation_tokens", Tokens(CacheWrite)),
    ("cache_creation.input_tokens", Tokens(CacheWrite)),
    ("cache_write_input_tokens", Tokens(CacheWrite)),
    ("cache_write_tokens", Tokens(CacheWrite)),
    ("cache_write.input_tokens", Tokens(CacheWrite)),
    ("input_tokens.cache_write", Tokens(CacheWrite)),
    ("input_tokens.cache_creation", Tokens(CacheWrite)),
    ("in.cache_write_tokens", Tokens(CacheWrite)),
    ("in.cache_write", Tokens(CacheWrite)),
    ("in.cache_creation_tokens", Tokens(CacheWrite)),
    ("in.cache_creation_input_tokens", Tokens(CacheWrite)),
    ("in.cache_write_input_tokens", Tokens(CacheWrite)),
    ("in.cache_creation", Tokens(CacheWrite)),
    ("details.cache_creation_input_tokens", Tokens(CacheWrite)),
    ("details.cache_write_tokens", Tokens(CacheWrite)),
    ("cached_details.ttl_5m", Tokens(CacheWrite5m)),
    ("cached_details.ttl_1h", Tokens(CacheWrite1h)),
    ("cache_creation_1h_input_tokens", Tokens(CacheWrite1h)),
    ("cache_creation_12h_input_tokens", Tokens(CacheWrite12h)),
    ("cache_creation_input_audio_tokens", Tokens(CacheWriteAudio)),
    ("cache_audio_write_tokens", Tokens(CacheWriteAudio)),
    // What the input was.
    ("text_tokens", Tokens(InputText)),
    ("prompt_text_tokens", Tokens(InputText)),
    ("input_text_tokens", Tokens(InputText)),
    ("in.text_tokens", Tokens(InputText)),
    ("in.text", Tokens(InputText)),
    ("in.document_tokens", Tokens(InputText)),
    ("audio_tokens", Tokens(InputAudio)),
    ("input_audio_tokens", Tokens(InputAudio)),
    ("prompt_audio_tokens", Tokens(InputAudio)),
    ("in.audio_tokens", Tokens(InputAudio)),
    ("in.audio", Tokens(InputAudio)),
    ("details.audio_prompt_tokens", Tokens(InputAudio)),
    ("image_tokens", Tokens(InputImage)),
    ("input_image_tokens", Tokens(InputImage)),
    ("prompt_image_tokens", Tokens(InputImage)),
    ("in.image_tokens", Tokens(InputImage)),
    ("in.image", Tokens(InputImage)),
    ("details.image_prompt_tokens", Tokens(InputImage)),
    ("video_tokens", Tokens(InputVideo)),
    ("input_video_tokens", Tokens(InputVideo)),
    ("in.video_tokens", Tokens(InputVideo)),
    ("in.video", Tokens(InputVideo)),
    ("details.video_prompt_tokens", Tokens(InputVideo)),
    ("tools.text_tokens", Known),
    ("tools.audio_tokens", Tokens(ToolsAudio)),
    ("tools.image_tokens", Tokens(ToolsImage)),
    ("tools.video_tokens", Tokens(ToolsVideo)),
    // What the output was.
    ("reasoning_tokens", Tokens(Reasoning)),
    ("reasoning_output_tokens", Tokens(Reasoning)),
    ("output_reasoning_tokens", Tokens(Reasoning)),
    ("completion_reasoning_tokens", Tokens(Reasoning)),
    ("reasoning.output_tokens", Tokens(Reasoning)),
    ("output_tokens.reasoning", Tokens(Reasoning)),
    ("thoughts_tokens", Tokens(Reasoning)),
    ("thought_tokens", Tokens(Reasoning)),
    ("thinking_tokens", Tokens(Reasoning)),
    ("total_thought_tokens", Tokens(Reasoning)),
    ("total_reasoning_tokens", Tokens(Reasoning)),
    ("out.reasoning_tokens", Tokens(Reasoning)),
    ("out.reasoning", Tokens(Reasoning)),
    ("out.thinking_tokens", Tokens(Reasoning)),
    ("out.thoughts_tokens", Tokens(Reasoning)),
    ("details.reasoning_tokens", Tokens(Reasoning)),
    ("details.thoughts_tokens", Tokens(Reasoning)),
    ("out.text_tokens", Tokens(OutputText)),
    ("out.text", Tokens(OutputText)),
    ("out.document_tokens", Tokens(OutputText)),
    ("output_text_tokens", Tokens(OutputText)),
    ("output_tokens.text", Tokens(OutputText)),
    ("output_audio_tokens", Tokens(OutputAudio)),
    ("completion_audio_tokens", Tokens(OutputAudio)),
    ("out.audio_tokens", Tokens(OutputAudio)),
    ("out.audio", Tokens(OutputAudio)),
    ("output_image_tokens", Tokens(OutputImage)),
    ("out.image_tokens", Tokens(OutputImage)),
    ("out.image", Tokens(OutputImage)),
    ("output_video_tokens", Tokens(OutputVideo)),
    ("out.video_tokens", Tokens(OutputVideo)),
    ("out.accepted_prediction_tokens", Known),
    ("out.rejected_prediction_tokens", Known),
    ("accepted_prediction_tokens", Known),
    ("rejected_prediction_tokens", Known),
    ("prompt_cache_miss_tokens", Known),
    // Not tokens.
    ("server_tool_use.web_search_requests", Quantity("web_search_requests")),
    ("server_tool_usage.web_search_requests", Quantity("web_search_requests")),
    ("server_tool_use_details.web_search_requests", Quantity("web_search_requests")),
    ("server_side_tool_usage.web_search_calls", Quantity("web_search_requests")),
    ("server_side_tool_usage_details.web_search_calls", Quantity("web_search_requests")),
    ("tool_usage.web_search.requests", Quantity("web_search_requests")),
    ("tool_usage_details.web_search.requests", Quantity("web_search_requests")),
    ("server_side_tool_usage.web_search", Quantity("web_search_requests")),
    ("server_side_tool_usage.server_side_tool_web_search", Quantity("web_search_requests")),
    ("grounding_tool_count.google_search", Quantity("web_search_requests")),
    ("grounding_tool_count.google_maps", Quantity("google_maps_requests")),
    ("connectors.web_search", Quantity("web_search_requests")),
    ("plugins.search.count", Quantity("web_search_requests")),
    ("search_queries", Quantity("web_search_requests")),
    ("billed_units.search_units", Quantity("queries")),
    ("prompt_audio_seconds", Quantity("input_audio_seconds")),
    ("input_audio_duration_seconds", Quantity("input_audio_seconds")),
    ("pages_processed", Quantity("ocr_pages")),
    ("pages_processed_annotation", Quantity("annotation_pages")),
    ("image_pixels", Quantity("input_pixels")),
    ("image_count", Quantity("output_images")),
    ("generated_images", Quantity("output_images")),
    ("billable_characters", Quantity("input_characters")),
    ("total_billable_characters", Quantity("input_characters")),
    ("usage_characters", Quantity("input_characters")),
    ("predict_time", Quantity("seconds")),
    ("server_side_tools_used", ToolsRun),
    ("search_context_size", Word("search_context_size")),
    // How it was served.
    ("service_tier", Tier),
    ("service_tier.type", Tier),
    ("traffic_type", Tier),
    // What it cost.
    ("cost", Cost(Dollars)),
    ("cost.total_cost", Cost(Dollars)),
    ("total_cost_usd", Cost(Dollars)),
    ("provider_metadata.gateway.cost", Cost(Dollars)),
    ("cost_in_usd_ticks", Cost(Ticks)),
    ("cost_in_nano_usd", Cost(Nanos)),
    ("cost_details.upstream_inference_cost", Cost(Upstream)),
    ("is_byok", Place::OwnKey),
    ("cost_details.upstream_inference_prompt_cost", Known),
    ("cost_details.upstream_inference_completions_cost", Known),
    ("cost_details.upstream_inference_input_cost", Known),
    ("cost_details.upstream_inference_output_cost", Known),
    ("cost.input_tokens_cost", Known),
    ("cost.output_tokens_cost", Known),
    ("cost.reasoning_tokens_cost", Known),
    ("cost.citation_tokens_cost", Known),
    ("cost.search_queries_cost", Known),
    ("cost.request_cost", Known),
    ("market_cost", Known),
    // What a library repeats of the parts that stand beside them.
    ("details.input_tokens", Known),
    ("details.output_tokens", Known),
    ("details.text_prompt_tokens", Known),
    ("details.text_candidates_tokens", Known),
    ("type=tokens", Known),
    ("api_version.version", Known),
    // How long it took.
    ("total_time", Known),
    ("prompt_time", Known),
    ("completion_time", Known),
    ("queue_time", Known),
    ("total_duration", Known),
    ("load_duration", Known),
    ("prompt_eval_duration", Known),
    ("eval_duration", Known),
    ("invocation_latency", Known),
    ("first_byte_latency", Known),
];

/// The same for the last segment alone, wherever it stands: the lifetimes of what was written to a cache, and a guardrail's policies.
pub const ENDINGS: &[(&str, Place)] = &[
    ("ephemeral_5m_input_tokens", Tokens(CacheWrite5m)),
    ("ephemeral_1h_input_tokens", Tokens(CacheWrite1h)),
    ("ephemeral5m_input_tokens", Tokens(CacheWrite5m)),
    ("ephemeral1h_input_tokens", Tokens(CacheWrite1h)),
    ("ephemeral_5_m_input_tokens", Tokens(CacheWrite5m)),
    ("ephemeral_1_h_input_tokens", Tokens(CacheWrite1h)),
    ("ephemeral_1hr_input_tokens", Tokens(CacheWrite1h)),
    ("content_policy_units", Guardrail("contentPolicyUnits")),
    ("content_policy_image_units", Guardrail("contentPolicyImageUnits")),
    ("topic_policy_units", Guardrail("topicPolicyUnits")),
    ("word_policy_units", Guardrail("wordPolicyUnits")),
    ("sensitive_information_policy_units", Guardrail("sensitiveInformationPolicyUnits")),
    ("sensitive_information_policy_free_units", Guardrail("sensitiveInformationPolicyFreeUnits")),
    ("contextual_grounding_policy_units", Guardrail("contextualGroundingPolicyUnits")),
    ("automated_reasoning_policy_units", Guardrail("automatedReasoningPolicyUnits")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice_or_in_a_spelling_that_is_never_met() {
        let paths: std::collections::HashSet<&str> = COMMON.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths.len(), COMMON.len());
        for (path, _) in COMMON {
            let mut spelled = String::new();
            super::super::key::push(&mut spelled, path);
            assert_eq!(spelled, *path);
            assert_eq!(super::super::key::without_prefix(path).0, *path);
        }
    }
}
