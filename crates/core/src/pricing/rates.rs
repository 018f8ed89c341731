//! The price of a model: exact rates by part, context threshold, service tier and hour.

use super::names::{canonical, family};
use super::off_peak::OffPeak;
use super::part::Unit;
use super::price_key::{CACHE_HIT, PriceError, Tier, factor, number, parse_key, read_object, shape, whole};
use super::{Factor, Multiplier, Part, Rate, Side, Usage};
use crate::json::Exact;
use crate::money::{AmountError, Rounding, parse_scaled};
use serde::Deserialize;
use serde_json::Value;

/// Under what conditions a call is priced, apart from its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conditions {
    pub tier: Tier,
    pub off_peak: bool,
}

/// One price of a part: in force with more than `above` prompt tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    part: Part,
    tier: Tier,
    above: Option<i64>,
    rate: Rate,
}

/// Prices in force with more than `over` prompt tokens, up to the next band, in place of those of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Band {
    over: i64,
    rates: Vec<(Part, Rate)>,
}

/// When a multiplier of a model applies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    /// The call was served in this region (`inference_geo`).
    Geo(String),
    /// At this `speed`: `fast`.
    Fast,
    /// In this `data_residency`: `eu`, `us` or `fedramp`.
    Residency(&'static str),
    /// At an endpoint (`location`) that is not global.
    Endpoint,
}

/// Keys of the list that are multipliers.
const MULTIPLIERS: [(&str, When); 4] = [
    ("regional_processing_uplift_multiplier_eu", When::Residency("eu")),
    ("regional_processing_uplift_multiplier_us", When::Residency("us")),
    ("fedramp_uplift_multiplier", When::Residency("fedramp")),
    ("regional_endpoint_uplift_multiplier", When::Endpoint),
];

/// Keys of the list that say something of prices and take no part in any. They are prices in the provider's own units
/// beside those in USD, and allowances that many calls share.
const INFORMATIVE: [&str; 3] = ["input_dbu_cost_per_token", "output_dbu_cost_per_token", "search_free_requests"];

/// What a web search is billed by: each query, or each prompt that searched, however often.
const SEARCH_UNIT: &str = "web_search_billing_unit";

/// What a model costs: every price component that this version understands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelPrice {
    entries: Vec<Entry>,
    bands: Vec<Band>,
    off_peak: Option<Box<OffPeak>>,
    /// A query's price where it depends on how many results were asked for: from so many on.
    by_results: Vec<(i64, Rate)>,
    /// The price of a second of video in one that is longer than so many seconds.
    by_length: Vec<(i64, Rate)>,
    multipliers: Vec<(When, Factor)>,
    /// The parts that have a price of their own, at whatever condition, in the order of all; kept for looking through.
    own: Vec<Part>,
    /// The context thresholds of all parts, in tokens, rising.
    thresholds: Vec<i64>,
    /// Whether web search is billed by the prompt, where the price says.
    search_per_prompt: Option<bool>,
    /// What output is that the report does not divide, where it is no text.
    undivided_output: Option<Part>,
    /// Whether a threshold is reached by a prompt of just its length, as xAI has it.
    pub inclusive: bool,
    /// What the list says of the longest answer, in tokens.
    pub max_output_tokens: Option<i64>,
    /// Component keys that take no part in pricing, in the order of the object.
    pub unknown: Vec<String>,
}

impl ModelPrice {
    /// Builds a price from USD per million tokens and from components under LiteLLM's key names. Components are USD per
    /// unit; nested ones are as the list has them.
    ///
    /// `components` is an object or null; a component that is null is missing. Unknown keys are kept by name.
    pub fn new(
        input_per_million: Option<&str>,
        output_per_million: Option<&str>,
        components: &Value,
    ) -> Result<Self, PriceError> {
        let mut price = Self::default();
        let object = match components {
            Value::Null => None,
            Value::Object(object) => Some(object),
            _ => return Err(PriceError::NotAnObject),
        };
        for (key, value) in object.into_iter().flatten() {
            price.add_component(key, value)?;
        }
        price.bands.sort_by_key(|band| band.over);
        price.by_results.sort_by_key(|band| band.0);
        price.by_length.sort_by_key(|band| band.0);
        price.add_per_million(Part::Input, ("input_per_million_usd", "input_cost_per_token"), input_per_million)?;
        price.add_per_million(Part::Output, ("output_per_million_usd", "output_cost_per_token"), output_per_million)?;
        price.own = Part::ALL.into_iter().filter(|part| price.own_parts().any(|own| own == *part)).collect();
        let bands = price.bands.iter().map(|band| band.over);
        price.thresholds = price.entries.iter().filter_map(|entry| entry.above).chain(bands).collect();
        price.thresholds.sort_unstable();
        price.thresholds.dedup();
        Ok(price)
    }

