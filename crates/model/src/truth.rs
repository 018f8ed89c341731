//! What a counter must be, told without reading counters or at answers.

use crate::machine::Escrow;
use crate::scenario::Op;
use crate::state::{Invariant, Kind, Pc, Session, State};
use crate::world::{PARTITIONS, QUOTAS};

impl Escrow {
    /// Committed, plus everything in flight that a quota has to count: what a counter of it holds when it is right.
    ///
    /// In flight is what a transaction has inserted, or added for a row that it is about to insert. It is so until the
    /// row is visible or the abort has given it back. A refund is in flight longer: its credit waits for the commit
    /// callback, in the epoch in which it was made.
    fn true_sum(&self, state: &State, quota: u8, epochs: [u8; PARTITIONS]) -> i8 {
        let in_flight = (0..state.sessions.len()).map(|me| self.in_flight(state, me, quota, epochs)).sum::<i8>();
        self.committed(state, quota) + in_flight
    }

    fn in_flight(&self, state: &State, me: usize, quota: u8, epochs: [u8; PARTITIONS]) -> i8 {
        if !self.scope(quota).covers(self.tenant(me)) {
            return 0;
        }
        let session = &state.sessions[me];
        let epoch = self.key(quota, epochs);
        let journaled = |kind, from_level| -> i8 {
            let items = session.journal.iter().filter(|item| {
                item.quota == quota && item.epoch == epoch && item.kind == kind && item.level >= from_level
            });
            items.map(|item| item.amount.abs()).sum()
        };
        if session.is_visible() {
            return journaled(Kind::Refund, 0);
        }
        match session.pc {
            Pc::Abort => journaled(Kind::Charge, 0),
            Pc::SubAbort => session.charged[0] + journaled(Kind::Charge, 1),
            _ => {
                let adding = if session.added & (1 << quota) != 0 { self.amount(state, me) } else { 0 };
                session.charged[0] + session.charged[1] + adding
            }
        }
    }

    /// What the call that a session is in charges or refunds.
    pub fn amount(&self, state: &State, me: usize) -> i8 {
        match self.op(state, me) {
            Some(Op::Charge(amount) | Op::ChargeOnce(amount) | Op::Record(amount) | Op::Refund(amount)) => amount,
            _ => 0,
        }
    }

    /// I5, in every state, for every entry that a session could still find. Entries of an earlier epoch are garbage, and
    /// while a partition is closed only its closer decides.
    pub fn drifted(&self, state: &State) -> bool {
        let current = |quota: u8| {
            let open = state.epoch[self.partition(quota)].is_multiple_of(2);
            open && state.tables.definitions[quota as usize].limit.is_some()
        };
        state.entries.iter().any(|entry| {
            entry.epoch == self.key(entry.quota, state.epoch)
                && current(entry.quota)
                && entry.reserved != self.true_sum(state, entry.quota, state.epoch)
        })
    }

    /// At the moment of the addition, or of the decision from the tables: the charge fits by the limit it was read with.
    pub fn fits(&self, state: &State, me: usize, quota: u8) -> bool {
        let limit = state.sessions[me].used[quota as usize].limit;
        limit.is_none_or(|limit| self.true_sum(state, quota, state.sessions[me].seen) + self.amount(state, me) <= limit)
    }

    /// The same, or by the limit that is in force now: while a change is committed and not acknowledged, either will do.
    /// What the transaction has changed itself is in force for it alone, and nothing else is.
    pub fn fits_somehow(&self, state: &State, me: usize, quota: u8) -> bool {
        if state.sessions[me].changes[quota as usize].is_some() {
            return self.fits(state, me, quota);
        }
        let now = state.tables.definitions[quota as usize].limit;
        let sum = self.true_sum(state, quota, state.sessions[me].seen) + self.amount(state, me);
        self.fits(state, me, quota) || now.is_none_or(|limit| sum <= limit)
    }

    /// At an admission: nothing was over, nothing outdated, nothing left out.
    pub fn judge_admission(&self, state: &mut State, me: usize) {
        let enforced = matches!(self.op(state, me), Some(Op::Charge(_) | Op::ChargeOnce(_)));
        let session = &state.sessions[me];
        let mine = |quota: &u8| self.scope(*quota).covers(self.tenant(me));
        let outdated = (0..QUOTAS as u8)
            .filter(mine)
            .any(|quota| session.used[quota as usize].version < state.acknowledged[quota as usize]);
        let partly = self.by_counter(state, me).any(|quota| session.added & (1 << quota) == 0);
        let over = session.over;
        if enforced && over {
            state.violate(Invariant::Overshoot);
        }
        if enforced && outdated {
            state.violate(Invariant::Outdated);
        }
        if partly && !matches!(self.op(state, me), Some(Op::Refund(_))) {
            state.violate(Invariant::AllOrNothing);
        }
    }

    /// At a refusal by one quota: it would not have fitted, by a limit that was in force when the call began or later.
    pub fn judge_refusal(&self, state: &mut State, me: usize, quota: u8) {
        let session = &state.sessions[me];
        let outdated = session.used[quota as usize].version < session.began[quota as usize];
        if outdated || self.fits(state, me, quota) {
            state.violate(Invariant::SpuriousRefusal);
        }
        state.sessions[me].duplicates = match self.op(state, me) {
            Some(Op::ChargeOnce(_)) => self.with_request(state),
            _ => 0,
        };
    }

    /// Sessions (bits) that have capacity or a row for the request id.
    fn with_request(&self, state: &State) -> u8 {
        let has = |(me, session): &(usize, &Session)| {
            let row = session.request_row && session.charged != [0; 2];
            row || (session.added != 0 && matches!(self.op(state, *me), Some(Op::ChargeOnce(_))))
        };
        state.sessions.iter().enumerate().filter(has).fold(0, |set, (me, _)| set | 1 << me)
    }

    /// When a call is told that its request was refused, no duplicate has committed. None that had taken room when this
    /// was decided has it still. A duplicate that takes room later comes after the refusal, as a retry would.
    pub fn judge_refused_duplicate(&self, state: &mut State, me: usize) {
        let duplicates = state.sessions[me].duplicates & self.with_request(state);
        if duplicates != 0 || state.tables.request_rows > 0 {
            state.violate(Invariant::Duplicate);
        }
    }
}
