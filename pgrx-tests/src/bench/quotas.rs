//! Row `quotas`: what a live quota takes in shared memory, and charging more quotas in turn than their table holds. Two
//! servers take turns, since the table's size is set when a server starts. In one all quotas stay resident. The other's
//! table holds one in ten, so that every charge finds its quotas gone.

use std::fs;

use anyhow::{Context, Result, bail};
use postgres::Client;
use serde_json::Value;

use super::ledger::record_statement;
use super::pgbench::{Job, Length, Run, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

const DATABASE: &str = "bench_quotas";
const CLIENTS: u32 = 8;

/// A call of a model counts against its tenant's defaults for llm and for all.
const QUOTAS_PER_TENANT: u64 = 2;

const MEGABYTE: f64 = 1_000_000.0;

pub fn rows(options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    // The clients share the tenants evenly.
    let tenants = (options.quotas / QUOTAS_PER_TENANT).next_multiple_of(u64::from(CLIENTS));
    let quotas = tenants * QUOTAS_PER_TENANT;
    let (resident_entries, evicting_entries) = (quotas * 4, quotas / 10);
    let memory = "shared memory of a live quota".to_string();
    let turn = format!(
        "record_llm_cost, {quotas} quotas in turn through {evicting_entries} entries : all resident, {}",
        clients(CLIENTS)
    );
    let growth = format!("memory growth of a session over {evicting_entries} quotas");
    let (memory_target, turn_target, growth_target) =
        (Target::AtMost(128.0), Target::AtLeast(0.5), Target::AtMost(1.0));
    if !options.preload {
        let rows = [(memory, memory_target, " B"), (turn, turn_target, ""), (growth, growth_target, " MB")];
        return Ok(rows.map(|(name, target, unit)| Row::unavailable(&name, target, unit)).into());
    }
    let mut start = |entries| {
        step.note(&format!("charging {tenants} tenants once through a table of {entries} entries"));
        Server::start(tenants, entries)
    };
    let (resident, evicting) = (start(resident_entries)?, start(evicting_entries)?);
    let samples = take_turns(&[&resident, &evicting], options.rounds, |server, round| {
        step.note(&format!("quotas in turn, round {round}: a table of {} entries", server.entries));
        server.even()?;
        Ok(server.charge(Length::Seconds(options.seconds), "on")?.tps)
    })?;
    step.note("charging quotas in turn in one session, and verifying");
    let grown = evicting.growth(evicting_entries / QUOTAS_PER_TENANT)?;
    resident.verify()?;
    evicting.verify()?;
    if resident.evictions()?.is_some_and(|evictions| evictions > 0.0) {
        bail!("the large table evicted quotas: it does not hold all of them");
    }
    let admission = resident.admission()?;
    let memory_row = match &admission {
        Some(admission) => memory_row(&memory, admission, memory_target)?,
        None => Row::unavailable(&memory, memory_target, " B"),
    };
    // Without a table both servers do the same.
    let turn_target = admission.map(|_| turn_target);
    Ok(vec![
        memory_row,
        Row::speeds(&turn, &samples[1], &samples[0], turn_target),
        Row::figure(&growth, grown.session, grown.shared, grown.megabytes, " MB", Some(growth_target)),
    ])
}

fn memory_row(name: &str, admission: &Value, target: Target) -> Result<Row> {
    let number = |column: &str| figure(admission, column);
    let (entries, shared) = (number("entries")?, number("shared_bytes")?);
    let ours = format!("{} B an entry, {} of {entries} used", number("entry_bytes")?, number("entries_used")?);
    let shared_memory = format!("{:.1} MB in all", shared / MEGABYTE);
    Ok(Row::figure(name, ours, shared_memory, shared / entries, " B", Some(target)))
}

fn figure(admission: &Value, column: &str) -> Result<f64> {
    admission[column].as_f64().with_context(|| format!("metrics.admission has no figure {column}"))
}

/// What a session and the server took before and after.
struct Growth {
    session: String,
    shared: String,
    /// Of the session, or of the shared memory if that is more.
    megabytes: f64,
}

/// A server with tenants of which each has been charged at least once.
struct Server {
    cluster: Cluster,
    tenants: u64,
    entries: u64,
    scripts: Scripts,
}

impl Server {
    fn start(tenants: u64, entries: u64) -> Result<Server> {
        let cluster = server::start(true, Some(entries))?;
        cluster.create_database(DATABASE)?;
        let scripts = Scripts::new()?;
        scripts.add("turn", &turn_script())?;
        let server = Server { cluster, tenants, entries, scripts };
        let insert = format!(
            "insert into copilot_internal.tenants (id, name)
                  select {}, 'Tenant ' || n from generate_series(0, {} - 1) n",
            tenant("n"),
            tenants
        );
        server.admin()?.batch_execute(&insert).context("cannot create the tenants")?;
        server.even()?;
        server.charge(Length::Transactions(tenants / u64::from(CLIENTS)), "off")?;
        Ok(server)
    }

    fn admin(&self) -> Result<Client> {
        self.cluster.superuser(DATABASE)
    }

    /// Nothing is folded: a tenant has one or two pending rows, and folding so many tenants takes long.
    fn even(&self) -> Result<()> {
        server::even(&mut self.admin()?)
    }

    /// Charges one tenant after the other, on from the last one charged. Every charge must have left its row.
    fn charge(&self, length: Length, synchronous_commit: &str) -> Result<Run> {
        let mut admin = self.admin()?;
        let before = recorded(&mut admin)?;
        let variables =
            [("tenants", self.tenants.to_string()), ("start", before.to_string()), ("turn", "0".to_string())];
        let job = Job {
            cluster: &self.cluster,
            database: DATABASE,
            settings: &[("role", "service_role"), ("synchronous_commit", synchronous_commit)],
            script: &self.scripts.path("turn"),
            variables: &variables,
        };
        let run = job.run(CLIENTS, length)?;
        let rows = recorded(&mut admin)? - before;
        if rows != run.transactions {
            bail!("{} charges left {rows} rows", run.transactions);
        }
        Ok(run)
    }

    /// One session charges so many tenants, each in a transaction, after it has charged as many to warm up.
    fn growth(&self, charges: u64) -> Result<Growth> {
        let (mut admin, mut session) = (self.admin()?, self.admin()?);
        let pid: i32 = session.query_one("select pg_backend_pid()", &[])?.get(0);
        session.batch_execute("set role service_role")?;
        session.batch_execute("set synchronous_commit = off")?;
        let first = recorded(&mut admin)?;
        let record = record_statement(&tenant(&format!("n % {}", self.tenants))).replacen("select", "perform", 1);
        let mut charge = |from: i64| {
            let to = from + charges as i64 - 1;
            let block = format!("do $$ begin for n in {from}..{to} loop {record}; commit; end loop; end $$");
            session.batch_execute(&block).context("charging in one session")
        };
        charge(first)?;
        let before = (private_memory(pid)?, shared_memory(&mut admin)?, self.evictions()?);
        charge(first + charges as i64)?;
        let after = (private_memory(pid)?, shared_memory(&mut admin)?, self.evictions()?);
        if recorded(&mut admin)? - first != 2 * charges as i64 {
            bail!("a session's charges did not all leave their rows");
        }
        let evictions = match (before.2, after.2) {
            (Some(before), Some(after)) if after > before => format!(", {} evictions", after - before),
            (Some(_), Some(_)) => bail!("the small table evicted nothing: this measured no eviction"),
            _ => String::new(),
        };
        let change = |before: f64, after: f64| format!("{:.2} -> {:.2} MB", before / MEGABYTE, after / MEGABYTE);
        Ok(Growth {
            session: format!("private {}", change(before.0, after.0)),
            shared: format!("shared {}{evictions}", change(before.1, after.1)),
            megabytes: (after.0 - before.0).max(after.1 - before.1) / MEGABYTE,
        })
    }

    fn verify(&self) -> Result<()> {
        server::verify(&mut self.admin()?)
    }

    /// What the shared mode says of itself, where there is one.
    fn admission(&self) -> Result<Option<Value>> {
        let mut admin = self.admin()?;
        let there: bool = admin.query_one("select to_regclass('metrics.admission') is not null", &[])?.get(0);
        there.then(|| Ok(admin.query_one("select to_jsonb(a) from metrics.admission a", &[])?.get(0))).transpose()
    }

    fn evictions(&self) -> Result<Option<f64>> {
        self.admission()?.map(|admission| figure(&admission, "evictions")).transpose()
    }
}

/// Each client takes every `:clients`-th tenant.
fn turn_script() -> String {
    format!(
        "\\set n (:start + :turn * {CLIENTS} + :client_id) % :tenants\n\\set turn :turn + 1\n{};\n",
        record_statement(&tenant(":n"))
    )
}

/// The tenant with a number, as an expression.
fn tenant(number: &str) -> String {
    format!("('10000000-0000-4000-8000-' || lpad(to_hex(({number})::bigint), 12, '0'))::uuid")
}

fn recorded(admin: &mut Client) -> Result<i64> {
    Ok(admin.query_one("select count(*) from copilot_internal.llm_cost_records", &[])?.get(0))
}

/// Bytes of a process that no other shares: the pages of shared memory that it has touched are not its own.
fn private_memory(pid: i32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("cannot read a session's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes: f64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .context("the kernel does not tell RssAnon")?;
    Ok(kilobytes * 1024.0)
}

fn shared_memory(admin: &mut Client) -> Result<f64> {
    Ok(admin.query_one("select sum(allocated_size)::float8 from pg_shmem_allocations", &[])?.get(0))
}