    /// Adds what follows from the model's provider, and from the `mode` that the list gives it.
    pub fn describe(&mut self, provider: &str, name: &str, mode: Option<&str>) {
        let provider = canonical(provider);
        self.inclusive = provider == "xai";
        let is_google = matches!(family(&provider), "gemini" | "vertex_ai");
        // Google bills the searches of a prompt once up to Gemini 2; of later models the list says what it bills.
        let lower = name.to_lowercase();
        if let Some((_, version)) = lower.split_once("gemini").filter(|_| is_google && self.search_per_prompt.is_none())
        {
            let major = version.chars().find(char::is_ascii_digit);
            self.search_per_prompt = Some(major.is_none_or(|major| major < '3'));
        }
        // The endpoints of images answer with undivided output, which is images, and those of speech with what is spoken.
        // Google divides what is.
        let undivided = match mode {
            Some("image_generation" | "image_edit") => Some(Part::OutputImage),
            Some("audio_speech") => Some(Part::OutputAudio),
            _ => None,
        };
        self.undivided_output = undivided.filter(|part| self.has(*part) && !(is_google && self.has(Part::Output)));
    }

    /// A part and its amount as the model bills them.
    pub(super) fn as_billed(&self, part: Part, amount: i64, usage: &Usage) -> (Part, i64) {
        match part {
            Part::Output if !usage.divides_output() => (self.undivided_output.unwrap_or(part), amount),
            Part::WebSearchLow | Part::WebSearchMedium | Part::WebSearchHigh
                if self.search_per_prompt == Some(true) =>
            {
                (part, amount.min(usage.amount(Part::Requests).max(1)))
            }
            _ => (part, amount),
        }
    }

    fn add_component(&mut self, key: &str, value: &Value) -> Result<(), PriceError> {
        if value.is_null() || INFORMATIVE.contains(&key) {
            return Ok(());
        }
        match key {
            "search_context_cost_per_query" | "guardrail_cost_per_unit" => {
                let object = value.as_object().ok_or_else(|| shape(key, "an object of prices"))?;
                for (inner, value) in object {
                    let path = format!("{key}.{inner}");
                    match Part::ALL.into_iter().find(|part| part.price_key() == path) {
                        Some(part) => self.add_entry(part, Tier::Standard, None, &path, value)?,
                        None => self.unknown.push(path),
                    }
                }
            }
            "tiered_pricing" => {
                let list = value.as_array().ok_or_else(|| shape(key, "a list of ranges"))?;
                let ranges = list.iter().map(|band| self.add_band(key, band)).collect::<Result<Vec<_>, _>>()?;
                if overlap(ranges) {
                    return Err(shape(key, "a list of ranges that do not overlap"));
                }
            }
            "off_peak_pricing" => {
                let object = value.as_object().ok_or_else(|| shape(key, "an object"))?;
                let (off_peak, unknown) = OffPeak::new(key, object)?;
                self.unknown.extend(unknown);
                self.off_peak = Some(Box::new(off_peak));
            }
            SEARCH_UNIT => self.search_per_prompt = Some(value.as_str() == Some("per_prompt")),
            "provider_specific_entry" => {
                let object = value.as_object().ok_or_else(|| shape(key, "an object"))?;
                for (inner, value) in object {
                    self.add_provider_entry(key, inner, value)?;
                }
            }
            _ => self.add_scalar(key, value)?,
        }
        Ok(())
    }

    fn add_scalar(&mut self, key: &str, value: &Value) -> Result<(), PriceError> {
        if let Some((_, when)) = MULTIPLIERS.iter().find(|(name, _)| *name == key) {
            self.multipliers.push((when.clone(), factor(key, value)?));
            return Ok(());
        }
        let video = Part::InputVideoSeconds.price_key();
        if let Some(seconds) =
            key.strip_prefix(video).and_then(|key| key.strip_prefix("_above_")?.strip_suffix("s_interval"))
            && let Some(seconds) = whole(seconds)
        {
            self.by_length.push((seconds, number(key, value)?));
            return Ok(());
        }
        match parse_key(key) {
            Some((part, above, tier)) => self.add_entry(part, tier, above, key, value),
            None => {
                self.unknown.push(key.to_owned());
                Ok(())
            }
        }
    }

