//! By which names a price may go: a model as a caller spells it, against models as price rows spell them.
//!
//! A price is never taken by the model's name alone when a provider is given: the same name costs different amounts at
//! different providers.

/// How providers are called elsewhere: OpenTelemetry's names and common spellings, by the list's.
const PROVIDERS: [(&str, &str); 26] = [
    ("aws.bedrock", "bedrock"),
    ("amazon-bedrock", "bedrock"),
    ("amazon_bedrock", "bedrock"),
    ("aws_bedrock", "bedrock"),
    ("azure.ai.openai", "azure"),
    ("azure-openai", "azure"),
    ("azure_openai", "azure"),
    ("az.ai.openai", "azure"),
    ("azure.ai.inference", "azure_ai"),
    ("az.ai.inference", "azure_ai"),
    ("gcp.vertex_ai", "vertex_ai"),
    ("google-vertex", "vertex_ai"),
    ("google_vertex_ai", "vertex_ai"),
    ("vertexai", "vertex_ai"),
    ("vertex", "vertex_ai"),
    ("gcp.gemini", "gemini"),
    ("gcp.gen_ai", "gemini"),
    ("google", "gemini"),
    ("google_genai", "gemini"),
    ("x_ai", "xai"),
    ("x-ai", "xai"),
    ("mistral_ai", "mistral"),
    ("mistralai", "mistral"),
    ("ibm.watsonx.ai", "watsonx"),
    ("fireworks", "fireworks_ai"),
    ("together", "together_ai"),
];

/// Providers that the list divides by kind of model or interface, by what their names begin with.
const FAMILIES: [&str; 3] = ["vertex_ai", "bedrock", "fireworks_ai"];

/// The same where their names do not begin alike.
const RELATIVES: [(&str, &str); 5] = [
    ("azure_text", "azure"),
    ("text-completion-openai", "openai"),
    ("cohere_chat", "cohere"),
    ("text-completion-codestral", "codestral"),
    ("text-completion-inception", "inception"),
];

/// Whose prices stand in when a provider has none of its own for a model: it resells the other's.
const RESELLERS: [(&str, &str); 2] = [("azure", "openai"), ("azure_ai", "azure")];

/// What a caller writes who knows no provider.
const NO_PROVIDER: &str = "unknown";

/// Regions that lead a model's name at Bedrock.
const REGIONS: [&str; 9] = ["us.", "eu.", "apac.", "global.", "jp.", "au.", "ca.", "us-gov.", "sa."];

/// The most forms of a name that are looked for.
const MAX_FORMS: usize = 24;

/// A model that a price is wanted for.
pub struct Wanted<'a> {
    provider: &'a str,
    name: &'a str,
    canonical: String,
    forms: Vec<String>,
    /// What the operator says that it goes by.
    alias: Option<(String, String)>,
}

/// How well a price row fits: the lower the better; rows of the same grade fit equally well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grade(u32);

impl Grade {
    /// As the caller spelled it.
    pub const EXACT: Self = Self(0);
    const ALIAS: Self = Self(1);
}

impl<'a> Wanted<'a> {
    pub fn new(provider: &'a str, name: &'a str, alias: Option<(String, String)>) -> Self {
        let canonical = canonical(provider);
        let forms = forms(&canonical, name);
        Self { provider, name, canonical, forms, alias }
    }

    /// Every name that a row may have, in lower case.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.forms.iter().cloned().chain(self.alias.iter().map(|(_, name)| name.to_lowercase()))
    }

    /// Whether the caller named no provider.
    pub fn is_without_provider(&self) -> bool {
        self.canonical == NO_PROVIDER
    }

    /// How well a row of this provider and name fits, if at all.
    pub fn grade(&self, provider: &str, name: &str) -> Option<Grade> {
        if provider == self.provider && (name == self.name || is_path(name, provider, self.name)) {
            return Some(Grade::EXACT);
        }
        if let Some((alias_provider, alias_name)) = &self.alias
            && provider.eq_ignore_ascii_case(alias_provider)
            && name.eq_ignore_ascii_case(alias_name)
        {
            return Some(Grade::ALIAS);
        }
        let name = name.to_lowercase();
        let form = self.forms.iter().position(|form| *form == name)?;
        let (distance, stands_in) = self.distance(provider)?;
        let place = u32::try_from(form).unwrap_or(u32::MAX / 8);
        Some(Grade(2 + distance + 4 * (place + if stands_in { 1_000 } else { 0 })))
    }

    /// How far the row's provider is from the one that is wanted, and whether it only stands in for it.
    fn distance(&self, provider: &str) -> Option<(u32, bool)> {
        if self.is_without_provider() {
            return Some((0, false));
        }
        if provider == self.provider {
            return Some((0, false));
        }
        let other = canonical(provider);
        if other == self.canonical {
            return Some((1, false));
        }
        if family(&other) == family(&self.canonical) {
            return Some((2, false));
        }
        let sells = |seller: &str, maker: &str| RESELLERS.contains(&(seller, maker));
        let mine = family(&self.canonical);
        sells(mine, family(&other)).then_some((3, true))
    }
}

