//! What our tables look like as they ship, and whether one still does.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::value::Value;
use crate::error::{Error, Result};
use crate::version;

/// A column as it ships.
#[derive(Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: pg_sys::Oid,
    /// It takes no NULL.
    required: bool,
}

impl Column {
    pub fn takes(&self, value: Value) -> bool {
        !(self.required && value.is_null())
    }
}

pub const fn required(name: &'static str, kind: pg_sys::Oid) -> Column {
    Column { name, kind, required: true }
}

pub const fn nullable(name: &'static str, kind: pg_sys::Oid) -> Column {
    Column { name, kind, required: false }
}

/// Whether a row that is formed as the columns say may be put into the table without the executor. The table must be a
/// plain heap with these columns, these CHECK constraints (as Postgres writes them), and nothing that an INSERT would
/// run.
///
/// # Safety
/// The relation is open.
pub unsafe fn is_as_shipped(relation: pg_sys::Relation, columns: &[Column], checks: &[&str]) -> bool {
    // SAFETY: the descriptions of an open relation.
    unsafe {
        let form = &*(*relation).rd_rel;
        form.relkind.cast_unsigned() == pg_sys::RELKIND_RELATION
            && form.relam == pg_sys::HEAP_TABLE_AM_OID
            && !form.relispartition
            && !form.relhassubclass
            && !form.relforcerowsecurity
            && (*relation).rd_rules.is_null()
            && !fires((*relation).trigdesc, pg_sys::TRIGGER_TYPE_INSERT)
            && columns_match((*relation).rd_att, columns)
            && checks_match(relation, checks)
    }
}

/// # Safety
/// The descriptor is that of an open relation.
unsafe fn columns_match(descriptor: pg_sys::TupleDesc, columns: &[Column]) -> bool {
    // SAFETY: as promised by the caller.
    let attributes = unsafe { version::columns(descriptor) };
    attributes.len() == columns.len()
        && attributes.iter().zip(columns).all(|(attribute, column)| {
            // SAFETY: names end with a NUL.
            let name = unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) };
            !attribute.attisdropped
                && name.to_bytes() == column.name.as_bytes()
                && attribute.atttypid == column.kind
                && attribute.atttypmod == -1
                && attribute.attnotnull == column.required
                && attribute.attgenerated == 0
                && attribute.attidentity == 0
                && attribute.attinhcount == 0
        })
}

/// # Safety
/// The relation is open.
unsafe fn checks_match(relation: pg_sys::Relation, shipped: &[&str]) -> bool {
    // SAFETY: the constraints of an open relation, as many as it says; what is read and written lies in the current
    // memory context.
    unsafe {
        let constraints = (*(*relation).rd_att).constr;
        if constraints.is_null() || (*constraints).num_check == 0 {
            return shipped.is_empty();
        }
        let found = std::slice::from_raw_parts((*constraints).check, usize::from((*constraints).num_check));
        let name = (*(*relation).rd_rel).relname.data.as_ptr();
        let context = pg_sys::deparse_context_for(name, (*relation).rd_id);
        found.len() == shipped.len()
            && found.iter().all(|check| {
                let expression = pg_sys::stringToNode(check.ccbin).cast();
                let text = CStr::from_ptr(pg_sys::deparse_expression(expression, context, false, false));
                check.ccvalid && shipped.iter().any(|shipped| shipped.as_bytes() == text.to_bytes())
            })
    }
}

/// Whether an UPDATE runs a trigger that is not our own, those of foreign keys included.
///
/// # Safety
/// The relation is open.
pub unsafe fn fires_on_update(relation: pg_sys::Relation) -> bool {
    // SAFETY: as promised by the caller.
    unsafe { fires((*relation).trigdesc, pg_sys::TRIGGER_TYPE_UPDATE) }
}

/// Whether a statement runs a trigger that is not our own. Ours are about what this library did not write.
///
/// # Safety
/// The triggers are those of an open relation.
unsafe fn fires(triggers: *const pg_sys::TriggerDesc, statement: u32) -> bool {
    // SAFETY: as promised by the caller, and as many as it says.
    unsafe {
        triggers.as_ref().is_some_and(|triggers| {
            let count = usize::try_from(triggers.numtriggers).unwrap_or(0);
            (0..count)
                .map(|number| &*triggers.triggers.add(number))
                .any(|trigger| u32::from(trigger.tgtype.cast_unsigned()) & statement != 0 && !is_ours(trigger.tgfoid))
        })
    }
}

