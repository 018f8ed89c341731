//! What the quotas of a subject have counted, and the locked mode of admission: correct without preloading the library.
//!
//! The locked mode takes the subject's locks (see [`crate::pg::lock`]), then reads definitions and sums in a snapshot
//! taken after them, at every isolation level. Nothing is cached: the tables alone decide.

use std::cell::Cell;

use pgrx::{Uuid, pg_sys};

use crate::admission::{ALL_RESOURCES, Mode, Quota, Resource, Scope};
use crate::error::{Error, Result};
use crate::period::{self, Period};
use crate::pg::lock::{self, Strength};
use crate::pg::spi::types::{INT, MOMENT, TEXT, UUID};
use crate::pg::spi::{Look, Plan, Session};
use crate::pg::value::Value;
use crate::pg::zone::PostgresZone;
use crate::pg::{Timestamp, from_unix_seconds, to_unix_seconds};

/// Whose spending, on what.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// `None` is the platform alone.
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
}

/// Every quota that applies to a subject, with what it has counted in the period that holds a moment.
pub struct Standing {
    pub quotas: Vec<Quota>,
    /// How many pending rows had to be added to the rollups.
    pub tail: i64,
}

/// The nil UUID: the platform where a tenant stands, nobody in particular where a user stands.
pub fn nil() -> Uuid {
    Uuid::from_bytes([0; 16])
}

/// The limit and the amount from which to warn come in nano-dollars, the limit rounded down.
const DEFINITIONS: &str = "
    select d.scope, d.resource_type, d.mode, d.period, d.time_zone,
           pg_catalog.floor(d.limit_usd * 1000000000)::bigint,
           pg_catalog.ceil(pg_catalog.floor(d.limit_usd * 1000000000) * d.warning_threshold)::bigint
    from (
        select q.scope, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd, q.warning_threshold
        from copilot_internal.effective_quotas q
        where q.tenant_id = $1 and (q.scope = 'tenant' or (q.scope = 'user' and q.scope_id = $2))
        union all
        select q.scope, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd, q.warning_threshold
        from copilot_internal.cost_quotas q
        where q.tenant_id is null
    ) d
    where d.resource_type in ($3, 'all')";

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

const PLATFORM_QUOTA_EXISTS: &str =
    "select exists (select from copilot_internal.cost_quotas q where q.tenant_id is null)";

const FOLD: &str = "select copilot_internal.fold($1, $2)";

static DEFINITIONS_PLAN: Plan = Plan::new(DEFINITIONS, &[UUID, UUID, TEXT]);
static SPENT_PLAN: Plan = Plan::new(SPENT, &[UUID, UUID, TEXT, MOMENT, MOMENT, MOMENT, MOMENT]);
static PLATFORM_QUOTA_EXISTS_PLAN: Plan = Plan::new(PLATFORM_QUOTA_EXISTS, &[]);
static FOLD_PLAN: Plan = Plan::new(FOLD, &[UUID, INT]);

