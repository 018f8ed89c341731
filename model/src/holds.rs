//! Holds that expire, against those who resolve and make them.
//!
//! No transaction runs when a hold expires. Each entry has a horizon T, and a hold counts while it is held and expires
//! after T. One lock (of the tenant, say) serialises three things:
//! * **expiry**, by a charge that would otherwise be refused: reads the clock, then which holds are in somebody's hands
//!   (registered in shared memory), then takes a snapshot; T moves up to the clock, but stays before the earliest hold
//!   that is in somebody's hands; in the same step the holds that T has passed are subtracted;
//! * **who resolves** registers the hold and compares its expiry with T: passed is late, and the cost is charged anew;
//!   otherwise the hold stays counted until his commit callback has credited what is left of it;
//! * **who makes** a hold registers it and makes sure that it expires after T, or begins anew.
//!
//! Registrations end in the callbacks, after the row is visible. Whoever registers has the entry pinned.

use stateright::{Model, Property};

use crate::check::Watch;
use crate::mutant::Mutant;
use crate::state::Invariant;

const HOLDS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    Charge(i8),
    /// Commits the hold at this cost; nothing is a release.
    Resolve(u8, i8),
    /// Makes the hold (absent at the start): amount, and time to live.
    Make(u8, i8, u8),
}

pub struct HoldScenario {
    pub name: &'static str,
    pub says: &'static str,
    pub limit: i8,
    /// Amount and expiry of the holds that are there at the start.
    pub holds: [Option<(i8, u8)>; HOLDS],
    pub tasks: &'static [Task],
    pub clock_ends: u8,
    /// Once, by one.
    pub clock_is_set_back: bool,
    pub mutants: &'static [Mutant],
}

