//! Statements that do everything at once, while definitions change in two databases: at rest every counter is exact.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use postgres::error::SqlState;
use postgres::{Client, Error};
use tollgate_tests::cluster::Cluster;
use uuid::Uuid;

use crate::servers::{server, start};
use crate::support::{USD, assert_verified, charged_nanos, id, make_tenant};

/// Seconds in all; a longer run needs `PG_TOLLGATE_DRIFT_SECONDS`.
const SECONDS: u64 = 12;
/// Between two checks of counters at rest.
const BURST: Duration = Duration::from_secs(2);
const CHARGERS: u64 = 4;
const TENANTS: u64 = 3;
const LIMIT: i64 = 2;

fn seconds() -> u64 {
    std::env::var("PG_TOLLGATE_DRIFT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// SplitMix64: each thread its own stream.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

const CHECK: &str = "public.check_quota_before_operation($1, 'llm', 0.000000001 + length($2::text) * 0, $3)";

/// One statement of two to four calls, each of which comes after the one before.
fn statement(rng: &mut Rng) -> String {
    let charge = "public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $3, p_cost_usd => 0.003, p_enforce => true)";
    let parts = match rng.below(7) {
        0 => format!("{charge} a cross join lateral {CHECK} b"),
        1 => format!(
            "public.check_and_record_quota_atomic('user', $3, 0.002, 'llm', $1) a cross join lateral {CHECK} b
             cross join lateral {charge} c"
        ),
        2 => format!("public.reserve_quota($1, 'llm', 0.004, $2, $3, '3 seconds') a cross join lateral {CHECK} b"),
        3 => format!(
            "public.reserve_quota($1, 'llm', 0.004, $2, $3) a cross join lateral {CHECK} b
             cross join lateral public.commit_reservation(a.reservation_id, 0.001 * (1 + length(b.status) % 4)) c
             cross join lateral {CHECK} d"
        ),
        4 => format!(
            "{charge} a cross join lateral {CHECK} b
             cross join lateral public.refund_cost(a.cost_record_id, 0.001, $2) c cross join lateral {CHECK} d"
        ),
        5 => format!(
            "public.reserve_quota($1, 'llm', 0.004, $2, $3) a
             cross join lateral public.release_reservation(a.reservation_id) b cross join lateral {CHECK} c"
        ),
        _ => format!(
            "(select r.id from copilot_internal.llm_cost_records r where r.tenant_id = $1 limit 1) a
             cross join lateral public.refund_cost(a.id, 0.0001, $2) b cross join lateral {CHECK} c
             cross join lateral {charge} d"
        ),
    };
    format!("select count(*) from {parts} where length($2::text) > 0")
}

/// What may come of it beside success: a refusal in the middle leaves a NULL or a record that nothing is left of.
fn is_expected(error: &Error) -> bool {
    let expected = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::INVALID_PARAMETER_VALUE,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::NO_DATA_FOUND,
        SqlState::UNIQUE_VIOLATION,
    ];
    error.code().is_some_and(|code| expected.contains(code))
}

fn charger(cluster: &Cluster, database: &str, seed: u64, stop: &AtomicBool, done: &AtomicU64) -> Result<()> {
    let (mut client, mut rng) = (server(cluster, database)?, Rng(seed));
    while !stop.load(Ordering::SeqCst) {
        let tenant = id(1 + u128::from(rng.below(TENANTS)));
        client.batch_execute("begin; savepoint s")?;
        for _ in 0..=rng.below(2) {
            let (sql, request) = (statement(&mut rng), format!("{seed} {}", rng.below(u64::MAX)));
            let user = id(0xa0 + u128::from(rng.below(2)));
            if let Err(error) = client.query(&sql, &[&tenant, &request, &user]) {
                ensure!(is_expected(&error), "{error:?}: {sql}");
                client.batch_execute("rollback to s")?;
            }
        }
        let endings = ["commit", "commit", "rollback to s; commit", "release s; commit", "rollback"];
        client.batch_execute(endings[rng.below(5) as usize])?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn mover(mut client: Client, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::SeqCst) {
        client.batch_execute(
            "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('moved', 'llm', 1);
             delete from copilot_internal.default_quotas where plan = 'moved'",
        )?;
        thread::sleep(Duration::from_millis(15));
    }
    Ok(())
}

/// Rows of tenants go, and come back in transactions that charge. Without a row a tenant is known by its quotas.
fn founder(mut client: Client, seed: u64, stop: &AtomicBool) -> Result<()> {
    let mut rng = Rng(seed);
    let mut attempt = |sql: &str| match client.batch_execute(sql) {
        Err(error) if !is_expected(&error) => Err(error),
        Err(_) => client.batch_execute("rollback"),
        done => done,
    };
    while !stop.load(Ordering::SeqCst) {
        let tenant = id(1 + u128::from(rng.below(TENANTS)));
        let insert = format!(
            "insert into copilot_internal.tenants (id, name) values ('{tenant}', 'tenant') on conflict do nothing"
        );
        let charge = format!(
            "select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_cost_usd => 0.003, p_enforce => true)"
        );
        attempt(&format!("delete from copilot_internal.tenants where id = '{tenant}'"))?;
        thread::sleep(Duration::from_millis(rng.below(10)));
        let end = ["commit", "rollback"][rng.below(2) as usize];
        attempt(&format!("begin; {insert}; {charge}; savepoint s; {charge}; rollback to s; {end}"))?;
        attempt(&insert)?;
    }
    Ok(())
}

fn furnish(client: &mut Client, burst: u64) -> Result<()> {
    let set = "select public.set_quota($1, $2, 'llm', $3::bigint::numeric / 1000000000, 'lifetime', p_tenant_id => $4)";
    // Room is made with each burst, and used up in it.
    let room = |share: i64| LIMIT * USD / share * i64::try_from(burst + 1).unwrap_or(i64::MAX);
    for tenant in (1..=TENANTS).map(|number| id(number.into())) {
        if burst == 0 {
            make_tenant(client, tenant)?;
        }
        client.execute(set, &[&"tenant", &tenant, &room(1), &None::<Uuid>])?;
        client.execute(set, &[&"user", &id(0xa0), &room(3), &Some(tenant)])?;
    }
    client.execute(set, &[&"platform", &None::<Uuid>, &room(1).saturating_mul(2), &None::<Uuid>])?;
    Ok(())
}

#[test]
fn no_counter_drifts_while_statements_do_everything_at_once() -> Result<()> {
    // Transactions that charge in two epochs may wait for each other: Postgres is to notice soon.
    let cluster = start(&[("deadlock_timeout", "20ms")])?;
    let database = cluster.fresh_database()?;
    let mut client = server(&cluster, &database)?;
    let (started, done) = (Instant::now(), AtomicU64::new(0));
    for burst in 0.. {
        furnish(&mut client, burst)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 0..CHARGERS {
                let (cluster, database, stop, done) = (&cluster, &database, &stop, &done);
                threads.push(scope.spawn(move || charger(cluster, database, burst * CHARGERS + number, stop, done)));
            }
            for _ in 0..2 {
                let (client, stop) = (cluster.superuser(&database)?, &stop);
                threads.push(scope.spawn(move || mover(client, stop)));
            }
            let (client, stopped) = (cluster.superuser(&database)?, &stop);
            threads.push(scope.spawn(move || founder(client, burst, stopped)));
            thread::sleep(BURST);
            stop.store(true, Ordering::SeqCst);
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        assert_verified(&mut client);
        for tenant in 1..=TENANTS {
            let charged = charged_nanos(&mut client, id(tenant.into()))?;
            let limit = LIMIT * USD * i64::try_from(burst + 1)?;
            ensure!(charged <= limit, "tenant {tenant}: {charged} of {limit}");
        }
        if started.elapsed().as_secs() >= seconds() {
            break;
        }
    }
    let done = done.load(Ordering::Relaxed);
    println!("{done} transactions");
    ensure!(done > 20, "hardly anything was charged: {done} transactions");
    Ok(())
}
