//! Epochs, and what is in flight: one slot a backend, written by it alone and read by all.

use crate::epochs::{Epochs, FIRST, PARTITIONS, PLATFORM};
use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// What is counted for the monitoring view, each backend for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    Admission,
    Refusal,
    RetryableRefusal,
    Load,
    Eviction,
    Wait,
}

const STATISTICS: usize = 6;

/// Tenants that a slot names, to show which transactions hold capacity. Further ones share a line.
const TENANTS_NAMED: usize = 4;

#[derive(Default)]
struct Account {
    tenant: [AtomicU64; 2],
    amount: AtomicI64,
}

/// What a backend has in flight. All zero is nothing.
#[repr(C, align(64))]
pub struct Slot {
    database: AtomicU32,
    /// The running number of the transaction, which with the slot's own number names it to those that wait.
    transaction: AtomicU32,
    process: AtomicU32,
    /// Not 0 where a person's session charges by itself, and not the server for them.
    of_person: AtomicU32,
    /// When the transaction first charged, in the caller's unit.
    since: AtomicI64,
    /// The request that the transaction is admitting and whose row is not there yet, as a hash; 0 is none.
    request: AtomicU64,
    /// By partition, the epoch in which the transaction first charged; 0 while it has not.
    epochs: [AtomicU32; PARTITIONS],
    /// The partitions in which a row of it is written, a bit each; in others it is about to charge.
    charged: [AtomicU64; 2],
    /// The earliest expiry of the holds that it is making, extending or resolving; 0 is none.
    active_expiry: AtomicI64,
    /// The partition of those holds; [`PLATFORM`] when there are several.
    active_partition: AtomicU32,
    accounts: [Account; TENANTS_NAMED],
    others: AtomicI64,
    events: [AtomicU64; STATISTICS],
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            database: AtomicU32::new(0),
            transaction: AtomicU32::new(0),
            process: AtomicU32::new(0),
            of_person: AtomicU32::new(0),
            since: AtomicI64::new(0),
            request: AtomicU64::new(0),
            epochs: std::array::from_fn(|_| AtomicU32::new(0)),
            charged: std::array::from_fn(|_| AtomicU64::new(0)),
            active_expiry: AtomicI64::new(0),
            active_partition: AtomicU32::new(0),
            accounts: std::array::from_fn(|_| Account::default()),
            others: AtomicI64::new(0),
            events: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

const CLOSED: u32 = 1;

/// A transaction that changes definitions of the partition has it to itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// A transaction in flight in an earlier epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// The number of the slot.
    pub slot: usize,
    pub transaction: u32,
}

/// The active expiry that a slot shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveExpiry {
    expiry: i64,
    partition: u32,
}

/// Which transaction a slot shows.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub database: u32,
    pub transaction: u32,
    pub process: u32,
    pub since: i64,
}

/// Capacity that an open transaction holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holding {
    pub process: u32,
    pub since: i64,
    /// `None` for what it holds of tenants that the slot had no line for.
    pub tenant: Option<[u8; 16]>,
    pub amount: i64,
}

/// The epochs and slots, wherever they lie.
#[derive(Clone, Copy)]
pub struct Registry<'memory> {
    epochs: &'memory Epochs,
    slots: &'memory [Slot],
}

impl<'memory> Registry<'memory> {
    pub fn new(epochs: &'memory Epochs, slots: &'memory [Slot]) -> Self {
        Self { epochs, slots }
    }

    pub fn epoch(&self, partition: usize) -> u32 {
        self.epochs.of(partition).load(Ordering::Acquire)
    }

