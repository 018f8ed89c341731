//! Charges: steps 1 to 8. And changes of definitions, up to their commit.

use crate::machine::Escrow;
use crate::mutant::Mutant;
use crate::scenario::Op;
use crate::state::{Cache, Change, Entry, Invariant, Item, Kind, Pc, State, Then, bits};
use crate::world::{AdmissionMode, PARTITIONS, PLATFORM, QUOTAS, Scope};

impl Escrow {
    /// Begins the next call of the session's program, or ends its transaction.
    pub fn next_call(&self, state: &mut State, who: usize) {
        let acknowledged = state.acknowledged;
        let session = &mut state.sessions[who];
        session.begun = true;
        if !self.looks(state, who) {
            state.sessions[who].fresh = 0;
        }
        let session = &mut state.sessions[who];
        match self.program(who).get(session.op as usize) {
            Some(Op::Charge(_) | Op::Record(_) | Op::Refund(_)) => {
                session.began = acknowledged;
                self.start_round(state, who);
            }
            Some(Op::ChargeOnce(_)) => {
                session.began = acknowledged;
                session.pc = Pc::LookUp;
            }
            Some(Op::Look) => session.pc = Pc::Look { quota: 0 },
            Some(Op::Limit(..)) => session.pc = Pc::Change,
            Some(Op::Define(..)) => session.pc = Pc::LockDefinitions,
            Some(Op::Savepoint) => {
                session.level = 1;
                session.op += 1;
            }
            Some(Op::EndSavepoint) => self.release_savepoint(state, who),
            Some(Op::Prepare) => self.prepare(state, who),
            Some(Op::Commit) | None => self.begin_commit(state, who),
        }
    }

    /// Definitions: the trigger's lock, before the rows change.
    pub fn lock_definitions(&self, state: &mut State, who: usize) {
        let partition = self.partition(self.changed_quota(state, who));
        let session = &mut state.sessions[who];
        session.definitions_lock[partition].get_or_insert(session.level);
        session.pc = Pc::Change;
    }

    /// The row, not visible to others yet.
    pub fn change(&self, state: &mut State, who: usize) {
        let quota = self.changed_quota(state, who) as usize;
        let limit = match self.op(state, who) {
            Some(Op::Define(_, limit)) => limit,
            Some(Op::Limit(_, limit)) => Some(limit),
            _ => None,
        };
        let exists = state.tables.definitions[quota].limit.is_some();
        let session = &mut state.sessions[who];
        // A second creation of the same quota is a change of its limit, and so is none.
        if exists || limit.is_some() {
            session.changes[quota] = Some(Change { limit, level: session.level, version: 0 });
        }
        session.op += 1;
        session.pc = Pc::Ready;
    }

    /// Before a charge by a transaction that changed definitions itself: the partition is closed first.
    pub fn start_round(&self, state: &mut State, who: usize) {
        let session = &mut state.sessions[who];
        session.forget_round();
        if state.mode == AdmissionMode::Locked {
            let platform = self.scenario.scopes.contains(&Scope::Platform);
            session.pc = Pc::LockTables { partition: if platform { PLATFORM as u8 } else { 0 } };
            return;
        }
        for partition in 0..PARTITIONS {
            let changed = session.definitions_lock[partition].is_some() && !self.is(Mutant::ChangerDoesNotClose);
            if changed && !session.closed[partition] {
                session.pc = Pc::Close { partition: partition as u8 };
                return;
            }
            let unlocked = session.tables_lock[partition].is_none() && !self.is(Mutant::CloserTakesNoTenantLock);
            if session.closed[partition] && unlocked {
                session.pc = Pc::LockTables { partition: partition as u8 };
                return;
            }
        }
        session.pc = Pc::ReadEpoch;
    }

    /// Closing: the epoch becomes odd. The transaction that has closed decides alone from here on.
    pub fn close(&self, state: &mut State, who: usize, partition: usize) {
        state.epoch[partition] += 1;
        state.sessions[who].closed[partition] = true;
        if self.is(Mutant::CloserDoesNotWait) {
            self.start_round(state, who);
        } else {
            state.sessions[who].pc = Pc::WaitInFlight { partition: partition as u8, peer: 0 };
        }
    }

