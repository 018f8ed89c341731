//! Folding that keeps up: `maintain()`, `housekeep()` and the workers take turns, end in time, stand in nobody's way,
//! and lose nothing.

use tollgate_tests::support;

mod cron;
mod exact;
mod order;
mod requests;
mod start;
mod turns;
mod worker;
mod world;
