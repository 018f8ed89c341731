//! The readers: one entry for each way in which a provider, gateway or library reports usage that differs from another in
//! more than the spelling of its keys.
//!
//! To add a provider, add an entry here (which keys tell it, what it says that [`super::slot`] does not know, what counts
//! beside what) and a case to `golden.json`.

use super::slot::{Place, Slot};

/// Whether a part is counted within its whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Within, unless the part exceeds it or the total says otherwise.
    Within,
    /// Beside, unless the total says otherwise.
    Beside,
    /// Beside, whatever the total says.
    AlwaysBeside,
}

/// One way to report usage.
pub struct Reader {
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who read the table, and its tests"))]
    pub name: &'static str,
    /// The providers that it is for; none is any.
    pub providers: &'static [&'static str],
    /// Keys of which there has to be one; a dot at the end stands for whatever follows.
    pub any: &'static [&'static str],
    /// Keys that have to be there.
    pub all: &'static [&'static str],
    /// Where counts go, in place of or beside what is common.
    pub own: &'static [(&'static str, Place)],
    /// What a cache had or took, in the input.
    pub cached: Counted,
    /// Reasoning, in the output.
    pub reasoning: Counted,
    /// Whether what the total has above its parts is a recording's rather than reasoning.
    pub recording: bool,
}

use Counted::{AlwaysBeside, Beside, Within};
use Place::{Known, Length, Quantity, Tokens, Unknown};
use Slot::*;

/// What most speak like.
const PLAIN: Reader = Reader {
    name: "common",
    providers: &[],
    any: &[],
    all: &[],
    own: &[],
    cached: Within,
    reasoning: Within,
    recording: false,
};

