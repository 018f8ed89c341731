//! A `jsonb` where it lies, in the format of `jsonb.h` that `pg_upgrade` has kept since 9.4. Postgres' iterator would be
//! called through a guard for each of its tokens.
//!
//! A container is a header with its count, an entry for each key and value, and then what they are.

use pgrx::pg_sys;
use tollgate_core::usage::{Kind, Node};

use super::jsonb::{Bounds, Document, Excess};
use super::numeric;
use super::value::output;

/// Units of a whole number in those that [`numeric::picos`] reads.
const WHOLE: i128 = 1_000_000_000_000;

/// A value of a document, and what it may be.
#[derive(Clone, Copy)]
pub struct JsonbNode<'a> {
    /// `JENTRY_IS…`.
    kind: u32,
    bytes: &'a [u8],
    bounds: &'a Bounds,
    /// How many containers there may be from here on inwards.
    levels: usize,
}

impl<'a> JsonbNode<'a> {
    /// The outermost value of a document.
    ///
    /// # Safety
    /// The datum is a `jsonb` that lives as long as the node.
    pub unsafe fn of(datum: pg_sys::Datum, bounds: &'a Bounds) -> Self {
        // SAFETY: as the caller says. What is not toasted holds as many bytes as it says; a copy that detoasting makes
        // lives in the call's memory context.
        let bytes = unsafe {
            let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            std::slice::from_raw_parts(pgrx::vardata_any(document).cast::<u8>(), pgrx::varsize_any_exhdr(document))
        };
        let root = Self { kind: pg_sys::JENTRY_ISCONTAINER, bytes, bounds, levels: bounds.depth };
        // A scalar is stored as the only element of a list.
        let is_scalar = word(bytes).is_some_and(|header| header & pg_sys::JB_FSCALAR != 0);
        if is_scalar { root.elements().next().unwrap_or(root) } else { root }
    }

    pub fn levels(self) -> usize {
        self.levels
    }

    /// A number as Postgres has it.
    pub fn numeric(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.bytes.as_ptr())
    }

    /// A number that is whole and not negative.
    pub fn whole(self) -> Option<u64> {
        let picos = self.picos().filter(|picos| picos % WHOLE == 0)?;
        u64::try_from(picos / WHOLE).ok()
    }

    /// A number as it is printed, of which the bounds hold.
    pub fn number(self) -> Option<String> {
        if self.kind != pg_sys::JENTRY_ISNUMERIC {
            return None;
        }
        // SAFETY: the bytes of a number in a document are a numeric.
        let length = unsafe { numeric::printed(self.numeric()) };
        // One that is printed with decimals is longer.
        let whole = self.whole().map(|whole| whole.to_string()).filter(|whole| whole.len() == length);
        Some(whole.unwrap_or_else(|| output(pg_sys::numeric_out, self.numeric())))
    }

    /// A copy of it as a document of its own, in the current memory context.
    pub fn document(self) -> Document {
        if self.kind == pg_sys::JENTRY_ISCONTAINER {
            return Document::of_container(self.bytes);
        }
        // A scalar is the only element of a list that says so.
        let mut list = Vec::with_capacity(8 + self.bytes.len());
        list.extend((pg_sys::JB_FARRAY | pg_sys::JB_FSCALAR | 1).to_ne_bytes());
        list.extend((self.kind | u32::try_from(self.bytes.len()).unwrap_or(0)).to_ne_bytes());
        list.extend(self.bytes);
        Document::of_container(&list)
    }

    /// The bound that anything in it exceeds as it is printed.
    pub fn excess(self) -> Option<Excess> {
        match self.kind() {
            Kind::Number => (!self.is_short()).then_some(Excess::Number),
            Kind::List | Kind::Object if self.levels == 0 => Some(Excess::Depth),
            Kind::List => self.elements().find_map(Self::excess),
            Kind::Object => self.members().find_map(|(_, value)| value.excess()),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) => None,
        }
    }

    /// Whether a number is no longer in print than it may be.
    pub fn is_short(self) -> bool {
        // SAFETY: the bytes of a number in a document are a numeric.
        unsafe { numeric::printed(self.numeric()) <= self.bounds.number }
    }

    /// What a container holds: how many keys, the entries of all, and the bytes that they are of.
    fn parts(self) -> (usize, &'a [u8], &'a [u8]) {
        let Some(header) = word(self.bytes).filter(|_| self.kind == pg_sys::JENTRY_ISCONTAINER) else {
            return (0, &[], &[]);
        };
        let count = usize::try_from(header & pg_sys::JB_CMASK).unwrap_or(0);
        let keys = if header & pg_sys::JB_FOBJECT != 0 { count } else { 0 };
        let rest = self.bytes.get(4..).unwrap_or_default();
        rest.split_at_checked(4 * (keys + count)).map_or((0, &[], &[]), |(entries, data)| (keys, entries, data))
    }

    fn values(self, entries: &'a [u8], data: &'a [u8], begin: usize) -> Values<'a> {
        Values { entries, data, begin, container: self }
    }
}

