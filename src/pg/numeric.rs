//! Reading a `numeric` without printing it. Its stored form is base-10000 digits behind one or two header words, the
//! same since PostgreSQL 9.1 (`NumericShort` and `NumericLong` in numeric.c).

use pgrx::pg_sys;

use tollgate_core::money::Picos;

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

const SHORT_SCALE_SHIFT: u32 = 7;

/// The `numeric` of an amount, with no more decimals than it needs, in the current memory context.
pub fn from_picos(amount: Picos) -> pg_sys::Datum {
    // The last of the twelve decimals are digits of weight -3; a cost has nine digits before the point.
    let mut digits = [0_u16; 8];
    let mut count = 0;
    let mut rest = amount.get().unsigned_abs();
    while rest != 0 && count < digits.len() {
        digits[count] = u16::try_from(rest % 10_000).unwrap_or(0);
        rest /= 10_000;
        count += 1;
    }
    let first = digits.iter().position(|digit| *digit != 0).unwrap_or(count);
    let stored = &digits[first..count];
    let weight = if stored.is_empty() { 0 } else { i32::try_from(count).unwrap_or(0) - 4 };
    let scale = match first {
        0..=2 => {
            let last = digits[first];
            let zeros = [10, 100, 1_000].into_iter().filter(|tens| last % tens == 0).count();
            4 * (3 - first) - zeros
        }
        _ => 0,
    };
    let scale = if stored.is_empty() { 0 } else { u16::try_from(scale).unwrap_or(0) };
    let weight_bits = (weight & 0x3F).cast_unsigned() as u16;
    let header = SHORT | scale << SHORT_SCALE_SHIFT | if weight < 0 { SHORT_WEIGHT_NEGATIVE } else { 0 } | weight_bits;
    let bytes = size_of::<u32>() + size_of::<u16>() * (1 + stored.len());
    // SAFETY: the memory has room for the length word, the header and the digits, the greatest first.
    unsafe {
        let made = pg_sys::palloc(bytes).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(made, i32::try_from(bytes).unwrap_or(0));
        let mut words = made.cast::<u8>().add(size_of::<u32>()).cast::<u16>();
        words.write(header);
        for digit in stored.iter().rev() {
            words = words.add(1);
            words.write(*digit);
        }
        pg_sys::Datum::from(made)
    }
}

/// A `numeric` that is being made, where its length can be put.
#[repr(C, align(4))]
struct Made([u8; size_of::<u32>() + size_of::<u16>() * 6]);

/// Appends the `numeric` of a whole number, as Postgres makes it.
pub fn append_whole(number: i64, bytes: &mut Vec<u8>) {
    // A digit counts up to ten thousand; those that end it are not stored where they are zeros.
    let mut digits = [0_u16; 5];
    let (mut count, mut rest) = (0, number.unsigned_abs());
    for digit in &mut digits {
        if rest == 0 {
            break;
        }
        *digit = u16::try_from(rest % 10_000).unwrap_or(0);
        rest /= 10_000;
        count += 1;
    }
    let zeros = digits[..count].iter().take_while(|digit| **digit == 0).count();
    let sign = if number < 0 { SHORT_NEGATIVE } else { 0 };
    let weight = u16::try_from(count.saturating_sub(1)).unwrap_or(0);
    let mut made = Made([0; size_of::<u32>() + size_of::<u16>() * 6]);
    let size = size_of::<u32>() + size_of::<u16>() * (1 + count - zeros);
    // SAFETY: the bytes begin with room for the length word.
    unsafe { pgrx::set_varsize_4b((&raw mut made).cast(), i32::try_from(size).unwrap_or(0)) };
    let words = &mut made.0;
    words[4..6].copy_from_slice(&(SHORT | sign | weight).to_ne_bytes());
    for (place, digit) in words[6..].chunks_exact_mut(2).zip(digits[zeros..count].iter().rev()) {
        place.copy_from_slice(&digit.to_ne_bytes());
    }
    bytes.extend_from_slice(&words[..size]);
}

/// How many bytes a number has when it is printed: its digits up to the point, and as many behind it as its scale says.
/// None of the latter need be stored.
///
/// # Safety
/// The datum is a `numeric`, not toasted.
pub unsafe fn printed(datum: pg_sys::Datum) -> usize {
    const LONG_SCALE: u16 = 0x3FFF;
    const SHORT_SCALE: u16 = 0x1F80;
    let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a varlena that is neither compressed nor out of line holds as many bytes as it says.
    let bytes =
        unsafe { std::slice::from_raw_parts(pgrx::vardata_any(stored).cast::<u8>(), pgrx::varsize_any_exhdr(stored)) };
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_ne_bytes([word[0], word[1]]));
    let header = words.next().unwrap_or(SPECIAL);
    let (is_negative, scale, weight) = match header & KIND {
        SPECIAL => return "-Infinity".len(),
        SHORT => {
            let size = (header & SHORT_WEIGHT).cast_signed();
            let weight = if header & SHORT_WEIGHT_NEGATIVE == 0 { size } else { size - 64 };
            (header & SHORT_NEGATIVE != 0, (header & SHORT_SCALE) >> SHORT_SCALE_SHIFT, weight)
        }
        kind => (kind == NEGATIVE, header & LONG_SCALE, words.next().map_or(0, u16::cast_signed)),
    };
    let first = match words.next() {
        Some(1_000..) => 4,
        Some(100..) => 3,
        Some(10..) => 2,
        _ => 1,
    };
    let whole = usize::try_from(weight).map_or(1, |weight| first + 4 * weight);
    let fraction = if scale == 0 { 0 } else { 1 + usize::from(scale) };
    usize::from(is_negative) + whole + fraction
}
