//! Queries of the kernels: prepared once a backend, run in a stated snapshot, read by column position.
//!
//! Every statement names its objects with their schema and runs under a fixed `search_path`, so a plan never depends on
//! the caller's.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{FromDatum, PgSqlErrorCode, PgTryBuilder, pg_sys};

use super::row_set::RowSet;
use super::value::Value;
use crate::error::{Error, Result};
use crate::version;

/// Which committed work a query sees. It writes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Snapshot {
    /// The snapshot of the calling statement; takes no transaction id (STABLE functions, standbys).
    Statement,
    /// Everything committed until now, also at REPEATABLE READ and SERIALIZABLE, and every row that this transaction
    /// has written, in the running command too. It is for decisions made under a lock, and for what is cached.
    Latest,
    /// Everything that other transactions have committed until now, and nothing of this one: what others know.
    Others,
}

/// The types of parameters.
pub mod types {
    use pgrx::pg_sys::{self, Oid};

    pub const BOOL: Oid = pg_sys::BOOLOID;
    pub const INTERVAL: Oid = pg_sys::INTERVALOID;
    pub const UUID: Oid = pg_sys::UUIDOID;
    pub const TEXT: Oid = pg_sys::TEXTOID;
    pub const INT: Oid = pg_sys::INT4OID;
    pub const BIGINT: Oid = pg_sys::INT8OID;
    pub const NUMERIC: Oid = pg_sys::NUMERICOID;
    pub const JSONB: Oid = pg_sys::JSONBOID;
    pub const MOMENT: Oid = pg_sys::TIMESTAMPTZOID;
    pub const UUIDS: Oid = pg_sys::UUIDARRAYOID;
}

/// One prepared statement of this backend. The text's parameters have the types that are named.
pub struct Plan {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    prepared: Cell<pg_sys::SPIPlanPtr>,
}

// SAFETY: a backend has one thread that calls Postgres; pgrx checks that at every call.
unsafe impl Sync for Plan {}

/// A stretch of work that may query. The first query opens SPI: a call whose answer is cached does without. Rows live
/// until it is closed.
pub struct Session {
    /// The nest level of the settings that hold while it is open; 0 while it is not.
    level: Cell<i32>,
    settings: &'static [(&'static CStr, &'static CStr)],
}

/// What queries are planned and run under, whatever the caller has set. Plans are made once and kept for the session.
/// Made while tables are small they would be sequential scans, and stay so while the queue of pending rows fills with
/// dead ones. A scan that the planner was told to avoid is priced so high that every execution would be compiled. A
/// bitmap of the queue has every row that was folded and is not vacuumed yet, and marks none to be passed over.
///
/// Row level security does not bind the owner. Where it has been forced on a table of ours, a query is an ERROR. A sum
/// of only the rows that are shown would be too small, and would admit a charge.
static SETTINGS: [(&CStr, &CStr); 5] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"row_security", c"off"),
    (c"enable_seqscan", c"off"),
    (c"jit", c"off"),
    (c"enable_bitmapscan", c"off"),
];

static SETTINGS_OF_PAGES: [(&CStr, &CStr); 6] =
    [SETTINGS[0], SETTINGS[1], SETTINGS[2], SETTINGS[3], SETTINGS[4], (c"enable_sort", c"off")];

/// Makes the rows that this transaction wrote in the running command visible to what it reads from now on.
pub fn see_own_rows() {
    // SAFETY: allowed outside of parallel queries, and does nothing where nothing was written.
    unsafe { pg_sys::CommandCounterIncrement() }
}

thread_local! {
    /// The depth of triggers at which a statement of this library is writing.
    static OWN_WRITE: Cell<Option<i32>> = const { Cell::new(None) };
    /// The transaction and the command that is a fold.
    static FOLD: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// The running command, which no other of its transaction is called by.
fn command(claimed: bool) -> (u32, u32) {
    // SAFETY: reads the state of the running transaction. A command that is claimed is counted, even if it writes nothing.
    let command = unsafe { pg_sys::GetCurrentCommandId(claimed) };
    (version::own_transaction(), command)
}

/// The running command moves sums from one table to another and changes none.
pub fn note_fold() {
    FOLD.set(command(true));
}

/// Whether the running command is a fold.
pub fn folds() -> bool {
    FOLD.get() == command(false)
}

/// A statement of this library that writes, with its triggers.
struct OwnWrite {
    before: Option<i32>,
}

impl OwnWrite {
    fn begin() -> Self {
        Self { before: OWN_WRITE.replace(Some(trigger_depth())) }
    }
}

impl Drop for OwnWrite {
    fn drop(&mut self) {
        OWN_WRITE.set(self.before);
    }
}

/// Whether the statement that fires the running trigger is one of this library, and none of a trigger on what it writes.
pub fn writes_itself() -> bool {
    OWN_WRITE.get() == Some(trigger_depth() - 1)
}

/// How many triggers run one inside the other.
fn trigger_depth() -> i32 {
    // SAFETY: a function that takes nothing and reads a variable of the process.
    let depth = unsafe { pgrx::direct_function_call::<i32>(pg_sys::pg_trigger_depth, &[]) };
    depth.unwrap_or(0)
}

/// Whether the transaction sees all through the snapshot of its first statement (REPEATABLE READ, SERIALIZABLE).
pub fn has_one_snapshot() -> bool {
    // SAFETY: reads a variable of the running transaction.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ.cast_signed() }
}

/// Commits the transaction of a procedure that may, and begins another. No session is open.
pub fn commit() {
    // SAFETY: connect and finish are paired; an ERROR ends the procedure.
    unsafe {
        pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC.cast_signed());
        pg_sys::SPI_commit();
        pg_sys::SPI_finish();
    }
}

