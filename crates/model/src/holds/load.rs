//! Loading an entry, as in the other model, cut down to what matters here.

use super::Holds;
use super::scenarios::{HOLDS, Task};
use super::state::{At, EntryShare, HoldEntry, HoldRow, HoldState, live};
use crate::mutant::Mutant;

impl Holds {
    pub(super) fn lock_for_load(&self, state: &mut HoldState, me: usize) -> At {
        if state.epoch != state.sessions[me].epoch {
            return At::Pin;
        }
        state.lock = Some(me as u8);
        At::Sum
    }

    /// Checks again under the lock; else sums the tables.
    pub(super) fn sum(&self, state: &mut HoldState, me: usize) -> At {
        if state.entry(me).is_some() {
            state.lock = None;
            return At::Pin;
        }
        self.activate_late_holds(state, me);
        self.sum_tables(state, me);
        At::PublishEntry
    }

    /// Those that were late elsewhere are active again: they may count here.
    fn activate_late_holds(&self, state: &mut HoldState, me: usize) {
        if self.is(Mutant::LoaderForgetsLateHolds) {
            return;
        }
        let own = (0..HOLDS).filter(|hold| state.sessions[me].rows[*hold].is_some());
        let expiry = |row: HoldRow| if let HoldRow::Held { expires, .. } = row { Some(expires) } else { None };
        let both = own.flat_map(|hold| [expiry(state.rows[hold]), expiry(state.row(me, hold))]);
        let first = both.chain([state.sessions[me].active_expiry]).flatten().min();
        let session = &mut state.sessions[me];
        (session.active_expiry, session.active_expiry_before) = (first, first);
    }

    /// The loader's sum: what is committed, and of its own what it has to take back or to credit. T is before its own
    /// active expiry, so that its holds count as its transaction found them and leaves them.
    fn sum_tables(&self, state: &mut HoldState, me: usize) {
        let active_expiry = state.sessions[me].active_expiry.filter(|_| !self.is(Mutant::LoaderPassesOwnActiveExpiry));
        let horizon = state.clock.min(active_expiry.map_or(u8::MAX, |active_expiry| active_expiry.saturating_sub(1)));
        let session = &mut state.sessions[me];
        let mut share = EntryShare { added: session.charged, ..EntryShare::default() };
        let (mut reserved, mut held) = (state.charged + session.charged, 0);
        for hold in 0..HOLDS {
            let own = session.rows[hold].is_some();
            let after = session.rows[hold].unwrap_or(state.rows[hold]);
            let counts_from = if own { 0 } else { horizon };
            let still_held = live(after, counts_from);
            let as_seen = self.is(Mutant::LoaderForgetsOwnHolds);
            let aborted = if as_seen { still_held } else { live(state.rows[hold], counts_from) };
            let committed = match after {
                HoldRow::Resolved { cost } if own => cost,
                _ => still_held,
            };
            reserved += aborted.max(committed);
            held += aborted;
            share.added += (committed - aborted).max(0);
            share.credit += (aborted - committed).max(0);
            share.held += still_held - aborted;
            if own && live(state.rows[hold], 0) > 0 {
                share.counted |= 1 << hold;
            }
        }
        session.loaded = Some((reserved, held, horizon));
        session.shares[usize::from(session.epoch)] = share;
    }

    pub(super) fn publish_entry(&self, state: &mut HoldState, me: usize, task: Task) {
        let session = &mut state.sessions[me];
        let (reserved, held, horizon) = session.loaded.take().unwrap_or_default();
        let pinned = !(matches!(task, Task::Resolve(..)) && self.is(Mutant::ResolverDoesNotPin));
        session.share().pinned = pinned;
        state.entries[usize::from(session.epoch)] = Some(HoldEntry { reserved, held, horizon, pins: u8::from(pinned) });
        state.lock = None;
    }
}
