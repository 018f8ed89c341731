//! Folding on servers that preload the library or not as each test says: workers, `pg_cron`, starts of queues, and figures
//! that are exact meanwhile.

use tollgate_tests::support;

mod cron;
mod exact;
mod requests;
mod servers;
mod start;
mod worker;
#[path = "../folding/world.rs"]
mod world;
