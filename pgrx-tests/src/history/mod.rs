//! `cargo xtask history`: charges by the million over many connections, written down with their times, amounts and
//! answers. They are judged afterwards: was a limit ever passed, was anything refused that should not have been?
//!
//! Nothing is flushed to disk (`fsync = off`, `synchronous_commit = off`): the question is what is admitted, not what
//! survives, which is `cargo xtask torture`.

pub mod checker;
mod workload;

use std::time::Instant;

use anyhow::Result;

use self::checker::Findings;
use self::workload::Scene;
use crate::cluster::{Cluster, ClusterOptions};
use crate::progress;
use crate::table::Table;

#[derive(Clone, Debug)]
pub struct HistoryOptions {
    /// Charges in all scenes together.
    pub operations: u64,
    pub seed: u64,
    pub clients: u32,
    /// Whether the library is preloaded.
    pub preload: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<String>,
    pub admitted: usize,
    pub refused: usize,
}

/// Plays every scene, prints what the checker says of each, and returns what must not be.
pub fn run(options: &HistoryOptions) -> Result<Report> {
    let mode = if options.preload { "preloaded" } else { "not preloaded" };
    println!("history: seed {}, {} clients, {mode}", options.seed, options.clients);
    let cluster = Cluster::start(ClusterOptions {
        preload: options.preload,
        extra_conf: configuration(),
        ..ClusterOptions::default()
    })?;
    let mut table = Table::new(&[
        "scene",
        "operations",
        "admitted",
        "rolled back",
        "refused",
        "by what is spent",
        "by work in flight",
        "by attempts",
        "said retryable",
        "I1",
        "I2",
        "flags",
        "figures",
        "tables",
        "time",
        "a second",
    ]);
    let bar = progress::bar(options.operations, "Charging");
    let mut report = Report::default();
    for scene in Scene::ALL {
        let operations = options.operations * scene.tenths() / 10;
        let started = Instant::now();
        let played = workload::play(&cluster, scene, operations, options.seed, options.clients, &bar)?;
        let findings = checker::check(&played.history);
        let charging = played.took.as_secs_f64();
        table.row(row(scene, &findings, played.differences.len(), charging));
        eprintln!(
            "{}: {} operations, charged in {charging:.1} s, checked after {:.1} s",
            scene.name(),
            findings.operations,
            started.elapsed().as_secs_f64()
        );
        report.admitted += findings.admitted;
        report.refused += findings.refused;
        report.violations.extend(findings.violations().chain(&played.differences).cloned());
    }
    bar.finish_and_clear();
    println!("\n{}", table.render());
    println!(
        "I1: quotas that certainly counted more than their limit at some moment. I2: refusals while there was room. Shares \
         are of the refusals. fsync and synchronous_commit off."
    );
    if report.violations.is_empty() {
        println!("no violation");
    } else {
        let shown = report.violations.len().min(20);
        println!("VIOLATED, with seed {}: {} findings, of which {shown}:", options.seed, report.violations.len());
        report.violations.iter().take(shown).for_each(|violation| println!("  - {violation}"));
    }
    Ok(report)
}

fn configuration() -> Vec<(String, String)> {
    let settings = [
        ("synchronous_commit", "off"),
        ("shared_buffers", "256MB"),
        ("max_wal_size", "8GB"),
        ("checkpoint_timeout", "30min"),
    ];
    settings.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
}

fn row(scene: Scene, findings: &Findings, tables: usize, seconds: f64) -> Vec<String> {
    let share = |count: usize| {
        let percent = if findings.refused == 0 { 0.0 } else { count as f64 * 100.0 / findings.refused as f64 };
        format!("{percent:.2}%")
    };
    vec![
        scene.name().to_string(),
        findings.operations.to_string(),
        findings.admitted.to_string(),
        (findings.admitted - findings.committed).to_string(),
        findings.refused.to_string(),
        share(findings.because_of_spent),
        share(findings.because_of_flight),
        share(findings.because_of_attempts),
        share(findings.said_retryable),
        findings.overshoots.len().to_string(),
        findings.unjustified.len().to_string(),
        findings.flags.len().to_string(),
        findings.figures.len().to_string(),
        tables.to_string(),
        format!("{seconds:.1} s"),
        format!("{:.0}", findings.operations as f64 / seconds),
    ]
}
