//! The native functions. Their bodies only translate: arguments in, one kernel, columns out. The SQL signatures that
//! belong to them are in `sql/schema/`, in the same order of columns.

mod admission;
mod check;
mod conversations;
mod estimate;
mod events;
mod identity;
mod people;
mod price_list;
mod record;
mod record_usage;
mod reserve;
mod summary;
mod tenancy;
mod triggers;

use crate::error::{Error, Result};
use crate::pg::identity::Caller;
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

/// Refuses all callers but the application's server, the owner, and superusers.
pub fn require_service_role_to(caller: &Caller, what: &str) -> Result<()> {
    if caller.serves_all_tenants() {
        return Ok(());
    }
    Err(Error::forbidden(format!("only service_role may {what}")))
}

/// The arguments of all native functions, as their modules name them.
#[cfg(any(test, feature = "pg_test"))]
pub fn signatures() -> impl Iterator<Item = &'static crate::pg::call::Signature> {
    [
        check::SIGNATURES,
        conversations::SIGNATURES,
        estimate::SIGNATURES,
        events::SIGNATURES,
        identity::SIGNATURES,
        people::SIGNATURES,
        price_list::SIGNATURES,
        record::SIGNATURES,
        record_usage::SIGNATURES,
        reserve::SIGNATURES,
        summary::SIGNATURES,
        tenancy::SIGNATURES,
    ]
    .into_iter()
    .flatten()
}
