//! Anything that serde can serialise, written as a `jsonb`: as it lies, without its text in between.
//!
//! The format is that of `jsonb.h`, which `pg_upgrade` has kept since 9.4. A container is a header with its count, an
//! entry for each key and value, and then what they are. Numbers and containers begin at a multiple of four, and the
//! bytes before count as theirs. Keys are sorted by length first, and stand before the values.

use std::cmp::Ordering;
use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use pgrx::pg_sys;
use serde::ser::{self, Impossible, Serialize};

use super::jsonb::Document;
use super::numeric;
use super::value::{Json, Value as Datum};
use crate::error::{Error, Result};

/// A document of anything that is an object or a list, in the current memory context.
pub fn write(container: &impl Serialize) -> Result<Json> {
    let mut bytes = Vec::with_capacity(1_024);
    let kind = container.serialize(Writer(&mut bytes)).map_err(|error| Error::internal(error.0))?;
    if kind != pg_sys::JENTRY_ISCONTAINER || bytes.len() > pg_sys::JENTRY_OFFLENMASK as usize {
        return Err(Error::internal("what is to be stored is nothing that a jsonb can hold"));
    }
    Ok(Json::Stored(Document::of_container(&bytes)))
}

/// What no `jsonb` holds.
#[derive(Debug)]
struct Failed(String);

impl Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

fn nameless() -> Failed {
    Failed("what is stored has a name for each of its values".to_owned())
}

impl ser::Error for Failed {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = std::result::Result<Kind, Failed>;
type Begun<T> = std::result::Result<T, Failed>;

/// What an entry says of its value: `JENTRY_IS…`.
type Kind = u32;

/// Appends one value, which begins at a multiple of four where that matters.
struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn string(self, text: &str) -> Kind {
        // No jsonb holds a NUL.
        let end = if text.as_bytes().contains(&0) { text.find('\0') } else { None };
        self.0.extend_from_slice(&text.as_bytes()[..end.unwrap_or(text.len())]);
        pg_sys::JENTRY_ISSTRING
    }

    fn number(self, value: Datum) -> Kind {
        let numeric = value.datum().cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a numeric that was made here is a varlena of as many bytes as it says.
        self.0.extend_from_slice(unsafe { std::slice::from_raw_parts(numeric.cast(), pgrx::varsize_any(numeric)) });
        pg_sys::JENTRY_ISNUMERIC
    }

    fn whole(self, number: i64) -> Kind {
        numeric::append_whole(number, self.0);
        pg_sys::JENTRY_ISNUMERIC
    }

    fn container<'a>(self, is_object: bool) -> Container<'a>
    where
        Self: 'a,
    {
        let header = if is_object { pg_sys::JB_FOBJECT } else { pg_sys::JB_FARRAY };
        let (members, values) = (Vec::with_capacity(8), Vec::with_capacity(256));
        Container { into: self.0, header, members, values, is_number: false }
    }
}

/// An object or a list that is being written.
struct Container<'a> {
    into: &'a mut Vec<u8>,
    header: u32,
    members: Vec<Member>,
    /// Keys and values as they came.
    values: Vec<u8>,
    /// Not a container at all, but a number of `serde_json`'s, which is its text in a struct of its own.
    is_number: bool,
}

struct Member {
    key: Range<usize>,
    kind: Kind,
    value: Range<usize>,
}

/// The name of a number's struct and of its only field, with the feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

/// Every so many entries one has the place where its value ends instead of its length.
const STRIDE: usize = 32;

