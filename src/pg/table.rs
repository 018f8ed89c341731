//! Writing one row of our own into one of our own tables.
//!
//! A row that this library wrote into a table as it ships needs no planner, no constraint checks and no triggers: it is
//! formed, put on the heap and into every index, as the executor does it. To a table that has triggers of others,
//! constraints, columns or generated values the executor writes: slower, and with all that it brings.
//!
//! A row that is locked is written anew likewise, where the table has nothing that an UPDATE would run.
//!
//! A row with a request id is inserted speculatively, as by INSERT ... ON CONFLICT DO NOTHING. A row that meets a
//! duplicate is taken back before anybody sees it: nothing of it is decoded for replication, and nobody waits for it.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{IntoDatum, Uuid, pg_sys};

use super::duplicate::{Duplicate, find_duplicate, index_of_requests};
use super::invalidation::Watch;
use super::shape::{Column, RequestKey, fires_on_update, is_as_shipped, must_not_be_distributed};
use super::spi::{self, Plan};
use super::value::Value;
use crate::error::{Error, Result};
use crate::version::{self, Entries};

/// A table, with the columns that a row is given in, which are all that it ships with.
pub struct Table {
    pub name: &'static CStr,
    pub columns: &'static [Column],
    /// The CHECK constraints that it ships with, as Postgres writes them. The caller has seen to them.
    checks: &'static [&'static str],
    /// Whether its rows have request ids, which a unique index tells apart by tenant.
    has_requests: bool,
    watch: Watch,
    known: Cell<Option<Known>>,
    plan: Cell<Option<&'static Plan>>,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for Table {}

/// What has been found out about the table. It holds for as long as the table's [`Watch`] does.
#[derive(Clone, Copy)]
struct Known {
    oid: pg_sys::Oid,
    as_shipped: bool,
    /// As shipped for an UPDATE as well.
    is_updatable: bool,
    /// The place of the request id in a row.
    request: Option<usize>,
    /// An index of request ids.
    index: Option<pg_sys::Oid>,
}

const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock.cast_signed();
const READ: pg_sys::LOCKMODE = pg_sys::AccessShareLock.cast_signed();
const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock.cast_signed();

/// Columns that say something about a record and not what it is: a trigger may write into them.
const NOTES: [&str; 12] = [
    "conversation_id",
    "metadata",
    "path_id",
    "pricing",
    "reason",
    "region",
    "sandbox_id",
    "service_tier",
    "span_id",
    "task",
    "trace_id",
    "usage",
];

/// How often a row is written again that was not there afterwards, since the one that it met may have been rolled back.
const MAX_TRIES: u32 = 8;

