//! Expiry: moving T, reading the active expiries, and giving back what T has passed.

use super::Holds;
use super::scenarios::{HOLDS, Task};
use super::state::{At, HoldRow, HoldState, live};
use crate::mutant::Mutant;

impl Holds {
    pub(super) fn read_held(&self, state: &mut HoldState, me: usize) -> At {
        if state.entry(me).is_some_and(|entry| entry.held > 0) {
            return At::ExpireLock;
        }
        if self.is(Mutant::NothingHeldIsBelieved) {
            return self.refuse(state, me);
        }
        let held_up = state.sessions.iter().any(|session| session.active_expiry.is_some());
        let session = &mut state.sessions[me];
        (session.tried, session.held_up) = (Some(state.clock), held_up);
        At::Add
    }

    pub(super) fn lock_for_expiry(&self, state: &mut HoldState, me: usize) -> At {
        state.lock = Some(me as u8);
        if self.is(Mutant::ActiveExpiriesReadBeforeHorizonIsStored) {
            self.read_active_expiries_from(0).unwrap_or(At::StoreHorizon)
        } else {
            At::StoreHorizon
        }
    }

    pub(super) fn store_horizon(&self, state: &mut HoldState, me: usize) -> At {
        let Some(entry) = state.entry(me) else { return At::Unpin };
        let back = self.is(Mutant::HorizonMovesBackwards);
        let read_before = self.is(Mutant::ActiveExpiriesReadBeforeHorizonIsStored);
        let session = &mut state.sessions[me];
        session.clock = state.clock;
        session.note = Some(entry.horizon);
        let to = if back { state.clock } else { state.clock.max(entry.horizon) };
        let first = session.earliest_active_expiry;
        if let Some(entry) = state.entry_mut(me) {
            entry.horizon = to;
        }
        if read_before {
            return if first.is_some_and(|first| first <= to) { At::LowerHorizon } else { At::Snapshot };
        }
        if self.is(Mutant::ActiveExpiriesReadAfterSnapshot) {
            return At::Snapshot;
        }
        self.read_active_expiries_from(0).unwrap_or(At::Snapshot)
    }

    /// Slot by slot; those of transactions that never have an active hold are passed over.
    pub(super) fn read_active_expiries_from(&self, from: usize) -> Option<At> {
        let has_holds = |me: &usize| self.scenario.tasks[*me].iter().any(|task| !matches!(task, Task::Charge(_)));
        (from..self.scenario.tasks.len()).find(has_holds).map(|of| At::ReadActiveExpiry(of as u8))
    }

    pub(super) fn read_active_expiry(&self, state: &mut HoldState, me: usize, of: u8) -> At {
        let own = usize::from(of) == me && self.is(Mutant::ExpirerForgetsItsOwnActiveExpiry);
        let active_expiry = state.sessions[usize::from(of)].active_expiry.filter(|_| !own);
        let session = &mut state.sessions[me];
        session.earliest_active_expiry = [session.earliest_active_expiry, active_expiry].into_iter().flatten().min();
        if let Some(next) = self.read_active_expiries_from(usize::from(of) + 1) {
            return next;
        }
        if self.is(Mutant::ActiveExpiriesReadBeforeHorizonIsStored) {
            return At::StoreHorizon;
        }
        let first = session.earliest_active_expiry;
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        if first.is_some_and(|first| first <= horizon) {
            return At::LowerHorizon;
        }
        if self.is(Mutant::ActiveExpiriesReadAfterSnapshot) {
            let seen = std::mem::take(&mut state.sessions[me].seen);
            self.sum_passed(state, me, seen);
            return At::Subtract;
        }
        At::Snapshot
    }

    pub(super) fn lower_horizon(&self, state: &mut HoldState, me: usize) -> At {
        let session = &mut state.sessions[me];
        let before = session.note.unwrap_or(0);
        let first = session.earliest_active_expiry.unwrap_or(u8::MAX);
        let to = before.max(first.saturating_sub(1));
        let gained = to > before;
        if !gained {
            session.note = None;
        }
        if let Some(entry) = state.entry_mut(me) {
            entry.horizon = to;
        }
        if !gained {
            let again = self.end_expiry(state, me);
            return if self.is(Mutant::NothingGainedIsRefused) { self.refuse(state, me) } else { again };
        }
        if self.is(Mutant::ActiveExpiriesReadAfterSnapshot) {
            let seen = std::mem::take(&mut state.sessions[me].seen);
            self.sum_passed(state, me, seen);
            return At::Subtract;
        }
        At::Snapshot
    }

    pub(super) fn snapshot(&self, state: &mut HoldState, me: usize) -> At {
        let seen = std::array::from_fn(|hold| Some(state.row(me, hold)));
        if self.is(Mutant::ActiveExpiriesReadAfterSnapshot) {
            state.sessions[me].seen = seen;
            return self.read_active_expiries_from(0).unwrap_or(At::Subtract);
        }
        self.sum_passed(state, me, seen);
        At::Subtract
    }

    /// Of the rows of a snapshot, those that T has passed by moving.
    pub(super) fn sum_passed(&self, state: &mut HoldState, me: usize, seen: [Option<HoldRow>; HOLDS]) {
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        let session = &mut state.sessions[me];
        let before = session.note.unwrap_or(horizon);
        session.sum = seen.into_iter().flatten().map(|row| (live(row, before) - live(row, horizon)).max(0)).sum();
    }

    pub(super) fn subtract(&self, state: &mut HoldState, me: usize) -> At {
        let held_first = self.is(Mutant::HeldSubtractedFirst);
        let sum = state.sessions[me].sum;
        if let Some(entry) = state.entry_mut(me) {
            *(if held_first { &mut entry.held } else { &mut entry.reserved }) -= sum;
        }
        if !held_first {
            state.sessions[me].note = None;
        }
        At::SubtractHeld
    }

    pub(super) fn subtract_held(&self, state: &mut HoldState, me: usize) -> At {
        let held_first = self.is(Mutant::HeldSubtractedFirst);
        let sum = state.sessions[me].sum;
        if let Some(entry) = state.entry_mut(me) {
            *(if held_first { &mut entry.reserved } else { &mut entry.held }) -= sum;
        }
        self.end_expiry(state, me)
    }

    pub(super) fn end_expiry(&self, state: &mut HoldState, me: usize) -> At {
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        if state.lock == Some(me as u8) {
            state.lock = None;
        }
        let session = &mut state.sessions[me];
        session.tried = Some(session.clock);
        session.held_up = horizon < session.clock;
        session.note = None;
        session.forget_search();
        At::Add
    }
}
