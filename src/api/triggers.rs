//! What triggers tell the library, and what they refuse.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::{FromDatum, Uuid, pg_extern, pg_sys};
use tollgate_escrow::epochs::{PLATFORM, TENANT_PARTITIONS, partition};

use super::require_service_role_to;
use crate::error::Error;
use crate::pg::call::Reply;
use crate::pg::identity::{ActAsOwner, Caller};
use crate::pg::invalidation::{Kind, Subject, announce};
use crate::pg::library;
use crate::pg::lock::{LockTarget, Strength};
use crate::pg::memory::shared;
use crate::pg::own_database;
use crate::pg::queue::void_starts;
use crate::pg::spi;
use crate::pg::transaction::{identity, with};
use crate::quota::definitions::is_founded;

/// Triggers of the kind AFTER, or of a statement, return no tuple, which is a null pointer and not an SQL NULL.
fn no_tuple() -> Reply {
    Reply::new(pg_sys::Datum::null())
}

/// What the trigger manager tells a trigger. A row of another version's tables is not for it.
fn trigger(fcinfo: pg_sys::FunctionCallInfo) -> &'static pg_sys::TriggerData {
    library::require_own_version();
    // SAFETY: fcinfo is that of the running call; the context of a trigger's call, and of no other, is a TriggerData.
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            Error::internal("this function is a trigger").raise();
        }
        &*context.cast::<pg_sys::TriggerData>()
    }
}

/// The arguments that the trigger was created with.
fn arguments(trigger: &pg_sys::TriggerData) -> Vec<&CStr> {
    // SAFETY: the description of a trigger has as many arguments as it says, and lives as long as its call.
    unsafe {
        let description = &*trigger.tg_trigger;
        let count = usize::try_from(description.tgnargs).unwrap_or(0);
        (0..count).map(|number| CStr::from_ptr(*description.tgargs.add(number))).collect()
    }
}

/// A uuid of the row before and of the row after the change, where there is one.
fn ids(trigger: &pg_sys::TriggerData, column: &CStr) -> impl Iterator<Item = Option<Uuid>> {
    let rows = [trigger.tg_trigtuple, trigger.tg_newtuple].into_iter().filter(|row| !row.is_null());
    // SAFETY: the rows are of the trigger's relation, which is open.
    rows.map(move |row| unsafe { id(trigger.tg_relation, row, column) })
}

/// A missing column, or one of another type, reads as NULL.
///
/// # Safety
/// The row is one of the relation, which is open.
unsafe fn id(relation: pg_sys::Relation, row: pg_sys::HeapTuple, column: &CStr) -> Option<Uuid> {
    // SAFETY: as promised by the caller.
    unsafe {
        let descriptor = (*relation).rd_att;
        let number = pg_sys::SPI_fnumber(descriptor, column.as_ptr());
        if number <= 0 || pg_sys::SPI_gettypeid(descriptor, number) != pg_sys::UUIDOID {
            return None;
        }
        let mut is_null = true;
        let datum = pg_sys::SPI_getbinval(row, descriptor, number, &raw mut is_null);
        Uuid::from_datum(datum, is_null)
    }
}

/// The arguments are the kind, and the columns of the ids that a row concerns. Without one it is everybody. A row with NULL
/// there is of nobody where people are told of; else it is the platform's, and concerns everybody.
#[pg_extern(sql = false)]
fn configuration_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let trigger = trigger(fcinfo);
    let arguments = arguments(trigger);
    let kind = arguments.first().and_then(|name| Kind::named(name));
    let Some(kind) = kind else { Error::internal("the trigger does not say what changes").raise() };
    let columns = &arguments[1..];
    if columns.is_empty() {
        announce(kind, Subject::Everybody);
    }
    for found in columns.iter().flat_map(|column| ids(trigger, column)) {
        match found {
            Some(id) => announce(kind, Subject::One(*id.as_bytes())),
            None if kind == Kind::People => {}
            None => announce(kind, Subject::Everybody),
        }
    }
    no_tuple()
}

/// The argument is the column that says which tenant's quotas come or go. Without it they are those of all.
#[pg_extern(sql = false)]
fn definitions_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let trigger = trigger(fcinfo);
    let event = trigger.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
    let Some(column) = arguments(trigger).first().copied() else {
        (0..=TENANT_PARTITIONS).for_each(change);
        return no_tuple();
    };
    let tenants: Vec<Option<Uuid>> = ids(trigger, column).collect();
    let stays = event != pg_sys::TRIGGER_EVENT_DELETE && tenants.iter().all(|tenant| *tenant == tenants[0]);
    for tenant in tenants {
        let Some(tenant) = tenant else {
            change(PLATFORM);
            continue;
        };
        let partition = partition(own_database(), tenant.as_bytes());
        if event == pg_sys::TRIGGER_EVENT_INSERT && column == c"id" {
            arrive(partition);
        } else if !stays || !is_own(fcinfo, partition, tenant) {
            change(partition);
        }
    }
    no_tuple()
}

/// The definitions of the partition change with this transaction.
pub(super) fn change(partition: usize) {
    with(|state| state.note_change(partition));
}

/// A tenant's row has come, under an id that no other transaction has a row for. One that had may not have moved the
/// epoch yet: counters of the quotas that the row brings could be met again.
fn arrive(partition: usize) {
    if shared().is_some() {
        LockTarget::Definitions(partition).pass();
    }
    with(|state| state.note_arrival(partition));
}

/// Whether nobody else can know the tenant's row, nor a quota that comes with it.
fn is_own(fcinfo: pg_sys::FunctionCallInfo, partition: usize, tenant: Uuid) -> bool {
    with(|state| state.has_arrival(partition)) && {
        let _owner = ActAsOwner::of_function(fcinfo);
        spi::session(|spi| is_founded(spi, tenant)).unwrap_or_else(|error| error.raise())
    }
}

/// Rows came, went or changed from which counters are read. What this library writes counters are told of, and a fold
/// changes no sum.
#[pg_extern(sql = false)]
fn rows_changed(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    trigger(fcinfo);
    if !spi::writes_itself() && !spi::folds() {
        with(|state| state.note_reload());
        let _owner = ActAsOwner::of_function(fcinfo);
        void_starts().unwrap_or_else(|error| error.raise());
    }
    no_tuple()
}

thread_local! {
    /// The transaction that charged a row last, and how many it has.
    static CHARGED_ROWS: Cell<(u32, i64)> = const { Cell::new((0, 0)) };
}

/// Counts a row for which `charge_on_insert` charges a user, and gives how many the transaction has, rolled back or not.
#[pg_extern(sql = false)]
fn count_charged_row() -> i64 {
    require_service_role_to(&Caller::current(), "count rows").unwrap_or_else(|error| error.raise());
    if let Some(shared) = shared() {
        with(|state| state.note_person(&shared));
    }
    let transaction = identity().transaction;
    let before = Some(CHARGED_ROWS.get()).filter(|(of, _)| *of == transaction).map_or(0, |(_, rows)| rows);
    CHARGED_ROWS.set((transaction, before + 1));
    before + 1
}

#[pg_extern(sql = false)]
fn lock_platform() -> Reply {
    LockTarget::Platform.lock(Strength::Exclusive);
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

/// The first statement of each script of an extension of ours.
#[pg_extern(sql = false)]
fn begin_script(version: &str) {
    require_service_role_to(&Caller::current(), "begin a script").unwrap_or_else(|error| error.raise());
    library::begin_script(version).unwrap_or_else(|error| error.raise());
}
