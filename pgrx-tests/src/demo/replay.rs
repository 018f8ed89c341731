//! The replay: several connections take the calls of the trace in turn, each asking before it "calls the model".

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::DATABASE;
use super::world::DemoWorld;
use crate::cluster::Cluster;
use crate::progress;
use crate::trace::Call;

/// One sandbox session after so many calls: two in a hundred.
const CALLS_PER_SANDBOX: usize = 50;

/// How many tokens a model may answer at most: the caller sets it, and so knows an upper bound of what the call costs.
const MOST_OUTPUT_TOKENS: i64 = 4_096;

/// Before the model is called: its upper bound is set aside, or the call is not made.
const RESERVE: &str = "
    select r.allowed, r.reason, to_char(clock_timestamp() at time zone 'UTC', 'HH24:MI:SS.MS'), r.reservation_id
      from public.estimate_llm_cost($1, $2, $3, $4) e
     cross join lateral public.reserve_quota(p_tenant_id => $5, p_resource_type => 'llm',
               p_amount_usd => e.estimated_cost_usd, p_request_id => $6, p_user_id => $7) r";

/// After it: what it really cost, instead of the bound.
const RECORD_LLM: &str = "
    select recorded
      from public.record_llm_cost(p_tenant_id => $1, p_model_provider => $2, p_model_name => $3, p_input_tokens => $4,
               p_output_tokens => $5, p_user_id => $6, p_conversation_id => $7, p_request_id => $8,
               p_reservation_id => $9)";

const RECORD_E2B: &str = "
    select recorded, reason, to_char(clock_timestamp() at time zone 'UTC', 'HH24:MI:SS.MS')
      from public.record_e2b_cost(p_tenant_id => $1, p_sandbox_id => $2, p_sandbox_type => $3,
               p_duration_seconds => $4::bigint, p_user_id => $5, p_conversation_id => $6,
               p_vcpu_seconds => $7::bigint, p_memory_gib_seconds => $8::bigint, p_request_id => $9, p_enforce => true)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A call of the trace.
    Call(usize),
    /// A sandbox session, made on behalf of the user who made the call before it.
    Sandbox { number: usize, call: usize },
}

impl Work {
    /// The call that this job is, or comes after.
    pub fn call(self) -> usize {
        match self {
            Work::Call(call) | Work::Sandbox { call, .. } => call,
        }
    }
}

pub struct WorkOutcome {
    pub job: Work,
    pub admitted: bool,
    pub reason: Option<String>,
    /// The server's clock, UTC.
    pub moment: String,
    /// When it was asked, since the replay began.
    pub at: Duration,
    pub latency: Duration,
}

pub struct Replayed {
    /// In the order of the trace.
    pub answers: Vec<WorkOutcome>,
    /// How often a model was called: as often as a call was admitted.
    pub model_calls: usize,
}

impl Replayed {
    pub fn refused(&self) -> impl Iterator<Item = &WorkOutcome> {
        self.answers.iter().filter(|answer| !answer.admitted)
    }

    /// In order of their length.
    pub fn latencies(&self) -> Vec<Duration> {
        let mut latencies: Vec<Duration> = self.answers.iter().map(|answer| answer.latency).collect();
        latencies.sort();
        latencies
    }
}

pub fn replay(
    cluster: &Cluster,
    world: &DemoWorld,
    calls: &[Call],
    clients: usize,
    began: Instant,
) -> Result<Replayed> {
    let shared = Shared {
        world,
        calls,
        began,
        jobs: jobs(calls.len()),
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        model_calls: AtomicUsize::new(0),
        bar: progress::bar(jobs(calls.len()).len() as u64, &format!("Replaying over {clients} connections")),
    };
    let answers = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(|| shared.work(cluster))).collect();
        let mut answers = Vec::with_capacity(shared.jobs.len());
        for thread in threads {
            answers.extend(thread.join().map_err(|_| anyhow!("a connection's thread ended badly"))??);
        }
        Ok::<_, anyhow::Error>(answers)
    });
    shared.bar.finish_and_clear();
    let mut answers = answers?;
    answers.sort_by_key(|answer| (answer.job.call(), matches!(answer.job, Work::Sandbox { .. })));
    Ok(Replayed { answers, model_calls: shared.model_calls.into_inner() })
}

fn jobs(calls: usize) -> Vec<Work> {
    let mut jobs = Vec::with_capacity(calls + calls / CALLS_PER_SANDBOX);
    for call in 0..calls {
        jobs.push(Work::Call(call));
        if call % CALLS_PER_SANDBOX == CALLS_PER_SANDBOX - 1 {
            jobs.push(Work::Sandbox { number: call / CALLS_PER_SANDBOX, call });
        }
    }
    jobs
}

