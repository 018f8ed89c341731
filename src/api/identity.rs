//! The caller, and the calendar.

use std::cell::RefCell;

use pgrx::{Uuid, pg_extern, pg_sys};

use super::require_service_role_to;
use crate::arguments;
use crate::error::{Error, Result};
use crate::ledger::under_way::UnderWay;
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::identity::Caller;
use crate::pg::value::Value;
use crate::pg::zone::{PostgresZone, is_iana_name};
use crate::pg::{Timestamp, from_unix_seconds, lock, spi, to_unix_seconds};
use crate::quota::span::Span;
use crate::tenancy::access;
use tollgate_core::period::{self, Bounds, Period};

signatures! {
    PeriodBounds = period_bounds(p_period, p_time_zone, p_at);
    PeriodParts = period_parts(p_period, p_time_zone, p_at);
}

#[pg_extern(sql = false)]
fn caller_sees_all() -> bool {
    Caller::current().reads_all_metrics()
}

#[pg_extern(sql = false)]
fn caller_user() -> Option<Uuid> {
    Caller::current().subject()
}

#[pg_extern(sql = false)]
fn caller_tenants(fcinfo: pg_sys::FunctionCallInfo) -> Vec<Uuid> {
    Call::without_arguments(fcinfo).kernel(|caller| Ok(access::of_caller(caller)?.to_vec()))
}

#[pg_extern(sql = false)]
fn caller_open_tenants(fcinfo: pg_sys::FunctionCallInfo) -> Vec<Uuid> {
    Call::without_arguments(fcinfo).kernel(access::open_to_caller)
}

#[pg_extern(sql = false)]
fn is_time_zone(name: &str) -> bool {
    is_iana_name(name)
}

#[pg_extern(sql = false)]
fn try_fold_lock(tenant: Uuid) -> bool {
    require_service_role_to(&Caller::current(), "fold").unwrap_or_else(|error| error.raise());
    let taken = lock::LockTarget::Fold(lock::key(tenant)).try_lock(lock::Strength::Exclusive);
    if taken {
        spi::note_fold();
    }
    taken
}

#[pg_extern(sql = false)]
fn try_corrections_lock(tenant: Uuid) -> bool {
    require_service_role_to(&Caller::current(), "change records").unwrap_or_else(|error| error.raise());
    !UnderWay::is_any() && lock::LockTarget::Corrections(lock::key(tenant)).try_lock(lock::Strength::Exclusive)
}

/// The moment that a period is asked for, in Unix seconds.
fn finite(at: Option<Timestamp>) -> Result<i64> {
    match arguments::required(at, "p_at")? {
        i64::MIN | i64::MAX => Err(Error::invalid("p_at must be finite")),
        at => Ok(to_unix_seconds(at)),
    }
}

#[pg_extern(sql = false)]
fn period_bounds(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use PeriodBounds::*;

    let call = Call::<PeriodBounds>::new(fcinfo);
    let bounds = || -> Result<Bounds> {
        let name = arguments::required(call.text(p_period), "p_period")?;
        let period = Period::parse(&name)
            .ok_or_else(|| Error::invalid(format!("unknown period \"{}\"", arguments::shown(&name))))?;
        let zone = arguments::required(call.text(p_time_zone), "p_time_zone")?;
        Ok(period::bounds(period, &PostgresZone::named(&zone)?, finite(call.timestamp(p_at))?))
    };
    let bounds = bounds().unwrap_or_else(|error| error.raise());
    let moment = |seconds: Option<i64>| seconds.map_or(Value::NULL, |at| Value::timestamp(from_unix_seconds(at)));
    call.row(&[moment(bounds.start), moment(bounds.end)])
}

thread_local! {
    /// The periods that were asked for last, as a view asks for the same few of each of its rows: period, time zone, parts.
    static PARTS: RefCell<Vec<(String, String, Bounds, Span)>> = const { RefCell::new(Vec::new()) };
}
/// As many as there are periods, in a handful of zones.
const MOST_PARTS: usize = 32;

#[pg_extern(sql = false)]
fn period_parts(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use PeriodParts::*;

    let call = Call::<PeriodParts>::new(fcinfo);
    let parts = || -> Result<(Bounds, Span)> {
        let name = arguments::required(call.text(p_period), "p_period")?;
        let zone = arguments::required(call.text(p_time_zone), "p_time_zone")?;
        let at = finite(call.timestamp(p_at))?;
        let kept = PARTS.with_borrow(|kept| {
            let mut fits =
                kept.iter().filter(|(period, of, bounds, _)| *period == name && *of == zone && bounds.contains(at));
            fits.next().map(|&(_, _, bounds, span)| (bounds, span))
        });
        if let Some(parts) = kept {
            return Ok(parts);
        }
        let period = Period::parse(&name)
            .ok_or_else(|| Error::invalid(format!("unknown period \"{}\"", arguments::shown(&name))))?;
        let known = if is_iana_name(&zone) { &zone } else { "UTC" };
        let bounds = period::bounds(period, &PostgresZone::named_or_utc(known)?, at);
        let span = Span::of(bounds);
        PARTS.with_borrow_mut(|kept| {
            kept.truncate(MOST_PARTS - 1);
            kept.insert(0, (name, zone, bounds, span));
        });
        Ok((bounds, span))
    };
    let (bounds, span) = parts().unwrap_or_else(|error| error.raise());
    let moment = |seconds: Option<i64>| seconds.map_or(Value::NULL, |at| Value::timestamp(from_unix_seconds(at)));
    let stretches = [span.start, span.first_day, span.first_month, span.last_month, span.last_day, span.end];
    let [start, first_day, first_month, last_month, last_day, end] = stretches.map(Value::timestamp);
    let (period_start, period_end) = (moment(bounds.start), moment(bounds.end));
    call.row(&[period_start, period_end, start, first_day, first_month, last_month, last_day, end])
}
