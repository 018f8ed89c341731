//! Where things are: the checkout, its build directory, and the one place that names the pgrx version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// PgBouncer, where Debian's package puts it.
pub const PGBOUNCER: &str = "/usr/sbin/pgbouncer";
/// The exporter of metrics, likewise.
pub const EXPORTER: &str = "/usr/bin/prometheus-postgres-exporter";
/// Opens the page that the demo writes.
pub const CHROMIUM: &str = "/usr/bin/chromium";
/// Debian's Python, which has Debian's psycopg and installs the packages of the examples.
pub const PYTHON: &str = "/usr/bin/python3";
/// psycopg 3, for Debian's Python.
pub const PSYCOPG: &str = "/usr/lib/python3/dist-packages/psycopg/__init__.py";

/// Whether that Python can make virtual environments, which is a package of its own.
pub fn python_venv_is_there() -> bool {
    Path::new("/usr/lib/python3.11/ensurepip/__main__.py").is_file()
}

/// The checkout's root: this crate is a direct child of it.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's build directory. Everything this crate makes that outlives a run is below it.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// This crate's own directory, for the inputs of its tests.
pub fn tests_dir() -> PathBuf {
    root().join("pgrx-tests")
}

/// Own PGRX_HOME, so that a developer's `~/.pgrx` is neither needed nor touched.
pub fn pgrx_home() -> PathBuf {
    target().join("pgrx")
}

/// Where `cargo install` puts cargo-pgrx and cargo-deny (`bin/` below it).
pub fn tools() -> PathBuf {
    target().join("tools")
}

pub fn cargo_pgrx() -> PathBuf {
    tools().join("bin/cargo-pgrx")
}

pub fn cargo_deny() -> PathBuf {
    tools().join("bin/cargo-deny")
}

/// The pgrx version that the extension is pinned to. cargo-pgrx must be exactly this one.
pub fn pgrx_version() -> Result<String> {
    let manifest = root().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    pinned_pgrx(&text)
        .with_context(|| format!("{} has no line `pgrx = {{ version = \"=x.y.z\" … }}`", manifest.display()))
}

fn pinned_pgrx(manifest: &str) -> Option<String> {
    let line = manifest.lines().find(|line| line.starts_with("pgrx ") || line.starts_with("pgrx="))?;
    let (_, pin) = line.split_once("\"=")?;
    Some(pin.split_once('"')?.0.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_read_from_either_notation() {
        assert_eq!(pinned_pgrx("[dependencies]\npgrx = \"=0.18.1\"\n").as_deref(), Some("0.18.1"));
        assert_eq!(pinned_pgrx("pgrx = { version = \"=1.2.3\", default-features = false }").as_deref(), Some("1.2.3"));
        assert_eq!(pinned_pgrx("pgrx-tests = \"=0.18.1\""), None);
        assert_eq!(pinned_pgrx("pgrx = \"0.18.1\""), None);
    }
}
