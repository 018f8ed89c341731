//! Rows, entries and transactions with holds, and what can happen next.

use super::scenarios::HOLDS;
use crate::state::Invariant;

/// Epochs, each with an entry of the quota.
pub(super) const EPOCHS: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum HoldRow {
    Absent,
    Held { amount: i8, expires: u8 },
    Resolved { cost: i8 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct HoldEntry {
    pub(super) reserved: i8,
    pub(super) held: i8,
    pub(super) horizon: u8,
    pub(super) pins: u8,
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
    // A transaction with an active hold.
    PublishActiveExpiry,
    ReadHorizon,
    /// Takes the lock, reads again, and gives it back.
    ReadUnderLock,
    AddCost,
    ReadHorizonAfterAdding,
    // A transaction that needs room.
    Add,
    ReadHeld,
    ExpireLock,
    StoreHorizon,
    ReadActiveExpiry(u8),
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
    ClearActiveExpiry,
    Unpin,
    Done,
}

impl At {
    /// An ERROR or a cancel can come there: not within an expiry's two subtractions, nor in a callback.
    pub(super) fn may_fail(self) -> bool {
        use At::{ClearActiveExpiry, Credit, Done, RestoreHorizon, SubtractHeld, TakeBack, Unpin, Visible};
        !matches!(self, SubtractHeld | Visible | Credit | RestoreHorizon | TakeBack | ClearActiveExpiry | Unpin | Done)
    }
}

/// What a transaction has done to an entry, for its callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct EntryShare {
    pub(super) pinned: bool,
    pub(super) added: i8,
    /// What the commit callback subtracts from `reserved`, and adds to `held`.
    pub(super) credit: i8,
    pub(super) held: i8,
    /// Holds (bits) that were found counted.
    pub(super) counted: u8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct HoldSession {
    pub(super) at: At,
    pub(super) task: u8,
    /// The epoch in which the present task goes on, and the earliest that the slot shows.
    pub(super) epoch: u8,
    pub(super) slot: Option<u8>,
    pub(super) active_expiry: Option<u8>,
    /// The active expiry that earlier tasks left.
    pub(super) active_expiry_before: Option<u8>,
    pub(super) shares: [EntryShare; EPOCHS],
    /// Rows (bits) that it has locked, and what it has made of them.
    pub(super) locked: u8,
    pub(super) rows: [Option<HoldRow>; HOLDS],
    pub(super) charged: i8,
    // The present task.
    pub(super) late: bool,
    pub(super) expires: u8,
    /// Expiry has been tried, at this moment; active holds of others kept it from going as far.
    pub(super) tried: Option<u8>,
    pub(super) held_up: bool,
    // A transaction that loads or expires.
    pub(super) loaded: Option<(i8, i8, u8)>,
    /// T as it was before, for the callback.
    pub(super) note: Option<u8>,
    pub(super) clock: u8,
    pub(super) earliest_active_expiry: Option<u8>,
    pub(super) seen: [Option<HoldRow>; HOLDS],
    pub(super) sum: i8,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HoldState {
    pub(super) clock: u8,
    pub(super) set_back: bool,
    pub(super) epoch: u8,
    pub(super) charged: i8,
    pub(super) rows: [HoldRow; HOLDS],
    pub(super) entries: [Option<HoldEntry>; EPOCHS],
    pub(super) lock: Option<u8>,
    pub(super) sessions: Vec<HoldSession>,
    pub(super) broken: Option<Invariant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldAction {
    Step {
        me: usize,
        at: At,
    },
    /// An ERROR or a cancel, or a ROLLBACK at the end.
    Fail {
        me: usize,
        at: At,
    },
    Tick,
    SetBack,
    MoveEpoch,
    Evict {
        epoch: usize,
    },
}

impl HoldSession {
    pub(super) const NEW: HoldSession = HoldSession {
        at: At::Done,
        task: 0,
        epoch: 0,
        slot: None,
        active_expiry: None,
        active_expiry_before: None,
        shares: [EntryShare { pinned: false, added: 0, credit: 0, held: 0, counted: 0 }; EPOCHS],
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
        earliest_active_expiry: None,
        seen: [None; HOLDS],
        sum: 0,
    };

    pub(super) fn share(&mut self) -> &mut EntryShare {
        &mut self.shares[usize::from(self.epoch)]
    }

    pub(super) fn forget_search(&mut self) {
        (self.clock, self.earliest_active_expiry, self.seen, self.sum) = (0, None, [None; HOLDS], 0);
    }

    /// What the callback has to do next, but for the notes of a commit.
    pub(super) fn at_end(&self) -> At {
        if self.active_expiry.is_some() { At::ClearActiveExpiry } else { At::Unpin }
    }
}

impl HoldState {
    pub(super) fn entry(&self, me: usize) -> Option<HoldEntry> {
        self.entries[usize::from(self.sessions[me].epoch)]
    }

    pub(super) fn entry_mut(&mut self, me: usize) -> Option<&mut HoldEntry> {
        self.entries[usize::from(self.sessions[me].epoch)].as_mut()
    }

    /// A row as its transaction sees it.
    pub(super) fn row(&self, me: usize, hold: usize) -> HoldRow {
        self.sessions[me].rows[hold].unwrap_or(self.rows[hold])
    }

    /// T of an entry, and while a transaction is moving it what it was before.
    pub(super) fn horizon(&self, epoch: usize) -> u8 {
        let moving = self.sessions.iter().filter(|session| usize::from(session.epoch) == epoch);
        let before = moving.filter_map(|session| session.note).min();
        before.or(self.entries[epoch].map(|entry| entry.horizon)).unwrap_or(0)
    }
}

pub(super) fn live(row: HoldRow, horizon: u8) -> i8 {
    match row {
        HoldRow::Held { amount, expires } if expires > horizon => amount,
        _ => 0,
    }
}