    /// Closing: one slot after the other.
    pub fn in_flight_has_ended(&self, state: &mut State, who: usize, partition: u8, peer: u8) {
        if usize::from(peer) + 1 < state.sessions.len() {
            state.sessions[who].pc = Pc::WaitInFlight { partition, peer: peer + 1 };
        } else {
            self.start_round(state, who);
        }
    }

    /// The locked mode's lock, to the end of the transaction; the platform's before the tenant's.
    pub fn lock_tables(&self, state: &mut State, who: usize, partition: usize) {
        let session = &mut state.sessions[who];
        session.tables_lock[partition].get_or_insert(session.level);
        match state.mode {
            AdmissionMode::Escrow => self.start_round(state, who),
            AdmissionMode::Locked if partition == PLATFORM => session.pc = Pc::LockTables { partition: 0 },
            AdmissionMode::Locked => session.pc = Pc::ReadDefinitions,
        }
    }

    /// Step 1, first half of publishing.
    pub fn read_epoch(&self, state: &mut State, who: usize) {
        state.sessions[who].seen = state.epoch;
        state.sessions[who].pc = Pc::Publish;
    }

    /// Step 1: the slot. While the transaction has charged, the slot keeps the earliest epoch it showed.
    pub fn publish(&self, state: &mut State, who: usize) {
        let request = matches!(self.op(state, who), Some(Op::ChargeOnce(_)));
        let session = &mut state.sessions[who];
        let mut shown = session.seen;
        if let Some(slot) = session.slot
            && session.has_effects()
            && !self.is(Mutant::SlotForgetsEarlierEpoch)
        {
            shown = std::array::from_fn(|partition| slot[partition].min(shown[partition]));
        }
        session.slot = Some(shown);
        session.slot_request |= request;
        session.pc = if self.is(Mutant::LookBeforeReading) { Pc::LookAgain } else { Pc::Messages };
    }

    /// Step 1, second look: after the slot can be seen and the definitions are read, they are those of this epoch.
    pub fn look_again(&self, state: &mut State, who: usize) {
        let epoch = state.epoch;
        let session = &mut state.sessions[who];
        let closed_by_other = (0..PARTITIONS).any(|partition| epoch[partition] % 2 == 1 && !session.closed[partition]);
        if closed_by_other {
            self.withdraw(state, who);
            state.sessions[who].forget_round();
            state.sessions[who].pc = Pc::WaitDefinitions;
        } else if epoch != session.seen {
            self.start_round(state, who);
        } else {
            session.pc = if self.is(Mutant::LookBeforeReading) { Pc::Messages } else { Pc::Pin { quota: 0 } };
        }
    }

    /// No transaction waits with its slot published before it has charged: those that wait for slots would wait for it.
    pub fn withdraw(&self, state: &mut State, who: usize) {
        let session = &mut state.sessions[who];
        if !session.has_effects() && !self.is(Mutant::WaitWithSlotPublished) {
            session.slot = None;
            session.slot_request = false;
        }
    }

    /// Step 2: messages that came by now.
    pub fn messages(&self, state: &mut State, who: usize) {
        let session = &mut state.sessions[who];
        session.handle_messages();
        session.pc = Pc::ReadDefinitions;
    }

    /// Step 2: cached under the epoch of the slot, or in a snapshot taken now.
    pub fn read_definitions(&self, state: &mut State, who: usize) {
        let committed = state.tables.definitions;
        if state.mode == AdmissionMode::Locked {
            state.sessions[who].used = self.definitions_seen(state, who, committed);
            state.sessions[who].pc = Pc::Decide;
            return;
        }
        let session = &mut state.sessions[who];
        let good = |cache: &Cache| cache.epoch == session.seen || self.is(Mutant::CacheAcrossEpochs);
        let cache = match session.cache.filter(good) {
            Some(cache) => cache,
            None => Cache { definitions: committed, epoch: session.seen },
        };
        session.cache = Some(cache);
        state.sessions[who].used = self.definitions_seen(state, who, cache.definitions);
        let looked = self.is(Mutant::LookBeforeReading) || self.is(Mutant::NoLookAfterPublishing);
        state.sessions[who].pc = if looked { Pc::Pin { quota: 0 } } else { Pc::LookAgain };
    }

