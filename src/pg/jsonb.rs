//! Looking into a `jsonb` without printing it.

use std::mem::MaybeUninit;

use pgrx::pg_sys;

use super::numeric;

/// What a document may be.
pub struct Bounds {
    /// Bytes as it is stored.
    pub bytes: usize,
    /// Objects and lists within each other.
    pub depth: usize,
    /// Digits of a number, in all and from its first or last to the decimal point.
    pub digits: usize,
}

/// Why a document is beyond its bounds, as a clause.
///
/// # Safety
/// The datum is a `jsonb`, possibly toasted.
pub unsafe fn excess(datum: pg_sys::Datum, bounds: &Bounds) -> Option<String> {
    // SAFETY: as the caller says. The copy that detoasting makes, and the iterator, live in the call's memory context.
    unsafe {
        let bytes = pg_sys::toast_raw_datum_size(datum);
        if bytes > bounds.bytes {
            return Some(format!("is larger than {} MB", bounds.bytes / 1_000_000));
        }
        let document = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let mut iterator = pg_sys::JsonbIteratorInit(&raw mut (*document).root);
        let mut value = MaybeUninit::<pg_sys::JsonbValue>::zeroed();
        let mut depth = 0_usize;
        loop {
            use pg_sys::JsonbIteratorToken as Token;
            let token = pg_sys::JsonbIteratorNext(&raw mut iterator, value.as_mut_ptr(), false);
            match token {
                Token::WJB_DONE => return None,
                Token::WJB_BEGIN_ARRAY | Token::WJB_BEGIN_OBJECT => {
                    depth += 1;
                    if depth > bounds.depth {
                        return Some(format!("is nested more than {} deep", bounds.depth));
                    }
                }
                Token::WJB_END_ARRAY | Token::WJB_END_OBJECT => depth = depth.saturating_sub(1),
                Token::WJB_VALUE | Token::WJB_ELEM => {
                    let value = value.assume_init();
                    if value.type_ == pg_sys::jbvType::jbvNumeric
                        && numeric::extent(pg_sys::Datum::from(value.val.numeric)) > bounds.digits
                    {
                        return Some(format!("has a number of more than {} digits", bounds.digits));
                    }
                }
                _ => {}
            }
        }
    }
}
