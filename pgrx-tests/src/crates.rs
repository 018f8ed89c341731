//! The crates of the workspace, and how each is tested and linted. A crate that is in the workspace and not in here fails
//! both.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::layout;
use crate::progress::capture;
use crate::setup::Toolbox;

/// The library itself: cargo-pgrx tests it inside a server.
const EXTENSION: &str = "pg_tollgate";
/// This one: its tests reach a server from outside.
const HARNESS: &str = "pg_tollgate-tests";

/// Runs of crates that know no Postgres. Each must have a test that ran.
pub const CORE: [CoreRun; 4] = [
    CoreRun { package: "pg_tollgate-core", options: &[], loom: false },
    CoreRun { package: "pg_tollgate-escrow", options: &["--release"], loom: false },
    CoreRun { package: "pg_tollgate-escrow", options: &["--release", "--test", "loom"], loom: true },
    CoreRun { package: "pg_tollgate-model", options: &["--release"], loom: false },
];

#[derive(Clone, Copy, Debug)]
pub struct CoreRun {
    pub package: &'static str,
    options: &'static [&'static str],
    /// Built with loom's atomics in place of the machine's.
    pub loom: bool,
}

impl CoreRun {
    pub fn name(&self) -> String {
        format!("{}{}", self.package, if self.loom { " under loom" } else { "" })
    }

    pub fn test(&self, toolbox: &Toolbox) -> Command {
        let mut command = self.cargo(toolbox, "test");
        command.args(self.options);
        command
    }

    pub fn clippy(&self, toolbox: &Toolbox) -> Command {
        let mut command = self.cargo(toolbox, "clippy");
        command.arg("--all-targets");
        command
    }

    fn cargo(&self, toolbox: &Toolbox, verb: &str) -> Command {
        let mut command = toolbox.cargo();
        command.args([verb, "-p", self.package]);
        if self.loom {
            // Elsewhere, or everything would be built again for these flags and then for none.
            command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", layout::target().join("loom"));
        }
        command
    }
}

/// Fails when the workspace has a crate that nothing here would test.
pub fn check_complete(toolbox: &Toolbox) -> Result<()> {
    let said = capture(toolbox.cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&said).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let names = packages.iter().filter_map(|package| package["name"].as_str());
    let unknown: Vec<&str> = names.filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        bail!("no tier tests {}: add it to src/crates.rs", unknown.join(", "));
    }
    Ok(())
}

fn is_known(package: &str) -> bool {
    [EXTENSION, HARNESS].contains(&package) || CORE.iter().any(|run| run.package == package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_tests_is_noticed() {
        assert!(is_known("pg_tollgate") && is_known("pg_tollgate-tests") && is_known(CORE[0].package));
        assert!(!is_known("pg_tollgate-new"));
    }
}
