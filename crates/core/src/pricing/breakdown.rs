//! What each part of a cost came to: the content of a ledger row's `pricing`.

use serde::Serialize;

use super::part::Unit;
use super::{Factor, Markup, Part, PricingError, Rate};
use crate::decimal::Exact;
use crate::money::Picos;

/// Decimals of a measured quantity of a sandbox: a second is divided into 1e-9.
pub(super) const QUANTITY_SCALE: u32 = 9;

/// Decimals of a measured quantity of a call. The list has prices of a second with 21 decimals.
pub(super) const FRACTION_SCALE: u32 = 6;

/// Decimals of the cost of a measured quantity, of which as many are the quantity's.
const MAX_DECIMALS: u32 = 27;

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

/// How much of a component was used, and the price of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Quantity {
    Tokens {
        tokens: i64,
        #[serde(rename = "usd_per_token")]
        rate: Rate,
    },
    /// Whole things, seconds, credits, vCPU-seconds or GiB-seconds.
    Units {
        quantity: Exact,
        #[serde(rename = "usd_per_unit")]
        rate: Rate,
    },
}

/// One component of a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CostLine {
    /// The component's name.
    pub component: &'static str,
    /// The sum that it belongs to.
    #[serde(skip)]
    pub side: Side,
    #[serde(flatten)]
    pub quantity: Quantity,
    /// Quantity times rate, exactly.
    #[serde(rename = "cost_usd")]
    pub cost: Exact,
}

impl CostLine {
    /// So much of a part; what is counted in fractions, in millionths.
    pub(super) fn of(part: Part, amount: i64, rate: Rate) -> Result<Self, PricingError> {
        let (component, side) = (part.as_str(), part.side());
        match part.unit() {
            Unit::Token => {
                let cost = product(Exact::new(amount.into(), 0), rate)?;
                Ok(Self { component, side, quantity: Quantity::Tokens { tokens: amount, rate }, cost })
            }
            Unit::Other | Unit::Extra => Self::measured(component, side, (amount.into(), 0), rate),
            Unit::Fraction | Unit::ExtraFraction => {
                Self::measured(component, side, (amount.into(), FRACTION_SCALE), rate)
            }
        }
    }

    /// So many 10^-scale of a unit.
    pub(super) fn measured(
        component: &'static str,
        side: Side,
        (amount, scale): (i128, u32),
        rate: Rate,
    ) -> Result<Self, PricingError> {
        let decimals = MAX_DECIMALS - scale;
        if rate.exact().decimals() > decimals {
            return Err(PricingError::RateTooPrecise { name: component, decimals });
        }
        let quantity = Exact::new(amount, scale);
        Ok(Self { component, side, quantity: Quantity::Units { quantity, rate }, cost: product(quantity, rate)? })
    }
}

impl CostLine {
    /// The same at a price that is so many times as high.
    fn times(self, factor: Exact) -> Option<Self> {
        let quantity = match self.quantity {
            Quantity::Tokens { tokens, rate } => Quantity::Tokens { tokens, rate: rate.times(factor)? },
            Quantity::Units { quantity, rate } => Quantity::Units { quantity, rate: rate.times(factor)? },
        };
        Some(Self { quantity, cost: self.cost.times(factor)?, ..self })
    }
}

fn product(quantity: Exact, rate: Rate) -> Result<Exact, PricingError> {
    rate.exact().times(quantity).ok_or(PricingError::TooLarge)
}

/// What all of a cost, or its tokens alone, is multiplied by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Multiplier {
    /// Such as `inference_geo us`.
    pub name: String,
    pub factor: Factor,
    /// Whether what is charged beside the tokens is left out.
    #[serde(skip)]
    pub tokens_only: bool,
}

/// A multiplier, and what it added to the cost, or took from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Uplift {
    #[serde(flatten)]
    multiplier: Multiplier,
    cost_usd: Exact,
}

/// A cost with the lines that make it up. The total is their exact sum, rounded once.
///
/// As JSON the costs of the lines and of the multipliers add up to `exact_usd`, which is rounded to `total_usd`.
/// Without a multiplier, the lines alone do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breakdown {
    lines: Vec<CostLine>,
    #[serde(rename = "multipliers", skip_serializing_if = "Vec::is_empty")]
    uplifts: Vec<Uplift>,
    #[serde(rename = "exact_usd", skip_serializing_if = "Option::is_none")]
    multiplied: Option<Exact>,
    #[serde(rename = "total_usd")]
    total: Picos,
    #[serde(skip)]
    input: Picos,
    /// What the provider bills of it.
    #[serde(skip)]
    billed: Picos,
}