pub const HOLD_SCENARIOS: &[HoldScenario] = &[
    HoldScenario {
        name: "holds: commit",
        says: "a hold that expires is committed below its amount while two charges need the room; errors, eviction",
        limit: 3,
        holds: [Some((2, 1)), Some((1, 2))],
        tasks: &[Task::Resolve(0, 1), Task::Charge(2), Task::Charge(1)],
        clock_ends: 2,
        clock_is_set_back: false,
        mutants: &[
            Mutant::ExpiryTakesHoldBeingResolved,
            Mutant::HorizonPassesHoldBeingResolved,
            Mutant::HorizonApartFromSubtraction,
            Mutant::ResolverWithoutLock,
            Mutant::ResolversReadAfterSnapshot,
            Mutant::ResolverDoesNotPin,
            Mutant::LateIsNotDecided,
        ],
    },
    HoldScenario {
        name: "holds: two resolvers",
        says: "a hold is released and committed above its amount at the same time, and a charge",
        limit: 3,
        holds: [Some((2, 1)), None],
        tasks: &[Task::Resolve(0, 3), Task::Resolve(0, 0), Task::Charge(2)],
        clock_ends: 1,
        clock_is_set_back: false,
        mutants: &[],
    },
    HoldScenario {
        name: "holds: made",
        says: "a hold expires before the transaction that makes it has ended; charges need the room",
        limit: 2,
        holds: [None, Some((1, 1))],
        tasks: &[Task::Make(0, 1, 1), Task::Charge(1), Task::Charge(1)],
        clock_ends: 3,
        clock_is_set_back: false,
        mutants: &[Mutant::HorizonPassesHoldBeingMade, Mutant::MakerDoesNotLookAtHorizon],
    },
    HoldScenario {
        name: "holds: clock set back",
        says: "the clock is set back by one while holds expire and one is committed",
        limit: 2,
        holds: [Some((1, 1)), Some((1, 2))],
        tasks: &[Task::Resolve(0, 1), Task::Charge(1), Task::Charge(1)],
        clock_ends: 2,
        clock_is_set_back: true,
        mutants: &[Mutant::HorizonMovesBackwards],
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
    Held,
    Resolved,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Hold {
    row: Row,
    amount: i8,
    expires: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Entry {
    reserved: i8,
    horizon: u8,
    pins: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    Ready,
    Pin,
    // Loading, as in the other model, cut down to what matters here.
    LoadLock,
    Sum,
    PublishEntry,
    // Whoever resolves or makes.
    RowLock,
    Lock,
    Register,
    LookAtHorizon,
    Unlock,
    // Whoever needs room.
    Add,
    ExpireLock,
    ReadClock,
    ReadRegistered,
    Snapshot,
    Advance,
    Subtract,
    ExpireUnlock,
    /// The row is inserted; the client may commit or not.
    Inserted,
    Visible,
    Credit,
    Deregister,
    Unpin,
    TakeBack,
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Session {
    at: At,
    pinned: bool,
    registered: bool,
    late: bool,
    /// Expiry has been tried; it could not go as far as the clock because of holds in somebody's hands.
    tried: Option<u8>,
    held_up: bool,
    added: i8,
    /// What the commit callback will subtract.
    credit: i8,
    /// For a maker: when his hold expires.
    expires: u8,
    clock: u8,
    /// Holds (bits) that were in somebody's hands, and those that the snapshot shows held.
    in_hands: u8,
    seen_held: u8,
    sum: i8,
    subtracts: i8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HoldState {
    clock: u8,
    set_back: bool,
    charged: i8,
    holds: [Hold; HOLDS],
    entry: Option<Entry>,
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
    Evict,
}

impl Model for Holds {
    type State = HoldState;
    type Action = HoldAction;

    fn init_states(&self) -> Vec<HoldState> {
        let session = Session {
            at: At::Ready,
            pinned: false,
            registered: false,
            late: false,
            tried: None,
            held_up: false,
            added: 0,
            credit: 0,
            expires: 0,
            clock: 0,
            in_hands: 0,
            seen_held: 0,
            sum: 0,
            subtracts: 0,
        };
        let hold = |hold: Option<(i8, u8)>| match hold {
            Some((amount, expires)) => Hold { row: Row::Held, amount, expires },
            None => Hold { row: Row::Absent, amount: 0, expires: 0 },
        };
        vec![HoldState {
            clock: 0,
            set_back: false,
            charged: 0,
            holds: self.scenario.holds.map(hold),
            entry: None,
            lock: None,
            sessions: vec![session; self.scenario.tasks.len()],
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
            if !matches!(
                at,
                At::Ready
                    | At::Visible
                    | At::Credit
                    | At::Deregister
                    | At::Unpin
                    | At::TakeBack
                    | At::Subtract
                    | At::Done
            ) {
                actions.push(HoldAction::Fail { who, at });
            }
        }
        if state.clock < self.scenario.clock_ends {
            actions.push(HoldAction::Tick);
        }
        if self.scenario.clock_is_set_back && !state.set_back && state.clock > 0 {
            actions.push(HoldAction::SetBack);
        }
        if state.entry.is_some_and(|entry| entry.pins == 0) {
            actions.push(HoldAction::Evict);
        }
    }

    fn next_state(&self, last: &HoldState, action: HoldAction) -> Option<HoldState> {
        let mut state = last.clone();
        match action {
            HoldAction::Step { who, .. } => self.step(&mut state, who),
            HoldAction::Fail { who, .. } => self.fail(&mut state, who),
            HoldAction::Tick => state.clock += 1,
            HoldAction::SetBack => {
                state.clock -= 1;
                state.set_back = true;
            }
            HoldAction::Evict => state.entry = None,
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

    fn hold_of(&self, who: usize) -> Option<u8> {
        match self.scenario.tasks[who] {
            Task::Charge(_) => None,
            Task::Resolve(hold, _) | Task::Make(hold, _, _) => Some(hold),
        }
    }

    /// What a session needs room for.
    fn amount(&self, who: usize) -> i8 {
        match self.scenario.tasks[who] {
            Task::Charge(amount) | Task::Make(_, amount, _) => amount,
            Task::Resolve(..) => 0,
        }
    }

    fn blocked(&self, state: &HoldState, who: usize) -> bool {
        let others = || state.sessions.iter().enumerate().filter(|(other, _)| *other != who);
        match state.sessions[who].at {
            At::LoadLock | At::Lock | At::ExpireLock => state.lock.is_some(),
            // The row's lock: taken with it, kept to the end of the transaction.
            At::RowLock => others().any(|(other, session)| {
                let same = self.hold_of(other) == self.hold_of(who);
                let before = matches!(session.at, At::Ready | At::Pin | At::LoadLock | At::Sum | At::PublishEntry);
                same && !before && !matches!(session.at, At::RowLock | At::Done)
            }),
            _ => false,
        }
    }

    fn step(&self, state: &mut HoldState, who: usize) {
        let task = self.scenario.tasks[who];
        let hold = self.hold_of(who).map_or(0, usize::from);
        let at = state.sessions[who].at;
        let next = match at {
            At::Ready => {
                if let Task::Make(_, _, lives) = task {
                    state.sessions[who].expires = state.clock + lives;
                }
                At::Pin
            }
            At::Pin
                if matches!(task, Task::Resolve(..))
                    && self.is(Mutant::ResolverDoesNotPin)
                    && state.entry.is_some() =>
            {
                self.after_pin(who)
            }
            At::Pin => match &mut state.entry {
                Some(entry) => {
                    entry.pins += 1;
                    state.sessions[who].pinned = true;
                    self.after_pin(who)
                }
                None => At::LoadLock,
            },
            At::LoadLock => {
                state.lock = Some(who as u8);
                At::Sum
            }
            At::Sum if state.entry.is_some() => {
                state.lock = None;
                At::Pin
            }
            At::Sum => {
                let clock = state.clock;
                let live = state.holds.iter().filter(|hold| hold.row == Row::Held && hold.expires > clock);
                state.sessions[who].sum = state.charged + live.map(|hold| hold.amount).sum::<i8>();
                state.sessions[who].clock = clock;
                At::PublishEntry
            }
            At::PublishEntry => {
                let session = &mut state.sessions[who];
                let pins = u8::from(!(matches!(task, Task::Resolve(..)) && self.is(Mutant::ResolverDoesNotPin)));
                state.entry = Some(Entry { reserved: session.sum, horizon: session.clock, pins });
                session.pinned = pins == 1;
                session.sum = 0;
                state.lock = None;
                self.after_pin(who)
            }
            At::RowLock if state.holds[hold].row == Row::Resolved => At::Unpin,
            At::RowLock if self.is(Mutant::ResolverWithoutLock) => At::Register,
            At::RowLock => At::Lock,
            At::Lock => {
                state.lock = Some(who as u8);
                At::Register
            }
            At::Register => {
                state.sessions[who].registered = true;
                At::LookAtHorizon
            }
            At::LookAtHorizon => self.look_at_horizon(state, who, hold),
            At::Unlock => {
                if state.lock == Some(who as u8) {
                    state.lock = None;
                }
                match task {
                    Task::Resolve(_, cost) => {
                        self.add_cost(state, who, hold, cost);
                        At::Inserted
                    }
                    _ => At::Add,
                }
            }
            At::Add => self.add(state, who),
            At::ExpireLock => {
                state.lock = Some(who as u8);
                At::ReadClock
            }
            At::ReadClock => {
                state.sessions[who].clock = state.clock;
                if self.is(Mutant::ResolversReadAfterSnapshot) { At::Snapshot } else { At::ReadRegistered }
            }
            At::ReadRegistered => {
                state.sessions[who].in_hands = self.in_hands(state);
                if self.is(Mutant::ResolversReadAfterSnapshot) { At::Advance } else { At::Snapshot }
            }
            At::Snapshot => {
                let held = (0..HOLDS).filter(|hold| state.holds[*hold].row == Row::Held);
                state.sessions[who].seen_held = held.fold(0, |set, hold| set | 1 << hold);
                if self.is(Mutant::ResolversReadAfterSnapshot) { At::ReadRegistered } else { At::Advance }
            }
            At::Advance => self.advance(state, who),
            At::Subtract => {
                let subtracts = std::mem::take(&mut state.sessions[who].subtracts);
                self.subtract(state, subtracts);
                At::ExpireUnlock
            }
            At::ExpireUnlock => {
                state.lock = None;
                state.sessions[who].in_hands = 0;
                state.sessions[who].seen_held = 0;
                state.sessions[who].clock = 0;
                At::Add
            }
            At::Inserted => At::Visible,
            At::Visible => {
                self.become_visible(state, who, task, hold);
                At::Credit
            }
            At::Credit => {
                let credit = std::mem::take(&mut state.sessions[who].credit);
                self.subtract(state, credit);
                At::Deregister
            }
            At::Deregister => {
                state.sessions[who].registered = false;
                At::Unpin
            }
            At::TakeBack => {
                let added = std::mem::take(&mut state.sessions[who].added);
                self.subtract(state, added);
                At::Deregister
            }
            At::Unpin => {
                if std::mem::take(&mut state.sessions[who].pinned)
                    && let Some(entry) = &mut state.entry
                {
                    entry.pins -= 1;
                }
                let session = &mut state.sessions[who];
                (session.tried, session.held_up, session.late, session.expires) = (None, false, false, 0);
                At::Done
            }
            At::Done => At::Done,
        };
        state.sessions[who].at = next;
    }

    fn after_pin(&self, who: usize) -> At {
        match self.scenario.tasks[who] {
            Task::Charge(_) => At::Add,
            Task::Resolve(..) => At::RowLock,
            Task::Make(..) => At::Lock,
        }
    }

    /// Under the lock: T has not passed the hold, or it is late (resolver), or another moment is needed (maker).
    fn look_at_horizon(&self, state: &mut HoldState, who: usize, hold: usize) -> At {
        let horizon = state.entry.map_or(0, |entry| entry.horizon);
        match self.scenario.tasks[who] {
            Task::Make(..) => {
                let passed = state.sessions[who].expires <= horizon;
                if passed && !self.is(Mutant::MakerDoesNotLookAtHorizon) {
                    // He begins anew with a later moment. Here his transaction ends: one way of many to begin anew.
                    state.sessions[who].registered = false;
                    state.sessions[who].expires = 0;
                    state.lock = None;
                    self.fail(state, who);
                    return state.sessions[who].at;
                }
                At::Unlock
            }
            _ => {
                let passed = state.holds[hold].expires <= horizon;
                state.sessions[who].late = passed && !self.is(Mutant::LateIsNotDecided);
                At::Unlock
            }
        }
    }

    /// A resolver charges without a limit: everything when late, else what exceeds the hold; less is credited later.
    fn add_cost(&self, state: &mut HoldState, who: usize, hold: usize, cost: i8) {
        let session = &mut state.sessions[who];
        let counted = if session.late { 0 } else { state.holds[hold].amount };
        session.added = (cost - counted).max(0);
        session.credit = (counted - cost).max(0);
        if let Some(entry) = &mut state.entry {
            entry.reserved += session.added;
        }
    }

    fn add(&self, state: &mut HoldState, who: usize) -> At {
        let amount = self.amount(who);
        let truth = self.true_sum(state);
        let limit = self.scenario.limit;
        let Some(entry) = &mut state.entry else { return At::Unpin };
        if entry.reserved + amount <= limit {
            entry.reserved += amount;
            state.sessions[who].added = amount;
            if truth + amount > limit {
                state.broken = Some(Invariant::Overshoot);
            }
            return At::Inserted;
        }
        let Some(tried) = state.sessions[who].tried else { return At::ExpireLock };
        // Refused. Nothing that had expired when it tried still counts, unless it was in somebody's hands or behind it.
        let horizon = entry.horizon;
        let expired =
            state.holds.iter().any(|hold| hold.row == Row::Held && hold.expires > horizon && hold.expires <= tried);
        if truth + amount <= limit || (expired && !state.sessions[who].held_up) {
            state.broken = Some(Invariant::SpuriousRefusal);
        }
        At::Deregister
    }

    /// Holds (bits) in the hands of a transaction that has not ended.
    fn in_hands(&self, state: &HoldState) -> u8 {
        let registered = state.sessions.iter().enumerate().filter(|(who, session)| {
            let making = matches!(self.scenario.tasks[*who], Task::Make(..));
            session.registered && !(making && self.is(Mutant::HorizonPassesHoldBeingMade))
        });
        registered.filter_map(|(who, _)| self.hold_of(who)).fold(0, |set, hold| set | 1 << hold)
    }

    /// When a hold expires: from its row, or from its maker's registration.
    fn expiry(&self, state: &HoldState, hold: usize) -> u8 {
        let maker = (0..state.sessions.len())
            .find(|who| matches!(self.scenario.tasks[*who], Task::Make(made, ..) if usize::from(made) == hold));
        match maker {
            Some(who) if state.holds[hold].row == Row::Absent => state.sessions[who].expires,
            _ => state.holds[hold].expires,
        }
    }

    /// T moves forward, and what it passes is subtracted, in one step.
    fn advance(&self, state: &mut HoldState, who: usize) -> At {
        let session = &state.sessions[who];
        let (clock, in_hands, seen_held) = (session.clock, session.in_hands, session.seen_held);
        let takes_all = self.is(Mutant::ExpiryTakesHoldBeingResolved);
        let skips = self.is(Mutant::HorizonPassesHoldBeingResolved);
        let held: Vec<usize> = (0..HOLDS).filter(|hold| in_hands & (1 << hold) != 0).collect();
        let first = held.iter().map(|hold| self.expiry(state, *hold)).min();
        let to = match first {
            Some(first) if !takes_all && !skips => clock.min(first.saturating_sub(1)),
            _ => clock,
        };
        let Some(horizon) = state.entry.map(|entry| entry.horizon) else { return At::ExpireUnlock };
        let passed = (0..HOLDS).filter(|hold| {
            let expires = state.holds[*hold].expires;
            let free = in_hands & (1 << hold) == 0 || takes_all;
            seen_held & (1 << hold) != 0 && expires > horizon && expires <= to && free
        });
        let subtracts: i8 = passed.map(|hold| state.holds[hold].amount).sum();
        if let Some(entry) = &mut state.entry
            && (to > horizon || self.is(Mutant::HorizonMovesBackwards))
        {
            entry.horizon = to;
        }
        let session = &mut state.sessions[who];
        session.tried = Some(clock);
        session.held_up = to < clock;
        if self.is(Mutant::HorizonApartFromSubtraction) {
            session.subtracts = subtracts;
            return At::Subtract;
        }
        self.subtract(state, subtracts);
        At::ExpireUnlock
    }

    fn subtract(&self, state: &mut HoldState, amount: i8) {
        if let Some(entry) = &mut state.entry {
            entry.reserved -= amount;
        }
    }

    fn become_visible(&self, state: &mut HoldState, who: usize, task: Task, hold: usize) {
        let session = &mut state.sessions[who];
        session.added = 0;
        match task {
            Task::Charge(amount) => state.charged += amount,
            Task::Resolve(_, cost) => {
                state.charged += cost;
                state.holds[hold].row = Row::Resolved;
            }
            Task::Make(_, amount, _) => {
                state.holds[hold] = Hold { row: Row::Held, amount, expires: session.expires };
            }
        }
    }

    fn fail(&self, state: &mut HoldState, who: usize) {
        if state.lock == Some(who as u8) {
            state.lock = None;
        }
        let session = &mut state.sessions[who];
        (session.credit, session.sum, session.clock, session.in_hands, session.seen_held) = (0, 0, 0, 0, 0);
        session.at = if session.added > 0 { At::TakeBack } else { At::Deregister };
    }

    /// Charges, holds that count, and what transactions in flight have added or have yet to credit.
    fn true_sum(&self, state: &HoldState) -> i8 {
        let horizon = state.entry.map_or(0, |entry| entry.horizon);
        let in_hands_and_counted = |hold: usize| {
            state.sessions.iter().enumerate().any(|(who, session)| {
                let settling = matches!(session.at, At::Unlock | At::Inserted | At::Visible);
                matches!(self.scenario.tasks[who], Task::Resolve(it, _) if usize::from(it) == hold)
                    && session.registered
                    && settling
                    && !session.late
            })
        };
        let live = (0..HOLDS).filter(|hold| {
            state.holds[*hold].row == Row::Held && (state.holds[*hold].expires > horizon || in_hands_and_counted(*hold))
        });
        let in_flight = state.sessions.iter().map(|session| {
            // A credit counts once it is committed, and is subtracted a step later.
            session.added + if session.at == At::Credit { session.credit } else { 0 }
        });
        state.charged + live.map(|hold| state.holds[hold].amount).sum::<i8>() + in_flight.sum::<i8>()
    }

    fn judge(&self, state: &mut HoldState) {
        let truth = self.true_sum(state);
        let watched = self.watch == Watch::Everything && state.broken.is_none();
        if watched && state.entry.is_some_and(|entry| entry.reserved != truth) {
            state.broken = Some(Invariant::Drift);
        }
        let done = state.sessions.iter().all(|session| session.at == At::Done);
        let leaks = state.entry.is_some_and(|entry| entry.pins > 0) || state.lock.is_some();
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
