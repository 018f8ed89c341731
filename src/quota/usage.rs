//! What the quotas of a payer have counted.

use std::rc::Rc;

use super::definitions::Definitions;
use tollgate_core::decision::Quota;

/// Every quota that applies to a payer, with what it has counted in the period that holds a moment.
#[derive(Default)]
pub struct QuotaUsage {
    pub quotas: Vec<Quota>,
    /// Their definitions, in the same order, where something was admitted.
    pub definitions: Option<Rc<Definitions>>,
    /// How many pending rows had to be added to the rollups.
    pub tail: i64,
}
