//! Background processes, as Postgres runs them: how they are asked for, and what they need of Postgres themselves.

use std::ffi::{CStr, c_char, c_int};
use std::time::Duration;

use pgrx::pg_sys;

use super::identity::ActAs;
use super::library;
use super::own_database;
use crate::version;

// Postgres' own handlers of signals, as they are: what pgrx puts around a function is not for one of these.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
}

/// A process that runs a function of this library. Postgres and `pg_stat_activity` call it by its name.
pub struct Process {
    pub name: &'static CStr,
    pub function: &'static CStr,
}

/// One that has been asked for.
pub struct Started(*mut pg_sys::BackgroundWorkerHandle);

impl Process {
    /// It may begin once the server takes writes: on a standby, when that is promoted.
    fn description(&self) -> pg_sys::BackgroundWorker {
        let flags = pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION;
        let mut worker = pg_sys::BackgroundWorker {
            bgw_flags: flags.cast_signed(),
            bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
            bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
            ..Default::default()
        };
        write(&mut worker.bgw_name, self.name);
        write(&mut worker.bgw_type, self.name);
        write(&mut worker.bgw_library_name, c"pg_tollgate");
        write(&mut worker.bgw_function_name, self.function);
        worker
    }

    /// Runs as long as the server, and again after it has ended. Called while the postmaster loads its libraries.
    pub fn register(&self, pause: Duration) {
        let mut worker = self.description();
        worker.bgw_restart_time = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        // SAFETY: Postgres copies what it is given. It raises nothing: where there is no room it only says so.
        unsafe { pg_sys::RegisterBackgroundWorker(&raw mut worker) }
    }

    /// Runs once, for a database, if `max_worker_processes` leaves room. Allocates nothing and raises nothing, so that it
    /// can be called while a transaction aborts.
    pub fn start_unwatched(&self, database: u32) {
        let mut worker = self.description();
        worker.bgw_main_arg = pg_sys::Datum::from(database);
        // SAFETY: Postgres copies what it is given.
        unsafe { pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, std::ptr::null_mut()) };
    }

    /// The same, and tells this process when it ends. `None` where there is no room.
    pub fn start(&self, database: u32) -> Option<Started> {
        let mut worker = self.description();
        worker.bgw_main_arg = pg_sys::Datum::from(database);
        let mut handle = std::ptr::null_mut();
        // SAFETY: Postgres copies what it is given, and makes the handle in the present memory context.
        unsafe {
            worker.bgw_notify_pid = pg_sys::MyProcPid;
            pg_sys::RegisterDynamicBackgroundWorker(&raw mut worker, &raw mut handle).then_some(Started(handle))
        }
    }
}

impl Started {
    pub fn has_ended(&self) -> bool {
        let mut pid = 0;
        // SAFETY: the handle is as Postgres made it.
        let state = unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &raw mut pid) };
        state == pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: made by Postgres in memory that lives at least as long.
        unsafe { pg_sys::pfree(self.0.cast()) }
    }
}

/// A name that is too long is cut; the field ends with a NUL.
fn write<const LENGTH: usize>(field: &mut [c_char; LENGTH], text: &CStr) {
    for (place, byte) in field[..LENGTH - 1].iter_mut().zip(text.to_bytes()) {
        *place = *byte as c_char;
    }
}

