//! Reservations over crashes and days, and twenty times at once. In the mode of the tier.

use tollgate_tests::support;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use postgres::{Client, IsolationLevel};
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::support::{Database, assert_verified, id, limit, preloaded};

const TENANT: u128 = 1;
const DUPLICATES: usize = 20;

fn server(cluster: &Cluster, database: &str) -> Result<Client> {
    let mut client = cluster.superuser(database)?;
    client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    Ok(client)
}

fn connect(database: &Database) -> Result<Client> {
    server(database.cluster, &database.name)
}

fn reserve(client: &mut Client, usd: &str, request: &str, ttl: &str) -> Result<Option<Uuid>> {
    let sql = "select reservation_id from public.reserve_quota($1, 'llm', $2::text::numeric, $3,
                   p_ttl => $4::text::interval)";
    Ok(client.query_one(sql, &[&id(TENANT), &usd, &request, &ttl])?.get(0))
}

/// Spent, held and left, as a check tells.
fn quota_figures(client: &mut Client) -> Result<String> {
    let sql = "select format('%s spent, %s held, %s left', current_spend_usd, reserved_usd, remaining_usd)
               from public.check_quota_before_operation($1, 'llm', 0)";
    Ok(client.query_one(sql, &[&id(TENANT)])?.get(0))
}

fn committed(client: &mut Client, hold: Uuid, usd: &str) -> Result<String> {
    let sql = "select format('%s %s released %s over %s%s%s', status, charged_usd, released_usd, overrun_usd,
                   case when late then ' late' end, case when replayed then ' replayed' end)
               from public.commit_reservation($1, $2::text::numeric)";
    Ok(client.query_one(sql, &[&hold, &usd])?.get(0))
}

/// A hold as it would be there by now, and no counter has seen: so long ago, for so long.
fn aged(database: &Database, usd: &str, ago: &str, ttl: &str) -> Result<Uuid> {
    let sql = format!(
        "insert into copilot_internal.quota_reservations (id, tenant_id, resource_type, request_id, requested_usd, ttl,
             reserved_usd, held_nanos, reserved_at, expires_at, state, metadata)
         select gen_random_uuid(), $1, 'llm', gen_random_uuid(), {usd}, '{ttl}', {usd}, {usd} * 1000000000,
             clock_timestamp() - interval '{ago}', clock_timestamp() - interval '{ago}' + interval '{ttl}', 'held', '{{}}'
         returning id"
    );
    Ok(database.superuser()?.query_one(&sql, &[&id(TENANT)])?.get(0))
}

#[test]
fn a_hold_survives_a_crash_counts_and_commits() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let database = cluster.fresh_database()?;
    let mut client = server(&cluster, &database)?;
    limit(&mut client, id(TENANT), "llm", "1")?;
    let Some(hold) = reserve(&mut client, "0.7", "kept", "1 hour")? else { bail!("refused") };
    client.batch_execute("begin")?;
    assert!(reserve(&mut client, "0.3", "lost", "1 hour")?.is_some());
    cluster.crash()?;
    let mut client = server(&cluster, &database)?;
    assert_eq!(quota_figures(&mut client)?, "0 spent, 0.7 held, 0.3 left");
    assert_eq!(reserve(&mut client, "0.300000001", "too much", "1 hour")?, None);
    assert_eq!(reserve(&mut client, "0.7", "kept", "1 hour")?, Some(hold));
    assert_eq!(committed(&mut client, hold, "0.5")?, "committed 0.5 released 0.2 over 0");
    cluster.crash()?;
    let mut client = server(&cluster, &database)?;
    assert_eq!(quota_figures(&mut client)?, "0.5 spent, 0 held, 0.5 left");
    assert_eq!(committed(&mut client, hold, "0.5")?, "committed 0.5 released 0.2 over 0 replayed");
    assert!(reserve(&mut client, "0.5", "the rest", "1 hour")?.is_some());
    assert_verified(&mut client);
    Ok(())
}

