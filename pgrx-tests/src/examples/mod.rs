//! The programs under `examples/`: what they need, and how one is run against a database.
//!
//! A test's program stands in `examples/<language>/test`, plays the model, and prints a line of JSON for each thing that
//! the ledger is then asked about.

mod http;
mod runtimes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::PORT;
use crate::layout;
use crate::progress::capture;
use crate::support::Database;

pub use http::{Http, JWT_SECRET, SECRET_KEY};
use runtimes::Runtimes;

/// The tenant of which the examples' tests are told.
pub const TENANT: Uuid = Uuid::from_u128(0xa000_0000_0000_4000_8000_0000_0000_0001);

/// The generated types, which applications are given.
const TYPES: &str = "examples/typescript/database.types.ts";

/// Runs a program of `examples/python/test` as the application's server; returns what it prints.
pub fn python(database: &Database, script: &str) -> Result<Vec<Value>> {
    let dir = layout::root().join("examples/python");
    let mut command = Runtimes::ensure()?.python();
    service_role(&mut command, database);
    command.arg("-B").arg(dir.join("test").join(script)).env("PYTHONPATH", &dir);
    // LiteLLM would fetch its price list at every start.
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    lines(&mut command).with_context(|| format!("examples/python/test/{script}"))
}

/// The same of `examples/typescript/test`, over a connection of its own or, with a server, over HTTP.
pub fn typescript(database: &Database, http: Option<&Http>, script: &str) -> Result<Vec<Value>> {
    let workspace = Workspace::new()?;
    let mut command = Runtimes::ensure()?.node();
    service_role(&mut command, database);
    if let Some(http) = http {
        command.env("SUPABASE_URL", http.url()).env("SUPABASE_SECRET_KEY", SECRET_KEY);
    }
    command.arg(workspace.path().join("test").join(script));
    lines(&mut command).with_context(|| format!("examples/typescript/test/{script}"))
}

/// Asks the server as members, forgers and strangers; fails where an answer is not the expected one. Returns a line for
/// each request, and how many were wrong.
pub fn requests(http: &Http, own: Uuid, other: Uuid) -> Result<String> {
    let mut command = Runtimes::ensure()?.python();
    command.arg("-B").arg(layout::tests_dir().join("data/over_http.py")).arg(format!("{}/rest/v1", http.url()));
    let said = capture(command.args([JWT_SECRET, &own.to_string(), &other.to_string()]));
    said.with_context(|| format!("the server said: {}", http.log()))
}

/// What the compiler says of all examples, strictly; nothing when they are well typed.
pub fn type_errors() -> Result<()> {
    let workspace = Workspace::new()?;
    let runtimes = Runtimes::ensure()?;
    let mut command = runtimes.node();
    command.arg(runtimes.typescript().join("node_modules/typescript/bin/tsc"));
    capture(command.arg("--project").arg(workspace.path()))?;
    Ok(())
}

/// The types that `supabase gen types` makes, as they are and as they should be.
pub fn types(database: &Database) -> Result<(String, String)> {
    let workspace = Workspace::new()?;
    let mut command = Runtimes::ensure()?.node();
    service_role(&mut command, database);
    let wanted = capture(command.arg(workspace.path().join("test/generate-types.ts")))?;
    let present = fs::read_to_string(types_file()).unwrap_or_default();
    Ok((present, wanted))
}

/// Writes the types that the extension has now.
pub fn write_types() -> Result<PathBuf> {
    let (_, wanted) = types(&Database::fresh()?)?;
    fs::write(types_file(), wanted).with_context(|| format!("cannot write {TYPES}"))?;
    Ok(types_file())
}

fn types_file() -> PathBuf {
    layout::root().join(TYPES)
}

/// The sources of `examples/typescript` where Node looks for their packages: below a directory that has them.
struct Workspace {
    dir: TempDir,
}

impl Workspace {
    fn new() -> Result<Workspace> {
        let dir = tempfile::tempdir_in(Runtimes::ensure()?.typescript()).context("no directory for the examples")?;
        copy(&layout::root().join("examples/typescript"), dir.path())?;
        Ok(Workspace { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        // An editor's own packages, should somebody work in there.
        if name == "node_modules" {
            continue;
        }
        if path.is_dir() {
            fs::create_dir(to.join(&name))?;
            copy(&path, &to.join(&name))?;
        } else {
            fs::copy(&path, to.join(&name))?;
        }
    }
    Ok(())
}

/// The variables by which libpq, node-postgres and their like connect: as PostgREST's login role, acting as the server.
fn service_role(command: &mut Command, database: &Database) {
    command.env("PGHOST", database.cluster.dir()).env("PGPORT", PORT.to_string());
    command.env("PGDATABASE", &database.name).env("PGUSER", "authenticator").env("PGOPTIONS", "-c role=service_role");
    command.env("TENANT", TENANT.to_string());
}

fn lines(command: &mut Command) -> Result<Vec<Value>> {
    let printed = capture(command)?;
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("not a line of JSON: {line}"));
    printed.lines().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five minutes' reading each.
    #[test]
    fn adapters_are_short() {
        for dir in ["examples/typescript", "examples/python"] {
            let sources = fs::read_dir(layout::root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
            let adapters: Vec<PathBuf> = sources
                .filter(|path| path.extension().is_some_and(|it| it == "ts" || it == "py"))
                .filter(|path| !path.ends_with("database.types.ts"))
                .collect();
            assert!(adapters.len() >= 4, "{adapters:?}");
            for adapter in adapters {
                let lines = fs::read_to_string(&adapter).unwrap().lines().count();
                assert!(lines <= 110, "{} has {lines} lines", adapter.display());
            }
        }
    }
}
