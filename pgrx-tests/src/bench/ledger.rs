//! Rows `insert`, `locked` and `locked-5ms`: check, charge and record on one hot tenant under two quotas. They are
//! compared with a bare insert of the same full row, and with the obvious way, a locked row per quota.

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::constants::Constant;
use super::pgbench::{Job, Length, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::{Sample, take_turns};
use super::{BenchOptions, constants, server};
use crate::cluster::Cluster;
use crate::progress::Step;

const TENANT: &str = "10000000-0000-4000-8000-000000000001";

/// Far above anything that a run can spend: nothing may be refused.
const LIMIT_USD: &str = "1000000";

/// What `locked-5ms` does besides, in the same transaction.
const OTHER_WORK: &str = "select pg_sleep(0.005)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LedgerSide {
    /// The record alone, no quota: the limit of what can be had.
    Bare,
    /// One locked row per quota.
    Locked,
    /// record_llm_cost with p_enforce.
    Tollgate,
}

impl LedgerSide {
    fn name(self) -> &'static str {
        match self {
            LedgerSide::Bare => "bare insert",
            LedgerSide::Locked => "locked rows",
            LedgerSide::Tollgate => "pg_tollgate",
        }
    }

    /// Where its rows go.
    fn ledger(self) -> &'static str {
        match self {
            LedgerSide::Bare => "bench.bare",
            LedgerSide::Locked => "baseline.ledger",
            LedgerSide::Tollgate => "copilot_internal.llm_cost_records",
        }
    }
}

/// One set of sides that take turns.
struct Contest {
    clients: u32,
    /// Whether each transaction does other work after its record.
    other_work: bool,
    sides: Vec<LedgerSide>,
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for contest in contests(options) {
        let samples = server::in_database(cluster, "bench_ledger", |database| {
            let workload = Workload::prepare(cluster, database, contest.other_work)?;
            let samples = take_turns(&contest.sides, options.rounds, |side, round| {
                step.note(&format!("{}, round {round}: {}", clients(contest.clients), side.name()));
                workload.measure(side, contest.clients, options.seconds)
            })?;
            workload.verify()?;
            Ok(samples)
        })?;
        rows.extend(contest.rows(&samples));
    }
    Ok(rows)
}

/// Where both are wanted with as many clients, bare insert and locked rows are measured against the same rounds.
fn contests(options: &BenchOptions) -> Vec<Contest> {
    let insert = options.counts("insert", &[1, 8, 64]);
    let locked = options.counts("locked", &[64]);
    let mut counts = [insert.clone(), locked.clone()].concat();
    counts.sort_unstable();
    counts.dedup();
    let short = counts.into_iter().map(|clients| {
        let wanted = [(LedgerSide::Bare, insert.contains(&clients)), (LedgerSide::Locked, locked.contains(&clients))];
        let others = wanted.into_iter().filter(|(_, wanted)| *wanted).map(|(side, _)| side);
        Contest { clients, other_work: false, sides: others.chain([LedgerSide::Tollgate]).collect() }
    });
    let long = options.counts("locked-5ms", &[64]).into_iter().map(|clients| Contest {
        clients,
        other_work: true,
        sides: vec![LedgerSide::Locked, LedgerSide::Tollgate],
    });
    short.chain(long).collect()
}

impl Contest {
    fn rows(&self, samples: &[Sample]) -> Vec<Row> {
        let Some((ours, others)) = samples.split_last() else { return Vec::new() };
        let row = |(side, other): (&LedgerSide, &Sample)| {
            let work = if self.other_work { ", 5 ms of other work" } else { "" };
            let name = format!("record_llm_cost : {}{work}, {}", side.name(), clients(self.clients));
            Row::speeds(&name, ours, other, self.target(*side))
        };
        self.sides.iter().zip(others).map(row).collect()
    }

