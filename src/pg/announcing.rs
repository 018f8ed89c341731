//! Whether triggers announce what changes in a table, and how an announcement is sent.

use std::ffi::CStr;
use std::mem::offset_of;

use pgrx::pg_sys;

/// Triggers of ours, by what they do.
#[derive(Clone, Copy)]
pub enum Ours {
    /// They announce changes of a kind, which is their first argument.
    Configuration(&'static CStr),
    /// They tell which quotas come and go.
    Definitions,
    /// They tell of rows that the kernels did not write.
    Rows,
}

const ROWS: u32 = pg_sys::TRIGGER_TYPE_INSERT | pg_sys::TRIGGER_TYPE_UPDATE | pg_sys::TRIGGER_TYPE_DELETE;
const TRUNCATE: u32 = pg_sys::TRIGGER_TYPE_TRUNCATE;

impl Ours {
    fn function(self) -> &'static CStr {
        match self {
            Self::Configuration(_) => c"configuration_changed",
            Self::Definitions => c"definitions_changed",
            Self::Rows => c"rows_changed",
        }
    }

    /// The events for which they must fire. What a quota counts never changes, so no update makes it another.
    fn events(self, table: &CStr) -> u32 {
        match self {
            Self::Definitions if table == c"cost_quotas" => (ROWS & !pg_sys::TRIGGER_TYPE_UPDATE) | TRUNCATE,
            Self::Configuration(_) | Self::Definitions | Self::Rows => ROWS | TRUNCATE,
        }
    }
}

/// Whether triggers fire for every event of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Coverage {
    pub as_origin: bool,
    /// In a session that applies what a subscription brings.
    pub as_replica: bool,
}

/// The oid of a table of ours; invalid where there is none.
pub fn table(name: &CStr) -> pg_sys::Oid {
    // SAFETY: looks names up in the catalog caches.
    unsafe {
        match pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), true) {
            pg_sys::Oid::INVALID => pg_sys::Oid::INVALID,
            schema => pg_sys::get_relname_relid(name.as_ptr(), schema),
        }
    }
}

/// What is to be known of a trigger.
struct Found {
    function: pg_sys::Oid,
    events: u32,
    enabled: u8,
}

/// By the relation's description, as far as messages have been handled.
pub fn coverage(relation: pg_sys::Oid, ours: Ours) -> Coverage {
    if relation == pg_sys::Oid::INVALID {
        return Coverage::default();
    }
    // SAFETY: the description stays while it is referred to, and nothing is called that could replace parts of it.
    let (found, wanted) = unsafe {
        let description = pg_sys::RelationIdGetRelation(relation);
        if description.is_null() {
            return Coverage::default();
        }
        let form = &*(*description).rd_rel;
        // Rows of a table that inherits from this one belong to it, and have triggers of their own.
        let is_whole = form.relkind.cast_unsigned() == pg_sys::RELKIND_RELATION && !form.relhassubclass;
        let found = if is_whole { triggers((*description).trigdesc, ours) } else { Vec::new() };
        let wanted = ours.events(CStr::from_ptr(form.relname.data.as_ptr()));
        pg_sys::RelationClose(description);
        (found, wanted)
    };
    let (mut as_origin, mut as_replica) = (0, 0);
    for trigger in found.iter().filter(|trigger| is_named(trigger.function, ours.function())) {
        match u32::from(trigger.enabled) {
            enabled if enabled == u32::from(pg_sys::TRIGGER_FIRES_ALWAYS) => {
                as_origin |= trigger.events;
                as_replica |= trigger.events;
            }
            enabled if enabled == u32::from(pg_sys::TRIGGER_FIRES_ON_ORIGIN) => as_origin |= trigger.events,
            enabled if enabled == u32::from(pg_sys::TRIGGER_FIRES_ON_REPLICA) => as_replica |= trigger.events,
            _ => {}
        }
    }
    Coverage { as_origin: as_origin & wanted == wanted, as_replica: as_replica & wanted == wanted }
}

