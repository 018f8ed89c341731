//! Charges: steps 1 to 8. And changes of definitions, up to their commit.

use crate::machine::Escrow;
use crate::mutant::Mutant;
use crate::scenario::Op;
use crate::state::{Cache, Change, Entry, Invariant, Item, Kind, Pc, Session, State, TenantLock, Then, bits};
use crate::world::{AdmissionMode, PARTITIONS, PLATFORM, QUOTAS, Scope};

impl Escrow {
    /// Begins the next call of the session's program, or ends its transaction.
    pub fn next_call(&self, state: &mut State, me: usize) {
        let acknowledged = state.acknowledged;
        let session = &mut state.sessions[me];
        session.begun = true;
        if !self.checks(state, me) {
            state.sessions[me].fresh = 0;
        }
        let session = &mut state.sessions[me];
        match self.program(me).get(session.op as usize) {
            Some(Op::Charge(_) | Op::Record(_) | Op::Refund(_)) => {
                session.began = acknowledged;
                self.start_round(state, me);
            }
            Some(Op::ChargeOnce(_)) => {
                session.began = acknowledged;
                session.pc = Pc::LookUp;
            }
            Some(Op::Check) => session.pc = Pc::Check { quota: 0 },
            Some(Op::Limit(..) | Op::Define(..) | Op::Arrive(_)) => session.pc = Pc::Change,
            Some(Op::Savepoint) => {
                session.level = 1;
                session.op += 1;
            }
            Some(Op::EndSavepoint) => self.release_savepoint(state, me),
            Some(Op::Prepare) => self.prepare(state, me),
            Some(Op::Commit) | None => self.lock_next_definitions(state, me, 0),
        }
    }

    /// The row, not visible to others yet.
    pub fn change(&self, state: &mut State, me: usize) {
        let quota = self.changed_quota(state, me) as usize;
        let limit = match self.op(state, me) {
            Some(Op::Define(_, limit)) => limit,
            Some(Op::Limit(_, limit) | Op::Arrive(limit)) => Some(limit),
            _ => None,
        };
        let exists = state.tables.definitions[quota].limit.is_some();
        let arrives = matches!(self.op(state, me), Some(Op::Arrive(_)));
        let defines = matches!(self.op(state, me), Some(Op::Define(..)));
        let partition = self.partition(quota as u8);
        let session = &mut state.sessions[me];
        if arrives && exists {
            session.op += 1;
            session.pc = Pc::Ready;
            return;
        }
        // A second creation of the same quota is a change of its limit, and so is none.
        if exists || limit.is_some() {
            session.changes[quota] = Some(Change { limit, level: session.level, version: 0 });
        }
        session.changed[partition] |= defines;
        if arrives {
            session.pc = Pc::AwaitDepartures;
        } else {
            session.op += 1;
            session.pc = Pc::Ready;
        }
    }

    /// The row is there, and who deleted the last one has ended: nobody else can know a quota that it brings.
    pub fn found(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.founded = Some(session.level);
        session.arrived = true;
        session.op += 1;
        session.pc = Pc::Ready;
    }

    /// Before a charge by a transaction that changed definitions itself: the partition is closed first.
    pub fn start_round(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.forget_round();
        if state.mode == AdmissionMode::Locked {
            let platform = self.scenario.scopes.contains(&Scope::Platform);
            session.pc = Pc::LockTables { partition: if platform { PLATFORM as u8 } else { 0 } };
            return;
        }
        for partition in 0..PARTITIONS {
            let changed = session.changed[partition] && !self.is(Mutant::ChangerDoesNotClose);
            if changed && !session.closed[partition] {
                session.pc = Pc::Close { partition: partition as u8 };
                self.withdraw(state, me);
                return;
            }
            let unlocked = session.tables_lock[partition].is_none() && !self.is(Mutant::CloserTakesNoTenantLock);
            if session.closed[partition] && unlocked {
                session.pc = Pc::LockTables { partition: partition as u8 };
                return;
            }
        }
        let alone = matches!(session.tenant_lock, Some((TenantLock::Alone, _)));
        if session.founded.is_some() && !alone && !self.is(Mutant::FounderChargesBesideOthers) {
            session.pc = Pc::LockTenant;
            self.withdraw(state, me);
            return;
        }
        session.pc = Pc::ReadEpoch;
    }

