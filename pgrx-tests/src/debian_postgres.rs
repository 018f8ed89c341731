//! Postgres 17 and 18, of later releases of Debian, as Debian has built them.
//!
//! The programs need that release's C library and others. These lie beside them, and each program is told to load them
//! from there: so the machine's own stay, and a container is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::{self, Release};
use crate::major::Major;
use crate::progress::{Step, capture};

/// The release that has the version.
fn release(major: Major) -> &'static str {
    if major == Major::Pg17 { "trixie" } else { "unstable" }
}

/// Its libraries, relative to the tree.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";
/// As seen from the server's programs, and from the test runners.
const FROM_PROGRAMS: &str = "$ORIGIN/../../../../lib/x86_64-linux-gnu";
const FROM_RUNNERS: &str = "$ORIGIN/../../../../../../../../lib/x86_64-linux-gnu";

/// Makes a tree in `unfinished` that runs once it lies in `prefix`.
pub fn make(major: Major, prefix: &Path, unfinished: &Path) -> Result<()> {
    let release = Release::open(release(major))?;
    let mut packages = release.closure(&format!("postgresql-{major}"))?;
    packages.retain(|package| is_wanted(major, &debian::name(package)));
    packages.push(release.package(&format!("postgresql-server-dev-{major}"))?);
    let step = Step::start(&format!("Unpacking Postgres {major}"), "some seconds, once");
    fs::create_dir_all(unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
    for package in &packages {
        debian::unpack(package, unfinished)?;
    }
    let lib = unfinished.join(major.programs()).join("lib");
    // The compiler that this loads is as large as everything else.
    let compiler = lib.join("llvmjit.so");
    if compiler.exists() {
        fs::remove_file(&compiler).with_context(|| format!("cannot remove {}", compiler.display()))?;
    }
    let runners = lib.join("pgxs/src/test");
    let places = [(lib.with_file_name("bin"), FROM_PROGRAMS), (runners.join("regress"), FROM_RUNNERS)];
    for (dir, libraries) in places.into_iter().chain([(runners.join("isolation"), FROM_RUNNERS)]) {
        for program in files(&dir)?.iter().filter(|path| is_program(path)) {
            redirect(program, &loader(prefix), libraries)?;
        }
    }
    step.done();
    release.forget()
}

/// Whether the tree in `prefix` was made for that place.
pub fn runs_from(major: Major, prefix: &Path) -> bool {
    let postgres = prefix.join(major.programs()).join("bin/postgres");
    interpreter(&postgres).is_ok_and(|found| Path::new(found.trim()) == loader(prefix))
}

/// The server, its clients, and the libraries that these may load.
fn is_wanted(major: Major, package: &str) -> bool {
    let is_library = package.starts_with("lib") || package.starts_with("zlib1g_");
    let is_large = ["libllvm", "libperl", "libz3"].iter().any(|it| package.starts_with(it));
    let is_server = ["postgresql", "postgresql-client"].iter().any(|it| package.starts_with(&format!("{it}-{major}_")));
    is_library && !is_large || is_server
}

fn loader(prefix: &Path) -> PathBuf {
    prefix.join(LIBRARIES).join(LOADER)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Not a script, and not a link to a program elsewhere.
fn is_program(path: &Path) -> bool {
    path.is_file() && !path.is_symlink() && interpreter(path).is_ok()
}

fn interpreter(program: &Path) -> Result<String> {
    capture(Command::new("patchelf").arg("--print-interpreter").arg(program))
}

/// The search path is of the old kind (`DT_RPATH`), which holds for what a library loads in turn.
fn redirect(program: &Path, loader: &Path, libraries: &str) -> Result<()> {
    let mut command = Command::new("patchelf");
    command.arg("--set-interpreter").arg(loader).args(["--force-rpath", "--set-rpath", libraries]).arg(program);
    capture(&mut command)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_stays_out() {
        for package in ["libc6_2.41-12_amd64.deb", "zlib1g_1.3_amd64.deb", "postgresql-client-17_17.12_amd64.deb"] {
            assert!(is_wanted(Major::Pg17, package), "{package}");
        }
        for package in ["libllvm19_19.1_amd64.deb", "postgresql-common_278_all.deb", "perl-base_5.40_amd64.deb"] {
            assert!(!is_wanted(Major::Pg17, package), "{package}");
        }
    }
}