/// The provider has billed: it is charged, to the day on which it was reserved.
#[test]
fn what_is_committed_three_days_late_is_charged_to_its_day() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    client.batch_execute(&format!("select public.set_quota('tenant', '{}', 'llm', 1, 'day')", id(TENANT)))?;
    let hold = aged(&database, "0.9", "3 days", "10 minutes")?;
    let gone = aged(&database, "0.8", "3 days", "10 minutes")?;
    let live = aged(&database, "0.4", "3 days", "8 days")?;
    // Neither of today, nor of that day any more.
    assert_eq!(quota_figures(&mut client)?, "0 spent, 0 held, 1 left");
    let of_that_day = |client: &mut Client, usd: &str| -> Result<bool> {
        client.batch_execute("begin")?;
        let sql = "select allowed from public.extend_reservation($1, p_additional_usd => $2::text::numeric)";
        let allowed = client.query_one(sql, &[&live, &usd])?.get(0);
        client.batch_execute("rollback")?;
        Ok(allowed)
    };
    assert!(of_that_day(&mut client, "0.6")? && !of_that_day(&mut client, "0.600000001")?);
    assert_eq!(committed(&mut client, hold, "0.25")?, "committed 0.25 released 0 over 0 late");
    assert!(of_that_day(&mut client, "0.35")? && !of_that_day(&mut client, "0.350000001")?);
    let released = "select format('%s %s', status, released_usd) from public.release_reservation($1)";
    assert_eq!(client.query_one(released, &[&gone])?.get::<_, String>(0), "expired 0");
    // More than the day had is charged all the same, by the record that prices it.
    let record = "select format('%s %s', recorded, overrun_usd)
                  from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 5, p_reservation_id => $2)";
    assert_eq!(client.query_one(record, &[&id(TENANT), &live])?.get::<_, String>(0), "t 4.6");
    assert_eq!(quota_figures(&mut client)?, "0 spent, 0 held, 1 left");
    let moments = "select count(*) from copilot_internal.ledger_lines
                   where charged_at between now() - interval '3 days 1 minute' and now() - interval '2 days 23 hours'";
    client.batch_execute("reset role")?;
    assert_eq!(client.query_one(moments, &[])?.get::<_, i64>(0), 2);
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn what_is_rolled_back_is_free() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    let mut other = connect(&database)?;
    limit(&mut client, id(TENANT), "llm", "1")?;
    let Some(hold) = reserve(&mut client, "0.4", "held", "1 hour")? else { bail!("refused") };
    for end in ["rollback", "rollback to s; commit"] {
        client.batch_execute("begin; savepoint s")?;
        assert!(reserve(&mut client, "0.6", "r", "1 hour")?.is_some());
        assert_eq!(reserve(&mut client, "0.000000001", "no", "1 hour")?, None);
        client.batch_execute(end)?;
        assert_eq!(quota_figures(&mut other)?, "0 spent, 0.4 held, 0.6 left", "{end}");
        // What was to become of the hold did not, and it is as it was.
        for sql in ["release_reservation($1)", "extend_reservation($1, '2 hours', 0.5)", "commit_reservation($1, 0.9)"]
        {
            client.batch_execute("begin; savepoint s")?;
            client.execute(&format!("select * from public.{sql}"), &[&hold])?;
            client.batch_execute(end)?;
            assert_eq!(quota_figures(&mut other)?, "0 spent, 0.4 held, 0.6 left", "{end} after {sql}");
        }
    }
    assert_eq!(reserve(&mut other, "0.600000001", "too much", "1 hour")?, None);
    assert!(reserve(&mut other, "0.6", "r", "1 hour")?.is_some());
    assert_eq!(committed(&mut other, hold, "0.4")?, "committed 0.4 released 0 over 0");
    assert_verified(&mut other);
    Ok(())
}

/// What a statement has done is there for the rest of it.
#[test]
fn one_statement_reserves_commits_records_and_refunds() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    limit(&mut client, id(TENANT), "llm", "1")?;
    let tenant = id(TENANT);
    for (sql, expected) in [
        (
            format!(
                "select c.status from public.reserve_quota('{tenant}', 'llm', 0.5, 'a') r
                 cross join lateral public.commit_reservation(r.reservation_id, 0.25) c"
            ),
            "committed",
        ),
        (
            format!(
                "select c.status from public.reserve_quota('{tenant}', 'llm', 0.5, 'b') r
                 cross join lateral public.release_reservation(r.reservation_id) c"
            ),
            "released",
        ),
        (
            format!(
                "select c.refunded_usd::text
                 from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.5) r
                 cross join lateral public.refund_cost(r.cost_record_id, 0.125, 'c') c"
            ),
            "0.125",
        ),
    ] {
        assert_eq!(client.query_one(&sql, &[])?.get::<_, String>(0), expected, "{sql}");
    }
    assert_eq!(quota_figures(&mut client)?, "0.625 spent, 0 held, 0.375 left");
    assert_verified(&mut client);
    Ok(())
}