    /// The maker of a tenant's row: those that do not know it have ended, and others of them wait.
    pub fn lock_tenant(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.tenant_lock = Some((TenantLock::Alone, session.level));
        self.start_round(state, me);
    }

    /// A charge that does not know its tenant's row: a later load of a quota of the tenant waits for it. That the row has
    /// come meanwhile shows in step 7.
    pub fn share_tenant(&self, state: &mut State, me: usize) {
        let others = state.tenant_lock_of_others(me, |other| self.tenant(other) == self.tenant(me));
        let taken = others.into_iter().any(|lock| lock == TenantLock::Alone);
        if taken {
            state.sessions[me].pc = Pc::GiveBack { then: Then::WaitTenant };
            return;
        }
        let session = &mut state.sessions[me];
        session.tenant_lock.get_or_insert((TenantLock::Shared, session.level));
        session.pc = Pc::Decide;
    }

    /// What a charge goes on with when it has pinned its counters.
    fn after_pins(&self, state: &State, me: usize) -> Pc {
        match self.scenario.brought_to(self.tenant(me)) {
            Some(quota) if state.sessions[me].used[quota as usize].limit.is_none() => Pc::ShareTenant,
            _ => Pc::Decide,
        }
    }

    /// Closing: the lock, and the epoch becomes odd. The transaction that has closed decides alone from here on.
    pub fn close(&self, state: &mut State, me: usize, partition: usize) {
        state.epoch[partition] += 1;
        let session = &mut state.sessions[me];
        session.closed[partition] = true;
        session.definitions_lock[partition] = Some(session.level);
        if self.is(Mutant::CloserDoesNotWait) {
            self.start_round(state, me);
        } else {
            state.sessions[me].pc = Pc::WaitInFlight { partition: partition as u8, peer: 0 };
        }
    }

    /// Closing: one slot after the other.
    pub fn in_flight_has_ended(&self, state: &mut State, me: usize, partition: u8, peer: u8) {
        if usize::from(peer) + 1 < state.sessions.len() {
            state.sessions[me].pc = Pc::WaitInFlight { partition, peer: peer + 1 };
        } else {
            self.start_round(state, me);
        }
    }

    /// The locked mode's lock, to the end of the transaction; the platform's before the tenant's.
    pub fn lock_tables(&self, state: &mut State, me: usize, partition: usize) {
        let session = &mut state.sessions[me];
        session.tables_lock[partition].get_or_insert(session.level);
        match state.mode {
            AdmissionMode::Escrow => self.start_round(state, me),
            AdmissionMode::Locked if partition == PLATFORM => session.pc = Pc::LockTables { partition: 0 },
            AdmissionMode::Locked => session.pc = Pc::ReadDefinitions,
        }
    }

    /// Step 1, first half of publishing.
    pub fn read_epoch(&self, state: &mut State, me: usize) {
        state.sessions[me].seen = state.epoch;
        state.sessions[me].pc = Pc::Publish;
    }

    /// Step 1: the slot. While the transaction has charged, the slot keeps the earliest epoch it showed.
    pub fn publish(&self, state: &mut State, me: usize) {
        let request = matches!(self.op(state, me), Some(Op::ChargeOnce(_)));
        let session = &mut state.sessions[me];
        let mut shown = session.seen;
        if let Some(slot) = session.slot
            && session.has_effects()
            && !self.is(Mutant::SlotForgetsEarlierEpoch)
        {
            shown = std::array::from_fn(|partition| slot[partition].min(shown[partition]));
        }
        session.slot = Some(shown);
        session.slot_request |= request;
        session.pc = if self.is(Mutant::SecondReadTooEarly) { Pc::ReadEpochsAgain } else { Pc::Messages };
    }

