//! The escrow protocol as a transition system: which steps there are in a state, and what each does.

use stateright::{Model, Property};

use crate::mutant::{Mutant, Watch};
use crate::scenario::{Op, Scenario};
use crate::state::{Cache, Entry, Invariant, Pc, Session, State, Tables, TenantLock};
use crate::world::{AdmissionMode, Definitions, PARTITIONS, PLATFORM, QUOTAS, Scope, partition};

/// The protocol in one scenario, whole or with one rule switched off.
#[derive(Clone)]
pub struct Escrow {
    pub scenario: &'static Scenario,
    pub mutant: Option<Mutant>,
    pub watch: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The session takes the step that it stands at.
    Step {
        me: usize,
        at: Pc,
    },
    /// An ERROR or a cancel there; at `Ready`, a ROLLBACK. The transaction aborts.
    Fail {
        me: usize,
        at: Pc,
    },
    /// An ERROR inside a savepoint that catches it, or ROLLBACK TO.
    RollBackTo {
        me: usize,
        at: Pc,
    },
    /// Postgres' deadlock detector ends one of those that wait for each other.
    Deadlock {
        me: usize,
    },
    CommitPrepared {
        me: usize,
    },
    RollbackPrepared {
        me: usize,
    },
    Evict {
        quota: u8,
        epoch: u8,
    },
    /// A crash, or a restart, into the next mode.
    Restart {
        into: AdmissionMode,
    },
}

impl Model for Escrow {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let scenario = self.scenario;
        let definitions = scenario.definitions();
        let mode = scenario.modes[0];
        let cache =
            (scenario.cached && mode == AdmissionMode::Escrow).then_some(Cache { definitions, epoch: [0; PARTITIONS] });
        let mut state = State {
            mode,
            restarts: 0,
            tables: Tables { spent: scenario.spent, definitions, request_rows: 0 },
            acknowledged: [0; QUOTAS],
            epoch: [0; PARTITIONS],
            entries: Vec::new(),
            sessions: scenario.sessions.iter().map(|_| Session::new(cache)).collect(),
            broken: None,
        };
        if scenario.loaded && mode == AdmissionMode::Escrow {
            let loaded = (0..QUOTAS as u8).filter(|quota| definitions[*quota as usize].limit.is_some());
            state.entries = loaded
                .map(|quota| Entry { quota, epoch: 0, reserved: self.committed(&state, quota), pins: 0 })
                .collect();
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.progress(state, actions);
        for (me, session) in state.sessions.iter().enumerate() {
            self.mishaps(state, me, session, actions);
        }
        if self.scenario.evictions {
            let free = state.entries.iter().filter(|entry| entry.pins == 0 || self.is(Mutant::EvictPinned));
            actions.extend(free.map(|entry| Action::Evict { quota: entry.quota, epoch: entry.epoch }));
        }
        if let Some(into) = self.scenario.modes.get(state.restarts as usize + 1)
            && !state.sessions.iter().all(|session| session.pc == Pc::Done)
        {
            actions.push(Action::Restart { into: *into });
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step { me, .. } => self.step(&mut state, me),
            Action::Fail { me, .. } | Action::Deadlock { me } => self.begin_abort(&mut state, me),
            Action::RollBackTo { me, .. } => self.begin_savepoint_abort(&mut state, me),
            Action::CommitPrepared { me } => self.commit_prepared(&mut state, me),
            Action::RollbackPrepared { me } => self.rollback_prepared(&mut state, me),
            Action::Evict { quota, epoch } => {
                state.entries.retain(|entry| (entry.quota, entry.epoch) != (quota, epoch));
            }
            Action::Restart { into } => self.restart(&mut state, into),
        }
        state.entries.sort_unstable();
        self.judge(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Invariant::ALL.iter().map(|invariant| property(*invariant)).collect()
    }
}

/// A property's condition is a plain function, so there is one for each invariant.
fn property(invariant: Invariant) -> Property<Escrow> {
    macro_rules! unbroken {
        ($($name:ident),*) => {
            match invariant {
                $(Invariant::$name => |_: &Escrow, state: &State| state.broken != Some(Invariant::$name),)*
            }
        };
    }
    let condition: fn(&Escrow, &State) -> bool =
        unbroken!(Overshoot, Outdated, SpuriousRefusal, Drift, AllOrNothing, Duplicate, Leak, Stuck);
    Property::always(invariant.name(), condition)
}

impl Escrow {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn tenant(&self, me: usize) -> usize {
        self.scenario.sessions[me].0
    }

