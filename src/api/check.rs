//! Looking before spending.

use pgrx::{pg_extern, pg_sys};

use super::{usage_percentage, usd};
use crate::admission::check::{Question, cached_allowed, check};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::identity::Caller;
use crate::pg::nil;
use crate::pg::value::Value;
use crate::pg::{numeric, spi};
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

signatures! {
    CheckQuota = check_quota_before_operation | has_quota(
        p_tenant_id, p_resource_type, p_estimated_cost_usd, p_user_id
    );
}

fn question(call: Call<CheckQuota>) -> Question {
    use CheckQuota::*;

    Question {
        tenant_id: call.uuid(p_tenant_id),
        resource_type: call.text(p_resource_type),
        estimated_cost_usd: call.numeric(p_estimated_cost_usd),
        user_id: call.uuid(p_user_id),
    }
}

#[pg_extern(sql = false)]
fn check_quota_before_operation(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::<CheckQuota>::new(fcinfo);
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
    let call = Call::<CheckQuota>::new(fcinfo);
    cached_answer(call).unwrap_or_else(|| {
        call.kernel(|caller| {
            Ok(spi::session(|spi| check(spi, caller, question(call))).is_ok_and(|answer| answer.allowed))
        })
    })
}

/// The answer to a well-formed question, without a query and without the owner's rights.
fn cached_answer(call: Call<CheckQuota>) -> Option<bool> {
    use CheckQuota::*;

    let tenant = call.uuid(p_tenant_id).filter(|tenant| *tenant != nil())?;
    let resource = call.with_text(p_resource_type, Resource::parse)??;
    // SAFETY: the SQL signature says that it is a numeric.
    let amount = Picos::new(unsafe { numeric::picos(call.raw(p_estimated_cost_usd)?) }?).ok()?.ceil_nanos();
    let user = call.uuid(p_user_id).filter(|user| *user != nil());
    if user.is_some() != call.raw(p_user_id).is_some() {
        return None;
    }
    cached_allowed(&Caller::current(), tenant, resource, amount, user)
}
