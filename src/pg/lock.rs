//! Heavyweight locks of our own: cancellable, deadlock-checked, visible in `pg_locks`, kept by a prepared transaction.
//!
//! They are advisory locks by type, but of a class (`objsubid`) that SQL's `pg_advisory_lock` cannot name, so that no
//! user can take one and block admission.
//!
//! # Protocol
//! Everything that writes a charge takes its locks in one total order and keeps them to the end of the transaction:
//! 1. the platform: shared while no quota of scope `platform` exists, exclusive while one does;
//! 2. its tenants, sorted, exclusive (the nil UUID for a charge to the platform alone).
//!
//! A transaction that inserts a platform quota takes the platform exclusively as well, by a trigger. The first one becomes
//! visible while no other holds the lock shared, so that none has to upgrade it.
//!
//! So a transaction that decides sees every charge of that subject, committed, in a snapshot taken after the lock. Locks
//! belong to subjects, never to quotas: a charge in flight has its tenant's lock whatever quotas existed when it was made, and a
//! quota that is created meanwhile cannot be slipped by. One strength for every writer of a tenant leaves nothing to
//! upgrade, hence no deadlock among calls of one tenant; a duplicate of a request waits here and then replays.
//! Transactions that call for several tenants, one after the other and in different orders, can deadlock (`40P01`).
//!
//! The locks of events and of paths are only ever tried, and so is that of folding, by some again and again for a bounded
//! time. A transaction that takes those of several definitions waits for one at a time and has no other of them meanwhile
//! ([`lock_definitions`]).
//!
//! The escrow mode takes none of these to charge. What it does with `Definitions`, `Arrivals` and `Row`, and with the
//! subjects' locks while it loads a counter, is told in the crate `escrow`.

use std::time::{Duration, Instant};

use pgrx::{Uuid, pg_sys};
use tollgate_escrow::epochs::PLATFORM;

use super::memory::shared;
use crate::version;

/// What a lock protects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LockTarget {
    /// The sum over all tenants.
    Platform,
    /// The charges of one tenant; of the nil UUID, those to the platform alone.
    Tenant([u8; 16]),
    /// The moving of one tenant's pending rows into rollups.
    Fold([u8; 16]),
    /// A tenant's records: who corrects many, or moves or removes any, has it alone. Refunds share it, and then take that of
    /// their record. A record is read after the lock.
    Corrections([u8; 16]),
    /// The corrections of one record; with the nil UUID, all adjustments of quotas.
    Correction([u8; 16]),
    /// The writing of events of one quota and period, by their hash.
    Events(u64),
    /// The work of a background process on the database.
    Worker,
    /// The making of personal tenants while nothing bounds their budgets together.
    SignUps,
    /// Which quotas exist, for a partition of the tenants or for the platform; as its epochs, those of the database.
    Definitions(usize),
    /// The commits that bring rows of tenants of a partition.
    Arrivals(usize),
    /// Whether a tenant has a row.
    Row([u8; 16]),
    /// The making of a sandbox for one path of a tenant.
    Path([u8; 16], [u8; 16]),
    /// The writing of rows that are summed, by others than this library; see [`super::queue`].
    ForeignRows,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strength {
    Shared,
    Exclusive,
    /// Together with others of its kind, and with none of the above.
    Joint,
}

/// The class that sets these locks apart from SQL's advisory locks, which use 1 and 2.
const LOCK_CLASS: u16 = 21_575;

impl Strength {
    fn mode(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            Self::Shared => pg_sys::ShareLock,
            Self::Exclusive => pg_sys::ExclusiveLock,
            Self::Joint => pg_sys::RowExclusiveLock,
        };
        mode.cast_signed()
    }
}

