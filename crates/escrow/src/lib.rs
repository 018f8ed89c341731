//! Escrow admission: the counters in shared memory, and which transaction may touch them when. No Postgres in here.
//!
//! One [`table::Entry`] per quota and period holds `reserved`, in nano-dollars. It is the sum of durable charges, live
//! holds, and what transactions in flight have charged. A charge is admitted by adding to it while the sum stays within
//! the limit (O'Neil, "The Escrow Transactional Method", TODS 1986). Commit leaves the sum alone; abort takes it back.
//! Tables hold the truth: an entry is a cache of them. It may be lost at any time at which no transaction uses it.
//!
//! # Names
//! - *Definitions*: which quotas exist. They are rows of `cost_quotas`, defaults, and a tenant's plan. Limits and modes
//!   are no definitions: changing one changes what an entry is compared with, not what it counts.
//! - *Row*: that of a tenant in `tenants`, which brings it defaults. A tenant may be charged without one.
//! - *Partition*: definitions of a database's tenants are guarded in 64 partitions. The platform is a partition of its own.
//! - *Epoch*: a number per partition. It moves on when definitions changed, and is part of every entry's key.
//! - *Horizon*, T: a moment per entry, which only moves forward. The entry counts a hold that expires after T.
//! - *Active expiry*: the earliest expiry of the holds that a transaction makes, extends or resolves, in its slot.
//!
//! # Protocol
//! The crate `model` visits every state of it in small worlds, and finds the overshoot when any one rule is left out.
//! Heavyweight locks are Postgres' own: cancellable, deadlock-checked, visible in `pg_locks`.
//!
//! ## To change definitions, a transaction
//! 1. notes the partition (a trigger does it). Before it commits it takes `Definitions(partition)`, together with others
//!    that commit, and keeps it to the end: while it is open it keeps nobody waiting;
//! 2. in the commit callback, when its rows are visible, moves the epoch on;
//! 3. sends its invalidation messages, and then releases the lock.
//!
//! It cannot PREPARE, in neither mode: no callback runs at `COMMIT PREPARED`.
//!
//! If it also charges, it first *closes* the partition: it takes the lock alone, makes the epoch odd, and waits for the
//! transactions that have charged there. Others wait for its lock. A transaction that has charged there before goes on
//! in the earlier epoch, since the closer waits for it anyway. The closer then decides from the tables, under the lock
//! of the locked mode. If the subtransaction that closed the partition aborts, the partition opens again with its lock.
//!
//! A limit or mode that changes sends an invalidation message at commit and does nothing else. A transaction that
//! reloads counters changes the definitions of every partition.
//!
//! ## To make a tenant, a transaction
//! moves no epoch. No counter and no definitions that others keep can be of quotas that come with the row, and quotas
//! that the same transaction makes for the tenant come with it. What others may have are charges in flight to a tenant
//! that for them has no row, and the answer that there is none. So it
//! 1. inserts the row. Then it passes `Definitions(partition)`, shared: a transaction that had deleted such a row has
//!    ended, and moved the epoch, so that counters of the tenant's earlier life are met no more;
//! 2. before it commits takes `Arrivals(partition)`, together with others that commit, and keeps it to the end: until
//!    its messages have been sent.
//!
//! If it charges the tenant, it takes `Row(tenant)` alone and keeps it to the end. So no other transaction charges the
//! tenant without its row. It decides what came with the row from the tables; quotas that others know, by their counters.
//! What came with the row is what a snapshot without its own changes does not show. The trigger need not have run yet.
//! Charges may be in flight of a row that was deleted: it waits for slots in earlier epochs, as a loader does.
//!
//! ## To charge, a transaction
//! 1. *enters*: publishes in its [`registry::Slot`] the epochs of both partitions (the earliest in which it has
//!    charged) and the request that it answers; then reads the epochs again;
//! 2. *reads definitions*: handles pending invalidation messages, takes definitions that were cached in these very
//!    epochs or reads them in a snapshot taken now, and reads the epochs once more. If they moved, it starts again.
//!    Definitions that were cached in other epochs will do if, after 1, it could take `Definitions(partition)` shared
//!    without waiting, and of the messages handled after that none is of them;
//! 3. *pins counters*: finds the entries of (quota, period, epoch) and pins them, or loads those that are absent. Each
//!    pin is in its [`journal::Journal`] at once, as an addition of nothing;
//!    A charge to a tenant that by these definitions has no row then takes `Row(tenant)`, together with others of the
//!    kind, and keeps it to the end, unless it comes to nothing. That the row has come meanwhile shows in 7;
//! 4. *makes room* in the journal: the last step that can fail;
//! 5. *reserves within limits*: adds to every entry, or gives back what it added and is refused;
//! 6. *notes* in the journal what it added: callbacks take it back from there;
//! 7. *confirms that nothing changed*: handles pending invalidation messages again. If one is of the definitions that
//!    it took in 2, it gives back and starts again. So no charge is admitted by a limit whose change was acknowledged
//!    before;
//! 8. *writes* the ledger row, takes the request out of its slot, and *stays* there: the slot says that there is a row.
//!    An abort gives back.
//!
//! Recording after the fact does the same without the limit. Nothing between 5 and 6 allocates, raises or waits.
//! Between 5 and the last row of 8 no entry is loaded for this transaction: its journal has a charge that the tables do
//! not show yet.
//!
//! Of a batch, what nothing can refuse is written together: ledger rows before 1, and after 7 of the last of them the
//! pending rows, which are what sums read. Where an entry has to be loaded in between, the pending rows are written first.
//!
//! ## Holds
//! A hold is a row with an expiry; no transaction runs when it expires.
//!
//! A transaction that makes, extends or resolves holds publishes its active expiry before it reads T. It keeps it until
//! its callback has credited. A transaction that moves T stores T and then reads all active expiries. Each has a fence
//! between its store and its reads, so one of the two sees the other.
//!
//! **To resolve a hold** (commit, release, expire), a transaction
//! 1. locks the reservation row and reads it in a snapshot taken then;
//! 2. pins every counter that includes the hold, and publishes its active expiry;
//! 3. reads each counter's T:
//!    - the expiry is after T, in time: the counter includes the hold until this transaction ends. It adds the cost
//!      above the hold now; its commit credits the rest;
//!    - T has passed the expiry: T may be on the move. It reads T again under the lock of the locked mode, one
//!      counter's lock at a time. Still passed is late: it adds the whole cost;
//! 4. where the hold is late in every counter, withdraws the active expiry, so that other horizons may pass.
//!
//! Extending does the same within the limit. It adds what is new, or all of it where the hold is late. The new expiry
//! must be after T. Marking holds as expired resolves them at no cost.
//!
//! **To make a hold**, a transaction pins, publishes its active expiry and reads T. If T has passed the new expiry, the
//! hold expires as long after T as it would have after the clock. Then it adds within the limit. Its commit adds to
//! `held`.
//!
//! **To let holds expire** (a charge does it where holds may have expired, for `next_expiry` is never later than the
//! first that does, or where it would be refused), a transaction
//! 1. takes the counter's lock and notes T for the callbacks;
//! 2. stores the clock in T, never less than T was;
//! 3. reads all active expiries of the partition, its own too, and stores T back to before the earliest, never below
//!    what it was;
//! 4. only then takes a snapshot, sums what T has passed, and subtracts it: `reserved` first, `held` next. Nothing
//!    there can fail. If it fails before, the callback restores T, and the lock goes after that;
//! 5. judges the charge again, also when nothing had expired: others may have given back meanwhile. If a hold that has
//!    expired is active in another transaction, it waits a second for that one before it refuses.
//!
//! A check does the same if the lock is free; else it reads the tables.
//!
//! **To load a counter**, a transaction sets T to the clock, but before its own active expiry, which again covers all
//! its holds. The tables show it its own changes. What it will credit is added to `reserved`. What it made or resolved
//! counts in `held` as before, until its commit.
//!
//! **Corrections** are charges below zero: credited at commit, noted in the journal like what is left of a hold.
//!
//! ## Duplicates
//! A call first looks its request id up in the unique index, uncommitted rows included. It waits for a transaction that
//! is writing such a row, and replays what is there: it enters nothing, and writes nothing.
//!
//! Of two calls that both found none, one meets the other's row as it inserts its own, which is speculative: it takes
//! the row back, gives back, withdraws, and looks up again. A call that is refused takes its own request out of its
//! slot, waits for slots that show the same request, then looks up again. If there was either it starts again: its own
//! duplicate may have left no room.
//!
//! ## Callbacks
//! They cannot fail, wait or allocate. At commit: credit, add to `held`, unpin. At abort: subtract, then unpin. At a
//! subtransaction's abort the same for its part of the journal, and the slot withdraws from partitions in which nothing
//! else was charged; at its commit the part becomes the parent's. At the end the slot is cleared. `PREPARE TRANSACTION`
//! is refused: no callback would unpin.
//!
//! ## To load an entry (absent in this epoch; nothing is admitted before), a transaction
//! 1. takes `Definitions(partition)` shared and gives it back: a commit of a change has ended and sent its messages. If
//!    the epoch moved, it starts again. A transaction that goes on in a closed partition skips this: the closer waits
//!    for it. If its tenant has a row, it does the same with `Arrivals(partition)` and then `Row(tenant)`: the charges
//!    have ended that do not know the row, and those to come hear of it;
//! 2. waits for the slots that show the partition in an earlier epoch: those transactions may not know the quota, and
//!    so are not counted in it. It waits for one that has charged to its end, for one that is about to until it has or
//!    withdraws;
//! 3. takes the tenant's (the platform's) lock of the locked mode, exclusively. Loads of a tenant are serial, and a
//!    transaction that the locked mode left prepared is waited for;
//! 4. looks again whether the entry is there. Else it sums the tables in a snapshot taken *now*, which shows every row
//!    that this transaction has written, in the running command too. It adds what it charged before to its journal,
//!    subtransaction by subtransaction, and publishes the entry in one step that cannot fail;
//! 5. gives the lock back. A failure on the way leaves nothing behind but a lock that the abort releases.
//!
//! ## Waiting
//! A transaction that has to wait (to load, for a closed partition, or for a duplicate) and has not charged in the
//! partition yet first withdraws from its slot, and starts again afterwards. So does one that was refused. So two
//! transactions wait for each other only in five cases: both have charged in an earlier epoch, or before a tenant's row
//! came, and charge again later; one that has closed a partition waits for one that has charged there and then changes
//! definitions or makes a tenant there; each has made a tenant, and charges or makes the other's; one waits for a
//! reservation that the other has locked; or each has written a request that the other then sends. Postgres then ends one
//! of them (`40P01`).
//!
//! A transaction in which a person's own session charges may stay open on purpose. Its slot says so: a transaction that
//! has waited for it for some seconds ends that session.
//!
//! ## Eviction
//! It takes an entry that no transaction has pinned. An entry is pinned from before the first addition until after the
//! commit is visible, so the next load finds in the tables whatever was counted in it.
//!
//! # Why a stale entry cannot be met
//! The key holds database, ledger table, quota, period and epoch. A quota that goes out of force and comes back does so
//! in a later epoch; a dropped extension comes back with another table; a copied database is another one.
//!
//! # What protects which field
//! | field | written by | read by |
//! | --- | --- | --- |
//! | key of an entry | the loader, while the entry is claimed (pins 0 → claimed by compare-and-swap) | all, between two equal reads of the word |
//! | word (generation, state, pins) | all, by compare-and-swap | all |
//! | `reserved`, `in_flight`, `held` | a transaction that has the entry pinned, by atomic addition | all; decisions by compare-and-swap only |
//! | `horizon`, `next_expiry` | the holder of the loaders' lock that has the entry pinned; `next_expiry` also by makers, downwards | all |
//! | slot | its own backend | all |
//! | epoch | the holder of `Definitions(partition)`, at commit; made odd and even again by one that holds it alone | all |

pub mod epochs;
pub mod journal;
pub mod registry;
pub mod table;

/// Loom's atomics where loom runs us, the machine's otherwise.
mod sync {
    #[cfg(loom)]
    pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
    #[cfg(not(loom))]
    pub use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
}