    pub fn program(&self, me: usize) -> &'static [Op] {
        self.scenario.sessions[me].1
    }

    pub fn op(&self, state: &State, me: usize) -> Option<Op> {
        self.program(me).get(state.sessions[me].op as usize).copied()
    }

    pub fn scope(&self, quota: u8) -> Scope {
        self.scenario.scopes[quota as usize]
    }

    pub fn partition(&self, quota: u8) -> usize {
        partition(self.scope(quota))
    }

    /// The epoch under which an entry is searched for.
    pub fn key(&self, quota: u8, epoch: [u8; PARTITIONS]) -> u8 {
        if self.is(Mutant::EpochNotInKey) { 0 } else { epoch[self.partition(quota)] }
    }

    /// Committed and visible charges that a quota counts.
    pub fn committed(&self, state: &State, quota: u8) -> i8 {
        let scope = self.scope(quota);
        let tenants = state.tables.spent.iter().enumerate().filter(|(tenant, _)| scope.covers(*tenant));
        tenants.map(|(_, spent)| *spent).sum()
    }

    /// Committed definitions with the session's own changes, which no other change can outdate.
    pub fn definitions_seen(&self, state: &State, me: usize, committed: Definitions) -> Definitions {
        let mut seen = committed;
        for (definition, change) in seen.iter_mut().zip(state.sessions[me].changes) {
            if let Some(change) = change {
                definition.limit = change.limit;
                definition.version = u8::MAX;
            }
        }
        seen
    }

    /// What may be taken next if nothing goes wrong. Empty while not all have finished: one is stuck.
    fn progress(&self, state: &State, actions: &mut Vec<Action>) {
        let before = actions.len();
        for (me, session) in state.sessions.iter().enumerate() {
            match session.pc {
                Pc::Done => (),
                Pc::Prepared => {
                    actions.extend([Action::CommitPrepared { me }, Action::RollbackPrepared { me }]);
                }
                at if self.blockers(state, me) == 0 => actions.push(Action::Step { me, at }),
                _ => (),
            }
        }
        if actions.len() == before && self.scenario.deadlocks {
            let victims = (0..state.sessions.len()).filter(|me| self.waits_for_itself(state, *me));
            actions.extend(victims.map(|me| Action::Deadlock { me }));
        }
    }

    /// ERROR, cancel and ROLLBACK. Nothing between an addition and its push can raise, and no callback can.
    fn mishaps(&self, state: &State, me: usize, session: &Session, actions: &mut Vec<Action>) {
        let at = session.pc;
        let in_savepoint = session.level == 1;
        if at == Pc::Ready && in_savepoint && self.op(state, me) == Some(Op::EndSavepoint) {
            actions.push(Action::RollBackTo { me, at });
        }
        let may_raise = match at {
            Pc::Ready => session.begun && (session.has_effects() || session.changes.iter().any(Option::is_some)),
            Pc::LockDefinitions { .. }
            | Pc::Change
            | Pc::AwaitDepartures
            | Pc::Close { .. }
            | Pc::LockTenant
            | Pc::WaitTenant
            | Pc::WaitArrival
            | Pc::WaitEarlierLife
            | Pc::WaitInFlight { .. }
            | Pc::LockTables { .. }
            | Pc::WaitDefinitions
            | Pc::ReadDefinitions
            | Pc::Barrier { .. }
            | Pc::WaitOldSlots { .. }
            | Pc::LoadLock { .. }
            | Pc::Sum { .. }
            | Pc::PublishEntry { .. }
            | Pc::LoadUnlock { .. }
            | Pc::Decide
            | Pc::Insert
            | Pc::SeekDuplicate { .. } => true,
            // Step 4, the journal's room, is what fails here; there is nothing else to it.
            Pc::Pin { quota } => usize::from(quota) == QUOTAS,
            Pc::Push => self.is(Mutant::RaiseBetweenAddAndPush),
            _ => false,
        };
        if self.scenario.failures && may_raise {
            actions.push(Action::Fail { me, at });
            if in_savepoint && at != Pc::Ready {
                actions.push(Action::RollBackTo { me, at });
            }
        }
    }

