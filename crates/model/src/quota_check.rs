//! A check that charges nothing, in the command of the call before. It loads what is absent, if it has to wait for none.

use crate::machine::Escrow;
use crate::scenario::Op;
use crate::state::{Pc, State};
use crate::world::{PLATFORM, QUOTAS};

impl Escrow {
    pub fn checks(&self, state: &State, me: usize) -> bool {
        self.op(state, me) == Some(Op::Check)
    }

    /// The next quota: by its counter where that is there. A transaction that changed definitions reads the tables.
    pub fn check_quota(&self, state: &mut State, me: usize, quota: u8) {
        if usize::from(quota) >= QUOTAS {
            self.finish_call(state, me);
            return;
        }
        let partition = self.partition(quota);
        let session = &mut state.sessions[me];
        session.handle_messages();
        session.seen = state.epoch;
        let exists = state.tables.definitions[quota as usize].limit.is_some();
        let concerned = exists && self.scope(quota).covers(self.tenant(me));
        session.used = state.tables.definitions;
        let changes = session.changed[partition] || self.founded(state, me, quota);
        let epoch = self.key(quota, state.epoch);
        let next = Pc::Check { quota: quota + 1 };
        let load = concerned && !changes && !state.has_entry(quota, epoch);
        state.sessions[me].pc = if load { Pc::Barrier { quota } } else { next };
    }

    /// Load 1 to 3, of which none is waited for: on to the next quota, or where the load goes on.
    pub fn check_next(&self, state: &mut State, me: usize, quota: u8) {
        let partition = self.partition(quota);
        let next = Pc::Check { quota: quota + 1 };
        let session = &state.sessions[me];
        let seen = session.seen[partition];
        state.sessions[me].pc = match session.pc {
            Pc::Barrier { .. } => {
                let held = state.others(me).any(|it| it.definitions_lock[partition].is_some())
                    || self.arriving(state, me, quota) != 0;
                if held || state.epoch[partition] != seen { next } else { Pc::WaitOldSlots { quota, peer: 0 } }
            }
            Pc::WaitOldSlots { peer, .. } => {
                let other = usize::from(peer);
                let old = other != me
                    && self.scope(quota).covers(self.tenant(other))
                    && state.sessions[other].slot.is_some_and(|slot| slot[partition] < seen);
                match other + 1 < state.sessions.len() {
                    _ if old => next,
                    true => Pc::WaitOldSlots { quota, peer: peer + 1 },
                    false => Pc::LoadLock { quota },
                }
            }
            _ => {
                let taken = state.sessions.iter().enumerate().any(|(other, it)| {
                    let holds = it.tables_lock[partition].is_some() || it.load_lock[partition];
                    other != me && holds && (partition == PLATFORM || self.tenant(other) == self.tenant(me))
                });
                if taken {
                    next
                } else {
                    state.sessions[me].load_lock[partition] = true;
                    Pc::Sum { quota }
                }
            }
        };
    }
}
