//! What becomes of a reservation: committed, released, or marked as expired.

use pgrx::Uuid;

use super::charge::charge;
use super::direct_charge::DirectCharge;
use super::reservation::{Reservation, Settlement, State, mode_of};
use super::under_way::{Affected, UnderWay};
use crate::admission::AdmissionMode;
use crate::error::{Error, Result};
use crate::pg::clock_timestamp;
use crate::pg::spi::types::{BIGINT, MOMENT};
use crate::pg::spi::{Plan, Session};
use crate::pg::value::Value;
use tollgate_core::money::Picos;

/// What `commit_reservation` has to tell.
pub struct Commit {
    pub status: &'static str,
    pub settled: Settlement,
    pub replayed: bool,
}

/// Charges what a reservation came to. With `reject` more than was set aside is refused.
pub fn commit(spi: &Session, id: Uuid, tenant: Option<Uuid>, cost: Picos, reject: bool) -> Result<Commit> {
    let mode = mode_of(spi, id, tenant)?;
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
        let settled = Settlement { charged: Picos::ZERO, released: Picos::ZERO, overrun, late };
        return Ok(Commit { status: "rejected", settled, replayed: false });
    }
    let payer = reservation.payer;
    let bare = DirectCharge { payer, cost, request_id: None, enforce: false, reservation: Some(id), log_denial: false };
    let outcome = charge(spi, &mode, &bare, Some(reservation))?;
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
    let mode = mode_of(spi, id, tenant)?;
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
    reservation.give_up(spi, &mode, state, reason, now)?;
    Ok(Release { status: state.as_str(), released, replayed: false })
}

const EXPIRED: &str = "
    select r.id, r.tenant_id
    from copilot_internal.quota_reservations r
    where r.state = 'held' and r.expires_at <= $1
    order by r.expires_at
    limit $2
    for update skip locked";
static EXPIRED_PLAN: Plan = Plan::new(EXPIRED, &[MOMENT, BIGINT]);

/// Marks reservations that have expired, skipping those that another transaction has locked, and those of a call whose
/// trigger asks. No figure depends on it: a charge that needs the room has it already. In the escrow mode it is a release
/// like any other, since counters may still count them.
pub fn expire(spi: &Session, most: i64) -> Result<i64> {
    let mode = AdmissionMode::open_for_housekeeping()?;
    let now = clock_timestamp();
    let rows = spi.run_write(&EXPIRED_PLAN, &[Value::timestamp(now), most.into()])?;
    let mut found: Vec<(Uuid, Uuid)> =
        rows.iter().map(|row| Ok((row.need(1)?, row.need(2)?))).collect::<Result<_>>()?;
    found.retain(|(id, _)| !UnderWay::meets(Affected::Hold(*id)));
    for (id, tenant) in &found {
        let reservation = Reservation::lock(spi, *id, Some(*tenant))?;
        if mode.keeps_counters() {
            reservation.give_up(spi, &mode, State::Expired, None, now)?;
        } else {
            reservation.resolve(spi, State::Expired, None, None, now)?;
        }
    }
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX))
}
