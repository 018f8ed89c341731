//! When what a backend keeps of configuration is still so.
//!
//! # Protocol
//! Triggers *announce* every row that changes in a table whose rows are kept: of which [`Kind`] it is, and which tenant,
//! quota or user it concerns. An announcement is one of Postgres' own invalidation messages. It names a relation by a
//! number that stands for kind and subject, and that no relation has. Postgres sends a transaction's messages at its
//! commit, also at that of a prepared one, after its rows are visible and before the client hears of it. It sends none
//! for what was rolled back. The changing transaction itself gets them after each of its commands, and again when the
//! command is rolled back. Only sessions of the database handle them; a session that falls far behind is told that all
//! relations have changed. There is no memory of ours in this, so both modes and standbys do the same.
//!
//! A session counts what it is told on a clock of its own. It notes at which tick each kind and subject last changed.
//! What is kept has the tick at which its reading began, by a snapshot taken after the messages of its time were
//! handled. It is good until something that it depends on has a later tick. So it is never behind what was acknowledged.
//!
//! Subjects share 4,096 numbers of their kind; two that share one forget together. Should a relation ever have such a
//! number, an announcement has its description read again, and its DDL makes a few subjects forget: both are harmless.
//!
//! # Tables that do not announce
//! Triggers can be switched off, and `enable trigger all` leaves them deaf to a subscription. So a session keeps rows
//! only of kinds all of whose tables announce, as it finds by the relations' descriptions ([`super::announcing`]).
//! Whatever switches a trigger invalidates the table itself. Then the kind is forgotten, and the session looks again.
//! Where the library is preloaded, a subscription's commits announce what the triggers did not ([`announce_unheard`]).

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::{pg_guard, pg_sys};

use super::announcing::{self, Coverage, Ours};
use super::memory::shared;
use crate::version;

/// What rows say, as far as they are kept and forgotten together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Which quotas apply, and whether tenants exist.
    Quotas,
    Prices,
    /// Which models may be used.
    Policies,
    /// Who belongs to which tenant.
    People,
}

/// What a changed row concerns, or what is kept tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Rows that concern everybody, and no others.
    Everybody,
    /// A tenant, quota or user, with what concerns everybody.
    One([u8; 16]),
    /// Whatever is kept of the kind, such as whether there is anything.
    Any,
}

/// A moment on this session's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub struct Tick(u64);

const ALL_KINDS: [Kind; 4] = [Kind::Quotas, Kind::Prices, Kind::Policies, Kind::People];
const KINDS: usize = ALL_KINDS.len();
/// Numbers of subjects of a kind.
const NUMBERS: u32 = 4_096;
/// The first of the numbers that stand for no relation: at the very end of those that relations can have.
const FIRST: u32 = 0xffff_0000;
/// In each kind, the number after those of subjects stands for everybody.
const NUMBERS_OF_KIND: u32 = 2 * NUMBERS;
/// The number after those of all kinds: a script of the extension runs; see [`super::library`].
pub const SCRIPT: u32 = FIRST + KINDS as u32 * NUMBERS_OF_KIND;

impl Kind {
    /// As the triggers' first argument says it.
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Quotas => c"quotas",
            Self::Prices => c"prices",
            Self::Policies => c"policies",
            Self::People => c"people",
        }
    }

    pub fn named(name: &CStr) -> Option<Self> {
        ALL_KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a change has been heard of since.
    #[inline]
    pub fn has_changed(self, subject: Subject, since: Tick) -> bool {
        let kind = self as usize;
        since.0
            < match subject {
                Subject::Any => STATE.any[kind].get(),
                Subject::Everybody => STATE.everybody[kind].get(),
                Subject::One(id) => STATE.ones[kind][number(&id) as usize].get().max(STATE.everybody[kind].get()),
            }
    }

    /// A change of who it was has been heard of; `None` is everybody.
    fn changed(self, number: Option<u32>) {
        let kind = self as usize;
        let tick = STATE.clock.get() + 1;
        STATE.clock.set(tick);
        STATE.any[kind].set(tick);
        match number {
            Some(number) => STATE.ones[kind][number as usize].set(tick),
            None => STATE.everybody[kind].set(tick),
        }
    }

    /// Whether every table that the kind is read from announces its changes. Called before anything is read that is to be
    /// kept.
    pub fn is_announced(self) -> bool {
        STATE.sources.iter().filter(|source| source.kind == self).all(Source::announces)
    }
}

