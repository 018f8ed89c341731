//! Reading the leaves of a usage object by the table.

use serde_json::{Map, Value};

use super::compiled::Compiled;
use super::lexicon::{self, Id};
use super::number::{self, Count};
use super::quantities::{self, Quantities};
use super::readers::Counted;
use super::resolve::{Conventions, Counts, resolve};
use super::role::role;
use super::shape::{Leaf, Leaves};
use super::slot::{Amount, Place, Slot};
use super::{REPORTED_COST, SERVICE_TIER, UNKNOWN, beside, told};
use crate::money::Picos;

/// What has been read of an object.
pub struct Reading {
    reader: &'static Compiled,
    by: Conventions,
    /// Whether a whole that cannot be read is passed over.
    lenient: bool,
    counts: Counts,
    /// In millionths.
    quantities: Quantities,
    words: Vec<(&'static str, String)>,
    /// Units of a guardrail's policies.
    guardrail: Map<String, Value>,
    tier: Option<String>,
    cost: Cost,
    cost_node: Option<usize>,
    /// Whether the cache that was read was made by the caller.
    explicit: bool,
    /// Nodes of what was not understood.
    unread: Vec<usize>,
    total_node: Option<usize>,
    /// What stands beside the object and was not understood.
    rest: Map<String, Value>,
}

/// What a report says in words, which are the same in every report of its shape.
pub struct Words<'a> {
    pub words: &'a [(&'static str, String)],
    pub tier: Option<&'a str>,
    /// Whether the caller's own key paid the provider.
    pub own_key: Option<bool>,
    /// Whether the cache that was read was made by the caller.
    pub explicit: bool,
}

/// What a gateway says that it billed.
#[derive(Default)]
pub struct Cost {
    billed: Option<Picos>,
    upstream: Option<Picos>,
    own_key: Option<bool>,
}

impl Cost {
    /// Nothing yet, of a call that the caller's own key paid or did not pay.
    pub fn paid_by(own_key: Option<bool>) -> Self {
        Self { own_key, ..Self::default() }
    }

    /// Takes an amount, unless one of its kind was told before; says whether it is the one that was billed.
    pub fn add(&mut self, amount: Amount, money: Picos) -> bool {
        if amount == Amount::Upstream {
            self.upstream = Some(money);
            return false;
        }
        let first = self.billed.is_none();
        self.billed = self.billed.or(Some(money));
        first
    }

    /// Whether an amount was billed, of which it may not be known what it is part of.
    pub fn is_billed(&self) -> bool {
        self.billed.is_some()
    }

    /// With the caller's own key the provider's bill comes beside the gateway's fee; a bill that is not told is not known.
    pub fn total(&self) -> Option<Picos> {
        let billed = self.billed?;
        let nothing = billed == Picos::ZERO;
        match (self.own_key, self.upstream) {
            (Some(true), None) => None,
            (Some(true), Some(upstream)) => billed.checked_add(upstream).ok(),
            (None, Some(upstream)) if nothing => Some(upstream),
            _ => Some(billed),
        }
    }
}

impl Reading {
    /// Nothing yet, but for what stands beside the object and was not understood.
    pub fn new(reader: &'static Compiled, rest: Map<String, Value>) -> Self {
        Self {
            reader,
            by: Conventions {
                cached: reader.reader.cached,
                reasoning: reader.reader.reasoning,
                recording: reader.reader.recording,
            },
            lenient: false,
            rest,
            counts: Counts::default(),
            quantities: Vec::new(),
            words: Vec::new(),
            guardrail: Map::new(),
            tier: None,
            cost: Cost::default(),
            cost_node: None,
            explicit: false,
            unread: Vec::new(),
            total_node: None,
        }
    }

    /// Takes every leaf; fails where a whole is there and cannot be read.
    pub fn read(&mut self, leaves: &Leaves<'_>) -> Result<(), String> {
        // Elements of a list count to one place; keys that say the same are one.
        let mut sums: Vec<(Option<Id>, usize, Slot, i64)> = Vec::with_capacity(leaves.list.len());
        for leaf in &leaves.list {
            match self.reader.place(leaf) {
                Some(Place::Tokens(slot)) => self.count(leaf, slot, &mut sums)?,
                Some(Place::Length(slot)) => {
                    let length = leaf.value.as_array().map_or(0, Vec::len);
                    if length > 0 {
                        self.counts.at_least(slot, i64::try_from(length).unwrap_or(number::MOST));
                    }
                }
                Some(place) => self.place(leaf, place),
                None if leaf.in_list && leaf.meaning.content => {}
                None => self.unread.push(leaf.node),
            }
        }
        for (.., slot, sum) in sums {
            self.counts.at_least(slot, sum.min(number::MOST));
        }
        if self.explicit {
            self.counts.read_explicitly();
        }
        Ok(())
    }

