//! `cargo xtask freeze`: the scripts of this version as users install them, and data that it has written, kept for ever
//! in `sql/released/`. `tests/lifecycle/upgrade.rs` upgrades every version that lies there.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::{Cluster, ClusterOptions, SUPERUSER};
use crate::install;
use crate::layout;
use crate::major::Major;
use crate::populated::{populate, populate_conversations};
use crate::postgres_tree::PostgresTree;
use crate::progress::capture;
use crate::scripts::{extensions, scripts, upgrades};

/// The sums of what lies beside it.
pub const SUMS: &str = "SHA256SUMS";

/// Where released versions lie.
pub fn dir() -> PathBuf {
    layout::root().join("sql/released")
}

/// The data of a version, to be read by `psql` once both extensions are there in it.
pub fn data_of(version: &str) -> String {
    format!("data-{version}.sql")
}

/// Adds this version to a directory. Returns the names of the files.
pub fn freeze(to: &Path) -> Result<Vec<String>> {
    // By the oldest version: what its dump says, each reads.
    let postgres = install::ensure_for(Major::Pg15)?;
    let version = env!("CARGO_PKG_VERSION");
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut names = Vec::new();
    for name in extensions()? {
        names.push(format!("{name}--{version}.sql"));
        let arriving = scripts(&upgrades(), &name)?;
        names.extend(arriving.into_iter().filter(|script| script.ends_with(&format!("--{version}.sql"))));
    }
    names.push(data_of(version));
    let released = fs::read_to_string(to.join(SUMS)).unwrap_or_default();
    for name in &names {
        // What has no sum is of a call that was interrupted.
        let is_released = released.lines().any(|line| line.ends_with(&format!("  {name}")));
        ensure!(!is_released, "{name} is released, and stays as it is: the version is {version}");
    }
    fs::write(to.join(data_of(version)), data(postgres)?).context("cannot write the data")?;
    for name in &names[..names.len() - 1] {
        let from = postgres.extension_dir().join(name);
        fs::copy(&from, to.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let sums = capture(Command::new("sha256sum").args(&names).current_dir(to))?;
    let file = OpenOptions::new().create(true).append(true).open(to.join(SUMS));
    file.and_then(|mut file| file.write_all(sums.as_bytes())).with_context(|| format!("cannot write {SUMS}"))?;
    Ok(names)
}

/// What a database of this version holds, as `pg_dump` says it.
fn data(postgres: &PostgresTree) -> Result<String> {
    let cluster = Cluster::start_in(postgres, ClusterOptions { major: Major::Pg15, ..ClusterOptions::default() })?;
    cluster.create_database("frozen")?;
    let mut client = cluster.superuser("frozen")?;
    client.batch_execute("create extension pg_tollgate_conversations")?;
    populate(&mut client)?;
    populate_conversations(&mut client)?;
    let mut dump = cluster.client_program("pg_dump", "frozen", SUPERUSER);
    let text = capture(dump.args(["--data-only", "--schema=copilot_internal"]))?;
    // `\restrict` and its like hold a key that is new with every dump, and newer programs alone know them.
    for table in ["llm_cost_records", "conversation_messages"] {
        ensure!(text.contains(&format!("\nCOPY copilot_internal.{table} (")), "the dump has no rows of {table}");
    }
    let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}
