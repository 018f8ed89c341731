//! What each part of a cost came to: the content of a ledger row's `pricing`.

use super::part::Unit;
use super::rate::RONTO_SCALE;
use super::{Factor, Part, PricingError, Rate};
use crate::money::{Picos, div_half_even, write_scaled};
#[cfg(test)]
use std::fmt;

/// Decimals of a measured quantity of a sandbox: a second is divided into 1e-9.
pub(super) const QUANTITY_SCALE: u32 = 9;

/// Decimals of a measured quantity of a call. The list has prices of a second with 21 decimals, whose product with a
/// millionth is a whole number of rontos.
pub(super) const FRACTION_SCALE: u32 = 6;

/// Rontos (1e-27 USD) in one pico-dollar (1e-12 USD).
const RONTOS_PER_PICO: i128 = 10_i128.pow(RONTO_SCALE - 12);

/// Which of an estimate's two sums a line belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What went into the model.
    Input,
    /// What came out of it.
    Output,
    /// The time of a sandbox.
    Sandbox,
}

/// How much of a component was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Tokens.
    Tokens(i64),
    /// Whole things.
    Count(i64),
    /// Millionths (1e-6) of a second or credit.
    Millionths(i64),
    /// Billionths (1e-9) of a second, a vCPU-second or a GiB-second.
    Billionths(i128),
}

/// An exact, non-negative cost before any rounding, as a whole number of 10^-scale USD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactCost {
    units: i128,
    scale: u32,
}

impl ExactCost {
    const fn rontos(units: i128) -> Self {
        Self { units, scale: RONTO_SCALE }
    }

    /// The one rounding: to 1e-12 USD, half-even.
    pub fn round(self) -> Result<Picos, PricingError> {
        let picos = if self.scale == RONTO_SCALE {
            // Nearly always: a division by a constant.
            div_half_even(self.units, RONTOS_PER_PICO)
        } else {
            10_i128.checked_pow(self.scale - 12).and_then(|divisor| div_half_even(self.units, divisor))
        };
        let picos = picos.ok_or(PricingError::TooLarge)?;
        Picos::new(picos).map_err(|_| PricingError::TooLarge)
    }

    fn times(self, factor: Factor) -> Result<Self, PricingError> {
        let units = self.units.checked_mul(factor.units()).ok_or(PricingError::TooLarge)?;
        Ok(Self { units, scale: self.scale + factor.scale() })
    }

    fn at_scale(self, scale: u32) -> Result<i128, PricingError> {
        if scale == self.scale {
            return Ok(self.units);
        }
        let tens = 10_i128.checked_pow(scale - self.scale).ok_or(PricingError::TooLarge)?;
        self.units.checked_mul(tens).ok_or(PricingError::TooLarge)
    }

    fn plus(self, other: Self, sign: i128) -> Result<Self, PricingError> {
        let scale = self.scale.max(other.scale);
        let sum = self.at_scale(scale)?.checked_add(sign * other.at_scale(scale)?).ok_or(PricingError::TooLarge)?;
        Ok(Self { units: sum, scale })
    }

    fn write(self, out: &mut String) {
        write_scaled(out, self.units, self.scale);
    }
}

/// Exact US dollars without trailing zeros.
#[cfg(test)]
impl fmt::Display for ExactCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::money::format_scaled(self.units, self.scale))
    }
}

/// One component of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostLine {
    /// The component's name.
    pub component: &'static str,
    /// The sum that it belongs to.
    pub side: Side,
    /// How much was used.
    pub quantity: Quantity,
    /// The price of one unit.
    pub rate: Rate,
    /// Quantity times rate, exactly, in rontos (1e-27 USD).
    pub rontos: i128,
}

impl CostLine {
    /// So much of a part; what is counted in fractions, in millionths.
    pub(super) fn of(part: Part, amount: i64, rate: Rate) -> Result<Self, PricingError> {
        let (quantity, each) = match part.unit() {
            Unit::Token => (Quantity::Tokens(amount), rate.rontos()),
            Unit::Other | Unit::Extra => (Quantity::Count(amount), rate.rontos()),
            Unit::Fraction | Unit::ExtraFraction => {
                (Quantity::Millionths(amount), divided(part.as_str(), rate, FRACTION_SCALE)?)
            }
        };
        let rontos = each.checked_mul(i128::from(amount)).ok_or(PricingError::TooLarge)?;
        Ok(Self { component: part.as_str(), side: part.side(), quantity, rate, rontos })
    }

    /// The rate has to be a multiple of 1e-18 USD, for its product with billionths of a unit to be whole rontos.
    pub(super) fn billionths(component: &'static str, billionths: i128, rate: Rate) -> Result<Self, PricingError> {
        let each = divided(component, rate, QUANTITY_SCALE)?;
        let rontos = each.checked_mul(billionths).ok_or(PricingError::TooLarge)?;
        Ok(Self { component, side: Side::Sandbox, quantity: Quantity::Billionths(billionths), rate, rontos })
    }

    /// Nothing in it needs escaping: names of ours, and digits.
    fn write_json(self, out: &mut String) {
        out.push_str("{\"component\":\"");
        out.push_str(self.component);
        let mut quantity = |amount: i128, scale| {
            out.push_str("\",\"quantity\":\"");
            write_scaled(out, amount, scale);
            out.push_str("\",\"usd_per_unit\":\"");
        };
        match self.quantity {
            Quantity::Tokens(tokens) => {
                out.push_str("\",\"tokens\":");
                write_scaled(out, i128::from(tokens), 0);
                out.push_str(",\"usd_per_token\":\"");
            }
            Quantity::Count(count) => quantity(i128::from(count), 0),
            Quantity::Millionths(millionths) => quantity(i128::from(millionths), FRACTION_SCALE),
            Quantity::Billionths(billionths) => quantity(billionths, QUANTITY_SCALE),
        }
        write_scaled(out, self.rate.rontos(), RONTO_SCALE);
        out.push_str("\",\"cost_usd\":\"");
        write_scaled(out, self.rontos, RONTO_SCALE);
        out.push_str("\"}");
    }
}

