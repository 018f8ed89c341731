//! Writing rows of our own into one of our own tables.
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
use std::iter;

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{Uuid, pg_sys};

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
        Ok(self.insert_rows(&[row])? == 1)
    }

    /// Inserts rows up to the first of which there is another with its request id, and gives their number. Whoever meets
    /// one of them meanwhile waits for all of them: the caller bounds their number.
    pub fn insert_rows<R: AsRef<[Value]>>(&'static self, rows: &[R]) -> Result<usize> {
        if rows.iter().any(|row| row.as_ref().len() != self.columns.len()) {
            return Err(Error::internal("a row has the wrong number of columns"));
        }
        let takes = |row: &R| self.columns.iter().zip(row.as_ref()).all(|(column, value)| column.takes(*value));
        let mut done = 0;
        while let Some(row) = rows.get(done) {
            let known = self.known()?;
            let wanted = if known.as_shipped { rows[done..].iter().take_while(|row| takes(row)).count() } else { 0 };
            if wanted == 0 {
                if !self.insert_through_executor(row.as_ref())? {
                    break;
                }
                done += 1;
            } else if let Some(inserted) = self.insert_directly(known, &rows[done..done + wanted])? {
                done += inserted;
                if inserted < wanted {
                    break;
                }
            }
        }
        Ok(done)
    }

    /// Whether rows go past the executor, so that nothing of others runs with them.
    pub fn is_as_shipped(&'static self) -> Result<bool> {
        Ok(self.known()?.as_shipped)
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
    fn insert_directly<R: AsRef<[Value]>>(&self, known: Known, rows: &[R]) -> Result<Option<usize>> {
        // SAFETY: what is opened and made is closed and dropped, or left to the abort that an ERROR causes. The values are
        // of the columns' types, as `is_as_shipped` has compared them, and none is NULL that must not be.
        unsafe {
            // Taking the lock handles the messages of all who had a stronger one.
            let relation = pg_sys::table_open(known.oid, LOCK);
            if !self.watch.holds() {
                pg_sys::table_close(relation, KEEP);
                return Ok(None);
            }
            let target = Target::open(relation);
            let has_request = |row: &R| known.request.is_some_and(|place| !row.as_ref()[place].is_null());
            let mut inserted = 0;
            for group in rows.chunk_by(|one, next| has_request(one) == has_request(next)) {
                let written = if has_request(&group[0]) {
                    insert_speculatively(&target, group, self.arbiters(target.indexes)?)?
                } else {
                    insert_together(&target, group)?
                };
                inserted += written;
                if written < group.len() {
                    break;
                }
            }
            target.close();
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
                        let target = Target::open(relation);
                        target.insert_into_indexes(slot, None, std::ptr::null_mut(), only_summarizing);
                        target.close();
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
        let request = [tenant.into(), request_id.into()];
        loop {
            match self.duplicate(iter::once(Some(request)))? {
                None => return Ok(false),
                Some((_, Duplicate::Written)) => return Ok(true),
                Some((_, in_flight)) => in_flight.wait(),
            };
        }
    }

    /// The place of the first request, given by tenant and id, of which there is a row, also one that another transaction
    /// is writing.
    pub fn first_known(
        &'static self,
        requests: impl Iterator<Item = Option<[Value; 2]>> + Clone,
    ) -> Result<Option<usize>> {
        Ok(self.duplicate(requests)?.map(|(place, _)| place))
    }

    fn duplicate(
        &'static self,
        requests: impl Iterator<Item = Option<[Value; 2]>> + Clone,
    ) -> Result<Option<(usize, Duplicate)>> {
        loop {
            let known = self.known()?;
            // SAFETY: the relation is closed again, or by the abort that an ERROR causes. While the watch holds, with the
            // lock taken, the index is still what it was.
            let found = unsafe {
                let relation = pg_sys::table_open(known.oid, READ);
                let find = |index| find_duplicate(relation, index, requests.clone());
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
        Ok(self.duplicate(iter::once(Some([given("tenant_id"), given("request_id")])))?.is_some())
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

/// A table that rows are put into, and its indexes.
struct Target {
    relation: pg_sys::Relation,
    indexes: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
}

impl Target {
    /// # Safety
    /// The relation is open, and stays so until this is closed.
    unsafe fn open(relation: pg_sys::Relation) -> Self {
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
    unsafe fn close(self) {
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
unsafe fn insert_together<R: AsRef<[Value]>>(target: &Target, rows: &[R]) -> Result<usize> {
    // SAFETY: as promised by the caller. An ERROR from behind a pointer would jump over the destructors of the callers, so
    // this is called through the guard.
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
unsafe fn insert_speculatively<R: AsRef<[Value]>>(
    target: &Target,
    rows: &[R],
    arbiters: *mut pg_sys::List,
) -> Result<usize> {
    // SAFETY: as promised by the caller. Those that meet a row meanwhile wait for the token, not for the transaction. While
    // it is held nothing is waited for. An ERROR from behind a pointer would jump over the destructors of the callers, so
    // these are called through the guard.
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
