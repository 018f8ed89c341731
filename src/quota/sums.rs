//! What the tables say has been spent: rollups and what is pending, in one statement.

use pgrx::Uuid;

use super::{Subject, nil};
use crate::admission::Scope;
use crate::error::{Error, Result};
use crate::period;
use crate::pg::spi::types::{INT, MOMENT, TEXT, UUID};
use crate::pg::spi::{self, Look, Plan, Session};
use crate::pg::value::Value;
use crate::pg::{Timestamp, from_unix_seconds};

/// A period is whole UTC days, with quarters of an hour before and after them, and what is pending. Gives the sum of one
/// resource, the sum of all, and how many pending rows were read. What tenants have pending belongs to the platform too,
/// whose own queue holds what their folds left for it: one statement, for a fold moves rows from the one to the other.
const SPENT: &str = "
    select least(coalesce(sum(s.nanos) filter (where s.resource_type = $3), 0), 9223372036854775807)::bigint,
           least(coalesce(sum(s.nanos), 0), 9223372036854775807)::bigint,
           coalesce(sum(s.tail), 0)::bigint
    from (
        select r.resource_type, r.nanos, 0 as tail from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b')
          and r.grain = 'quarter' and r.bucket >= $4 and r.bucket < $5
        union all
        select r.resource_type, r.nanos, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b')
          and r.grain = 'day' and r.bucket >= $5 and r.bucket < $6
        union all
        select r.resource_type, r.nanos, 0 from copilot_internal.quota_rollups r
        where r.tenant_id = $1 and r.user_id = $2 and r.resource_type in ('llm', 'e2b')
          and r.grain = 'quarter' and r.bucket >= $6 and r.bucket < $7
        union all
        select p.resource_type,
               case when p.charged_at >= $4 and p.charged_at < $7
                         and ($2 = '00000000-0000-0000-0000-000000000000' or p.user_id = $2)
                    then p.nanos else 0 end, 1
        from copilot_internal.pending_costs p
        where p.tenant_id = $1
        union all
        select p.resource_type, p.nanos, 0
        from copilot_internal.pending_costs p
        where $1 = '00000000-0000-0000-0000-000000000000' and p.tenant_id > '00000000-0000-0000-0000-000000000000'
          and p.charged_at >= $4 and p.charged_at < $7
    ) s";

const FOLD: &str = "select copilot_internal.fold($1, $2)";

static SPENT_PLAN: Plan = Plan::new(SPENT, &[UUID, UUID, TEXT, MOMENT, MOMENT, MOMENT, MOMENT]);
static FOLD_PLAN: Plan = Plan::new(FOLD, &[UUID, INT]);

/// What has been spent in one scope and period: the quotas of a subject that share both share it.
#[derive(Clone, Copy)]
pub struct Sum {
    pub scope: Scope,
    pub bounds: period::Bounds,
    /// On the subject's resource.
    own: i64,
    /// On every resource.
    all: i64,
    /// Pending rows that had to be read; of the tenant, for only his charges may shorten it.
    pub tail: i64,
}

impl Sum {
    /// What a quota of the scope has counted.
    pub fn counted(&self, counts_all: bool) -> i64 {
        if counts_all { self.all } else { self.own }
    }

    pub fn read(spi: &Session, subject: Subject, scope: Scope, bounds: period::Bounds, look: Look) -> Result<Self> {
        let (tenant, user): (Option<Uuid>, Option<Uuid>) = match scope {
            Scope::Platform => (None, None),
            Scope::Tenant => (subject.tenant, None),
            Scope::User => (subject.tenant, subject.user),
        };
        let resource = Value::from(subject.resource.as_str());
        let span = Span::of(bounds);
        let [start, first_day, last_day, end] =
            [span.start, span.first_day, span.last_day, span.end].map(Value::timestamp);
        let (tenant, user) = (tenant.unwrap_or_else(nil).into(), user.unwrap_or_else(nil).into());
        let rows = spi.run(&SPENT_PLAN, look, &[tenant, user, resource, start, first_day, last_day, end])?;
        let row = rows.first().ok_or_else(|| Error::internal("a sum gave no row"))?;
        // The platform's queue is folded by maintain() alone: a charge must not take what every tenant would wait for.
        let tail = if scope == Scope::Platform { 0 } else { row.need(3)? };
        Ok(Self { scope, bounds, own: row.need(1)?, all: row.need(2)?, tail })
    }
}

/// The stretches of a period: quarters in `[start, first_day)`, days in `[first_day, last_day)`, quarters in
/// `[last_day, end)`.
struct Span {
    start: Timestamp,
    first_day: Timestamp,
    last_day: Timestamp,
    end: Timestamp,
}

impl Span {
    fn of(bounds: period::Bounds) -> Self {
        const DAY: i64 = 86_400_000_000;
        // No moment outside these is ever recorded, so a lifetime lies between them.
        const EARLIEST: Timestamp = 0;
        const LATEST: Timestamp = 200 * 365 * DAY;
        let start = bounds.start.map_or(EARLIEST, from_unix_seconds);
        let end = bounds.end.map_or(LATEST, from_unix_seconds);
        let first_day = start.div_euclid(DAY) * DAY + if start.rem_euclid(DAY) == 0 { 0 } else { DAY };
        let last_day = end.div_euclid(DAY) * DAY;
        if first_day < last_day {
            Self { start, first_day, last_day, end }
        } else {
            Self { start, first_day: end, last_day: end, end }
        }
    }
}

/// How many pending rows a charger leaves alone, and how many it folds when there are more.
const TAIL_KEPT: i64 = 256;
const TAIL_FOLDED: i32 = 1_024;

/// Shortens a long tail of pending rows, so that sums stay quick where nobody calls `maintain()`. Only at READ
/// COMMITTED: elsewhere a rollup row that another fold has written since would be a serialization failure.
pub fn fold_long_tail(spi: &Session, tenant: Option<Uuid>, tail: i64) -> Result<()> {
    if tail <= TAIL_KEPT || spi::has_one_snapshot() {
        return Ok(());
    }
    if let Some(tenant) = tenant {
        spi.run(&FOLD_PLAN, Look::Write, &[tenant.into(), TAIL_FOLDED.into()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::Bounds;

    fn span(start: i64, end: i64) -> [i64; 4] {
        let hour = |hours: i64| Some(946_684_800 + hours * 3_600);
        let span = Span::of(Bounds { start: hour(start), end: hour(end) });
        [span.start, span.first_day, span.last_day, span.end].map(|at| at / 3_600_000_000)
    }

    #[test]
    fn a_period_is_days_with_quarters_at_its_ends() {
        assert_eq!(span(0, 48), [0, 0, 48, 48]);
        assert_eq!(span(23, 49), [23, 24, 48, 49]);
        assert_eq!(span(23, 25), [23, 25, 25, 25]);
        assert_eq!(span(3, 4), [3, 4, 4, 4]);
        assert_eq!(span(-1, 720), [-1, 0, 720, 720]);
    }

    #[test]
    fn a_lifetime_holds_every_moment_that_can_be_recorded() {
        let span = Span::of(Bounds { start: None, end: None });
        assert!(span.start == 0 && span.start == span.first_day && span.last_day == span.end);
        assert!(span.end > 3_000_000_000_000_000);
    }
}
