//! Settings. Each weakens a limit in one of its values, so only a superuser may change it.

use std::ffi::CStr;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum, pg_sys};

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

/// Whether a ledger table that has rows may be dropped by anything but DROP EXTENSION.
static DROP_LEDGER: GucSetting<bool> = GucSetting::<bool>::new(false);

const PREFIX: &CStr = c"pg_tollgate";

pub fn register() {
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
    GucRegistry::define_int_guc(
        c"pg_tollgate.tenants_per_user",
        c"How many tenants a signed-in user may make with create_tenant.",
        c"0 (the default: every tenant comes with a budget, so who could make them at will would have no limit). Deleted ones count.",
        &TENANTS_PER_USER,
        0,
        10_000,
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
    // SAFETY: takes a C string that lives as long as the program.
    unsafe { pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr()) }
}

pub fn allow_without_quota() -> bool {
    NO_QUOTA.get() == NoQuota::Allow
}

pub fn may_drop_ledger() -> bool {
    DROP_LEDGER.get()
}

pub fn allow_unpriced() -> bool {
    UNPRICED.get() == Unpriced::Allow
}

pub fn tenants_per_user() -> i64 {
    TENANTS_PER_USER.get().into()
}
