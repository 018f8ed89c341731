//! A value on its way into Postgres: an SPI parameter or a column of a result row.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use pgrx::{IntoDatum, Uuid, pg_sys};

use super::jsonb::{Bounds, Document, Excess};
use super::{Timestamp, numeric};
use tollgate_core::money::Picos;

/// A datum, or NULL. The datum's memory belongs to the memory context that was current when it was made.
#[derive(Clone, Copy)]
pub struct Value(Option<pg_sys::Datum>);

impl Value {
    pub const NULL: Self = Self(None);

    /// A datum that came from Postgres and is handed on unread.
    pub const fn raw(datum: Option<pg_sys::Datum>) -> Self {
        Self(datum)
    }

    pub const fn is_null(self) -> bool {
        self.0.is_none()
    }

    pub fn datum(self) -> pg_sys::Datum {
        self.0.unwrap_or(pg_sys::Datum::null())
    }

    /// A `numeric` from its exact decimal text, which must be one that this code wrote.
    pub fn numeric(text: &str) -> Self {
        let modifiers = [Some(pg_sys::Datum::from(0usize)), Some(pg_sys::Datum::from(-1i32))];
        Self::through_input(pg_sys::numeric_in, text, &modifiers)
    }

    /// A whole number as a `numeric`.
    pub fn whole(number: i64) -> Self {
        // SAFETY: makes a numeric in the current memory context.
        Self(Some(pg_sys::Datum::from(unsafe { pg_sys::int64_to_numeric(number) })))
    }

    /// Nano-dollars as a `numeric` of US dollars, without trailing zeros.
    pub fn usd(nanos: i64) -> Self {
        match Picos::new(i128::from(nanos) * 1_000) {
            Ok(amount) => Self::cost(amount),
            Err(_) => Self::shifted(nanos, 9),
        }
    }

    /// A cost as a `numeric` of US dollars, without trailing zeros.
    pub fn cost(amount: Picos) -> Self {
        Self(Some(numeric::from_picos(amount)))
    }

    /// Hundredths as a `numeric`, without trailing zeros.
    pub fn hundredths(number: i64) -> Self {
        Self::shifted(number, 2)
    }

    /// A whole number divided by a power of ten.
    fn shifted(number: i64, decimals: i32) -> Self {
        // SAFETY: makes a numeric in the current memory context, and another of as few decimals as it needs.
        Self(unsafe {
            let exact = pg_sys::int64_div_fast_to_numeric(number, decimals);
            pgrx::direct_function_call_as_datum(pg_sys::numeric_trim_scale, &[Some(pg_sys::Datum::from(exact))])
        })
    }

    /// A `numeric`, or NULL.
    pub fn decimal(text: Option<&str>) -> Self {
        text.map_or(Self::NULL, Self::numeric)
    }

    /// A `jsonb` of an object without members.
    pub fn empty_object() -> Self {
        Self(Some(Document::of_container(&pg_sys::JB_FOBJECT.to_ne_bytes()).datum()))
    }

    /// A `jsonb` from its text, which must be one that this code wrote.
    pub fn jsonb(text: &str) -> Self {
        Self::through_input(pg_sys::jsonb_in, text, &[])
    }

    fn through_input(
        input: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
        text: &str,
        more: &[Option<pg_sys::Datum>],
    ) -> Self {
        let Ok(text) = CString::new(text) else { return Self::NULL };
        let mut arguments = vec![Some(pg_sys::Datum::from(text.as_ptr()))];
        arguments.extend(more);
        // SAFETY: an input function takes a C string and, for numeric, a type oid and a typmod; it copies the text.
        Self(unsafe { pgrx::direct_function_call_as_datum(input, &arguments) })
    }

    pub fn timestamp(at: Timestamp) -> Self {
        Self(Some(pg_sys::Datum::from(at)))
    }
}

/// An `interval` that a caller gave.
#[derive(Clone, Copy)]
pub struct Interval(pg_sys::Datum);

