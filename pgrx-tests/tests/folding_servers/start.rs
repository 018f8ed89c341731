//! Where a queue starts in the locked mode: a charge passes over no row that was folded, and over none that was not.

use anyhow::{Result, ensure};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::servers::conf;
use crate::support::{USD, assert_verified, charged_nanos, differences, id, limit, make_tenant, texts};
use crate::world::pending;

/// A server without the library preloaded, and a tenant with a limit in USD.
fn prepared(usd: &str) -> Result<(Cluster, String, Client)> {
    let cluster = Cluster::start(ClusterOptions { preload: false, extra_conf: conf(0), ..ClusterOptions::default() })?;
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    make_tenant(&mut client, id(1))?;
    limit(&mut client, id(1), "llm", usd)?;
    Ok((cluster, database, client))
}

fn charge(client: &mut Client, nanos: i64) -> Result<bool> {
    let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::bigint * 0.000000001,
                   p_enforce => true)";
    Ok(client.query_one(sql, &[&id(1), &nanos])?.get(0))
}

/// So many charges of a nano-dollar, in one transaction each or all in the running one.
fn charges(client: &mut Client, count: usize) -> Result<()> {
    for _ in 0..count {
        ensure!(charge(client, 1)?, "refused");
    }
    Ok(())
}

/// Where the queue starts, if that is known.
fn start(client: &mut Client) -> Result<Vec<String>> {
    let sql = "select first_id::text from copilot_internal.checked_queue_starts
               where tenant_id = $1 and first_id is not null order by since desc limit 1";
    texts(client, sql, &[&id(1)])
}

/// Charges until the start has been moved on. One charge in sixteen does it, where there is something to pass over.
fn move_start(client: &mut Client) -> Result<()> {
    let before = start(client)?;
    for _ in 0..2_000 {
        charges(client, 1)?;
        if start(client)? != before {
            return Ok(());
        }
    }
    anyhow::bail!("the start stays at {before:?}")
}

fn fold(client: &mut Client) -> Result<()> {
    client.batch_execute("select copilot_internal.maintain(100000)")?;
    Ok(())
}

/// What the ledger leaves of 1 USD is admitted, and not a nano-dollar more.
fn assert_exact(client: &mut Client) -> Result<()> {
    let nanos = USD - charged_nanos(client, id(1))?;
    assert!(!charge(client, nanos + 1)?, "more than is left was admitted");
    client.batch_execute("begin")?;
    assert!(charge(client, nanos)?, "what is left was refused");
    client.batch_execute("rollback")?;
    assert_verified(client);
    Ok(())
}

/// Entries of the queue's index that a charge reads, dead ones too.
fn entries_read(client: &mut Client) -> Result<i64> {
    let sql = "select pg_stat_get_xact_tuples_returned('copilot_internal.pending_costs_pkey'::regclass)";
    client.batch_execute("begin")?;
    let before: i64 = client.query_one(sql, &[])?.get(0);
    charges(client, 1)?;
    let after: i64 = client.query_one(sql, &[])?.get(0);
    client.batch_execute("commit")?;
    Ok(after - before)
}

#[test]
fn a_charge_reads_no_entry_that_was_folded() -> Result<()> {
    const ROWS: usize = 3_000;
    let (cluster, database, mut client) = prepared("1")?;
    let mut old = cluster.superuser(&database)?;
    old.batch_execute("begin isolation level repeatable read; select count(*) from copilot_internal.pending_costs")?;
    for _ in 0..ROWS / 50 {
        charges(&mut client, 50)?;
        fold(&mut client)?;
    }
    // Deletes what it can, which is nothing: the old snapshot sees the entries.
    client.batch_execute("vacuum copilot_internal.pending_costs")?;
    let mut read = Vec::new();
    for _ in 0..100 {
        read.push(entries_read(&mut client)?);
    }
    // A hundred charges are kept, and what was folded lies back by a few more.
    let most = *read.iter().max().unwrap_or(&0);
    println!("of {ROWS} folded entries and up to 100 others a charge reads at most {most}");
    assert!(most < 400, "a charge reads {most} entries");
    // It is the start that spares it.
    client.batch_execute("delete from copilot_internal.queue_starts where true")?;
    let whole = entries_read(&mut client)?;
    assert!(whole > ROWS as i64, "all there is to read is {whole} entries");
    assert_verified(&mut client);
    old.batch_execute("rollback")?;
    Ok(())
}

