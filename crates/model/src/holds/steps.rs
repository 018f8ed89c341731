//! The steps of charges, resolvers, makers and transactions that extend, up to their end.

use super::Holds;
use super::scenarios::Task;
use super::state::{At, HoldRow, HoldSession, HoldState};
use crate::mutant::Mutant;
use crate::state::Invariant;

impl Holds {
    pub(super) fn blocked(&self, state: &HoldState, who: usize) -> bool {
        let session = &state.sessions[who];
        let others = || state.sessions.iter().enumerate().filter(|(other, _)| *other != who).map(|(_, it)| it);
        match session.at {
            At::LoadLock => {
                let earlier = |other: &HoldSession| other.slot.is_some_and(|epoch| epoch < session.epoch);
                state.lock.is_some() || others().any(earlier)
            }
            At::LookUnderLock => state.lock.is_some(),
            At::ExpireLock => state.lock.is_some() && !self.is(Mutant::TwoExpireAtOnce),
            At::RowLock => others().any(|other| other.locked & (1 << self.hold(state, who)) != 0),
            _ => false,
        }
    }

    pub(super) fn step(&self, state: &mut HoldState, who: usize) -> At {
        let task = self.task(state, who);
        let hold = self.hold(state, who);
        match state.sessions[who].at {
            At::Begin => self.begin_task(state, who, task),
            At::RowLock => self.lock_row(state, who, hold),
            At::Pin => self.pin(state, who, task),
            At::LoadLock => self.lock_for_load(state, who),
            At::Sum => self.sum(state, who),
            At::PublishEntry => {
                self.publish_entry(state, who, task);
                self.after_pin(task)
            }
            At::PublishActiveExpiry => {
                self.publish_active_expiry(state, who, task, hold);
                match task {
                    Task::Make(..) => At::Add,
                    _ if self.is(Mutant::ActiveExpiryPublishedAfterHorizon) => self.after_look(task),
                    _ => At::LookAtHorizon,
                }
            }
            At::LookAtHorizon => self.look_at_horizon(state, who, task, hold, false),
            At::LookUnderLock => self.look_at_horizon(state, who, task, hold, true),
            At::AddCost => {
                if let Task::Resolve(_, cost) = task {
                    self.add_cost(state, who, hold, cost);
                }
                self.next_task(state, who)
            }
            At::LookAtHorizonAfterAdding => self.look_after_adding(state, who, task, hold),
            At::Add => self.add(state, who, task, hold),
            At::LookAtHeld => self.look_at_held(state, who),
            At::ExpireLock => self.lock_for_expiry(state, who),
            At::StoreHorizon => self.store_horizon(state, who),
            At::ReadActiveExpiry(of) => self.read_active_expiry(state, who, of),
            At::LowerHorizon => self.lower_horizon(state, who),
            At::Snapshot => self.snapshot(state, who),
            At::Subtract => self.subtract(state, who),
            At::SubtractHeld => self.subtract_held(state, who),
            At::Written if self.is(Mutant::ActiveExpiryClearedBeforeVisible) => {
                state.sessions[who].active_expiry = None;
                At::Visible
            }
            At::Written | At::Visible => self.become_visible(state, who),
            At::Credit => self.credit(state, who),
            At::RestoreHorizon => self.restore_horizon(state, who),
            At::TakeBack => self.take_back(state, who),
            At::ClearActiveExpiry => self.clear_active_expiry(state, who),
            At::Unpin => self.unpin(state, who),
            At::Done => At::Done,
        }
    }

    fn begin_task(&self, state: &mut HoldState, who: usize, task: Task) -> At {
        let next = match task {
            Task::Make(..) => At::Pin,
            Task::Extend(..) => At::RowLock,
            _ => {
                return match state.row(who, self.hold(state, who)) {
                    HoldRow::Held { .. } => At::RowLock,
                    _ => self.next_task(state, who),
                };
            }
        };
        if let Task::Make(_, _, lives) | Task::Extend(_, _, lives) = task {
            state.sessions[who].expires = state.clock + lives;
        }
        next
    }

    fn lock_row(&self, state: &mut HoldState, who: usize, hold: usize) -> At {
        state.sessions[who].locked |= 1 << hold;
        match state.row(who, hold) {
            HoldRow::Held { .. } => At::Pin,
            HoldRow::Resolved { .. } if self.is(Mutant::RowReadBeforeItsLock) => At::Pin,
            // A replay, or unknown.
            _ => self.next_task(state, who),
        }
    }

