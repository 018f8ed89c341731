//! The harness of `pg_tollgate`: sets a machine up, runs private servers that look like Supabase, and everything that
//! `cargo xtask` offers. It has no dependency on pgrx and links nothing of the extension: it speaks SQL.

mod asserting_postgres;
pub mod bench;
pub mod books;
pub mod charging;
pub mod cluster;
pub mod cluster_pool;
pub mod conversations;
pub mod crates;
mod debian;
mod debian_postgres;
pub mod demo;
pub mod documents;
pub mod examples;
pub mod exporter;
mod file_lock;
pub mod history;
pub mod install;
pub mod layout;
pub mod lifecycle;
pub mod lint;
pub mod major;
pub mod model;
pub mod package;
pub mod pgbouncer;
pub mod populated;
pub mod postgres_tree;
pub mod price_list;
pub mod progress;
pub mod reference;
pub mod release;
#[cfg(test)]
mod released;
pub mod scripts;
pub mod server_user;
pub mod session;
pub mod setup;
#[cfg(test)]
mod structure;
pub mod suite;
pub mod supabase;
pub mod support;
pub mod table;
pub mod torture;
pub mod trace;
mod watchdog;
mod wheel_postgres;
