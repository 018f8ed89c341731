//! Holds that expire, against those who resolve, extend and make them.
//!
//! No transaction runs when a hold expires. Each entry has a horizon T, and a hold counts in it while its row is held and
//! it expires after T. Whoever has holds in hand says in his slot when the earliest of them expires (his *hand*), from
//! before he looks at T until his callback has credited; whoever moves T stores it first and looks at the hands then. So
//! at least one of the two sees the other, and who resolves takes no lock unless T, as he reads it, has passed the hold:
//! * **expiry**, by somebody who would be refused although something is held, under the lock of the locked mode: T
//!   becomes the clock; then the hands are read, and T goes back to before the earliest; then, in a snapshot taken now,
//!   what T has passed is summed and subtracted, the room first and what is held after it. Then he judges anew, whatever
//!   came of it. If he fails before the subtraction, his callback puts T back before the lock is released;
//! * **who resolves or extends** locks the row, pins, publishes his hand and reads T. Not passed: the hold stays counted
//!   until his commit callback has credited what is left of it. Passed: he reads T again under the lock, for it may have
//!   been there for a moment only; passed still is late, and the cost (or the hold, to be extended) is charged anew.
//!   A hold that is late wherever it could count is out of his hand again;
//! * **who makes** a hold publishes his hand, adds, and looks whether T has passed the new expiry: if so he gives back
//!   and begins anew from the clock or from T, whichever is later, with the later expiry in his hand instead. Who
//!   extends looks at his new expiry in the same way;
//! * **who finds nothing held** judges once more: what he was refused for may have been given back before he looked;
//! * **who loads** an entry takes his late holds in hand again, keeps T before his hand, and counts each hold of his own
//!   transaction as it was before it, with what would be added for it to take back and what would be credited. Others'
//!   hands are nothing to him: who has a hold in hand that counts here has this entry pinned, or an earlier epoch's, and
//!   is waited for.
//!
//! One quota of one tenant, in two epochs. Each entry has its own T and each hold is decided for each by itself, so one
//! entry at a time is enough. `held` decides only whether expiry is tried; here it is checked to be exact, too.

use stateright::{Model, Property};

use crate::check::Watch;
use crate::mutant::Mutant;
use crate::state::Invariant;

const HOLDS: usize = 2;
const EPOCHS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Charge(i8),
    /// Commits the hold at this cost; nothing is a release.
    Resolve(u8, i8),
    /// Adds to the hold, and lets it live for so long from now.
    Extend(u8, i8, u8),
    /// Makes the hold (absent at the start): amount, and time to live.
    Make(u8, i8, u8),
}

pub struct HoldScenario {
    pub name: &'static str,
    pub says: &'static str,
    pub limit: i8,
    /// Amount and expiry of the holds that are there at the start.
    pub holds: [Option<(i8, u8)>; HOLDS],
    /// Transactions, each of one task or several.
    pub tasks: &'static [&'static [Task]],
    pub clock_ends: u8,
    /// Once, by one.
    pub clock_is_set_back: bool,
    /// Once.
    pub epoch_moves: bool,
    pub mutants: &'static [Mutant],
}

