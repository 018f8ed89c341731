//! The three transactions that are compared, made so that each writes the same full row.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use postgres::Client;
use tempfile::TempDir;

use super::{DATABASE, pgbench};
use crate::cluster::Cluster;

const TENANT: &str = "10000000-0000-4000-8000-000000000001";

/// Far above anything that a run can spend: nothing may be refused.
const LIMIT_USD: &str = "1000000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The record alone, no quota: the limit of what can be had.
    Bare,
    /// One locked row per quota.
    Baseline,
    /// record_llm_cost with p_enforce.
    Tollgate,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Bare, Kind::Baseline, Kind::Tollgate];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Bare => "bare insert",
            Kind::Baseline => "locked-row baseline",
            Kind::Tollgate => "pg_tollgate",
        }
    }

    /// Where its rows go.
    fn ledger(self) -> &'static str {
        match self {
            Kind::Bare => "bench.bare",
            Kind::Baseline => "baseline.ledger",
            Kind::Tollgate => "copilot_internal.llm_cost_records",
        }
    }
}

pub struct Workload {
    scripts: TempDir,
}

impl Workload {
    pub fn prepare(cluster: &Cluster) -> Result<Workload> {
        let mut admin = cluster.superuser(DATABASE)?;
        admin.batch_execute("create extension pg_tollgate").context("create extension pg_tollgate")?;
        create_tenant(&mut admin)?;
        // A real row, as the extension writes it, is what the other two copy.
        admin.batch_execute(&record_statement()).context("cannot record the sample")?;
        let columns = sample(&mut admin)?;
        let cost = value_of(&columns, "cost_usd")?.to_string();
        admin.batch_execute(
            "create schema bench;
             create table bench.bare (
                 like copilot_internal.llm_cost_records including defaults including constraints including indexes);",
        )?;
        // Inside the function the values that the caller brings are its parameters.
        let given = [("id", "gen_random_uuid()"), ("tenant_id", "p_tenant_id"), ("request_id", "p_request_id")];
        let insert = insert_statement("baseline.ledger", &columns, &given);
        let baseline = include_str!("baseline.sql").replace("{insert}", &insert);
        admin.batch_execute(&baseline).context("cannot create the baseline")?;
        admin.batch_execute(&format!(
            "insert into baseline.quota (tenant_id, resource_type, limit_usd)
                  values ('{TENANT}', 'llm', {LIMIT_USD}), ('{TENANT}', 'all', {LIMIT_USD});
             grant usage on schema bench, baseline to service_role;
             grant all on all tables in schema bench, baseline to service_role;
             grant execute on all functions in schema baseline to service_role;"
        ))?;
        let scripts = tempfile::tempdir().context("cannot create a directory for pgbench's scripts")?;
        let fresh = [("id", "gen_random_uuid()"), ("request_id", "gen_random_uuid()::text")];
        let texts = [
            insert_statement("bench.bare", &columns, &fresh),
            format!("select baseline.charge('{TENANT}', {cost}, gen_random_uuid()::text)"),
            record_statement(),
        ];
        let workload = Workload { scripts };
        for (kind, text) in Kind::ALL.into_iter().zip(texts) {
            let path = workload.script(kind);
            fs::write(&path, text + ";\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(workload)
    }

    /// Transactions a second. Every transaction must have left its row: a refusal would be fast and worth nothing.
    pub fn measure(&self, cluster: &Cluster, kind: Kind, clients: u32, seconds: u32) -> Result<f64> {
        let mut admin = cluster.superuser(DATABASE)?;
        let count = format!("select count(*) from {}", kind.ledger());
        let before: i64 = admin.query_one(&count, &[])?.get(0);
        admin.batch_execute("checkpoint")?;
        let run = pgbench::run(cluster, &self.script(kind), clients, seconds);
        let run = run.with_context(|| format!("{} with {clients} clients", kind.name()))?;
        let after: i64 = admin.query_one(&count, &[])?.get(0);
        if after - before != run.transactions {
            bail!("{}: {} transactions left {} rows", kind.name(), run.transactions, after - before);
        }
        Ok(run.tps)
    }

    fn script(&self, kind: Kind) -> PathBuf {
        self.scripts.path().join(format!("{}.sql", kind.name().replace(' ', "_")))
    }
}

fn create_tenant(admin: &mut Client) -> Result<()> {
    admin.batch_execute(&format!(
        "set role service_role;
         insert into copilot_internal.tenants (id, name, slug) values ('{TENANT}', 'Hot', 'hot');
         select public.set_quota('tenant', '{TENANT}', 'llm', {LIMIT_USD});
         select public.set_quota('tenant', '{TENANT}', 'all', {LIMIT_USD});
         reset role;"
    ))?;
    Ok(())
}

/// A call with everything that a real one carries.
fn record_statement() -> String {
    format!(
        "select recorded from public.record_llm_cost(\
         p_tenant_id => '{TENANT}', p_model_provider => 'anthropic', p_model_name => 'claude-sonnet-4-5', \
         p_input_tokens => 1155, p_output_tokens => 211, \
         p_user_id => '20000000-0000-4000-8000-000000000001', \
         p_conversation_id => 'c0000000-0000-4000-8000-000000000001', p_task => 'chat', \
         p_usage => '{{\"cache_read_input_tokens\": 512, \"cache_creation_input_tokens\": 128}}', \
         p_request_id => gen_random_uuid()::text, p_enforce => true, \
         p_trace_id => '4bf92f3577b34da6a3ce929d0e0e4736', p_span_id => '00f067aa0ba902b7', \
         p_metadata => '{{\"feature\": \"chat\"}}')"
    )
}

/// A column of the ledger and the sample's value as an SQL literal with its type.
struct Column {
    name: String,
    literal: String,
}

/// The sample row, by the catalog: the ledger may gain columns. Colons are escaped, as pgbench would take what follows
/// one for a variable.
fn sample(admin: &mut Client) -> Result<Vec<Column>> {
    let attributes = admin.query(
        "select quote_ident(attname), format_type(atttypid, atttypmod)
           from pg_attribute
          where attrelid = 'copilot_internal.llm_cost_records'::regclass and attnum > 0 and not attisdropped
          order by attnum",
        &[],
    )?;
    let mut columns = Vec::new();
    for attribute in &attributes {
        let (name, kind): (String, String) = (attribute.get(0), attribute.get(1));
        let escaped = format!(r"replace(replace(replace({name}::text, '\', '\\'), '''', ''''''), ':', '\x3a')");
        let sql = format!(
            "select coalesce('E''' || {escaped} || '''', 'null') || '::{kind}' from copilot_internal.llm_cost_records"
        );
        let row = admin.query_opt(&sql, &[])?.context("the sample was not recorded: record_llm_cost refused it")?;
        columns.push(Column { name, literal: row.get(0) });
    }
    Ok(columns)
}

fn value_of<'a>(columns: &'a [Column], name: &str) -> Result<&'a str> {
    let column = columns.iter().find(|column| column.name == name);
    Ok(&column.with_context(|| format!("llm_cost_records has no column {name}"))?.literal)
}

/// A plain insert of the whole sample, some columns `given` otherwise.
fn insert_statement(table: &str, columns: &[Column], given: &[(&str, &str)]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let value = |column: &Column| {
        let given = given.iter().find(|(name, _)| *name == column.name);
        given.map_or_else(|| column.literal.clone(), |(_, expression)| expression.to_string())
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    format!("insert into {table} ({}) values ({})", names.join(", "), values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_insert_names_every_column_once() {
        let column = |name: &str, literal: &str| Column { name: name.into(), literal: literal.into() };
        let columns = [column("id", "'a'::uuid"), column("task", "NULL::text")];
        let insert = insert_statement("t", &columns, &[("id", "gen_random_uuid()")]);
        assert_eq!(insert, "insert into t (id, task) values (gen_random_uuid(), NULL::text)");
    }

    #[test]
    fn the_baseline_has_a_place_for_the_insert() {
        assert_eq!(include_str!("baseline.sql").matches("{insert}").count(), 1);
    }
}
