//! A reservation as it is stored: what is set aside for an operation whose cost is known only afterwards.
//!
//! It counts as long as it is held and has not expired. What resolves or extends it first opens the admission mode,
//! then locks the row to the end of its transaction. So of two transactions one comes first, and the other sees what
//! the first did.

use pgrx::{Uuid, pg_sys};

use super::under_way::{Affected, UnderWay};
use crate::admission::{AdmissionMode, Charge, Hold};
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::shape::{nullable, required};
use crate::pg::spi::types::{BIGINT, BOOL, INTERVAL, JSONB, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};
use crate::pg::table::Table;
use crate::pg::value::Value;
use crate::quota::Payer;
use tollgate_core::decision::Resource;
use tollgate_core::money::Picos;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Held,
    Committed,
    Released,
    Expired,
}

impl State {
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "held" => Ok(Self::Held),
            "committed" => Ok(Self::Committed),
            "released" => Ok(Self::Released),
            "expired" => Ok(Self::Expired),
            _ => Err(Error::internal("a reservation has an unknown state")),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// What became of a hold that was committed.
pub struct Settlement {
    pub charged: Picos,
    pub released: Picos,
    /// What it cost beyond what was set aside.
    pub overrun: Picos,
    /// It had expired.
    pub late: bool,
}

/// A hold as it is now, locked.
pub struct Reservation {
    pub id: Uuid,
    /// Where the row is.
    place: pg_sys::ItemPointerData,
    pub payer: Payer,
    /// What it sets aside.
    pub reserved: Picos,
    pub nanos: i64,
    pub reserved_at: Timestamp,
    pub expires_at: Timestamp,
    pub ttl: i64,
    pub state: State,
    pub settled: Option<Settlement>,
    _under_way: UnderWay,
}

pub static RESERVATIONS: Table = Table::new(
    c"quota_reservations",
    &[
        required("id", UUID),
        required("tenant_id", UUID),
        nullable("user_id", UUID),
        required("resource_type", TEXT),
        required("request_id", TEXT),
        required("requested_usd", NUMERIC),
        required("ttl", INTERVAL),
        required("reserved_usd", NUMERIC),
        required("held_nanos", BIGINT),
        required("reserved_at", MOMENT),
        required("expires_at", MOMENT),
        required("state", TEXT),
        nullable("charged_usd", NUMERIC),
        nullable("released_usd", NUMERIC),
        nullable("overrun_usd", NUMERIC),
        nullable("late", BOOL),
        nullable("reason", TEXT),
        nullable("resolved_at", MOMENT),
        required("metadata", JSONB),
    ],
    &["(state = ANY (ARRAY['held'::text, 'committed'::text, 'released'::text, 'expired'::text]))"],
    true,
);

const TENANT_OF: &str = "select r.tenant_id from copilot_internal.quota_reservations r where r.id = $1";
static TENANT_OF_PLAN: Plan = Plan::new(TENANT_OF, &[UUID]);

/// The tenant is compared in a form that no index of tenants can serve. Such an index, chosen while the table is small,
/// would read every hold of the tenant for one. Likewise below.
const LOCK: &str = "
    select r.ctid, r.tenant_id, r.user_id, r.resource_type, r.reserved_usd::text, r.held_nanos, r.reserved_at, r.expires_at,
           (extract(epoch from r.ttl) * 1000000)::bigint as ttl, r.state, r.charged_usd::text, r.released_usd::text,
           r.overrun_usd::text, r.late
    from copilot_internal.quota_reservations r
    where r.id = $1 and ($2::uuid is null or r.tenant_id is not distinct from $2)
    for update";
columns! {
    LockedColumn(
        ctid, tenant_id, user_id, resource_type, reserved_usd, held_nanos, reserved_at, expires_at, ttl, state, charged_usd,
        released_usd, overrun_usd, late
    )
}

static LOCK_PLAN: Plan = Plan::new(LOCK, &[UUID, UUID]);

const RESOLVE: &str = "
    update copilot_internal.quota_reservations r
    set state = $3, charged_usd = $4, released_usd = $5, overrun_usd = $6, late = $7, reason = $8, resolved_at = $9
    where r.id = $1 and r.tenant_id is not distinct from $2";
static RESOLVE_PLAN: Plan = Plan::new(RESOLVE, &[UUID, UUID, TEXT, NUMERIC, NUMERIC, NUMERIC, BOOL, TEXT, MOMENT]);

const RENEW: &str = "
    update copilot_internal.quota_reservations r
    set state = 'held', reserved_usd = r.requested_usd, held_nanos = $3, reserved_at = $4, expires_at = $5, charged_usd = null,
        released_usd = null, overrun_usd = null, late = null, reason = null, resolved_at = null
    where r.id = $1 and r.tenant_id is not distinct from $2";
static RENEW_PLAN: Plan = Plan::new(RENEW, &[UUID, UUID, BIGINT, MOMENT, MOMENT]);

fn unknown() -> Error {
    Error::NotFound { message: "there is no such reservation".to_owned() }
}

/// The row is locked, so nothing but a trigger keeps it as it is.
pub fn must_write(written: usize) -> Result<()> {
    if written == 1 {
        return Ok(());
    }
    Err(Error::State { message: "a trigger kept a reservation or its extension from being written".to_owned() })
}

pub fn picos(text: Option<String>) -> Result<Picos> {
    text.map_or(Ok(Picos::ZERO), |text| {
        Picos::parse(&text).map_err(|_| Error::internal("a reservation has no proper amount"))
    })
}

/// Opens the admission mode for the reservation's payer.
pub fn mode_of(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<AdmissionMode> {
    let tenant = match tenant {
        None if AdmissionMode::needs_tenants() => {
            AdmissionMode::open_for_housekeeping()?;
            spi::see_own_rows();
            let rows = spi.run(&TENANT_OF_PLAN, Snapshot::Latest, &[id.into()])?;
            Some(rows.first().ok_or_else(unknown)?.need(1)?)
        }
        given => given,
    };
    AdmissionMode::open([tenant])
}

impl Reservation {
    /// Reads and locks the row. The admission mode is open.
    pub fn lock(spi: &Session, id: Uuid, tenant: Option<Uuid>) -> Result<Self> {
        let under_way = UnderWay::begin(Affected::Hold(id))?;
        spi::see_own_rows();
        let rows = spi.run_write(&LOCK_PLAN, &[id.into(), tenant.into()])?;
        let row = rows.first().ok_or_else(unknown)?;
        let resource: String = row.need(LockedColumn::resource_type)?;
        let state = State::parse(&row.need::<String>(LockedColumn::state)?)?;
        let settled = Settlement {
            charged: picos(row.get(LockedColumn::charged_usd))?,
            released: picos(row.get(LockedColumn::released_usd))?,
            overrun: picos(row.get(LockedColumn::overrun_usd))?,
            late: row.get(LockedColumn::late).unwrap_or(false),
        };
        Ok(Self {
            id,
            place: row.need(LockedColumn::ctid)?,
            payer: Payer {
                tenant: Some(row.need(LockedColumn::tenant_id)?),
                user: row.get(LockedColumn::user_id),
                resource: Resource::parse(&resource)
                    .ok_or_else(|| Error::internal("a reservation has an unknown resource"))?,
            },
            reserved: picos(row.get(LockedColumn::reserved_usd))?,
            nanos: row.need(LockedColumn::held_nanos)?,
            reserved_at: row.need(LockedColumn::reserved_at)?,
            expires_at: row.need(LockedColumn::expires_at)?,
            ttl: row.need(LockedColumn::ttl)?,
            state,
            settled: (state != State::Held).then_some(settled),
            _under_way: under_way,
        })
    }

    /// A record settles only a reservation for the same thing.
    pub fn must_fit(&self, payer: Payer) -> Result<()> {
        if self.payer.resource != payer.resource {
            return Err(Error::invalid(format!("the reservation is one for {}", self.payer.resource.as_str())));
        }
        match (self.payer.user, payer.user) {
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

    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.state == State::Expired || self.expires_at <= now
    }

    /// Notes what it came to. The charge has been admitted.
    pub fn settle(&self, spi: &Session, cost: Option<Picos>, now: Timestamp) -> Result<Settlement> {
        let charged = cost.unwrap_or(Picos::ZERO);
        let late = self.has_expired(now);
        let settled = Settlement {
            charged,
            released: if late { Picos::ZERO } else { self.reserved.checked_sub(charged).unwrap_or(Picos::ZERO) },
            overrun: charged.checked_sub(self.reserved).unwrap_or(Picos::ZERO),
            late,
        };
        self.resolve(spi, State::Committed, Some(&settled), None, now)?;
        Ok(settled)
    }

    pub fn resolve(
        &self,
        spi: &Session,
        state: State,
        settled: Option<&Settlement>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let amount = |pick: fn(&Settlement) -> Picos| settled.map_or(Value::NULL, |settled| Value::cost(pick(settled)));
        let released = match (state, settled) {
            (State::Released, _) => Value::cost(self.reserved),
            (_, None) => Value::numeric("0"),
            (_, Some(_)) => amount(|settled| settled.released),
        };
        let changes = [
            ("state", state.as_str().into()),
            ("charged_usd", amount(|settled| settled.charged)),
            ("released_usd", released),
            ("overrun_usd", amount(|settled| settled.overrun)),
            ("late", settled.map(|settled| settled.late).into()),
            ("reason", reason.into()),
            ("resolved_at", Value::timestamp(now)),
        ];
        if RESERVATIONS.update(self.place, &changes)? {
            return Ok(());
        }
        let key = [self.id.into(), self.payer.tenant.into()];
        let parameters: Vec<Value> = key.into_iter().chain(changes.map(|(_, value)| value)).collect();
        must_write(spi.run_write(&RESOLVE_PLAN, &parameters)?.written())
    }

    /// It is held again, for what was asked at first. That has been admitted.
    pub fn renew(&self, spi: &Session, nanos: i64, now: Timestamp, expires_at: Timestamp) -> Result<()> {
        let moments = [now, expires_at].map(Value::timestamp);
        let parameters = [self.id.into(), self.payer.tenant.into(), nanos.into(), moments[0], moments[1]];
        let written = spi.run_write(&RENEW_PLAN, &parameters)?.written();
        if written == 1 { Ok(()) } else { Err(Error::internal("a reservation was not there to be renewed")) }
    }

    /// The change of giving it up, or of turning it into another.
    pub fn change(&self, hold: Option<Hold>, enforce: bool) -> Charge {
        Charge {
            payer: self.payer,
            at: self.reserved_at,
            amount: 0,
            platform_extra: 0,
            hold,
            gives_up: self.hold(),
            user_held: true,
            enforce,
            request: 0,
        }
    }

    /// No quota counts it once the transaction has committed.
    pub fn give_up(
        &self,
        spi: &Session,
        mode: &AdmissionMode,
        state: State,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let _admission = mode.admit(spi, self.change(None, false))?;
        self.resolve(spi, state, None, reason, now)
    }
}