/// # Safety
/// Inside a transaction.
unsafe fn is_ours(function: pg_sys::Oid) -> bool {
    // SAFETY: looks names up in the catalog caches.
    unsafe {
        let name = pg_sys::get_func_name(function);
        let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), false);
        !name.is_null()
            && OWN_TRIGGERS.contains(&CStr::from_ptr(name))
            && pg_sys::get_func_namespace(function) == schema
    }
}

/// The functions of our own triggers on tables that are written here: one tells of what others write, one refuses it.
const OWN_TRIGGERS: [&CStr; 2] = [c"rows_changed", c"keep_ledger"];

/// Citus keeps the rows of a table that it distributes in other tables, and writes them only through its planner.
pub fn must_not_be_distributed(relation: pg_sys::Oid, name: &str) -> Result<()> {
    // SAFETY: looks a name up in the catalog caches.
    let catalog = unsafe {
        pg_sys::get_relname_relid(c"pg_dist_partition".as_ptr(), pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE))
    };
    if catalog == pg_sys::Oid::INVALID || !citus::distributes(relation)? {
        return Ok(());
    }
    Err(Error::Unsupported {
        message: format!("copilot_internal.{name} is distributed by Citus: costs cannot be recorded in it"),
    })
}

mod citus {
    use pgrx::pg_sys;

    use crate::error::Result;
    use crate::pg::spi::{self, Plan, Snapshot};
    use crate::pg::value::Value;

    static DISTRIBUTED_PLAN: Plan = Plan::new(
        "select true from pg_catalog.pg_dist_partition p where p.logicalrelid = $1::pg_catalog.oid",
        &[pg_sys::OIDOID],
    );

    pub fn distributes(relation: pg_sys::Oid) -> Result<bool> {
        let relation = Value::raw(Some(pg_sys::Datum::from(relation)));
        spi::session(|spi| Ok(spi.run(&DISTRIBUTED_PLAN, Snapshot::Latest, &[relation])?.len() > 0))
    }
}

/// The columns that tell one request from another, by their numbers in the relation.
#[derive(Clone, Copy)]
pub struct RequestKey {
    tenant: i16,
    request: i16,
}

impl RequestKey {
    /// # Safety
    /// The relation is open.
    pub unsafe fn of(relation: pg_sys::Relation) -> Self {
        // SAFETY: looks names up in the catalog caches.
        unsafe {
            let number = |name: &CStr| pg_sys::get_attnum((*relation).rd_id, name.as_ptr());
            Self { tenant: number(c"tenant_id"), request: number(c"request_id") }
        }
    }

    /// Whether the index lets no two rows have the same tenant and request id, and takes rows at this moment. While
    /// REINDEX CONCURRENTLY runs there are two, and one that failed leaves another.
    ///
    /// # Safety
    /// The index is open, and the predicate is its own.
    pub unsafe fn is_told_apart_by(self, index: pg_sys::Relation, predicate: *const pg_sys::List) -> bool {
        // SAFETY: the description of an open index has as many keys as it says.
        unsafe {
            let form = &*(*index).rd_index;
            form.indisunique
                && form.indimmediate
                && form.indisready
                && form.indislive
                && form.indnkeyatts == 2
                && form.indkey.values.as_slice(2) == [self.tenant, self.request]
                && self.holds_where_given(predicate)
        }
    }

    /// Whether every row with a request id is in an index with this predicate.
    ///
    /// # Safety
    /// It is that of an index.
    unsafe fn holds_where_given(self, predicate: *const pg_sys::List) -> bool {
        // SAFETY: a list of expressions, each of which begins with its tag.
        unsafe {
            if predicate.is_null() {
                return true;
            }
            let first = (*(*predicate).elements).ptr_value.cast::<pg_sys::NullTest>();
            if (*predicate).length != 1 || (*first).xpr.type_ != pg_sys::NodeTag::T_NullTest {
                return false;
            }
            let column = (*first).arg.cast::<pg_sys::Var>();
            (*first).nulltesttype == pg_sys::NullTestType::IS_NOT_NULL
                && (*column).xpr.type_ == pg_sys::NodeTag::T_Var
                && (*column).varattno == self.request
        }
    }
}
