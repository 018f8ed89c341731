//! `cargo xtask test`: the tiers, so that none spoils another. What charges a quota runs in both modes of admission, and
//! says the same in both unless it says otherwise.

mod cargo_tier;
mod regress_tier;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, ClusterOptions};
use crate::layout;
use crate::major::Major;
use crate::progress::say;
use crate::setup::{Toolbox, setup_for};
use crate::table::Table;

/// How charges are admitted, which follows from whether the library is preloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMode {
    Locked,
    Preloaded,
}

impl ServerMode {
    fn name(self) -> &'static str {
        match self {
            ServerMode::Locked => "locked",
            ServerMode::Preloaded => "preloaded",
        }
    }

    /// The name of a tier that runs in either.
    fn tier(self, kind: &str) -> String {
        match self {
            ServerMode::Locked => kind.to_string(),
            ServerMode::Preloaded => format!("{kind} preloaded"),
        }
    }
}

/// What one tier found.
#[derive(Debug, Default)]
pub struct Outcome {
    pub passed: usize,
    pub failed: usize,
    /// Tests that were there and did not run, each a failure of the tier.
    pub skipped: usize,
    /// Why the tier is not good, beyond single tests: nothing ran, something was skipped, a file is missing.
    pub problems: Vec<String>,
    /// Its tests one by one, where no log has them.
    pub list: String,
    /// What to show of the failures.
    pub details: String,
}

impl Outcome {
    /// A tier in which nothing ran has shown nothing.
    fn judged(mut self) -> Outcome {
        if self.passed + self.failed == 0 && self.problems.is_empty() {
            self.problems.push("no test ran".to_string());
        }
        self
    }

    fn failures(&self) -> usize {
        self.failed + self.problems.len()
    }

    /// Takes up what a part of the tier found.
    fn add(&mut self, part: Outcome) {
        self.passed += part.passed;
        self.failed += part.failed;
        self.skipped += part.skipped;
        self.problems.extend(part.problems);
        self.list.push_str(&part.list);
        self.details.push_str(&part.details);
    }
}

#[derive(Clone, Debug, Default)]
pub struct SuiteOptions {
    /// On which versions of Postgres, in turn.
    pub majors: Vec<Major>,
    /// Only these tiers; all when empty.
    pub tiers: Vec<String>,
    /// Shorter runs of the tests that can be had in two lengths.
    pub quick: bool,
    /// Take what golden and isolation tests print as what they should print.
    pub bless: bool,
}

/// Outside tests that run in one mode alone.
const ONCE_TIER: &str = "outside once";

pub const TIERS: [&str; 9] = [
    "core",
    "core+backend",
    "golden",
    "isolation",
    "outside",
    "golden preloaded",
    "isolation preloaded",
    "outside preloaded",
    ONCE_TIER,
];

/// What runs first, one after the other: `cargo pgrx test` installs a test build, which the installation for the others
/// replaces.
const FIRST: [&str; 2] = ["core", "core+backend"];

/// What runs then, side by side, on servers of its own: most of a test's time is waiting. As long as each other.
const LANES: [&[&str]; 3] = [
    &["golden", "isolation", "outside"],
    &["golden preloaded", "isolation preloaded", "outside preloaded"],
    &[ONCE_TIER],
];

