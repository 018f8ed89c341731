//! Settings. Each weakens a limit in one of its values, so only a superuser may change it.

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum, pg_sys};

use crate::version;

#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq)]
enum NoQuota {
    #[name = c"allow"]
    Allow,
    #[name = c"deny"]
    Deny,
}

#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq)]
enum Unpriced {
    #[name = c"deny"]
    Deny,
    #[name = c"allow"]
    Allow,
}

static NO_QUOTA: GucSetting<NoQuota> = GucSetting::<NoQuota>::new(NoQuota::Allow);
static UNPRICED: GucSetting<Unpriced> = GucSetting::<Unpriced>::new(Unpriced::Deny);

/// How many tenants a signed-in user may make.
static TENANTS_PER_USER: GucSetting<i32> = GucSetting::<i32>::new(0);

/// How many personal tenants people may have made for themselves while no quota of the platform bounds them together.
static PERSONAL_TENANTS: GucSetting<i32> = GucSetting::<i32>::new(20);

#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq)]
enum UnknownTenant {
    #[name = c"deny"]
    Deny,
    #[name = c"allow"]
    Allow,
}

static UNKNOWN_TENANT: GucSetting<UnknownTenant> = GucSetting::<UnknownTenant>::new(UnknownTenant::Deny);

#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq)]
enum PlatformCounts {
    #[name = c"cost"]
    Cost,
    #[name = c"provider_cost"]
    ProviderCost,
}

static PLATFORM_COUNTS: GucSetting<PlatformCounts> = GucSetting::<PlatformCounts>::new(PlatformCounts::Cost);

/// Whether hard quotas refuse.
static ENFORCEMENT: GucSetting<bool> = GucSetting::<bool>::new(true);

/// How far a clock may be ahead, in seconds.
static CLOCK_SKEW: GucSetting<i32> = GucSetting::<i32>::new(300);

/// Whether a ledger table that has rows may be dropped by anything but DROP EXTENSION.
static DROP_LEDGER: GucSetting<bool> = GucSetting::<bool>::new(false);

/// How many databases are folded at the same time.
static WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);

/// For how many days the ledger keeps its rows; 0 is for ever.
static LEDGER_RETENTION_DAYS: GucSetting<i32> = GucSetting::<i32>::new(0);

const PREFIX: &CStr = c"pg_tollgate";

/// Asked for by the server that preloads the library, and known to no session otherwise.
const PRELOADED_ONLY: &str = "pg_tollgate.quota_entries";

/// A setting that was given before the library was loaded, and is none or has a value that it cannot have.
static INVALID: OnceLock<String> = OnceLock::new();

/// Finds the same among what was stored for the database or the role: see [`crate::pg::stored_settings`]. It is asked once.
static FIND_STORED: OnceLock<fn() -> Option<String>> = OnceLock::new();

thread_local! {
    static STORED: OnceCell<Option<String>> = const { OnceCell::new() };
}

/// Once a server has loaded the library, sessions begin after it, and say later which stored setting is none.
pub fn register(find_stored: Option<fn() -> Option<String>>) {
    if let Some(find) = find_stored {
        let _ = FIND_STORED.set(find);
    }
    let unknown: Vec<Given> = given().into_iter().filter(|setting| setting.is_unknown).collect();
    register_admission();
    register_safeguards();
    register_housekeeping();
    let taken = given();
    let is_valid = |name: &str| {
        let of_name = |setting: &&Given| setting.name.eq_ignore_ascii_case(name);
        taken.iter().find(of_name).is_some_and(|setting| !setting.is_unknown && !setting.is_default)
    };
    let mut names = unknown.into_iter().map(|setting| setting.name);
    if let Some(name) = names.find(|name| !name.eq_ignore_ascii_case(PRELOADED_ONLY) && !is_valid(name)) {
        // Postgres warns of it once and goes on with the default.
        let _ = INVALID.set(name);
    }
    // SAFETY: takes a C string that lives as long as the program.
    unsafe { pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr()) }
}

/// A setting with the prefix, as the server knows it.
struct Given {
    name: String,
    /// Kept for a library that may define it.
    is_unknown: bool,
    is_default: bool,
}

fn given() -> Vec<Given> {
    let given = version::settings().into_iter().map(|setting| Given {
        // SAFETY: each has its name.
        name: unsafe { CStr::from_ptr(setting.name) }.to_string_lossy().into_owned(),
        is_unknown: setting.flags & pg_sys::GUC_CUSTOM_PLACEHOLDER.cast_signed() != 0,
        is_default: setting.source == pg_sys::GucSource::PGC_S_DEFAULT,
    });
    let is_ours = |name: &str| name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case("pg_tollgate."));
    given.filter(|setting| is_ours(&setting.name)).collect()
}

/// Whether the settings may weaken a limit: a mistake in one of them must not.
fn may_weaken() -> bool {
    mistake().is_none()
}

/// The name of a setting that is none, or has a value that it cannot have.
fn mistake() -> Option<String> {
    let find = || FIND_STORED.get().and_then(|find| find());
    INVALID.get().cloned().or_else(|| STORED.with(|stored| stored.get_or_init(find).clone()))
}

/// Whether a superuser may set a setting so. Changes nothing.
pub fn is_valid(name: &str, value: &str) -> bool {
    if name.eq_ignore_ascii_case(PRELOADED_ONLY) {
        return true;
    }
    // The prefix is reserved in lower case alone, and names are the same in any.
    if !given().iter().any(|setting| setting.name.eq_ignore_ascii_case(name) && !setting.is_unknown) {
        return false;
    }
    let Ok((name, value)) = CString::new(name).and_then(|name| Ok((name, CString::new(value)?))) else { return false };
    // SAFETY: both texts live as long as the call, which below the level ERROR only answers.
    let answer = unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_DATABASE,
            pg_sys::GucAction::GUC_ACTION_SET,
            false,
            pg_sys::DEBUG5.cast_signed(),
            false,
        )
    };
    answer != 0
}

