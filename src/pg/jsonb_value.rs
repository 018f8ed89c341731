//! A `jsonb` as a value of `serde_json`'s, without its text in between.

use pgrx::pg_sys;
use serde_json::{Number, Value};

use super::jsonb::{Bounds, Excess};
use super::numeric;
use super::value::{GivenJson, Json, output};
use tollgate_core::json;

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
        GivenJson::Text(text) => return Ok(json::parse(&text).unwrap_or_default()),
    };
    // SAFETY: such a datum comes from an argument that the SQL signature says is a jsonb.
    if unsafe { pg_sys::toast_raw_datum_size(datum) } > bounds.bytes {
        return Err(Excess::Bytes);
    }
    document(datum, bounds)
}

/// What a document says that is within its bounds.
pub fn of(json: &Json) -> Value {
    const ANY: Bounds = Bounds { bytes: usize::MAX, depth: usize::MAX, number: usize::MAX };
    match json {
        Json::Stored(stored) => document(stored.datum(), &ANY).unwrap_or_default(),
        Json::Text(text) => json::parse(text).unwrap_or_default(),
    }
}

fn document(datum: pg_sys::Datum, bounds: &Bounds) -> Result<Value, Excess> {
    // SAFETY: the datum is a jsonb. What is not toasted holds as many bytes as it says, and they live as long as the call.
    let bytes = unsafe {
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
