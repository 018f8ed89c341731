//! Reservations and corrections: for `service_role` alone, like everything that moves money.

use pgrx::{pg_extern, pg_sys};

use super::record::{reported_quota, require_service_role};
use super::usd;
use crate::arguments;
use crate::error::{Error, Result};
use crate::ledger::extend::{self, Extension};
use crate::ledger::reserve::{self, Request};
use crate::ledger::{State, corrections, reprice, settle};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::spi;
use crate::pg::value::Value;
use crate::quota::figures::{Figures, wait_for};
use tollgate_core::money::{Picos, PicosDifference};

signatures! {
    ReserveQuota = reserve_quota(
        p_tenant_id, p_resource_type, p_amount_usd, p_request_id, p_user_id, p_ttl, p_metadata, p_log_denial
    );
    CommitReservation = commit_reservation(p_reservation_id, p_actual_cost_usd, p_overrun, p_tenant_id);
    ReleaseReservation = release_reservation(p_reservation_id, p_reason, p_tenant_id);
    ExtendReservation = extend_reservation(p_reservation_id, p_ttl, p_additional_usd, p_request_id, p_tenant_id);
    ExpireReservations = expire_reservations(p_limit);
    RefundCost = refund_cost(p_cost_record_id, p_amount_usd, p_request_id, p_reason, p_tenant_id);
    AdjustQuota = adjust_quota(p_quota_id, p_delta_usd, p_request_id, p_reason, p_tenant_id);
    Reprice = reprice(p_from, p_to, p_dry_run, p_limit, p_cursor);
}

/// Records that one call corrects at most: each holds a lock until the transaction ends.
const MAX_REPRICED: i64 = 5_000;

fn amount(text: Option<String>, name: &str) -> Result<Picos> {
    arguments::amount(&arguments::required(text, name)?, name)
}

#[pg_extern(sql = false)]
fn reserve_quota(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use ReserveQuota::*;

    let call = Call::<ReserveQuota>::new(fcinfo);
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let ttl = arguments::required(call.interval(p_ttl), "p_ttl")?;
        let request = Request {
            tenant: arguments::tenant(call.uuid(p_tenant_id))?,
            resource: arguments::resource(call.text(p_resource_type))?,
            amount: amount(call.numeric(p_amount_usd), "p_amount_usd")?,
            request_id: arguments::required_text(call.text(p_request_id), "p_request_id")?,
            user: arguments::id(call.uuid(p_user_id), "p_user_id")?,
            lasts: reserve::time_to_live(&ttl)?,
            ttl,
            metadata: arguments::json(call.jsonb(p_metadata), "p_metadata")?,
            log_denial: arguments::required(call.boolean(p_log_denial), "p_log_denial")?,
        };
        spi::session(|spi| reserve::reserve(spi, &request))
    });
    let blocking = outcome.blocking_quota();
    let figures = reported_quota(&outcome).map(Figures::of);
    let figures = figures.as_ref();
    call.row(&[
        outcome.recorded.into(),
        outcome.id.into(),
        if outcome.recorded { Value::decimal(outcome.cost_usd.as_deref()) } else { Value::NULL },
        outcome.expires_at.map_or(Value::NULL, Value::timestamp),
        outcome.quota_status.as_str().into(),
        blocking.map(|quota| quota.scope.as_str()).into(),
        blocking.map(|quota| quota.resource_type).into(),
        usd(figures, |figures| figures.limit),
        usd(figures, |figures| figures.spent),
        usd(figures, |figures| figures.remaining),
        figures.and_then(|figures| figures.period_end).map_or(Value::NULL, Value::timestamp),
        wait_for(blocking).into(),
        outcome.reason.as_deref().into(),
        outcome.replayed.into(),
        outcome.retryable.into(),
        outcome.state.map(State::as_str).into(),
    ])
}

#[pg_extern(sql = false)]
fn commit_reservation(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use CommitReservation::*;

    let call = Call::<CommitReservation>::new(fcinfo);
    let commit = call.kernel(|caller| {
        require_service_role(caller)?;
        let id = arguments::required(call.uuid(p_reservation_id), "p_reservation_id")?;
        let cost = amount(call.numeric(p_actual_cost_usd), "p_actual_cost_usd")?;
        let policy = arguments::required(call.text(p_overrun), "p_overrun")?;
        let reject = match policy.as_str() {
            "record" => false,
            "reject" => true,
            other => {
                return Err(Error::Invalid {
                    message: format!("unknown p_overrun \"{}\"", arguments::shown(other)),
                    hint: Some("record charges what it cost; reject refuses more than was reserved."),
                });
            }
        };
        let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        spi::session(|spi| settle::commit(spi, id, tenant, cost, reject))
    });
    call.row(&[
        commit.status.into(),
        Value::cost(commit.settled.charged),
        Value::cost(commit.settled.released),
        Value::cost(commit.settled.overrun),
        commit.settled.late.into(),
        commit.replayed.into(),
    ])
}

#[pg_extern(sql = false)]
fn release_reservation(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use ReleaseReservation::*;

    let call = Call::<ReleaseReservation>::new(fcinfo);
    let release = call.kernel(|caller| {
        require_service_role(caller)?;
        let id = arguments::required(call.uuid(p_reservation_id), "p_reservation_id")?;
        let reason = arguments::text(call.text(p_reason), "p_reason")?;
        let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        spi::session(|spi| settle::release(spi, id, tenant, reason.as_deref()))
    });
    call.row(&[release.status.into(), Value::cost(release.released), release.replayed.into()])
}

