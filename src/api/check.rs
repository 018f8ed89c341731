//! Looking before spending.

use pgrx::{pg_extern, pg_sys};

use super::{usage_percentage, usd};
use crate::admission::check::{Question, cached_allowed, check};
use crate::pg::call::{Call, Reply};
use crate::pg::identity::Caller;
use crate::pg::nil;
use crate::pg::value::Value;
use crate::pg::{numeric, spi};
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

fn question(call: Call) -> Question {
    Question {
        tenant_id: call.uuid(0),
        resource_type: call.text(1),
        estimated_cost_usd: call.numeric(2),
        user_id: call.uuid(3),
    }
}

#[pg_extern(sql = false)]
fn check_quota_before_operation(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let answer = call.kernel(|caller| spi::session(|spi| check(spi, caller, question(call))));
    let figures = answer.figures.as_ref();
    let moment = |at: Option<i64>| at.map_or(Value::NULL, Value::timestamp);
    call.row(&[
        answer.allowed.into(),
        answer.status.as_str().into(),
        answer.blocked_scope.into(),
        answer.blocked_resource_type.into(),
        usd(figures, |figures| figures.limit),
        usd(figures, |figures| figures.spent),
        usd(figures, |figures| figures.held),
        usd(figures, |figures| figures.remaining),
        usage_percentage(figures),
        moment(figures.and_then(|figures| figures.period_start)),
        moment(figures.and_then(|figures| figures.period_end)),
        answer.retry_after_seconds.into(),
        answer.reason.as_deref().into(),
        answer.retryable.into(),
    ])
}

/// Inside a policy one row must not abort the query, so every refusal, a foreign tenant's too, is `false`.
#[pg_extern(sql = false)]
fn has_quota(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    cached_answer(call).unwrap_or_else(|| {
        call.kernel(|caller| {
            Ok(spi::session(|spi| check(spi, caller, question(call))).is_ok_and(|answer| answer.allowed))
        })
    })
}

/// The answer to a well-formed question, without a query and without the owner's rights.
fn cached_answer(call: Call) -> Option<bool> {
    let tenant = call.uuid(0).filter(|tenant| *tenant != nil())?;
    let resource = call.with_text(1, Resource::parse)??;
    // SAFETY: the SQL signature says that it is a numeric.
    let amount = Picos::new(unsafe { numeric::picos(call.raw(2)?) }?).ok()?.ceil_nanos();
    let user = call.uuid(3).filter(|user| *user != nil());
    if user.is_some() != call.raw(3).is_some() {
        return None;
    }
    cached_allowed(&Caller::current(), tenant, resource, amount, user)
}
