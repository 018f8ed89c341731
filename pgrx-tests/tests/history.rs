//! A small run of `cargo xtask history` in each mode: no limit was passed, and every refusal was right.

use anyhow::Result;
use tollgate_tests::history::{HistoryOptions, Report, run};

const OPERATIONS: u64 = 20_000;
const SEED: u64 = 20;

#[track_caller]
fn assert_good(report: &Report) {
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.admitted + report.refused >= OPERATIONS as usize);
    // Limits must have been reached, and not at once.
    assert!(report.admitted > 5_000 && report.refused > 2_000, "{report:?}");
}

#[test]
fn a_history_of_the_locked_mode_is_good() -> Result<()> {
    assert_good(&run(&HistoryOptions { operations: OPERATIONS, seed: SEED, clients: 8, preload: false })?);
    Ok(())
}

#[test]
fn a_history_of_the_preloaded_library_is_good() -> Result<()> {
    assert_good(&run(&HistoryOptions { operations: OPERATIONS, seed: SEED, clients: 8, preload: true })?);
    Ok(())
}
