//! One run of pgbench: prepared statements over the Unix socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::cluster::{Cluster, SUPERUSER};
use crate::progress::tail;

/// Seconds at the start of a run that its speed leaves out: sessions fork, fill their caches and plan their statements.
pub const WARM_UP: u32 = 1;

/// A script and the user that runs it, against one database.
pub struct Job<'a> {
    pub cluster: &'a Cluster,
    pub database: &'a str,
    /// Settings of the sessions, the role among them; values without spaces.
    pub settings: &'a [(&'a str, &'a str)],
    pub script: &'a Path,
    pub variables: &'a [(&'a str, String)],
}

#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// This long, after the warm-up.
    Seconds(u32),
    /// This many transactions of each client.
    Transactions(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// All of them, those of the warm-up included.
    pub transactions: i64,
    /// Transactions a second after the warm-up.
    pub tps: f64,
}

impl Job<'_> {
    pub fn run(&self, clients: u32, length: Length) -> Result<Run> {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u32).min(clients);
        let mut command = self.cluster.client_program("pgbench", self.database, SUPERUSER);
        let options: Vec<String> = self.settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        command.env("PGOPTIONS", options.join(" "));
        command.args(["-n", "-M", "prepared", "-P", "1", "-c", &clients.to_string(), "-j", &threads.to_string()]);
        match length {
            Length::Seconds(seconds) => command.args(["-T", &(seconds + WARM_UP).to_string()]),
            Length::Transactions(each) => command.args(["-t", &each.to_string()]),
        };
        for (name, value) in self.variables {
            command.arg("-D").arg(format!("{name}={value}"));
        }
        command.arg("-f").arg(self.script);
        let output = command.stdin(Stdio::null()).output().context("cannot run pgbench")?;
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let run = parse(&said).filter(|run| output.status.success() && run.transactions > 0);
        match run {
            Some(run) => Ok(run),
            None => bail!("pgbench did not get all of its transactions through:\n{}", tail(&said, 20)),
        }
    }
}

/// The figures, unless a transaction failed or a client gave up.
fn parse(said: &str) -> Option<Run> {
    let after = |start: &str| said.lines().find_map(|line| line.trim().strip_prefix(start));
    let first = |text: &str| text.split([' ', '/']).next().and_then(|word| word.parse::<f64>().ok());
    let transactions = first(after("number of transactions actually processed: ")?)? as i64;
    let failed = after("number of failed transactions: ").is_some_and(|rest| first(rest) != Some(0.0));
    if failed || said.contains("Run was aborted") {
        return None;
    }
    let warm: Vec<f64> = said.lines().filter_map(progress).skip(WARM_UP as usize).collect();
    let tps = match warm.len() {
        // Too short a run to leave anything out.
        0 => first(after("tps = ")?)?,
        seconds => warm.iter().sum::<f64>() / seconds as f64,
    };
    Some(Run { transactions, tps })
}

/// The speed in a line such as `progress: 2.0 s, 2733.2 tps, lat 0.366 ms stddev 0.074, 0 failed`.
fn progress(line: &str) -> Option<f64> {
    let (_, rest) = line.strip_prefix("progress: ")?.split_once(" s, ")?;
    rest.split_once(" tps")?.0.parse().ok()
}

/// The scripts of one group of measurements, gone with it.
pub struct Scripts {
    dir: TempDir,
}

impl Scripts {
    pub fn new() -> Result<Scripts> {
        Ok(Scripts { dir: tempfile::tempdir().context("cannot create a directory for pgbench's scripts")? })
    }

    pub fn add(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.sql"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "progress: 1.0 s, 100.0 tps, lat 9.0 ms stddev 1.0, 0 failed\n\
        progress: 2.0 s, 2000.5 tps, lat 0.4 ms stddev 0.1, 0 failed\n\
        progress: 3.0 s, 2001.5 tps, lat 0.4 ms stddev 0.1, 0 failed\n\
        transaction type: x.sql\nnumber of transactions actually processed: 4211\n\
        number of failed transactions: 0 (0.000%)\nlatency average = 0.4 ms\ninitial connection time = 2.1 ms\n\
        tps = 1367.345678 (without initial connection time)\n";

    #[test]
    fn the_warm_up_is_left_out_of_the_speed() {
        assert_eq!(parse(SAID), Some(Run { transactions: 4211, tps: 2001.0 }));
    }

    #[test]
    fn a_run_too_short_for_that_counts_whole() {
        let short: String =
            SAID.lines().filter(|line| !line.starts_with("progress")).map(|it| format!("{it}\n")).collect();
        assert_eq!(parse(&short), Some(Run { transactions: 4211, tps: 1367.345678 }));
    }

    #[test]
    fn failures_give_no_figure() {
        assert_eq!(parse(&SAID.replace("transactions: 0 (0.000%)", "transactions: 7 (0.1%)")), None);
        assert_eq!(parse(&format!("{SAID}pgbench: error: Run was aborted; the above results are incomplete.")), None);
        assert_eq!(parse("pgbench: error"), None);
    }
}
