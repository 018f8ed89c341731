//! The native functions. Their bodies only translate: arguments in, one kernel, columns out. The SQL signatures that
//! belong to them are in `sql/schema/`, in the same order of columns.

mod admission;
mod check;
mod estimate;
mod events;
mod identity;
mod price_list;
mod record;
mod reserve;
mod summary;
mod tenancy;

use crate::pg::value::Value;
use crate::quota::figures::Figures;

/// A column of nano-dollars as US dollars, where there is a quota to tell about.
fn usd(figures: Option<&Figures>, pick: fn(&Figures) -> Option<i64>) -> Value {
    figures.and_then(pick).map_or(Value::NULL, Value::usd)
}

/// The percentage in use.
fn usage_percentage(figures: Option<&Figures>) -> Value {
    figures.and_then(|figures| figures.usage).map_or(Value::NULL, Value::hundredths)
}
