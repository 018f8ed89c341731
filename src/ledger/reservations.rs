//! Reservations: what is set aside for an operation whose cost is known only afterwards, and what becomes of it.
//!
//! A hold is a row of `quota_reservations`; it counts as long as it is held and has not expired. Reserving goes through
//! [`super::record`] like any charge. Whoever resolves or extends a hold first opens the gate, then locks the row to the end
//! of his transaction, so that of two one comes first and the other sees what he did.

use pgrx::Uuid;
use tollgate_escrow::registry::Event;

use super::direct_charge::BareCharge;
use super::{Cost, Outcome, Record, Row, Source, Stored, Terms, charge};
use crate::admission::{Charge, Gate, Hold};
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::spi::types::{BIGINT, BOOL, INTERVAL, JSONB, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Look, Plan, Session};
use crate::pg::table::Table;
use crate::pg::value::{Interval, Json, Value};
use crate::pg::{Timestamp, clock_timestamp};
use crate::quota::Subject;
use crate::tenancy::policy;
use tollgate_core::decision::{Resource, Status};
use tollgate_core::money::Picos;

/// How long a hold may be asked to last, in microseconds.
const SHORTEST: i64 = 1_000_000;
const LONGEST: i64 = 8 * 86_400_000_000;

/// The duration of a hold, 1 second to 8 days.
pub fn time_to_live(given: &Interval) -> Result<i64> {
    match given.microseconds() {
        Some(ttl @ SHORTEST..=LONGEST) => Ok(ttl),
        _ => Err(Error::invalid("p_ttl must be from 1 second to 8 days")),
    }
}

/// A request for a hold, whose arguments are right.
pub struct Request {
    pub tenant: Uuid,
    pub user: Option<Uuid>,
    pub resource: Resource,
    pub amount: Picos,
    pub request_id: String,
    pub ttl: Interval,
    /// The same in microseconds.
    pub lasts: i64,
    pub metadata: Option<Json>,
    /// A refusal is told to the outbox.
    pub log_denial: bool,
}

const FIND: &str = "
    select r.id, r.requested_usd::text, 'held'::text,
           (r.user_id, r.resource_type, r.requested_usd, r.ttl)
             is not distinct from ($3::uuid, $4::text, $5::numeric, $6::interval),
           (r.reserved_at at time zone 'UTC' + r.ttl) at time zone 'UTC'
    from copilot_internal.quota_reservations r
    where r.tenant_id = $1 and r.request_id = $2";

static TABLE: Table = Table::new(
    c"quota_reservations",
    &[
        ("id", UUID),
        ("tenant_id", UUID),
        ("user_id", UUID),
        ("resource_type", TEXT),
        ("request_id", TEXT),
        ("requested_usd", NUMERIC),
        ("ttl", INTERVAL),
        ("reserved_usd", NUMERIC),
        ("held_nanos", BIGINT),
        ("reserved_at", MOMENT),
        ("expires_at", MOMENT),
        ("state", TEXT),
        ("charged_usd", NUMERIC),
        ("released_usd", NUMERIC),
        ("overrun_usd", NUMERIC),
        ("late", BOOL),
        ("reason", TEXT),
        ("resolved_at", MOMENT),
        ("metadata", JSONB),
    ],
    1,
    Some(c"quota_reservations_request_id_idx"),
);
static FIND_PLAN: Plan = Plan::new(FIND, &[UUID, TEXT, UUID, TEXT, NUMERIC, INTERVAL]);

impl Record for Request {
    fn terms(&self) -> Terms<'_> {
        Terms {
            subject: Subject { tenant: Some(self.tenant), user: self.user, resource: self.resource },
            request_id: Some(&self.request_id),
            enforce: true,
            occurred_at: None,
            reservation: None,
            hold_for: Some(self.lasts),
            log_denial: self.log_denial,
        }
    }

    fn source(&self) -> Source {
        Source { name: "hold", table: &TABLE }
    }

    fn find(&self, spi: &Session, request_id: &str, user: Option<Uuid>) -> Result<Option<Stored>> {
        let parameters = [
            self.tenant.into(),
            request_id.into(),
            user.into(),
            self.resource.as_str().into(),
            Value::numeric(&self.amount.to_string()),
            self.ttl.value(),
        ];
        super::stored(&spi.run(&FIND_PLAN, Look::Latest, &parameters)?)
    }

    fn cost(&self, _occurred_at: Timestamp) -> Result<Cost> {
        Ok(Cost::provided(self.amount))
    }

    fn denied(&self) -> Result<Option<String>> {
        match self.resource {
            Resource::Llm => policy::refuses_described(self.tenant, self.user, self.metadata.as_ref()),
            _ => Ok(None),
        }
    }

    fn insert(&self, row: &Row<'_>) -> Result<bool> {
        let amount = Value::numeric(&self.amount.to_string());
        TABLE.insert(&[
            row.id.into(),
            self.tenant.into(),
            row.user.into(),
            self.resource.as_str().into(),
            self.request_id.as_str().into(),
            amount,
            self.ttl.value(),
            amount,
            row.cost.nanos.into(),
            Value::timestamp(row.moments.charged_at),
            Value::timestamp(row.expires_at),
            State::Held.as_str().into(),
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            Value::NULL,
            self.metadata.as_ref().map_or_else(|| Value::jsonb("{}"), Json::value),
        ])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Committed,
    Released,
    Expired,
}

