//! Which quotas apply to a payer: read once, kept until a definition, a default, a limit or a plan changes.

use std::cell::Cell;
use std::rc::Rc;

use pgrx::Uuid;
use tollgate_escrow::journal::Charge;
use tollgate_escrow::table::Handle;

use super::Payer;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::pg::invalidation::{Kind, Subject, Tick, now};
use crate::pg::spi::types::{TEXT, UUID};
use crate::pg::spi::{self, Plan, Row, Snapshot, columns};
use crate::pg::transaction::{has_written, is_own_transaction};
use crate::pg::zone::PostgresZone;
use crate::pg::{Timestamp, clock_timestamp, nil};
use crate::settings;
use tollgate_core::decision::{ALL_RESOURCES, Mode, Quota, Resource, Scope, share_of};
use tollgate_core::period::{self, Bounds, Period};
use tollgate_core::thresholds::Quiet;

/// The limit comes in nano-dollars, rounded down, and shares of it in 1e-12. Raises come as beginning and end in
/// microseconds since 2000 and amount in nano-dollars, one after the other.
const DEFINITIONS: &str = "
    select d.quota_id, d.scope, d.resource_type, d.mode, d.period, d.time_zone,
           pg_catalog.floor(d.limit_usd * 1000000000)::bigint as limit_nanos,
           pg_catalog.ceil(d.warning_threshold * 1000000000000)::bigint as warning,
           array(select distinct pg_catalog.ceil(t.share * 1000000000000)::bigint
                 from pg_catalog.unnest(d.event_thresholds) as t (share) order by 1) as thresholds,
           d.suspended,
           array(select v.number
                 from copilot_internal.quota_overrides o
                 cross join lateral (values
                     (1, extract(epoch from o.starts_at) * 1000000 - 946684800000000),
                     (2, extract(epoch from o.ends_at) * 1000000 - 946684800000000),
                     (3, pg_catalog.floor(o.amount_usd * 1000000000))) as n (place, value)
                 cross join lateral (select n.value::bigint) as v (number)
                 where o.quota_id = d.quota_id and o.ends_at > pg_catalog.clock_timestamp()
                 order by o.id, n.place) as raises,
           d.scope_id
    from (
        select q.quota_id, q.scope, q.scope_id, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd,
               q.warning_threshold, q.event_thresholds, q.suspended
        from copilot_internal.effective_quotas q
        where q.tenant_id = $1 and (q.scope = 'tenant' or (q.scope = 'user' and q.scope_id = $2))
        union all
        select q.id, q.scope, q.scope_id, q.resource_type, q.mode, q.period, q.time_zone, q.limit_usd,
               q.warning_threshold, q.event_thresholds, q.suspended
        from copilot_internal.cost_quotas q
        where q.tenant_id is null
    ) d
    where d.resource_type in ($3, 'all')";

columns! {
    DefinitionColumn(
        quota_id, scope, resource_type, mode, period, time_zone, limit_nanos, warning, thresholds, suspended, raises,
        scope_id
    )
}

static DEFINITIONS_PLAN: Plan = Plan::new(DEFINITIONS, &[UUID, UUID, TEXT]);

/// Subjects whose definitions are kept in a backend, about a kilobyte each.
const MAX_SUBJECTS: usize = 4_096;

type DefinitionKey = ([u8; 16], [u8; 16], Resource);

/// The epochs of the tenant's and the platform's definitions in which they were read; zeros where there are none.
pub type EpochPair = [u32; 2];

thread_local! {
    static KEPT: Cache<DefinitionKey, Definitions> =
        Cache::<DefinitionKey, Definitions>::new(Kind::Quotas, |(tenant, ..)| Subject::One(*tenant), MAX_SUBJECTS)
            // A row that is taken back may not have been told of yet.
            .only(|definitions| definitions.row != TenantRow::Founded);
}

/// What applies to a payer, as it was read in these epochs. An epoch moves on before the messages of its change go out,
/// so it is good for another only if it is known that all have come in.
pub struct Definitions {
    epochs: Cell<EpochPair>,
    read_at: Tick,
    pub all: Vec<Definition>,
    pub tenant: TenantState,
    pub row: TenantRow,
    /// Whether a user of the tenant has a quota. Where none has, all users go by what applies without a user.
    has_user_quotas: bool,
}