/// Runs the closure. An ERROR inside unwinds through here, and Postgres closes SPI and undoes the settings itself.
pub fn session<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    session_under(&SETTINGS, work)
}

/// The same for calls of SQL functions of ours, which are planned under the caller's settings but for the names.
pub fn session_for_functions<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    session_under(&SETTINGS[..2], work)
}

/// The same for pages in an order that an index has but for ties: all before a page would be sorted for it otherwise.
pub fn session_for_pages<T>(work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
    session_under(&SETTINGS_OF_PAGES, work)
}

fn session_under<T>(
    settings: &'static [(&'static CStr, &'static CStr)],
    work: impl FnOnce(&Session) -> Result<T>,
) -> Result<T> {
    let session = Session { level: Cell::new(0), settings };
    let outcome = work(&session);
    session.close();
    outcome
}

/// The table of ours that an ERROR says is not there. It may be told of another that a trigger of others asks for.
fn missing_table(error: &CaughtError) -> Option<String> {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = error;
    let (_, name) = report.message().split_once("\"copilot_internal.")?;
    Some(name.split_once('"')?.0.to_owned())
}

impl Session {
    fn open(&self) -> Result<()> {
        if self.level.get() != 0 {
            return Ok(());
        }
        // SAFETY: connect and finish, and the beginning and end of a level of settings, are paired on the path that
        // returns. The abort of the (sub)transaction pairs the rest.
        unsafe {
            if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT.cast_signed() {
                return Err(Error::internal("SPI could not be opened"));
            }
            self.level.set(pg_sys::NewGUCNestLevel());
            for (name, value) in self.settings {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
        }
        Ok(())
    }

    fn close(self) {
        let level = self.level.get();
        if level != 0 {
            // SAFETY: see `open`.
            unsafe {
                pg_sys::AtEOXact_GUC(true, level);
                pg_sys::SPI_finish();
            }
        }
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
    /// Runs the query and gives its rows.
    pub fn run(&self, plan: &Plan, snapshot: Snapshot, parameters: &[Value]) -> Result<Rows> {
        // SAFETY: reads the state of the running query.
        let parallel = unsafe { pg_sys::IsInParallelMode() };
        self.execute(plan, parameters, |prepared, values, nulls| {
            // A query that runs in parallel has one snapshot and gets no other.
            if snapshot == Snapshot::Statement || parallel {
                // SAFETY: SPI is open, and the arrays have one entry a parameter.
                return unsafe { pg_sys::SPI_execute_plan(prepared, values, nulls, true, 0) };
            }
            // A snapshot does not show what its own command has written. The journal has that already.
            see_own_rows();
            // SAFETY: as above; the snapshot is registered while it is used.
            unsafe {
                let latest = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
                if snapshot == Snapshot::Others {
                    // A copy of its own, which is older than the first command.
                    (*latest).curcid = pg_sys::FirstCommandId;
                }
                let no_receiver = std::ptr::null_mut();
                let status = pg_sys::SPI_execute_snapshot(prepared, values, nulls, latest, no_receiver, true, false, 0);
                pg_sys::UnregisterSnapshot(latest);
                status
            }
        })
    }

    /// Runs a statement of its own that may write, in the transaction's snapshot.
    pub fn run_write(&self, plan: &Plan, parameters: &[Value]) -> Result<Rows> {
        let _own = OwnWrite::begin();
        self.execute(plan, parameters, |prepared, values, nulls| {
            // SAFETY: SPI is open, and the arrays have one entry a parameter.
            unsafe { pg_sys::SPI_execute_plan(prepared, values, nulls, false, 0) }
        })
    }

    /// Runs a query in the snapshot of the calling statement, straight into a set of rows; gives their number.
    pub fn run_into(&self, set: &RowSet, plan: &Plan, parameters: &[Value]) -> Result<usize> {
        let rows = self.execute(plan, parameters, |prepared, _, _| {
            // SAFETY: SPI is open; the list has as many places as it was made for, and the plan as many parameters.
            unsafe {
                let list = pg_sys::makeParamList(i32::try_from(parameters.len()).unwrap_or(0));
                let places = (*list).params.as_mut_slice(parameters.len());
                for ((place, value), kind) in places.iter_mut().zip(parameters).zip(plan.types) {
                    place.value = value.datum();
                    place.isnull = value.is_null();
                    place.pflags = pg_sys::PARAM_FLAG_CONST as u16;
                    place.ptype = *kind;
                }
                let options = pg_sys::SPIExecuteOptions {
                    params: list,
                    read_only: true,
                    must_return_tuples: true,
                    dest: set.receiver(),
                    ..Default::default()
                };
                pg_sys::SPI_execute_plan_extended(prepared, &raw const options)
            }
        })?;
        Ok(rows.written())
    }

    fn execute(
        &self,
        plan: &Plan,
        parameters: &[Value],
        call: impl FnOnce(pg_sys::SPIPlanPtr, *mut pg_sys::Datum, *const std::ffi::c_char) -> i32,
    ) -> Result<Rows> {
        if parameters.len() != plan.types.len() {
            return Err(Error::internal("a query was given the wrong number of parameters"));
        }
        self.open()?;
        let mut values: Vec<pg_sys::Datum> = parameters.iter().map(|value| value.datum()).collect();
        let nulls: Vec<u8> = parameters.iter().map(|value| if value.is_null() { b'n' } else { b' ' }).collect();
        let run = || Ok(call(plan.prepared()?, values.as_mut_ptr(), nulls.as_ptr().cast()));
        let status = PgTryBuilder::new(AssertUnwindSafe(run))
            .catch_when(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, |error| match missing_table(&error) {
                Some(name) => Err(Error::missing_table(name)),
                None => error.rethrow(),
            })
            .execute()?;
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

/// What can be read out of a row and kept. pgrx reads a text as `&'static str` too, which lives only as long as the row.
pub trait Owned {}
impl Owned for String {}
impl Owned for pgrx::Uuid {}
impl Owned for pg_sys::ItemPointerData {}
impl Owned for i32 {}
impl Owned for i64 {}
impl Owned for bool {}
impl Owned for Vec<i64> {}

/// A column of a query's result.
pub trait Column: Copy {
    /// Counted from 1.
    fn number(self) -> i32;

    /// Its name in the query's text, which a build with debug assertions compares.
    fn name(self) -> Option<&'static str>;
}

/// A short result is read by numbers.
impl Column for i32 {
    fn number(self) -> i32 {
        self
    }

    fn name(self) -> Option<&'static str> {
        None
    }
}

/// Names the columns of a query's result, in their order, from the first or a later one. The compiler reports a column
/// that is never read.
macro_rules! columns {
    ($columns:ident($($column:ident),+)) => {
        $crate::pg::spi::columns!($columns from 1 ($($column),+));
    };
    ($columns:ident from $first:literal ($($column:ident),+)) => {
        #[allow(non_camel_case_types, reason = "the names are those of the query")]
        #[derive(Clone, Copy)]
        enum $columns { $($column),+ }

        impl $crate::pg::spi::Column for $columns {
            fn number(self) -> i32 {
                self as i32 + $first
            }

            fn name(self) -> Option<&'static str> {
                Some([$(stringify!($column)),+][self as usize])
            }
        }
    };
}
pub(crate) use columns;

pub struct Row<'rows> {
    rows: &'rows Rows,
    index: usize,
}

impl Row<'_> {
    /// The column's value, `None` for NULL. Owned: the row's memory goes with its session.
    pub fn get<T: FromDatum + Owned>(&self, column: impl Column) -> Option<T> {
        debug_assert!(self.is_named(column), "column {} of a query has another name", column.number());
        // SAFETY: the row index is within the table, and SPI_getbinval sets the flag for NULL and for a missing column.
        unsafe {
            let table = self.rows.table;
            let tuple = *(*table).vals.add(self.index);
            let mut is_null = true;
            let datum = pg_sys::SPI_getbinval(tuple, (*table).tupdesc, column.number(), &raw mut is_null);
            T::from_datum(datum, is_null)
        }
    }