/// A trigger on the ledger charges the same tenant, while the row of the outer charge is not pending yet.
#[test]
fn a_charge_inside_another_passes_over_neither() -> Result<()> {
    let (_cluster, _database, mut client) = prepared("1")?;
    client.batch_execute(
        "create function charge_more() returns trigger language plpgsql security definer as $$
         declare
             v_before text := (select string_agg(first_id::text, '') from copilot_internal.checked_queue_starts);
         begin
             for n in 1..2000 loop
                 perform public.record_llm_cost(new.tenant_id, 'p', 'inner', 1, 1, p_cost_usd => 0.000001);
                 exit when v_before is distinct from
                     (select string_agg(first_id::text, '') from copilot_internal.checked_queue_starts);
             end loop;
             return null;
         end $$;
         create trigger charge_more after insert on copilot_internal.llm_cost_records
             for each row when (new.model_name = 'outer') execute function charge_more()",
    )?;
    charges(&mut client, 20)?;
    fold(&mut client)?;
    client.query("select public.record_llm_cost($1, 'p', 'outer', 1, 1, p_cost_usd => 0.5)", &[&id(1)])?;
    assert_eq!(start(&mut client)?.len(), 1, "the inner charges move the start");
    let spent = charged_nanos(&mut client, id(1))?;
    assert!(spent > USD / 2);
    assert_exact(&mut client)?;
    fold(&mut client)?;
    assert_exact(&mut client)
}

/// A fold that is taken back takes the start with it, in a savepoint and as a whole. What is folded in another
/// transaction counts as pending until that commits.
#[test]
fn a_fold_that_is_taken_back_takes_the_start_back() -> Result<()> {
    let (cluster, database, mut client) = prepared("1")?;
    let mut other = cluster.superuser(&database)?;
    charges(&mut client, 20)?;
    for (begin, end) in [("begin; savepoint a", "rollback to a; commit"), ("begin", "rollback")] {
        let (rows, before) = (pending(&mut client)?, start(&mut client)?);
        client.batch_execute(begin)?;
        fold(&mut client)?;
        move_start(&mut client)?;
        assert_ne!(start(&mut client)?, before);
        client.batch_execute(end)?;
        assert_eq!((pending(&mut client)?, start(&mut client)?), (rows, before), "{end}");
        assert_exact(&mut client)?;
    }
    for end in ["rollback", "commit"] {
        other.batch_execute("begin")?;
        fold(&mut other)?;
        charges(&mut client, 200)?;
        other.batch_execute(end)?;
        assert_exact(&mut client)?;
    }
    Ok(())
}

