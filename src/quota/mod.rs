//! Which quotas apply to a subject, and what they have counted.

pub mod definitions;
pub mod figures;
mod payer;
pub mod rollup;
pub mod sums;
mod usage;

pub use payer::Subject;
pub use usage::Standing;
