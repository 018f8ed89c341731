//! What a call of this session has read and is about to change, or is writing. No lock keeps out a trigger that it fires:
//! that runs in the same transaction, and would change what the call has read. So it is refused.

use std::cell::RefCell;

use pgrx::Uuid;

use crate::error::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Affected {
    /// A reservation that is settled, given up or extended.
    Hold(Uuid),
    /// A record that is written or corrected.
    Record { tenant: Uuid, id: Uuid },
    /// All records of a tenant, which are repriced.
    Records { tenant: Uuid },
    /// What quotas have counted. An adjustment may concern several, so there is one at a time.
    Adjustments,
}

impl Affected {
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Record { tenant, .. }, Self::Records { tenant: all })
            | (Self::Records { tenant: all }, Self::Record { tenant, .. }) => tenant == all,
            _ => self == other,
        }
    }
}

thread_local! {
    /// Of the calls of this session that have not returned.
    static SUBJECTS: RefCell<Vec<Affected>> = const { RefCell::new(Vec::new()) };
}

/// From before a call reads its subject until it has written what follows. An ERROR ends it, too.
pub struct UnderWay(Affected);

impl UnderWay {
    pub fn begin(subject: Affected) -> Result<Self> {
        if Self::meets(subject) {
            return Err(Error::State { message: "a trigger cannot change what its statement is changing".to_owned() });
        }
        Ok(Self::of(subject))
    }

    /// Of a new record, which no other call can have read.
    pub fn of_new(tenant: Uuid, id: Uuid) -> Self {
        Self::of(Affected::Record { tenant, id })
    }

    fn of(subject: Affected) -> Self {
        SUBJECTS.with_borrow_mut(|subjects| subjects.push(subject));
        Self(subject)
    }

    /// Whether any call is. Then no row of the ledger moves or goes: the call goes on with those that it has read.
    pub fn is_any() -> bool {
        SUBJECTS.with_borrow(|subjects| !subjects.is_empty())
    }

    /// Whether a call works on the subject.
    pub fn meets(subject: Affected) -> bool {
        SUBJECTS.with_borrow(|subjects| subjects.iter().any(|other| subject.meets(*other)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        SUBJECTS.with_borrow_mut(|subjects| {
            if let Some(place) = subjects.iter().position(|subject| *subject == self.0) {
                subjects.swap_remove(place);
            }
        });
    }
}