    /// The sessions (bits) that a session's next step waits for.
    fn blockers(&self, state: &State, me: usize) -> u8 {
        let session = &state.sessions[me];
        let those = |blocks: &dyn Fn(usize, &Session) -> bool| {
            let others = state.sessions.iter().enumerate().filter(|(other, _)| *other != me);
            others.filter(|(other, it)| blocks(*other, it)).fold(0, |set, (other, _)| set | 1 << other)
        };
        let holds_tables = |partition: usize, other: usize, it: &Session| {
            (it.tables_lock[partition].is_some() || it.load_lock[partition])
                && (partition == PLATFORM || self.tenant(other) == self.tenant(me))
        };
        match session.pc {
            _ if self.checks(state, me) => 0,
            // Together with others that commit, and with none that has closed.
            Pc::LockDefinitions { partition } => those(&|_, it| it.closed[partition as usize]),
            Pc::Close { partition } => those(&|_, it| it.definitions_lock[partition as usize].is_some()),
            Pc::AwaitDepartures if self.is(Mutant::ArrivesBesideDeparture) => 0,
            Pc::AwaitDepartures => {
                let partition = self.partition(self.changed_quota(state, me));
                those(&|_, it| it.definitions_lock[partition].is_some())
            }
            Pc::LockTenant => those(&|other, it| self.tenant(other) == self.tenant(me) && it.tenant_lock.is_some()),
            Pc::WaitTenant => those(&|other, it| {
                self.tenant(other) == self.tenant(me) && matches!(it.tenant_lock, Some((TenantLock::Alone, _)))
            }),
            Pc::WaitArrival => those(&|other, it| {
                it.arrivals_lock || (self.tenant(other) == self.tenant(me) && it.tenant_lock.is_some())
            }),
            Pc::WaitEarlierLife => self.of_earlier_life(state, me),
            // The row's lock. It is not waited for once its transaction is no longer in progress.
            Pc::Change => {
                let quota = self.changed_quota(state, me) as usize;
                those(&|_, it| it.changes[quota].is_some() && !it.is_visible())
            }
            Pc::WaitInFlight { peer, .. } => {
                let transaction = |it: &Session| self.is(Mutant::WaitsForTransaction) && it.pc == Pc::WaitDefinitions;
                those(&|other, it| other == peer as usize && (it.slot.is_some() || transaction(it)))
            }
            Pc::LockTables { partition } => those(&|other, it| holds_tables(partition as usize, other, it)),
            Pc::WaitDefinitions => those(&|_, it| it.definitions_lock.iter().any(Option::is_some)),
            Pc::Barrier { quota } if session.has_effects() || self.is(Mutant::WaitWithSlotPublished) => {
                let partition = self.partition(quota);
                those(&|_, it| it.definitions_lock[partition].is_some()) | self.arriving(state, me, quota)
            }
            Pc::WaitOldSlots { quota, peer } => {
                let partition = self.partition(quota);
                those(&|other, it| {
                    other == peer as usize
                        && self.scope(quota).covers(self.tenant(other))
                        && it.slot.is_some_and(|slot| slot[partition] < session.seen[partition])
                })
            }
            Pc::LoadLock { .. } if self.is(Mutant::LoaderIgnoresTenantLock) => 0,
            Pc::LoadLock { quota } => {
                let partition = self.partition(quota);
                those(&|other, it| holds_tables(partition, other, it))
            }
            // A transaction that has inserted the same request and not ended.
            Pc::LookUp => those(&|_, it| it.request_row && !it.is_visible()),
            Pc::SeekDuplicate { peer, .. } => {
                those(&|other, _| other == peer as usize && self.is_duplicate(state, me, other))
            }
            _ => 0,
        }
    }

    fn waits_for_itself(&self, state: &State, me: usize) -> bool {
        let edges: Vec<u8> = (0..state.sessions.len()).map(|it| self.blockers(state, it)).collect();
        let mut reached = edges[me];
        for _ in 0..edges.len() {
            let next = edges.iter().enumerate().filter(|(it, _)| reached & (1 << it) != 0);
            reached = next.fold(reached, |set, (_, more)| set | more);
        }
        reached & (1 << me) != 0
    }

