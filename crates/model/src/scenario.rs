//! Which session does what in a model: the small worlds in which every interleaving is tried.

use crate::mutant::Mutant;
use crate::world::{AdmissionMode, Definition, QUOTAS, Scope, TENANTS};

/// A call that a session makes, or a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Against every limit that covers the tenant.
    Charge(i8),
    /// The same under the one request id of the model.
    ChargeOnce(i8),
    /// After the fact: the same without the limit.
    Record(i8),
    Refund(i8),
    /// Changes a limit that exists.
    Limit(u8, i8),
    /// Creates a quota, or (None) deletes it. Of the quota that a tenant's row brings, (None) deletes the row.
    Define(u8, Option<i8>),
    /// Makes the tenant's row, with the limit of the quota that it brings, unless it is there.
    Arrive(i8),
    /// In the command of the call before: reads the counters, and loads what is absent.
    Check,
    Savepoint,
    /// Released or rolled back: both are tried. Where it stands, an ERROR inside is caught as well.
    EndSavepoint,
    /// Ends the transaction and begins another.
    Commit,
    Prepare,
}

pub struct Scenario {
    pub name: &'static str,
    pub says: &'static str,
    pub scopes: [Scope; QUOTAS],
    /// At the start; the rows of quotas that there are not have no limit.
    pub limits: [Option<i8>; QUOTAS],
    /// The quota that is there if the tenant's row is. Without one every tenant has its row.
    brings: Option<u8>,
    pub spent: [i8; TENANTS],
    /// Tenant and calls of each session.
    pub sessions: &'static [(usize, &'static [Op])],
    /// Entries are loaded at the start.
    pub loaded: bool,
    /// Backends know the definitions at the start.
    pub cached: bool,
    pub evictions: bool,
    /// An ERROR, or a cancel, wherever one can come, and a ROLLBACK between calls.
    pub failures: bool,
    /// The mode at the start and after each restart, crash or not.
    pub modes: &'static [AdmissionMode],
    /// Transactions that charge more than once can wait for each other; Postgres then ends one (`40P01`).
    pub deadlocks: bool,
    pub mutants: &'static [Mutant],
}

impl Scenario {
    pub fn definitions(&self) -> [Definition; QUOTAS] {
        self.limits.map(|limit| Definition { limit, version: 0 })
    }

    /// The quota that comes with a tenant's row, where the tenant's row can come.
    pub fn brought_to(&self, tenant: usize) -> Option<u8> {
        self.brings.filter(|quota| self.scopes[*quota as usize] == Tenant(tenant))
    }
}

use AdmissionMode::{Escrow, Locked};
use Op::*;
use Scope::{Platform, Tenant};

