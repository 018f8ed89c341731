//! The parts of a call that can have prices of their own: every component of LiteLLM's price list.

use super::Side;

/// How a part is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Tokens of the call's input or output: every token is in exactly one such part.
    Token,
    /// Whole things of another measure of the same work. One that has no price is not charged, so long as another is.
    Other,
    /// The same in fractions, to a millionth.
    Fraction,
    /// Whole things that are charged beside the work. One that has no price leaves the call unpriced.
    Extra,
    /// The same in fractions, to a millionth.
    ExtraFraction,
}

macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident = $name:literal, $key:literal, $side:ident, $unit:ident $(, else $fallback:ident)?;)*) => {
        /// A part. What excludes what is said in [`super::Usage`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Part { $($(#[$doc])* $part,)* }

        impl Part {
            /// All parts, in the order in which a breakdown lists them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$part),*];

            /// The component's name in a breakdown.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$part => $name),* }
            }

            /// The key of its standard price in LiteLLM's list, in USD for one.
            pub(super) fn price_key(self) -> &'static str {
                match self { $(Self::$part => $key),* }
            }

            /// The side of the call that the part belongs to.
            pub fn side(self) -> Side {
                match self { $(Self::$part => Side::$side),* }
            }

            pub(super) fn unit(self) -> Unit {
                match self { $(Self::$part => Unit::$unit),* }
            }

            /// The part whose price applies when this one has none.
            pub(super) fn fallback(self) -> Option<Self> {
                match self { $(Self::$part => parts!(@ $($fallback)?)),* }
            }
        }
    };
    (@) => { None };
    (@ $fallback:ident) => { Some(Self::$fallback) };
}

