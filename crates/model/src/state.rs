//! What the protocol acts on: tables, shared memory and sessions. And the truth that it is held against.

use crate::world::{AdmissionMode, Definitions, PARTITIONS, QUOTAS, TENANTS};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Invariant {
    /// I1: an admitted charge fitted: committed + in flight + x <= a limit that was in force.
    Overshoot,
    /// I1: admitted by a definition or limit whose change was acknowledged before.
    Outdated,
    /// I2: refused although it fitted.
    SpuriousRefusal,
    /// I5: a loaded counter is not what the tables and the transactions in flight add up to.
    Drift,
    /// I6: of several quotas some were charged and others not.
    AllOrNothing,
    /// A request had two effects, or was refused while its duplicate had one.
    Duplicate,
    /// All have finished, and a pin, slot or closed partition is left.
    Leak,
    /// A session waits, and nothing will ever wake it.
    Stuck,
}

impl Invariant {
    pub const ALL: [Invariant; 8] = [
        Invariant::Overshoot,
        Invariant::Outdated,
        Invariant::SpuriousRefusal,
        Invariant::Drift,
        Invariant::AllOrNothing,
        Invariant::Duplicate,
        Invariant::Leak,
        Invariant::Stuck,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Invariant::Overshoot => "I1 no overshoot",
            Invariant::Outdated => "I1 limit in force",
            Invariant::SpuriousRefusal => "I2 no spurious refusal",
            Invariant::Drift => "I5 counter is exact",
            Invariant::AllOrNothing => "I6 all or nothing",
            Invariant::Duplicate => "one effect, no refusal beside it",
            Invariant::Leak => "nothing leaks",
            Invariant::Stuck => "none is stuck",
        }
    }
}

/// Committed and visible rows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tables {
    /// Net charges of each tenant: costs less refunds.
    pub spent: [i8; TENANTS],
    pub definitions: Definitions,
    /// Rows of the one request id that duplicates share.
    pub request_rows: u8,
}

/// An entry of the shared table. Its `claimed` state is left out: that a loader publishes in one step is loom's to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Entry {
    pub quota: u8,
    pub epoch: u8,
    pub reserved: i8,
    pub pins: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub mode: AdmissionMode,
    pub restarts: u8,
    pub tables: Tables,
    /// The latest version of each quota whose change was acknowledged to its session.
    pub acknowledged: [u8; QUOTAS],
    /// Even: open. Odd: closed by the holder of the partition's Definitions lock.
    pub epoch: [u8; PARTITIONS],
    pub entries: Vec<Entry>,
    pub sessions: Vec<Session>,
    /// The first invariant that an action broke.
    pub broken: Option<Invariant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    Charge,
    Refund,
}

/// What the callbacks will take back: one pin, and what was added under it (or what a refund will subtract).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Item {
    pub quota: u8,
    pub epoch: u8,
    pub amount: i8,
    pub kind: Kind,
    pub level: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cache {
    pub definitions: Definitions,
    /// The epochs that the reader's slot showed.
    pub epoch: [u8; PARTITIONS],
}

/// A change of a definition or limit that is not committed yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    pub limit: Option<i8>,
    pub level: u8,
    /// Given when it becomes visible.
    pub version: u8,
}

/// What giving back is followed by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Then {
    Refused,
    Restart,
    /// For a Definitions lock that another holds.
    Wait,
    /// For the maker of the tenant's row.
    WaitTenant,
    /// For those that did not know the tenant's row, or are committing it.
    WaitArrival,
    /// For those that may have charged an earlier life of the tenant.
    WaitEarlierLife,
    /// The request is another's, or has been.
    LookUp,
}

