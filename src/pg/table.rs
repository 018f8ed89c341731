//! Writing rows of our own into one of our own tables.
//!
//! A row that this library wrote into a table as it ships needs no planner, no constraint checks and no triggers: it is
//! formed, put on the heap and into every index, as the executor does it. To a table that has triggers of others,
//! constraints, columns or generated values the executor writes: slower, and with all that it brings.
//!
//! A row that is locked is changed likewise, where the table has nothing that an UPDATE would run.
//!
//! A row with a request id is inserted speculatively, as by INSERT ... ON CONFLICT DO NOTHING. A row that meets a
//! duplicate is taken back before anybody sees it: nothing of it is decoded for replication, and nobody waits for it.

use std::cell::Cell;
use std::ffi::CStr;
use std::iter;

use pgrx::{Uuid, pg_sys};

use super::duplicate::{Duplicate, find_duplicate, index_of_requests};
use super::heap::{Target, insert_speculatively, insert_together, update};
use super::invalidation::Watch;
use super::shape::{Column, RequestKey, fires_on_update, is_as_shipped, must_not_be_distributed};
use super::spi::{self, Plan};
use super::value::Value;
use crate::error::{Error, Result};

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

    /// Inserts rows up to the first of which there is another with its request id, and gives their number. Another
    /// transaction that meets one of them meanwhile waits for all of them: the caller bounds their number.
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
        place: pg_sys::ItemPointerData,
        changes: &[(usize, Value)],
    ) -> Result<Option<bool>> {
        // SAFETY: as in `insert_directly`. What lies at the place is a row of the table, which its lock keeps there.
        unsafe {
            let relation = pg_sys::table_open(known.oid, LOCK);
            if !self.watch.holds() {
                pg_sys::table_close(relation, KEEP);
                return Ok(None);
            }
            let updated = update(relation, place, self.columns.len(), changes)?;
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
