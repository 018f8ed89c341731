//! Format and clippy, for every crate, warnings refused.

use std::process::Command;

use anyhow::{Result, bail};

use crate::crates;
use crate::layout;
use crate::progress::run_checked;
use crate::setup::{Toolbox, setup};

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
    clippy("pg_tollgate-tests", &mut harness)
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
