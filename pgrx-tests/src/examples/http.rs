//! PostgREST's protocol before a database: npm's `@supabase/lite`, which speaks it to a Postgres without Docker.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};

use super::runtimes::Runtimes;
use super::{Workspace, service_role};
use crate::support::Database;

/// What supabase-js shows to act as `service_role`.
pub const SECRET_KEY: &str = "sb_secret_examples";

const LOG: &str = "http.log";
/// What tokens of users are signed with.
pub const JWT_SECRET: &str = "signs-tokens-of-the-examples-alone-0123456789";

/// A running server, which ends with the value, and with the thread that started it.
pub struct Http {
    child: Child,
    port: u16,
    workspace: Workspace,
}

impl Http {
    /// It connects as PostgREST does, as `authenticator`, and takes on the role that the key stands for.
    pub fn start(database: &Database) -> Result<Http> {
        let workspace = Workspace::new()?;
        let log = workspace.path().join(LOG);
        let mut node = Runtimes::ensure()?.node();
        service_role(&mut node, database);
        node.env_remove("PGOPTIONS").env("SUPABASE_SECRET_KEY", SECRET_KEY).env("SUPABASE_JWT_SECRET", JWT_SECRET);
        node.env("LITE_TELEMETRY", "0").env("DO_NOT_TRACK", "1").arg(workspace.path().join("test/http.ts"));
        node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&log)?);
        let mut child = node.spawn().context("cannot start setpriv")?;
        let mut port = String::new();
        let printed = child.stdout.take().context("no pipe")?;
        // Ends when it listens, or when it ends.
        BufReader::new(printed).read_line(&mut port).context("cannot read the port of @supabase/lite")?;
        let Ok(port) = port.trim().parse() else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("@supabase/lite does not start: {port}{}", fs::read_to_string(&log).unwrap_or_default());
        };
        Ok(Http { child, port, workspace })
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.workspace.path().join(LOG)).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
