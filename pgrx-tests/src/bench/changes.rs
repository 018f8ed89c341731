//! Row `changes`: charges while configuration changes that concerns none of them. Each kind of change takes turns with
//! the same charges undisturbed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;

use super::ledger::record_statement;
use super::pgbench::{Job, Length, Scripts, WARM_UP};
use super::report::{Row, Target, clients};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

/// Tenants that are charged: so few that every session has charged each of them in the warm-up.
pub const TENANTS: u32 = 50;
/// As many more, of which none is.
const OTHERS: u32 = 100;
const CLIENTS: u32 = 8;

/// What is changed, so many times a second.
#[derive(Clone, Copy, Debug)]
struct Changes {
    name: &'static str,
    a_second: u32,
    /// The number of the change is `$1`, that of another tenant `$2`.
    sql: &'static str,
    /// In another database of the server.
    elsewhere: bool,
}

const QUIET: Changes = Changes { name: "none", a_second: 0, sql: "", elsewhere: false };

const CHANGES: [Changes; 7] = [
    Changes {
        name: "limits of other tenants",
        a_second: 20,
        sql: "select public.set_quota('tenant', bench.tenant($2), 'llm', 100000 + $1::integer)",
        elsewhere: false,
    },
    Changes {
        name: "sign-ups",
        a_second: 10,
        sql: "select public.create_personal_tenant(gen_random_uuid(), $1::integer::text || '@example.com')
              where $2::integer is not null",
        elsewhere: false,
    },
    Changes {
        name: "tenants of another database",
        a_second: 100,
        sql: "insert into copilot_internal.tenants (name) values ($1::integer::text || $2::integer::text)",
        elsewhere: true,
    },
    Changes {
        name: "role grants",
        a_second: 20,
        sql: "select bench.change_grant($1) where $2::integer is not null",
        elsewhere: false,
    },
    Changes {
        name: "memberships",
        a_second: 20,
        sql: "insert into copilot_internal.tenant_memberships (tenant_id, user_id)
              select bench.tenant($2), gen_random_uuid() where $1::integer is not null",
        elsewhere: false,
    },
    Changes {
        name: "policies of other tenants",
        a_second: 20,
        sql: "select public.set_llm_policy(bench.tenant($2), jsonb_build_object('denied_models', array[$1::integer::text]))",
        elsewhere: false,
    },
    Changes {
        name: "prices of other tenants",
        a_second: 20,
        sql: "select public.set_model_price('anthropic', 'claude-sonnet-4-5', 3 + $1::integer::numeric / 1000, 15,
                  p_tenant_id => bench.tenant($2))",
        elsewhere: false,
    },
];

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clients_of_row in options.counts("changes", &[CLIENTS]) {
        let samples = both_databases(cluster, |database, elsewhere| {
            let workload = Workload::prepare(cluster, database, elsewhere)?;
            let sides: Vec<Changes> = [QUIET].into_iter().chain(CHANGES).collect();
            let samples = take_turns(&sides, options.rounds, |changes, round| {
                step.note(&format!("charges, round {round}: {} {} a second", changes.a_second, changes.name));
                workload.measure(changes, clients_of_row, options.seconds)
            })?;
            server::verify(&mut cluster.superuser(database)?)?;
            Ok(samples)
        })?;
        let (quiet, disturbed) = samples.split_first().context("nothing was measured")?;
        rows.extend(CHANGES.iter().zip(disturbed).map(|(changes, sample)| {
            let name = format!(
                "record_llm_cost, {} {} a second : none, {}",
                changes.a_second,
                changes.name,
                clients(clients_of_row)
            );
            Row::speeds(&name, sample, quiet, Some(Target::AtLeast(0.9)))
        }));
    }
    Ok(rows)
}

fn both_databases<T>(cluster: &Cluster, work: impl FnOnce(&str, &str) -> Result<T>) -> Result<T> {
    server::in_database(cluster, "bench_changes", |database| {
        server::in_database(cluster, "bench_elsewhere", |elsewhere| work(database, elsewhere))
    })
}

