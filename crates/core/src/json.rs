//! JSON that others wrote: read as it is written, or into a known shape by derived code, with where in it something is
//! wrong.
//!
//! `serde_json` passes a number, whose text it keeps, on as a map of one key of its own to that text. What it reads into a
//! [`Value`] by itself takes an object with that key for a number. Anybody may write such an object, so it is never asked
//! to: what is foreign is read by [`parse`] and [`Exact`].

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;

/// What a text says, or why it is no JSON.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Exact>(text).map(|Exact(value)| value)
}

/// A value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact(pub Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Reader(Any).deserialize(json).map(Self)
    }
}

/// What a reader of values insists on, at one level of nesting.
pub(crate) trait Rule: Copy {
    /// The rule within one more object or list.
    fn inner<E: Error>(self) -> Result<Self, E>;

    /// Whether a key may stand in an object again, with the same value or with another one.
    fn again<E: Error>(self, key: &str, is_same: bool) -> Result<(), E>;
}

/// Whatever is JSON: of a key that stands there twice the last value counts.
#[derive(Clone, Copy)]
struct Any;

impl Rule for Any {
    fn inner<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn again<E: Error>(self, _: &str, _: bool) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a value as it is written, by a rule.
#[derive(Clone, Copy)]
pub(crate) struct Reader<R>(pub R);

impl<'de, R: Rule> DeserializeSeed<'de> for Reader<R> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, R: Rule> Visitor<'de> for Reader<R> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        number.to_string().parse().map(Value::Number).map_err(Error::custom)
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        number.to_string().parse().map(Value::Number).map_err(Error::custom)
    }

    /// A value passes a number on like this where its text is the one that names this float.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| Error::custom("a number that is not finite"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = Self(self.0.inner()?);
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut next = match map.next_key()? {
            Some(Key::OfNumber) => {
                return map.next_value::<String>()?.parse().map(Value::Number).map_err(Error::custom);
            }
            Some(Key::Written(key)) => Some(key),
            None => None,
        };
        let inner = Self(self.0.inner()?);
        let mut values = Map::new();
        while let Some(key) = next {
            let value = map.next_value_seed(inner)?;
            if let Some(other) = values.get(&key) {
                self.0.again(&key, *other == value)?;
            }
            values.insert(key, value);
            next = map.next_key()?;
        }
        Ok(values.into())
    }
}

/// The key of a map. One that is written is there when it is asked whether it is; that of a number answers with its name
/// whatever it is asked.
enum Key {
    Written(String),
    OfNumber,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(key: D) -> Result<Self, D::Error> {
        key.deserialize_option(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_some<D: Deserializer<'de>>(self, key: D) -> Result<Key, D::Error> {
        String::deserialize(key).map(Key::Written)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Key, E> {
        Ok(Key::OfNumber)
    }
}

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
    Option::<Exact>::deserialize(json)?.map(|Exact(value)| read(value)).transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Rounding, parse_scaled};

    const KEY: &str = "$serde_json::private::Number";

    #[test]
    fn json_is_read_as_it_is_written() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.30e-10,0.1000,-0,"\u00e4\n"],"b":{},"c":[],"c":[1]}"#;
        let read = parse(text).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
        assert!(read.to_string().contains("[null,true,-1,18446744073709551615,1.30e-10,0.1000,-0,"), "{read}");
        for text in ["", "{", "[01]", "{} {}", &"[".repeat(1_000)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    /// Neither is it a number, nor does it spoil what stands beside it.
    #[test]
    fn an_object_is_no_number_whatever_its_key() {
        for inner in ["\"5\"", "\"bob\"", "5", "{}"] {
            for text in
                [format!("{{\"{KEY}\":{inner}}}"), format!("{{\"\\u0024serde_json::private::Number\":{inner}}}")]
            {
                let read = parse(&text).unwrap();
                assert_eq!(read.as_object().unwrap()[KEY], parse(inner).unwrap(), "{text}");
                let nested = parse(&format!("{{\"a\":[{text}],\"b\":1.50}}")).unwrap();
                assert_eq!((nested["a"][0] == read, nested["b"].to_string().as_str()), (true, "1.50"));
                assert_eq!(read_again(&text), Some(read));
            }
        }
    }

    #[test]
    fn a_number_that_is_read_again_is_the_same() {
        for text in [
            "0.7",
            "0.10",
            "-3",
            "1e-12",
            "1.5e300",
            "18446744073709551616",
            "-170141183460469231731687303715884105728",
        ] {
            let again = read_again(text).unwrap().to_string();
            assert_eq!(
                parse_scaled(&again, 30, Rounding::Exact),
                parse_scaled(text, 30, Rounding::Exact),
                "{text}: {again}"
            );
        }
        assert_eq!(read_again("1.50").unwrap().to_string(), "1.50");
    }

    /// Into a known shape.
    fn read_again(text: &str) -> Option<Value> {
        let Value::Object(object) = parse(&format!("{{\"field\":{text}}}")).unwrap() else { panic!() };
        let Shape { field } = super::read(object).unwrap();
        field
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[serde(deserialize_with = "any")]
        field: Option<Value>,
    }

    fn any<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Value>, D::Error> {
        nullable(json, Ok)
    }
}
