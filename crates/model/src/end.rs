//! How transactions end: commit, abort, savepoints, PREPARE, restart. In Postgres' order: the row becomes visible, the
//! callback runs, invalidation messages go out, locks are released, the client is told.

use crate::machine::Escrow;
use crate::mutant::Mutant;
use crate::scenario::Op;
use crate::state::{Invariant, Kind, Pc, Session, State};
use crate::world::{AdmissionMode, Definition, PARTITIONS, QUOTAS};

impl Session {
    /// Any message makes the backend forget the definitions it has cached. One that arrives while it has none changes
    /// nothing: what it reads next is read after.
    pub fn handle_messages(&mut self) {
        if self.pending {
            self.pending = false;
            self.cache = None;
        }
    }

    fn end_transaction(&mut self) {
        *self = Session { op: self.op, begun: true, pending: self.pending, ..Session::new(self.cache) };
    }
}

/// The next even number: of an open epoch the one after, of a closed one its end.
fn moved_on(epoch: u8) -> u8 {
    if epoch % 2 == 1 { epoch + 1 } else { epoch + 2 }
}

impl Escrow {
    /// PRE_COMMIT: the locks of what it changes, from the given partition on. Loaders go through them.
    pub fn lock_next_definitions(&self, state: &mut State, me: usize, from: usize) {
        let session = &mut state.sessions[me];
        session.arrivals_lock = session.arrived;
        let next = (from..PARTITIONS)
            .find(|partition| session.changed[*partition] && session.definitions_lock[*partition].is_none());
        match next {
            Some(partition) => session.pc = Pc::LockDefinitions { partition: partition as u8 },
            None => self.begin_commit(state, me),
        }
    }

    pub fn lock_definitions(&self, state: &mut State, me: usize, partition: usize) {
        let session = &mut state.sessions[me];
        session.definitions_lock[partition] = Some(session.level);
        self.lock_next_definitions(state, me, partition + 1);
    }

    /// The commit record.
    pub fn begin_commit(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.pc = Pc::Committing;
        if self.is(Mutant::UnpinAtPreCommit) {
            for item in std::mem::take(&mut session.journal) {
                state.unpin(item.quota, item.epoch);
            }
        }
        if self.is(Mutant::SlotClearedBeforeVisible) {
            state.sessions[me].slot = None;
        }
        if self.is(Mutant::EpochBeforeVisible) {
            self.move_epochs(state, me);
        }
    }

    /// Its rows are seen by snapshots taken from now on.
    pub fn become_visible(&self, state: &mut State, me: usize) {
        self.publish_rows(state, me);
        state.sessions[me].pc = Pc::Settle;
        if self.is(Mutant::CommitSubtracts) {
            return;
        }
        self.skip_finished_steps(state, me);
    }

    fn publish_rows(&self, state: &mut State, me: usize) {
        let tenant = self.tenant(me);
        let session = &mut state.sessions[me];
        let charged: i8 = std::mem::take(&mut session.charged).iter().sum();
        let refunded: i8 = std::mem::take(&mut session.refunded).iter().sum();
        state.tables.spent[tenant] += charged - refunded;
        state.tables.request_rows += u8::from(session.request_row);
        for quota in 0..QUOTAS {
            let definition = &mut state.tables.definitions[quota];
            if let Some(change) = &mut session.changes[quota] {
                change.version = definition.version + 1;
                *definition = Definition { limit: change.limit, version: change.version };
            }
        }
        if state.tables.request_rows > 1 {
            state.violate(Invariant::Duplicate);
        }
    }

    /// The commit callback, item by item: the credit of a refund, then the pin.
    pub fn settle(&self, state: &mut State, me: usize) {
        if let Some(item) = state.sessions[me].journal.first().copied() {
            let subtracts = match item.kind {
                Kind::Refund => !self.is(Mutant::RefundBeforeCommit),
                Kind::Charge => self.is(Mutant::CommitSubtracts),
            };
            if subtracts && item.amount > 0 {
                state.sessions[me].journal[0].amount = 0;
                if !self.is(Mutant::RefundNeverCredited) {
                    state.subtract(item.quota, item.epoch, item.amount);
                }
                return;
            }
            state.sessions[me].journal.remove(0);
            state.unpin(item.quota, item.epoch);
        }
        self.skip_finished_steps(state, me);
    }

    /// Goes on to the next step of a transaction's end that has anything to do.
    fn skip_finished_steps(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        let changed = session.changes.iter().any(Option::is_some);
        let steps = [
            (Pc::Settle, !session.journal.is_empty()),
            (
                Pc::MoveEpoch,
                session.closed.contains(&true)
                    || (session.changed.contains(&true) && state.mode == AdmissionMode::Escrow),
            ),
            (Pc::ClearSlot, session.slot.is_some()),
            (Pc::SendMessages, changed && !self.is(Mutant::MessagesAfterLocks)),
            (Pc::Unlock, true),
        ];
        let position = steps.iter().position(|(pc, _)| *pc == session.pc).unwrap_or(0);
        let next = steps[position..].iter().find(|(pc, to_do)| *to_do && (*pc != session.pc || *pc == Pc::Settle));
        session.pc = next.map_or(Pc::Unlock, |(pc, _)| *pc);
    }

