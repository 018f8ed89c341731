//! Looking before spending.

use pgrx::{pg_extern, pg_sys};

use super::figure;
use crate::look::{Question, check};
use crate::pg::call::{Call, Reply};
use crate::pg::spi;
use crate::pg::value::Value;

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
        figure(figures, |figures| figures.limit_usd.as_ref()),
        figure(figures, |figures| figures.spent_usd.as_ref()),
        figure(figures, |figures| figures.held_usd.as_ref()),
        figure(figures, |figures| figures.remaining_usd.as_ref()),
        figure(figures, |figures| figures.usage_percentage.as_ref()),
        moment(figures.and_then(|figures| figures.period_start)),
        moment(figures.and_then(|figures| figures.period_end)),
        answer.retry_after_seconds.into(),
        answer.reason.as_deref().into(),
        // Only what is committed is in these figures, and there are no holds, so nothing in them will go away by itself.
        false.into(),
    ])
}

/// Inside a policy one row must not abort the query, so every refusal, a foreign tenant's too, is `false`.
#[pg_extern(sql = false)]
fn has_quota(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    call.kernel(|caller| Ok(spi::session(|spi| check(spi, caller, question(call))).is_ok_and(|answer| answer.allowed)))
}