impl Container<'_> {
    fn key(&mut self, key: &(impl Serialize + ?Sized)) -> Begun<()> {
        let begin = self.values.len();
        match key.serialize(Writer(&mut self.values))? {
            pg_sys::JENTRY_ISSTRING => {
                let key = begin..self.values.len();
                self.members.push(Member { key, kind: pg_sys::JENTRY_ISNULL, value: 0..0 });
                Ok(())
            }
            _ => Err(Failed("a key is no string".to_owned())),
        }
    }

    /// The value of the latest key, or the next element of a list.
    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Begun<()> {
        if self.header == pg_sys::JB_FARRAY {
            self.members.push(Member { key: 0..0, kind: pg_sys::JENTRY_ISNULL, value: 0..0 });
        }
        let begin = self.values.len();
        let kind = value.serialize(Writer(&mut self.values))?;
        let end = self.values.len();
        let Some(member) = self.members.last_mut() else { return Err(Failed("a value has no key".to_owned())) };
        (member.kind, member.value) = (kind, begin..end);
        Ok(())
    }

    fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Begun<()> {
        if self.is_number {
            value.serialize(Writer(&mut self.values))?;
            return Ok(());
        }
        self.key(name)?;
        self.value(value)
    }

    fn close(mut self) -> Written {
        if self.is_number {
            let text = String::from_utf8_lossy(&self.values);
            let writer = Writer(self.into);
            return Ok(match text.parse() {
                Ok(number) => writer.whole(number),
                Err(_) => writer.number(Datum::numeric(&text)),
            });
        }
        if self.header == pg_sys::JB_FOBJECT {
            let (members, values) = (&mut self.members, &self.values);
            // Of two members with one key the later stands: a stable sort keeps it behind the other.
            members.sort_by(|one, other| by_length(&values[one.key.clone()], &values[other.key.clone()]));
            members.reverse();
            members.dedup_by(|one, other| values[one.key.clone()] == values[other.key.clone()]);
            members.reverse();
        }
        Ok(self.write())
    }

    fn write(&mut self) -> Kind {
        let (into, values) = (&mut *self.into, &self.values);
        let keys = if self.header == pg_sys::JB_FOBJECT { self.members.as_slice() } else { &[] };
        let count = u32::try_from(self.members.len()).unwrap_or(u32::MAX) & pg_sys::JB_CMASK;
        into.extend_from_slice(&(count | self.header).to_ne_bytes());
        let mut entry = into.len();
        let data = entry + 4 * (keys.len() + self.members.len());
        into.resize(data, 0);
        let keys = keys.iter().map(|member| (pg_sys::JENTRY_ISSTRING, &member.key));
        for (number, (kind, place)) in keys.chain(self.members.iter().map(|it| (it.kind, &it.value))).enumerate() {
            let begin = into.len();
            if matches!(kind, pg_sys::JENTRY_ISNUMERIC | pg_sys::JENTRY_ISCONTAINER) {
                into.resize((begin - data).next_multiple_of(4) + data, 0);
            }
            into.extend_from_slice(&values[place.clone()]);
            let length = match number % STRIDE {
                0 => (into.len() - data) as u32 | pg_sys::JENTRY_HAS_OFF,
                _ => (into.len() - begin) as u32,
            };
            into[entry..entry + 4].copy_from_slice(&(kind | length).to_ne_bytes());
            entry += 4;
        }
        pg_sys::JENTRY_ISCONTAINER
    }
}

fn by_length(one: &[u8], other: &[u8]) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = Kind;
    type Error = Failed;
    type SerializeSeq = Container<'a>;
    type SerializeTuple = Impossible<Kind, Failed>;
    type SerializeTupleStruct = Impossible<Kind, Failed>;
    type SerializeTupleVariant = Impossible<Kind, Failed>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Impossible<Kind, Failed>;

    fn serialize_bool(self, truth: bool) -> Written {
        Ok(if truth { pg_sys::JENTRY_ISBOOL_TRUE } else { pg_sys::JENTRY_ISBOOL_FALSE })
    }

    fn serialize_i8(self, number: i8) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Written {
        Ok(self.whole(number))
    }

    fn serialize_u8(self, number: u8) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Written {
        self.serialize_i64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Written {
        Ok(self.number(Datum::numeric(&number.to_string())))
    }

    fn serialize_f32(self, _: f32) -> Written {
        Err(Failed("a float is no exact number".to_owned()))
    }

    fn serialize_f64(self, _: f64) -> Written {
        Err(Failed("a float is no exact number".to_owned()))
    }

    fn serialize_char(self, character: char) -> Written {
        Ok(self.string(character.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, text: &str) -> Written {
        Ok(self.string(text))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Written {
        write!(self.0, "{value}").map_err(|error| Failed(error.to_string()))?;
        Ok(pg_sys::JENTRY_ISSTRING)
    }

    fn serialize_bytes(self, _: &[u8]) -> Written {
        Err(Failed("bytes are no text".to_owned()))
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        Ok(pg_sys::JENTRY_ISNULL)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        Ok(self.string(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        let mut object = self.container(true);
        object.field(variant, value)?;
        object.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Begun<Container<'a>> {
        Ok(self.container(false))
    }

    fn serialize_tuple(self, _: usize) -> Begun<Self::SerializeTuple> {
        Err(nameless())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Begun<Self::SerializeTupleStruct> {
        Err(nameless())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Begun<Self::SerializeTupleVariant> {
        Err(nameless())
    }

    fn serialize_map(self, _: Option<usize>) -> Begun<Container<'a>> {
        Ok(self.container(true))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Begun<Container<'a>> {
        if name == NUMBER {
            let (members, values) = (Vec::new(), Vec::new());
            return Ok(Container { into: self.0, header: 0, members, values, is_number: true });
        }
        Ok(self.container(true))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Begun<Self::SerializeStructVariant> {
        Err(nameless())
    }
}

impl ser::SerializeSeq for Container<'_> {
    type Ok = Kind;
    type Error = Failed;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Begun<()> {
        self.value(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeMap for Container<'_> {
    type Ok = Kind;
    type Error = Failed;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Begun<()> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Begun<()> {
        self.value(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeStruct for Container<'_> {
    type Ok = Kind;
    type Error = Failed;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Begun<()> {
        self.field(name, value)
    }

    fn end(self) -> Written {
        self.close()
    }
}