impl Table {
    pub const fn new(
        name: &'static CStr,
        columns: &'static [Column],
        checks: &'static [&'static str],
        has_requests: bool,
    ) -> Self {
        let (watch, known, plan) = (Watch::new(), Cell::new(None), Cell::new(None));
        Self { name, columns, checks, has_requests, watch, known, plan }
    }

    fn text(&self) -> std::borrow::Cow<'static, str> {
        self.name.to_string_lossy()
    }

    /// Inserts the row, given in the order of [`Self::columns`]. `false` when there is another with its request id,
    /// committed or in flight: then nothing is left of this one.
    pub fn insert(&'static self, row: &[Value]) -> Result<bool> {
        if row.len() != self.columns.len() {
            return Err(Error::internal("a row has the wrong number of columns"));
        }
        loop {
            let known = self.known()?;
            if !known.as_shipped || !self.columns.iter().zip(row).all(|(column, value)| column.takes(*value)) {
                return self.insert_through_executor(row);
            }
            if let Some(inserted) = self.insert_directly(known, row)? {
                return Ok(inserted);
            }
        }
    }

    fn known(&'static self) -> Result<Known> {
        loop {
            if let Some(known) = self.known.get().filter(|_| self.watch.holds()) {
                return Ok(known);
            }
            self.known.set(Some(self.examine()?));
        }
    }

    fn examine(&'static self) -> Result<Known> {
        // SAFETY: names are looked up in the catalog caches; the relation is closed again, its lock kept.
        let (oid, as_shipped, is_updatable, index) = unsafe {
            let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), false);
            let oid = pg_sys::get_relname_relid(self.name.as_ptr(), schema);
            if oid == pg_sys::Oid::INVALID {
                return Err(Error::missing_table(self.text()));
            }
            // Before anything is read: what changes from now on is heard of.
            self.watch.begin(oid);
            let relation = pg_sys::table_open(oid, LOCK);
            let as_shipped = is_as_shipped(relation, self.columns, self.checks);
            let is_updatable = as_shipped && !fires_on_update(relation);
            let index = if self.has_requests { index_of_requests(relation) } else { None };
            pg_sys::table_close(relation, KEEP);
            (oid, as_shipped, is_updatable, index)
        };
        must_not_be_distributed(oid, &self.text())?;
        let request = self.columns.iter().position(|column| self.has_requests && column.name == "request_id");
        Ok(Known { oid, as_shipped, is_updatable, request, index })
    }

    /// `None` when the table is no longer what is known of it.
    fn insert_directly(&self, known: Known, row: &[Value]) -> Result<Option<bool>> {
        // SAFETY: what is opened and made is closed and dropped, or left to the abort that an ERROR causes. The values are
        // of the columns' types, as `is_as_shipped` has compared them, and none is NULL that must not be.
        unsafe {
            // Taking the lock handles the messages of all who had a stronger one.
            let relation = pg_sys::table_open(known.oid, LOCK);
            if !self.watch.holds() {
                pg_sys::table_close(relation, KEEP);
                return Ok(None);
            }
            let Target { estate, target } = Target::open(relation);
            let is_request = known.request.is_some_and(|place| !row[place].is_null());
            let arbiters = if is_request { self.arbiters(target)? } else { std::ptr::null_mut() };
            let slot = pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            for (index, value) in row.iter().enumerate() {
                *(*slot).tts_values.add(index) = value.datum();
                *(*slot).tts_isnull.add(index) = value.is_null();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            let inserted = if arbiters.is_null() {
                pg_sys::simple_table_tuple_insert(relation, slot);
                version::insert_into_indexes(target, slot, estate, None, arbiters, false);
                true
            } else {
                insert_speculatively(target, slot, estate, arbiters)?
            };
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            Target { estate, target }.close();
            pg_sys::table_close(relation, KEEP);
            Ok(Some(inserted))
        }
    }

    /// Writes some columns, by their names, of the row at a place, which this transaction has locked. `false` when that is
    /// left to an UPDATE: the table is not as it ships, or the row is not as it was when it was locked.
    pub fn update(&'static self, place: pg_sys::ItemPointerData, changes: &[(&str, Value)]) -> Result<bool> {
        let number = |name: &str| self.columns.iter().position(|column| column.name == name);
        let changes: Option<Vec<(usize, Value)>> =
            changes.iter().map(|(name, value)| number(name).map(|number| (number, *value))).collect();
        let changes = changes.ok_or_else(|| Error::internal("a row has no such column"))?;
        loop {
            let known = self.known()?;
            if !known.is_updatable || !changes.iter().all(|(number, value)| self.columns[*number].takes(*value)) {
                return Ok(false);
            }
            if let Some(updated) = self.update_directly(known, place, &changes)? {
                return Ok(updated);
            }
        }
    }

    /// As [`Self::insert_directly`].
    fn update_directly(
        &self,
        known: Known,
        mut place: pg_sys::ItemPointerData,
        changes: &[(usize, Value)],
    ) -> Result<Option<bool>> {
        // SAFETY: as in `insert_directly`. What lies at the place is a row of the table, which its lock keeps there.
        unsafe {
            let relation = pg_sys::table_open(known.oid, LOCK);
            if !self.watch.holds() {
                pg_sys::table_close(relation, KEEP);
                return Ok(None);
            }
            let Some(fetch) = (*(*relation).rd_tableam).tuple_fetch_row_version else {
                return Err(Error::internal("a heap cannot fetch a row"));
            };
            let old = pg_sys::table_slot_create(relation, std::ptr::null_mut());
            let slot = pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            let any = &raw mut pg_sys::SnapshotAnyData;
            let mut updated = pg_guard_ffi_boundary(|| fetch(relation, &raw mut place, any, old));
            if updated {
                let columns = self.columns.len();
                pg_sys::slot_getsomeattrs_int(old, i32::try_from(columns).unwrap_or(0));
                std::ptr::copy_nonoverlapping((*old).tts_values, (*slot).tts_values, columns);
                std::ptr::copy_nonoverlapping((*old).tts_isnull, (*slot).tts_isnull, columns);
                for (number, value) in changes {
                    *(*slot).tts_values.add(*number) = value.datum();
                    *(*slot).tts_isnull.add(*number) = value.is_null();
                }
                pg_sys::ExecStoreVirtualTuple(slot);
                updated = match version::update(relation, &raw mut place, slot) {
                    None => false,
                    Some(Entries::None) => true,
                    Some(Entries::Needed { only_summarizing }) => {
                        let Target { estate, target } = Target::open(relation);
                        version::insert_into_indexes(
                            target,
                            slot,
                            estate,
                            None,
                            std::ptr::null_mut(),
                            only_summarizing,
                        );
                        Target { estate, target }.close();
                        true
                    }
                };
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::ExecDropSingleTupleTableSlot(old);
            pg_sys::table_close(relation, KEEP);
            Ok(Some(updated))
        }
    }

    /// Every index that tells requests apart. An entry that one of them did not watch would be an ERROR, where a retry is
    /// meant to be replayed.
    ///
    /// # Safety
    /// The indexes of the target are open.
    unsafe fn arbiters(&self, target: *mut pg_sys::ResultRelInfo) -> Result<*mut pg_sys::List> {
        // SAFETY: as many indexes as it says, with their descriptions.
        unsafe {
            let target = &*target;
            let key = RequestKey::of(target.ri_RelationDesc);
            let (mut arbiters, mut complete) = (std::ptr::null_mut(), false);
            for number in 0..usize::try_from(target.ri_NumIndices).unwrap_or(0) {
                let index = *target.ri_IndexRelationDescs.add(number);
                let described = *target.ri_IndexRelationInfo.add(number);
                if key.is_told_apart_by(index, (*described).ii_Predicate) {
                    arbiters = pg_sys::lappend_oid(arbiters, (*index).rd_id);
                    complete |= (*(*index).rd_index).indisvalid;
                }
            }
            if complete { Ok(arbiters) } else { Err(self.lacks_index()) }
        }
    }

    /// Whether there is a row with this request id. Waits while another transaction is writing one.
    pub fn has_request(&'static self, tenant: Option<Uuid>, request_id: &str) -> Result<bool> {
        let request_id = Value::raw(request_id.into_datum());
        loop {
            match self.duplicate(tenant.into(), request_id)? {
                Duplicate::None => return Ok(false),
                Duplicate::Written => return Ok(true),
                in_flight => in_flight.wait(),
            };
        }
    }

    fn duplicate(&'static self, tenant: Value, request_id: Value) -> Result<Duplicate> {
        loop {
            let known = self.known()?;
            // SAFETY: the relation is closed again, or by the abort that an ERROR causes. While the watch holds, with the
            // lock taken, the index is still what it was.
            let found = unsafe {
                let relation = pg_sys::table_open(known.oid, READ);
                let find = |index| find_duplicate(relation, index, tenant, request_id);
                let found = self.watch.holds().then(|| known.index.map(find));
                pg_sys::table_close(relation, READ);
                found
            };
            if let Some(found) = found {
                return found.ok_or_else(|| self.lacks_index());
            }
        }
    }

    fn lacks_index(&self) -> Error {
        Error::State {
            message: format!(
                "copilot_internal.{} has no valid unique index on (tenant_id, request_id), by which retries are known",
                self.text()
            ),
        }
    }

    /// A trigger may keep the row from being written, or write another: neither is the charge that was admitted.
    fn insert_through_executor(&'static self, row: &[Value]) -> Result<bool> {
        let plan = match self.plan.get() {
            Some(plan) => plan,
            None => {
                let plan: &'static Plan = Box::leak(Box::new(self.statement()));
                self.plan.set(Some(plan));
                plan
            }
        };
        for _ in 0..MAX_TRIES {
            let unchanged = spi::session(|spi| {
                let rows = spi.run_write(plan, row)?;
                rows.first().map(|row| row.need::<bool>(1)).transpose()
            })?;
            match unchanged {
                Some(true) => return Ok(true),
                Some(false) => {
                    return Err(Error::State {
                        message: format!(
                            "a trigger on copilot_internal.{} changed what was to be recorded: it may change notes only",
                            self.text()
                        ),
                    });
                }
                None if self.has_duplicate(row)? => return Ok(false),
                None => {}
            }
        }
        Err(Error::State {
            message: format!("a trigger on copilot_internal.{} kept the row from being written", self.text()),
        })
    }

    /// Whether there is a row with this one's request id, committed or not.
    fn has_duplicate(&'static self, row: &[Value]) -> Result<bool> {
        let place = |name: &str| self.columns.iter().position(|column| column.name == name);
        let given = |name| place(name).map_or(Value::NULL, |place| row[place]);
        if !self.has_requests || given("request_id").is_null() {
            return Ok(false);
        }
        Ok(!matches!(self.duplicate(given("tenant_id"), given("request_id"))?, Duplicate::None))
    }

    fn statement(&self) -> Plan {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        let parameters: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let fixed = names.iter().zip(&parameters).filter(|(name, _)| !NOTES.contains(name));
        let (kept, given): (Vec<&str>, Vec<&str>) = fixed.map(|(name, parameter)| (*name, parameter.as_str())).unzip();
        let conflict = if self.has_requests {
            " on conflict (tenant_id, request_id) where request_id is not null do nothing"
        } else {
            ""
        };
        let text = format!(
            "insert into copilot_internal.{} ({}) values ({}){conflict} returning ({}) is not distinct from ({})",
            self.text(),
            names.join(", "),
            parameters.join(", "),
            kept.join(", "),
            given.join(", ")
        );
        let types: Vec<pg_sys::Oid> = self.columns.iter().map(|column| column.kind).collect();
        Plan::new(Box::leak(text.into_boxed_str()), Box::leak(types.into_boxed_slice()))
    }
}

/// A table with its indexes, open as the executor opens them to write.
struct Target {
    estate: *mut pg_sys::EState,
    target: *mut pg_sys::ResultRelInfo,
}

impl Target {
    /// # Safety
    /// The relation is open, and stays so until this is closed.
    unsafe fn open(relation: pg_sys::Relation) -> Self {
        // SAFETY: what is made is dropped by `close`, or by the abort that an ERROR causes.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let target = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(target, relation, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(target, false);
            Self { estate, target }
        }
    }

    /// # Safety
    /// It is used no more.
    unsafe fn close(self) {
        // SAFETY: it was opened, and is closed once.
        unsafe {
            pg_sys::ExecCloseIndices(self.target);
            pg_sys::FreeExecutorState(self.estate);
        }
    }
}