    fn count(
        &mut self,
        leaf: &Leaf<'_>,
        slot: Slot,
        sums: &mut Vec<(Option<Id>, usize, Slot, i64)>,
    ) -> Result<(), String> {
        if slot == Slot::Total {
            self.total_node = Some(leaf.node);
        }
        let count = match number::count(leaf.value) {
            Count::Nothing => return Ok(()),
            Count::Whole(count) => count,
            Count::RoundedUp(count) => {
                self.unread.push(leaf.node);
                count
            }
            // A whole that cannot be read is not 0; a part that cannot be is told.
            Count::Unreadable(why)
                if !self.lenient && matches!(slot, Slot::Input | Slot::Output) && !is_empty(leaf.value) =>
            {
                return Err(format!("{} {why}", lexicon::name(leaf.meaning.id)));
            }
            Count::Unreadable(_) => {
                self.unread.push(leaf.node);
                return Ok(());
            }
        };
        match sums.iter_mut().find(|(id, node, ..)| *node == leaf.node && *id == leaf.meaning.id) {
            Some((.., sum)) => *sum = sum.saturating_add(count),
            None => sums.push((leaf.meaning.id, leaf.node, slot, count)),
        }
        Ok(())
    }

    fn place(&mut self, leaf: &Leaf<'_>, place: Place) {
        let understood = match place {
            Place::Quantity(key) => self.quantity(key, leaf.value),
            Place::Word(key) => self.word(key, leaf.value),
            Place::Tier => match leaf.value.as_str() {
                Some(word) => {
                    self.tier = self.tier.take().or_else(|| tier(word));
                    true
                }
                None => leaf.value.is_null(),
            },
            Place::TierIs(name) => match number::count(leaf.value) {
                Count::Whole(tokens) => {
                    self.tier = self.tier.take().or_else(|| (tokens > 0).then(|| name.to_owned()));
                    true
                }
                Count::Nothing => true,
                Count::RoundedUp(_) | Count::Unreadable(_) => false,
            },
            Place::Cost(amount) => self.cost(leaf, amount),
            Place::OwnKey => {
                self.cost.own_key = leaf.value.as_bool();
                leaf.value.is_boolean() || leaf.value.is_null()
            }
            Place::Guardrail(policy) => self.guardrail(policy, leaf.value),
            Place::ToolsRun => beside::tools_run(leaf.value, &mut self.quantities),
            Place::CacheType => {
                self.explicit = leaf.value.as_str() == Some("ephemeral");
                true
            }
            Place::Known => true,
            Place::Unknown | Place::Tokens(_) | Place::Length(_) => false,
        };
        if !understood {
            self.unread.push(leaf.node);
        }
    }

    fn quantity(&mut self, key: &'static str, value: &Value) -> bool {
        match number::quantity(value) {
            Ok(None) => true,
            Ok(Some(units)) => {
                quantities::put(&mut self.quantities, key, units);
                true
            }
            Err(_) => match value {
                // Mistral writes an empty object for no audio.
                Value::Object(object) => object.is_empty(),
                // A list of queries.
                Value::Array(list) => list.is_empty() || self.quantity(key, &list.len().into()),
                _ => false,
            },
        }
    }

    fn guardrail(&mut self, policy: &'static str, value: &Value) -> bool {
        match number::count(value) {
            Count::Whole(units) | Count::RoundedUp(units) => {
                if units > 0 {
                    self.guardrail.insert(policy.to_owned(), units.into());
                }
                true
            }
            Count::Nothing => true,
            Count::Unreadable(_) => false,
        }
    }

