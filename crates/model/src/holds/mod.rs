//! Holds that expire, against transactions that resolve, extend and make them.
//!
//! No transaction runs when a hold expires. Each entry has a horizon T, and a hold counts in it while its row is held
//! and it expires after T. A hold is *active* while a transaction resolves, extends or makes it. The transaction shows
//! in its slot when the earliest of its active holds expires (its *active expiry*). It does so from before it reads T
//! until its callback has credited. A transaction that moves T stores it first and reads the active expiries then. So
//! at least one of the two sees the other. A resolver takes no lock unless T, as it reads it, has passed the hold:
//! * **expiry**, by a transaction that would be refused although something is held, under the lock of the locked mode.
//!   T becomes the clock. Then the active expiries are read, and T goes back to before the earliest. Then, in a
//!   snapshot taken now, what T has passed is summed and subtracted, the room first and what is held after it. Then the
//!   charge is judged once more, whatever came of it. If it fails before the subtraction, its callback puts T back
//!   before the lock is released;
//! * **a resolver, or a transaction that extends**, locks the row, pins, publishes its active expiry and reads T. Not
//!   passed: the hold stays counted until its commit callback has credited what is left of it. Passed: it reads T again
//!   under the lock, for T may have been there for a moment only. Passed still is late: the cost (or the hold, to be
//!   extended) is charged as a new one. A hold that is late wherever it could count is no longer active;
//! * **a maker** of a hold publishes its active expiry, adds, and reads whether T has passed the new expiry. If so it
//!   gives back and starts again from the clock or from T, whichever is later, and publishes the later expiry instead. A
//!   transaction that extends compares its new expiry in the same way;
//! * **a transaction that finds nothing held** judges once more: what it was refused for may have been given back before
//!   it read it;
//! * **a loader** of an entry makes its late holds active again and keeps T before its active expiry. It counts each
//!   hold of its own transaction as it was before it. It adds what it will take back and what will be credited. The
//!   active holds of others do not concern it: a transaction with an active hold that counts here is waited for. That
//!   one has this entry pinned, or an earlier epoch's.
//!
//! One quota of one tenant, in two epochs. Each entry has its own T and each hold is decided for each by itself, so one
//! entry at a time is enough. `held` decides only whether expiry is tried; here it is checked to be exact, too.

mod end;
mod expiry;
mod load;
mod scenarios;
mod state;
mod steps;
mod truth;

use stateright::{Model, Property};

use self::scenarios::Task;
pub use self::scenarios::{HOLD_SCENARIOS, HoldScenario};
use self::state::{At, EPOCHS, HoldAction, HoldRow, HoldSession, HoldState};
use crate::mutant::{Mutant, Watch};
use crate::state::Invariant;

#[derive(Clone)]
pub struct Holds {
    pub scenario: &'static HoldScenario,
    pub mutant: Option<Mutant>,
    pub watch: Watch,
}

impl Model for Holds {
    type State = HoldState;
    type Action = HoldAction;

    fn init_states(&self) -> Vec<HoldState> {
        let row = |hold: Option<(i8, u8)>| match hold {
            Some((amount, expires)) => HoldRow::Held { amount, expires },
            None => HoldRow::Absent,
        };
        let session = |me: usize| HoldSession { at: self.begin(me, 0), ..HoldSession::NEW };
        vec![HoldState {
            clock: 0,
            set_back: false,
            epoch: 0,
            charged: 0,
            rows: self.scenario.holds.map(row),
            entries: [None; EPOCHS],
            lock: None,
            sessions: (0..self.scenario.tasks.len()).map(session).collect(),
            broken: None,
        }]
    }

    fn actions(&self, state: &HoldState, actions: &mut Vec<HoldAction>) {
        if state.broken.is_some() || state.sessions.iter().all(|session| session.at == At::Done) {
            return;
        }
        for (me, session) in state.sessions.iter().enumerate() {
            let at = session.at;
            if at != At::Done && !self.blocked(state, me) {
                actions.push(HoldAction::Step { me, at });
            }
            let untouched = session.slot.is_none() && session.locked == 0;
            if at.may_fail() && !untouched {
                actions.push(HoldAction::Fail { me, at });
            }
        }
        if state.clock < self.scenario.clock_ends {
            actions.push(HoldAction::Tick);
        }
        if self.scenario.clock_is_set_back && !state.set_back && state.clock > 0 {
            actions.push(HoldAction::SetBack);
        }
        if self.scenario.epoch_moves && state.epoch == 0 {
            actions.push(HoldAction::MoveEpoch);
        }
        for epoch in 0..EPOCHS {
            if state.entries[epoch].is_some_and(|entry| entry.pins == 0) {
                actions.push(HoldAction::Evict { epoch });
            }
        }
    }

    fn next_state(&self, last: &HoldState, action: HoldAction) -> Option<HoldState> {
        let mut state = last.clone();
        match action {
            HoldAction::Step { me, .. } => state.sessions[me].at = self.step(&mut state, me),
            HoldAction::Fail { me, .. } => self.fail(&mut state, me),
            HoldAction::Tick => state.clock += 1,
            HoldAction::SetBack => {
                state.clock -= 1;
                state.set_back = true;
            }
            HoldAction::MoveEpoch => state.epoch += 1,
            HoldAction::Evict { epoch } => state.entries[epoch] = None,
        }
        self.judge(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! unbroken {
            ($($name:ident),*) => {
                vec![$(Property::always(Invariant::$name.name(), |_: &Holds, state: &HoldState| {
                    state.broken != Some(Invariant::$name)
                })),*]
            };
        }
        unbroken!(Overshoot, SpuriousRefusal, Drift, Leak, Stuck)
    }
}

impl Holds {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn task(&self, state: &HoldState, me: usize) -> Task {
        self.scenario.tasks[me][usize::from(state.sessions[me].task)]
    }

    /// The hold of the present task; tasks without one do not ask.
    fn hold(&self, state: &HoldState, me: usize) -> usize {
        match self.task(state, me) {
            Task::Charge(_) => 0,
            Task::Resolve(hold, _) | Task::Extend(hold, ..) | Task::Make(hold, ..) => usize::from(hold),
        }
    }

    /// What a session needs room for.
    fn amount(&self, state: &HoldState, me: usize) -> i8 {
        match self.task(state, me) {
            Task::Charge(amount) | Task::Make(_, amount, _) => amount,
            Task::Extend(_, more, _) if !state.sessions[me].late => more,
            Task::Extend(hold, more, _) => match state.row(me, usize::from(hold)) {
                HoldRow::Held { amount, .. } => amount + more,
                _ => 0,
            },
            Task::Resolve(..) => 0,
        }
    }

    fn begin(&self, me: usize, task: usize) -> At {
        match self.scenario.tasks[me][task] {
            Task::Charge(_) => At::Pin,
            Task::Resolve(..) if !self.is(Mutant::RowReadBeforeItsLock) => At::RowLock,
            _ => At::Begin,
        }
    }
}