const PLAIN: Scenario = Scenario {
    name: "",
    says: "",
    scopes: [Tenant(0), Tenant(0)],
    limits: [None, None],
    brings: None,
    spent: [0, 0],
    sessions: &[],
    loaded: false,
    cached: true,
    evictions: false,
    failures: false,
    modes: &[Escrow],
    deadlocks: false,
    mutants: &[],
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "life cycle",
        says: "three charges, room for two; errors anywhere, aborts, eviction and reload, a crash",
        limits: [Some(2), None],
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        modes: &[Escrow, Escrow],
        mutants: &[
            Mutant::SnapshotBeforeLock,
            Mutant::LoaderDoesNotCheckAgain,
            Mutant::ChargeBeforeLoad,
            Mutant::UnpinAtPreCommit,
            Mutant::EvictPinned,
            Mutant::AbortDoesNotSubtract,
            Mutant::UnpinBeforeSubtract,
            Mutant::CommitSubtracts,
            Mutant::RaiseBetweenAddAndPush,
            Mutant::LoaderIgnoresTenantLock,
        ],
        ..PLAIN
    },
    Scenario {
        name: "life cycle of four",
        says: "four charges, room for two; eviction and reload, a crash",
        limits: [Some(2), None],
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Record(1)])],
        evictions: true,
        modes: &[Escrow, Escrow],
        ..PLAIN
    },
    Scenario {
        name: "savepoints",
        says: "charges before, in and after a savepoint that is released, rolled back, or caught an ERROR",
        limits: [Some(3), None],
        sessions: &[
            (0, &[Charge(1), Savepoint, Charge(1), EndSavepoint, Charge(1)]),
            (0, &[Charge(1)]),
            (0, &[Savepoint, Charge(1), EndSavepoint]),
        ],
        evictions: true,
        failures: true,
        mutants: &[Mutant::SavepointAbortForgets, Mutant::SavepointReleaseForgets],
        ..PLAIN
    },
    Scenario {
        name: "refunds",
        says: "a refund beside charges at the limit; errors, eviction",
        limits: [Some(2), None],
        spent: [2, 0],
        sessions: &[(0, &[Refund(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::RefundBeforeCommit, Mutant::RefundNeverCredited, Mutant::RefundSkipsAbsent],
        ..PLAIN
    },
    Scenario {
        name: "checks",
        says: "a charge and a check in one command, in a savepoint, while a quota is created beside; eviction",
        limits: [Some(1), None],
        sessions: &[(0, &[Savepoint, Charge(1), Check, EndSavepoint]), (0, &[Charge(1)]), (1, &[Define(1, Some(9))])],
        evictions: true,
        mutants: &[Mutant::LoadMissesItsOwnCommand],
        ..PLAIN
    },
    Scenario {
        name: "checks after refunds",
        says: "a refund and a check in one command, while a quota is created beside; errors, eviction",
        limits: [Some(1), None],
        spent: [1, 0],
        sessions: &[(0, &[Refund(1), Check]), (0, &[Charge(1)]), (1, &[Define(1, Some(9))])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::LoadMissesItsOwnCommand],
        ..PLAIN
    },
    Scenario {
        name: "recording",
        says: "costs after the fact, over the limit too, beside charges; a crash",
        limits: [Some(2), None],
        sessions: &[(0, &[Record(2)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        modes: &[Escrow, Escrow],
        ..PLAIN
    },
    Scenario {
        name: "two quotas",
        says: "every charge against two quotas, all or nothing; errors, eviction",
        limits: [Some(2), Some(1)],
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::RefusalKeepsFirst, Mutant::PinNotJournaled],
        ..PLAIN
    },
    Scenario {
        name: "limits",
        says: "a limit is lowered and raised again while others charge",
        limits: [Some(2), None],
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Limit(0, 1), Commit, Limit(0, 2)])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::NoRecheck, Mutant::RecheckSeesOnlyNewMessages, Mutant::MessagesAfterLocks],
        ..PLAIN
    },
    Scenario {
        name: "limit, then charge",
        says: "a transaction raises a limit and charges by it before it commits, or does not",
        limits: [Some(1), None],
        sessions: &[(0, &[Limit(0, 2), Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        ..PLAIN
    },
    Scenario {
        name: "new quota",
        says: "a tenant's quota is created while charges that do not know it are in flight",
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Define(0, Some(1))])],
        evictions: true,
        failures: true,
        mutants: &[
            Mutant::LoaderSkipsOldSlots,
            Mutant::EpochBeforeVisible,
            Mutant::SlotClearedBeforeVisible,
            Mutant::CacheAcrossEpochs,
        ],
        ..PLAIN
    },
    Scenario {
        name: "new quota, nothing cached",
        says: "the same where backends read the definitions, which are seen before the epoch moves",
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Define(0, Some(1))])],
        cached: false,
        failures: true,
        modes: &[Escrow, Escrow],
        mutants: &[Mutant::LoaderSkipsBarrier],
        ..PLAIN
    },
    Scenario {
        name: "quota comes back",
        says: "a full quota is deleted and created again with a larger limit; charges before, between and after",
        limits: [Some(1), None],
        spent: [1, 0],
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Define(0, None), Commit, Define(0, Some(2))])],
        loaded: true,
        evictions: true,
        mutants: &[Mutant::EpochNotInKey, Mutant::SecondReadTooEarly],
        ..PLAIN
    },
    Scenario {
        name: "platform quota",
        says: "a platform quota is created while two tenants charge against their own",
        scopes: [Tenant(0), Platform],
        limits: [Some(3), None],
        sessions: &[(0, &[Charge(1)]), (1, &[Charge(1)]), (0, &[Define(1, Some(1))])],
        loaded: true,
        failures: true,
        mutants: &[Mutant::CacheAcrossEpochs, Mutant::LoaderSkipsOldSlots],
        ..PLAIN
    },
    Scenario {
        name: "change, then charge",
        says: "a transaction creates a quota and charges in the closed partition; others charge",
        limits: [Some(3), None],
        sessions: &[(0, &[Define(1, Some(2)), Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        failures: true,
        mutants: &[
            Mutant::ChangerDoesNotClose,
            Mutant::CloserDoesNotWait,
            Mutant::ClosedForEver,
            Mutant::WaitWithSlotPublished,
            Mutant::WaitsForTransaction,
            Mutant::NoSecondRead,
        ],
        ..PLAIN
    },
    Scenario {
        name: "charge, change, charge",
        says: "a transaction charges before and after it creates a quota; a crash",
        limits: [Some(3), None],
        sessions: &[(0, &[Charge(1), Define(1, Some(2)), Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        modes: &[Escrow, Escrow],
        ..PLAIN
    },
    Scenario {
        name: "change in a savepoint",
        says: "a partition is closed in a savepoint; another session changes definitions, a third charges",
        limits: [Some(1), None],
        sessions: &[
            (0, &[Savepoint, Define(1, Some(1)), Charge(1), EndSavepoint, Charge(1)]),
            (0, &[Define(1, Some(3))]),
            (0, &[Charge(1)]),
        ],
        deadlocks: true,
        mutants: &[Mutant::ClosedLockDiesWithSavepoint],
        ..PLAIN
    },
    Scenario {
        name: "closed beside the platform",
        says: "one tenant's partition is closed while another tenant charges against the platform's quota",
        scopes: [Tenant(0), Platform],
        limits: [None, Some(1)],
        sessions: &[(0, &[Define(0, Some(3)), Charge(1)]), (1, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::ClosedDecidesAllFromTables],
        ..PLAIN
    },
    Scenario {
        name: "two closers",
        says: "one transaction closes the tenant's and the platform's partition, another the platform's; a charge",
        scopes: [Tenant(0), Platform],
        limits: [None, Some(2)],
        sessions: &[
            (0, &[Define(0, Some(2)), Charge(1), Define(1, Some(1))]),
            (1, &[Define(1, Some(3)), Charge(1)]),
            (0, &[Charge(1)]),
        ],
        deadlocks: true,
        failures: true,
        ..PLAIN
    },
    Scenario {
        name: "charges twice",
        says: "a transaction charges before and after another's quota came, the second time in a savepoint",
        sessions: &[
            (0, &[Charge(1), Savepoint, Charge(1), EndSavepoint]),
            (0, &[Define(0, Some(3))]),
            (0, &[Charge(1), Charge(1)]),
        ],
        deadlocks: true,
        failures: true,
        mutants: &[
            Mutant::SlotForgetsEarlierEpoch,
            Mutant::LoaderForgetsOwnCharges,
            Mutant::LoadTakesOwnChargesToItsOwnSavepoint,
        ],
        ..PLAIN
    },
    Scenario {
        name: "new tenant",
        says: "a tenant's row is made while charges that do not know it are in flight; errors, eviction",
        brings: Some(0),
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Arrive(1)])],
        evictions: true,
        failures: true,
        mutants: &[Mutant::LoaderSkipsUnregistered],
        ..PLAIN
    },
    Scenario {
        name: "new tenant, nothing cached",
        says: "the same where backends read the definitions, which are seen before the messages go out",
        brings: Some(0),
        sessions: &[(0, &[Charge(1)]), (0, &[Charge(1)]), (0, &[Arrive(1)])],
        cached: false,
        failures: true,
        modes: &[Escrow, Escrow],
        mutants: &[Mutant::LoaderSkipsArrivals],
        ..PLAIN
    },
    Scenario {
        name: "new tenant, charged at once",
        says: "a transaction makes a tenant and charges it, beside charges that do not know it; errors, a crash",
        brings: Some(0),
        sessions: &[(0, &[Arrive(2), Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        failures: true,
        modes: &[Escrow, Escrow],
        mutants: &[Mutant::FounderChargesBesideOthers],
        ..PLAIN
    },
    Scenario {
        name: "new tenant with a quota that was there",
        says: "the same where a quota of the tenant is known before its row; eviction",
        limits: [None, Some(2)],
        brings: Some(0),
        sessions: &[(0, &[Arrive(2), Charge(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        loaded: true,
        evictions: true,
        mutants: &[Mutant::FounderDecidesAllFromTables],
        ..PLAIN
    },
    Scenario {
        name: "new tenant that comes again",
        says: "a tenant is made and charged in a savepoint, charged without its row, made again and charged",
        brings: Some(0),
        sessions: &[
            (
                0,
                &[
                    Savepoint,
                    Arrive(1),
                    Charge(1),
                    EndSavepoint,
                    Commit,
                    Charge(1),
                    Commit,
                    Arrive(1),
                    Commit,
                    Charge(1),
                ],
            ),
            (0, &[Charge(1)]),
        ],
        evictions: true,
        mutants: &[Mutant::FounderUsesCounters],
        ..PLAIN
    },
    Scenario {
        name: "tenant that goes and comes again",
        says: "a tenant's row is deleted in one session and made again in another; charges before, between and after",
        limits: [Some(1), None],
        brings: Some(0),
        sessions: &[(0, &[Define(0, None)]), (0, &[Arrive(1)]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        loaded: true,
        mutants: &[Mutant::ArrivesBesideDeparture],
        ..PLAIN
    },
    Scenario {
        name: "tenant that comes again, charged at once",
        says: "a tenant's row is deleted beside a charge, and another session makes it again and charges it",
        limits: [Some(1), None],
        brings: Some(0),
        sessions: &[(0, &[Define(0, None)]), (0, &[Arrive(1), Charge(1)]), (0, &[Charge(1)])],
        loaded: true,
        mutants: &[Mutant::FounderSkipsOldSlots],
        ..PLAIN
    },
    Scenario {
        name: "new tenant beside another",
        says: "a tenant of the same partition charges, and the platform's quota counts both; errors, eviction",
        scopes: [Tenant(0), Platform],
        limits: [None, Some(2)],
        brings: Some(0),
        sessions: &[(0, &[Arrive(1), Charge(1)]), (1, &[Charge(1)]), (0, &[Charge(1)])],
        evictions: true,
        failures: true,
        ..PLAIN
    },
    Scenario {
        name: "charges twice beside a new tenant",
        says: "transactions charge before and after a tenant's row came, one of them in a savepoint",
        brings: Some(0),
        sessions: &[
            (0, &[Charge(1), Savepoint, Charge(1), EndSavepoint]),
            (0, &[Arrive(3)]),
            (0, &[Charge(1), Charge(1)]),
        ],
        deadlocks: true,
        failures: true,
        ..PLAIN
    },
    Scenario {
        name: "refunds, then charges",
        says: "a transaction refunds before a quota came and charges after, loading it",
        spent: [1, 0],
        sessions: &[(0, &[Refund(1), Charge(1)]), (0, &[Define(0, Some(2))]), (0, &[Charge(1)])],
        deadlocks: true,
        failures: true,
        mutants: &[Mutant::LoaderCountsOwnRefund],
        ..PLAIN
    },
    Scenario {
        name: "duplicates",
        says: "two calls with one request id, and a charge that takes the room; errors",
        limits: [Some(2), None],
        sessions: &[(0, &[ChargeOnce(1)]), (0, &[ChargeOnce(1)]), (0, &[Charge(1)])],
        loaded: true,
        failures: true,
        mutants: &[Mutant::LoserKeeps, Mutant::NoUniqueRequest],
        ..PLAIN
    },
    Scenario {
        name: "duplicates, last room",
        says: "two calls with one request id where only one of them fits, and a charge; errors, a crash",
        limits: [Some(1), None],
        sessions: &[(0, &[ChargeOnce(1)]), (0, &[ChargeOnce(1)]), (0, &[Charge(1)])],
        loaded: true,
        failures: true,
        modes: &[Escrow, Escrow],
        mutants: &[Mutant::RefusedDoesNotWaitForDuplicate, Mutant::DuplicateKnownOnlyByRow],
        ..PLAIN
    },
    Scenario {
        name: "modes",
        says: "locked, escrow, locked; a charge that the locked mode left prepared; PREPARE refused in escrow",
        limits: [Some(2), None],
        sessions: &[(0, &[Charge(1), Prepare]), (0, &[Charge(1), Prepare]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        modes: &[Locked, Escrow, Locked],
        mutants: &[Mutant::LoaderIgnoresTenantLock, Mutant::PrepareDropsPin],
        ..PLAIN
    },
    Scenario {
        name: "modes and a new quota",
        says: "a quota and a charge left prepared by the locked mode; the escrow mode closes and charges",
        limits: [Some(2), None],
        sessions: &[
            (0, &[Define(1, Some(1)), Prepare]),
            (0, &[Charge(1), Prepare]),
            (0, &[Define(1, Some(1)), Charge(1)]),
            (0, &[Charge(1)]),
        ],
        modes: &[Locked, Escrow],
        mutants: &[Mutant::CloserTakesNoTenantLock],
        ..PLAIN
    },
    Scenario {
        name: "modes and a platform quota",
        says: "a platform quota created by a transaction of the locked mode; charges in escrow",
        scopes: [Tenant(0), Platform],
        sessions: &[(0, &[Define(1, Some(1)), Prepare]), (0, &[Charge(1)]), (0, &[Charge(1)])],
        modes: &[Locked, Escrow],
        mutants: &[Mutant::DefinitionsMayBePrepared],
        ..PLAIN
    },
];
