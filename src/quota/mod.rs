//! What the quotas of a subject have counted, and the gate through which every charge goes: in the escrow mode when the
//! library is preloaded, in the locked mode otherwise. Both ask [`tollgate_core::decision::judge`]; they differ in what makes
//! its figures exact until the decision has taken effect.

pub mod definitions;
mod escrow;
mod locked;
mod sums;

use std::rc::Rc;

use pgrx::Uuid;
use tollgate_escrow::registry::Event;

use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::memory::{Shared, shared};
use crate::pg::spi::{Look, Session};
use crate::pg::transaction::own_slot;
use tollgate_core::decision::{Quota, Resource, Scope, Verdict};

use definitions::Definitions;
pub use sums::{fold_long_tail, keep_marked};

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
    /// Their definitions, in the same order, where something was admitted.
    pub definitions: Option<Rc<Definitions>>,
    /// How many pending rows had to be added to the rollups.
    pub tail: i64,
}

/// The nil UUID: the platform where a tenant stands, nobody in particular where a user stands.
pub fn nil() -> Uuid {
    Uuid::from_bytes([0; 16])
}

/// A hold as quotas count it.
#[derive(Clone, Copy)]
pub struct Hold {
    /// Nano-dollars.
    pub amount: i64,
    /// From then on nobody counts it.
    pub expires: Timestamp,
}

/// What is asked of the gate: to charge, to hold, to give up a hold, or to turn one into another.
#[derive(Clone, Copy)]
pub struct Charge {
    pub subject: Subject,
    /// Decides the periods.
    pub at: Timestamp,
    /// Nano-dollars that will have been spent; below zero for a correction, which counts once it has committed.
    pub amount: i64,
    /// What will be held.
    pub hold: Option<Hold>,
    /// What was held until now, by nobody in particular or by the subject's user.
    pub gives_up: Option<Hold>,
    /// Whether a quota of the subject's user counts what is given up.
    pub user_held: bool,
    /// Refused over a hard limit; else counted whatever it comes to.
    pub enforce: bool,
    /// The request that it answers, as a hash; 0 is none.
    pub request: u64,
}

impl Charge {
    /// What is spent and held together, in nano-dollars.
    fn wanted(&self) -> i64 {
        self.amount.saturating_add(self.held())
    }

    fn held(&self) -> i64 {
        self.hold.map_or(0, |hold| hold.amount)
    }

    /// What a quota of the scope counts of the hold that is given up, where holds are counted that expire later than this.
    fn given_up(&self, scope: Scope, horizon: Timestamp) -> i64 {
        let concerned = scope != Scope::User || self.user_held;
        self.gives_up.filter(|hold| concerned && hold.expires > horizon).map_or(0, |hold| hold.amount)
    }

    /// The earliest moment at which a hold expires that is made or given up.
    fn in_hand(&self) -> Option<Timestamp> {
        [self.hold, self.gives_up].into_iter().flatten().map(|hold| hold.expires).min()
    }
}

/// The answer: when `admitted`, the amount is counted until the (sub)transaction ends or it is retracted.
pub struct Admission {
    /// As it was before the charge, without the hold that it gives up.
    pub standing: Standing,
    pub verdict: Verdict,
    pub admitted: bool,
    /// The hold that was made; it may expire later than was asked.
    pub hold: Option<Hold>,
    counted: escrow::Counted,
}

impl Admission {
    fn refused(standing: Standing, verdict: Verdict) -> Self {
        Self { standing, verdict, admitted: false, hold: None, counted: escrow::Counted::default() }
    }
}

/// The way of admission, with what it needs.
pub enum Gate {
    Locked,
    Escrow(Shared),
}

impl Gate {
    /// Prepares to charge these tenants in the running transaction.
    pub fn open(tenants: impl IntoIterator<Item = Option<Uuid>>) -> Result<Self> {
        let gate = Self::open_for_housekeeping()?;
        if let Self::Locked = gate {
            locked::lock_subjects(tenants)?;
        }
        Ok(gate)
    }

    /// The same for what changes no figure: it waits for nobody.
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

    /// Whether it needs to know who will be charged.
    pub fn takes_tenants() -> bool {
        shared().is_none()
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
