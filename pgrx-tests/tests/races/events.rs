//! Events: none is lost when transactions roll back or cross a threshold only together, none is written twice, and no
//! transaction waits for one.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::charger::{LEVELS, Way, connect, race, wait_until_blocked};
use crate::support::{Database, assert_verified, id, limit, make_tenant, preloaded, texts};

/// A tenant with a limit of one dollar for ever, and what it has spent.
fn tenant(database: &Database, spent: &str) -> Result<Uuid> {
    let mut client = connect(database)?;
    let tenant = id(1);
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    charge(&mut client, tenant, spent)?;
    Ok(tenant)
}

fn charge(client: &mut Client, tenant: Uuid, usd: &str) -> Result<()> {
    let sql = format!("select recorded from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => {usd})");
    client.query_one(&sql, &[])?;
    Ok(())
}

/// What the outbox holds, in the order of the thresholds.
fn told(client: &mut Client) -> Result<Vec<String>> {
    let sql =
        "select coalesce(threshold::text, event_type) from copilot_internal.quota_events order by threshold nulls last";
    texts(client, sql, &[])
}

fn claimed(client: &mut Client) -> Result<Vec<String>> {
    texts(client, "select id::text from public.claim_quota_events()", &[])
}

/// Where charges of a tenant are serial the second waits for the first, and sees it.
fn beside<T: Send>(
    database: &Database,
    second: impl FnOnce(&mut Client) -> Result<T> + Send,
    end_first: impl FnOnce() -> Result<()>,
) -> Result<T> {
    let serial = !preloaded(&mut database.superuser()?)?;
    thread::scope(|scope| {
        let second = scope.spawn(|| second(&mut connect(database)?));
        if serial {
            wait_until_blocked(database, 1)?;
        } else {
            while !second.is_finished() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        end_first()?;
        second.join().unwrap_or_else(|_| anyhow::bail!("the second session panicked"))
    })
}

/// Neither of the two has reached a threshold; both have. The tables show it to a call that claims, and to
/// `maintain()`.
#[test]
fn two_that_cross_only_together_are_noticed() -> Result<()> {
    for notice in [CLAIM, MAINTAIN] {
        let database = Database::fresh()?;
        let tenant = tenant(&database, "0.5")?;
        let mut first = connect(&database)?;
        first.batch_execute("begin")?;
        charge(&mut first, tenant, "0.25")?;
        beside(&database, |second| charge(second, tenant, "0.25"), || Ok(first.batch_execute("commit")?))?;
        let mut server = connect(&database)?;
        if preloaded(&mut server)? {
            assert_eq!(told(&mut server)?, Vec::<String>::new(), "one of them knew of the other");
        }
        server.query(notice, &[])?;
        assert_eq!(told(&mut server)?, ["0.8", "1"], "{notice}");
        charge(&mut server, tenant, "0.01")?;
        assert_eq!(told(&mut server)?, ["0.8", "1", "overrun"]);
    }
    Ok(())
}

const CLAIM: &str = "select count(*) from public.claim_quota_events()";
const MAINTAIN: &str = "select count(*) from copilot_internal.maintain()";

/// The transaction that is about to write an event rolls back after another has gone by. That one had crossed too and
/// left it to the first. The same when the other's charge has been folded meanwhile.
#[test]
fn a_crossing_that_is_rolled_back_leaves_it_to_the_next() -> Result<()> {
    for (meanwhile, noticed_by) in
        [(None, None), (None, Some(CLAIM)), (Some(MAINTAIN), Some(CLAIM)), (Some(MAINTAIN), Some(MAINTAIN))]
    {
        let database = Database::fresh()?;
        let tenant = tenant(&database, "0.75")?;
        let mut server = connect(&database)?;
        let mut first = connect(&database)?;
        first.batch_execute("begin")?;
        charge(&mut first, tenant, "0.1")?;
        let second = |second: &mut Client| charge(second, tenant, "0.1");
        beside(&database, second, || {
            if let Some(sql) = meanwhile {
                server.query(sql, &[])?;
            }
            Ok(first.batch_execute("rollback")?)
        })?;
        if preloaded(&mut server)? {
            assert_eq!(told(&mut server)?, Vec::<String>::new(), "the second did not leave it to the first");
        }
        match noticed_by {
            Some(sql) => drop(server.query(sql, &[])?),
            None => charge(&mut server, tenant, "0")?,
        }
        assert_eq!(told(&mut server)?, ["0.8"], "{meanwhile:?}, {noticed_by:?}");
        assert_verified(&mut server);
    }
    Ok(())
}

/// A session remembers only what was committed, by itself too.
#[test]
fn what_a_session_has_rolled_back_it_tells_again() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = tenant(&database, "0.1")?;
    let mut client = connect(&database)?;
    client.batch_execute("begin")?;
    charge(&mut client, tenant, "0.75")?;
    charge(&mut client, tenant, "0.01")?;
    assert_eq!(told(&mut client)?, ["0.8"]);
    client.batch_execute("rollback")?;
    assert_eq!(told(&mut client)?, Vec::<String>::new());
    client.batch_execute("begin; savepoint s")?;
    charge(&mut client, tenant, "0.75")?;
    client.batch_execute("rollback to s")?;
    charge(&mut client, tenant, "0.75")?;
    charge(&mut client, tenant, "0.01")?;
    client.batch_execute("commit")?;
    assert_eq!(told(&mut client)?, ["0.8"]);
    charge(&mut client, tenant, "0.01")?;
    charge(&mut client, tenant, "0.01")?;
    assert_eq!(told(&mut client)?, ["0.8"]);
    Ok(())
}