    /// Step 1, second read: after the slot can be seen and the definitions are read, they are those of this epoch.
    pub fn read_epochs_again(&self, state: &mut State, me: usize) {
        let epoch = state.epoch;
        let session = &mut state.sessions[me];
        let closed_by_other = (0..PARTITIONS).any(|partition| epoch[partition] % 2 == 1 && !session.closed[partition]);
        if closed_by_other {
            self.withdraw(state, me);
            state.sessions[me].forget_round();
            state.sessions[me].pc = Pc::WaitDefinitions;
        } else if epoch != session.seen {
            self.start_round(state, me);
        } else {
            state.sessions[me].pc =
                if self.is(Mutant::SecondReadTooEarly) { Pc::Messages } else { Pc::Pin { quota: 0 } };
        }
    }

    /// No transaction waits with its slot published before it has charged: those that wait for slots would wait for it.
    /// Nor does one that has not charged without its tenant's row keep others waiting for it.
    pub fn withdraw(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        if session.has_effects() {
            return;
        }
        if !self.is(Mutant::WaitWithSlotPublished) {
            session.slot = None;
            session.slot_request = false;
        }
        if matches!(session.tenant_lock, Some((TenantLock::Shared, _))) {
            session.tenant_lock = None;
        }
    }

    /// Step 2: messages that came by now.
    pub fn messages(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.handle_messages();
        session.pc = Pc::ReadDefinitions;
    }

    /// Step 2: what was cached in other epochs is good in those of the slot if all changes that led to them have sent
    /// their messages, and none came.
    fn carry_cache_over(&self, state: &mut State, me: usize) {
        let seen = state.sessions[me].seen;
        let Some(cache) = state.sessions[me].cache else { return };
        let is_open = |partition: usize| state.others(me).any(|it| it.definitions_lock[partition].is_some());
        let settled = (0..PARTITIONS).all(|partition| cache.epoch[partition] == seen[partition] || !is_open(partition));
        if settled && cache.epoch != seen {
            let session = &mut state.sessions[me];
            session.handle_messages();
            session.cache = session.cache.map(|cache| Cache { epoch: seen, ..cache });
        }
    }

    /// Step 2: cached under the epoch of the slot, or in a snapshot taken now.
    pub fn read_definitions(&self, state: &mut State, me: usize) {
        let committed = state.tables.definitions;
        if state.mode == AdmissionMode::Locked {
            state.sessions[me].used = self.definitions_seen(state, me, committed);
            state.sessions[me].pc = Pc::Decide;
            return;
        }
        self.carry_cache_over(state, me);
        let session = &mut state.sessions[me];
        let good = |cache: &Cache| cache.epoch == session.seen || self.is(Mutant::CacheAcrossEpochs);
        let cache = match session.cache.filter(good) {
            Some(cache) => cache,
            None => Cache { definitions: committed, epoch: session.seen },
        };
        session.cache = Some(cache);
        state.sessions[me].used = self.definitions_seen(state, me, cache.definitions);
        let looked = self.is(Mutant::SecondReadTooEarly) || self.is(Mutant::NoSecondRead);
        state.sessions[me].pc = if looked { Pc::Pin { quota: 0 } } else { Pc::ReadEpochsAgain };
    }

    /// Quotas of the call: those that cover its tenant and exist by the definitions it read.
    fn of_call(&self, state: &State, me: usize) -> impl Iterator<Item = u8> {
        let used = state.sessions[me].used;
        let tenant = self.tenant(me);
        let scopes = self.scenario.scopes;
        (0..QUOTAS as u8)
            .filter(move |quota| used[*quota as usize].limit.is_some() && scopes[*quota as usize].covers(tenant))
    }

