//! Repricing a large ledger: page by page, with few locks, from where the last call came to, beside charges.

use tollgate_tests::support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use postgres::Client;
use support::{Database, assert_verified, charged_nanos, id, make_tenant, preloaded, text};

/// Records of each tenant, of which one in five is of the model whose price was wrong, and one in ten has a cost of its own.
const RECORDS: i64 = 30_000;
const TENANTS: [u128; 2] = [0xa1, 0xa2];
const WRONG: i64 = 2 * RECORDS / 5;
const LIMIT: i64 = 2_500;
/// Many of a moment, as imports have it.
const MOMENTS: i64 = 97;

fn prepared() -> Result<(Database, Client)> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    client.batch_execute(
        "select public.set_model_price('acme', 'right', 1, 1, '2020-01-01Z');
         select public.set_model_price('acme', 'wrong', 3, 3, '2020-01-01Z')",
    )?;
    for tenant in TENANTS {
        make_tenant(&mut client, id(tenant))?;
        client.execute(
            "with written as (
                 insert into copilot_internal.llm_cost_records (tenant_id, model_provider, model_name, input_tokens,
                     output_tokens, cost_usd, cost_status, charge_nanos, charged_at, occurred_at)
                 select $1::uuid, 'acme', case when n % 5 = 0 then 'wrong' else 'right' end, 10, 0,
                        case when n % 5 = 0 then 0.00002 else 0.00001 end,
                        case when n % 10 = 1 then 'provided' else 'priced' end,
                        case when n % 5 = 0 then 20000 else 10000 end, m.at, m.at
                 from generate_series(1, $2::bigint) n
                 cross join lateral (select timestamptz '2026-01-01 00:00Z' + n % $3::bigint * interval '1 hour' as at) m
                 returning *)
             insert into copilot_internal.pending_costs
                 (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
             select tenant_id, id, 'llm', '00000000-0000-0000-0000-000000000000', 'llm', charged_at, charge_nanos
             from written",
            &[&id(tenant), &RECORDS, &MOMENTS],
        )?;
    }
    client.batch_execute("analyze")?;
    client.batch_execute("select copilot_internal.maintain(200000)")?;
    // Where the library is not preloaded, each charge passes over the dead rows of those that were folded.
    client.batch_execute("vacuum copilot_internal.pending_costs")?;
    Ok((database, client))
}

#[derive(Default, Debug, PartialEq)]
struct Came {
    records: i64,
    adjusted: i64,
    /// Pico-dollars.
    adjustment: i64,
    cursor: Option<String>,
}

/// One call, in a transaction that is open afterwards.
fn step(client: &mut Client, dry_run: bool, cursor: Option<&str>) -> Result<Came> {
    client.batch_execute("begin")?;
    let rows = client.query(
        "select records, adjusted, (adjustment_usd * 1000000000000)::bigint, cursor
         from copilot_internal.reprice('2026-01-01Z', '2026-02-01Z', $1, $2, $3)",
        &[&dry_run, &LIMIT, &cursor],
    )?;
    Ok(rows.iter().fold(Came::default(), |came, row| Came {
        records: came.records + row.get::<_, i64>(0),
        adjusted: came.adjusted + row.get::<_, i64>(1),
        adjustment: came.adjustment + row.get::<_, i64>(2),
        cursor: row.get(3),
    }))
}

fn reads(client: &mut Client) -> Result<(i64, i64)> {
    client.batch_execute("select pg_stat_force_next_flush(); select pg_stat_clear_snapshot()")?;
    let row = client.query_one(
        "select (select seq_scan from pg_stat_user_tables where relid = 'copilot_internal.llm_cost_records'::regclass),
                (select idx_tup_read from pg_stat_user_indexes
                 where indexrelid = 'copilot_internal.llm_cost_records_occurred_at_idx'::regclass)",
        &[],
    )?;
    Ok((row.get(0), row.get(1)))
}

