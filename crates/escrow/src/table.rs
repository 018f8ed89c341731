//! The table of counters: fixed in size, searched without locks.
//!
//! An entry lies in one of two buckets of eight that its key names. So finding it reads at most sixteen words, and so
//! does finding room. What decides lies within one half of a cache line.
//!
//! # The word of an entry
//! `generation (32 bits) | state (2) | touched (1) | pins (29)`. The generation moves on whenever an entry is claimed
//! for another key. So a compare-and-swap of a word that succeeds has seen the key that belongs to it. A reader that
//! pins nothing reads the word before and after. `touched` is the second chance of an entry that is not pinned when
//! room is needed (the clock algorithm of page caches).

use std::ops::Range;

use crate::sync::{AtomicI64, AtomicU64, Ordering, fence};

/// What an entry counts: the charges against one quota in one period, in one epoch of its definitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CounterKey {
    /// The oid of the database.
    pub database: u32,
    /// The oid of the ledger table: a dropped extension comes back with another.
    pub ledger: u32,
    pub quota: [u8; 16],
    /// The bounds of the period, as its caller packs them.
    pub period: u64,
    pub epoch: u32,
}

const KEY_WORDS: usize = 5;

impl CounterKey {
    fn words(&self) -> [u64; KEY_WORDS] {
        let quota = u128::from_le_bytes(self.quota);
        [
            (u64::from(self.database) << 32) | u64::from(self.ledger),
            quota as u64,
            (quota >> 64) as u64,
            self.period,
            u64::from(self.epoch),
        ]
    }

    fn of(words: [u64; KEY_WORDS]) -> Self {
        let [place, low, high, period, epoch] = words;
        let quota = (u128::from(high) << 64) | u128::from(low);
        Self {
            database: (place >> 32) as u32,
            ledger: place as u32,
            quota: quota.to_le_bytes(),
            period,
            epoch: epoch as u32,
        }
    }

    /// Two independent 32-bit hashes in one (the finaliser of SplitMix64 by Steele, Lea and Flood, folded over the words).
    fn hash(words: &[u64; KEY_WORDS]) -> u64 {
        words.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| {
            let mut mixed = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }
}

/// One counter. The first four words share a cache line wherever the entry lies. All zero is a free one.
#[repr(C, align(32))]
pub struct Entry {
    word: AtomicU64,
    /// Durably charged, held and in flight, in nano-dollars. This alone decides.
    reserved: AtomicI64,
    /// The part of it that open transactions may still give back. Never too small, while they add and subtract.
    in_flight: AtomicI64,
    /// The part of it that durable holds take.
    held: AtomicI64,
    key: [AtomicU64; KEY_WORDS],
    /// Holds that expire later than this are counted. Only moves forward.
    horizon: AtomicI64,
    /// No hold that is counted expires before this.
    next_expiry: AtomicI64,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            word: AtomicU64::new(0),
            reserved: AtomicI64::new(0),
            in_flight: AtomicI64::new(0),
            held: AtomicI64::new(0),
            key: std::array::from_fn(|_| AtomicU64::new(0)),
            horizon: AtomicI64::new(0),
            next_expiry: AtomicI64::new(0),
        }
    }
}

/// Entries in a bucket: three quarters of a kilobyte.
pub const WAYS: usize = if cfg!(loom) { 2 } else { 8 };

/// How often a publisher tries to get an entry. For each try that fails, another publisher's has not.
const TRIES: u32 = 64;

/// Where a counter stops counting, far above the largest limit and far below overflow. What does not fit any more is
/// not added, and so not given back either.
pub const CEILING: i64 = i64::MAX / 2;

const ONE_PIN: u64 = 1;
const PINS: u64 = (1 << 29) - 1;
const TOUCHED: u64 = 1 << 29;
const STATE: u64 = 0b11 << 30;
const CLAIMED: u64 = 0b01 << 30;
const READY: u64 = 0b10 << 30;
const GENERATION: u64 = u64::MAX << 32;
const ONE_GENERATION: u64 = 1 << 32;