#[pg_extern(sql = false)]
fn extend_reservation(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use ExtendReservation::*;

    let call = Call::<ExtendReservation>::new(fcinfo);
    let extended = call.kernel(|caller| {
        require_service_role(caller)?;
        let id = arguments::required(call.uuid(p_reservation_id), "p_reservation_id")?;
        let asked = Extension {
            ttl: call.interval(p_ttl),
            additional: call
                .numeric(p_additional_usd)
                .map(|text| arguments::amount(&text, "p_additional_usd"))
                .transpose()?,
            request_id: arguments::text(call.text(p_request_id), "p_request_id")?,
        };
        if asked.ttl.is_none() && asked.additional.is_none() {
            return Err(Error::invalid("p_ttl or p_additional_usd must be given"));
        }
        let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        spi::session(|spi| extend::extend(spi, id, tenant, &asked))
    });
    call.row(&[
        extended.allowed.into(),
        Value::cost(extended.reserved),
        Value::timestamp(extended.expires_at),
        extended.status.as_str().into(),
        extended.reason.as_deref().into(),
        extended.retryable.into(),
        extended.replayed.into(),
    ])
}

#[pg_extern(sql = false)]
fn expire_reservations(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    use ExpireReservations::*;

    let call = Call::<ExpireReservations>::new(fcinfo);
    let most = call.bigint(p_limit).unwrap_or(0);
    call.kernel(|caller| {
        require_service_role(caller)?;
        spi::session(|spi| settle::expire(spi, most))
    })
}

#[pg_extern(sql = false)]
fn refund_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use RefundCost::*;

    let call = Call::<RefundCost>::new(fcinfo);
    let (correction, refunded) = call.kernel(|caller| {
        require_service_role(caller)?;
        let record = arguments::required(call.uuid(p_cost_record_id), "p_cost_record_id")?;
        let refunded = amount(call.numeric(p_amount_usd), "p_amount_usd")?;
        let request_id = arguments::required_text(call.text(p_request_id), "p_request_id")?;
        let reason = arguments::text(call.text(p_reason), "p_reason")?;
        let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        let refund =
            |spi: &spi::Session| corrections::refund(spi, record, tenant, refunded, &request_id, reason.as_deref());
        Ok((spi::session(refund)?, refunded))
    });
    call.row(&[correction.id.into(), Value::cost(refunded), correction.replayed.into()])
}

#[pg_extern(sql = false)]
fn adjust_quota(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use AdjustQuota::*;

    let call = Call::<AdjustQuota>::new(fcinfo);
    let adjustment = call.kernel(|caller| {
        require_service_role(caller)?;
        let quota = arguments::required(call.uuid(p_quota_id), "p_quota_id")?;
        let text = arguments::required(call.numeric(p_delta_usd), "p_delta_usd")?;
        let delta = PicosDifference::parse(&text).map_err(|error| arguments::out_of_range("p_delta_usd", error))?;
        let request_id = arguments::required_text(call.text(p_request_id), "p_request_id")?;
        let reason = arguments::text(call.text(p_reason), "p_reason")?;
        let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        spi::session(|spi| corrections::adjust(spi, quota, tenant, delta, &request_id, reason.as_deref()))
    });
    call.row(&[adjustment.correction.id.into(), Value::usd(adjustment.spent), adjustment.correction.replayed.into()])
}

#[pg_extern(sql = false)]
fn reprice(fcinfo: pg_sys::FunctionCallInfo) {
    use Reprice::*;

    let call = Call::<Reprice>::new(fcinfo);
    let reprice::Repriced { sums, next } = call.kernel(|caller| {
        require_service_role(caller)?;
        let from = arguments::required(call.timestamp(p_from), "p_from")?;
        let to = arguments::required(call.timestamp(p_to), "p_to")?;
        if to <= from {
            return Err(Error::invalid("p_to must be after p_from"));
        }
        let dry_run = arguments::required(call.boolean(p_dry_run), "p_dry_run")?;
        let limit = match arguments::required(call.bigint(p_limit), "p_limit")? {
            limit @ 1..=MAX_REPRICED => usize::try_from(limit).unwrap_or(0),
            _ => return Err(Error::invalid(format!("p_limit must be between 1 and {MAX_REPRICED}"))),
        };
        let after = call.text(p_cursor).map(|text| {
            reprice::Place::parse(&text).ok_or_else(|| Error::invalid("p_cursor must be one that reprice gave"))
        });
        reprice::reprice(from, to, (!dry_run).then_some(limit), after.transpose()?)
    });
    let cursor = Value::from(next.map(|place| place.text()).as_deref());
    // Where nothing was found and more is to be looked at, there is a row for the cursor alone.
    let nothing = (sums.is_empty() && next.is_some()).then(|| {
        let [none, zero] = [Value::NULL, Value::whole(0)];
        vec![none, none, none, none, Value::from(0_i64), zero, zero, Value::from(0_i64), zero, cursor]
    });
    let usd = |picos: i128| Value::numeric(&PicosDifference::new(picos).to_string());
    let rows = sums.into_iter().map(|((tenant, resource, provider, name), sum)| {
        vec![
            tenant.into(),
            resource.as_str().into(),
            provider.as_str().into(),
            name.as_str().into(),
            sum.records.into(),
            usd(sum.before),
            usd(sum.after),
            sum.adjusted.into(),
            usd(sum.adjustment),
            cursor,
        ]
    });
    call.rows(rows.chain(nothing));
}
