//! What triggers tell admission, and what admission shows of itself.

use std::ffi::{CStr, CString};

use pgrx::{FromDatum, Uuid, pg_extern, pg_sys};
use tollgate_escrow::epochs::{PLATFORM, TENANT_PARTITIONS, partition};
use tollgate_escrow::registry::{Holding, Statistic};
use tollgate_escrow::table::Entry;

use super::require_service_role_to;
use crate::admission::differing;
use crate::error::Error;
use crate::pg::call::{Call, Reply};
use crate::pg::identity::Caller;
use crate::pg::invalidation::watch;
use crate::pg::lock::{self, Strength};
use crate::pg::memory::shared;
use crate::pg::own_database;
use crate::pg::spi;
use crate::pg::transaction::with;
use crate::pg::value::Value;

/// Triggers of the kind AFTER, or of a statement, return no tuple, which is a null pointer and not an SQL NULL.
fn no_tuple() -> Reply {
    Reply::new(pg_sys::Datum::null())
}

#[pg_extern(sql = false)]
fn lock_platform() -> Reply {
    lock::LockTarget::Platform.lock(Strength::Exclusive);
    no_tuple()
}

/// What the trigger manager tells a trigger.
fn trigger(fcinfo: pg_sys::FunctionCallInfo) -> &'static pg_sys::TriggerData {
    // SAFETY: fcinfo is that of the running call; the context of a trigger's call, and of no other, is a TriggerData.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            Error::internal("this function is a trigger").raise();
        }
        &*context.cast::<pg_sys::TriggerData>()
    }
}

#[pg_extern(sql = false)]
fn configuration_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let trigger = trigger(fcinfo);
    // SAFETY: the trigger's relation is open. The message goes out when the transaction commits.
    unsafe { pg_sys::CacheInvalidateRelcache(trigger.tg_relation) };
    no_tuple()
}

#[pg_extern(sql = false)]
fn people_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    trigger(fcinfo);
    // SAFETY: looks names up in the catalog caches. The message goes out when the transaction commits.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), true);
        let memberships = pg_sys::get_relname_relid(c"tenant_memberships".as_ptr(), schema);
        if memberships != pg_sys::InvalidOid {
            pg_sys::CacheInvalidateRelcacheByRelid(memberships);
        }
    }
    no_tuple()
}

#[pg_extern(sql = false)]
fn definitions_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let trigger = trigger(fcinfo);
    // SAFETY: the trigger's description and tuples live as long as its call.
    unsafe {
        let argument = *trigger.tg_trigger;
        if argument.tgnargs == 0 {
            (0..=TENANT_PARTITIONS).for_each(change);
            return no_tuple();
        }
        let column = CStr::from_ptr(*argument.tgargs).to_owned();
        for tuple in [trigger.tg_trigtuple, trigger.tg_newtuple] {
            if !tuple.is_null() {
                change(partition_of_row(trigger.tg_relation, tuple, &column));
            }
        }
    }
    no_tuple()
}

/// Kernels run as the tables' owner, and so does what maintains them and erases. Any other role changes no ledger, even
/// if it may write everything or has been granted too much.
#[pg_extern(sql = false)]
fn keep_ledger(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let relation = trigger(fcinfo).tg_relation;
    // SAFETY: the trigger's relation is open, and so is its row of the catalog.
    let (owner, name) = unsafe {
        let form = &*(*relation).rd_rel;
        (form.relowner, CStr::from_ptr(form.relname.data.as_ptr()).to_string_lossy().into_owned())
    };
    // SAFETY: reads the current user, and looks memberships up in the catalog caches.
    let is_owner = unsafe {
        let user = pg_sys::GetUserId();
        user == owner || pg_sys::has_privs_of_role(user, owner)
    };
    if !is_owner {
        Error::forbidden(format!("rows of copilot_internal.{name} are never changed but by functions of pg_tollgate"))
            .raise();
    }
    no_tuple()
}

