//! Rows `usage`: record_llm_usage of a report, against record_llm_cost of the same call as its caller has counted it.

use std::fs;

use anyhow::{Context, Result, ensure};
use postgres::Client;

use super::ledger::create_tenant;
use super::report::{Row, Target};
use super::rounds::take_turns;
use super::{BenchOptions, server};
use crate::cluster::Cluster;
use crate::progress::Step;

/// Records of one measurement: one query of one transaction, which is rolled back.
const RECORDS: u64 = 10_000;

/// Reports by what they are of: provider, model, and the report.
const REPORTS: [(&str, &str, &str, &str); 3] = [
    (
        "an OpenAI chat's usage",
        "openai",
        "gpt-4o",
        r#"{"prompt_tokens": 1155, "completion_tokens": 211, "total_tokens": 1366,
            "prompt_tokens_details": {"cached_tokens": 512, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}"#,
    ),
    (
        "an Anthropic message's usage",
        "anthropic",
        "claude-sonnet-4-5",
        r#"{"input_tokens": 515, "cache_creation_input_tokens": 128, "cache_read_input_tokens": 512,
            "cache_creation": {"ephemeral_5m_input_tokens": 128, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 211, "service_tier": "standard"}"#,
    ),
    (
        "a whole OpenAI chat",
        "openai",
        "gpt-4o",
        r#"{"id": "chatcmpl-1", "object": "chat.completion", "created": 1780000000, "model": "gpt-4o",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello.", "refusal": null},
                "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1155, "completion_tokens": 211, "total_tokens": 1366,
                "prompt_tokens_details": {"cached_tokens": 512, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0,
                    "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}},
            "service_tier": "default", "system_fingerprint": "fp_1"}"#,
    ),
];

/// How a report is recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UsageSide {
    Counted,
    Reported,
}

pub fn rows(cluster: &Cluster, options: &BenchOptions, step: &mut Step) -> Result<Vec<Row>> {
    server::in_database(cluster, "bench_usage", |database| {
        let mut client = cluster.superuser(database)?;
        create_tenant(&mut client)?;
        client.batch_execute("set max_parallel_workers_per_gather = 0; set jit = off; set statement_timeout = 0")?;
        let mut rows = Vec::new();
        for (name, provider, model, report) in REPORTS {
            let statements = statements(&mut client, provider, model, report)?;
            same_cost(&mut client, &statements)?;
            let samples = take_turns(&[UsageSide::Reported, UsageSide::Counted], options.rounds, |side, round| {
                step.note(&format!("record_llm_usage of {name}, round {round}"));
                seconds(&mut client, &statements[usize::from(side == UsageSide::Counted)])
            })?;
            let each = |seconds: f64| format!("{:.1} µs a record", seconds / RECORDS as f64 * 1e6);
            let (ours, other) = (samples[0].median(), samples[1].median());
            let title = format!("time of record_llm_usage : record_llm_cost, {name}");
            let target = Some(Target::AtMost(1.1));
            rows.push(Row::times(&title, (each(ours), each(other)), &samples[0], &samples[1], target));
        }
        Ok(rows)
    })
}

/// Both ways to record the same call with everything that a real one carries, so many times.
fn statements(client: &mut Client, provider: &str, model: &str, report: &str) -> Result<[String; 2]> {
    let ours: String = client
        .query_one("select public.normalize_llm_usage($1, $2::text::jsonb)::text", &[&provider, &report])
        .context("cannot read a report")?
        .get(0);
    let counted = format!(
        "p_input_tokens => 1155, p_output_tokens => 211, \
         p_usage => '{ours}'::jsonb - array['input_tokens', 'output_tokens']"
    );
    let statement = |function: &str, usage: &str| {
        format!(
            "select count(*) filter (where r.recorded), min(r.cost_usd)::text from generate_series(1, {RECORDS}) g, \
             lateral public.{function}(p_tenant_id => '10000000-0000-4000-8000-000000000001', \
             p_model_provider => '{provider}', p_model_name => '{model}', {usage}, \
             p_user_id => '20000000-0000-4000-8000-000000000001', \
             p_conversation_id => 'c0000000-0000-4000-8000-000000000001', p_task => 'chat', \
             p_request_id => 'request-' || g, p_enforce => true, p_trace_id => '4bf92f3577b34da6a3ce929d0e0e4736', \
             p_span_id => '00f067aa0ba902b7', p_metadata => '{{\"feature\": \"chat\"}}') r"
        )
    };
    let reported = statement("record_llm_usage", &format!("p_usage => '{report}'"));
    Ok([reported, statement("record_llm_cost", &counted)])
}

/// How long a process has been on a processor, in seconds.
pub(super) fn on_cpu(process: i32) -> Result<f64> {
    let path = format!("/proc/{process}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let nanos: u64 = text.split(' ').next().unwrap_or_default().parse().context("schedstat has another form")?;
    Ok(nanos as f64 / 1e9)
}

/// A faster function that records something else would be worth nothing.
fn same_cost(client: &mut Client, statements: &[String; 2]) -> Result<()> {
    let mut costs = Vec::new();
    for statement in statements {
        let mut transaction = client.transaction()?;
        let row = transaction.query_one(statement.as_str(), &[])?;
        costs.push(row.get::<_, Option<String>>(1).context("a report has no cost")?);
    }
    ensure!(costs[0] == costs[1], "a report costs {} and {}", costs[0], costs[1]);
    Ok(())
}

/// The time that its process takes for one query, which is rolled back. What else the machine does falls on neither side.
fn seconds(client: &mut Client, statement: &str) -> Result<f64> {
    let mut transaction = client.transaction()?;
    let process: i32 = transaction.query_one("select pg_backend_pid()", &[])?.get(0);
    let before = on_cpu(process)?;
    let recorded: i64 = transaction.query_one(statement, &[])?.get(0);
    let taken = on_cpu(process)? - before;
    ensure!(recorded == i64::try_from(RECORDS)?, "only {recorded} records were taken");
    Ok(taken)
}
