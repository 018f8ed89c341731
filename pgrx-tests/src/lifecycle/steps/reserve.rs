//! Setting money aside.

use anyhow::Result;
use rand::RngExt;
use uuid::Uuid;

use crate::lifecycle::amounts::{clock, interval, quoted, usd};
use crate::lifecycle::model::{HOUR, Hold, Payer, ReservationState, SECOND, ceil_nanos};
use crate::lifecycle::walk::{Ended, Walk};

/// The columns that tell figures of a quota, by their place among them.
const FIGURES: [(&str, usize); 3] = [("limit_usd", 0), ("current_spend_usd", 1), ("remaining_usd", 3)];

/// What is asked for.
struct ReservePlan {
    payer: Payer,
    request: String,
    amount: i64,
    ttl: i64,
}

impl Walk<'_> {
    pub fn reserve(&mut self) -> Result<Ended> {
        let mut payer = self.payer();
        let used: Vec<String> = self
            .world
            .holds
            .iter()
            .filter(|hold| hold.payer.tenant == payer.tenant)
            .map(|hold| hold.request.clone())
            .collect();
        let request = self.request(6, &used);
        let mut amount = self.amount();
        let mut ttl = if self.chance(20) {
            SECOND + self.rng.random_range(0..SECOND / 4)
        } else {
            self.pick(&[60 * SECOND, 24 * HOUR, 8 * 24 * HOUR])
        };
        let known =
            self.world.holds.iter().find(|hold| hold.payer.tenant == payer.tenant && hold.request == request).cloned();
        if let Some(known) = &known
            && self.chance(70)
        {
            (payer, amount, ttl) = (known.payer, known.requested, known.ttl);
        }
        let sql = format!(
            "select allowed, reservation_id, reserved_usd, (extract(epoch from expires_at) * 1000000)::bigint, replayed,
                    retryable, blocked_scope, blocked_resource_type, status, limit_usd, current_spend_usd, remaining_usd
             from public.reserve_quota({}, '{}', {}, '{request}', {}, {})",
            quoted(payer.tenant),
            payer.resource.name(),
            usd(amount),
            quoted(payer.user),
            interval(ttl)
        );
        let plan = ReservePlan { payer, request, amount, ttl };
        let same = |known: &Hold| (known.payer, known.requested, known.ttl) == (plan.payer, plan.amount, plan.ttl);
        match known {
            Some(known)
                if same(&known) && (known.state == ReservationState::Released || known.has_expired(self.now)) =>
            {
                self.reserve_first(plan, Some(&known), &sql)
            }
            Some(known) => self.reserve_again(&plan, &known, &sql),
            None => self.reserve_first(plan, None, &sql),
        }
    }

    fn reserve_again(&mut self, plan: &ReservePlan, known: &Hold, sql: &str) -> Result<Ended> {
        let standing = self.world.standing(plan.payer, self.now, self.now);
        let same = (known.payer, known.requested, known.ttl) == (plan.payer, plan.amount, plan.ttl);
        let mut row = match self.asked("reserve again", sql, (!same).then_some("23505"))? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let prediction = self.world.judge(&standing, 0, self.now);
        row.says("allowed", true);
        row.is("reservation_id", Some(known.id));
        row.money("reserved_usd", Some(known.requested));
        row.is("expires_at", Some(known.reserved_at + known.ttl));
        row.says("replayed", true);
        row.says("retryable", false);
        row.pass(2);
        let figures = self.figures(&prediction, &standing, 0, 0);
        self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
        row.end()?;
        self.count("reserve again: replayed");
        Ok(Ended::Well)
    }

    /// A request that is new, or whose hold is there no more: that one is admitted again.
    fn reserve_first(&mut self, plan: ReservePlan, gone: Option<&Hold>, sql: &str) -> Result<Ended> {
        let ReservePlan { payer, request, amount, ttl } = plan;
        let standing = self.world.standing(payer, self.now, self.now);
        let nanos = ceil_nanos(amount);
        let prediction = self.world.judge(&standing, nanos, self.now);
        let mut row = match self.asked("reserve", sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", prediction.allowed);
        if prediction.allowed {
            let id = match gone {
                Some(gone) => {
                    row.is("reservation_id", Some(gone.id));
                    gone.id
                }
                None => row.id("reservation_id"),
            };
            row.money("reserved_usd", Some(amount));
            let expires_at = row.between("expires_at", self.now + ttl, clock() + ttl);
            row.says("replayed", false);
            row.says("retryable", false);
            row.pass(2);
            let figures = self.figures(&prediction, &standing, 0, nanos);
            self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
            row.end()?;
            self.world.holds.retain(|hold| hold.id != id);
            self.world.holds.push(Hold {
                id,
                payer,
                request,
                requested: amount,
                ttl,
                reserved: amount,
                reserved_at: expires_at - ttl,
                expires_at,
                state: ReservationState::Held,
                settled: None,
            });
            self.count(if gone.is_some() { "reserve: held again" } else { "reserve: held" });
        } else {
            row.is("reservation_id", None::<Uuid>);
            row.money("reserved_usd", None);
            row.is("expires_at", None::<i64>);
            row.says("replayed", false);
            row.says("retryable", prediction.retryable);
            let blocking = &self.world.quotas[prediction.told[0]];
            row.is("blocked_scope", Some(blocking.scope.name()));
            row.is("blocked_resource_type", Some(blocking.resource.name()));
            let figures = self.figures(&prediction, &standing, 0, 0);
            self.compare_figures(&mut row, prediction.status, &figures, &FIGURES);
            row.end()?;
            if let Some(gone) = gone {
                // It was marked before the new one was asked for, and a refusal is no error.
                let marked = self.world.holds.iter_mut().filter(|hold| hold.id == gone.id);
                for hold in marked.filter(|hold| hold.state == ReservationState::Held) {
                    hold.state = ReservationState::Expired;
                }
            }
            self.count(if prediction.retryable { "reserve: refused, retryable" } else { "reserve: refused" });
        }
        Ok(Ended::Well)
    }
}
