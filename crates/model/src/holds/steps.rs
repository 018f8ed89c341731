//! The steps of charges, resolvers, makers and transactions that extend, up to their end.

use super::Holds;
use super::scenarios::Task;
use super::state::{At, HoldRow, HoldSession, HoldState};
use crate::mutant::Mutant;
use crate::state::Invariant;

impl Holds {
    pub(super) fn blocked(&self, state: &HoldState, me: usize) -> bool {
        let session = &state.sessions[me];
        let others = || state.sessions.iter().enumerate().filter(|(other, _)| *other != me).map(|(_, it)| it);
        match session.at {
            At::LoadLock => {
                let earlier = |other: &HoldSession| other.slot.is_some_and(|epoch| epoch < session.epoch);
                state.lock.is_some() || others().any(earlier)
            }
            At::ReadUnderLock => state.lock.is_some(),
            At::ExpireLock => state.lock.is_some() && !self.is(Mutant::TwoExpireAtOnce),
            At::RowLock => others().any(|other| other.locked & (1 << self.hold(state, me)) != 0),
            _ => false,
        }
    }

    pub(super) fn step(&self, state: &mut HoldState, me: usize) -> At {
        let task = self.task(state, me);
        let hold = self.hold(state, me);
        match state.sessions[me].at {
            At::Begin => self.begin_task(state, me, task),
            At::RowLock => self.lock_row(state, me, hold),
            At::Pin => self.pin(state, me, task),
            At::LoadLock => self.lock_for_load(state, me),
            At::Sum => self.sum(state, me),
            At::PublishEntry => {
                self.publish_entry(state, me, task);
                self.after_pin(task)
            }
            At::PublishActiveExpiry => {
                self.publish_active_expiry(state, me, task, hold);
                match task {
                    Task::Make(..) => At::Add,
                    _ if self.is(Mutant::ActiveExpiryPublishedAfterHorizon) => self.after_read(task),
                    _ => At::ReadHorizon,
                }
            }
            At::ReadHorizon => self.read_horizon(state, me, task, hold, false),
            At::ReadUnderLock => self.read_horizon(state, me, task, hold, true),
            At::AddCost => {
                if let Task::Resolve(_, cost) = task {
                    self.add_cost(state, me, hold, cost);
                }
                self.next_task(state, me)
            }
            At::ReadHorizonAfterAdding => self.read_after_adding(state, me, task, hold),
            At::Add => self.add(state, me, task, hold),
            At::ReadHeld => self.read_held(state, me),
            At::ExpireLock => self.lock_for_expiry(state, me),
            At::StoreHorizon => self.store_horizon(state, me),
            At::ReadActiveExpiry(of) => self.read_active_expiry(state, me, of),
            At::LowerHorizon => self.lower_horizon(state, me),
            At::Snapshot => self.snapshot(state, me),
            At::Subtract => self.subtract(state, me),
            At::SubtractHeld => self.subtract_held(state, me),
            At::Written if self.is(Mutant::ActiveExpiryClearedBeforeVisible) => {
                state.sessions[me].active_expiry = None;
                At::Visible
            }
            At::Written | At::Visible => self.become_visible(state, me),
            At::Credit => self.credit(state, me),
            At::RestoreHorizon => self.restore_horizon(state, me),
            At::TakeBack => self.take_back(state, me),
            At::ClearActiveExpiry => self.clear_active_expiry(state, me),
            At::Unpin => self.unpin(state, me),
            At::Done => At::Done,
        }
    }

    fn begin_task(&self, state: &mut HoldState, me: usize, task: Task) -> At {
        let next = match task {
            Task::Make(..) => At::Pin,
            Task::Extend(..) => At::RowLock,
            _ => {
                return match state.row(me, self.hold(state, me)) {
                    HoldRow::Held { .. } => At::RowLock,
                    _ => self.next_task(state, me),
                };
            }
        };
        if let Task::Make(_, _, lives) | Task::Extend(_, _, lives) = task {
            state.sessions[me].expires = state.clock + lives;
        }
        next
    }

