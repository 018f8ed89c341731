//! One run of pgbench.

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, bail};

use super::DATABASE;
use crate::cluster::{Cluster, SUPERUSER};
use crate::progress::capture;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    pub transactions: i64,
    pub tps: f64,
}

/// Runs a script as `service_role`, prepared, over the socket.
pub fn run(cluster: &Cluster, script: &Path, clients: u32, seconds: u32) -> Result<Run> {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let mut command = cluster.client_program("pgbench", DATABASE, SUPERUSER);
    command.env("PGOPTIONS", "-c role=service_role");
    command.args(["-n", "-M", "prepared", "-T", &seconds.to_string(), "-c", &clients.to_string()]);
    command.args(["-j", &clients.min(cores).to_string(), "-f"]).arg(script);
    let said = capture(&mut command)?;
    let run = parse(&said).with_context(|| format!("pgbench said nothing of its speed:\n{said}"))?;
    if run.transactions == 0 {
        bail!("pgbench got no transaction through:\n{said}");
    }
    Ok(run)
}

fn parse(said: &str) -> Option<Run> {
    let after = |start: &str| said.lines().find_map(|line| line.trim().strip_prefix(start));
    let transactions = after("number of transactions actually processed: ")?.split(['/', ' ']).next()?.parse().ok()?;
    let tps = after("tps = ")?.split_whitespace().next()?.parse().ok()?;
    let failed =
        after("number of failed transactions: ").map_or("0", |rest| rest.split_whitespace().next().unwrap_or("?"));
    (failed == "0").then_some(Run { transactions, tps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found() {
        let said = "transaction type: x.sql\nnumber of transactions actually processed: 4211\n\
            number of failed transactions: 0 (0.000%)\nlatency average = 0.4 ms\ninitial connection time = 2.1 ms\n\
            tps = 2112.345678 (without initial connection time)\n";
        assert_eq!(parse(said), Some(Run { transactions: 4211, tps: 2112.345678 }));
        assert_eq!(parse(&said.replace("transactions: 0 (0.000%)", "transactions: 7 (0.1%)")), None);
        assert_eq!(parse("pgbench: error"), None);
    }
}
