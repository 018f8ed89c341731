//! What the demo prints at the end, and whether it was right.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;

use super::replay::{Replayed, Work, WorkOutcome};
use super::world::DemoWorld;
use crate::table::Table;
use crate::trace::Call;

/// What came of the demo.
pub struct Report {
    pub models: Table,
    pub sandboxes: Table,
    pub refusals: Table,
    pub quotas: Table,
    pub per_second: f64,
    /// Whether `verify()` found nothing.
    pub is_exact: bool,
    /// Whether everything that the demo claims came out true.
    pub is_good: bool,
}

/// Prints everything.
pub fn print(
    admin: &mut Client,
    world: &DemoWorld,
    calls: &[Call],
    replayed: &Replayed,
    took: Duration,
    clients: usize,
) -> Result<Report> {
    let (models, sandboxes) = (models(admin, world)?, sandboxes(admin, world)?);
    println!("Spend by tenant and model (metrics.llm_costs)\n{}", models.render());
    println!("Sandboxes (metrics.e2b_costs)\n{}", sandboxes.render());
    let refusals = refusals(world, calls, replayed);
    println!("Refused (call of the trace, its time in 2023, the server's clock)\n{}", refusals.render());
    let quotas = quotas(admin, world)?;
    println!("Quotas now (metrics.quota_status)\n{}", quotas.render());
    let per_second = replayed.answers.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    throughput(replayed, took, clients, per_second);
    let is_exact = verified(admin)?;
    let is_good = limit_kept(admin, world)? && is_exact && replayed.refused().count() > 0;
    Ok(Report { models, sandboxes, refusals, quotas, per_second, is_exact, is_good })
}

fn models(admin: &mut Client, world: &DemoWorld) -> Result<Table> {
    let header = ["tenant", "provider", "model", "calls", "input tokens", "output tokens", "USD"];
    let mut models = Table::new(&header).with_bars(6, None);
    let rows = admin.query(
        "select tenant_id::text, model_provider, model_name, request_count::text, total_input_tokens::text,
                total_output_tokens::text, trim_scale(total_cost)::text
           from metrics.llm_costs order by tenant_id, total_cost desc",
        &[],
    );
    for row in rows.context("metrics.llm_costs")? {
        let mut cells: Vec<String> = (0..7).map(|column| row.get(column)).collect();
        cells[0] = name(world, &cells[0]);
        models.row(cells);
    }
    Ok(models)
}

fn sandboxes(admin: &mut Client, world: &DemoWorld) -> Result<Table> {
    let mut sandboxes = Table::new(&["tenant", "sandbox type", "sessions", "seconds", "USD"]).with_bars(4, None);
    let rows = admin.query(
        "select tenant_id::text, sandbox_type, session_count::text, trim_scale(total_duration)::text,
                trim_scale(total_cost)::text
           from metrics.e2b_costs order by tenant_id, total_cost desc",
        &[],
    );
    for row in rows.context("metrics.e2b_costs")? {
        let mut cells: Vec<String> = (0..5).map(|column| row.get(column)).collect();
        cells[0] = name(world, &cells[0]);
        sandboxes.row(cells);
    }
    Ok(sandboxes)
}

/// Refusals, by payer, reason and time.
fn refusals(world: &DemoWorld, calls: &[Call], replayed: &Replayed) -> Table {
    let mut groups: BTreeMap<(usize, &str), Vec<&WorkOutcome>> = BTreeMap::new();
    for answer in replayed.refused() {
        let what = if matches!(answer.job, Work::Call(_)) { "llm call" } else { "sandbox" };
        groups.entry((world.attribution(answer.job.call()).tenant, what)).or_default().push(answer);
    }
    let mut table = Table::new(&["tenant", "what", "refused", "of", "first", "last", "reason of the first"]);
    for ((tenant, what), refused) in &groups {
        let (Some(first), Some(last)) = (refused.first(), refused.last()) else { continue };
        let asked = replayed.answers.iter().filter(|answer| {
            matches!(answer.job, Work::Call(_)) == (*what == "llm call")
                && world.attribution(answer.job.call()).tenant == *tenant
        });
        table.row(vec![
            world.tenants[*tenant].name.to_string(),
            what.to_string(),
            refused.len().to_string(),
            asked.count().to_string(),
            moment(first, calls),
            moment(last, calls),
            first.reason.clone().unwrap_or_else(|| "-".to_string()),
        ]);
    }
    table
}

