//! Golden SQL files and isolation specs, run by Postgres' own runners, each file in a database of its own.
//!
//! Both modes run every file and expect what is in `expected/`. Where the preloaded library rightly says something else,
//! because it does not make others wait, that is in `expected_preloaded/`. What Postgres 17 and later print otherwise is in
//! `expected_pg17/`, and so for each version; EXPLAIN changes with it. A file about one mode says so in a line
//! `mode: locked` or `mode: preloaded` of a comment, and runs in that one only.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Outcome, ServerMode, results_dir};
use crate::cluster::{Cluster, PORT, SUPERUSER};
use crate::layout;
use crate::major::Major;
use crate::progress::{Step, tail};
use crate::server_user::clean_environment;

/// How much of a difference is shown; all of it is in the results directory.
const DIFF_LINES: usize = 60;

struct FileTier {
    /// `golden` or `isolation`.
    name: &'static str,
    mode: ServerMode,
    major: Major,
    /// Holds the inputs, `expected/`, `expected_preloaded/` and those of versions.
    inputs: PathBuf,
    subdir: &'static str,
    extension: &'static str,
    runner: PathBuf,
}

pub fn golden(cluster: &Cluster, mode: ServerMode, bless: bool) -> Result<Outcome> {
    let kind = FileTier {
        name: "golden",
        mode,
        major: cluster.postgres().major(),
        inputs: layout::tests_dir().join("regress"),
        subdir: "sql",
        extension: "sql",
        runner: cluster.postgres().pg_regress(),
    };
    kind.run(cluster, bless)
}

pub fn isolation(cluster: &Cluster, mode: ServerMode, bless: bool) -> Result<Outcome> {
    let kind = FileTier {
        name: "isolation",
        mode,
        major: cluster.postgres().major(),
        inputs: layout::tests_dir().join("isolation"),
        subdir: "specs",
        extension: "spec",
        runner: cluster.postgres().pg_isolation_regress(),
    };
    kind.run(cluster, bless)
}

impl FileTier {
    fn run(&self, cluster: &Cluster, bless: bool) -> Result<Outcome> {
        let tests = self.tests()?;
        let results = results_dir(self.major, &self.mode.tier(self.name));
        if results.exists() {
            fs::remove_dir_all(&results).with_context(|| format!("cannot remove {}", results.display()))?;
        }
        let mut outcome = Outcome { problems: self.forgotten()?, ..Outcome::default() };
        let title = format!("Files of {}: {}", self.mode.tier(self.name), tests.len());
        let mut step = Step::start(&title, "about half a second each");
        for test in &tests {
            step.note(test);
            let passed = if bless || self.expected(test).is_file() {
                self.run_one(cluster, test, &results.join(test), bless, &mut outcome.details)?
            } else {
                // It would test nothing.
                outcome.details.push_str(&format!("-- {test}\nhas no expected file; --bless makes one\n"));
                false
            };
            outcome.list.push_str(&format!("{} {test}\n", if passed { "ok    " } else { "FAILED" }));
            if passed { outcome.passed += 1 } else { outcome.failed += 1 }
        }
        step.done();
        Ok(outcome)
    }

    /// The files that run in this mode.
    fn tests(&self) -> Result<BTreeSet<String>> {
        let mut tests = self.all()?;
        let mut of_mode = BTreeSet::new();
        while let Some(test) = tests.pop_first() {
            let only = self.only(&test)?;
            if only.is_none_or(|only| only == self.mode) {
                of_mode.insert(test);
            }
        }
        Ok(of_mode)
    }

    fn all(&self) -> Result<BTreeSet<String>> {
        names(&self.inputs.join(self.subdir), self.extension)
    }

    /// The only mode of a file that names one.
    fn only(&self, test: &str) -> Result<Option<ServerMode>> {
        let path = self.inputs.join(self.subdir).join(format!("{test}.{}", self.extension));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        only_mode(&text).with_context(|| format!("{}", path.display()))
    }

    /// Where a file's expected output is for this mode.
    fn expected(&self, test: &str) -> PathBuf {
        let own = self.own_expected(test);
        if self.mode == ServerMode::Preloaded && own.is_file() { own } else { self.expected_of_version(test) }
    }

    /// What the version, or the last one before that printed otherwise, is to print.
    fn expected_of_version(&self, test: &str) -> PathBuf {
        let until = Major::ALL.into_iter().rev().filter(|major| *major <= self.major);
        let found = until.map(|major| self.version_expected(major, test)).find(|path| path.is_file());
        found.unwrap_or_else(|| self.common_expected(test))
    }

    fn version_expected(&self, major: Major, test: &str) -> PathBuf {
        self.inputs.join(format!("expected_{}", major.feature())).join(format!("{test}.out"))
    }

    fn common_expected(&self, test: &str) -> PathBuf {
        self.inputs.join("expected").join(format!("{test}.out"))
    }

    fn own_expected(&self, test: &str) -> PathBuf {
        self.inputs.join("expected_preloaded").join(format!("{test}.out"))
    }