    /// Says in the slot that the transaction is about to charge in the partition, and gives the epoch to charge in. The
    /// owner of a closed partition is let in; so is a transaction that has charged there before, into the epoch before.
    pub fn enter(&self, slot: usize, identity: Identity, partition: usize, owner: bool) -> Result<u32, Closed> {
        let own = &self.slots[slot];
        if own.transaction.load(Ordering::Relaxed) != identity.transaction {
            // Pairs with the fence of `earlier`: a reader of any of this sees that the last transaction has left.
            fence(Ordering::Release);
            own.database.store(identity.database, Ordering::Relaxed);
            own.process.store(identity.process, Ordering::Relaxed);
            own.since.store(identity.since, Ordering::Relaxed);
            own.transaction.store(identity.transaction, Ordering::Relaxed);
        }
        let published = &own.epochs[partition];
        let first = published.load(Ordering::Relaxed) == 0;
        loop {
            let epoch = self.epoch(partition);
            if epoch & CLOSED != 0 && !owner {
                if !first {
                    // The closer waits for us anyway: we may go on in the epoch before.
                    return Ok(epoch & !CLOSED);
                }
                published.store(0, Ordering::Release);
                return Err(Closed);
            }
            if first {
                published.store(epoch, Ordering::Release);
            }
            // Either a transaction that moves the epoch on, and then reads the slots, sees this one; or we see the new epoch.
            fence(Ordering::SeqCst);
            if self.epoch(partition) == epoch {
                return Ok(epoch);
            }
        }
    }

    /// The transaction has not charged in the partition after all, or starts again, or has given back what it charged.
    pub fn withdraw(&self, slot: usize, partition: usize) {
        let own = &self.slots[slot];
        if self.stays(slot, partition) {
            own.charged[partition / 64].fetch_and(!(1 << (partition % 64)), Ordering::Relaxed);
        }
        own.epochs[partition].store(0, Ordering::Release);
    }

    /// Whether the epoch has not moved on since a transaction entered in it; that the partition was closed does not matter
    /// to a transaction that was in.
    pub fn is_current(&self, partition: usize, epoch: u32) -> bool {
        self.epoch(partition) | CLOSED == epoch | CLOSED
    }

    /// The next transaction of another slot that may not know what the given epoch knows. A caller that finds none sees
    /// what those did that have left.
    pub fn earlier(&self, from: usize, own: usize, database: u32, partition: usize, epoch: u32) -> Option<InFlight> {
        fence(Ordering::SeqCst);
        let found = (from..self.slots.len()).find_map(|slot| {
            let other = &self.slots[slot];
            let seen = other.epochs[partition].load(Ordering::Acquire);
            // Epochs wrap around; two that are in use at once are close together.
            let is_earlier = seen != 0 && epoch.wrapping_sub(seen).cast_signed() > 0;
            if slot == own || !is_earlier {
                return None;
            }
            let concerned = other.database.load(Ordering::Relaxed) == database;
            let transaction = other.transaction.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            // Ended meanwhile, and the rest may be that of its successor, or nothing.
            let stayed = other.epochs[partition].load(Ordering::Relaxed) == seen && transaction != 0;
            (stayed && concerned).then_some(InFlight { slot, transaction })
        });
        if found.is_none() {
            // That it has left may have shown in a second look.
            fence(Ordering::Acquire);
        }
        found
    }

    /// The row of what the transaction has charged in the partition is there: it stays in it to its end.
    pub fn stay(&self, slot: usize, partition: usize) {
        self.slots[slot].charged[partition / 64].fetch_or(1 << (partition % 64), Ordering::Release);
    }

    /// Whether a slot's transaction stays in the partition. One that does not goes on, or withdraws, by itself.
    pub fn stays(&self, slot: usize, partition: usize) -> bool {
        self.slots[slot].charged[partition / 64].load(Ordering::Acquire) & (1 << (partition % 64)) != 0
    }

    /// The transaction is that of a person's session: it is not waited for without end.
    pub fn note_person(&self, slot: usize) {
        self.slots[slot].of_person.store(1, Ordering::Relaxed);
    }

