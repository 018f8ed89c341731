//! Row `reads`: what people and programs read of a ledger, each beside a bare aggregate over the same rows of it.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use postgres::Client;
use uuid::Uuid;

use super::report::{Row, Target};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

/// How many records are left in the queue of pending costs for the last row.
const STORM: u64 = 200_000;
/// Up to as many records verify() looks at them all.
const VERIFIED: u64 = 200_000;
/// How often a query runs in one measurement, of which the median counts.
pub const TIMES: usize = 9;
const QUOTAS: u64 = 10_000;

const SUMMARY: &str = "select * from public.get_tenant_cost_summary('{tenant}')";
const SUMMARY_OF_A_SPAN: &str = "select * from public.get_tenant_cost_summary('{tenant}',
    date_trunc('hour', now(), 'UTC') - interval '20 days 03:28:42.9', date_trunc('hour', now(), 'UTC') - interval '2 days 08:30:48.5')";
const COSTS: &str = "select * from metrics.llm_costs";
const QUOTA_STATUS: &str = "select * from metrics.quota_status";

const AGGREGATE: &str =
    "select {key}model_provider, model_name, sum(cost_usd), sum(input_tokens), sum(output_tokens), count(*)
    from copilot_internal.llm_cost_records where {where} group by {key}model_provider, model_name";
/// Of a month, a span, everything of a tenant, and everything.
const OF_THE_MONTH: &str = "tenant_id = '{tenant}' and occurred_at >= date_trunc('month', now(), 'UTC')";
const OF_THE_SPAN: &str = "tenant_id = '{tenant}'
    and occurred_at >= date_trunc('hour', now(), 'UTC') - interval '20 days 03:28:42.9'
    and occurred_at < date_trunc('hour', now(), 'UTC') - interval '2 days 08:30:48.5'";
const OF_THE_TENANT: &str = "tenant_id = '{tenant}'";
const SPENT: &str = "select q.id, (select sum(r.charge_nanos) from copilot_internal.llm_cost_records r
        where r.tenant_id = q.tenant_id and (q.scope = 'tenant' or r.user_id = q.scope_id)
          and r.charged_at >= date_trunc('month', now(), 'UTC') and r.occurred_at >= date_trunc('month', now(), 'UTC'))
    from copilot_internal.cost_quotas q where q.resource_type <> 'e2b'";

/// Who reads.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Server,
    /// The owner of the largest tenant.
    Member,
    Analyst,
}

/// A measure: the query, who asks, and what the bare aggregate is.
#[derive(Clone, Copy, Debug)]
struct Read {
    name: &'static str,
    query: &'static str,
    reader: Reader,
    bare: Option<&'static str>,
    most_ms: f64,
}

