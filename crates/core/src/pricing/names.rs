//! By which names a price may go: a model as a caller spells it, against models as price rows spell them.
//!
//! A price is never taken by the model's name alone when a provider is given: the same name costs different amounts at
//! different providers. Nor is it taken from another place when places are known to differ. `providers.rs` has the data,
//! `forms.rs` the rules by which a name is loosened; here they are ranked.

mod forms;
mod providers;

use forms::Forms;
pub use forms::Place;
pub use providers::{canonical, family};
use providers::{is_its_own, is_open, is_organisation, is_same, passed_on, recognised, stands_in};

/// A model that a price is wanted for.
pub struct Wanted<'a> {
    provider: &'a str,
    name: &'a str,
    canonical: String,
    forms: Forms,
    /// What the forms without a place are called in other places.
    elsewhere: Vec<String>,
    /// What the operator says that it goes by.
    alias: Option<(String, String)>,
    /// The maker's model whose price a gateway passes on.
    passed_on: Option<Box<Wanted<'a>>>,
}

/// How well a price row fits: the lower the better; rows of the same grade fit equally well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grade {
    rank: u32,
    /// Whether the row is for no place while the caller named one.
    drops_place: bool,
}

/// What a price row is to a model that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Price(Grade),
    /// The price of the same model in another place: it tells whether places differ.
    Elsewhere {
        global: bool,
    },
}

/// Steps between ranks: distance within a form's, then how the form was found, then whose price it is.
const FORM: u32 = 16;
const UNDATED: u32 = 100 * FORM;
const PLACELESS: u32 = 200 * FORM;
const STAND_IN: u32 = 400 * FORM;
const PASSED_ON: u32 = 1_000 * FORM;

impl Grade {
    /// As the caller spelled it.
    pub const EXACT: Self = Self { rank: 0, drops_place: false };
    const ALIAS: Self = Self { rank: 1, drops_place: false };
    const KEY: Self = Self { rank: 2, drops_place: false };

    pub fn drops_place(self) -> bool {
        self.drops_place
    }
}

impl<'a> Wanted<'a> {
    pub fn new(provider: &'a str, name: &'a str, alias: Option<(String, String)>) -> Self {
        let mut canonical = canonical(provider);
        let mut model = name;
        if is_open(&canonical)
            && let Some((named, rest)) = provider_in(name)
        {
            canonical = named.to_owned();
            model = rest;
        }
        let passed_on = passed_on(&canonical, model).map(|(maker, model)| Box::new(Wanted::new(maker, model, None)));
        let forms = Forms::of(&canonical, model);
        let elsewhere = forms.elsewhere();
        Self { provider, name, canonical, forms, elsewhere, alias, passed_on }
    }

