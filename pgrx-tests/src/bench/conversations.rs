//! Rows `conversations` and `candidates`: reading, appending, branching and erasing, against the plain statements that a
//! flat table of messages would need.

use anyhow::{Context, Result, ensure};
use postgres::Client;

use super::pgbench::{Job, Length, Scripts};
use super::report::{Row, Target, clients};
use super::rounds::{Sample, take_turns};
use super::usage::on_cpu;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;
use crate::support;

const TENANT: &str = "10000000-0000-4000-8000-000000000001";
/// Owns the conversations that are read.
const USER: &str = "20000000-0000-4000-8000-000000000001";

/// Pages that one query reads.
const PAGES: u32 = 200;
const BRANCHES: u32 = 20;
const CLIENTS: u32 = 8;

#[derive(Clone, Copy)]
enum As {
    Server,
    User,
    Superuser,
}

/// A query that counts what it has done. It runs so often in one transaction, which is rolled back.
struct Side {
    who: As,
    sql: String,
    times: u32,
    /// What one run does.
    calls: u32,
    counts: i64,
}

impl Side {
    fn new(who: As, sql: String, (times, calls): (u32, u32), counts: i64) -> Side {
        Side { who, sql, times, calls, counts }
    }

    /// The time of the process on a processor, for one call.
    fn seconds(&self, client: &mut Client) -> Result<f64> {
        let mut transaction = client.transaction()?;
        transaction.batch_execute("set local max_parallel_workers_per_gather = 0; set local statement_timeout = 0")?;
        match self.who {
            As::Superuser => {}
            As::Server => transaction.batch_execute("set local role service_role")?,
            As::User => {
                let claims = format!(r#"{{"sub":"{USER}","role":"authenticated"}}"#);
                transaction.execute("select set_config('request.jwt.claims', $1, true)", &[&claims])?;
                transaction.batch_execute("set local role authenticated")?;
            }
        }
        let process: i32 = transaction.query_one("select pg_backend_pid()", &[])?.get(0);
        let statement = transaction.prepare(&self.sql)?;
        let before = on_cpu(process)?;
        for _ in 0..self.times {
            let counted: i64 = transaction.query_one(&statement, &[]).context(self.sql.clone())?.get(0);
            ensure!(counted == self.counts, "{} counts {counted} instead of {}", self.sql, self.counts);
        }
        Ok((on_cpu(process)? - before) / f64::from(self.times * self.calls))
    }
}

struct Contest {
    name: &'static str,
    sides: [Side; 2],
    at_most: f64,
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if options.wants("conversations") {
        rows.extend(server::in_database(cluster, "bench_conversations", |database| {
            step.note("conversations: half a million messages");
            let mut admin = prepare(cluster, database, include_str!("conversations.sql"))?;
            let mut rows = in_process(&mut admin, options, step)?;
            rows.push(view(&mut admin, options, step)?);
            rows.extend(over_connections(cluster, database, &mut admin, options, step)?);
            verify(&mut admin)?;
            Ok(rows)
        })?);
    }
    if options.wants("candidates") {
        rows.extend(server::in_database(cluster, "bench_candidates", |database| {
            step.note("conversations: a million paths");
            let mut admin = prepare(cluster, database, include_str!("candidates.sql"))?;
            candidates(&mut admin, options, step)
        })?);
    }
    Ok(rows)
}

fn prepare(cluster: &Cluster, database: &str, setup: &str) -> Result<Client> {
    let mut admin = cluster.superuser(database)?;
    admin.batch_execute("create extension pg_tollgate_conversations; set statement_timeout = 0")?;
    admin
        .batch_execute(&setup.replace("{tenant}", TENANT).replace("{user}", USER))
        .context("cannot prepare the conversations")?;
    server::settle(&mut admin)?;
    Ok(admin)
}

/// The counters of every path are what its rows say, before and after.
fn verify(admin: &mut Client) -> Result<()> {
    let sql =
        "select format('%s: %s, not %s', check_name, actual, expected) from public.verify_conversations() limit 5";
    let found = support::texts(admin, sql, &[])?;
    ensure!(found.is_empty(), "verify_conversations() is not empty: {}", found.join("; "));
    Ok(())
}

fn page_of(path: &str) -> String {
    format!(
        "select count(octet_length(m.content)) from generate_series(1, {PAGES}) g,
         lateral public.get_path_messages(bench.tenant(), {path}, 50 + 0 * g) m"
    )
}

fn flat_page() -> String {
    format!(
        "select count(octet_length(m.content)) from generate_series(1, {PAGES}) g, lateral (
             select * from bench.messages f
             where f.path_id = bench.id(8, 1) and f.tenant_id = bench.tenant() and f.sequence_in_path <= 10120 + 0 * g
             order by f.sequence_in_path desc limit 50) m"
    )
}