const MONTH: Read = Read {
    name: "summary of the largest tenant, this month",
    query: SUMMARY,
    reader: Reader::Server,
    bare: Some(OF_THE_MONTH),
    most_ms: 1.0,
};
const READS: [Read; 5] = [
    MONTH,
    Read {
        name: "the same, bounds within an hour",
        query: SUMMARY_OF_A_SPAN,
        reader: Reader::Server,
        bare: Some(OF_THE_SPAN),
        most_ms: 5.0,
    },
    Read {
        name: "metrics.llm_costs, one tenant, as authenticated",
        query: COSTS,
        reader: Reader::Member,
        bare: Some(OF_THE_TENANT),
        most_ms: 1.0,
    },
    Read {
        name: "metrics.llm_costs, all tenants, as metrics_reader",
        query: COSTS,
        reader: Reader::Analyst,
        bare: Some("true"),
        most_ms: 20.0,
    },
    Read {
        name: "metrics.quota_status, 10,000 quotas",
        query: QUOTA_STATUS,
        reader: Reader::Analyst,
        bare: None,
        most_ms: 50.0,
    },
];

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_reads", |database| {
        let mut admin = cluster.superuser(database)?;
        let [tenant, owner] = fill(&mut admin, options.records, step)?;
        let mut reading = Reading { cluster, database, tenant, owner };
        let mut rows = Vec::new();
        for read in READS {
            step.note(&format!("reads, {} records: {}", options.records, read.name));
            rows.push(reading.row(read, options.rounds)?);
        }
        step.note("reads: a summary while 200,000 rows are pending");
        admin.execute(
            "select bench.write($1, $2, now() - interval '1 hour', now())",
            &[&number(options.records + 1), &number(STORM)],
        )?;
        admin.execute("select bench.queue($1)", &[&number(options.records + 1)])?;
        server::even(&mut admin)?;
        let queued = Read { name: "the first while 200,000 rows are pending", most_ms: 10.0, ..MONTH };
        rows.push(reading.row(queued, options.rounds)?);
        Ok(rows)
    })
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Writes the records and gives the largest tenant and its owner. What views say is what the ledger says.
fn fill(admin: &mut Client, records: u64, step: &mut Step) -> Result<[Uuid; 2]> {
    step.note(&format!("reads: writing {records} records"));
    admin.batch_execute(include_str!("reads.sql")).context("cannot prepare the ledger")?;
    let write = "select bench.write(1, $1, now() - interval '90 days', now())";
    admin.execute(write, &[&number(records)]).context("cannot write the records")?;
    admin.batch_execute("select bench.roll_up()").context("cannot write the rollups")?;
    server::even(admin)?;
    if records <= VERIFIED {
        server::verify(admin)?;
    }
    let same = "select (select sum(total_cost) from metrics.llm_costs)
        is not distinct from (select sum(cost_usd) from copilot_internal.llm_cost_records)";
    if !admin.query_one(same, &[])?.get::<_, bool>(0) {
        bail!("metrics.llm_costs is not what the ledger comes to");
    }
    let row = admin.query_one("select bench.tenant(1), bench.person(1, 0)", &[])?;
    Ok([row.get(0), row.get(1)])
}

struct Reading<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    tenant: Uuid,
    owner: Uuid,
}

impl Reading<'_> {
    fn row(&mut self, read: Read, rounds: u32) -> Result<Row> {
        let key = if matches!(read.reader, Reader::Analyst) { "tenant_id, " } else { "" };
        let bare = match read.bare {
            Some(which) => AGGREGATE.replace("{key}", key).replace("{where}", which),
            None => SPENT.to_string(),
        };
        let mut sides = [self.session(read.reader, read.query)?, self.session(Reader::Server, &bare)?];
        let samples = take_turns(&[0, 1], rounds, |side, _| sides[side].milliseconds())?;
        let shown = |side: usize| format!("{:.2} ms ({} rows)", samples[side].median(), sides[side].rows);
        if read.query == QUOTA_STATUS && sides[0].rows as u64 != QUOTAS {
            bail!("metrics.quota_status has {} rows", sides[0].rows);
        }
        let (ours, other) = (shown(0), shown(1));
        let beside = format!("{other}, 1 : {:.0}", samples[1].median() / samples[0].median());
        Ok(Row::figure(read.name, ours, beside, samples[0].median(), " ms", Some(Target::AtMost(read.most_ms))))
    }

    /// A connection of its own, in the role for as long as it lives.
    fn session(&self, reader: Reader, query: &str) -> Result<Side> {
        let mut client = self.cluster.superuser(self.database)?;
        client.batch_execute(match reader {
            Reader::Server => "set role service_role",
            Reader::Member => "set role authenticated",
            Reader::Analyst => "set role metrics_reader",
        })?;
        if matches!(reader, Reader::Member) {
            let claims = crate::session::claims(self.owner, Some(self.tenant)).to_string();
            client.execute("select set_config('request.jwt.claims', $1, false)", &[&claims])?;
        }
        let query = client.prepare(&query.replace("{tenant}", &self.tenant.to_string()))?;
        Ok(Side { client, query, rows: 0 })
    }
}

struct Side {
    client: Client,
    query: postgres::Statement,
    rows: usize,
}

impl Side {
    /// The median of some runs after one that fills caches.
    fn milliseconds(&mut self) -> Result<f64> {
        let mut times = Vec::new();
        for run in 0..=TIMES {
            let started = Instant::now();
            self.rows = self.client.query(&self.query, &[])?.len();
            // One that takes seconds says enough.
            let taken = started.elapsed().as_secs_f64() * 1e3;
            if run > 0 || taken > 5e3 {
                times.push(taken);
            }
            if times.iter().sum::<f64>() > 1e4 {
                break;
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}
