//! What the quotas of a payer have counted, and what that decides.

use std::rc::Rc;

use super::definitions::{Definitions, TenantState};
use crate::settings;
use tollgate_core::decision::{Quota, Spending, Status, Verdict, judge};

/// Every quota that applies to a payer, with what it has counted in the period that holds a moment.
#[derive(Default)]
pub struct QuotaUsage {
    pub quotas: Vec<Quota>,
    /// Their definitions, in the same order, where something was admitted.
    pub definitions: Option<Rc<Definitions>>,
    /// How many pending rows had to be added to the rollups.
    pub tail: i64,
    pub tenant: TenantState,
}

impl TenantState {
    /// Whether an operation is refused because its payer does not exist.
    pub fn refuses(&self) -> bool {
        *self != Self::Known && !settings::allow_unknown_tenant()
    }
}

impl QuotaUsage {
    /// The verdict about an amount in nano-dollars. One that is not enforced is taken, also for a tenant that is gone.
    pub fn decide(&self, spending: impl Into<Spending>, enforce: bool) -> Verdict {
        let verdict = judge(&self.quotas, spending, settings::allow_without_quota());
        if enforce && self.tenant.refuses() {
            return Verdict {
                allowed: false,
                status: Status::NoTenant,
                quota_index: None,
                retryable: false,
                ..verdict
            };
        }
        verdict
    }
}