    fn target(&self, against: LedgerSide) -> Option<Target> {
        let ratio = match (against, self.other_work, self.clients) {
            (LedgerSide::Bare, _, 1 | 64) => 0.9,
            (LedgerSide::Bare, _, 8) => 0.85,
            (LedgerSide::Locked, false, 64) => 20.0,
            (LedgerSide::Locked, true, 64) => 25.0,
            _ => return None,
        };
        Some(Target::AtLeast(ratio))
    }
}

/// The three transactions, made so that each writes the same full row.
struct Workload<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    scripts: Scripts,
}

impl<'a> Workload<'a> {
    fn prepare(cluster: &'a Cluster, database: &'a str, other_work: bool) -> Result<Workload<'a>> {
        let mut admin = cluster.superuser(database)?;
        create_tenant(&mut admin)?;
        // A real row, as the extension writes it, is what the other two copy.
        let record = record_statement(&format!("'{TENANT}'"));
        admin.batch_execute(&record).context("cannot record the sample")?;
        let sample = constants::row(&mut admin, "select * from copilot_internal.llm_cost_records")
            .context("record_llm_cost refused the sample")?;
        // Whatever differs from call to call does so here too.
        let fresh = [
            ("id", "gen_random_uuid()"),
            ("request_id", "gen_random_uuid()::text"),
            ("charged_at", "clock_timestamp()"),
            ("occurred_at", "clock_timestamp()"),
            ("recorded_at", "clock_timestamp()"),
        ];
        let bare = insert_statement("bench.bare", &sample, &fresh);
        // Inside the function the values that its caller brings are its parameters.
        let parameters = [("tenant_id", "p_tenant_id"), ("request_id", "p_request_id")];
        let insert = insert_statement("baseline.ledger", &sample, &[&parameters[..], &fresh[..]].concat());
        let baseline = include_str!("baseline.sql").replace("{insert}", &insert);
        admin.batch_execute(&baseline).context("cannot create the baseline")?;
        let cost = sample.iter().find(|column| column.name == "cost_usd");
        let cost = &cost.context("llm_cost_records has no column cost_usd")?.literal;
        let charge = format!("select baseline.charge('{TENANT}', {cost}, gen_random_uuid()::text)");
        admin.batch_execute(&format!(
            "create table bench.bare (like copilot_internal.llm_cost_records including all);
             insert into baseline.quota (tenant_id, resource_type, limit_usd)
                  values ('{TENANT}', 'llm', {LIMIT_USD}), ('{TENANT}', 'all', {LIMIT_USD});
             grant usage on schema bench, baseline to service_role;
             grant all on all tables in schema bench, baseline to service_role;
             grant execute on all functions in schema baseline to service_role;"
        ))?;
        let workload = Workload { cluster, database, scripts: Scripts::new()? };
        for (side, statement) in
            [(LedgerSide::Bare, bare), (LedgerSide::Locked, charge), (LedgerSide::Tollgate, record)]
        {
            let text = match other_work {
                false => format!("{statement};\n"),
                true => format!("begin;\n{statement};\n{OTHER_WORK};\ncommit;\n"),
            };
            workload.scripts.add(side.name(), &text)?;
        }
        Ok(workload)
    }

    /// Transactions a second. Every transaction must have left its row: a refusal would be fast and worth nothing.
    fn measure(&self, side: LedgerSide, clients: u32, seconds: u32) -> Result<f64> {
        let mut admin = self.cluster.superuser(self.database)?;
        server::settle(&mut admin)?;
        let count = format!("select count(*) from {}", side.ledger());
        let before: i64 = admin.query_one(&count, &[])?.get(0);
        let job = Job {
            cluster: self.cluster,
            database: self.database,
            settings: &[("role", "service_role")],
            script: &self.scripts.path(side.name()),
            variables: &[],
        };
        let run = job.run(clients, Length::Seconds(seconds)).with_context(|| side.name().to_string())?;
        let after: i64 = admin.query_one(&count, &[])?.get(0);
        if after - before != run.transactions {
            bail!("{}: {} transactions left {} rows", side.name(), run.transactions, after - before);
        }
        Ok(run.tps)
    }

    /// Nothing was lost on the way: rollups agree with the ledger, and what admission counts with what was recorded.
    fn verify(&self) -> Result<()> {
        let mut admin = self.cluster.superuser(self.database)?;
        server::verify(&mut admin)?;
        let sums = admin.query(
            "select 'pg_tollgate', c.current_spend_usd::text, l.usd::text, c.current_spend_usd = l.usd
               from public.check_quota_before_operation($1::text::uuid, 'llm', 0) c,
                    (select sum(charge_nanos) / 1e9 as usd from copilot_internal.llm_cost_records) l
             union all
             select 'locked rows', q.spent_usd::text, s.cost_usd::text, q.spent_usd = s.cost_usd
               from baseline.quota q, (select coalesce(sum(cost_usd), 0) as cost_usd from baseline.ledger) s",
            &[&TENANT],
        )?;
        match sums.iter().find(|sum| !sum.get::<_, bool>(3)) {
            None => Ok(()),
            Some(sum) => {
                let [side, counted, recorded] = [0, 1, 2].map(|index| sum.get::<_, &str>(index));
                bail!("{side}: {counted} USD counted, {recorded} USD recorded")
            }
        }
    }
}

