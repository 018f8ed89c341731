//! What the demo prints at the end, and whether it was right.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;

use super::replay::{Replayed, Work, WorkOutcome};
use super::world::DemoWorld;
use crate::table::Table;
use crate::trace::Call;

/// Prints everything; `false` when a claim does not hold.
pub fn print(
    admin: &mut Client,
    world: &DemoWorld,
    calls: &[Call],
    replayed: &Replayed,
    took: Duration,
    clients: usize,
) -> Result<bool> {
    spend(admin, world)?;
    let refused = refusals(world, calls, replayed);
    quotas(admin, world)?;
    throughput(replayed, took, clients);
    let exact = verified(admin)?;
    let kept = limit_kept(admin, world)?;
    Ok(refused > 0 && exact && kept)
}

fn spend(admin: &mut Client, world: &DemoWorld) -> Result<()> {
    let mut models = Table::new(&["tenant", "provider", "model", "calls", "input tokens", "output tokens", "USD"]);
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
    println!("Spend by tenant and model (metrics.llm_costs)\n{}", models.render());
    let mut sandboxes = Table::new(&["tenant", "sandbox type", "sessions", "seconds", "USD"]);
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
    println!("Sandboxes (metrics.e2b_costs)\n{}", sandboxes.render());
    Ok(())
}

/// The number of refusals, by payer, reason and time.
fn refusals(world: &DemoWorld, calls: &[Call], replayed: &Replayed) -> usize {
    let mut groups: BTreeMap<(usize, &str), Vec<&WorkOutcome>> = BTreeMap::new();
    for answer in replayed.answers.iter().filter(|answer| !answer.admitted) {
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
    println!("Refused (call of the trace, its time in 2023, the server's clock)\n{}", table.render());
    groups.values().map(Vec::len).sum()
}

fn moment(answer: &WorkOutcome, calls: &[Call]) -> String {
    let call = answer.job.call();
    let recorded = calls[call].moment.split_once(' ').map_or("", |(_, time)| time);
    let seconds = recorded.split('.').next().unwrap_or("");
    format!("#{} {seconds} {}", call + 1, answer.moment)
}

fn quotas(admin: &mut Client, world: &DemoWorld) -> Result<()> {
    let mut table =
        Table::new(&["scope", "payer", "resource", "period", "limit USD", "spent USD", "left USD", "used", "status"]);
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
    println!("Quotas now (metrics.quota_status)\n{}", table.render());
    Ok(())
}

fn throughput(replayed: &Replayed, took: Duration, clients: usize) {
    let mut latencies: Vec<Duration> = replayed.answers.iter().map(|answer| answer.latency).collect();
    latencies.sort();
    let refused = replayed.answers.iter().filter(|answer| !answer.admitted).count();
    println!(
        "{} calls and sandbox sessions in {:.1} s over {clients} connections: {:.0} a second, p50 {:.2} ms, p99 {:.2} ms. \
         {refused} refused; the model was called {} times.",
        replayed.answers.len(),
        took.as_secs_f64(),
        replayed.answers.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE),
        percentile(&latencies, 0.50).as_secs_f64() * 1e3,
        percentile(&latencies, 0.99).as_secs_f64() * 1e3,
        replayed.model_calls,
    );
}

/// The smallest value that at least this share of all values do not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
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