/// A day is 24 hours, also where the caller's clocks are changed meanwhile.
#[test]
fn a_replay_tells_when_it_was_to_expire_in_every_time_zone() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    // Europe's clocks went back on the 25th.
    database.superuser()?.execute(
        "insert into copilot_internal.quota_reservations (id, tenant_id, resource_type, request_id, requested_usd, ttl,
             reserved_usd, held_nanos, reserved_at, expires_at, state, charged_usd, released_usd, overrun_usd, late,
             resolved_at, metadata)
         values (gen_random_uuid(), $1, 'llm', 'r', 0.5, '2 days', 0.5, 500000000,
             '2025-10-25 12:00+00', '2025-10-27 12:00+00', 'committed', 0.5, 0, 0, false, '2025-10-26 12:00+00', '{}')",
        &[&id(TENANT)],
    )?;
    for zone in ["UTC", "Europe/Berlin"] {
        client.batch_execute(&format!("set timezone = '{zone}'"))?;
        let sql = "select replayed, expires_at = '2025-10-27 12:00+00'
                   from public.reserve_quota($1, 'llm', 0.5, 'r', p_ttl => '48 hours')";
        let row = client.query_one(sql, &[&id(TENANT)])?;
        assert_eq!((row.get(0), row.get(1)), (true, true), "{zone}");
    }
    Ok(())
}

