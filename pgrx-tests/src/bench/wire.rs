//! Rows `has-quota` and `check-quota`: a check over the wire, against a SELECT that returns as much and checks nothing.

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::pgbench::{Job, Length, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::take_turns;
use super::{BenchOptions, constants, server};
use crate::cluster::Cluster;
use crate::progress::Step;

const TENANT: &str = "10000000-0000-4000-8000-000000000001";
/// Owns the tenant.
const USER: &str = "20000000-0000-4000-8000-000000000001";

/// Both ask for 0.0035 USD of the tenant's two default quotas.
const HAS_QUOTA: &str = "select public.has_quota('10000000-0000-4000-8000-000000000001', 'llm', 0.0035)";
const CHECK_QUOTA: &str =
    "select * from public.check_quota_before_operation('10000000-0000-4000-8000-000000000001', 'llm', 0.0035)";

/// A check, and what it is measured against.
struct WireContest {
    row: &'static str,
    name: &'static str,
    check: String,
    constant: String,
    /// By number of clients.
    targets: [(u32, f64); 2],
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_wire", |database| {
        let claims = format!(r#"{{"sub":"{USER}","role":"authenticated"}}"#);
        let settings = [("role", "authenticated"), ("request.jwt.claims", claims.as_str())];
        let scripts = Scripts::new()?;
        let mut rows = Vec::new();
        for contest in prepare(cluster, database, &settings)? {
            scripts.add("check", &format!("{};\n", contest.check))?;
            scripts.add("constant", &format!("{};\n", contest.constant))?;
            for count in options.counts(contest.row, &contest.targets.map(|(count, _)| count)) {
                let name = format!("{}, {}", contest.name, clients(count));
                let samples = take_turns(&["constant", "check"], options.rounds, |side, round| {
                    step.note(&format!("{name}, round {round}: {side}"));
                    let script = &scripts.path(side);
                    let job = Job { cluster, database, settings: &settings, script, variables: &[] };
                    Ok(job.run(count, Length::Seconds(options.seconds))?.tps)
                })?;
                let target = contest.targets.iter().find(|(set_for, _)| *set_for == count);
                let target = target.map(|(_, ratio)| Target::AtLeast(*ratio));
                rows.push(Row::speeds(&name, &samples[1], &samples[0], target));
            }
        }
        Ok(rows)
    })
}

fn prepare(cluster: &Cluster, database: &str, settings: &[(&str, &str)]) -> Result<[WireContest; 2]> {
    let mut client = cluster.superuser(database)?;
    client.batch_execute(&format!(
        "set role service_role;
         insert into copilot_internal.tenants (id, name, owner_id) values ('{TENANT}', 'Acme', '{USER}');
         reset role;"
    ))?;
    for (name, value) in settings {
        client.execute("select set_config($1, $2, false)", &[name, value])?;
    }
    if !client.query_one(HAS_QUOTA, &[]).context("has_quota")?.get::<_, bool>(0) {
        bail!("has_quota says no: it was to be measured where there is room");
    }
    Ok([
        WireContest {
            row: "has-quota",
            name: "has_quota : SELECT 1",
            check: HAS_QUOTA.to_string(),
            constant: "select 1".to_string(),
            targets: [(1, 0.9), (64, 0.9)],
        },
        WireContest {
            row: "check-quota",
            name: "check_quota_before_operation : its columns as constants",
            check: CHECK_QUOTA.to_string(),
            constant: constant_row(&mut client)?,
            targets: [(1, 0.85), (64, 0.7)],
        },
    ])
}

/// The answer of a check, value by value.
fn constant_row(client: &mut Client) -> Result<String> {
    let columns = constants::row(client, CHECK_QUOTA)?;
    let columns: Vec<String> = columns.iter().map(|it| format!("{} as {}", it.literal, it.name)).collect();
    Ok(format!("select {}", columns.join(", ")))
}
