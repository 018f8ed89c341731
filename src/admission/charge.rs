//! What is asked of admission, and its answer.

use tollgate_escrow::journal::{self, Level};
use tollgate_escrow::table::{Delta, Pin};

use crate::pg::transaction::{AdmittedAmounts, Unwritten};
use crate::pg::{Timestamp, to_unix_seconds};
use crate::quota::definitions::quarter;
use crate::quota::{Payer, QuotaUsage};
use tollgate_core::decision::{Scope, Spending, Verdict};

/// A hold as quotas count it.
#[derive(Clone, Copy)]
pub struct Hold {
    /// Nano-dollars.
    pub amount: i64,
    /// From then on no quota counts it.
    pub expires: Timestamp,
}

/// What is asked of admission: to charge, to hold, to give up a hold, or to turn one into another.
#[derive(Clone, Copy)]
pub struct Charge {
    pub payer: Payer,
    /// Decides the periods.
    pub at: Timestamp,
    /// Nano-dollars that will have been spent; below zero for a correction, which counts once it has committed.
    pub amount: i64,
    /// What quotas of the platform count beyond that; below zero where the provider bills less than the tenant pays.
    pub platform_extra: i64,
    /// What will be held.
    pub hold: Option<Hold>,
    /// What was held until now: without a user, or by the payer's user.
    pub gives_up: Option<Hold>,
    /// Whether a quota of the payer's user counts what is given up.
    pub user_held: bool,
    /// Refused over a hard limit; else counted whatever it comes to.
    pub enforce: bool,
    /// The request that it answers, as a hash; 0 is none.
    pub request: u64,
}

impl Charge {
    /// What quotas of the scope count as spent.
    pub fn spent(&self, scope: Scope) -> i64 {
        self.amount.saturating_add(if scope == Scope::Platform { self.platform_extra } else { 0 })
    }

    /// How the journal knows what it is counted by.
    pub fn noted(&self) -> journal::Charge {
        journal::Charge {
            tenant: self.payer.tenant_key(),
            user: self.payer.user_key(),
            resource: self.payer.resource as u8,
            quarter: quarter(to_unix_seconds(self.at)),
        }
    }

    fn amounts(&self) -> AdmittedAmounts {
        AdmittedAmounts {
            spent: self.spent(Scope::Tenant),
            by_platform: self.spent(Scope::Platform),
            held: self.held(),
        }
    }

    /// What is spent and held together.
    pub fn wanted(&self) -> Spending {
        let wanted = |scope| self.spent(scope).saturating_add(self.held());
        Spending { paid: wanted(Scope::Tenant), by_platform: wanted(Scope::Platform) }
    }

    pub fn held(&self) -> i64 {
        self.hold.map_or(0, |hold| hold.amount)
    }

    /// What a quota of the scope counts of the hold that is given up, where holds are counted that expire later than this.
    pub fn given_up(&self, scope: Scope, horizon: Timestamp) -> i64 {
        let concerned = scope != Scope::User || self.user_held;
        self.gives_up.filter(|hold| concerned && hold.expires > horizon).map_or(0, |hold| hold.amount)
    }

    /// The earliest moment at which a hold expires that is made or given up.
    pub fn earliest_expiry(&self) -> Option<Timestamp> {
        [self.hold, self.gives_up].into_iter().flatten().map(|hold| hold.expires).min()
    }
}

/// The answer: when `admitted`, the amount is counted until the (sub)transaction ends or it is retracted.
pub struct Admission {
    /// As it was before the charge, without the hold that it gives up.
    pub usage: QuotaUsage,
    pub verdict: Verdict,
    pub admitted: bool,
    /// The hold that was made; it may expire later than was asked.
    pub hold: Option<Hold>,
    /// To be kept until every row of what was admitted is written.
    pub unwritten: Option<Unwritten>,
    pub counted: Counted,
}

impl Admission {
    pub fn admitted(usage: QuotaUsage, verdict: Verdict, charge: &Charge, counted: Counted) -> Self {
        let unwritten = Some(Unwritten::begin(charge.noted(), charge.amounts()));
        Self { usage, verdict, admitted: true, hold: charge.hold, unwritten, counted }
    }

    pub fn refused(usage: QuotaUsage, verdict: Verdict) -> Self {
        Self { usage, verdict, admitted: false, hold: None, unwritten: None, counted: Counted::default() }
    }
}

/// What an admitted charge has added, for [`super::AdmissionMode::retract`].
#[derive(Default)]
pub struct Counted {
    pub additions: Vec<(Pin, Delta)>,
    pub level: Level,
    /// Whether it was the transaction's first in the payer's partition, and in the platform's.
    pub first: [bool; 2],
    /// Whether it has locked that its tenant has no row.
    pub rowless: bool,
}