    /// Quotas of the call: those that cover its tenant and exist by the definitions it read.
    fn of_call(&self, state: &State, who: usize) -> impl Iterator<Item = u8> {
        let used = state.sessions[who].used;
        let tenant = self.tenant(who);
        let scopes = self.scenario.scopes;
        (0..QUOTAS as u8)
            .filter(move |quota| used[*quota as usize].limit.is_some() && scopes[*quota as usize].covers(tenant))
    }

    fn decided_from_tables(&self, state: &State, who: usize, quota: u8) -> bool {
        let closed = state.sessions[who].closed;
        let all = state.mode == AdmissionMode::Locked
            || (self.is(Mutant::ClosedDecidesAllFromTables) && closed.contains(&true));
        all || closed[self.partition(quota)]
    }

    /// Quotas of the call that are decided by their counters.
    pub fn by_counter(&self, state: &State, who: usize) -> impl Iterator<Item = u8> {
        let counted: Vec<u8> =
            self.of_call(state, who).filter(|quota| !self.decided_from_tables(state, who, *quota)).collect();
        counted.into_iter()
    }

    /// Step 3: pins the entry of one quota after the other, or loads it. Behind the last, step 4.
    pub fn pin(&self, state: &mut State, who: usize, quota: u8) {
        let Some(quota) = self.by_counter(state, who).find(|it| *it >= quota) else {
            // The step after the last: room in the journal is made, which may fail.
            let behind = Pc::Pin { quota: QUOTAS as u8 };
            let session = &mut state.sessions[who];
            session.pc = if session.pc == behind || !self.scenario.failures { Pc::Decide } else { behind };
            return;
        };
        let epoch = self.key(quota, state.sessions[who].seen);
        if self.pin_if_there(state, who, quota) {
            state.sessions[who].pc = Pc::Pin { quota: quota + 1 };
        } else if self.is(Mutant::ChargeBeforeLoad) {
            state.entries.push(Entry { quota, epoch, reserved: 0, pins: 1 });
            state.sessions[who].pinned |= 1 << quota;
            state.sessions[who].pc = Pc::Pin { quota: quota + 1 };
        } else if self.is(Mutant::RefundSkipsAbsent) && matches!(self.op(state, who), Some(Op::Refund(_))) {
            state.sessions[who].pc = Pc::Decide;
        } else if self.is(Mutant::LoaderSkipsBarrier) {
            state.sessions[who].pc = Pc::WaitOldSlots { quota, peer: 0 };
        } else {
            state.sessions[who].pc = Pc::Barrier { quota };
        }
    }

    pub fn pin_if_there(&self, state: &mut State, who: usize, quota: u8) -> bool {
        let epoch = self.key(quota, state.sessions[who].seen);
        let Some(entry) = state.entry(quota, epoch) else { return false };
        entry.pins += 1;
        state.sessions[who].pinned |= 1 << quota;
        true
    }

    /// A closed partition, and the locked mode: committed and own rows in a snapshot taken after the lock.
    pub fn decide(&self, state: &mut State, who: usize) {
        let enforced = matches!(self.op(state, who), Some(Op::Charge(_) | Op::ChargeOnce(_)));
        let from_tables: Vec<u8> =
            self.of_call(state, who).filter(|quota| self.decided_from_tables(state, who, *quota)).collect();
        for quota in from_tables.into_iter().filter(|_| enforced) {
            let session = &state.sessions[who];
            let own: i8 = session.charged.iter().sum();
            let sum = self.committed(state, quota) + own + self.amount(state, who);
            let fits = self.fits_somehow(state, who, quota);
            if session.used[quota as usize].limit.is_some_and(|limit| sum > limit) {
                self.judge_refusal(state, who, quota);
                state.sessions[who].pc = Pc::GiveBack { then: Then::Refused };
                return;
            }
            state.sessions[who].over |= !fits;
        }
        let first = self.by_counter(state, who).next();
        let nothing_to_add = matches!(self.op(state, who), Some(Op::Refund(_)));
        state.sessions[who].pc = match first {
            Some(quota) if !nothing_to_add => Pc::Add { quota },
            _ if state.mode == AdmissionMode::Locked => Pc::Recheck,
            _ => Pc::Push,
        };
    }

