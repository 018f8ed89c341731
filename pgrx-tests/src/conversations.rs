//! The second extension, `pg_tollgate_conversations`: its install script is put together from the files of
//! `sql/conversations/`, and lies beside that of the first. cargo-pgrx installs one extension a crate, the one whose
//! control file it finds in the crate's root.

use std::fs;

use anyhow::{Context, Result};

use crate::layout;
use crate::postgres_tree::PostgresTree;
use crate::scripts::{scripts, upgrades};

pub const NAME: &str = "pg_tollgate_conversations";

/// The files of the install script, in their order. The last gives all objects their owner and grants.
pub const FILES: [&str; 33] = [
    "start",
    "tables",
    "access",
    "checks",
    "numbering",
    "configs",
    "contexts",
    "compaction",
    "compaction_apply",
    "compaction_claims",
    "execution_contexts",
    "execution_contexts_acquire",
    "execution_contexts_life",
    "execution_contexts_release",
    "conversations",
    "paths",
    "messages",
    "merge",
    "pins",
    "history",
    "views",
    "comments",
    "archive",
    "retention",
    "erasure",
    "erasure_messages",
    "export",
    "metrics",
    "verify",
    "maintain",
    "facades",
    "upkeep_grants",
    "grants",
];

/// The install script.
pub fn script() -> Result<String> {
    let mut script = format!("\\echo Use \"create extension {NAME}\" to load this file. \\quit\n");
    for file in FILES {
        let path = layout::root().join("sql/conversations").join(file).with_extension("sql");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        script.push_str(&format!("\n-- {file}.sql\n{text}"));
    }
    Ok(script)
}

/// Puts control file and scripts beside those of the first extension, in the version that the workspace has.
pub fn install(postgres: &PostgresTree) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let control = layout::root().join("sql/conversations").join(NAME).with_extension("control");
    let control = fs::read_to_string(&control).with_context(|| format!("cannot read {}", control.display()))?;
    let mut files = vec![
        (format!("{NAME}.control"), control.replace("@CARGO_VERSION@", version)),
        (format!("{NAME}--{version}.sql"), script()?),
    ];
    for upgrade in scripts(&upgrades(), NAME)? {
        let path = upgrades().join(&upgrade);
        files.push((upgrade, fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?));
    }
    for (name, text) in files {
        let path = postgres.extension_dir().join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_in_the_script() {
        let dir = layout::root().join("sql/conversations");
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let names = names.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
        let names = names.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned());
        assert_eq!(names.collect::<BTreeSet<_>>(), FILES.map(str::to_owned).into());
        assert_eq!(FILES.last(), Some(&"grants"));
    }
}