/// A session that made its plans while the table was small must not read all holds of the tenant to settle one of them.
#[test]
fn settling_reads_one_hold_however_many_there_are() -> Result<()> {
    const HOLDS: i64 = 300;
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    if !preloaded(&mut client)? {
        // There every charge sums all live holds, by whichever index.
        return Ok(());
    }
    limit(&mut client, id(TENANT), "llm", "1000")?;
    reserve(&mut client, "1", "first", "1 hour")?;
    database.superuser()?.batch_execute("analyze copilot_internal.quota_reservations")?;
    for number in 0..HOLDS {
        let Some(hold) = reserve(&mut client, "1", &format!("r{number}"), "1 hour")? else { bail!("refused") };
        committed(&mut client, hold, "1")?;
    }
    client.batch_execute("select pg_stat_force_next_flush()")?;
    drop(client);
    let sql = "select sum(idx_tup_read)::bigint from pg_stat_all_indexes
               where relid = 'copilot_internal.quota_reservations'::regclass";
    let mut watcher = database.superuser()?;
    let mut read = 0;
    // The session's figures come when it has ended, at once.
    for _ in 0..1_200 {
        read = watcher.query_one(sql, &[])?.get::<_, i64>(0);
        if read >= HOLDS {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!((HOLDS..10 * HOLDS).contains(&read), "{read} index entries were read to settle {HOLDS} holds");
    Ok(())
}

/// An expired hold blocks no charge, nor the call that comes back to one that expired before it.
#[test]
fn extending_an_expired_hold_has_the_room_of_others_that_expired() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    limit(&mut client, id(TENANT), "llm", "1")?;
    let Some(first) = reserve(&mut client, "0.4", "first", "1 second")? else { bail!("refused") };
    assert!(reserve(&mut client, "0.6", "second", "1.1 seconds")?.is_some());
    thread::sleep(Duration::from_millis(1_200));
    let extend = "select format('%s %s', allowed, reserved_usd)
                  from public.extend_reservation($1, p_additional_usd => 0.6)";
    assert_eq!(client.query_one(extend, &[&first])?.get::<_, String>(0), "t 1");
    assert_eq!(quota_figures(&mut client)?, "0 spent, 1 held, 0 left");
    assert_verified(&mut client);
    Ok(())
}

/// Whatever is sent twenty times at once has one effect, and every sender is told of it.
#[test]
fn twenty_retries_of_everything_have_one_effect() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = connect(&database)?;
    let quota: Uuid =
        client.query_one("select public.set_quota('tenant', $1, 'llm', 1, 'lifetime')", &[&id(TENANT)])?.get(0);
    let tenant = id(TENANT);
    for level in [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead] {
        let name = format!("{level:?}");
        // Together they would not fit: none may be told that its duplicate has taken the room.
        let reserved = all(
            &database,
            level,
            &format!(
                "select format('%s %s', allowed, reservation_id), replayed
                 from public.reserve_quota('{tenant}', 'llm', 0.3, 'reserve {name}')"
            ),
        )?;
        let hold = reserved.split(' ').nth(1).unwrap_or_default().to_string();
        assert!(reserved.starts_with("t "), "{reserved}");
        let extended = all(
            &database,
            level,
            &format!(
                "select format('%s %s %s', allowed, reserved_usd, expires_at), replayed
                 from public.extend_reservation('{hold}', '1 hour', 0.1, 'extend {name}')"
            ),
        )?;
        assert!(extended.starts_with("t 0.4 "), "{extended}");
        assert!(quota_figures(&mut client)?.contains(" 0.4 held"), "{}", quota_figures(&mut client)?);
        let recorded = all(
            &database,
            level,
            &format!(
                "select format('%s %s', recorded, cost_record_id), replayed
                 from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.35,
                     p_request_id => 'record {name}', p_reservation_id => '{hold}')"
            ),
        )?;
        let record = recorded.split(' ').nth(1).unwrap_or_default();
        let refund =
            format!("select refund_id::text, replayed from public.refund_cost('{record}', 0.2, 'refund {name}')");
        all(&database, level, &refund)?;
        let adjust = format!(
            "select adjustment_id::text, replayed from copilot_internal.adjust_quota('{quota}', -0.1, 'adjust {name}')"
        );
        all(&database, level, &adjust)?;
        let Some(other) = reserve(&mut client, "0.2", &format!("commit {name}"), "1 hour")? else { bail!("refused") };
        let commit = format!(
            "select format('%s %s', status, charged_usd), replayed from public.commit_reservation('{other}', 0.05)"
        );
        assert_eq!(all(&database, level, &commit)?, "committed 0.05");
        let Some(third) = reserve(&mut client, "0.2", &format!("release {name}"), "1 hour")? else { bail!("refused") };
        let release = format!(
            "select format('%s %s', status, released_usd), replayed from public.release_reservation('{third}')"
        );
        assert_eq!(all(&database, level, &release)?, "released 0.2");
    }
    // Twice 0.35 - 0.2 - 0.1 + 0.05.
    assert_eq!(quota_figures(&mut client)?, "0.2 spent, 0 held, 0.8 left");
    assert_verified(&mut client);
    Ok(())
}

/// Sends it from so many sessions at once. All must say the same, and all but one that it is a replay.
fn all(database: &Database, level: IsolationLevel, sql: &str) -> Result<String> {
    let start = Barrier::new(DUPLICATES);
    let answers: Vec<(String, bool)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..DUPLICATES)
            .map(|_| {
                scope.spawn(|| {
                    let client = connect(database);
                    start.wait();
                    send(&mut client?, level, sql)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a session panicked")))
            .collect::<Result<_>>()
    })?;
    let first = answers[0].0.clone();
    assert!(answers.iter().all(|(answer, _)| *answer == first), "{sql}: {answers:?}");
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1, "{sql}: {answers:?}");
    Ok(first)
}

/// One request, again where the server asks for that.
fn send(client: &mut Client, level: IsolationLevel, sql: &str) -> Result<(String, bool)> {
    for _ in 0..500 {
        let mut attempt = || -> Result<(String, bool), postgres::Error> {
            let mut transaction = client.build_transaction().isolation_level(level).start()?;
            let row = transaction.query_one(sql, &[])?;
            transaction.commit()?;
            Ok((row.get(0), row.get(1)))
        };
        match attempt() {
            Ok(answer) => return Ok(answer),
            Err(error) if sqlstate(&error) == "40001" => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("500 serialization failures in a row")
}
