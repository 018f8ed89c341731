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

/// How many personal tenants people may have made for themselves while no quota of the platform bounds them together.
static PERSONAL_TENANTS: GucSetting<i32> = GucSetting::<i32>::new(20);

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
    GucRegistry::define_int_guc(
        c"pg_tollgate.personal_tenants",
        c"How many personal tenants people may make for themselves while no hard quota of the platform bounds all tenants together.",
        c"20 (the default: each comes with a budget, and where sign-up is open one needs no more than an e-mail address). The server is not bound, nor is anybody once there is a quota of the platform for all, or for llm and e2b.",
        &PERSONAL_TENANTS,
        0,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    // SAFETY: takes a C string that lives as long as the program.
    unsafe { pg_sys::MarkGUCPrefixReserved(PREFIX.as_ptr()) }
}

pub fn allow_without_quota() -> bool {
    NO_QUOTA.get() == NoQuota::Allow
}

pub fn allow_unpriced() -> bool {
    UNPRICED.get() == Unpriced::Allow
}

pub fn tenants_per_user() -> i64 {
    TENANTS_PER_USER.get().into()
}

pub fn personal_tenants() -> i64 {
    PERSONAL_TENANTS.get().into()
}
