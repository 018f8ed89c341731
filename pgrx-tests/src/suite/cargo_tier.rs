//! Tiers that cargo runs; their result is read from its "test result" lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{ONCE_TIER, Outcome, ServerMode, results_dir};
use crate::cluster;
use crate::crates;
use crate::install;
use crate::layout;
use crate::major;
use crate::progress::{Output, run_logged};
use crate::server_user::ServerUser;
use crate::setup::Toolbox;

/// Set for the outside tests when shorter runs are wanted.
pub const QUICK: &str = "PG_TOLLGATE_QUICK";

/// Tests that no mode changes, or that start servers of the mode they are about: they run once, in a tier of their own.
const ONCE: [&str; 8] =
    ["escrow", "folding_servers", "harness", "history", "package", "reference", "signatures", "torture"];

/// Crates without Postgres.
pub fn core(toolbox: &Toolbox) -> Result<Outcome> {
    crates::check_complete(toolbox)?;
    let mut outcome = Outcome::default();
    for core in crates::CORE {
        let dir = results_dir(toolbox.postgres.major(), "core");
        let found = run(&core.name(), "about a minute the first time", &dir, &mut core.test(toolbox))?;
        if found.passed == 0 {
            outcome.problems.push(format!("{}: no test passed", core.name()));
        }
        outcome.add(found);
    }
    Ok(outcome)
}

/// Unit tests of the pure core and `#[pg_test]`s inside a server, which cargo-pgrx starts itself.
pub fn backend(toolbox: &Toolbox) -> Result<Outcome> {
    let user = ServerUser::detect()?;
    let plain = toolbox.cargo_pgrx("test");
    let mut command = user.command(plain.get_program().as_ref());
    command.args(plain.get_args()).current_dir(layout::root());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let major = toolbox.postgres.major();
    command.arg(major.feature());
    let dir = results_dir(major, "core+backend");
    run("Unit tests and tests inside the server", "about 4 minutes the first time", &dir, &mut command)
}

/// This crate's own tests, which reach a server as clients do.
pub fn outside(toolbox: &Toolbox, mode: ServerMode, quick: bool) -> Result<Outcome> {
    let mut tests = test_targets()?;
    tests.retain(|test| !ONCE.contains(&test.as_str()));
    let title = format!("Tests from outside, over real connections, {}", mode.name());
    run_outside(toolbox, mode, quick, &mode.tier("outside"), &title, &tests)
}

/// Those that need not run in both modes, and what needs no server.
pub fn outside_once(toolbox: &Toolbox, quick: bool) -> Result<Outcome> {
    let tests = test_targets()?;
    let missing = ONCE.iter().filter(|test| !tests.contains(**test));
    let problems: Vec<String> = missing.map(|test| format!("there is no test {test}")).collect();
    let tests = ONCE.map(str::to_string).into_iter().filter(|test| tests.contains(test)).collect();
    let title = "Tests from outside that run in one mode";
    let mut outcome = run_outside(toolbox, ServerMode::Preloaded, quick, ONCE_TIER, title, &tests)?;
    outcome.problems.extend(problems);
    Ok(outcome)
}

fn run_outside(
    toolbox: &Toolbox,
    mode: ServerMode,
    quick: bool,
    tier: &str,
    title: &str,
    tests: &BTreeSet<String>,
) -> Result<Outcome> {
    let major = toolbox.postgres.major();
    install::ensure_for(major)?;
    let mut command = toolbox.cargo();
    command.args(["test", "-p", "pg_tollgate-tests", "--no-fail-fast"]);
    if tier == ONCE_TIER {
        command.arg("--lib");
    }
    for test in tests {
        command.args(["--test", test]);
    }
    // What tests count of shapes, names and lists is worth reading also when it is right.
    command.args(["--", "--show-output"]);
    command.env(major::VARIABLE, major.to_string()).env(install::INSTALLED, major.to_string());
    if mode == ServerMode::Preloaded {
        command.env(cluster::PRELOAD, "1");
    }
    if quick {
        command.env(QUICK, "1");
    }
    run(title, "about ten minutes", &results_dir(major, tier), &mut command)
}

/// The test binaries, as cargo finds them.
fn test_targets() -> Result<BTreeSet<String>> {
    let dir = layout::tests_dir().join("tests");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        let is_target = path.join("main.rs").is_file() || path.extension().is_some_and(|it| it == "rs");
        names.extend(path.file_stem().filter(|_| is_target).map(|stem| stem.to_string_lossy().into_owned()));
    }
    Ok(names)
}

fn run(title: &str, usual: &str, dir: &Path, command: &mut Command) -> Result<Outcome> {
    let output = run_logged(title, usual, &dir.join(format!("{}.log", file_name(title))), command)?;
    Ok(judge(&output.text, output.status.success(), &output))
}

fn file_name(title: &str) -> String {
    title.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect()
}

fn judge(text: &str, success: bool, output: &Output) -> Outcome {
    let counts = count(text);
    let skipped = counts.ignored + counts.filtered;
    let mut outcome = Outcome { passed: counts.passed, failed: counts.failed, skipped, ..Outcome::default() };
    outcome.details = counted(text);
    if counts.ignored > 0 {
        outcome.problems.push(format!("{} tests are ignored; a test that does not run is not one", counts.ignored));
    }
    if counts.filtered > 0 {
        outcome.problems.push(format!("{} tests were filtered out", counts.filtered));
    }
    if !success && counts.failed == 0 {
        outcome.problems.push(format!("cargo ended with {}", output.status));
    }
    if !success {
        outcome.details.push_str(&failures(text).unwrap_or_else(|| output.tail()));
    }
    outcome
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    filtered: usize,
}

/// Adds up lines such as `test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s`.
fn count(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
        let (_, figures) = line.split_once(". ").unwrap_or(("", line));
        for figure in figures.split(';') {
            let mut words = figure.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => counts.passed += number,
                "failed" => counts.failed += number,
                "ignored" => counts.ignored += number,
                "filtered" => counts.filtered += number,
                _ => {}
            }
        }
    }
    counts
}

/// The lines that tests print of what they have counted.
fn counted(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("counted: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The sections that the test runner prints under "failures:", bounded; nothing when it printed none.
fn failures(text: &str) -> Option<String> {
    const LINES: usize = 120;
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(|line| *line == "failures:")?;
    let wanted = lines[first..].iter().filter(|line| !line.starts_with("test ") || !line.ends_with("... ok"));
    let shown: Vec<&str> = wanted.copied().take(LINES).collect();
    Some(shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let text = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
            noise\n\
            test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 5 filtered out; finished in 1.00s\n";
        assert_eq!(count(text), Counts { passed: 4, failed: 2, ignored: 4, filtered: 5 });
        assert_eq!(count("error: could not compile"), Counts::default());
    }

    #[test]
    fn what_was_counted_is_shown() {
        assert_eq!(counted("running 1 test\ncounted: names: 3 of 4 right\nother\n"), "names: 3 of 4 right\n");
    }

    #[test]
    fn failures_are_cut_out() {
        let text = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nboom\ntest c ... ok\n";
        assert_eq!(failures(text).as_deref(), Some("failures:\n\n---- b stdout ----\nboom"));
        assert_eq!(failures("error[E0308]"), None);
    }
}
