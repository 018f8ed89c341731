//! Whether another transaction is writing a row with the same request id at this moment.

use pgrx::{IntoDatum, Uuid, pg_sys};

use super::table::Table;
use crate::error::Result;

/// Looks the request id up in a unique index (tenant, request id) as it is now, uncommitted rows included, and waits
/// until the transaction that is writing such a row has ended. Says whether there was one: then look again.
pub fn wait_for_duplicate(table: &Table, tenant: Option<Uuid>, request_id: &str) -> Result<bool> {
    // SAFETY: relations are opened and closed in pairs, or by the abort that an ERROR causes. The dirty snapshot is a
    // plain struct of ours that the scan fills in; everything that the scan refers to outlives it.
    unsafe {
        let (heap, index) = table.oids()?;
        let lock = pg_sys::AccessShareLock.cast_signed();
        let heap = pg_sys::table_open(heap, lock);
        let index = pg_sys::index_open(index, lock);

        let mut keys: [pg_sys::ScanKeyData; 2] = std::mem::zeroed();
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        let uuid_equal = pg_sys::Oid::from(pg_sys::F_UUID_EQ);
        let text_equal = pg_sys::Oid::from(pg_sys::F_TEXTEQ);
        let tenant = tenant.and_then(IntoDatum::into_datum);
        let no_tenant = tenant.is_none();
        pg_sys::ScanKeyInit(&raw mut keys[0], 1, equal, uuid_equal, tenant.unwrap_or(pg_sys::Datum::null()));
        if no_tenant {
            keys[0].sk_flags |= (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL).cast_signed();
            keys[0].sk_strategy = 0;
        }
        let request_id = request_id.into_datum().unwrap_or(pg_sys::Datum::null());
        pg_sys::ScanKeyInit(&raw mut keys[1], 2, equal, text_equal, request_id);
        keys[1].sk_collation = *(*index).rd_indcollation.add(1);

        let mut dirty =
            pg_sys::SnapshotData { snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY, ..Default::default() };
        let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
        let scan = pg_sys::index_beginscan(heap, index, &raw mut dirty, 2, 0);
        pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
        let mut writer = pg_sys::InvalidTransactionId;
        while pg_sys::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot) {
            // Set by the scan when the row it returned is not committed.
            writer = if dirty.xmin == pg_sys::InvalidTransactionId { dirty.xmax } else { dirty.xmin };
            if writer != pg_sys::InvalidTransactionId {
                break;
            }
        }
        pg_sys::index_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::index_close(index, lock);
        pg_sys::table_close(heap, lock);
        if writer == pg_sys::InvalidTransactionId || pg_sys::TransactionIdIsCurrentTransactionId(writer) {
            return Ok(false);
        }
        pg_sys::XactLockTableWait(writer, std::ptr::null_mut(), std::ptr::null_mut(), pg_sys::XLTW_Oper::XLTW_None);
        Ok(true)
    }
}
