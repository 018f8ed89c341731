//! What the running transaction has added to which entries, so that its end can settle or take it back.
//!
//! Private to a backend. Everything that may allocate happens in [`Journal::make_room`]; what callbacks use does not.

use std::collections::HashMap;

use crate::table::{Delta, Pin, Table};

/// A subtransaction's number: larger than those of the transactions around it (Postgres' `SubTransactionId`).
pub type Level = u32;

/// A change, of what, and in which subtransaction.
#[derive(Clone, Copy, Debug)]
struct JournalEntry<K> {
    kind: K,
    level: Level,
    delta: Delta,
}

/// A charge as the ledger has it: payer, resource, moment. Quotas that are loaded later in the transaction need to
/// know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    pub tenant: [u8; 16],
    pub user: [u8; 16],
    /// The caller's code of the resource.
    pub resource: u8,
    /// The quarter of an hour, counted by the caller: no period begins or ends within one.
    pub quarter: i64,
}

/// More than a transaction may leave open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany;

/// Bounds what one transaction can keep in memory; repeated charges of one tenant take one line.
const MOST_LINES: usize = 1 << 20;

/// How far back a line is looked for that another addition can be joined to.
const LOOK_BACK: usize = 8;

/// Gives the lines of a level, which are the last, to the parent, and joins them to the parent's lines of the same
/// kind. So a loop of a million subtransactions leaves a few lines. Allocates nothing.
fn merge<K: Copy + PartialEq>(
    lines: &mut Vec<JournalEntry<K>>,
    level: Level,
    parent: Level,
    mut joined: impl FnMut(K),
) {
    let first = lines.len() - lines.iter().rev().take_while(|line| line.level >= level).count();
    let mut kept = first;
    for next in first..lines.len() {
        let line = JournalEntry { level: parent, ..lines[next] };
        let near = &mut lines[kept.saturating_sub(LOOK_BACK)..kept];
        match near.iter_mut().find(|other| other.level == parent && other.kind == line.kind) {
            Some(other) => {
                other.delta = other.delta.plus(line.delta);
                joined(line.kind);
            }
            None => {
                lines[kept] = line;
                kept += 1;
            }
        }
    }
    lines.truncate(kept);
}

/// From so many lines on, an [`Index`] is kept.
const LONG: usize = 16;

/// What would take too long to look for in many lines.
#[derive(Default)]
struct Index {
    /// What was done to each entry.
    done: HashMap<u32, Delta>,
    /// How many lines each tenant has among the charges.
    charges: HashMap<[u8; 16], u32>,
}

impl Index {
    fn of(additions: &[JournalEntry<Pin>], charges: &[JournalEntry<Charge>]) -> Box<Self> {
        let mut index = Box::<Self>::default();
        additions.iter().for_each(|line| index.add(line.kind, line.delta));
        charges.iter().for_each(|line| index.charged(&line.kind));
        index
    }

    fn add(&mut self, pin: Pin, delta: Delta) {
        let done = self.done.entry(pin.index()).or_default();
        *done = done.plus(delta);
    }

    fn take_back(&mut self, pin: Pin, delta: Delta) {
        if let Some(done) = self.done.get_mut(&pin.index()) {
            *done = done.minus(delta);
        }
    }

    fn charged(&mut self, charge: &Charge) {
        *self.charges.entry(charge.tenant).or_default() += 1;
    }

    fn forget(&mut self, charge: &Charge) {
        if let Some(lines) = self.charges.get_mut(&charge.tenant) {
            *lines = lines.saturating_sub(1);
        }
    }
}

#[derive(Default)]
pub struct Journal {
    /// Each line has a pin of its own.
    additions: Vec<JournalEntry<Pin>>,
    charges: Vec<JournalEntry<Charge>>,
    index: Option<Box<Index>>,
}

impl Journal {
    pub const fn new() -> Self {
        Self { additions: Vec::new(), charges: Vec::new(), index: None }
    }

    pub fn is_empty(&self) -> bool {
        self.additions.is_empty() && self.charges.is_empty()
    }

    /// Makes sure that so many additions and one charge, which may be two lines, can be pushed without allocating.
    pub fn make_room(&mut self, additions: usize) -> Result<(), TooMany> {
        if self.additions.len() + additions > MOST_LINES || self.charges.len() >= MOST_LINES {
            return Err(TooMany);
        }
        self.additions.try_reserve(additions).map_err(|_| TooMany)?;
        self.charges.try_reserve(2).map_err(|_| TooMany)?;
        if self.index.is_none() && self.additions.len().max(self.charges.len()) >= LONG {
            self.index = Some(Index::of(&self.additions, &self.charges));
        }
        if let Some(index) = &mut self.index {
            index.done.try_reserve(additions).map_err(|_| TooMany)?;
            index.charges.try_reserve(2).map_err(|_| TooMany)?;
        }
        Ok(())
    }

    /// Notes an addition to an entry that the caller has pinned for it. Takes the pin.
    pub fn push(&mut self, table: &Table, pin: Pin, level: Level, delta: impl Into<Delta>) {
        let delta = delta.into();
        if let Some(index) = &mut self.index {
            index.add(pin, delta);
        }
        let joined =
            self.additions.iter_mut().rev().take(LOOK_BACK).find(|line| line.kind == pin && line.level == level);
        match joined {
            Some(line) => {
                line.delta = line.delta.plus(delta);
                table.unpin(pin);
            }
            // Lines stay in the order of their levels, also those of an outer level that a loader adds late.
            None => {
                let place = self.additions.partition_point(|line| line.level <= level);
                self.additions.insert(place, JournalEntry { kind: pin, level, delta });
            }
        }
    }