    fn decided_from_tables(&self, state: &State, me: usize, quota: u8) -> bool {
        let closed = state.sessions[me].closed;
        let all = state.mode == AdmissionMode::Locked
            || (self.is(Mutant::ClosedDecidesAllFromTables) && closed.contains(&true));
        all || closed[self.partition(quota)] || self.founded(state, me, quota)
    }

    /// Whether this transaction has made the tenant's row that brings the quota: nobody else knows it.
    pub fn founded(&self, state: &State, me: usize, quota: u8) -> bool {
        let brought = self.scenario.brought_to(self.tenant(me)) == Some(quota)
            || (self.is(Mutant::FounderDecidesAllFromTables) && self.scope(quota) == Scope::Tenant(self.tenant(me)));
        brought && state.sessions[me].founded.is_some() && !self.is(Mutant::FounderUsesCounters)
    }

    /// Quotas of the call that are decided by their counters.
    pub fn by_counter(&self, state: &State, me: usize) -> impl Iterator<Item = u8> {
        let counted: Vec<u8> =
            self.of_call(state, me).filter(|quota| !self.decided_from_tables(state, me, *quota)).collect();
        counted.into_iter()
    }

    /// The sessions (bits) that may have charged a row of the tenant that was deleted before this transaction made one.
    pub fn of_earlier_life(&self, state: &State, me: usize) -> u8 {
        let Some(brought) = self.scenario.brought_to(self.tenant(me)) else { return 0 };
        if !self.founded(state, me, brought) || self.is(Mutant::FounderSkipsOldSlots) {
            return 0;
        }
        let partition = self.partition(brought);
        let is_earlier = |it: &Session| it.slot.is_some_and(|slot| slot[partition] < state.epoch[partition]);
        let others = state.sessions.iter().enumerate().filter(|(other, it)| *other != me && is_earlier(it));
        others.fold(0, |set, (other, _)| set | 1 << other)
    }

    /// Step 3: pins the entry of one quota after the other, or loads it. Behind the last, step 4.
    pub fn pin(&self, state: &mut State, me: usize, quota: u8) {
        if quota == 0 && self.of_earlier_life(state, me) != 0 {
            state.sessions[me].pc = Pc::GiveBack { then: Then::WaitEarlierLife };
            return;
        }
        let Some(quota) = self.by_counter(state, me).find(|it| *it >= quota) else {
            // The step after the last: room in the journal is made, which may fail.
            let behind = Pc::Pin { quota: QUOTAS as u8 };
            let next = self.after_pins(state, me);
            let session = &mut state.sessions[me];
            session.pc = if session.pc == behind || !self.scenario.failures { next } else { behind };
            return;
        };
        let epoch = self.key(quota, state.sessions[me].seen);
        if self.pin_if_there(state, me, quota) {
            state.sessions[me].pc = Pc::Pin { quota: quota + 1 };
        } else if self.is(Mutant::ChargeBeforeLoad) {
            state.entries.push(Entry { quota, epoch, reserved: 0, pins: 1 });
            state.sessions[me].pinned |= 1 << quota;
            state.sessions[me].pc = Pc::Pin { quota: quota + 1 };
        } else if self.is(Mutant::RefundSkipsAbsent) && matches!(self.op(state, me), Some(Op::Refund(_))) {
            state.sessions[me].pc = Pc::Decide;
        } else if self.is(Mutant::LoaderSkipsBarrier) {
            state.sessions[me].pc = Pc::WaitOldSlots { quota, peer: 0 };
        } else {
            state.sessions[me].pc = Pc::Barrier { quota };
        }
    }

    pub fn pin_if_there(&self, state: &mut State, me: usize, quota: u8) -> bool {
        let epoch = self.key(quota, state.sessions[me].seen);
        let Some(entry) = state.entry(quota, epoch) else { return false };
        entry.pins += 1;
        state.sessions[me].pinned |= 1 << quota;
        true
    }

