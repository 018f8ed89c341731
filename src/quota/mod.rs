//! What the quotas of a subject have counted, and the gate through which every charge goes: in the escrow mode when the
//! library is preloaded, in the locked mode otherwise. Both ask [`crate::admission::judge`]; they differ in what makes
//! its figures exact until the decision has taken effect.

pub mod definitions;
mod escrow;
mod locked;
mod sums;

use pgrx::Uuid;
use tollgate_escrow::registry::Event;

use crate::admission::{Quota, Resource, Verdict};
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::memory::{Shared, shared};
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::own_slot;

pub use sums::fold_long_tail;

/// Whose spending, on what.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// `None` is the platform alone.
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
}

impl Subject {
    fn tenant_key(&self) -> [u8; 16] {
        *self.tenant.unwrap_or_else(nil).as_bytes()
    }

    fn user_key(&self) -> [u8; 16] {
        *self.user.unwrap_or_else(nil).as_bytes()
    }
}

/// Every quota that applies to a subject, with what it has counted in the period that holds a moment.
#[derive(Default)]
pub struct Standing {
    pub quotas: Vec<Quota>,
    /// How many pending rows had to be added to the rollups.
    pub tail: i64,
}

/// The nil UUID: the platform where a tenant stands, nobody in particular where a user stands.
pub fn nil() -> Uuid {
    Uuid::from_bytes([0; 16])
}

/// What is asked of the gate.
#[derive(Clone, Copy)]
pub struct Charge {
    pub subject: Subject,
    /// Decides the periods.
    pub at: Timestamp,
    /// Nano-dollars.
    pub amount: i64,
    /// Refused over a hard limit; else counted whatever it comes to.
    pub enforce: bool,
    /// The request that it answers, as a hash; 0 is none.
    pub request: u64,
}

/// The answer: when `admitted`, the amount is counted until the (sub)transaction ends or it is retracted.
pub struct Admission {
    /// As it was before the charge.
    pub standing: Standing,
    pub verdict: Verdict,
    pub admitted: bool,
    counted: escrow::Counted,
}

/// The way of admission, with what it needs.
pub enum Gate {
    Locked,
    Escrow(Shared),
}

impl Gate {
    /// Prepares to charge these tenants in the running transaction.
    pub fn open(tenants: impl IntoIterator<Item = Option<Uuid>>) -> Result<Self> {
        // SAFETY: reads a variable of the process.
        if unsafe { pgrx::pg_sys::IsInParallelMode() } {
            return Err(Error::Unsupported { message: "costs cannot be recorded in a parallel query".to_owned() });
        }
        // Rows are written without the executor, which would refuse this.
        // SAFETY: raises an ERROR or does nothing.
        unsafe { pgrx::pg_sys::PreventCommandIfReadOnly(c"recording a cost".as_ptr()) };
        match shared() {
            Some(shared) => Ok(Self::Escrow(shared)),
            None => {
                locked::lock_subjects(tenants)?;
                Ok(Self::Locked)
            }
        }
    }

    /// Whether two requests with the same id can be here at the same time.
    pub fn meets_twins(&self) -> bool {
        matches!(self, Self::Escrow(_))
    }

    pub fn admit(&self, spi: &Session, charge: Charge) -> Result<Admission> {
        match self {
            Self::Locked => locked::admit(spi, charge),
            Self::Escrow(shared) => escrow::admit(shared, spi, charge),
        }
    }

    /// The row of what was admitted is there: from now on a twin finds the request by it.
    pub fn written(&self) {
        if let Self::Escrow(shared) = self {
            shared.registry.show_request(own_slot(), 0);
        }
    }

    /// Waits until no other call is between being admitted for this request and writing its row. Says whether there was
    /// one.
    pub fn wait_for_request(&self, request: u64) -> bool {
        match self {
            Self::Locked => false,
            Self::Escrow(shared) => escrow::wait_for_request(shared, request),
        }
    }

    /// What was admitted came to nothing, and the transaction goes on.
    pub fn retract(&self, charge: Charge, admission: &Admission) {
        if let Self::Escrow(shared) = self {
            escrow::retract(shared, charge, &admission.counted);
        }
    }

    /// Counts the outcome for the monitoring view.
    pub fn tell(&self, event: Event) {
        if let Self::Escrow(shared) = self {
            shared.registry.count(own_slot(), event);
        }
    }
}

/// How the quotas stand, without charging anything: from shared memory where a counter is or can be had without waiting,
/// else from the tables as the look says.
pub fn standing(spi: &Session, subject: Subject, at: Timestamp, look: Look) -> Result<Standing> {
    match shared() {
        Some(shared) => escrow::standing(&shared, spi, subject, at, look),
        None => locked::standing(spi, subject, at, look),
    }
}

/// The same if it can be told from this backend's memory and the shared one alone.
pub fn standing_at_hand(subject: Subject, at: Timestamp, quotas: &mut Vec<Quota>) -> bool {
    shared().is_some_and(|shared| escrow::standing_at_hand(&shared, subject, at, quotas))
}
