//! Queries of the kernels: prepared once a backend, run in a stated snapshot, read by column position.
//!
//! Every statement names its objects with their schema, and every function that gets here has a fixed `search_path`,
//! so a plan never depends on the caller's.

use std::cell::Cell;
use std::ffi::CString;

use pgrx::{FromDatum, pg_sys};

use super::call::Reply;
use super::value::Value;
use crate::error::{Error, Result};

/// Which committed work a query sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The snapshot of the calling statement; writes nothing and takes no transaction id (STABLE functions, standbys).
    Statement,
    /// Everything committed until now, also at REPEATABLE READ and SERIALIZABLE: for decisions made under a lock, and for
    /// what is kept.
    Latest,
    /// A statement of its own that may write, in the transaction's snapshot.
    Write,
}

/// The types of parameters.
pub mod types {
    use pgrx::pg_sys::{self, Oid};

    pub const UUID: Oid = pg_sys::UUIDOID;
    pub const TEXT: Oid = pg_sys::TEXTOID;
    pub const INT: Oid = pg_sys::INT4OID;
    pub const BIGINT: Oid = pg_sys::INT8OID;
    pub const NUMERIC: Oid = pg_sys::NUMERICOID;
    pub const JSONB: Oid = pg_sys::JSONBOID;
    pub const MOMENT: Oid = pg_sys::TIMESTAMPTZOID;
}

/// One prepared statement of this backend. The text's parameters have the types that are named.
pub struct Plan {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    prepared: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a backend has one thread that calls Postgres; pgrx checks that at every call.
unsafe impl Sync for Plan {}

/// An open SPI connection. Rows that it returns live until it is closed.
pub struct Session(());

/// Makes the rows that this transaction wrote in the running command visible to what it reads from now on.
pub fn see_own_rows() {
    // SAFETY: allowed wherever the transaction may write.
    unsafe { pg_sys::CommandCounterIncrement() }
}

/// Whether the transaction sees all through the snapshot of its first statement (REPEATABLE READ, SERIALIZABLE).
pub fn has_one_snapshot() -> bool {
    // SAFETY: reads a variable of the running transaction.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ.cast_signed() }
}

/// Opens SPI for the closure. An ERROR inside unwinds through here and Postgres closes the connection itself.
pub fn session<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    // SAFETY: connect and finish are paired on the path that returns; the abort of the (sub)transaction pairs the rest.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT.cast_signed() {
            return Err(Error::internal("SPI could not be opened"));
        }
        let outcome = work(&Session(()));
        pg_sys::SPI_finish();
        outcome
    }
}

impl Plan {
    pub const fn new(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        Self { sql, types, prepared: Cell::new(std::ptr::null_mut()) }
    }

    fn prepared(&self) -> Result<pg_sys::SPIPlanPtr> {
        if !self.prepared.get().is_null() {
            return Ok(self.prepared.get());
        }
        let sql = CString::new(self.sql).map_err(|_| Error::internal("a query holds a NUL"))?;
        let mut types = self.types.to_vec();
        let count = i32::try_from(types.len()).map_err(|_| Error::internal("too many parameters"))?;
        // SAFETY: SPI is open, the text is a C string, and the types are as many as counted. A kept plan lives as long
        // as the backend.
        unsafe {
            let plan = pg_sys::SPI_prepare_cursor(
                sql.as_ptr(),
                count,
                types.as_mut_ptr(),
                // Every query here is a handful of index look-ups whatever the parameters: plan it once.
                pg_sys::CURSOR_OPT_GENERIC_PLAN.cast_signed(),
            );
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                return Err(Error::internal("a query could not be prepared"));
            }
            self.prepared.set(plan);
            Ok(plan)
        }
    }
}

impl Session {
    /// Runs the plan and gives its rows.
    pub fn run(&self, plan: &Plan, look: Look, parameters: &[Value]) -> Result<Rows> {
        if parameters.len() != plan.types.len() {
            return Err(Error::internal("a query was given the wrong number of parameters"));
        }
        let prepared = plan.prepared()?;
        let mut values: Vec<pg_sys::Datum> = parameters.iter().map(|value| value.datum()).collect();
        let nulls: Vec<u8> = parameters.iter().map(|value| if value.is_null() { b'n' } else { b' ' }).collect();
        let nulls = nulls.as_ptr().cast();
        // SAFETY: SPI is open; the arrays have one entry a parameter; the snapshot is registered while it is used.
        let status = unsafe {
            match look {
                Look::Statement => pg_sys::SPI_execute_plan(prepared, values.as_mut_ptr(), nulls, true, 0),
                Look::Write => pg_sys::SPI_execute_plan(prepared, values.as_mut_ptr(), nulls, false, 0),
                // A query that runs in parallel has one snapshot and gets no other.
                Look::Latest if pg_sys::IsInParallelMode() => {
                    pg_sys::SPI_execute_plan(prepared, values.as_mut_ptr(), nulls, true, 0)
                }
                Look::Latest => {
                    let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
                    let status = pg_sys::SPI_execute_snapshot(
                        prepared,
                        values.as_mut_ptr(),
                        nulls,
                        snapshot,
                        std::ptr::null_mut(),
                        true,
                        false,
                        0,
                    );
                    pg_sys::UnregisterSnapshot(snapshot);
                    status
                }
            }
        };
        if status < 0 {
            return Err(Error::internal(format!("a query failed with SPI status {status}")));
        }
        // SAFETY: SPI has just set both for this connection.
        Ok(unsafe {
            Rows { table: pg_sys::SPI_tuptable, count: usize::try_from(pg_sys::SPI_processed).unwrap_or(usize::MAX) }
        })
    }
}

/// The rows of one query, readable while its session is open.
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    count: usize,
}

impl Rows {
    pub fn len(&self) -> usize {
        if self.table.is_null() { 0 } else { self.count }
    }

    /// How many rows a statement that returns none has written.
    pub fn written(&self) -> usize {
        self.count
    }

    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| Row { rows: self, index })
    }

    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

pub struct Row<'rows> {
    rows: &'rows Rows,
    index: usize,
}

impl Row<'_> {
    /// The column's value, counted from 1; `None` for NULL.
    pub fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        // SAFETY: the row index is within the table, and SPI_getbinval sets the flag for NULL and for a missing column.
        unsafe {
            let table = self.rows.table;
            let tuple = *(*table).vals.add(self.index);
            let mut is_null = true;
            let datum = pg_sys::SPI_getbinval(tuple, (*table).tupdesc, column, &raw mut is_null);
            T::from_datum(datum, is_null)
        }
    }

    /// The column's value where the query's text says that it cannot be NULL.
    pub fn need<T: FromDatum>(&self, column: i32) -> Result<T> {
        self.get(column).ok_or_else(|| Error::internal(format!("column {column} of a query is NULL")))
    }

    /// The whole row as the result of the calling function, in memory that outlives the session.
    pub fn reply(&self) -> Reply {
        // SAFETY: the row index is within the table; SPI is open, and the copy is made in the caller's context.
        unsafe {
            let table = self.rows.table;
            let tuple = *(*table).vals.add(self.index);
            Reply::new(pg_sys::HeapTupleHeaderGetDatum(pg_sys::SPI_returntuple(tuple, (*table).tupdesc)))
        }
    }
}
