//! One call of a native function: its arguments read by name, its result formed as a tuple.
//!
//! The SQL signature is written in `sql/schema/`, where it can be reviewed. A result row is a composite datum returned
//! once. Postgres takes it from a set-returning function that never says "more", without the two calls of an iterator.

use std::marker::PhantomData;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::{FromDatum, Uuid, pg_sys};

use super::row_set::RowSet;
use super::value::{GivenJson, Interval, Value, output};
use super::{Timestamp, identity, spi};
use crate::error::{self, Error};

/// The arguments of native functions by their names in SQL, in their order.
#[cfg_attr(not(any(test, feature = "pg_test")), expect(dead_code, reason = "a test compares it with the catalog"))]
pub struct Signature {
    /// All that have these arguments.
    pub functions: &'static [&'static str],
    pub arguments: &'static [&'static str],
}

/// One argument of the native functions of a [`Signature`].
pub trait Argument: Copy {
    const SIGNATURE: Signature;

    fn position(self) -> usize;

    /// Its name in SQL.
    fn name(self) -> &'static str {
        Self::SIGNATURE.arguments[self.position()]
    }
}

/// Names the arguments of a module's native functions, in the order of their SQL signatures.
///
/// Each function gets an enum, so that a call of one function cannot be asked for an argument of another. The compiler
/// reports an argument that is never read. A test compares `SIGNATURES` with the catalog.
macro_rules! signatures {
    ($($arguments:ident = $($function:ident)|+($($argument:ident),+);)+) => {
        $(
            #[allow(non_camel_case_types, clippy::enum_variant_names, reason = "the names are those of the SQL signature")]
            #[derive(Clone, Copy)]
            enum $arguments { $($argument),+ }

            impl $crate::pg::call::Argument for $arguments {
                const SIGNATURE: $crate::pg::call::Signature = $crate::pg::call::Signature {
                    functions: &[$(stringify!($function)),+],
                    arguments: &[$(stringify!($argument)),+],
                };

                fn position(self) -> usize {
                    self as usize
                }
            }
        )+

        #[cfg(any(test, feature = "pg_test"))]
        pub const SIGNATURES: &[$crate::pg::call::Signature] =
            &[$(<$arguments as $crate::pg::call::Argument>::SIGNATURE),+];
    };
}
pub(crate) use signatures;

/// A function without arguments has none to read.
#[derive(Clone, Copy)]
pub enum NoArguments {}

/// The running call, whose arguments are read by their names.
pub struct Call<A = NoArguments>(pg_sys::FunctionCallInfo, PhantomData<A>);

impl<A> Clone for Call<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Call<A> {}

impl Call {
    pub fn without_arguments(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo, PhantomData)
    }
}

impl<A: Argument> Call<A> {
    pub fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo, PhantomData)
    }

    /// The argument as it came, to be handed on unread.
    pub fn raw(self, argument: A) -> Option<pg_sys::Datum> {
        let index = argument.position();
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

    pub fn value(self, argument: A) -> Value {
        Value::raw(self.raw(argument))
    }

    fn read<T: FromDatum>(self, argument: A) -> Option<T> {
        // SAFETY: the SQL signature gives the argument the type that T reads.
        self.raw(argument).and_then(|datum| unsafe { T::from_datum(datum, false) })
    }

    pub fn uuid(self, argument: A) -> Option<Uuid> {
        self.read(argument)
    }

    pub fn text(self, argument: A) -> Option<String> {
        self.read(argument)
    }

    /// Reads a text where it lies.
    pub fn with_text<T>(self, argument: A, read: impl FnOnce(&str) -> T) -> Option<T> {
        // SAFETY: the SQL signature says that it is a text, in a database whose encoding is UTF-8. What is read lives
        // as long as the call.
        self.raw(argument).and_then(|datum| unsafe { <&str>::from_datum(datum, false) }).map(read)
    }

    pub fn integer(self, argument: A) -> Option<i32> {
        self.read(argument)
    }

    pub fn bigint(self, argument: A) -> Option<i64> {
        self.read(argument)
    }

    pub fn boolean(self, argument: A) -> Option<bool> {
        self.read(argument)
    }

    pub fn timestamp(self, argument: A) -> Option<Timestamp> {
        self.raw(argument).map(|datum| datum.value() as i64)
    }

    pub fn interval(self, argument: A) -> Option<Interval> {
        self.raw(argument).map(Interval::new)
    }

    /// A `numeric` as its exact decimal text; `NaN` and `Infinity` come out as these words.
    pub fn numeric(self, argument: A) -> Option<String> {
        self.raw(argument).map(|datum| output(pg_sys::numeric_out, datum))
    }

    pub fn jsonb(self, argument: A) -> Option<GivenJson> {
        self.raw(argument).map(GivenJson::new)
    }
}

impl<A> Call<A> {
    /// Whether it is a procedure that was called outside of any transaction block or function.
    pub fn may_commit(self) -> bool {
        // SAFETY: fcinfo is that of the running call; a CALL, and nothing else, has a context of this type.
        unsafe {
            let context = (*self.0).context;
            !context.is_null()
                && (*context).type_ == pg_sys::NodeTag::T_CallContext
                && !(*context.cast::<pg_sys::CallContext>()).atomic
        }
    }

    /// Runs a kernel with the rights of the function's owner, gives it the caller, and raises its error.
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

    /// Returns the rows of a query, whose columns are those of the SQL signature.
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

    /// The set of rows that the function gives back, to be filled by queries whose columns are those of the SQL
    /// signature.
    pub fn row_set(self) -> RowSet {
        // SAFETY: the call is running.
        unsafe { RowSet::of_call(self.0) }
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

    /// The type of a result row: what the calling query expects, where it says so, which spares resolving it for each
    /// call.
    ///
    /// # Safety
    /// The call is running.
    unsafe fn row_type(self) -> pg_sys::TupleDesc {
        // SAFETY: resultinfo, when there is one of that type, is a ReturnSetInfo of the calling query, and its
        // descriptor lives as long as that query.
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
