//! The native functions. Their bodies only translate: arguments in, one kernel, columns out. The SQL signatures that
//! belong to them are in `sql/schema/`, in the same order of columns.

mod admission;
mod check;
mod estimate;
mod identity;
mod record;
mod summary;

use crate::look::Figures;
use crate::pg::value::Value;

/// The figures' columns where there is no quota to tell about.
fn figure(figures: Option<&Figures>, pick: fn(&Figures) -> Option<&String>) -> Value {
    Value::decimal(figures.and_then(pick).map(String::as_str))
}
