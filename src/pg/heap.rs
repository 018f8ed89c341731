//! Rows on a heap and in its indexes, put there as the executor does it. Which tables they may go into so is told in
//! [`super::table`].
//!
//! An ERROR from behind a function pointer would jump over the destructors of the callers, so these are called through the
//! guard.

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::value::Value;
use crate::error::{Error, Result};
use crate::version::{self, Entries};

/// A table that rows are put into, and its indexes.
pub struct Target {
    relation: pg_sys::Relation,
    pub indexes: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
}

impl Target {
    /// # Safety
    /// The relation is open, and stays so until this is closed.
    pub unsafe fn open(relation: pg_sys::Relation) -> Self {
        // SAFETY: what is made is dropped by `close`, or by the abort that an ERROR causes.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let indexes = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*indexes).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(indexes, relation, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(indexes, false);
            Self { relation, indexes, estate }
        }
    }

    /// # Safety
    /// It is closed once.
    pub unsafe fn close(self) {
        // SAFETY: see `open`.
        unsafe {
            pg_sys::ExecCloseIndices(self.indexes);
            pg_sys::FreeExecutorState(self.estate);
        }
    }

    unsafe fn new_slot(&self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: the descriptor of an open relation.
        unsafe { pg_sys::MakeSingleTupleTableSlot((*self.relation).rd_att, &raw const pg_sys::TTSOpsVirtual) }
    }

    /// Puts a row that is on the heap into every index. `conflict` is set when an arbiter has another one.
    ///
    /// # Safety
    /// The row is in the slot, and the arbiters are some of the indexes.
    unsafe fn insert_into_indexes(
        &self,
        slot: *mut pg_sys::TupleTableSlot,
        conflict: Option<&mut bool>,
        arbiters: *mut pg_sys::List,
        only_summarizing: bool,
    ) {
        // SAFETY: as promised by the caller. What the index entry was made of is not needed any more.
        unsafe {
            version::insert_into_indexes(self.indexes, slot, self.estate, conflict, arbiters, only_summarizing);
            let context = (*self.estate).es_per_tuple_exprcontext;
            if !context.is_null() {
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
        }
    }
}

/// Puts a row into a slot.
///
/// # Safety
/// The slot has as many columns as the row, of its types.
unsafe fn fill(slot: *mut pg_sys::TupleTableSlot, row: &[Value]) {
    // SAFETY: as promised by the caller. No slot is without a way to clear it.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            pg_guard_ffi_boundary(|| clear(slot));
        }
        for (index, value) in row.iter().enumerate() {
            *(*slot).tts_values.add(index) = value.datum();
            *(*slot).tts_isnull.add(index) = value.is_null();
        }
        pg_sys::ExecStoreVirtualTuple(slot);
    }
}

/// Puts rows on the heap, as many on each page as fit, and into every index. Gives their number.
///
/// # Safety
/// The rows are of the target's columns.
pub unsafe fn insert_together<R: AsRef<[Value]>>(target: &Target, rows: &[R]) -> Result<usize> {
    // SAFETY: as promised by the caller.
    unsafe {
        let methods = &*(*target.relation).rd_tableam;
        let insert = methods.multi_insert.ok_or_else(|| Error::internal("a heap cannot insert many rows"))?;
        let mut slots: Vec<*mut pg_sys::TupleTableSlot> = Vec::with_capacity(rows.len());
        for row in rows {
            let slot = target.new_slot();
            fill(slot, row.as_ref());
            slots.push(slot);
        }
        if let [slot] = slots[..] {
            pg_sys::simple_table_tuple_insert(target.relation, slot);
        } else {
            let count = i32::try_from(slots.len()).map_err(|_| Error::internal("too many rows"))?;
            let command = pg_sys::GetCurrentCommandId(true);
            let relation = target.relation;
            let first = slots.as_mut_ptr();
            pg_guard_ffi_boundary(|| insert(relation, first, count, command, 0, std::ptr::null_mut()));
        }
        for slot in slots {
            target.insert_into_indexes(slot, None, std::ptr::null_mut(), false);
            pg_sys::ExecDropSingleTupleTableSlot(slot);
        }
        Ok(rows.len())
    }
}

/// Puts rows on the heap and into every index, up to the first of which an index of request ids has another, committed or
/// in flight: that one is taken back. Gives the number of those before it.
///
/// # Safety
/// The rows are of the target's columns, and the arbiters are some of its indexes.
pub unsafe fn insert_speculatively<R: AsRef<[Value]>>(
    target: &Target,
    rows: &[R],
    arbiters: *mut pg_sys::List,
) -> Result<usize> {
    // SAFETY: as promised by the caller. Those that meet a row meanwhile wait for the token, not for the transaction. While
    // it is held nothing is waited for.
    unsafe {
        let (relation, writer) = (target.relation, pg_sys::GetCurrentTransactionId());
        let methods = &*(*relation).rd_tableam;
        let (Some(insert), Some(complete)) = (methods.tuple_insert_speculative, methods.tuple_complete_speculative)
        else {
            return Err(Error::internal("a heap cannot insert speculatively"));
        };
        let slot = target.new_slot();
        let (command, token) = (pg_sys::GetCurrentCommandId(true), pg_sys::SpeculativeInsertionLockAcquire(writer));
        let mut inserted = 0;
        for row in rows {
            fill(slot, row.as_ref());
            pg_guard_ffi_boundary(|| insert(relation, slot, command, 0, std::ptr::null_mut(), token));
            let mut conflict = false;
            target.insert_into_indexes(slot, Some(&mut conflict), arbiters, false);
            pg_guard_ffi_boundary(|| complete(relation, slot, token, !conflict));
            if conflict {
                break;
            }
            inserted += 1;
        }
        pg_sys::SpeculativeInsertionLockRelease(writer);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        Ok(inserted)
    }
}

/// Changes some columns, by their numbers, of the row at a place, which this transaction has locked. `false` when the row is
/// not as it was then.
///
/// # Safety
/// The relation is open and has so many columns, of the types of the changes. What lies at the place is a row of it.
pub unsafe fn update(
    relation: pg_sys::Relation,
    mut place: pg_sys::ItemPointerData,
    columns: usize,
    changes: &[(usize, Value)],
) -> Result<bool> {
    // SAFETY: as promised by the caller. The values of the old row last as long as its slot.
    unsafe {
        let Some(fetch) = (*(*relation).rd_tableam).tuple_fetch_row_version else {
            return Err(Error::internal("a heap cannot fetch a row"));
        };
        let old = pg_sys::table_slot_create(relation, std::ptr::null_mut());
        let slot = pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
        let any = &raw mut pg_sys::SnapshotAnyData;
        let mut updated = pg_guard_ffi_boundary(|| fetch(relation, &raw mut place, any, old));
        if updated {
            pg_sys::slot_getsomeattrs_int(old, i32::try_from(columns).unwrap_or(0));
            std::ptr::copy_nonoverlapping((*old).tts_values, (*slot).tts_values, columns);
            std::ptr::copy_nonoverlapping((*old).tts_isnull, (*slot).tts_isnull, columns);
            for (number, value) in changes {
                *(*slot).tts_values.add(*number) = value.datum();
                *(*slot).tts_isnull.add(*number) = value.is_null();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            let entries = version::update(relation, &raw mut place, slot);
            updated = entries.is_some();
            if let Some(Entries::Needed { only_summarizing }) = entries {
                let target = Target::open(relation);
                target.insert_into_indexes(slot, None, std::ptr::null_mut(), only_summarizing);
                target.close();
            }
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::ExecDropSingleTupleTableSlot(old);
        Ok(updated)
    }
}
