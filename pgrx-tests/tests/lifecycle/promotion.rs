//! A standby answers, and takes over in the middle of work: with a synchronous standby nothing that was acknowledged is
//! lost, and the limit holds across both servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::support::{USD, assert_verified, charged_nanos, id, limit, make_tenant, text};

const SESSIONS: usize = 4;
const BEFORE: usize = 80;
const LIMIT_USD: &str = "10";
/// A cent each.
const CHARGE: &str = "select recorded, replayed from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.01,
                          p_enforce => true, p_request_id => $2)";

/// The client's retry after a lost answer is the same request. `None` when the server is gone.
fn charge(client: &mut Client, request: &str) -> Option<(bool, bool)> {
    let row = client.query_one(CHARGE, &[&id(1), &request]).ok()?;
    Some((row.get(0), row.get(1)))
}

/// Charges until the server is gone; returns what it has acknowledged.
fn charge_until_the_end(primary: &Cluster, session: usize, count: &AtomicUsize) -> Vec<String> {
    let Ok(mut client) = primary.superuser("busy") else { return Vec::new() };
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let request = format!("{session} {number}");
        let Some((recorded, _)) = charge(&mut client, &request) else { break };
        if recorded {
            acknowledged.push(request);
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    acknowledged
}

#[test]
fn a_standby_that_is_promoted_goes_on_where_the_primary_was() -> Result<()> {
    let primary = Cluster::start(ClusterOptions::default())?;
    primary.create_database("busy")?;
    let mut client = primary.superuser("busy")?;
    make_tenant(&mut client, id(1))?;
    limit(&mut client, id(1), "llm", LIMIT_USD)?;
    client.batch_execute("select copilot_internal.maintain()")?;
    let standby = primary.standby()?;
    client.batch_execute("alter system set synchronous_standby_names = '*'")?;
    client.batch_execute("alter system set synchronous_commit = 'remote_apply'")?;
    client.batch_execute("select pg_reload_conf()")?;
    until_synchronous(&mut client)?;
    drop(client);

    let count = AtomicUsize::new(0);
    let acknowledged: Vec<String> = thread::scope(|scope| {
        let start = |session| {
            scope.spawn({
                let (primary, count) = (&primary, &count);
                move || charge_until_the_end(primary, session, count)
            })
        };
        let sessions: Vec<_> = (0..SESSIONS).map(start).collect();
        let deadline = Instant::now() + Duration::from_secs(120);
        while count.load(Ordering::SeqCst) < BEFORE && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        // It answers from what it has, and writes nothing.
        let reading = standby.superuser("busy").and_then(|mut client| reads(&mut client));
        let killed = primary.kill();
        let found = sessions.into_iter().flat_map(|session| session.join().unwrap_or_default()).collect();
        reading.and(killed).map(|()| found)
    })?;
    assert!(acknowledged.len() >= BEFORE, "only {} charges before the end", acknowledged.len());

    standby.promote()?;
    let mut client = standby.superuser("busy")?;
    let kept = charged_nanos(&mut client, id(1))?;
    assert!(kept >= i64::try_from(acknowledged.len())? * USD / 100, "{kept} of {}", acknowledged.len());
    assert_verified(&mut client);
    for request in &acknowledged {
        assert_eq!(charge(&mut client, request), Some((true, true)), "{request} is lost");
    }
    // It goes on to the limit, and not past it.
    let mut more = 0;
    while let Some((true, _)) = charge(&mut client, &format!("after {more}")) {
        more += 1;
    }
    let limit = LIMIT_USD.parse::<i64>()? * USD;
    assert_eq!(charged_nanos(&mut client, id(1))?, limit);
    assert_eq!(kept + i64::from(more) * USD / 100, limit);
    client.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(&mut client);
    Ok(())
}

/// From now on a commit waits for the standby.
fn until_synchronous(client: &mut Client) -> Result<()> {
    let sql = "select coalesce((select sync_state from pg_stat_replication), 'none')";
    let deadline = Instant::now() + Duration::from_secs(120);
    while text(client, sql, &[])? != "sync" {
        assert!(Instant::now() < deadline, "the standby does not become synchronous");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What a standby answers, and that it does not charge.
fn reads(client: &mut Client) -> Result<()> {
    let row = client.query_one("select allowed from public.check_quota_before_operation($1, 'llm', 0)", &[&id(1)])?;
    assert!(row.get::<_, bool>(0));
    client.batch_execute("select * from metrics.quota_status")?;
    let refused = client.query_one(CHARGE, &[&id(1), &"on the standby"]).err();
    let code = refused.as_ref().and_then(postgres::Error::code).map(postgres::error::SqlState::code);
    assert_eq!(code, Some("25006"), "a standby charges nothing");
    Ok(())
}
