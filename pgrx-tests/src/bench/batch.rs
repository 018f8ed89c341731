//! Rows `batch`: records by batches, against a bare INSERT … SELECT of the very rows that they left, and against single
//! calls of one statement.

use std::time::Instant;

use anyhow::{Result, ensure};
use postgres::Client;

use super::report::{Row, Target};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

/// Records of one batch, the most that there may be, and batches of one measurement.
const RECORDS: i64 = 10_000;
const BATCHES: i64 = 4;

/// What is recorded, and for how many tenants.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    kind: &'static str,
    tenants: i32,
    /// The arguments of a single call, from a record `r`.
    call: &'static str,
}

const LLM: &str = "record_llm_cost((r ->> 'tenant_id')::uuid, r ->> 'model_provider', r ->> 'model_name', \
    (r ->> 'input_tokens')::bigint, (r ->> 'output_tokens')::bigint, p_user_id => (r ->> 'user_id')::uuid, \
    p_usage => r -> 'usage', p_request_id => r ->> 'request_id', p_occurred_at => (r ->> 'occurred_at')::timestamptz)";
const E2B: &str = "record_e2b_cost((r ->> 'tenant_id')::uuid, r ->> 'sandbox_id', r ->> 'sandbox_type', \
    (r ->> 'duration_seconds')::numeric, p_user_id => (r ->> 'user_id')::uuid, \
    p_vcpu_seconds => (r ->> 'vcpu_seconds')::numeric, p_request_id => r ->> 'request_id', \
    p_occurred_at => (r ->> 'occurred_at')::timestamptz)";
const LOADS: [Load; 3] = [
    Load { name: "calls of 200 tenants", kind: "llm", tenants: 200, call: LLM },
    Load { name: "calls of one tenant", kind: "llm", tenants: 1, call: LLM },
    Load { name: "sandboxes of 200 tenants", kind: "e2b", tenants: 200, call: E2B },
];

/// How the records come into a table, in this order: the rows of the batches are what is inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BatchSide {
    Batches,
    Bare,
    Calls,
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_batch", |database| {
        let mut client = cluster.superuser(database)?;
        client.batch_execute(include_str!("batch.sql"))?;
        client.batch_execute("set max_parallel_workers_per_gather = 0; set jit = off; set statement_timeout = 0")?;
        let mut rows = Vec::new();
        for load in LOADS {
            let sides = [BatchSide::Batches, BatchSide::Bare, BatchSide::Calls];
            let samples = take_turns(&sides, options.rounds, |side, round| {
                step.note(&format!("batches, {}, round {round}", load.name));
                load.rate(&mut client, side)
            })?;
            let [batches, bare, calls] = &samples[..] else { unreachable!("as many samples as sides") };
            let row = |against: &str, other, target| {
                Row::speeds(&format!("{} by batches : {against}", load.name), batches, other, Some(target))
            };
            rows.push(row("INSERT … SELECT of their rows", bare, Target::AtLeast(0.3)));
            rows.push(row("single calls in one statement", calls, Target::AtLeast(1.0)));
        }
        server::settle(&mut client)?;
        server::verify(&mut client)?;
        Ok(rows)
    })
}

impl Load {
    /// Records a second, each of which has left its row.
    fn rate(self, client: &mut Client, side: BatchSide) -> Result<f64> {
        let Load { kind, tenants, call, .. } = self;
        let ledger = format!("copilot_internal.{kind}_cost_records");
        if side != BatchSide::Bare {
            client.batch_execute(&format!(
                "truncate bench.batches;
                 insert into bench.batches select jsonb_agg(bench.one('{kind}', {tenants}) order by b, r)
                 from generate_series(1, {BATCHES}) b, generate_series(1, {RECORDS}) r group by b"
            ))?;
        }
        server::settle(client)?;
        let statement = match side {
            BatchSide::Batches => {
                format!(
                    "select count(*) filter (where r.recorded) from bench.batches b, public.record_{kind}_costs(b.records) r"
                )
            }
            BatchSide::Calls => format!(
                "select count(*) filter (where c.recorded)
                 from bench.batches b, jsonb_array_elements(b.records) r, public.{call} c"
            ),
            BatchSide::Bare => format!(
                "with written as (insert into bench.{kind} select * from bench.rows returning 1) select count(*) from written"
            ),
        };
        let started = Instant::now();
        let recorded: i64 = client.query_one(&statement, &[])?.get(0);
        let taken = started.elapsed().as_secs_f64();
        ensure!(recorded == RECORDS * BATCHES, "only {recorded} records were taken");
        if side == BatchSide::Batches {
            client.batch_execute(&format!(
                "drop table if exists bench.rows;
                 create unlogged table bench.rows as select * from {ledger} order by recorded_at desc limit {recorded}"
            ))?;
        }
        Ok(recorded as f64 / taken)
    }
}
