//! Row `tenant`: a policy that asks for the current tenant, against one that names it, and the question itself.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;

use super::report::{Row, Target};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;
use crate::session::{Caller, Session};

const USER: Uuid = Uuid::from_u128(0x20000000_0000_4000_8000_000000000001);
const TENANT: Uuid = Uuid::from_u128(0x10000000_0000_4000_8000_000000000001);

const ASKED: &str = "select count(*) from bench.asked";
const NAMED: &str = "select count(*) from bench.named";
/// The question for every row, and a constant in its place. Compared with a column, or it would be asked once.
const CALLS: u32 = 200_000;
const WITH: &str = "select count(*) from bench.ids where id is distinct from public.get_current_tenant_id()";
const WITHOUT: &str =
    "select count(*) from bench.ids where id is distinct from '10000000-0000-4000-8000-000000000001'::uuid";
/// How often a query of a side runs in one measurement.
const TIMES: u32 = 20;

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_tenant", |database| {
        let mut admin = cluster.superuser(database)?;
        let setup = include_str!("tenant.sql").replace("{user}", &USER.to_string());
        admin.batch_execute(&setup.replace("{tenant}", &TENANT.to_string())).context("cannot prepare the rows")?;
        server::settle(&mut admin)?;
        let mut session = Session::open(cluster, database)?;
        let samples = take_turns(&[ASKED, NAMED, WITH, WITHOUT], options.rounds, |sql, round| {
            step.note(&format!("the current tenant, round {round}: {sql}"));
            seconds(&mut session, sql)
        })?;
        let [asked, named, with, without] = [0, 1, 2, 3].map(|side| samples[side].median());
        let milliseconds = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        let call = (with - without) / f64::from(CALLS) * 1e6;
        Ok(vec![
            Row::figure(
                "policy with get_current_tenant_id : policy with a constant (100,000 rows)",
                milliseconds(asked),
                milliseconds(named),
                asked / named,
                "",
                Some(Target::AtMost(1.2)),
            ),
            Row::figure(
                "get_current_tenant_id, net cost of a call",
                milliseconds(with),
                milliseconds(without),
                call,
                " µs",
                Some(Target::AtMost(2.0)),
            ),
        ])
    })
}

/// The mean time of the query, as `authenticated` with claims that name the tenant, in one process.
fn seconds(session: &mut Session, sql: &str) -> Result<f64> {
    let expected = if sql.contains("bench.ids") { i64::from(CALLS) } else { 50_000 };
    let (taken, counted) = session
        .request(&Caller::user(USER, Some(TENANT)), |transaction| {
            transaction
                .batch_execute("set local max_parallel_workers_per_gather = 0; set local statement_timeout = 0")?;
            let statement = transaction.prepare(sql)?;
            // The first run fills caches.
            let counted: i64 = transaction.query_one(&statement, &[])?.try_get(0)?;
            let started = Instant::now();
            for _ in 0..TIMES {
                transaction.query_one(&statement, &[])?;
            }
            Ok((started.elapsed().as_secs_f64() / f64::from(TIMES), counted))
        })
        .context("as a signed-in user")?;
    ensure!(counted == expected, "{sql} counts {counted} instead of {expected}");
    Ok(taken)
}
