//! The decision: may this amount be spent, given what every quota in force has counted?
//!
//! Pure, and the one seam that both modes of admission share. A mode only answers what each quota has spent and holds,
//! and keeps that answer exact until the decision has taken effect. It then asks [`judge`].
//!
//! All amounts are nano-dollars (1e-9 USD). A charge was rounded up and a limit down before they came here.

use crate::period::{Bounds, Period};

/// The payer that a quota counts, from the most to the least specific. A refusal names the first that blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scope {
    User,
    Tenant,
    Platform,
}

impl Scope {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "user" => Some(Self::User),
            "tenant" => Some(Self::Tenant),
            "platform" => Some(Self::Platform),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Platform => "platform",
        }
    }
}

/// What an operation uses. A quota may count one resource or all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    Llm,
    E2b,
    /// Neither in particular: a correction that only quotas of all resources count.
    All,
}

impl Resource {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "llm" => Some(Self::Llm),
            "e2b" => Some(Self::E2b),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::E2b => "e2b",
            Self::All => ALL_RESOURCES,
        }
    }
}

/// The resource type of a quota that counts every resource.
pub const ALL_RESOURCES: &str = "all";

/// What happens above a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Refused.
    Hard,
    /// Allowed, with status `EXCEEDED`.
    Soft,
    /// Counted and shown in the views, and without any effect here.
    Shadow,
}

impl Mode {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "hard" => Some(Self::Hard),
            "soft" => Some(Self::Soft),
            "shadow" => Some(Self::Shadow),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::Shadow => "shadow",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    NoQuota,
    Ok,
    Warning,
    Exceeded,
    /// A quota that is suspended blocks.
    Suspended,
    /// No quota is in the way: there is no such tenant, or it was deleted.
    NoTenant,
    /// No quota is in the way: no price is known.
    Unpriced,
    /// No quota is in the way: the tenant's policy forbids the model.
    ModelDenied,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoQuota => "NO_QUOTA",
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Exceeded => "EXCEEDED",
            Self::Suspended => "SUSPENDED",
            Self::NoTenant => "NO_TENANT",
            Self::Unpriced => "UNPRICED",
            Self::ModelDenied => "MODEL_DENIED",
        }
    }
}

/// One quota in force, with what it has counted in the period of the operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quota {
    pub scope: Scope,
    /// What it counts: `llm`, `e2b` or `all`.
    pub resource_type: &'static str,
    pub mode: Mode,
    /// `None` meters without a limit; 0 blocks everything, free operations included.
    pub limit: Option<i64>,
    /// Blocks everything, whatever its limit and mode.
    pub suspended: bool,
    /// From here on the status is `WARNING`.
    pub warning: i64,
    pub period: Period,
    pub bounds: Bounds,
    pub spent: i64,
    /// Live holds.
    pub held: i64,
}

impl Quota {
    /// Counts every resource, not only that of the operation.
    pub fn counts_all(&self) -> bool {
        self.resource_type == ALL_RESOURCES
    }

    /// Spent and held; what no sum can hold counts as everything.
    pub fn used(&self) -> i64 {
        self.spent.saturating_add(self.held)
    }

    /// What is shown as spent and as held. No more is held than there is of both. A counter is read while others change
    /// it, and corrections may have given back more than the quota counts.
    pub fn shown(&self) -> (i64, i64) {
        let held = self.held.clamp(0, self.used().max(0));
        (self.used().saturating_sub(held), held)
    }

    /// What is left; below zero once the limit is overrun, `None` without a limit.
    pub fn remaining(&self) -> Option<i64> {
        self.limit.map(|limit| limit.saturating_sub(self.used()))
    }

    /// Whether it has a say.
    fn is_effective(&self) -> bool {
        self.mode != Mode::Shadow || self.suspended
    }

    /// Whether it refuses what does not fit.
    fn is_hard(&self) -> bool {
        self.mode == Mode::Hard || self.suspended
    }

    /// Whether the amount would fit if all that is held were given back.
    fn would_fit(&self, amount: i64) -> bool {
        match self.limit {
            _ if self.suspended => false,
            None => true,
            Some(0) => false,
            Some(limit) => self.spent.checked_add(amount).is_some_and(|total| total <= limit),
        }
    }

    pub fn fits(&self, amount: i64) -> bool {
        match self.limit {
            _ if self.suspended => false,
            None => true,
            Some(0) => false,
            Some(limit) => self
                .spent
                .checked_add(self.held)
                .and_then(|used| used.checked_add(amount))
                .is_some_and(|total| total <= limit),
        }
    }

