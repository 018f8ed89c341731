//! What the life cycle of money should be, said again and simply. It has one session, no clock of its own, and sums
//! every figure again from what there is. It shares no line with the extension.
//!
//! Money is whole pico-dollars, quota figures whole nano-dollars, times microseconds of the Unix epoch.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

pub const SECOND: i64 = 1_000_000;
pub const HOUR: i64 = 3_600 * SECOND;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Resource {
    Llm,
    E2b,
    All,
}

impl Resource {
    pub fn name(self) -> &'static str {
        match self {
            Resource::Llm => "llm",
            Resource::E2b => "e2b",
            Resource::All => "all",
        }
    }
}

/// In the order in which refusals are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum QuotaScope {
    User,
    Tenant,
    Platform,
}

impl QuotaScope {
    pub fn name(self) -> &'static str {
        match self {
            QuotaScope::User => "user",
            QuotaScope::Tenant => "tenant",
            QuotaScope::Platform => "platform",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaMode {
    Hard,
    Soft,
    Shadow,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    Hour,
    Day,
    Lifetime,
}

impl Period {
    /// Which one a moment is in.
    fn of(self, at: i64) -> i64 {
        match self {
            Period::Hour => at.div_euclid(HOUR),
            Period::Day => at.div_euclid(24 * HOUR),
            Period::Lifetime => 0,
        }
    }

    fn end(self, at: i64) -> i64 {
        match self {
            Period::Hour => (self.of(at) + 1) * HOUR,
            Period::Day => (self.of(at) + 1) * 24 * HOUR,
            Period::Lifetime => i64::MAX,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Quota {
    pub id: Uuid,
    pub scope: QuotaScope,
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
    pub mode: QuotaMode,
    pub limit: Option<i64>,
    pub period: Period,
}

/// The payer, and the resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payer {
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
}

impl Quota {
    pub fn applies(&self, payer: Payer) -> bool {
        (self.resource == Resource::All || self.resource == payer.resource)
            && match self.scope {
                QuotaScope::Platform => true,
                QuotaScope::Tenant => self.tenant == payer.tenant,
                QuotaScope::User => self.tenant == payer.tenant && self.user == payer.user,
            }
    }

    /// Whether it counts what a payer spent or holds at a moment, in the period of another.
    fn counts(&self, payer: Payer, then: i64, at: i64) -> bool {
        self.applies(payer) && self.period.of(then) == self.period.of(at)
    }

    fn warning(&self) -> Option<i64> {
        self.limit.map(|limit| (i128::from(limit) * 8 + 9).div_euclid(10) as i64)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReservationState {
    Held,
    Committed,
    Released,
    Expired,
}

#[derive(Clone, Debug)]
pub struct Settlement {
    pub charged: i64,
    pub released: i64,
    pub overrun: i64,
    pub late: bool,
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub id: Uuid,
    pub payer: Payer,
    pub request: String,
    pub requested: i64,
    pub ttl: i64,
    pub reserved: i64,
    pub reserved_at: i64,
    pub expires_at: i64,
    pub state: ReservationState,
    pub settled: Option<Settlement>,
}

impl Hold {
    pub fn nanos(&self) -> i64 {
        ceil_nanos(self.reserved)
    }

    pub fn counts(&self, now: i64) -> bool {
        self.state == ReservationState::Held && self.expires_at > now
    }

    /// Settled by an earlier call: what the operation costs beyond that comes after the fact.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, ReservationState::Committed | ReservationState::Released)
    }

    pub fn has_expired(&self, now: i64) -> bool {
        self.state == ReservationState::Expired || (self.state == ReservationState::Held && self.expires_at <= now)
    }
}

#[derive(Clone, Debug)]
pub struct Record {
    pub id: Uuid,
    pub payer: Payer,
    pub request: Option<String>,
    /// As the caller said.
    pub provided: Option<i64>,
    pub cost: i64,
    pub reservation: Option<Uuid>,
    pub charged_at: i64,
    pub refunded: i64,
}

#[derive(Clone, Debug)]
pub struct Extension {
    pub hold: Uuid,
    pub ttl: Option<i64>,
    pub additional: Option<i64>,
    pub reserved: i64,
    pub expires_at: i64,
}

/// A charge without a record, or an adjustment: what its request id was used for.
#[derive(Clone, Debug)]
pub struct DirectCharge {
    pub id: Option<Uuid>,
    pub payer: Payer,
    pub cost: i64,
}

#[derive(Clone, Debug)]
pub struct Refund {
    pub id: Uuid,
    pub record: Uuid,
    pub amount: i64,
}

pub type SpentKey = (Option<Uuid>, Option<Uuid>, Resource, i64);
type RequestKey = (Option<Uuid>, String);

/// Everything there is.
#[derive(Clone, Default)]
pub struct ModelWorld {
    pub quotas: Vec<Quota>,
    pub holds: Vec<Hold>,
    pub records: Vec<Record>,
    pub refunds: BTreeMap<RequestKey, Refund>,
    pub direct_charges: BTreeMap<RequestKey, DirectCharge>,
    pub extensions: BTreeMap<RequestKey, Extension>,
    /// Nano-dollars by payer, resource and hour.
    pub spent: BTreeMap<SpentKey, i64>,
    /// What the open transaction has given back of each quota: it makes room when it has committed. Of the quota's
    /// period at the moment.
    pub credits: BTreeMap<(Uuid, i64), i64>,
    /// Whether that is so: in the locked mode a transaction sees at once what it gave back.
    pub waits_for_commit: bool,
}

/// What one quota has counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub quota: usize,
    pub spent: i64,
    pub held: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    NoQuota,
    Ok,
    Warning,
    Exceeded,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::NoQuota => "NO_QUOTA",
            Status::Ok => "OK",
            Status::Warning => "WARNING",
            Status::Exceeded => "EXCEEDED",
        }
    }
}

pub struct Prediction {
    pub allowed: bool,
    pub status: Status,
    /// The quotas that may be told of: equals are.
    pub told: Vec<usize>,
    pub retryable: bool,
    pub overrun: i64,
}

/// Rounded up.
pub fn ceil_nanos(picos: i64) -> i64 {
    picos.div_euclid(1_000) + i64::from(picos.rem_euclid(1_000) != 0)
}

impl ModelWorld {
    pub fn spend(&mut self, payer: Payer, at: i64, nanos: i64) {
        *self.spent.entry((payer.tenant, payer.user, payer.resource, at.div_euclid(HOUR))).or_default() += nanos;
    }

    fn counted(&self, quota: usize, at: i64, now: i64) -> Counted {
        let of = &self.quotas[quota];
        let spent = self.spent.iter().filter(|((tenant, user, resource, hour), _)| {
            of.counts(Payer { tenant: *tenant, user: *user, resource: *resource }, hour * HOUR, at)
        });
        let held = self.holds.iter().filter(|hold| hold.counts(now) && of.counts(hold.payer, hold.reserved_at, at));
        let credit = match self.waits_for_commit {
            true => self.credits.get(&(of.id, of.period.of(at))).copied().unwrap_or_default(),
            false => 0,
        };
        Counted { quota, spent: spent.map(|(_, nanos)| nanos).sum(), held: held.map(Hold::nanos).sum::<i64>() + credit }
    }

    /// Every quota of the payer, in the periods of a moment.
    pub fn standing(&self, payer: Payer, at: i64, now: i64) -> Vec<Counted> {
        let all = 0..self.quotas.len();
        all.filter(|quota| self.quotas[*quota].applies(payer)).map(|quota| self.counted(quota, at, now)).collect()
    }

    /// Changes the world, and notes what quotas are given back by it.
    pub fn change(&mut self, at: i64, now: i64, change: impl FnOnce(&mut ModelWorld)) {
        let everything = 0..self.quotas.len();
        let total = |world: &ModelWorld, quota: usize| {
            let counted = world.counted(quota, at, now);
            counted.spent + counted.held
        };
        let before: Vec<i64> = everything.clone().map(|quota| total(self, quota)).collect();
        change(self);
        for quota in everything {
            let given_back = before[quota] - total(self, quota);
            if given_back > 0 {
                let key = (self.quotas[quota].id, self.quotas[quota].period.of(at));
                *self.credits.entry(key).or_default() += given_back;
            }
        }
    }

    pub fn has_credits(&self) -> bool {
        !self.credits.is_empty()
    }

    pub fn committed(&mut self) {
        self.credits.clear();
    }

    /// Whether holds that have expired still wait to be marked.
    pub fn has_unmarked(&self, now: i64) -> bool {
        self.holds.iter().any(|hold| hold.state == ReservationState::Held && hold.expires_at <= now)
    }

    fn status(&self, counted: &Counted, amount: i64) -> Status {
        let quota = &self.quotas[counted.quota];
        let used = counted.spent + counted.held + amount;
        match (quota.limit, quota.warning()) {
            (Some(limit), _) if limit == 0 || used > limit => Status::Exceeded,
            (Some(_), Some(warning)) if used >= warning => Status::Warning,
            _ => Status::Ok,
        }
    }

    fn fits(&self, counted: &Counted, amount: i64) -> bool {
        self.status(counted, amount) != Status::Exceeded
    }

    /// What is free fits everywhere but under a limit of nothing.
    fn admits(&self, counted: &Counted, amount: i64) -> bool {
        self.fits(counted, amount) || amount == 0 && self.quotas[counted.quota].limit != Some(0)
    }

    pub fn judge(&self, standing: &[Counted], amount: i64, at: i64) -> Prediction {
        let quota = |counted: &Counted| &self.quotas[counted.quota];
        let effective: Vec<&Counted> =
            standing.iter().filter(|counted| quota(counted).mode != QuotaMode::Shadow).collect();
        let hard = || effective.iter().filter(|counted| quota(counted).mode == QuotaMode::Hard);
        let overrun = |counted: &&Counted| {
            quota(counted)
                .limit
                .map_or(0, |limit| (counted.spent + counted.held + amount - limit).clamp(0, amount.max(0)))
        };
        let overrun = effective.iter().map(overrun).max().unwrap_or(0);
        let blocking: Vec<&Counted> = hard().copied().filter(|counted| !self.admits(counted, amount)).collect();
        if !blocking.is_empty() {
            let key = |counted: &Counted| {
                let quota = quota(counted);
                (quota.scope, quota.resource == Resource::All, Reverse(quota.period.end(at)))
            };
            let retryable = hard().all(|counted| self.fits(&Counted { held: 0, ..**counted }, amount));
            let told = least(&blocking, key);
            return Prediction { allowed: false, status: Status::Exceeded, told, retryable, overrun };
        }
        let key = |counted: &Counted| {
            let quota = quota(counted);
            let remaining = quota.limit.map_or(i64::MAX, |limit| limit - counted.spent - counted.held);
            (Reverse(self.status(counted, amount)), remaining, quota.scope, quota.resource == Resource::All)
        };
        let told = least(&effective, key);
        let status = effective.iter().map(|counted| self.status(counted, amount)).max().unwrap_or(Status::NoQuota);
        Prediction { allowed: true, status, told, retryable: false, overrun }
    }

    pub fn hold(&self, id: Uuid) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.id == id)
    }

    pub fn change_hold(&mut self, id: Uuid, change: impl FnOnce(&mut Hold)) {
        if let Some(hold) = self.holds.iter_mut().find(|hold| hold.id == id) {
            change(hold);
        }
    }
}

/// The quotas of all that share the least key.
fn least<K: Ord>(all: &[&Counted], key: impl Fn(&Counted) -> K) -> Vec<usize> {
    let least = all.iter().map(|counted| key(counted)).min();
    all.iter().filter(|counted| Some(key(counted)) == least).map(|counted| counted.quota).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanos_round_up_on_both_sides_of_zero() {
        assert_eq!([1_000, 1_001, 1, 0, -1, -999, -1_000, -1_001].map(ceil_nanos), [1, 2, 1, 0, 0, 0, -1, -1]);
    }
}
