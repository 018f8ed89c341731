//! What a client does, how often, and what it is called.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

/// What a client does, and how often out of the sum of all.
const MIX: [(Operation, u32); 20] = [
    (Operation::Enforced, 22),
    (Operation::AfterTheFact, 6),
    (Operation::WithoutRequest, 4),
    (Operation::Batch, 6),
    (Operation::Several, 8),
    (Operation::Crossing, 5),
    (Operation::Savepoints, 7),
    (Operation::Storm, 4),
    (Operation::Rollback, 7),
    (Operation::ShortTimeout, 7),
    (Operation::LockTimeout, 3),
    (Operation::Vanish, 6),
    (Operation::Retry, 10),
    (Operation::Duplicates, 7),
    (Operation::Hold, 2),
    (Operation::Reserve, 12),
    (Operation::Isolated, 8),
    (Operation::Prepare, 3),
    (Operation::Definition, 3),
    (Operation::Provoke, 4),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Enforced,
    AfterTheFact,
    WithoutRequest,
    Batch,
    Several,
    Crossing,
    Savepoints,
    Storm,
    Rollback,
    ShortTimeout,
    LockTimeout,
    Vanish,
    Retry,
    Duplicates,
    Hold,
    Reserve,
    Isolated,
    Prepare,
    Definition,
    Provoke,
}

impl Operation {
    /// By their weights. Where there may be no deadlock, transactions keep to one tenant.
    pub fn choose(rng: &mut ChaCha8Rng, crossing: bool) -> Operation {
        let sum: u32 = MIX.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random_range(0..sum);
        for (operation, weight) in MIX {
            if left < weight {
                return match operation {
                    Operation::Crossing | Operation::Definition if !crossing => Operation::Several,
                    _ => operation,
                };
            }
            left -= weight;
        }
        Operation::Enforced
    }

    pub fn name(self) -> &'static str {
        match self {
            Operation::Enforced => "enforced charge",
            Operation::AfterTheFact => "record after the fact",
            Operation::WithoutRequest => "charge without request id",
            Operation::Batch => "batch",
            Operation::Several => "several in a transaction",
            Operation::Crossing => "several tenants in a transaction",
            Operation::Savepoints => "nested savepoints",
            Operation::Storm => "PL/pgSQL exception loop",
            Operation::Rollback => "rollback",
            Operation::ShortTimeout => "statement timeout",
            Operation::LockTimeout => "lock timeout",
            Operation::Vanish => "client vanishes",
            Operation::Retry => "retry",
            Operation::Duplicates => "duplicates at once",
            Operation::Hold => "idle holder",
            Operation::Reserve => "reserve, then settle or die",
            Operation::Isolated => "repeatable read, serializable",
            Operation::Prepare => "prepared transaction",
            Operation::Definition => "quota and charge in one",
            Operation::Provoke => "bad call",
        }
    }
}
