//! The tokens of one call, split into parts that exclude each other.
//!
//! Counts arrive by the OpenTelemetry GenAI convention: input includes cached tokens, output includes reasoning. A
//! price applies to exclusive parts, so the inclusive counts are taken apart here, once.

use super::Part;
use crate::money::{AmountError, Rounding, parse_scaled};
use serde_json::{Map, Value};
use std::fmt;

const CACHE_READ: &str = "cache_read_input_tokens";
const CACHE_CREATION: &str = "cache_creation_input_tokens";
const CACHE_CREATION_1H: &str = "cache_creation_1h_input_tokens";
const INPUT_AUDIO: &str = "input_audio_tokens";
const INPUT_IMAGE: &str = "input_image_tokens";
const REASONING: &str = "reasoning_output_tokens";
const OUTPUT_AUDIO: &str = "output_audio_tokens";
const OUTPUT_IMAGE: &str = "output_image_tokens";

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

/// Token counts of one call in exclusive, non-negative parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    prompt: i64,
    completion: i64,
    parts: [i64; Part::ALL.len()],
}

impl Usage {
    /// Takes the counts of a call apart.
    ///
    /// `input_tokens` and `output_tokens` are inclusive. `parts` is an object with the keys of this module, null or
    /// absent. `cache_creation_input_tokens` includes those that are kept for an hour and is taken to be them alone
    /// when it is missing. Keys that are not known are ignored: the ledger stores the object as it came.
    pub fn new(input_tokens: i64, output_tokens: i64, parts: Option<&Value>) -> Result<Self, UsageError> {
        for (key, tokens) in [("input_tokens", input_tokens), ("output_tokens", output_tokens)] {
            if tokens < 0 {
                return Err(UsageError::Negative { key });
            }
        }
        let none = Map::new();
        let object = match parts {
            None | Some(Value::Null) => &none,
            Some(Value::Object(object)) => object,
            Some(_) => return Err(UsageError::NotAnObject),
        };
        let read = |key| Ok((key, count(object, key)?.unwrap_or(0)));

        let hour = read(CACHE_CREATION_1H)?;
        let creation = (CACHE_CREATION, count(object, CACHE_CREATION)?.unwrap_or(hour.1));
        let five_minutes = rest(creation, &[hour])?;
        let (cache_read, audio_in, image_in) = (read(CACHE_READ)?, read(INPUT_AUDIO)?, read(INPUT_IMAGE)?);
        let text_in = rest(("input_tokens", input_tokens), &[cache_read, creation, audio_in, image_in])?;
        let (reasoning, audio_out, image_out) = (read(REASONING)?, read(OUTPUT_AUDIO)?, read(OUTPUT_IMAGE)?);
        let text_out = rest(("output_tokens", output_tokens), &[reasoning, audio_out, image_out])?;

        let tokens = |part| match part {
            Part::Input => text_in,
            Part::CacheRead => cache_read.1,
            Part::CacheCreation => five_minutes,
            Part::CacheCreation1h => hour.1,
            Part::InputAudio => audio_in.1,
            Part::InputImage => image_in.1,
            Part::Output => text_out,
            Part::ReasoningOutput => reasoning.1,
            Part::OutputAudio => audio_out.1,
            Part::OutputImage => image_out.1,
        };
        Ok(Self { prompt: input_tokens, completion: output_tokens, parts: Part::ALL.map(tokens) })
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

    /// The exclusive parts with their token counts, zeros included, in the order of [`Part::ALL`].
    pub fn parts(&self) -> impl Iterator<Item = (Part, i64)> + '_ {
        Part::ALL.into_iter().zip(self.parts)
    }
}

/// Reads one count; null is the same as no key. `1e3` and `5.0` are whole numbers, as JSON has only one kind of number.
fn count(object: &Map<String, Value>, key: &'static str) -> Result<Option<i64>, UsageError> {
    let number = match object.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(UsageError::NotANumber { key }),
    };
    let tokens = parse_scaled(&number, 0, Rounding::Exact).map_err(|error| match error {
        AmountError::Negative => UsageError::Negative { key },
        AmountError::TooPrecise => UsageError::NotWhole { key },
        AmountError::TooLarge => UsageError::TooLarge { key },
        AmountError::Malformed | AmountError::NaN | AmountError::Infinite => UsageError::NotANumber { key },
    })?;
    i64::try_from(tokens).map(Some).map_err(|_| UsageError::TooLarge { key })
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
