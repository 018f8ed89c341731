//! Rows `reserve` and `expired`. The first is reserve and commit on one hot tenant under two quotas, against bare
//! inserts of the same two rows in two transactions. The second is reserve beside a million holds that have expired,
//! against none.

use anyhow::{Context, Result, bail};

use super::ledger::{create_tenant, insert_statement};
use super::pgbench::{Job, Length, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::take_turns;
use super::{BenchOptions, constants, server};
use crate::cluster::Cluster;
use crate::progress::Step;

const EXPIRED: i64 = 1_000_000;

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in options.counts("reserve", &[64]) {
        rows.push(server::in_database(cluster, "bench_reserve", |database| {
            against_inserts(cluster, database, options, count, step)
        })?);
    }
    for count in options.counts("expired", &[64]) {
        let row = server::in_database(cluster, "bench_none", |none| {
            server::in_database(cluster, "bench_expired", |expired| {
                beside_expired(cluster, [none, expired], options, count, step)
            })
        })?;
        rows.push(row);
    }
    Ok(rows)
}

fn reserve_statement(tenant: &str) -> String {
    format!(
        "select reservation_id from public.reserve_quota('{tenant}', 'llm', 0.02, gen_random_uuid()::text, \
         '20000000-0000-4000-8000-000000000001')"
    )
}

/// Runs a script, and makes sure that each of its transactions left its row in each of the tables.
fn measure(job: &Job, count: u32, seconds: u32, tables: &[&str]) -> Result<f64> {
    let mut admin = job.cluster.superuser(job.database)?;
    let mut counts = || -> Result<Vec<i64>> {
        tables.iter().map(|from| Ok(admin.query_one(&format!("select count(*) from {from}"), &[])?.get(0))).collect()
    };
    let before = counts()?;
    let run = job.run(count, Length::Seconds(seconds))?;
    for ((before, after), table) in before.iter().zip(counts()?).zip(tables) {
        if after - before != run.transactions {
            bail!("{} transactions left {} rows in {table}", run.transactions, after - before);
        }
    }
    Ok(run.tps)
}

fn against_inserts(
    cluster: &Cluster,
    database: &str,
    options: &BenchOptions,
    count: u32,
    step: &mut Step,
) -> Result<Row> {
    let mut admin = cluster.superuser(database)?;
    let tenant = create_tenant(&mut admin)?;
    // Real rows, as the extension writes them, are what the bare inserts copy.
    let reserve = reserve_statement(tenant);
    let commit = "select status from public.commit_reservation(:reservation_id, 0.0123)";
    let sample = format!("select (public.commit_reservation(r.reservation_id, 0.0123)).status from ({reserve}) r");
    admin.batch_execute(&sample).context("cannot reserve and commit the sample")?;
    let hold = constants::row(&mut admin, "select * from copilot_internal.quota_reservations")?;
    let charge = constants::row(&mut admin, "select * from copilot_internal.quota_charges")?;
    let now = |name| (name, "clock_timestamp()");
    let id = ("id", "gen_random_uuid()");
    let request = ("request_id", "gen_random_uuid()::text");
    let hold = insert_statement("bench.holds", &hold, &[id, request, now("reserved_at"), now("expires_at")]);
    let reservation = ("reservation_id", "gen_random_uuid()");
    let charge = insert_statement("bench.charges", &charge, &[id, reservation, now("charged_at"), now("recorded_at")]);
    admin.batch_execute(
        "create table bench.holds (like copilot_internal.quota_reservations including all);
         create table bench.charges (like copilot_internal.quota_charges including all);
         grant usage on schema bench to service_role;
         grant all on all tables in schema bench to service_role;",
    )?;
    let scripts = Scripts::new()?;
    scripts.add("bare inserts", &format!("{hold};\n{charge};\n"))?;
    scripts.add("pg_tollgate", &format!("{reserve} \\gset\n{commit};\n"))?;
    let sides = [
        (
            "pg_tollgate",
            ["copilot_internal.quota_reservations where state = 'committed'", "copilot_internal.quota_charges"],
        ),
        ("bare inserts", ["bench.holds", "bench.charges"]),
    ];
    let samples = take_turns(&sides, options.rounds, |(name, tables), round| {
        step.note(&format!("reserve, {}, round {round}: {name}", clients(count)));
        server::settle(&mut admin)?;
        let settings = &[("role", "service_role")];
        let job = Job { cluster, database, settings, script: &scripts.path(name), variables: &[] };
        measure(&job, count, options.seconds, &tables).with_context(|| name.to_string())
    })?;
    server::verify(&mut admin)?;
    let sums = "select c.current_spend_usd = l.usd and c.reserved_usd = 0
                from public.check_quota_before_operation($1::text::uuid, 'llm', 0) c,
                     (select sum(charge_nanos) / 1e9 as usd from copilot_internal.quota_charges) l";
    if !admin.query_one(sums, &[&tenant])?.get::<_, bool>(0) {
        bail!("what is counted is not what was committed");
    }
    let name = format!("reserve and commit : two bare inserts, {}", clients(count));
    let target = (count == 64).then_some(Target::AtLeast(0.45));
    Ok(Row::speeds(&name, &samples[0], &samples[1], target))
}