    /// Step 5: adds within the limit by compare-and-swap; without it when recording after the fact.
    pub fn add(&self, state: &mut State, who: usize, quota: u8) {
        let enforced = !matches!(self.op(state, who), Some(Op::Record(_)));
        let amount = self.amount(state, who);
        let fits = self.fits_somehow(state, who, quota);
        let session = &state.sessions[who];
        let epoch = self.key(quota, session.seen);
        let limit = session.used[quota as usize].limit.filter(|_| enforced);
        if let Some(entry) = state.entry(quota, epoch) {
            if limit.is_some_and(|limit| entry.reserved + amount > limit) {
                self.judge_refusal(state, who, quota);
                state.sessions[who].pc = Pc::GiveBack { then: Then::Refused };
                return;
            }
            entry.reserved += amount;
        }
        let next = self.by_counter(state, who).find(|it| *it > quota);
        let session = &mut state.sessions[who];
        session.over |= !fits;
        session.added |= 1 << quota;
        session.pc = next.map_or(Pc::Push, |quota| Pc::Add { quota });
    }

    /// Step 6: from here on the callbacks know.
    pub fn push(&self, state: &mut State, who: usize) {
        state.sessions[who].pushed = true;
        state.sessions[who].pc = Pc::Recheck;
    }

    /// Step 7: messages again. Those that a wait since step 2 has handled count as well: they emptied the cache.
    pub fn recheck(&self, state: &mut State, who: usize) {
        let escrow = state.mode == AdmissionMode::Escrow;
        let session = &mut state.sessions[who];
        let came = session.pending || (session.cache.is_none() && !self.is(Mutant::RecheckSeesOnlyNewMessages));
        if escrow && came && !self.is(Mutant::NoRecheck) {
            session.handle_messages();
            session.pc = Pc::GiveBack { then: Then::Anew };
            return;
        }
        session.pc = Pc::Insert;
        if escrow {
            self.judge_admission(state, who);
        } else if session.over {
            state.violate(Invariant::Overshoot);
        }
    }

    /// Step 8: the row. Of two with one request id the second has waited, and finds the first's row or inserts.
    pub fn insert(&self, state: &mut State, who: usize) {
        let once = matches!(self.op(state, who), Some(Op::ChargeOnce(_)));
        if once && state.tables.request_rows > 0 && !self.is(Mutant::NoUniqueRequest) {
            state.sessions[who].pc = Pc::GiveBack { then: Then::Replayed };
            return;
        }
        let refund = matches!(self.op(state, who), Some(Op::Refund(_)));
        let amount = self.amount(state, who);
        self.journal_call(state, who);
        let session = &mut state.sessions[who];
        let level = session.level as usize;
        if refund {
            session.refunded[level] += amount;
        } else {
            session.charged[level] += amount;
        }
        if self.is(Mutant::LoadMissesItsOwnCommand) {
            session.fresh = if refund { -amount } else { amount };
        }
        session.request_row |= once;
        if refund && self.is(Mutant::RefundBeforeCommit) {
            for item in session.journal.clone() {
                state.subtract(item.quota, item.epoch, item.amount);
            }
        }
        self.finish_call(state, who);
    }