    /// The process whose transaction it is, if that is a person's and has not ended.
    pub fn person(&self, other: InFlight) -> Option<u32> {
        let slot = &self.slots[other.slot];
        let is_persons = slot.of_person.load(Ordering::Relaxed) != 0;
        let process = slot.process.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        (is_persons && slot.transaction.load(Ordering::Relaxed) == other.transaction).then_some(process)
    }

    /// Shows, or with 0 no longer shows, which request is being admitted.
    pub fn show_request(&self, slot: usize, request: u64) {
        self.slots[slot].request.store(request, Ordering::Release);
        // A refused duplicate that has taken its own away looks for ours afterwards: one of the two sees the other.
        fence(Ordering::SeqCst);
    }

    /// Another slot that shows the request.
    pub fn duplicate(&self, own: usize, database: u32, request: u64) -> Option<InFlight> {
        self.slots.iter().enumerate().find_map(|(slot, other)| {
            let shows = slot != own
                && other.request.load(Ordering::Acquire) == request
                && other.database.load(Ordering::Relaxed) == database;
            shows.then(|| InFlight { slot, transaction: other.transaction.load(Ordering::Relaxed) })
        })
    }

    /// Shows the expiry of a hold that the transaction works on, to its end. A caller that then reads an entry's horizon,
    /// and finds that the hold expires later, knows that the entry counts the hold until this transaction ends.
    /// Gives what it showed before.
    pub fn publish_active_expiry(&self, slot: usize, partition: usize, expiry: i64) -> ActiveExpiry {
        let own = &self.slots[slot];
        let shown = own.active_expiry.load(Ordering::Relaxed);
        let before = ActiveExpiry { expiry: shown, partition: own.active_partition.load(Ordering::Relaxed) };
        let partition = partition as u32;
        if shown == 0 {
            own.active_partition.store(partition, Ordering::SeqCst);
        } else if own.active_partition.load(Ordering::Relaxed) != partition {
            own.active_partition.store(PLATFORM as u32, Ordering::SeqCst);
        }
        if shown == 0 || expiry < shown {
            own.active_expiry.store(expiry, Ordering::SeqCst);
        }
        // Either a transaction that moves a horizon on, and then reads the slots, sees this one; or we see the new horizon.
        fence(Ordering::SeqCst);
        before
    }

    /// The transaction no longer works on the hold: no counter counts it.
    pub fn restore_active_expiry(&self, slot: usize, before: ActiveExpiry) {
        let own = &self.slots[slot];
        own.active_expiry.store(before.expiry, Ordering::SeqCst);
        own.active_partition.store(before.partition, Ordering::SeqCst);
    }

