//! What there is to remember of a report that was read, so that the next one of its shape is read where it lies.

use serde_json::{Map, Value};

use super::lexicon::Id;
use super::locate::Found;
use super::reading::Reading;
use super::resolve::Conventions;
use super::role::role;
use super::shape::Leaf;
use super::slot::{Amount, Place, Slot};
use super::{IMAGE_TOOL, UNKNOWN, own};

/// The most nodes and the longest word of a shape that is remembered.
pub const MOST_NODES: usize = 120;
const MOST_BYTES: usize = 100;

/// What has to stand in the place of a node.
#[derive(PartialEq, Eq)]
pub enum Expected {
    Null,
    Bool(bool),
    Text(Box<[u8]>),
    /// Whatever word.
    AnyText,
    /// A number, and which of the shape's targets takes it.
    Number(Option<usize>),
    List(Vec<Expected>),
    Object(Vec<Member>),
    /// An object around the usage, whose tools count.
    Around(Vec<Member>),
    /// Whatever is written there.
    Anything,
    /// The same, but for an object.
    NoObject,
}

#[derive(PartialEq, Eq)]
pub struct Member {
    pub key: Box<[u8]>,
    pub value: Expected,
}

/// Where a number goes.
#[derive(PartialEq, Eq)]
pub enum Target {
    /// Numbers of one group count to one place.
    Count(usize),
    Quantity(&'static str),
    Cost(Amount),
}

/// A shape that was met.
#[derive(PartialEq, Eq)]
pub struct Shape {
    pub provider: Box<str>,
    pub root: Expected,
    pub targets: Vec<Target>,
    pub groups: Vec<Slot>,
    pub by: Conventions,
    pub words: Vec<(&'static str, String)>,
    pub tier: Option<String>,
    /// Whether the caller's own key paid the provider.
    pub own_key: Option<bool>,
    /// Whether the cache that was read was made by the caller.
    pub explicit: bool,
}

/// What tells of tools that ran, beside a usage object: see `beside::tools`.
const SCANNED: [&str; 2] = ["output", "candidates"];

/// The shape of a report, unless what is made of it depends on more than where its numbers go.
pub fn learn(provider: &str, found: &Found<'_>, reading: &Reading) -> Option<Shape> {
    let around = || found.around.iter().map(|(object, _)| *object);
    let draws =
        |object: &Map<String, Value>| object.get("tool_usage").is_some_and(|tools| tools.get(IMAGE_TOOL).is_some());
    let may_be_own = |object: &Map<String, Value>| {
        ["input_tokens", "output_tokens"].iter().all(|key| object.contains_key(*key))
            && object.keys().all(|key| own::is_own_key(key))
    };
    if provider.len() > MOST_BYTES
        || found.leaves.iterates
        || found.usage.contains_key(UNKNOWN)
        || may_be_own(found.usage)
        || around().any(|object| may_be_own(object) || draws(object))
        || !reading.says_all()
    {
        return None;
    }
    let mut learning = Learning { found, targets: Vec::new(), groups: Vec::new(), nodes: 0 };
    learning.take_targets()?;
    let root = learning.level(0)?;
    let (by, words) = (reading.conventions(), reading.words());
    Some(Shape {
        provider: provider.into(),
        root,
        targets: learning.targets.into_iter().map(|(_, target)| target).collect(),
        groups: learning.groups.into_iter().map(|(.., slot)| slot).collect(),
        by,
        words: words.words.to_vec(),
        tier: words.tier.map(str::to_owned),
        own_key: words.own_key,
        explicit: words.explicit,
    })
}

struct Learning<'a, 'f> {
    found: &'f Found<'a>,
    /// In the order of the leaves, which is that in which they count.
    targets: Vec<(&'a Value, Target)>,
    /// Elements of a list count to one place, and so do keys that say the same.
    groups: Vec<(Option<Id>, usize, Slot)>,
    nodes: usize,
}

impl<'a> Learning<'a, '_> {
    /// Where each number goes; nothing where a leaf's value says more than what it is compared with.
    fn take_targets(&mut self) -> Option<()> {
        for leaf in &self.found.leaves.list {
            match (self.found.reader.place(leaf), leaf.value) {
                (Some(Place::Tokens(slot)), Value::Number(_)) => {
                    let is_same =
                        |group: &(Option<Id>, usize, Slot)| group.0 == leaf.meaning.id && group.1 == leaf.node;
                    let group = self.groups.iter().position(is_same).unwrap_or_else(|| {
                        self.groups.push((leaf.meaning.id, leaf.node, slot));
                        self.groups.len() - 1
                    });
                    self.targets.push((leaf.value, Target::Count(group)));
                }
                (Some(Place::Quantity(key)), Value::Number(_)) => {
                    self.targets.push((leaf.value, Target::Quantity(key)))
                }
                (Some(Place::Cost(amount)), Value::Number(_)) => self.targets.push((leaf.value, Target::Cost(amount))),
                (Some(Place::Known), Value::Number(_) | Value::Bool(_) | Value::String(_) | Value::Array(_))
                | (Some(Place::Word(_) | Place::Tier | Place::CacheType), Value::String(_))
                | (Some(Place::OwnKey), Value::Bool(_))
                | (_, Value::Null) => {}
                (None, _) if self.is_passed_over(leaf) => {}
                _ => return None,
            }
        }
        Some(())
    }

