//! The rules of the protocol, each as the mutant that does without it.

/// What counts as a violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Everything, in every state: I5 too, which no user sees.
    Everything,
    /// Only what a user would suffer from. A mutant is caught by its consequences if it has any within the scenario.
    /// Only if not is it caught by a counter that is wrong for a moment.
    Consequences,
}

/// The mutants with what each does instead of what the protocol says.
macro_rules! mutants {
    ($($name:ident $says:literal)*) => {
        /// One rule switched off. A mutant that no model catches means that the rule is not needed, or not checked.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Mutant {
            $(#[doc = $says] $name,)*
        }

        impl Mutant {
            pub const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// What it does instead of what the protocol says.
            pub fn says(self) -> &'static str {
                match self {
                    $(Mutant::$name => $says,)*
                }
            }
        }
    };
}

mutants! {
    // Loading
    SnapshotBeforeLock "the loader takes its snapshot before the tenant's lock"
    LoaderDoesNotCheckAgain "the loader publishes over an entry that came while it waited for the lock"
    LoaderSkipsBarrier "the loader does not go through the Definitions lock"
    LoaderSkipsOldSlots "the loader does not wait for slots of an earlier epoch"
    LoaderForgetsOwnCharges "the loader journals nothing of what its own transaction charged before"
    LoaderCountsOwnRefund "the loader's sum contains its own refund that is not committed"
    LoadMissesItsOwnCommand "the loader's snapshot does not show the rows of its own command"
    LoadTakesOwnChargesToItsOwnSavepoint "own earlier charges are journaled for the savepoint of the load"
    LoaderIgnoresTenantLock "the loader does not take the tenant's lock: nothing waits for a prepared transaction"
    ChargeBeforeLoad "an absent entry is taken for an empty one"
    // Pins and eviction
    UnpinAtPreCommit "unpins at PRE_COMMIT, before the row is visible"
    EvictPinned "evicts an entry that is pinned"
    PrepareDropsPin "PREPARE is allowed and drops the pins"
    PinNotJournaled "a pin is known to the callbacks only once something was added"
    UnpinBeforeSubtract "abort unpins, then subtracts"
    // Ends of transactions
    AbortDoesNotSubtract "abort does not subtract"
    SavepointAbortForgets "a savepoint's abort forgets its part of the journal"
    SavepointReleaseForgets "a savepoint's release does not give its part to the parent"
    CommitSubtracts "the commit callback subtracts"
    RaiseBetweenAddAndPush "something may raise between addition and push"
    RefundBeforeCommit "a refund is credited before it is committed"
    RefundNeverCredited "the commit callback forgets a refund's credit"
    RefundSkipsAbsent "a refund does not load an absent entry"
    SlotClearedBeforeVisible "the slot is cleared before the row is visible"
    // Definitions and limits
    NoSecondRead "no second read of the epoch after publishing the slot"
    SecondReadTooEarly "the second read of the epoch comes before the definitions are read, not after"
    CacheAcrossEpochs "cached definitions are good for any epoch until a message comes"
    NoRecheck "no second handling of messages after the additions"
    RecheckSeesOnlyNewMessages "messages handled in a wait between reading and rechecking are forgotten"
    EpochNotInKey "the epoch is no part of an entry's key"
    EpochBeforeVisible "the epoch moves before the rows are visible"
    MessagesAfterLocks "the messages go out after the change was acknowledged"
    SlotForgetsEarlierEpoch "a later charge of the same transaction overwrites the epoch in its slot"
    DefinitionsMayBePrepared "a transaction that changed definitions may be prepared in the locked mode"
    // The closed partition
    ChangerDoesNotClose "a transaction that changed definitions charges by the counters"
    CloserDoesNotWait "the closer of the partition does not wait for charges in flight"
    CloserTakesNoTenantLock "the closer of the partition decides without the tenant's lock"
    ClosedDecidesAllFromTables "the closer of one partition decides quotas of the other from the tables too"
    ClosedLockDiesWithSavepoint "the Definitions lock goes with the savepoint that took it"
    ClosedForEver "abort does not open the partition again"
    WaitWithSlotPublished "waits for the Definitions lock with the slot published and nothing charged"
    WaitsForTransaction "the closer of a partition waits for a transaction whose slot it saw, which has withdrawn it"
    // Tenants that are new
    LoaderSkipsArrivals "the loader does not wait until the commit of the tenant's row has sent its messages"
    LoaderSkipsUnregistered "the loader does not wait for charges that do not know the tenant's row"
    FounderChargesBesideOthers "a transaction that made the tenant's row charges beside those that do not know it"
    FounderUsesCounters "a transaction that made the tenant's row loads the counters of the quotas that it brings"
    FounderDecidesAllFromTables "a transaction that made the tenant's row decides quotas that were there from the tables"
    FounderSkipsOldSlots "a transaction that made the tenant's row does not wait for charges of a row that was deleted"
    ArrivesBesideDeparture "a tenant's row is made before the transaction that deleted it has moved the epoch"
    // Several quotas
    RefusalKeepsFirst "the second quota's refusal keeps the first's addition"
    // Duplicates
    LoserKeeps "the loser of two duplicates does not give back"
    RefusedDoesNotWaitForDuplicate "a refused request does not wait for its duplicate"
    DuplicateKnownOnlyByRow "a duplicate is known by its row alone, which it inserts after it has added"
    NoUniqueRequest "the insert does not look for another row of the request"
    // Expiry
    HorizonPassesHoldBeingResolved "a resolver publishes no active expiry"
    HorizonPassesHoldBeingMade "a maker of a hold publishes no active expiry"
    ActiveExpiryPublishedAfterHorizon "a resolver reads T before its active expiry is published"
    ActiveExpiryForgetsEarlierHold "a later hold of the same transaction overwrites the active expiry"
    ActiveExpiryClearedBeforeVisible "the active expiry is cleared before the row is visible"
    ActiveExpiryClearedBeforeCredit "the active expiry is cleared before the commit callback has credited"
    ActiveExpiriesReadBeforeHorizonIsStored "expiry reads the active expiries before it stores T"
    ActiveExpiriesReadAfterSnapshot "expiry reads the active expiries after its snapshot"
    ExpirerForgetsItsOwnActiveExpiry "expiry does not read its own transaction's active expiry"
    HorizonMovesBackwards "T follows a clock that was set back"
    HorizonNotRestored "expiry that fails leaves T where it is"
    LockReleasedBeforeHorizonIsRestored "expiry that fails gives the lock back before T"
    TwoExpireAtOnce "expiry takes no lock"
    HeldSubtractedFirst "expiry subtracts from what is held before it gives the room back"
    NothingHeldIsBelieved "a charge that finds nothing held is refused without being judged once more"
    NothingGainedIsRefused "a charge that cannot move T is refused without being judged once more"
    LateDecidedWithoutLock "a resolver believes a T that it has read without the lock"
    LateIsNotDecided "a late resolver settles against a hold that is no longer counted"
    RowReadBeforeItsLock "a resolver reads the row before it has its lock"
    ResolverDoesNotPin "a resolver does not pin the entry"
    MakerDoesNotReadHorizon "a maker of a hold does not read whether T passed it meanwhile"
    MakerReadsBeforePublishing "a maker of a hold reads T before its active expiry is published"
    MakerStartsAgainByTheClock "a maker that starts again counts from the clock although T is ahead of it"
    ExtenderDoesNotReadHorizon "a transaction that extends a hold does not read whether T passed the new expiry"
    LoaderForgetsOwnHolds "a loader counts its own transaction's holds as its snapshot shows them"
    LoaderForgetsLateHolds "a loader does not make its own late holds active again"
    LoaderPassesOwnActiveExpiry "a loader's T passes active holds of its own transaction"
}
