//! Which quotas apply to a payer, and what they have counted.

pub mod definitions;
pub mod figures;
mod payer;
pub mod rollup;
pub mod span;
pub mod sums;
mod usage;

pub use payer::Payer;
pub use usage::QuotaUsage;
