//! A private copy of the system's Postgres.
//!
//! Debian's Postgres finds its files relative to its own binaries, so a copy works anywhere. The extension is installed
//! into the copy: nothing of ours is ever written into a system directory, and root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout;
use crate::progress::{Step, capture};

/// The major version that everything here runs on.
pub const MAJOR: &str = "15";

/// The copy's parts, relative to `/` and to the copy.
const PARTS: [&str; 3] = ["usr/lib/postgresql/15", "usr/share/postgresql/15", "usr/include/postgresql"];

/// Extensions of others, from packages of their own, that tests run beside ours.
const EXTENSIONS: [&str; 1] = ["pg_cron"];

#[derive(Clone, Debug)]
pub struct PostgresTree {
    prefix: PathBuf,
}

impl PostgresTree {
    /// The system's own, which is only ever read.
    pub fn system() -> PostgresTree {
        PostgresTree { prefix: PathBuf::from("/") }
    }

    /// Ours, below the build directory.
    pub fn private() -> PostgresTree {
        PostgresTree { prefix: layout::target().join("postgres") }
    }

    /// A program of the server, such as `initdb`.
    pub fn bin(&self, program: &str) -> PathBuf {
        self.prefix.join(PARTS[0]).join("bin").join(program)
    }

    pub fn bindir(&self) -> PathBuf {
        self.prefix.join(PARTS[0]).join("bin")
    }

    pub fn pg_config(&self) -> PathBuf {
        self.bin("pg_config")
    }

    /// The test runners that come with the server's headers.
    pub fn pg_regress(&self) -> PathBuf {
        self.prefix.join(PARTS[0]).join("lib/pgxs/src/test/regress/pg_regress")
    }

    pub fn pg_isolation_regress(&self) -> PathBuf {
        self.prefix.join(PARTS[0]).join("lib/pgxs/src/test/isolation/pg_isolation_regress")
    }

    pub fn server_headers(&self) -> PathBuf {
        self.prefix.join(PARTS[2]).join(MAJOR).join("server")
    }

    /// Where a library named `$libdir/…` is looked for.
    pub fn libdir(&self) -> PathBuf {
        self.prefix.join(PARTS[0]).join("lib")
    }

    /// Where control files and install scripts are.
    pub fn extension_dir(&self) -> PathBuf {
        self.prefix.join(PARTS[1]).join("extension")
    }

    pub fn has_extension(&self, name: &str) -> bool {
        self.extension_dir().join(format!("{name}.control")).is_file()
    }

    /// What the server says of itself, such as `postgres (PostgreSQL) 15.20 (Debian …)`.
    pub fn version(&self) -> Result<String> {
        Ok(capture(Command::new(self.bin("postgres")).arg("--version"))?.trim().to_string())
    }

    /// The private copy, made or renewed if need be.
    pub fn prepare() -> Result<PostgresTree> {
        let (system, private) = (PostgresTree::system(), PostgresTree::private());
        let wanted = system.version()?;
        // A copy of another version, or of part of one, is as good as none.
        let complete = private.server_headers().is_dir() && private.pg_isolation_regress().is_file();
        let complete = complete && EXTENSIONS.iter().all(|name| private.has_extension(name));
        if !complete || private.version().ok().as_deref() != Some(wanted.as_str()) {
            copy(&system, &private).context("cannot copy the system's Postgres")?;
        }
        Ok(private)
    }
}

/// Copies to a temporary name first, so that a copy which exists is a whole one.
fn copy(system: &PostgresTree, private: &PostgresTree) -> Result<()> {
    let step = Step::start("Copying Postgres into target/postgres", "some seconds, once");
    let unfinished = private.prefix.with_extension("unfinished");
    remove(&unfinished)?;
    for part in PARTS {
        let (from, to) = (system.prefix.join(part), unfinished.join(part));
        if !from.is_dir() {
            bail!("{} does not exist", from.display());
        }
        let parent = to.parent().unwrap_or(&unfinished);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let kept = "--preserve=mode,timestamps,links";
        capture(Command::new("cp").args(["-R", "--no-dereference", "--reflink=auto", kept]).arg(&from).arg(&to))?;
    }
    remove(&private.prefix)?;
    fs::rename(&unfinished, &private.prefix).with_context(|| format!("cannot rename {}", unfinished.display()))?;
    step.done();
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
