//! Looking before spending: advisory, read-only, in the snapshot of the asking statement.

use std::cell::RefCell;

use pgrx::Uuid;

use crate::admission::{cached_quota_usage, quota_usage};
use crate::arguments;
use crate::error::Result;
use crate::pg;
use crate::pg::identity::Caller;
use crate::pg::invalidation::handle_messages;
use crate::pg::spi::{Session, Snapshot};
use crate::quota::Payer;
use crate::quota::figures::{Figures, refusal, wait_for};
use crate::settings;
use crate::tenancy::access::{authorise, cached_may_ask};
use tollgate_core::decision::{Mode, Quota, Resource, Scope, Status, judge};

/// The arguments of the check functions, as they came; the amount as decimal text.
pub struct Question {
    pub tenant_id: Option<Uuid>,
    pub resource_type: Option<String>,
    pub estimated_cost_usd: Option<String>,
    pub user_id: Option<Uuid>,
}

/// The answer of `check_quota_before_operation`.
pub struct Answer {
    pub allowed: bool,
    pub status: Status,
    pub blocked_scope: Option<&'static str>,
    pub blocked_resource_type: Option<&'static str>,
    pub figures: Option<Figures>,
    pub retry_after_seconds: Option<i32>,
    pub reason: Option<String>,
    /// Refused, and nothing but holds and transactions in flight is in the way.
    pub retryable: bool,
}

/// Whether the amount could be spent now. Everything that is asked is checked before anything is told.
pub fn check(spi: &Session, caller: &Caller, question: Question) -> Result<Answer> {
    let tenant = arguments::tenant(question.tenant_id)?;
    let resource = arguments::resource(question.resource_type)?;
    let amount = arguments::required(question.estimated_cost_usd, "p_estimated_cost_usd")?;
    let amount = arguments::amount(&amount, "p_estimated_cost_usd")?.ceil_nanos();
    let user = arguments::id(question.user_id, "p_user_id")?;
    authorise(caller, tenant, user)?;
    let sees_platform = caller.serves_all_tenants();

    let now = pg::clock_timestamp();
    let payer = Payer { tenant: Some(tenant), user, resource };
    let mut usage = quota_usage(spi, payer, now, Snapshot::Statement)?;
    let verdict = usage.decide(amount, true);
    let verdict = if verdict.allowed && !sees_platform {
        // A user is told about their own quota where there is one. They may not know the figures of the platform's.
        let quotas = &mut usage.quotas;
        quotas.sort_by_key(|quota| quota.scope == Scope::Platform);
        let own = quotas.partition_point(|quota| quota.scope != Scope::Platform);
        let seen = quotas[..own].iter().any(|quota| quota.mode != Mode::Shadow);
        if seen { judge(&quotas[..own], amount, true) } else { judge(quotas, amount, true) }
    } else {
        verdict
    };

    let told = verdict.quota_index.map(|index| &usage.quotas[index]);
    let masked = told.is_some_and(|quota| quota.scope == Scope::Platform) && !sees_platform;
    let blocked = told.filter(|_| !verdict.allowed);
    Ok(Answer {
        allowed: verdict.allowed,
        status: if masked && verdict.allowed { Status::Ok } else { verdict.status },
        blocked_scope: blocked.map(|quota| quota.scope.as_str()),
        blocked_resource_type: blocked.map(|quota| quota.resource_type),
        figures: told.map(|quota| if masked { Figures::masked(quota) } else { Figures::of(quota) }),
        retry_after_seconds: wait_for(blocked),
        reason: settings::with_enforcement(if verdict.allowed {
            None
        } else if masked {
            Some("the platform's quota leaves no room for this".to_owned())
        } else {
            Some(refusal(payer, &usage, verdict, amount))
        }),
        retryable: verdict.retryable,
    })
}

thread_local! {
    /// Figures of one question, to be written over by the next.
    static FIGURES: RefCell<Vec<Quota>> = const { RefCell::new(Vec::new()) };
}

/// Whether the amount (nano-dollars) fits now, answered from memory: the caller, their membership, the definitions and
/// the counters are all cached. `None` sends the question the long way, which fills the caches.
pub fn cached_allowed(
    caller: &Caller,
    tenant: Uuid,
    resource: Resource,
    amount: i64,
    user: Option<Uuid>,
) -> Option<bool> {
    handle_messages();
    if !cached_may_ask(caller, tenant, user)? {
        return Some(false);
    }
    let payer = Payer { tenant: Some(tenant), user, resource };
    FIGURES.with_borrow_mut(|quotas| {
        quotas.clear();
        cached_quota_usage(payer, pg::clock_timestamp(), quotas)
            .then(|| judge(quotas, amount, settings::allow_without_quota()).allowed)
    })
}