/// Where an entry was, for as long as it stays there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    index: u32,
    generation: u32,
}

/// An entry that stays where it is until it is unpinned. Plain data: the journal sees to the unpinning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin(u32);

/// The figures of an entry, in nano-dollars, and its moments in the caller's unit. What is given back or refused at the
/// moment of reading may be in a part and no longer, or not, in the whole. The whole is below zero where corrections have
/// given back more than the quota counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    pub reserved: i64,
    pub in_flight: i64,
    pub held: i64,
    pub horizon: i64,
    pub next_expiry: i64,
}

impl Reading {
    /// Whether holds that are counted may have expired by now.
    pub fn may_have_expired(&self, now: i64) -> bool {
        self.held > 0 && self.next_expiry <= now
    }
}

/// What a transaction does to a counter, in nano-dollars.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta {
    /// Added at once, and taken back if the transaction aborts. Not negative.
    pub amount: i64,
    /// Subtracted when it has committed: room counts only then. Not negative.
    pub credit: i64,
    /// Added to what is held when it has committed.
    pub held: i64,
}

impl Delta {
    /// The change from what was counted of a hold to what is charged and held from now on.
    pub fn between(before: i64, charged: i64, held: i64) -> Self {
        let change = charged.saturating_add(held).saturating_sub(before);
        Self { amount: change.max(0), credit: change.saturating_neg().max(0), held: held.saturating_sub(before) }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            amount: self.amount.saturating_add(other.amount),
            credit: self.credit.saturating_add(other.credit),
            held: self.held.saturating_add(other.held),
        }
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            amount: self.amount.saturating_sub(other.amount),
            credit: self.credit.saturating_sub(other.credit),
            held: self.held.saturating_sub(other.held),
        }
    }
}

/// A plain charge.
impl From<i64> for Delta {
    fn from(amount: i64) -> Self {
        Self { amount, credit: 0, held: 0 }
    }
}

/// Every entry that could take the key is pinned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// An entry that was published, and whether another had to make room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Published {
    pub handle: Handle,
    pub evicted: bool,
}

/// The entries, wherever they lie.
#[derive(Clone, Copy)]
pub struct Table<'memory> {
    entries: &'memory [Entry],
}

impl<'memory> Table<'memory> {
    /// Entries beyond a multiple of [`WAYS`] are not used. There must be a bucket.
    pub fn new(entries: &'memory [Entry]) -> Self {
        assert!(entries.len() >= WAYS, "a table has at least one bucket");
        Self { entries }
    }

    fn candidates(&self, words: &[u64; KEY_WORDS]) -> impl Iterator<Item = usize> + use<> {
        let [first, second] = self.buckets(words);
        first.chain(second)
    }

    fn buckets(&self, words: &[u64; KEY_WORDS]) -> [Range<usize>; 2] {
        let buckets = (self.entries.len() / WAYS) as u64;
        let hash = CounterKey::hash(words);
        let scale = |half: u64| (((half & 0xffff_ffff) * buckets) >> 32) as usize;
        let (first, second) = (scale(hash), scale(hash >> 32));
        let ways = |bucket: usize| bucket * WAYS..(bucket + 1) * WAYS;
        [ways(first), if first == second { 0..0 } else { ways(second) }]
    }

    fn holds(&self, index: usize, words: &[u64; KEY_WORDS]) -> bool {
        self.entries[index].key.iter().zip(words).all(|(held, word)| held.load(Ordering::Relaxed) == *word)
    }

    /// Finds the entry of the key. What is found may be gone a moment later; a handle knows. A transaction that finds
    /// nothing sees what those that had the entry pinned did before it went.
    pub fn find(&self, key: &CounterKey) -> Option<Handle> {
        let words = key.words();
        let found = self.candidates(&words).find_map(|index| {
            let word = self.entries[index].word.load(Ordering::Acquire);
            if word & STATE != READY || !self.holds(index, &words) {
                return None;
            }
            let handle = Handle { index: index as u32, generation: (word >> 32) as u32 };
            // Pairs with the fence of `publish`: a key that was being overwritten shows in the word.
            fence(Ordering::Acquire);
            let again = self.entries[index].word.load(Ordering::Relaxed);
            handle.is(again).then_some(handle)
        });
        if found.is_none() {
            // That it has gone may have shown in a key or a second look.
            fence(Ordering::Acquire);
        }
        found
    }