    /// The commit callback of a transaction that changed definitions; the abort callback of one that closed.
    pub fn move_epoch(&self, state: &mut State, me: usize) {
        if !self.is(Mutant::EpochBeforeVisible) {
            self.move_epochs(state, me);
        }
        self.skip_finished_steps(state, me);
    }

    fn move_epochs(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        if session.changed == [false; PARTITIONS] && self.is(Mutant::ClosedForEver) {
            return;
        }
        for partition in 0..PARTITIONS {
            // Changing a limit moves no epoch, nor does a tenant that is new.
            if session.changed[partition] || session.closed[partition] {
                state.epoch[partition] = moved_on(state.epoch[partition]);
            }
        }
    }

    /// The last act of a callback.
    pub fn clear_slot(&self, state: &mut State, me: usize) {
        state.sessions[me].slot = None;
        state.sessions[me].slot_request = false;
        self.skip_finished_steps(state, me);
    }

    /// Invalidation messages: into the queue of every backend that has something cached.
    pub fn send_messages(&self, state: &mut State, me: usize) {
        for (other, session) in state.sessions.iter_mut().enumerate() {
            session.pending |= other != me && session.cache.is_some();
        }
        state.sessions[me].cache = None;
        state.sessions[me].pending = false;
        if self.is(Mutant::MessagesAfterLocks) {
            state.sessions[me].changes = [None; QUOTAS];
            self.next_transaction(state, me);
        } else {
            state.sessions[me].pc = Pc::Unlock;
        }
    }

    /// Locks are released, and the client is told.
    pub fn unlock(&self, state: &mut State, me: usize) {
        for (acknowledged, change) in state.acknowledged.iter_mut().zip(state.sessions[me].changes) {
            *acknowledged = change.map_or(*acknowledged, |change| change.version.max(*acknowledged));
        }
        let session = &mut state.sessions[me];
        if self.is(Mutant::MessagesAfterLocks) && session.changes.iter().any(Option::is_some) {
            session.definitions_lock = [None; PARTITIONS];
            session.tables_lock = [None; PARTITIONS];
            session.arrivals_lock = false;
            session.tenant_lock = None;
            session.pc = Pc::SendMessages;
            return;
        }
        self.next_transaction(state, me);
    }

    fn next_transaction(&self, state: &mut State, me: usize) {
        let program = self.program(me);
        let session = &mut state.sessions[me];
        session.end_transaction();
        session.op += 1;
        if usize::from(session.op) >= program.len() {
            *session = Session { pc: Pc::Done, begun: true, ..Session::new(None) };
        }
    }

    /// ERROR, ROLLBACK: rows are gone at once, and the callback gives back what the journal says.
    pub fn begin_abort(&self, state: &mut State, me: usize) {
        self.journal_call(state, me);
        let session = &mut state.sessions[me];
        session.charged = [0; 2];
        session.refunded = [0; 2];
        session.fresh = 0;
        session.changes = [None; QUOTAS];
        session.changed = [false; PARTITIONS];
        session.founded = None;
        session.forget_call();
        session.op = self.program(me).len() as u8;
        session.pc = Pc::Abort;
    }

    /// The abort callback, item by item: subtract, then unpin.
    pub fn abort(&self, state: &mut State, me: usize) {
        if state.sessions[me].journal.is_empty() {
            state.sessions[me].pc = Pc::Settle;
            self.skip_finished_steps(state, me);
        } else {
            self.take_back(state, me, 0);
        }
    }

    /// One step of taking back an item.
    fn take_back(&self, state: &mut State, me: usize, index: usize) {
        let item = state.sessions[me].journal[index];
        let unpins_first = self.is(Mutant::UnpinBeforeSubtract) && item.kind == Kind::Charge && item.amount > 0;
        if unpins_first {
            // What is left to subtract is kept as a negative amount.
            state.sessions[me].journal[index].amount = -item.amount;
            state.unpin(item.quota, item.epoch);
        } else if item.amount < 0 {
            state.sessions[me].journal.remove(index);
            state.subtract(item.quota, item.epoch, -item.amount);
        } else if item.amount > 0 && item.kind == Kind::Charge {
            state.sessions[me].journal[index].amount = 0;
            if !self.is(Mutant::AbortDoesNotSubtract) {
                state.subtract(item.quota, item.epoch, item.amount);
            }
        } else {
            state.sessions[me].journal.remove(index);
            if self.is(Mutant::RefundBeforeCommit) && item.kind == Kind::Refund {
                state.subtract(item.quota, item.epoch, -item.amount);
            }
            state.unpin(item.quota, item.epoch);
        }
    }