/// Whether a name is the provider and the other name, with a slash between.
fn is_path(name: &str, provider: &str, last: &str) -> bool {
    name.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')) == Some(last)
}

/// The list's name of a provider.
pub fn canonical(provider: &str) -> String {
    let lower = provider.to_lowercase();
    PROVIDERS.iter().find(|(other, _)| *other == lower).map_or(lower, |(_, ours)| (*ours).to_owned())
}

fn family(provider: &str) -> &str {
    if let Some((_, family)) = RELATIVES.iter().find(|(relative, _)| *relative == provider) {
        return family;
    }
    FAMILIES.into_iter().find(|family| provider.starts_with(family)).unwrap_or(provider)
}

/// The forms of a name in lower case, the closest first: as it is, without what says where or when it runs, and each with
/// the provider before it.
fn forms(provider: &str, name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    let mut plain = Vec::new();
    let bare = lower.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&lower);
    for form in [lower.as_str(), bare, bare.strip_prefix("models/").unwrap_or(bare)] {
        add(&mut plain, form.to_owned());
    }
    if let Some(rest) = bare.strip_prefix("ft:") {
        let base = rest.split(':').next().unwrap_or(rest);
        add(&mut plain, format!("ft:{base}"));
    }
    let mut next = 0;
    while next < plain.len() && plain.len() < MAX_FORMS {
        let form = plain[next].clone();
        next += 1;
        if let Some(rest) = REGIONS.iter().find_map(|region| form.strip_prefix(region)) {
            add(&mut plain, rest.to_owned());
        }
        if let Some((base, date)) = form.split_once('@') {
            add(&mut plain, format!("{base}-{date}"));
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
    let family = family(provider);
    let mut forms = Vec::with_capacity(2 * plain.len());
    for form in plain {
        let path = format!("{family}/{form}");
        add(&mut forms, form);
        add(&mut forms, path);
    }
    forms.truncate(2 * MAX_FORMS);
    forms
}

fn add(forms: &mut Vec<String>, form: String) {
    if !form.is_empty() && !forms.contains(&form) {
        forms.push(form);
    }
}

/// Without `-v1:0` or `:0`, as Bedrock numbers its versions, or `-001`, as Google does. A `-v2` alone is another model.
fn without_version(form: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((base, minor)) = form.rsplit_once(':')
        && digits(minor)
    {
        let without_major = base.rsplit_once('-').filter(|(_, last)| last.strip_prefix('v').is_some_and(digits));
        return Some(without_major.map_or(base, |(base, _)| base));
    }
    let (base, last) = form.rsplit_once('-')?;
    (digits(last) && last.len() == 3 && last.starts_with('0')).then_some(base)
}

/// The name and the date that ends it: `-2024-08-06` or `-20240806`.
fn without_date(form: &str) -> Option<(&str, &str)> {
    let is_date = |date: &str| {
        let digits: Vec<&str> = if date.len() == 10 { date.split('-').collect() } else { vec![date] };
        let lengths = digits.iter().map(|part| part.len()).collect::<Vec<_>>();
        digits.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            && (lengths == [4, 2, 2] || lengths == [8])
            && date.starts_with("20")
    };
    [10, 8].into_iter().find_map(|length| {
        let place = form.len().checked_sub(length + 1)?;
        let (base, date) = (form.get(..place)?, form.get(place + 1..)?);
        (form.as_bytes()[place] == b'-' && !base.is_empty() && is_date(date)).then_some((base, date))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(provider: &str, name: &str, row: (&str, &str)) -> Option<Grade> {
        Wanted::new(provider, name, None).grade(row.0, row.1)
    }

    /// The rows that fit, best first.
    fn ranked<'a>(provider: &str, name: &str, rows: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut found: Vec<_> = rows.iter().filter_map(|row| Some((grade(provider, name, *row)?, *row))).collect();
        found.sort_by_key(|(grade, _)| *grade);
        found.into_iter().map(|(_, row)| row).collect()
    }

    #[test]
    fn a_name_alone_fits_nothing_of_another_provider() {
        assert_eq!(grade("groq", "gpt-oss-120b", ("cerebras", "gpt-oss-120b")), None);
        assert_eq!(grade("unknown", "gpt-oss-120b", ("cerebras", "gpt-oss-120b")), Some(Grade(2)));
    }

    #[test]
    fn names_fit_by_case_path_date_version_and_region() {
        for (provider, name, row) in [
            ("OpenAI", "GPT-4o", ("openai", "gpt-4o")),
            ("openai", "openai/gpt-4o", ("openai", "gpt-4o")),
            ("openai", "gpt-4o-2099-01-31", ("openai", "gpt-4o")),
            ("anthropic", "claude-opus-4-5-20251101", ("anthropic", "claude-opus-4-5")),
            ("vertex_ai", "claude-opus-4-5@20251101", ("vertex_ai-anthropic_models", "vertex_ai/claude-opus-4-5")),
            ("gcp.vertex_ai", "claude-opus-4-5", ("vertex_ai-anthropic_models", "vertex_ai/claude-opus-4-5")),
            ("aws.bedrock", "us.anthropic.claude-x-v1:0", ("bedrock_converse", "anthropic.claude-x-v1:0")),
            ("bedrock", "eu.anthropic.claude-x-20250101-v1:0", ("bedrock", "anthropic.claude-x")),
            ("azure", "gpt-4o", ("openai", "gpt-4o")),
            ("google", "models/gemini-2.5-pro", ("gemini", "gemini-2.5-pro")),
            ("openai", "ft:gpt-4o-mini:acme::id", ("openai", "ft:gpt-4o-mini")),
            ("gemini", "gemini-1.5-pro-001", ("gemini", "gemini-1.5-pro")),
        ] {
            assert!(grade(provider, name, row).is_some_and(|grade| grade > Grade::EXACT), "{provider} {name} {row:?}");
        }
        assert_eq!(grade("openai", "gpt-4o", ("openai", "gpt-4o-2024-05-13")), None);
        assert_eq!(grade("openai", "gpt-4o", ("azure", "gpt-4o")), None);
        assert_eq!(grade("openai", "gpt-4o-mini", ("openai", "gpt-4o")), None);
        assert_eq!(grade("openai", "gpt-5", ("openai", "gpt")), None);
        assert_eq!(grade("acme", "model-v2", ("acme", "model")), None);
        assert_eq!(grade("mistral", "mistral-large-latest", ("mistral", "mistral-large")), None);
    }

    #[test]
    fn the_closest_goes_first() {
        let rows = [
            ("openai", "gpt-4o"),
            ("azure", "gpt-4o"),
            ("azure", "gpt-4o-2024-08-06"),
            ("openai", "gpt-4o-2024-08-06"),
        ];
        let found = ranked("azure", "gpt-4o-2024-08-06", &rows);
        assert_eq!(found, [rows[2], rows[1], rows[3], rows[0]]);
        let rows = [("deepseek", "deepseek-chat"), ("deepseek", "deepseek/deepseek-chat")];
        assert!(rows.iter().all(|row| grade("deepseek", "deepseek-chat", *row) == Some(Grade::EXACT)));
    }

    #[test]
    fn an_operators_alias_goes_before_every_other() {
        let alias = Some(("Acme".to_owned(), "Base".to_owned()));
        let wanted = Wanted::new("mine", "model-2025-01-01", alias);
        assert_eq!(wanted.grade("acme", "base"), Some(Grade::ALIAS));
        assert!(wanted.grade("mine", "model") > Some(Grade::ALIAS));
        assert_eq!(wanted.grade("mine", "model-2025-01-01"), Some(Grade::EXACT));
        assert!(wanted.names().any(|name| name == "base"));
    }

    #[test]
    fn odd_names_do_no_harm() {
        for name in
            ["", "@", "-", ":", "/", "ft:", "é-20240101", "-20240101", "20240101", "a-v", "::0", "ß@ß", "a-é2024-01-01"]
        {
            assert!(forms("openai", name).len() <= 2 * MAX_FORMS);
        }
        let long = "us.".repeat(60) + "x-20240101-20240101-v1:0";
        assert!(forms("bedrock", &long).len() <= 2 * MAX_FORMS);
    }
}
