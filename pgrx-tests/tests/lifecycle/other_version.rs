//! Library and objects of two versions, as they are for some seconds while an installation is upgraded: nothing is
//! charged, nothing is written, and every answer says why. The other versions are this one under other numbers.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::install;
use tollgate_tests::postgres_tree::PostgresTree;
use tollgate_tests::scripts::extensions;

use crate::support::{assert_verified, charged_nanos, differences, id, limit, make_tenant, preloaded, text};

pub const THIS: &str = env!("CARGO_PKG_VERSION");

/// A version that never was, with numbers of as many digits.
pub fn earlier() -> String {
    THIS.replace(|it: char| it.is_ascii_digit(), "0")
}

fn later() -> String {
    THIS.replace(|it: char| it.is_ascii_digit(), "9")
}

/// A server whose files are its own, so that some can be added and others replaced.
pub struct Server {
    pub tree: PostgresTree,
    pub cluster: Cluster,
    preload: bool,
    _dir: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Result<Server> {
        Server::start_with(ClusterOptions::default())
    }

    fn start_with(options: ClusterOptions) -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let tree = install::ensure()?.copy(&dir.path().join("server"))?;
        let preload = options.preload;
        Ok(Server { cluster: Cluster::start_in(&tree, options)?, tree, preload, _dir: dir })
    }

    pub fn script(&self, extension: &str, versions: &str) -> PathBuf {
        self.tree.extension_dir().join(format!("{extension}--{versions}.sql"))
    }

    /// A script from one version to another: what each begins with, and what it changes.
    pub fn write_upgrade(&self, extension: &str, from: &str, to: &str, changes: &str) -> Result<()> {
        let begin = "select copilot_internal.begin_script(extversion) from pg_catalog.pg_extension where extname = ";
        let path = self.script(extension, &format!("{from}--{to}"));
        Ok(fs::write(path, format!("{begin}'{extension}';\n{changes}"))?)
    }

    /// Puts the library of another version in the place of the one that is there, as a package does: under its name lies
    /// another file. Sessions that have the old one keep it, and where it is preloaded that is all of them.
    pub fn put_library(&self, version: &str) -> Result<()> {
        const MARK: &str = "pg_tollgate library ";
        let path = self.tree.libdir().join("pg_tollgate.so");
        let mut bytes = fs::read(&path)?;
        let starts = |at: &usize| bytes[*at..].starts_with(MARK.as_bytes());
        let at = (0..bytes.len()).find(starts).context("the library does not tell its version")? + MARK.len();
        ensure!(version.len() == THIS.len(), "{version} has not as many digits as {THIS}");
        bytes[at..at + version.len()].copy_from_slice(version.as_bytes());
        let new = path.with_extension("new");
        fs::copy(&path, &new)?;
        fs::write(&new, bytes)?;
        Ok(fs::rename(&new, &path)?)
    }

    /// The same for all sessions from now on.
    pub fn use_library(&self, version: &str) -> Result<()> {
        self.put_library(version)?;
        if self.preload { self.cluster.restart() } else { Ok(()) }
    }
}

/// It is refused, and the message or the hint has these words.
#[track_caller]
fn assert_refused<T>(outcome: Result<T, postgres::Error>, words: [&str; 2]) {
    let error = outcome.err();
    let error = error.as_ref().and_then(postgres::Error::as_db_error);
    assert_eq!(error.map(|error| error.code().code()), Some("55000"), "{error:?}");
    let said = error.map(|error| format!("{}. {}", error.message(), error.hint().unwrap_or_default()));
    assert!(said.as_ref().is_some_and(|said| words.iter().all(|word| said.contains(word))), "{said:?}");
}

const CHARGE: &str = "select allowed from public.check_and_record_quota_atomic('tenant', $1, 1)";

