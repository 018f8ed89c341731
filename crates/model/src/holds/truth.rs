//! What a counter must be, told from rows and transactions, and what is checked against it.

use super::Holds;
use super::state::{At, EPOCHS, HoldSession, HoldState, live};
use crate::mutant::{Mutant, Watch};
use crate::state::Invariant;

impl Holds {
    /// Nothing that had expired when it was tried still counts, unless it was active or behind an active hold.
    pub(super) fn refuse(&self, state: &mut HoldState, me: usize) -> At {
        let amount = self.amount(state, me);
        let session = &state.sessions[me];
        let epoch = usize::from(session.epoch);
        let (tried, held_up, horizon) = (session.tried.unwrap_or(0), session.held_up, state.horizon(epoch));
        let expired = state.rows.iter().any(|row| live(*row, horizon) > live(*row, horizon.max(tried)));
        if self.true_sum(state, epoch) + amount <= self.scenario.limit || (expired && !held_up) {
            state.broken = Some(Invariant::SpuriousRefusal);
        }
        self.next_task(state, me)
    }

    /// Holds whose row is held and that T has not passed, or that a transaction in flight has found counted.
    pub(super) fn true_held(&self, state: &HoldState, epoch: usize) -> i8 {
        let horizon = state.horizon(epoch);
        let counted = state.sessions.iter().fold(0, |set, session| set | session.shares[epoch].counted);
        let holds = state.rows.iter().enumerate();
        holds.map(|(hold, row)| live(*row, if counted & (1 << hold) != 0 { 0 } else { horizon })).sum()
    }

    /// Charges, holds that count, and what transactions in flight have added or have yet to credit.
    pub(super) fn true_sum(&self, state: &HoldState, epoch: usize) -> i8 {
        let in_flight = state.sessions.iter().map(|session| {
            let share = &session.shares[epoch];
            // The loader's own, before the entry is there, concerns no other.
            let added = if share.pinned || self.is(Mutant::ResolverDoesNotPin) { share.added } else { 0 };
            // A credit counts once it is committed, and is subtracted a step later.
            added + if self.is_visible(session) { share.credit } else { 0 }
        });
        state.charged + self.true_held(state, epoch) + in_flight.sum::<i8>()
    }

    /// Committed, and seen by all; callbacks have begun.
    pub(super) fn is_visible(&self, session: &HoldSession) -> bool {
        matches!(session.at, At::Credit | At::ClearActiveExpiry | At::Unpin)
    }

    pub(super) fn judge(&self, state: &mut HoldState) {
        let watched = self.watch == Watch::Everything && state.broken.is_none();
        for epoch in 0..EPOCHS {
            // One of an earlier epoch is found only by a transaction that entered it, until it has loaded the next.
            let entered = state.sessions.iter().any(|session| session.slot == Some(epoch as u8));
            let found = usize::from(state.epoch) == epoch || (entered && state.entries[EPOCHS - 1].is_none());
            let Some(entry) = state.entries[epoch].filter(|_| watched && found) else { continue };
            let late = state.sessions.iter().map(|session| {
                let visible = if self.is_visible(session) { session.shares[epoch].held } else { 0 };
                let expiring = session.at == At::SubtractHeld && usize::from(session.epoch) == epoch;
                (if expiring { session.sum } else { 0 }) - visible
            });
            let held = self.true_held(state, epoch) + late.sum::<i8>();
            if entry.reserved != self.true_sum(state, epoch) || entry.held != held {
                state.broken = Some(Invariant::Drift);
            }
        }
        let done = state.sessions.iter().all(|session| session.at == At::Done);
        let leaks = state.entries.iter().flatten().any(|entry| entry.pins > 0) || state.lock.is_some();
        if state.broken.is_none() && done && leaks {
            state.broken = Some(Invariant::Leak);
        }
        let stuck =
            !done && (0..state.sessions.len()).all(|me| state.sessions[me].at == At::Done || self.blocked(state, me));
        if state.broken.is_none() && stuck {
            state.broken = Some(Invariant::Stuck);
        }
    }
}