    fn add_entry(
        &mut self,
        part: Part,
        tier: Tier,
        above: Option<i64>,
        key: &str,
        value: &Value,
    ) -> Result<(), PriceError> {
        if value.is_null() {
            return Ok(());
        }
        let rate = number(key, value)?;
        // Of two names for one price the present one goes first, whatever their order.
        let known = self.entries.iter_mut().find(|e| (e.part, e.above, e.tier) == (part, above, tier));
        match known {
            Some(_) if key.starts_with(CACHE_HIT) => {}
            Some(entry) => entry.rate = rate,
            None => self.entries.push(Entry { part, above, tier, rate }),
        }
        Ok(())
    }

    /// One element of `tiered_pricing`: prices within a range of prompt tokens, or of the results of a query. Gives what
    /// the range is of, and the range.
    fn add_band(&mut self, key: &str, band: &Value) -> Result<(Part, Range), PriceError> {
        let needs = "a list of objects, each with prices and a range [from, to] of whole numbers, from below to";
        let ranges: Ranges = read_object(key, band, needs)?;
        let prices = band.as_object().into_iter().flatten();
        let prices = prices.filter(|(inner, _)| !["range", "max_results_range"].contains(&inner.as_str()));
        match (ranges.range, ranges.max_results_range) {
            (Some(range), None) => {
                let mut band = Band { over: range.from, rates: Vec::new() };
                for (inner, value) in prices {
                    match parse_key(inner) {
                        Some((part, None, Tier::Standard)) => band.rates.push((part, number(inner, value)?)),
                        _ => self.unknown.push(format!("{key}.{inner}")),
                    }
                }
                self.bands.push(band);
                Ok((Part::Input, range))
            }
            (None, Some(range)) => {
                for (inner, value) in prices {
                    if inner == Part::Queries.price_key() {
                        self.by_results.push((range.from, number(inner, value)?));
                    } else {
                        self.unknown.push(format!("{key}.{inner}"));
                    }
                }
                Ok((Part::Queries, range))
            }
            _ => Err(shape(key, needs)),
        }
    }

    /// Numbers under the names of regions and of the fast speed are multipliers. All else there is no price.
    fn add_provider_entry(&mut self, key: &str, inner: &str, value: &Value) -> Result<(), PriceError> {
        if value.is_number() && inner.len() <= 12 && inner.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        {
            let when = if inner == "fast" { When::Fast } else { When::Geo(inner.to_owned()) };
            self.multipliers.push((when, factor(&format!("{key}.{inner}"), value)?));
        }
        Ok(())
    }

    fn add_per_million(
        &mut self,
        part: Part,
        (per_million, key): (&'static str, &'static str),
        text: Option<&str>,
    ) -> Result<(), PriceError> {
        let Some(text) = text else { return Ok(()) };
        if self.entry(part, None, Tier::Standard).is_some() {
            return Err(PriceError::Twice { per_million, key });
        }
        let rate = Rate::parse_per_million(text)
            .map_err(|error| PriceError::Amount { key: per_million.to_string(), error })?;
        self.entries.push(Entry { part, above: None, tier: Tier::Standard, rate });
        Ok(())
    }

    fn entry(&self, part: Part, above: Option<i64>, tier: Tier) -> Option<Rate> {
        let found = self.entries.iter().find(|entry| (entry.part, entry.above, entry.tier) == (part, above, tier));
        found.map(|entry| entry.rate)
    }

