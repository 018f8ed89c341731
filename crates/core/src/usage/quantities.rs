//! What is counted in other units than tokens.

use crate::pricing::has_fractions;

/// Quantities by the keys of our own form, in millionths.
pub type Quantities = Vec<(&'static str, i128)>;

/// Adds a quantity that is not told yet; what has no fractions is rounded up.
pub fn put(quantities: &mut Quantities, key: &'static str, units: i128) {
    if units > 0 && !quantities.iter().any(|(known, _)| *known == key) {
        let units = if has_fractions(key) { units } else { units.saturating_add(999_999) / 1_000_000 * 1_000_000 };
        quantities.push((key, units));
    }
}

/// A whole number of something, in millionths.
pub fn whole(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(0).saturating_mul(1_000_000)
}
