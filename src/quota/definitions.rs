//! Which quotas apply to a subject: read once, kept until a definition, a default, a limit or a plan changes.

use std::cell::Cell;
use std::rc::Rc;

use pgrx::Uuid;
use tollgate_escrow::table::Handle;

use super::{Subject, nil};
use crate::admission::{ALL_RESOURCES, Mode, Quota, Resource, Scope};
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::period::{self, Bounds, Period};
use crate::pg::invalidation::{generation, watch};
use crate::pg::spi::types::{TEXT, UUID};
use crate::pg::spi::{self, Look, Plan};
use crate::pg::zone::PostgresZone;

/// The limit and the amount from which to warn come in nano-dollars, the limit rounded down.
const DEFINITIONS: &str = "
    select d.quota_id, d.scope, d.resource_type, d.mode, d.period, d.time_zone,
           pg_catalog.floor(d.limit_usd * 1000000000)::bigint,
           pg_catalog.ceil(pg_catalog.floor(d.limit_usd * 1000000000) * d.warning_threshold)::bigint
    from (
        select q.quota_id, q.scope, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd, q.warning_threshold
        from copilot_internal.effective_quotas q
        where q.tenant_id = $1 and (q.scope = 'tenant' or (q.scope = 'user' and q.scope_id = $2))
        union all
        select q.id, q.scope, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd, q.warning_threshold
        from copilot_internal.cost_quotas q
        where q.tenant_id is null
    ) d
    where d.resource_type in ($3, 'all')";

static DEFINITIONS_PLAN: Plan = Plan::new(DEFINITIONS, &[UUID, UUID, TEXT]);

/// Subjects whose definitions are kept in a backend, about a kilobyte each.
const MOST_SUBJECTS: usize = 4_096;

type Key = ([u8; 16], [u8; 16], Resource);

/// The epochs of the tenant's and the platform's definitions in which they were read; zeros where there are none.
pub type Epochs = [u32; 2];

thread_local! {
    static KEPT: Cache<Key, Definitions> = Cache::new(MOST_SUBJECTS);
}

/// What applies to a subject, as it was read in these epochs. It is good for no other: an epoch moves on before the
/// messages of its change go out.
pub struct Definitions {
    epochs: Epochs,
    pub all: Vec<Definition>,
}

/// One period of a quota.
#[derive(Clone, Copy)]
pub struct Window {
    pub bounds: Bounds,
    /// The bounds in one word, as a counter's key has them.
    pub packed: u64,
}

impl Window {
    fn of(bounds: Bounds) -> Self {
        let half = |at: Option<i64>, none: i32| {
            at.map_or(none, |at| i32::try_from(quarter(at)).unwrap_or(none)).cast_unsigned()
        };
        let packed = (u64::from(half(bounds.start, i32::MIN)) << 32) | u64::from(half(bounds.end, i32::MAX));
        Self { bounds, packed }
    }
}

/// Quarters of an hour since 2000-01-01 00:00 UTC: no period of any zone begins or ends within one since then.
pub fn quarter(unix_seconds: i64) -> i64 {
    const POSTGRES_EPOCH: i64 = 946_684_800;
    (unix_seconds - POSTGRES_EPOCH).div_euclid(900)
}

/// One quota, without anything that is counted.
pub struct Definition {
    pub id: [u8; 16],
    pub scope: Scope,
    pub resource_type: &'static str,
    pub mode: Mode,
    pub limit: Option<i64>,
    warning: i64,
    period: Period,
    zone: PostgresZone,
    latest: Cell<Option<Window>>,
    /// Where the counter of a period and epoch was last found.
    pub place: Cell<Option<(u64, u32, Handle)>>,
}

impl Definition {
    /// The period that holds the moment.
    pub fn window_at(&self, unix_seconds: i64) -> Window {
        match self.latest.get() {
            Some(window) if window.bounds.contains(unix_seconds) => window,
            _ => {
                let window = Window::of(period::bounds(self.period, &self.zone, unix_seconds));
                self.latest.set(Some(window));
                window
            }
        }
    }

    pub fn counts_all(&self) -> bool {
        self.resource_type == ALL_RESOURCES
    }

    /// The quota with what it has counted in a period.
    pub fn counting(&self, bounds: Bounds, spent: i64, held: i64) -> Quota {
        Quota {
            scope: self.scope,
            resource_type: self.resource_type,
            mode: self.mode,
            limit: self.limit,
            warning: self.warning,
            period: self.period,
            bounds,
            spent,
            held,
        }
    }
}

/// The definitions that apply to a subject, if they are kept.
pub fn kept(subject: Subject, epochs: Epochs) -> Option<Rc<Definitions>> {
    KEPT.with(|kept| kept.get(&key(subject))).filter(|definitions| definitions.epochs == epochs)
}

fn key(subject: Subject) -> Key {
    (subject.tenant_key(), subject.user_key(), subject.resource)
}

/// The definitions that apply to a subject, as of the epochs and of the invalidation messages that were handled, or newer.
pub fn of(subject: Subject, epochs: Epochs) -> Result<Rc<Definitions>> {
    if let Some(definitions) = kept(subject, epochs) {
        return Ok(definitions);
    }
    watch();
    let read_in = generation();
    let tenant: Uuid = subject.tenant.unwrap_or_else(nil);
    let user = subject.user.unwrap_or_else(nil);
    let all = spi::session(|spi| {
        let resource = subject.resource.as_str();
        let rows = spi.run(&DEFINITIONS_PLAN, Look::Latest, &[tenant.into(), user.into(), resource.into()])?;
        rows.iter()
            .map(|row| {
                let id: Uuid = row.need(1)?;
                let scope: String = row.need(2)?;
                let mode: String = row.need(4)?;
                let period: String = row.need(5)?;
                let zone: String = row.need(6)?;
                let (Some(scope), Some(mode), Some(period)) =
                    (Scope::parse(&scope), Mode::parse(&mode), Period::parse(&period))
                else {
                    return Err(Error::internal("a quota has an unknown scope, mode or period"));
                };
                let counts_all = row.need::<String>(3)? == ALL_RESOURCES;
                Ok(Definition {
                    id: *id.as_bytes(),
                    scope,
                    resource_type: if counts_all { ALL_RESOURCES } else { resource },
                    mode,
                    limit: row.get(7),
                    warning: row.get(8).unwrap_or(i64::MAX),
                    period,
                    zone: PostgresZone::named_or_utc(&zone)?,
                    latest: Cell::new(None),
                    place: Cell::new(None),
                })
            })
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(KEPT.with(|kept| kept.keep(read_in, key(subject), Definitions { epochs, all })))
}
