//! The memory that the threads share, and how they are run.

use std::sync::Arc;

use loom::sync::atomic::AtomicI64;
use loom::thread;
use tollgate_escrow::epochs::Epochs;
use tollgate_escrow::registry::{Closed, Identity, InFlight, Registry, Slot};
use tollgate_escrow::table::{CounterKey, Entry, Full, Handle, Pin, Reading, Table, WAYS};

pub const LEVEL: u32 = 1;
pub const PARTITION: usize = 0;
pub const DATABASE: u32 = 1;

/// Runs every interleaving with at most so many preemptions.
pub fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

pub fn key(database: u32, quota: u8, period: u64) -> CounterKey {
    CounterKey { database, ledger: 1, quota: [quota; 16], period, epoch: 2 }
}

pub fn reading(reserved: i64, in_flight: i64) -> Reading {
    Reading { reserved, in_flight, held: 0, horizon: 0, next_expiry: i64::MAX }
}

/// One bucket, and a number for what the tables of the database say: a thread sees it only when it is told to look.
pub struct Memory {
    pub entries: Vec<Entry>,
    pub ledger: AtomicI64,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { entries: (0..WAYS).map(|_| Entry::default()).collect(), ledger: AtomicI64::new(0) })
    }

    pub fn table(&self) -> Table<'_> {
        Table::new(&self.entries)
    }

    /// Publishes an entry without a pin.
    pub fn publish(&self, key: &CounterKey, reading: Reading) -> Handle {
        self.table().publish(key, reading, 0).unwrap().handle
    }

    /// Publishes an entry with one pin.
    pub fn publish_pinned(&self, key: &CounterKey, reading: Reading) -> Result<(Handle, Pin), Full> {
        let handle = self.table().publish(key, reading, 1)?.handle;
        let pin = self.table().pin(handle).unwrap();
        self.table().unpin(pin);
        Ok((handle, pin))
    }
}

/// Starts a thread on the memory.
pub fn on<T: 'static>(memory: &Arc<Memory>, body: impl FnOnce(&Memory) -> T + 'static) -> thread::JoinHandle<T> {
    let memory = memory.clone();
    thread::spawn(move || body(&memory))
}

/// Epochs and two slots: the charger's and the loader's, and a number that the charger leaves behind.
pub struct Backends {
    pub epochs: Epochs,
    pub slots: [Slot; 2],
    pub ledger: AtomicI64,
}

pub const CHARGER: usize = 0;
pub const LOADER: usize = 1;

impl Backends {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { epochs: Epochs::default(), slots: Default::default(), ledger: AtomicI64::new(0) })
    }

    pub fn registry(&self) -> Registry<'_> {
        Registry::new(&self.epochs, &self.slots)
    }

    pub fn enter(&self, transaction: u32) -> Result<u32, Closed> {
        let who = Identity { database: DATABASE, transaction, process: 1, since: 1 };
        self.registry().enter(CHARGER, who, PARTITION, false)
    }

    pub fn earlier(&self, epoch: u32) -> Option<InFlight> {
        self.registry().earlier(0, LOADER, DATABASE, PARTITION, epoch)
    }
}

pub fn with<T: 'static>(
    backends: &Arc<Backends>,
    body: impl FnOnce(&Backends) -> T + 'static,
) -> thread::JoinHandle<T> {
    let backends = backends.clone();
    thread::spawn(move || body(&backends))
}
