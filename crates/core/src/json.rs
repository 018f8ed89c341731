//! Objects of a known shape, read by derived code, and where in one something is wrong.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

/// Why an object is not of its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The keys that lead to what is wrong.
    pub path: Vec<String>,
    /// What the value of the last key must be, as a clause; `None` when that key is not known.
    pub why: Option<String>,
}

/// Reads an object into a type that derives `Deserialize` with `deny_unknown_fields` and takes its fields by [`nullable`].
pub fn read<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let key = |segment: &Segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        };
        let path = error.path().iter().filter_map(key).collect();
        let why = error.into_inner().to_string();
        Misfit { path, why: (!why.starts_with("unknown field")).then_some(why) }
    })
}

/// A field that may be null, as `read` takes it, or the clause that says why it does not.
pub fn nullable<'de, D: Deserializer<'de>, T>(
    json: D,
    read: impl FnOnce(Value) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    Option::<Value>::deserialize(json)?.map(read).transpose().map_err(D::Error::custom)
}