/// Tried in this order; the first whose keys are there reads. The last one takes whatever has a common key.
pub static READERS: &[Reader] = &[
    Reader {
        name: "cohere",
        any: &["billed_units."],
        own: &[
            ("billed_units.input_tokens", Tokens(Input)),
            ("billed_units.output_tokens", Tokens(Output)),
            ("billed_units.image_tokens", Tokens(InputImage)),
            ("billed_units.images", Quantity("input_images")),
            ("tokens.input_tokens", Known),
            ("tokens.output_tokens", Known),
            // Of the tokens before those that are not billed are left out.
            ("cached_tokens", Unknown),
        ],
        ..PLAIN
    },
    Reader {
        name: "bedrock titan",
        any: &["results.tokens"],
        all: &["input_text_tokens"],
        own: &[("input_text_tokens", Tokens(Input)), ("results.tokens", Tokens(Output))],
        ..PLAIN
    },
    Reader {
        name: "bedrock invocation log",
        any: &["input.input_tokens", "output.output_tokens"],
        own: &[
            ("input.input_tokens", Tokens(Input)),
            ("input.cache_read_input_tokens", Tokens(CacheRead)),
            ("input.cache_write_input_tokens", Tokens(CacheWrite)),
            ("output.output_tokens", Tokens(Output)),
        ],
        cached: AlwaysBeside,
        ..PLAIN
    },
    Reader {
        name: "deepinfra",
        all: &["inference_status.tokens_generated"],
        own: &[
            ("inference_status.tokens_input", Tokens(Input)),
            ("inference_status.tokens_generated", Tokens(Output)),
            ("inference_status.cost", Place::Cost(super::slot::Amount::Dollars)),
            ("inference_status.runtime_ms", Known),
            ("tokens", Known),
        ],
        ..PLAIN
    },
    Reader {
        name: "coze",
        all: &["tokens", "input_count", "output_count"],
        own: &[("input_count", Tokens(Input)), ("output_count", Tokens(Output)), ("tokens", Tokens(Total))],
        ..PLAIN
    },
    Reader {
        name: "hugging face text generation",
        all: &["details.generated_tokens"],
        own: &[
            ("details.generated_tokens", Tokens(Output)),
            ("details.prefill", Length(Input)),
            ("details.input_length", Tokens(Input)),
            ("details.finish_reason", Known),
            ("details.seed", Known),
        ],
        ..PLAIN
    },
    Reader {
        name: "transcription by duration",
        all: &["type=duration", "seconds"],
        own: &[("seconds", Quantity("input_seconds")), ("type=duration", Known)],
        ..PLAIN
    },
    Reader {
        name: "transcription by duration",
        all: &["usage_audio_seconds"],
        own: &[("usage_audio_seconds", Quantity("input_seconds"))],
        ..PLAIN
    },
    Reader {
        name: "video",
        all: &["object=video", "seconds"],
        own: &[("seconds", Quantity("output_seconds"))],
        ..PLAIN
    },
    Reader {
        name: "transcription by duration",
        all: &["seconds"],
        own: &[("seconds", Quantity("input_seconds"))],
        ..PLAIN
    },
    Reader {
        name: "video",
        all: &["duration", "video_count"],
        own: &[("duration", Quantity("output_seconds"))],
        ..PLAIN
    },
    Reader { name: "video", all: &["video_duration"], own: &[("video_duration", Quantity("output_seconds"))], ..PLAIN },
    Reader { name: "mistral audio", all: &["prompt_audio_seconds", "prompt_tokens"], recording: true, ..PLAIN },
    Reader {
        name: "gemini",
        any: &["candidates_tokens", "thoughts_tokens", "cached_content_tokens", "tool_use_prompt_tokens"],
        reasoning: AlwaysBeside,
        ..PLAIN
    },
    Reader {
        name: "gemini interactions",
        any: &["total_thought_tokens", "total_tool_use_tokens", "total_cached_tokens"],
        reasoning: Beside,
        ..PLAIN
    },
    Reader {
        name: "perplexity",
        any: &["citation_tokens", "search_queries"],
        all: &["prompt_tokens"],
        own: &[("citation_tokens", Quantity("citation_tokens"))],
        reasoning: AlwaysBeside,
        ..PLAIN
    },
    Reader {
        name: "perplexity",
        providers: &["perplexity"],
        all: &["prompt_tokens", "reasoning_tokens"],
        reasoning: AlwaysBeside,
        ..PLAIN
    },
    Reader {
        name: "xai",
        any: &["cost_in_usd_ticks", "sources_used", "cached_prompt_text_tokens", "server_side_tools_used"],
        all: &["prompt_tokens"],
        reasoning: Beside,
        ..PLAIN
    },
    Reader { name: "xai", providers: &["xai"], all: &["prompt_tokens"], reasoning: Beside, ..PLAIN },
    // What stands beside the usage says that the cache does, too.
    Reader {
        name: "ai sdk with anthropic",
        any: &["provider_metadata.anthropic.", "provider_metadata.bedrock."],
        own: &[
            ("provider_metadata.anthropic.cache_creation_input_tokens", Tokens(CacheWrite)),
            ("provider_metadata.anthropic.cache_read_input_tokens", Tokens(CacheRead)),
            ("provider_metadata.anthropic.usage.cache_creation_input_tokens", Tokens(CacheWrite)),
            ("provider_metadata.anthropic.usage.cache_read_input_tokens", Tokens(CacheRead)),
            ("provider_metadata.anthropic.usage.input_tokens", Known),
            ("provider_metadata.anthropic.usage.output_tokens", Known),
            ("provider_metadata.bedrock.cache_read_input_tokens", Tokens(CacheRead)),
            ("provider_metadata.bedrock.cache_write_input_tokens", Tokens(CacheWrite)),
            ("provider_metadata.bedrock.usage.cache_read_input_tokens", Tokens(CacheRead)),
            ("provider_metadata.bedrock.usage.cache_write_input_tokens", Tokens(CacheWrite)),
        ],
        cached: Beside,
        ..PLAIN
    },
    Reader {
        name: "ai sdk with openai",
        any: &["provider_metadata.openai.", "provider_metadata.azure."],
        own: &[
            ("provider_metadata.openai.cached_prompt_tokens", Tokens(CacheRead)),
            ("provider_metadata.openai.reasoning_tokens", Tokens(Reasoning)),
            ("provider_metadata.azure.cached_prompt_tokens", Tokens(CacheRead)),
            ("provider_metadata.azure.reasoning_tokens", Tokens(Reasoning)),
            ("provider_metadata.openai.accepted_prediction_tokens", Known),
            ("provider_metadata.openai.rejected_prediction_tokens", Known),
        ],
        ..PLAIN
    },
    // The convention counts inclusively; instrumentations that do not are found out by their sums.
    Reader {
        name: "opentelemetry",
        all: &["@traced"],
        own: &[("tokens", Tokens(Total)), ("cost", Unknown), ("cost.total", Unknown), ("total_cost_usd", Unknown)],
        ..PLAIN
    },
    // Codex counts what a cache had and took among the input, by Bedrock's names and its own.
    Reader { name: "codex", all: &["input_tokens", "cached_input_tokens"], ..PLAIN },
    // Anthropic's face of others who also count as OpenAI does: the prompt is all of the input.
    Reader {
        name: "anthropic and openai",
        any: &["cache_read_input_tokens", "cache_creation_input_tokens"],
        all: &["input_tokens", "prompt_tokens"],
        ..PLAIN
    },
    // Anthropic, also at Bedrock and Vertex; Bedrock's Converse; those who speak like them.
    Reader {
        name: "anthropic",
        any: &[
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_write_input_tokens",
            "cache_creation.ephemeral_5m_input_tokens",
            "cache_creation.ephemeral_1h_input_tokens",
            "cached_details.ttl_5m",
            "cached_details.ttl_1h",
        ],
        all: &["input_tokens"],
        cached: AlwaysBeside,
        ..PLAIN
    },
    Reader {
        name: "anthropic stream",
        any: &["cache_read_input_tokens", "cache_creation_input_tokens"],
        all: &["output_tokens"],
        cached: AlwaysBeside,
        ..PLAIN
    },
    // Claude Code's telemetry, and those who sum up what it writes.
    Reader {
        name: "claude code",
        all: &["input_tokens", "cache_read_tokens", "cache_creation_tokens"],
        cached: Beside,
        ..PLAIN
    },
    Reader {
        name: "langfuse",
        any: &["input", "output"],
        own: &[
            ("input", Tokens(Input)),
            ("output", Tokens(Output)),
            ("total", Tokens(Total)),
            ("input_cache_read", Tokens(CacheRead)),
            ("input_cache_creation", Tokens(CacheWrite)),
            ("input_cache_write", Tokens(CacheWrite)),
            ("output_reasoning", Tokens(Reasoning)),
            ("cache_read", Tokens(CacheRead)),
            ("cache_write", Tokens(CacheWrite)),
            ("cached", Tokens(CacheRead)),
            ("reasoning", Tokens(Reasoning)),
            ("cache.read", Tokens(CacheRead)),
            ("cache.write", Tokens(CacheWrite)),
            ("input_audio", Tokens(InputAudio)),
            ("output_audio", Tokens(OutputAudio)),
        ],
        cached: Beside,
        reasoning: Beside,
        ..PLAIN
    },
    Reader {
        name: "opencode",
        any: &["tokens.cache.read", "tokens.cache.write"],
        own: &[
            ("tokens.input", Tokens(Input)),
            ("tokens.output", Tokens(Output)),
            ("tokens.reasoning", Tokens(Reasoning)),
            ("tokens.cache.read", Tokens(CacheRead)),
            ("tokens.cache.write", Tokens(CacheWrite)),
            ("cost", Unknown),
        ],
        cached: AlwaysBeside,
        reasoning: Beside,
        ..PLAIN
    },
    Reader {
        name: "gemini cli",
        any: &["tokens.input", "tokens.prompt", "tokens.candidates"],
        own: &[
            ("tokens.input", Tokens(Input)),
            ("tokens.prompt", Tokens(Input)),
            ("tokens.output", Tokens(Output)),
            ("tokens.candidates", Tokens(Output)),
            ("tokens.cached", Tokens(CacheRead)),
            ("tokens.thoughts", Tokens(Reasoning)),
            ("tokens.tool", Tokens(Tools)),
        ],
        reasoning: Beside,
        ..PLAIN
    },
    Reader {
        name: "cline",
        any: &["tokens_in", "tokens_out"],
        own: &[
            ("tokens_in", Tokens(Input)),
            ("tokens_out", Tokens(Output)),
            ("cache_reads", Tokens(CacheRead)),
            ("cache_writes", Tokens(CacheWrite)),
            ("cost", Unknown),
        ],
        cached: Beside,
        ..PLAIN
    },
    Reader {
        name: "openrouter generation",
        any: &["native_tokens_prompt"],
        own: &[
            ("native_tokens_prompt", Tokens(Input)),
            ("native_tokens_completion", Tokens(Output)),
            ("native_tokens_reasoning", Tokens(Reasoning)),
            ("native_tokens_cached", Tokens(CacheRead)),
            ("native_tokens_completion_images", Tokens(OutputImage)),
            ("tokens_prompt", Known),
            ("tokens_completion", Known),
            ("total_cost", Place::Cost(super::slot::Amount::Dollars)),
            ("upstream_inference_cost", Place::Cost(super::slot::Amount::Upstream)),
            ("search_results", Unknown),
        ],
        ..PLAIN
    },
    // What it charges for is told in credits of its own.
    Reader { name: "black forest labs", any: &["output_mp"], own: &[("cost", Unknown)], ..PLAIN },
    Reader {
        name: "lunary",
        all: &["prompt", "completion"],
        own: &[("prompt", Tokens(Input)), ("completion", Tokens(Output))],
        ..PLAIN
    },
    // Images that a vector was made of are counted as tokens, too.
    Reader { name: "alibaba vectors", all: &["image_tokens", "image_count"], own: &[("image_count", Known)], ..PLAIN },
    // The length is that of the speech that came out.
    Reader {
        name: "livekit speech",
        all: &["characters_count"],
        own: &[("characters_count", Quantity("input_characters")), ("audio_duration", Known)],
        ..PLAIN
    },
    Reader { name: "characters", any: &["characters", "total_characters"], own: CHARACTERS, ..PLAIN },
    Reader { name: "jina reader", all: &["tokens"], own: &[("tokens", Tokens(Total))], ..PLAIN },
    PLAIN,
];

const CHARACTERS: &[(&str, Place)] =
    &[("characters", Quantity("input_characters")), ("total_characters", Quantity("input_characters"))];

/// Asks for the prefix of a tracing convention.
pub const TRACED: &str = "@traced";