pub const HOLD_SCENARIOS: &[HoldScenario] = &[
    HoldScenario {
        name: "holds: commit",
        says: "a hold that expires is committed below its amount while two charges need the room; errors, eviction",
        limit: 3,
        holds: [Some((2, 1)), Some((1, 2))],
        tasks: &[&[Task::Resolve(0, 1)], &[Task::Charge(2)], &[Task::Charge(1)]],
        clock_ends: 2,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[
            Mutant::HorizonPassesHoldBeingResolved,
            Mutant::HandPublishedAfterLookingAtHorizon,
            Mutant::HandsReadBeforeHorizonIsStored,
            Mutant::HandsReadAfterSnapshot,
            Mutant::HandClearedBeforeVisible,
            Mutant::LateDecidedWithoutLock,
            Mutant::LateIsNotDecided,
            Mutant::HorizonNotRestored,
            Mutant::LockReleasedBeforeHorizonIsRestored,
            Mutant::TwoExpireAtOnce,
            Mutant::ResolverDoesNotPin,
            Mutant::HeldSubtractedFirst,
            Mutant::NothingHeldIsBelieved,
            Mutant::NothingGainedIsRefused,
        ],
    },
    HoldScenario {
        name: "holds: two resolvers",
        says: "a hold is released and committed above its amount at the same time, and a charge",
        limit: 3,
        holds: [Some((2, 1)), None],
        tasks: &[&[Task::Resolve(0, 3)], &[Task::Resolve(0, 0)], &[Task::Charge(2)]],
        clock_ends: 1,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[Mutant::RowReadBeforeItsLock],
    },
    HoldScenario {
        name: "holds: made",
        says: "a hold expires before the transaction that makes it has ended; charges need the room",
        limit: 2,
        holds: [None, Some((1, 1))],
        tasks: &[&[Task::Make(0, 1, 1)], &[Task::Charge(1)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[
            Mutant::HorizonPassesHoldBeingMade,
            Mutant::MakerDoesNotLookAtHorizon,
            Mutant::MakerLooksBeforePublishing,
            Mutant::HandClearedBeforeCredit,
        ],
    },
    HoldScenario {
        name: "holds: extended",
        says: "a hold that expires is extended and enlarged while charges need the room",
        limit: 3,
        holds: [Some((1, 1)), Some((1, 2))],
        tasks: &[&[Task::Extend(0, 1, 1)], &[Task::Charge(1)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[Mutant::ExpirerForgetsHisOwnHand, Mutant::ExtenderDoesNotLookAtHorizon],
    },
    HoldScenario {
        name: "holds: shortened",
        says: "a hold is extended to an earlier moment than it had, and released at the same time; a charge",
        limit: 2,
        holds: [Some((1, 3)), Some((1, 1))],
        tasks: &[&[Task::Extend(0, 0, 1)], &[Task::Resolve(0, 0)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: two hands",
        says: "one hold is committed above its amount and another extended, both while they expire; a charge",
        limit: 3,
        holds: [Some((1, 1)), Some((1, 2))],
        tasks: &[&[Task::Resolve(0, 2)], &[Task::Extend(1, 1, 1)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: several at once",
        says: "a transaction commits two holds, the one that expires first before, and charges; another charges",
        limit: 3,
        holds: [Some((2, 1)), Some((1, 2))],
        tasks: &[&[Task::Resolve(0, 1), Task::Resolve(1, 2), Task::Charge(1)], &[Task::Charge(2)]],
        clock_ends: 2,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[Mutant::HandForgetsEarlierHold],
    },
    HoldScenario {
        name: "holds: made and resolved",
        says: "a transaction makes a hold, extends it and commits it; another hold expires; another transaction charges",
        limit: 3,
        holds: [None, Some((1, 1))],
        tasks: &[&[Task::Make(0, 1, 1), Task::Extend(0, 1, 2), Task::Resolve(0, 1)], &[Task::Charge(2)]],
        clock_ends: 2,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: made, and released by another",
        says: "a hold is released as soon as its maker has committed; another hold expires; a charge",
        limit: 2,
        holds: [None, Some((1, 1))],
        tasks: &[&[Task::Make(0, 1, 1)], &[Task::Resolve(0, 0)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: false,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: clock set back",
        says: "the clock is set back by one while holds expire, one is committed and one is made",
        limit: 2,
        holds: [Some((1, 1)), None],
        tasks: &[&[Task::Resolve(0, 1)], &[Task::Make(1, 1, 1)], &[Task::Charge(1)]],
        clock_ends: 2,
        clock_is_set_back: true,
        epoch_moves: false,
        mutants: &[Mutant::HorizonMovesBackwards, Mutant::MakerBeginsAnewByTheClock],
    },
    HoldScenario {
        name: "holds: epoch moves",
        says: "a transaction commits a hold, and after the epoch has moved loads the next entry; another charges",
        limit: 3,
        holds: [Some((2, 1)), Some((1, 2))],
        tasks: &[&[Task::Resolve(0, 1), Task::Charge(1)], &[Task::Charge(1)]],
        clock_ends: 2,
        clock_is_set_back: false,
        epoch_moves: true,
        mutants: &[Mutant::LoaderForgetsOwnHolds, Mutant::LoaderPassesOwnHand, Mutant::LoaderForgetsLateHolds],
    },
    HoldScenario {
        name: "holds: epoch moves, extended",
        says: "a transaction extends a hold that expires, and loads the next epoch's entry; another charges",
        limit: 3,
        holds: [Some((1, 1)), Some((1, 2))],
        tasks: &[&[Task::Extend(0, 1, 1), Task::Charge(1)], &[Task::Charge(1)]],
        clock_ends: 3,
        clock_is_set_back: false,
        epoch_moves: true,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: epoch moves, made",
        says: "a transaction commits a hold above its amount and makes one, and loads the next epoch's entry to charge; \
               another charges; the clock is set back",
        limit: 4,
        holds: [Some((1, 1)), None],
        tasks: &[&[Task::Resolve(0, 2), Task::Make(1, 1, 1), Task::Charge(1)], &[Task::Charge(1)]],
        clock_ends: 2,
        clock_is_set_back: true,
        epoch_moves: true,
        mutants: &[],
    },
];

#[derive(Clone)]
pub struct Holds {
    pub scenario: &'static HoldScenario,
    pub mutant: Option<Mutant>,
    pub watch: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Row {
    Absent,
    Held { amount: i8, expires: u8 },
    Resolved { cost: i8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Entry {
    reserved: i8,
    held: i8,
    horizon: u8,
    pins: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// Reads the clock, from which the hold will live.
    Begin,
    RowLock,
    Pin,
    // Loading, as in the other model, cut down to what matters here.
    LoadLock,
    Sum,
    PublishEntry,
    // Whoever has a hold in hand.
    PublishHand,
    LookAtHorizon,
    /// Takes the lock, looks again, and gives it back.
    LookUnderLock,
    AddCost,
    LookAtHorizonAfterAdding,
    // Whoever needs room.
    Add,
    LookAtHeld,
    ExpireLock,
    StoreHorizon,
    ReadHand(u8),
    LowerHorizon,
    Snapshot,
    Subtract,
    SubtractHeld,
    /// The rows are written; the client may commit or not.
    Written,
    // The callbacks.
    Visible,
    Credit,
    RestoreHorizon,
    TakeBack,
    ClearHand,
    Unpin,
    Done,
}

/// What a transaction has done to an entry, for its callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Part {
    pinned: bool,
    added: i8,
    /// What the commit callback subtracts from `reserved`, and adds to `held`.
    credit: i8,
    held: i8,
    /// Holds (bits) that were found counted.
    counted: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    at: At,
    task: u8,
    /// The epoch in which the present task goes on, and the earliest that the slot shows.
    epoch: u8,
    slot: Option<u8>,
    hand: Option<u8>,
    /// The hand that earlier tasks left.
    hand_before: Option<u8>,
    parts: [Part; EPOCHS],
    /// Rows (bits) that he has locked, and what he has made of them.
    locked: u8,
    rows: [Option<Row>; HOLDS],
    charged: i8,
    // The present task.
    late: bool,
    expires: u8,
    /// Expiry has been tried, at this moment; it could not go as far because of holds in somebody's hands.
    tried: Option<u8>,
    held_up: bool,
    // Whoever loads or expires.
    loaded: Option<(i8, i8, u8)>,
    /// T before, for whom it may concern: the callback.
    note: Option<u8>,
    clock: u8,
    first_in_hand: Option<u8>,
    seen: [Option<Row>; HOLDS],
    sum: i8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HoldState {
    clock: u8,
    set_back: bool,
    epoch: u8,
    charged: i8,
    rows: [Row; HOLDS],
    entries: [Option<Entry>; EPOCHS],
    lock: Option<u8>,
    sessions: Vec<Session>,
    broken: Option<Invariant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldAction {
    Step {
        who: usize,
        at: At,
    },
    /// An ERROR or a cancel, or a ROLLBACK at the end.
    Fail {
        who: usize,
        at: At,
    },
    Tick,
    SetBack,
    MoveEpoch,
    Evict {
        epoch: usize,
    },
}

impl Session {
    const NEW: Session = Session {
        at: At::Done,
        task: 0,
        epoch: 0,
        slot: None,
        hand: None,
        hand_before: None,
        parts: [Part { pinned: false, added: 0, credit: 0, held: 0, counted: 0 }; EPOCHS],
        locked: 0,
        rows: [None; HOLDS],
        charged: 0,
        late: false,
        expires: 0,
        tried: None,
        held_up: false,
        loaded: None,
        note: None,
        clock: 0,
        first_in_hand: None,
        seen: [None; HOLDS],
        sum: 0,
    };

    fn part(&mut self) -> &mut Part {
        &mut self.parts[usize::from(self.epoch)]
    }

    fn forget_search(&mut self) {
        (self.clock, self.first_in_hand, self.seen, self.sum) = (0, None, [None; HOLDS], 0);
    }

    /// What the callback has to do next, but for the notes of a commit.
    fn at_end(&self) -> At {
        if self.hand.is_some() { At::ClearHand } else { At::Unpin }
    }
}

impl HoldState {
    fn entry(&self, who: usize) -> Option<Entry> {
        self.entries[usize::from(self.sessions[who].epoch)]
    }

    fn entry_mut(&mut self, who: usize) -> Option<&mut Entry> {
        self.entries[usize::from(self.sessions[who].epoch)].as_mut()
    }

    /// A row as its transaction sees it.
    fn row(&self, who: usize, hold: usize) -> Row {
        self.sessions[who].rows[hold].unwrap_or(self.rows[hold])
    }

    /// T of an entry, and while somebody is moving it what it was before.
    fn horizon(&self, epoch: usize) -> u8 {
        let moving = self.sessions.iter().filter(|session| usize::from(session.epoch) == epoch);
        let before = moving.filter_map(|session| session.note).min();
        before.or(self.entries[epoch].map(|entry| entry.horizon)).unwrap_or(0)
    }
}

fn live(row: Row, horizon: u8) -> i8 {
    match row {
        Row::Held { amount, expires } if expires > horizon => amount,
        _ => 0,
    }
}

impl Model for Holds {
    type State = HoldState;
    type Action = HoldAction;

    fn init_states(&self) -> Vec<HoldState> {
        let row = |hold: Option<(i8, u8)>| match hold {
            Some((amount, expires)) => Row::Held { amount, expires },
            None => Row::Absent,
        };
        let session = |who: usize| Session { at: self.begin(who, 0), ..Session::NEW };
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
        for (who, session) in state.sessions.iter().enumerate() {
            let at = session.at;
            if at != At::Done && !self.blocked(state, who) {
                actions.push(HoldAction::Step { who, at });
            }
            let untouched = session.slot.is_none() && session.locked == 0;
            let cannot_fail = matches!(
                at,
                At::SubtractHeld
                    | At::Visible
                    | At::Credit
                    | At::RestoreHorizon
                    | At::TakeBack
                    | At::ClearHand
                    | At::Unpin
                    | At::Done
            );
            if !cannot_fail && !untouched {
                actions.push(HoldAction::Fail { who, at });
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
            HoldAction::Step { who, .. } => state.sessions[who].at = self.step(&mut state, who),
            HoldAction::Fail { who, .. } => self.fail(&mut state, who),
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

    fn task(&self, state: &HoldState, who: usize) -> Task {
        self.scenario.tasks[who][usize::from(state.sessions[who].task)]
    }

    /// The hold of the present task; tasks without one do not ask.
    fn hold(&self, state: &HoldState, who: usize) -> usize {
        match self.task(state, who) {
            Task::Charge(_) => 0,
            Task::Resolve(hold, _) | Task::Extend(hold, ..) | Task::Make(hold, ..) => usize::from(hold),
        }
    }

    /// What a session needs room for.
    fn amount(&self, state: &HoldState, who: usize) -> i8 {
        match self.task(state, who) {
            Task::Charge(amount) | Task::Make(_, amount, _) => amount,
            Task::Extend(_, more, _) if !state.sessions[who].late => more,
            Task::Extend(hold, more, _) => match state.row(who, usize::from(hold)) {
                Row::Held { amount, .. } => amount + more,
                _ => 0,
            },
            Task::Resolve(..) => 0,
        }
    }

    fn begin(&self, who: usize, task: usize) -> At {
        match self.scenario.tasks[who][task] {
            Task::Charge(_) => At::Pin,
            Task::Resolve(..) if !self.is(Mutant::RowReadBeforeItsLock) => At::RowLock,
            _ => At::Begin,
        }
    }

    fn blocked(&self, state: &HoldState, who: usize) -> bool {
        let session = &state.sessions[who];
        let others = || state.sessions.iter().enumerate().filter(|(other, _)| *other != who).map(|(_, it)| it);
        match session.at {
            At::LoadLock => {
                let earlier = |other: &Session| other.slot.is_some_and(|epoch| epoch < session.epoch);
                state.lock.is_some() || others().any(earlier)
            }
            At::LookUnderLock => state.lock.is_some(),
            At::ExpireLock => state.lock.is_some() && !self.is(Mutant::TwoExpireAtOnce),
            At::RowLock => others().any(|other| other.locked & (1 << self.hold(state, who)) != 0),
            _ => false,
        }
    }

    fn step(&self, state: &mut HoldState, who: usize) -> At {
        let task = self.task(state, who);
        let hold = self.hold(state, who);
        match state.sessions[who].at {
            At::Begin => match task {
                Task::Make(_, _, lives) => {
                    state.sessions[who].expires = state.clock + lives;
                    At::Pin
                }
                Task::Extend(_, _, lives) => {
                    state.sessions[who].expires = state.clock + lives;
                    At::RowLock
                }
                _ => match state.row(who, hold) {
                    Row::Held { .. } => At::RowLock,
                    _ => self.next_task(state, who),
                },
            },
            At::RowLock => {
                state.sessions[who].locked |= 1 << hold;
                match state.row(who, hold) {
                    Row::Held { .. } => At::Pin,
                    Row::Resolved { .. } if self.is(Mutant::RowReadBeforeItsLock) => At::Pin,
                    // A replay, or nobody knows it.
                    _ => self.next_task(state, who),
                }
            }
            At::Pin => self.pin(state, who, task),
            At::LoadLock if state.epoch != state.sessions[who].epoch => At::Pin,
            At::LoadLock => {
                state.lock = Some(who as u8);
                At::Sum
            }
            At::Sum if state.entry(who).is_some() => {
                state.lock = None;
                At::Pin
            }
            At::Sum => {
                self.sum(state, who);
                At::PublishEntry
            }
            At::PublishEntry => {
                self.publish_entry(state, who, task);
                self.after_pin(task)
            }
            At::PublishHand => {
                self.publish_hand(state, who, task, hold);
                match task {
                    Task::Make(..) => At::Add,
                    _ if self.is(Mutant::HandPublishedAfterLookingAtHorizon) => self.after_look(task),
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
            At::LookAtHeld => {
                if state.entry(who).is_some_and(|entry| entry.held > 0) {
                    return At::ExpireLock;
                }
                if self.is(Mutant::NothingHeldIsBelieved) {
                    return self.refuse(state, who);
                }
                let held_up = state.sessions.iter().any(|session| session.hand.is_some());
                let session = &mut state.sessions[who];
                (session.tried, session.held_up) = (Some(state.clock), held_up);
                At::Add
            }
            At::ExpireLock => {
                state.lock = Some(who as u8);
                if self.is(Mutant::HandsReadBeforeHorizonIsStored) {
                    self.read_hands_from(0).unwrap_or(At::StoreHorizon)
                } else {
                    At::StoreHorizon
                }
            }
            At::StoreHorizon => self.store_horizon(state, who),
            At::ReadHand(of) => self.read_hand(state, who, of),
            At::LowerHorizon => self.lower_horizon(state, who),
            At::Snapshot => {
                let seen = std::array::from_fn(|hold| Some(state.row(who, hold)));
                if self.is(Mutant::HandsReadAfterSnapshot) {
                    state.sessions[who].seen = seen;
                    return self.read_hands_from(0).unwrap_or(At::Subtract);
                }
                self.sum_passed(state, who, seen);
                At::Subtract
            }
            At::Subtract => {
                let held_first = self.is(Mutant::HeldSubtractedFirst);
                let sum = state.sessions[who].sum;
                if let Some(entry) = state.entry_mut(who) {
                    *(if held_first { &mut entry.held } else { &mut entry.reserved }) -= sum;
                }
                if !held_first {
                    state.sessions[who].note = None;
                }
                At::SubtractHeld
            }
            At::SubtractHeld => {
                let held_first = self.is(Mutant::HeldSubtractedFirst);
                let sum = state.sessions[who].sum;
                if let Some(entry) = state.entry_mut(who) {
                    *(if held_first { &mut entry.reserved } else { &mut entry.held }) -= sum;
                }
                self.end_expiry(state, who)
            }
            At::Written if self.is(Mutant::HandClearedBeforeVisible) => {
                state.sessions[who].hand = None;
                At::Visible
            }
            At::Written | At::Visible => self.become_visible(state, who),
            At::Credit => {
                for epoch in 0..EPOCHS {
                    let part = &mut state.sessions[who].parts[epoch];
                    let (credit, held) = (std::mem::take(&mut part.credit), std::mem::take(&mut part.held));
                    if let Some(entry) = &mut state.entries[epoch] {
                        entry.reserved -= credit;
                        entry.held += held;
                    }
                }
                state.sessions[who].at_end()
            }
            At::RestoreHorizon => {
                if let Some(before) = state.sessions[who].note.take()
                    && let Some(entry) = state.entry_mut(who)
                {
                    entry.horizon = before;
                }
                self.after_restoring(state, who)
            }
            At::TakeBack => {
                for epoch in 0..EPOCHS {
                    let added = std::mem::take(&mut state.sessions[who].parts[epoch].added);
                    if let Some(entry) = &mut state.entries[epoch] {
                        entry.reserved -= added;
                    }
                }
                state.sessions[who].at_end()
            }
            At::ClearHand => {
                let session = &mut state.sessions[who];
                session.hand = None;
                for part in &mut session.parts {
                    part.counted = 0;
                }
                let credit = session.parts.iter().any(|part| part.credit != 0 || part.held != 0);
                if credit { At::Credit } else { At::Unpin }
            }
            At::Unpin => {
                for epoch in 0..EPOCHS {
                    if state.sessions[who].parts[epoch].pinned
                        && let Some(entry) = &mut state.entries[epoch]
                    {
                        entry.pins -= 1;
                    }
                }
                if state.lock == Some(who as u8) {
                    state.lock = None;
                }
                state.sessions[who] = Session::NEW;
                At::Done
            }
            At::Done => At::Done,
        }
    }

    /// Goes on in the epoch of now, and pins its entry.
    fn pin(&self, state: &mut HoldState, who: usize, task: Task) -> At {
        let epoch = state.epoch;
        let session = &mut state.sessions[who];
        session.epoch = epoch;
        // Who has done nothing yet enters anew.
        let entered = session.slot.filter(|_| session.parts.iter().any(|part| part.pinned));
        session.slot = Some(entered.unwrap_or(epoch));
        let Some(entry) = &mut state.entries[usize::from(epoch)] else { return At::LoadLock };
        let pins = !(matches!(task, Task::Resolve(..)) && self.is(Mutant::ResolverDoesNotPin));
        if pins && !session.part().pinned {
            entry.pins += 1;
            session.part().pinned = true;
        }
        self.after_pin(task)
    }

    fn after_pin(&self, task: Task) -> At {
        match task {
            Task::Charge(_) => At::Add,
            Task::Resolve(..) | Task::Extend(..) if self.is(Mutant::HandPublishedAfterLookingAtHorizon) => {
                At::LookAtHorizon
            }
            Task::Make(..) if self.is(Mutant::MakerLooksBeforePublishing) => At::LookAtHorizonAfterAdding,
            _ => At::PublishHand,
        }
    }

    /// The loader's sum: what is committed, and of his own what he has to take back or to credit. T is before his own
    /// hand, so that his holds count as his transaction found them and leaves them.
    fn sum(&self, state: &mut HoldState, who: usize) {
        // Those that were late elsewhere are in hand again: they may count here.
        if !self.is(Mutant::LoaderForgetsLateHolds) {
            let own = (0..HOLDS).filter(|hold| state.sessions[who].rows[*hold].is_some());
            let expiry = |row: Row| if let Row::Held { expires, .. } = row { Some(expires) } else { None };
            let both = own.flat_map(|hold| [expiry(state.rows[hold]), expiry(state.row(who, hold))]);
            let first = both.chain([state.sessions[who].hand]).flatten().min();
            let session = &mut state.sessions[who];
            (session.hand, session.hand_before) = (first, first);
        }
        let hand = state.sessions[who].hand.filter(|_| !self.is(Mutant::LoaderPassesOwnHand));
        let horizon = state.clock.min(hand.map_or(u8::MAX, |hand| hand.saturating_sub(1)));
        let session = &mut state.sessions[who];
        let mut part = Part { added: session.charged, ..Part::default() };
        let (mut reserved, mut held) = (state.charged + session.charged, 0);
        for hold in 0..HOLDS {
            let own = session.rows[hold].is_some();
            let after = session.rows[hold].unwrap_or(state.rows[hold]);
            let counts_from = if own { 0 } else { horizon };
            let still_held = live(after, counts_from);
            let as_seen = self.is(Mutant::LoaderForgetsOwnHolds);
            let aborted = if as_seen { still_held } else { live(state.rows[hold], counts_from) };
            let committed = match after {
                Row::Resolved { cost } if own => cost,
                _ => still_held,
            };
            reserved += aborted.max(committed);
            held += aborted;
            part.added += (committed - aborted).max(0);
            part.credit += (aborted - committed).max(0);
            part.held += still_held - aborted;
            if own && live(state.rows[hold], 0) > 0 {
                part.counted |= 1 << hold;
            }
        }
        session.loaded = Some((reserved, held, horizon));
        session.parts[usize::from(session.epoch)] = part;
    }

    fn publish_entry(&self, state: &mut HoldState, who: usize, task: Task) {
        let session = &mut state.sessions[who];
        let (reserved, held, horizon) = session.loaded.take().unwrap_or_default();
        let pinned = !(matches!(task, Task::Resolve(..)) && self.is(Mutant::ResolverDoesNotPin));
        session.part().pinned = pinned;
        state.entries[usize::from(session.epoch)] = Some(Entry { reserved, held, horizon, pins: u8::from(pinned) });
        state.lock = None;
    }

    fn publish_hand(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) {
        let new = state.sessions[who].expires;
        let expires = match (task, state.row(who, hold)) {
            (Task::Make(..), _) => new,
            (Task::Extend(..), Row::Held { expires, .. }) => expires.min(new),
            (_, Row::Held { expires, .. }) => expires,
            _ => return,
        };
        let hidden = match task {
            Task::Make(..) => self.is(Mutant::HorizonPassesHoldBeingMade),
            _ => self.is(Mutant::HorizonPassesHoldBeingResolved),
        };
        let session = &mut state.sessions[who];
        if !hidden {
            let forgets = self.is(Mutant::HandForgetsEarlierHold);
            session.hand = Some(session.hand.filter(|_| !forgets).map_or(expires, |hand| hand.min(expires)));
        }
    }

    fn after_look(&self, task: Task) -> At {
        if matches!(task, Task::Resolve(..)) { At::AddCost } else { At::Add }
    }

    /// T has not passed the hold, or it is late. And an extended hold must expire after T.
    fn look_at_horizon(&self, state: &mut HoldState, who: usize, task: Task, hold: usize, locked: bool) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let own = state.sessions[who].rows[hold].is_some();
        let passed = match state.row(who, hold) {
            Row::Held { expires, .. } => expires <= horizon && !self.is(Mutant::LateIsNotDecided),
            _ => false,
        };
        if passed && !locked && !self.is(Mutant::LateDecidedWithoutLock) {
            return At::LookUnderLock;
        }
        let session = &mut state.sessions[who];
        let looks = matches!(task, Task::Extend(..)) && !self.is(Mutant::ExtenderDoesNotLookAtHorizon);
        if looks && session.expires <= horizon {
            return self.begin_anew(state, who, task);
        }
        session.late = passed;
        if passed && locked && !self.is(Mutant::HandPublishedAfterLookingAtHorizon) {
            // It is not counted, so nobody needs to stay before it.
            let extended = matches!(task, Task::Extend(..)).then_some(session.expires);
            session.hand = [session.hand_before, extended].into_iter().flatten().min();
        }
        if !passed && !own {
            session.part().counted |= 1 << hold;
        }
        if self.is(Mutant::HandPublishedAfterLookingAtHorizon) {
            return At::PublishHand;
        }
        self.after_look(task)
    }

    fn look_after_adding(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let amount = self.amount(state, who);
        let session = &mut state.sessions[who];
        let too_early = self.is(Mutant::MakerLooksBeforePublishing);
        if session.expires <= horizon && !self.is(Mutant::MakerDoesNotLookAtHorizon) {
            if !too_early {
                session.part().added -= amount;
                if let Some(entry) = state.entry_mut(who) {
                    entry.reserved -= amount;
                }
            }
            return self.begin_anew(state, who, task);
        }
        if too_early {
            return At::PublishHand;
        }
        self.write_hold(state, who, hold, amount);
        self.next_task(state, who)
    }

    /// With an expiry after T and the clock. His hand stays as it was.
    fn begin_anew(&self, state: &mut HoldState, who: usize, task: Task) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let row = state.row(who, self.hold(state, who));
        let from = if self.is(Mutant::MakerBeginsAnewByTheClock) { state.clock } else { state.clock.max(horizon) };
        let session = &mut state.sessions[who];
        if let Task::Make(_, _, lives) | Task::Extend(_, _, lives) = task {
            session.expires = from + lives;
        }
        (session.tried, session.held_up) = (None, false);
        // The earlier expiry is nobody's any more; that of a hold to be extended is.
        let extended = match (task, row) {
            (Task::Extend(..), Row::Held { expires, .. }) => Some(expires),
            _ => None,
        };
        session.hand = [session.hand_before, extended, Some(session.expires)].into_iter().flatten().min();
        if session.expires <= horizon {
            // He would for ever.
            state.broken = Some(Invariant::Stuck);
        }
        self.after_pin(task)
    }

    /// A resolver charges without a limit: everything when late, else what exceeds the hold; less is credited later.
    fn add_cost(&self, state: &mut HoldState, who: usize, hold: usize, cost: i8) {
        let amount = match state.row(who, hold) {
            Row::Held { amount, .. } => amount,
            // Only who reads the row before he has its lock gets here.
            _ => self.scenario.holds[hold].map_or(0, |(amount, _)| amount),
        };
        let session = &mut state.sessions[who];
        let counted = if session.late { 0 } else { amount };
        let added = (cost - counted).max(0);
        let part = session.part();
        part.added += added;
        part.credit += (counted - cost).max(0);
        part.held -= counted;
        session.rows[hold] = Some(Row::Resolved { cost });
        if let Some(entry) = state.entry_mut(who) {
            entry.reserved += added;
        }
    }

    /// A hold made or extended: `added` to it.
    fn write_hold(&self, state: &mut HoldState, who: usize, hold: usize, added: i8) {
        let before = match (self.task(state, who), state.row(who, hold)) {
            (Task::Extend(_, more, _), Row::Held { amount, .. }) => amount + more,
            _ => added,
        };
        let session = &mut state.sessions[who];
        session.part().held += added;
        session.rows[hold] = Some(Row::Held { amount: before, expires: session.expires });
    }

    fn add(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) -> At {
        let amount = self.amount(state, who);
        let limit = self.scenario.limit;
        let truth = self.true_sum(state, usize::from(state.sessions[who].epoch));
        let Some(entry) = state.entry_mut(who) else { return At::Unpin };
        if entry.reserved + amount > limit {
            return if state.sessions[who].tried.is_none() { At::LookAtHeld } else { self.refuse(state, who) };
        }
        entry.reserved += amount;
        let session = &mut state.sessions[who];
        session.part().added += amount;
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

    /// Nothing that had expired when it was tried still counts, unless it was in somebody's hands or behind it.
    fn refuse(&self, state: &mut HoldState, who: usize) -> At {
        let amount = self.amount(state, who);
        let session = &state.sessions[who];
        let epoch = usize::from(session.epoch);
        let (tried, held_up, horizon) = (session.tried.unwrap_or(0), session.held_up, state.horizon(epoch));
        let expired = state.rows.iter().any(|row| live(*row, horizon) > live(*row, horizon.max(tried)));
        if self.true_sum(state, epoch) + amount <= self.scenario.limit || (expired && !held_up) {
            state.broken = Some(Invariant::SpuriousRefusal);
        }
        self.next_task(state, who)
    }

    fn store_horizon(&self, state: &mut HoldState, who: usize) -> At {
        let Some(entry) = state.entry(who) else { return At::Unpin };
        let back = self.is(Mutant::HorizonMovesBackwards);
        let read_before = self.is(Mutant::HandsReadBeforeHorizonIsStored);
        let session = &mut state.sessions[who];
        session.clock = state.clock;
        session.note = Some(entry.horizon);
        let to = if back { state.clock } else { state.clock.max(entry.horizon) };
        let first = session.first_in_hand;
        if let Some(entry) = state.entry_mut(who) {
            entry.horizon = to;
        }
        if read_before {
            return if first.is_some_and(|first| first <= to) { At::LowerHorizon } else { At::Snapshot };
        }
        if self.is(Mutant::HandsReadAfterSnapshot) {
            return At::Snapshot;
        }
        self.read_hands_from(0).unwrap_or(At::Snapshot)
    }

    /// Slot by slot; those of transactions that never have a hold in hand are passed over.
    fn read_hands_from(&self, from: usize) -> Option<At> {
        let has_holds = |who: &usize| self.scenario.tasks[*who].iter().any(|task| !matches!(task, Task::Charge(_)));
        (from..self.scenario.tasks.len()).find(has_holds).map(|of| At::ReadHand(of as u8))
    }

    fn read_hand(&self, state: &mut HoldState, who: usize, of: u8) -> At {
        let own = usize::from(of) == who && self.is(Mutant::ExpirerForgetsHisOwnHand);
        let hand = state.sessions[usize::from(of)].hand.filter(|_| !own);
        let session = &mut state.sessions[who];
        session.first_in_hand = [session.first_in_hand, hand].into_iter().flatten().min();
        if let Some(next) = self.read_hands_from(usize::from(of) + 1) {
            return next;
        }
        if self.is(Mutant::HandsReadBeforeHorizonIsStored) {
            return At::StoreHorizon;
        }
        let first = session.first_in_hand;
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        if first.is_some_and(|first| first <= horizon) {
            return At::LowerHorizon;
        }
        if self.is(Mutant::HandsReadAfterSnapshot) {
            let seen = std::mem::take(&mut state.sessions[who].seen);
            self.sum_passed(state, who, seen);
            return At::Subtract;
        }
        At::Snapshot
    }

    fn lower_horizon(&self, state: &mut HoldState, who: usize) -> At {
        let session = &mut state.sessions[who];
        let before = session.note.unwrap_or(0);
        let first = session.first_in_hand.unwrap_or(u8::MAX);
        let to = before.max(first.saturating_sub(1));
        let gained = to > before;
        if !gained {
            session.note = None;
        }
        if let Some(entry) = state.entry_mut(who) {
            entry.horizon = to;
        }
        if !gained {
            let again = self.end_expiry(state, who);
            return if self.is(Mutant::NothingGainedIsRefused) { self.refuse(state, who) } else { again };
        }
        if self.is(Mutant::HandsReadAfterSnapshot) {
            let seen = std::mem::take(&mut state.sessions[who].seen);
            self.sum_passed(state, who, seen);
            return At::Subtract;
        }
        At::Snapshot
    }

    /// Of the rows of a snapshot, those that T has passed by moving.
    fn sum_passed(&self, state: &mut HoldState, who: usize, seen: [Option<Row>; HOLDS]) {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        let session = &mut state.sessions[who];
        let before = session.note.unwrap_or(horizon);
        session.sum = seen.into_iter().flatten().map(|row| (live(row, before) - live(row, horizon)).max(0)).sum();
    }

    fn end_expiry(&self, state: &mut HoldState, who: usize) -> At {
        let horizon = state.entry(who).map_or(0, |entry| entry.horizon);
        if state.lock == Some(who as u8) {
            state.lock = None;
        }
        let session = &mut state.sessions[who];
        session.tried = Some(session.clock);
        session.held_up = horizon < session.clock;
        session.note = None;
        session.forget_search();
        At::Add
    }

    /// The end of a task: the next one, or the transaction's.
    fn next_task(&self, state: &mut HoldState, who: usize) -> At {
        let session = &mut state.sessions[who];
        let last = usize::from(session.task) + 1 == self.scenario.tasks[who].len();
        session.hand_before = session.hand.filter(|_| !last);
        (session.late, session.expires) = (false, 0);
        (session.tried, session.held_up) = (None, false);
        if usize::from(session.task) + 1 < self.scenario.tasks[who].len() {
            session.task += 1;
            return self.begin(who, usize::from(session.task));
        }
        if session.charged == 0 && session.rows.iter().all(Option::is_none) { session.at_end() } else { At::Written }
    }

    fn become_visible(&self, state: &mut HoldState, who: usize) -> At {
        let session = &mut state.sessions[who];
        state.charged += std::mem::take(&mut session.charged);
        for hold in 0..HOLDS {
            if let Some(row) = session.rows[hold].take() {
                state.rows[hold] = row;
                state.charged += if let Row::Resolved { cost } = row { cost } else { 0 };
            }
        }
        for part in &mut session.parts {
            (part.added, part.counted) = (0, 0);
        }
        let credit = session.parts.iter().any(|part| part.credit != 0 || part.held != 0);
        if !credit || (self.is(Mutant::HandClearedBeforeCredit) && session.hand.is_some()) {
            return session.at_end();
        }
        At::Credit
    }

    fn fail(&self, state: &mut HoldState, who: usize) {
        if state.lock == Some(who as u8) && self.is(Mutant::LockReleasedBeforeHorizonIsRestored) {
            state.lock = None;
        }
        let session = &mut state.sessions[who];
        session.forget_search();
        (session.loaded, session.charged, session.rows) = (None, 0, [None; HOLDS]);
        session.hand_before = None;
        (session.late, session.expires) = (false, 0);
        (session.tried, session.held_up) = (None, false);
        for part in &mut session.parts {
            (part.credit, part.held, part.counted) = (0, 0, 0);
            part.added = if part.pinned { part.added } else { 0 };
        }
        if self.is(Mutant::HorizonNotRestored) {
            session.note = None;
        }
        state.sessions[who].at =
            if state.sessions[who].note.is_some() { At::RestoreHorizon } else { self.after_restoring(state, who) };
    }

    fn after_restoring(&self, state: &HoldState, who: usize) -> At {
        let session = &state.sessions[who];
        if session.parts.iter().any(|part| part.added != 0) { At::TakeBack } else { session.at_end() }
    }

    /// Holds whose row is held and that T has not passed, or that somebody in flight has found counted.
    fn true_held(&self, state: &HoldState, epoch: usize) -> i8 {
        let horizon = state.horizon(epoch);
        let counted = state.sessions.iter().fold(0, |set, session| set | session.parts[epoch].counted);
        let holds = state.rows.iter().enumerate();
        holds.map(|(hold, row)| live(*row, if counted & (1 << hold) != 0 { 0 } else { horizon })).sum()
    }

    /// Charges, holds that count, and what transactions in flight have added or have yet to credit.
    fn true_sum(&self, state: &HoldState, epoch: usize) -> i8 {
        let in_flight = state.sessions.iter().map(|session| {
            let part = &session.parts[epoch];
            // The loader's own, before the entry is there, is nobody else's concern.
            let added = if part.pinned || self.is(Mutant::ResolverDoesNotPin) { part.added } else { 0 };
            // A credit counts once it is committed, and is subtracted a step later.
            added + if self.is_visible(session) { part.credit } else { 0 }
        });
        state.charged + self.true_held(state, epoch) + in_flight.sum::<i8>()
    }

    /// Committed, and seen by everybody; callbacks have begun.
    fn is_visible(&self, session: &Session) -> bool {
        matches!(session.at, At::Credit | At::ClearHand | At::Unpin)
    }

    fn judge(&self, state: &mut HoldState) {
        let watched = self.watch == Watch::Everything && state.broken.is_none();
        for epoch in 0..EPOCHS {
            // One of an earlier epoch is found only by who has entered it, until he has loaded the next.
            let entered = state.sessions.iter().any(|session| session.slot == Some(epoch as u8));
            let found = usize::from(state.epoch) == epoch || (entered && state.entries[EPOCHS - 1].is_none());
            let Some(entry) = state.entries[epoch].filter(|_| watched && found) else { continue };
            let late = state.sessions.iter().map(|session| {
                let visible = if self.is_visible(session) { session.parts[epoch].held } else { 0 };
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
        let stuck = !done
            && (0..state.sessions.len()).all(|who| state.sessions[who].at == At::Done || self.blocked(state, who));
        if state.broken.is_none() && stuck {
            state.broken = Some(Invariant::Stuck);
        }
    }
}