    /// Adds to a line that was pushed at this level.
    pub fn put(&mut self, pin: Pin, level: Level, delta: impl Into<Delta>) {
        if let Some(line) = self.additions.iter_mut().rev().find(|line| line.kind == pin && line.level == level) {
            let delta = delta.into();
            line.delta = line.delta.plus(delta);
            if let Some(index) = &mut self.index {
                index.add(pin, delta);
            }
        }
    }

    /// Notes the charge that the additions were for.
    pub fn charge(&mut self, charge: Charge, level: Level, delta: impl Into<Delta>) {
        let delta = delta.into();
        let joined =
            self.charges.iter_mut().rev().take(LOOK_BACK).find(|line| line.kind == charge && line.level == level);
        match joined {
            // Unlike additions, charges have no ceiling.
            Some(line) => line.delta = line.delta.plus(delta),
            None => {
                self.charges.push(JournalEntry { kind: charge, level, delta });
                if let Some(index) = &mut self.index {
                    index.charged(&charge);
                }
            }
        }
    }

    /// Takes back an addition that was pushed at this level and came to nothing. The pin stays until the end.
    pub fn retract(&mut self, table: &Table, pin: Pin, level: Level, delta: impl Into<Delta>) {
        let delta = delta.into();
        let line = self.additions.iter_mut().rev().find(|line| line.kind == pin && line.level == level);
        if let Some(line) = line {
            line.delta = line.delta.minus(delta);
            table.give_back(pin, delta.amount);
            if let Some(index) = &mut self.index {
                index.take_back(pin, delta);
            }
        }
    }

    /// Forgets a charge that was noted at this level and came to nothing.
    pub fn forget(&mut self, charge: Charge, level: Level, delta: impl Into<Delta>) {
        let line = self.charges.iter_mut().rev().find(|line| line.kind == charge && line.level == level);
        if let Some(line) = line {
            line.delta = line.delta.minus(delta.into());
        }
    }

    /// What this transaction has done to the entry so far.
    pub fn done(&self, pin_index: u32) -> Delta {
        if let Some(index) = &self.index {
            return index.done.get(&pin_index).copied().unwrap_or_default();
        }
        let own = self.additions.iter().filter(|line| line.kind.index() == pin_index);
        own.fold(Delta::default(), |sum, line| sum.plus(line.delta))
    }

    /// How often this transaction has the entry pinned.
    pub fn pins(&self, pin_index: u32) -> u64 {
        self.additions.iter().filter(|line| line.kind.index() == pin_index).count() as u64
    }

    /// The charges so far that a quota counts, of one tenant or of all, with their levels: what a loader adds for its own
    /// transaction.
    pub fn charges<'a>(
        &'a self,
        tenant: Option<[u8; 16]>,
        counts: impl Fn(&Charge) -> bool + 'a,
    ) -> impl Iterator<Item = (Level, Delta)> + 'a {
        let none = self
            .index
            .as_ref()
            .zip(tenant)
            .is_some_and(|(index, tenant)| index.charges.get(&tenant).is_none_or(|lines| *lines == 0));
        let lines = if none { &[] } else { self.charges.as_slice() };
        lines.iter().filter(move |line| counts(&line.kind)).map(|line| (line.level, line.delta))
    }

    /// The charges of a subtransaction.
    pub fn charges_from(&self, level: Level) -> impl Iterator<Item = (Charge, Delta)> + '_ {
        self.charges.iter().rev().take_while(move |line| line.level >= level).map(|line| (line.kind, line.delta))
    }

    /// The subtransaction did not happen. Allocates nothing and cannot fail.
    pub fn abort_level(&mut self, table: &Table, level: Level) {
        while let Some(line) = self.additions.pop_if(|line| line.level >= level) {
            table.give_back(line.kind, line.delta.amount);
            table.unpin(line.kind);
            if let Some(index) = &mut self.index {
                index.take_back(line.kind, line.delta);
            }
        }
        while let Some(line) = self.charges.pop_if(|line| line.level >= level) {
            if let Some(index) = &mut self.index {
                index.forget(&line.kind);
            }
        }
    }

    /// The subtransaction has become part of the one around it. Allocates nothing and cannot fail.
    pub fn merge_level(&mut self, table: &Table, level: Level, parent: Level) {
        merge(&mut self.additions, level, parent, |pin| table.unpin(pin));
        merge(&mut self.charges, level, parent, |charge| {
            if let Some(index) = &mut self.index {
                index.forget(&charge);
            }
        });
    }

    /// The transaction is durable. Allocates nothing and cannot fail.
    pub fn commit(&mut self, table: &Table) {
        while let Some(line) = self.additions.pop() {
            table.settle(line.kind, line.delta);
            table.unpin(line.kind);
        }
        self.charges.clear();
        self.index = None;
    }

    /// The transaction did not happen. Allocates nothing and cannot fail.
    pub fn abort(&mut self, table: &Table) {
        self.abort_level(table, 0);
        self.index = None;
    }
}
