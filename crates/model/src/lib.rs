//! The escrow protocol of `pg_tollgate`, checked in every interleaving of small worlds.
//!
//! The protocol is stated in the documentation of the crate `pg_tollgate-escrow`; this crate is its executable form. A
//! [`scenario::Scenario`] says which session does what. [`machine::Escrow`] has every order in which their steps can
//! come, with errors, cancels, rollbacks, evictions, crashes and restarts in between. stateright visits all of them and
//! searches for a state in which an [`state::Invariant`] is broken. [`holds::Holds`] does the same for holds that
//! expire. For each rule there is a [`mutant::Mutant`] that does without it, and a scenario that catches it. A rule
//! whose loss goes unnoticed is superfluous or not checked.
//!
//! `cargo xtask model` runs all of it and prints a table; the tests of this crate run the same.
//!
//! # What is a step
//! What others can see, or be seen by, in one indivisible act. Such are a store to the slot, a read of the epoch, a
//! pin, an addition by compare-and-swap and a snapshot. Such are also a lock that was waited for, a row that becomes
//! visible, messages that go out, and locks that are released. The ends of transactions come in the order in which
//! Postgres does them. That is: commit record flushed, row visible, callback, invalidation messages, locks released and
//! the client told. The callback goes item by item, then epochs, then the slot. Waiting sequences (slot after slot) are
//! steps of their own.
//!
//! # What is held against it
//! The truth is reckoned from rows and from what transactions are about to insert, never from a counter (`truth.rs`):
//! * I1, at every addition (or decision from the tables) whose charge is then admitted: committed + in flight + x fits
//!   a limit in force. While a change is committed and not acknowledged, the old limit or the new one will do. By the
//!   recheck no version may be in use that is older than the latest one acknowledged.
//! * I2, at each refusal: the sum with what is in flight did not fit. The version is not older than was acknowledged
//!   when the call began.
//! * I5, in every state: a counter that can still be found is exact.
//! * I6, at each admission and refusal over two quotas.
//! * Duplicates: one row for a request. No call is told that it was refused while a duplicate has what it had when that
//!   was decided, or has committed.
//! * In the end nothing is pinned, published or closed. None waits for ever: where a transaction charges once there is
//!   no deadlock at all, where it charges several times Postgres' detector finds every one.
//!
//! # What is left out, and why that is sound
//! * The bits of an entry's word (generation, claimed) and memory orders: atomics are sequentially consistent here. The
//!   table, the journal and the registry are run under loom in their own crate.
//! * Amounts are one or two, quotas and tenants two, sessions three or four, crashes one or two. Each rule that is
//!   missing shows within these bounds.
//! * One epoch word for each of two partitions: the tenants' and the platform's. Both are read in one step; each is
//!   read again, so an order between them is nothing to rely on.
//! * Invalidation is per backend, not per relation: any message empties the cache. More is invalidated than in Postgres,
//!   never less. A message that finds nothing cached is dropped: what is read next is read after it.
//! * A tenant's row is there when the quota is that it brings. Of quotas that come with it this is the one.
//! * The locked mode's platform lock is always exclusive: the shared one admits more, all of it among charges that no
//!   platform quota counts.
//! * The fold of pending rows into rollups moves no sum, so it is absent. A check moves nothing either, but it loads
//!   what is absent, in the command of a call that has written. It does that here, too.
//! * Periods: a period is part of a key as a quota is.
//! * Fairness: a session that waits for a closed partition or a limit that keeps changing may start again as long.
//!
//! # Rules that the model needs, each with the mutant that shows it
//! * Cached definitions are good under the epoch under which they were read (`CacheAcrossEpochs`). The epoch moves in
//!   the callback, before the messages go out, so a slot can show the new epoch beside old definitions. They can be
//!   carried over to it once the change has given up its lock: a message that comes later is seen in step 7.
//! * The second read of the epoch comes after the definitions were read (`SecondReadTooEarly`).
//! * The slot shows the tenant's and the platform's epoch, and keeps the earliest under which its transaction has charged
//!   (`SlotForgetsEarlierEpoch`).
//! * A transaction that must wait for the Definitions lock and has charged nothing withdraws its slot first
//!   (`WaitWithSlotPublished`). One that waits for slots waits for the slot and not for the transaction
//!   (`WaitsForTransaction`).
//! * A load sees the rows of its own command, which its journal has already (`LoadMissesItsOwnCommand`).
//! * The callbacks know of a pin from the pin on, not from the push of step 6 (`PinNotJournaled`).
//! * Messages that a wait between steps 2 and 7 has handled count in step 7 (`RecheckSeesOnlyNewMessages`).
//! * A refund loads absent entries too (`RefundSkipsAbsent`); a loader's sum leaves out its own uncommitted refunds
//!   (`LoaderCountsOwnRefund`), and journals its earlier charges by savepoint
//!   (`LoadTakesOwnChargesToItsOwnSavepoint`).
//! * The closer of a partition decides only its quotas from the tables, and under the tenant's lock
//!   (`ClosedDecidesAllFromTables`, `CloserTakesNoTenantLock`). If the savepoint that closed it aborts, the partition
//!   opens with its lock (`ClosedLockDiesWithSavepoint`).
//! * A tenant's row that comes moves no epoch. A loader waits until the commit of the row has sent its messages
//!   (`LoaderSkipsArrivals`), and for charges that do not know it (`LoaderSkipsUnregistered`). Who makes the row keeps
//!   such charges out (`FounderChargesBesideOthers`) and loads nothing that it brings (`FounderUsesCounters`), but
//!   charges what others know by its counters (`FounderDecidesAllFromTables`). It lets those end first that delete such
//!   rows (`ArrivesBesideDeparture`), and those that charged one that was deleted (`FounderSkipsOldSlots`).
//! * A transaction that changed definitions cannot be prepared, in the locked mode either: a restart may come before
//!   COMMIT PREPARED, which runs no callback (`DefinitionsMayBePrepared`).
//! * A refused request finds its duplicate by the slot, which shows the request before anything is added
//!   (`DuplicateKnownOnlyByRow`).
//! * A transaction with active holds and one that moves T each write before they read. The first writes the active
//!   expiry before it reads T (`ActiveExpiryPublishedAfterHorizon`, `MakerReadsBeforePublishing`). The other writes T
//!   before it reads the active expiries (`ActiveExpiriesReadBeforeHorizonIsStored`), and takes the snapshot last
//!   (`ActiveExpiriesReadAfterSnapshot`). The active expiry is the earliest of the whole transaction
//!   (`ActiveExpiryForgetsEarlierHold`) and binds its owner too (`ExpirerForgetsItsOwnActiveExpiry`). It goes after the
//!   credit (`ActiveExpiryClearedBeforeVisible`, `ActiveExpiryClearedBeforeCredit`).
//! * A T that has passed a hold may be taken back, so late is decided under the lock (`LateDecidedWithoutLock`). It is
//!   taken back before the lock goes (`HorizonNotRestored`, `LockReleasedBeforeHorizonIsRestored`).
//! * A charge that expired something, could not, or found nothing held is judged once more, since others did it
//!   meanwhile (`NothingGainedIsRefused`, `NothingHeldIsBelieved`). So the room is given back before `held` says so
//!   (`HeldSubtractedFirst`).
//! * A maker that starts again with a later expiry counts from T if the clock was set back behind it
//!   (`MakerStartsAgainByTheClock`).
//! * A loader's own holds count in the new entry as they do in the earlier epoch's, to be credited or taken back
//!   (`LoaderForgetsOwnHolds`). T stays before them (`LoaderPassesOwnActiveExpiry`), also before those that were late
//!   there: the clock may have been set back (`LoaderForgetsLateHolds`). The active holds of others need not concern
//!   it.

