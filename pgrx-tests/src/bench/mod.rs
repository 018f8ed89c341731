//! `cargo xtask bench`: what the extension costs, each figure against a peer that was measured in the same run on the
//! same server, taking turns. Missing a target fails nothing; a wrong result does.

mod batch;
mod changes;
mod constants;
mod conversations;
mod estimate;
mod folded;
mod ledger;
mod pgbench;
mod query;
mod quotas;
mod reads;
mod report;
mod reservations;
mod rounds;
mod server;
mod tenant;
mod usage;
mod wire;

use anyhow::{Result, bail};

use crate::progress::Step;

/// What `--only` takes: groups of rows of the table.
pub const ROWS: [&str; 18] = [
    "insert",
    "batch",
    "locked",
    "locked-5ms",
    "reserve",
    "expired",
    "folded",
    "query",
    "estimate",
    "usage",
    "has-quota",
    "check-quota",
    "tenant",
    "quotas",
    "changes",
    "reads",
    "conversations",
    "candidates",
];

#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Length of one measurement, without its warm-up.
    pub seconds: u32,
    /// Measurements of each side, of which the median is shown.
    pub rounds: u32,
    /// Numbers of connections; none for those that a target is set for.
    pub clients: Vec<u32>,
    /// Of `ROWS`; none for all.
    pub only: Vec<String>,
    /// Whether the library is in `shared_preload_libraries`, which makes admission work in shared memory.
    pub preload: bool,
    /// How many quotas row `quotas` charges in turn.
    pub quotas: u64,
    /// How many records there are to read in row `reads`.
    pub records: u64,
}

impl BenchOptions {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == row)
    }

    /// The numbers of connections with which a row is measured, none when it is not wanted.
    fn counts(&self, row: &str, usual: &[u32]) -> Vec<u32> {
        match (self.wants(row), self.clients.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => usual.to_vec(),
            (true, false) => self.clients.clone(),
        }
    }
}

pub fn run(options: &BenchOptions) -> Result<()> {
    if options.clients.iter().any(|clients| !(1..=150).contains(clients)) {
        bail!("--clients takes numbers from 1 to 150");
    }
    let cluster = server::start(options.preload, None)?;
    println!("{}", server::describe(&cluster)?);
    let mut step = Step::start("Measuring", "about 12 minutes with the usual options");
    let mut rows = Vec::new();
    if ["insert", "locked", "locked-5ms"].iter().any(|row| options.wants(row)) {
        rows.extend(ledger::rows(&cluster, options, &mut step)?);
    }
    if options.wants("batch") {
        rows.extend(batch::rows(&cluster, options, &mut step)?);
    }
    if ["reserve", "expired"].iter().any(|row| options.wants(row)) {
        rows.extend(reservations::rows(&cluster, options, &mut step)?);
    }
    if options.wants("query") {
        rows.extend(query::rows(&cluster, options, &mut step)?);
    }
    if options.wants("estimate") {
        rows.extend(estimate::rows(&cluster, options, &mut step)?);
    }
    if options.wants("usage") {
        rows.extend(usage::rows(&cluster, options, &mut step)?);
    }
    if ["has-quota", "check-quota"].iter().any(|row| options.wants(row)) {
        rows.extend(wire::rows(&cluster, options, &mut step)?);
    }
    if options.wants("tenant") {
        rows.extend(tenant::rows(&cluster, options, &mut step)?);
    }
    // Measured when it is named: the records take their time to write.
    if options.only.iter().any(|only| only == "reads") {
        rows.extend(reads::rows(&cluster, options, &mut step)?);
    }
    if options.wants("changes") {
        rows.extend(changes::rows(&cluster, options, &mut step)?);
    }
    rows.extend(conversations::rows(&cluster, options, &mut step)?);
    drop(cluster);
    if options.wants("folded") {
        rows.extend(folded::rows(options, &mut step)?);
    }
    if options.wants("quotas") {
        rows.extend(quotas::rows(options, &mut step)?);
    }
    step.done();
    println!("\n{}\n{}", report::render(rows), conditions(options));
    Ok(())
}