/// What charges, holds, corrects, checks, configures and tidies up.
fn calls() -> Vec<String> {
    let tenant = id(1);
    [
        "select * from public.check_quota_before_operation('$T', 'llm', 1)",
        "select public.has_quota('$T', 'llm', 1)",
        "select public.require_quota('$T', 'llm', 1)",
        "select * from public.check_and_record_quota_atomic('tenant', '$T', 1)",
        "select * from public.reserve_quota('$T', 'llm', 1, 'other')",
        "select * from public.commit_reservation((select id from copilot_internal.quota_reservations), 1)",
        "select * from public.release_reservation((select id from copilot_internal.quota_reservations))",
        "select * from public.extend_reservation((select id from copilot_internal.quota_reservations), '1 hour')",
        "select * from public.record_llm_cost('$T', 'p', 'm', 1, 1, p_cost_usd => 1)",
        "select * from public.record_llm_usage('$T', 'p', 'm', '{\"prompt_tokens\": 1}', p_cost_usd => 1)",
        "select * from public.record_llm_costs('[{\"tenant_id\": \"$T\", \"model_provider\": \"p\", \"model_name\": \"m\", \"input_tokens\": 1, \"output_tokens\": 1, \"cost_usd\": 1}]')",
        "select * from public.record_e2b_cost('$T', 's', 't', 1, p_cost_usd => 1)",
        "select * from public.refund_cost((select id from copilot_internal.llm_cost_records), 1, 'refund')",
        "select public.set_quota('tenant', '$T', 'e2b', 1)",
        "insert into copilot_internal.tenants (id, name) values (gen_random_uuid(), 'another')",
        "update copilot_internal.tenants set plan = 'gold'",
        "delete from copilot_internal.pending_costs",
        "select copilot_internal.maintain()",
        "select public.delete_tenant('$T')",
        "select * from public.create_conversation('$T', '$U')",
    ]
    .map(|call| call.replace("$T", &tenant.to_string()).replace("$U", &id(0xa).to_string()))
    .to_vec()
}

/// Whatever is called is refused, and nothing has changed; costs can be read.
fn assert_all_refused(client: &mut Client, words: [&str; 2]) -> Result<()> {
    let ledger = "select (select count(*) from copilot_internal.llm_cost_records) || ' ' ||
                      (select count(*) from copilot_internal.pending_costs) || ' ' || (select count(*) from metrics.llm_costs)";
    let before = text(client, ledger, &[])?;
    for call in calls() {
        println!("{call}");
        assert_refused(client.batch_execute(&call), words);
    }
    assert_eq!(text(client, ledger, &[])?, before);
    Ok(())
}

fn furnish(server: &Server) -> Result<Client> {
    server.cluster.create_database("app")?;
    let mut client = server.cluster.superuser("app")?;
    client.batch_execute("create extension pg_tollgate_conversations")?;
    make_tenant(&mut client, id(1))?;
    limit(&mut client, id(1), "all", "100")?;
    client.batch_execute(&format!(
        "select public.record_llm_cost('{0}', 'p', 'm', 1, 1, p_cost_usd => 2);
         select public.reserve_quota('{0}', 'llm', 1, 'held')",
        id(1)
    ))?;
    Ok(client)
}

/// Scripts of the later version of both extensions, which change something.
fn write_later(server: &Server) -> Result<()> {
    for extension in extensions()? {
        fs::copy(server.script(&extension, THIS), server.script(&extension, &later()))?;
        server.write_upgrade(&extension, THIS, &later(), "")?;
    }
    server.write_upgrade(
        "pg_tollgate",
        THIS,
        &later(),
        "alter table copilot_internal.llm_cost_records add column later text;\n",
    )
}

fn upgrade(client: &mut Client, to: &str) -> Result<(), postgres::Error> {
    client.batch_execute(&format!(
        "begin; alter extension pg_tollgate update to '{to}'; alter extension pg_tollgate_conversations update to '{to}'; commit"
    ))
}

fn charges(client: &mut Client) -> Result<bool, postgres::Error> {
    Ok(client.query_one(CHARGE, &[&id(1)])?.get(0))
}

