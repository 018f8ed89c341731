//! The bounds of a `jsonb` that a caller gives, checked before it is printed. `1e131000` is a few bytes as it is
//! stored, and 131,001 as text.

use std::mem::MaybeUninit;

use pgrx::pg_sys::{self, JsonbIteratorToken as Token};

use super::numeric;

/// What a document may be.
pub struct Bounds {
    /// Bytes of its text.
    pub bytes: usize,
    /// Objects and lists within each other.
    pub depth: usize,
    /// Bytes of a number's text.
    pub number: usize,
}

/// The bound that a document exceeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excess {
    Bytes,
    Depth,
    Number,
}

/// A document within its bounds, not toasted.
#[derive(Clone, Copy)]
pub struct Document(pg_sys::Datum);

impl Document {
    /// A document of these bytes, which are a container as it is stored, in the current memory context.
    pub(super) fn of_container(bytes: &[u8]) -> Self {
        let size = pg_sys::VARHDRSZ + bytes.len();
        // SAFETY: so many bytes are allocated and filled, with the size that a varlena begins with.
        unsafe {
            let document = pg_sys::palloc(size).cast::<u8>();
            pgrx::set_varsize_4b(document.cast(), i32::try_from(size).unwrap_or(i32::MAX));
            bytes.as_ptr().copy_to_nonoverlapping(document.add(pg_sys::VARHDRSZ), bytes.len());
            Self(pg_sys::Datum::from(document))
        }
    }

    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// Whether it is an object; `None` for a JSON null.
    pub fn is_object(self) -> Option<bool> {
        // SAFETY: the document is not toasted. A scalar is the only element of a list that says so.
        unsafe {
            let document = self.0.cast_mut_ptr::<pg_sys::Jsonb>();
            let header = (*document).root.header;
            if header & pg_sys::JB_FSCALAR == 0 {
                return Some(header & pg_sys::JB_FOBJECT != 0);
            }
            let element = *(&raw const (*document).root.children).cast::<pg_sys::JEntry>();
            if element & pg_sys::JENTRY_TYPEMASK == pg_sys::JENTRY_ISNULL { None } else { Some(false) }
        }
    }

    /// Takes a document, or says which bound it exceeds. What it does is bounded by the bounds, and can be cancelled.
    ///
    /// # Safety
    /// The datum is a `jsonb`, possibly toasted.
    pub unsafe fn within(datum: pg_sys::Datum, bounds: &Bounds) -> Result<Self, Excess> {
        // SAFETY: as the caller says. The copy that detoasting makes lives in the call's memory context.
        unsafe {
            if pg_sys::toast_raw_datum_size(datum) > most_stored(bounds.bytes) {
                return Err(Excess::Bytes);
            }
            let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
            // Most metadata.
            let is_empty_object = (*document).root.header == pg_sys::JB_FOBJECT;
            if !is_empty_object {
                measure(document, bounds)?;
            }
            Ok(Self(pg_sys::Datum::from(document)))
        }
    }
}

/// The most bytes that a document of so much text has as it is stored. The least text for its size is a list of digits:
/// `1, ` for twelve bytes.
fn most_stored(printed: usize) -> usize {
    printed.saturating_mul(5).saturating_add(64)
}

/// Adds up the bytes of a document's text until a bound is exceeded.
///
/// # Safety
/// The document is not toasted.
unsafe fn measure(document: *mut pg_sys::Jsonb, bounds: &Bounds) -> Result<(), Excess> {
    /// Elements after which a cancelled query is given up.
    const STRETCH: usize = 4_096;
    let mut value = MaybeUninit::<pg_sys::JsonbValue>::zeroed();
    // SAFETY: the iterator reads the document alone.
    let mut iterator = unsafe { pg_sys::JsonbIteratorInit(&raw mut (*document).root) };
    let (mut bytes, mut depth) = (0_usize, 0_usize);
    for count in 1_usize.. {
        // SAFETY: the iterator fills the value, which begins as zeros, for every token that is not an end.
        let (token, value) = unsafe {
            let token = pg_sys::JsonbIteratorNext(&raw mut iterator, value.as_mut_ptr(), false);
            (token, value.assume_init_ref())
        };
        match token {
            Token::WJB_DONE => break,
            Token::WJB_BEGIN_ARRAY | Token::WJB_BEGIN_OBJECT => {
                depth += 1;
                if depth > bounds.depth {
                    return Err(Excess::Depth);
                }
                // SAFETY: the value is the container that begins.
                bytes = bytes.saturating_add(unsafe { frame(token, value) });
            }
            Token::WJB_END_ARRAY | Token::WJB_END_OBJECT => depth = depth.saturating_sub(1),
            // SAFETY: the value is a key, an element or a member that is no container.
            _ => bytes = bytes.saturating_add(unsafe { scalar(value, bounds)? }),
        }
        if bytes > bounds.bytes {
            return Err(Excess::Bytes);
        }
        if count % STRETCH == 0 {
            pg_sys::check_for_interrupts!();
        }
    }
    Ok(())
}

/// The bytes of a container's brackets, commas and colons: `{"a": 1, "b": 2}`.
///
/// # Safety
/// The value is the container that begins with the token.
unsafe fn frame(token: Token::Type, value: &pg_sys::JsonbValue) -> usize {
    // SAFETY: as the caller says, which decides on the member of the union.
    unsafe {
        let (members, bytes_each) = if token == Token::WJB_BEGIN_OBJECT {
            (value.val.object.nPairs, 4)
        } else if value.val.array.rawScalar {
            return 0;
        } else {
            (value.val.array.nElems, 2)
        };
        // The last has no comma behind it, and where there is none there are the brackets alone.
        usize::try_from(members).unwrap_or(0) * bytes_each + if members > 0 { 0 } else { 2 }
    }
}

/// The bytes of anything that holds nothing else.
///
/// # Safety
/// The value is one.
unsafe fn scalar(value: &pg_sys::JsonbValue, bounds: &Bounds) -> Result<usize, Excess> {
    use pg_sys::jbvType as Type;
    // SAFETY: the type decides on the member of the union.
    unsafe {
        match value.type_ {
            Type::jbvString => {
                let string = value.val.string;
                let length = usize::try_from(string.len).unwrap_or(0);
                Ok(escaped(std::slice::from_raw_parts(string.val.cast::<u8>(), length)))
            }
            Type::jbvNumeric => match numeric::printed(pg_sys::Datum::from(value.val.numeric)) {
                bytes if bytes > bounds.number => Err(Excess::Number),
                bytes => Ok(bytes),
            },
            Type::jbvBool if !value.val.boolean => Ok("false".len()),
            _ => Ok("null".len()),
        }
    }
}

/// The bytes of a string in quotes, as Postgres escapes it.
fn escaped(text: &[u8]) -> usize {
    let more = |byte: &u8| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0A | 0x0C | 0x0D => 1,
        0..0x20 => 5,
        _ => 0,
    };
    2 + text.len() + text.iter().map(more).sum::<usize>()
}
