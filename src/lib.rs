//! `pg_tollgate` meters and limits what AI features cost, inside the database.
//!
//! Data flows one way: SQL facade (`sql/schema/facade_*.sql`) → kernel ([`admission`], [`ledger`], [`tenancy`]) →
//! pure decision (the crate [`tollgate_core`]) → ledger. ARCHITECTURE.md names the invariants.

use pgrx::pg_guard;

mod admission;
mod api;
mod arguments;
mod cache;
mod conversations;
mod error;
mod ledger;
mod outbox;
mod pg;
mod pricing;
mod quota;
mod settings;
mod tenancy;
mod version;
mod worker;

pgrx::pg_module_magic!(name, version);

pgrx::extension_sql_file!("../sql/schema/roles.sql", name = "roles", bootstrap);
pgrx::extension_sql_file!("../sql/schema/identity.sql", name = "identity", requires = ["roles"]);
pgrx::extension_sql_file!("../sql/schema/tenants.sql", name = "tenants", requires = ["identity"]);
pgrx::extension_sql_file!("../sql/schema/llm_policies.sql", name = "llm_policies", requires = ["tenants"]);
pgrx::extension_sql_file!("../sql/schema/pricing.sql", name = "pricing", requires = ["llm_policies"]);
pgrx::extension_sql_file!("../sql/schema/quotas.sql", name = "quotas", requires = ["pricing"]);
pgrx::extension_sql_file!("../sql/schema/retention.sql", name = "retention", requires = ["quotas"]);
pgrx::extension_sql_file!("../sql/schema/ledger.sql", name = "ledger", requires = ["retention"]);
pgrx::extension_sql_file!("../sql/schema/reservations.sql", name = "reservations", requires = ["ledger"]);
pgrx::extension_sql_file!("../sql/schema/rollup.sql", name = "rollup", requires = ["reservations"]);
pgrx::extension_sql_file!("../sql/schema/housekeeping.sql", name = "housekeeping", requires = ["rollup"]);
pgrx::extension_sql_file!("../sql/schema/invalidation.sql", name = "invalidation", requires = ["housekeeping"]);
pgrx::extension_sql_file!("../sql/schema/monitoring.sql", name = "monitoring", requires = ["invalidation"]);
pgrx::extension_sql_file!("../sql/schema/price_list.sql", name = "price_list", requires = ["monitoring"]);
pgrx::extension_sql_file!("../sql/schema/cost_reading.sql", name = "cost_reading", requires = ["price_list"]);
pgrx::extension_sql_file!("../sql/schema/events.sql", name = "events", requires = ["cost_reading"]);
pgrx::extension_sql_file!("../sql/schema/facade_check.sql", name = "facade_check", requires = ["events"]);
pgrx::extension_sql_file!("../sql/schema/facade_record.sql", name = "facade_record", requires = ["facade_check"]);
pgrx::extension_sql_file!("../sql/schema/facade_reserve.sql", name = "facade_reserve", requires = ["facade_record"]);
pgrx::extension_sql_file!("../sql/schema/facade_correct.sql", name = "facade_correct", requires = ["facade_reserve"]);
pgrx::extension_sql_file!("../sql/schema/facade_read.sql", name = "facade_read", requires = ["facade_correct"]);
pgrx::extension_sql_file!("../sql/schema/facade_quotas.sql", name = "facade_quotas", requires = ["facade_read"]);
pgrx::extension_sql_file!("../sql/schema/facade_prices.sql", name = "facade_prices", requires = ["facade_quotas"]);
pgrx::extension_sql_file!("../sql/schema/facade_usage.sql", name = "facade_usage", requires = ["facade_prices"]);
pgrx::extension_sql_file!("../sql/schema/charge_on_insert.sql", name = "charge_on_insert", requires = ["facade_usage"]);
pgrx::extension_sql_file!("../sql/schema/facade_tenants.sql", name = "facade_tenants", requires = ["charge_on_insert"]);
pgrx::extension_sql_file!("../sql/schema/moving.sql", name = "moving", requires = ["facade_tenants"]);
pgrx::extension_sql_file!("../sql/schema/erasure.sql", name = "erasure", requires = ["moving"]);
pgrx::extension_sql_file!("../sql/schema/export.sql", name = "export", requires = ["erasure"]);
pgrx::extension_sql_file!("../sql/schema/purge.sql", name = "purge", requires = ["export"]);
pgrx::extension_sql_file!("../sql/schema/metrics.sql", name = "metrics", requires = ["purge"]);
pgrx::extension_sql_file!("../sql/schema/router.sql", name = "router", requires = ["metrics"]);
pgrx::extension_sql_file!("../sql/schema/router_citus.sql", name = "router_citus", requires = ["router"]);
pgrx::extension_sql_file!("../sql/schema/grants.sql", name = "grants", requires = ["router_citus"], finalize);

/// Runs once in every backend that loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // Where RUST_BACKTRACE is set, the DETAIL of Postgres' own errors would end with a backtrace, for every client to read.
    // SAFETY: a process of Postgres has one thread.
    unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    pg::invalidation::register();
    pg::transaction::register();
    pg::notify::register();
    pg::drop_guard::register();
    // SAFETY: reads a variable of the process.
    let preloaded = unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress };
    if preloaded {
        pg::memory::register();
        worker::register();
    }
    // The last of the settings: it reserves their prefix, and what is not known by then is dropped.
    settings::register(preloaded.then_some(pg::stored_settings::find_mistake));
}

#[cfg(any(test, feature = "pg_test"))]
mod pg_tests;

/// Asked for by `cargo pgrx test`.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    pub fn postgresql_conf_options() -> Vec<&'static str> {
        Vec::new()
    }
}
