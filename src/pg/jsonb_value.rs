//! A `jsonb` as a value of serde's and back, without its text in between.

use std::mem::MaybeUninit;
use std::ptr;

use pgrx::pg_sys::{self, JsonbIteratorToken as Token, jbvType as Type};
use serde_json::{Map, Number, Value};

use super::jsonb::{Bounds, Document, Excess};
use super::numeric::{self, Stored};
use super::value::{GivenJson, Json, Value as Datum, output};

/// Units of a whole number in those that [`numeric::picos`] reads.
const WHOLE: i128 = 1_000_000_000_000;

/// What a `jsonb` says that a caller gives, or which bound it exceeds; null when it is a text that is none.
///
/// A document is read as it lies, in the format of `jsonb.h` that `pg_upgrade` has kept since 9.4. Postgres' iterator
/// would be called through a guard for each of its tokens. Nothing is printed but numbers that are short in print.
pub fn read(given: GivenJson, bounds: &Bounds) -> Result<Value, Excess> {
    let datum = match given {
        GivenJson::Datum(datum) => datum,
        GivenJson::Text(text) if text.len() > bounds.bytes => return Err(Excess::Bytes),
        GivenJson::Text(text) => return Ok(serde_json::from_str(&text).unwrap_or_default()),
    };
    // SAFETY: such a datum comes from an argument that the SQL signature says is a jsonb. What is not toasted holds as many
    // bytes as it says, and they live as long as the call.
    let bytes = unsafe {
        if pg_sys::toast_raw_datum_size(datum) > bounds.bytes {
            return Err(Excess::Bytes);
        }
        let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
        std::slice::from_raw_parts(pgrx::vardata_any(document).cast::<u8>(), pgrx::varsize_any_exhdr(document))
    };
    let is_scalar = word(bytes).is_some_and(|header| header & pg_sys::JB_FSCALAR != 0);
    Ok(match container(bytes, bounds, bounds.depth)? {
        // A scalar is stored as the only element of a list.
        Value::Array(mut list) if is_scalar => list.pop().unwrap_or_default(),
        value => value,
    })
}

/// The first word of some bytes.
fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_ne_bytes(*word))
}

/// An object or a list: a header with its count, an entry for each key and value, and then what they are.
fn container(bytes: &[u8], bounds: &Bounds, levels: usize) -> Result<Value, Excess> {
    let Some((is_object, count, entries, data)) = divided(bytes) else { return Ok(Value::Null) };
    let levels = levels.checked_sub(1).ok_or(Excess::Depth)?;
    let mut begin = 0_usize;
    // An entry has the length of its value, or now and then where it ends.
    let mut places = entries.chunks_exact(4).map(|entry| {
        let entry = word(entry).unwrap_or(pg_sys::JENTRY_ISNULL);
        let number = usize::try_from(entry & pg_sys::JENTRY_OFFLENMASK).unwrap_or(0);
        let end = if entry & pg_sys::JENTRY_HAS_OFF != 0 { number } else { begin.saturating_add(number) };
        let place = (entry & pg_sys::JENTRY_TYPEMASK, begin, end);
        begin = end;
        place
    });
    if !is_object {
        return places.map(|place| member(data, place, bounds, levels)).collect::<Result<_, _>>().map(Value::Array);
    }
    let keys: Vec<_> = places.by_ref().take(count).collect();
    let members = keys.into_iter().zip(places).map(|((_, begin, end), place)| {
        let key = text(data.get(begin..end).unwrap_or_default());
        Ok((key, member(data, place, bounds, levels)?))
    });
    members.collect::<Result<_, _>>().map(Value::Object)
}

/// A container's parts: whether it is an object, how many it has, its entries, and what they are of.
fn divided(bytes: &[u8]) -> Option<(bool, usize, &[u8], &[u8])> {
    let header = word(bytes)?;
    let count = usize::try_from(header & pg_sys::JB_CMASK).ok()?;
    let is_object = header & pg_sys::JB_FOBJECT != 0;
    let entries = bytes.get(4..)?.get(..4 * if is_object { 2 * count } else { count })?;
    let data = bytes.get(4 + entries.len()..)?;
    Some((is_object, count, entries, data))
}

