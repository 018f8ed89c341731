//! The forms of a model's name, the closest first: as it is, then without what says how, when and where it runs.

use super::providers::{canonical, family, is_same};

/// Geographies that lead a model's name at Bedrock: a profile that runs in any of their regions.
const GEOGRAPHIES: [&str; 11] = ["us.", "eu.", "apac.", "jp.", "au.", "ca.", "in.", "sa.", "mx.", "me.", "af."];

/// The profile that runs anywhere.
const GLOBAL: &str = "global.";

/// What leads the names of another partition, whose prices are always its own.
const GOVERNMENT: &str = "us-gov";

/// Regions that lead a model's path at Bedrock.
const REGIONS: [&str; 21] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "me-central-1",
];

/// Words of LiteLLM's paths that say through which interface of Bedrock a call goes.
const ROUTES: [&str; 4] = ["converse/", "invoke/", "converse_like/", "bedrock/"];

/// Providers that publish `-latest` as another name of the version that precedes it.
const LATEST: [&str; 4] = ["anthropic", "gemini", "vertex_ai", "xai"];

/// The most forms of a name that are looked for, with and without a place each.
const MAX_FORMS: usize = 24;

/// Where a form drops to: the place that the caller named, and the form has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Geography,
    Global,
    Region,
}

#[derive(Debug, Default)]
pub struct Forms {
    /// With the place, if there is one.
    pub placed: Vec<String>,
    /// Without it.
    pub placeless: Vec<String>,
    pub place: Option<Place>,
    /// Whether rows that add a date or version to a form are the same model.
    pub undated: bool,
}

impl Forms {
    pub fn of(provider: &str, name: &str) -> Self {
        let provider = family(provider);
        let lower = name.trim().to_lowercase();
        let mut seeds = vec![lower.clone()];
        let bare = without_provider(provider, &lower);
        let in_bedrock = provider == "bedrock" || provider == "bedrock_mantle";
        let bare = if in_bedrock { without_routes(bare) } else { bare };
        if bare.starts_with("arn:") {
            // An identifier that names no model, such as that of a profile of one's own, has no other form.
            match in_bedrock.then(|| of_arn(bare)).flatten() {
                Some(named) => seeds.push(named),
                None => return Self { placed: seeds, ..Self::default() },
            }
        } else {
            add(&mut seeds, bare.to_owned());
            for form in paths(provider, bare) {
                add(&mut seeds, form);
            }
        }
        let placed = loosened(provider, seeds);
        let mut forms = Self { undated: is_undated(provider, &placed), ..Self::default() };
        if provider == "bedrock" {
            let mut placeless = Vec::new();
            for form in &placed {
                if let Some((place, rest)) = without_place(form) {
                    forms.place = Some(place);
                    add(&mut placeless, rest.to_owned());
                }
            }
            forms.placeless = with_paths(provider, loosened(provider, placeless));
        }
        forms.placed = with_paths(provider, placed);
        forms
    }

    /// What the placeless forms are called elsewhere: their prices tell whether the place matters.
    pub fn elsewhere(&self) -> Vec<String> {
        let plain = self.placeless.iter().filter(|form| !form.contains('/'));
        match self.place {
            None => Vec::new(),
            Some(Place::Region) => plain.flat_map(|form| REGIONS.map(|region| format!("{region}/{form}"))).collect(),
            Some(Place::Geography | Place::Global) => {
                let places = GEOGRAPHIES.into_iter().chain([GLOBAL]);
                plain.flat_map(|form| places.clone().map(move |place| format!("{place}{form}"))).collect()
            }
        }
    }
}

/// Whether the name is that of the profile that runs anywhere.
pub fn is_global(name: &str) -> bool {
    name.starts_with(GLOBAL)
}