fn moment(answer: &WorkOutcome, calls: &[Call]) -> String {
    let call = answer.job.call();
    let recorded = calls[call].moment.split_once(' ').map_or("", |(_, time)| time);
    let seconds = recorded.split('.').next().unwrap_or("");
    format!("#{} {seconds} {}", call + 1, answer.moment)
}

fn quotas(admin: &mut Client, world: &DemoWorld) -> Result<Table> {
    let header = ["scope", "payer", "resource", "period", "limit USD", "spent USD", "left USD", "used", "status"];
    let mut table = Table::new(&header).with_bars(7, Some(100.0));
    let rows = admin.query(
        "select scope, coalesce(scope_id::text, ''), resource_type, period, coalesce(trim_scale(limit_usd)::text, '-'),
                trim_scale(current_spend_usd)::text, coalesce(trim_scale(remaining_usd)::text, '-'),
                coalesce(round(usage_percentage, 2)::text || ' %', '-'), status
           from metrics.quota_status order by 1, 2, 3, 4",
        &[],
    );
    for row in rows.context("metrics.quota_status")? {
        let mut cells: Vec<String> = (0..9).map(|column| row.get(column)).collect();
        cells[1] = name(world, &cells[1]);
        table.row(cells);
    }
    Ok(table)
}

fn throughput(replayed: &Replayed, took: Duration, clients: usize, per_second: f64) {
    let (latencies, refused) = (replayed.latencies(), replayed.refused().count());
    println!(
        "{} calls and sandbox sessions in {:.1} s over {clients} connections: {per_second:.0} a second, p50 {:.2} ms, p99 {:.2} ms. \
         {refused} refused; the model was called {} times.",
        replayed.answers.len(),
        took.as_secs_f64(),
        percentile(&latencies, 0.50).as_secs_f64() * 1e3,
        percentile(&latencies, 0.99).as_secs_f64() * 1e3,
        replayed.model_calls,
    );
}

/// The smallest value that at least this share of all values do not exceed.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn verified(admin: &mut Client) -> Result<bool> {
    let sql =
        "select check_name, coalesce(tenant_id::text, '-'), coalesce(expected::text, '-'), coalesce(actual::text, '-')
                 from (select * from copilot_internal.verify() union all select * from copilot_internal.verify_counters()) v";
    let rows = admin.query(sql, &[]).context("copilot_internal.verify() and verify_counters()")?;
    if rows.is_empty() {
        println!("verify() and verify_counters(): no rows, exact");
        return Ok(true);
    }
    let mut table = Table::new(&["check", "tenant", "expected", "actual"]);
    for row in &rows {
        table.row((0..4).map(|column| row.get(column)).collect());
    }
    println!("verify(): {} rows, so the books are WRONG\n{}", rows.len(), table.render());
    Ok(false)
}

/// The ledger against the limit, in whole nano-dollars: every charge rounds up, the limit down. Not by the extension's
/// own sums but from each recorded cost.
fn limit_kept(admin: &mut Client, world: &DemoWorld) -> Result<bool> {
    let tight = &world.tenants[world.tight];
    // A run over midnight UTC at the end of a month has two periods; the fuller one counts.
    let row = admin.query_one(
        "select coalesce(max(nanos), 0)::bigint, floor($2::text::numeric * 1000000000)::bigint
           from (select sum(ceil(cost_usd * 1000000000)) as nanos
                   from copilot_internal.llm_cost_records where tenant_id = $1
                  group by date_trunc('month', charged_at at time zone 'UTC')) months",
        &[&tight.id, &world.tight_limit_usd],
    );
    let row = row.context("cannot add up the ledger")?;
    let (spent, limit): (i64, i64) = (row.get(0), row.get(1));
    let verdict =
        if spent <= limit { format!("{} left", limit - spent) } else { format!("{} TOO MUCH", spent - limit) };
    println!("{} in nano-dollars: spent {spent} of {limit}, {verdict}\n", tight.name);
    Ok(spent <= limit)
}

/// A tenant's name, or which member of which tenant; anything else stays as it is.
fn name(world: &DemoWorld, id: &str) -> String {
    for tenant in &world.tenants {
        if tenant.id.to_string() == id {
            return tenant.name.to_string();
        }
        if let Some(number) = tenant.members.iter().position(|member| member.to_string() == id) {
            return format!("member {} of {}", number + 1, tenant.name);
        }
    }
    id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.50), Duration::from_millis(50));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&values[..1], 0.99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}
