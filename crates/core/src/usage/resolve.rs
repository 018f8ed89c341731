//! From what was counted to parts that fit their wholes.
//!
//! Input comes to include what caches had and took, output what was reasoned. Which of the two a report means is known of
//! its reader or follows from its total. Nothing in here refuses: what cannot be is made to fit, to the dearer side.

use super::readers::Counted;
use super::slot::{SLOTS, Slot};

/// Counts by slot; `None` was not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([Option<i64>; SLOTS]);

impl Default for Counts {
    fn default() -> Self {
        Self([None; SLOTS])
    }
}

impl Counts {
    pub fn get(&self, slot: Slot) -> Option<i64> {
        self.0.get(slot as usize).copied().flatten()
    }

    pub fn of(&self, slot: Slot) -> i64 {
        self.get(slot).unwrap_or(0)
    }

    /// What is said twice is said again, not more.
    pub fn at_least(&mut self, slot: Slot, count: i64) {
        if let Some(place) = self.0.get_mut(slot as usize) {
            *place = Some(place.map_or(count, |told| told.max(count)));
        }
    }

    /// What is known better from elsewhere.
    pub fn settle(&mut self, slot: Slot, count: i64) {
        if let Some(place) = self.0.get_mut(slot as usize) {
            *place = Some(count);
        }
    }

    /// All that was read from a cache was read from one that the caller made.
    pub fn read_explicitly(&mut self) {
        if let Some(read) = self.get(CacheRead) {
            self.at_least(CacheReadExplicit, read);
        }
    }

    pub fn forget(&mut self, slot: Slot) {
        if let Some(place) = self.0.get_mut(slot as usize) {
            *place = None;
        }
    }

    fn sum(&self, slots: &[Slot]) -> i64 {
        slots.iter().fold(0, |sum, slot| sum.saturating_add(self.of(*slot)))
    }
}

/// The two wholes, the parts that are not zero by the keys of our own form, and whether the total that was said is theirs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    pub input: i64,
    pub output: i64,
    pub parts: Vec<(&'static str, i64)>,
    pub total_fits: bool,
}

use Slot::*;

const CACHED: [Slot; 4] = [CacheReadText, CacheReadAudio, CacheReadImage, CacheReadVideo];
const WRITTEN: [Slot; 3] = [CacheWrite5m, CacheWrite1h, CacheWrite12h];
const MADE: [Slot; 3] = [OutputAudio, OutputImage, OutputVideo];

/// Takes the counts apart, of which caches' and reasoning are counted as their reader has it.
pub fn resolve(by: Conventions, counts: &Counts) -> Resolved {
    let recorded = by.recording.then(|| with_recording(counts));
    let counts = recorded.as_ref().unwrap_or(counts);
    let read = counts.of(CacheRead).max(counts.sum(&CACHED)).max(counts.of(CacheReadExplicit));
    let written = counts.of(CacheWrite).max(counts.sum(&WRITTEN));
    let cached = read.saturating_add(written);
    let reasoning = counts.of(Reasoning);
    let (told_input, told_output) = wholes(counts, cached, by.reasoning == Counted::Within);
    let made = counts.sum(&MADE);
    // Where it is told how much of the input no cache had, the input is known to include what caches did.
    let with_fresh = counts.get(Fresh).is_some_and(|fresh| told_input == Some(fresh.saturating_add(cached)));
    let beside = Beside::of(by, told_input.is_none(), with_fresh);
    let media = counts.sum(&[InputAudio, InputImage, InputVideo]);
    let told = (told_input.unwrap_or(0), told_output.unwrap_or(0));
    let (mut input, mut output) = beside.choose(told, (cached, media), (reasoning, made), counts.get(Total));
    // Of a stream's last chunk or a vector there may be but one whole.
    let mut rest = counts.get(Total).map_or(0, |total| total.saturating_sub(input).saturating_sub(output).max(0));
    let mut reasoning = reasoning;
    if rest > 0 && told.0 == 0 && told_output.is_none_or(|output| output == 0) && output == 0 {
        input = input.saturating_add(rest);
        rest = 0;
    } else if rest > 0 && told_output.is_some() {
        reasoning = reasoning.saturating_add(rest);
    }
    output = output.saturating_add(rest);
    let total_fits = counts.get(Total).is_none_or(|total| total == input.saturating_add(output));
    let mut parts = Vec::with_capacity(8);
    inputs(counts, input, (read, written), &mut parts);
    outputs(counts, output, reasoning, &mut parts);
    Resolved { input, output, parts, total_fits }
}