    /// Pins the entry, unless it has gone.
    pub fn pin(&self, handle: Handle) -> Option<Pin> {
        let word = &self.entries[handle.index as usize].word;
        let mut seen = word.load(Ordering::Relaxed);
        while handle.is(seen) {
            // Every pin is a line of a journal: to overflow takes 512 backends with a million of them each here.
            let pinned = (seen + ONE_PIN) | TOUCHED;
            match word.compare_exchange_weak(seen, pinned, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Pin(handle.index)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// The figures of the entry, unless it has gone; pins nothing.
    pub fn peek(&self, handle: Handle) -> Option<Reading> {
        let entry = &self.entries[handle.index as usize];
        let before = entry.word.load(Ordering::Acquire);
        if !handle.is(before) {
            return None;
        }
        let reading = entry.read();
        fence(Ordering::Acquire);
        let after = entry.word.load(Ordering::Relaxed);
        if !handle.is(after) {
            return None;
        }
        if after & TOUCHED == 0 {
            // Only a hint. A process that changes the word meanwhile has touched it, or has claimed it for itself.
            let _ = entry.word.compare_exchange(after, after | TOUCHED, Ordering::Relaxed, Ordering::Relaxed);
        }
        Some(reading)
    }

    /// Puts a counter where none of this key is, with as many pins of the caller's. The caller sees to it that no other
    /// transaction publishes the key, and that the figures stay exact meanwhile.
    pub fn publish(&self, key: &CounterKey, reading: Reading, pins: u32) -> Result<Published, Full> {
        let words = key.words();
        let (index, claimed, evicted) = self.claim(&words).ok_or(Full)?;
        let entry = &self.entries[index];
        // Pairs with the fences of the readers: a reader that sees a new key or figure sees the new word, too.
        fence(Ordering::Release);
        for (slot, word) in entry.key.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        entry.reserved.store(reading.reserved.clamp(-CEILING, CEILING), Ordering::Relaxed);
        entry.in_flight.store(reading.in_flight, Ordering::Relaxed);
        entry.held.store(reading.held, Ordering::Relaxed);
        entry.horizon.store(reading.horizon, Ordering::Relaxed);
        entry.next_expiry.store(reading.next_expiry, Ordering::Relaxed);
        entry.word.store((claimed & GENERATION) | READY | TOUCHED | u64::from(pins), Ordering::Release);
        let handle = Handle { index: index as u32, generation: (claimed >> 32) as u32 };
        Ok(Published { handle, evicted })
    }

    /// Takes an entry that is free, or else one that is not pinned, first one that has not been touched of late. Of two
    /// alike it takes the one whose bucket has fewer pinned: so nearly all of the table can be (Azar, Broder, Karlin
    /// and Upfal, "Balanced Allocations", STOC 1994).
    fn claim(&self, words: &[u64; KEY_WORDS]) -> Option<(usize, u64, bool)> {
        for round in 0..TRIES {
            let mut victim: Option<((u64, usize), usize)> = None;
            for bucket in self.buckets(words) {
                let seen = |index: usize| self.entries[index].word.load(Ordering::Relaxed);
                let pinned = bucket.clone().filter(|index| seen(*index) & PINS != 0).count();
                for index in bucket {
                    let rank = match seen(index) & (STATE | TOUCHED | PINS) {
                        word if word & STATE == 0 => 0,
                        word if word & STATE == READY && word & PINS == 0 => 1 + (word & TOUCHED),
                        _ => continue,
                    };
                    if victim.is_none_or(|(best, _)| (rank, pinned) < best) {
                        victim = Some(((rank, pinned), index));
                    }
                }
            }
            let ((rank, _), index) = victim?;
            if rank > 1 && round == 0 {
                // All are in use: from now on they have to be used again to be spared.
                for index in self.candidates(words) {
                    let word = &self.entries[index].word;
                    let seen = word.load(Ordering::Relaxed);
                    if seen & (STATE | TOUCHED) == READY | TOUCHED {
                        let _ = word.compare_exchange(seen, seen & !TOUCHED, Ordering::Relaxed, Ordering::Relaxed);
                    }
                }
            }
            let word = &self.entries[index].word;
            let seen = word.load(Ordering::Relaxed);
            if seen & STATE == CLAIMED || seen & PINS != 0 {
                continue;
            }
            let claimed = ((seen & GENERATION).wrapping_add(ONE_GENERATION) & GENERATION) | CLAIMED;
            // Acquire: what the last owners did to the counters comes before what we do.
            if word.compare_exchange(seen, claimed, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some((index, claimed, seen & STATE == READY));
            }
        }
        None
    }

    fn pinned(&self, pin: Pin) -> &'memory Entry {
        &self.entries[pin.0 as usize]
    }

    pub fn read(&self, pin: Pin) -> Reading {
        self.pinned(pin).read()
    }

    /// Adds the amount if the sum stays within the limit.
    pub fn reserve(&self, pin: Pin, amount: i64, limit: i64) -> bool {
        let entry = self.pinned(pin);
        entry.in_flight.fetch_add(amount, Ordering::Relaxed);
        let within = |sum: i64| sum.checked_add(amount).filter(|sum| *sum <= limit);
        let admitted = entry.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if !admitted {
            entry.in_flight.fetch_sub(amount, Ordering::Relaxed);
        }
        admitted
    }

    /// Adds the amount whatever it comes to, and gives what was added: less than the amount only at the ceiling.
    pub fn add(&self, pin: Pin, amount: i64) -> i64 {
        let entry = self.pinned(pin);
        entry.in_flight.fetch_add(amount, Ordering::Relaxed);
        let room = |sum: i64| amount.min((CEILING - sum).max(0));
        let before = entry.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum + room(sum)));
        let added = before.map_or(0, room);
        entry.in_flight.fetch_sub(amount - added, Ordering::Relaxed);
        added
    }