fn reading() -> Vec<Contest> {
    let pages = i64::from(PAGES) * 50;
    let read = |who, sql: String| Side::new(who, sql, (1, PAGES), pages);
    let (deep, narrow) = ("bench.id(1001, 101)", "bench.id(1002, 256)");
    let direct = |who| {
        let sql = format!(
            "select count(octet_length(m.content)) from (
                 select * from copilot_internal.conversation_messages m
                 where m.path_id = {deep} and m.tenant_id = bench.tenant() and m.sequence_in_path between 71 and 120
                 order by m.sequence_in_path) m"
        );
        Side::new(who, sql, (PAGES, 1), 50)
    };
    vec![
        Contest {
            name: "last 50 of 10,120 messages below 100 ancestors : of a flat table",
            sides: [read(As::Server, page_of(deep)), read(As::Server, flat_page())],
            at_most: 1.8,
        },
        Contest {
            name: "the same across 50 paths of one message : of a flat table",
            sides: [read(As::Server, page_of(narrow)), read(As::Server, flat_page())],
            at_most: 5.0,
        },
        Contest {
            name: "a page by get_path_messages, as a user : as the server",
            sides: [read(As::User, page_of(deep)), read(As::Server, page_of(deep))],
            at_most: 1.2,
        },
        Contest {
            name: "a page of the table under its policy : without",
            sides: [direct(As::User), direct(As::Server)],
            at_most: 1.5,
        },
    ]
}

fn writing() -> Vec<Contest> {
    vec![
        Contest {
            name: "erase 10,000 messages among 30,000 paths : delete by key",
            sides: [
                Side::new(
                    As::Server,
                    "select erased from public.erase_conversation(bench.tenant(), bench.id(3, 1))".to_string(),
                    (1, 1),
                    10_000,
                ),
                Side::new(
                    As::Superuser,
                    "with gone as (delete from bench.messages where path_id = bench.id(8, 1)
                         and tenant_id = bench.tenant() and sequence_in_path <= 10000 returning 1)
                     select count(*) from gone"
                        .to_string(),
                    (1, 1),
                    10_000,
                ),
            ],
            at_most: 3.0,
        },
        Contest {
            name: "branch at depth 100 : insert of 100 narrow rows",
            sides: [
                Side::new(
                    As::Server,
                    format!(
                        "select count(b.path_id) from generate_series(1, {BRANCHES}) g, lateral
                         public.branch_from_message(bench.tenant(), bench.id(1, 1), bench.id(2001, 10000 + g)) b"
                    ),
                    (1, BRANCHES),
                    i64::from(BRANCHES),
                ),
                Side::new(
                    As::Superuser,
                    format!("select count(bench.insert_narrow(g)) from generate_series(1, {BRANCHES}) g"),
                    (1, BRANCHES),
                    i64::from(BRANCHES),
                ),
            ],
            at_most: 2.0,
        },
        Contest {
            name: "acquire_execution_context that reuses : select by key",
            sides: [
                Side::new(
                    As::Server,
                    "select count(a.sandbox_id) from public.acquire_execution_context(bench.tenant(), bench.id(4, 1),
                         bench.id(5, 1), p_estimated_cost_usd => 0.01) a"
                        .to_string(),
                    (PAGES, 1),
                    1,
                ),
                Side::new(
                    As::Server,
                    "select count(c.sandbox_id) from copilot_internal.execution_contexts c
                     where c.path_id = bench.id(5, 1) and c.tenant_id = bench.tenant() and c.terminated_at is null"
                        .to_string(),
                    (PAGES, 1),
                    1,
                ),
            ],
            at_most: 4.0,
        },
    ]
}

fn in_process(admin: &mut Client, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for contest in reading().into_iter().chain(writing()) {
        let samples = take_turns(&[0, 1], options.rounds, |side, round| {
            step.note(&format!("{}, round {round}: {}", contest.name, ["ours", "the other"][side]));
            contest.sides[side].seconds(admin)
        })?;
        let shown = (each(&samples[0]), each(&samples[1]));
        let target = Some(Target::AtMost(contest.at_most));
        rows.push(Row::times(contest.name, shown, &samples[0], &samples[1], target));
    }
    Ok(rows)
}

fn each(sample: &Sample) -> String {
    match sample.median() * 1e6 {
        large if large >= 10_000.0 => format!("{:.1} ms", large / 1e3),
        small => format!("{small:.0} µs"),
    }
}

