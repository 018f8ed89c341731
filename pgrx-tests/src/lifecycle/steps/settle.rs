//! Committing and releasing what was set aside.

use anyhow::Result;

use crate::lifecycle::amounts::{quoted, usd};
use crate::lifecycle::model::{ReservationState, Settlement};
use crate::lifecycle::walk::{Ended, Walk};

impl Walk<'_> {
    pub fn commit(&mut self) -> Result<Ended> {
        let Some(hold) = self.any_hold() else { return Ok(Ended::Well) };
        let (id, of, is_known) = self.named(&hold);
        let mut cost = self.cost_near(hold.reserved);
        if let Some(settled) = &hold.settled
            && self.chance(70)
        {
            cost = settled.charged;
        }
        let reject = self.chance(30);
        let policy = if reject { "reject" } else { "record" };
        let sql = format!(
            "select status, charged_usd, released_usd, overrun_usd, late, replayed
             from public.commit_reservation('{id}', {}, '{policy}', {})",
            usd(cost),
            quoted(of)
        );
        let again = hold.settled.clone().filter(|_| hold.state == ReservationState::Committed);
        let error = match (&hold.state, &again) {
            _ if !is_known => Some("P0002"),
            (ReservationState::Committed, Some(settled)) if settled.charged != cost => Some("23505"),
            (ReservationState::Released, _) => Some("55000"),
            _ => None,
        };
        let mut row = match self.asked("commit", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let replayed = again.is_some();
        let rejected = !replayed && reject && cost > hold.reserved;
        let settled = match again {
            Some(settled) => settled,
            None if rejected => {
                let late = hold.has_expired(self.now);
                Settlement { charged: 0, released: 0, overrun: cost - hold.reserved, late }
            }
            None => self.settle(&hold, hold.payer, cost),
        };
        row.is("status", Some(if rejected { "rejected" } else { "committed" }));
        row.money("charged_usd", Some(settled.charged));
        row.money("released_usd", Some(settled.released));
        row.money("overrun_usd", Some(settled.overrun));
        row.says("late", settled.late);
        row.says("replayed", replayed);
        row.end()?;
        self.count(match (rejected, replayed, settled.late, settled.overrun > 0) {
            (true, ..) => "commit: rejected",
            (_, true, ..) => "commit: replayed",
            (_, _, true, _) => "commit: late",
            (_, _, _, true) => "commit: overrun",
            _ => "commit: within",
        });
        Ok(Ended::Well)
    }

    pub fn release(&mut self) -> Result<Ended> {
        let Some(hold) = self.any_hold() else { return Ok(Ended::Well) };
        let (id, of, is_known) = self.named(&hold);
        let sql = format!(
            "select status, released_usd, replayed from public.release_reservation('{id}', 'no need', {})",
            quoted(of)
        );
        let error = match hold.state {
            _ if !is_known => Some("P0002"),
            ReservationState::Committed => Some("55000"),
            _ => None,
        };
        let mut row = match self.asked("release", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let replayed = hold.state != ReservationState::Held;
        let expired = hold.has_expired(self.now);
        row.is("status", Some(if expired { "expired" } else { "released" }));
        row.money("released_usd", Some(if expired { 0 } else { hold.reserved }));
        row.says("replayed", replayed);
        row.end()?;
        let state = if expired { ReservationState::Expired } else { ReservationState::Released };
        self.world.change(hold.reserved_at, self.now, |world| world.change_hold(hold.id, |hold| hold.state = state));
        self.count(match (expired, replayed) {
            (_, true) => "release: replayed",
            (true, _) => "release: expired",
            (false, _) => "release: freed",
        });
        Ok(Ended::Well)
    }
}