    /// Takes back what was added: the transaction, or its part, did not happen.
    pub fn give_back(&self, pin: Pin, amount: i64) {
        let entry = self.pinned(pin);
        entry.reserved.fetch_sub(amount, Ordering::Relaxed);
        entry.in_flight.fetch_sub(amount, Ordering::Relaxed);
    }

    /// What was added is durable, and what was credited counts. What is held and in flight together is never too small
    /// meanwhile.
    pub fn settle(&self, pin: Pin, delta: impl Into<Delta>) {
        let (entry, delta) = (self.pinned(pin), delta.into());
        if delta.held > 0 {
            entry.held.fetch_add(delta.held, Ordering::Relaxed);
        }
        if delta.amount != 0 {
            entry.in_flight.fetch_sub(delta.amount, Ordering::Relaxed);
        }
        entry.subtract(delta.credit);
        if delta.held < 0 {
            entry.held.fetch_add(delta.held, Ordering::Relaxed);
        }
    }

    /// Holds that expire later than this are counted in the entry. It is read once the slot shows their active expiry.
    pub fn horizon(&self, pin: Pin) -> i64 {
        self.pinned(pin).horizon.load(Ordering::SeqCst)
    }

    /// Moves the horizon. The caller holds the lock of the loaders, and reads the active expiries afterwards.
    pub fn set_horizon(&self, pin: Pin, horizon: i64) {
        self.pinned(pin).horizon.store(horizon, Ordering::SeqCst);
    }

    /// A hold that is about to be counted expires then.
    pub fn expires(&self, pin: Pin, expiry: i64) {
        self.pinned(pin).next_expiry.fetch_min(expiry, Ordering::SeqCst);
    }

