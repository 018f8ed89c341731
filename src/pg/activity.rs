//! Which databases may have something to fold: what sessions tell the launcher of workers through shared memory.
//!
//! These are hints, and nothing correct depends on them. A commit that leaves pending rows says so, if nobody has yet.
//! A worker takes the hint back before it looks, so a commit that it does not see is heard of after it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tollgate_escrow::epochs::DATABASES;

use super::Timestamp;

/// One database.
#[derive(Default)]
pub struct DatabaseActivity {
    /// Something has been left to fold since a worker has looked.
    charged: AtomicBool,
    /// When there will be other work; 0 is never.
    due: AtomicI64,
    /// It is left alone until then; 0 is not at all.
    rests_until: AtomicI64,
    /// Its worker does not keep up with those who charge.
    behind: AtomicBool,
}

impl DatabaseActivity {
    /// For a commit callback: cannot fail. Nearly always it only reads.
    pub fn note_charged(&self) {
        if !self.charged.load(Ordering::Relaxed) {
            self.charged.store(true, Ordering::Release);
        }
    }

    /// Before a worker looks.
    pub fn forget_charged(&self) {
        self.charged.swap(false, Ordering::AcqRel);
    }

    /// When there will be work though nobody charges.
    pub fn set_due(&self, due: Option<Timestamp>) {
        self.due.store(due.unwrap_or(0), Ordering::Release);
    }

    /// Leaves the database alone for a while, or no longer.
    pub fn rest_until(&self, until: Option<Timestamp>) {
        self.rests_until.store(until.unwrap_or(0), Ordering::Release);
    }

    /// Asks those who charge to help, or no longer.
    pub fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    pub fn has_work(&self, now: Timestamp) -> bool {
        let due = self.due.load(Ordering::Acquire);
        let is_due = due != 0 && due <= now;
        (is_due || self.charged.load(Ordering::Acquire)) && self.rests_until.load(Ordering::Acquire) <= now
    }
}

/// All databases, by the place that each has in shared memory. Those that found no place share the last: a look at one
/// takes back the hints of the others, whose next charges give them again.
pub struct Activity([DatabaseActivity; DATABASES + 1]);

impl Default for Activity {
    fn default() -> Self {
        Self(std::array::from_fn(|_| DatabaseActivity::default()))
    }
}

impl Activity {
    pub fn at(&self, place: usize) -> &DatabaseActivity {
        &self.0[place.min(DATABASES)]
    }

    pub fn is_idle(&self, now: Timestamp) -> bool {
        !self.0.iter().any(|database| database.has_work(now))
    }
}
