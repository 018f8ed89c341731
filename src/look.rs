//! Looking before spending: advisory, read-only, in the snapshot of the asking statement.

use std::cell::RefCell;

use pgrx::Uuid;

use crate::error::Result;
use crate::ledger::input;
use crate::pg::identity::Caller;
use crate::pg::invalidation::current_generation;
use crate::pg::spi::{Look, Session};
use crate::pg::{self, Timestamp, from_unix_seconds};
use crate::quota::{Subject, standing, standing_at_hand};
use crate::settings;
use crate::tenants::{authorise, may_ask_at_hand};
use tollgate_core::decision::{Mode, Quota, Resource, Scope, Status, Verdict, judge};
use tollgate_core::money::usd_from_nanos;

/// The arguments of the check functions, as they came; the amount as decimal text.
pub struct Question {
    pub tenant_id: Option<Uuid>,
    pub resource_type: Option<String>,
    pub estimated_cost_usd: Option<String>,
    pub user_id: Option<Uuid>,
}

/// The figures of one quota, in nano-dollars.
pub struct Figures {
    pub limit: Option<i64>,
    pub spent: Option<i64>,
    pub held: Option<i64>,
    /// Never below zero.
    pub remaining: Option<i64>,
    /// Percent of the limit that is spent or held, in hundredths.
    pub usage: Option<i64>,
    pub period: &'static str,
    pub period_start: Option<Timestamp>,
    pub period_end: Option<Timestamp>,
}

impl Figures {
    pub fn of(quota: &Quota) -> Self {
        Self {
            limit: quota.limit,
            spent: Some(quota.spent),
            held: Some(quota.held),
            remaining: quota.remaining().map(|nanos| nanos.max(0)),
            usage: quota.limit.map(|limit| percentage(quota.used(), limit)),
            period: quota.period.as_str(),
            period_start: quota.bounds.start.map(from_unix_seconds),
            period_end: quota.bounds.end.map(from_unix_seconds),
        }
    }

    /// What a user may know of a quota that counts everybody: that it exists, and its calendar.
    fn masked(quota: &Quota) -> Self {
        Self { limit: None, spent: None, held: None, remaining: None, usage: None, ..Self::of(quota) }
    }
}

/// Hundredths of a percent, rounded half up; a limit of 0 is always used up, and what no number holds is the largest.
fn percentage(used: i64, limit: i64) -> i64 {
    if limit == 0 {
        return 10_000;
    }
    let hundredths = (i128::from(used) * 10_000 + i128::from(limit) / 2) / i128::from(limit);
    i64::try_from(hundredths).unwrap_or(i64::MAX)
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
    let tenant = input::tenant(question.tenant_id)?;
    let resource = input::resource(question.resource_type)?;
    let amount = input::required(question.estimated_cost_usd, "p_estimated_cost_usd")?;
    let amount = input::amount(&amount, "p_estimated_cost_usd")?.ceil_nanos();
    let user = input::id(question.user_id, "p_user_id")?;
    authorise(caller, tenant, user)?;
    let sees_platform = caller.serves_all_tenants();

    let now = pg::clock_timestamp();
    let mut quotas = standing(spi, Subject { tenant: Some(tenant), user, resource }, now, Look::Statement)?.quotas;
    let verdict = judge(&quotas, amount, settings::allow_without_quota());
    let verdict = if verdict.allowed && !sees_platform {
        // A user is told about a quota of his own where there is one: of the platform's he may not know the figures.
        quotas.sort_by_key(|quota| quota.scope == Scope::Platform);
        let own = quotas.partition_point(|quota| quota.scope != Scope::Platform);
        let seen = quotas[..own].iter().any(|quota| quota.mode != Mode::Shadow);
        if seen { judge(&quotas[..own], amount, true) } else { judge(&quotas, amount, true) }
    } else {
        verdict
    };

    let told = verdict.subject.map(|index| &quotas[index]);
    let masked = told.is_some_and(|quota| quota.scope == Scope::Platform) && !sees_platform;
    let blocked = told.filter(|_| !verdict.allowed);
    Ok(Answer {
        allowed: verdict.allowed,
        status: if masked && verdict.allowed { Status::Ok } else { verdict.status },
        blocked_scope: blocked.map(|quota| quota.scope.as_str()),
        blocked_resource_type: blocked.map(|quota| quota.resource_type),
        figures: told.map(|quota| if masked { Figures::masked(quota) } else { Figures::of(quota) }),
        retry_after_seconds: blocked
            .filter(|quota| !quota.suspended)
            .and_then(|quota| quota.bounds.end)
            .map(|end| retry_after(now, from_unix_seconds(end))),
        reason: if verdict.allowed {
            None
        } else if masked {
            Some("the platform's quota leaves no room for this".to_owned())
        } else {
            Some(refusal(&quotas, verdict, amount))
        },
        retryable: verdict.retryable,
    })
}

