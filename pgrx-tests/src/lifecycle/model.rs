//! What the life cycle of money should be, said again and simply: one session, no clock of its own, every figure summed
//! anew from what there is. It shares no line with the extension.
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
pub enum Scope {
    User,
    Tenant,
    Platform,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::User => "user",
            Scope::Tenant => "tenant",
            Scope::Platform => "platform",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
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
    pub scope: Scope,
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
    pub mode: Mode,
    pub limit: Option<i64>,
    pub period: Period,
}

/// Whose spending, on what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
}

impl Quota {
    pub fn applies(&self, subject: Subject) -> bool {
        (self.resource == Resource::All || self.resource == subject.resource)
            && match self.scope {
                Scope::Platform => true,
                Scope::Tenant => self.tenant == subject.tenant,
                Scope::User => self.tenant == subject.tenant && self.user == subject.user,
            }
    }

    /// Whether it counts what a subject spent or holds at a moment, in the period of another.
    fn counts(&self, subject: Subject, then: i64, at: i64) -> bool {
        self.applies(subject) && self.period.of(then) == self.period.of(at)
    }

    fn warning(&self) -> Option<i64> {
        self.limit.map(|limit| (i128::from(limit) * 8 + 9).div_euclid(10) as i64)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Held,
    Committed,
    Released,
    Expired,
}

#[derive(Clone, Debug)]
pub struct Settled {
    pub charged: i64,
    pub released: i64,
    pub overrun: i64,
    pub late: bool,
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub id: Uuid,
    pub subject: Subject,
    pub request: String,
    pub requested: i64,
    pub ttl: i64,
    pub reserved: i64,
    pub reserved_at: i64,
    pub expires_at: i64,
    pub state: State,
    pub settled: Option<Settled>,
}

impl Hold {
    pub fn nanos(&self) -> i64 {
        ceil_nanos(self.reserved)
    }

    pub fn counts(&self, now: i64) -> bool {
        self.state == State::Held && self.expires_at > now
    }

    pub fn has_expired(&self, now: i64) -> bool {
        self.state == State::Expired || (self.state == State::Held && self.expires_at <= now)
    }
}

#[derive(Clone, Debug)]
pub struct Record {
    pub id: Uuid,
    pub subject: Subject,
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
pub struct Bare {
    pub id: Option<Uuid>,
    pub subject: Subject,
    pub cost: i64,
}

#[derive(Clone, Debug)]
pub struct Refund {
    pub id: Uuid,
    pub record: Uuid,
    pub amount: i64,
}

pub type Line = (Option<Uuid>, Option<Uuid>, Resource, i64);
type Key = (Option<Uuid>, String);

/// Everything there is.
#[derive(Clone, Default)]
pub struct World {
    pub quotas: Vec<Quota>,
    pub holds: Vec<Hold>,
    pub records: Vec<Record>,
    pub refunds: BTreeMap<Key, Refund>,
    pub bares: BTreeMap<Key, Bare>,
    pub extensions: BTreeMap<Key, Extension>,
    /// Nano-dollars by whose, on what, in which hour.
    pub spent: BTreeMap<Line, i64>,
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

pub struct Verdict {
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

impl World {
    pub fn spend(&mut self, subject: Subject, at: i64, nanos: i64) {
        *self.spent.entry((subject.tenant, subject.user, subject.resource, at.div_euclid(HOUR))).or_default() += nanos;
    }

    fn counted(&self, quota: usize, at: i64, now: i64) -> Counted {
        let of = &self.quotas[quota];
        let spent = self.spent.iter().filter(|((tenant, user, resource, hour), _)| {
            of.counts(Subject { tenant: *tenant, user: *user, resource: *resource }, hour * HOUR, at)
        });
        let held = self.holds.iter().filter(|hold| hold.counts(now) && of.counts(hold.subject, hold.reserved_at, at));
        let credit = match self.waits_for_commit {
            true => self.credits.get(&(of.id, of.period.of(at))).copied().unwrap_or_default(),
            false => 0,
        };
        Counted { quota, spent: spent.map(|(_, nanos)| nanos).sum(), held: held.map(Hold::nanos).sum::<i64>() + credit }
    }

    /// Every quota of the subject, in the periods of a moment.
    pub fn standing(&self, subject: Subject, at: i64, now: i64) -> Vec<Counted> {
        let all = 0..self.quotas.len();
        all.filter(|quota| self.quotas[*quota].applies(subject)).map(|quota| self.counted(quota, at, now)).collect()
    }

    /// Changes the world, and notes what quotas are given back by it.
    pub fn change(&mut self, at: i64, now: i64, change: impl FnOnce(&mut World)) {
        let everything = 0..self.quotas.len();
        let total = |world: &World, quota: usize| {
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
        self.holds.iter().any(|hold| hold.state == State::Held && hold.expires_at <= now)
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

    pub fn judge(&self, standing: &[Counted], amount: i64, at: i64) -> Verdict {
        let quota = |counted: &Counted| &self.quotas[counted.quota];
        let effective: Vec<&Counted> = standing.iter().filter(|counted| quota(counted).mode != Mode::Shadow).collect();
        let hard = || effective.iter().filter(|counted| quota(counted).mode == Mode::Hard);
        let overrun = |counted: &&Counted| {
            quota(counted)
                .limit
                .map_or(0, |limit| (counted.spent + counted.held + amount - limit).clamp(0, amount.max(0)))
        };
        let overrun = effective.iter().map(overrun).max().unwrap_or(0);
        let blocking: Vec<&Counted> = hard().copied().filter(|counted| !self.fits(counted, amount)).collect();
        if !blocking.is_empty() {
            let key = |counted: &Counted| {
                let quota = quota(counted);
                (quota.scope, quota.resource == Resource::All, Reverse(quota.period.end(at)))
            };
            let retryable = hard().all(|counted| self.fits(&Counted { held: 0, ..**counted }, amount));
            let told = least(&blocking, key);
            return Verdict { allowed: false, status: Status::Exceeded, told, retryable, overrun };
        }
        let key = |counted: &Counted| {
            let quota = quota(counted);
            let remaining = quota.limit.map_or(i64::MAX, |limit| limit - counted.spent - counted.held);
            (Reverse(self.status(counted, amount)), remaining, quota.scope, quota.resource == Resource::All)
        };
        let told = least(&effective, key);
        let status = effective.iter().map(|counted| self.status(counted, amount)).max().unwrap_or(Status::NoQuota);
        Verdict { allowed: true, status, told, retryable: false, overrun }
    }

    pub fn hold(&self, id: Uuid) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.id == id)
    }

    pub fn hold_mut(&mut self, id: Uuid) -> &mut Hold {
        self.holds.iter_mut().find(|hold| hold.id == id).expect("a hold that was looked up before")
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