    /// Whether a leaf is a word or number of what a model read or wrote, which nothing depends on.
    fn is_passed_over(&self, leaf: &Leaf<'_>) -> bool {
        let is_plain = matches!(leaf.value, Value::String(_) | Value::Number(_));
        let is_listed = leaf.in_list && leaf.meaning.content;
        is_plain
            && leaf.meaning.id.is_none()
            && leaf.meaning.below.is_none()
            && (is_listed || self.found.leaves.outermost(leaf).is_some_and(|key| role(key).content))
    }

    /// The object at a depth: those around the usage, and itself.
    fn level(&mut self, depth: usize) -> Option<Expected> {
        let Some((object, inner)) = self.found.around.get(depth) else {
            return self.object(self.found.usage);
        };
        let next = self.found.around.get(depth + 1).map_or(self.found.usage, |(object, _)| *object);
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in *object {
            let role = role(key);
            let value = if key == inner {
                // One that was found by its name is found before all others.
                let is_next = value.as_object().is_some_and(|own| std::ptr::eq(own, next));
                if !is_next || !role.is_name() {
                    return None;
                }
                self.level(depth + 1)?
            } else if role.is_name() || role.beside || role.measure || key == "object" {
                self.exactly(value)?
            } else if role.content {
                Expected::Anything
            } else if value.is_object() {
                self.exactly(value)?
            } else {
                Expected::NoObject
            };
            members.push((key, value));
        }
        let scanned = SCANNED.iter().any(|key| object.contains_key(*key));
        let members = self.sorted(members)?;
        Some(if scanned { Expected::Around(members) } else { Expected::Object(members) })
    }

    fn object(&mut self, object: &'a Map<String, Value>) -> Option<Expected> {
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in object {
            members.push((key, self.exactly(value)?));
        }
        Some(Expected::Object(self.sorted(members)?))
    }

    /// In the order in which a document has them.
    fn sorted(&mut self, mut members: Vec<(&String, Expected)>) -> Option<Vec<Member>> {
        self.nodes += members.len();
        if self.nodes > MOST_NODES || members.iter().any(|(key, _)| key.len() > MOST_BYTES) {
            return None;
        }
        members.sort_by_key(|(key, _)| key.len());
        Some(members.into_iter().map(|(key, value)| Member { key: key.as_bytes().into(), value }).collect())
    }

    fn exactly(&mut self, value: &'a Value) -> Option<Expected> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return None;
        }
        let of = |leaf: &&Leaf<'_>| std::ptr::eq(leaf.value, value);
        Some(match value {
            Value::Null => Expected::Null,
            Value::Bool(truth) => Expected::Bool(*truth),
            Value::Number(_) => Expected::Number(self.targets.iter().position(|(own, _)| std::ptr::eq(*own, value))),
            Value::String(text) => match self.found.leaves.list.iter().find(of) {
                Some(leaf) if self.is_passed_over(leaf) => Expected::AnyText,
                _ if text.len() <= MOST_BYTES => Expected::Text(text.as_bytes().into()),
                _ => return None,
            },
            Value::Array(list) => Expected::List(list.iter().map(|item| self.exactly(item)).collect::<Option<_>>()?),
            Value::Object(object) => self.object(object)?,
        })
    }
}
