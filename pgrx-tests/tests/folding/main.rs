//! Folding that keeps up: `maintain()` and `housekeep()` take turns, end in time, and lose nothing. In the mode of the tier.

use tollgate_tests::support;

mod order;
mod turns;
mod world;
