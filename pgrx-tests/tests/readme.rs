//! The examples of README.md and of every page under docs/, each page in order in a database of its own that looks like
//! Supabase, and claims that take more than one session.
//!
//! A comment line `-- as role [user [tenant]]` names the role of what follows: the Supabase user with this id, whose
//! token names this tenant. Under a statement, each `-- => …` is a row of its result (columns joined by ` | `). `-- !>
//! …` is the SQLSTATE that it must fail with. A statement without either must merely succeed.
//!
//! A page that creates the extension begins with an empty database. Any other begins with the extension and the tenant
//! Acme, whose owner is Ann.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use postgres::{Client, SimpleQueryMessage};
use tollgate_tests::cluster::{Cluster, ClusterOptions, SUPERUSER};
use tollgate_tests::cluster_pool;
use tollgate_tests::documents;
use tollgate_tests::layout;
use tollgate_tests::session::{claims, sqlstate};
use uuid::Uuid;

/// What a page says about one statement.
#[derive(Debug, Default, PartialEq)]
struct Example {
    line: usize,
    role: Vec<String>,
    sql: String,
    rows: Vec<String>,
    error: Option<String>,
}

/// What the pages that begin with a tenant call it.
const ACME: &str = "insert into copilot_internal.tenants (id, name, owner_id)
    values ('a0000000-0000-4000-8000-000000000001', 'Acme', 'b0000000-0000-4000-8000-000000000001')";

