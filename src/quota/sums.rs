//! What the tables say has been spent and is held: rollups, what is pending, and holds, in one statement.

use std::collections::HashMap;

use pgrx::Uuid;

use super::Payer;
use super::span::Span;
use crate::error::{Error, Result};
use crate::pg::spi::types::{MOMENT, TEXT, UUID, UUIDS};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::transaction::with;
use crate::pg::value::Value;
use crate::pg::{Timestamp, clock_timestamp, nil, to_unix_seconds};
use crate::worker;
use tollgate_core::decision::{Resource, Scope};
use tollgate_core::period;

/// A period is whole UTC months, with days and then quarters of an hour before and after them, and what is pending.
/// Gives the sum of one resource, the sum of all, the same of what is held, and how many pending rows were read.
///
/// What is pending is looked at from where the tenant's queue starts ([`crate::pg::queue`]).
///
/// What tenants have pending belongs to the platform too. The platform's own queue holds what their folds left for it.
/// It is one statement, for a fold moves rows from the one to the other.
const SPENT: &str = "
    select least(coalesce(sum(s.nanos) filter (where s.resource_type = $3), 0), 9223372036854775807)::bigint,
           least(coalesce(sum(s.nanos), 0), 9223372036854775807)::bigint,
           least(coalesce(sum(s.held) filter (where s.resource_type = $3), 0), 9223372036854775807)::bigint,
           least(coalesce(sum(s.held), 0), 9223372036854775807)::bigint,
           coalesce(sum(s.tail), 0)::bigint
    from (
        select r.resource_type, r.nanos, 0::bigint as held, 0 as tail from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b', 'all')
          and r.grain = 'quarter' and r.bucket >= $4 and r.bucket < $5
        union all
        select r.resource_type, r.nanos, 0, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b', 'all')
          and r.grain = 'day' and r.bucket >= $5 and r.bucket < $9
        union all
        select r.resource_type, r.nanos, 0, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b', 'all')
          and r.grain = 'month' and r.bucket >= $9 and r.bucket < $10
        union all
        select r.resource_type, r.nanos, 0, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b', 'all')
          and r.grain = 'day' and r.bucket >= $10 and r.bucket < $6
        union all
        select r.resource_type, r.nanos, 0, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b', 'all')
          and r.grain = 'quarter' and r.bucket >= $6 and r.bucket < $7
        union all
        select p.resource_type,
               coalesce(sum(p.nanos) filter (where p.charged_at >= $4 and p.charged_at < $7
                   and ($2 = '00000000-0000-0000-0000-000000000000' or p.user_id = $2)), 0), 0, count(*)
        from copilot_internal.pending_costs p
        where p.tenant_id = $1 and p.record_id >= coalesce((
            select n.first_id from copilot_internal.checked_queue_starts n
            where n.tenant_id = $1 order by n.since desc limit 1), '00000000-0000-0000-0000-000000000000')
          and p.record_id <> all ($11)
        group by p.resource_type
        union all
        select p.resource_type, sum(p.nanos), 0, 0
        from copilot_internal.pending_costs p
        where $1 = '00000000-0000-0000-0000-000000000000' and p.tenant_id > '00000000-0000-0000-0000-000000000000'
          and p.charged_at >= $4 and p.charged_at < $7 and p.record_id <> all ($11)
        group by p.resource_type
        union all
        select h.resource_type, 0, h.held_nanos, 0
        from copilot_internal.quota_reservations h
        where h.state = 'held' and h.tenant_id = $1 and h.expires_at > $8
          and h.reserved_at >= $4 and h.reserved_at < $7 and h.id <> all ($11)
          and ($2 = '00000000-0000-0000-0000-000000000000' or h.user_id = $2)
        union all
        select h.resource_type, 0, h.held_nanos, 0
        from copilot_internal.quota_reservations h
        where $1 = '00000000-0000-0000-0000-000000000000' and h.state = 'held' and h.expires_at > $8
          and h.reserved_at >= $4 and h.reserved_at < $7 and h.id <> all ($11)
    ) s";

