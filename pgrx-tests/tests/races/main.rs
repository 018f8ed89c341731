//! Sessions that race: a limit that admits exactly k charges admits k, in whatever order and isolation.
//!
//! After every scenario the ledger is within the limits to the nano-dollar and `verify()` is empty. A deadlock is a
//! failure everywhere; a serialization failure is retried, as clients do.

use tollgate_tests::support;

mod charger;
mod duplicates;
mod events;
mod exactly_k;
mod in_flight;
mod maintenance;
mod onboarding;
mod replication;
mod retries;
mod rollback;