/// The price of 10^-scale of a unit.
fn divided(name: &'static str, rate: Rate, scale: u32) -> Result<i128, PricingError> {
    let parts = 10_i128.pow(scale);
    if rate.rontos() % parts != 0 {
        return Err(PricingError::RateTooPrecise { name, decimals: RONTO_SCALE - scale });
    }
    Ok(rate.rontos() / parts)
}

/// What all of a cost, or its tokens alone, is multiplied by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiplier {
    /// Such as `inference_geo us` or `markup`; it has been checked to need no escaping.
    pub name: String,
    pub factor: Factor,
    /// Whether what is charged beside the tokens is left out.
    pub tokens_only: bool,
}

/// A multiplier, and what it added to the cost, or took from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Uplift {
    multiplier: Multiplier,
    cost: ExactCost,
}

/// A cost with the lines that make it up. The total is their exact sum, rounded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    lines: Vec<CostLine>,
    uplifts: Vec<Uplift>,
    exact: ExactCost,
    total: Picos,
    input: Picos,
}

/// The sums of both sides, of tokens and of the rest, in rontos.
#[derive(Clone, Copy)]
struct Sums {
    tokens: ExactCost,
    rest: ExactCost,
}

impl Sums {
    fn of(lines: &[CostLine], keep: impl Fn(&CostLine) -> bool) -> Result<Self, PricingError> {
        let mut sums = [0_i128; 2];
        for line in lines.iter().filter(|line| keep(line)) {
            let sum = &mut sums[usize::from(!matches!(line.quantity, Quantity::Tokens(_)))];
            *sum = sum.checked_add(line.rontos).ok_or(PricingError::TooLarge)?;
        }
        Ok(Self { tokens: ExactCost::rontos(sums[0]), rest: ExactCost::rontos(sums[1]) })
    }

    fn total(self) -> Result<ExactCost, PricingError> {
        self.tokens.plus(self.rest, 1)
    }

    fn times(self, multiplier: &Multiplier) -> Result<Self, PricingError> {
        let tokens = self.tokens.times(multiplier.factor)?;
        let rest = if multiplier.tokens_only { self.rest } else { self.rest.times(multiplier.factor)? };
        Ok(Self { tokens, rest })
    }
}

impl Breakdown {
    pub(super) fn new(lines: Vec<CostLine>, multipliers: Vec<Multiplier>) -> Result<Self, PricingError> {
        let mut all = Sums::of(&lines, |_| true)?;
        let mut input = Sums::of(&lines, |line| line.side == Side::Input)?;
        let mut uplifts = Vec::new();
        for multiplier in multipliers {
            let before = all.total()?;
            all = all.times(&multiplier)?;
            input = input.times(&multiplier)?;
            uplifts.push(Uplift { cost: all.total()?.plus(before, -1)?, multiplier });
        }
        let exact = all.total()?;
        Ok(Self { exact, total: exact.round()?, input: input.total()?.round()?, lines, uplifts })
    }

    /// The components that were used.
    #[cfg(test)]
    pub fn lines(&self) -> &[CostLine] {
        &self.lines
    }

    /// The exact sum of the lines.
    #[cfg(test)]
    pub fn exact(&self) -> ExactCost {
        self.exact
    }

    /// What is charged.
    pub fn total(&self) -> Picos {
        self.total
    }

    /// The input side, rounded by itself. Rounding is monotone, so that it is never more than the total.
    pub fn input_cost(&self) -> Picos {
        self.input
    }

    /// The rest of the total, so that both sides add up to it exactly.
    pub fn output_cost(&self) -> Picos {
        self.total.checked_sub(self.input).unwrap_or(Picos::ZERO)
    }

    /// For a ledger row, as JSON text. Decimals are strings, so that no reader makes floats of them. The costs of the
    /// lines and of the multipliers add up to `exact_usd`, which is rounded to `total_usd`.
    pub fn to_json(&self, source: &str, price_id: Option<&str>, more: &str) -> String {
        let mut out = String::with_capacity(160 + 128 * self.lines.len());
        out.push_str("{\"lines\":[");
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            line.write_json(&mut out);
        }
        if !self.uplifts.is_empty() {
            out.push_str("],\"multipliers\":[");
            for (index, uplift) in self.uplifts.iter().enumerate() {
                out.push_str(if index > 0 { ",{\"name\":\"" } else { "{\"name\":\"" });
                out.push_str(&uplift.multiplier.name);
                out.push_str("\",\"factor\":\"");
                uplift.multiplier.factor.write(&mut out);
                out.push_str("\",\"cost_usd\":\"");
                uplift.cost.write(&mut out);
                out.push_str("\"}");
            }
            out.push_str("],\"exact_usd\":\"");
            self.exact.write(&mut out);
            out.push_str("\",\"total_usd\":\"");
        } else {
            out.push_str("],\"total_usd\":\"");
        }
        out.push_str(&self.total.to_string());
        out.push_str("\",\"source\":\"");
        out.push_str(source);
        match price_id {
            Some(id) => {
                out.push_str("\",\"price_id\":\"");
                out.push_str(id);
                out.push('"');
            }
            None => out.push_str("\",\"price_id\":null"),
        }
        out.push_str(more);
        out.push('}');
        out
    }
}
