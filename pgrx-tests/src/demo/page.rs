//! `cargo xtask demo --html`: what the demo did as one page, which needs no network, no script and no other file. It is
//! XML, too, so that a parser can tell whether it is well formed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::charts::{Axes, Series, below_limit, decisions, latencies, stacked};
use super::conversation::Conversation;
use super::observe::Sample;
use super::replay::{Replayed, Work, WorkOutcome};
use super::report::{Report, percentile};
use super::world::DemoWorld;
use crate::table::Table;

const SECONDS: &str = "seconds since the replay began";
/// Bars of the chart of decisions.
const BUCKETS: usize = 40;
/// Points of a curve of latencies.
const PERCENTILES: usize = 400;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c;
       background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
figure { margin: 1rem 0 } svg { width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
dl { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem } dt { color: #555; font-size: .85rem }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums }
div.table { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd }
.figure { text-align: right } table { margin-bottom: 1.5rem }
";

/// Writes the page.
pub fn write(
    path: &Path,
    world: &DemoWorld,
    samples: &[Sample],
    replayed: &Replayed,
    report: &Report,
    conversation: &Conversation,
) -> Result<()> {
    let page = page(world, samples, replayed, report, conversation)?;
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    println!("Wrote {}", path.display());
    Ok(())
}

fn page(
    world: &DemoWorld,
    samples: &[Sample],
    replayed: &Replayed,
    report: &Report,
    conversation: &Conversation,
) -> Result<String> {
    let mut page = String::new();
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>pg_tollgate: a demo</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>pg_tollgate: {} calls, three tenants, one of them at its limit</h1>\n",
        replayed.answers.len()
    )?;
    facts(&mut page, replayed, report)?;
    let tight = &world.tenants[world.tight];
    section(
        &mut page,
        "Spend by tenant",
        "From metrics.llm_costs and metrics.e2b_costs.",
        &by_tenant(world, samples)?,
        &[],
    )?;
    let tables = [&report.models, &report.sandboxes];
    section(
        &mut page,
        "Spend by model",
        "From metrics.llm_costs and metrics.e2b_costs.",
        &by_model(samples)?,
        &tables,
    )?;
    let title = format!("{} at its limit", tight.name);
    section(&mut page, &title, "From metrics.quota_status.", &at_limit(world, samples)?, &[&report.quotas])?;
    let title = format!("What {}’s calls were told", tight.name);
    let caption = "From the answers of reserve_quota and record_e2b_cost.";
    section(&mut page, &title, caption, &told(world, replayed, samples)?, &[&report.refusals])?;
    let caption =
        "As the clients measured it. A call that is let in is reserved and recorded; one that is refused only asks.";
    section(&mut page, "Latency", caption, &by_latency(replayed)?, &[])?;
    page.push_str("<h2>One conversation: what each path cost</h2>\n");
    write_table(&mut page, &conversation.paths);
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn facts(page: &mut String, replayed: &Replayed, report: &Report) -> Result<()> {
    let milliseconds = |share| format!("{:.2} ms", percentile(&replayed.latencies(), share).as_secs_f64() * 1e3);
    page.push_str("<dl>\n");
    for (name, value) in [
        ("a second", format!("{:.0}", report.per_second)),
        ("p50", milliseconds(0.50)),
        ("p99", milliseconds(0.99)),
        ("refused", replayed.refused().count().to_string()),
        ("model calls", replayed.model_calls.to_string()),
        ("verify()", if report.is_exact { "exact".to_string() } else { "WRONG".to_string() }),
    ] {
        writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>")?;
    }
    page.push_str("</dl>\n");
    Ok(())
}

fn section(page: &mut String, title: &str, caption: &str, svg: &str, tables: &[&Table]) -> Result<()> {
    let (title, caption) = (escape(title), escape(caption));
    write!(page, "<h2>{title}</h2>\n<figure role=\"img\" aria-label=\"{title}\">\n{svg}\n")?;
    writeln!(page, "<figcaption>{caption}</figcaption>\n</figure>")?;
    for table in tables {
        write_table(page, table);
    }
    Ok(())
}

fn write_table(page: &mut String, table: &Table) {
    let row = |element: &str, cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let class = if table.is_of_figures(column) { " class=\"figure\"" } else { "" };
            format!("<{element}{class}>{}</{element}>", escape(cell))
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = table.rows().iter().map(|cells| row("td", cells)).collect();
    let head = row("th", table.header());
    page.push_str(&format!(
        "<div class=\"table\"><table>\n<thead>{head}</thead>\n<tbody>{body}</tbody></table></div>\n"
    ));
}

fn by_tenant(world: &DemoWorld, samples: &[Sample]) -> Result<String> {
    let series = world.tenants.iter().map(|tenant| {
        let points =
            samples.iter().map(|it| (it.at.as_secs_f64(), it.by_tenant.get(&tenant.id).copied().unwrap_or(0.0)));
        Series { name: tenant.name.to_string(), points: points.collect() }
    });
    stacked(&Axes { x: SECONDS, y: "USD" }, &series.collect::<Vec<_>>())
}

fn by_model(samples: &[Sample]) -> Result<String> {
    let models: BTreeSet<&String> = samples.iter().flat_map(|it| it.by_model.keys()).collect();
    let series = models.into_iter().map(|model| {
        let points = samples.iter().map(|it| (it.at.as_secs_f64(), it.by_model.get(model).copied().unwrap_or(0.0)));
        Series { name: model.clone(), points: points.collect() }
    });
    stacked(&Axes { x: SECONDS, y: "USD" }, &series.collect::<Vec<_>>())
}

fn at_limit(world: &DemoWorld, samples: &[Sample]) -> Result<String> {
    let series = |name: &str, usd: fn(&Sample) -> f64| Series {
        name: name.to_string(),
        points: samples.iter().map(|it| (it.at.as_secs_f64(), usd(it))).collect(),
    };
    let (spent, with_held) =
        (series("spent", |it| it.tight_spent), series("held", |it| it.tight_spent + it.tight_held));
    let limit = world.tight_limit_usd.parse().context("a limit that is no number")?;
    below_limit(&Axes { x: SECONDS, y: "USD" }, &spent, &with_held, limit)
}

fn told(world: &DemoWorld, replayed: &Replayed, samples: &[Sample]) -> Result<String> {
    let length = samples.last().map_or(1.0, |it| it.at.as_secs_f64()).max(f64::MIN_POSITIVE);
    let width = length / BUCKETS as f64;
    let mut buckets = [(0, 0); BUCKETS];
    for answer in replayed.answers.iter().filter(|it| world.attribution(it.job.call()).tenant == world.tight) {
        let bucket = &mut buckets[((answer.at.as_secs_f64() / width) as usize).min(BUCKETS - 1)];
        if answer.admitted { bucket.0 += 1 } else { bucket.1 += 1 }
    }
    decisions(&Axes { x: SECONDS, y: "calls and sandboxes" }, width, &buckets)
}

fn by_latency(replayed: &Replayed) -> Result<String> {
    let curve = |name: &str, of: fn(&WorkOutcome) -> bool| {
        let calls = replayed.answers.iter().filter(|it| matches!(it.job, Work::Call(_)) && of(it));
        let mut latencies: Vec<Duration> = calls.map(|it| it.latency).collect();
        latencies.sort();
        let points = (1..=PERCENTILES).map(|step| {
            let share = step as f64 / PERCENTILES as f64;
            (share * 100.0, percentile(&latencies, share).as_secs_f64() * 1e3)
        });
        Series { name: name.to_string(), points: if latencies.is_empty() { Vec::new() } else { points.collect() } }
    };
    let series = [curve("let in: reserve, then record", |it| it.admitted), curve("refused", |it| !it.admitted)];
    latencies(&Axes { x: "share of the calls that are at least as fast, %", y: "milliseconds" }, &series)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