/// Whether the server was started by `pg_upgrade`, and nothing may be written.
pub fn is_upgrading() -> bool {
    // SAFETY: reads a variable of the process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Whether the server follows another.
pub fn is_standby() -> bool {
    // SAFETY: reads the state of the server.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Begins: takes signals as a session does, and connects as the bootstrap user, to a database or to none (0). Whatever
/// a database or a role has been given as settings, these are the process' own.
pub fn connect(database: u32) {
    const SETTINGS: [(&CStr, &CStr); 8] = [
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"session_replication_role", c"origin"),
        (c"search_path", c"pg_catalog, pg_temp"),
        // A fold that a crash takes back has not happened: the rows are pending again.
        (c"synchronous_commit", c"off"),
    ];
    // SAFETY: called once, first of all, by a process that Postgres has just started. `die` is how a session ends, also
    // in the middle of a query.
    unsafe {
        version::handle_signal(pg_sys::SIGTERM, die);
        version::handle_signal(pg_sys::SIGHUP, SignalHandlerForConfigReload);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(pg_sys::Oid::from(database), pg_sys::InvalidOid, 0);
        for (name, value) in SETTINGS {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}

/// Waits until there may be news: a signal, the end of a process that it has started, or the time. Ends the process
/// when it is told to, or when the postmaster is gone. Reads the configuration again when that has changed.
pub fn nap(most: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let most = most.as_millis().try_into().unwrap_or(std::ffi::c_long::MAX);
    // SAFETY: the latch is the process' own; it is outside of any transaction.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events.cast_signed(), most, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pg_sys::check_for_interrupts!();
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Runs the closure in a transaction of its own and commits it. An ERROR ends the process.
pub fn transaction<T>(work: impl FnOnce() -> T) -> T {
    begin();
    let outcome = work();
    commit();
    outcome
}

/// The same with the rights of the extension's owner, to the end of the commit: what a trigger of others puts off until
/// then, and a cursor that outlives its transaction, get no more than the rest. `None` where there is no owner.
pub fn transaction_as_owner<T>(work: impl FnOnce() -> T) -> Option<T> {
    begin();
    let owner = owner().map(ActAs::role);
    let outcome = owner.is_some().then(work);
    commit();
    outcome
}

fn begin() {
    // SAFETY: outside of any other transaction; `commit` ends what this begins.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

fn commit() {
    // SAFETY: ends what `begin` has begun.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::pgstat_report_stat(true);
    }
}

/// What `pg_stat_activity` shows as its query, until it is said to be idle.
pub fn show_activity(what: Option<&CStr>) {
    let (state, text) = match what {
        Some(what) => (pg_sys::BackendState::STATE_RUNNING, what.as_ptr()),
        None => (pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
    };
    // SAFETY: Postgres copies the text.
    unsafe { pg_sys::pgstat_report_activity(state, text) }
}

/// Databases that may be connected to. Templates are left alone, so that they can be copied.
pub fn databases() -> Vec<u32> {
    let mut found = Vec::new();
    // SAFETY: in a transaction. `pg_database` can be read in any database, or none, by a scan of the heap; a row is read
    // while it is the scan's present one.
    unsafe {
        let lock = pg_sys::AccessShareLock.cast_signed();
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, lock);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let row = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if row.is_null() {
                break;
            }
            let database = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_database>();
            if database.datallowconn && !database.datistemplate {
                found.push(database.oid.to_u32());
            }
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found
}

/// Whether nobody is waiting to drop, copy, move or rename the database of this process, as a new session finds it. Who
/// does that has a lock on it and waits a few seconds for its sessions to end.
pub fn database_is_free() -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: own_database(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    let mode = pg_sys::RowExclusiveLock.cast_signed();
    // SAFETY: the tag is that of a shared object; what is taken is given back.
    unsafe {
        let taken = pg_sys::LockAcquire(&raw const tag, mode, false, true);
        if taken == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return false;
        }
        pg_sys::LockRelease(&raw const tag, mode, false);
    }
    true
}

/// Locks a table as one that is to be written, unless that means waiting.
pub fn try_lock_table(table: pg_sys::Oid) -> bool {
    // SAFETY: in a transaction, which gives the lock back.
    unsafe { pg_sys::ConditionalLockRelationOid(table, pg_sys::RowExclusiveLock.cast_signed()) }
}

/// Whether the database has the extension, and of this library's version, as far as messages have been handled.
pub fn has_extension() -> bool {
    // SAFETY: in a transaction; looks a name up in the catalog.
    let extension = unsafe { pg_sys::get_extension_oid(c"pg_tollgate".as_ptr(), true) };
    extension != pg_sys::InvalidOid && library::CORE.require_own_version().is_ok()
}

/// The role that the extension's functions run as.
fn owner() -> Option<pg_sys::Oid> {
    // SAFETY: in a transaction; looks a name up in the catalog caches.
    let role = unsafe { pg_sys::get_role_oid(c"tollgate_owner".as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}