/// Input and output as they were told, where they can be told from their parts.
fn wholes(counts: &Counts, cached: i64, with_reasoning: bool) -> (Option<i64>, Option<i64>) {
    let tools = counts.of(Tools);
    let parts = counts.sum(&[InputText, InputAudio, InputImage, InputVideo]);
    let reasoning = if with_reasoning { counts.of(Reasoning) } else { 0 };
    let made = counts.sum(&[OutputText, OutputAudio, OutputImage, OutputVideo]).saturating_add(reasoning);
    let output = counts.get(Output).or((made > 0).then_some(made));
    let input = counts.get(Input).or_else(|| counts.get(Fresh).map(|fresh| fresh.saturating_add(cached)));
    let input = match (input, counts.get(Total)) {
        (Some(input), _) => Some(input),
        (None, Some(total)) => Some(total.saturating_sub(output.unwrap_or(0)).saturating_sub(tools).max(0)),
        (None, None) => (parts > 0).then_some(parts),
    };
    let input = input.map(|input| input.saturating_add(tools)).or((tools > 0).then_some(tools));
    (input, output)
}

/// What a reader says of how its reports count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conventions {
    /// What a cache had or took, in the input.
    pub cached: Counted,
    /// Reasoning, in the output.
    pub reasoning: Counted,
    /// Whether what the total has above its parts is a recording's.
    pub recording: bool,
}

/// Of a report about a recording: what its total has above its parts is the recording's, whatever the prompt's count says.
fn with_recording(counts: &Counts) -> Counts {
    let mut counts = counts.clone();
    let told = counts.of(Input);
    let all = counts.of(Total).saturating_sub(counts.of(Output));
    if counts.get(Input).is_some() && all > told {
        counts.settle(Input, all);
        counts.at_least(InputAudio, all.saturating_sub(told));
    }
    counts
}

/// Whether parts are beside their wholes: first as the reader has it, then as it may be, too.
struct Beside {
    cached: &'static [bool],
    reasoning: &'static [bool],
}

impl Beside {
    fn of(by: Conventions, no_input: bool, with_fresh: bool) -> Self {
        let beside: fn(Counted) -> &'static [bool] = |counted| match counted {
            Counted::Within => &[false, true],
            Counted::Beside => &[true, false],
            Counted::AlwaysBeside => &[true],
        };
        let cached = match (with_fresh, no_input) {
            (true, _) => &[false],
            (_, true) => &[true],
            _ => beside(by.cached),
        };
        Self { cached, reasoning: beside(by.reasoning) }
    }

    /// The wholes under the first convention that can be and whose sum is the total; without one, under the first that can
    /// be. Media are beside their wholes only where the total says so.
    fn choose(
        &self,
        told: (i64, i64),
        (cached, media): (i64, i64),
        (reasoning, made): (i64, i64),
        total: Option<i64>,
    ) -> (i64, i64) {
        let mut first = None;
        let all_media = media;
        for (media, made_beside) in [(0, 0), (media, 0), (0, made), (media, made)] {
            for cached_beside in self.cached {
                for reasoning_beside in self.reasoning {
                    let beside = |is: bool, part: i64| if is { part } else { 0 };
                    let input = told.0.saturating_add(media).saturating_add(beside(*cached_beside, cached));
                    let output =
                        told.1.saturating_add(made_beside).saturating_add(beside(*reasoning_beside, reasoning));
                    let fits = input >= cached.max(all_media)
                        && (output >= reasoning.saturating_add(made) || output >= made && reasoning == 0);
                    if !fits {
                        continue;
                    }
                    if total.is_none_or(|total| total == input.saturating_add(output)) {
                        return (input, output);
                    }
                    first = first.or(Some((input, output)));
                }
            }
        }
        first.unwrap_or((told.0.max(cached).max(all_media), told.1.max(reasoning.saturating_add(made))))
    }
}

