//! PgBouncer before a server, in transaction mode with one connection for each database and login role. Every request
//! of every client goes through the session that the one before has left.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::{Client, NoTls};

use crate::cluster::{Cluster, PORT, SUPERUSER};
use crate::layout::PGBOUNCER;
use crate::server_user::ServerUser;

/// Only part of the socket's name.
const POOLER_PORT: u16 = 6432;

/// A running pooler, which ends with the value, and with the thread that started it.
pub struct Pgbouncer {
    child: Child,
    dir: PathBuf,
}

impl Pgbouncer {
    pub fn start(cluster: &Cluster) -> Result<Pgbouncer> {
        if !Path::new(PGBOUNCER).is_file() {
            bail!("PgBouncer is missing ({PGBOUNCER}): `cargo xtask setup` installs it, or the package pgbouncer");
        }
        let dir = tempfile::Builder::new().prefix("pool-").tempdir_in(cluster.dir())?.keep();
        let user = ServerUser::detect()?;
        let users = dir.join("users");
        fs::write(&users, format!("\"authenticator\" \"\"\n\"{SUPERUSER}\" \"\"\n"))?;
        let settings = format!(
            "[databases]\n* = host={server} port={PORT}\n[pgbouncer]\nlisten_port = {POOLER_PORT}\n\
             unix_socket_dir = {dir}\nauth_type = trust\nauth_file = {users}\npool_mode = transaction\n\
             default_pool_size = 1\nreserve_pool_size = 0\nlogfile = {dir}/log\n",
            server = cluster.dir().display(),
            dir = dir.display(),
            users = users.display(),
        );
        let file = dir.join("pgbouncer.ini");
        fs::write(&file, settings)?;
        user.give(&dir)?;
        let mut command = user.command(Path::new("setpriv"));
        command.args(["--pdeathsig", "KILL", PGBOUNCER, "-q"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start PgBouncer")?;
        let mut pooler = Pgbouncer { child, dir };
        pooler.wait()?;
        Ok(pooler)
    }

    fn wait(&mut self) -> Result<()> {
        let socket = self.dir.join(format!(".s.PGSQL.{POOLER_PORT}"));
        let deadline = Instant::now() + Duration::from_secs(60);
        // The file is there before PgBouncer listens.
        while UnixStream::connect(&socket).is_err() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                bail!("PgBouncer does not start: {log}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn connect(&self, database: &str, user: &str) -> Result<Client> {
        let mut config = postgres::Config::new();
        config.host_path(&self.dir).port(POOLER_PORT).dbname(database).user(user);
        config.connect(NoTls).with_context(|| format!("cannot connect to {database} as {user} through PgBouncer"))
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