impl LockTarget {
    /// A collision of two subjects makes them wait for each other needlessly and does nothing else.
    fn tag(self) -> pg_sys::LOCKTAG {
        let mut hash = Fnv::new();
        let mut database = super::own_database();
        match self {
            Self::Platform => hash.add(b"platform"),
            Self::Tenant(tenant) => {
                hash.add(b"tenant");
                hash.add(&tenant);
            }
            Self::Fold(tenant) => {
                hash.add(b"fold");
                hash.add(&tenant);
            }
            Self::Corrections(tenant) => {
                hash.add(b"corrections");
                hash.add(&tenant);
            }
            Self::Correction(id) => {
                hash.add(b"correction");
                hash.add(&id);
            }
            Self::Events(name) => {
                hash.add(b"events");
                hash.add(&name.to_le_bytes());
            }
            Self::Worker => hash.add(b"worker"),
            Self::SignUps => hash.add(b"sign-ups"),
            Self::Definitions(partition) => {
                hash.add(b"definitions");
                hash.add(&partition.to_le_bytes());
                if let Some(shared) = shared() {
                    // Databases may share their epochs.
                    hash.add(&shared.place.to_le_bytes());
                    database = 0;
                }
            }
            Self::Arrivals(partition) => {
                hash.add(b"arrivals");
                hash.add(&partition.to_le_bytes());
            }
            Self::Row(tenant) => {
                hash.add(b"row");
                hash.add(&tenant);
            }
            Self::ForeignRows => hash.add(b"foreign rows"),
            Self::Path(tenant, path) => {
                hash.add(b"path");
                hash.add(&tenant);
                hash.add(&path);
            }
        }
        let [high, low] = hash.halves();
        pg_sys::LOCKTAG {
            locktag_field1: database,
            locktag_field2: high,
            locktag_field3: low,
            locktag_field4: LOCK_CLASS,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        }
    }

    /// Waits for the lock and holds it to the end of the transaction.
    pub fn lock(self, strength: Strength) {
        let tag = self.tag();
        // SAFETY: the tag is complete; a transaction-level lock is released by Postgres at the transaction's end.
        as_transaction(|| unsafe {
            pg_sys::LockAcquire(&raw const tag, strength.mode(), false, false);
        });
    }

    /// Takes the lock if no other holds it against us.
    pub fn try_lock(self, strength: Strength) -> bool {
        let tag = self.tag();
        // SAFETY: as in `lock`, without waiting.
        let result = as_transaction(|| unsafe { pg_sys::LockAcquire(&raw const tag, strength.mode(), false, true) });
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// Waits until none of those that have the lock exclusively or jointly has it any more.
    pub fn pass(self) {
        self.lock(Strength::Shared);
        self.unlock(Strength::Shared);
    }

    /// The transactions that have the lock against a strength, as a backend counted from 0 and its number there.
    pub fn holders(self, against: Strength) -> impl Iterator<Item = (usize, u32)> {
        let tag = self.tag();
        let mut count = 0;
        // SAFETY: the tag is complete. Postgres allocates the array, which the memory context frees, and counts it.
        let found = unsafe {
            let first = pg_sys::GetLockConflicts(&raw const tag, against.mode(), &raw mut count);
            std::slice::from_raw_parts(first, usize::try_from(count).unwrap_or(0))
        };
        found.iter().copied().filter_map(version::backend)
    }

    /// Whether none has the lock exclusively or jointly.
    pub fn is_free(self) -> bool {
        let free = self.try_lock(Strength::Shared);
        if free {
            self.unlock(Strength::Shared);
        }
        free
    }

    /// Takes the lock for as long as the process lives, if no other holds it.
    pub fn keep(self) -> bool {
        let tag = self.tag();
        // SAFETY: as in `try_lock`; Postgres gives it back when the process ends.
        let result = unsafe { pg_sys::LockAcquire(&raw const tag, Strength::Exclusive.mode(), true, true) };
        result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    /// Waits for the lock for so long; says whether it got it. It cannot be part of a deadlock.
    pub fn lock_within(self, most: Duration) -> bool {
        let mut patience = Patience::of(most);
        loop {
            let waits = patience.pause();
            match self.try_lock(Strength::Exclusive) {
                false if waits => {}
                locked => return locked,
            }
        }
    }

    /// Gives back what the latest `lock` of this strength took; an earlier one of the transaction still counts.
    pub fn unlock(self, strength: Strength) {
        let tag = self.tag();
        // SAFETY: called only for a lock that this transaction has just taken.
        as_transaction(|| unsafe {
            pg_sys::LockRelease(&raw const tag, strength.mode(), false);
        });
    }
}

/// Takes or gives back locks as the (sub)transaction and not as a portal. The portal of a cursor goes, with its locks, to
/// the subtransaction in which a FETCH fails. An earlier FETCH may have charged under them, and that charge stays.
fn as_transaction<T>(act: impl FnOnce() -> T) -> T {
    struct Restore(pg_sys::ResourceOwner);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: it was the session's own a moment ago. After an ERROR Postgres sets another one next.
            unsafe { pg_sys::CurrentResourceOwner = self.0 };
        }
    }
    // SAFETY: both are variables of the session, which has one thread.
    let _restore = unsafe {
        let restore = Restore(pg_sys::CurrentResourceOwner);
        pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
        restore
    };
    act()
}

