//! Every way in which a transaction can end early gives back what it had taken.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use anyhow::{Context, Result};
use postgres::Client;
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::servers::{assert_exact, backend, charge, connect, fresh, pending, until, until_blocked, while_blocked};
use crate::support::{charged_nanos, id, limit, make_tenant};

fn tenant_with_a_dollar(client: &mut Client, number: u128) -> Result<Uuid> {
    make_tenant(client, id(number))?;
    limit(client, id(number), "llm", "1")?;
    Ok(id(number))
}

/// The statement that fails frees the room, before any rollback is sent.
#[test]
fn a_timeout_and_a_cancel_in_mid_transaction_free_the_room() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let mut other = connect(&database)?;
    let pid = backend(&mut client)?;
    for (number, cancelled) in [(1, false), (2, true)] {
        let tenant = tenant_with_a_dollar(&mut other, number)?;
        client.batch_execute("begin")?;
        assert!(charge(&mut client, tenant, "1")?);
        assert!(!charge(&mut other, tenant, "1")?);
        let timeout = if cancelled { "60s" } else { "50ms" };
        let error = thread::scope(|scope| -> Result<postgres::Error> {
            let sleeping = scope.spawn(|| {
                client.batch_execute(&format!("set local statement_timeout = '{timeout}'; select pg_sleep(30)"))
            });
            if cancelled {
                let mut superuser = database.superuser()?;
                let sleeps = "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'";
                until("it sleeps", || Ok(superuser.query_one(sleeps, &[&pid])?.get::<_, i64>(0) == 1))?;
                superuser.execute("select pg_cancel_backend($1)", &[&pid])?;
            }
            sleeping.join().ok().context("the session panicked")?.err().context("it slept to the end")
        })?;
        assert_eq!(sqlstate(&error), "57014");
        // The client is told of an error a moment before the transaction is undone.
        until("the room is free", || Ok(pending(&mut other)?.is_empty()))?;
        assert!(charge(&mut other, tenant, "1")?, "cancelled: {cancelled}");
        client.batch_execute("rollback")?;
        assert_exact(&mut other, tenant, 1);
    }
    Ok(())
}

#[test]
fn a_session_that_is_ended_frees_the_room() -> Result<()> {
    let database = fresh()?;
    let mut other = connect(&database)?;
    let tenant = tenant_with_a_dollar(&mut other, 1)?;
    let mut client = connect(&database)?;
    client.batch_execute("begin")?;
    assert!(charge(&mut client, tenant, "1")?);
    let pid = backend(&mut client)?;
    database.superuser()?.execute("select pg_terminate_backend($1)", &[&pid])?;
    until("the room is free", || Ok(charge(&mut other, tenant, "0.5")?))?;
    assert_exact(&mut other, tenant, 1);
    Ok(())
}

