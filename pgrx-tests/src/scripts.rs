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

/// What a server has of an extension: the install script of this version, and every upgrade.
pub fn current(name: &str) -> Result<Vec<String>> {
    let mut current = scripts(&upgrades(), name)?;
    current.push(format!("{name}--{}.sql", env!("CARGO_PKG_VERSION")));
    Ok(current)
}

/// Removes what builds of other versions have left in a directory.
pub fn remove_others(dir: &Path) -> Result<()> {
    for name in extensions()? {
        let current = current(&name)?;
        for script in scripts(dir, &name)?.into_iter().filter(|script| !current.contains(script)) {
            fs::remove_file(dir.join(&script)).with_context(|| format!("cannot remove {script}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_other_versions_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name = &extensions().unwrap()[0];
        let kept = current(name).unwrap();
        let others = [format!("{name}--0.0.0.sql"), format!("{name}--0.0.0--0.0.1.sql")];
        for script in kept.iter().chain(&others).chain(&["plpgsql--1.0.sql".to_string()]) {
            fs::write(dir.path().join(script), "").unwrap();
        }
        remove_others(dir.path()).unwrap();
        let mut wanted = kept.clone();
        wanted.sort();
        assert_eq!(scripts(dir.path(), name).unwrap(), wanted);
        assert!(dir.path().join("plpgsql--1.0.sql").exists());
    }

    #[test]
    fn scripts_are_those_of_one_extension() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a--1.sql", "a--1--2.sql", "a_b--1.sql", "a.control", "a--1.txt"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(scripts(dir.path(), "a").unwrap(), ["a--1--2.sql", "a--1.sql"]);
    }
}
