//! A private server for one process: own data directory, Unix socket only, gone when the process ends.

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::error::SqlState;
use postgres::{Client, NoTls};
use rustix::process::{Pid, Signal, kill_process};

use crate::file_lock::lock;
use crate::install;
use crate::layout;
use crate::major::Major;
use crate::postgres_tree::PostgresTree;
use crate::progress::{capture, tail};
use crate::server_user::{ServerUser, clean_environment};
use crate::supabase::{self, DefaultPrivileges};
use crate::watchdog::Watchdog;

/// The superuser, as on Supabase.
pub const SUPERUSER: &str = "supabase_admin";
/// Only part of the socket's name: nothing listens on TCP.
pub const PORT: u16 = 5432;
/// The kernel's limit on a socket's path is 107 bytes; the rest of it is `/.s.PGSQL.5432`.
const LONGEST_SOCKET_DIR: usize = 90;

/// Set for the outside tests when servers are to preload the library, unless a test says otherwise.
pub const PRELOAD: &str = "PG_TOLLGATE_PRELOAD";

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The server's version. By default the one in use.
    pub major: Major,
    /// `shared_preload_libraries = 'pg_tollgate'`. By default as [`PRELOAD`] says.
    pub preload: bool,
    /// Further lines of postgresql.conf, as name and value.
    pub extra_conf: Vec<(String, String)>,
    pub default_privileges: DefaultPrivileges,
    /// Supabase's roles, schemas and privileges; without, a plain server with no role but the superuser.
    pub supabase: bool,
    /// Whether commits are flushed to disk. Tests do without.
    pub fsync: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions {
            major: Major::in_use(),
            preload: env::var_os(PRELOAD).is_some(),
            extra_conf: Vec::new(),
            default_privileges: DefaultPrivileges::Secure,
            supabase: true,
            fsync: false,
        }
    }
}

pub struct Cluster {
    dir: PathBuf,
    postgres: PostgresTree,
    user: &'static ServerUser,
    options: ClusterOptions,
    /// Databases to copy, made at first use; by default privileges.
    templates: Mutex<HashMap<DefaultPrivileges, String>>,
    /// The databases that tests have made for themselves.
    fresh: Mutex<Vec<String>>,
    watchdog: Option<Watchdog>,
}

impl Cluster {
    pub fn start(options: ClusterOptions) -> Result<Cluster> {
        Cluster::start_in(install::ensure_for(options.major)?, options)
    }

    /// A server of a given copy of Postgres.
    pub fn start_in(postgres: &PostgresTree, options: ClusterOptions) -> Result<Cluster> {
        let cluster = Cluster::prepare(postgres, options)?;
        cluster.pg_ctl("start")?;
        if cluster.options.supabase {
            let mut client = cluster.superuser("postgres")?;
            supabase::create_roles(&mut client)?;
            supabase::furnish_database(&mut client, cluster.options.default_privileges)?;
            supabase::hand_over(&mut client, "postgres")?;
        }
        Ok(cluster)
    }

    /// A server that is not started yet.
    fn prepare(postgres: &PostgresTree, options: ClusterOptions) -> Result<Cluster> {
        let postgres = postgres.clone();
        let user = ServerUser::detect()?;
        let dir = short_temporary_directory()?;
        let watchdog = Some(Watchdog::watch(&dir)?);
        let cluster =
            Cluster { dir, postgres, user, options, templates: Mutex::default(), fresh: Mutex::default(), watchdog };
        cluster.create_data_directory()?;
        Ok(cluster)
    }

    /// A server with the data of this one, of another version, by `pg_upgrade`. This one is stopped for good.
    pub fn upgrade(&self, options: ClusterOptions) -> Result<Cluster> {
        let new = Cluster::prepare(install::ensure_for(options.major)?, options)?;
        self.pg_ctl("stop")?;
        let mut command = self.user.command(&new.postgres.bin("pg_upgrade"));
        command.arg("-b").arg(self.postgres.bindir()).arg("-B").arg(new.postgres.bindir());
        command.arg("-d").arg(self.data_dir()).arg("-D").arg(new.data_dir());
        // It keeps its own notes where it stands, and its sockets where it is told.
        command.args(["-U", SUPERUSER, "--socketdir"]).arg(&new.dir).current_dir(&new.dir);
        if let Err(error) = capture(&mut command) {
            let logs = Command::new("find")
                .arg(new.data_dir().join("pg_upgrade_output.d"))
                .args(["-name", "*.log"])
                .arg("-exec")
                .args(["grep", "-A12", "pg_restore: error", "{}", "+"])
                .output();
            let said = logs.map(|logs| String::from_utf8_lossy(&logs.stdout).into_owned()).unwrap_or_default();
            bail!("cannot upgrade the server: {error:#}\n{}", tail(&said, 60));
        }
        new.pg_ctl("start")?;
        Ok(new)
    }

