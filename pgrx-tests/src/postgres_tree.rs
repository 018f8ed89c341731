//! A private copy of Postgres, one for each version.
//!
//! Debian's Postgres finds its files relative to its own binaries, so a copy works anywhere. The extension is installed
//! into the copy: nothing of ours is ever written into a system directory, and root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::asserting_postgres;
use crate::debian::{self, Release};
use crate::debian_postgres;
use crate::layout;
use crate::major::Major;
use crate::progress::{Step, capture};
use crate::wheel_postgres;

/// Extensions of others, from packages of their own, that tests run beside ours on Debian's own version.
const EXTENSIONS: [&str; 1] = ["pg_cron"];

/// Extensions that Supabase's schemas have.
const SUPABASE: [&str; 2] = ["uuid-ossp", "pgcrypto"];

#[derive(Clone, Debug)]
pub struct PostgresTree {
    major: Major,
    prefix: PathBuf,
}

impl PostgresTree {
    /// The system's own, which is only ever read.
    pub fn system() -> PostgresTree {
        PostgresTree { major: Major::Pg15, prefix: PathBuf::from("/") }
    }

    /// Ours, below the build directory.
    pub fn private(major: Major) -> PostgresTree {
        let name = if major == Major::Pg15 { "postgres".to_string() } else { format!("postgres-{major}") };
        PostgresTree { major, prefix: layout::target().join(name) }
    }

    pub fn major(&self) -> Major {
        self.major
    }

    /// A program of the server, such as `initdb`.
    pub fn bin(&self, program: &str) -> PathBuf {
        self.bindir().join(program)
    }

    pub fn bindir(&self) -> PathBuf {
        self.prefix.join(self.major.programs()).join("bin")
    }

    pub fn pg_config(&self) -> PathBuf {
        self.bin("pg_config")
    }

    /// The test runners that come with the server's headers.
    pub fn pg_regress(&self) -> PathBuf {
        self.libdir().join("pgxs/src/test/regress/pg_regress")
    }

    pub fn pg_isolation_regress(&self) -> PathBuf {
        self.libdir().join("pgxs/src/test/isolation/pg_isolation_regress")
    }

    pub fn server_headers(&self) -> PathBuf {
        self.prefix.join("usr/include/postgresql").join(self.major.to_string()).join("server")
    }

    /// Where a library named `$libdir/…` is looked for.
    pub fn libdir(&self) -> PathBuf {
        self.prefix.join(self.major.programs()).join("lib")
    }

    /// Where control files and install scripts are.
    pub fn extension_dir(&self) -> PathBuf {
        self.prefix.join(self.major.shared()).join("extension")
    }

    pub fn has_extension(&self, name: &str) -> bool {
        self.extension_dir().join(format!("{name}.control")).is_file()
    }

    /// What the server says of itself, such as `postgres (PostgreSQL) 15.20 (Debian …)`.
    pub fn version(&self) -> Result<String> {
        Ok(capture(Command::new(self.bin("postgres")).arg("--version"))?.trim().to_string())
    }

    /// The private copy, made or renewed if need be.
    pub fn prepare(major: Major) -> Result<PostgresTree> {
        let private = PostgresTree::private(major);
        match major {
            _ if asserting_postgres::is_wanted(major) => {
                if !private.is_complete() || !asserting_postgres::asserts(&private.pg_config()) {
                    replace(&private.prefix, asserting_postgres::make)?;
                }
            }
            Major::Pg15 => {
                let system = PostgresTree::system();
                let complete = private.is_complete() && EXTENSIONS.iter().all(|name| private.has_extension(name));
                if !complete || private.version().ok() != Some(system.version()?) {
                    replace(&private.prefix, |unfinished| copy(&system, unfinished))?;
                }
            }
            // Their programs name their loader by its whole path: a tree that was moved is made anew.
            Major::Pg17 | Major::Pg18 => {
                if !private.is_complete() || !debian_postgres::runs_from(major, &private.prefix) {
                    replace(&private.prefix, |unfinished| debian_postgres::make(major, &private.prefix, unfinished))?;
                }
            }
            Major::Pg16 => {
                if !private.is_complete() {
                    replace(&private.prefix, wheel_postgres::make)?;
                }
            }
        }
        if major == Major::Pg15 && !private.has_extension("plproxy") {
            add_plproxy(&private.prefix)?;
        }
        let said = private.version().with_context(|| format!("the copy of Postgres {major} does not run"))?;
        if !said.contains(&format!(" {major}.")) {
            bail!("{} is no Postgres {major}: {said}", private.prefix.display());
        }
        Ok(private)
    }

    /// A copy of it all, for a test that changes its files. It needs the original to be there.
    pub fn copy(&self, to: &Path) -> Result<PostgresTree> {
        capture(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&self.prefix).arg(to))?;
        Ok(PostgresTree { major: self.major, prefix: to.to_path_buf() })
    }

    /// The same as it was before anything of ours was installed.
    pub fn copy_without_extension(&self, to: &Path) -> Result<PostgresTree> {
        let copy = self.copy(to)?;
        for dir in [copy.libdir(), copy.extension_dir()] {
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pg_tollgate")) {
                    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                }
            }
        }
        Ok(copy)
    }

    /// A copy of part of one is as good as none.
    fn is_complete(&self) -> bool {
        let has_files = self.server_headers().is_dir() && self.pg_isolation_regress().is_file();
        has_files && SUPABASE.iter().all(|name| self.has_extension(name)) && self.version().is_ok()
    }
}

/// What routes calls to other servers in a test: unpacked into the tree, and not installed.
fn add_plproxy(prefix: &Path) -> Result<()> {
    let release = Release::open("bookworm")?;
    debian::unpack(&release.package("postgresql-15-plproxy")?, prefix)?;
    release.forget()
}

/// Makes a tree under a temporary name first, so that one which exists is a whole one.
fn replace(prefix: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = prefix.with_extension("unfinished");
    remove(&unfinished)?;
    make(&unfinished)?;
    remove(prefix)?;
    fs::rename(&unfinished, prefix).with_context(|| format!("cannot rename {}", unfinished.display()))
}

fn copy(system: &PostgresTree, unfinished: &Path) -> Result<()> {
    let step = Step::start("Copying Postgres into target/postgres", "some seconds, once");
    for part in [system.major.programs(), system.major.shared(), "usr/include/postgresql".to_string()] {
        let (from, to) = (system.prefix.join(&part), unfinished.join(&part));
        if !from.is_dir() {
            bail!("{} does not exist", from.display());
        }
        let parent = to.parent().unwrap_or(unfinished);
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let kept = "--preserve=mode,timestamps,links";
        capture(Command::new("cp").args(["-R", "--no-dereference", "--reflink=auto", kept]).arg(&from).arg(&to))?;
    }
    step.done();
    Ok(())
}

fn remove(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    Ok(())
}
