//! Reports of a shape that was met before, read where they lie.
//!
//! Reports of one provider have the same keys again and again, and only their numbers differ. What was made of one is
//! remembered as a list of where each number goes. The next report is compared with it: the same keys, the same words, a
//! number where there was one. Then its counts are read by the list. Every other report is read from scratch, and so is
//! what the list cannot say: reports that leave something unknown, iterations, lengths of lists.
//!
//! What a model read or wrote may differ. It is passed over, but for the tools that ran.

use std::cell::RefCell;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::SERVICE_TIER;
use super::learning::{self, Expected, MOST_NODES, Member, Shape, Target};
use super::locate::Found;
use super::node::{Kind, Node};
use super::number::{MOST, fraction};
use super::quantities::{self, Quantities};
use super::reading::{Cost, Reading};
use super::resolve::{Counts, Resolved, resolve};
use crate::money::Picos;

/// How many shapes a thread remembers.
const MOST_MET: usize = 64;

const ONE: i128 = 1_000_000_000_000;
const MILLIONTH: i128 = 1_000_000;

#[derive(Default)]
struct Met {
    shapes: Vec<Shape>,
    /// Whose place the next one takes when there is no more room.
    next: usize,
}

thread_local! {
    static MET: RefCell<Met> = RefCell::default();
}

/// What a report says whose shape is known.
pub struct Counted {
    pub resolved: Resolved,
    pub quantities: Quantities,
    pub words: Vec<(&'static str, String)>,
    pub tier: Option<String>,
    pub cost: Option<Picos>,
}

/// In our form, without what was billed.
impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("input_tokens", &self.resolved.input)?;
        object.serialize_entry("output_tokens", &self.resolved.output)?;
        for (key, count) in &self.resolved.parts {
            object.serialize_entry(key, count)?;
        }
        for (key, units) in &self.quantities {
            object.serialize_entry(key, &fraction(*units))?;
        }
        for (key, word) in &self.words {
            object.serialize_entry(key, word)?;
        }
        if let Some(tier) = &self.tier {
            object.serialize_entry(SERVICE_TIER, tier)?;
        }
        object.end()
    }
}

/// Reads a report of a shape that was met before.
pub fn met<'a>(provider: &str, report: impl Node<'a>) -> Option<Counted> {
    MET.with_borrow(|met| {
        let mut known = met.shapes.iter().filter(|shape| *shape.provider == *provider);
        known.find_map(|shape| shape.read(report))
    })
}

/// Remembers the shape of a report, where it can be read by its shape alone.
pub fn meet(provider: &str, found: &Found<'_>, reading: &Reading) {
    let Some(shape) = learning::learn(provider, found, reading) else { return };
    MET.with_borrow_mut(|met| {
        // Numbers that are no counts are read from scratch every time.
        if met.shapes.contains(&shape) {
            return;
        }
        if met.shapes.len() < MOST_MET {
            met.shapes.push(shape);
        } else if let Some(place) = met.shapes.get_mut(met.next) {
            *place = shape;
            met.next = (met.next + 1) % MOST_MET;
        }
    });
}

/// What is read of a node's numbers, and of the tools that ran.
struct Numbers {
    told: [i128; MOST_NODES],
    tools: Quantities,
}

impl Shape {
    fn read<'a>(&self, report: impl Node<'a>) -> Option<Counted> {
        let mut numbers = Numbers { told: [0; MOST_NODES], tools: Quantities::new() };
        if !numbers.fit(&self.root, report) {
            return None;
        }
        let mut sums = [0_i64; MOST_NODES];
        let mut told = Quantities::new();
        let mut cost = Cost::paid_by(self.own_key);
        for (target, number) in self.targets.iter().zip(numbers.told) {
            match target {
                Target::Count(group) => {
                    let count = i64::try_from(whole(number, ONE)?).ok().filter(|count| *count <= MOST)?;
                    let sum = sums.get_mut(*group)?;
                    *sum = sum.saturating_add(count);
                }
                Target::Quantity(key) => {
                    let units = whole(number, MILLIONTH).filter(|units| *units <= i128::from(MOST) * MILLIONTH)?;
                    quantities::put(&mut told, key, units);
                }
                Target::Cost(amount) => {
                    let money = Picos::new(whole(number, 10_i128.pow(amount.places()))?).ok()?;
                    cost.add(*amount, money);
                }
            }
        }
        let mut counts = Counts::default();
        for (slot, sum) in self.groups.iter().zip(sums) {
            counts.at_least(*slot, sum.min(MOST));
        }
        if self.explicit {
            counts.read_explicitly();
        }
        let resolved = resolve(self.by, &counts);
        let billed = cost.total();
        if !resolved.total_fits || billed.is_none() && cost.is_billed() {
            return None;
        }
        for (key, units) in numbers.tools {
            quantities::put(&mut told, key, units);
        }
        // What came of the call may count, then.
        if resolved.input == 0 && resolved.output == 0 && told.is_empty() && billed.is_none() {
            return None;
        }
        Some(Counted { resolved, quantities: told, words: self.words.clone(), tier: self.tier.clone(), cost: billed })
    }
}

/// How many units a number is, where it is exact.
fn whole(number: i128, unit: i128) -> Option<i128> {
    (number % unit == 0).then(|| number / unit)
}

impl Numbers {
    /// Whether a node is what is expected; takes its numbers.
    fn fit<'a>(&mut self, expected: &Expected, node: impl Node<'a>) -> bool {
        match (expected, node.kind()) {
            (Expected::Null, Kind::Null) => true,
            (Expected::Bool(truth), Kind::Bool(own)) => *truth == own,
            (Expected::Text(text), Kind::Text(own)) => **text == *own,
            (Expected::AnyText, Kind::Text(_)) => true,
            (Expected::Number(None), Kind::Number) => node.is_within_bounds(),
            (Expected::Number(Some(target)), Kind::Number) => {
                let (Some(number), Some(place)) = (node.picos(), self.told.get_mut(*target)) else { return false };
                *place = number;
                number % ONE == 0 || node.is_within_bounds()
            }
            (Expected::List(list), Kind::List) => {
                let mut elements = node.elements();
                list.iter().all(|expected| elements.next().is_some_and(|element| self.fit(expected, element)))
                    && elements.next().is_none()
            }
            (Expected::Object(members), Kind::Object) => self.all_fit(members, node),
            (Expected::Around(members), Kind::Object) => {
                let fit = self.all_fit(members, node);
                if fit {
                    // The outermost first.
                    let tools = super::beside::tools(node.get("output"), node.get("candidates"));
                    self.tools.splice(0..0, tools.map(|(key, count)| (key, quantities::whole(count))));
                }
                fit
            }
            (Expected::NoObject, Kind::Object) => false,
            (Expected::Anything | Expected::NoObject, _) => node.is_within_bounds(),
            _ => false,
        }
    }

    fn all_fit<'a>(&mut self, expected: &[Member], node: impl Node<'a>) -> bool {
        let mut members = node.members();
        let mut expected = expected.iter();
        loop {
            match (expected.next(), members.next()) {
                (None, None) => return true,
                (Some(member), Some((key, value))) if *member.key == *key && self.fit(&member.value, value) => {}
                _ => return false,
            }
        }
    }
}