/// The sums of both sides, of tokens and of the rest.
#[derive(Clone, Copy)]
struct Sums {
    tokens: Exact,
    rest: Exact,
}

impl Sums {
    const NOTHING: Self = Self { tokens: Exact::ZERO, rest: Exact::ZERO };

    fn add(&mut self, line: &CostLine) -> Option<()> {
        let sum = match line.quantity {
            Quantity::Tokens { .. } => &mut self.tokens,
            Quantity::Units { .. } => &mut self.rest,
        };
        *sum = sum.plus(line.cost)?;
        Some(())
    }

    fn total(self) -> Option<Exact> {
        self.tokens.plus(self.rest)
    }

    fn times(self, multiplier: &Multiplier) -> Option<Self> {
        let factor = multiplier.factor.exact();
        let rest = if multiplier.tokens_only { self.rest } else { self.rest.times(factor)? };
        Some(Self { tokens: self.tokens.times(factor)?, rest })
    }
}

impl Breakdown {
    pub(super) fn new(
        lines: Vec<CostLine>,
        multipliers: Vec<Multiplier>,
        markup: Option<Markup>,
    ) -> Result<Self, PricingError> {
        let sum = Self::sum(lines, multipliers).and_then(|(list, input, breakdown)| match markup {
            Some(markup) => breakdown.with(markup, list, input),
            None => Some(breakdown),
        });
        sum.ok_or(PricingError::TooLarge)
    }

    /// The cost by the list, with its exact total and input side; `None` when a number leaves its bounds.
    fn sum(lines: Vec<CostLine>, multipliers: Vec<Multiplier>) -> Option<(Exact, Exact, Self)> {
        let (mut input, mut rest) = (Sums::NOTHING, Sums::NOTHING);
        for line in &lines {
            if line.side == Side::Input { input.add(line) } else { rest.add(line) }?;
        }
        let mut exact = input.total()?.plus(rest.total()?)?;
        let mut uplifts = Vec::new();
        for multiplier in multipliers {
            let before = exact;
            (input, rest) = (input.times(&multiplier)?, rest.times(&multiplier)?);
            exact = input.total()?.plus(rest.total()?)?;
            uplifts.push(Uplift { cost_usd: exact.minus(before)?, multiplier });
        }
        let input = input.total()?;
        let (total, multiplied) = (Picos::round(exact)?, (!uplifts.is_empty()).then_some(exact));
        Some((exact, input, Self { lines, uplifts, multiplied, total, input: Picos::round(input)?, billed: total }))
    }

    /// What the tenant pays. Members read what a record came to, and not what the operator adds to the price: it is in each
    /// figure, and nowhere by itself.
    fn with(self, markup: Markup, list: Exact, input: Exact) -> Option<Self> {
        let factor = markup.provider.times(markup.tenant)?;
        let exact = list.times(factor)?;
        let mut uplifts = self.uplifts;
        for uplift in &mut uplifts {
            uplift.cost_usd = uplift.cost_usd.times(factor)?;
        }
        Some(Self {
            lines: self.lines.into_iter().map(|line| line.times(factor)).collect::<Option<_>>()?,
            uplifts,
            multiplied: self.multiplied.map(|_| exact),
            total: Picos::round(exact)?,
            input: Picos::round(input.times(factor)?)?,
            billed: Picos::round(list.times(markup.provider)?)?,
        })
    }

    /// The components that were used.
    #[cfg(test)]
    pub fn lines(&self) -> &[CostLine] {
        &self.lines
    }

    /// What is charged.
    pub fn total(&self) -> Picos {
        self.total
    }

    /// What the provider bills.
    pub fn billed(&self) -> Picos {
        self.billed
    }

    /// The input side, rounded by itself. Rounding is monotone, so that it is never more than the total.
    pub fn input_cost(&self) -> Picos {
        self.input
    }

    /// The rest of the total, so that both sides add up to it exactly.
    pub fn output_cost(&self) -> Picos {
        self.total.checked_sub(self.input).unwrap_or(Picos::ZERO)
    }
}

/// What is stored with a record: the breakdown, and the price row that it came from.
#[derive(Debug, Clone, Serialize)]
pub struct StoredPricing<'a> {
    #[serde(flatten)]
    pub breakdown: &'a Breakdown,
    pub source: &'a str,
    pub price_id: Option<String>,
    /// The provider and model of the price row, where they are not those that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_model: Option<&'a str>,
}
