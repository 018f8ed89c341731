//! No server outlives the process that started it.
//!
//! Statics are not dropped and a killed process drops nothing. So each cluster has a small shell process that waits for
//! the end of a pipe. The kernel closes the pipe however we end; then the shell stops the server and removes its files.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// `$1` is the cluster's directory. A server that does not stop at once within five seconds is killed. It has stopped
/// when its pid file is gone: in a container that reaps nothing the process itself may stay as a zombie.
const SCRIPT: &str = r#"
if read -r word && [ "$word" = keep ]; then exit 0; fi
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    turns=0
    while [ -e "$1/data/postmaster.pid" ] && kill -0 "$pid" && [ "$turns" -lt 100 ]; do sleep 0.05; turns=$((turns + 1)); done
    if [ -e "$1/data/postmaster.pid" ]; then kill -KILL "$pid"; fi
fi 2>/dev/null
rm -rf "$1"
"#;

pub struct Watchdog {
    child: Child,
}

impl Watchdog {
    pub fn watch(cluster_dir: &Path) -> Result<Watchdog> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "watchdog"]).arg(cluster_dir);
        // A group of its own: Ctrl-C is for us, and our end is what it waits for.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Watchdog { child: command.spawn().context("cannot start sh")? })
    }

    /// From now on the server stays when we end.
    pub fn dismiss(mut self) -> Result<()> {
        let mut pipe = self.child.stdin.take().context("the watchdog's pipe is closed already")?;
        pipe.write_all(b"keep\n").context("cannot reach the watchdog")?;
        drop(pipe);
        self.child.wait().context("cannot wait for the watchdog")?;
        Ok(())
    }

    /// Stops the server and removes its files, and returns when that is done.
    pub fn finish(mut self) {
        drop(self.child.stdin.take());
        // Nothing to be done about a failure here: the shell reports to no process by design.
        let _ = self.child.wait();
    }
}