/// What counters of one tenant are read from changes with this transaction: no charge meets them once it has committed.
#[pg_extern(sql = false)]
fn reload_tenant_counters(tenant: Uuid) {
    require_service_role_to(&Caller::current(), "reload counters").unwrap_or_else(|error| error.raise());
    change(partition(own_database(), tenant.as_bytes()));
}

/// The partition of the tenant in a row.
///
/// # Safety
/// The tuple is one of the relation, which is open.
unsafe fn partition_of_row(relation: pg_sys::Relation, tuple: pg_sys::HeapTuple, column: &CString) -> usize {
    // SAFETY: as promised by the caller; a missing column has no number and reads as NULL.
    let tenant = unsafe {
        let descriptor = (*relation).rd_att;
        let number = pg_sys::SPI_fnumber(descriptor, column.as_ptr());
        let mut is_null = true;
        let datum = pg_sys::SPI_getbinval(tuple, descriptor, number, &raw mut is_null);
        Uuid::from_datum(datum, is_null)
    };
    tenant.map_or(PLATFORM, |tenant| partition(own_database(), tenant.as_bytes()))
}

/// The definitions of the partition change with this transaction. The lock tells loaders.
fn change(partition: usize) {
    lock::LockTarget::Definitions(partition).lock(Strength::Joint);
    with(|state| state.note_change(partition));
}

/// Rows came, went or changed from which counters are read. What this library writes counters are told of, and a fold
/// changes no sum.
#[pg_extern(sql = false)]
fn rows_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    trigger(fcinfo);
    if !spi::writes_itself() && !spi::folds() {
        with(|state| state.note_reload());
    }
    no_tuple()
}

#[pg_extern(sql = false)]
fn reload_counters(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    Call::without_arguments(fcinfo).kernel(|caller| {
        require_service_role_to(caller, "reload counters")?;
        with(|state| state.note_reload());
        let counters = shared().map_or(0, |shared| shared.table.counters(own_database(), watch().to_u32()).count());
        Ok(i64::try_from(counters).unwrap_or(i64::MAX))
    })
}

#[pg_extern(sql = false)]
fn verify_counters(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::without_arguments(fcinfo);
    let found = call.kernel(|caller| {
        require_service_role_to(caller, "verify counters")?;
        spi::session(differing)
    });
    call.rows(found.into_iter().map(|found| {
        vec![found.check.into(), found.tenant.into(), Value::whole(found.expected), Value::whole(found.actual)]
    }));
}

#[pg_extern(sql = false)]
fn holdings(fcinfo: pg_sys::FunctionCallInfo) {
    require_service_role_to(&Caller::current(), "see what others hold").unwrap_or_else(|error| error.raise());
    let database = own_database();
    let holdings: Vec<Holding> =
        shared().map(|shared| shared.registry.holdings(database).collect()).unwrap_or_default();
    Call::without_arguments(fcinfo).rows(holdings.iter().map(|holding| {
        vec![
            holding.process.cast_signed().into(),
            holding.tenant.map(Uuid::from_bytes).into(),
            Value::timestamp(holding.since),
            holding.amount.into(),
        ]
    }));
}

#[pg_extern(sql = false)]
fn admission_counters(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::without_arguments(fcinfo);
    if !Caller::current().reads_all_metrics() {
        Error::forbidden("only roles that see all tenants may see these counters").raise();
    }
    let whole = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let Some(shared) = shared() else {
        let mut row = vec![Value::from("locked")];
        row.resize(12, Value::NULL);
        return call.row(&row);
    };
    let (entries, used, pinned) = shared.table.census();
    let counted = |event| Value::from(i64::try_from(shared.registry.counted(event)).unwrap_or(i64::MAX));
    call.row(&[
        "escrow".into(),
        whole(entries),
        whole(used),
        whole(pinned),
        whole(size_of::<Entry>()),
        whole(shared.bytes),
        counted(Statistic::Admission),
        counted(Statistic::Refusal),
        counted(Statistic::RetryableRefusal),
        counted(Statistic::Load),
        counted(Statistic::Eviction),
        counted(Statistic::Wait),
    ])
}
