//! One racing session, and the race.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::{Client, IsolationLevel};
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::support::Database;

pub const LEVELS: [IsolationLevel; 3] =
    [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable];

/// How a charge of one dollar is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Llm,
    E2b,
    Bare,
}

pub const WAYS: [Way; 3] = [Way::Llm, Way::E2b, Way::Bare];

impl Way {
    pub fn resource(self) -> &'static str {
        match self {
            Way::Llm | Way::Bare => "llm",
            Way::E2b => "e2b",
        }
    }

    /// A query for whether the charge was admitted. `more` are further arguments, by name.
    pub fn charge(self, tenant: Uuid, user: Option<Uuid>, usd: &str, more: &str) -> String {
        let user = user.map_or("null".to_string(), |user| format!("'{user}'"));
        match self {
            Way::Llm => format!(
                "select recorded from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_user_id => {user},
                     p_cost_usd => {usd}, p_enforce => true{more})"
            ),
            Way::E2b => format!(
                "select recorded from public.record_e2b_cost('{tenant}', 's', 't', 1, p_user_id => {user},
                     p_cost_usd => {usd}, p_enforce => true{more})"
            ),
            Way::Bare if user == "null" => {
                format!("select allowed from public.check_and_record_quota_atomic('tenant', '{tenant}', {usd}{more})")
            }
            Way::Bare => format!(
                "select allowed from public.check_and_record_quota_atomic('user', {user}, {usd},
                     p_tenant_id => '{tenant}'{more})"
            ),
        }
    }
}

/// A connection as the application's server.
pub fn connect(database: &Database) -> Result<Client> {
    let mut client = database.superuser()?;
    // A lock that is never released must fail the test, not hang it.
    client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    Ok(client)
}

/// One transaction with these charges; how many were admitted. Retried when the server asks for that.
pub fn transact(client: &mut Client, level: IsolationLevel, charges: &[String]) -> Result<usize> {
    for _ in 0..500 {
        let attempt = || -> Result<usize, postgres::Error> {
            let mut transaction = client.build_transaction().isolation_level(level).start()?;
            let mut admitted = 0;
            for charge in charges {
                admitted += usize::from(transaction.query_one(charge, &[])?.get::<_, bool>(0));
            }
            transaction.commit()?;
            Ok(admitted)
        };
        let mut attempt = attempt;
        match attempt() {
            Ok(admitted) => return Ok(admitted),
            Err(error) if sqlstate(&error) == "40001" => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error).with_context(|| format!("{level:?}: {charges:?}")),
        }
    }
    bail!("500 serialization failures in a row")
}

/// Runs `work` in so many threads, each with its own connection, that all begin at once.
pub fn race<T: Send>(
    database: &Database,
    sessions: usize,
    work: impl Fn(usize, &mut Client) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let start = Barrier::new(sessions);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..sessions)
            .map(|index| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    let client = connect(database);
                    start.wait();
                    work(index, &mut client?)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a session panicked"))).collect()
    })
}

/// Waits until so many clients of this database wait for a lock.
pub fn wait_until_blocked(database: &Database, backends: i64) -> Result<()> {
    let mut watcher = database.superuser()?;
    let sql = "select count(*) from pg_stat_activity
               where datname = current_database() and backend_type = 'client backend' and wait_event_type = 'Lock'";
    until("a client waits for a lock", || Ok(watcher.query_one(sql, &[])?.get::<_, i64>(0) >= backends))
}

/// Whether this backend waits for a lock at this moment.
pub fn is_blocked(watcher: &mut Client, pid: i32) -> Result<bool> {
    let sql = "select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')";
    Ok(watcher.query_one(sql, &[&pid])?.get(0))
}

/// Asks again and again. The bound is far above what a busy machine needs: it only keeps a fault from hanging the test.
pub fn until(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !happened()? {
        if Instant::now() > deadline {
            bail!("it does not happen that {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
