//! examples/monitoring with Debian's exporter against a real server, and the pages that name its metrics.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use serde_json::Value;
use tollgate_tests::documents::Page;
use tollgate_tests::exporter::{Exporter, Sample, samples};
use tollgate_tests::layout;
use tollgate_tests::support::{Database, preloaded, text, texts};

const QUERIES: &str = "examples/monitoring/queries.yaml";
const ALERTS: &str = "examples/monitoring/alerts.yaml";
const DASHBOARD: &str = "examples/monitoring/dashboard.json";
const PAGE: &str = "docs/operate/monitoring.md";
const RUNBOOK: &str = "docs/operate/runbook.md";

/// What a label may say. `server` is the exporter's own.
const LABELS: [&str; 6] = ["scope", "resource_type", "mode", "period", "provider", "server"];

/// Names of things that no label may show, and figures of every kind.
const SEED: &str = "
    insert into copilot_internal.tenants (id, name, slug) values
        ('a0000000-0000-4000-8000-00000000000a', 'Leak Ltd', 'leak-ltd'),
        ('a0000000-0000-4000-8000-00000000000b', 'Leak Inc', 'leak-inc');
    set role service_role;
    select set_quota('platform', null, 'all', 10);
    select set_quota('tenant', 'a0000000-0000-4000-8000-00000000000a', 'llm', 0.008, 'lifetime');
    select set_quota('user', 'b0000000-0000-4000-8000-00000000000c', 'llm', 1,
        p_tenant_id => 'a0000000-0000-4000-8000-00000000000a', p_mode => 'soft');
    select set_quota('tenant', 'a0000000-0000-4000-8000-00000000000b', 'e2b', 5, p_suspended => true);
    select record_llm_cost('a0000000-0000-4000-8000-00000000000a', 'openai', 'gpt-4o', 2000, 200,
        'b0000000-0000-4000-8000-00000000000c', 'c0000000-0000-4000-8000-00000000000d', p_task => 'leak-task',
        p_request_id => 'leak-request', p_enforce => true);
    select record_llm_cost('a0000000-0000-4000-8000-00000000000a', 'openai', 'gpt-4o', 2000, 200, p_enforce => true);
    select record_llm_cost('a0000000-0000-4000-8000-00000000000b', 'initech', 'leak-model', 1, 1);
    select record_e2b_cost('a0000000-0000-4000-8000-00000000000b', 'leak-sandbox', 'standard', 1, p_cost_usd => 0.009);
    select check_and_record_quota_atomic('tenant', 'a0000000-0000-4000-8000-00000000000b', 0.25);
    select reserve_quota('a0000000-0000-4000-8000-00000000000b', 'llm', 0.5, 'leak-hold');
    select reserve_quota('a0000000-0000-4000-8000-00000000000b', 'llm', 0.25, 'leak-hold-that-expired');
    reset role;
    update copilot_internal.quota_reservations set expires_at = clock_timestamp() - interval '1 minute'
    where request_id = 'leak-hold-that-expired'";
const HIDDEN: [&str; 4] = ["0000-4000-8000", "leak", "Leak", "gpt-4o"];

/// The one sample of this name with these labels.
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let has = |sample: &&Sample| {
        let label = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|it| it == value);
        sample.name == name && labels.iter().all(label)
    };
    let found: Vec<&Sample> = samples.iter().filter(has).collect();
    ensure!(found.len() == 1, "{name} {labels:?}: {found:?} of {samples:#?}");
    Ok(found[0].value)
}

fn scraped(exporter: &Exporter) -> Result<(String, Vec<Sample>)> {
    let page = exporter.page()?;
    let ours: Vec<&str> = page.lines().filter(|line| line.contains("tollgate")).collect();
    let ours = ours.join("\n");
    let samples = samples(&ours)?;
    Ok((ours, samples))
}

/// A login that docs/operate/monitoring.md makes.
fn create_login(client: &mut Client) -> Result<()> {
    let statements = read(PAGE)?;
    let create =
        statements.lines().filter(|line| line.ends_with("tollgate_exporter;") || line.contains("role tollgate_"));
    let create: Vec<&str> = create.collect();
    ensure!(create.len() == 3, "{PAGE} makes the login by {create:?}");
    Ok(client.batch_execute(&create.join("\n"))?)
}

#[test]
fn the_exporter_prints_what_the_queries_declare_and_no_one_s_name() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    create_login(&mut client)?;
    client.batch_execute(SEED)?;
    let exporter = Exporter::start(database.cluster, &database.name, "tollgate_exporter")?;
    let (page, samples) = scraped(&exporter)?;

    let printed: BTreeSet<String> = samples.iter().map(|sample| sample.name.clone()).collect();
    assert_eq!(printed, declared()?, "metrics printed, and declared in {QUERIES}");
    for hidden in HIDDEN {
        let line = page.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "{hidden} is shown");
    }
    for sample in &samples {
        let label = sample.labels.keys().find(|label| !LABELS.contains(&label.as_str()));
        assert_eq!(label, None, "{sample:?}");
    }

    figures_are_the_databases(&mut client, &samples)?;
    admission_is_the_server_s(&mut client, &samples)?;
    the_login_reads_nothing_else(&mut client)?;
    enforcement_is_followed(&database, &exporter)
}