    /// Expected files that no test is compared with, or that repeat what the other mode expects.
    fn forgotten(&self) -> Result<Vec<String>> {
        let all = self.all()?;
        let common = names(&self.inputs.join("expected"), "out")?;
        let mut problems = strays("expected", &all, &common);
        let dir = self.inputs.join("expected_preloaded");
        let own = if dir.is_dir() { names(&dir, "out")? } else { BTreeSet::new() };
        problems.extend(strays("expected_preloaded", &all, &own));
        for major in Major::ALL {
            let dir = format!("expected_{}", major.feature());
            let path = self.inputs.join(&dir);
            let of_version = if path.is_dir() { names(&path, "out")? } else { BTreeSet::new() };
            problems.extend(strays(&dir, &all, &of_version));
        }
        for test in own.iter().filter(|test| all.contains(*test)) {
            let same =
                common.contains(test) && fs::read(self.own_expected(test))? == fs::read(self.common_expected(test))?;
            if same || self.only(test)?.is_some() {
                problems.push(format!("expected_preloaded/{test}.out is needless: expected/ is for both modes"));
            }
        }
        Ok(problems)
    }

    fn run_one(
        &self,
        cluster: &Cluster,
        test: &str,
        results: &Path,
        bless: bool,
        details: &mut String,
    ) -> Result<bool> {
        // The runners look for what is expected beside their results first.
        let expected = results.join("expected");
        fs::create_dir_all(&expected).with_context(|| format!("cannot create {}", expected.display()))?;
        if !bless {
            let (from, to) = (self.expected(test), expected.join(format!("{test}.out")));
            fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        let database = format!("{}_{test}", self.name);
        cluster.create_database(&database)?;
        let output = self.command(cluster, test, results, &database).output();
        let output = output.with_context(|| format!("cannot run {}", self.runner.display()))?;
        cluster.drop_database(&database)?;
        if bless {
            self.bless(test, &results.join("results").join(format!("{test}.out")))?;
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

    /// What the locked mode prints, and a file of one mode, is expected of both; the preloaded one keeps what differs.
    fn bless(&self, test: &str, printed: &Path) -> Result<()> {
        let printed = fs::read(printed).with_context(|| format!("{test} printed nothing to keep"))?;
        if self.major != Major::default() {
            return self.bless_version(test, &printed);
        }
        let (common, own) = (self.common_expected(test), self.own_expected(test));
        let is_own = self.mode == ServerMode::Preloaded && self.only(test)?.is_none() && common.is_file();
        if is_own && fs::read(&common)? == printed {
            if own.is_file() {
                fs::remove_file(&own).with_context(|| format!("cannot remove {}", own.display()))?;
            }
            return Ok(());
        }
        let file = if is_own { own } else { common };
        fs::create_dir_all(file.parent().unwrap_or(&self.inputs))?;
        fs::write(&file, printed).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What is kept is what the version prints and the one before does not.
    fn bless_version(&self, test: &str, printed: &[u8]) -> Result<()> {
        if fs::read(self.expected(test)).is_ok_and(|expected| expected == printed) {
            return Ok(());
        }
        let file = self.version_expected(self.major, test);
        fs::create_dir_all(file.parent().unwrap_or(&self.inputs))?;
        fs::write(&file, printed).with_context(|| format!("cannot write {}", file.display()))
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

/// The mode that a file names in a comment.
fn only_mode(text: &str) -> Result<Option<ServerMode>> {
    let comments = text.lines().filter(|line| line.starts_with(['#', '-']));
    let Some(said) =
        comments.map(|line| line.trim_start_matches(['#', '-', ' '])).find_map(|it| it.strip_prefix("mode: "))
    else {
        return Ok(None);
    };
    let mode = [ServerMode::Locked, ServerMode::Preloaded].into_iter().find(|mode| mode.name() == said.trim());
    Ok(Some(mode.with_context(|| format!("there is no mode {said}"))?))
}

/// Expected files whose test is gone.
fn strays(dir: &str, tests: &BTreeSet<String>, expected: &BTreeSet<String>) -> Vec<String> {
    expected.difference(tests).map(|name| format!("the file {dir}/{name}.out belongs to no test")).collect()
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
        assert!(strays("expected", &set(&["a", "b"]), &set(&["a", "b"])).is_empty());
        let found = strays("expected", &set(&["a"]), &set(&["a", "c"]));
        assert_eq!(found, ["the file expected/c.out belongs to no test"]);
    }

    #[test]
    fn a_file_names_its_mode_in_a_comment() {
        let mode = |text| only_mode(text).map_err(|error| error.to_string());
        assert_eq!(mode("# About something.\n# mode: preloaded\n"), Ok(Some(ServerMode::Preloaded)));
        assert_eq!(mode("-- mode: locked\nselect 1;\n"), Ok(Some(ServerMode::Locked)));
        assert_eq!(mode("select 'in any mode: locked';\n"), Ok(None));
        assert!(mode("# mode: preload\n").is_err());
    }

    #[test]
    fn a_long_difference_is_cut() {
        assert_eq!(head("1\n2\n3\n", 2), "1\n2\n… and 1 lines more\n");
        assert_eq!(head("1\n", 2), "1\n");
    }
}
