//! Row `folded`: charges in the locked mode of a tenant of which many rows were folded, while a transaction is open that
//! may still see them. They are compared with charges of a tenant that has none, in a database without such a transaction.

use anyhow::{Context, Result, bail};

use super::ledger::{create_tenant, record_statement};
use super::pgbench::{Job, Length, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

pub const FOLDED: u32 = 250_000;

pub fn rows(options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let cluster = server::start(false, None)?;
    let mut rows = Vec::new();
    for count in options.counts("folded", &[1]) {
        let row = server::in_database(&cluster, "bench_none", |none| {
            server::in_database(&cluster, "bench_folded", |folded| {
                beside_folded(&cluster, [folded, none], options, count, step)
            })
        })?;
        rows.push(row);
    }
    Ok(rows)
}

fn beside_folded(
    cluster: &Cluster,
    databases: [&str; 2],
    options: &BenchOptions,
    count: u32,
    step: &mut Step,
) -> Result<Row> {
    let [folded, _] = databases;
    let mut tenant = "";
    for database in databases {
        tenant = create_tenant(&mut cluster.superuser(database)?)?;
    }
    step.note("folding rows that an old snapshot sees");
    let mut old = cluster.superuser(folded)?;
    // With the ids of charges that came before any of this run.
    let pend = format!(
        "with records as (
             insert into copilot_internal.llm_cost_records (id, tenant_id, model_provider, model_name, input_tokens,
                 output_tokens, cost_usd, cost_status, charge_nanos, charged_at, occurred_at)
             select ('00000000-0000-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{tenant}', 'p', 'm', 1, 1,
                    0.0000001, 'provided', 100, clock_timestamp(), clock_timestamp()
             from generate_series(1, {FOLDED}) n
             returning *)
         insert into copilot_internal.pending_costs
             (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         select r.tenant_id, r.id, 'llm', '00000000-0000-0000-0000-000000000000', 'llm', r.charged_at, r.charge_nanos
         from records r"
    );
    let mut admin = cluster.superuser(folded)?;
    admin.batch_execute(&pend).context("cannot write the rows")?;
    server::even(&mut admin)?;
    old.batch_execute("begin isolation level repeatable read; select count(*) from copilot_internal.pending_costs")?;
    server::settle(&mut admin)?;
    let scripts = Scripts::new()?;
    scripts.add("charge", &format!("{};\n", record_statement(&format!("'{tenant}'"))))?;
    let samples = take_turns(&databases, options.rounds, |database, round| {
        step.note(&format!("folded, {}, round {round}: {database}", clients(count)));
        let mut admin = cluster.superuser(database)?;
        server::settle(&mut admin)?;
        let rows = "select count(*) from copilot_internal.llm_cost_records";
        let before: i64 = admin.query_one(rows, &[])?.get(0);
        // A wait for the disk would be most of the time, on either side.
        let settings = &[("role", "service_role"), ("synchronous_commit", "off")];
        let job = Job { cluster, database, settings, script: &scripts.path("charge"), variables: &[] };
        let run = job.run(count, Length::Seconds(options.seconds))?;
        let left = admin.query_one(rows, &[])?.get::<_, i64>(0) - before;
        if left != run.transactions {
            bail!("{} transactions left {left} rows", run.transactions);
        }
        Ok(run.tps)
    })?;
    old.batch_execute("rollback")?;
    drop(old);
    for database in databases {
        server::verify(&mut cluster.superuser(database)?)?;
    }
    let name =
        format!("locked mode: record_llm_cost, {FOLDED} rows folded under an old snapshot : none, {}", clients(count));
    Ok(Row::speeds(&name, &samples[0], &samples[1], Some(Target::AtLeast(0.67))))
}