    /// Forgets when the next hold expires, before it is asked for. The caller holds the lock of the loaders.
    pub fn forget_next_expiry(&self, pin: Pin) {
        self.pinned(pin).next_expiry.store(i64::MAX, Ordering::SeqCst);
    }

    /// Subtracts the holds that the horizon has passed.
    pub fn expire(&self, pin: Pin, amount: i64) {
        let entry = self.pinned(pin);
        entry.subtract(amount);
        entry.held.fetch_sub(amount, Ordering::Relaxed);
    }

    /// The last act of a transaction that has pinned the entry.
    pub fn unpin(&self, pin: Pin) {
        // Release: the counters are as we leave them before another process can claim the entry.
        self.pinned(pin).word.fetch_sub(ONE_PIN, Ordering::Release);
    }

    /// Frees the entries of a database that is going away and that are not pinned: another database may get its oid.
    pub fn purge(&self, database: u32) {
        for entry in self.entries {
            let mut seen = entry.word.load(Ordering::Acquire);
            let held = |entry: &Entry| (entry.key[0].load(Ordering::Relaxed) >> 32) as u32;
            while seen & STATE == READY && seen & PINS == 0 && held(entry) == database {
                let freed = (seen & GENERATION).wrapping_add(ONE_GENERATION) & GENERATION;
                // If it has just become another's, it is not ours to free. If it was only touched, it still is.
                match entry.word.compare_exchange(seen, freed, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// The counters of a ledger that are there, by their keys. One that comes or goes meanwhile may be among them, or not.
    pub fn counters(&self, database: u32, ledger: u32) -> impl Iterator<Item = (CounterKey, Handle)> {
        self.entries.iter().enumerate().filter_map(move |(index, entry)| {
            let word = entry.word.load(Ordering::Acquire);
            let handle = Handle { index: index as u32, generation: (word >> 32) as u32 };
            let key = CounterKey::of(std::array::from_fn(|word| entry.key[word].load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            let stayed = handle.is(word) && handle.is(entry.word.load(Ordering::Relaxed));
            (stayed && (key.database, key.ledger) == (database, ledger)).then_some((key, handle))
        })
    }

    /// How often the entry is pinned, unless it has gone.
    pub fn pins(&self, handle: Handle) -> Option<u64> {
        let word = self.entries[handle.index as usize].word.load(Ordering::Acquire);
        handle.is(word).then_some(word & PINS)
    }

    /// How many entries there are, hold a counter, and are pinned.
    pub fn census(&self) -> (usize, usize, usize) {
        let mut used = 0;
        let mut pinned = 0;
        for entry in self.entries {
            let word = entry.word.load(Ordering::Relaxed);
            used += usize::from(word & STATE != 0);
            pinned += usize::from(word & PINS != 0);
        }
        (self.entries.len(), used, pinned)
    }
}

impl Handle {
    /// The number of the entry, the same in every process.
    pub fn index(self) -> u32 {
        self.index
    }

    fn is(self, word: u64) -> bool {
        word & (GENERATION | STATE) == (u64::from(self.generation) << 32) | READY
    }
}

impl Published {
    /// The entry, for the transaction that published it with its own pins.
    pub fn pin(&self) -> Pin {
        Pin(self.handle.index)
    }
}

impl Pin {
    /// The number of the entry, the same in every process.
    pub fn index(self) -> u32 {
        self.0
    }
}

impl Entry {
    fn read(&self) -> Reading {
        // Several looks at what moves meanwhile.
        let in_flight = self.in_flight.load(Ordering::Acquire);
        let held = self.held.load(Ordering::Acquire);
        Reading {
            reserved: self.reserved.load(Ordering::Relaxed),
            in_flight,
            held,
            horizon: self.horizon.load(Ordering::Relaxed),
            next_expiry: self.next_expiry.load(Ordering::Relaxed),
        }
    }

    /// At the ceiling it is not known any more what was added: there it stays, until it is loaded again.
    fn subtract(&self, amount: i64) {
        if amount != 0 {
            let less = |sum: i64| (sum < CEILING).then(|| sum - amount);
            let _ = self.reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}