/// A value; numbers and containers begin at the next multiple of four.
fn member(
    data: &[u8],
    (kind, begin, end): (u32, usize, usize),
    bounds: &Bounds,
    levels: usize,
) -> Result<Value, Excess> {
    let aligned = || data.get(begin.next_multiple_of(4)..end).filter(|bytes| !bytes.is_empty());
    Ok(match kind {
        pg_sys::JENTRY_ISSTRING => Value::String(text(data.get(begin..end).unwrap_or_default())),
        pg_sys::JENTRY_ISBOOL_TRUE => Value::Bool(true),
        pg_sys::JENTRY_ISBOOL_FALSE => Value::Bool(false),
        pg_sys::JENTRY_ISNUMERIC => match aligned() {
            // SAFETY: the bytes of a number in a document are a numeric.
            Some(bytes) => unsafe { number(pg_sys::Datum::from(bytes.as_ptr()), bounds)? },
            None => Value::Null,
        },
        pg_sys::JENTRY_ISCONTAINER => container(aligned().unwrap_or_default(), bounds, levels)?,
        _ => Value::Null,
    })
}

/// The database's encoding is UTF-8.
fn text(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}

/// # Safety
/// The datum is a `numeric`.
unsafe fn number(datum: pg_sys::Datum, bounds: &Bounds) -> Result<Value, Excess> {
    // SAFETY: as the caller says.
    let (picos, printed) = unsafe { (numeric::picos(datum), || numeric::printed(datum)) };
    if let Some(whole) = picos.filter(|picos| picos % WHOLE == 0).and_then(|picos| u64::try_from(picos / WHOLE).ok()) {
        return Ok(Value::Number(whole.into()));
    }
    if printed() > bounds.number {
        return Err(Excess::Number);
    }
    Ok(output(pg_sys::numeric_out, datum).parse::<Number>().map_or(Value::Null, Value::Number))
}

/// A document of an object, in the current memory context.
pub fn write(object: &Map<String, Value>) -> Json {
    if let Some(document) = Flat::of(object) {
        return document.stored();
    }
    pushed(object)
}

/// The same of any object, by way of Postgres.
fn pushed(object: &Map<String, Value>) -> Json {
    let mut state: *mut pg_sys::JsonbParseState = ptr::null_mut();
    // SAFETY: the tokens are those of one object, which the last of them closes; what is pushed is copied.
    unsafe {
        let made = push_object(&mut state, object);
        let made = pg_sys::JsonbValueToJsonb(made);
        Json::Stored(Document::made(pg_sys::Datum::from(made)))
    }
}

/// Most members of a document that is put together here: above, Postgres writes where some of them end, too.
const MOST_FLAT: usize = 15;
/// Counts above are left to Postgres.
const MOST_COUNTED: u64 = 1_000_000_000_000_000;

/// A document of a few counts and words as `jsonb.h` has it: what is pushed to Postgres goes through a guard each.
struct Flat {
    /// The header and the entries.
    words: Vec<u32>,
    data: Vec<u8>,
}

impl Flat {
    /// Nothing where an object holds anything else.
    fn of(object: &Map<String, Value>) -> Option<Self> {
        if object.len() > MOST_FLAT {
            return None;
        }
        let mut members: Vec<_> = object.iter().map(|(key, value)| (key.as_str(), value)).collect();
        members.sort_unstable_by_key(|(key, _)| (key.len(), *key));
        let count = u32::try_from(members.len()).ok()?;
        let mut flat = Self { words: Vec::with_capacity(1 + 2 * MOST_FLAT), data: Vec::with_capacity(512) };
        flat.words.push(pg_sys::JB_FOBJECT | count);
        for (key, _) in &members {
            flat.data.extend_from_slice(key.as_bytes());
            flat.entry(pg_sys::JENTRY_ISSTRING, key.len())?;
        }
        for (_, value) in members {
            let begin = flat.data.len();
            let kind = flat.member(value)?;
            flat.entry(kind, flat.data.len() - begin)?;
        }
        Some(flat)
    }

    fn member(&mut self, value: &Value) -> Option<u32> {
        match value {
            Value::String(text) if !text.contains('\0') => {
                self.data.extend_from_slice(text.as_bytes());
                Some(pg_sys::JENTRY_ISSTRING)
            }
            Value::Number(number) => {
                let count = number.as_u64().filter(|count| *count <= MOST_COUNTED)?;
                let stored = Stored::picos(i128::from(count) * WHOLE);
                self.data.resize(self.data.len().next_multiple_of(4), 0);
                // The length of a varlena, as `SET_VARSIZE` writes it.
                let size = u32::try_from(stored.size()).ok()?;
                let header = if cfg!(target_endian = "big") { size } else { size << 2 };
                self.data.extend_from_slice(&header.to_ne_bytes());
                self.data.extend(stored.bytes());
                Some(pg_sys::JENTRY_ISNUMERIC)
            }
            _ => None,
        }
    }