fn import(request: &str, nanos: i64) -> String {
    // A lower id than any that is given, as from another server.
    let record = format!("('00000000-0000-8000-8000-' || left(md5('{request}'), 12))::uuid");
    format!(
        "insert into copilot_internal.quota_charges
             (id, tenant_id, resource_type, cost_usd, charge_nanos, request_id, charged_at)
         values ({record}, '{tenant}', 'llm', {nanos} * 0.000000001, {nanos}, '{request}', now());
         insert into copilot_internal.pending_costs
             (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         values ('{tenant}', {record}, 'charge', '{no_user}', 'llm', now(), {nanos});",
        tenant = id(1),
        no_user = id(0)
    )
}

#[test]
fn rows_from_elsewhere_are_counted_whatever_their_ids() -> Result<()> {
    let (cluster, database, mut client) = prepared("1")?;
    let mut owner = cluster.superuser(&database)?;
    move_start(&mut client)?;
    let replica = |sql: String| format!("begin; set local session_replication_role = replica; {sql} commit");
    let unheard = |sql: String| {
        let table = "alter table copilot_internal.pending_costs";
        format!("begin; {table} disable trigger all; {sql} {table} enable trigger all; commit")
    };
    let in_savepoints = format!(
        "begin; savepoint a; {} rollback to a; {} savepoint b; {} release b; commit",
        import("gone", 7),
        import("d", USD / 100),
        import("e", USD / 100)
    );
    let ways = [
        import("a", USD / 100),
        replica(import("b", USD / 100)),
        unheard(import("c", USD / 100)),
        in_savepoints,
        format!("begin; {} select copilot_internal.maintain(); {} commit", import("f", 5), import("g", 6)),
    ];
    for sql in ways {
        move_start(&mut client)?;
        owner.batch_execute(&sql)?;
        assert_eq!(start(&mut client)?, Vec::<String>::new(), "{sql}");
        assert_exact(&mut client)?;
        client.batch_execute("select copilot_internal.maintain()")?;
        assert_exact(&mut client)?;
    }
    // While it is open, charges go on, and none of them takes a start for good that does not know it.
    owner.batch_execute(&format!("begin; {}", import("h", USD / 10)))?;
    charges(&mut client, 200)?;
    owner.batch_execute("commit")?;
    assert_exact(&mut client)?;
    move_start(&mut client)?;
    assert_exact(&mut client)?;
    // Housekeeping keeps one row that says so, whatever their number.
    client.batch_execute("select copilot_internal.maintain()")?;
    let rows = "select count(*)::text from copilot_internal.queue_starts where tenant_id = $1";
    assert_eq!(texts(&mut client, rows, &[&id(0)])?, ["1"]);
    Ok(())
}

/// It charges between what it imports. Its own charges move no start past what it has yet to write.
#[test]
fn an_import_that_charges_counts_itself() -> Result<()> {
    let (_cluster, _database, mut client) = prepared("1")?;
    move_start(&mut client)?;
    // The id of the first is the greater.
    client.batch_execute(&format!("begin; {}", import("b", USD / 10)))?;
    charges(&mut client, 200)?;
    client.batch_execute(&import("a", USD / 10))?;
    let spent = charged_nanos(&mut client, id(1))?;
    assert!(!charge(&mut client, USD - spent + 1)?);
    charges(&mut client, 200)?;
    client.batch_execute("commit")?;
    assert_exact(&mut client)
}

/// In the other mode charges hold no lock, so a start holds for one run of the server alone.
#[test]
fn a_start_ends_with_the_run_of_the_server() -> Result<()> {
    let (cluster, database, mut client) = prepared("1")?;
    move_start(&mut client)?;
    drop(client);
    for preload in [true, false] {
        cluster.configure_preload(preload)?;
        cluster.restart()?;
        let mut client = cluster.superuser(&database)?;
        assert_eq!(start(&mut client)?, Vec::<String>::new());
        charges(&mut client, 20)?;
        assert_exact(&mut client)?;
    }
    let mut client = cluster.superuser(&database)?;
    move_start(&mut client)?;
    assert_exact(&mut client)?;
    // A crash leaves the start, and ids go on from where it is.
    client.batch_execute("checkpoint")?;
    cluster.restart_immediately()?;
    let mut client = cluster.superuser(&database)?;
    charges(&mut client, 20)?;
    assert_exact(&mut client)
}

#[test]
fn a_start_that_is_too_far_is_found_out() -> Result<()> {
    let (_cluster, _database, mut client) = prepared("1")?;
    charges(&mut client, 3)?;
    client.batch_execute(
        "insert into copilot_internal.queue_starts
         select p.tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff', max(p.record_id::text)::uuid,
                pg_postmaster_start_time(), current_database()
         from copilot_internal.pending_costs p group by p.tenant_id",
    )?;
    let found = differences(&mut client)?;
    assert!(found.iter().any(|difference| difference.contains("before their queue starts")), "{found:?}");
    client.batch_execute("truncate copilot_internal.queue_starts")?;
    assert_verified(&mut client);
    Ok(())
}