thread_local! {
    /// Figures of one question, to be written over by the next.
    static FIGURES: RefCell<Vec<Quota>> = const { RefCell::new(Vec::new()) };
}

/// Whether the amount (nano-dollars) could be spent now, when everything that decides it is at hand: who asks, his
/// membership, the definitions and the counters. `None` sends the question the long way, which puts it there.
pub fn allowed_at_hand(
    caller: &Caller,
    tenant: Uuid,
    resource: Resource,
    amount: i64,
    user: Option<Uuid>,
) -> Option<bool> {
    current_generation();
    if !may_ask_at_hand(caller, tenant, user)? {
        return Some(false);
    }
    let subject = Subject { tenant: Some(tenant), user, resource };
    FIGURES.with_borrow_mut(|quotas| {
        quotas.clear();
        standing_at_hand(subject, pg::clock_timestamp(), quotas)
            .then(|| judge(quotas, amount, settings::allow_without_quota()).allowed)
    })
}

/// Whole seconds until the period ends, at least one.
pub fn retry_after(now: Timestamp, end: Timestamp) -> i32 {
    let seconds = end.saturating_sub(now).saturating_add(999_999).div_euclid(1_000_000);
    i32::try_from(seconds.max(1)).unwrap_or(i32::MAX)
}

/// Why the verdict refuses, in one clause with the figures.
pub fn refusal(quotas: &[Quota], verdict: Verdict, amount: i64) -> String {
    let Some(quota) = verdict.subject.map(|index| &quotas[index]) else {
        return "no quota applies, and pg_tollgate.no_quota is deny".to_owned();
    };
    if quota.suspended {
        return format!("the {}'s {} quota is suspended", quota.scope.as_str(), quota.resource_type);
    }
    let limit = usd_from_nanos(quota.limit.unwrap_or_default().into());
    let held = match quota.held {
        0 => String::new(),
        held => format!(" and {} USD held", usd_from_nanos(held.into())),
    };
    format!(
        "{} USD would exceed the {}'s {} limit of {limit} USD per {}: {} USD spent{held}",
        usd_from_nanos(amount.into()),
        quota.scope.as_str(),
        quota.resource_type,
        quota.period.as_str(),
        usd_from_nanos(quota.spent.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_two_places_and_a_zero_limit_is_used_up() {
        assert_eq!(percentage(0, 3), 0);
        assert_eq!(percentage(1, 3), 3_333);
        assert_eq!(percentage(2, 3), 6_667);
        assert_eq!(percentage(0, 0), 10_000);
        assert_eq!(percentage(i64::MAX, 1), i64::MAX);
    }

    #[test]
    fn the_wait_is_whole_seconds_and_never_zero() {
        assert_eq!(retry_after(0, 1), 1);
        assert_eq!(retry_after(0, 1_000_001), 2);
        assert_eq!(retry_after(5, 0), 1);
        assert_eq!(retry_after(0, i64::MAX), i32::MAX);
    }
}
