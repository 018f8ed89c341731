//! What a sandbox session costs: flat by the second, by allocation, or both.

use super::breakdown::QUANTITY_SCALE;
use super::{Breakdown, CostLine, PriceConditions, Priced, PricingError, Rate, Side};
use crate::money::{Rounding, parse_scaled};

/// Prices of a sandbox type, in USD per unit. Those that are given add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SandboxPrice {
    /// Of one second of the session.
    pub per_second: Option<Rate>,
    /// Of one vCPU for one second.
    pub vcpu_second: Option<Rate>,
    /// Of one GiB of memory for one second.
    pub memory_gib_second: Option<Rate>,
}

/// Prices one session. Quantities are decimals as Postgres prints a `numeric`, rounded half-even to 1e-9.
///
/// A rate without its quantity leaves the session unpriced, and so does a sandbox type without any rate.
pub fn price_sandbox(
    price: &SandboxPrice,
    duration_seconds: &str,
    vcpu_seconds: Option<&str>,
    memory_gib_seconds: Option<&str>,
    terms: PriceConditions,
) -> Result<Priced, PricingError> {
    let components = [
        ("duration_seconds", price.per_second, Some(duration_seconds)),
        ("vcpu_seconds", price.vcpu_second, vcpu_seconds),
        ("memory_gib_seconds", price.memory_gib_second, memory_gib_seconds),
    ];
    let mut lines = Vec::new();
    let mut missing = None;
    let mut any_rate = false;
    for (name, rate, text) in components {
        // A quantity is checked even when nothing is charged for it, as it is recorded either way.
        let quantity = text
            .map(|text| parse_scaled(text, QUANTITY_SCALE, Rounding::HalfEven))
            .transpose()
            .map_err(|error| PricingError::Quantity { name, error })?;
        let Some(rate) = rate else { continue };
        any_rate = true;
        match quantity {
            Some(quantity) => lines.push(CostLine::measured(name, Side::Sandbox, (quantity, QUANTITY_SCALE), rate)?),
            None => missing = missing.or(Some(name)),
        }
    }
    if !any_rate {
        missing = Some("duration_seconds");
    }
    match missing {
        Some(missing) => Ok(Priced::Unpriced { missing }),
        None => Ok(Priced::Priced(Breakdown::new(lines, terms.with_markup(Vec::new()))?)),
    }
}
