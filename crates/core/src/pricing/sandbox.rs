//! What a sandbox session costs: flat by the second, by what was allocated, by events, or a sum of these.

use super::breakdown::QUANTITY_SCALE;
use super::{Breakdown, CostLine, PriceConditions, Priced, PricingError, Rate, Side};
use crate::money::{Rounding, parse_scaled};

/// What a session may be billed by, each at the place that its price and its quantity have.
pub const SANDBOX_PARTS: [&str; 7] = [
    "duration_seconds",
    "vcpu_seconds",
    "memory_gib_seconds",
    "disk_gib_seconds",
    "gpu_seconds",
    "creations",
    "egress_gib",
];

const DURATION: usize = 0;
const VCPU: usize = 1;
const MEMORY: usize = 2;

/// From here on events are counted: what was not told has not happened.
const EVENTS: usize = 5;

/// Prices of a sandbox type, in USD per unit. Those that are given add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SandboxPrice {
    /// In the order of [`SANDBOX_PARTS`].
    pub rates: [Option<Rate>; SANDBOX_PARTS.len()],
    /// Whether the price of a second is for a session whose allocation is not told, in place of the prices of the allocation.
    pub flat_unless_allocated: bool,
}

impl SandboxPrice {
    /// The prices that apply to a session with these quantities.
    fn in_force(&self, quantities: &[Option<i128>]) -> [Option<Rate>; SANDBOX_PARTS.len()] {
        let mut rates = self.rates;
        if self.flat_unless_allocated {
            let is_told = [VCPU, MEMORY].into_iter().all(|part| rates[part].is_some() && quantities[part].is_some());
            if is_told {
                rates[DURATION] = None;
            } else if rates[DURATION].is_some() {
                (rates[VCPU], rates[MEMORY]) = (None, None);
            }
        }
        rates
    }
}

/// Prices one session. Quantities, in the order of [`SANDBOX_PARTS`], are decimals as Postgres prints a `numeric`, rounded half-even
/// to 1e-9.
///
/// A rate without its quantity leaves the session unpriced, and so does a sandbox type without any rate. Creations and egress
/// that are not told are none.
pub fn price_sandbox(
    price: &SandboxPrice,
    quantities: &[Option<&str>; SANDBOX_PARTS.len()],
    terms: PriceConditions,
) -> Result<Priced, PricingError> {
    let mut read = [None; SANDBOX_PARTS.len()];
    for (place, text) in quantities.iter().enumerate() {
        let Some(text) = text else { continue };
        // A quantity is checked even when nothing is charged for it, as it is recorded either way.
        let parsed = parse_scaled(text, QUANTITY_SCALE, Rounding::HalfEven);
        read[place] = Some(parsed.map_err(|error| PricingError::Quantity { name: SANDBOX_PARTS[place], error })?);
    }
    let mut lines = Vec::new();
    let mut missing = None;
    let rates = price.in_force(&read);
    for (place, rate) in rates.into_iter().enumerate() {
        let (Some(rate), name) = (rate, SANDBOX_PARTS[place]) else { continue };
        match read[place] {
            Some(quantity) => lines.push(CostLine::measured(name, Side::Sandbox, (quantity, QUANTITY_SCALE), rate)?),
            None if place >= EVENTS => {}
            None => missing = missing.or(Some(name)),
        }
    }
    if rates.iter().all(Option::is_none) {
        missing = Some(SANDBOX_PARTS[DURATION]);
    }
    match missing {
        Some(missing) => Ok(Priced::Unpriced { missing }),
        None => Ok(Priced::Priced(Breakdown::new(lines, Vec::new(), terms.markup)?)),
    }
}