    /// The journal's items for what this call has pinned and added; also those of a call that an ERROR ended.
    pub fn journal_call(&self, state: &mut State, who: usize) {
        let refund = matches!(self.op(state, who), Some(Op::Refund(_)));
        let amount = self.amount(state, who);
        let session = &mut state.sessions[who];
        if session.pushed || !self.is(Mutant::PinNotJournaled) {
            for quota in bits(session.pinned) {
                let epoch = self.key(quota, session.seen);
                let counts = session.pushed && (refund || session.added & (1 << quota) != 0);
                let kind = if refund { Kind::Refund } else { Kind::Charge };
                let level = session.level;
                session.journal.push(Item { quota, epoch, amount: if counts { amount } else { 0 }, kind, level });
            }
        }
        session.forget_round();
    }

    /// Gives back what the call has added, then its pins, one by one.
    pub fn give_back(&self, state: &mut State, who: usize, then: Then) {
        let amount = self.amount(state, who);
        let keeps = (then == Then::Refused && self.is(Mutant::RefusalKeepsFirst))
            || (then == Then::Replayed && self.is(Mutant::LoserKeeps));
        let session = &mut state.sessions[who];
        if let Some(quota) = bits(session.added).next() {
            let epoch = self.key(quota, session.seen);
            session.added &= !(1 << quota);
            if !keeps {
                state.subtract(quota, epoch, amount);
            } else if then == Then::Refused {
                state.violate(Invariant::AllOrNothing);
            }
            return;
        }
        if let Some(quota) = bits(session.pinned).next() {
            let epoch = self.key(quota, session.seen);
            session.pinned &= !(1 << quota);
            state.unpin(quota, epoch);
            return;
        }
        let once = matches!(self.op(state, who), Some(Op::ChargeOnce(_)));
        match then {
            Then::Anew => self.start_round(state, who),
            Then::Wait => {
                self.withdraw(state, who);
                state.sessions[who].forget_round();
                state.sessions[who].pc = Pc::WaitDefinitions;
            }
            Then::Replayed => self.end_without_effect(state, who),
            Then::Refused if once && !self.is(Mutant::RefusedDoesNotWaitForDuplicate) => {
                self.withdraw(state, who);
                let waited = self.is_duplicate(state, who, 0);
                let session = &mut state.sessions[who];
                session.slot_request = false;
                session.forget_round();
                session.pc = Pc::SeekDuplicate { peer: 0, waited };
            }
            Then::Refused => {
                if once {
                    self.judge_refused_duplicate(state, who);
                }
                self.end_without_effect(state, who);
            }
        }
    }

    /// Duplicates: the look-up before anything else.
    pub fn look_up(&self, state: &mut State, who: usize) {
        if state.tables.request_rows > 0 {
            self.finish_call(state, who);
        } else {
            self.start_round(state, who);
        }
    }

    /// Duplicates: a refused call waits for each slot with its request id, then looks into the table again. A transaction
    /// that is in no slot any more has its row there, or has given back.
    pub fn seek_duplicate(&self, state: &mut State, who: usize, peer: u8, waited: bool) {
        let next = usize::from(peer) + 1;
        // Whether it had to wait is told here by the slot as it was found: it is a reason to try again.
        if next < state.sessions.len() {
            let waited = waited || self.is_duplicate(state, who, next);
            state.sessions[who].pc = Pc::SeekDuplicate { peer: next as u8, waited };
        } else if state.tables.request_rows > 0 {
            self.end_without_effect(state, who);
        } else if waited {
            self.start_round(state, who);
        } else {
            self.judge_refused_duplicate(state, who);
            self.end_without_effect(state, who);
        }
    }

    /// Whether another session's slot shows the request.
    pub fn is_duplicate(&self, state: &State, who: usize, other: usize) -> bool {
        let session = &state.sessions[other];
        let shows = if self.is(Mutant::DuplicateKnownOnlyByRow) { session.request_row } else { session.slot_request };
        other != who && shows
    }

    fn end_without_effect(&self, state: &mut State, who: usize) {
        self.withdraw(state, who);
        self.finish_call(state, who);
    }

    pub fn finish_call(&self, state: &mut State, who: usize) {
        let session = &mut state.sessions[who];
        session.forget_call();
        session.op += 1;
        session.pc = Pc::Ready;
    }
}