    fn lock_row(&self, state: &mut HoldState, me: usize, hold: usize) -> At {
        state.sessions[me].locked |= 1 << hold;
        match state.row(me, hold) {
            HoldRow::Held { .. } => At::Pin,
            HoldRow::Resolved { .. } if self.is(Mutant::RowReadBeforeItsLock) => At::Pin,
            // A replay, or unknown.
            _ => self.next_task(state, me),
        }
    }

    /// Goes on in the epoch of now, and pins its entry.
    pub(super) fn pin(&self, state: &mut HoldState, me: usize, task: Task) -> At {
        let epoch = state.epoch;
        let session = &mut state.sessions[me];
        session.epoch = epoch;
        // A transaction that has done nothing yet enters again.
        let entered = session.slot.filter(|_| session.shares.iter().any(|share| share.pinned));
        session.slot = Some(entered.unwrap_or(epoch));
        let Some(entry) = &mut state.entries[usize::from(epoch)] else { return At::LoadLock };
        let pins = !(matches!(task, Task::Resolve(..)) && self.is(Mutant::ResolverDoesNotPin));
        if pins && !session.share().pinned {
            entry.pins += 1;
            session.share().pinned = true;
        }
        self.after_pin(task)
    }

    pub(super) fn after_pin(&self, task: Task) -> At {
        match task {
            Task::Charge(_) => At::Add,
            Task::Resolve(..) | Task::Extend(..) if self.is(Mutant::ActiveExpiryPublishedAfterHorizon) => {
                At::ReadHorizon
            }
            Task::Make(..) if self.is(Mutant::MakerReadsBeforePublishing) => At::ReadHorizonAfterAdding,
            _ => At::PublishActiveExpiry,
        }
    }

    pub(super) fn publish_active_expiry(&self, state: &mut HoldState, me: usize, task: Task, hold: usize) {
        let new = state.sessions[me].expires;
        let expires = match (task, state.row(me, hold)) {
            (Task::Make(..), _) => new,
            (Task::Extend(..), HoldRow::Held { expires, .. }) => expires.min(new),
            (_, HoldRow::Held { expires, .. }) => expires,
            _ => return,
        };
        let hidden = match task {
            Task::Make(..) => self.is(Mutant::HorizonPassesHoldBeingMade),
            _ => self.is(Mutant::HorizonPassesHoldBeingResolved),
        };
        let session = &mut state.sessions[me];
        if !hidden {
            let forgets = self.is(Mutant::ActiveExpiryForgetsEarlierHold);
            session.active_expiry = Some(
                session.active_expiry.filter(|_| !forgets).map_or(expires, |active_expiry| active_expiry.min(expires)),
            );
        }
    }

    pub(super) fn after_read(&self, task: Task) -> At {
        if matches!(task, Task::Resolve(..)) { At::AddCost } else { At::Add }
    }

    /// T has not passed the hold, or it is late. And an extended hold must expire after T.
    pub(super) fn read_horizon(&self, state: &mut HoldState, me: usize, task: Task, hold: usize, locked: bool) -> At {
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        let own = state.sessions[me].rows[hold].is_some();
        let passed = match state.row(me, hold) {
            HoldRow::Held { expires, .. } => expires <= horizon && !self.is(Mutant::LateIsNotDecided),
            _ => false,
        };
        if passed && !locked && !self.is(Mutant::LateDecidedWithoutLock) {
            return At::ReadUnderLock;
        }
        let session = &mut state.sessions[me];
        let checks = matches!(task, Task::Extend(..)) && !self.is(Mutant::ExtenderDoesNotReadHorizon);
        if checks && session.expires <= horizon {
            return self.start_again(state, me, task);
        }
        session.late = passed;
        if passed && locked && !self.is(Mutant::ActiveExpiryPublishedAfterHorizon) {
            // It is not counted, so no T needs to stay before it.
            let extended = matches!(task, Task::Extend(..)).then_some(session.expires);
            session.active_expiry = [session.active_expiry_before, extended].into_iter().flatten().min();
        }
        if !passed && !own {
            session.share().counted |= 1 << hold;
        }
        if self.is(Mutant::ActiveExpiryPublishedAfterHorizon) {
            return At::PublishActiveExpiry;
        }
        self.after_read(task)
    }

