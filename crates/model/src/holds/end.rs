//! How tasks and transactions end: commit, failure, and what their callbacks do.

use super::Holds;
use super::scenarios::HOLDS;
use super::state::{At, EPOCHS, HoldRow, HoldSession, HoldState};
use crate::mutant::Mutant;

impl Holds {
    /// The end of a task: the next one, or the transaction's.
    pub(super) fn next_task(&self, state: &mut HoldState, me: usize) -> At {
        let session = &mut state.sessions[me];
        let last = usize::from(session.task) + 1 == self.scenario.tasks[me].len();
        session.active_expiry_before = session.active_expiry.filter(|_| !last);
        (session.late, session.expires) = (false, 0);
        (session.tried, session.held_up) = (None, false);
        if usize::from(session.task) + 1 < self.scenario.tasks[me].len() {
            session.task += 1;
            return self.begin(me, usize::from(session.task));
        }
        if session.charged == 0 && session.rows.iter().all(Option::is_none) { session.at_end() } else { At::Written }
    }

    pub(super) fn become_visible(&self, state: &mut HoldState, me: usize) -> At {
        let session = &mut state.sessions[me];
        state.charged += std::mem::take(&mut session.charged);
        for hold in 0..HOLDS {
            if let Some(row) = session.rows[hold].take() {
                state.rows[hold] = row;
                state.charged += if let HoldRow::Resolved { cost } = row { cost } else { 0 };
            }
        }
        for share in &mut session.shares {
            (share.added, share.counted) = (0, 0);
        }
        let credit = session.shares.iter().any(|share| share.credit != 0 || share.held != 0);
        if !credit || (self.is(Mutant::ActiveExpiryClearedBeforeCredit) && session.active_expiry.is_some()) {
            return session.at_end();
        }
        At::Credit
    }

    pub(super) fn fail(&self, state: &mut HoldState, me: usize) {
        if state.lock == Some(me as u8) && self.is(Mutant::LockReleasedBeforeHorizonIsRestored) {
            state.lock = None;
        }
        let session = &mut state.sessions[me];
        session.forget_search();
        (session.loaded, session.charged, session.rows) = (None, 0, [None; HOLDS]);
        session.active_expiry_before = None;
        (session.late, session.expires) = (false, 0);
        (session.tried, session.held_up) = (None, false);
        for share in &mut session.shares {
            (share.credit, share.held, share.counted) = (0, 0, 0);
            share.added = if share.pinned { share.added } else { 0 };
        }
        if self.is(Mutant::HorizonNotRestored) {
            session.note = None;
        }
        state.sessions[me].at =
            if state.sessions[me].note.is_some() { At::RestoreHorizon } else { self.after_restoring(state, me) };
    }

    pub(super) fn restore_horizon(&self, state: &mut HoldState, me: usize) -> At {
        if let Some(before) = state.sessions[me].note.take()
            && let Some(entry) = state.entry_mut(me)
        {
            entry.horizon = before;
        }
        self.after_restoring(state, me)
    }

    pub(super) fn after_restoring(&self, state: &HoldState, me: usize) -> At {
        let session = &state.sessions[me];
        if session.shares.iter().any(|share| share.added != 0) { At::TakeBack } else { session.at_end() }
    }

    pub(super) fn credit(&self, state: &mut HoldState, me: usize) -> At {
        for epoch in 0..EPOCHS {
            let share = &mut state.sessions[me].shares[epoch];
            let (credit, held) = (std::mem::take(&mut share.credit), std::mem::take(&mut share.held));
            if let Some(entry) = &mut state.entries[epoch] {
                entry.reserved -= credit;
                entry.held += held;
            }
        }
        state.sessions[me].at_end()
    }

    pub(super) fn take_back(&self, state: &mut HoldState, me: usize) -> At {
        for epoch in 0..EPOCHS {
            let added = std::mem::take(&mut state.sessions[me].shares[epoch].added);
            if let Some(entry) = &mut state.entries[epoch] {
                entry.reserved -= added;
            }
        }
        state.sessions[me].at_end()
    }

    pub(super) fn clear_active_expiry(&self, state: &mut HoldState, me: usize) -> At {
        let session = &mut state.sessions[me];
        session.active_expiry = None;
        for share in &mut session.shares {
            share.counted = 0;
        }
        let credit = session.shares.iter().any(|share| share.credit != 0 || share.held != 0);
        if credit { At::Credit } else { At::Unpin }
    }

    pub(super) fn unpin(&self, state: &mut HoldState, me: usize) -> At {
        for epoch in 0..EPOCHS {
            if state.sessions[me].shares[epoch].pinned
                && let Some(entry) = &mut state.entries[epoch]
            {
                entry.pins -= 1;
            }
        }
        if state.lock == Some(me as u8) {
            state.lock = None;
        }
        state.sessions[me] = HoldSession::NEW;
        At::Done
    }
}