/// The parts of the input. Which of the cached tokens were media is often not said: text is taken to be cached first.
fn inputs(counts: &Counts, input: i64, (read, written): (i64, i64), parts: &mut Vec<(&'static str, i64)>) {
    let written_audio = counts.of(CacheWriteAudio).min(written);
    let hour = counts.of(CacheWrite1h).min(written.saturating_sub(written_audio));
    let half_day = counts.of(CacheWrite12h).min(written.saturating_sub(written_audio).saturating_sub(hour));
    let cached = [counts.of(CacheReadAudio), counts.of(CacheReadImage), counts.of(CacheReadVideo)];
    let media = [
        counts.of(InputAudio).saturating_add(counts.of(ToolsAudio)).saturating_sub(written_audio),
        counts.of(InputImage).saturating_add(counts.of(ToolsImage)),
        counts.of(InputVideo).saturating_add(counts.of(ToolsVideo)),
    ];
    let mut fresh = [0; 3];
    for ((fresh, media), cached) in fresh.iter_mut().zip(media).zip(cached) {
        *fresh = media.saturating_sub(cached).max(0);
    }
    let room = input.saturating_sub(read).saturating_sub(written).max(0);
    let told = cached.iter().fold(counts.of(CacheReadText), |sum, count| sum.saturating_add(*count));
    let mut untold = read.saturating_sub(told).max(0);
    let mut moved = [0; 3];
    let mut excess = fresh.iter().fold(0_i64, |sum, count| sum.saturating_add(*count)).saturating_sub(room).max(0);
    // Video has no price of its own in a cache, so it goes last and is not told apart there.
    for (fresh, moved) in fresh.iter_mut().zip(&mut moved) {
        let out = excess.min(*fresh);
        *fresh = fresh.saturating_sub(out);
        excess = excess.saturating_sub(out);
        *moved = out.min(untold);
        untold = untold.saturating_sub(*moved);
    }
    let mut explicit_room = read;
    let mut within = |count: i64| {
        let count = count.min(explicit_room).max(0);
        explicit_room = explicit_room.saturating_sub(count);
        count
    };
    let read_audio = within(cached[0].saturating_add(moved[0]));
    let read_image = within(cached[1].saturating_add(moved[1]));
    let explicit = within(counts.of(CacheReadExplicit));
    parts.extend(
        [
            ("cache_read_input_tokens", read),
            ("explicit_cache_read_input_tokens", explicit),
            ("cache_read_input_audio_tokens", read_audio),
            ("cache_read_input_image_tokens", read_image),
            ("cache_creation_input_tokens", written),
            ("cache_creation_1h_input_tokens", hour),
            ("cache_creation_12h_input_tokens", half_day),
            ("cache_creation_input_audio_tokens", written_audio),
            ("input_audio_tokens", fresh[0]),
            ("input_image_tokens", fresh[1]),
            ("input_video_tokens", fresh[2]),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0),
    );
}

/// The parts of the output, the dearest first where they do not fit.
fn outputs(counts: &Counts, output: i64, reasoning: i64, parts: &mut Vec<(&'static str, i64)>) {
    let mut room = output;
    for (key, count) in [
        ("output_audio_tokens", counts.of(OutputAudio)),
        ("output_image_tokens", counts.of(OutputImage)),
        ("output_video_tokens", counts.of(OutputVideo)),
        ("reasoning_output_tokens", reasoning),
    ] {
        let count = count.min(room).max(0);
        room = room.saturating_sub(count);
        if count > 0 {
            parts.push((key, count));
        }
    }
}
