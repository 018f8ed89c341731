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
                let spent = match quota.scope {
                    // A row of its own says what the platform counts beyond the others, and may be there already.
                    Scope::Platform => amounts.by_platform.max(amounts.spent),
                    Scope::Tenant | Scope::User => amounts.spent,
                };
                // What is given back counts with its rows. A fold may have put them among the others.
                quota.spent = quota.spent.saturating_add(spent.max(0));
                quota.held = quota.held.saturating_add(amounts.held);
            }
        }
    });
    quota
}