/// Puts the row on the heap and into every index. `false` when an index of request ids has another row, committed or in
/// flight: then this one is taken back.
///
/// # Safety
/// The row is in the slot, the indexes of the target are open, and the arbiters are some of them.
unsafe fn insert_speculatively(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
    arbiters: *mut pg_sys::List,
) -> Result<bool> {
    // SAFETY: as promised by the caller. Those that meet the row meanwhile wait for the token, not for the transaction. An
    // ERROR from behind a pointer would jump over the destructors of the callers, so these are called through the guard.
    unsafe {
        let (relation, writer) = ((*target).ri_RelationDesc, pg_sys::GetCurrentTransactionId());
        let methods = &*(*relation).rd_tableam;
        let (Some(insert), Some(complete)) = (methods.tuple_insert_speculative, methods.tuple_complete_speculative)
        else {
            return Err(Error::internal("a heap cannot insert speculatively"));
        };
        let (command, token) = (pg_sys::GetCurrentCommandId(true), pg_sys::SpeculativeInsertionLockAcquire(writer));
        pg_guard_ffi_boundary(|| insert(relation, slot, command, 0, std::ptr::null_mut(), token));
        let mut conflict = false;
        version::insert_into_indexes(target, slot, estate, Some(&mut conflict), arbiters, false);
        pg_guard_ffi_boundary(|| complete(relation, slot, token, !conflict));
        pg_sys::SpeculativeInsertionLockRelease(writer);
        Ok(!conflict)
    }
}
