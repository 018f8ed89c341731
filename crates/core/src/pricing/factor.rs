//! What a cost is multiplied by: a region's premium, a speed's, a tenant's markup.

use serde::Serialize;

use crate::decimal::Exact;
use crate::money::{AmountError, Picos};

/// Decimals of a factor.
const FACTOR_DECIMALS: u32 = 6;

/// An exact factor from 0 to 1,000 with at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Factor(Exact);

impl Factor {
    pub const ONE: Self = Self(Exact::ONE);

    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let factor = Exact::parse(text, FACTOR_DECIMALS)?;
        if factor > Exact::THOUSAND { Err(AmountError::TooLarge) } else { Ok(Self(factor)) }
    }

    pub(super) fn exact(self) -> Exact {
        self.0
    }
}

/// What a price of the list becomes for a tenant: exact products of the factors of all steps, the provider's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Markup {
    /// From the list to what the provider bills.
    pub(super) provider: Exact,
    /// From what the provider bills to what the tenant pays.
    pub(super) tenant: Exact,
    /// The same where a caller says what the provider has billed.
    provided: Exact,
}

impl Markup {
    pub const NONE: Self = Self { provider: Exact::ONE, tenant: Exact::ONE, provided: Exact::ONE };

    /// With a step more: the provider's own, or one on what it bills, be that computed alone or provided too. `None` for
    /// what no number holds.
    pub fn step(self, factor: Factor, is_providers: bool, on_provided: bool) -> Option<Self> {
        let times = |product: Exact, applies: bool| if applies { product.times(factor.0) } else { Some(product) };
        Some(Self {
            provider: times(self.provider, is_providers)?,
            tenant: times(self.tenant, !is_providers)?,
            provided: times(self.provided, !is_providers && on_provided)?,
        })
    }

    /// What the tenant pays for what a caller says that the provider has billed, rounded once. `None` above the largest
    /// amount.
    pub fn on_provided(self, billed: Picos) -> Option<Picos> {
        Picos::round(billed.exact().times(self.provided)?)
    }
}