/// Reads every quota that applies to the subject, as of the moment.
pub fn standing(spi: &Session, subject: Subject, at: Timestamp, look: Look) -> Result<Standing> {
    let tenant = subject.tenant.unwrap_or_else(nil);
    let user = subject.user.unwrap_or_else(nil);
    let rows = spi.run(&DEFINITIONS_PLAN, look, &[tenant.into(), user.into(), subject.resource.as_str().into()])?;
    let mut standing = Standing { quotas: Vec::with_capacity(rows.len()), tail: 0 };
    let mut sums: Vec<Sum> = Vec::new();
    for row in rows.iter() {
        let scope: String = row.need(1)?;
        let mode: String = row.need(3)?;
        let period: String = row.need(4)?;
        let zone: String = row.need(5)?;
        let (Some(scope), Some(mode), Some(period)) =
            (Scope::parse(&scope), Mode::parse(&mode), Period::parse(&period))
        else {
            return Err(Error::internal("a quota has an unknown scope, mode or period"));
        };
        let counts_all = row.need::<String>(2)? == ALL_RESOURCES;
        let bounds = period::bounds(period, &PostgresZone::named_or_utc(&zone)?, to_unix_seconds(at));
        let known = sums.iter().position(|sum| sum.scope == scope && sum.bounds == bounds);
        let sum = match known {
            Some(index) => &sums[index],
            None => {
                sums.push(Sum::read(spi, subject, scope, bounds, look)?);
                &sums[sums.len() - 1]
            }
        };
        standing.tail = standing.tail.max(sum.tail);
        standing.quotas.push(Quota {
            scope,
            resource_type: if counts_all { ALL_RESOURCES } else { subject.resource.as_str() },
            mode,
            limit: row.get(6),
            warning: row.get(7).unwrap_or(i64::MAX),
            period,
            bounds,
            spent: if counts_all { sum.all } else { sum.own },
            held: 0,
        });
    }
    Ok(standing)
}

/// What has been spent in one scope and period: the quotas of a subject that share both share it.
struct Sum {
    scope: Scope,
    bounds: period::Bounds,
    /// On the subject's resource.
    own: i64,
    /// On every resource.
    all: i64,
    /// Pending rows that had to be read; of the tenant, for only his charges may shorten it.
    tail: i64,
}

impl Sum {
    fn read(spi: &Session, subject: Subject, scope: Scope, bounds: period::Bounds, look: Look) -> Result<Self> {
        let (tenant, user) = match scope {
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

thread_local! {
    /// Whether a platform quota existed when last looked: only a first guess at which lock to take.
    static PLATFORM_IS_LIMITED: Cell<bool> = const { Cell::new(false) };
}

/// Takes the locks of everybody who is about to be charged; see the protocol in [`crate::pg::lock`].
pub fn lock_subjects(spi: &Session, tenants: impl IntoIterator<Item = Option<Uuid>>) -> Result<()> {
    let mut tenants: Vec<[u8; 16]> = tenants.into_iter().map(|id| lock::key(id.unwrap_or_else(nil))).collect();
    tenants.sort_unstable();
    tenants.dedup();
    loop {
        let limited = PLATFORM_IS_LIMITED.get();
        let strength = if limited { Strength::Exclusive } else { Strength::Shared };
        lock::Subject::Platform.lock(strength);
        for tenant in &tenants {
            lock::Subject::Tenant(*tenant).lock(Strength::Exclusive);
        }
        let rows = spi.run(&PLATFORM_QUOTA_EXISTS_PLAN, Look::Latest, &[])?;
        let exists: bool = rows.first().ok_or_else(|| Error::internal("exists gave no row"))?.need(1)?;
        PLATFORM_IS_LIMITED.set(exists);
        if limited || !exists {
            return Ok(());
        }
        // A platform quota exists that this backend had not seen. It was committed while nobody held the platform's
        // lock, so what is given back here was taken just now: start again in the right strength.
        for tenant in &tenants {
            lock::Subject::Tenant(*tenant).unlock(Strength::Exclusive);
        }
        lock::Subject::Platform.unlock(strength);
    }
}

/// How many pending rows a charger leaves alone, and how many it folds when there are more.
const TAIL_KEPT: i64 = 256;
const TAIL_FOLDED: i32 = 1_024;

/// Shortens a long tail of pending rows, so that sums stay quick where nobody calls `maintain()`. Only at READ
/// COMMITTED: elsewhere a rollup row that another fold has written since would be a serialization failure.
pub fn fold_long_tail(spi: &Session, tenant: Option<Uuid>, tail: i64) -> Result<()> {
    // SAFETY: reads a variable of the running transaction.
    let isolation = unsafe { pg_sys::XactIsoLevel };
    if tail <= TAIL_KEPT || isolation >= pg_sys::XACT_REPEATABLE_READ.cast_signed() {
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