/// Runs the tiers and prints the result. `Ok(false)` means that something failed.
pub fn run(options: &SuiteOptions) -> Result<bool> {
    if let Some(unknown) = options.tiers.iter().find(|tier| !TIERS.contains(&tier.as_str())) {
        bail!("there is no tier {unknown}; there are: {}", TIERS.join(", "));
    }
    let mut results = Vec::new();
    for major in &options.majors {
        let toolbox = setup_for(*major)?;
        let lane = |tiers: &[&'static str]| -> Vec<TierResult> {
            let wanted = tiers.iter().copied().filter(|tier| is_wanted(options, *major, tier));
            wanted.map(|tier| TierResult::of(tier, &toolbox, options)).collect()
        };
        results.extend(lane(&FIRST));
        if options.bless {
            // What one mode prints is kept where it differs from what the other has just printed.
            results.extend(LANES.iter().flat_map(|tiers| lane(tiers)));
            continue;
        }
        thread::scope(|scope| {
            let lanes = LANES.map(|tiers| scope.spawn(move || lane(tiers)));
            for lane in lanes {
                results.extend(lane.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
        });
    }
    Ok(summarise(&results))
}

struct TierResult {
    major: Major,
    tier: &'static str,
    outcome: Outcome,
    took: Duration,
}

impl TierResult {
    /// Runs the tier. What it prints comes in one piece, when it has ended.
    fn of(tier: &'static str, toolbox: &Toolbox, options: &SuiteOptions) -> TierResult {
        let (major, started) = (toolbox.postgres.major(), Instant::now());
        // A tier that cannot even start is a failed one, and the others still run.
        let outcome = run_tier(tier, toolbox, options).unwrap_or_else(|error| Outcome {
            problems: vec!["the tier did not run to its end".to_string()],
            details: format!("{error:#}"),
            ..Outcome::default()
        });
        let outcome = outcome.judged();
        say(&report(major, tier, &outcome));
        TierResult { major, tier, outcome, took: started.elapsed() }
    }
}

/// What needs no Postgres runs once, with the first version, unless it is asked for.
fn is_wanted(options: &SuiteOptions, major: Major, tier: &str) -> bool {
    if options.tiers.is_empty() {
        return tier != "core" || major == Major::default();
    }
    options.tiers.iter().any(|wanted| wanted == tier)
}

fn run_tier(tier: &str, toolbox: &Toolbox, options: &SuiteOptions) -> Result<Outcome> {
    let (kind, mode) = match tier.strip_suffix(" preloaded") {
        Some(kind) => (kind, ServerMode::Preloaded),
        None => (tier, ServerMode::Locked),
    };
    match kind {
        _ if tier == ONCE_TIER => cargo_tier::outside_once(toolbox, options.quick),
        "core" => cargo_tier::core(toolbox),
        "core+backend" => cargo_tier::backend(toolbox),
        "golden" => regress_tier::golden(&cluster(toolbox, mode)?, mode, options.bless),
        "isolation" => regress_tier::isolation(&cluster(toolbox, mode)?, mode, options.bless),
        "outside" => cargo_tier::outside(toolbox, mode, options.quick),
        _ => bail!("there is no tier {tier}"),
    }
}

fn cluster(toolbox: &Toolbox, mode: ServerMode) -> Result<Cluster> {
    let (major, preload) = (toolbox.postgres.major(), mode == ServerMode::Preloaded);
    let options = ClusterOptions { major, preload, ..ClusterOptions::default() };
    Cluster::start(options).context("cannot start the server for this tier")
}

fn report(major: Major, tier: &str, outcome: &Outcome) -> String {
    let mut text = format!("\n== {tier}, Postgres {major}\n{}", outcome.list);
    if !outcome.details.is_empty() {
        text.push_str(&format!("{}\n", outcome.details.trim_end()));
    }
    for problem in &outcome.problems {
        text.push_str(&format!("{tier}: {problem}\n"));
    }
    text + &format!("{tier}: {} passed, {} failed", outcome.passed, outcome.failures())
}

fn summarise(results: &[TierResult]) -> bool {
    let mut table = Table::new(&["Postgres", "tier", "run", "passed", "failed", "skipped", "time"]);
    for TierResult { major, tier, outcome, took } in results {
        let figures = [outcome.passed + outcome.failed, outcome.passed, outcome.failures(), outcome.skipped];
        let mut row = vec![major.to_string(), tier.to_string()];
        row.extend(figures.map(|figure| figure.to_string()));
        row.push(format!("{:.1} s", took.as_secs_f64()));
        table.row(row);
    }
    let sum = |of: fn(&Outcome) -> usize| results.iter().map(|result| of(&result.outcome)).sum::<usize>();
    let (passed, failed) = (sum(|outcome| outcome.passed), sum(Outcome::failures));
    println!("\n{}\n{passed} passed, {failed} failed, {} skipped", table.render(), sum(|outcome| outcome.skipped));
    failed == 0 && passed > 0
}

/// Where a tier leaves what it produced.
fn results_dir(major: Major, tier: &str) -> PathBuf {
    layout::target().join("test-results").join(major.to_string()).join(tier.replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_without_tests_fails() {
        assert_eq!(Outcome::default().judged().failures(), 1);
        assert_eq!(Outcome { passed: 1, ..Outcome::default() }.judged().failures(), 0);
    }

    #[test]
    fn every_tier_runs_once() {
        let mut run: Vec<&str> = FIRST.iter().chain(LANES.iter().copied().flatten()).copied().collect();
        let mut tiers = TIERS.to_vec();
        run.sort_unstable();
        tiers.sort_unstable();
        assert_eq!(run, tiers);
    }
}