    /// Makes a standby a server of its own.
    pub fn promote(&self) -> Result<()> {
        self.pg_ctl("promote")
    }

    /// A server that follows this one and answers queries. It is as new as this one was a moment ago.
    pub fn standby(&self) -> Result<Cluster> {
        let dir = short_temporary_directory()?;
        let watchdog = Some(Watchdog::watch(&dir)?);
        let (postgres, user, options) = (self.postgres.clone(), self.user, self.options.clone());
        let standby =
            Cluster { dir, postgres, user, options, templates: Mutex::default(), fresh: Mutex::default(), watchdog };
        self.user.give(&standby.dir)?;
        let mut command = self.user.command(&self.postgres.bin("pg_basebackup"));
        command.arg("-h").arg(&self.dir).args(["-p", &PORT.to_string(), "-U", SUPERUSER]);
        command.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(standby.data_dir());
        capture(&mut command).context("cannot copy the server")?;
        standby.configure("unix_socket_directories", &standby.dir.display().to_string())?;
        standby.pg_ctl("start")?;
        Ok(standby)
    }

    /// The directory of the socket, the data directory and the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub fn postgres(&self) -> &PostgresTree {
        &self.postgres
    }

    /// How a client of the `postgres` crate reaches a database.
    pub fn config(&self, database: &str, user: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        config.host_path(&self.dir).port(PORT).dbname(database).user(user).application_name("tollgate-tests");
        config
    }

    pub fn connect(&self, database: &str, user: &str) -> Result<Client> {
        let config = self.config(database, user);
        config.connect(NoTls).with_context(|| format!("cannot connect to database {database} as {user}"))
    }

    pub fn superuser(&self, database: &str) -> Result<Client> {
        self.connect(database, SUPERUSER)
    }

    /// A client program such as `psql`, `pg_dump` or `pgbench`, pointed at this server.
    pub fn client_program(&self, program: &str, database: &str, user: &str) -> Command {
        let mut command = Command::new(self.postgres.bin(program));
        clean_environment(&mut command);
        command.env("PGHOST", &self.dir).env("PGPORT", PORT.to_string());
        command.env("PGDATABASE", database).env("PGUSER", user);
        command
    }

    /// What a person types to look around.
    pub fn psql_line(&self, database: &str, user: &str) -> String {
        format!("{} -h {} -p {PORT} -U {user} {database}", self.postgres.bin("psql").display(), self.dir.display())
    }

    /// Another value of a setting, from the next start on.
    pub fn configure(&self, name: &str, value: &str) -> Result<()> {
        let conf = self.data_dir().join("postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(&conf).context("cannot open postgresql.conf")?;
        file.write_all(setting(name, value).as_bytes()).context("cannot write postgresql.conf")
    }

    /// Whether the library is preloaded from the next start on.
    pub fn configure_preload(&self, preload: bool) -> Result<()> {
        self.configure("shared_preload_libraries", if preload { "pg_tollgate" } else { "" })
    }

    /// Stops in good order and starts again.
    pub fn restart(&self) -> Result<()> {
        self.pg_ctl("stop")?;
        self.pg_ctl("start")
    }

    /// The same, waiting for all clients to leave.
    pub fn restart_smartly(&self) -> Result<()> {
        self.pg_ctl("stop -m smart")?;
        self.pg_ctl("start")
    }

    /// Stops without a checkpoint and without a word to its clients, and starts again.
    pub fn restart_immediately(&self) -> Result<()> {
        self.pg_ctl("stop -m immediate")?;
        self.start_when_free()
    }

    /// Kills the postmaster, as the out-of-memory killer would, and starts again.
    pub fn crash(&self) -> Result<()> {
        self.kill()?;
        self.start_when_free()
    }

    /// Orphans of a server that is gone notice within moments; until then the data directory is not free.
    fn start_when_free(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            match self.pg_ctl("start") {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.context("the server does not come back")),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Kills the postmaster and leaves it at that.
    pub fn kill(&self) -> Result<()> {
        let pid = self.postmaster_pid()?;
        let process = Pid::from_raw(pid).with_context(|| format!("{pid} is no process id"))?;
        kill_process(process, Signal::KILL).with_context(|| format!("cannot kill process {pid}"))?;
        while is_alive(pid) {
            thread::sleep(Duration::from_millis(5));
        }
        // As long as the pid exists, also as a zombie that is not reaped, the file would keep a new server from starting.
        let file = self.data_dir().join("postmaster.pid");
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }

    pub fn postmaster_pid(&self) -> Result<i32> {
        let path = self.data_dir().join("postmaster.pid");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}: no server runs", path.display()))?;
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        pid.with_context(|| format!("{} names no process", path.display()))
    }

    /// A database with the cluster's look and the extension in it, copied from a template.
    pub fn create_database(&self, name: &str) -> Result<()> {
        self.create_database_with(name, self.options.default_privileges)
    }

    /// The same with given default privileges.
    pub fn create_database_with(&self, name: &str, privileges: DefaultPrivileges) -> Result<()> {
        let template = self.template(privileges)?;
        self.copy_database(&template, name)
    }

    /// A database with the cluster's look and without the extension.
    pub fn create_database_without_extension(&self, name: &str) -> Result<()> {
        self.copy_database("template0", name)?;
        if self.options.supabase {
            supabase::furnish_database(&mut self.superuser(name)?, self.options.default_privileges)?;
        }
        Ok(())
    }

    /// A database of its own for one test; returns the name.
    pub fn fresh_database(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.create_database(&name)?;
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        Ok(name)
    }

    /// Drops what [`Cluster::fresh_database`] has made, so that a run needs the disk of a few databases, not of hundreds.
    pub fn drop_fresh_databases(&self) {
        for name in std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner)) {
            // A server may be stopped, and a subscription keeps its database.
            let _ = self.superuser("postgres").and_then(|mut client| {
                Ok(client.batch_execute(&format!("drop database if exists \"{name}\" with (force)"))?)
            });
        }
    }

    pub fn drop_database(&self, name: &str) -> Result<()> {
        let sql = format!("drop database \"{name}\" with (force)");
        once_unused(&mut self.superuser("postgres")?, &sql).with_context(|| format!("cannot drop database {name}"))
    }

    /// The server and its files stay when this process ends. Returns the line that stops and removes them.
    pub fn keep(mut self) -> Result<String> {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss()?;
        }
        let pid = self.postmaster_pid()?;
        Ok(format!("kill -INT {pid}; sleep 2; rm -r {}", self.dir.display()))
    }

    /// Stops the server; its files stay when this process ends. Returns where.
    pub fn keep_files(mut self) -> Result<PathBuf> {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.dismiss()?;
        }
        // One that has crashed and does not come back is stopped already; its files are wanted all the more.
        let _ = self.pg_ctl("stop -m immediate");
        Ok(self.dir.clone())
    }

    fn template(&self, privileges: DefaultPrivileges) -> Result<String> {
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = templates.get(&privileges) {
            return Ok(name.clone());
        }
        let name = format!("template_{}", privileges.name());
        self.copy_database("template0", &name)?;
        let mut client = self.superuser(&name)?;
        if self.options.supabase {
            supabase::furnish_database(&mut client, privileges)?;
        }
        client.batch_execute("create extension pg_tollgate").context("cannot create the extension")?;
        drop(client);
        // A connection to it would stand in the way of copying it.
        self.superuser("postgres")?.batch_execute(&format!("alter database \"{name}\" allow_connections false"))?;
        templates.insert(privileges, name.clone());
        Ok(name)
    }

    fn copy_database(&self, template: &str, name: &str) -> Result<()> {
        let mut client = self.superuser("postgres")?;
        let sql = format!("create database \"{name}\" template \"{template}\"");
        once_unused(&mut client, &sql).with_context(|| format!("cannot create database {name}"))?;
        if self.options.supabase {
            supabase::hand_over(&mut client, name)?;
        }
        Ok(())
    }

    fn create_data_directory(&self) -> Result<()> {
        let template = data_template(&self.postgres, self.user)?;
        capture(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(self.data_dir()))?;
        let conf = self.data_dir().join("postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(&conf).context("cannot open postgresql.conf")?;
        file.write_all(self.configuration().as_bytes()).context("cannot write postgresql.conf")?;
        self.user.give(&self.dir)
    }

    fn configuration(&self) -> String {
        let flush = if self.options.fsync { "on" } else { "off" };
        let mut lines = vec![
            ("listen_addresses", String::new()),
            ("unix_socket_directories", self.dir.display().to_string()),
            ("port", PORT.to_string()),
            ("max_connections", "200".to_string()),
            ("fsync", flush.to_string()),
            ("full_page_writes", flush.to_string()),
            // Making a database writes it all to the log once more.
            ("min_wal_size", "32MB".to_string()),
            ("max_wal_size", "128MB".to_string()),
            ("timezone", "UTC".to_string()),
            ("log_timezone", "UTC".to_string()),
            ("log_line_prefix", "%m [%p] %u@%d ".to_string()),
        ];
        if self.options.preload {
            lines.push(("shared_preload_libraries", "pg_tollgate".to_string()));
        }
        // Most tests ask who has folded what: where workers are wanted, the further lines say so.
        lines.push(("pg_tollgate.workers", "0".to_string()));
        lines.extend(self.options.extra_conf.iter().map(|(name, value)| (name.as_str(), value.clone())));
        lines.iter().map(|(name, value)| setting(name, value)).collect()
    }

    /// Runs `pg_ctl start`, `stop`, or `stop` with another mode than its own default, `fast`.
    fn pg_ctl(&self, verb: &str) -> Result<()> {
        let mut command = self.user.command(&self.postgres.bin("pg_ctl"));
        command.args(verb.split(' ')).args(["-w", "-s", "-t", "60", "-D"]).arg(self.data_dir());
        if verb == "start" {
            command.arg("-l").arg(self.log_path());
        }
        if let Err(error) = capture(&mut command) {
            let log = fs::read_to_string(self.log_path()).unwrap_or_default();
            bail!("cannot {verb} the server: {error:#}\nThe end of its log:\n{}", tail(&log, 20));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.finish();
        }
    }
}