    /// Goes on in the epoch of now, and pins its entry.
    pub(super) fn pin(&self, state: &mut HoldState, who: usize, task: Task) -> At {
        let epoch = state.epoch;
        let session = &mut state.sessions[who];
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
                At::LookAtHorizon
            }
            Task::Make(..) if self.is(Mutant::MakerLooksBeforePublishing) => At::LookAtHorizonAfterAdding,
            _ => At::PublishActiveExpiry,
        }
    }

    pub(super) fn publish_active_expiry(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) {
        let new = state.sessions[who].expires;
        let expires = match (task, state.row(who, hold)) {
            (Task::Make(..), _) => new,
            (Task::Extend(..), HoldRow::Held { expires, .. }) => expires.min(new),
            (_, HoldRow::Held { expires, .. }) => expires,
            _ => return,
        };
        let hidden = match task {
            Task::Make(..) => self.is(Mutant::HorizonPassesHoldBeingMade),
            _ => self.is(Mutant::HorizonPassesHoldBeingResolved),
        };
        let session = &mut state.sessions[who];
        if !hidden {
            let forgets = self.is(Mutant::ActiveExpiryForgetsEarlierHold);
            session.active_expiry = Some(
                session.active_expiry.filter(|_| !forgets).map_or(expires, |active_expiry| active_expiry.min(expires)),
            );
        }
    }

    pub(super) fn after_look(&self, task: Task) -> At {
        if matches!(task, Task::Resolve(..)) { At::AddCost } else { At::Add }
    }

    /// T has not passed the hold, or it is late. And an extended hold must expire after T.
    pub(super) fn look_at_horizon(
        &self,
        state: &mut HoldState,
        who: usize,
        task: Task,
        hold: usize,
        locked: bool,
    ) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let own = state.sessions[who].rows[hold].is_some();
        let passed = match state.row(who, hold) {
            HoldRow::Held { expires, .. } => expires <= horizon && !self.is(Mutant::LateIsNotDecided),
            _ => false,
        };
        if passed && !locked && !self.is(Mutant::LateDecidedWithoutLock) {
            return At::LookUnderLock;
        }
        let session = &mut state.sessions[who];
        let looks = matches!(task, Task::Extend(..)) && !self.is(Mutant::ExtenderDoesNotLookAtHorizon);
        if looks && session.expires <= horizon {
            return self.start_again(state, who, task);
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
        self.after_look(task)
    }

    pub(super) fn look_after_adding(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let amount = self.amount(state, who);
        let session = &mut state.sessions[who];
        let too_early = self.is(Mutant::MakerLooksBeforePublishing);
        if session.expires <= horizon && !self.is(Mutant::MakerDoesNotLookAtHorizon) {
            if !too_early {
                session.share().added -= amount;
                if let Some(entry) = state.entry_mut(who) {
                    entry.reserved -= amount;
                }
            }
            return self.start_again(state, who, task);
        }
        if too_early {
            return At::PublishActiveExpiry;
        }
        self.write_hold(state, who, hold, amount);
        self.next_task(state, who)
    }

    /// With an expiry after T and the clock. The active expiry stays as it was.
    pub(super) fn start_again(&self, state: &mut HoldState, who: usize, task: Task) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let row = state.row(who, self.hold(state, who));
        let from = if self.is(Mutant::MakerStartsAgainByTheClock) { state.clock } else { state.clock.max(horizon) };
        let session = &mut state.sessions[who];
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
    pub(super) fn add_cost(&self, state: &mut HoldState, who: usize, hold: usize, cost: i8) {
        let amount = match state.row(who, hold) {
            HoldRow::Held { amount, .. } => amount,
            // Only a transaction that reads the row before it has its lock gets here.
            _ => self.scenario.holds[hold].map_or(0, |(amount, _)| amount),
        };
        let session = &mut state.sessions[who];
        let counted = if session.late { 0 } else { amount };
        let added = (cost - counted).max(0);
        let share = session.share();
        share.added += added;
        share.credit += (counted - cost).max(0);
        share.held -= counted;
        session.rows[hold] = Some(HoldRow::Resolved { cost });
        if let Some(entry) = state.entry_mut(who) {
            entry.reserved += added;
        }
    }

    /// A hold made or extended: `added` to it.
    pub(super) fn write_hold(&self, state: &mut HoldState, who: usize, hold: usize, added: i8) {
        let before = match (self.task(state, who), state.row(who, hold)) {
            (Task::Extend(_, more, _), HoldRow::Held { amount, .. }) => amount + more,
            _ => added,
        };
        let session = &mut state.sessions[who];
        session.share().held += added;
        session.rows[hold] = Some(HoldRow::Held { amount: before, expires: session.expires });
    }

    pub(super) fn add(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) -> At {
        let amount = self.amount(state, who);
        let limit = self.scenario.limit;
        let truth = self.true_sum(state, usize::from(state.sessions[who].epoch));
        let Some(entry) = state.entry_mut(who) else { return At::Unpin };
        if entry.reserved + amount > limit {
            return if state.sessions[who].tried.is_none() { At::LookAtHeld } else { self.refuse(state, who) };
        }
        entry.reserved += amount;
        let session = &mut state.sessions[who];
        session.share().added += amount;
        if truth + amount > limit {
            state.broken = Some(Invariant::Overshoot);
        }
        match task {
            Task::Make(..) if !self.is(Mutant::MakerLooksBeforePublishing) => return At::LookAtHorizonAfterAdding,
            Task::Make(..) | Task::Extend(..) => self.write_hold(state, who, hold, amount),
            _ => session.charged += amount,
        }
        self.next_task(state, who)
    }
}