/// Where a session stands; named after the step that it takes next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pc {
    /// Between two calls; also before the first.
    Ready,
    /// Duplicates: looks the request id up.
    LookUp,
    /// The change itself, for a limit under its row lock.
    Change,
    /// A tenant's row has come: waits for commits in progress that change definitions.
    AwaitDepartures,
    /// Takes the Definitions lock alone, and makes the epoch odd.
    Close {
        partition: u8,
    },
    WaitInFlight {
        partition: u8,
        peer: u8,
    },
    /// The tenant's (the platform's) lock of the locked mode, to the end of the transaction.
    LockTables {
        partition: u8,
    },
    /// The maker of a tenant's row: keeps out those that do not know it, to the end of the transaction.
    LockTenant,
    /// Charge 1, in the three steps that others can see.
    ReadEpoch,
    Publish,
    ReadEpochsAgain,
    /// Waits for the Definitions lock of a session that changes or has closed.
    WaitDefinitions,
    /// A charge that does not know the tenant's row says so by a lock.
    ShareTenant,
    /// Waits for the maker of the tenant's row.
    WaitTenant,
    /// Waits until those have ended that did not know the tenant's row, or are committing it.
    WaitArrival,
    /// The maker of a tenant's row: waits until those have ended that entered before such a row was deleted.
    WaitEarlierLife,
    /// Charge 2.
    Messages,
    ReadDefinitions,
    /// Charge 3, quota by quota.
    Pin {
        quota: u8,
    },
    /// Load 1 to 5.
    Barrier {
        quota: u8,
    },
    WaitOldSlots {
        quota: u8,
        peer: u8,
    },
    LoadLock {
        quota: u8,
    },
    Sum {
        quota: u8,
    },
    PublishEntry {
        quota: u8,
    },
    LoadUnlock {
        quota: u8,
    },
    /// A check of one quota after the other.
    Check {
        quota: u8,
    },
    /// Quotas of a closed partition, and all of them in the locked mode: from the tables.
    Decide,
    /// Charge 5.
    Add {
        quota: u8,
    },
    /// Charge 6.
    Push,
    /// Charge 7.
    Recheck,
    /// Charge 8.
    Insert,
    GiveBack {
        then: Then,
    },
    /// Duplicates: a refused call looks for transactions of the same request.
    SeekDuplicate {
        peer: u8,
        waited: bool,
    },
    /// Committing what changes definitions, partition after partition: the locks that loaders go through.
    LockDefinitions {
        partition: u8,
    },
    /// Between the flush of the commit record and its visibility: a crash here leaves a committed transaction.
    Committing,
    /// The commit callback: item by item, then epochs, then the slot.
    Settle,
    MoveEpoch,
    ClearSlot,
    SendMessages,
    Unlock,
    /// The callback of a savepoint's abort.
    SubAbort,
    /// The abort callback.
    Abort,
    /// Another session may finish it.
    Prepared,
    Done,
}

/// How a session has the lock on whether its tenant has a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TenantLock {
    /// Together with others that do not know the row.
    Shared,
    Alone,
}

/// A session with the transaction that it is in. Whatever is dead is reset, so that equal futures are equal states.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Session {
    pub pc: Pc,
    /// The operation of its program that it is at.
    pub op: u8,
    pub begun: bool,
    // In shared memory
    /// What its slot shows: the epochs.
    pub slot: Option<[u8; PARTITIONS]>,
    /// Its slot shows the request id too.
    pub slot_request: bool,
    /// Invalidation messages wait for it.
    pub pending: bool,
    // Locks
    /// By partition, with the savepoint level that took it: alone where it has closed the partition, with others where it
    /// is committing.
    pub definitions_lock: [Option<u8>; PARTITIONS],
    /// It is committing a tenant's row.
    pub arrivals_lock: bool,
    /// It does not know its tenant's row, or (alone) has made it; with the savepoint level that took the lock.
    pub tenant_lock: Option<(TenantLock, u8)>,
    /// By partition: the tenant's lock, the platform's lock. Postgres gives it back with the savepoint that took it.
    pub tables_lock: [Option<u8>; PARTITIONS],
    /// The lock of a load, given back at its end.
    pub load_lock: [bool; PARTITIONS],
    // Of the transaction
    pub level: u8,
    pub journal: Vec<Item>,
    /// By level. Rows inserted, and refunds apart from them.
    pub charged: [i8; 2],
    pub refunded: [i8; 2],
    /// What the running command has charged and refunded, which a mutant does not see.
    pub fresh: i8,
    pub request_row: bool,
    pub changes: [Option<Change>; QUOTAS],
    /// Partitions whose definitions it has changed, rolled back or not.
    pub changed: [bool; PARTITIONS],
    pub closed: [bool; PARTITIONS],
    /// It has made its tenant's row, in this savepoint level.
    pub founded: Option<u8>,
    /// The same, rolled back or not.
    pub arrived: bool,
    // Of the backend
    pub cache: Option<Cache>,
    // Of the call
    /// Versions acknowledged when the call began.
    pub began: [u8; QUOTAS],
    pub seen: [u8; PARTITIONS],
    pub used: Definitions,
    pub pinned: u8,
    pub added: u8,
    pub pushed: bool,
    /// One of the additions, or a decision from the tables, went over the limit: only an admission makes it count.
    pub over: bool,
    /// Sessions (bits) that had room for the same request when this one was refused.
    pub duplicates: u8,
    /// What a loader, or a decision from the tables, read.
    pub sum: i8,
}

