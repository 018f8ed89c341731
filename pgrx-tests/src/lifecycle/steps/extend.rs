//! Reservations that live longer, or grow.

use anyhow::Result;
use rand::RngExt;

use crate::lifecycle::amounts::{clock, interval, quoted, usd};
use crate::lifecycle::model::{Extension, HOUR, Hold, ReservationState, SECOND, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

/// What is asked for.
struct ExtendPlan {
    hold: Hold,
    request: Option<String>,
    ttl: Option<i64>,
    additional: Option<i64>,
}

impl Walk<'_> {
    pub fn extend(&mut self) -> Result<Ended> {
        let Some(mut hold) = self.any_hold() else { return Ok(Ended::Well) };
        let used: Vec<String> = self
            .world
            .extensions
            .keys()
            .filter(|(tenant, _)| *tenant == hold.payer.tenant)
            .map(|(_, request)| request.clone())
            .collect();
        let request = self.chance(60).then(|| self.request(4, &used));
        let mut ttl = match self.rng.random_range(0..4) {
            0 => None,
            1 => Some(SECOND + self.rng.random_range(0..SECOND / 4)),
            _ => Some(self.pick(&[120 * SECOND, 36 * HOUR])),
        };
        let mut additional = self.chance(if ttl.is_none() { 100 } else { 50 }).then(|| self.amount());
        let known =
            request.as_ref().and_then(|it| self.world.extensions.get(&(hold.payer.tenant, it.clone()))).cloned();
        if let Some(known) = &known
            && self.chance(70)
            && let Some(extended) = self.world.hold(known.hold).cloned()
        {
            (hold, ttl, additional) = (extended, known.ttl, known.additional);
        }
        let sql = format!(
            "select allowed, reserved_usd, (extract(epoch from expires_at) * 1000000)::bigint, retryable, replayed, status
             from public.extend_reservation('{}', {}, {}, {})",
            hold.id,
            ttl.map_or("null".to_string(), interval),
            additional.map_or("null".to_string(), usd),
            quoted(request.as_ref())
        );
        let plan = ExtendPlan { hold, request, ttl, additional };
        match known {
            Some(known) => self.extend_again(&plan, &known, &sql),
            None => self.extend_first(plan, &sql),
        }
    }

    fn extend_again(&mut self, plan: &ExtendPlan, known: &Extension, sql: &str) -> Result<Ended> {
        let same = (known.hold, known.ttl, known.additional) == (plan.hold.id, plan.ttl, plan.additional);
        let mut row = match self.asked("extend again", sql, (!same).then_some("23505"))? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", true);
        row.money("reserved_usd", Some(known.reserved));
        row.is("expires_at", Some(known.expires_at));
        row.says("retryable", false);
        row.says("replayed", true);
        row.end()?;
        self.count("extend again: replayed");
        Ok(Ended::Well)
    }

    fn extend_first(&mut self, plan: ExtendPlan, sql: &str) -> Result<Ended> {
        let ExtendPlan { hold, request, ttl, additional } = plan;
        let error = matches!(hold.state, ReservationState::Committed | ReservationState::Released).then_some("55000");
        let expired = hold.has_expired(self.now);
        let reserved = hold.reserved + additional.unwrap_or_default();
        let wanted = ceil_nanos(reserved);
        let mut standing = self.world.standing(hold.payer, hold.reserved_at, self.now);
        self.without(&mut standing, &hold);
        let prediction = self.world.judge(&standing, wanted, hold.reserved_at);
        let allowed = prediction.allowed || !(expired || wanted > hold.nanos());
        let mut row = match self.asked("extend", sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", allowed);
        if !allowed {
            row.money("reserved_usd", Some(if expired { 0 } else { hold.reserved }));
            row.is("expires_at", Some(hold.expires_at));
            row.says("retryable", prediction.retryable);
            row.says("replayed", false);
            row.end()?;
            self.count(if expired { "extend: refused what had expired" } else { "extend: refused" });
            return Ok(Ended::Well);
        }
        row.money("reserved_usd", Some(reserved));
        let after = clock();
        let expires_at = match (ttl, expired) {
            (None, false) => row.between("expires_at", hold.expires_at, hold.expires_at),
            (Some(ttl), false) => {
                row.between("expires_at", hold.expires_at.max(self.now + ttl), hold.expires_at.max(after + ttl))
            }
            (ttl, true) => {
                let ttl = ttl.unwrap_or(hold.ttl);
                row.between("expires_at", self.now + ttl, after + ttl)
            }
        };
        row.says("retryable", false);
        row.says("replayed", false);
        row.is("status", Some(prediction.status.name()));
        row.end()?;
        self.world.change(hold.reserved_at, self.now, |world| {
            world.change_hold(hold.id, |hold| {
                (hold.state, hold.reserved, hold.expires_at) = (ReservationState::Held, reserved, expires_at);
            });
        });
        if let Some(request) = request {
            let extension = Extension { hold: hold.id, ttl, additional, reserved, expires_at };
            self.world.extensions.insert((hold.payer.tenant, request), extension);
        }
        self.count(if expired { "extend: admitted again" } else { "extend: extended" });
        Ok(Ended::Well)
    }
}
