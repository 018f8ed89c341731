//! A retry finds what its request has recorded: it writes nothing, and waits only for a call that is recording just that.

use anyhow::{Context, Result};
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::charger::{connect, race, wait_until_blocked};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, limit, make_tenant};

fn company(database: &Database, usd: &str) -> Result<Uuid> {
    let mut superuser = database.superuser()?;
    make_tenant(&mut superuser, id(1))?;
    limit(&mut superuser, id(1), "llm", usd)?;
    limit(&mut superuser, id(1), "all", usd)?;
    Ok(id(1))
}

/// A batch of a cent each, one for every request id in this order.
fn batch(tenant: Uuid, ids: impl Iterator<Item = usize>) -> String {
    let records: Vec<String> = ids
        .map(|id| {
            format!(
                r#"{{"tenant_id": "{tenant}", "model_provider": "p", "model_name": "m", "input_tokens": 1,
                     "output_tokens": 1, "cost_usd": 0.01, "request_id": "r{id}"}}"#
            )
        })
        .collect();
    format!("select count(*) from public.record_llm_costs('[{}]') where recorded", records.join(","))
}

/// A transaction without a number has written nothing.
#[test]
fn a_retry_writes_nothing() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = company(&database, "10")?;
    let mut client = connect(&database)?;
    let record = "public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'a')";
    let row = client.query_one(&format!("select cost_record_id from {record}"), &[&tenant])?;
    let refund = format!("public.refund_cost('{}', 0.5, 'a')", row.get::<_, Uuid>(0));
    let calls = [
        record,
        "public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'b', p_enforce => true)",
        "public.record_e2b_cost($1, 's', 't', 1, p_cost_usd => 1, p_request_id => 'a')",
        "public.check_and_record_quota_atomic('tenant', $1, 1, 'llm', null, 'a')",
        "public.reserve_quota($1, 'llm', 1, 'a')",
        &format!("{refund} where $1::uuid is not null"),
    ];
    for call in calls {
        // What is done now and then is done in one of so many retries, most likely.
        let levels = std::iter::repeat_n("read committed", 30).chain(["serializable"]);
        for (attempt, level) in levels.enumerate() {
            client.batch_execute(&format!("begin isolation level {level}"))?;
            let replayed: bool = client.query_one(&format!("select replayed from {call}"), &[&tenant])?.get(0);
            assert_eq!(replayed, attempt > 0 || call == record, "{call}");
            let number = "select pg_current_xact_id_if_assigned() is not null";
            let wrote: bool = client.query_one(number, &[])?.get(0);
            client.batch_execute("commit")?;
            assert_eq!(wrote, !replayed, "{call} at {level}, replayed: {replayed}");
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// Both find all they ask for, in whatever order; and a batch of retries does not wait for an open one.
#[test]
fn batches_of_retries_in_opposite_orders_wait_for_nobody() -> Result<()> {
    const RECORDS: usize = 100;
    let database = Database::fresh()?;
    let tenant = company(&database, "10")?;
    let mut client = connect(&database)?;
    client.query_one(&batch(tenant, 0..RECORDS), &[])?;
    race(&database, 4, |index, client| {
        for _ in 0..10 {
            let sql = match index % 2 {
                0 => batch(tenant, 0..RECORDS),
                _ => batch(tenant, (0..RECORDS).rev()),
            };
            assert_eq!(client.query_one(&sql, &[])?.get::<_, i64>(0), RECORDS as i64);
        }
        Ok(())
    })?;
    let mut open = connect(&database)?;
    if crate::support::preloaded(&mut client)? {
        open.batch_execute("begin")?;
        open.query_one(&batch(tenant, 0..RECORDS), &[])?;
        client.batch_execute("set lock_timeout = '10ms'")?;
    }
    assert_eq!(client.query_one(&batch(tenant, (0..RECORDS).rev()), &[])?.get::<_, i64>(0), RECORDS as i64);
    open.batch_execute("rollback")?;
    assert_eq!(charged_nanos(&mut client, tenant)?, USD);
    assert_verified(&mut client);
    Ok(())
}

/// Of those that wait for a first call that rolls back one becomes the first, and the others replay it.
#[test]
fn duplicates_of_a_call_that_rolls_back_replay_the_next() -> Result<()> {
    const WAITING: usize = 8;
    let database = Database::fresh()?;
    let tenant = company(&database, "1")?;
    let sql = format!(
        "select recorded, replayed, cost_record_id from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1,
             p_cost_usd => 1, p_enforce => true, p_request_id => 'r')"
    );
    let mut first = connect(&database)?;
    first.batch_execute("begin")?;
    first.query_one(&sql, &[])?;
    let answers = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| race(&database, WAITING, |_, client| Ok(client.query_one(&sql, &[])?)));
        wait_until_blocked(&database, WAITING as i64)?;
        first.batch_execute("rollback")?;
        waiting.join().ok().context("they panicked")?
    })?;
    let id: Uuid = answers[0].get(2);
    assert!(answers.iter().all(|row| row.get::<_, bool>(0) && row.get::<_, Uuid>(2) == id), "{answers:?}");
    assert_eq!(answers.iter().filter(|row| row.get::<_, bool>(1)).count(), WAITING - 1);
    assert_eq!(charged_nanos(&mut first, tenant)?, USD);
    assert_verified(&mut first);
    Ok(())
}