/// The seed's view, as its application asks it.
fn view(admin: &mut Client, options: &BenchOptions, step: &mut Step) -> Result<Row> {
    let asked = |relation: &str, filter: &str, counts| {
        let sql = format!("select count(octet_length(content)) from (select * from {relation} where {filter}) m");
        Side::new(As::Server, sql, (20, 1), counts)
    };
    let view = "public.conversation_messages_view";
    let ours = asked(view, "conversation_id = bench.id(4, 7) order by created_at limit 50", 50);
    let key = asked("bench.messages", "id = bench.id(6, 1207) and tenant_id = bench.tenant()", 1);
    let samples = take_turns(&[&ours, &key], options.rounds, |side, round| {
        step.note(&format!("conversation_messages_view, round {round}"));
        side.seconds(admin)
    })?;
    let name = "conversation_messages_view by conversation, of 400,000 messages (against: a row by key)";
    let milliseconds = samples[0].median() * 1e3;
    Ok(Row::figure(name, each(&samples[0]), each(&samples[1]), milliseconds, " ms", Some(Target::AtMost(3.0))))
}

fn candidates(admin: &mut Client, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    let ours = Side::new(
        As::Server,
        "select count(*) from public.get_conversations_needing_compaction()".to_string(),
        (3, 1),
        100,
    );
    let seed = Side::new(
        As::Superuser,
        "select count(*) from (
             select c.id, c.tenant_id, count(m.*) as message_count, c.last_message_at, c.last_compaction_at
             from bench.conversations c join bench.messages m on m.conversation_id = c.id
             where c.archived_at is null and c.last_message_at > now() - interval '7 days'
               and (c.last_compaction_at is null or c.last_compaction_at < now() - interval '1 day')
             group by c.id having count(m.*) > 19 order by count(m.*) desc limit 100) f"
            .to_string(),
        (1, 1),
        100,
    );
    let samples = take_turns(&[&ours, &seed], options.rounds, |side, round| {
        step.note(&format!("candidates for compaction, round {round}"));
        side.seconds(admin)
    })?;
    let shown = || (each(&samples[0]), each(&samples[1]));
    let (milliseconds, faster) = (samples[0].median() * 1e3, samples[1].median() / samples[0].median());
    let name = "100 candidates for compaction of a million paths";
    let times = format!("{name} : counting 2,000,000 messages of 100,000 conversations (times faster)");
    Ok(vec![
        Row::figure(name, shown().0, shown().1, milliseconds, " ms", Some(Target::AtMost(20.0))),
        Row::figure(&times, shown().0, shown().1, faster, "", Some(Target::AtLeast(100.0))),
    ])
}

/// pgbench's scripts, and how many clients run each.
const SCRIPTS: [(&str, &str); 5] = [
    ("page", "select * from public.get_path_messages(bench.tenant(), bench.id(1001, 101), 50);"),
    (
        "flat page",
        "select * from bench.messages where path_id = bench.id(8, 1) and tenant_id = bench.tenant()
         and sequence_in_path <= 10120 order by sequence_in_path desc limit 50;",
    ),
    (
        "append",
        "\\set n random(1, 2000)\nselect * from public.append_message(bench.tenant(), bench.id(4, :n), 'user',
             bench.words(), p_path_id => bench.id(5, :n));",
    ),
    (
        "insert",
        "\\set n random(1, 2000)\ninsert into bench.messages (conversation_id, path_id, tenant_id, role, content,
             sequence_in_path) values (bench.id(4, :n), bench.id(5, :n), bench.tenant(), 'user', bench.words(),
             nextval('bench.numbers')) returning id, sequence_in_path, created_at;",
    ),
    (
        "append to one",
        "select * from public.append_message(bench.tenant(), bench.id(4, 2), 'user', bench.words(),
             p_path_id => bench.id(5, 2));",
    ),
];

fn over_connections(
    cluster: &Cluster,
    database: &str,
    admin: &mut Client,
    options: &BenchOptions,
    step: &mut Step,
) -> Result<Vec<Row>> {
    let scripts = Scripts::new()?;
    for (name, text) in SCRIPTS {
        scripts.add(name, &text.replace("\n         ", " ").replace("\n             ", " "))?;
    }
    let settings = [("role", "service_role")];
    let mut speeds = |sides: [(&'static str, u32); 2]| {
        take_turns(&sides, options.rounds, |(name, count), round| {
            step.note(&format!("{name}, {}, round {round}", clients(count)));
            server::even(admin)?;
            let script = &scripts.path(name);
            let job = Job { cluster, database, settings: &settings, script, variables: &[] };
            Ok(job.run(count, Length::Seconds(options.seconds))?.tps)
        })
    };
    let mut rows = Vec::new();
    for (name, sides, at_least) in [
        ("last 50 of 10,120 messages : of a flat table, 1 client", [("page", 1), ("flat page", 1)], 0.71),
        ("append_message to 2,000 paths : bare insert, 8 clients", [("append", CLIENTS), ("insert", CLIENTS)], 0.6),
        ("append_message to one path, 8 clients : 1 client", [("append to one", CLIENTS), ("append to one", 1)], 0.5),
    ] {
        let samples = speeds(sides)?;
        rows.push(Row::speeds(name, &samples[0], &samples[1], Some(Target::AtLeast(at_least))));
    }
    Ok(rows)
}
