//! What each part of a cost came to: the content of a ledger row's `pricing`.

use super::rates::RONTO_SCALE;
use super::{Part, PricingError, Rate};
use crate::money::{Picos, div_half_even, write_scaled};
#[cfg(test)]
use std::fmt;

/// Rontos (1e-27 USD) in one pico-dollar (1e-12 USD).
const RONTOS_PER_PICO: i128 = 10_i128.pow(RONTO_SCALE - 12);

/// Decimals of a measured quantity: a second is divided into 1e-9.
pub(super) const QUANTITY_SCALE: u32 = 9;

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
    /// Billionths (1e-9) of a second, a vCPU-second or a GiB-second.
    Billionths(i128),
}

/// An exact, non-negative cost in 1e-27 USD, before any rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExactCost(i128);

impl ExactCost {
    const ZERO: Self = Self(0);

    fn checked_add(self, other: Self) -> Result<Self, PricingError> {
        self.0.checked_add(other.0).map(Self).ok_or(PricingError::TooLarge)
    }

    /// The one rounding: to 1e-12 USD, half-even.
    pub fn round(self) -> Result<Picos, PricingError> {
        let picos = div_half_even(self.0, RONTOS_PER_PICO).ok_or(PricingError::TooLarge)?;
        Picos::new(picos).map_err(|_| PricingError::TooLarge)
    }
}

/// Exact US dollars without trailing zeros.
#[cfg(test)]
impl fmt::Display for ExactCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::money::format_scaled(self.0, RONTO_SCALE))
    }
}

/// One component of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The component's name.
    pub component: &'static str,
    /// The sum that it belongs to.
    pub side: Side,
    /// How much was used.
    pub quantity: Quantity,
    /// The price of one unit.
    pub rate: Rate,
    /// Quantity times rate, exactly.
    pub cost: ExactCost,
}

impl Line {
    pub(super) fn tokens(part: Part, tokens: i64, rate: Rate) -> Result<Self, PricingError> {
        let cost = rate.rontos().checked_mul(i128::from(tokens)).ok_or(PricingError::TooLarge)?;
        let quantity = Quantity::Tokens(tokens);
        Ok(Self { component: part.as_str(), side: part.side(), quantity, rate, cost: ExactCost(cost) })
    }

    /// The rate has to be a multiple of 1e-18 USD, for its product with billionths of a unit to be whole rontos.
    pub(super) fn billionths(component: &'static str, billionths: i128, rate: Rate) -> Result<Self, PricingError> {
        let unit = 10_i128.pow(QUANTITY_SCALE);
        if rate.rontos() % unit != 0 {
            return Err(PricingError::RateTooPrecise { name: component });
        }
        let cost = (rate.rontos() / unit).checked_mul(billionths).ok_or(PricingError::TooLarge)?;
        let quantity = Quantity::Billionths(billionths);
        Ok(Self { component, side: Side::Sandbox, quantity, rate, cost: ExactCost(cost) })
    }

    /// Nothing in it needs escaping: names of ours, and digits.
    fn write_json(self, out: &mut String) {
        out.push_str("{\"component\":\"");
        out.push_str(self.component);
        match self.quantity {
            Quantity::Tokens(tokens) => {
                out.push_str("\",\"tokens\":");
                write_scaled(out, i128::from(tokens), 0);
                out.push_str(",\"usd_per_token\":\"");
            }
            Quantity::Billionths(billionths) => {
                out.push_str("\",\"quantity\":\"");
                write_scaled(out, billionths, QUANTITY_SCALE);
                out.push_str("\",\"usd_per_unit\":\"");
            }
        }
        write_scaled(out, self.rate.rontos(), RONTO_SCALE);
        out.push_str("\",\"cost_usd\":\"");
        write_scaled(out, self.cost.0, RONTO_SCALE);
        out.push_str("\"}");
    }
}

/// A cost with the lines that make it up. The total is their exact sum, rounded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakdown {
    lines: Vec<Line>,
    exact: ExactCost,
    total: Picos,
    input: Picos,
}

impl Breakdown {
    pub(super) fn new(lines: Vec<Line>) -> Result<Self, PricingError> {
        let sum = |keep: fn(&Line) -> bool| {
            let mut kept = lines.iter().filter(|line| keep(line));
            kept.try_fold(ExactCost::ZERO, |sum, line| sum.checked_add(line.cost))
        };
        let exact = sum(|_| true)?;
        let input = sum(|line| line.side == Side::Input)?.round()?;
        Ok(Self { exact, total: exact.round()?, input, lines })
    }

    /// The components that were used.
    #[cfg(test)]
    pub fn lines(&self) -> &[Line] {
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

    /// For a ledger row, as JSON text. Decimals are strings, so that no reader makes floats of them.
    pub fn to_json(&self, source: &str, price_id: Option<&str>) -> String {
        let mut out = String::with_capacity(160 + 128 * self.lines.len());
        out.push_str("{\"lines\":[");
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            line.write_json(&mut out);
        }
        out.push_str("],\"total_usd\":\"");
        out.push_str(&self.total.to_string());
        out.push_str("\",\"source\":\"");
        out.push_str(source);
        match price_id {
            Some(id) => {
                out.push_str("\",\"price_id\":\"");
                out.push_str(id);
                out.push_str("\"}");
            }
            None => out.push_str("\",\"price_id\":null}"),
        }
        out
    }
}