/// What decides about a charge.
fn register_admission() {
    GucRegistry::define_enum_guc(
        c"pg_tollgate.no_quota",
        c"Whether an operation is allowed where no quota applies to it.",
        c"allow (the default: a database that has just got the extension keeps working) or deny (every tenant needs a quota).",
        &NO_QUOTA,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pg_tollgate.unpriced",
        c"Whether an enforced charge is allowed when no price is known.",
        c"deny (the default: a model without a price must not be free) or allow. Recording after the fact is always taken.",
        &UNPRICED,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pg_tollgate.unknown_tenant",
        c"Whether an operation is allowed for a tenant that does not exist or was deleted.",
        c"deny (the default: a misspelt id must not be a tenant without a limit) or allow. A tenant exists with its row, or a quota of its own. Recording after the fact is always taken.",
        &UNKNOWN_TENANT,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"pg_tollgate.platform_counts",
        c"What the platform's quotas count of what is recorded from now on.",
        c"cost (the default: what tenants pay, as their own quotas) or provider_cost (what providers bill, without the operator's markups). Holds, and charges without a record, count as they are.",
        &PLATFORM_COUNTS,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_tollgate.enforcement",
        c"Whether hard quotas refuse.",
        c"on (the default) or off: every hard quota answers as a soft one, and every answer says so in its reason. For the night when a limit was wrong. Suspended quotas still block.",
        &ENFORCEMENT,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_tollgate.clock_skew",
        c"How far in the future p_occurred_at may be to be taken as now.",
        c"5 minutes by default, for the clocks of servers differ. What is later is a mistake and refused.",
        &CLOCK_SKEW,
        0,
        3_600,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
}

/// What bounds people and operators.
fn register_safeguards() {
    GucRegistry::define_int_guc(
        c"pg_tollgate.tenants_per_user",
        c"How many tenants a signed-in user may make with create_tenant.",
        c"0 (the default: every tenant comes with a budget, so a user who could make them at will would have no limit). Deleted ones count.",
        &TENANTS_PER_USER,
        0,
        10_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_tollgate.personal_tenants",
        c"How many personal tenants people may make for themselves while no hard quota of the platform bounds all tenants together.",
        c"20 (the default: each comes with a budget, and where sign-up is open one needs no more than an e-mail address). The server is not bound, nor is any user once there is a quota of the platform for all, or for llm and e2b.",
        &PERSONAL_TENANTS,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_tollgate.drop_ledger",
        c"Whether what holds the ledger may be dropped, as by drop schema public cascade.",
        c"off (the default: it is refused while a ledger row exists) or on. drop extension pg_tollgate needs no setting.",
        &DROP_LEDGER,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Who keeps house, and what goes.
fn register_housekeeping() {
    GucRegistry::define_int_guc(
        c"pg_tollgate.ledger_retention_days",
        c"For how many days the ledger keeps calls and charges.",
        c"0 (the default: for ever). Older ones are added up, and every total stays as it is. Fewer than 35 count as 35. A tenant's settings may say ledger_retention_days for itself.",
        &LEDGER_RETENTION_DAYS,
        0,
        36_500,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_tollgate.workers",
        c"In how many databases at the same time background processes do what maintain() does.",
        c"2 by default: a preloaded library looks after itself, as autovacuum does. Each takes one of max_worker_processes while it works, and the launcher one. 0 is none: call maintain() or housekeep().",
        &WORKERS,
        0,
        64,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// In how many databases background processes may work.
pub fn workers() -> usize {
    usize::try_from(WORKERS.get()).unwrap_or(0)
}

pub fn allow_without_quota() -> bool {
    NO_QUOTA.get() == NoQuota::Allow && may_weaken()
}

pub fn may_drop_ledger() -> bool {
    DROP_LEDGER.get() && may_weaken()
}

pub fn allow_unpriced() -> bool {
    UNPRICED.get() == Unpriced::Allow && may_weaken()
}

/// Whether the platform's quotas count what providers bill.
pub fn platform_counts_provider_cost() -> bool {
    PLATFORM_COUNTS.get() == PlatformCounts::ProviderCost
}

pub fn tenants_per_user() -> i64 {
    if may_weaken() { TENANTS_PER_USER.get().into() } else { 0 }
}

pub fn personal_tenants() -> i64 {
    if may_weaken() { PERSONAL_TENANTS.get().into() } else { 0 }
}

pub fn allow_unknown_tenant() -> bool {
    UNKNOWN_TENANT.get() == UnknownTenant::Allow && may_weaken()
}

/// Whether hard quotas refuse.
pub fn enforces() -> bool {
    ENFORCEMENT.get() || !may_weaken()
}

/// How far a moment may be in the future, in microseconds.
pub fn clock_skew() -> i64 {
    i64::from(CLOCK_SKEW.get()) * 1_000_000
}

/// What an answer gives as its reason. While hard quotas refuse nothing, or a setting is invalid, every answer says so.
pub fn with_enforcement(reason: Option<String>) -> Option<String> {
    let invalid = || mistake().map(|name| format!("{name} is no valid setting, so that the strictest apply"));
    let off = if enforces() { invalid() } else { Some("pg_tollgate.enforcement is off".to_owned()) };
    match (reason, off) {
        (Some(reason), Some(off)) => Some(format!("{reason}; {off}")),
        (reason, off) => reason.or(off),
    }
}
