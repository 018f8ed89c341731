//! The rules of `pg_tollgate` that need no server: amounts, calendars, prices, which models a tenant may use, and whether a
//! charge fits its quotas.
//!
//! Nothing in here knows Postgres, reads a clock, uses a float or panics: the lints of this crate see to it. Callers give
//! the moment and the time zone ([`period::Zone`]).

#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods)]

pub mod decimal;
pub mod decision;
pub mod json;
pub mod money;
pub mod period;
pub mod policy;
pub mod pricing;
pub mod thresholds;
pub mod usage;