/// Holds that expire in a stretch of time, and when the first expires after it: of the resource, of all.
const EXPIRED: &str = "
    select coalesce(sum(h.held_nanos) filter (where h.resource_type = $3), 0)::bigint,
           coalesce(sum(h.held_nanos), 0)::bigint,
           case when $1 = '00000000-0000-0000-0000-000000000000'
                then (select min(n.expires_at) from copilot_internal.quota_reservations n
                      where n.state = 'held' and n.expires_at > $7)
                else (select min(n.expires_at) from copilot_internal.quota_reservations n
                      where n.state = 'held' and n.tenant_id = $1 and n.expires_at > $7) end
    from (
        select e.resource_type, e.held_nanos
        from copilot_internal.quota_reservations e
        where e.state = 'held' and e.tenant_id = $1 and e.expires_at > $6 and e.expires_at <= $7
          and e.reserved_at >= $4 and e.reserved_at < $5
          and ($2 = '00000000-0000-0000-0000-000000000000' or e.user_id = $2)
        union all
        select e.resource_type, e.held_nanos
        from copilot_internal.quota_reservations e
        where $1 = '00000000-0000-0000-0000-000000000000' and e.state = 'held'
          and e.expires_at > $6 and e.expires_at <= $7
          and e.reserved_at >= $4 and e.reserved_at < $5
    ) h";

static SPENT_PLAN: Plan =
    Plan::new(SPENT, &[UUID, UUID, TEXT, MOMENT, MOMENT, MOMENT, MOMENT, MOMENT, MOMENT, MOMENT, UUIDS]);
static EXPIRED_PLAN: Plan = Plan::new(EXPIRED, &[UUID, UUID, TEXT, MOMENT, MOMENT, MOMENT, MOMENT]);

/// What has been spent and is held in one scope and period: the quotas of a payer that share both share it.
#[derive(Clone, Copy)]
pub struct Sum {
    pub scope: Scope,
    pub bounds: period::Bounds,
    spent: Amounts,
    held: Amounts,
    /// Pending rows that had to be read, only the tenant's own: only a tenant's own charges may shorten its queue.
    pub tail: i64,
}

#[derive(Clone, Copy)]
struct Amounts {
    /// On the payer's resource.
    own: i64,
    /// On every resource.
    all: i64,
}

impl Amounts {
    fn of(self, counts_all: bool) -> i64 {
        if counts_all { self.all } else { self.own }
    }
}

fn keys(payer: Payer, scope: Scope) -> [Value; 3] {
    let (tenant, user): (Option<Uuid>, Option<Uuid>) = match scope {
        Scope::Platform => (None, None),
        Scope::Tenant => (payer.tenant, None),
        Scope::User => (payer.tenant, payer.user),
    };
    [tenant.unwrap_or_else(nil).into(), user.unwrap_or_else(nil).into(), payer.resource.as_str().into()]
}

impl Sum {
    /// What a quota of the scope has counted as spent.
    pub fn spent(&self, counts_all: bool) -> i64 {
        self.spent.of(counts_all)
    }

    /// What a quota of the scope counts as held.
    pub fn held(&self, counts_all: bool) -> i64 {
        self.held.of(counts_all)
    }

    /// Holds are counted that expire after the horizon. What is not written yet is left out, also of what is there.
    pub fn read(
        spi: &Session,
        payer: Payer,
        scope: Scope,
        bounds: period::Bounds,
        horizon: Timestamp,
        snapshot: Snapshot,
    ) -> Result<Self> {
        let [tenant, user, resource] = keys(payer, scope);
        let span = Span::of(bounds);
        let [start, first_day, last_day, end] =
            [span.start, span.first_day, span.last_day, span.end].map(Value::timestamp);
        let [first_month, last_month, horizon] = [span.first_month, span.last_month, horizon].map(Value::timestamp);
        // The next would be cancelled too, over the same rows.
        with(|state| state.call_if_cut_off(Some(worker::request_after_abort)));
        let without =
            with(|state| state.unwritten().iter().filter_map(|charge| charge.rows).flatten().collect::<Vec<_>>());
        let without = Value::from(without);
        let parameters =
            [tenant, user, resource, start, first_day, last_day, end, horizon, first_month, last_month, without];
        let rows = spi.run(&SPENT_PLAN, snapshot, &parameters)?;
        with(|state| state.call_if_cut_off(None));
        let row = rows.first().ok_or_else(|| Error::internal("a sum gave no row"))?;
        // The platform's queue is folded by maintain() alone: a charge must not take what every tenant would wait for.
        let tail = if scope == Scope::Platform { 0 } else { row.need(5)? };
        Ok(Self {
            scope,
            bounds,
            spent: Amounts { own: row.need(1)?, all: row.need(2)? },
            held: Amounts { own: row.need(3)?, all: row.need(4)? },
            tail,
        })
    }
}