impl State {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "held" => Ok(Self::Held),
            "committed" => Ok(Self::Committed),
            "released" => Ok(Self::Released),
            "expired" => Ok(Self::Expired),
            _ => Err(Error::internal("a reservation has an unknown state")),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// What became of a hold that was committed.
pub struct Settled {
    pub charged: Picos,
    pub released: Picos,
    /// What it cost beyond what was set aside.
    pub overrun: Picos,
    /// It had expired.
    pub late: bool,
}

/// A hold as it is now, locked.
pub struct Reservation {
    id: Uuid,
    pub subject: Subject,
    /// What it sets aside.
    pub reserved: Picos,
    nanos: i64,
    pub reserved_at: Timestamp,
    expires_at: Timestamp,
    ttl: i64,
    state: State,
    settled: Option<Settled>,
}

const TENANT_OF: &str = "select r.tenant_id from copilot_internal.quota_reservations r where r.id = $1";
static TENANT_OF_PLAN: Plan = Plan::new(TENANT_OF, &[UUID]);

/// The tenant is compared so that no index of tenants can do: chosen while the table is small, it would have every hold of
/// the tenant read for one. Likewise below.
const LOCK: &str = "
    select r.tenant_id, r.user_id, r.resource_type, r.reserved_usd::text, r.held_nanos, r.reserved_at, r.expires_at,
           (extract(epoch from r.ttl) * 1000000)::bigint, r.state, r.charged_usd::text, r.released_usd::text,
           r.overrun_usd::text, r.late
    from copilot_internal.quota_reservations r
    where r.id = $1 and ($2::uuid is null or r.tenant_id is not distinct from $2)
    for update";
static LOCK_PLAN: Plan = Plan::new(LOCK, &[UUID, UUID]);

const RESOLVE: &str = "
    update copilot_internal.quota_reservations r
    set state = $3, charged_usd = $4, released_usd = $5, overrun_usd = $6, late = $7, reason = $8, resolved_at = $9
    where r.id = $1 and r.tenant_id is not distinct from $2";
static RESOLVE_PLAN: Plan = Plan::new(RESOLVE, &[UUID, UUID, TEXT, NUMERIC, NUMERIC, NUMERIC, BOOL, TEXT, MOMENT]);

const EXTEND: &str = "
    update copilot_internal.quota_reservations r
    set state = 'held', reserved_usd = $3, held_nanos = $4, expires_at = $5, released_usd = null, late = null,
        reason = null, resolved_at = null
    where r.id = $1 and r.tenant_id is not distinct from $2";
static EXTEND_PLAN: Plan = Plan::new(EXTEND, &[UUID, UUID, NUMERIC, BIGINT, MOMENT]);

const FIND_EXTENSION: &str = "
    select (e.reservation_id, e.ttl, e.additional_usd) is not distinct from ($3::uuid, $4::interval, $5::numeric),
           e.reserved_usd::text, e.expires_at
    from copilot_internal.reservation_extensions e
    where e.tenant_id = $1 and e.request_id = $2";
static FIND_EXTENSION_PLAN: Plan = Plan::new(FIND_EXTENSION, &[UUID, TEXT, UUID, INTERVAL, NUMERIC]);

const NOTE_EXTENSION: &str = "
    insert into copilot_internal.reservation_extensions
        (tenant_id, request_id, reservation_id, ttl, additional_usd, reserved_usd, expires_at)
    values ($1, $2, $3, $4, $5, $6, $7)";
static NOTE_EXTENSION_PLAN: Plan = Plan::new(NOTE_EXTENSION, &[UUID, TEXT, UUID, INTERVAL, NUMERIC, NUMERIC, MOMENT]);

fn unknown() -> Error {
    Error::NotFound { message: "there is no such reservation".to_owned() }
}

fn picos(text: Option<String>) -> Result<Picos> {
    text.map_or(Ok(Picos::ZERO), |text| {
        Picos::parse(&text).map_err(|_| Error::internal("a reservation has no proper amount"))
    })
}

/// Opens the gate for whose reservation it is.
fn gate_of(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<Gate> {
    let tenant = match tenant {
        None if Gate::takes_tenants() => {
            Gate::open_for_housekeeping()?;
            spi::see_own_rows();
            let rows = spi.run(&TENANT_OF_PLAN, Look::Latest, &[id.into()])?;
            Some(rows.first().ok_or_else(unknown)?.need(1)?)
        }
        given => given,
    };
    Gate::open([tenant])
}

impl Reservation {
    /// Reads and locks the row. The gate is open.
    pub fn lock(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<Self> {
        spi::see_own_rows();
        let rows = spi.run(&LOCK_PLAN, Look::Write, &[id.into(), tenant.into()])?;
        let row = rows.first().ok_or_else(unknown)?;
        let resource: String = row.need(3)?;
        let state = State::parse(&row.need::<String>(9)?)?;
        let settled = Settled {
            charged: picos(row.get(10))?,
            released: picos(row.get(11))?,
            overrun: picos(row.get(12))?,
            late: row.get(13).unwrap_or(false),
        };
        Ok(Self {
            id,
            subject: Subject {
                tenant: Some(row.need(1)?),
                user: row.get(2),
                resource: Resource::parse(&resource)
                    .ok_or_else(|| Error::internal("a reservation has an unknown resource"))?,
            },
            reserved: picos(row.get(4))?,
            nanos: row.need(5)?,
            reserved_at: row.need(6)?,
            expires_at: row.need(7)?,
            ttl: row.need(8)?,
            state,
            settled: (state != State::Held).then_some(settled),
        })
    }

    /// A record settles only a reservation for the same thing.
    pub fn must_fit(&self, subject: Subject) -> Result<()> {
        if self.subject.resource != subject.resource {
            return Err(Error::invalid(format!("the reservation is one for {}", self.subject.resource.as_str())));
        }
        match (self.subject.user, subject.user) {
            (Some(held_for), Some(user)) if held_for != user => {
                Err(Error::invalid("p_user_id is not the user of the reservation"))
            }
            _ => Ok(()),
        }
    }

    /// Held, or expired: what it cost is still taken.
    pub fn must_be_open(&self) -> Result<()> {
        match self.state {
            State::Held | State::Expired => Ok(()),
            State::Committed | State::Released => {
                Err(Error::State { message: format!("the reservation was {} already", self.state.as_str()) })
            }
        }
    }

    /// As quotas may count it.
    pub fn hold(&self) -> Option<Hold> {
        (self.state == State::Held).then_some(Hold { amount: self.nanos, expires: self.expires_at })
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.state == State::Expired || self.expires_at <= now
    }

    /// Notes what it came to. The charge has been admitted.
    pub fn settle(&self, spi: &Session, cost: Option<Picos>, now: Timestamp) -> Result<Settled> {
        let charged = cost.unwrap_or(Picos::ZERO);
        let late = self.has_expired(now);
        let settled = Settled {
            charged,
            released: if late { Picos::ZERO } else { self.reserved.checked_sub(charged).unwrap_or(Picos::ZERO) },
            overrun: charged.checked_sub(self.reserved).unwrap_or(Picos::ZERO),
            late,
        };
        self.resolve(spi, State::Committed, Some(&settled), None, now)?;
        Ok(settled)
    }

    fn resolve(
        &self,
        spi: &Session,
        state: State,
        settled: Option<&Settled>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let amount = |pick: fn(&Settled) -> Picos| {
            settled.map_or(Value::NULL, |settled| Value::numeric(&pick(settled).to_string()))
        };
        let released = match (state, settled) {
            (State::Released, _) => Value::numeric(&self.reserved.to_string()),
            (_, None) => Value::numeric("0"),
            (_, Some(_)) => amount(|settled| settled.released),
        };
        let parameters = [
            self.id.into(),
            self.subject.tenant.into(),
            state.as_str().into(),
            amount(|settled| settled.charged),
            released,
            amount(|settled| settled.overrun),
            settled.map(|settled| settled.late).into(),
            reason.into(),
            Value::timestamp(now),
        ];
        let written = spi.run(&RESOLVE_PLAN, Look::Write, &parameters)?.written();
        if written == 1 { Ok(()) } else { Err(Error::internal("a reservation was not there to be resolved")) }
    }

    /// The change of giving it up, or of turning it into another.
    fn change(&self, hold: Option<Hold>, enforce: bool) -> Charge {
        Charge {
            subject: self.subject,
            at: self.reserved_at,
            amount: 0,
            hold,
            gives_up: self.hold(),
            user_held: true,
            enforce,
            request: 0,
        }
    }

    /// Counts for nobody any more, once the transaction has committed.
    fn give_up(&self, spi: &Session, gate: &Gate, state: State, reason: Option<&str>, now: Timestamp) -> Result<()> {
        gate.admit(spi, self.change(None, false))?;
        self.resolve(spi, state, None, reason, now)
    }
}

/// What `commit_reservation` has to tell.
pub struct Commit {
    pub status: &'static str,
    pub settled: Settled,
    pub replayed: bool,
}

/// Charges what a reservation came to. With `reject` more than was set aside is refused.
pub fn commit(spi: &Session, id: Uuid, tenant: Option<Uuid>, cost: Picos, reject: bool) -> Result<Commit> {
    let gate = gate_of(spi, id, tenant)?;
    let reservation = Reservation::lock(spi, id, tenant)?;
    if reservation.state == State::Committed
        && let Some(settled) = reservation.settled
    {
        if settled.charged != cost {
            return Err(Error::Conflict {
                message: "the reservation was committed before at another cost".to_owned(),
                detail: Some(format!("It came to {} USD.", settled.charged)),
            });
        }
        return Ok(Commit { status: "committed", settled, replayed: true });
    }
    reservation.must_be_open()?;
    if reject && cost > reservation.reserved {
        let overrun = cost.checked_sub(reservation.reserved).unwrap_or(Picos::ZERO);
        let late = reservation.has_expired(clock_timestamp());
        let settled = Settled { charged: Picos::ZERO, released: Picos::ZERO, overrun, late };
        return Ok(Commit { status: "rejected", settled, replayed: false });
    }
    let subject = reservation.subject;
    let bare = BareCharge { subject, cost, request_id: None, enforce: false, reservation: Some(id), log_denial: false };
    let outcome = charge(spi, &gate, &bare, Some(reservation))?;
    let settled = outcome.settled.ok_or_else(|| Error::internal("a commit settled nothing"))?;
    Ok(Commit { status: "committed", settled, replayed: false })
}

/// What `release_reservation` has to tell.
pub struct Release {
    pub status: &'static str,
    pub released: Picos,
    pub replayed: bool,
}

pub fn release(spi: &Session, id: Uuid, tenant: Option<Uuid>, reason: Option<&str>) -> Result<Release> {
    let gate = gate_of(spi, id, tenant)?;
    let reservation = Reservation::lock(spi, id, tenant)?;
    let now = clock_timestamp();
    let (state, released) = match reservation.state {
        State::Committed => {
            return Err(Error::State { message: "the reservation was committed already".to_owned() });
        }
        State::Released => {
            return Ok(Release { status: "released", released: reservation.reserved, replayed: true });
        }
        State::Expired => return Ok(Release { status: "expired", released: Picos::ZERO, replayed: true }),
        State::Held if reservation.has_expired(now) => (State::Expired, Picos::ZERO),
        State::Held => (State::Released, reservation.reserved),
    };
    reservation.give_up(spi, &gate, state, reason, now)?;
    Ok(Release { status: state.as_str(), released, replayed: false })
}

/// A request to extend, whose arguments are right.
pub struct Extension {
    pub ttl: Option<Interval>,
    pub additional: Option<Picos>,
    pub request_id: Option<String>,
}

/// What `extend_reservation` has to tell.
pub struct Extended {
    pub allowed: bool,
    pub reserved: Picos,
    pub expires_at: Timestamp,
    pub status: Status,
    pub reason: Option<String>,
    pub retryable: bool,
    pub replayed: bool,
}

pub fn extend(spi: &Session, id: Uuid, tenant: Option<Uuid>, asked: &Extension) -> Result<Extended> {
    let ttl = asked.ttl.as_ref().map(time_to_live).transpose()?;
    let gate = gate_of(spi, id, tenant)?;
    let reservation = Reservation::lock(spi, id, tenant)?;
    let key = |request_id: &str| -> [Value; 5] {
        [
            reservation.subject.tenant.into(),
            request_id.into(),
            id.into(),
            asked.ttl.as_ref().map_or(Value::NULL, Interval::value),
            asked.additional.map_or(Value::NULL, |more| Value::numeric(&more.to_string())),
        ]
    };
    if let Some(request_id) = &asked.request_id {
        let rows = spi.run(&FIND_EXTENSION_PLAN, Look::Latest, &key(request_id))?;
        if let Some(row) = rows.first() {
            if !row.need::<bool>(1)? {
                return Err(Error::Conflict {
                    message: "this request id was used before with other arguments".to_owned(),
                    detail: None,
                });
            }
            return Ok(Extended {
                allowed: true,
                reserved: picos(row.get(2))?,
                expires_at: row.need(3)?,
                status: Status::Ok,
                reason: None,
                retryable: false,
                replayed: true,
            });
        }
    }
    reservation.must_be_open()?;
    let now = clock_timestamp();
    let expired = reservation.has_expired(now);
    let reserved = match asked.additional {
        Some(more) => reservation
            .reserved
            .checked_add(more)
            .map_err(|error| arguments::out_of_range("p_additional_usd", error))?,
        None => reservation.reserved,
    };
    let until = match (ttl, expired) {
        (Some(ttl), true) => now.saturating_add(ttl),
        (Some(ttl), false) => now.saturating_add(ttl).max(reservation.expires_at),
        (None, true) => now.saturating_add(reservation.ttl),
        (None, false) => reservation.expires_at,
    };
    let hold = Hold { amount: reserved.ceil_nanos(), expires: until };
    // More time alone takes no room, whatever a limit has become since.
    let enforce = expired || hold.amount > reservation.nanos;
    let admission = gate.admit(spi, reservation.change(Some(hold), enforce))?;
    if !admission.admitted {
        gate.tell(if admission.verdict.retryable { Event::RetryableRefusal } else { Event::Refusal });
        let wanted = if expired { hold.amount } else { hold.amount - reservation.nanos };
        return Ok(Extended {
            allowed: false,
            reserved: if expired { Picos::ZERO } else { reservation.reserved },
            expires_at: reservation.expires_at,
            status: admission.verdict.status,
            reason: Some(crate::quota::figures::refusal(&admission.standing.quotas, admission.verdict, wanted)),
            retryable: admission.verdict.retryable,
            replayed: false,
        });
    }
    let expires_at = admission.hold.map_or(until, |hold| hold.expires);
    let amount = Value::numeric(&reserved.to_string());
    let parameters =
        [id.into(), reservation.subject.tenant.into(), amount, hold.amount.into(), Value::timestamp(expires_at)];
    spi.run(&EXTEND_PLAN, Look::Write, &parameters)?;
    if let Some(request_id) = &asked.request_id {
        let [tenant, request, id, ttl, more] = key(request_id);
        let parameters = [tenant, request, id, ttl, more, amount, Value::timestamp(expires_at)];
        spi.run(&NOTE_EXTENSION_PLAN, Look::Write, &parameters)?;
    }
    gate.tell(Event::Admission);
    Ok(Extended {
        allowed: true,
        reserved,
        expires_at,
        status: admission.verdict.status,
        reason: None,
        retryable: false,
        replayed: false,
    })
}

/// Sets an amount aside.
pub fn reserve(spi: &Session, request: &Request) -> Result<Outcome> {
    super::record(spi, &[request])?.pop().ok_or_else(|| Error::internal("a reservation had no outcome"))
}

const EXPIRED: &str = "
    select r.id, r.tenant_id
    from copilot_internal.quota_reservations r
    where r.state = 'held' and r.expires_at <= pg_catalog.clock_timestamp()
    order by r.expires_at
    limit $1
    for update skip locked";
static EXPIRED_PLAN: Plan = Plan::new(EXPIRED, &[BIGINT]);

/// Marks reservations that have expired, skipping those in somebody's hands. Nothing that counts depends on it: whoever
/// needs the room has it already. In the escrow mode it is a release like any other, since counters may still count them.
pub fn expire(spi: &Session, most: i64) -> Result<i64> {
    let gate = Gate::open_for_housekeeping()?;
    let rows = spi.run(&EXPIRED_PLAN, Look::Write, &[most.into()])?;
    let found: Vec<(Uuid, Uuid)> = rows.iter().map(|row| Ok((row.need(1)?, row.need(2)?))).collect::<Result<_>>()?;
    let now = clock_timestamp();
    for (id, tenant) in &found {
        let reservation = Reservation::lock(spi, *id, Some(*tenant))?;
        if gate.meets_twins() {
            reservation.give_up(spi, &gate, State::Expired, None, now)?;
        } else {
            reservation.resolve(spi, State::Expired, None, None, now)?;
        }
    }
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX))
}
