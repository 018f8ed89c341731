//! Whether there is a row with the same request id, also one that another transaction is writing at this moment.

use pgrx::pg_sys;

use super::shape::RequestKey;
use super::value::Value;
use crate::version;

/// A row with the same request id.
pub enum Duplicate {
    /// It is committed, or this transaction's own.
    Written,
    /// The transaction that is writing or removing it. The token is not 0 while it may still take the row back by
    /// itself, because it has met another.
    InFlight { writer: pg_sys::TransactionId, token: u32 },
}

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessShareLock.cast_signed();

impl Duplicate {
    /// Waits until the row that another transaction is writing is there for good, or gone. Says whether there was one:
    /// then look again.
    pub fn wait(self) -> bool {
        let Duplicate::InFlight { writer, token } = self else { return false };
        // SAFETY: waits as for any heavyweight lock.
        unsafe {
            if token == 0 {
                let nothing = std::ptr::null_mut();
                pg_sys::XactLockTableWait(writer, nothing, std::ptr::null_mut(), pg_sys::XLTW_Oper::XLTW_None);
            } else {
                pg_sys::SpeculativeInsertionWait(writer, token);
            }
        }
        true
    }
}

/// Looks request ids up in an index of request ids as it is now, uncommitted rows included: tenant and request id, one
/// after the other. Gives the place of the first that there is a row of, with the row.
///
/// # Safety
/// The relation is open, and the index is one of it that [`index_of_requests`] has found.
pub unsafe fn find_duplicate(
    heap: pg_sys::Relation,
    index: pg_sys::Oid,
    requests: impl Iterator<Item = Option<[Value; 2]>>,
) -> Option<(usize, Duplicate)> {
    // SAFETY: relations are opened and closed in pairs, or by the abort that an ERROR causes. The dirty snapshot is a
    // plain struct of ours that the scan fills in; everything that the scan refers to outlives it.
    unsafe {
        let index = pg_sys::index_open(index, LOCK);
        let mut dirty =
            pg_sys::SnapshotData { snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY, ..Default::default() };
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let scan = version::begin_index_scan(heap, index, &raw mut dirty, 2);
        let mut found = None;
        for (place, request) in requests.enumerate() {
            let Some([tenant, request_id]) = request else { continue };
            let mut keys = search_keys(index, tenant, request_id);
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
            while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
                // Set by the scan when the row it returned is not committed.
                let writer = if dirty.xmin == pg_sys::InvalidTransactionId { dirty.xmax } else { dirty.xmin };
                if writer == pg_sys::InvalidTransactionId || pg_sys::TransactionIdIsCurrentTransactionId(writer) {
                    found = Some((place, Duplicate::Written));
                } else {
                    found = Some((place, Duplicate::InFlight { writer, token: dirty.speculativeToken }));
                    break;
                }
            }
            if found.is_some() {
                break;
            }
        }
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::index_close(index, LOCK);
        found
    }
}

/// A unique index of (tenant, request id) that has every row.
///
/// # Safety
/// The relation is open.
pub unsafe fn index_of_requests(heap: pg_sys::Relation) -> Option<pg_sys::Oid> {
    // SAFETY: the indexes of an open relation, each opened and closed.
    unsafe {
        let key = RequestKey::of(heap);
        let indexes = pg_sys::RelationGetIndexList(heap);
        let count = if indexes.is_null() { 0 } else { usize::try_from((*indexes).length).unwrap_or(0) };
        for number in 0..count {
            let oid = (*(*indexes).elements.add(number)).oid_value;
            let index = pg_sys::index_open(oid, LOCK);
            let fits = (*(*index).rd_index).indisvalid
                && key.is_told_apart_by(index, pg_sys::RelationGetIndexPredicate(index));
            pg_sys::index_close(index, LOCK);
            if fits {
                return Some(oid);
            }
        }
        None
    }
}

/// # Safety
/// The index is open, and its columns are a uuid and a text.
unsafe fn search_keys(index: pg_sys::Relation, tenant: Value, request_id: Value) -> [pg_sys::ScanKeyData; 2] {
    // SAFETY: scan keys are plain structs; the values outlive them.
    unsafe {
        let mut keys: [pg_sys::ScanKeyData; 2] = std::mem::zeroed();
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        let uuid_equal = pg_sys::Oid::from(pg_sys::F_UUID_EQ);
        let text_equal = pg_sys::Oid::from(pg_sys::F_TEXTEQ);
        pg_sys::ScanKeyInit(&raw mut keys[0], 1, equal, uuid_equal, tenant.datum());
        if tenant.is_null() {
            keys[0].sk_flags |= (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL).cast_signed();
            keys[0].sk_strategy = 0;
        }
        pg_sys::ScanKeyInit(&raw mut keys[1], 2, equal, text_equal, request_id.datum());
        keys[1].sk_collation = *(*index).rd_indcollation.add(1);
        keys
    }
}
