//! Admission, which every charge asks: in the escrow mode when the library is preloaded, in the locked mode otherwise.
//! Both modes ask [`tollgate_core::decision::judge`]. They differ in what keeps its figures exact until the decision
//! has taken effect.

mod charge;
pub mod check;
mod counter;
mod differing;
mod escrow;
mod locked;
mod unwritten;
mod waiting;

use pgrx::Uuid;
use tollgate_escrow::registry::Statistic;

use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::memory::{Shared, shared};
use crate::pg::spi::{Session, Snapshot};
use crate::pg::transaction::own_slot;
use crate::quota::sums::Sums;
use crate::quota::{Payer, QuotaUsage};
use tollgate_core::decision::Quota;

pub use charge::{Admission, Charge, Hold};
pub use differing::differing;

/// The way of admission, with what it needs.
pub enum AdmissionMode {
    Locked,
    Escrow(Shared),
}

impl AdmissionMode {
    /// Prepares to charge these tenants in the running transaction.
    pub fn open(tenants: impl IntoIterator<Item = Option<Uuid>>) -> Result<Self> {
        let mode = Self::open_for_housekeeping()?;
        if let Self::Locked = mode {
            locked::lock_payers(tenants)?;
        }
        Ok(mode)
    }

    /// The same for what changes no figure: it waits for no transaction.
    pub fn open_for_housekeeping() -> Result<Self> {
        // SAFETY: reads a variable of the process.
        if unsafe { pgrx::pg_sys::IsInParallelMode() } {
            return Err(Error::Unsupported { message: "costs cannot be recorded in a parallel query".to_owned() });
        }
        // Rows are written without the executor, which would refuse this.
        // SAFETY: raises an ERROR or does nothing.
        unsafe { pgrx::pg_sys::PreventCommandIfReadOnly(c"recording a cost".as_ptr()) };
        Ok(shared().map_or(Self::Locked, Self::Escrow))
    }

    /// Whether it needs to know the payers before it starts.
    pub fn needs_tenants() -> bool {
        shared().is_none()
    }

    /// Whether counters in memory have to be told what becomes of a hold.
    pub fn keeps_counters(&self) -> bool {
        matches!(self, Self::Escrow(_))
    }

    pub fn admit(&self, spi: &Session, charge: Charge) -> Result<Admission> {
        match self {
            Self::Locked => locked::admit(spi, charge),
            Self::Escrow(shared) => escrow::admit(shared, spi, charge),
        }
    }

    /// The same for one of many charges that are not enforced. `None` where figures have to be read from the tables that do
    /// not show all that was admitted before. The caller writes the rows that it keeps back, and asks again.
    pub fn admit_in_run(
        &self,
        spi: &Session,
        charge: Charge,
        sums: &mut Sums,
        unwritten: bool,
    ) -> Result<Option<Admission>> {
        match self {
            Self::Locked => locked::admit_in_run(spi, charge, sums, unwritten),
            Self::Escrow(shared) => escrow::admit_unless_unwritten(shared, spi, charge),
        }
    }

    /// The row of what was admitted is there: from now on a duplicate finds the request by it.
    pub fn row_written(&self) {
        if let Self::Escrow(shared) = self {
            shared.registry.show_request(own_slot(), 0);
        }
    }

    /// Waits until no other call is between being admitted for this request and writing its row. Says whether there was
    /// one.
    pub fn wait_for_request(&self, request: u64) -> bool {
        match self {
            Self::Locked => false,
            Self::Escrow(shared) => waiting::wait_for_request(shared, request),
        }
    }

    /// What was admitted came to nothing, and the transaction goes on.
    pub fn retract(&self, charge: Charge, admission: &Admission) {
        if let Self::Escrow(shared) = self {
            escrow::retract(shared, charge, &admission.counted);
        }
    }

    /// Counts the outcome for the monitoring view.
    pub fn count_outcome(&self, event: Statistic) {
        if let Self::Escrow(shared) = self {
            shared.registry.count(own_slot(), event);
        }
    }
}

/// How the quotas stand, without charging anything. From shared memory where a counter is there or can be loaded
/// without waiting, else from the tables in the given snapshot.
pub fn quota_usage(spi: &Session, payer: Payer, at: Timestamp, snapshot: Snapshot) -> Result<QuotaUsage> {
    match shared() {
        Some(shared) => escrow::quota_usage(&shared, spi, payer, at, snapshot),
        None => locked::quota_usage(spi, payer, at, snapshot),
    }
}

/// The same if it can be told from this backend's memory and the shared one alone.
pub fn cached_quota_usage(payer: Payer, at: Timestamp, quotas: &mut Vec<Quota>) -> bool {
    shared().is_some_and(|shared| escrow::cached_quota_usage(&shared, payer, at, quotas))
}