    /// Whether it lets the amount be spent, if it is hard. What is free always is, unless nothing is to be spent at all.
    pub fn admits(&self, amount: i64) -> bool {
        self.fits(amount) || amount == 0 && !self.suspended && self.limit != Some(0)
    }

    /// The status once the amount is spent.
    pub fn status(&self, amount: i64) -> Status {
        if self.suspended {
            Status::Suspended
        } else if !self.fits(amount) {
            Status::Exceeded
        } else if self.limit.is_some() && self.used().saturating_add(amount) >= self.warning {
            Status::Warning
        } else {
            Status::Ok
        }
    }

    /// How much of the amount lies above the limit once it is spent.
    pub fn overrun(&self, amount: i64) -> i64 {
        match self.limit {
            Some(limit) => self.used().saturating_add(amount).saturating_sub(limit).clamp(0, amount.max(0)),
            None => 0,
        }
    }
}

/// The least amount that is a share, in 1e-12, of a limit; what no number holds is the largest.
pub fn share_of(limit: i64, share: i64) -> i64 {
    const WHOLE: i128 = 1_000_000_000_000;
    let amount = (i128::from(limit) * i128::from(share) + WHOLE - 1).div_euclid(WHOLE);
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// What an operation spends, in nano-dollars. What the provider bills for it may be another amount than what the tenant
/// pays, and the platform's quotas may count that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spending {
    pub paid: i64,
    /// As quotas of the platform count it.
    pub by_platform: i64,
}

impl From<i64> for Spending {
    fn from(amount: i64) -> Self {
        Self { paid: amount, by_platform: amount }
    }
}

impl Spending {
    /// What quotas of the scope count.
    pub fn of(self, scope: Scope) -> i64 {
        if scope == Scope::Platform { self.by_platform } else { self.paid }
    }
}

/// The answer for one amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub allowed: bool,
    pub status: Status,
    /// The quota to tell about: the one that blocks, or else the tightest. `None` without any.
    pub quota_index: Option<usize>,
    /// Refused, and nothing but live holds and transactions in flight is in the way.
    pub retryable: bool,
    /// The largest part of the amount above a limit, when it is spent all the same.
    pub overrun: i64,
}

