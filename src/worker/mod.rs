//! The workers: background processes that keep pending rows few, so that nobody has to call `maintain()`.
//!
//! # Protocol
//! Where the library is preloaded, one *launcher* lives as long as the server. It is connected to no database. It naps,
//! and reads in shared memory which databases may have something to fold ([`crate::pg::activity`]); when it starts it
//! takes each for one. It starts a *worker* for each such database, at most `pg_tollgate.workers` at a time, the one
//! first that was visited longest ago. A worker folds in steps, each a transaction of about half a second, until little
//! is left, or for a minute, and ends. So a database that nobody charges has no process of ours in it.
//!
//! A worker is in nobody's way. Each step begins by asking whether somebody waits to drop or copy the database, and takes
//! the locks of all tables that it may write without waiting for any. Where it does not get them it lets the other go
//! first. It ends in the middle of a query when it is told to, as any session does: a step that has not committed has not
//! happened.
//!
//! Where those who charge leave more rows than a worker can fold, it asks them to help: each session folds a batch of its
//! tenant's rows every now and then. For that it waits up to 50 ms for another that folds, which slows charges down a
//! little. So the queue stays bounded on a machine that is saturated.
//!
//! Where the library is not preloaded there is no launcher. Then a charge that meets a very long tail, or is cancelled
//! while it sums one, starts a worker for its database. So there is progress that no time-out takes back.
//!
//! A worker that fails is not started again for a minute. Nothing correct depends on any of this.

mod launcher;
mod visit;

use std::cell::Cell;
use std::time::{Duration, Instant};

use pgrx::{pg_guard, pg_sys};

use crate::pg::background::{self, Process};
use crate::pg::lock::{LockTarget, Strength};
use crate::pg::memory::shared;
use crate::pg::{Timestamp, own_database};
use crate::settings;

static LAUNCHER: Process = Process { name: c"pg_tollgate launcher", function: c"pg_tollgate_launcher_main" };
static WORKER: Process = Process { name: c"pg_tollgate worker", function: c"pg_tollgate_worker_main" };

/// After this long a launcher that has ended is started again.
const RESTART: Duration = Duration::from_secs(5);
/// How long a database is left alone after a worker has failed in it.
const REST: Timestamp = 60_000_000;
/// A session asks for a worker at most this often.
const REQUESTS: Duration = Duration::from_secs(60);

thread_local! {
    static REQUESTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Called from `_PG_init` while the postmaster loads its libraries.
pub fn register() {
    if !background::is_upgrading() {
        LAUNCHER.register(RESTART);
    }
}

/// Has the session's database folded, soon and by another process. Waits for nothing, and may come to nothing.
pub fn request() {
    // A worker has this lock for as long as it runs.
    if may_request() && LockTarget::Worker.try_lock(Strength::Exclusive) {
        LockTarget::Worker.unlock(Strength::Exclusive);
        request_now();
    }
}

/// The same while a transaction aborts, perhaps because its client gives up and never comes back. Where a worker runs
/// already, another ends at once.
pub fn request_after_abort() {
    if may_request() {
        request_now();
    }
}

/// Where there is a launcher it is told, which costs nothing. Elsewhere a session asks now and then.
fn may_request() -> bool {
    settings::workers() > 0
        && !background::is_standby()
        && (shared().is_some() || REQUESTED.get().is_none_or(|last| last.elapsed() >= REQUESTS))
}

fn request_now() {
    if let Some(shared) = shared() {
        shared.activity.note_charged();
    } else {
        REQUESTED.set(Some(Instant::now()));
        WORKER.start_unwatched(own_database());
    }
}

/// # Safety
/// Called by Postgres as the launcher's main function.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_tollgate_launcher_main(_argument: pg_sys::Datum) {
    launcher::run();
}

/// # Safety
/// Called by Postgres as a worker's main function.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pg_tollgate_worker_main(argument: pg_sys::Datum) {
    visit::run(argument.value() as u32);
}