fn beside_expired(
    cluster: &Cluster,
    databases: [&str; 2],
    options: &BenchOptions,
    count: u32,
    step: &mut Step,
) -> Result<Row> {
    let [none, expired] = databases;
    let mut tenant = "";
    for database in databases {
        let mut admin = cluster.superuser(database)?;
        tenant = create_tenant(&mut admin)?;
        if database == expired {
            step.note("making holds that have expired");
            // Since before the counters are loaded, some of them a moment ago.
            let sql = format!(
                "insert into copilot_internal.quota_reservations (id, tenant_id, user_id, resource_type, request_id,
                     requested_usd, ttl, reserved_usd, held_nanos, reserved_at, expires_at, state, metadata)
                 select gen_random_uuid(), '{tenant}', '20000000-0000-4000-8000-000000000001', 'llm', 'old-' || n, 1,
                        '10 minutes', 1, 1000000000, m.at, m.at + interval '10 minutes', 'held', '{{}}'
                 from generate_series(1, {EXPIRED}) n
                 cross join lateral (select clock_timestamp() - interval '11 minutes' - n * interval '1 ms' as at) m"
            );
            admin.batch_execute(&sql)?;
        }
        server::even(&mut admin)?;
    }
    let scripts = Scripts::new()?;
    scripts.add("reserve", &format!("{};\n", reserve_statement(tenant)))?;
    let samples = take_turns(&[expired, none], options.rounds, |database, round| {
        step.note(&format!("expired, {}, round {round}: {database}", clients(count)));
        // maintain() would mark them.
        server::even(&mut cluster.superuser(database)?)?;
        let settings = &[("role", "service_role")];
        let job = Job { cluster, database, settings, script: &scripts.path("reserve"), variables: &[] };
        measure(&job, count, options.seconds, &["copilot_internal.quota_reservations"])
    })?;
    for database in databases {
        let mut admin = cluster.superuser(database)?;
        let sums = "select c.reserved_usd = coalesce(l.usd, 0)
                    from public.check_quota_before_operation($1::text::uuid, 'llm', 0) c,
                         (select sum(held_nanos) / 1e9 as usd from copilot_internal.quota_reservations
                           where state = 'held' and expires_at > clock_timestamp()) l";
        if !admin.query_one(sums, &[&tenant])?.get::<_, bool>(0) {
            bail!("{database}: what is counted as held is not what is held");
        }
    }
    let name = format!("reserve beside 1,000,000 expired holds : beside none, {}", clients(count));
    Ok(Row::speeds(&name, &samples[0], &samples[1], Some(Target::AtLeast(0.9))))
}