/// The client's machine is gone: no message has come, but the socket is closed.
#[test]
fn a_client_that_is_gone_frees_the_room() -> Result<()> {
    let database = fresh()?;
    let mut other = connect(&database)?;
    let tenant = tenant_with_a_dollar(&mut other, 1)?;
    let mut psql = database.cluster.client_program("psql", &database.name, SUPERUSER);
    psql.args(["-X", "-q"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut psql = psql.spawn().context("cannot run psql")?;
    let input = psql.stdin.as_mut().context("psql has no input")?;
    writeln!(input, "begin; select public.check_and_record_quota_atomic('tenant', '{tenant}', 1);")?;
    input.flush()?;
    until("the client has charged", || Ok(pending(&mut other)?.len() == 1))?;
    assert!(!charge(&mut other, tenant, "0.5")?);
    psql.kill()?;
    psql.wait()?;
    until("the room is free", || Ok(charge(&mut other, tenant, "0.5")?))?;
    assert_exact(&mut other, tenant, 1);
    Ok(())
}

/// A charge that waits to load a counter has taken nothing yet, and leaves no lock and no half of a counter.
#[test]
fn a_charge_that_is_cancelled_while_it_waits_leaves_nothing() -> Result<()> {
    let database = fresh()?;
    let mut setter = connect(&database)?;
    let tenant = tenant_with_a_dollar(&mut setter, 1)?;
    // A charge in flight that does not know a new quota makes those wait that would count by it.
    setter.batch_execute("begin")?;
    assert!(charge(&mut setter, tenant, "1")?);
    let mut cold = connect(&database)?;
    cold.execute("select public.set_quota('tenant', $1, 'all', 1, 'lifetime')", &[&tenant])?;
    let pid = backend(&mut cold)?;
    let (cluster, name) = (database.cluster, database.name.as_str());
    let error = thread::scope(|scope| -> Result<postgres::Error> {
        let waiting = scope.spawn(|| charge(&mut cold, tenant, "1"));
        until_blocked(cluster, name, 1)?;
        database.superuser()?.execute("select pg_cancel_backend($1)", &[&pid])?;
        waiting.join().ok().context("the session panicked")?.err().context("it does not wait")
    })?;
    assert_eq!(sqlstate(&error), "57014");
    // Only the time in which it waits for the lock counts.
    cold.batch_execute("set lock_timeout = '200ms'; begin; savepoint s")?;
    assert_eq!(sqlstate(&charge(&mut cold, tenant, "1").err().context("it does not wait")?), "55P03");
    cold.batch_execute("rollback to s; select 1; commit; set lock_timeout = 0")?;
    let admitted = while_blocked(
        cluster,
        name,
        |client| Ok(charge(client, tenant, "1")?),
        || Ok(setter.batch_execute("rollback")?),
    )?;
    assert!(admitted);
    assert!(!charge(&mut cold, tenant, "0.000000001")?);
    // Other tests run on this server: only the locks of this database are asked for.
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
                 and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(cold.query_one(locks, &[])?.get::<_, i64>(0), 0);
    assert_exact(&mut cold, tenant, 1);
    Ok(())
}

/// An error in the insert comes after the counters have been added to.
#[test]
fn an_insert_that_fails_frees_the_room() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let tenant = tenant_with_a_dollar(&mut client, 1)?;
    database.superuser()?.batch_execute(
        "create function public.fail() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
         create constraint trigger fail after insert on copilot_internal.llm_cost_records initially deferred
             for each row when (new.task = 'late') execute function public.fail();
         create trigger fail_now before insert on copilot_internal.llm_cost_records
             for each row when (new.task = 'now') execute function public.fail()",
    )?;
    for task in ["now", "late"] {
        let sql = "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1, p_enforce => true, p_task => $2)";
        assert!(client.execute(sql, &[&tenant, &task]).is_err(), "{task}");
        assert_exact(&mut client, tenant, 1);
    }
    // A function that goes on after the error.
    client.batch_execute(&format!(
        "do $$ begin
             perform public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.25, p_enforce => true);
             begin
                 perform public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.5, p_enforce => true);
                 perform public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.1, p_enforce => true, p_task => 'now');
             exception when others then null;
             end;
             perform public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.5, p_enforce => true);
         end $$"
    ))?;
    assert_eq!(charged_nanos(&mut client, tenant)?, 750_000_000);
    assert_exact(&mut client, tenant, 1);
    Ok(())
}

/// An ERROR from the heap itself, which the table's access method raises: nothing of the charge stays, and the session goes
/// on to load counters.
#[test]
fn a_row_that_the_heap_refuses_leaves_nothing_behind() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let first = tenant_with_a_dollar(&mut client, 1)?;
    database.superuser()?.batch_execute(
        "alter table copilot_internal.llm_cost_records alter usage set storage plain, alter request_id set storage plain",
    )?;
    let usage = format!(r#"{{"prompt_tokens": 1, "completion_tokens": 1, "note": "{}"}}"#, "x".repeat(9_000));
    let record =
        "select 1 from public.record_llm_cost($1, 'openai', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'large',
                                                       p_usage => $2::text::jsonb)";
    for explicit in [false, true] {
        if explicit {
            client.batch_execute("begin; savepoint before")?;
        }
        let error = client.execute(record, &[&first, &usage]).err().context("the row was not too big")?;
        assert_eq!(sqlstate(&error), "54000", "{error:?}");
        if explicit {
            client.batch_execute("rollback to before")?;
        }
        let next = tenant_with_a_dollar(&mut client, 2 + u128::from(explicit))?;
        assert!(charge(&mut client, next, "1")?, "in a transaction: {explicit}");
        assert!(charge(&mut client, first, "0.5")?, "in a transaction: {explicit}");
        if explicit {
            client.batch_execute("commit")?;
        }
    }
    assert_exact(&mut client, first, 1);
    Ok(())
}
