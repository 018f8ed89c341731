//! Writing one row of our own into one of our own tables.
//!
//! A row that this library wrote into a table as it ships needs no planner, no constraint checks and no triggers: it is
//! formed, put on the heap and into every index, as the executor does it. To a table on which somebody has put triggers,
//! constraints, columns or generated values the executor writes: slower, and with all that it brings.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::invalidation::generation;
use super::spi::{self, Plan};
use super::value::Value;
use crate::error::{Error, Result};

/// A table, with the columns that a row is given in, which are all that it ships with.
pub struct Table {
    pub name: &'static CStr,
    pub columns: &'static [(&'static str, pg_sys::Oid)],
    /// How many CHECK constraints it ships with. Whoever calls has seen to them.
    pub checks: u16,
    /// The unique index (tenant_id, request_id) of a table whose rows have request ids.
    pub requests: Option<&'static CStr>,
    known: Cell<Option<Known>>,
    plan: Cell<Option<&'static Plan>>,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for Table {}

/// What has been found out about the table in a generation of the catalog.
#[derive(Clone, Copy)]
struct Known {
    generation: u64,
    oid: pg_sys::Oid,
    requests: pg_sys::Oid,
    as_shipped: bool,
}

const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock.cast_signed();

impl Table {
    pub const fn new(
        name: &'static CStr,
        columns: &'static [(&'static str, pg_sys::Oid)],
        checks: u16,
        requests: Option<&'static CStr>,
    ) -> Self {
        Self { name, columns, checks, requests, known: Cell::new(None), plan: Cell::new(None) }
    }

    /// Inserts the row, given in the order of [`Self::columns`]. `false` when there is another with its request id,
    /// committed or in flight: then nothing is left of this one.
    pub fn insert(&self, row: &[Value]) -> Result<bool> {
        if row.len() != self.columns.len() {
            return Err(Error::internal("a row has the wrong number of columns"));
        }
        loop {
            let known = self.known()?;
            if !known.as_shipped {
                return self.insert_through_executor(row);
            }
            if let Some(inserted) = self.insert_directly(known, row) {
                return Ok(inserted);
            }
        }
    }

    /// The table and its index of request ids.
    pub fn oids(&self) -> Result<(pg_sys::Oid, pg_sys::Oid)> {
        self.known().map(|known| (known.oid, known.requests))
    }

    fn known(&self) -> Result<Known> {
        match self.known.get() {
            Some(known) if known.generation == generation() => Ok(known),
            _ => {
                let known = self.examine()?;
                self.known.set(Some(known));
                Ok(known)
            }
        }
    }

    fn examine(&self) -> Result<Known> {
        // SAFETY: names are looked up in the catalog caches; the relation is closed again, its lock kept.
        unsafe {
            let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), false);
            let oid = pg_sys::get_relname_relid(self.name.as_ptr(), schema);
            let requests = self.requests.map(|index| pg_sys::get_relname_relid(index.as_ptr(), schema));
            if oid == pg_sys::Oid::INVALID || requests == Some(pg_sys::Oid::INVALID) {
                return Err(Error::internal(format!("{} or its index is missing", self.name.to_string_lossy())));
            }
            let relation = pg_sys::table_open(oid, LOCK);
            // Opening may have handled messages that speak of this table.
            let generation = generation();
            let as_shipped = self.is_as_shipped(relation);
            pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
            let requests = requests.unwrap_or(pg_sys::Oid::INVALID);
            Ok(Known { generation, oid, requests, as_shipped })
        }
    }

    /// # Safety
    /// The relation is open.
    unsafe fn is_as_shipped(&self, relation: pg_sys::Relation) -> bool {
        // SAFETY: the descriptor of an open relation and its attributes, as many as it says.
        unsafe {
            let descriptor = (*relation).rd_att;
            let constraints = (*descriptor).constr;
            let attributes = (*descriptor).attrs.as_slice(usize::try_from((*descriptor).natts).unwrap_or(0));
            let columns_match = attributes.len() == self.columns.len()
                && attributes.iter().zip(self.columns).all(|(attribute, (name, kind))| {
                    !attribute.attisdropped
                        && attribute.atttypid == *kind
                        && CStr::from_ptr(attribute.attname.data.as_ptr()).to_bytes() == name.as_bytes()
                });
            let plain = constraints.is_null()
                || ((*constraints).num_check == self.checks && !(*constraints).has_generated_stored);
            let form = &*(*relation).rd_rel;
            columns_match
                && plain
                && (*relation).trigdesc.is_null()
                && form.relkind.cast_unsigned() == pg_sys::RELKIND_RELATION
                && !form.relispartition
        }
    }

    /// `None` when the table is no longer what is known of it.
    fn insert_directly(&self, known: Known, row: &[Value]) -> Option<bool> {
        // SAFETY: what is opened and made is closed and dropped, or left to the abort that an ERROR causes. The values are
        // of the columns' types, as `is_as_shipped` has compared them, and none is NULL that must not be.
        unsafe {
            let relation = pg_sys::table_open(known.oid, LOCK);
            if generation() != known.generation {
                pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
                return None;
            }
            let estate = pg_sys::CreateExecutorState();
            let target = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(target, relation, 1, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(target, false);
            let slot = pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual);
            for (index, value) in row.iter().enumerate() {
                *(*slot).tts_values.add(index) = value.datum();
                *(*slot).tts_isnull.add(index) = value.is_null();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            pg_sys::simple_table_tuple_insert(relation, slot);

            // The index of request ids takes the entry in any case, and says whether it met another: committed, or of a
            // transaction in flight. That costs nothing to a first request.
            let mut conflict = false;
            let arbiters = if known.requests == pg_sys::Oid::INVALID {
                std::ptr::null_mut()
            } else {
                pg_sys::lappend_oid(std::ptr::null_mut(), known.requests)
            };
            let watched = !arbiters.is_null();
            let conflicts =
                pg_sys::ExecInsertIndexTuples(target, slot, estate, false, watched, &raw mut conflict, arbiters);
            pg_sys::list_free(conflicts);
            if conflict {
                // What a command has written it does not see itself, nor what it has deleted as gone.
                spi::see_own_rows();
                pg_sys::simple_heap_delete(relation, &raw mut (*slot).tts_tid);
                spi::see_own_rows();
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::ExecCloseIndices(target);
            pg_sys::FreeExecutorState(estate);
            pg_sys::table_close(relation, pg_sys::NoLock.cast_signed());
            Some(!conflict)
        }
    }

    fn insert_through_executor(&self, row: &[Value]) -> Result<bool> {
        let plan = match self.plan.get() {
            Some(plan) => plan,
            None => {
                let plan: &'static Plan = Box::leak(Box::new(self.statement()));
                self.plan.set(Some(plan));
                plan
            }
        };
        spi::session(|spi| Ok(spi.run_write(plan, row)?.written() == 1))
    }

    fn statement(&self) -> Plan {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let parameters: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let conflict = match self.requests {
            Some(_) => " on conflict (tenant_id, request_id) where request_id is not null do nothing",
            None => "",
        };
        let text = format!(
            "insert into copilot_internal.{} ({}) values ({}){conflict}",
            self.name.to_string_lossy(),
            names.join(", "),
            parameters.join(", ")
        );
        let types: Vec<pg_sys::Oid> = self.columns.iter().map(|(_, kind)| *kind).collect();
        Plan::new(Box::leak(text.into_boxed_str()), Box::leak(types.into_boxed_slice()))
    }
}