/// The hot tenant, under two quotas. Returns its id.
pub fn create_tenant(admin: &mut Client) -> Result<&'static str> {
    admin.batch_execute(&format!(
        "set role service_role;
         insert into copilot_internal.tenants (id, name, slug) values ('{TENANT}', 'Hot', 'hot');
         select public.set_quota('tenant', '{TENANT}', 'llm', {LIMIT_USD});
         select public.set_quota('tenant', '{TENANT}', 'all', {LIMIT_USD});
         reset role;"
    ))?;
    Ok(TENANT)
}

/// A call with everything that a real one carries, for the tenant that an expression gives.
pub fn record_statement(tenant: &str) -> String {
    format!(
        "select recorded from public.record_llm_cost(\
         p_tenant_id => {tenant}, p_model_provider => 'anthropic', p_model_name => 'claude-sonnet-4-5', \
         p_input_tokens => 1155, p_output_tokens => 211, \
         p_user_id => '20000000-0000-4000-8000-000000000001', \
         p_conversation_id => 'c0000000-0000-4000-8000-000000000001', p_task => 'chat', \
         p_usage => '{{\"cache_read_input_tokens\": 512, \"cache_creation_input_tokens\": 128}}', \
         p_request_id => gen_random_uuid()::text, p_enforce => true, \
         p_trace_id => '4bf92f3577b34da6a3ce929d0e0e4736', p_span_id => '00f067aa0ba902b7', \
         p_metadata => '{{\"feature\": \"chat\"}}')"
    )
}

/// A plain insert of the whole sample, some columns `given` otherwise; the first that names a column counts.
pub fn insert_statement(table: &str, sample: &[Constant], given: &[(&str, &str)]) -> String {
    let names: Vec<&str> = sample.iter().map(|column| column.name.as_str()).collect();
    let value = |column: &Constant| {
        let given = given.iter().find(|(name, _)| *name == column.name);
        given.map_or_else(|| column.literal.clone(), |(_, expression)| expression.to_string())
    };
    let values: Vec<String> = sample.iter().map(value).collect();
    format!("insert into {table} ({}) values ({})", names.join(", "), values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_insert_names_every_column_once() {
        let column = |name: &str, literal: &str| Constant { name: name.into(), literal: literal.into() };
        let sample = [column("id", "'a'::uuid"), column("task", "null::text")];
        let insert = insert_statement("t", &sample, &[("id", "gen_random_uuid()")]);
        assert_eq!(insert, "insert into t (id, task) values (gen_random_uuid(), null::text)");
    }

    #[test]
    fn the_baseline_has_a_place_for_the_insert() {
        assert_eq!(include_str!("baseline.sql").matches("{insert}").count(), 1);
    }
}
