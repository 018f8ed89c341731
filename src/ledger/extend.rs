//! More time for a reservation, or more room.

use pgrx::Uuid;
use tollgate_escrow::registry::Statistic;

use super::reservation::{Reservation, mode_of, must_write, picos};
use super::reserve::time_to_live;
use crate::admission::Hold;
use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::spi::types::{BIGINT, INTERVAL, MOMENT, NUMERIC, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::pg::value::{Interval, Value};
use crate::pg::{Timestamp, clock_timestamp};
use crate::quota::figures::refusal;
use crate::settings;
use tollgate_core::decision::Status;
use tollgate_core::money::Picos;

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

/// A request to extend, whose arguments are valid.
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
    let mode = mode_of(spi, id, tenant)?;
    let reservation = Reservation::lock(spi, id, tenant)?;
    if let Some(stored) = reservation.find_extension(spi, asked)? {
        return Ok(stored);
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
    let hold = Hold { amount: reserved.ceil_nanos(), expires: reservation.extended_to(ttl, now) };
    // More time alone takes no room, whatever a limit has become since.
    let enforce = expired || hold.amount > reservation.nanos;
    let mut admission = mode.admit(spi, reservation.change(Some(hold), enforce))?;
    let verdict = admission.verdict;
    if !admission.admitted {
        mode.count_outcome(if verdict.retryable { Statistic::RetryableRefusal } else { Statistic::Refusal });
        let wanted = if expired { hold.amount } else { hold.amount - reservation.nanos };
        return Ok(Extended {
            allowed: false,
            reserved: if expired { Picos::ZERO } else { reservation.reserved },
            expires_at: reservation.expires_at,
            status: verdict.status,
            reason: settings::with_enforcement(Some(refusal(reservation.payer, &admission.usage, verdict, wanted))),
            retryable: verdict.retryable,
            replayed: false,
        });
    }
    let _unwritten = admission.unwritten.take().map(|unwritten| unwritten.will_be_in(reservation.id, None));
    let expires_at = admission.hold.map_or(hold.expires, |hold| hold.expires);
    reservation.store_extension(spi, asked, reserved, expires_at)?;
    mode.count_outcome(Statistic::Admission);
    Ok(Extended::granted(reserved, expires_at, verdict.status, false))
}

impl Extended {
    fn granted(reserved: Picos, expires_at: Timestamp, status: Status, replayed: bool) -> Self {
        let reason = settings::with_enforcement(None);
        Self { allowed: true, reserved, expires_at, status, reason, retryable: false, replayed }
    }
}

impl Reservation {
    /// When it expires, with more time or without.
    fn extended_to(&self, ttl: Option<i64>, now: Timestamp) -> Timestamp {
        match (ttl, self.has_expired(now)) {
            (Some(ttl), true) => now.saturating_add(ttl),
            (Some(ttl), false) => now.saturating_add(ttl).max(self.expires_at),
            (None, true) => now.saturating_add(self.ttl),
            (None, false) => self.expires_at,
        }
    }

    /// The content of an extension, by which a retry is known.
    fn extension_key(&self, asked: &Extension, request_id: &str) -> [Value; 5] {
        [
            self.payer.tenant.into(),
            request_id.into(),
            self.id.into(),
            asked.ttl.as_ref().map_or(Value::NULL, Interval::value),
            asked.additional.map_or(Value::NULL, Value::cost),
        ]
    }

    /// What an earlier call with the same request id was given.
    fn find_extension(&self, spi: &Session, asked: &Extension) -> Result<Option<Extended>> {
        let Some(request_id) = &asked.request_id else { return Ok(None) };
        let rows = spi.run(&FIND_EXTENSION_PLAN, Snapshot::Latest, &self.extension_key(asked, request_id))?;
        let Some(row) = rows.first() else { return Ok(None) };
        if !row.need::<bool>(1)? {
            return Err(Error::Conflict {
                message: "this request id was used before with other arguments".to_owned(),
                detail: None,
            });
        }
        Ok(Some(Extended::granted(picos(row.get(2))?, row.need(3)?, Status::Ok, true)))
    }

    fn store_extension(&self, spi: &Session, asked: &Extension, reserved: Picos, expires_at: Timestamp) -> Result<()> {
        let (amount, nanos) = (Value::cost(reserved), reserved.ceil_nanos());
        let expires_at = Value::timestamp(expires_at);
        let parameters = [self.id.into(), self.payer.tenant.into(), amount, nanos.into(), expires_at];
        must_write(spi.run_write(&EXTEND_PLAN, &parameters)?.written())?;
        if let Some(request_id) = &asked.request_id {
            let [tenant, request, id, ttl, more] = self.extension_key(asked, request_id);
            let noted = spi.run_write(&NOTE_EXTENSION_PLAN, &[tenant, request, id, ttl, more, amount, expires_at])?;
            must_write(noted.written())?;
        }
        Ok(())
    }
}
