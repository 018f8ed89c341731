//! `cargo xtask bench`: charge-and-record on one hot tenant, against a bare insert of the same row and against the
//! obvious way, a locked row per quota. All three in one run on one server, taking turns.

mod pgbench;
mod workload;

use anyhow::{Result, bail};

use self::workload::{Kind, Workload};
use crate::cluster::{Cluster, ClusterOptions};
use crate::progress::Step;
use crate::table::Table;

const DATABASE: &str = "postgres";

#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Length of one measurement.
    pub seconds: u32,
    /// Numbers of connections.
    pub clients: Vec<u32>,
    /// Measurements of which the median is shown.
    pub rounds: u32,
}

pub fn run(options: &BenchOptions) -> Result<()> {
    if options.clients.iter().any(|clients| !(1..=150).contains(clients)) {
        bail!("--clients takes numbers from 1 to 150");
    }
    let cluster =
        Cluster::start(ClusterOptions { fsync: true, extra_conf: configuration(), ..ClusterOptions::default() })?;
    let workload = Workload::prepare(&cluster)?;
    let mut table = Table::new(&[
        "clients",
        "bare insert tps",
        "locked-row baseline tps",
        "pg_tollgate record tps",
        "ratio to bare",
        "ratio to baseline",
    ]);
    let measurements = options.clients.len() as u32 * options.rounds * 3;
    let usual = format!("{measurements} measurements, about {} s", measurements * (options.seconds + 1));
    let mut step = Step::start("Measuring", &usual);
    for clients in &options.clients {
        let [bare, baseline, tollgate] = measure(&cluster, &workload, *clients, options, &mut step)?;
        table.row(vec![
            clients.to_string(),
            format!("{bare:.0}"),
            format!("{baseline:.0}"),
            format!("{tollgate:.0}"),
            format!("{:.2}", tollgate / bare),
            format!("{:.2}", tollgate / baseline),
        ]);
    }
    step.done();
    println!("{}", table.render());
    println!(
        "Transactions a second: medians of {} measurements of {} s each, taking turns; pgbench -M prepared, Unix socket, \
         fsync on, {}. One hot tenant under two quotas (llm, all); each transaction writes one full cost record with usage, \
         price breakdown and request id into a table with the same indexes.",
        options.rounds,
        options.seconds,
        cluster.postgres().version()?
    );
    Ok(())
}

/// Checkpoints are left out of the measurements: with rows as wide as these they would come at random moments.
fn configuration() -> Vec<(String, String)> {
    let settings = [("shared_buffers", "256MB"), ("max_wal_size", "8GB"), ("checkpoint_timeout", "30min")];
    settings.map(|(name, value)| (name.to_string(), value.to_string())).to_vec()
}

/// Medians in the order of `Kind::ALL`.
fn measure(
    cluster: &Cluster,
    workload: &Workload,
    clients: u32,
    options: &BenchOptions,
    step: &mut Step,
) -> Result<[f64; 3]> {
    let mut results: [Vec<f64>; 3] = Default::default();
    for round in 1..=options.rounds {
        for (kind, results) in Kind::ALL.into_iter().zip(&mut results) {
            step.note(&format!("{clients} clients, round {round}: {}", kind.name()));
            results.push(workload.measure(cluster, kind, clients, options.seconds)?);
        }
    }
    Ok(results.map(|mut values| median(&mut values)))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