#![forbid(unsafe_code)]

mod charge;
pub mod check;
mod end;
pub mod holds;
mod load;
pub mod machine;
pub mod mutant;
mod quota_check;
pub mod scenario;
pub mod state;
mod truth;
pub mod world;

#[cfg(test)]
mod tests {
    use super::check::{Check, checks, run};
    use super::mutant::Mutant;

    fn all_good(wanted: impl Fn(&Check) -> bool) {
        let wanted: Vec<Check> = checks().into_iter().filter(wanted).collect();
        let bad: Vec<String> = run(&wanted, |_| ())
            .iter()
            .filter(|verdict| !verdict.is_good())
            .map(|verdict| {
                let trace = verdict.violation.as_ref().map(|it| it.trace.join("\n    ")).unwrap_or_default();
                format!("{}, {}: {}\n    {trace}", verdict.check.model(), verdict.check.says(), verdict.result())
            })
            .collect();
        assert!(!wanted.is_empty() && bad.is_empty(), "{}", bad.join("\n"));
    }

    #[test]
    fn the_design_holds() {
        all_good(|check| check.mutant.is_none());
    }

    #[test]
    fn every_mutant_is_caught() {
        all_good(|check| check.mutant.is_some());
    }

    #[test]
    fn no_mutant_is_left_out() {
        let tried: Vec<Mutant> = checks().iter().filter_map(|check| check.mutant).collect();
        let left_out: Vec<&Mutant> = Mutant::ALL.iter().filter(|mutant| !tried.contains(mutant)).collect();
        assert!(left_out.is_empty(), "{left_out:?}");
    }
}
