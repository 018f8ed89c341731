//! The tokens of one call, split into parts that exclude each other.
//!
//! Counts arrive by the OpenTelemetry GenAI convention: input includes cached tokens, output includes reasoning. A
//! price applies to exclusive parts, so the inclusive counts are taken apart here, once.

use super::Part;
use super::breakdown::FRACTION_SCALE;
use super::part::Unit;
use crate::money::{AmountError, Rounding, parse_scaled};
use serde_json::{Map, Value};
use std::fmt;

const CACHE_READ: usize = 0;
const CACHE_READ_EXPLICIT: usize = 1;
const CACHE_READ_AUDIO: usize = 2;
const CACHE_READ_IMAGE: usize = 3;
const CACHE_CREATION: usize = 4;
const CACHE_CREATION_1H: usize = 5;
const CACHE_CREATION_12H: usize = 6;
const CACHE_CREATION_AUDIO: usize = 7;
const INPUT_AUDIO: usize = 8;
const INPUT_IMAGE: usize = 9;
const INPUT_VIDEO: usize = 10;
const REASONING: usize = 11;
const OUTPUT_AUDIO: usize = 12;
const OUTPUT_IMAGE: usize = 13;
const OUTPUT_VIDEO: usize = 14;

/// The keys of counts of tokens, each at the place that its name above says.
const TOKENS: [&str; 15] = [
    "cache_read_input_tokens",
    "explicit_cache_read_input_tokens",
    "cache_read_input_audio_tokens",
    "cache_read_input_image_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_creation_12h_input_tokens",
    "cache_creation_input_audio_tokens",
    "input_audio_tokens",
    "input_image_tokens",
    "input_video_tokens",
    "reasoning_output_tokens",
    "output_audio_tokens",
    "output_image_tokens",
    "output_video_tokens",
];

/// What else is counted, by key, where the key alone says which part it is.
const QUANTITIES: [(&str, Part); 21] = [
    ("input_characters", Part::InputCharacters),
    ("input_images", Part::InputImages),
    ("input_pixels", Part::InputPixels),
    ("input_seconds", Part::InputSeconds),
    ("input_audio_seconds", Part::InputAudioSeconds),
    ("input_video_seconds", Part::InputVideoSeconds),
    ("seconds", Part::Seconds),
    ("requests", Part::Requests),
    ("queries", Part::Queries),
    ("text_messages", Part::TextMessages),
    ("ocr_pages", Part::OcrPages),
    ("ocr_credits", Part::OcrCredits),
    ("annotation_pages", Part::AnnotationPages),
    ("citation_tokens", Part::CitationTokens),
    ("output_characters", Part::OutputCharacters),
    ("output_images", Part::OutputImages),
    ("output_pixels", Part::OutputPixels),
    ("output_seconds", Part::OutputSeconds),
    ("output_video_seconds", Part::OutputVideoSeconds),
    ("google_maps_requests", Part::GoogleMapsRequests),
    ("code_interpreter_sessions", Part::CodeInterpreterSessions),
];

const WEB_SEARCH: &str = "web_search_requests";
const SEARCH_SIZE: &str = "search_context_size";
const IMAGE_SIZE: &str = "output_image_size";
const RESOLUTION: &str = "output_resolution";
const MAX_RESULTS: &str = "max_results";
const GUARDRAIL: &str = "guardrail_units";
const REGION: &str = "inference_geo";
const SPEED: &str = "speed";
const RESIDENCY: &str = "data_residency";
const LOCATION: &str = "location";

/// Whether a key of a usage object says something that prices depend on.
pub fn is_known(key: &str) -> bool {
    let words =
        [WEB_SEARCH, SEARCH_SIZE, IMAGE_SIZE, RESOLUTION, MAX_RESULTS, GUARDRAIL, REGION, SPEED, RESIDENCY, LOCATION];
    TOKENS.contains(&key) || words.contains(&key) || QUANTITIES.iter().any(|(name, _)| *name == key)
}

