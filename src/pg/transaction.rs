//! What the running transaction has in flight in shared memory, and the callbacks that end it.
//!
//! The callbacks are raw and permanent: registered once, in the postmaster. They allocate nothing, wait for nothing and
//! cannot fail, for at commit the row is already durable. pgrx's own callbacks allocate, and do not end at PREPARE.
//!
//! The state is reached through [`with`], and never across a call into Postgres. A FATAL error runs the abort callback
//! from wherever it struck, without unwinding.

use std::cell::UnsafeCell;
use std::panic::catch_unwind;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{PgLogLevel, PgSqlErrorCode, Uuid, ereport, pg_guard, pg_sys};
use tollgate_escrow::epochs::PLATFORM;
use tollgate_escrow::journal::{Charge, Journal, Level};
use tollgate_escrow::registry::Identity;
use tollgate_escrow::table::{Pin, Table};

use super::invalidation::announce_unheard;
use super::lock::{LockTarget, Strength, lock_definitions};
use super::memory::{Shared, shared};
use super::queue::void_starts;
use crate::version;

const PARTITIONS: usize = PLATFORM + 1;

/// The backend's share of what is in flight.
pub struct TransactionState {
    pub journal: Journal,
    /// Whether the slot in shared memory shows this transaction.
    pub entered: bool,
    /// Partitions that it has charged in, by the subtransaction whose abort takes back all that it charged; 0 is none.
    charged: [Level; PARTITIONS],
    /// Partitions whose definitions it has changed, rolled back or not.
    changed: u128,
    /// Partitions of tenants whose rows it has made, rolled back or not.
    arrived: u64,
    /// Partitions that it has closed, by the subtransaction whose end gives up the lock; 0 is none.
    closed: [Level; PARTITIONS],
    /// Whether it has created, altered or dropped a trigger of any table.
    alters_triggers: bool,
    /// Whether it has left rows to fold, rolled back or not.
    leaves_pending: bool,
    /// What is called if it ends while it is reading for long. It can neither fail nor allocate, and takes no lock.
    if_cut_off: Option<fn()>,
    /// Its charges that are admitted and not in the tables yet: triggers run in between.
    unwritten: Vec<UnwrittenCharge>,
    /// The database that it drops, which it can do only by itself.
    pub dropped: u32,
    /// The earliest expiry that it has published as active, rolled back or not; 0 is none.
    first_expiry: i64,
    /// The counter whose horizon it is moving.
    pub advance: Option<Advance>,
    /// The counter that it has pinned for a check.
    pub looked_at: Option<Pin>,
}

/// A horizon that is on the move, and where it was: there it goes back to unless what it passes is subtracted.
#[derive(Clone, Copy)]
pub struct Advance {
    pub pin: Pin,
    pub before: i64,
}

struct State(UnsafeCell<TransactionState>);

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for State {}

static STATE: State = State(UnsafeCell::new(TransactionState {
    journal: Journal::new(),
    entered: false,
    charged: [0; PARTITIONS],
    changed: 0,
    arrived: 0,
    closed: [0; PARTITIONS],
    alters_triggers: false,
    leaves_pending: false,
    if_cut_off: None,
    unwritten: Vec::new(),
    dropped: 0,
    first_expiry: 0,
    advance: None,
    looked_at: None,
}));

/// Works on the state. The closure must not call Postgres, nor this again.
#[inline]
pub fn with<T>(work: impl FnOnce(&mut TransactionState) -> T) -> T {
    // SAFETY: one thread, and by the rule above never entered twice.
    work(unsafe { &mut *STATE.0.get() })
}

/// The number of this backend's slot.
#[inline]
pub fn own_slot() -> usize {
    version::own_backend()
}

/// How the slot names this transaction.
pub fn identity() -> Identity {
    Identity {
        database: super::own_database(),
        transaction: version::own_transaction(),
        // SAFETY: reads a variable of the process.
        process: unsafe { pg_sys::MyProcPid }.cast_unsigned(),
        since: super::clock_timestamp(),
    }
}

