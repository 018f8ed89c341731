//! What was released is never edited: `sql/released/` holds each version's install script, and `SHA256SUMS` what was in
//! them when they were frozen. Upgrade scripts of released versions are frozen with them.
//!
//! Nothing is released yet, so nothing is frozen. RELEASING.md says when a script is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::layout;

const SUMS: &str = "SHA256SUMS";

#[test]
fn released_scripts_are_as_they_were() {
    let dir = layout::root().join("sql/released");
    assert_eq!(edited(&dir), Vec::<String>::new());
    if layout::root().join(".git").exists() {
        assert_eq!(changed_in_history("sql/released"), "", "commits that change or remove what was released");
    }
}

#[test]
fn an_edit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(edited(&dir.path().join("none")), Vec::<String>::new());
    let script = dir.path().join("a--1.sql");
    fs::write(&script, "select 1;\n").unwrap();
    assert_eq!(edited(dir.path()), ["a--1.sql has no sum"]);
    let sums = Command::new("sha256sum").arg("a--1.sql").current_dir(dir.path()).output().unwrap();
    fs::write(dir.path().join(SUMS), sums.stdout).unwrap();
    assert_eq!(edited(dir.path()), Vec::<String>::new());
    fs::write(&script, "select 2;\n").unwrap();
    assert_eq!(edited(dir.path()), ["a--1.sql was edited"]);
    fs::remove_file(&script).unwrap();
    assert_eq!(edited(dir.path()), ["a--1.sql is gone"]);
}

/// What is wrong with a directory of frozen files; nothing where there is none.
fn edited(dir: &Path) -> Vec<String> {
    let scripts: BTreeSet<String> = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect(),
        Err(_) => return Vec::new(),
    };
    let sums = fs::read_to_string(dir.join(SUMS)).unwrap_or_default();
    let frozen: Vec<(&str, &str)> = sums.lines().filter_map(|line| line.split_once("  ")).collect();
    let unfrozen = scripts.iter().filter(|name| *name != SUMS && !frozen.iter().any(|(_, file)| file == name));
    let mut problems: Vec<String> = unfrozen.map(|name| format!("{name} has no sum")).collect();
    for (sum, file) in frozen {
        if !scripts.contains(file) {
            problems.push(format!("{file} is gone"));
        } else if sha256(&dir.join(file)) != sum {
            problems.push(format!("{file} was edited"));
        }
    }
    problems
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_string()
}

/// The sums grow with each version; the scripts are added once.
fn changed_in_history(path: &str) -> String {
    let mut git = Command::new("git");
    git.args(["log", "--diff-filter=MDT", "--format=%h %s", "--"]).arg(format!("{path}/*.sql"));
    let output = git.current_dir(layout::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
