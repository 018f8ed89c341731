//! Epochs of definitions, by database: a change of definitions concerns the sessions of its own database alone.

use crate::sync::{AtomicU32, Ordering};

/// Partitions of the definitions of tenants.
pub const TENANT_PARTITIONS: usize = if cfg!(loom) { 1 } else { 64 };
/// The partition of the definitions that concern all tenants.
pub const PLATFORM: usize = TENANT_PARTITIONS;
pub(crate) const PARTITIONS: usize = TENANT_PARTITIONS + 1;

/// The partition of a tenant. Copies of a database have the same tenants, so where they share their epochs the database
/// tells them apart.
pub fn partition(database: u32, tenant: &[u8; 16]) -> usize {
    let id = u128::from_le_bytes(*tenant);
    let mixed = ((id as u64) ^ ((id >> 64) as u64) ^ u64::from(database)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (((mixed >> 32) * TENANT_PARTITIONS as u64) >> 32) as usize
}

/// The first epoch; even, and not 0, which says that there is none.
pub(crate) const FIRST: u32 = 2;

/// The epochs of all partitions.
pub struct Epochs([AtomicU32; PARTITIONS]);

impl Default for Epochs {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(FIRST)))
    }
}

impl Epochs {
    pub(crate) fn of(&self, partition: usize) -> &AtomicU32 {
        &self.0[partition]
    }
}

/// Databases with epochs of their own since the memory was made.
pub const DATABASES: usize = if cfg!(loom) { 2 } else { 1_024 };

/// The epochs of each database. A place is taken once and never given back: a database that gets the number of one that
/// was dropped goes on in its epochs.
pub struct EpochsByDatabase {
    /// The database of each place; 0 where it has none.
    databases: [AtomicU32; DATABASES],
    epochs: [Epochs; DATABASES],
    /// Those of all databases that found no place.
    shared: Epochs,
}

impl Default for EpochsByDatabase {
    fn default() -> Self {
        Self {
            databases: std::array::from_fn(|_| AtomicU32::new(0)),
            epochs: std::array::from_fn(|_| Epochs::default()),
            shared: Epochs::default(),
        }
    }
}

impl EpochsByDatabase {
    /// The epochs of a database, and the number of their place, the same for all its sessions. Places are taken in turn,
    /// so a session that finds all of them taken by others finds them so for ever.
    pub fn of(&self, database: u32) -> (usize, &Epochs) {
        for (place, taken) in self.databases.iter().enumerate() {
            // Free: ours, unless another process is faster. That one may be of the same database.
            let owner = match taken.compare_exchange(0, database, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => database,
                Err(owner) => owner,
            };
            if owner == database {
                return (place, &self.epochs[place]);
            }
        }
        (DATABASES, &self.shared)
    }

    /// The number of a database's place, if it has taken one.
    pub fn place(&self, database: u32) -> Option<usize> {
        self.databases.iter().position(|taken| taken.load(Ordering::Acquire) == database)
    }
}
