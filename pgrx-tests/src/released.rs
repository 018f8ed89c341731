//! What was released is never edited: `sql/released/` holds each version's scripts, and `SHA256SUMS` what was in them when
//! they were frozen. Every upgrade script begins in the same way.
//!
//! Nothing is released yet, so nothing is frozen. RELEASING.md says when a script is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::layout;
use crate::release::{SUMS, dir};
use crate::scripts::{extensions, scripts, upgrades};

#[test]
fn released_scripts_are_as_they_were() {
    assert_eq!(edited(&dir()), Vec::<String>::new());
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

/// The library refuses a newer script, and charges wait for it, only if it says so.
#[test]
fn upgrade_scripts_begin_as_they_must() {
    for name in extensions().unwrap() {
        for script in scripts(&upgrades(), &name).unwrap() {
            let text = fs::read_to_string(upgrades().join(&script)).unwrap();
            assert!(begins_well(&text, &name), "{script} does not begin with: {}", beginning(&name));
            let frozen = fs::read_to_string(dir().join(&script));
            assert!(
                frozen.is_err() || frozen.is_ok_and(|frozen| frozen == text),
                "{script} is released, and was edited"
            );
        }
    }
    let begin = beginning("a");
    for good in [format!("{begin}\n"), format!("-- Why.\n\n{begin}\nselect 1;\n")] {
        assert!(begins_well(&good, "a"), "{good}");
        assert!(!begins_well(&good, "b"), "{good}");
    }
    assert!(!begins_well(&format!("select 1;\n{begin}\n"), "a"));
}

/// As the install scripts have it.
fn beginning(extension: &str) -> String {
    format!(
        "select copilot_internal.begin_script(extversion) from pg_catalog.pg_extension where extname = '{extension}';"
    )
}

fn begins_well(script: &str, extension: &str) -> bool {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with("--"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").starts_with(&beginning(extension))
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