fn figures_are_the_databases(client: &mut Client, samples: &[Sample]) -> Result<()> {
    let platform = [("resource_type", "all"), ("period", "month"), ("mode", "hard")];
    let tenant_llm = [("scope", "tenant"), ("resource_type", "llm"), ("mode", "hard")];
    let tenant_e2b = [("scope", "tenant"), ("resource_type", "e2b"), ("mode", "hard")];
    let user = [("scope", "user"), ("resource_type", "llm"), ("mode", "soft")];
    let openai = [("resource_type", "llm"), ("provider", "openai")];
    let initech = [("resource_type", "llm"), ("provider", "initech")];
    for (name, labels, expected) in [
        ("tollgate_platform_limit_usd", &platform[..], 10.0),
        ("tollgate_platform_spent_usd", &platform, 0.266),
        ("tollgate_platform_reserved_usd", &platform, 0.5),
        // The defaults of both, and the lifetime's of one.
        ("tollgate_quotas_ok", &tenant_llm, 2.0),
        ("tollgate_quotas_warning", &tenant_llm, 1.0),
        ("tollgate_quotas_exceeded", &tenant_llm, 0.0),
        ("tollgate_quotas_suspended", &tenant_e2b, 1.0),
        ("tollgate_quotas_exceeded", &tenant_e2b, 0.0),
        ("tollgate_quotas_ok", &user, 1.0),
        ("tollgate_costs_usd", &openai, 0.007),
        ("tollgate_costs_records", &openai, 1.0),
        ("tollgate_costs_unpriced", &openai, 0.0),
        ("tollgate_costs_unpriced", &initech, 1.0),
        ("tollgate_costs_usd", &[("resource_type", "e2b")], 0.009),
        ("tollgate_costs_usd", &[("resource_type", "other")], 0.25),
        ("tollgate_housekeeping_live_holds", &[], 1.0),
        ("tollgate_housekeeping_held_usd", &[], 0.5),
        ("tollgate_housekeeping_expired_holds", &[], 1.0),
        ("tollgate_tenants_without_quota", &[], 0.0),
    ] {
        assert!((value(samples, name, labels)? - expected).abs() < 1e-9, "{name} {labels:?} is not {expected}");
    }
    for (name, sql) in [
        ("tollgate_housekeeping_pending_rows", "select count(*)::text from copilot_internal.pending_costs"),
        ("tollgate_housekeeping_unacknowledged_events", "select count(*)::text from copilot_internal.quota_events"),
    ] {
        let counted: f64 = text(client, sql, &[])?.parse()?;
        assert!(counted > 0.0, "{name}: nothing to see");
        assert!((value(samples, name, &[])? - counted).abs() < 0.5, "{name} is not {counted}");
    }
    let age = value(samples, "tollgate_housekeeping_oldest_event_seconds", &[])?;
    assert!(age > 0.0 && age < 600.0, "the oldest event is {age} seconds old");
    Ok(())
}

/// The server is this test's alone, and nothing is charged between.
fn admission_is_the_server_s(client: &mut Client, samples: &[Sample]) -> Result<()> {
    let get = |name: &str| value(samples, &format!("tollgate_admission_{name}"), &[]);
    assert!((get("enforcement")? - 1.0).abs() < 0.1);
    if !preloaded(client)? {
        assert!(get("escrow")?.abs() < 0.1);
        assert!(get("admissions_total")?.is_nan(), "nothing is counted in locked mode");
        return Ok(());
    }
    assert!((get("escrow")? - 1.0).abs() < 0.1);
    for (name, column) in [
        ("entries", "entries"),
        ("entries_used", "entries_used"),
        ("entries_pinned", "entries_pinned"),
        ("shared_bytes", "shared_bytes"),
        ("admissions_total", "admissions"),
        ("refusals_total", "refusals"),
        ("retryable_refusals_total", "retryable_refusals"),
        ("loads_total", "loads"),
        ("evictions_total", "evictions"),
        ("waits_total", "waits"),
    ] {
        let counted: f64 = text(client, &format!("select {column}::text from metrics.admission"), &[])?.parse()?;
        assert!((get(name)? - counted).abs() < 0.5, "{name} is not {counted}");
    }
    assert!(get("admissions_total")? >= 4.0 && get("refusals_total")? >= 1.0);
    Ok(())
}