fn conditions(options: &BenchOptions) -> String {
    format!(
        "Each side: the median of {rounds} measurements of {seconds} s, taking turns, after {warm_up} s of \
         warm-up; \"in rounds\" is the least and the greatest ratio within one round. pgbench -M prepared over the \
         Unix socket, on the machine that it measures. Before each measurement that writes, outside of its time: \
         pending costs are folded by maintain(), tables vacuumed and analyzed, a checkpoint done.\n\
         insert, locked: one hot tenant under two quotas (llm, all); each transaction writes one full cost record \
         with usage, price breakdown and a random request id. The values are constants of the statements, so the \
         bare insert parses and prices nothing; record_llm_cost also writes a pending row. Every transaction has \
         left its row, verify() is empty, and what quotas count is what was recorded.\n\
         batch: 10,000 records a call, of requests that are new; the same rows go into a table with the ledger's columns, \
         constraints and indexes. A transaction is a record here. The single calls are of one statement.\n\
         reserve: reserve_quota and then commit_reservation, a transaction each, on one hot tenant under two quotas; \
         the bare inserts are of the same two rows, a transaction each. expired: the holds are of the same tenant and \
         were there before its counters; none is marked yet.\n\
         folded: a server of its own without the library preloaded, synchronous_commit = off; the database with the \
         folded rows has a transaction open that may see them, to the end.\n\
         query: as authenticated with claims, in one process (max_parallel_workers_per_gather = 0); net cost is \
         the time of the query with the check less that of the query without, by the row. The check in SQL: \
         bench/query.sql.\n\
         estimate: in one process, with the whole price list imported; net cost is the time of the query less that of one \
         that calls generate_series(g, g) instead, by the row. Each import is measured once.\n\
         usage: 10,000 records in one query of one transaction, which is rolled back; the time of its process on a \
         processor. The counted call has the parts that the report has.\n\
         has-quota, check-quota: as authenticated with claims.\n\
         tenant: as authenticated with claims, in one process; a policy over 100,000 rows without an index, by the \
         mean of 20 queries; the net cost of 200,000 calls in one query.\n\
         conversations, candidates: in process unless clients are named: the time of the process on a processor, of \
         transactions that are rolled back. The flat table has the columns, constraints and indexes of the messages, and \
         400,000 more rows. A bare insert takes its number from a sequence.\n\
         changes: eight clients charge {tenants} tenants at random, while one session more changes what concerns none of \
         them, at an even pace; against the same without changes.\n\
         reads: {records} records of a thousand tenants by a Zipf distribution, 20 models, 90 days and 200 users each, all \
         folded; each side's query prepared, its rows fetched, the median of {times} runs.\n\
         quotas: two servers alike but for pg_tollgate.quota_entries, each quota charged before; pending costs \
         are not folded. Private memory is RssAnon, shared memory the sum of pg_shmem_allocations.",
        rounds = options.rounds,
        seconds = options.seconds,
        warm_up = pgbench::WARM_UP,
        tenants = changes::TENANTS,
        records = options.records,
        times = reads::TIMES,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_measured() {
        let only = |rows: &[&str], clients: &[u32]| BenchOptions {
            seconds: 1,
            rounds: 1,
            clients: clients.to_vec(),
            only: rows.iter().map(|row| row.to_string()).collect(),
            preload: true,
            quotas: 100,
            records: 100,
        };
        assert_eq!(only(&[], &[]).counts("insert", &[1, 8]), [1, 8]);
        assert!(only(&["locked"], &[]).counts("insert", &[1, 8]).is_empty());
        assert_eq!(only(&["insert"], &[4]).counts("insert", &[1, 8]), [4]);
    }
}
