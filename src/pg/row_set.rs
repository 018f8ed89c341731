//! The set of rows that a running function gives back, for queries that are run straight into it.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// Of `executor/tstoreReceiver.h`, which pgrx does not bind.
    fn SetTuplestoreDestReceiverParams(
        receiver: *mut pg_sys::DestReceiver,
        store: *mut pg_sys::Tuplestorestate,
        context: pg_sys::MemoryContext,
        detoast: bool,
        target: pg_sys::TupleDesc,
        complaint: *const std::ffi::c_char,
    );
}

/// A set that is being filled.
pub struct RowSet {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
    /// The memory that the set lives in.
    context: pg_sys::MemoryContext,
}

impl RowSet {
    /// The set of a call, which must be of a function that returns one. Raises where the caller cannot take a set.
    ///
    /// # Safety
    /// The call is running.
    pub unsafe fn of_call(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        // SAFETY: resultinfo is that of a caller that takes a set, or InitMaterializedSRF raises.
        unsafe {
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let is_expected =
                !info.is_null() && (*info).type_ == pg_sys::NodeTag::T_ReturnSetInfo && !(*info).expectedDesc.is_null();
            // What the calling query expects need not be looked up in the catalog.
            pg_sys::InitMaterializedSRF(fcinfo, if is_expected { pg_sys::MAT_SRF_USE_EXPECTED_DESC } else { 0 });
            Self {
                store: (*info).setResult,
                columns: (*info).setDesc,
                context: (*(*info).econtext).ecxt_per_query_memory,
            }
        }
    }

    /// Takes out all rows.
    pub fn clear(&self) {
        // SAFETY: the set lives for as long as the call.
        unsafe { pg_sys::tuplestore_clear(self.store) }
    }

    /// What takes the rows of one query, in the current memory context. Raises where a column of the query is of another
    /// type than the set's: somebody has altered a table.
    pub fn receiver(&self) -> *mut pg_sys::DestReceiver {
        // SAFETY: the receiver is made for a set, and gets this one.
        unsafe {
            let receiver = pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestTuplestore);
            let complaint = c"a column is of another type than the extension ships".as_ptr();
            SetTuplestoreDestReceiverParams(receiver, self.store, self.context, false, self.columns, complaint);
            receiver
        }
    }
}