    /// A closed partition, and the locked mode: committed and own rows in a snapshot taken after the lock.
    pub fn decide(&self, state: &mut State, me: usize) {
        let enforced = matches!(self.op(state, me), Some(Op::Charge(_) | Op::ChargeOnce(_)));
        let from_tables: Vec<u8> =
            self.of_call(state, me).filter(|quota| self.decided_from_tables(state, me, *quota)).collect();
        for quota in from_tables.into_iter().filter(|_| enforced) {
            let session = &state.sessions[me];
            let own: i8 = session.charged.iter().sum();
            let sum = self.committed(state, quota) + own + self.amount(state, me);
            let fits = self.fits_somehow(state, me, quota);
            if session.used[quota as usize].limit.is_some_and(|limit| sum > limit) {
                self.judge_refusal(state, me, quota);
                state.sessions[me].pc = Pc::GiveBack { then: Then::Refused };
                return;
            }
            state.sessions[me].over |= !fits;
        }
        let first = self.by_counter(state, me).next();
        let nothing_to_add = matches!(self.op(state, me), Some(Op::Refund(_)));
        state.sessions[me].pc = match first {
            Some(quota) if !nothing_to_add => Pc::Add { quota },
            _ if state.mode == AdmissionMode::Locked => Pc::Recheck,
            _ => Pc::Push,
        };
    }

    /// Step 5: adds within the limit by compare-and-swap; without it when recording after the fact.
    pub fn add(&self, state: &mut State, me: usize, quota: u8) {
        let enforced = !matches!(self.op(state, me), Some(Op::Record(_)));
        let amount = self.amount(state, me);
        let fits = self.fits_somehow(state, me, quota);
        let session = &state.sessions[me];
        let epoch = self.key(quota, session.seen);
        let limit = session.used[quota as usize].limit.filter(|_| enforced);
        if let Some(entry) = state.entry(quota, epoch) {
            if limit.is_some_and(|limit| entry.reserved + amount > limit) {
                self.judge_refusal(state, me, quota);
                state.sessions[me].pc = Pc::GiveBack { then: Then::Refused };
                return;
            }
            entry.reserved += amount;
        }
        let next = self.by_counter(state, me).find(|it| *it > quota);
        let session = &mut state.sessions[me];
        session.over |= !fits;
        session.added |= 1 << quota;
        session.pc = next.map_or(Pc::Push, |quota| Pc::Add { quota });
    }

    /// Step 6: from here on the callbacks know.
    pub fn push(&self, state: &mut State, me: usize) {
        state.sessions[me].pushed = true;
        state.sessions[me].pc = Pc::Recheck;
    }

    /// Step 7: messages again. Those that a wait since step 2 has handled count as well: they emptied the cache.
    pub fn recheck(&self, state: &mut State, me: usize) {
        let escrow = state.mode == AdmissionMode::Escrow;
        let session = &mut state.sessions[me];
        let came = session.pending || (session.cache.is_none() && !self.is(Mutant::RecheckSeesOnlyNewMessages));
        if escrow && came && !self.is(Mutant::NoRecheck) {
            session.handle_messages();
            session.pc = Pc::GiveBack { then: Then::Restart };
            return;
        }
        session.pc = Pc::Insert;
        if escrow {
            self.judge_admission(state, me);
        } else if session.over {
            state.violate(Invariant::Overshoot);
        }
    }

    /// Step 8: the row. Of two with one request id the second meets the first's, committed or in flight, and gives back.
    pub fn insert(&self, state: &mut State, me: usize) {
        let once = matches!(self.op(state, me), Some(Op::ChargeOnce(_)));
        let meets = state.tables.request_rows > 0 || state.others(me).any(|other| other.request_row);
        if once && meets && !self.is(Mutant::NoUniqueRequest) {
            state.sessions[me].pc = Pc::GiveBack { then: Then::LookUp };
            return;
        }
        let refund = matches!(self.op(state, me), Some(Op::Refund(_)));
        let amount = self.amount(state, me);
        self.journal_call(state, me);
        let session = &mut state.sessions[me];
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
        session.slot_request = false;
        if refund && self.is(Mutant::RefundBeforeCommit) {
            for item in session.journal.clone() {
                state.subtract(item.quota, item.epoch, item.amount);
            }
        }
        self.finish_call(state, me);
    }