/// Runs a statement that needs a database for itself. Postgres waits five seconds for sessions that are ending; on a busy
/// machine they need longer.
pub fn once_unused(client: &mut Client, statement: &str) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let end = Instant::now() + PATIENCE;
    loop {
        match client.batch_execute(statement) {
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && Instant::now() < end => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// A line of postgresql.conf.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\'', "''"))
}

/// Whether a process runs. The state comes after the name, which is in parentheses and may hold anything.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Below the system's temporary directory, unless that is too long for a socket.
fn short_temporary_directory() -> Result<PathBuf> {
    let mut parent = env::temp_dir();
    if parent.as_os_str().len() > LONGEST_SOCKET_DIR - "/tollgate-123456".len() {
        parent = PathBuf::from("/tmp");
    }
    let dir = tempfile::Builder::new().prefix("tollgate-").tempdir_in(&parent);
    // The watchdog removes it, also when we are killed.
    Ok(dir.with_context(|| format!("cannot create a directory below {}", parent.display()))?.keep())
}

/// What `initdb` makes, kept for the next time: it takes longer than everything else here.
fn data_template(postgres: &PostgresTree, user: &ServerUser) -> Result<PathBuf> {
    let _lock = lock("cluster-template")?;
    let version = postgres.version()?;
    let key: String = version.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let template = layout::target().join("cluster-template").join(key);
    if template.is_dir() {
        return Ok(template);
    }
    let parent = layout::target().join("cluster-template");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    // Made elsewhere first: the server's user may not be allowed to write below the checkout.
    let workshop = tempfile::Builder::new().prefix("tollgate-initdb-").tempdir().context("no temporary directory")?;
    user.give(workshop.path())?;
    let data = workshop.path().join("data");
    let mut initdb = user.command(&postgres.bin("initdb"));
    if postgres.major() >= Major::Pg18 {
        // The versions before have them off, and `pg_upgrade` wants them equal.
        initdb.arg("--no-data-checksums");
    }
    initdb.args(["-U", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "-D"]);
    capture(initdb.arg(&data)).context("cannot initialise a data directory")?;
    let unfinished = template.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    capture(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&data).arg(&unfinished))?;
    fs::rename(&unfinished, &template).with_context(|| format!("cannot rename {}", unfinished.display()))?;
    Ok(template)
}
