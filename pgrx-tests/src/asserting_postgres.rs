//! Postgres 15 with its assertions on, built from Debian's source: a server that ends where a rule of its own is broken,
//! as by a lock that is not given back, a list that is none, or a command that does not see its own rows.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::debian::Release;
use crate::layout;
use crate::major::Major;
use crate::progress::{capture, run_checked};

/// Set when it is meant instead of Debian's own build, together with a build directory of its own.
const VARIABLE: &str = "PG_TOLLGATE_ASSERTIONS";

pub fn is_wanted(major: Major) -> bool {
    major == Major::Pg15 && env::var_os(VARIABLE).is_some()
}

/// Whether the server asserts.
pub fn asserts(pg_config: &Path) -> bool {
    capture(Command::new(pg_config).arg("--configure")).is_ok_and(|said| said.contains("--enable-cassert"))
}

/// Makes a tree that has everything in the places where Debian has it.
pub fn make(unfinished: &Path) -> Result<()> {
    ensure!(env::var_os("CARGO_TARGET_DIR").is_some(), "{VARIABLE} wants CARGO_TARGET_DIR=target/assertions");
    let major = Major::Pg15;
    let release = Release::open_sources("bookworm")?;
    let archive = release.source(&format!("postgresql-{major}"))?;
    let build = layout::target().join("asserting-postgres");
    fs::create_dir_all(&build).with_context(|| format!("cannot create {}", build.display()))?;
    let inside = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(&build);
        command
    };
    capture(inside("tar").args(["--strip-components=1", "-xf"]).arg(&archive))?;
    let log = layout::target().join("asserting-postgres.log");
    let (programs, shared) = (major.programs(), major.shared());
    let configure = [
        "--prefix=/usr".to_string(),
        format!("--bindir=/{programs}/bin"),
        format!("--libdir=/{programs}/lib"),
        format!("--datadir=/{shared}"),
        format!("--includedir=/usr/include/postgresql/{major}"),
        "--enable-cassert".to_string(),
    ];
    let mut command = inside("./configure");
    command.args(configure).args(["--without-icu", "--without-readline", "--without-zlib", "CFLAGS=-O2"]);
    run_checked("Configuring Postgres 15 with assertions", "a minute, once", &log, &mut command)?;
    let jobs = format!("-j{}", thread::available_parallelism().map_or(1, usize::from));
    let mut command = inside("make");
    command.args(["-s", &jobs, "all"]);
    run_checked("Building Postgres 15 with assertions", "about 5 minutes on two free cores, once", &log, &mut command)?;
    let destination = format!("DESTDIR={}", unfinished.display());
    for part in [".", "contrib", "src/test/regress", "src/test/isolation"] {
        let mut command = inside("make");
        command.args(["-s", "-C", part, "install", &destination]);
        run_checked(&format!("Installing its {part}"), "some seconds", &log, &mut command)?;
    }
    // Supabase's schemas want them, and their builds want headers of other libraries: Debian's own do as well.
    let extension = format!("{shared}/extension");
    let files = [
        (format!("{programs}/lib"), "uuid-ossp.so"),
        (format!("{programs}/lib"), "pgcrypto.so"),
        (extension.clone(), "uuid-ossp.control"),
        (extension.clone(), "uuid-ossp--1.1.sql"),
        (extension.clone(), "pgcrypto.control"),
        (extension, "pgcrypto--1.3.sql"),
    ];
    for (dir, file) in files {
        let (from, to) = (Path::new("/").join(&dir).join(file), unfinished.join(&dir).join(file));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))?;
    release.forget()
}