    /// The journal's items for what this call has pinned and added; also those of a call that an ERROR ended.
    pub fn journal_call(&self, state: &mut State, me: usize) {
        let refund = matches!(self.op(state, me), Some(Op::Refund(_)));
        let amount = self.amount(state, me);
        let session = &mut state.sessions[me];
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
    pub fn give_back(&self, state: &mut State, me: usize, then: Then) {
        let amount = self.amount(state, me);
        let keeps = (then == Then::Refused && self.is(Mutant::RefusalKeepsFirst))
            || (then == Then::LookUp && self.is(Mutant::LoserKeeps));
        let session = &mut state.sessions[me];
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
        let once = matches!(self.op(state, me), Some(Op::ChargeOnce(_)));
        match then {
            Then::Restart => {
                self.withdraw(state, me);
                self.start_round(state, me);
            }
            Then::Wait | Then::WaitTenant | Then::WaitArrival | Then::WaitEarlierLife => {
                self.withdraw(state, me);
                state.sessions[me].forget_round();
                state.sessions[me].pc = match then {
                    Then::WaitTenant => Pc::WaitTenant,
                    Then::WaitArrival => Pc::WaitArrival,
                    Then::WaitEarlierLife => Pc::WaitEarlierLife,
                    _ => Pc::WaitDefinitions,
                };
            }
            Then::LookUp => self.start_anew(state, me),
            Then::Refused if once && !self.is(Mutant::RefusedDoesNotWaitForDuplicate) => {
                self.withdraw(state, me);
                let waited = self.is_duplicate(state, me, 0);
                let session = &mut state.sessions[me];
                session.slot_request = false;
                session.forget_round();
                session.pc = Pc::SeekDuplicate { peer: 0, waited };
            }
            Then::Refused => {
                if once {
                    self.judge_refused_duplicate(state, me);
                }
                self.end_without_effect(state, me);
            }
        }
    }

    fn start_anew(&self, state: &mut State, me: usize) {
        self.withdraw(state, me);
        state.sessions[me].forget_round();
        state.sessions[me].pc = Pc::LookUp;
    }

    /// Duplicates: the look-up before anything else. It has waited for the transaction that was writing such a row.
    pub fn look_up(&self, state: &mut State, me: usize) {
        if state.tables.request_rows > 0 {
            self.finish_call(state, me);
        } else {
            self.start_round(state, me);
        }
    }

    /// Duplicates: a refused call waits for each slot with its request id, then looks it up again. A transaction that
    /// shows it no more has its row there, or has given back.
    pub fn seek_duplicate(&self, state: &mut State, me: usize, peer: u8, waited: bool) {
        let next = usize::from(peer) + 1;
        // Whether it had to wait is told here by the slot as it was found: it is a reason to try again.
        if next < state.sessions.len() {
            let waited = waited || self.is_duplicate(state, me, next);
            state.sessions[me].pc = Pc::SeekDuplicate { peer: next as u8, waited };
        } else if waited || state.tables.request_rows > 0 || state.others(me).any(|other| other.request_row) {
            self.start_anew(state, me);
        } else {
            self.judge_refused_duplicate(state, me);
            self.end_without_effect(state, me);
        }
    }

    /// Whether another session's slot shows the request.
    pub fn is_duplicate(&self, state: &State, me: usize, other: usize) -> bool {
        let session = &state.sessions[other];
        let shows = if self.is(Mutant::DuplicateKnownOnlyByRow) { session.request_row } else { session.slot_request };
        other != me && shows
    }

    fn end_without_effect(&self, state: &mut State, me: usize) {
        self.withdraw(state, me);
        self.finish_call(state, me);
    }

    pub fn finish_call(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.forget_call();
        session.op += 1;
        session.pc = Pc::Ready;
    }
}