/// The keys or values of a container.
struct Values<'a> {
    entries: &'a [u8],
    data: &'a [u8],
    begin: usize,
    container: JsonbNode<'a>,
}

/// Where a value ends that begins at a place: an entry has its length, or now and then where it ends.
fn end(entry: u32, begin: usize) -> usize {
    let number = usize::try_from(entry & pg_sys::JENTRY_OFFLENMASK).unwrap_or(0);
    if entry & pg_sys::JENTRY_HAS_OFF != 0 { number } else { begin.saturating_add(number) }
}

impl<'a> Iterator for Values<'a> {
    type Item = JsonbNode<'a>;

    fn next(&mut self) -> Option<JsonbNode<'a>> {
        let entry = word(self.entries)?;
        self.entries = self.entries.get(4..)?;
        let (begin, end) = (self.begin, end(entry, self.begin));
        self.begin = end;
        let kind = entry & pg_sys::JENTRY_TYPEMASK;
        // Numbers and containers begin at the next multiple of four.
        let is_aligned = matches!(kind, pg_sys::JENTRY_ISNUMERIC | pg_sys::JENTRY_ISCONTAINER);
        let begin = if is_aligned { begin.next_multiple_of(4) } else { begin };
        let bytes = self.data.get(begin..end).unwrap_or_default();
        // No number has no bytes.
        let kind = if is_aligned && bytes.is_empty() { pg_sys::JENTRY_ISNULL } else { kind };
        Some(JsonbNode { kind, bytes, levels: self.container.levels.saturating_sub(1), ..self.container })
    }
}

impl<'a> Node<'a> for JsonbNode<'a> {
    fn kind(self) -> Kind<'a> {
        match self.kind {
            pg_sys::JENTRY_ISSTRING => Kind::Text(self.bytes),
            pg_sys::JENTRY_ISBOOL_TRUE => Kind::Bool(true),
            pg_sys::JENTRY_ISBOOL_FALSE => Kind::Bool(false),
            pg_sys::JENTRY_ISNUMERIC => Kind::Number,
            pg_sys::JENTRY_ISCONTAINER => {
                let is_object = word(self.bytes).is_some_and(|header| header & pg_sys::JB_FOBJECT != 0);
                if is_object { Kind::Object } else { Kind::List }
            }
            _ => Kind::Null,
        }
    }

    fn picos(self) -> Option<i128> {
        // SAFETY: the bytes of a number in a document are a numeric.
        (self.kind == pg_sys::JENTRY_ISNUMERIC).then(|| unsafe { numeric::picos(self.numeric()) }).flatten()
    }

    fn members(self) -> impl Iterator<Item = (&'a [u8], Self)> {
        let (keys, entries, data) = self.parts();
        let (keys, values) = entries.split_at_checked(4 * keys).unwrap_or_default();
        // Values follow all of the keys.
        let begin = keys.chunks_exact(4).filter_map(word).fold(0, |begin, entry| end(entry, begin));
        let keys = self.values(keys, data, 0).map(|key| key.bytes);
        keys.zip(self.values(values, data, begin))
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let (keys, entries, data) = self.parts();
        self.values(if keys == 0 { entries } else { &[] }, data, 0)
    }

    fn is_within_bounds(self) -> bool {
        match self.kind() {
            Kind::Number => self.whole().is_some() || self.is_short(),
            Kind::List => self.levels > 0 && self.elements().all(Self::is_within_bounds),
            Kind::Object => self.levels > 0 && self.members().all(|(_, value)| value.is_within_bounds()),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) => true,
        }
    }
}

/// The first word of some bytes.
fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|word| u32::from_ne_bytes(*word))
}
