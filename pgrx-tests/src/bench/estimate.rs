//! Rows `estimate`: estimate_llm_cost for every row of a query, with the whole price list imported; and the import.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use postgres::Client;

use super::report::{Row, Target};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::price_list;
use crate::progress::Step;

const ROWS: u64 = 200_000;

/// A query over that many rows, with an estimate of each or with as cheap a function that gives a row as there is.
const SIDES: [&str; 2] = [
    "select count(e.cost) from generate_series(1, 200000) g, lateral generate_series(g, g) e (cost)",
    "select count(e.estimated_cost_usd) from generate_series(1, 200000) g,
            public.estimate_llm_cost('openai', 'gpt-4o', 1000 + g, 100) e",
];

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_estimate", |database| {
        step.note("estimate_llm_cost in a query, and the import of the price list");
        let mut client = cluster.superuser(database)?;
        client.batch_execute("set max_parallel_workers_per_gather = 0; set jit = off; set statement_timeout = 0")?;
        let list = price_list::text()?;
        let first = import(&mut client, &list)?;
        let again = import(&mut client, &list)?;
        let samples = take_turns(&SIDES, options.rounds, |sql, round| {
            step.note(&format!("estimate_llm_cost in a query, round {round}"));
            seconds(&mut client, sql)
        })?;
        let (without, with) = (samples[0].median(), samples[1].median());
        let net = (with - without) / ROWS as f64 * 1e6;
        let times = |seconds: f64| format!("{seconds:.2} s");
        Ok(vec![
            Row::figure(
                "estimate_llm_cost in a query, net cost",
                format!("{:.2} µs a call ({ROWS} rows)", with / ROWS as f64 * 1e6),
                format!("{:.2} µs a generate_series(g, g)", without / ROWS as f64 * 1e6),
                net,
                " µs",
                Some(Target::AtMost(3.0)),
            ),
            Row::figure(
                "import of the whole price list",
                times(first),
                "-".into(),
                first,
                " s",
                Some(Target::AtMost(10.0)),
            ),
            Row::figure(
                "import of the same list again",
                times(again),
                "-".into(),
                again,
                " s",
                Some(Target::AtMost(3.0)),
            ),
        ])
    })
}

fn seconds(client: &mut Client, sql: &str) -> Result<f64> {
    let started = Instant::now();
    let counted: i64 = client.query_one(sql, &[])?.get(0);
    ensure!(counted == i64::try_from(ROWS)?, "only {counted} rows had an answer");
    Ok(started.elapsed().as_secs_f64())
}

fn import(client: &mut Client, list: &str) -> Result<f64> {
    let started = Instant::now();
    let sql = "select inserted + unchanged from copilot_internal.import_model_pricing($1::text::jsonb, 'bench', '2020-01-01Z')";
    let models: i64 = client.query_one(sql, &[&list]).context("cannot import the price list")?.get(0);
    ensure!(models > 4_000, "only {models} models were imported");
    Ok(started.elapsed().as_secs_f64())
}