/// The keys of a usage object that say something else than how many tokens, and whether each is a word.
pub fn known_keys() -> impl Iterator<Item = (&'static str, bool)> {
    let words = [SEARCH_SIZE, IMAGE_SIZE, RESOLUTION, REGION, SPEED, RESIDENCY, LOCATION];
    let counts = [WEB_SEARCH, MAX_RESULTS].into_iter().chain(QUANTITIES.iter().map(|(name, _)| *name));
    words.into_iter().map(|word| (word, true)).chain(counts.map(|name| (name, false)))
}

/// Whether a key counts in fractions.
pub fn has_fractions(key: &str) -> bool {
    let part = QUANTITIES.iter().find(|(name, _)| *name == key).map(|(_, part)| part.unit());
    matches!(part, Some(Unit::Fraction | Unit::ExtraFraction))
}

/// How many results a query asks for that does not say so.
const USUAL_RESULTS: i64 = 10;

const IMAGE_SIZES: [(&str, Part); 7] = [
    ("0.5k", Part::OutputImages05K),
    ("1k", Part::OutputImages1K),
    ("2k", Part::OutputImages2K),
    ("4k", Part::OutputImages4K),
    ("512", Part::OutputImages512),
    ("1024", Part::OutputImages1024),
    ("1536", Part::OutputImages1536),
];

const RESOLUTIONS: [(&str, Part); 6] = [
    ("480p", Part::OutputSeconds480p),
    ("720p", Part::OutputSeconds720p),
    ("768p", Part::OutputSeconds768p),
    ("1080p", Part::OutputSeconds1080p),
    ("2k", Part::OutputSeconds2k),
    ("4k", Part::OutputSeconds4k),
];

const SEARCH_SIZES: [(&str, Part); 3] =
    [("low", Part::WebSearchLow), ("medium", Part::WebSearchMedium), ("high", Part::WebSearchHigh)];