    /// The earliest expiry of a hold of the partition (of the platform: of any) that a transaction of the database
    /// works on, and which one does. A caller that finds none sees what those did that have let go.
    pub fn earliest_active_expiry(&self, database: u32, partition: usize) -> Option<(i64, InFlight)> {
        fence(Ordering::SeqCst);
        let found = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, other)| {
                let active_expiry = other.active_expiry.load(Ordering::SeqCst);
                let of = other.active_partition.load(Ordering::SeqCst) as usize;
                let concerned = partition == PLATFORM || of == partition || of == PLATFORM;
                let transaction = other.transaction.load(Ordering::Relaxed);
                (active_expiry != 0 && concerned && other.database.load(Ordering::Relaxed) == database)
                    .then_some((active_expiry, InFlight { slot, transaction }))
            })
            .min_by_key(|(active_expiry, _)| *active_expiry);
        fence(Ordering::Acquire);
        found
    }

    /// Whether that transaction still has a hold in active_expiry.
    pub fn is_active(&self, other: InFlight) -> bool {
        let slot = &self.slots[other.slot];
        slot.active_expiry.load(Ordering::Acquire) != 0 && slot.transaction.load(Ordering::Relaxed) == other.transaction
    }

    /// Adds to what the slot shows of a tenant. Told to people, decides nothing.
    pub fn note(&self, slot: usize, tenant: &[u8; 16], amount: i64) {
        let own = &self.slots[slot];
        let id = u128::from_le_bytes(*tenant);
        let halves = [id as u64, (id >> 64) as u64];
        // A line without a name is a free one, so a tenant without an id shares the last.
        for account in own.accounts.iter().filter(|_| id != 0) {
            let named = [account.tenant[0].load(Ordering::Relaxed), account.tenant[1].load(Ordering::Relaxed)];
            if named == [0, 0] {
                account.tenant[0].store(halves[0], Ordering::Relaxed);
                account.tenant[1].store(halves[1], Ordering::Relaxed);
            } else if named != halves {
                continue;
            }
            account.amount.fetch_add(amount, Ordering::Relaxed);
            return;
        }
        own.others.fetch_add(amount, Ordering::Relaxed);
    }

    /// The transaction is over, and its effect is to be seen or will never be. Cannot fail.
    pub fn leave(&self, slot: usize) {
        let own = &self.slots[slot];
        for account in &own.accounts {
            account.tenant[0].store(0, Ordering::Relaxed);
            account.tenant[1].store(0, Ordering::Relaxed);
            account.amount.store(0, Ordering::Relaxed);
        }
        own.others.store(0, Ordering::Relaxed);
        own.of_person.store(0, Ordering::Relaxed);
        own.request.store(0, Ordering::Release);
        own.active_expiry.store(0, Ordering::Release);
        own.charged.iter().for_each(|charged| charged.store(0, Ordering::Relaxed));
        for epoch in &own.epochs {
            if epoch.load(Ordering::Relaxed) != 0 {
                epoch.store(0, Ordering::Release);
            }
        }
        own.transaction.store(0, Ordering::Release);
    }

    /// Takes the partition for the caller alone, which holds the lock of its definitions. Gives the epoch to charge in.
    pub fn close(&self, partition: usize) -> u32 {
        self.epochs.of(partition).fetch_or(CLOSED, Ordering::AcqRel) | CLOSED
    }

    /// Definitions have changed, or a closed partition opens again: entries of before are met no more. The caller
    /// holds the lock of the definitions. Cannot fail.
    pub fn advance(&self, partition: usize) {
        let epoch = self.epochs.of(partition);
        let next = (epoch.load(Ordering::Relaxed) | CLOSED).wrapping_add(1);
        epoch.store(if next == 0 { FIRST } else { next }, Ordering::SeqCst);
    }

    pub fn count(&self, slot: usize, event: Statistic) {
        self.slots[slot].events[event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often it happened since the memory was made.
    pub fn counted(&self, event: Statistic) -> u64 {
        self.slots.iter().map(|slot| slot.events[event as usize].load(Ordering::Relaxed)).sum()
    }

    /// What open transactions of a database hold. A transaction that ends meanwhile may be shown, or not.
    pub fn holdings(&self, database: u32) -> impl Iterator<Item = Holding> {
        self.slots
            .iter()
            .filter(move |slot| {
                slot.transaction.load(Ordering::Acquire) != 0 && slot.database.load(Ordering::Relaxed) == database
            })
            .flat_map(|slot| {
                let process = slot.process.load(Ordering::Relaxed);
                let since = slot.since.load(Ordering::Relaxed);
                let named = slot.accounts.iter().map(|account| {
                    let halves = [account.tenant[0].load(Ordering::Relaxed), account.tenant[1].load(Ordering::Relaxed)];
                    let id = u128::from(halves[0]) | (u128::from(halves[1]) << 64);
                    (Some(id.to_le_bytes()).filter(|_| id != 0), account.amount.load(Ordering::Relaxed))
                });
                named.chain([(None, slot.others.load(Ordering::Relaxed))]).map(move |(tenant, amount)| Holding {
                    process,
                    since,
                    tenant,
                    amount,
                })
            })
            .filter(|holding| holding.amount != 0)
    }
}
