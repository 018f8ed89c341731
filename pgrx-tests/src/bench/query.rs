//! Row `query`: has_quota for every row of a query, against the same check in SQL.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use postgres::Transaction;
use uuid::Uuid;

use super::report::{Row, Target};
use super::rounds::{Sample, take_turns};
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;
use crate::session::{Caller, Session};

/// The user in whose name the query runs, about tenants of which they are a member.
const USER: Uuid = Uuid::from_u128(0x20000000_0000_4000_8000_000000000001);

const ROWS: u64 = 1_000_000;

/// Rows on which a check is tried for its speed, and on which both checks must agree.
const TRIED: u64 = 2_000;

const OURS: &str = "public.has_quota(tenant_id, 'llm', amount_usd)";
const SQL: &str = "bench.has_quota(tenant_id, 'llm', amount_usd)";

/// A query over that many rows, with a check of each or without.
#[derive(Clone, Copy)]
struct QuerySide {
    check: Option<&'static str>,
    rows: u64,
}

impl QuerySide {
    fn query(self) -> String {
        let filter = self.check.map(|check| format!(" where {check}")).unwrap_or_default();
        format!("select count(*) from (select tenant_id, amount_usd from bench.calls limit {}) c{filter}", self.rows)
    }

    fn seconds(self, transaction: &mut Transaction) -> Result<f64, postgres::Error> {
        let statement = transaction.prepare(&self.query())?;
        let started = Instant::now();
        transaction.query_one(&statement, &[])?;
        Ok(started.elapsed().as_secs_f64())
    }
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_query", |database| {
        step.note("has_quota in a query: a million rows of a thousand tenants");
        let mut admin = cluster.superuser(database)?;
        let setup = include_str!("query.sql").replace("{user}", &USER.to_string());
        admin.batch_execute(&setup).context("cannot prepare the rows and the check in SQL")?;
        server::settle(&mut admin)?;
        let mut session = Session::open(cluster, database)?;
        agree(&mut session)?;
        let mut sides = Vec::new();
        for check in [OURS, SQL] {
            let rows = affordable(&mut session, check, options.seconds)?;
            sides.extend([QuerySide { check: None, rows }, QuerySide { check: Some(check), rows }]);
        }
        let samples = take_turns(&sides, options.rounds, |side, round| {
            step.note(&format!("has_quota in a query, round {round}: {}", side.check.unwrap_or("no check")));
            as_user(&mut session, |transaction| side.seconds(transaction))
        })?;
        Ok(report(sides[1].rows, &samples[..2], sides[3].rows, &samples[2..]))
    })
}

fn report(our_rows: u64, ours: &[Sample], sql_rows: u64, sql: &[Sample]) -> Vec<Row> {
    let net = |rows: u64, pair: &[Sample]| (pair[1].median() - pair[0].median()) / rows as f64 * 1e6;
    let (our_cost, sql_cost) = (net(our_rows, ours), net(sql_rows, sql));
    let side = |rows: u64, cost: f64| format!("{cost:.2} µs a call ({rows} rows)");
    let queries = format!("{:.3} s with, {:.3} s without", ours[1].median(), ours[0].median());
    let limit = Some(Target::AtMost(0.5));
    vec![
        Row::figure("has_quota in a query, net cost", side(our_rows, our_cost), queries, our_cost, " µs", limit),
        Row::figure(
            "has_quota in a query : the check in SQL (times faster)",
            side(our_rows, our_cost),
            side(sql_rows, sql_cost),
            sql_cost / our_cost,
            "",
            Some(Target::AtLeast(20.0)),
        ),
    ]
}

/// As `authenticated` with claims, one process, no time limit.
fn as_user<T>(session: &mut Session, work: impl FnOnce(&mut Transaction) -> Result<T, postgres::Error>) -> Result<T> {
    let done = session.request(&Caller::user(USER, None), |transaction| {
        transaction.batch_execute("set local max_parallel_workers_per_gather = 0; set local statement_timeout = 0")?;
        work(transaction)
    });
    done.context("as a signed-in user")
}

/// How many rows a check gets through in a measurement of this length, one million at most.
fn affordable(session: &mut Session, check: &'static str, seconds: u32) -> Result<u64> {
    let tried = QuerySide { check: Some(check), rows: TRIED };
    // The first run fills caches.
    let taken = as_user(session, |transaction| tried.seconds(transaction).and_then(|_| tried.seconds(transaction)))?;
    let affordable = f64::from(seconds) / taken * TRIED as f64;
    // In steps, so that a table of one run compares with that of another.
    Ok(((affordable / 1_000.0) as u64 * 1_000).clamp(TRIED, ROWS))
}

/// A faster check that says something else would be worth nothing.
fn agree(session: &mut Session) -> Result<()> {
    let row = as_user(session, |transaction| {
        transaction.query_one(
            &format!(
                "select count(*) filter (where {OURS} is distinct from {SQL}), count(*) filter (where {SQL}),
                        count(*) filter (where not {SQL})
                   from (select tenant_id, amount_usd from bench.calls limit {TRIED}) c"
            ),
            &[],
        )
    })?;
    let [different, yes, no] = [0, 1, 2].map(|index| row.get::<_, i64>(index));
    if different > 0 {
        bail!("has_quota and the check in SQL disagree on {different} of {TRIED} rows");
    }
    if yes == 0 || no == 0 {
        bail!("the rows do not tell a check from a constant: {yes} allowed, {no} refused");
    }
    Ok(())
}
