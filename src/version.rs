//! What differs between the versions of Postgres that the library is built for. No other file asks for a version.

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// The number of this backend among all, from 0. Before 17 Postgres counts from 1.
#[inline]
pub fn own_backend() -> usize {
    // SAFETY: set once when the backend joined.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let number = unsafe { pg_sys::MyBackendId - 1 };
    // SAFETY: as above.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let number = unsafe { pg_sys::MyProcNumber };
    number as usize
}

/// The number of the running transaction among those of its backend.
#[inline]
pub fn own_transaction() -> u32 {
    // SAFETY: set when the backend joined; the number is there from the begin of the transaction on.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let transaction = unsafe { (*pg_sys::MyProc).lxid };
    // SAFETY: as above.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let transaction = unsafe { (*pg_sys::MyProc).vxid.lxid };
    transaction
}

/// How Postgres names a transaction of a backend, both as above.
pub fn virtual_transaction(backend: usize, transaction: u32) -> pg_sys::VirtualTransactionId {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let id = pg_sys::VirtualTransactionId {
        backendId: i32::try_from(backend + 1).unwrap_or(pg_sys::InvalidBackendId),
        localTransactionId: transaction,
    };
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let id = pg_sys::VirtualTransactionId {
        procNumber: i32::try_from(backend).unwrap_or(pg_sys::INVALID_PROC_NUMBER),
        localTransactionId: transaction,
    };
    id
}

/// The backend that a transaction is of, counted from 0, and its number there; of a prepared one there is none.
pub fn backend(id: pg_sys::VirtualTransactionId) -> Option<(usize, u32)> {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    let backend = id.backendId - 1;
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let backend = id.procNumber;
    Some((usize::try_from(backend).ok()?, id.localTransactionId))
}

/// The columns of a relation. Since 18 they lie behind the compact ones, as `TupleDescAttr` of the server's headers says.
///
/// # Safety
/// The descriptor is that of an open relation, which stays open while the columns are used.
pub unsafe fn columns<'a>(descriptor: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: it has as many columns as it says.
    unsafe {
        let count = usize::try_from((*descriptor).natts).unwrap_or(0);
        #[cfg(not(feature = "pg18"))]
        let first = (*descriptor).attrs.as_ptr();
        #[cfg(feature = "pg18")]
        let first = (*descriptor).compact_attrs.as_ptr().add(count).cast();
        std::slice::from_raw_parts(first, count)
    }
}

/// Puts a row that is on the heap into the indexes of its table. `conflict` is set when an arbiter has another one.
///
/// # Safety
/// The indexes of the target are open, the row is in the slot, and the arbiters are a list of indexes or null. It is in none
/// of the indexes, or, when only those are wanted, in all but the summarising ones.
pub unsafe fn insert_into_indexes(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    conflict: Option<&mut bool>,
    arbiters: *mut pg_sys::List,
    only_summarizing: bool,
) {
    let speculative = conflict.is_some();
    let conflict: *mut bool = conflict.map_or(std::ptr::null_mut(), |it| it);
    // SAFETY: as promised by the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        let unsure = {
            let _ = only_summarizing;
            pg_sys::ExecInsertIndexTuples(target, slot, estate, false, speculative, conflict, arbiters)
        };
        #[cfg(not(feature = "pg15"))]
        let unsure = pg_sys::ExecInsertIndexTuples(
            target,
            slot,
            estate,
            false,
            speculative,
            conflict,
            arbiters,
            only_summarizing,
        );
        pg_sys::list_free(unsure);
    }
}

/// The entries that indexes need for a row that was updated.
pub enum Entries {
    None,
    Needed { only_summarizing: bool },
}

/// Puts a row in the place of another that this transaction has locked; `None` when that one is not as it was then.
///
/// # Safety
/// The relation is open, the place that of a row of its, and the row in the slot.
pub unsafe fn update(
    relation: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
) -> Option<Entries> {
    // SAFETY: as promised by the caller.
    unsafe {
        let update = (*(*relation).rd_tableam).tuple_update?;
        let (mut failure, mut mode) = (pg_sys::TM_FailureData::default(), 0);
        #[cfg(feature = "pg15")]
        let mut entries = false;
        #[cfg(not(feature = "pg15"))]
        let mut entries = pg_sys::TU_UpdateIndexes::TU_None;
        let (command, none) = (pg_sys::GetCurrentCommandId(true), std::ptr::null_mut());
        let snapshot = pg_sys::GetActiveSnapshot();
        let result = pg_guard_ffi_boundary(|| {
            let (failure, mode, entries) = (&raw mut failure, &raw mut mode, &raw mut entries);
            update(relation, place, slot, command, snapshot, none, true, failure, mode, entries)
        });
        if result != pg_sys::TM_Result::TM_Ok {
            return None;
        }
        #[cfg(feature = "pg15")]
        let (some, only_summarizing) = (entries, false);
        #[cfg(not(feature = "pg15"))]
        let (some, only_summarizing) =
            (entries != pg_sys::TU_UpdateIndexes::TU_None, entries == pg_sys::TU_UpdateIndexes::TU_Summarizing);
        Some(if some { Entries::Needed { only_summarizing } } else { Entries::None })
    }
}

/// Begins a scan of an index with so many keys.
///
/// # Safety
/// The relation and its index are open, and the snapshot outlives the scan.
pub unsafe fn begin_index_scan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as promised by the caller. Since 18 a scan may count what it does, for EXPLAIN alone.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(heap, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// Sets what handles a signal of this process.
///
/// # Safety
/// The handler does what a signal handler may do.
pub unsafe fn handle_signal(signal: u32, handler: unsafe extern "C-unwind" fn(i32)) {
    // SAFETY: as promised by the caller. Since 18 the server's own function has another name.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal.cast_signed(), Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal.cast_signed(), Some(handler));
    }
}

/// Every setting that the server knows. Since 16 it makes a list for the caller.
pub fn settings() -> Vec<&'static pg_sys::config_generic> {
    // SAFETY: the server has as many as it says, and keeps them for its life.
    unsafe {
        #[cfg(feature = "pg15")]
        let (all, count) = (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions());
        #[cfg(not(feature = "pg15"))]
        let (all, count) = {
            let mut count = 0;
            (pg_sys::get_guc_variables(&raw mut count), count)
        };
        let settings = (0..usize::try_from(count).unwrap_or(0)).map(|number| &**all.add(number)).collect();
        #[cfg(not(feature = "pg15"))]
        pg_sys::pfree(all.cast());
        settings
    }
}
