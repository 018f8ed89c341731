//! Ids are not in the order of commits: a fold that goes by ids would lose rows, and this scenario finds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster_pool;

use crate::support::{Database, differences, id, make_tenant, texts};
use crate::world::until;

const WRITERS: usize = 4;
const TRANSACTIONS: usize = 60;

/// Adds up what is there, and deletes all up to the greatest id of that: a row that a slower transaction commits in between
/// is deleted and has not been added.
const BY_ID: &str = "
    create or replace function copilot_internal.fold_batch(p_tenant_ids uuid[], p_limits integer[]) returns bigint
        language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
    declare
        v_tenant_id uuid;
        v_last uuid;
        v_done bigint := 0;
        v_count bigint;
    begin
        foreach v_tenant_id in array p_tenant_ids loop
            continue when not copilot_internal.try_fold_lock(v_tenant_id);
            select p.record_id into v_last from copilot_internal.pending_costs p
            where p.tenant_id = v_tenant_id order by p.record_id desc limit 1;
            insert into copilot_internal.quota_rollups as r (tenant_id, user_id, resource_type, grain, bucket, nanos)
            select p.tenant_id, '00000000-0000-0000-0000-000000000000'::uuid, p.resource_type, g.grain, g.bucket, sum(p.nanos)
            from copilot_internal.pending_costs p
            cross join lateral (values
                ('quarter', date_bin('15 minutes', p.charged_at, '2000-01-01 00:00+00')),
                ('day', date_bin('1 day', p.charged_at, '2000-01-01 00:00+00'))) as g (grain, bucket)
            where p.tenant_id = v_tenant_id and p.record_id <= v_last
            group by 1, 2, 3, 4, 5
            on conflict (tenant_id, user_id, resource_type, grain, bucket) do update set nanos = r.nanos + excluded.nanos;
            perform pg_sleep(0.005);
            delete from copilot_internal.pending_costs p where p.tenant_id = v_tenant_id and p.record_id <= v_last;
            get diagnostics v_count = row_count;
            v_done := v_done + v_count;
        end loop;
        return v_done;
    end $$";

/// Transactions of every kind: with savepoints that are kept and rolled back, rolled back as a whole, short and long.
fn write(client: &mut Client, session: usize, number: usize) -> Result<()> {
    let charge = |usd: &str| {
        format!(
            "select public.record_llm_cost('{}', 'p', 'm', 1, 1, p_cost_usd => {usd});",
            id(1 + (number % 2) as u128)
        )
    };
    let pause = format!("select pg_sleep(0.00{});", (session * 3 + number) % 9);
    let end = if number.is_multiple_of(7) { "rollback" } else { "commit" };
    client.batch_execute(&format!(
        "begin; {} savepoint a; {} {pause} rollback to a; {} savepoint b; {} release b; {pause} {end}",
        charge("0.001"),
        charge("0.7"),
        charge("0.01"),
        charge("0.0000000001"),
    ))?;
    Ok(())
}

/// What differs at the end, or while it runs.
fn race(database: &Database) -> Result<Vec<String>> {
    // Holds back what a snapshot may forget, in another database.
    let mut elsewhere = cluster_pool::shared().superuser("postgres")?;
    elsewhere.batch_execute("begin isolation level repeatable read; select pg_current_xact_id()")?;
    let writing = AtomicUsize::new(WRITERS);
    let found = thread::scope(|scope| -> Result<Vec<String>> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|session| {
                let writing = &writing;
                scope.spawn(move || {
                    let outcome = database.superuser().and_then(|mut client| {
                        (0..TRANSACTIONS).try_for_each(|number| write(&mut client, session, number))
                    });
                    writing.fetch_sub(1, Ordering::SeqCst);
                    outcome
                })
            })
            .collect();
        let folders: Vec<_> = (0..2)
            .map(|_| {
                let writing = &writing;
                scope.spawn(move || -> Result<()> {
                    let mut client = database.superuser()?;
                    while writing.load(Ordering::SeqCst) > 0 {
                        client.batch_execute("select copilot_internal.maintain(20)")?;
                        thread::sleep(Duration::from_millis(2));
                    }
                    Ok(())
                })
            })
            .collect();
        let mut client = database.superuser()?;
        let mut found = Vec::new();
        while writing.load(Ordering::SeqCst) > 0 {
            found.extend(differences(&mut client)?);
        }
        for thread in writers.into_iter().chain(folders) {
            thread.join().unwrap_or_else(|_| anyhow::bail!("a session panicked"))?;
        }
        Ok(found)
    })?;
    elsewhere.batch_execute("rollback")?;
    let mut client = database.superuser()?;
    client.batch_execute("select copilot_internal.maintain()")?;
    Ok([found, differences(&mut client)?].concat())
}

fn prepared() -> Result<Database> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    for tenant in [id(1), id(2)] {
        make_tenant(&mut client, tenant)?;
    }
    Ok(database)
}

#[test]
fn rows_are_folded_once_whatever_the_order_of_their_commits() -> Result<()> {
    let database = prepared()?;
    assert_eq!(race(&database)?, Vec::<String>::new());
    let mut client = database.superuser()?;
    let committed = WRITERS * TRANSACTIONS - WRITERS * TRANSACTIONS.div_ceil(7);
    let wanted = format!("{} {}", 3 * committed, "0.0110000001");
    let sql = "select sum(request_count) || ' ' || trim_scale(3 * sum(total_cost) / sum(request_count)) from metrics.llm_costs";
    assert_eq!(texts(&mut client, sql, &[])?, [wanted]);
    until("all is folded", || Ok(crate::world::pending(&mut client)? == 0))
}

#[test]
fn a_fold_by_ids_is_found_out() -> Result<()> {
    let database = prepared()?;
    database.superuser()?.batch_execute(BY_ID)?;
    let found = race(&database)?;
    let lost = found.iter().any(|difference| difference.contains("quota charges"));
    assert!(lost, "a fold that goes by ids loses no row: {found:?}");
    Ok(())
}