/// First calls meet in the index: the one that takes its row back keeps nothing, and goes on with its transaction.
#[test]
fn first_calls_that_meet_leave_one_row_and_no_wait_behind() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = company(&database, "1000")?;
    let mut client = connect(&database)?;
    for round in 0..30 {
        let answers = race(&database, 4, |_, client| {
            let mut transaction = client.transaction()?;
            let sql = format!(
                "select replayed, recorded, reason from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.1,
                     p_enforce => true, p_request_id => 'r{round}')"
            );
            let row = transaction.query_one(&sql, &[])?;
            let replayed: bool = row.get(0);
            assert!(row.get::<_, bool>(1), "round {round}: {:?}", row.get::<_, Option<String>>(2));
            // The transaction goes on with another of its own.
            transaction.query_one(
                "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.1)",
                &[&tenant],
            )?;
            transaction.commit()?;
            Ok(replayed)
        })?;
        assert_eq!(answers.iter().filter(|replayed| !**replayed).count(), 1, "round {round}: {answers:?}");
    }
    assert_eq!(charged_nanos(&mut client, tenant)?, 30 * 5 * USD / 10);
    assert_verified(&mut client);
    Ok(())
}

/// What a savepoint took goes with it: no other session waits for the transaction, which may be idle.
#[test]
fn a_savepoint_that_is_rolled_back_holds_nobody_up() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = company(&database, "10")?;
    database.superuser()?.batch_execute(
        "create function public.fail() returns trigger language plpgsql security definer as $$ begin raise 'no'; end $$;
         create trigger fail before insert on copilot_internal.llm_cost_records
             for each row when (new.task = 'fails') execute function public.fail()",
    )?;
    let mut client = connect(&database)?;
    for task in ["fails", "is taken back"] {
        let mut idle = connect(&database)?;
        idle.batch_execute("begin; savepoint s")?;
        let sql = "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_task => $2)";
        let failed = idle.execute(sql, &[&tenant, &task]).err();
        assert_eq!(failed.as_ref().map(sqlstate), (task == "fails").then_some("P0001"), "{failed:?}");
        idle.batch_execute("rollback to s")?;
        // A new quota is a new counter: its loader waits for transactions that do not know of it.
        client.execute("select public.set_quota('tenant', $1, 'llm', 10, 'year')", &[&tenant])?;
        client.execute("select public.set_quota('platform', null, 'llm', 100, 'year')", &[])?;
        if crate::support::preloaded(&mut client)? {
            client.batch_execute("set lock_timeout = '5s'")?;
            client.execute(sql, &[&tenant, &"next"])?;
            client.batch_execute(
                "set lock_timeout = 0; delete from copilot_internal.cost_quotas where period = 'year'",
            )?;
        }
        idle.batch_execute("commit")?;
    }
    assert_verified(&mut client);
    Ok(())
}

/// A wait for another session obeys `lock_timeout`, whatever it waits for.
#[test]
fn a_wait_for_a_duplicate_ends_with_lock_timeout() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = company(&database, "1")?;
    let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_enforce => true,
                   p_request_id => 'r')";
    let (mut first, mut second) = (connect(&database)?, connect(&database)?);
    first.batch_execute("begin")?;
    first.query_one(sql, &[&tenant])?;
    second.batch_execute("set lock_timeout = '50ms'")?;
    let error = second.query_one(sql, &[&tenant]).err().context("it did not wait")?;
    assert_eq!(sqlstate(&error), "55P03");
    // An error of Postgres' own, though the server's environment asks for backtraces.
    assert_eq!(error.as_db_error().and_then(|error| error.detail()), None);
    first.batch_execute("commit")?;
    assert!(second.query_one(sql, &[&tenant])?.get::<_, bool>(0));
    Ok(())
}

/// Each request is recorded once, by the first batch that comes with it. None waits in a circle, and none is told "refused".
/// There is room for every request once, and for no more.
#[test]
fn batches_that_run_together_record_each_request_once() -> Result<()> {
    const RECORDS: usize = 600;
    const ROUNDS: usize = 5;
    let database = Database::fresh()?;
    let tenant = company(&database, &(RECORDS * ROUNDS / 100).to_string())?;
    race(&database, 6, |index, client| {
        for round in 0..ROUNDS {
            let ids = round * RECORDS..(round + 1) * RECORDS;
            if index < 4 {
                assert_eq!(client.query_one(&batch(tenant, ids), &[])?.get::<_, i64>(0), RECORDS as i64);
                continue;
            }
            for id in ids.step_by(7) {
                let sql = format!(
                    "select recorded, reason from public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.01,
                         p_request_id => 'r{id}', p_enforce => true)"
                );
                let row = client.query_one(&sql, &[])?;
                assert!(row.get::<_, bool>(0), "r{id}: {:?}", row.get::<_, Option<String>>(1));
            }
        }
        Ok(())
    })?;
    let mut client = connect(&database)?;
    assert_eq!(charged_nanos(&mut client, tenant)?, (RECORDS * ROUNDS) as i64 * USD / 100);
    assert_verified(&mut client);
    Ok(())
}
