//! Golden SQL files and isolation specs, run by Postgres' own runners, each file in a database of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Outcome, results_dir};
use crate::cluster::{Cluster, PORT, SUPERUSER};
use crate::layout;
use crate::progress::{Step, tail};
use crate::server_user::clean_environment;

/// How much of a difference is shown; all of it is in the results directory.
const DIFF_LINES: usize = 60;

struct Kind {
    tier: &'static str,
    /// Holds the inputs and `expected/`.
    inputs: PathBuf,
    subdir: &'static str,
    extension: &'static str,
    runner: PathBuf,
}

pub fn golden(cluster: &Cluster, bless: bool) -> Result<Outcome> {
    let kind = Kind {
        tier: "golden",
        inputs: layout::tests_dir().join("regress"),
        subdir: "sql",
        extension: "sql",
        runner: cluster.postgres().pg_regress(),
    };
    kind.run(cluster, bless)
}

pub fn isolation(cluster: &Cluster, bless: bool) -> Result<Outcome> {
    let kind = Kind {
        tier: "isolation",
        inputs: layout::tests_dir().join("isolation"),
        subdir: "specs",
        extension: "spec",
        runner: cluster.postgres().pg_isolation_regress(),
    };
    kind.run(cluster, bless)
}

impl Kind {
    fn run(&self, cluster: &Cluster, bless: bool) -> Result<Outcome> {
        let tests = names(&self.inputs.join(self.subdir), self.extension)?;
        let expected = names(&self.inputs.join("expected"), "out")?;
        let results = results_dir(self.tier);
        if results.exists() {
            fs::remove_dir_all(&results).with_context(|| format!("cannot remove {}", results.display()))?;
        }
        let mut outcome = Outcome { problems: forgotten(&tests, &expected), ..Outcome::default() };
        let mut step = Step::start(&format!("Files: {}", tests.len()), "about half a second each");
        for test in &tests {
            step.note(test);
            let passed = if bless || expected.contains(test) {
                self.run_one(cluster, test, &results.join(test), bless, &mut outcome.details)?
            } else {
                // It would test nothing.
                outcome.details.push_str(&format!("-- {test}\nhas no expected file; --bless makes one\n"));
                false
            };
            println!("{} {test}", if passed { "ok    " } else { "FAILED" });
            if passed { outcome.passed += 1 } else { outcome.failed += 1 }
        }
        step.done();
        Ok(outcome)
    }

    fn run_one(
        &self,
        cluster: &Cluster,
        test: &str,
        results: &Path,
        bless: bool,
        details: &mut String,
    ) -> Result<bool> {
        fs::create_dir_all(results).with_context(|| format!("cannot create {}", results.display()))?;
        let database = format!("{}_{test}", self.tier);
        cluster.create_database(&database)?;
        let output = self.command(cluster, test, results, &database).output();
        let output = output.with_context(|| format!("cannot run {}", self.runner.display()))?;
        cluster.drop_database(&database)?;
        if bless {
            let (from, to) = (results.join("results"), self.inputs.join("expected"));
            let file = format!("{test}.out");
            fs::copy(from.join(&file), to.join(&file)).with_context(|| format!("{test} printed nothing to keep"))?;
            return Ok(true);
        }
        if !output.status.success() {
            let diffs = fs::read_to_string(results.join("regression.diffs")).unwrap_or_default();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let shown = if diffs.is_empty() { tail(&said, DIFF_LINES) } else { head(&diffs, DIFF_LINES) };
            details.push_str(&format!("-- {test}\n{shown}\n"));
        }
        Ok(output.status.success())
    }

    fn command(&self, cluster: &Cluster, test: &str, results: &Path, database: &str) -> Command {
        let mut command = Command::new(&self.runner);
        clean_environment(&mut command);
        command.arg(format!("--inputdir={}", self.inputs.display())).arg(format!("--outputdir={}", results.display()));
        command.arg(format!("--bindir={}", cluster.postgres().bindir().display()));
        command.arg(format!("--host={}", cluster.dir().display())).arg(format!("--port={PORT}"));
        command.arg(format!("--user={SUPERUSER}")).arg(format!("--dbname={database}")).arg("--use-existing").arg(test);
        command.current_dir(results);
        command
    }
}

/// The files of one kind, without their extension, in order.
fn names(dir: &Path, extension: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.extension().is_some_and(|it| it == extension)
            && let Some(stem) = path.file_stem()
        {
            names.insert(stem.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Expected files whose test is gone. A second expected output is named `name_1.out`, as the runner wants it.
fn forgotten(tests: &BTreeSet<String>, expected: &BTreeSet<String>) -> Vec<String> {
    let belongs = |name: &&String| {
        let original = name.rsplit_once('_').filter(|(_, digit)| digit.len() == 1 && digit.parse::<u8>().is_ok());
        tests.contains(*name) || original.is_some_and(|(test, _)| tests.contains(test))
    };
    let strays = expected.iter().filter(|name| !belongs(name));
    strays.map(|name| format!("the expected file {name}.out belongs to no test")).collect()
}

fn head(text: &str, lines: usize) -> String {
    let more = text.lines().count().saturating_sub(lines);
    let mut shown: String = text.lines().take(lines).map(|line| format!("{line}\n")).collect();
    if more > 0 {
        shown.push_str(&format!("… and {more} lines more\n"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn an_expected_file_belongs_to_a_test() {
        assert!(forgotten(&set(&["a", "b"]), &set(&["a", "b", "b_1"])).is_empty());
        assert_eq!(forgotten(&set(&["a"]), &set(&["a", "c"])), ["the expected file c.out belongs to no test"]);
    }

    #[test]
    fn a_long_difference_is_cut() {
        assert_eq!(head("1\n2\n3\n", 2), "1\n2\n… and 1 lines more\n");
        assert_eq!(head("1\n", 2), "1\n");
    }
}
