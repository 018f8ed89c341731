//! Format and clippy, for every crate, warnings refused; and what the dependencies may be (`deny.toml`).

use std::process::Command;

use anyhow::{Result, bail};

use crate::crates;
use crate::layout;
use crate::progress::run_checked;
use crate::setup::{Toolbox, cargo_deny, setup};

pub fn lint() -> Result<()> {
    let toolbox = setup()?;
    crates::check_complete(&toolbox)?;
    format(&toolbox)?;
    for run in crates::CORE {
        clippy(&run.name(), &mut run.clippy(&toolbox))?;
    }
    let mut extension = toolbox.cargo();
    extension.args(["clippy", "-p", "pg_tollgate", "--no-default-features", "--features", "pg15", "--all-targets"]);
    clippy("pg_tollgate", &mut extension)?;
    let mut harness = toolbox.cargo();
    harness.args(["clippy", "-p", "pg_tollgate-tests", "--all-targets"]);
    clippy("pg_tollgate-tests", &mut harness)?;
    dependencies(&toolbox)
}

fn format(toolbox: &Toolbox) -> Result<()> {
    // The difference is the message, so it goes straight to the caller's terminal.
    let status = toolbox.cargo().args(["fmt", "--all", "--check"]).status()?;
    if !status.success() {
        bail!("the code is not formatted: run `cargo fmt --all`");
    }
    println!("cargo fmt: clean");
    Ok(())
}

fn clippy(name: &str, command: &mut Command) -> Result<()> {
    let log = layout::target().join(format!("clippy-{}.log", name.replace(' ', "-")));
    let title = format!("Clippy on {name}");
    run_checked(&title, "about a minute the first time", &log, command.args(["--", "-D", "warnings"]))?;
    println!("clippy on {name}: clean");
    Ok(())
}

fn dependencies(toolbox: &Toolbox) -> Result<()> {
    let mut command = Command::new(cargo_deny()?);
    toolbox.environment(&mut command);
    // The lock file says which versions; advisories would come from a network.
    command.args(["--locked", "check", "bans", "licenses", "sources"]);
    let log = layout::target().join("deny.log");
    run_checked("Licenses, bans and sources of the dependencies", "some seconds", &log, &mut command)?;
    println!("cargo deny: clean");
    Ok(())
}
