//! Builds the extension as users get it and installs it into the private Postgres.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

use crate::conversations;
use crate::file_lock::lock;
use crate::layout;
use crate::major::Major;
use crate::postgres_tree::PostgresTree;
use crate::progress::run_checked;
use crate::scripts::remove_others;
use crate::setup::setup_for;

/// Set by xtask for the tests it starts to the version of Postgres in which the extension is installed already.
pub const INSTALLED: &str = "PG_TOLLGATE_INSTALLED";

/// What the installed library is built from, relative to the checkout's root.
const SOURCES: [&str; 6] = ["Cargo.toml", "Cargo.lock", "pg_tollgate.control", "crates", "src", "sql"];

/// The private Postgres of the version in use, with the current extension in it.
pub fn ensure() -> Result<&'static PostgresTree> {
    ensure_for(Major::in_use())
}

/// The same for a given version. Sets up and installs at most once per process.
pub fn ensure_for(major: Major) -> Result<&'static PostgresTree> {
    static DONE: [OnceLock<Result<PostgresTree, String>>; Major::ALL.len()] =
        [const { OnceLock::new() }; Major::ALL.len()];
    let done = DONE[major as usize].get_or_init(|| {
        if env::var_os(INSTALLED).is_some_and(|installed| installed.to_string_lossy() == major.to_string()) {
            return Ok(PostgresTree::private(major));
        }
        install(major).map_err(|error| format!("{error:#}"))
    });
    done.as_ref().map_err(|message| anyhow!("{message}"))
}

fn install(major: Major) -> Result<PostgresTree> {
    let toolbox = setup_for(major)?;
    // Test processes that run at the same time install once.
    let _lock = lock("install")?;
    let postgres = toolbox.postgres.clone();
    if is_current(&postgres)? {
        return Ok(postgres);
    }
    let mut command = toolbox.cargo_pgrx("install");
    command.args(["--release", "--no-default-features", "--features", &major.feature()]);
    command.arg("--pg-config").arg(postgres.pg_config());
    let log = layout::target().join(format!("install-{major}.log"));
    let usual = "about 3 minutes the first time, seconds later";
    // The stamp is taken before the build: a file saved meanwhile makes the next run build again.
    let sources = newest(&SOURCES.map(|source| layout::root().join(source)))?;
    run_checked(&format!("Building and installing pg_tollgate for Postgres {major}"), usual, &log, &mut command)?;
    conversations::install(&postgres)?;
    remove_others(&postgres.extension_dir())?;
    let stamp = stamp(&postgres, sources)?;
    let file = stamp_file(major);
    fs::write(&file, stamp).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(postgres)
}

fn stamp_file(major: Major) -> PathBuf {
    layout::target().join(format!("install-{major}.stamp"))
}

/// Whether the installed library is the last one that we installed, from sources unchanged since. `cargo pgrx test`
/// puts its test build into the same place, which the library's own time shows.
fn is_current(postgres: &PostgresTree) -> Result<bool> {
    let sources = newest(&SOURCES.map(|source| layout::root().join(source)))?;
    Ok(fs::read_to_string(stamp_file(postgres.major()))
        .is_ok_and(|last| stamp(postgres, sources).is_ok_and(|now| now == last)))
}

fn stamp(postgres: &PostgresTree, sources: u128) -> Result<String> {
    let library = postgres.libdir().join("pg_tollgate.so");
    let meta = fs::metadata(&library).with_context(|| format!("cannot find {}", library.display()))?;
    let written = meta.modified().with_context(|| format!("no time on {}", library.display()))?;
    Ok(format!("library {} {}\nsources {sources}\n", nanos(written), meta.len()))
}

/// The latest change below any of the paths, in nanoseconds since 1970. Directories count: a removed file changes one.
fn newest(paths: &[PathBuf]) -> Result<u128> {
    let mut latest = 0;
    for path in paths.iter().filter(|path| path.exists()) {
        latest = latest.max(newest_below(path).with_context(|| format!("cannot look through {}", path.display()))?);
    }
    Ok(latest)
}

fn newest_below(path: &Path) -> Result<u128> {
    let meta = fs::metadata(path)?;
    let mut latest = nanos(meta.modified()?);
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            latest = latest.max(newest_below(&entry?.path())?);
        }
    }
    Ok(latest)
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos())
}