/// Ids may differ in a few bits alone, wherever: each bit moves about half of those that are taken.
fn number(id: &[u8; 16]) -> u32 {
    let id = u128::from_le_bytes(*id);
    let folded = (id as u64) ^ ((id >> 64) as u64).rotate_left(32);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 52) as u32
}

const _: () = assert!(NUMBERS == 1 << 12);

/// A table, and a kind that is read from it.
struct Source {
    table: &'static CStr,
    kind: Kind,
    /// Whether rows decide which quotas exist.
    defines: bool,
    /// While it is watched.
    relation: Cell<pg_sys::Oid>,
    announces: Cell<Option<bool>>,
}

impl Source {
    const fn new(table: &'static CStr, kind: Kind, defines: bool) -> Self {
        Self { table, kind, defines, relation: Cell::new(pg_sys::Oid::INVALID), announces: Cell::new(None) }
    }

    fn announces(&self) -> bool {
        if let Some(known) = self.announces.get() {
            return known;
        }
        let relation = announcing::table(self.table);
        // From now on its messages are recognised.
        self.relation.set(relation);
        let coverage = self.coverage(relation);
        // In escrow every process has the library, and sees to what arrives by a subscription.
        let announces = coverage.as_origin && (coverage.as_replica || shared().is_some());
        if relation == pg_sys::Oid::INVALID || self.relation.get() != relation {
            // It is not there, or has changed while we looked.
            return false;
        }
        self.announces.set(Some(announces));
        announces
    }

    fn coverage(&self, relation: pg_sys::Oid) -> Coverage {
        let told = announcing::coverage(relation, Ours::Configuration(self.kind.name()));
        if !self.defines {
            return told;
        }
        let defined = announcing::coverage(relation, Ours::Definitions);
        Coverage { as_origin: told.as_origin && defined.as_origin, as_replica: told.as_replica && defined.as_replica }
    }

    fn relation_changed(&self) {
        self.kind.changed(None);
        self.relation.set(pg_sys::Oid::INVALID);
        self.announces.set(None);
    }
}

/// What counters are loaded from.
const COUNTED: [&CStr; 3] = [c"pending_costs", c"quota_rollups", c"quota_reservations"];

struct State {
    clock: Cell<u64>,
    /// By kind and number, the tick of the latest change.
    ones: [[Cell<u64>; NUMBERS as usize]; KINDS],
    everybody: [Cell<u64>; KINDS],
    any: [Cell<u64>; KINDS],
    /// Counts changes of roles and of their memberships.
    roles: Cell<u64>,
    sources: [Source; 14],
    /// The oid of the ledger is part of every counter's key.
    ledger: Cell<pg_sys::Oid>,
    /// The last watch that joined; each knows the one before.
    watches: Cell<Option<&'static Watch>>,
    sent: Cell<Sent>,
}

// SAFETY: a backend has one thread that calls Postgres.
unsafe impl Sync for State {}