parts! {
    /// Text input that was neither read from nor written to a cache.
    Input = "input", "input_cost_per_token", Input, Token;
    /// Input read from a prompt cache.
    CacheRead = "cache_read", "cache_read_input_token_cost", Input, Token, else Input;
    /// Input read from a cache that the caller made.
    CacheReadExplicit = "cache_read_explicit", "explicit_cache_read_input_token_cost", Input, Token, else CacheRead;
    CacheReadAudio = "cache_read_audio", "cache_read_input_audio_token_cost", Input, Token, else CacheRead;
    CacheReadImage = "cache_read_image", "cache_read_input_image_token_cost", Input, Token, else CacheRead;
    /// Input written to a prompt cache for its usual time, five minutes at Anthropic.
    CacheCreation = "cache_creation", "cache_creation_input_token_cost", Input, Token, else Input;
    /// Input written to a prompt cache for one hour.
    CacheCreation1h = "cache_creation_1h", "cache_creation_input_token_cost_above_1hr", Input, Token, else CacheCreation;
    CacheCreation12h = "cache_creation_12h", "cache_creation_input_token_cost_above_12hr", Input, Token, else CacheCreation;
    CacheCreationAudio = "cache_creation_audio", "cache_creation_input_audio_token_cost", Input, Token, else CacheCreation;
    InputAudio = "input_audio", "input_cost_per_audio_token", Input, Token, else Input;
    InputImage = "input_image", "input_cost_per_image_token", Input, Token, else Input;
    InputVideo = "input_video", "input_cost_per_video_token", Input, Token, else Input;
    /// Text output.
    Output = "output", "output_cost_per_token", Output, Token;
    /// Output that the model kept to itself.
    ReasoningOutput = "reasoning_output", "output_cost_per_reasoning_token", Output, Token, else Output;
    OutputAudio = "output_audio", "output_cost_per_audio_token", Output, Token, else Output;
    OutputImage = "output_image", "output_cost_per_image_token", Output, Token, else Output;
    OutputVideo = "output_video", "output_cost_per_video_token", Output, Token, else Output;

    InputCharacters = "input_characters", "input_cost_per_character", Input, Other;
    InputImages = "input_images", "input_cost_per_image", Input, Other;
    InputPixels = "input_pixels", "input_cost_per_pixel", Input, Other;
    InputSeconds = "input_seconds", "input_cost_per_second", Input, Fraction;
    InputAudioSeconds = "input_audio_seconds", "input_cost_per_audio_per_second", Input, Fraction, else InputSeconds;
    InputVideoSeconds = "input_video_seconds", "input_cost_per_video_per_second", Input, Fraction, else InputSeconds;
    /// Of the whole call.
    Seconds = "seconds", "cost_per_second", Output, Fraction;
    /// One, unless the caller says otherwise.
    Requests = "requests", "input_cost_per_request", Input, Other;
    /// One, unless the caller says otherwise.
    Queries = "queries", "input_cost_per_query", Input, Other;
    TextMessages = "text_messages", "input_cost_per_text_message", Input, Extra;
    OcrPages = "ocr_pages", "ocr_cost_per_page", Input, Extra;
    OcrCredits = "ocr_credits", "ocr_cost_per_credit", Input, ExtraFraction;
    AnnotationPages = "annotation_pages", "annotation_cost_per_page", Input, Extra;
    /// Tokens of cited sources, which are not among the input tokens.
    CitationTokens = "citation_tokens", "citation_cost_per_token", Input, Extra;

    OutputCharacters = "output_characters", "output_cost_per_character", Output, Other;
    OutputImages = "output_images", "output_cost_per_image", Output, Other;
    OutputImages05K = "output_images_0.5k", "output_cost_per_image_0.5K", Output, Other, else OutputImages;
    OutputImages1K = "output_images_1k", "output_cost_per_image_1K", Output, Other, else OutputImages;
    OutputImages2K = "output_images_2k", "output_cost_per_image_2K", Output, Other, else OutputImages;
    OutputImages4K = "output_images_4k", "output_cost_per_image_4K", Output, Other, else OutputImages;
    OutputImages512 = "output_images_512", "output_cost_per_image_512", Output, Other, else OutputImages;
    OutputImages1024 = "output_images_1024", "output_cost_per_image_1024", Output, Other, else OutputImages;
    OutputImages1536 = "output_images_1536", "output_cost_per_image_1536", Output, Other, else OutputImages;
    OutputPixels = "output_pixels", "output_cost_per_pixel", Output, Other;
    OutputSeconds = "output_seconds", "output_cost_per_second", Output, Fraction;
    OutputSeconds480p = "output_seconds_480p", "output_cost_per_second_480p", Output, Fraction, else OutputSeconds;
    OutputSeconds720p = "output_seconds_720p", "output_cost_per_second_720p", Output, Fraction, else OutputSeconds;
    OutputSeconds768p = "output_seconds_768p", "output_cost_per_second_768p", Output, Fraction, else OutputSeconds;
    OutputSeconds1080p = "output_seconds_1080p", "output_cost_per_second_1080p", Output, Fraction, else OutputSeconds;
    OutputSeconds2k = "output_seconds_2k", "output_cost_per_second_2k", Output, Fraction, else OutputSeconds;
    OutputSeconds4k = "output_seconds_4k", "output_cost_per_second_4k", Output, Fraction, else OutputSeconds;
    OutputVideoSeconds = "output_video_seconds", "output_cost_per_video_per_second", Output, Fraction, else OutputSeconds;

    WebSearchLow = "web_search_low", "search_context_cost_per_query.search_context_size_low", Output, Extra;
    WebSearchMedium = "web_search_medium", "search_context_cost_per_query.search_context_size_medium", Output, Extra;
    WebSearchHigh = "web_search_high", "search_context_cost_per_query.search_context_size_high", Output, Extra;
    GoogleMapsRequests = "google_maps_requests", "google_maps_grounding_cost_per_query", Output, Extra;
    CodeInterpreterSessions = "code_interpreter_sessions", "code_interpreter_cost_per_session", Output, Extra;
    GuardrailContentUnits = "guardrail_content_units", "guardrail_cost_per_unit.contentPolicyUnits", Input, Extra;
    GuardrailContentImageUnits = "guardrail_content_image_units", "guardrail_cost_per_unit.contentPolicyImageUnits", Input, Extra;
    GuardrailTopicUnits = "guardrail_topic_units", "guardrail_cost_per_unit.topicPolicyUnits", Input, Extra;
    GuardrailWordUnits = "guardrail_word_units", "guardrail_cost_per_unit.wordPolicyUnits", Input, Extra;
    GuardrailSensitiveUnits = "guardrail_sensitive_units", "guardrail_cost_per_unit.sensitiveInformationPolicyUnits", Input, Extra;
    GuardrailSensitiveFreeUnits = "guardrail_sensitive_free_units", "guardrail_cost_per_unit.sensitiveInformationPolicyFreeUnits", Input, Extra;
    GuardrailGroundingUnits = "guardrail_grounding_units", "guardrail_cost_per_unit.contextualGroundingPolicyUnits", Input, Extra;
    GuardrailReasoningUnits = "guardrail_reasoning_units", "guardrail_cost_per_unit.automatedReasoningPolicyUnits", Input, Extra;
}

impl Part {
    /// The parts that make up a call's input tokens, or its output tokens.
    #[cfg(test)]
    pub(super) fn tokens(side: Side) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |part| part.unit() == Unit::Token && part.side() == side)
    }

    /// The part of another measure that is charged in place of this one, when it is reported and has a price.
    pub(super) fn replaced_by(self) -> &'static [Self] {
        match self {
            Self::Input => &[Self::InputCharacters],
            Self::InputImage => &[Self::InputImages],
            Self::InputAudio => &[Self::InputAudioSeconds],
            Self::InputVideo => &[Self::InputVideoSeconds],
            Self::Output => &[Self::OutputCharacters],
            Self::OutputImage => &[
                Self::OutputImages,
                Self::OutputImages05K,
                Self::OutputImages1K,
                Self::OutputImages2K,
                Self::OutputImages4K,
                Self::OutputImages512,
                Self::OutputImages1024,
                Self::OutputImages1536,
            ],
            Self::OutputVideo => &[Self::OutputVideoSeconds],
            _ => &[],
        }
    }
}