struct Shared<'a> {
    world: &'a DemoWorld,
    calls: &'a [Call],
    began: Instant,
    jobs: Vec<Work>,
    next: AtomicUsize,
    failed: AtomicBool,
    model_calls: AtomicUsize,
    bar: ProgressBar,
}

struct Prepared {
    client: Client,
    reserve: Statement,
    record_llm: Statement,
    record_e2b: Statement,
}

impl Shared<'_> {
    fn work(&self, cluster: &Cluster) -> Result<Vec<WorkOutcome>> {
        let result = self.take_jobs(cluster);
        if result.is_err() {
            // The others need not go on for a result that will not be shown.
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn take_jobs(&self, cluster: &Cluster) -> Result<Vec<WorkOutcome>> {
        let mut client = cluster.connect(DATABASE, "authenticator")?;
        client.batch_execute("set role service_role").context("cannot become service_role")?;
        let reserve = client.prepare(RESERVE).context("reserve_quota")?;
        let record_llm = client.prepare(RECORD_LLM).context("record_llm_cost")?;
        let record_e2b = client.prepare(RECORD_E2B).context("record_e2b_cost")?;
        let mut connection = Prepared { client, reserve, record_llm, record_e2b };
        let mut answers = Vec::new();
        while !self.failed.load(Ordering::Relaxed) {
            let taken = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(taken) else { break };
            answers.push(self.run(&mut connection, *job)?);
            self.tell(taken + 1);
        }
        Ok(answers)
    }

    fn run(&self, connection: &mut Prepared, job: Work) -> Result<WorkOutcome> {
        let started = Instant::now();
        let row = match job {
            Work::Call(call) => self.admit_call(connection, call),
            Work::Sandbox { number, call } => self.admit_sandbox(connection, number, call),
        };
        let latency = started.elapsed();
        let row = row.with_context(|| format!("{job:?}"))?;
        let admitted: bool = row.get(0);
        if admitted && matches!(job, Work::Call(_)) {
            self.model_calls.fetch_add(1, Ordering::Relaxed);
        }
        let at = started.duration_since(self.began);
        Ok(WorkOutcome { job, admitted, reason: row.get(1), moment: row.get(2), at, latency })
    }

    fn admit_call(&self, connection: &mut Prepared, index: usize) -> Result<Row, postgres::Error> {
        let (attribution, call) = (self.world.attribution(index), &self.calls[index]);
        let tenant = self.world.tenants[attribution.tenant].id;
        let request = format!("call-{index}");
        let most = call.output_tokens.max(MOST_OUTPUT_TOKENS);
        let reserved = connection.client.query_one(
            &connection.reserve,
            &[
                &attribution.provider,
                &attribution.model,
                &call.input_tokens,
                &most,
                &tenant,
                &request,
                &attribution.user,
            ],
        )?;
        let reservation: Option<Uuid> = reserved.get(3);
        if reservation.is_some() {
            // Here the model is called.
            connection.client.query_one(
                &connection.record_llm,
                &[
                    &tenant,
                    &attribution.provider,
                    &attribution.model,
                    &call.input_tokens,
                    &call.output_tokens,
                    &attribution.user,
                    &attribution.conversation,
                    &request,
                    &reservation,
                ],
            )?;
        }
        Ok(reserved)
    }

    fn admit_sandbox(&self, connection: &mut Prepared, number: usize, call: usize) -> Result<Row, postgres::Error> {
        let (attribution, sandbox) = (self.world.attribution(call), self.world.sandbox(number));
        let tenant = self.world.tenants[attribution.tenant].id;
        let (name, request) = (format!("sandbox-{number}"), format!("session-{number}"));
        connection.client.query_one(
            &connection.record_e2b,
            &[
                &tenant,
                &name,
                &sandbox.kind,
                &sandbox.seconds,
                &attribution.user,
                &attribution.conversation,
                &sandbox.vcpu_seconds,
                &sandbox.memory_gib_seconds,
                &request,
            ],
        )
    }

    /// A bar on a terminal, a line for each fifth elsewhere.
    fn tell(&self, done: usize) {
        self.bar.inc(1);
        let fifth = (self.jobs.len() / 5).max(1);
        if done.is_multiple_of(fifth) && !io::stderr().is_terminal() {
            eprintln!("replayed {done} of {}", self.jobs.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sandbox_sessions_in_a_hundred_calls() {
        let jobs = jobs(200);
        assert_eq!(jobs.iter().filter(|job| matches!(job, Work::Sandbox { .. })).count(), 4);
        assert_eq!(jobs[50], Work::Sandbox { number: 0, call: 49 });
        assert_eq!(jobs.len(), 204);
    }
}
