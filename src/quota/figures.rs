//! What is told of a quota: its figures, and why it refuses.

use super::definitions::TenantState;
use super::{Payer, QuotaUsage};
use crate::pg::{Timestamp, clock_timestamp, from_unix_seconds, nil};
use tollgate_core::decision::{Quota, Spending, Status, Verdict};
use tollgate_core::money::usd_from_nanos;

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
        let (spent, held) = quota.shown();
        Self {
            limit: quota.limit,
            spent: Some(spent),
            held: Some(held),
            remaining: quota.remaining().map(|nanos| nanos.max(0)),
            usage: quota.limit.map(|limit| percentage(quota.used(), limit)),
            period: quota.period.as_str(),
            period_start: quota.bounds.start.map(from_unix_seconds),
            period_end: quota.bounds.end.map(from_unix_seconds),
        }
    }

    /// What a user may know of a quota that counts all users: that it exists, and its calendar.
    pub fn masked(quota: &Quota) -> Self {
        Self { limit: None, spent: None, held: None, remaining: None, usage: None, ..Self::of(quota) }
    }
}

/// Hundredths of a percent, rounded half up; a limit of 0 is always used up, and what no number holds is the largest.
fn percentage(used: i64, limit: i64) -> i64 {
    if limit == 0 {
        return 10_000;
    }
    let hundredths = (i128::from(used) * 10_000 + i128::from(limit) / 2).div_euclid(i128::from(limit));
    i64::try_from(hundredths).unwrap_or(i64::MAX)
}

/// Whole seconds until the period ends, at least one.
pub fn retry_after(now: Timestamp, end: Timestamp) -> i32 {
    let seconds = end.saturating_sub(now).saturating_add(999_999).div_euclid(1_000_000);
    i32::try_from(seconds.max(1)).unwrap_or(i32::MAX)
}

/// How long to wait for room, in seconds, where a quota blocks; none for one that is suspended, or lasts for ever.
pub fn wait_for(blocking: Option<&Quota>) -> Option<i32> {
    let end = blocking.filter(|quota| !quota.suspended)?.bounds.end?;
    Some(retry_after(clock_timestamp(), from_unix_seconds(end)))
}

/// Why the verdict refuses, in one clause with the figures.
pub fn refusal(payer: Payer, usage: &QuotaUsage, verdict: Verdict, spending: impl Into<Spending>) -> String {
    if verdict.status == Status::NoTenant {
        return match &usage.tenant {
            TenantState::Deleted(at) => format!("the tenant was deleted at {at}"),
            _ => format!("no tenant {}", payer.tenant.unwrap_or_else(nil)),
        };
    }
    let Some(quota) = verdict.quota_index.map(|index| &usage.quotas[index]) else {
        return "no quota applies, and pg_tollgate.no_quota is deny".to_owned();
    };
    if quota.suspended {
        return format!("the {}'s {} quota is suspended", quota.scope.as_str(), quota.resource_type);
    }
    let limit = usd_from_nanos(quota.limit.unwrap_or_default().into());
    let (spent, held) = quota.shown();
    let held = match held {
        0 => String::new(),
        held => format!(" and {} USD held", usd_from_nanos(held.into())),
    };
    format!(
        "{} USD would exceed the {}'s {} limit of {limit} USD per {}: {} USD spent{held}",
        usd_from_nanos(spending.into().of(quota.scope).into()),
        quota.scope.as_str(),
        quota.resource_type,
        quota.period.as_str(),
        usd_from_nanos(spent.into()),
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
        assert_eq!((percentage(-5, 10), percentage(-1, 3)), (-5_000, -3_333));
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
