//! Every figure of one snapshot is the ledger's, while sessions charge, take back and fold.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::{Client, IsolationLevel};
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::servers::conf;
use crate::support::{assert_verified, differences, id, limit, make_tenant, texts};
use crate::world::until;

const WRITERS: usize = 12;
const FOLDERS: usize = 3;
const LOOKS: usize = 1000;
const TENANTS: u128 = 3;
/// A machine that is too slow for all looks has looked for so long, and more often than this, however long it takes.
const LONGEST: Duration = Duration::from_secs(150);
const LEAST: usize = 100;

/// The bill, the views and the ledger of every tenant, in one snapshot: the rows in which they are not the same.
const DIFFERENCES: &str = "
    select l.tenant_id || ': ledger ' || l.figures || ', bill ' || s.figures || ', view ' || v.figures || ', days '
           || d.figures || ', quota ' || l.nanos || ' and ' || q.nanos
    from (select tenant_id, count(*) || ' of ' || trim_scale(sum(cost_usd)) as figures, sum(charge_nanos) as nanos
          from copilot_internal.llm_cost_records group by tenant_id) l
    left join (select t.id, c.llm_request_count || ' of ' || trim_scale(c.llm_cost_usd) as figures
               from copilot_internal.tenants t
               cross join lateral public.get_tenant_cost_summary(t.id, '2020-01-01', '2100-01-01') c) s
        on s.id = l.tenant_id
    left join (select tenant_id, sum(request_count) || ' of ' || trim_scale(sum(total_cost)) as figures
               from metrics.llm_costs group by tenant_id) v on v.tenant_id = l.tenant_id
    left join (select tenant_id, sum(request_count) || ' of ' || trim_scale(sum(total_cost)) as figures
               from metrics.llm_costs_daily group by tenant_id) d on d.tenant_id = l.tenant_id
    left join (select tenant_id, trim_scale(current_spend_usd * 1000000000) as nanos
               from metrics.quota_status where scope = 'tenant' and resource_type = 'llm' and period = 'lifetime') q
        on q.tenant_id = l.tenant_id
    where (l.figures, l.figures, l.figures, l.nanos) is distinct from (s.figures, v.figures, d.figures, q.nanos)";

/// So many transactions of each session for one look. A machine that is slow to look is not to be slower each time.
const WRITTEN_A_LOOK: usize = 3;

/// What is kept and what is taken back, by savepoints and as a whole; some of it stays open for a moment.
fn write(client: &mut Client, session: usize, number: usize) -> Result<()> {
    let tenant = id(1 + ((session + number) % TENANTS as usize) as u128);
    let charge = |usd: &str| {
        let user = id(0xa0 + (number % 5) as u128);
        format!("select public.record_llm_cost('{tenant}', 'p', 'm{session}', 1, 1, '{user}', p_cost_usd => {usd});")
    };
    // The ledger is read whole by each look, so it is not to grow too fast.
    let pause = format!("select pg_sleep(0.0{});", 2 + (session * 3 + number) % 8);
    let end = if number.is_multiple_of(7) { "rollback" } else { "commit" };
    client.batch_execute(&format!(
        "begin; {} savepoint a; {} {pause} rollback to a; {} savepoint b; {} release b; {pause} {end}",
        charge("0.001"),
        charge("0.7"),
        charge("0.01"),
        charge("0.000000000001"),
    ))?;
    Ok(())
}

/// Again and again in a session of its own, until it is told to stop.
fn again(
    cluster: &Cluster,
    database: &str,
    done: &AtomicBool,
    act: impl Fn(&mut Client, usize) -> Result<()>,
) -> Result<()> {
    let mut client = cluster.superuser(database)?;
    for number in 0.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        act(&mut client, number)?;
    }
    Ok(())
}

/// Compares until it has looked often enough, and at last the rollups with the ledger. Gives what was different.
fn look(reader: &mut Client, looks: &AtomicUsize) -> Result<Vec<String>> {
    let began = Instant::now();
    let mut found = Vec::new();
    loop {
        let look = looks.fetch_add(1, Ordering::SeqCst);
        if look >= LOOKS || look > LEAST && began.elapsed() >= LONGEST {
            break;
        }
        let mut snapshot = reader.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start()?;
        found.extend(snapshot.query(DIFFERENCES, &[])?.iter().map(|row| row.get::<_, String>(0)));
        snapshot.commit()?;
    }
    found.extend(differences(reader)?);
    Ok(found)
}

fn is_exact_under_fire(preload: bool) -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { preload, extra_conf: conf(2), ..ClusterOptions::default() })?;
    let database = cluster.fresh_database()?;
    let mut reader = cluster.superuser(&database)?;
    for tenant in (1..=TENANTS).map(id) {
        make_tenant(&mut reader, tenant)?;
        limit(&mut reader, tenant, "llm", "1000000")?;
    }
    // Holds back what the server may forget.
    let mut elsewhere = cluster.superuser("postgres")?;
    elsewhere.batch_execute("begin isolation level repeatable read; select pg_current_xact_id()")?;
    let (done, folds, looks) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let found = thread::scope(|scope| -> Result<Vec<String>> {
        let (cluster, database, done, folds, looks) = (&cluster, database.as_str(), &done, &folds, &looks);
        let writers = (0..WRITERS).map(|session| {
            scope.spawn(move || {
                again(cluster, database, done, |client, number| {
                    while number > WRITTEN_A_LOOK * (looks.load(Ordering::SeqCst) + 1) && !done.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(5));
                    }
                    write(client, session, number)
                })
            })
        });
        let mut threads: Vec<_> = writers.collect();
        threads.extend((0..FOLDERS).map(|folder| {
            let call =
                ["select copilot_internal.maintain(50)", "call copilot_internal.housekeep('1 second')"][folder % 2];
            scope.spawn(move || {
                again(cluster, database, done, |client, _| {
                    client.batch_execute(call)?;
                    folds.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(25));
                    Ok(())
                })
            })
        }));
        let found = look(&mut reader, looks);
        done.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().unwrap_or_else(|_| anyhow::bail!("a session panicked"))?;
        }
        found
    })?;
    assert_eq!(found, Vec::<String>::new());
    let (folds, looks) = (folds.into_inner(), looks.into_inner());
    let records = texts(&mut reader, "select count(*)::text from copilot_internal.llm_cost_records", &[])?;
    println!("{looks} looks, {folds} calls that fold, {records:?} records: no difference");
    assert!(looks > LEAST && folds > 50, "{looks} looks, {folds} folds");
    elsewhere.batch_execute("rollback")?;
    until("all is folded", || {
        reader.batch_execute("select copilot_internal.maintain()")?;
        Ok(crate::world::pending(&mut reader)? == 0)
    })?;
    assert_eq!(texts(&mut reader, DIFFERENCES, &[])?, Vec::<String>::new());
    assert_verified(&mut reader);
    Ok(())
}

#[test]
fn every_snapshot_is_exact_where_the_library_is_preloaded() -> Result<()> {
    is_exact_under_fire(true)
}

#[test]
fn every_snapshot_is_exact_where_the_library_is_not_preloaded() -> Result<()> {
    is_exact_under_fire(false)
}