/// Without the provider before it, however that is spelled, and without what marks a longer context.
fn without_provider<'a>(provider: &str, lower: &'a str) -> &'a str {
    let bare = lower.strip_suffix("[1m]").unwrap_or(lower);
    let separator = bare.find(['/', ':']);
    let head = separator.map(|at| (&bare[..at], &bare[at + 1..]));
    match head {
        Some((head, rest)) if !rest.is_empty() && is_same(family(&canonical(head)), provider) => rest,
        _ => bare,
    }
}

fn without_routes(mut bare: &str) -> &str {
    while let Some(rest) = ROUTES.iter().find_map(|route| bare.strip_prefix(route)) {
        bare = rest;
    }
    bare
}

/// The model that a resource name of Bedrock says, if it says one.
fn of_arn(arn: &str) -> Option<String> {
    let mut parts = arn.splitn(6, ':');
    let (_, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (region, _, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let (kind, model) = resource.split_once('/')?;
    match kind {
        _ if service != "bedrock" || model.is_empty() => None,
        "foundation-model" if REGIONS.contains(&region) || partition.ends_with(GOVERNMENT) => {
            Some(format!("{region}/{model}"))
        }
        "foundation-model" => Some(model.to_owned()),
        // A profile that Bedrock defines begins with a geography and names its model.
        "inference-profile" => {
            let is_defined = without_place(model).is_some() || model.starts_with(GOVERNMENT);
            is_defined.then(|| model.to_owned())
        }
        _ => None,
    }
}

/// The place that leads a name, and the rest.
fn without_place(form: &str) -> Option<(Place, &str)> {
    if let Some(rest) = form.strip_prefix(GLOBAL) {
        return Some((Place::Global, rest));
    }
    if let Some(rest) = GEOGRAPHIES.iter().find_map(|place| form.strip_prefix(place)) {
        return Some((Place::Geography, rest));
    }
    let (region, rest) = form.split_once('/')?;
    REGIONS.contains(&region).then_some((Place::Region, rest))
}

/// A name that is a path at its provider, by its last parts.
fn paths(provider: &str, bare: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((_, rest)) = bare.rsplit_once("publishers/")
        && let Some((maker, model)) = rest.split_once("/models/")
    {
        found.extend([model.to_owned(), format!("{maker}/{model}")]);
    } else if let Some(rest) = bare.strip_prefix("models/") {
        found.push(rest.to_owned());
    }
    // As the face that speaks like OpenAI has it.
    if provider == "vertex_ai"
        && let Some(rest) = bare.strip_prefix("google/")
    {
        found.push(rest.to_owned());
    }
    if provider == "fireworks_ai" {
        const PATH: &str = "accounts/fireworks/models/";
        found.push(bare.strip_prefix(PATH).map_or_else(|| format!("{PATH}{bare}"), str::to_owned));
    }
    if let Some(rest) = bare.strip_prefix("ft:") {
        let base = rest.split(':').next().unwrap_or(rest);
        found.push(format!("ft:{base}"));
    }
    found
}

/// The names, and what they are without what says when they were made, step by step.
fn loosened(provider: &str, mut plain: Vec<String>) -> Vec<String> {
    let mut next = 0;
    while next < plain.len() && plain.len() < MAX_FORMS {
        let form = plain[next].clone();
        next += 1;
        if form.contains("claude-") {
            add(&mut plain, with_digits_joined(&form, '.', "-"));
            add(&mut plain, with_digits_joined(&form, '-', "."));
            if let Some(base) = form.strip_suffix("-0") {
                add(&mut plain, base.to_owned());
            }
        }
        if LATEST.contains(&provider)
            && let Some(base) = form.strip_suffix("-latest")
        {
            add(&mut plain, base.to_owned());
        }
        if let Some((base, date)) = form.split_once('@').filter(|(base, date)| !base.is_empty() && !date.contains('/'))
        {
            if date != "latest" && date != "default" {
                add(&mut plain, format!("{base}-{date}"));
            }
            add(&mut plain, base.to_owned());
        }
        if let Some(base) = without_version(&form) {
            add(&mut plain, base.to_owned());
        }
        if let Some((base, date)) = without_date(&form) {
            add(&mut plain, format!("{base}@{date}"));
            add(&mut plain, base.to_owned());
        }
    }
    plain
}

/// Each form also with the provider before it: where the list has both, that goes first.
fn with_paths(provider: &str, plain: Vec<String>) -> Vec<String> {
    let provider = if provider == "amazon_nova" { "amazon-nova" } else { provider };
    let mut forms = Vec::with_capacity(2 * plain.len());
    for form in plain {
        let path = format!("{provider}/{form}");
        add(&mut forms, path);
        add(&mut forms, form);
    }
    forms.truncate(2 * MAX_FORMS);
    forms
}

/// A version of Claude, and a model at Bedrock, has the same price under each of its dates; others' undated names move on.
fn is_undated(provider: &str, forms: &[String]) -> bool {
    provider == "bedrock" || forms.iter().any(|form| form.contains("claude-"))
}

/// What a row's name is without dates and versions, step by step; the name itself is not among them.
pub fn without_dates(name: &str) -> Vec<String> {
    let mut found = vec![name.to_owned()];
    let mut next = 0;
    while next < found.len() && found.len() < MAX_FORMS {
        let form = found[next].clone();
        next += 1;
        let last = form.rsplit_once("-v").filter(|(_, number)| is_number(number)).map(|(base, _)| base);
        let at = form.split_once('@').map(|(base, _)| base);
        for base in [without_version(&form), without_date(&form).map(|(base, _)| base), last, at].into_iter().flatten()
        {
            add(&mut found, base.to_owned());
        }
    }
    found.remove(0);
    found
}

fn add(forms: &mut Vec<String>, form: String) {
    if !form.is_empty() && !forms.contains(&form) {
        forms.push(form);
    }
}

/// With what stands between two digits replaced: `4.5` and `4-5`. Digits that are more than two are no part of a version.
fn with_digits_joined(form: &str, between: char, by: &str) -> String {
    let runs = |text: &str, backwards: bool| {
        let is_digit = |c: &char| c.is_ascii_digit();
        if backwards {
            text.chars().rev().take_while(is_digit).count()
        } else {
            text.chars().take_while(is_digit).count()
        }
    };
    let mut joined = String::with_capacity(form.len());
    for (at, character) in form.char_indices() {
        let is_between = character == between
            && (1..=2).contains(&runs(&form[..at], true))
            && (1..=2).contains(&runs(&form[at + character.len_utf8()..], false));
        if is_between { joined.push_str(by) } else { joined.push(character) }
    }
    joined
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without `-v1:0` or `:0`, as Bedrock numbers its versions, or `-001`, as Google does. A `-v2` alone is another model.
fn without_version(form: &str) -> Option<&str> {
    if let Some((base, minor)) = form.rsplit_once(':')
        && is_number(minor)
    {
        let without_major = base.rsplit_once('-').filter(|(_, last)| last.strip_prefix('v').is_some_and(is_number));
        return Some(without_major.map_or(base, |(base, _)| base));
    }
    let (base, last) = form.rsplit_once('-')?;
    (is_number(last) && last.len() == 3 && last.starts_with('0')).then_some(base)
}

/// The name and the date that ends it: `-2024-08-06` or `-20240806`.
fn without_date(form: &str) -> Option<(&str, &str)> {
    let is_date = |date: &str| {
        let digits: Vec<&str> = if date.len() == 10 { date.split('-').collect() } else { vec![date] };
        let lengths = digits.iter().map(|part| part.len()).collect::<Vec<_>>();
        digits.iter().all(|part| is_number(part)) && (lengths == [4, 2, 2] || lengths == [8]) && date.starts_with("20")
    };
    [10, 8].into_iter().find_map(|length| {
        let place = form.len().checked_sub(length + 1)?;
        let (base, date) = (form.get(..place)?, form.get(place + 1..)?);
        (form.as_bytes()[place] == b'-' && !base.is_empty() && is_date(date)).then_some((base, date))
    })
}
