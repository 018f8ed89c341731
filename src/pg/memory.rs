//! The shared memory of the escrow mode: there when the library is in `shared_preload_libraries`, and not otherwise.
//!
//! The postmaster asks for it, lays it out, and every backend inherits the address. After a crash of any backend Postgres
//! makes its shared memory anew and calls the hook again: the table starts empty, and what it held is read from the
//! tables when it is asked for.

use std::cell::Cell;
use std::mem::{align_of, size_of};

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_guard, pg_sys};
use tollgate_escrow::epochs::EpochsByDatabase;
use tollgate_escrow::registry::{Registry, Slot};
use tollgate_escrow::table::{Entry, Table, WAYS};

use super::activity::{Activity, DatabaseActivity};
use super::{Timestamp, own_database};

/// Entries of the table. 96 bytes each, so the default is 6 MiB.
static ENTRIES: GucSetting<i32> = GucSetting::<i32>::new(65_536);

/// What the memory begins with, for a process that attaches with another build of the library.
#[repr(C, align(64))]
struct Header {
    magic: u64,
    layout: u32,
    entries: u32,
    slots: u32,
    epochs: EpochsByDatabase,
    activity: Activity,
}

// As the setting's description says.
const _: () = assert!(size_of::<Entry>() == 96);

const MAGIC: u64 = u64::from_le_bytes(*b"tollgate");
/// Counted up with every change of what lies in the memory.
const LAYOUT: u32 = 3;

/// The parts of the memory, as a session of a database uses them.
#[derive(Clone, Copy)]
pub struct Shared {
    pub table: Table<'static>,
    /// With the epochs of the session's database.
    pub registry: Registry<'static>,
    /// Which epochs those are, of all databases.
    pub place: usize,
    pub activity: &'static DatabaseActivity,
    pub bytes: usize,
}

/// The memory as the postmaster laid it out.
#[derive(Clone, Copy)]
struct Memory {
    header: &'static Header,
    slots: &'static [Slot],
    entries: &'static [Entry],
    bytes: usize,
}

struct Attached {
    memory: Cell<Option<Memory>>,
    shared: Cell<Option<Shared>>,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for Attached {}

static ATTACHED: Attached = Attached { memory: Cell::new(None), shared: Cell::new(None) };

/// The shared memory, when the library was preloaded and the process has a database.
#[inline]
pub fn shared() -> Option<Shared> {
    ATTACHED.shared.get().or_else(join)
}

#[cold]
fn join() -> Option<Shared> {
    let memory = ATTACHED.memory.get()?;
    let database = Some(own_database()).filter(|database| *database != 0)?;
    let (place, epochs) = memory.header.epochs.of(database);
    let table = Table::new(memory.entries);
    let registry = Registry::new(epochs, memory.slots);
    let activity = memory.header.activity.at(place);
    let shared = Shared { table, registry, place, activity, bytes: memory.bytes };
    ATTACHED.shared.set(Some(shared));
    Some(shared)
}

/// What is known of a database in which this library has run.
pub fn activity_of(database: u32) -> Option<&'static DatabaseActivity> {
    let header = ATTACHED.memory.get()?.header;
    Some(header.activity.at(header.epochs.place(database)?))
}

/// Whether no database has work for a background process.
pub fn is_idle(now: Timestamp) -> bool {
    ATTACHED.memory.get().is_none_or(|memory| memory.header.activity.is_idle(now))
}

/// Called from `_PG_init` while the postmaster loads its libraries.
pub fn register() {
    GucRegistry::define_int_guc(
        c"pg_tollgate.quota_entries",
        c"How many counters of quotas are kept in shared memory.",
        c"Entries of 96 bytes, one for each quota and period that is in use (default 65536, 6 MiB). A counter that is not in use makes room for another and is read from the tables when it is needed again; when all are in use by open transactions, charges are refused.",
        &ENTRIES,
        64,
        16_777_216,
        GucContext::Postmaster,
        GucFlags::default(),
    );
    // SAFETY: the postmaster is single-threaded; each hook calls the one it replaces.
    unsafe {
        NEXT_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(request);
        NEXT_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

static mut NEXT_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut NEXT_STARTUP: pg_sys::shmem_startup_hook_type = None;

fn counts() -> (usize, usize) {
    let entries = usize::try_from(ENTRIES.get()).unwrap_or(WAYS) / WAYS * WAYS;
    // SAFETY: settled before libraries may ask for shared memory.
    let backends = usize::try_from(unsafe { pg_sys::MaxBackends }).unwrap_or(0);
    (entries, backends)
}

fn bytes(entries: usize, slots: usize) -> usize {
    size_of::<Header>() + slots * size_of::<Slot>() + entries * size_of::<Entry>() + align_of::<Header>()
}

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    // SAFETY: called by the postmaster at the one time when memory may be asked for.
    unsafe {
        if let Some(next) = NEXT_REQUEST {
            pg_guard_ffi_boundary(|| next());
        }
        let (entries, slots) = counts();
        pg_sys::RequestAddinShmemSpace(bytes(entries, slots));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster while it sets shared memory up; what is laid out is as large as what was asked
    // for, and stays for the life of the postmaster's children.
    unsafe {
        if let Some(next) = NEXT_STARTUP {
            pg_guard_ffi_boundary(|| next());
        }
        let (entries, slots) = counts();
        let size = bytes(entries, slots);
        let mut found = false;
        let start = pg_sys::ShmemInitStruct(c"pg_tollgate".as_ptr(), size, &raw mut found).cast::<u8>();
        let start = start.add(start.align_offset(align_of::<Header>()));
        let header = start.cast::<Header>();
        if !found {
            start.write_bytes(0, size - align_of::<Header>());
            header.write(Header {
                magic: MAGIC,
                layout: LAYOUT,
                entries: entries as u32,
                slots: slots as u32,
                epochs: EpochsByDatabase::default(),
                activity: Activity::default(),
            });
        }
        let header = &*header;
        let ours = (MAGIC, LAYOUT, entries as u32, slots as u32);
        if (header.magic, header.layout, header.entries, header.slots) != ours {
            pgrx::ereport!(
                pgrx::PgLogLevel::FATAL,
                pgrx::PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "pg_tollgate's shared memory was laid out by another version of the library"
            );
        }
        let first_slot = start.add(size_of::<Header>()).cast::<Slot>();
        let first_entry = first_slot.add(slots).cast::<Entry>();
        ATTACHED.memory.set(Some(Memory {
            header,
            slots: std::slice::from_raw_parts(first_slot, slots),
            entries: std::slice::from_raw_parts(first_entry, entries),
            bytes: size,
        }));
    }
}
