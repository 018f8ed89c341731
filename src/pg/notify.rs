//! The hint to sessions that listen on the channel `pg_tollgate`: there is an event. A hint may fail no charge.
//!
//! Postgres puts notifications into its queue as the transaction commits. The queue fills when a session listens and
//! stays in a transaction. A full queue is an error at commit, and the charge would be lost. So the hint is given in
//! the last step before that one, and only while half of the queue is free. From then on 4 GB would have to come in
//! between at once.

use std::cell::Cell;

use pgrx::{FromDatum, IntoDatum, pg_guard, pg_sys};

const CHANNEL: &str = "pg_tollgate";

/// How full the queue may be.
const FULLEST: f64 = 0.5;

thread_local! {
    /// Whether the running transaction has written an event, rolled back or not.
    static WANTED: Cell<bool> = const { Cell::new(false) };
}

/// Called once from `_PG_init`.
pub fn register() {
    // SAFETY: registers a function that lives as long as the process.
    unsafe { pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut()) };
}

/// Gives the hint when the transaction commits. One that is prepared gives none.
pub fn hint() {
    WANTED.set(true);
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    // SAFETY: before a commit a transaction still may do what SQL can. Postgres adds to its queue afterwards.
    if WANTED.take() && event == pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT && unsafe { has_room() } {
        // Without a payload: any role may listen.
        let arguments = [CHANNEL.into_datum(), "".into_datum()];
        // SAFETY: pg_notify takes two texts.
        unsafe { pgrx::direct_function_call_as_datum(pg_sys::pg_notify, &arguments) };
    }
}

/// Whether the queue of notifications takes more.
///
/// # Safety
/// In a transaction.
unsafe fn has_room() -> bool {
    // SAFETY: takes nothing and gives a float8.
    let usage = unsafe {
        let datum = pgrx::direct_function_call_as_datum(pg_sys::pg_notification_queue_usage, &[]);
        datum.and_then(|datum| f64::from_datum(datum, false))
    };
    usage.is_some_and(|usage| usage < FULLEST)
}
