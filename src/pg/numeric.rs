//! Reading a `numeric` without printing it: its stored form is base-10000 digits behind one or two header words, the same
//! since PostgreSQL 9.1 (`NumericShort` and `NumericLong` in numeric.c).

use pgrx::pg_sys;

const KIND: u16 = 0xC000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT: u16 = 0x003F;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;

/// A non-negative number of at most twelve decimals in units of 1e-12. `None` for every other: it has to be read with
/// care, or refused.
///
/// # Safety
/// The datum is a `numeric`.
pub unsafe fn picos(datum: pg_sys::Datum) -> Option<i128> {
    let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a varlena that is neither compressed nor out of line holds as many bytes as it says.
    let bytes = unsafe {
        if pgrx::varatt_is_1b_e(stored) || pgrx::varatt_is_4b_c(stored) {
            return None;
        }
        std::slice::from_raw_parts(pgrx::vardata_any(stored).cast::<u8>(), pgrx::varsize_any_exhdr(stored))
    };
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_ne_bytes([word[0], word[1]]));
    let header = words.next()?;
    let weight = match header & KIND {
        SPECIAL | NEGATIVE => return None,
        SHORT if header & SHORT_NEGATIVE != 0 => return None,
        SHORT if header & SHORT_WEIGHT_NEGATIVE != 0 => i32::from(header & SHORT_WEIGHT) - 64,
        SHORT => i32::from(header & SHORT_WEIGHT),
        _ => i32::from(words.next()?.cast_signed()),
    };
    // A digit of weight w counts 10000^w; twelve decimals end at weight -3.
    if !(-4..6).contains(&weight) {
        return None;
    }
    let mut place = weight;
    let mut value = 0i128;
    for digit in words {
        if place < -3 {
            return None;
        }
        value = value * 10_000 + i128::from(digit);
        place -= 1;
    }
    // The digits that are not stored are zeros.
    let missing = u32::try_from(place + 4).ok()?;
    value.checked_mul(10_000i128.checked_pow(missing)?)
}

/// How many digits a number takes when it is printed, about: those that are stored, and the zeros up to the point.
///
/// # Safety
/// The datum is a `numeric`, not toasted.
pub unsafe fn extent(datum: pg_sys::Datum) -> usize {
    let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a varlena that is neither compressed nor out of line holds as many bytes as it says.
    let bytes =
        unsafe { std::slice::from_raw_parts(pgrx::vardata_any(stored).cast::<u8>(), pgrx::varsize_any_exhdr(stored)) };
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_ne_bytes([word[0], word[1]]));
    let weight = match words.next() {
        Some(header) if header & KIND == SPECIAL => 0,
        Some(header) if header & SHORT != 0 => usize::from(header & SHORT_WEIGHT),
        _ => words.next().map_or(0, |weight| usize::from(weight.cast_signed().unsigned_abs())),
    };
    4 * (weight + words.count())
}
