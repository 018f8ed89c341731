//! Where in a response the usage object lies.

use serde_json::{Map, Value};

use super::compiled::{Compiled, Provider};
use super::role::{Role, role};
use super::shape::{Leaves, says};
use super::slot::Place;
use super::told;

const MOST_LEVELS: usize = 8;
const MOST_OBJECTS: usize = 500;
const MOST_ITEMS: usize = 50;

/// An object that is read as usage, below those that it lies in, the outermost first.
pub struct Found<'a> {
    pub usage: &'a Map<String, Value>,
    /// Each with the key that leads on.
    pub around: Vec<(&'a Map<String, Value>, &'a str)>,
    /// What the object says.
    pub leaves: Leaves<'a>,
    /// Who reads it.
    pub reader: &'static Compiled,
}

impl<'a> Found<'a> {
    /// The same place with another object in it.
    pub fn of(self, provider: &Provider<'_>, usage: &'a Map<String, Value>) -> Self {
        let mut leaves = Leaves::default();
        leaves.add(usage);
        let reader = Compiled::of(provider, &leaves);
        Self { usage, leaves, reader, ..self }
    }
}

/// The usage object of whatever a caller gives: the object itself, or the first below it that says a count.
pub fn locate<'a>(provider: &Provider<'_>, root: &'a Map<String, Value>) -> Option<Found<'a>> {
    let mut search = Search { provider, around: Vec::new(), objects: 0 };
    let (usage, leaves, reader) = search.object(root, true)?;
    Some(Found { usage, around: search.around, leaves, reader })
}

struct Search<'a, 'p> {
    provider: &'p Provider<'p>,
    around: Vec<(&'a Map<String, Value>, &'a str)>,
    objects: usize,
}

type Usage<'a> = (&'a Map<String, Value>, Leaves<'a>, &'static Compiled);

impl<'a> Search<'a, '_> {
    fn object(&mut self, object: &'a Map<String, Value>, is_named: bool) -> Option<Usage<'a>> {
        self.objects += 1;
        if self.objects > MOST_OBJECTS || self.around.len() > MOST_LEVELS {
            return None;
        }
        // By its name, then the object itself, then wherever else.
        for (_, raw, value) in children(object, |role| role.is_name()) {
            if let Some(found) = self.below(object, raw, value, true) {
                return Some(found);
            }
        }
        if let Some((leaves, reader)) = counts(self.provider, object, !is_named) {
            return Some((object, leaves, reader));
        }
        for (role, raw, value) in children(object, |role| !role.is_name() && !role.closed) {
            if let Some(found) = self.below(object, raw, value, role.trusted) {
                return Some(found);
            }
        }
        None
    }

    fn below(
        &mut self,
        object: &'a Map<String, Value>,
        raw: &'a str,
        value: &'a Value,
        is_named: bool,
    ) -> Option<Usage<'a>> {
        self.around.push((object, raw));
        let found = match value {
            Value::Object(inner) => self.object(inner, is_named),
            Value::Array(list) => {
                list.iter().take(MOST_ITEMS).filter_map(Value::as_object).find_map(|inner| self.object(inner, false))
            }
            _ => None,
        };
        if found.is_none() {
            self.around.pop();
        }
        found
    }
}

/// The keys of an object that hold others and are such ones, in the order in which they are looked into.
fn children(object: &Map<String, Value>, such: impl Fn(Role) -> bool) -> Vec<(Role, &str, &Value)> {
    let holding = object.iter().filter(|(_, value)| value.is_object() || value.is_array());
    let known = holding.map(|(raw, value)| (role(raw), raw.as_str(), value));
    let mut children: Vec<_> = known.filter(|(role, ..)| such(*role)).collect();
    children.sort_by_key(|(role, ..)| role.rank);
    children
}

/// What an object says, if that is a count. Somewhere deep in a response only a key that speaks of tokens is believed.
fn counts<'a>(
    provider: &Provider<'_>,
    object: &'a Map<String, Value>,
    only_tokens: bool,
) -> Option<(Leaves<'a>, &'static Compiled)> {
    let mut leaves = Leaves::default();
    leaves.add(object);
    let reader = Compiled::of(provider, &leaves);
    let counted = leaves.list.iter().any(|leaf| {
        let is_count = match reader.place(leaf) {
            Some(Place::Length(_)) => true,
            Some(Place::Tokens(_) | Place::Quantity(_) | Place::Guardrail(_)) => !leaf.value.is_array(),
            _ => false,
        };
        is_count && reader.knows(leaf) && (!only_tokens || leaf.meaning.tokens) && says(leaf.value)
    });
    counted.then_some((leaves, reader))
}

/// Whether a value says what a usage object does, of something else.
fn is_alike(value: &Value, usage: &Map<String, Value>) -> bool {
    value.as_object().is_some_and(|other| usage.keys().all(|key| other.contains_key(key)))
}

/// Adds what stands beside the usage object to its leaves, the innermost first, and looks again who reads them; the rest of it
/// that is about usage comes back.
pub fn beside<'a>(provider: &Provider<'_>, found: &mut Found<'a>) -> Map<String, Value> {
    let mut rest = Map::new();
    let alone = found.leaves.list.len();
    for (around, inner) in found.around.iter().rev() {
        for (raw, value) in around.iter().filter(|(raw, _)| raw != inner) {
            let role = role(raw);
            if role.beside {
                found.leaves.add_key(raw, value);
            } else if (role.measure || !role.content && is_alike(value, found.usage))
                && told::says_something(value)
                && !rest.contains_key(raw)
            {
                rest.insert(raw.clone(), told::shortened(value));
            }
        }
    }
    if found.leaves.list.len() > alone {
        found.reader = Compiled::of(provider, &found.leaves);
    }
    rest
}
