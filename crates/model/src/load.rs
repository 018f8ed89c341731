//! Loading an entry: steps 1 to 5.

use crate::machine::Escrow;
use crate::mutant::Mutant;
use crate::state::{Entry, Item, Kind, Pc, Session, State, Then};
use crate::world::Scope;

impl Escrow {
    /// Load 1: the Definitions lock, shared, and back at once. A loader that would have to wait and has charged
    /// nothing yet withdraws first.
    pub fn barrier(&self, state: &mut State, me: usize, quota: u8) {
        if self.checks(state, me) {
            return self.check_next(state, me, quota);
        }
        let partition = self.partition(quota);
        let held = state.others(me).any(|it| it.definitions_lock[partition].is_some());
        let arriving = self.arriving(state, me, quota) != 0;
        let epoch = state.epoch[partition];
        let session = &mut state.sessions[me];
        session.handle_messages();
        session.pc = if held {
            Pc::GiveBack { then: Then::Wait }
        } else if arriving {
            Pc::GiveBack { then: Then::WaitArrival }
        } else if epoch != session.seen[partition] {
            Pc::GiveBack { then: Then::Restart }
        } else if self.is(Mutant::LoaderSkipsOldSlots) {
            Pc::LoadLock { quota }
        } else {
            Pc::WaitOldSlots { quota, peer: 0 }
        };
    }

    /// The sessions (bits) that a loader for a tenant with a row waits for: those that commit such rows, and charges that
    /// do not know the row.
    pub fn arriving(&self, state: &State, me: usize, quota: u8) -> u8 {
        let tenant = self.tenant(me);
        let session = &state.sessions[me];
        let registered = self.scenario.brought_to(tenant).is_some_and(|it| session.used[it as usize].limit.is_some());
        if !registered || self.scope(quota) != Scope::Tenant(tenant) {
            return 0;
        }
        let blocks = |(other, it): &(usize, &Session)| {
            let commits = it.arrivals_lock && !self.is(Mutant::LoaderSkipsArrivals);
            let unaware = it.tenant_lock.is_some() && !self.is(Mutant::LoaderSkipsUnregistered);
            *other != me && (commits || (self.tenant(*other) == tenant && unaware))
        };
        state.sessions.iter().enumerate().filter(blocks).fold(0, |set, (other, _)| set | 1 << other)
    }

    /// Load 2: one slot after the other.
    pub fn old_slot_has_ended(&self, state: &mut State, me: usize, quota: u8, peer: u8) {
        if self.checks(state, me) {
            return self.check_next(state, me, quota);
        }
        if usize::from(peer) + 1 < state.sessions.len() {
            state.sessions[me].pc = Pc::WaitOldSlots { quota, peer: peer + 1 };
            return;
        }
        if self.is(Mutant::SnapshotBeforeLock) {
            state.sessions[me].sum = self.table_sum(state, me, quota);
        }
        state.sessions[me].pc = Pc::LoadLock { quota };
    }

    /// Load 3: the locked mode's lock. Waiting for a lock handles messages.
    pub fn load_lock(&self, state: &mut State, me: usize, quota: u8) {
        if self.checks(state, me) {
            return self.check_next(state, me, quota);
        }
        let partition = self.partition(quota);
        let session = &mut state.sessions[me];
        session.handle_messages();
        session.load_lock[partition] = !self.is(Mutant::LoaderIgnoresTenantLock);
        session.pc = Pc::Sum { quota };
    }

    /// Load 4: checks again; else sums the tables in a snapshot taken now.
    pub fn sum(&self, state: &mut State, me: usize, quota: u8) {
        let checks = self.checks(state, me);
        let there = checks && state.has_entry(quota, self.key(quota, state.sessions[me].seen));
        if there || (!checks && !self.is(Mutant::LoaderDoesNotCheckAgain) && self.pin_if_there(state, me, quota)) {
            state.sessions[me].sum = 0;
            state.sessions[me].pc = Pc::LoadUnlock { quota };
            return;
        }
        if !self.is(Mutant::SnapshotBeforeLock) {
            state.sessions[me].sum = self.table_sum(state, me, quota);
        }
        state.sessions[me].pc = Pc::PublishEntry { quota };
    }

    /// Committed rows and the loader's own, without its refunds: they count when committed.
    fn table_sum(&self, state: &State, me: usize, quota: u8) -> i8 {
        let session = &state.sessions[me];
        let refunded: i8 = session.refunded.iter().sum();
        let own =
            session.charged.iter().sum::<i8>() - if self.is(Mutant::LoaderCountsOwnRefund) { refunded } else { 0 };
        self.committed(state, quota) + own - session.fresh
    }

    /// Load 4, one step that cannot fail. It makes the entry, its pins, and in the journal what it charged before,
    /// where a savepoint takes back its own part.
    pub fn publish_entry(&self, state: &mut State, me: usize, quota: u8) {
        let checks = self.checks(state, me);
        let session = &mut state.sessions[me];
        let epoch = self.key(quota, session.seen);
        let mut pins = u8::from(!checks);
        for level in 0..2 {
            for (kind, amount) in [(Kind::Charge, session.charged[level]), (Kind::Refund, session.refunded[level])] {
                if amount == 0 || self.is(Mutant::LoaderForgetsOwnCharges) {
                    continue;
                }
                let own_level = self.is(Mutant::LoadTakesOwnChargesToItsOwnSavepoint);
                let level = if own_level { session.level } else { level as u8 };
                session.journal.push(Item { quota, epoch, amount, kind, level });
                pins += 1;
            }
        }
        let reserved = std::mem::take(&mut session.sum);
        session.pinned |= u8::from(!checks) << quota;
        session.pc = Pc::LoadUnlock { quota };
        match state.entry(quota, epoch) {
            Some(entry) => *entry = Entry { reserved, pins: entry.pins + pins, ..*entry },
            None => state.entries.push(Entry { quota, epoch, reserved, pins }),
        }
    }

    /// Load 5.
    pub fn load_unlock(&self, state: &mut State, me: usize, quota: u8) {
        let (partition, checks) = (self.partition(quota), self.checks(state, me));
        let session = &mut state.sessions[me];
        session.load_lock[partition] = false;
        session.pc = if checks { Pc::Check { quota: quota + 1 } } else { Pc::Pin { quota: quota + 1 } };
    }
}
