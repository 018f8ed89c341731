//! Escrow admission: the counters in shared memory, and who may touch them when. No Postgres in here.
//!
//! One [`table::Entry`] per quota and period holds `reserved`: what is durably charged, plus live holds, plus what
//! transactions in flight have charged, in nano-dollars. A charge is admitted by adding to it as long as the sum stays
//! within the limit (O'Neil, "The Escrow Transactional Method", TODS 1986). Commit leaves the sum alone, abort takes it
//! back. Tables hold the truth: an entry is a cache of them that may be lost at any time nobody is using it.
//!
//! # Names
//! *Definitions* are what quotas exist: rows of `cost_quotas`, defaults, a tenant's plan. *Partition*: definitions are
//! guarded by tenant in 64 partitions, the platform being one of its own. *Epoch*: a number per partition that moves on
//! when its definitions did; part of every entry's key. Limits and modes are no definitions: changing one changes what
//! an entry is compared with and not what it counts.
//!
//! # Protocol
//! The crate `model` visits every state of it in small worlds, and finds the overshoot when any one rule is left out.
//! Heavyweight locks are Postgres' own: cancellable, deadlock-checked, visible in `pg_locks`.
//!
//! **Whoever changes definitions** takes `Definitions(partition)` before, together with others who do (a trigger), and keeps
//! it to the end. When his rows have become visible (commit callback) the epoch moves on; then his invalidation
//! messages go out; then the lock is released. In neither mode may he prepare: no callback runs at `COMMIT PREPARED`. If he
//! also charges, he first *closes* the partition: he takes the lock alone, the epoch becomes odd, and he waits for the
//! transactions that have charged there. Others wait for his lock; who has charged there before goes on in the epoch before,
//! for he is waited for anyway. Then the closer decides what that partition's quotas count from the tables, under the
//! lock of the locked mode. If the subtransaction that closed it aborts, the partition opens again with its lock.
//! A limit or mode that changes sends an invalidation message at commit and does nothing else.
//!
//! **Whoever charges**
//! 1. publishes in his own [`registry::Slot`] the epochs of the tenant's partition and of the platform's, the earliest in
//!    which the transaction has charged, and the request that he answers; and looks at the epochs again;
//! 2. handles pending invalidation messages and reads definitions: those kept from these very epochs, or in a snapshot
//!    taken now; then looks at the epochs once more. If they moved, anew;
//! 3. finds the entries of (quota, period, epoch) and *pins* them; what is absent he loads (below). Each pin is in his
//!    [`journal::Journal`] at once, as an addition of nothing;
//! 4. makes room in the journal for the charge: the last step that can fail;
//! 5. adds to every entry, within its limit, or gives back what he added and is refused;
//! 6. notes what he added in the journal, from where callbacks take it back;
//! 7. handles pending invalidation messages again: if anything that is kept has changed since 2, he gives back and starts
//!    anew, so that no charge is admitted by a limit whose change was acknowledged before;
//! 8. inserts the ledger row, and takes the request out of his slot. An abort gives back.
//!
//! Recording after the fact does the same without the limit. Nothing between 5 and 6 allocates, raises or waits.
//!
//! # Holds
//! A hold is a row with an expiry; no transaction runs when it expires. An entry counts a hold that is held and expires after
//! the entry's *horizon* T, which only moves forward.
//!
//! **Whoever has holds in hand** (resolves, extends, makes) shows in his slot when the earliest of them expires, his
//! *hand*, from before he looks at T to after his callback has credited. Who moves T stores it and then looks at hands; with a
//! fence between each one's store and looks, one of the two sees the other.
//!
//! **Whoever resolves a hold** locks its row, reads it in a snapshot taken then, pins what it counts in, shows his hand
//! and reads each T. Not passed: it is counted to his end; what it cost above the hold he adds now, what is left his
//! commit credits. Passed: T may have been there for a moment only, so he reads it again under the lock of the locked
//! mode, one entry's lock at a time; passed still is late, and the whole cost is added. Late everywhere: the hold is out of
//! his hand again. Who extends does the same, within the limit: what is new, or when late all of it; and the new expiry must
//! be after T. Whoever marks holds as expired resolves them, at no cost.
//!
//! **Whoever makes a hold** pins, shows his hand, reads T, and if it has passed the new expiry lets the hold expire as long
//! after T as it would have after the clock; then he adds within the limit. His commit adds to `held`.
//!
//! **Whoever charges an entry** in which holds may have expired (`next_expiry` is never later than the first that does), or would
//! be refused by it, takes that lock, notes T for the callbacks, stores the clock (never less than T), looks at all
//! hands of the partition, his own too, and stores T back to before the earliest, never below what it was. Only then he takes a
//! snapshot, sums what T has passed, and subtracts it, `reserved` first and `held` next: nothing there can fail. If he
//! fails before, the callback stores T as it was, and the lock goes after that. Whatever came of it he judges anew, and so
//! does once who found nothing to expire: others may have given back meanwhile. If a hold that has expired is in somebody's
//! hand, he waits a second for it before he refuses. A look does the same if the lock is free; else it reads the tables.
//!
//! **Whoever loads** sets T to the clock but before his own hand, which shows again the earliest of all his holds. The tables
//! show him his own changes; what he will credit is added to `reserved`, and what he made or resolved counts in `held` as
//! before, until his commit.
//!
//! **Corrections** are charges below zero: credited at commit, noted in the journal like what is left of a hold.
//!
//! # Duplicates, ends, loads
//! **Of two calls with one request id** the one whose row meets the other's in the index gives back, waits for the other's
//! transaction, and replays. One that is refused takes its own request out of its slot, waits for slots that show the same,
//! then for a transaction that has written such a row, and starts anew if there was either: it may be its own duplicate that
//! left no room.
//!
//! **The callbacks** cannot fail, wait or allocate. At commit: credit, add to `held`, unpin. At abort: subtract, then unpin. At a subtransaction's
//! abort the same for its part of the journal; at its commit the part becomes the parent's. Then the slot is cleared.
//! `PREPARE TRANSACTION` is refused: nobody would be there to unpin.
//!
//! **Whoever loads** an entry (absent in this epoch; nothing is admitted before)
//! 1. takes `Definitions(partition)` shared and gives it back: a change in progress has ended and told everybody. If
//!    the epoch moved, anew. Who goes on in a closed partition does without: the closer waits for him;
//! 2. waits for the slots that show the partition in an earlier epoch: they may not know the quota, so they did not count
//!    themselves in. For one that has charged he waits to its end, for one that is about to until it has or withdraws;
//! 3. takes the tenant's (the platform's) lock of the locked mode, exclusively: loads of a tenant are serial, and
//!    a transaction that the locked mode left prepared is waited for;
//! 4. looks again whether the entry is there; else sums the tables in a snapshot taken *now*, which shows the rows
//!    of its own command as well, adds what his own
//!    transaction charged before to his journal, subtransaction by subtransaction, and publishes the entry in one step
//!    that cannot fail;
//! 5. gives the lock back. Whoever fails on the way leaves nothing behind but a lock that his abort releases.
//!
//! **Nobody waits while he is in a slot for nothing**: whoever has to wait, to load or for a closed partition, and has not
//! charged in the partition yet, first takes himself out of his slot, and starts anew afterwards; so does whoever was
//! refused. So two transactions wait for each other only when both have charged in an earlier epoch and both charge again
//! in a later one, or one of them waits for a reservation that the other has locked; Postgres then ends one of them (`40P01`).
//!
//! **Between an addition and its rows** nothing is loaded: a trigger on the ledger that looks reads the tables, and one that
//! would have to load to charge is refused.
//!
//! **Whoever writes rows that counters are read from, and is no charge** (an import, a repair, a subscription), has changed
//! all definitions from then on. The locks of all partitions are taken before the commit record, so imports that are open
//! stop nobody; the epochs move in the callback.
//!
//! **Eviction** takes an entry nobody has pinned. An entry is pinned from before the first addition until after the
//! commit is visible, so whoever loads it again finds in the tables whatever was counted in it.
//!
//! # Why a stale entry cannot be met
//! The key holds database, ledger table, quota, period and epoch. A quota that goes out of force and comes back does so
//! in a later epoch; a dropped extension comes back with another table; a copied database is another one.
//!
//! # Who protects what
//! | field | written by | read by |
//! | --- | --- | --- |
//! | key of an entry | the loader, while the entry is claimed (pins 0 → claimed by compare-and-swap) | anybody, between two equal looks at the word |
//! | word (generation, state, pins) | everybody, by compare-and-swap | everybody |
//! | `reserved`, `in_flight`, `held` | whoever has the entry pinned, by atomic addition | anybody; decisions by compare-and-swap only |
//! | `horizon`, `next_expiry` | who holds the lock of the loaders and has the entry pinned; `next_expiry` also by makers, downwards | anybody |
//! | slot | its own backend | everybody |
//! | epoch | who holds `Definitions(partition)`, at commit; made odd and even again by who holds it alone | everybody |

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