#[test]
fn an_old_library_refuses_a_newer_script() -> Result<()> {
    let server = Server::start()?;
    let mut client = furnish(&server)?;
    write_later(&server)?;
    let words = [later(), format!("the library is {THIS}")];
    let words = [words[0].as_str(), words[1].as_str()];
    assert_refused(client.batch_execute(&format!("alter extension pg_tollgate update to '{}'", later())), words);
    server.cluster.create_database_without_extension("newer")?;
    let mut other = server.cluster.superuser("newer")?;
    assert_refused(other.batch_execute(&format!("create extension pg_tollgate version '{}'", later())), words);
    other.batch_execute("create extension pg_tollgate")?;
    let second = format!("create extension pg_tollgate_conversations version '{}'", later());
    assert_refused(other.batch_execute(&second), ["does not fit", THIS]);
    // Nothing has come of it.
    assert!(charges(&mut client)?);
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn a_newer_library_waits_for_the_upgrade() -> Result<()> {
    let server = Server::start()?;
    let mut old = furnish(&server)?;
    write_later(&server)?;
    server.put_library(&later())?;
    // Sessions go on with the library that they have.
    assert!(charges(&mut old)?);
    if server.preload {
        assert!(charges(&mut server.cluster.superuser("app")?)?);
        server.cluster.restart()?;
    }
    let mut client = server.cluster.superuser("app")?;
    assert_eq!(preloaded(&mut client)?, server.preload);
    let own = format!("the library is {}", later());
    assert_all_refused(&mut client, [&own, "Run alter extension"])?;
    // In the order of the documents; in any other it is refused.
    let second = format!("alter extension pg_tollgate_conversations update to '{}'", later());
    assert_refused(client.batch_execute(&second), ["does not fit", "pg_tollgate update"]);
    client.batch_execute(&format!("alter extension pg_tollgate update to '{}'", later()))?;
    assert!(charges(&mut client)?);
    let append = format!("select * from public.create_conversation('{}', null)", id(1));
    assert_refused(client.batch_execute(&append), ["pg_tollgate_conversations is", "Run alter extension"]);
    client.batch_execute(&second)?;
    client.batch_execute(&append)?;
    assert_verified(&mut client);
    // It is the same in every session, also in one that has asked before.
    let charged = charged_nanos(&mut client, id(1))?;
    if !server.preload {
        let has = "the library is ".to_string() + THIS;
        assert_all_refused(&mut old, [&has, "Connect again"])?;
    }
    assert_eq!(charged_nanos(&mut client, id(1))?, charged);
    Ok(())
}

/// Rolled back, it never was; and a library that is newer than what a script makes works with it only when that is
/// upgraded in turn.
#[test]
fn an_upgrade_that_is_rolled_back_changes_nothing() -> Result<()> {
    let server = Server::start()?;
    drop(furnish(&server)?);
    write_later(&server)?;
    server.use_library(&later())?;
    let mut client = server.cluster.superuser("app")?;
    assert_refused(charges(&mut client), [THIS, "alter extension"]);
    client.batch_execute("begin")?;
    client.batch_execute(&format!("alter extension pg_tollgate update to '{}'", later()))?;
    assert!(charges(&mut client)?);
    client.batch_execute("rollback")?;
    assert_refused(charges(&mut client), [THIS, "alter extension"]);
    assert_refused(differences_or_error(&mut client), [THIS, "alter extension"]);
    // An older script than the library: there is one way on.
    server.cluster.create_database_without_extension("older")?;
    let mut older = server.cluster.superuser("older")?;
    older.batch_execute(&format!("create extension pg_tollgate version '{THIS}'"))?;
    assert_refused(charges(&mut older), [THIS, "alter extension"]);
    older.batch_execute(&format!("alter extension pg_tollgate update to '{}'", later()))?;
    make_tenant(&mut older, id(1))?;
    assert!(charges(&mut older)?);
    upgrade(&mut client, &later())?;
    assert!(charges(&mut client)?);
    assert_verified(&mut client);
    Ok(())
}

fn differences_or_error(client: &mut Client) -> Result<(), postgres::Error> {
    client.batch_execute("select * from copilot_internal.verify_counters(), copilot_internal.reload_counters()")
}

/// Where nothing is preloaded, sessions of both libraries run at once: an upgrade waits for charges that are under way,
/// and those that wait for the upgrade are refused, not written.
#[test]
fn charges_under_way_end_before_an_upgrade() -> Result<()> {
    let server = Server::start_with(ClusterOptions { preload: false, ..ClusterOptions::default() })?;
    let mut under_way = furnish(&server)?;
    let mut waiting = server.cluster.superuser("app")?;
    assert!(charges(&mut waiting)?);
    write_later(&server)?;
    server.put_library(&later())?;
    let mut client = server.cluster.superuser("app")?;
    let mut watch = server.cluster.superuser("app")?;
    let before = charged_nanos(&mut watch, id(1))?;
    under_way.batch_execute("begin")?;
    assert!(charges(&mut under_way)?);
    thread::scope(|scope| -> Result<()> {
        let upgrading = scope.spawn(|| {
            client.batch_execute("begin")?;
            client.batch_execute(&format!("alter extension pg_tollgate update to '{}'", later()))
        });
        until_waiting(&mut watch, 1)?;
        under_way.batch_execute("commit")?;
        upgrading.join().expect("it does not panic")?;
        Ok(())
    })?;
    thread::scope(|scope| -> Result<()> {
        let charging = scope.spawn(|| charges(&mut waiting));
        until_waiting(&mut watch, 1)?;
        client.batch_execute("commit")?;
        assert_refused(charging.join().expect("it does not panic"), [THIS, "Connect again"]);
        Ok(())
    })?;
    assert_eq!(charged_nanos(&mut watch, id(1))? - before, 1_000_000_000);
    client.batch_execute(&format!("alter extension pg_tollgate_conversations update to '{}'", later()))?;
    assert!(charges(&mut client)?);
    assert_eq!(differences(&mut client)?, Vec::<String>::new());
    Ok(())
}

/// So many sessions of the database wait for a lock.
fn until_waiting(client: &mut Client, sessions: i64) -> Result<()> {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(120);
    while client.query_one(sql, &[])?.get::<_, i64>(0) < sessions {
        ensure!(Instant::now() < deadline, "nobody waits");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