/// Why token counts were refused. Each prints as one sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// The usage parts are neither an object nor null.
    NotAnObject,
    /// A count is no JSON number.
    NotANumber { key: &'static str },
    /// A count is below zero.
    Negative { key: &'static str },
    /// A count has a fraction.
    NotWhole { key: &'static str },
    /// A count does not fit 64 bits.
    TooLarge { key: &'static str },
    /// What should be a word is none.
    NotAWord { key: &'static str },
    /// A word that has to be one of a few is another.
    UnknownWord { key: &'static str, words: &'static str },
    /// The units of a guardrail are no object of counts.
    NotUnits { key: &'static str },
    /// The parts add up to more than the whole that includes them.
    PartsExceed { whole: &'static str, tokens: i64, parts: Vec<(&'static str, i64)> },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("usage must be a JSON object"),
            Self::NotANumber { key } => write!(f, "{key} must be a number"),
            Self::Negative { key } => write!(f, "{key} must not be negative"),
            Self::NotWhole { key } => write!(f, "{key} must be a whole number"),
            Self::TooLarge { key } => write!(f, "{key} is too large"),
            Self::NotAWord { key } => write!(f, "{key} must be a string"),
            Self::UnknownWord { key, words } => write!(f, "{key} must be {words}"),
            Self::NotUnits { key } => write!(f, "{key} must be an object of counts"),
            Self::PartsExceed { whole, tokens, parts } => {
                write!(f, "{whole} is {tokens}, which is less than its parts")?;
                for (index, (key, count)) in parts.iter().enumerate() {
                    write!(f, "{} {key} ({count})", if index == 0 { "" } else { " and" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for UsageError {}

/// What one call used: tokens in exclusive, non-negative parts, whatever else is charged, and how it was served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    prompt: i64,
    completion: i64,
    /// Parts that are not zero, in the order of [`Part::ALL`]; fractions in millionths.
    parts: Vec<(Part, i64)>,
    /// Whether it was said how many output tokens are images or spoken, be it none.
    divides_output: bool,
    /// Queries and requests that were counted, be it as none.
    counted: [bool; 2],
    max_results: Option<i64>,
    region: Option<Box<str>>,
    speed: Option<Box<str>>,
    residency: Option<Box<str>>,
    location: Option<Box<str>>,
}

/// The counts of tokens of one usage object, zero where there is none.
struct Counts([Option<i64>; TOKENS.len()]);

impl Counts {
    fn of(&self, place: usize) -> (&'static str, i64) {
        (TOKENS[place], self.0[place].unwrap_or(0))
    }
}

impl Usage {
    /// Takes the counts of a call apart.
    ///
    /// `input_tokens` and `output_tokens` are inclusive. `parts` is an object with the keys of this module, null or
    /// absent. `cache_creation_input_tokens` includes those that are kept for an hour or longer. When it is missing, it
    /// is taken to be them alone. `cache_read_input_tokens` includes the explicit, audio and image ones in the same
    /// way. `input_audio_tokens` and its like are those that no cache had. Keys that are not known are ignored: the
    /// ledger stores the object as it came.
    pub fn new(input_tokens: i64, output_tokens: i64, parts: Option<&Value>) -> Result<Self, UsageError> {
        match parts {
            None | Some(Value::Null) => Self::of(input_tokens, output_tokens, &Map::new()),
            Some(Value::Object(object)) => Self::of(input_tokens, output_tokens, object),
            Some(_) => Err(UsageError::NotAnObject),
        }
    }

    /// The same of the parts' object.
    pub fn of(input_tokens: i64, output_tokens: i64, parts: &Map<String, Value>) -> Result<Self, UsageError> {
        Self::counted(input_tokens, output_tokens, &[], parts)
    }

    /// The same of tokens that were counted, by their keys, and an object of other parts.
    pub fn counted(
        input_tokens: i64,
        output_tokens: i64,
        tokens: &[(&str, i64)],
        parts: &Map<String, Value>,
    ) -> Result<Self, UsageError> {
        for (key, tokens) in [("input_tokens", input_tokens), ("output_tokens", output_tokens)] {
            if tokens < 0 {
                return Err(UsageError::Negative { key });
            }
        }
        let mut usage = Self { prompt: input_tokens, completion: output_tokens, ..Self::default() };
        usage.parts.reserve(tokens.len() + parts.len() + 2);
        let mut counts = usage.read(parts)?;
        for (key, count) in tokens {
            if let Some(place) = TOKENS.iter().position(|known| known == key) {
                counts.0[place] = Some(*count);
            }
        }
        usage.divides_output = counts.0[OUTPUT_IMAGE].is_some() || counts.0[OUTPUT_AUDIO].is_some();
        let beside = !usage.parts.is_empty();
        let of = |place| counts.of(place);
        let whole = |place: usize, parts: &[(&'static str, i64)]| {
            let sum = || parts.iter().fold(0_i64, |sum, part| sum.saturating_add(part.1));
            let all = (TOKENS[place], counts.0[place].unwrap_or_else(sum));
            Ok((all, rest(all, parts)?))
        };
        let written = [of(CACHE_CREATION_1H), of(CACHE_CREATION_12H), of(CACHE_CREATION_AUDIO)];
        let (creation, five_minutes) = whole(CACHE_CREATION, &written)?;
        let read = [of(CACHE_READ_EXPLICIT), of(CACHE_READ_AUDIO), of(CACHE_READ_IMAGE)];
        let (cache_read, plain_read) = whole(CACHE_READ, &read)?;
        let media = [of(INPUT_AUDIO), of(INPUT_IMAGE), of(INPUT_VIDEO)];
        let text_in = rest(("input_tokens", input_tokens), &[cache_read, creation, media[0], media[1], media[2]])?;
        let outputs = [of(REASONING), of(OUTPUT_AUDIO), of(OUTPUT_IMAGE), of(OUTPUT_VIDEO)];
        let text_out = rest(("output_tokens", output_tokens), &outputs)?;
        for (part, tokens) in [
            (Part::Input, text_in),
            (Part::CacheRead, plain_read),
            (Part::CacheReadExplicit, read[0].1),
            (Part::CacheReadAudio, read[1].1),
            (Part::CacheReadImage, read[2].1),
            (Part::CacheCreation, five_minutes),
            (Part::CacheCreation1h, written[0].1),
            (Part::CacheCreation12h, written[1].1),
            (Part::CacheCreationAudio, written[2].1),
            (Part::InputAudio, media[0].1),
            (Part::InputImage, media[1].1),
            (Part::InputVideo, media[2].1),
            (Part::Output, text_out),
            (Part::ReasoningOutput, outputs[0].1),
            (Part::OutputAudio, outputs[1].1),
            (Part::OutputImage, outputs[2].1),
            (Part::OutputVideo, outputs[3].1),
        ] {
            usage.add(part, tokens);
        }
        // Tokens come after what `read` has found beside them, and before it in the order of all parts.
        if beside {
            usage.parts.sort_by_key(|(part, _)| *part as usize);
        }
        Ok(usage)
    }

    fn add(&mut self, part: Part, amount: i64) {
        if amount > 0 {
            self.parts.push((part, amount));
        }
    }

    /// Reads what is known of the object: everything but tokens into place, tokens as they were counted.
    fn read(&mut self, object: &Map<String, Value>) -> Result<Counts, UsageError> {
        let mut counts = Counts([None; TOKENS.len()]);
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let key = key.as_str();
            // What is said elsewhere.
            if matches!(key, "input_tokens" | "output_tokens" | "service_tier") {
                continue;
            }
            if let Some(place) = TOKENS.iter().position(|known| *known == key) {
                counts.0[place] = Some(count(value, TOKENS[place], 0)?);
            } else if let Some((key, part)) = QUANTITIES.iter().find(|(known, _)| *known == key) {
                let part = match part {
                    Part::OutputImages => sized(object, IMAGE_SIZE, &IMAGE_SIZES)?.unwrap_or(*part),
                    Part::OutputSeconds => sized(object, RESOLUTION, &RESOLUTIONS)?.unwrap_or(*part),
                    part => *part,
                };
                match part {
                    Part::Queries => self.counted[0] = true,
                    Part::Requests => self.counted[1] = true,
                    _ => {}
                }
                let fraction = matches!(part.unit(), Unit::Fraction | Unit::ExtraFraction);
                self.add(part, count(value, key, if fraction { FRACTION_SCALE } else { 0 })?);
            } else {
                self.read_word(object, key, value)?;
            }
        }
        Ok(counts)
    }

    fn read_word(&mut self, object: &Map<String, Value>, key: &str, value: &Value) -> Result<(), UsageError> {
        let text = |key| value.as_str().map(|text| Some(text.into())).ok_or(UsageError::NotAWord { key });
        match key {
            WEB_SEARCH => {
                let unknown = UsageError::UnknownWord { key: SEARCH_SIZE, words: "low, medium or high" };
                let part = match object.get(SEARCH_SIZE) {
                    None | Some(Value::Null) => Part::WebSearchMedium,
                    Some(_) => sized(object, SEARCH_SIZE, &SEARCH_SIZES)?.ok_or(unknown)?,
                };
                self.add(part, count(value, WEB_SEARCH, 0)?);
            }
            GUARDRAIL => {
                let units = value.as_object().ok_or(UsageError::NotUnits { key: GUARDRAIL })?;
                for (name, value) in units {
                    let named = |part: &Part| part.price_key().strip_prefix("guardrail_cost_per_unit.") == Some(name);
                    let part = Part::ALL.into_iter().find(named).ok_or(UsageError::NotUnits { key: GUARDRAIL })?;
                    self.add(part, count(value, GUARDRAIL, 0)?);
                }
            }
            MAX_RESULTS => self.max_results = Some(count(value, MAX_RESULTS, 0)?),
            REGION => self.region = text(REGION)?,
            SPEED => self.speed = text(SPEED)?,
            RESIDENCY => self.residency = text(RESIDENCY)?,
            LOCATION => self.location = text(LOCATION)?,
            _ => {}
        }
        Ok(())
    }

    /// All input tokens, cached ones included: what context thresholds are measured by.
    pub fn input_tokens(&self) -> i64 {
        self.prompt
    }

    /// All output tokens, reasoning included.
    #[cfg(test)]
    pub fn output_tokens(&self) -> i64 {
        self.completion
    }

    /// The exclusive parts that are not zero, in the order of [`Part::ALL`].
    pub fn parts(&self) -> impl Iterator<Item = (Part, i64)> + '_ {
        self.parts.iter().copied()
    }

    /// How much of a part there is.
    pub fn amount(&self, part: Part) -> i64 {
        self.parts.iter().find(|(own, _)| *own == part).map_or(0, |(_, amount)| *amount)
    }

    /// Whether output tokens that are images or spoken were told from others.
    pub(super) fn divides_output(&self) -> bool {
        self.divides_output
    }

    /// Whether anything but tokens was counted. It would come last.
    pub(super) fn has_other_measures(&self) -> bool {
        self.parts.last().is_some_and(|(part, _)| part.unit() != Unit::Token)
    }

    /// Whether queries or requests were counted. Otherwise a call is one.
    pub(super) fn counts(&self, part: Part) -> bool {
        match part {
            Part::Queries => self.counted[0],
            Part::Requests => self.counted[1],
            _ => true,
        }
    }

    pub(super) fn max_results(&self) -> i64 {
        self.max_results.unwrap_or(USUAL_RESULTS)
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    pub(super) fn is_fast(&self) -> bool {
        self.speed.as_deref().is_some_and(|speed| speed.eq_ignore_ascii_case("fast"))
    }

    pub(super) fn residency(&self) -> Option<&str> {
        self.residency.as_deref()
    }

    /// Whether it was served at another endpoint than the global one.
    pub(super) fn is_regional(&self) -> bool {
        self.location.as_deref().is_some_and(|location| !location.eq_ignore_ascii_case("global"))
    }
}

/// The part that a size stands for, by its name in any case; `None` for a size without a price of its own.
fn sized(object: &Map<String, Value>, key: &'static str, sizes: &[(&str, Part)]) -> Result<Option<Part>, UsageError> {
    let size = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(size)) => size,
        Some(_) => return Err(UsageError::NotAWord { key }),
    };
    Ok(sizes.iter().find(|(name, _)| size.eq_ignore_ascii_case(name)).map(|(_, part)| *part))
}

/// Reads one count, in units of 10^-scale. `1e3` and `5.0` are whole numbers, as JSON has only one kind of number. Beyond
/// a millionth a fraction is rounded half-even.
fn count(value: &Value, key: &'static str, scale: u32) -> Result<i64, UsageError> {
    let Value::Number(number) = value else { return Err(UsageError::NotANumber { key }) };
    // Nearly all of them.
    if scale == 0
        && let Some(count) = number.as_i64().filter(|count| *count >= 0)
    {
        return Ok(count);
    }
    let rounding = if scale == 0 { Rounding::Exact } else { Rounding::HalfEven };
    let tokens = parse_scaled(number.as_str(), scale, rounding).map_err(|error| match error {
        AmountError::Negative => UsageError::Negative { key },
        AmountError::TooPrecise => UsageError::NotWhole { key },
        AmountError::TooLarge => UsageError::TooLarge { key },
        AmountError::Malformed | AmountError::NaN | AmountError::Infinite => UsageError::NotANumber { key },
    })?;
    i64::try_from(tokens).map_err(|_| UsageError::TooLarge { key })
}

/// What is left of the whole without its parts; the error names those parts that are not zero.
fn rest(whole: (&'static str, i64), parts: &[(&'static str, i64)]) -> Result<i64, UsageError> {
    let left = parts.iter().try_fold(whole.1, |left, part| left.checked_sub(part.1).filter(|left| *left >= 0));
    left.ok_or_else(|| UsageError::PartsExceed {
        whole: whole.0,
        tokens: whole.1,
        parts: parts.iter().copied().filter(|part| part.1 > 0).collect(),
    })
}