/// From a place on, call after call; what it came to, and in how many calls.
fn walk(client: &mut Client, dry_run: bool, mut cursor: Option<String>) -> Result<(Came, i64)> {
    let mut sum = Came::default();
    for calls in 1..200 {
        let came = step(client, dry_run, cursor.as_deref())?;
        let locks = "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'";
        let locks: i64 = client.query_one(locks, &[])?.get(0);
        assert!(locks <= 6, "{locks} locks for {came:?}");
        client.batch_execute("commit")?;
        assert!(came.adjusted <= LIMIT, "{came:?}");
        sum.records += came.records;
        sum.adjusted += came.adjusted;
        sum.adjustment += came.adjustment;
        match came.cursor {
            None => return Ok((sum, calls)),
            next => cursor = next,
        }
    }
    anyhow::bail!("it comes to no end")
}

#[test]
fn a_large_ledger_is_repriced_page_by_page_beside_charges() -> Result<()> {
    let (database, mut client) = prepared()?;
    assert_verified(&mut client);
    let before = charged_nanos(&mut client, id(TENANTS[0]))? + charged_nanos(&mut client, id(TENANTS[1]))?;
    let (told, calls) = walk(&mut client, true, None)?;
    assert_eq!((told.records, told.adjusted), (WRONG, 0));
    assert!(calls >= 2, "one call looked at {} records", 2 * RECORDS);
    // Reading: by the index alone, and nothing twice but what has one moment.
    let (scans, read) = reads(&mut client)?;
    walk(&mut client, true, None)?;
    let (scans_after, read_after) = reads(&mut client)?;
    assert_eq!(scans_after, scans, "the table was read through");
    let most = 2 * RECORDS * 2;
    assert!(read_after - read <= most, "{} entries read for {} records", read_after - read, 2 * RECORDS);
    // A few calls; one that is interrupted; and from the last cursor on.
    let start = Instant::now();
    let mut came = Came::default();
    for _ in 0..3 {
        let next = step(&mut client, false, came.cursor.as_deref())?;
        client.batch_execute("commit")?;
        assert_eq!(next.adjusted, LIMIT);
        came = Came { adjusted: came.adjusted + next.adjusted, adjustment: came.adjustment + next.adjustment, ..next };
    }
    let lost = step(&mut client, false, came.cursor.as_deref())?;
    assert_eq!(lost.adjusted, LIMIT);
    let pid: i32 = client.query_one("select pg_backend_pid()", &[])?.get(0);
    database.superuser()?.execute("select pg_terminate_backend($1)", &[&pid])?;
    client = database.superuser()?;
    let ended = AtomicBool::new(false);
    let (rest, charges) = thread::scope(|scope| -> Result<_> {
        let charger = scope.spawn(|| -> Result<i64> {
            let mut other = database.superuser()?;
            other.batch_execute("set role service_role; set statement_timeout = '60s'")?;
            let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.000001)";
            for charges in 1.. {
                other.query_one(sql, &[&id(TENANTS[1])])?;
                if ended.load(Ordering::SeqCst) {
                    return Ok(charges);
                }
            }
            Ok(0)
        });
        let rest = walk(&mut client, false, came.cursor.clone());
        ended.store(true, Ordering::SeqCst);
        Ok((rest?.0, charger.join().ok().context("the charger panicked")??))
    })?;
    println!("{WRONG} of {} records in {:?}, {charges} charges beside", 2 * RECORDS, start.elapsed());
    assert_eq!((came.adjusted + rest.adjusted, came.adjustment + rest.adjustment), (WRONG, WRONG * 10_000_000));
    // Where the library is not preloaded, the tenant's charges wait for each call to commit.
    let least = if preloaded(&mut client)? { 10 } else { 1 };
    assert!(charges >= least, "{charges} charges");
    assert_verified(&mut client);
    let after = charged_nanos(&mut client, id(TENANTS[0]))? + charged_nanos(&mut client, id(TENANTS[1]))?;
    assert_eq!(after, before + WRONG * 10_000 + charges * 1_000);
    // Again there is nothing to do, from whatever place.
    let corrections = "select count(*)::text from copilot_internal.cost_corrections";
    assert_eq!(text(&mut client, corrections, &[])?, WRONG.to_string());
    for cursor in [None, came.cursor] {
        let (again, _) = walk(&mut client, false, cursor)?;
        assert_eq!((again.records, again.adjusted), (0, 0));
    }
    assert_eq!(text(&mut client, corrections, &[])?, WRONG.to_string());
    Ok(())
}