    pub fn changed_quota(&self, state: &State, me: usize) -> u8 {
        match self.op(state, me) {
            Some(Op::Limit(quota, _) | Op::Define(quota, _)) => quota,
            Some(Op::Arrive(_)) => self.scenario.brought_to(self.tenant(me)).unwrap_or_default(),
            other => unreachable!("{other:?} changes nothing"),
        }
    }

    fn step(&self, state: &mut State, me: usize) {
        match state.sessions[me].pc {
            Pc::Ready => self.next_call(state, me),
            Pc::LookUp => self.look_up(state, me),
            Pc::Change => self.change(state, me),
            Pc::AwaitDepartures => self.found(state, me),
            Pc::LockTenant => self.lock_tenant(state, me),
            Pc::ShareTenant => self.share_tenant(state, me),
            Pc::WaitTenant | Pc::WaitArrival | Pc::WaitEarlierLife => self.start_round(state, me),
            Pc::LockDefinitions { partition } => self.lock_definitions(state, me, partition as usize),
            Pc::Close { partition } => self.close(state, me, partition as usize),
            Pc::WaitInFlight { partition, peer } => self.in_flight_has_ended(state, me, partition, peer),
            Pc::LockTables { partition } => self.lock_tables(state, me, partition as usize),
            Pc::ReadEpoch => self.read_epoch(state, me),
            Pc::Publish => self.publish(state, me),
            Pc::ReadEpochsAgain => self.read_epochs_again(state, me),
            Pc::WaitDefinitions => self.start_round(state, me),
            Pc::Messages => self.messages(state, me),
            Pc::ReadDefinitions => self.read_definitions(state, me),
            Pc::Pin { quota } => self.pin(state, me, quota),
            Pc::Barrier { quota } => self.barrier(state, me, quota),
            Pc::WaitOldSlots { quota, peer } => self.old_slot_has_ended(state, me, quota, peer),
            Pc::LoadLock { quota } => self.load_lock(state, me, quota),
            Pc::Sum { quota } => self.sum(state, me, quota),
            Pc::PublishEntry { quota } => self.publish_entry(state, me, quota),
            Pc::LoadUnlock { quota } => self.load_unlock(state, me, quota),
            Pc::Check { quota } => self.check_quota(state, me, quota),
            Pc::Decide => self.decide(state, me),
            Pc::Add { quota } => self.add(state, me, quota),
            Pc::Push => self.push(state, me),
            Pc::Recheck => self.recheck(state, me),
            Pc::Insert => self.insert(state, me),
            Pc::GiveBack { then } => self.give_back(state, me, then),
            Pc::SeekDuplicate { peer, waited } => self.seek_duplicate(state, me, peer, waited),
            Pc::Committing => self.become_visible(state, me),
            Pc::Settle => self.settle(state, me),
            Pc::MoveEpoch => self.move_epoch(state, me),
            Pc::ClearSlot => self.clear_slot(state, me),
            Pc::SendMessages => self.send_messages(state, me),
            Pc::Unlock => self.unlock(state, me),
            Pc::SubAbort => self.savepoint_abort(state, me),
            Pc::Abort => self.abort(state, me),
            Pc::Prepared | Pc::Done => (),
        }
    }

    /// Checks what must be true in every state, and at the end.
    fn judge(&self, state: &mut State) {
        if self.watch == Watch::Everything && state.mode == AdmissionMode::Escrow && self.drifted(state) {
            state.violate(Invariant::Drift);
        }
        if state.sessions.iter().all(|session| session.pc == Pc::Done) {
            let leaks = state.entries.iter().any(|entry| entry.pins > 0)
                || state.sessions.iter().any(|session| session.slot.is_some())
                || state.epoch.iter().any(|epoch| epoch % 2 == 1);
            if leaks {
                state.violate(Invariant::Leak);
            }
            return;
        }
        // Others wait for the lock of the one that has closed: it must be held.
        let deserted = (0..PARTITIONS).any(|partition| {
            let holder = state.sessions.iter().any(|session| session.definitions_lock[partition].is_some());
            state.epoch[partition] % 2 == 1 && !holder
        });
        let mut progress = Vec::new();
        self.progress(state, &mut progress);
        if progress.is_empty() || deserted {
            state.violate(Invariant::Stuck);
        }
    }
}