    /// The column's value where the query's text says that it cannot be NULL.
    pub fn need<T: FromDatum + Owned>(&self, column: impl Column) -> Result<T> {
        self.get(column).ok_or_else(|| Error::internal(format!("column {} of a query is NULL", column.number())))
    }

    /// Whether the query names the column as the code does, if the code names it at all.
    fn is_named(&self, column: impl Column) -> bool {
        let Some(name) = column.name() else { return true };
        // SAFETY: the table is that of a query that has run; a number that it lacks gives a null pointer.
        unsafe {
            let found = pg_sys::SPI_fname((*self.rows.table).tupdesc, column.number());
            !found.is_null() && std::ffi::CStr::from_ptr(found).to_bytes() == name.as_bytes()
        }
    }

    /// The whole row as it lies, while the session is open.
    pub fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: the row index is within the table.
        unsafe { *(*self.rows.table).vals.add(self.index) }
    }

    /// The whole row as a composite, in memory that outlives the session.
    pub fn composite(&self) -> pg_sys::Datum {
        // SAFETY: the row index is within the table; SPI is open, and the copy is made in the caller's context.
        unsafe {
            let table = self.rows.table;
            let tuple = *(*table).vals.add(self.index);
            pg_sys::HeapTupleHeaderGetDatum(pg_sys::SPI_returntuple(tuple, (*table).tupdesc))
        }
    }
}
