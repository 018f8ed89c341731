//! What this transaction has admitted and the tables do not show yet. A trigger on the ledger may charge in between.

use crate::pg::transaction::with;
use crate::quota::Payer;
use crate::quota::definitions::Definition;
use crate::quota::sums::Sum;
use tollgate_core::decision::{Quota, Scope};

/// A quota by what the tables say and by what they do not show yet. What a batch keeps back is in its sums.
pub fn counting(definition: &Definition, payer: Payer, sum: &Sum) -> Quota {
    let counts_all = definition.counts_all();
    let mut quota = definition.counting(sum.bounds, sum.spent(counts_all), sum.held(counts_all));
    with(|state| {
        for charge in state.unwritten().iter().filter(|charge| charge.rows.is_some()) {
            if definition.counts(payer, sum.bounds, &charge.charge) {
                let amounts = charge.amounts;
                let spent = if quota.scope == Scope::Platform { amounts.by_platform } else { amounts.spent };
                quota.spent = quota.spent.saturating_add(spent);
                quota.held = quota.held.saturating_add(amounts.held);
            }
        }
    });
    quota
}
