//! One call of a native function: its arguments read by position, its result formed by hand.
//!
//! The SQL signature is written in `sql/schema/`, where it can be reviewed. A result row is a composite datum returned
//! once: Postgres takes it from a set-returning function that never says "more", without the two calls of an iterator.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{FromDatum, Uuid, pg_sys};

use super::value::{GivenJson, Interval, Value, output};
use super::{Timestamp, identity, spi};
use crate::error::{self, Error};

/// The arguments of the running call.
#[derive(Clone, Copy)]
pub struct Call(pg_sys::FunctionCallInfo);

impl Call {
    pub fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo)
    }

    /// The argument as it came, to be handed on unread.
    pub fn raw(self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: fcinfo is that of the running call, and the index is checked against its argument count.
        unsafe {
            let count = usize::try_from((*self.0).nargs).unwrap_or(0);
            if index >= count {
                return None;
            }
            let argument = &(*self.0).args.as_slice(count)[index];
            (!argument.isnull).then_some(argument.value)
        }
    }

    pub fn value(self, index: usize) -> Value {
        Value::raw(self.raw(index))
    }

    fn read<T: FromDatum>(self, index: usize) -> Option<T> {
        // SAFETY: the SQL signature gives the argument the type that T reads.
        self.raw(index).and_then(|datum| unsafe { T::from_datum(datum, false) })
    }

    pub fn uuid(self, index: usize) -> Option<Uuid> {
        self.read(index)
    }

    pub fn text(self, index: usize) -> Option<String> {
        self.read(index)
    }

    /// Reads a text where it lies.
    pub fn with_text<T>(self, index: usize, read: impl FnOnce(&str) -> T) -> Option<T> {
        // SAFETY: the SQL signature says that it is a text, in a database whose encoding is UTF-8; what is looked at
        // lives as long as the call.
        self.raw(index).and_then(|datum| unsafe { <&str>::from_datum(datum, false) }).map(read)
    }

    pub fn bigint(self, index: usize) -> Option<i64> {
        self.read(index)
    }

    pub fn boolean(self, index: usize) -> Option<bool> {
        self.read(index)
    }

    pub fn timestamp(self, index: usize) -> Option<Timestamp> {
        self.raw(index).map(|datum| datum.value() as i64)
    }

    pub fn interval(self, index: usize) -> Option<Interval> {
        self.raw(index).map(Interval::new)
    }

    /// A `numeric` as its exact decimal text; `NaN` and `Infinity` come out as these words.
    pub fn numeric(self, index: usize) -> Option<String> {
        self.raw(index).map(|datum| output(pg_sys::numeric_out, datum))
    }

    pub fn jsonb(self, index: usize) -> Option<GivenJson> {
        self.raw(index).map(GivenJson::Datum)
    }

    /// Runs a kernel with the rights of the function's owner, having told it who called, and raises its error.
    pub fn kernel<T>(self, kernel: impl FnOnce(&identity::Caller) -> error::Result<T>) -> T {
        let caller = identity::Caller::current();
        let outcome = {
            let _owner = identity::ActAsOwner::of_function(self.0);
            kernel(&caller)
        };
        outcome.unwrap_or_else(|error| error.raise())
    }

    /// Gives a set of rows back, in the column order of the SQL signature.
    pub fn rows(self, rows: impl IntoIterator<Item = Vec<Value>>) {
        // SAFETY: the function is declared to return a set; InitMaterializedSRF raises where the caller cannot take
        // one, and fills setResult and setDesc otherwise.
        unsafe {
            pg_sys::InitMaterializedSRF(self.0, 0);
            let info = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for row in rows {
                let (mut values, mut nulls) = split(&row);
                pg_sys::tuplestore_putvalues(
                    (*info).setResult,
                    (*info).setDesc,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
            }
        }
    }

    /// Hands the rows of a query on, whose columns are those of the SQL signature.
    pub fn rows_of(self, rows: &spi::Rows) {
        // SAFETY: as in `rows`; the tuples are copied while their session is open.
        unsafe {
            pg_sys::InitMaterializedSRF(self.0, 0);
            let info = (*self.0).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for row in rows.iter() {
                pg_sys::tuplestore_puttuple((*info).setResult, row.tuple());
            }
        }
    }

    /// Forms the one result row, in the column order of the SQL signature.
    pub fn row(self, row: &[Value]) -> Reply {
        // SAFETY: the descriptor is that of this call's rows, and the count of values is checked against it before a
        // tuple is formed.
        unsafe {
            let descriptor = self.row_type();
            if descriptor.is_null() || (*descriptor).natts != i32::try_from(row.len()).unwrap_or(-1) {
                Error::internal("the function's SQL signature does not fit the library").raise();
            }
            let descriptor = pg_sys::BlessTupleDesc(descriptor);
            let (mut values, mut nulls) = split(row);
            let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            Reply(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
        }
    }

    /// The type of a result row: what the caller expects, where he says so, which spares resolving it for each call.
    ///
    /// # Safety
    /// The call is running.
    unsafe fn row_type(self) -> pg_sys::TupleDesc {
        // SAFETY: resultinfo, when there is one of that type, is a ReturnSetInfo of the caller's, and its descriptor
        // lives as long as his query.
        unsafe {
            let info = (*self.0).resultinfo;
            if !info.is_null() && (*info).type_ == pg_sys::NodeTag::T_ReturnSetInfo {
                let expected = (*info.cast::<pg_sys::ReturnSetInfo>()).expectedDesc;
                if !expected.is_null() {
                    return expected;
                }
            }
            let mut descriptor: pg_sys::TupleDesc = std::ptr::null_mut();
            let kind = pg_sys::get_call_result_type(self.0, std::ptr::null_mut(), &raw mut descriptor);
            if kind == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE { descriptor } else { std::ptr::null_mut() }
        }
    }
}

fn split(row: &[Value]) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    row.iter().map(|value| (value.datum(), value.is_null())).unzip()
}

/// A composite datum on its way back to Postgres.
pub struct Reply(pg_sys::Datum);

impl Reply {
    /// The datum must be a composite in memory that lives as long as the call.
    pub fn new(composite: pg_sys::Datum) -> Self {
        Self(composite)
    }
}

// SAFETY: the datum is a composite of the row type that the function's SQL signature declares.
unsafe impl BoxRet for Reply {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the datum was allocated in the context of this very call.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

pgrx::pgrx_sql_entity_graph::impl_sql_translatable!(Reply, "record");