    /// The parts that have a price of their own, with repetitions.
    fn own_parts(&self) -> impl Iterator<Item = Part> + '_ {
        let off_peak = self.off_peak.iter().flat_map(|off_peak| off_peak.parts());
        let bands = self.bands.iter().flat_map(|band| &band.rates).map(|(part, _)| *part);
        let by_results = self.by_results.iter().map(|_| Part::Queries);
        let by_length = self.by_length.iter().map(|_| Part::InputVideoSeconds);
        self.entries.iter().map(|entry| entry.part).chain(bands).chain(off_peak).chain(by_results).chain(by_length)
    }

    /// Whether tokens have prices; else something else is what a call is paid by.
    pub(super) fn prices_tokens(&self) -> bool {
        self.own.iter().any(|part| part.unit() == Unit::Token)
    }

    /// Whether a part has a price of its own.
    pub(super) fn has(&self, part: Part) -> bool {
        self.own.contains(&part)
    }

    /// Some part that a call is paid by; `None` when nothing has a price, so that not even zero tokens can be called free.
    pub(super) fn first_part(&self) -> Option<Part> {
        self.own.first().copied()
    }

    /// The token parts of a side that may have another price than the plain one.
    pub(super) fn token_parts(&self, side: Side) -> impl Iterator<Item = Part> + Clone + '_ {
        self.own.iter().copied().filter(move |part| part.unit() == Unit::Token && part.side() == side)
    }

    /// The prompt lengths up to the given one between which no rate changes.
    pub(super) fn lengths(&self, most: i64) -> impl Iterator<Item = i64> + Clone + '_ {
        // Where the prompt is as long as a threshold, or one token longer.
        let at_or_over = |above: &i64| [*above, above.saturating_add(1)];
        let is_one = most == 0 || self.thresholds.is_empty();
        let ends = [Some(most), (!is_one).then_some(0)];
        let changes = self.thresholds.iter().flat_map(at_or_over).filter(move |length| *length < most);
        ends.into_iter().flatten().chain(changes)
    }

    pub(super) fn has_off_peak(&self) -> bool {
        self.off_peak.is_some()
    }

    /// The rate of a part in a call with `prompt_tokens` input tokens in all.
    ///
    /// A part without any price that applies takes the price of the part that it falls back to.
    pub(super) fn rate(&self, part: Part, prompt_tokens: i64, when: Conditions) -> Option<Rate> {
        match self.own_rate(part, prompt_tokens, when) {
            Some(rate) => Some(rate),
            None => self.rate(part.fallback()?, prompt_tokens, when),
        }
    }

    /// The rate of a part as a call used it: of a query by the results asked for, of video by its length.
    pub(super) fn rate_in(&self, part: Part, usage: &Usage, when: Conditions) -> Option<Rate> {
        let by_size = match part {
            Part::Queries => {
                let asked = usage.max_results();
                self.by_results.iter().rfind(|(from, _)| *from <= asked).or(self.by_results.first())
            }
            Part::InputVideoSeconds => {
                let millionths = usage.amount(part);
                self.by_length.iter().rfind(|(seconds, _)| millionths > seconds.saturating_mul(1_000_000))
            }
            _ => None,
        };
        by_size.map(|(_, rate)| *rate).or_else(|| self.rate(part, usage.input_tokens(), when))
    }

    /// What is in force off-peak goes first, then the band that the prompt is in, then the other prices.
    fn own_rate(&self, part: Part, prompt_tokens: i64, when: Conditions) -> Option<Rate> {
        if when.off_peak
            && let Some(off_peak) = &self.off_peak
            && let Some(rate) = off_peak.rate(part)
        {
            return Some(self.in_tier(part, rate, when.tier));
        }
        if let Some(band) = self.band(prompt_tokens) {
            if let Some((_, rate)) = band.rates.iter().find(|(own, _)| *own == part) {
                return Some(self.in_tier(part, *rate, when.tier));
            }
            // A band is all or nothing: what it does not name costs as its input or output.
            let covered = matches!(
                part,
                Part::Input
                    | Part::CacheRead
                    | Part::CacheReadExplicit
                    | Part::CacheCreation
                    | Part::CacheCreation1h
                    | Part::CacheCreation12h
                    | Part::ReasoningOutput
            );
            if covered {
                return None;
            }
        }
        // Reasoning is output: a tier's price of the output goes before the standard price of reasoning.
        if part == Part::ReasoningOutput
            && when.tier != Tier::Standard
            && !self.has_tier(part, when.tier)
            && self.has_tier(Part::Output, when.tier)
        {
            return None;
        }
        self.listed_rate(part, prompt_tokens, when.tier)
    }

    fn has_tier(&self, part: Part, tier: Tier) -> bool {
        self.entries.iter().any(|entry| entry.part == part && entry.tier == tier)
    }

    /// A standard price in a tier: the tier's own where there is one, half of it in a batch.
    fn in_tier(&self, part: Part, rate: Rate, tier: Tier) -> Rate {
        match tier {
            Tier::Standard => rate,
            _ => match self.entry(part, None, tier) {
                Some(own) => own,
                None if tier == Tier::Batches => rate.half(),
                None => rate,
            },
        }
    }

    /// The band of a prompt; beyond the last it is the last, and an empty prompt is in the first.
    fn band(&self, prompt_tokens: i64) -> Option<&Band> {
        self.bands.iter().rfind(|band| prompt_tokens > band.over).or(self.bands.first())
    }

    /// The cliff comes first: a price above the threshold, be it the standard one, wins over the tier's base price.
    fn listed_rate(&self, part: Part, prompt_tokens: i64, tier: Tier) -> Option<Rate> {
        let usable = |entry: &&Entry| {
            entry.part == part
                && (entry.tier == tier || entry.tier == Tier::Standard)
                && entry.above.is_none_or(|above| prompt_tokens > above || (self.inclusive && prompt_tokens == above))
        };
        let above = self.entries.iter().filter(usable).map(|entry| entry.above).max()?;
        if let Some(rate) = self.entry(part, above, tier) {
            return Some(rate);
        }
        let standard = self.entry(part, above, Tier::Standard)?;
        Some(if tier == Tier::Batches { standard.half() } else { standard })
    }

    /// Whether the price of an hour of a day is the off-peak one, at seconds since 1970 UTC. `offset` gives a named time
    /// zone's distance from UTC in seconds, for the day of the week.
    pub fn is_off_peak(&self, at: i64, offset: impl Fn(&str, i64) -> Option<i32>) -> bool {
        self.off_peak.as_ref().is_some_and(|off_peak| off_peak.holds(at, offset))
    }

    /// The multipliers that apply to a call.
    pub(super) fn multipliers(&self, usage: &Usage) -> Vec<Multiplier> {
        let applies = |when: &When| match when {
            When::Geo(region) => usage.region().is_some_and(|used| used.eq_ignore_ascii_case(region)),
            When::Fast => usage.is_fast(),
            When::Residency(place) => usage.residency().is_some_and(|used| used.eq_ignore_ascii_case(place)),
            When::Endpoint => usage.is_regional(),
        };
        self.multipliers.iter().filter(|(when, _)| applies(when)).map(multiplier).collect()
    }

    /// Of the multipliers that exclude each other the largest, of each kind, as far as they raise a price.
    pub(super) fn largest_multipliers(&self) -> Vec<Multiplier> {
        let mut largest: Vec<&(When, Factor)> = Vec::new();
        for candidate in &self.multipliers {
            if candidate.1 <= Factor::ONE {
                continue;
            }
            let same =
                |known: &&mut &(When, Factor)| std::mem::discriminant(&known.0) == std::mem::discriminant(&candidate.0);
            match largest.iter_mut().find(same) {
                Some(known) if candidate.1 > known.1 => *known = candidate,
                Some(_) => {}
                None => largest.push(candidate),
            }
        }
        largest.into_iter().map(multiplier).collect()
    }
}