/// Takes the locks of the definitions of some partitions, jointly. While it waits for one it has none of the others that
/// it takes here: the transaction that has that one may come to wait for one of these, to load a counter. Where others
/// keep coming in between, it takes them in their order in the end.
pub fn lock_definitions(partitions: u128) {
    const MAX_ROUNDS: u32 = 100;
    let wanted = || (0..=PLATFORM).filter(|partition| partitions & (1 << partition) != 0);
    let definitions = |partition| LockTarget::Definitions(partition);
    let mut waited_for = None;
    for _ in 0..MAX_ROUNDS {
        let others = |partition: &usize| Some(*partition) != waited_for;
        let is_busy = |partition: &usize| !definitions(*partition).try_lock(Strength::Joint);
        let Some(busy) = wanted().filter(others).find(is_busy) else { return };
        let taken = wanted().filter(others).take_while(|partition| *partition != busy);
        taken.chain(waited_for).for_each(|partition| definitions(partition).unlock(Strength::Joint));
        definitions(busy).lock(Strength::Joint);
        waited_for = Some(busy);
    }
    let others = wanted().filter(|partition| Some(*partition) != waited_for);
    others.for_each(|partition| definitions(partition).lock(Strength::Joint));
}

/// A wait that the deadlock detector does not see, so it ends: the other may be waiting for us. It goes by the clock,
/// and a shorter `lock_timeout` ends it as it ends a wait for a lock.
pub struct Patience {
    start: Instant,
    most: Duration,
    nap: Duration,
}

impl Patience {
    const LONGEST_NAP: Duration = Duration::from_millis(5);

    pub fn of(most: Duration) -> Self {
        Self { start: Instant::now(), most, nap: Duration::from_micros(50) }
    }

    /// Sleeps a moment, the longer the longer it has waited. Says whether to go on.
    pub fn pause(&mut self) -> bool {
        pg_sys::check_for_interrupts!();
        let waited = self.start.elapsed();
        // SAFETY: reads a setting of the session.
        let timeout = u64::try_from(unsafe { pg_sys::LockTimeout }).unwrap_or(0);
        if timeout != 0 && waited >= Duration::from_millis(timeout) {
            pgrx::ereport!(
                pgrx::PgLogLevel::ERROR,
                pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                "canceling statement due to lock timeout"
            );
        }
        std::thread::sleep(self.nap);
        self.nap = (self.nap * 2).min(Self::LONGEST_NAP);
        waited < self.most
    }
}

/// Waits until the transaction of another backend, counted from 0, has ended, if it has not.
pub fn wait_for_transaction(backend: usize, transaction: u32) {
    let id = version::virtual_transaction(backend, transaction);
    // SAFETY: waits as for any heavyweight lock, and returns at once for a transaction that is over.
    unsafe {
        pg_sys::VirtualXactLock(id, true);
    }
}

/// Ends the session of another process, as `pg_terminate_backend` does, and says so in the server's log.
pub fn end_session(process: u32, why: &str) {
    unsafe extern "C" {
        fn kill(process: i32, signal: i32) -> i32;
    }
    const TERMINATE: i32 = 15;
    pgrx::ereport!(
        pgrx::PgLogLevel::LOG,
        pgrx::PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
        format!("ending the session of process {process}: {why}")
    );
    if let Ok(process) = i32::try_from(process)
        && process > 0
    {
        // SAFETY: sends a signal, which a process of another user or one that has gone does not get.
        unsafe { kill(process, TERMINATE) };
    }
}

/// One number for several fields.
pub fn hash(fields: &[&[u8]]) -> u64 {
    let mut hash = Fnv::new();
    fields.iter().for_each(|field| hash.add(field));
    hash.0
}

/// The tenant's id as bytes, which order as Postgres orders uuids.
pub fn key(id: Uuid) -> [u8; 16] {
    *id.as_bytes()
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): the same in every build, since a prepared transaction may outlive one.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        // The length keeps two neighbouring fields from running into each other.
        for byte in bytes.len().to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn halves(&self) -> [u32; 2] {
        [(self.0 >> 32) as u32, self.0 as u32]
    }
}