/// Decides. Every hard quota must have room for the whole amount; `allow_without_quota` answers where there is none.
///
/// Of several quotas that block, the most specific is reported: user before tenant before platform, then the
/// operation's own resource before `all`. Among equals it is the one whose period ends last, for that is the one to
/// wait for. Of several that allow, it is the one with the worst status, then the one with the least left.
pub fn judge(quotas: &[Quota], spending: impl Into<Spending>, allow_without_quota: bool) -> Verdict {
    let spending = spending.into();
    let amount = |quota: &Quota| spending.of(quota.scope);
    let effective = || quotas.iter().enumerate().filter(|(_, quota)| quota.is_effective());
    let blocking = effective()
        .filter(|(_, quota)| quota.is_hard() && !quota.admits(amount(quota)))
        .min_by_key(|(_, quota)| (quota.scope, quota.counts_all(), -quota.bounds.end.unwrap_or(i64::MAX)));
    let overrun = effective().map(|(_, quota)| quota.overrun(amount(quota))).max().unwrap_or(0);
    if let Some((index, quota)) = blocking {
        let retryable = effective().all(|(_, quota)| !quota.is_hard() || quota.would_fit(amount(quota)));
        let status = if quota.suspended { Status::Suspended } else { Status::Exceeded };
        return Verdict { allowed: false, status, quota_index: Some(index), retryable, overrun };
    }
    let tightest = effective().min_by_key(|(_, quota)| {
        let remaining = quota.remaining().unwrap_or(i64::MAX);
        (std::cmp::Reverse(quota.status(amount(quota))), remaining, quota.scope, quota.counts_all())
    });
    match tightest {
        Some((index, quota)) => {
            let status = quota.status(amount(quota));
            Verdict { allowed: true, status, quota_index: Some(index), retryable: false, overrun }
        }
        None => Verdict {
            allowed: allow_without_quota,
            status: Status::NoQuota,
            quota_index: None,
            retryable: false,
            overrun: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(scope: Scope, limit: Option<i64>, spent: i64) -> Quota {
        Quota {
            scope,
            resource_type: "llm",
            mode: Mode::Hard,
            limit,
            suspended: false,
            warning: limit.map_or(i64::MAX, |limit| limit / 10 * 8),
            period: Period::Month,
            bounds: Bounds { start: Some(0), end: Some(2_678_400) },
            spent,
            held: 0,
        }
    }

    #[test]
    fn the_last_nano_fits_and_one_more_does_not() {
        let quotas = [quota(Scope::Tenant, Some(100), 60)];
        assert!(judge(&quotas, 40, true).allowed);
        let refused = judge(&quotas, 41, true);
        assert!(!refused.allowed);
        assert_eq!((refused.status, refused.overrun), (Status::Exceeded, 1));
    }

    #[test]
    fn the_platform_may_count_what_the_provider_bills() {
        let quotas = [quota(Scope::Platform, Some(100), 60), quota(Scope::Tenant, Some(200), 150)];
        let allowed = |paid, by_platform| judge(&quotas, Spending { paid, by_platform }, true).allowed;
        assert!(allowed(50, 40) && allowed(10, 40));
        assert!(!allowed(51, 40) && !allowed(40, 41));
        assert_eq!(judge(&quotas, Spending { paid: 10, by_platform: 45 }, true).overrun, 5);
    }

    #[test]
    fn holds_count() {
        let mut held = quota(Scope::Tenant, Some(100), 60);
        held.held = 30;
        assert!(!judge(&[held], 11, true).allowed);
    }

    #[test]
    fn a_sum_that_no_integer_holds_does_not_fit() {
        let mut full = quota(Scope::Tenant, Some(i64::MAX), 2);
        full.held = i64::MAX - 1;
        assert!(!judge(&[full], 1, true).allowed);
    }

    #[test]
    fn what_is_free_is_allowed_over_the_limit_and_the_status_says_so() {
        let verdict = judge(&[quota(Scope::Tenant, Some(100), 101)], 0, true);
        assert_eq!((verdict.allowed, verdict.status, verdict.overrun), (true, Status::Exceeded, 0));
        assert!(!judge(&[quota(Scope::Tenant, Some(100), 101)], 1, true).allowed);
    }

    #[test]
    fn of_equal_quotas_that_block_the_longest_wait_is_told() {
        let until = |end| Quota { bounds: Bounds { start: None, end }, ..quota(Scope::Tenant, Some(100), 100) };
        let told = |ends: [Option<i64>; 3]| judge(&ends.map(until), 1, true).quota_index;
        assert_eq!(told([Some(86_400), Some(2_678_400), Some(3_600)]), Some(1));
        assert_eq!(told([Some(86_400), Some(3_600), None]), Some(2));
    }

    #[test]
    fn a_refusal_is_retryable_when_holds_alone_are_in_the_way() {
        let mut held = quota(Scope::Tenant, Some(100), 60);
        held.held = 30;
        assert!(judge(std::slice::from_ref(&held), 40, true).retryable);
        assert!(!judge(std::slice::from_ref(&held), 41, true).retryable);
        assert!(!judge(std::slice::from_ref(&held), 10, true).retryable);
        assert!(!judge(&[held, quota(Scope::Platform, Some(50), 50)], 40, true).retryable);
    }

    #[test]
    fn a_limit_of_zero_blocks_even_what_is_free() {
        assert!(!judge(&[quota(Scope::Tenant, Some(0), 0)], 0, true).allowed);
    }

    #[test]
    fn no_limit_meters_and_never_blocks() {
        let verdict = judge(&[quota(Scope::Tenant, None, i64::MAX)], i64::MAX, false);
        assert_eq!((verdict.allowed, verdict.status), (true, Status::Ok));
    }

    #[test]
    fn without_any_quota_the_setting_decides() {
        assert_eq!(judge(&[], 1, true).status, Status::NoQuota);
        assert!(judge(&[], 1, true).allowed);
        assert!(!judge(&[], 1, false).allowed);
    }

    #[test]
    fn the_most_specific_of_several_refusals_is_told() {
        let mut all = quota(Scope::Tenant, Some(10), 10);
        all.resource_type = ALL_RESOURCES;
        let quotas = [quota(Scope::Platform, Some(1), 1), all, quota(Scope::Tenant, Some(9), 9)];
        assert_eq!(judge(&quotas, 1, true).quota_index, Some(2));
    }

    #[test]
    fn a_warning_is_told_before_a_smaller_remainder() {
        let quotas = [quota(Scope::Tenant, Some(100), 10), quota(Scope::User, Some(1000), 850)];
        let verdict = judge(&quotas, 1, true);
        assert_eq!((verdict.status, verdict.quota_index), (Status::Warning, Some(1)));
    }

    #[test]
    fn soft_allows_and_says_so_and_shadow_says_nothing() {
        let mut soft = quota(Scope::Tenant, Some(10), 10);
        soft.mode = Mode::Soft;
        let verdict = judge(std::slice::from_ref(&soft), 5, true);
        assert_eq!((verdict.allowed, verdict.status, verdict.overrun), (true, Status::Exceeded, 5));
        soft.mode = Mode::Shadow;
        assert_eq!(judge(&[soft], 5, true).status, Status::NoQuota);
    }

    #[test]
    fn a_suspended_quota_blocks_all_in_every_mode_and_is_nothing_to_wait_for() {
        for mode in [Mode::Hard, Mode::Soft, Mode::Shadow] {
            for limit in [None, Some(100)] {
                let suspended = Quota { suspended: true, mode, ..quota(Scope::Tenant, limit, 0) };
                let verdict = judge(&[suspended], 0, true);
                assert_eq!((verdict.allowed, verdict.status, verdict.retryable), (false, Status::Suspended, false));
            }
        }
    }

    #[test]
    fn a_share_of_a_limit_is_rounded_up() {
        assert_eq!(share_of(10, 800_000_000_000), 8);
        assert_eq!(share_of(11, 800_000_000_000), 9);
        assert_eq!(share_of(1, 1), 1);
        assert_eq!(share_of(i64::MAX, 10_000_000_000_000), i64::MAX);
    }

    #[test]
    fn names_are_those_of_the_tables() {
        let scopes = [(Scope::User, "user"), (Scope::Tenant, "tenant"), (Scope::Platform, "platform")];
        for (scope, name) in scopes {
            assert_eq!((scope.as_str(), Scope::parse(name)), (name, Some(scope)));
        }
        for (resource, name) in [(Resource::Llm, "llm"), (Resource::E2b, "e2b")] {
            assert_eq!((resource.as_str(), Resource::parse(name)), (name, Some(resource)));
        }
        // An operation uses one resource.
        assert_eq!((Resource::All.as_str(), Resource::parse("all")), ("all", None));
        for (mode, name) in [(Mode::Hard, "hard"), (Mode::Soft, "soft"), (Mode::Shadow, "shadow")] {
            assert_eq!((mode.as_str(), Mode::parse(name)), (name, Some(mode)));
        }
        assert_eq!((Scope::parse("User"), Mode::parse(""), Resource::parse("LLM")), (None, None, None));
        let statuses = [Status::NoQuota, Status::Ok, Status::Warning, Status::Exceeded, Status::ModelDenied];
        let names = ["NO_QUOTA", "OK", "WARNING", "EXCEEDED", "MODEL_DENIED"];
        assert_eq!(statuses.map(Status::as_str), names);
    }

    #[test]
    fn no_more_is_shown_as_held_than_there_is_of_both() {
        let shown = |spent, held| Quota { held, ..quota(Scope::Tenant, Some(100), spent) }.shown();
        assert_eq!([shown(5, 8), shown(5, 0)], [(5, 8), (5, 0)]);
        assert_eq!([shown(-5, 8), shown(-5, 3), shown(-5, 0)], [(0, 3), (-2, 0), (-5, 0)]);
        assert_eq!(shown(5, -1), (4, 0));
    }

    #[test]
    fn what_is_left_is_below_zero_once_the_limit_is_overrun() {
        let mut overrun = quota(Scope::Tenant, Some(100), 90);
        assert_eq!((overrun.used(), overrun.remaining()), (90, Some(10)));
        overrun.held = 30;
        assert_eq!((overrun.used(), overrun.remaining()), (120, Some(-20)));
        overrun.limit = None;
        assert_eq!(overrun.remaining(), None);
        overrun.held = i64::MAX;
        assert_eq!(overrun.used(), i64::MAX);
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        let scope = prop_oneof![Just(Scope::User), Just(Scope::Tenant), Just(Scope::Platform)];
        let mode = prop_oneof![3 => Just(Mode::Hard), 1 => Just(Mode::Soft), 1 => Just(Mode::Shadow)];
        let amount = || prop_oneof![4 => 0..20_i64, 1 => i64::MAX - 5..=i64::MAX];
        let limit = prop_oneof![1 => Just(None), 4 => (0..40_i64).prop_map(Some), 1 => (i64::MAX - 5..=i64::MAX).prop_map(Some)];
        let end = prop_oneof![1 => Just(None), 2 => (1..4_i64).prop_map(Some)];
        let more = (any::<bool>(), proptest::bool::weighted(0.1), 0..40_i64, end);
        (scope, mode, limit, amount(), amount(), more).prop_map(
            |(scope, mode, limit, spent, held, (counts_all, suspended, warning, end))| Quota {
                mode,
                held,
                suspended,
                warning,
                bounds: Bounds { start: None, end },
                resource_type: if counts_all { ALL_RESOURCES } else { "llm" },
                ..quota(scope, limit, spent)
            },
        )
    }

    /// The rules once more, in numbers that cannot overflow, and by sorting.
    fn expected(quotas: &[Quota], amount: i64, allow_without_quota: bool) -> Verdict {
        let wide = i128::from;
        let over = |quota: &Quota, with_held: bool| {
            let used = wide(quota.spent) + if with_held { wide(quota.held) } else { 0 } + wide(amount);
            quota.suspended || quota.limit.is_some_and(|limit| limit == 0 || used > wide(limit))
        };
        let speaks = |quota: &&(usize, &Quota)| quota.1.suspended || quota.1.mode != Mode::Shadow;
        let numbered: Vec<(usize, &Quota)> = quotas.iter().enumerate().collect();
        let speaking: Vec<(usize, &Quota)> = numbered.iter().filter(speaks).copied().collect();
        let is_hard = |quota: &Quota| quota.suspended || quota.mode == Mode::Hard;
        let specific = |quota: &Quota| {
            let place = [Scope::User, Scope::Tenant, Scope::Platform].iter().position(|scope| *scope == quota.scope);
            (place, quota.resource_type == "all")
        };
        let passed = |quota: &Quota| {
            let total = wide(quota.spent) + wide(quota.held) + wide(amount);
            quota.limit.map_or(0, |limit| (total.min(wide(i64::MAX)) - wide(limit)).clamp(0, wide(amount)))
        };
        let overrun = speaking.iter().map(|(_, quota)| passed(quota)).max().unwrap_or(0) as i64;
        let is_free = |quota: &Quota| amount == 0 && !quota.suspended && quota.limit != Some(0);
        let blocks = |quota: &Quota| is_hard(quota) && over(quota, true) && !is_free(quota);
        let mut blocking: Vec<_> = speaking.iter().filter(|(_, quota)| blocks(quota)).copied().collect();
        blocking.sort_by_key(|(_, quota)| {
            (specific(quota), std::cmp::Reverse((quota.bounds.end.is_none(), quota.bounds.end)))
        });
        if let Some((index, quota)) = blocking.first() {
            let retryable = !speaking.iter().any(|(_, quota)| is_hard(quota) && over(quota, false));
            let status = if quota.suspended { Status::Suspended } else { Status::Exceeded };
            return Verdict { allowed: false, status, quota_index: Some(*index), retryable, overrun };
        }
        let status = |quota: &Quota| {
            let total = wide(quota.spent) + wide(quota.held) + wide(amount);
            match quota.limit {
                _ if quota.suspended => Status::Suspended,
                _ if over(quota, true) => Status::Exceeded,
                Some(_) if total >= wide(quota.warning) => Status::Warning,
                _ => Status::Ok,
            }
        };
        let left = |quota: &Quota| {
            let used = (wide(quota.spent) + wide(quota.held)).min(wide(i64::MAX));
            quota.limit.map_or(wide(i64::MAX), |limit| wide(limit) - used)
        };
        let mut allowing = speaking;
        allowing.sort_by_key(|(_, quota)| (std::cmp::Reverse(status(quota)), left(quota), specific(quota)));
        let (allowed, status, quota_index) = match allowing.first() {
            Some((index, quota)) => (true, status(quota), Some(*index)),
            None => (allow_without_quota, Status::NoQuota, None),
        };
        Verdict { allowed, status, quota_index, retryable: false, overrun }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn every_answer_is_that_of_the_rules(
            quotas in proptest::collection::vec(any_quota(), 0..5),
            amount in prop_oneof![4 => 0..20_i64, 1 => i64::MAX - 5..=i64::MAX],
            allow_without_quota in any::<bool>(),
        ) {
            let verdict = judge(&quotas, amount, allow_without_quota);
            prop_assert_eq!(verdict, expected(&quotas, amount, allow_without_quota));
            // The promise itself.
            let within = quotas.iter().filter(|quota| quota.mode == Mode::Hard).all(|quota| {
                quota.limit.is_none_or(|limit| {
                    limit != 0
                        && (amount == 0 || i128::from(quota.spent) + i128::from(quota.held) + i128::from(amount) <= i128::from(limit))
                })
            });
            prop_assert!(within || !verdict.allowed);
        }
    }
}