fn multiplier((when, factor): &(When, Factor)) -> Multiplier {
    let name = match when {
        When::Geo(region) => format!("inference_geo {region}"),
        When::Fast => "speed fast".to_owned(),
        When::Residency(place) => format!("data_residency {place}"),
        When::Endpoint => "regional endpoint".to_owned(),
    };
    Multiplier { name, factor: *factor, tokens_only: true }
}

/// What the prices of a band are for; all else in it is prices.
#[derive(Deserialize)]
struct Ranges {
    range: Option<Range>,
    max_results_range: Option<Range>,
}

/// Where it begins, and where it ends, which the next one says as well; without an end it goes on.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "(Count, Option<Count>)")]
struct Range {
    from: i64,
    to: Option<i64>,
}

impl TryFrom<(Count, Option<Count>)> for Range {
    type Error = &'static str;

    fn try_from((Count(from), to): (Count, Option<Count>)) -> Result<Self, &'static str> {
        let to = to.map(|Count(to)| to);
        if from < 0 || to.is_some_and(|to| to <= from) {
            return Err("it ends where it begins, or before");
        }
        Ok(Self { from, to })
    }
}

/// Whether two ranges of the same share more than their ends: in which of the two a prompt is could not be said.
fn overlap(mut ranges: Vec<(Part, Range)>) -> bool {
    ranges.sort_by_key(|(of, range)| (*of as usize, range.from, range.to.unwrap_or(i64::MAX)));
    ranges.windows(2).any(|two| two[0].0 == two[1].0 && two[0].1.to.is_none_or(|to| to > two[1].1.from))
}

/// A count of tokens or results, also as `32000.0`.
#[derive(Deserialize)]
#[serde(try_from = "Exact")]
struct Count(i64);

impl TryFrom<Exact> for Count {
    type Error = AmountError;

    fn try_from(Exact(value): Exact) -> Result<Self, AmountError> {
        let Value::Number(number) = value else { return Err(AmountError::Malformed) };
        let count = parse_scaled(number.as_str(), 0, Rounding::Exact)?;
        i64::try_from(count).map(Self).map_err(|_| AmountError::TooLarge)
    }
}