    /// Its part of the journal becomes the parent's; so do its locks.
    pub fn release_savepoint(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        if self.is(Mutant::SavepointReleaseForgets) {
            session.journal.retain(|item| item.level == 0);
        }
        for item in &mut session.journal {
            item.level = 0;
        }
        session.charged = [session.charged[0] + session.charged[1], 0];
        session.refunded = [session.refunded[0] + session.refunded[1], 0];
        for change in session.changes.iter_mut().flatten() {
            change.level = 0;
        }
        for lock in session.definitions_lock.iter_mut().chain(&mut session.tables_lock).flatten() {
            *lock = 0;
        }
        session.founded = session.founded.map(|_| 0);
        session.tenant_lock = session.tenant_lock.map(|(lock, _)| (lock, 0));
        session.level = 0;
        session.op += 1;
    }

    /// ROLLBACK TO, or an ERROR that the savepoint catches.
    pub fn begin_savepoint_abort(&self, state: &mut State, me: usize) {
        self.journal_call(state, me);
        let forgets = self.is(Mutant::SavepointAbortForgets);
        let session = &mut state.sessions[me];
        session.journal.retain(|item| item.level == 0 || !forgets);
        session.charged[1] = 0;
        session.refunded[1] = 0;
        session.fresh = 0;
        session.changes = session.changes.map(|change| change.filter(|change| change.level == 0));
        session.forget_call();
        session.pc = Pc::SubAbort;
    }

    /// The subtransaction's abort callback, for its part: what it has closed opens again. Then Postgres gives back the
    /// locks it took.
    pub fn savepoint_abort(&self, state: &mut State, me: usize) {
        if let Some(index) = state.sessions[me].journal.iter().position(|item| item.level == 1) {
            self.take_back(state, me, index);
            return;
        }
        let program = self.program(me);
        let dies = self.is(Mutant::ClosedLockDiesWithSavepoint);
        let session = &mut state.sessions[me];
        session.load_lock = [false; PARTITIONS];
        session.tables_lock = session.tables_lock.map(|lock| lock.filter(|level| *level == 0));
        session.tenant_lock = session.tenant_lock.filter(|(_, level)| *level == 0);
        session.founded = session.founded.filter(|level| *level == 0);
        for partition in 0..PARTITIONS {
            if session.definitions_lock[partition] == Some(1) {
                session.definitions_lock[partition] = None;
                if !dies {
                    session.closed[partition] = false;
                    state.epoch[partition] = moved_on(state.epoch[partition]);
                }
            }
        }
        session.level = 0;
        self.withdraw(state, me);
        let session = &mut state.sessions[me];
        let at = session.op as usize;
        let end = program[at..].iter().position(|op| *op == Op::EndSavepoint).unwrap_or(0);
        session.op = (at + end + 1) as u8;
        session.pc = Pc::Ready;
    }

    /// PREPARE: refused in the escrow mode, and to a transaction that changed definitions in any mode.
    pub fn prepare(&self, state: &mut State, me: usize) {
        let session = &state.sessions[me];
        let changed = session.changed.contains(&true) || session.arrived;
        let allowed = match state.mode {
            AdmissionMode::Locked => !changed || self.is(Mutant::DefinitionsMayBePrepared),
            AdmissionMode::Escrow => self.is(Mutant::PrepareDropsPin),
        };
        if !allowed {
            self.begin_abort(state, me);
            return;
        }
        let session = &mut state.sessions[me];
        session.slot = None;
        session.pc = Pc::Prepared;
        for item in std::mem::take(&mut session.journal) {
            state.unpin(item.quota, item.epoch);
        }
    }

    /// In any session: no callback of ours runs for the work. Messages go out, then its locks are released.
    pub fn commit_prepared(&self, state: &mut State, me: usize) {
        self.publish_rows(state, me);
        let session = &mut state.sessions[me];
        let changed = session.changes.iter().any(Option::is_some);
        session.pc = if changed { Pc::SendMessages } else { Pc::Unlock };
    }

    pub fn rollback_prepared(&self, state: &mut State, me: usize) {
        let session = &mut state.sessions[me];
        session.charged = [0; 2];
        session.changes = [None; QUOTAS];
        session.pc = Pc::Unlock;
    }

    /// Shared memory, locks and backends are lost; tables and prepared transactions with their locks stay. A transaction
    /// whose commit record was written has committed. Sessions that had not begun will begin as new backends.
    pub fn restart(&self, state: &mut State, into: AdmissionMode) {
        for me in 0..state.sessions.len() {
            if state.sessions[me].pc == Pc::Committing {
                self.publish_rows(state, me);
            }
            let session = &mut state.sessions[me];
            match session.pc {
                Pc::Prepared => {
                    session.cache = None;
                    session.pending = false;
                }
                Pc::Ready if !session.begun => *session = Session::new(None),
                _ => *session = Session { pc: Pc::Done, begun: true, ..Session::new(None) },
            }
        }
        state.entries.clear();
        state.epoch = [0; PARTITIONS];
        state.restarts += 1;
        state.mode = into;
    }
}