    /// An entry with its length; the first says where it ends, which is the same.
    fn entry(&mut self, kind: u32, length: usize) -> Option<()> {
        let length = u32::try_from(length).ok().filter(|length| *length <= pg_sys::JENTRY_OFFLENMASK)?;
        let first = if self.words.len() == 1 { pg_sys::JENTRY_HAS_OFF } else { 0 };
        self.words.push(kind | first | length);
        Some(())
    }

    fn stored(&self) -> Json {
        let head = size_of_val(self.words.as_slice());
        let size = size_of::<u32>() + head + self.data.len();
        // SAFETY: the memory has room for the length, the words and the data.
        unsafe {
            let made = pg_sys::palloc(size).cast::<pg_sys::varlena>();
            pgrx::set_varsize_4b(made, i32::try_from(size).unwrap_or(0));
            let words = made.cast::<u8>().add(size_of::<u32>());
            ptr::copy_nonoverlapping(self.words.as_ptr().cast::<u8>(), words, head);
            ptr::copy_nonoverlapping(self.data.as_ptr(), words.add(head), self.data.len());
            Json::Stored(Document::made(pg_sys::Datum::from(made)))
        }
    }
}

type State = *mut pg_sys::JsonbParseState;

/// # Safety
/// The state is one that is being built, or null at the beginning.
unsafe fn push_object(state: &mut State, object: &Map<String, Value>) -> *mut pg_sys::JsonbValue {
    // SAFETY: as the caller says.
    unsafe {
        pg_sys::pushJsonbValue(state, Token::WJB_BEGIN_OBJECT, ptr::null_mut());
        for (key, value) in object {
            let mut key = string(key);
            pg_sys::pushJsonbValue(state, Token::WJB_KEY, &raw mut key);
            push(state, Token::WJB_VALUE, value);
        }
        pg_sys::pushJsonbValue(state, Token::WJB_END_OBJECT, ptr::null_mut())
    }
}

/// # Safety
/// As of [`push_object`].
unsafe fn push(state: &mut State, token: Token::Type, value: &Value) {
    let mut made = match value {
        Value::Object(object) => {
            // SAFETY: as the caller says.
            unsafe { push_object(state, object) };
            return;
        }
        Value::Array(list) => {
            // SAFETY: as the caller says.
            unsafe {
                pg_sys::pushJsonbValue(state, Token::WJB_BEGIN_ARRAY, ptr::null_mut());
                list.iter().for_each(|element| push(state, Token::WJB_ELEM, element));
                pg_sys::pushJsonbValue(state, Token::WJB_END_ARRAY, ptr::null_mut());
            }
            return;
        }
        Value::String(text) => string(text),
        Value::Bool(truth) => {
            let mut made = empty(Type::jbvBool);
            made.val.boolean = *truth;
            made
        }
        Value::Number(number) => {
            let value = number.as_i64().map_or_else(|| Datum::numeric(number.as_str()), Datum::whole);
            let mut made = empty(Type::jbvNumeric);
            made.val.numeric = value.datum().cast_mut_ptr();
            made
        }
        Value::Null => empty(Type::jbvNull),
    };
    // SAFETY: as the caller says; the value is of the type that it says.
    unsafe { pg_sys::pushJsonbValue(state, token, &raw mut made) };
}

fn empty(type_: Type::Type) -> pg_sys::JsonbValue {
    // SAFETY: zeros are a null of that struct, and of each member of its union.
    let mut value = unsafe { MaybeUninit::<pg_sys::JsonbValue>::zeroed().assume_init() };
    value.type_ = type_;
    value
}

/// A string that lies where it lies; no `jsonb` holds a NUL.
fn string(text: &str) -> pg_sys::JsonbValue {
    let text = text.split('\0').next().unwrap_or_default();
    let mut value = empty(Type::jbvString);
    let length = i32::try_from(text.len()).unwrap_or(0);
    value.val.string.len = length;
    value.val.string.val = text.as_ptr().cast_mut().cast();
    value
}