impl Definitions {
    /// Whether anything may have changed that they were read from. What raises a limit names its quota alone.
    pub fn have_changed(&self, payer: Payer) -> bool {
        have_changed(payer, self.read_at) || self.raises_have_changed()
    }

    pub fn epochs(&self) -> EpochPair {
        self.epochs.get()
    }

    /// They have turned out to be the same in these.
    pub fn hold_in(&self, epochs: EpochPair) {
        self.epochs.set(epochs);
    }

    /// Whether they apply to the payer, of whose tenant they were read without a user.
    fn serve(&self, payer: Payer) -> bool {
        payer.user.is_none() || !self.has_user_quotas
    }

    /// Whether they were read in these epochs, no raise has come or gone, and this transaction cannot have made the row.
    fn are_of(&self, epochs: EpochPair) -> bool {
        self.epochs.get() == epochs && !self.raises_have_changed() && !self.may_lack_own_row()
    }

    /// A row that the running statement makes is told of when the statement ends, and charged before.
    fn may_lack_own_row(&self) -> bool {
        self.row == TenantRow::Missing && has_written()
    }

    fn raises_have_changed(&self) -> bool {
        self.all.iter().any(|definition| Kind::Quotas.has_changed(Subject::One(definition.id), self.read_at))
    }
}

/// Whether the payer's quotas may have changed since, but for raises.
pub fn have_changed(payer: Payer, since: Tick) -> bool {
    Kind::Quotas.has_changed(Subject::One(payer.tenant_key()), since)
}

/// Whether the charge has a payer that exists.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub enum TenantState {
    /// It has a row, or a quota of its own; or only the platform pays.
    #[default]
    Known,
    Unknown,
    /// When it was deleted, in ISO 8601.
    Deleted(Rc<str>),
}

/// Whether there is a row of the tenant, which brings it quotas without rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TenantRow {
    Missing,
    /// Or only the platform pays.
    There,
    /// This transaction has made it: no other knows it, nor the quotas that it brings.
    Founded,
}

/// What is known of a payer's tenant beside its quotas.
struct Tenant {
    state: TenantState,
    row: TenantRow,
    has_user_quotas: bool,
}