impl Session {
    pub fn new(cache: Option<Cache>) -> Session {
        Session {
            pc: Pc::Ready,
            op: 0,
            begun: false,
            slot: None,
            slot_request: false,
            pending: false,
            definitions_lock: [None; PARTITIONS],
            arrivals_lock: false,
            tenant_lock: None,
            tables_lock: [None; PARTITIONS],
            load_lock: [false; PARTITIONS],
            level: 0,
            journal: Vec::new(),
            charged: [0; 2],
            refunded: [0; 2],
            fresh: 0,
            request_row: false,
            changes: [None; QUOTAS],
            changed: [false; PARTITIONS],
            closed: [false; PARTITIONS],
            founded: None,
            arrived: false,
            cache,
            began: [0; QUOTAS],
            seen: [0; PARTITIONS],
            used: Definitions::default(),
            pinned: 0,
            added: 0,
            pushed: false,
            over: false,
            duplicates: 0,
            sum: 0,
        }
    }

    /// Its transaction has a row, a pin or a charge that others must wait for.
    pub fn has_effects(&self) -> bool {
        !self.journal.is_empty() || self.charged != [0; 2] || self.refunded != [0; 2]
    }

    pub fn forget_call(&mut self) {
        self.duplicates = 0;
        self.began = [0; QUOTAS];
        self.forget_round();
    }

    pub fn forget_round(&mut self) {
        self.seen = [0; PARTITIONS];
        self.used = Definitions::default();
        self.pinned = 0;
        self.added = 0;
        self.pushed = false;
        self.over = false;
        self.sum = 0;
    }

    /// Whether its transaction's rows can be seen by others, though its callback has not ended.
    pub fn is_visible(&self) -> bool {
        matches!(self.pc, Pc::Settle | Pc::MoveEpoch | Pc::ClearSlot | Pc::SendMessages | Pc::Unlock | Pc::Done)
    }
}

pub fn bits(set: u8) -> impl Iterator<Item = u8> {
    (0..QUOTAS as u8).filter(move |bit| set & (1 << bit) != 0)
}

impl State {
    pub fn entry(&mut self, quota: u8, epoch: u8) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.quota == quota && entry.epoch == epoch)
    }

    pub fn has_entry(&self, quota: u8, epoch: u8) -> bool {
        self.entries.iter().any(|entry| entry.quota == quota && entry.epoch == epoch)
    }

    /// Only mutants subtract from, or unpin, what is no longer there: whatever is at that place now is hit, or nothing.
    pub fn subtract(&mut self, quota: u8, epoch: u8, amount: i8) {
        if let Some(entry) = self.entry(quota, epoch) {
            entry.reserved -= amount;
        }
    }

    pub fn unpin(&mut self, quota: u8, epoch: u8) {
        if let Some(entry) = self.entry(quota, epoch) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    /// What a transaction of this tenant that does not know its row, or has made it, keeps from others.
    pub fn tenant_lock_of_others(&self, me: usize, same: impl Fn(usize) -> bool) -> impl Iterator<Item = TenantLock> {
        let others = self.sessions.iter().enumerate().filter(move |(other, _)| *other != me && same(*other));
        others.filter_map(|(_, it)| it.tenant_lock.map(|(lock, _)| lock))
    }

    pub fn violate(&mut self, invariant: Invariant) {
        self.broken.get_or_insert(invariant);
    }

    pub fn others(&self, me: usize) -> impl Iterator<Item = &Session> {
        self.sessions.iter().enumerate().filter(move |(index, _)| *index != me).map(|(_, session)| session)
    }
}