struct Workload<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    elsewhere: &'a str,
    scripts: Scripts,
}

impl<'a> Workload<'a> {
    fn prepare(cluster: &'a Cluster, database: &'a str, elsewhere: &'a str) -> Result<Self> {
        let mut admin = cluster.superuser(database)?;
        admin.batch_execute(&format!(
            "create function bench.tenant(p_number integer) returns uuid language sql immutable
             return ('10000000-0000-4000-8000-' || lpad(to_hex(p_number), 12, '0'))::uuid;
             create role bench_grantor;
             create role bench_granted;
             create function bench.change_grant(p_number integer) returns void language plpgsql security definer as $$
             begin
                 if p_number % 2 = 0 then
                     grant bench_granted to bench_grantor;
                 else
                     revoke bench_granted from bench_grantor;
                 end if;
             end $$;
             grant usage on schema bench to service_role;
             grant execute on all functions in schema bench to service_role;
             set role service_role;
             insert into copilot_internal.tenants (id, name)
                  select bench.tenant(n), 'Tenant ' || n from generate_series(0, {TENANTS} + {OTHERS} - 1) n;
             select public.set_quota('tenant', bench.tenant(n), 'llm', 100000)
               from generate_series(0, {TENANTS} + {OTHERS} - 1) n;
             select public.set_quota('tenant', bench.tenant(n), 'all', 100000)
               from generate_series(0, {TENANTS} + {OTHERS} - 1) n;
             reset role"
        ))?;
        let scripts = Scripts::new()?;
        let charge = record_statement("bench.tenant(:n)");
        scripts.add("charge", &format!("\\set n random(0, {TENANTS} - 1)\n{charge};\n"))?;
        Ok(Self { cluster, database, elsewhere, scripts })
    }

    /// Charges a second while another session changes something.
    fn measure(&self, changes: Changes, clients: u32, seconds: u32) -> Result<f64> {
        let mut admin = self.cluster.superuser(self.database)?;
        server::settle(&mut admin)?;
        let before = recorded(&mut admin)?;
        let job = Job {
            cluster: self.cluster,
            database: self.database,
            settings: &[("role", "service_role")],
            script: &self.scripts.path("charge"),
            variables: &[],
        };
        let over = AtomicBool::new(false);
        let (run, made) = thread::scope(|scope| {
            let changer = scope.spawn(|| self.change(changes, &over));
            let run = job.run(clients, Length::Seconds(seconds));
            over.store(true, Ordering::Relaxed);
            let made = changer.join().unwrap_or_else(|_| bail!("the session that changes things panicked"));
            (run, made)
        });
        let (run, made) = (run?, made?);
        let rows = recorded(&mut admin)? - before;
        ensure!(rows == run.transactions, "{} charges left {rows} rows", run.transactions);
        // A busy machine may be late now and then; half of the changes would measure something else.
        let expected = changes.a_second * (seconds + WARM_UP);
        ensure!(2 * made >= expected, "{made} changes of {expected} were made: {}", changes.name);
        Ok(run.tps)
    }

    /// Makes changes at an even pace until it is over; how many.
    fn change(&self, changes: Changes, over: &AtomicBool) -> Result<u32> {
        if changes.a_second == 0 {
            return Ok(0);
        }
        let mut session = self.cluster.superuser(if changes.elsewhere { self.elsewhere } else { self.database })?;
        session.batch_execute("set role service_role")?;
        let statement = session.prepare(changes.sql)?;
        let (started, pace) = (Instant::now(), Duration::from_secs(1) / changes.a_second);
        let mut made = 0;
        while !over.load(Ordering::Relaxed) {
            let tenant = (TENANTS + made % OTHERS).cast_signed();
            session.execute(&statement, &[&made.cast_signed(), &tenant]).context(changes.name)?;
            made += 1;
            thread::sleep((pace * made).saturating_sub(started.elapsed()));
        }
        Ok(made)
    }
}

fn recorded(admin: &mut Client) -> Result<i64> {
    Ok(admin.query_one("select count(*) from copilot_internal.llm_cost_records", &[])?.get(0))
}