/// The triggers that could be those, by their level and argument.
///
/// # Safety
/// The triggers are those of an open relation.
unsafe fn triggers(triggers: *const pg_sys::TriggerDesc, ours: Ours) -> Vec<Found> {
    // SAFETY: as promised by the caller, and as many as it says; arguments end with a NUL.
    unsafe {
        let Some(triggers) = triggers.as_ref() else { return Vec::new() };
        let count = usize::try_from(triggers.numtriggers).unwrap_or(0);
        let all = (0..count).map(|number| &*triggers.triggers.add(number));
        let fits = |trigger: &&pg_sys::Trigger| match ours {
            Ours::Configuration(kind) => trigger.tgnargs > 0 && CStr::from_ptr(*trigger.tgargs) == kind,
            Ours::Definitions | Ours::Rows => true,
        };
        all.filter(fits)
            .map(|trigger| {
                let kind = u32::from(trigger.tgtype.cast_unsigned());
                let of_rows = kind & pg_sys::TRIGGER_TYPE_ROW != 0;
                // For statements a subscription fires those of TRUNCATE alone.
                let events = kind & if of_rows { ROWS } else { TRUNCATE };
                Found { function: trigger.tgfoid, events, enabled: trigger.tgenabled as u8 }
            })
            .collect()
    }
}

fn is_named(function: pg_sys::Oid, name: &CStr) -> bool {
    // SAFETY: looks names up in the catalog caches.
    unsafe {
        let found = pg_sys::get_func_name(function);
        let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), true);
        !found.is_null() && CStr::from_ptr(found) == name && pg_sys::get_func_namespace(function) == schema
    }
}

/// Whether the transaction has written, and its session applies what a subscription brings or poses as one that does.
pub fn writes_as_replica() -> bool {
    // SAFETY: both read the state of the session and the running transaction.
    unsafe {
        pg_sys::SessionReplicationRole.cast_unsigned() == pg_sys::SESSION_REPLICATION_ROLE_REPLICA
            && pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId
    }
}

/// Whether the transaction may have written rows of the table.
pub fn has_written(relation: pg_sys::Oid) -> bool {
    is_locked(relation, pg_sys::RowExclusiveLock)
}

/// Whether the transaction may have switched triggers of the table.
pub fn has_altered(relation: pg_sys::Oid) -> bool {
    is_locked(relation, pg_sys::ShareRowExclusiveLock)
}

/// Locks of tables are kept to the end of the transaction that writes them.
fn is_locked(relation: pg_sys::Oid, lock: u32) -> bool {
    // SAFETY: looks a lock up among those of this session.
    unsafe { pg_sys::CheckRelationOidLockedByMe(relation, lock.cast_signed(), true) }
}

/// A row of `pg_class` as far as Postgres looks at it to send a message.
#[repr(C)]
struct Named {
    header: pg_sys::HeapTupleHeaderData,
    class: pg_sys::FormData_pg_class,
}

/// Has Postgres tell the sessions of this database at commit that the relation with this number has changed. None needs to
/// have it: Postgres looks at the number alone.
pub fn send(relation: u32) {
    const PLACE: usize = offset_of!(Named, class);
    const _: () = assert!(PLACE <= u8::MAX as usize && PLACE >= size_of::<pg_sys::HeapTupleHeaderData>());
    let mut row = Named { header: pg_sys::HeapTupleHeaderData::default(), class: pg_sys::FormData_pg_class::default() };
    row.header.t_hoff = PLACE as u8;
    row.class.oid = pg_sys::Oid::from(relation);
    row.class.relisshared = false;
    let mut tuple =
        pg_sys::HeapTupleData { t_len: size_of::<Named>() as u32, t_data: (&raw mut row).cast(), ..Default::default() };
    // SAFETY: the tuple lies where its header says, and lives until the call returns. Postgres reads oid and relisshared.
    unsafe { pg_sys::CacheInvalidateRelcacheByTuple(&raw mut tuple) };
}