/// A tenant is known by its row, and without one by a quota of its own.
const TENANT: &str = "
    select pg_catalog.to_char(t.deleted_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           t.id is not null or exists (select from copilot_internal.cost_quotas q where q.tenant_id = $1),
           t.xmin::text::bigint,
           exists (select from copilot_internal.cost_quotas q where q.tenant_id = $1 and q.scope = 'user')
    from (select $1) as asked (id)
    left join copilot_internal.tenants t on t.id = asked.id";

static TENANT_PLAN: Plan = Plan::new(TENANT, &[UUID]);
static ROW_PLAN: Plan = Plan::new("select from copilot_internal.tenants t where t.id = $1", &[UUID]);

/// Whether this transaction has made the tenant's row.
pub fn is_founded(spi: &spi::Session, tenant: Uuid) -> Result<bool> {
    let is_there = |snapshot| Ok(spi.run(&ROW_PLAN, snapshot, &[tenant.into()])?.len() > 0);
    Ok(is_there(Snapshot::Latest)? && !is_there(Snapshot::Others)?)
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

/// The bounds of a period from the word that a counter's key has for them.
pub fn unpacked(packed: u64) -> Bounds {
    let half = |half: u32, none: i32| {
        let quarter = half.cast_signed();
        (quarter != none).then(|| POSTGRES_EPOCH + i64::from(quarter) * 900)
    };
    Bounds { start: half((packed >> 32) as u32, i32::MIN), end: half(packed as u32, i32::MAX) }
}

/// In Unix seconds.
const POSTGRES_EPOCH: i64 = 946_684_800;

/// Quarters of an hour since 2000-01-01 00:00 UTC: no period of any zone begins or ends within one since then.
pub fn quarter(unix_seconds: i64) -> i64 {
    (unix_seconds - POSTGRES_EPOCH).div_euclid(900)
}

/// One quota, without anything that is counted.
pub struct Definition {
    pub id: [u8; 16],
    pub scope: Scope,
    pub resource_type: &'static str,
    pub scope_id: Option<Uuid>,
    pub mode: Mode,
    /// Without what raises add.
    limit: Option<i64>,
    /// Blocks everything.
    suspended: bool,
    raises: Vec<Raise>,
    /// The share of the limit, in 1e-12, from which to warn.
    warning: i64,
    /// The shares of the limit, in 1e-12, whose reaching is an event.
    pub thresholds: Vec<i64>,
    period: Period,
    zone: PostgresZone,
    /// Whether this transaction has made it together with its tenant: no other knows it.
    pub is_own: bool,
    latest: Cell<Option<Window>>,
    /// Where the counter of a period and epoch was last found.
    pub place: Cell<Option<(u64, u32, Handle)>>,
    /// Where nothing is left to be written into the outbox.
    pub quiet: Cell<Option<Quiet>>,
}

/// A temporary raise of a limit, half-open.
struct Raise {
    from: Timestamp,
    until: Timestamp,
    nanos: i64,
}

impl Definition {
    fn from_row(row: &Row, resource: &'static str) -> Result<Self> {
        let id: Uuid = row.need(DefinitionColumn::quota_id)?;
        let scope: String = row.need(DefinitionColumn::scope)?;
        let mode: String = row.need(DefinitionColumn::mode)?;
        let period: String = row.need(DefinitionColumn::period)?;
        let zone: String = row.need(DefinitionColumn::time_zone)?;
        let (Some(scope), Some(mode), Some(period)) =
            (Scope::parse(&scope), Mode::parse(&mode), Period::parse(&period))
        else {
            return Err(Error::internal("a quota has an unknown scope, mode or period"));
        };
        let counts_all = row.need::<String>(DefinitionColumn::resource_type)? == ALL_RESOURCES;
        Ok(Self {
            id: *id.as_bytes(),
            scope,
            resource_type: if counts_all { ALL_RESOURCES } else { resource },
            mode,
            scope_id: row.get(DefinitionColumn::scope_id),
            limit: row.get(DefinitionColumn::limit_nanos),
            suspended: row.need(DefinitionColumn::suspended)?,
            raises: raises(&row.need::<Vec<i64>>(DefinitionColumn::raises)?),
            warning: row.need(DefinitionColumn::warning)?,
            thresholds: row.need(DefinitionColumn::thresholds)?,
            period,
            zone: PostgresZone::named_or_utc(&zone)?,
            is_own: false,
            latest: Cell::new(None),
            place: Cell::new(None),
            quiet: Cell::new(None),
        })
    }

    /// The limit at this moment. It may move while one charge is decided. That does no harm: each decision and what it
    /// reserves use one figure.
    fn limit(&self) -> Option<i64> {
        let limit = self.limit?;
        if self.raises.is_empty() {
            return Some(limit);
        }
        let now = clock_timestamp();
        let in_force = self.raises.iter().filter(|raise| raise.from <= now && now < raise.until);
        Some(in_force.fold(limit, |limit, raise| limit.saturating_add(raise.nanos)))
    }

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

    /// Whether it is one of the charges that it counts in a period, as a quota of the payer.
    pub fn counts(&self, payer: Payer, bounds: Bounds, charge: &Charge) -> bool {
        let whose = match self.scope {
            Scope::Platform => true,
            Scope::Tenant => charge.tenant == payer.tenant_key(),
            Scope::User => charge.tenant == payer.tenant_key() && charge.user == payer.user_key(),
        };
        let within = bounds.start.is_none_or(|start| quarter(start) <= charge.quarter)
            && bounds.end.is_none_or(|end| charge.quarter < quarter(end));
        whose && within && (self.counts_all() || charge.resource == payer.resource as u8)
    }

    /// The quota with what it has counted in a period.
    pub fn counting(&self, bounds: Bounds, spent: i64, held: i64) -> Quota {
        let limit = self.limit();
        Quota {
            scope: self.scope,
            resource_type: self.resource_type,
            // The off switch: nothing is hard any more.
            mode: if self.mode == Mode::Hard && !settings::enforces() { Mode::Soft } else { self.mode },
            limit,
            suspended: self.suspended,
            warning: limit.map_or(i64::MAX, |limit| share_of(limit, self.warning)),
            period: self.period,
            bounds,
            spent,
            held,
        }
    }
}

fn raises(numbers: &[i64]) -> Vec<Raise> {
    let raise = |numbers: &[i64]| Raise { from: numbers[0], until: numbers[1], nanos: numbers[2] };
    numbers.chunks_exact(3).map(raise).collect()
}

/// The definitions that apply to a payer, if they are kept.
pub fn kept(payer: Payer, epochs: EpochPair) -> Option<Rc<Definitions>> {
    kept_that(payer, |definitions| definitions.are_of(epochs))
}

/// The definitions that are kept of a payer, in whatever epochs they were read.
pub fn kept_in_any(payer: Payer) -> Option<Rc<Definitions>> {
    kept_that(payer, |definitions| !definitions.may_lack_own_row())
}

/// What is kept without a user, if it is for all users, or else what is kept of the user.
fn kept_that(payer: Payer, is_valid: impl Fn(&Definitions) -> bool) -> Option<Rc<Definitions>> {
    KEPT.with(|kept| {
        let valid = |payer| kept.get(&key(payer)).filter(|definitions| is_valid(definitions));
        let shared = valid(without_user(payer))?;
        if shared.serve(payer) { Some(shared) } else { valid(payer) }
    })
}

fn without_user(payer: Payer) -> Payer {
    Payer { user: None, ..payer }
}

fn key(payer: Payer) -> DefinitionKey {
    (payer.tenant_key(), payer.user_key(), payer.resource)
}

/// The definitions that apply to a payer, as of the epochs and of the invalidation messages that were handled, or newer.
pub fn of(payer: Payer, epochs: EpochPair) -> Result<Rc<Definitions>> {
    let shared = of_key(without_user(payer), epochs)?;
    if shared.serve(payer) { Ok(shared) } else { of_key(payer, epochs) }
}

fn of_key(payer: Payer, epochs: EpochPair) -> Result<Rc<Definitions>> {
    let read = |_: &DefinitionKey| {
        let read_at = now();
        let (all, Tenant { state, row, has_user_quotas }) = read(payer)?;
        Ok(Definitions { epochs: Cell::new(epochs), read_at, all, tenant: state, row, has_user_quotas })
    };
    KEPT.with(|kept| kept.get_valid_or_read(key(payer), |definitions| definitions.are_of(epochs), read))
}

fn read(payer: Payer) -> Result<(Vec<Definition>, Tenant)> {
    let tenant: Uuid = payer.tenant.unwrap_or_else(nil);
    let user = payer.user.unwrap_or_else(nil);
    let resource = payer.resource.as_str();
    spi::session(|spi| {
        let read = |snapshot| spi.run(&DEFINITIONS_PLAN, snapshot, &[tenant.into(), user.into(), resource.into()]);
        let rows = read(Snapshot::Latest)?;
        let mut all: Vec<Definition> =
            rows.iter().map(|row| Definition::from_row(&row, resource)).collect::<Result<_>>()?;
        let tenant = read_tenant(spi, payer)?;
        if tenant.row == TenantRow::Founded {
            let rows = read(Snapshot::Others)?;
            let known: Vec<Uuid> =
                rows.iter().map(|row| row.need(DefinitionColumn::quota_id)).collect::<Result<_>>()?;
            for definition in all.iter_mut().filter(|definition| definition.scope != Scope::Platform) {
                definition.is_own = known.iter().all(|id| *id.as_bytes() != definition.id);
            }
        }
        Ok((all, tenant))
    })
}

fn read_tenant(spi: &spi::Session, payer: Payer) -> Result<Tenant> {
    let Some(tenant) = payer.tenant else {
        return Ok(Tenant { state: TenantState::Known, row: TenantRow::There, has_user_quotas: false });
    };
    let rows = spi.run(&TENANT_PLAN, Snapshot::Latest, &[tenant.into()])?;
    let row = rows.first().ok_or_else(|| Error::internal("a query without a condition gave no row"))?;
    let state = match row.get::<String>(1) {
        Some(deleted_at) => TenantState::Deleted(deleted_at.into()),
        None if row.need(2)? => TenantState::Known,
        None => TenantState::Unknown,
    };
    let there = match row.get::<i64>(3) {
        None => TenantRow::Missing,
        // Made, or only changed.
        Some(writer) if is_own_transaction(writer) && is_founded(spi, tenant)? => TenantRow::Founded,
        Some(_) => TenantRow::There,
    };
    Ok(Tenant { state, row: there, has_user_quotas: row.need(4)? })
}
