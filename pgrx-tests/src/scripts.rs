//! The extensions, and the SQL scripts that make and upgrade them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::layout;

/// Upgrade scripts are written here, as `NAME--OLD--NEW.sql`.
pub fn upgrades() -> PathBuf {
    layout::root().join("sql")
}

/// The names of the extensions, by their control files.
pub fn extensions() -> Result<Vec<String>> {
    let second = layout::root().join("sql/conversations");
    let mut names = Vec::new();
    for dir in [layout::root(), second] {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "control") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// `name--*.sql`, and not those of an extension whose name begins alike.
pub fn scripts(dir: &Path, name: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if file.starts_with(&format!("{name}--")) && file.ends_with(".sql") {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_those_of_one_extension() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a--1.sql", "a--1--2.sql", "a_b--1.sql", "a.control", "a--1.txt"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(scripts(dir.path(), "a").unwrap(), ["a--1--2.sql", "a--1.sql"]);
    }
}
