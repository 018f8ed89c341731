//! A JSON document where it lies: what reads a report of a shape that was met before asks of one, so that nothing is copied
//! out of it first.

use serde_json::Value;

use crate::money::{Rounding, parse_scaled};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    Null,
    Bool(bool),
    Number,
    Text(&'a [u8]),
    List,
    Object,
}

/// A value of a document, which lives as long as that.
pub trait Node<'a>: Copy {
    fn kind(self) -> Kind<'a>;

    /// A number that is not negative, in units of 1e-12 and exact; `None` for every other.
    fn picos(self) -> Option<i128>;

    /// The members of an object by their keys: short ones first, those of one length by their bytes.
    fn members(self) -> impl Iterator<Item = (&'a [u8], Self)>;

    /// The elements of a list.
    fn elements(self) -> impl Iterator<Item = Self>;

    /// Whether all below it would be read, too, by one who takes the document as a whole.
    fn is_within_bounds(self) -> bool;

    /// The member of an object by its key.
    fn get(self, key: &str) -> Option<Self> {
        self.members().find(|(own, _)| *own == key.as_bytes()).map(|(_, value)| value)
    }

    fn text(self) -> Option<&'a [u8]> {
        match self.kind() {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> Node<'a> for &'a Value {
    fn kind(self) -> Kind<'a> {
        match self {
            Value::Null => Kind::Null,
            Value::Bool(truth) => Kind::Bool(*truth),
            Value::Number(_) => Kind::Number,
            Value::String(text) => Kind::Text(text.as_bytes()),
            Value::Array(_) => Kind::List,
            Value::Object(_) => Kind::Object,
        }
    }

    fn picos(self) -> Option<i128> {
        parse_scaled(self.as_number()?.as_str(), 12, Rounding::Exact).ok()
    }

    fn members(self) -> impl Iterator<Item = (&'a [u8], Self)> {
        let mut members: Vec<_> =
            self.as_object().into_iter().flatten().map(|(key, value)| (key.as_bytes(), value)).collect();
        // A map's keys are sorted by their bytes already.
        members.sort_by_key(|(key, _)| key.len());
        members.into_iter()
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        self.as_array().into_iter().flatten()
    }

    fn is_within_bounds(self) -> bool {
        true
    }

    fn get(self, key: &str) -> Option<Self> {
        Value::get(self, key)
    }
}