#[test]
fn every_example_gives_what_its_page_says() -> Result<()> {
    let mut problems = Vec::new();
    let mut statements = 0;
    for page in documents::pages()? {
        match run_page(&page) {
            Ok(count) => statements += count,
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    ensure!(statements > 100, "only {statements} statements were found");
    Ok(())
}

/// Returns how many statements the page has.
fn run_page(page: &Path) -> Result<usize> {
    let name = page.display().to_string();
    let text = fs::read_to_string(layout::root().join(page)).with_context(|| format!("cannot read {name}"))?;
    let examples = examples(&text).with_context(|| name.clone())?;
    if examples.is_empty() {
        return Ok(0);
    }
    let cluster = cluster_pool::shared();
    let database = name.trim_end_matches(".md").replace(|it: char| !it.is_alphanumeric(), "_").to_lowercase();
    if examples.iter().any(|example| example.sql == "create extension pg_tollgate;") {
        cluster.create_database_without_extension(&database)?;
    } else {
        cluster.create_database(&database)?;
        cluster.superuser(&database)?.batch_execute(ACME)?;
    }
    let mut client = cluster.connect(&database, SUPERUSER)?;
    for example in &examples {
        run(&mut client, example).with_context(|| format!("{name}:{}: {}", example.line, example.sql))?;
    }
    drop(client);
    cluster.drop_database(&database)?;
    Ok(examples.len())
}

fn run(client: &mut Client, example: &Example) -> Result<()> {
    let role = example.role.first().context("no `-- as role` line before the first statement")?;
    let id = |index: usize| example.role.get(index).map(|text| Uuid::parse_str(text)).transpose();
    let claims = match id(1)? {
        Some(user) => claims(user, id(2)?).to_string(),
        None => String::new(),
    };
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!("set local role \"{role}\""))?;
    transaction.execute("select set_config('request.jwt.claims', $1, true)", &[&claims])?;
    match (transaction.simple_query(&example.sql), &example.error) {
        (Ok(messages), None) => {
            transaction.commit()?;
            let rows: Vec<String> = messages.iter().filter_map(row).collect();
            // Without a word about the result, success is all that is promised.
            ensure!(example.rows.is_empty() || rows == example.rows, "gave {rows:#?} instead of {:#?}", example.rows);
            Ok(())
        }
        (Ok(_), Some(expected)) => bail!("succeeded instead of failing with {expected}"),
        (Err(error), Some(expected)) if sqlstate(&error) == expected => Ok(()),
        (Err(error), expected) => bail!("failed with {} instead of {expected:?}: {error}", sqlstate(&error)),
    }
}

fn row(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let columns: Vec<&str> = (0..row.len()).map(|index| row.get(index).unwrap_or("NULL")).collect();
    Some(columns.join(" | "))
}

/// The statements of every fence that is marked `sql`, in order. A fence without one is a mistake.
fn examples(markdown: &str) -> Result<Vec<Example>> {
    let mut found: Vec<Example> = Vec::new();
    let mut role: Vec<String> = Vec::new();
    // The fence that is open: its line, whether it is SQL, and how many statements were found before it.
    let mut fence: Option<(usize, bool, usize)> = None;
    let mut sql = String::new();
    for (number, line) in (1..).zip(markdown.lines()) {
        if let Some(marker) = line.strip_prefix("```") {
            fence = match fence {
                None => Some((number, marker.trim() == "sql", found.len())),
                Some((opened, is_sql, before)) => {
                    ensure!(!is_sql || found.len() > before, "line {opened}: the fence has no statement");
                    ensure!(sql.trim().is_empty(), "line {number}: a statement has no end: {sql}");
                    None
                }
            };
            continue;
        }
        if !matches!(fence, Some((_, true, _))) {
            continue;
        }
        if let Some(named) = line.strip_prefix("-- as ") {
            role = named.split_whitespace().map(str::to_string).collect();
        } else if let Some(row) = line.strip_prefix("-- => ") {
            let last = found.last_mut().filter(|_| sql.trim().is_empty());
            last.with_context(|| format!("line {number}: a result of no statement"))?.rows.push(row.to_string());
        } else if let Some(code) = line.strip_prefix("-- !> ") {
            let last = found.last_mut().filter(|_| sql.trim().is_empty());
            last.with_context(|| format!("line {number}: an error of no statement"))?.error = Some(code.to_string());
        } else if !line.trim().is_empty() {
            ensure!(!line.trim_start().starts_with("--"), "line {number}: a comment that says nothing to the test");
            sql.push_str(line);
            sql.push('\n');
            // No example has a semicolon at the end of a line inside a string or body.
            if line.trim_end().ends_with(';') {
                let sql = std::mem::take(&mut sql).trim().to_string();
                found.push(Example { line: number, role: role.clone(), sql, ..Example::default() });
            }
        }
    }
    ensure!(fence.is_none(), "the last fence is open");
    Ok(found)
}

#[test]
fn examples_are_found_with_their_role_and_their_result() -> Result<()> {
    let text = "```sh\ncargo\n```\n```sql\n-- as anon\nselect 1,\n  2;\n-- => 1 | 2\nselect 3;\n-- !> 42501\n```\n";
    let found = examples(text)?;
    let anon = vec!["anon".to_string()];
    let first =
        Example { line: 7, role: anon.clone(), sql: "select 1,\n  2;".into(), rows: vec!["1 | 2".into()], error: None };
    let second =
        Example { line: 9, role: anon, sql: "select 3;".into(), rows: Vec::new(), error: Some("42501".into()) };
    assert_eq!(found, [first, second]);
    for wrong in [
        "```sql\n```",
        "```sql\n-- as anon\n```",
        "```sql\nselect 1\n```",
        "```sql\nselect 1;",
        "```sql\n-- => 1\nselect 1;\n```",
        "```sql\n-- a remark\nselect 1;\n```",
    ] {
        assert!(examples(wrong).is_err(), "{wrong}");
    }
    Ok(())
}

const CHARGE: &str = "select allowed::text || ' ' || remaining_usd
    from check_and_record_quota_atomic('tenant', 'a0000000-0000-4000-8000-000000000001', 0.6)";
const LIMIT: &str = "select set_quota('tenant', 'a0000000-0000-4000-8000-000000000001', 'llm', 1, 'lifetime')";

fn charge(client: &mut Client) -> Result<String, postgres::Error> {
    client.query_one(CHARGE, &[])?.try_get(0)
}

/// Not preloaded, `PREPARE TRANSACTION` "works: the charge counts, and its tenant waits, until it is committed or rolled
/// back".
#[test]
fn a_prepared_charge_counts_and_its_tenant_waits() -> Result<()> {
    let options = ClusterOptions {
        preload: false,
        extra_conf: vec![("max_prepared_transactions".to_string(), "2".to_string())],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::start(options)?;
    let database = cluster.fresh_database()?;
    let mut one = cluster.superuser(&database)?;
    let mut two = cluster.superuser(&database)?;
    one.batch_execute(LIMIT)?;
    two.batch_execute("set lock_timeout = '200ms'")?;
    for (ending, after) in [("rollback", "true 0.4"), ("commit", "false 0.4")] {
        // By itself: what has reloaded counters cannot be prepared.
        one.batch_execute("truncate copilot_internal.quota_charges, copilot_internal.pending_costs")?;
        one.batch_execute("begin")?;
        assert_eq!(charge(&mut one)?, "true 0.4");
        one.batch_execute("prepare transaction 'charge'")?;
        let Err(error) = charge(&mut two) else { bail!("a charge did not wait for a prepared one") };
        assert_eq!(sqlstate(&error), "55P03");
        drop(one);
        // Any session may end it.
        one = cluster.superuser(&database)?;
        one.batch_execute(&format!("{ending} prepared 'charge'"))?;
        assert_eq!(charge(&mut two)?, after);
    }
    Ok(())
}

/// "`lock_timeout` or `statement_timeout` passed while waiting for another charge of the same tenant", and that it may simply be
/// repeated.
#[test]
fn a_charge_that_waits_too_long_is_cancelled_and_can_be_repeated() -> Result<()> {
    let cluster = locked()?;
    let database = cluster.fresh_database()?;
    let mut one = cluster.superuser(&database)?;
    let mut two = cluster.superuser(&database)?;
    one.batch_execute(LIMIT)?;
    one.batch_execute("begin")?;
    assert_eq!(charge(&mut one)?, "true 0.4");
    for (setting, expected) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        two.batch_execute(&format!("set {setting} = '1s'"))?;
        let Err(error) = charge(&mut two) else { bail!("a charge did not wait for another") };
        assert_eq!(sqlstate(&error), expected);
        two.batch_execute(&format!("reset {setting}"))?;
    }
    one.batch_execute("rollback")?;
    assert_eq!(charge(&mut two)?, "true 0.4");
    Ok(())
}

/// A server on which charges lock.
fn locked() -> Result<Cluster> {
    Cluster::start(ClusterOptions { preload: false, ..ClusterOptions::default() })
}

/// docs/reference/settings.md, where the library is not preloaded. A session knows them from its first call of the extension
/// on. What any other role has set before is dropped then, and refused after.
#[test]
fn a_setting_binds_from_the_first_call_of_a_session() -> Result<()> {
    const ALLOWED: &str =
        "select allowed from check_quota_before_operation('a0000000-0000-4000-8000-000000000009', 'llm', 1)";
    let cluster = locked()?;
    let database = cluster.fresh_database()?;
    let set = |setting: &str| -> Result<()> {
        Ok(cluster
            .superuser(&database)?
            .batch_execute(&format!("alter database {database} set pg_tollgate.{setting}"))?)
    };
    // The tenant is none, so that no default applies to it.
    set("unknown_tenant = 'allow'")?;
    let allowed = |before: &str| -> Result<bool> {
        let mut client = cluster.superuser(&database)?;
        client.batch_execute(before)?;
        Ok(client.query_one(ALLOWED, &[])?.get(0))
    };
    assert!(allowed("set role service_role")?);
    set("no_quota = 'deny'")?;
    assert!(!allowed("set role service_role")?);
    // The library is not loaded yet, so the name is only remembered; with the library it is refused.
    assert!(!allowed("set role service_role; set pg_tollgate.no_quota = 'allow'")?);
    assert!(allowed("set pg_tollgate.no_quota = 'allow'; set role service_role")?);
    Ok(())
}