/// Sums that were read: quotas that share scope and period share one. They stay true while nobody else can charge what
/// they count, if what this transaction charges is added.
pub struct Sums {
    snapshot: Snapshot,
    now: Timestamp,
    read: HashMap<SumKey, Vec<Sum>, foldhash::fast::RandomState>,
}

/// Tenant, user and resource, nil where the sum is of all.
type SumKey = ([u8; 16], [u8; 16], Resource);

fn key(payer: Payer, scope: Scope) -> SumKey {
    let nil = *nil().as_bytes();
    match scope {
        Scope::Platform => (nil, nil, payer.resource),
        Scope::Tenant => (payer.tenant_key(), nil, payer.resource),
        Scope::User => (payer.tenant_key(), payer.user_key(), payer.resource),
    }
}

impl Sums {
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, now: clock_timestamp(), read: HashMap::default() }
    }

    pub fn get(&mut self, spi: &Session, payer: Payer, scope: Scope, bounds: period::Bounds) -> Result<Sum> {
        if let Some(sum) = self.known(payer, scope, bounds) {
            return Ok(sum);
        }
        let sum = Sum::read(spi, payer, scope, bounds, self.now, self.snapshot)?;
        self.read.entry(key(payer, scope)).or_default().push(sum);
        Ok(sum)
    }

    pub fn known(&self, payer: Payer, scope: Scope, bounds: period::Bounds) -> Option<Sum> {
        let sums = self.read.get(&key(payer, scope))?;
        sums.iter().find(|sum| sum.scope == scope && sum.bounds == bounds).copied()
    }

    /// Adds what the payer has been charged at a moment, for which one row is pending. All are of its resource.
    pub fn add(&mut self, payer: Payer, at: Timestamp, spent: impl Fn(Scope) -> i64) {
        let scopes: &[Scope] = match (payer.tenant, payer.user) {
            (None, _) => &[Scope::Platform],
            (Some(_), None) => &[Scope::Platform, Scope::Tenant],
            (Some(_), Some(_)) => &[Scope::Platform, Scope::Tenant, Scope::User],
        };
        let at = to_unix_seconds(at);
        for scope in scopes {
            for sum in self.read.get_mut(&key(payer, *scope)).into_iter().flatten() {
                if sum.bounds.contains(at) {
                    sum.spent.own = sum.spent.own.saturating_add(spent(*scope));
                    sum.spent.all = sum.spent.all.saturating_add(spent(*scope));
                }
                sum.tail += i64::from(*scope != Scope::Platform);
            }
        }
    }

    /// The moment as of which holds are counted.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// What a quota counts of the holds that expire after one moment and not after another, in a snapshot taken now. Gives
/// also from when on there may be more.
pub fn expired(
    spi: &Session,
    payer: Payer,
    scope: Scope,
    counts_all: bool,
    bounds: period::Bounds,
    after: Timestamp,
    until: Timestamp,
) -> Result<(i64, Timestamp)> {
    let [tenant, user, resource] = keys(payer, scope);
    let span = Span::of(bounds);
    let [start, end, after, until] = [span.start, span.end, after, until].map(Value::timestamp);
    let rows = spi.run(&EXPIRED_PLAN, Snapshot::Latest, &[tenant, user, resource, start, end, after, until])?;
    let row = rows.first().ok_or_else(|| Error::internal("a sum gave no row"))?;
    let amounts = Amounts { own: row.need(1)?, all: row.need(2)? };
    Ok((amounts.of(counts_all), row.get(3).unwrap_or(Timestamp::MAX)))
}