    /// Every name that a row may have, in lower case.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            [&self.forms.placed, &self.forms.placeless, &self.elsewhere].into_iter().flatten().cloned().collect();
        names.push(self.name.to_lowercase());
        if self.is_without_provider()
            && let Some((_, rest)) = self.name.split_once('/')
        {
            names.push(rest.to_lowercase());
        }
        names.extend(self.alias.iter().map(|(_, name)| name.to_lowercase()));
        names.extend(self.passed_on.iter().flat_map(|maker| maker.names()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Names, in lower case, to which a row may add a date or a version.
    pub fn undated_names(&self) -> Vec<String> {
        let own = self.forms.undated.then_some(&self.forms.placed).into_iter().flatten().cloned();
        own.chain(self.passed_on.iter().flat_map(|maker| maker.undated_names())).collect()
    }

    /// Whether the caller named no provider, neither beside the model nor before it.
    pub fn is_without_provider(&self) -> bool {
        is_open(&self.canonical)
    }

    /// What a row is to the model, if anything; `key` is the row's in its list, where it is from one.
    pub fn fit(&self, provider: &str, name: &str, key: Option<&str>) -> Option<Fit> {
        if provider == self.provider && (name == self.name || is_path(name, provider, self.name)) {
            return Some(Fit::Price(Grade::EXACT));
        }
        if let Some((alias_provider, alias_name)) = &self.alias
            && provider.eq_ignore_ascii_case(alias_provider)
            && name.eq_ignore_ascii_case(alias_name)
        {
            return Some(Fit::Price(Grade::ALIAS));
        }
        // A caller that names no provider spells a model as the list does.
        if is_open(&canonical(self.provider)) && key.is_some_and(|key| key.eq_ignore_ascii_case(self.name)) {
            return Some(Fit::Price(Grade::KEY));
        }
        self.own_fit(provider, &name.to_lowercase()).or_else(|| {
            let fit = self.passed_on.as_ref()?.fit(provider, name, None)?;
            Some(match fit {
                Fit::Price(grade) => Fit::Price(Grade { rank: PASSED_ON + grade.rank, ..grade }),
                elsewhere @ Fit::Elsewhere { .. } => elsewhere,
            })
        })
    }

    fn own_fit(&self, provider: &str, name: &str) -> Option<Fit> {
        let (distance, stands_in) = self.distance(provider)?;
        let price = |at: u32, drops_place: bool| {
            let rank = 3 + distance + FORM * at + if stands_in { STAND_IN } else { 0 };
            Some(Fit::Price(Grade { rank, drops_place }))
        };
        if let Some(at) = place_of(&self.forms.placed, name) {
            return price(at, false);
        }
        // What stands in does so by its name alone.
        if stands_in {
            return None;
        }
        if self.forms.undated
            && let Some(at) = forms::without_dates(name).iter().find_map(|base| place_of(&self.forms.placed, base))
        {
            // Vertex AI's way of dating a model is not that of others.
            let other_way = u32::from(name.contains('@') && !self.canonical.starts_with("vertex_ai"));
            return price(UNDATED / FORM + 2 * at + other_way, false);
        }
        if let Some(at) = place_of(&self.forms.placeless, name) {
            return price(PLACELESS / FORM + at, true);
        }
        self.elsewhere.iter().any(|other| other == name).then(|| Fit::Elsewhere { global: forms::is_global(name) })
    }

    /// What kind of place the caller named, where a price for no place may do.
    pub fn place(&self) -> Option<Place> {
        self.forms.place
    }

    /// How far the row's provider is from the one that is wanted, and whether it only stands in for it.
    fn distance(&self, provider: &str) -> Option<(u32, bool)> {
        if self.is_without_provider() || provider == self.provider {
            return Some((0, false));
        }
        let other = canonical(provider);
        if is_same(&other, &self.canonical) {
            return Some((1, false));
        }
        let (mine, others) = (family(&self.canonical), family(&other));
        if mine == others {
            return Some((2, false));
        }
        stands_in(mine, others).map(|place| (3 + place, true))
    }
}

/// Whether a price for no place is one for the place that was named. It depends on what is known of other places. One
/// question is whether a geography or region has a price of its own, and whether all of these agree with it. Another is
/// whether there is one for everywhere.
pub fn place_does_not_matter(named: Option<Place>, is_known: bool, all_agree: bool, global: bool) -> bool {
    match named {
        // Either of the two may be the dearer.
        Some(Place::Global) => !is_known,
        _ if is_known => all_agree,
        _ => !global,
    }
}

/// The provider that a model's name begins with, and the rest: LiteLLM's paths, and `provider:model` of other clients.
fn provider_in(name: &str) -> Option<(&'static str, &str)> {
    if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("arn:")) {
        return Some(("bedrock", name));
    }
    let at = name.find(['/', ':'])?;
    let (head, rest) = (name.get(..at)?, name.get(at + 1..).filter(|rest| !rest.is_empty())?);
    let is_path = name.get(at..=at) == Some("/");
    if is_path && is_organisation(head) && !is_its_own(head, rest) {
        return None;
    }
    Some((recognised(head)?, rest))
}

fn place_of(forms: &[String], name: &str) -> Option<u32> {
    forms.iter().position(|form| form == name).and_then(|at| u32::try_from(at).ok())
}

/// Whether a name is the provider and the other name, with a slash between.
fn is_path(name: &str, provider: &str, last: &str) -> bool {
    name.strip_prefix(provider).and_then(|rest| rest.strip_prefix('/')) == Some(last)
}

#[cfg(test)]
mod tests;
