//! The ledger goes with no schema by accident.
//!
//! The functions in `public` belong to the extension. `drop schema public cascade` is a common way to empty a database:
//! it takes the extension with it, and the extension takes the ledger. Postgres tells whatever library a session has
//! loaded of every object that is to be dropped, before it is gone.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{PgLogLevel, PgSqlErrorCode, ereport, pg_guard, pg_sys};

use crate::error::Error;
use crate::settings;

struct Previous(Cell<pg_sys::object_access_hook_type>);

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(Cell::new(None));

/// What was charged, and what corrects it.
const LEDGER: [&CStr; 6] = [
    c"llm_cost_records",
    c"e2b_cost_records",
    c"quota_charges",
    c"cost_corrections",
    c"purged_costs",
    c"retired_costs",
];

/// Called once from `_PG_init`.
pub fn register() {
    // SAFETY: takes a place in the chain of hooks, which is built while libraries are loaded.
    unsafe {
        PREVIOUS.0.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(accessed);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn accessed(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: c_int,
    argument: *mut c_void,
) {
    if let Some(previous) = PREVIOUS.0.get() {
        // SAFETY: passes on what came.
        unsafe { pg_guard_ffi_boundary(|| previous(access, class, object, part, argument)) };
    }
    if access == pg_sys::ObjectAccessType::OAT_DROP && class == pg_sys::RelationRelationId && part == 0 {
        dropping(object);
    }
}

fn dropping(relation: pg_sys::Oid) {
    let Some(name) = ledger_table(relation) else { return };
    if settings::may_drop_ledger() || !has_rows(relation) {
        return;
    }
    if says_drop_extension() {
        ereport!(
            PgLogLevel::WARNING,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("the extension takes the rows of copilot_internal.{name} with it")
        );
        return;
    }
    Error::State {
        message: format!(
            "this would drop copilot_internal.{name}, which holds what was charged: a superuser may set pg_tollgate.drop_ledger, or drop the extension"
        ),
    }
    .raise();
}

/// The name of the table, if it is one of the ledger's.
fn ledger_table(relation: pg_sys::Oid) -> Option<&'static str> {
    // SAFETY: looks names up in the catalog caches; what is dropped is still there.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        if name.is_null() {
            return None;
        }
        let found = LEDGER.iter().find(|known| **known == CStr::from_ptr(name))?;
        let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), true);
        (pg_sys::get_rel_namespace(relation) == schema).then(|| found.to_str().unwrap_or_default())
    }
}

fn has_rows(relation: pg_sys::Oid) -> bool {
    // SAFETY: the dropping command has locked the relation. The snapshot is registered while it is used, and what is
    // begun is ended.
    unsafe {
        let relation = pg_sys::table_open(relation, pg_sys::AccessShareLock.cast_signed());
        if (*(*relation).rd_rel).relkind.cast_unsigned() != pg_sys::RELKIND_RELATION
            || (*(*relation).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID
        {
            pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
            return true;
        }
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        let scan = pg_sys::heap_beginscan(relation, snapshot, 0, std::ptr::null_mut(), std::ptr::null_mut(), flags);
        let found = !pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection).is_null();
        pg_sys::heap_endscan(scan);
        pg_sys::UnregisterSnapshot(snapshot);
        pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
        found
    }
}

/// Whether the running statement is DROP EXTENSION, which is never written by accident.
fn says_drop_extension() -> bool {
    // SAFETY: the portal that runs, when there is one, has the statements that it was given.
    unsafe {
        let Some(portal) = pg_sys::ActivePortal.as_ref() else { return false };
        let Some(statements) = portal.stmts.as_ref() else { return false };
        let count = usize::try_from(statements.length).unwrap_or(0);
        (0..count).any(|number| {
            let planned = (*statements.elements.add(number)).ptr_value.cast::<pg_sys::PlannedStmt>();
            let utility = (*planned).utilityStmt;
            !utility.is_null()
                && (*utility).type_ == pg_sys::NodeTag::T_DropStmt
                && (*utility.cast::<pg_sys::DropStmt>()).removeType == pg_sys::ObjectType::OBJECT_EXTENSION
        })
    }
}
