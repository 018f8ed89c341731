//! When what a backend has read from configuration tables is still so.
//!
//! Every change of a watched table sends Postgres' own invalidation messages. They go out at commit, also at that of a
//! prepared transaction, after its rows are visible and before the client hears of it. The changing transaction gets
//! them after each of its statements and at its abort.
//!
//! A cache is filled from a snapshot taken after the messages of its time were handled, and dropped when the
//! [`generation`] moves on. So it is never behind what was acknowledged.

use std::cell::Cell;

use pgrx::{pg_guard, pg_sys};

struct State {
    /// The last that joined; each knows the one before.
    watches: Cell<Option<&'static Watch>>,
    generation: Cell<u64>,
    watched: Cell<[pg_sys::Oid; WATCHED.len()]>,
    people: Cell<u64>,
    watched_people: Cell<[pg_sys::Oid; PEOPLE.len()]>,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for State {}

static STATE: State = State {
    watches: Cell::new(None),
    generation: Cell::new(1),
    watched: Cell::new([pg_sys::Oid::INVALID; WATCHED.len()]),
    people: Cell::new(1),
    watched_people: Cell::new([pg_sys::Oid::INVALID; PEOPLE.len()]),
};

/// Triggers send these messages for two kinds of tables. One is the ledger, whose oid is part of every counter's key.
/// The others are tables whose rows are cached. The shape of the tables that the library writes is followed by a
/// [`Watch`] of each.
const WATCHED: [&std::ffi::CStr; 12] = [
    c"llm_cost_records",
    c"cost_quotas",
    c"default_quotas",
    c"quota_overrides",
    c"tenants",
    c"tenant_llm_policies",
    c"model_pricing",
    c"e2b_pricing",
    c"shipped_model_prices",
    c"shipped_sandbox_prices",
    c"model_aliases",
    c"price_markups",
];

/// Tables that users change by themselves, by accepting an invitation or choosing a tenant. What is kept of them has a
/// generation of its own, so that no user can make all sessions forget quotas and prices.
const PEOPLE: [&std::ffi::CStr; 2] = [c"tenant_memberships", c"user_preferences"];

/// Ends what has been found out about one relation when the relation changes. Whatever changes how a relation looks
/// invalidates it.
pub struct Watch {
    relation: Cell<pg_sys::Oid>,
    holds: Cell<bool>,
    joined: Cell<bool>,
    before: Cell<Option<&'static Watch>>,
}

impl Watch {
    pub const fn new() -> Self {
        Self {
            relation: Cell::new(pg_sys::Oid::INVALID),
            holds: Cell::new(false),
            joined: Cell::new(false),
            before: Cell::new(None),
        }
    }

    /// Begins, before the relation is read.
    pub fn begin(&'static self, relation: pg_sys::Oid) {
        if !self.joined.replace(true) {
            self.before.set(STATE.watches.replace(Some(self)));
        }
        self.relation.set(relation);
        self.holds.set(true);
    }

    /// Whether the relation is as it was when this began, as far as messages have been handled.
    #[inline]
    pub fn holds(&self) -> bool {
        self.holds.get()
    }

    fn invalidate(changed: pg_sys::Oid) {
        let mut next = STATE.watches.get();
        while let Some(watch) = next {
            if changed == pg_sys::Oid::INVALID || changed == watch.relation.get() {
                watch.holds.set(false);
            }
            next = watch.before.get();
        }
    }
}

/// Called once from `_PG_init`.
pub fn register() {
    // SAFETY: registers functions that live as long as the process, in slots that Postgres keeps for libraries.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null());
        for cache in [pg_sys::SysCacheIdentifier::AUTHOID, pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM] {
            pg_sys::CacheRegisterSyscacheCallback(cache.cast_signed(), Some(role_changed), pg_sys::Datum::null());
        }
    }
}

fn forget() {
    STATE.generation.set(STATE.generation.get() + 1);
    forget_people();
}

fn forget_people() {
    STATE.people.set(STATE.people.get() + 1);
}

/// May run wherever Postgres handles messages: touches nothing but these cells.
#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    Watch::invalidate(relation);
    if relation == pg_sys::Oid::INVALID || STATE.watched.get().contains(&relation) {
        forget();
        // The tables may be gone: their oids are looked up again.
        STATE.watched.set([pg_sys::Oid::INVALID; WATCHED.len()]);
    } else if STATE.watched_people.get().contains(&relation) {
        // The oids stay, or a change of the tables above would be missed by what is still kept of them. These tables go
        // only together with those.
        forget_people();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn role_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    forget();
}

/// A number that moves on when anything that is watched may have changed.
#[inline]
pub fn generation() -> u64 {
    STATE.generation.get()
}

/// As [`generation`], of memberships and preferences; it moves on with that, too.
#[inline]
pub fn people_generation() -> u64 {
    STATE.people.get()
}

/// Handles the messages that have come in, then gives the generation.
#[inline]
pub fn current_generation() -> u64 {
    // SAFETY: inside a transaction, where Postgres does the same whenever it locks a relation.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    generation()
}

/// Begins to watch, before anything is read that is to be kept; gives the oid of the ledger.
pub fn watch() -> pg_sys::Oid {
    let known = STATE.watched.get()[0];
    if known != pg_sys::Oid::INVALID {
        return known;
    }
    // SAFETY: looks names up in the catalog caches. The oids are set only once all are known. A message that comes in
    // between resets them, and is not missed, since the generation moves on with the next.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"copilot_internal".as_ptr(), true);
        let watched = WATCHED.map(|name| pg_sys::get_relname_relid(name.as_ptr(), schema));
        let people = PEOPLE.map(|name| pg_sys::get_relname_relid(name.as_ptr(), schema));
        STATE.watched_people.set(people);
        STATE.watched.set(watched);
        watched[0]
    }
}
