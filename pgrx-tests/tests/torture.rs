//! A short run of `cargo xtask torture` in each mode: every kind of crash once, with the plan of one seed.

use anyhow::Result;
use tollgate_tests::torture::{Report, TortureOptions, run};

const SEED: u64 = 20;

fn torture(preload: bool) -> Result<Report> {
    run(&TortureOptions {
        time: None,
        cycles: Some(5),
        seed: SEED,
        clients: 8,
        preload,
        // The fifth cycle ends with a change of the mode, so each of these runs sees both.
        switch_modes: true,
    })
}

#[track_caller]
fn assert_kept(report: &Report) {
    assert_eq!(report.violations, Vec::<String>::new());
    // A run in which nothing was charged or nothing refused has shown nothing.
    assert_eq!(report.cycles(), 5);
    assert!(report.admitted() > 200, "only {} charges were admitted", report.admitted());
    assert!(report.refused() > 10, "only {} charges were refused", report.refused());
}

#[test]
fn no_promise_breaks_under_crashes_in_the_locked_mode() -> Result<()> {
    assert_kept(&torture(false)?);
    Ok(())
}

#[test]
fn no_promise_breaks_under_crashes_when_preloaded() -> Result<()> {
    assert_kept(&torture(true)?);
    Ok(())
}