#[test]
fn many_that_race_tell_once_at_every_level() -> Result<()> {
    for level in LEVELS {
        let database = Database::fresh()?;
        let tenant = tenant(&database, "0")?;
        race(&database, 8, |_, client| {
            let mut done = 0;
            while done < 20 {
                let mut transaction = client.build_transaction().isolation_level(level).start()?;
                let sql = Way::Llm.charge(tenant, None, "0.01", "").replace("p_enforce => true", "p_enforce => false");
                let outcome = transaction.query_one(&sql, &[]).and_then(|_| transaction.commit());
                match outcome {
                    Ok(()) => done += 1,
                    Err(error) if sqlstate(&error) == "40001" => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })?;
        let mut server = connect(&database)?;
        claimed(&mut server)?;
        assert_eq!(told(&mut server)?, ["0.8", "1", "overrun"], "{level:?}");
    }
    Ok(())
}

#[test]
fn consumers_share_the_events_and_what_one_forgets_comes_again() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    for number in 1..=20 {
        make_tenant(&mut server, id(number))?;
        limit(&mut server, id(number), "llm", "1")?;
        charge(&mut server, id(number), "0.9")?;
    }
    // In one open transaction, and in another beside it.
    let mut other = connect(&database)?;
    server.batch_execute("begin")?;
    let first = texts(&mut server, "select id::text from public.claim_quota_events(5)", &[])?;
    let second = texts(&mut other, "select id::text from public.claim_quota_events(5)", &[])?;
    server.batch_execute("rollback")?;
    let again = texts(&mut server, "select id::text from public.claim_quota_events(5)", &[])?;
    assert_eq!(again, first, "the oldest first");
    // Each call a transaction, as through PostgREST.
    let shares = race(&database, 4, |_, client| {
        let mut share = Vec::new();
        loop {
            let ids = texts(client, "select id::text from public.claim_quota_events(2)", &[])?;
            if ids.is_empty() {
                return Ok(share);
            }
            share.extend(ids);
        }
    })?;
    let all: Vec<String> = [first, second, shares.concat()].concat();
    assert_eq!(all.len(), 20, "{all:?}");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 20, "two consumers got the same");
    // Ten are acknowledged; the lease of the others runs out.
    let sql = "select public.acknowledge_quota_events($1::text[]::uuid[])";
    assert_eq!(server.query_one(sql, &[&&all[..10]])?.get::<_, i32>(0), 10);
    database.superuser()?.batch_execute(
        "update copilot_internal.quota_events set claimed_until = clock_timestamp() where acknowledged_at is null",
    )?;
    let mut rest = claimed(&mut server)?;
    let mut expected = all[10..].to_vec();
    rest.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rest, expected);
    Ok(())
}

/// A hint, and no more: a session that listens is told that there is something, and nothing about it.
#[test]
fn a_listener_is_notified() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = tenant(&database, "0.1")?;
    let mut listener = database.superuser()?;
    listener.batch_execute("listen pg_tollgate")?;
    let mut server = connect(&database)?;
    charge(&mut server, tenant, "0.1")?;
    charge(&mut server, tenant, "0.7")?;
    let heard = listener.notifications().timeout_iter(Duration::from_secs(120)).next()?;
    assert_eq!(heard.map(|notification| notification.payload().to_string()), Some(String::new()));
    // Rolled back, there is nothing to be told of.
    server.batch_execute("begin")?;
    charge(&mut server, tenant, "0.2")?;
    server.batch_execute("rollback")?;
    assert!(listener.notifications().timeout_iter(Duration::from_millis(200)).next()?.is_none());
    Ok(())
}
