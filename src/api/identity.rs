//! The caller, and the calendar.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::require_service_role_to;
use crate::arguments;
use crate::error::Error;
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::identity::Caller;
use crate::pg::value::Value;
use crate::pg::zone::{PostgresZone, is_iana_name};
use crate::pg::{from_unix_seconds, lock, spi, to_unix_seconds};
use crate::tenancy::access;
use tollgate_core::period::{self, Period};

signatures! {
    PeriodBounds = period_bounds(p_period, p_time_zone, p_at);
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
fn period_bounds(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use PeriodBounds::*;

    let call = Call::<PeriodBounds>::new(fcinfo);
    let bounds = || {
        let name = arguments::required(call.text(p_period), "p_period")?;
        let period = Period::parse(&name)
            .ok_or_else(|| Error::invalid(format!("unknown period \"{}\"", arguments::shown(&name))))?;
        let zone = arguments::required(call.text(p_time_zone), "p_time_zone")?;
        let at = arguments::required(call.timestamp(p_at), "p_at")?;
        if at == i64::MIN || at == i64::MAX {
            return Err(Error::invalid("p_at must be finite"));
        }
        Ok(period::bounds(period, &PostgresZone::named(&zone)?, to_unix_seconds(at)))
    };
    let bounds = bounds().unwrap_or_else(|error| error.raise());
    let moment = |seconds: Option<i64>| seconds.map_or(Value::NULL, |at| Value::timestamp(from_unix_seconds(at)));
    call.row(&[moment(bounds.start), moment(bounds.end)])
}
