//! The user that runs the server. Postgres refuses root, and containers are mostly root.
//!
//! As root the server runs in a user namespace in which we look like `postgres`. The real owner of every file stays
//! root, so no file changes its owner. Where namespaces are forbidden we really become `postgres`, which then needs a
//! data directory of its own. It keeps the right to read files whatever their owner: a checkout may lie below /root.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::progress::capture;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerUser {
    /// We are not root: the server runs as ourselves.
    Ourselves,
    /// Root, seen as this user inside a user namespace.
    Namespace(SystemUser),
    /// Root, becoming this user.
    Switched(SystemUser),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl ServerUser {
    /// Finds out once per process what this machine allows.
    pub fn detect() -> Result<&'static ServerUser> {
        static FOUND: OnceLock<ServerUser> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let found = ServerUser::choose()?;
        Ok(FOUND.get_or_init(|| found))
    }

    fn choose() -> Result<ServerUser> {
        if !rustix::process::geteuid().is_root() {
            return Ok(ServerUser::Ourselves);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let Some(account) = account(&passwd, "postgres").or_else(|| account(&passwd, "nobody")) else {
            bail!("Postgres does not run as root, and this machine has neither a user `postgres` nor `nobody`");
        };
        for user in [ServerUser::Namespace(account.clone()), ServerUser::Switched(account)] {
            if user.works() {
                return Ok(user);
            }
        }
        bail!(
            "Postgres does not run as root, and neither `unshare --user` nor `setpriv` works here: run as another user"
        )
    }

    fn works(&self) -> bool {
        let status = self.command(Path::new("true")).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn prefix(&self) -> Vec<String> {
        match self {
            ServerUser::Ourselves => Vec::new(),
            ServerUser::Namespace(account) => vec![
                "unshare".to_string(),
                "--user".to_string(),
                format!("--map-user={}", account.uid),
                format!("--map-group={}", account.gid),
            ],
            ServerUser::Switched(account) => vec![
                "setpriv".to_string(),
                format!("--reuid={}", account.uid),
                format!("--regid={}", account.gid),
                "--clear-groups".to_string(),
                "--inh-caps=+dac_override".to_string(),
                "--ambient-caps=+dac_override".to_string(),
                // access(2) asks for the real user's rights, and forgets these without it.
                "--securebits=+no_setuid_fixup".to_string(),
            ],
        }
    }

    /// A command that runs `program` as the server's user, in an environment fit for a server.
    pub fn command(&self, program: &Path) -> Command {
        let prefix = self.prefix();
        let mut command = match prefix.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        clean_environment(&mut command);
        // Whatever its environment asks for, no client is shown a backtrace.
        command.env("RUST_BACKTRACE", "1");
        if let ServerUser::Namespace(account) | ServerUser::Switched(account) = self {
            command.env("USER", &account.name).env("LOGNAME", &account.name);
        }
        command
    }

    /// The same for a person to type.
    pub fn shell_prefix(&self) -> String {
        self.prefix().iter().map(|word| format!("{word} ")).collect()
    }

    /// Gives a directory to the server's user where that really is another user.
    pub fn give(&self, dir: &Path) -> Result<()> {
        if let ServerUser::Switched(account) = self {
            let owner = format!("{}:{}", account.uid, account.gid);
            capture(Command::new("chown").args(["-R", &owner]).arg(dir))?;
        }
        Ok(())
    }
}

/// Settings of the caller's shell that must not reach a server or a client of it.
pub fn clean_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") && !text.starts_with("PGRX") {
            command.env_remove(&name);
        }
    }
}

fn account(passwd: &str, name: &str) -> Option<SystemUser> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let fields: Vec<&str> = line.split(':').collect();
    Some(SystemUser { name: name.to_string(), uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n";
        let found = account(passwd, "postgres");
        assert_eq!(found, Some(SystemUser { name: "postgres".into(), uid: 101, gid: 104 }));
        assert_eq!(account(passwd, "post"), None);
    }
}