    pub(super) fn read_after_adding(&self, state: &mut HoldState, me: usize, task: Task, hold: usize) -> At {
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        let amount = self.amount(state, me);
        let session = &mut state.sessions[me];
        let too_early = self.is(Mutant::MakerReadsBeforePublishing);
        if session.expires <= horizon && !self.is(Mutant::MakerDoesNotReadHorizon) {
            if !too_early {
                session.share().added -= amount;
                if let Some(entry) = state.entry_mut(me) {
                    entry.reserved -= amount;
                }
            }
            return self.start_again(state, me, task);
        }
        if too_early {
            return At::PublishActiveExpiry;
        }
        self.write_hold(state, me, hold, amount);
        self.next_task(state, me)
    }

    /// With an expiry after T and the clock. The active expiry stays as it was.
    pub(super) fn start_again(&self, state: &mut HoldState, me: usize, task: Task) -> At {
        let horizon = state.entry(me).map_or(0, |entry| entry.horizon);
        let row = state.row(me, self.hold(state, me));
        let from = if self.is(Mutant::MakerStartsAgainByTheClock) { state.clock } else { state.clock.max(horizon) };
        let session = &mut state.sessions[me];
        if let Task::Make(_, _, lives) | Task::Extend(_, _, lives) = task {
            session.expires = from + lives;
        }
        (session.tried, session.held_up) = (None, false);
        // The earlier expiry is given up; that of a hold to be extended is not.
        let extended = match (task, row) {
            (Task::Extend(..), HoldRow::Held { expires, .. }) => Some(expires),
            _ => None,
        };
        session.active_expiry =
            [session.active_expiry_before, extended, Some(session.expires)].into_iter().flatten().min();
        if session.expires <= horizon {
            // It would for ever.
            state.broken = Some(Invariant::Stuck);
        }
        self.after_pin(task)
    }

    /// A resolver charges without a limit: everything when late, else what exceeds the hold; less is credited later.
    pub(super) fn add_cost(&self, state: &mut HoldState, me: usize, hold: usize, cost: i8) {
        let amount = match state.row(me, hold) {
            HoldRow::Held { amount, .. } => amount,
            // Only a transaction that reads the row before it has its lock gets here.
            _ => self.scenario.holds[hold].map_or(0, |(amount, _)| amount),
        };
        let session = &mut state.sessions[me];
        let counted = if session.late { 0 } else { amount };
        let added = (cost - counted).max(0);
        let share = session.share();
        share.added += added;
        share.credit += (counted - cost).max(0);
        share.held -= counted;
        session.rows[hold] = Some(HoldRow::Resolved { cost });
        if let Some(entry) = state.entry_mut(me) {
            entry.reserved += added;
        }
    }

    /// A hold made or extended: `added` to it.
    pub(super) fn write_hold(&self, state: &mut HoldState, me: usize, hold: usize, added: i8) {
        let before = match (self.task(state, me), state.row(me, hold)) {
            (Task::Extend(_, more, _), HoldRow::Held { amount, .. }) => amount + more,
            _ => added,
        };
        let session = &mut state.sessions[me];
        session.share().held += added;
        session.rows[hold] = Some(HoldRow::Held { amount: before, expires: session.expires });
    }

    pub(super) fn add(&self, state: &mut HoldState, me: usize, task: Task, hold: usize) -> At {
        let amount = self.amount(state, me);
        let limit = self.scenario.limit;
        let truth = self.true_sum(state, usize::from(state.sessions[me].epoch));
        let Some(entry) = state.entry_mut(me) else { return At::Unpin };
        if entry.reserved + amount > limit {
            return if state.sessions[me].tried.is_none() { At::ReadHeld } else { self.refuse(state, me) };
        }
        entry.reserved += amount;
        let session = &mut state.sessions[me];
        session.share().added += amount;
        if truth + amount > limit {
            state.broken = Some(Invariant::Overshoot);
        }
        match task {
            Task::Make(..) if !self.is(Mutant::MakerReadsBeforePublishing) => return At::ReadHorizonAfterAdding,
            Task::Make(..) | Task::Extend(..) => self.write_hold(state, me, hold, amount),
            _ => session.charged += amount,
        }
        self.next_task(state, me)
    }
}
