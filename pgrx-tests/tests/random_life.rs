//! A run of `cargo xtask lifecycle` in the mode of the tier: every answer is the model's.

use anyhow::Result;
use tollgate_tests::cluster::ClusterOptions;
use tollgate_tests::lifecycle::{LifecycleOptions, run};

const STEPS: u64 = 2_000;
const SEED: u64 = 40;

#[test]
fn every_answer_of_a_random_life_is_the_models() -> Result<()> {
    let preload = ClusterOptions::default().preload;
    let report = run(&LifecycleOptions { steps: STEPS, seed: SEED, preload })?;
    assert!(report.steps >= STEPS);
    // The life must have been one: a model that expects nothing agrees with everything.
    for (what, least) in [
        ("reserve: held", 100),
        ("reserve: refused", 30),
        ("reserve again: replayed", 20),
        ("commit: within", 40),
        ("commit: late", 3),
        ("commit: overrun", 5),
        ("commit: replayed", 5),
        ("release: freed", 20),
        ("extend: extended", 30),
        ("extend: admitted again", 1),
        ("record: on a reservation", 20),
        ("refund: refunded", 20),
        ("adjust: given back", 10),
        ("maintain: marked expired", 1),
        ("verified", 40),
    ] {
        let times = report.tally.get(what).copied().unwrap_or_default();
        assert!(times >= least, "{what}: {times} times");
    }
    Ok(())
}
