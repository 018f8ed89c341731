//! `cargo xtask model`: the escrow protocol in all interleavings, and each of its rules by the mutant without it.

use std::time::Instant;

use anyhow::{Result, bail};
use tollgate_model::check::{Check, Verdict, checks, run as explore};

use crate::table::Table;

#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    /// Only these models; all when empty.
    pub only: Vec<String>,
    /// Show the shortest way to each violation, also of mutants.
    pub trace: bool,
}

/// Explores and prints the result. `Ok(false)` means that the design is violated, or a mutant was not caught.
pub fn run(options: &ModelOptions) -> Result<bool> {
    let all = checks();
    if let Some(unknown) = options.only.iter().find(|name| all.iter().all(|check| check.model() != name.as_str())) {
        let mut names: Vec<&str> = all.iter().map(Check::model).collect();
        names.dedup();
        bail!("there is no model {unknown}; there are: {}", names.join("; "));
    }
    let wanted = |check: &Check| options.only.is_empty() || options.only.iter().any(|name| name == check.model());
    let wanted: Vec<Check> = all.into_iter().filter(wanted).collect();
    let started = Instant::now();
    let verdicts = explore(&wanted, |verdict| {
        if !verdict.is_good() {
            println!("{}: {}", name(verdict), verdict.result());
        }
    });
    let mut table = Table::new(&["model / mutant", "states", "depth", "time", "result"]);
    for verdict in &verdicts {
        let states = verdict.states.to_string();
        let time = format!("{:.1} s", verdict.took.as_secs_f64());
        table.row(vec![name(verdict), states, verdict.depth.to_string(), time, verdict.result()]);
    }
    println!("{}", table.render());
    for verdict in verdicts.iter().filter(|verdict| options.trace || !verdict.is_good()) {
        show(verdict);
    }
    let bad = verdicts.iter().filter(|verdict| !verdict.is_good()).count();
    let models = verdicts.iter().filter(|verdict| verdict.check.mutant.is_none()).count();
    let mutants = verdicts.len() - models;
    println!(
        "{models} models, {mutants} mutants, {bad} not as they should be, {:.0} s",
        started.elapsed().as_secs_f64()
    );
    Ok(bad == 0 && !verdicts.is_empty())
}

fn name(verdict: &Verdict) -> String {
    match verdict.check.mutant {
        None => verdict.check.model().to_string(),
        Some(mutant) => format!("  {mutant:?}"),
    }
}

fn show(verdict: &Verdict) {
    println!("{}, {}: {}", verdict.check.model(), verdict.check.says(), verdict.result());
    for step in verdict.violation.iter().flat_map(|it| &it.trace) {
        println!("    {step}");
    }
}