fn the_login_reads_nothing_else(client: &mut Client) -> Result<()> {
    let sql = "
        select c.oid::regclass::text from pg_class c
        where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
          and has_any_column_privilege('tollgate_exporter', c.oid, 'select, insert, update')
        union all
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'public'::regnamespace and has_function_privilege('tollgate_exporter', p.oid, 'execute')
          and not has_function_privilege('public', p.oid, 'execute')
        union all
        select rolname::text from pg_roles
        where rolname = 'tollgate_exporter' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)
        union all
        select r.rolname::text from pg_roles r
        where pg_has_role('tollgate_exporter', r.oid, 'member') and r.rolname not in ('tollgate_exporter', 'metrics_reader')";
    assert_eq!(texts(client, sql, &[])?, Vec::<String>::new(), "the exporter's login may too much");
    Ok(())
}

/// The runbook's off switch, by a session that knows nothing of the extension, reaches a session that is open.
fn enforcement_is_followed(database: &Database, exporter: &Exporter) -> Result<()> {
    let runbook = read(RUNBOOK)?;
    let section = runbook.split("## Stop enforcing\n").nth(1).context("no section on the off switch")?;
    let switch =
        section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).context("no statements")?;
    let run = |statements: &str| -> Result<()> {
        let mut client = database.superuser()?;
        statements.lines().try_for_each(|statement| Ok(client.batch_execute(statement)?))
    };
    run(switch)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let followed = loop {
        let is_on = value(&scraped(exporter)?.1, "tollgate_admission_enforcement", &[])? > 0.5;
        if !is_on || Instant::now() > deadline {
            break !is_on;
        }
        thread::sleep(Duration::from_millis(100));
    };
    run("alter system reset pg_tollgate.enforcement\nselect pg_reload_conf()")?;
    ensure!(followed, "enforcement is off and the exporter says that it is on");
    Ok(())
}

#[test]
fn the_page_lists_every_metric() -> Result<()> {
    let page = read(PAGE)?;
    let rows = page.lines().filter(|line| line.starts_with("| `tollgate_"));
    let listed: BTreeSet<String> = rows.flat_map(|line| metrics(line.split('|').nth(1).unwrap_or_default())).collect();
    assert_eq!(listed, declared()?, "metrics in the tables of {PAGE}, and declared in {QUERIES}");
    Ok(())
}

#[test]
fn alerts_are_about_metrics_that_exist_and_lead_to_the_runbook() -> Result<()> {
    let (text, declared, sections) = (read(ALERTS)?, declared()?, Page::read(&read(RUNBOOK)?).anchors);
    let unknown: Vec<String> = metrics(&text).into_iter().filter(|name| !declared.contains(name)).collect();
    assert_eq!(unknown, Vec::<String>::new(), "unknown metrics in {ALERTS}");
    let count = |key: &str| text.lines().filter(|line| line.trim_start().starts_with(key)).count();
    let runbooks: Vec<&str> = text.lines().filter_map(|line| line.trim_start().strip_prefix("runbook: \"#")).collect();
    assert!(runbooks.len() > 10, "{runbooks:?}");
    for key in ["- alert:", "expr:", "summary:", "labels: {severity:"] {
        assert_eq!(count(key), runbooks.len(), "each alert has {key} and a section of the runbook");
    }
    for section in runbooks {
        let section = section.trim_end_matches('"').to_string();
        assert!(sections.contains(&section), "{RUNBOOK} has no section {section}");
    }
    Ok(())
}

#[test]
fn the_dashboard_is_over_metrics_that_exist() -> Result<()> {
    let (dashboard, declared): (Value, _) = (serde_json::from_str(&read(DASHBOARD)?)?, declared()?);
    let panels = dashboard["panels"].as_array().context("no panels")?;
    assert!(panels.len() > 10, "{} panels", panels.len());
    let mut drawn = BTreeSet::new();
    for panel in panels {
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        let targets = panel["targets"].as_array().with_context(|| format!("no targets: {panel}"))?;
        for target in targets {
            let of_target = metrics(target["expr"].as_str().with_context(|| format!("no expr: {target}"))?);
            assert!(!of_target.is_empty(), "{target}");
            drawn.extend(of_target);
        }
    }
    let unknown: Vec<&String> = drawn.difference(&declared).collect();
    assert!(unknown.is_empty(), "unknown metrics in {DASHBOARD}: {unknown:?}");
    let ids: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(layout::root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Each word that begins as our metrics do. `tollgate_exporter` and `tollgate_owner` are roles.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours =
        words.filter(|word| word.starts_with("tollgate_") && !["tollgate_exporter", "tollgate_owner"].contains(word));
    ours.map(str::to_string).collect()
}

/// The metrics of the queries: a query's name and a column's that is no label.
fn declared() -> Result<BTreeSet<String>> {
    let text = read(QUERIES)?;
    let (mut found, mut query) = (BTreeSet::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| name.starts_with("tollgate_")) {
            query = name;
        } else if let Some((column, rest)) = line.strip_prefix("    - ").and_then(|rest| rest.split_once(": {usage: "))
            && !rest.starts_with("LABEL")
        {
            found.insert(format!("{query}_{column}"));
        }
    }
    ensure!(found.len() > 20, "{QUERIES} declares {found:?}");
    Ok(found)
}