/// Whether the running transaction has written anything.
pub fn has_written() -> bool {
    // SAFETY: reads a variable of the session.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// Whether rows of this transaction id are of the running transaction, with its subtransactions.
pub fn is_own_transaction(id: i64) -> bool {
    // SAFETY: looks the id up among those of this session.
    u32::try_from(id).is_ok_and(|id| unsafe { pg_sys::TransactionIdIsCurrentTransactionId(id.into()) })
}

/// The subtransaction that the caller is in.
#[inline]
pub fn level() -> Level {
    // SAFETY: reads the state of the running transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

impl TransactionState {
    /// Says whether it is the first charge there.
    pub fn note_charged(&mut self, partition: usize, level: Level) -> bool {
        let first = self.charged[partition] == 0;
        if first {
            self.charged[partition] = level;
        }
        first
    }

    /// The first charge there came to nothing.
    pub fn forget_charged(&mut self, partition: usize) {
        self.charged[partition] = 0;
    }

    pub fn has_charged(&self, partition: usize) -> bool {
        self.charged[partition] != 0
    }

    pub fn note_change(&mut self, partition: usize) {
        self.changed |= 1 << partition;
    }

    pub fn note_arrival(&mut self, partition: usize) {
        self.arrived |= 1 << partition;
    }

    pub fn has_arrival(&self, partition: usize) -> bool {
        self.arrived & (1 << partition) != 0
    }

    pub fn has_changed(&self, partition: usize) -> bool {
        self.changed & (1 << partition) != 0
    }

    /// No charge may meet the counters again once this transaction has committed. The transaction itself does without
    /// them from now on.
    pub fn note_reload(&mut self) {
        self.leaves_pending = true;
        self.changed = (1 << PARTITIONS) - 1;
    }

    /// A person's session charges by itself, from now on to the end of the transaction.
    pub fn note_person(&mut self, shared: &Shared) {
        self.entered = true;
        shared.registry.note_person(own_slot());
    }

    pub fn note_pending(&mut self) {
        self.leaves_pending = true;
    }

    /// From now on it reads for long, or does no longer.
    pub fn call_if_cut_off(&mut self, call: Option<fn()>) {
        self.if_cut_off = call;
    }

    /// What is admitted and not in the tables yet.
    pub fn unwritten(&self) -> &[UnwrittenCharge] {
        &self.unwritten
    }

    pub fn note_closed(&mut self, partition: usize, level: Level) {
        self.closed[partition] = level;
    }

    pub fn has_closed(&self, partition: usize) -> bool {
        self.closed[partition] != 0
    }

    pub fn note_active_expiry(&mut self, expiry: i64) {
        self.first_expiry = self.earliest_active_expiry().map_or(expiry, |earliest| earliest.min(expiry));
    }

    pub fn earliest_active_expiry(&self) -> Option<i64> {
        (self.first_expiry != 0).then_some(self.first_expiry)
    }

    /// The horizon did not move. Cannot fail.
    pub fn give_up_advance(&mut self, table: &Table) {
        if let Some(Advance { pin, before }) = self.advance.take() {
            table.expires(pin, before);
            table.set_horizon(pin, before);
        }
    }

    /// Unpins what was pinned for a check.
    pub fn let_go(&mut self, table: &Table) {
        if let Some(pin) = self.looked_at.take() {
            table.unpin(pin);
        }
    }

    fn reopen(&mut self, shared: &Shared, level: Level) {
        for (partition, closed) in self.closed.iter_mut().enumerate() {
            if *closed != 0 && *closed >= level {
                shared.registry.advance(partition);
                *closed = 0;
            }
        }
    }

    /// Nothing is in flight any more where only this subtransaction has charged, or was about to.
    fn withdraw(&mut self, shared: &Shared, level: Level) {
        for (partition, charged) in self.charged.iter_mut().enumerate() {
            if *charged == 0 || *charged >= level {
                *charged = 0;
                shared.registry.withdraw(own_slot(), partition);
            }
        }
        shared.registry.show_request(own_slot(), 0);
    }

    fn end(&mut self, shared: Option<&Shared>, committed: bool) {
        if let Some(shared) = shared {
            self.end_in_memory(shared, committed);
        }
        self.changed = 0;
        self.arrived = 0;
        self.charged = [0; PARTITIONS];
        self.unwritten.clear();
        self.dropped = 0;
        self.first_expiry = 0;
    }

    fn end_in_memory(&mut self, shared: &Shared, committed: bool) {
        self.give_up_advance(&shared.table);
        self.let_go(&shared.table);
        if committed {
            // The rows are visible, and the locks still held: see the protocol.
            for partition in (0..PARTITIONS).filter(|partition| self.changed & (1 << partition) != 0) {
                shared.registry.advance(partition);
                self.closed[partition] = 0;
            }
            self.journal.commit(&shared.table);
            if self.dropped != 0 {
                shared.table.purge(self.dropped);
            }
        } else {
            self.journal.abort(&shared.table);
        }
        self.reopen(shared, 0);
        if self.entered {
            shared.registry.leave(own_slot());
            self.entered = false;
        }
    }
}

/// A charge between its admission and the last of its rows.
pub struct UnwrittenCharge {
    pub charge: Charge,
    pub amounts: AdmittedAmounts,
    /// Its row, and the hold that it gives up. `None` where no trigger can run in between.
    pub rows: Option<[Uuid; 2]>,
}

/// What a charge comes to, in nano-dollars.
#[derive(Clone, Copy)]
pub struct AdmittedAmounts {
    /// What quotas of a tenant or a user count as spent.
    pub spent: i64,
    /// What quotas of the platform count as spent.
    pub by_platform: i64,
    pub held: i64,
}

/// From when a charge is admitted until all its rows are there. What a trigger on the ledger loads or sums in between has
/// to know of the charge, which the tables do not show.
pub struct Unwritten {
    /// Where the transaction stays to its end once the rows are there, unless the charge has come to nothing.
    entered: Option<[usize; 2]>,
}

impl Unwritten {
    pub fn begin(charge: Charge, amounts: AdmittedAmounts) -> Self {
        with(|state| state.unwritten.push(UnwrittenCharge { charge, amounts, rows: None }));
        Self { entered: None }
    }

    /// Which rows will show the charge, of the last that was admitted.
    pub fn will_be_in(self, row: Uuid, gives_up: Option<Uuid>) -> Self {
        with(|state| {
            if let Some(charge) = state.unwritten.last_mut() {
                charge.rows = Some([row, gives_up.unwrap_or(row)]);
            }
        });
        self
    }

    pub fn then_stays_in(mut self, partitions: [usize; 2]) -> Self {
        self.entered = Some(partitions);
        self
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        // Those of a batch end together. Any other ends before what was admitted before it.
        with(|state| state.unwritten.pop());
        let Some((shared, entered)) = shared().zip(self.entered) else { return };
        for partition in entered.into_iter().filter(|partition| with(|state| state.has_charged(*partition))) {
            shared.registry.stay(own_slot(), partition);
        }
    }
}

/// Called once from `_PG_init`. No change of definitions is prepared in the locked mode either. It could be committed
/// in the other mode, where no callback would move the epoch on.
pub fn register() {
    // SAFETY: registers functions that live as long as the process.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
        NEXT_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(object_access);
    }
}

static mut NEXT_ACCESS: pg_sys::object_access_hook_type = None;

fn idle(state: &TransactionState) -> bool {
    !state.entered
        && state.changed == 0
        && state.arrived == 0
        && state.dropped == 0
        && state.looked_at.is_none()
        && state.journal.is_empty()
}

/// Takes the locks that loaders go through, of what changes with this transaction: a load that begins from now on until
/// its messages have gone out waits. A load that is running is met no more when the epochs have moved.
fn lock_changes() {
    let (changed, arrived) = with(|state| (state.changed, state.arrived));
    lock_definitions(changed);
    for partition in (0..PLATFORM).filter(|partition| arrived & (1 << partition) != 0) {
        LockTarget::Arrivals(partition).lock(Strength::Joint);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_COMMIT, XACT_EVENT_PRE_PREPARE};
    if matches!(event, XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE)
        && announce_unheard(with(|state| state.alters_triggers))
    {
        with(|state| state.note_reload());
        void_starts().unwrap_or_else(|error| error.raise());
    }
    match event {
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT => {
            // There is nothing in it that could panic; if there ever is, the server must not go down for it.
            let _ = catch_unwind(|| {
                with(|state| {
                    if let Some(shared) = shared().filter(|_| state.leaves_pending) {
                        shared.activity.note_charged();
                    }
                    state.leaves_pending = false;
                    if !idle(state) {
                        state.end(shared().as_ref(), event == XACT_EVENT_COMMIT);
                    }
                    state.alters_triggers = false;
                });
                let call = with(|state| state.if_cut_off.take());
                if let Some(call) = call.filter(|_| event == XACT_EVENT_ABORT) {
                    call();
                }
            });
        }
        XACT_EVENT_PRE_COMMIT if with(|state| state.changed != 0 || state.arrived != 0) => lock_changes(),
        XACT_EVENT_PRE_PREPARE if with(|state| !idle(state)) => ereport!(
            PgLogLevel::ERROR,
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has changed quotas, tenants or rows of the ledger by itself, or charged a quota in shared memory"
        ),
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    level: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    let Some(shared) = shared() else { return };
    let _ = catch_unwind(|| {
        with(|state| {
            if idle(state) {
                return;
            }
            match event {
                SUBXACT_EVENT_ABORT_SUB => {
                    state.give_up_advance(&shared.table);
                    state.let_go(&shared.table);
                    for (charge, delta) in state.journal.charges_from(level) {
                        shared.registry.note(own_slot(), &charge.tenant, -delta.amount);
                    }
                    state.journal.abort_level(&shared.table, level);
                    state.reopen(&shared, level);
                    state.withdraw(&shared, level);
                }
                SUBXACT_EVENT_COMMIT_SUB => {
                    state.journal.merge_level(&shared.table, level, parent);
                    for of in state.closed.iter_mut().chain(&mut state.charged).filter(|of| **of >= level) {
                        *of = parent;
                    }
                }
                _ => {}
            }
        });
    });
}

/// A database that goes away takes its counters with it: CREATE DATABASE may give its oid to another. What happens while
/// triggers are switched off is not told.
#[pg_guard]
unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    sub_object: i32,
    argument: *mut std::ffi::c_void,
) {
    // SAFETY: passes on exactly what came.
    unsafe {
        if let Some(next) = NEXT_ACCESS {
            pg_guard_ffi_boundary(|| next(access, class, object, sub_object, argument));
        }
    }
    let changes = [
        pg_sys::ObjectAccessType::OAT_POST_CREATE,
        pg_sys::ObjectAccessType::OAT_POST_ALTER,
        pg_sys::ObjectAccessType::OAT_DROP,
    ];
    if class == pg_sys::TriggerRelationId && changes.contains(&access) {
        with(|state| state.alters_triggers = true);
    }
    if access == pg_sys::ObjectAccessType::OAT_DROP && class == pg_sys::DatabaseRelationId && shared().is_some() {
        // Its sessions may still be there, and be ended by what follows. Only afterwards does no session have a counter
        // pinned.
        with(|state| state.dropped = object.to_u32());
    }
}