    fn word(&mut self, key: &'static str, value: &Value) -> bool {
        match value {
            Value::String(word) if word.len() <= 100 => {
                if !word.is_empty() && !self.words.iter().any(|(known, _)| *known == key) {
                    self.words.push((key, word.clone()));
                }
                true
            }
            other => other.is_null(),
        }
    }

    fn cost(&mut self, leaf: &Leaf<'_>, amount: Amount) -> bool {
        if leaf.value.is_null() {
            return true;
        }
        let Some(money) = number::money(leaf.value, amount.places()) else { return false };
        if self.cost.add(amount, money) {
            self.cost_node = Some(leaf.node);
        }
        true
    }

    /// Takes the parts of wholes that the caller has counted, inclusively where they fit.
    pub fn read_parts(&mut self, leaves: &Leaves<'_>, input: i64, output: i64) {
        self.lenient = true;
        // With that nothing fails.
        let _ = self.read(leaves);
        self.counts.settle(Slot::Input, input);
        self.counts.settle(Slot::Output, output);
        for slot in [Slot::Fresh, Slot::Tools, Slot::Total] {
            self.counts.forget(slot);
        }
        self.total_node = None;
        self.by = Conventions { cached: Counted::Within, reasoning: Counted::Within, recording: false };
    }

    /// What a response around the object says.
    pub fn beside(&mut self, around: &Map<String, Value>) {
        for (key, count) in beside::tools(around.get("output"), around.get("candidates")) {
            quantities::put(&mut self.quantities, key, quantities::whole(count));
        }
        beside::batch(around, &mut self.tier);
    }

    pub fn conventions(&self) -> Conventions {
        self.by
    }

    /// What is said in words.
    pub fn words(&self) -> Words<'_> {
        let (words, tier) = (self.words.as_slice(), self.tier.as_deref());
        Words { words, tier, own_key: self.cost.own_key, explicit: self.explicit }
    }

    /// Whether nothing was found beside the object that is not understood, and nothing that is no number or word.
    pub fn says_all(&self) -> bool {
        self.rest.is_empty() && self.guardrail.is_empty()
    }

    /// The cost that is reported, if that is all.
    pub fn reported_cost(&self) -> Option<Picos> {
        self.cost.total()
    }

    /// The object in our form.
    pub fn finish(mut self, leaves: &Leaves<'_>) -> Map<String, Value> {
        let resolved = resolve(self.by, &self.counts);
        if !resolved.total_fits {
            self.unread.extend(self.total_node);
        }
        let cost = self.cost.total();
        if cost.is_none() {
            self.unread.extend(self.cost_node);
        }
        let mut out = Map::new();
        out.insert("input_tokens".to_owned(), resolved.input.into());
        out.insert("output_tokens".to_owned(), resolved.output.into());
        for (key, count) in resolved.parts {
            out.insert(key.to_owned(), count.into());
        }
        for (key, quantity) in self.quantities {
            out.insert(key.to_owned(), number::fraction(quantity));
        }
        for (key, word) in self.words {
            out.insert(key.to_owned(), word.into());
        }
        if !self.guardrail.is_empty() {
            out.insert("guardrail_units".to_owned(), Value::Object(self.guardrail));
        }
        if let Some(tier) = self.tier {
            out.insert(SERVICE_TIER.to_owned(), tier.into());
        }
        if let Some(cost) = cost {
            out.insert(REPORTED_COST.to_owned(), number::decimal(cost.get(), 12));
        }
        let mut rest = leaves.rest(&self.unread);
        rest.retain(|raw, _| !role(raw).content);
        for (key, value) in self.rest {
            rest.entry(key).or_insert(value);
        }
        let rest = told::bounded(rest);
        if !rest.is_empty() {
            out.insert(UNKNOWN.to_owned(), Value::Object(rest));
        }
        out
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Object(object) if object.is_empty())
}

/// A tier by the name that prices have for it; nothing where none was meant.
pub fn tier(word: &str) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    let name = lower.strip_prefix("service_tier_").or_else(|| lower.strip_prefix("traffic_type_")).unwrap_or(&lower);
    match name {
        "" | "auto" | "unspecified" | "null" | "none" => None,
        "on_demand" => Some("standard".to_owned()),
        "on_demand_priority" => Some("priority".to_owned()),
        "on_demand_flex" => Some("flex".to_owned()),
        name if name.len() <= 100 => Some(name.to_owned()),
        _ => None,
    }
}