impl Interval {
    pub fn new(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    pub fn value(&self) -> Value {
        Value(Some(self.0))
    }

    /// Its length, where a day has 24 hours and a month 30 days; `None` when no number holds it.
    pub fn microseconds(&self) -> Option<i64> {
        const DAY: i64 = 86_400_000_000;
        // SAFETY: the datum of an interval points to one, for as long as the call lasts.
        let interval = unsafe { *self.0.cast_mut_ptr::<pg_sys::Interval>() };
        let days = i64::from(interval.month).checked_mul(30)?.checked_add(i64::from(interval.day))?;
        days.checked_mul(DAY)?.checked_add(interval.time)
    }
}

/// A `jsonb` that a caller gave and that is within its bounds, or the text of one.
pub enum Json {
    Stored(Document),
    Text(String),
}

impl Json {
    pub fn value(&self) -> Value {
        match self {
            Self::Stored(document) => Value(Some(document.datum())),
            Self::Text(text) => Value::jsonb(text),
        }
    }

    /// Its normalised text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Stored(document) => Cow::Owned(output(pg_sys::jsonb_out, document.datum())),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }

    /// Whether it is an object; `None` for a JSON null.
    pub fn is_object(&self) -> Option<bool> {
        match self {
            Self::Stored(document) => document.is_object(),
            Self::Text(text) if text == "null" => None,
            Self::Text(text) => Some(text.starts_with('{')),
        }
    }
}

/// A `jsonb` as it came, unread.
pub struct GivenJson(pg_sys::Datum);

impl GivenJson {
    /// One that the SQL signature says is a jsonb, or that was made here.
    pub fn new(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    pub fn datum(&self) -> pg_sys::Datum {
        self.0
    }

    pub fn value(&self) -> Value {
        Value(Some(self.0))
    }

    pub fn is_within(&self, bounds: &Bounds) -> bool {
        // SAFETY: it is a jsonb.
        unsafe { Document::within(self.0, bounds) }.is_ok()
    }

    pub fn is_object_within(&self, bounds: &Bounds) -> bool {
        // SAFETY: it is a jsonb.
        unsafe { Document::within(self.0, bounds) }.is_ok_and(|document| document.is_object() == Some(true))
    }

    /// Takes it when it is within its bounds, or says which one it exceeds.
    pub fn within(self, bounds: &Bounds) -> Result<Json, Excess> {
        // SAFETY: it is a jsonb.
        unsafe { Document::within(self.0, bounds) }.map(Json::Stored)
    }
}

impl From<Option<&Json>> for Value {
    fn from(json: Option<&Json>) -> Self {
        json.map_or(Self::NULL, Json::value)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self(id.into_datum())
    }
}

impl From<Vec<Uuid>> for Value {
    fn from(ids: Vec<Uuid>) -> Self {
        Self(ids.into_datum())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.into_datum())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self(Some(pg_sys::Datum::from(number)))
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self(Some(pg_sys::Datum::from(number)))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self(Some(pg_sys::Datum::from(truth)))
    }
}

impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::NULL, Self::from)
    }
}

/// The bytes of a text, however it is stored; `None` for NULL.
pub fn stored_bytes(text: Value) -> Option<usize> {
    // SAFETY: the SQL signature says that it is a text. Its size is read, and with it that of its header.
    text.0.map(|datum| unsafe { pg_sys::toast_raw_datum_size(datum) } - pg_sys::VARHDRSZ)
}

/// What a type's output function prints of a datum.
pub fn output(function: unsafe fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum, datum: pg_sys::Datum) -> String {
    // SAFETY: an output function takes the datum of its type and gives a palloc'd C string, freed once it is copied.
    unsafe {
        let Some(printed) = pgrx::direct_function_call_as_datum(function, &[Some(datum)]) else {
            return String::new();
        };
        let printed = printed.cast_mut_ptr::<std::ffi::c_char>();
        let text = CStr::from_ptr(printed).to_string_lossy().into_owned();
        pg_sys::pfree(printed.cast());
        text
    }
}