static STATE: State = State {
    clock: Cell::new(0),
    ones: [const { [const { Cell::new(0) }; NUMBERS as usize] }; KINDS],
    everybody: [const { Cell::new(0) }; KINDS],
    any: [const { Cell::new(0) }; KINDS],
    roles: Cell::new(0),
    sources: [
        Source::new(c"cost_quotas", Kind::Quotas, true),
        Source::new(c"default_quotas", Kind::Quotas, true),
        Source::new(c"tenants", Kind::Quotas, true),
        Source::new(c"quota_overrides", Kind::Quotas, false),
        Source::new(c"model_pricing", Kind::Prices, false),
        Source::new(c"e2b_pricing", Kind::Prices, false),
        Source::new(c"shipped_model_prices", Kind::Prices, false),
        Source::new(c"shipped_sandbox_prices", Kind::Prices, false),
        Source::new(c"model_aliases", Kind::Prices, false),
        Source::new(c"price_markups", Kind::Prices, false),
        Source::new(c"tenant_llm_policies", Kind::Policies, false),
        Source::new(c"tenants", Kind::People, false),
        Source::new(c"tenant_memberships", Kind::People, false),
        Source::new(c"user_preferences", Kind::People, false),
    ],
    ledger: Cell::new(pg_sys::Oid::INVALID),
    watches: Cell::new(None),
    sent: Cell::new(Sent::NOTHING),
};

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

    /// What was found out is not to be kept.
    pub fn end(&self) {
        self.holds.set(false);
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

/// May run wherever Postgres handles messages: touches nothing but these cells.
#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    Watch::invalidate(relation);
    let everything = relation == pg_sys::Oid::INVALID;
    if let Some(announced) = relation.to_u32().checked_sub(FIRST)
        && let Some(kind) = ALL_KINDS.get((announced / NUMBERS_OF_KIND) as usize)
    {
        kind.changed(Some(announced % NUMBERS_OF_KIND).filter(|number| *number < NUMBERS));
    }
    // The tables may be gone: their oids are looked up again.
    for source in STATE.sources.iter().filter(|source| everything || source.relation.get() == relation) {
        source.relation_changed();
    }
    if everything || relation == STATE.ledger.get() {
        STATE.ledger.set(pg_sys::Oid::INVALID);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn role_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    STATE.roles.set(STATE.roles.get() + 1);
}

/// A number that moves on when a role, or who has it, may have changed.
#[inline]
pub fn roles_generation() -> u64 {
    STATE.roles.get()
}

/// This moment: what was heard of is before it.
#[inline]
pub fn now() -> Tick {
    Tick(STATE.clock.get())
}

/// Handles the messages that have come in.
#[inline]
pub fn handle_messages() {
    // SAFETY: inside a transaction, where Postgres does the same whenever it locks a relation.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// The oid of the ledger.
#[inline]
pub fn ledger() -> pg_sys::Oid {
    let known = STATE.ledger.get();
    if known != pg_sys::Oid::INVALID {
        return known;
    }
    let ledger = announcing::table(c"llm_cost_records");
    STATE.ledger.set(ledger);
    ledger
}

/// More subjects in one command are announced as everybody: messages pass through a queue of bounded length.
const MOST_SUBJECTS: u32 = 64;

/// What the running command has announced. Postgres forgets the messages of a subtransaction that is rolled back, so this
/// is good for no other.
#[derive(Clone, Copy)]
struct Sent {
    transaction: u32,
    level: pg_sys::SubTransactionId,
    command: pg_sys::CommandId,
    latest: u32,
    subjects: u32,
    /// Kinds announced to everybody, a bit each.
    everybody: u32,
}

impl Sent {
    const NOTHING: Self = Self { transaction: 0, level: 0, command: 0, latest: 0, subjects: 0, everybody: 0 };

    /// What this command has announced so far.
    fn by_this_command() -> Self {
        // SAFETY: reads the state of the running transaction.
        let (level, command) = unsafe { (pg_sys::GetCurrentSubTransactionId(), pg_sys::GetCurrentCommandId(false)) };
        let transaction = version::own_transaction();
        let sent = STATE.sent.get();
        if (sent.transaction, sent.level, sent.command) == (transaction, level, command) {
            return sent;
        }
        Self { transaction, level, command, ..Self::NOTHING }
    }
}

/// Announces a change that the running transaction has made. Called after the change, in the same command.
pub fn announce(kind: Kind, subject: Subject) {
    let first = FIRST + kind as u32 * NUMBERS_OF_KIND;
    let mut sent = Sent::by_this_command();
    let everybody = sent.everybody & (1 << kind as u32) != 0;
    let relation = match subject {
        _ if everybody => return,
        Subject::One(id) if sent.subjects < MOST_SUBJECTS => first + number(&id),
        _ => {
            sent.everybody |= 1 << kind as u32;
            first + NUMBERS
        }
    };
    if relation != sent.latest {
        sent.latest = relation;
        sent.subjects += 1;
        announcing::send(relation);
        STATE.sent.set(sent);
    }
}

/// Announces, before the commit, what triggers were not there to announce: rows of a subscription, or of a session that
/// poses as one, where the triggers do not fire for it. Says whether counters have to be read anew, also because the
/// transaction has switched triggers of the tables they depend on: `altered` says that it switched any.
pub fn announce_unheard(altered: bool) -> bool {
    let replica = announcing::writes_as_replica();
    if !replica && !altered {
        return false;
    }
    let unheard = |relation, covered: bool| {
        (altered && announcing::has_altered(relation)) || (replica && !covered && announcing::has_written(relation))
    };
    let mut reload = false;
    for source in &STATE.sources {
        let relation = announcing::table(source.table);
        if relation != pg_sys::Oid::INVALID && unheard(relation, source.coverage(relation).as_replica) {
            announce(source.kind, Subject::Everybody);
            reload |= source.defines;
        }
    }
    for table in COUNTED {
        let relation = announcing::table(table);
        reload |= relation != pg_sys::Oid::INVALID
            && unheard(relation, announcing::coverage(relation, Ours::Rows).as_replica);
    }
    reload
}
