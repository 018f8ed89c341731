//! Spending. Every function here is for `service_role` alone, by its grants and again by its kernel: a grant on all
//! functions of `public` is quickly made.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::{usage_percentage, usd};
use crate::arguments;
use crate::error::{Error, Result};
use crate::ledger::batch::{self, Batched};
use crate::ledger::direct_charge::DirectCharge;
use crate::ledger::e2b::{self, SandboxSession};
use crate::ledger::llm::{self, LlmCall};
use crate::ledger::{Outcome, Record, record};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::identity::Caller;
use crate::pg::spi::{self, Session};
use crate::pg::value::{GivenJson, Value};
use crate::quota::Payer;
use crate::quota::figures::{Figures, wait_for};
use crate::tenancy::access;
use tollgate_core::decision::{Quota, Scope};

signatures! {
    RecordLlmCost = record_llm_cost(
        p_tenant_id, p_model_provider, p_model_name, p_input_tokens, p_output_tokens, p_user_id, p_conversation_id,
        p_path_id, p_task, p_usage, p_service_tier, p_cost_usd, p_request_id, p_reservation_id, p_enforce,
        p_occurred_at, p_trace_id, p_span_id, p_metadata, p_log_denial
    );
    RecordE2bCost = record_e2b_cost(
        p_tenant_id, p_sandbox_id, p_sandbox_type, p_duration_seconds, p_user_id, p_conversation_id, p_path_id,
        p_region, p_vcpu_seconds, p_memory_gib_seconds, p_cost_usd, p_request_id, p_reservation_id, p_enforce,
        p_occurred_at, p_metadata, p_log_denial, p_provider, p_disk_gib_seconds, p_gpu_seconds, p_creations,
        p_egress_gib
    );
    RecordLlmCosts = record_llm_costs(p_records);
    RecordE2bCosts = record_e2b_costs(p_records);
    CheckAndRecordQuotaAtomic = check_and_record_quota_atomic(
        p_scope, p_scope_id, p_cost_usd, p_resource_type, p_tenant_id, p_request_id, p_log_denial
    );
}

/// What every recording function is told alike, by the names of its own signature.
macro_rules! record_args {
    ($call:ident, $arguments:ident) => {
        $crate::ledger::attribution::RecordArgs {
            tenant_id: $call.uuid($arguments::p_tenant_id),
            user_id: $call.uuid($arguments::p_user_id),
            conversation_id: $call.uuid($arguments::p_conversation_id),
            path_id: $call.uuid($arguments::p_path_id),
            cost_usd: $call.numeric($arguments::p_cost_usd),
            request_id: $call.text($arguments::p_request_id),
            reservation_id: $call.uuid($arguments::p_reservation_id),
            enforce: $call.boolean($arguments::p_enforce),
            occurred_at: $call.timestamp($arguments::p_occurred_at),
            metadata: $call.jsonb($arguments::p_metadata),
            log_denial: $call.boolean($arguments::p_log_denial),
        }
    };
}
pub(super) use record_args;

pub fn reported_quota(outcome: &Outcome) -> Option<&Quota> {
    outcome.reported_quota.map(|index| &outcome.usage.quotas[index])
}

/// The columns of the functions that record a cost and, after an ordinal, of those that record many.
pub(super) fn columns(outcome: &Outcome) -> Vec<Value> {
    let figures = reported_quota(outcome).map(Figures::of);
    let figures = figures.as_ref();
    let blocking = outcome.blocking_quota();
    vec![
        outcome.recorded.into(),
        outcome.id.into(),
        Value::decimal(outcome.cost_usd.as_deref()),
        outcome.cost_status.as_str().into(),
        outcome.quota_status.as_str().into(),
        usd(figures, |figures| figures.remaining),
        Value::usd(outcome.overrun_nanos),
        outcome.reason.as_deref().into(),
        outcome.replayed.into(),
        outcome.retryable.into(),
        blocking.map(|quota| quota.scope.as_str()).into(),
        blocking.map(|quota| quota.resource_type).into(),
        usd(figures, |figures| figures.limit),
        figures.and_then(|figures| figures.period_end).map_or(Value::NULL, Value::timestamp),
        wait_for(blocking).into(),
    ]
}

pub fn require_service_role(caller: &Caller) -> Result<()> {
    if caller.serves_all_tenants() { Ok(()) } else { Err(Error::forbidden("only service_role may record costs")) }
}

pub(super) fn record_one(spi: &Session, one: &dyn Record) -> Result<Outcome> {
    record(spi, &[one])?.pop().ok_or_else(|| Error::internal("a record had no outcome"))
}

#[pg_extern(sql = false)]
fn record_llm_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use RecordLlmCost::*;

    let call = Call::<RecordLlmCost>::new(fcinfo);
    let given = llm::Arguments {
        attribution: record_args!(call, RecordLlmCost),
        model_provider: call.text(p_model_provider),
        model_name: call.text(p_model_name),
        input_tokens: call.bigint(p_input_tokens),
        output_tokens: call.bigint(p_output_tokens),
        task: call.text(p_task),
        usage: call.jsonb(p_usage),
        service_tier: call.text(p_service_tier),
        trace_id: call.text(p_trace_id),
        span_id: call.text(p_span_id),
    };
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let one = LlmCall::try_from(given)?;
        spi::session(|spi| record_one(spi, &one))
    });
    call.row(&columns(&outcome))
}

#[pg_extern(sql = false)]
fn record_e2b_cost(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use RecordE2bCost::*;

    let call = Call::<RecordE2bCost>::new(fcinfo);
    let given = e2b::Arguments {
        attribution: record_args!(call, RecordE2bCost),
        sandbox_id: call.text(p_sandbox_id),
        sandbox_type: call.text(p_sandbox_type),
        duration_seconds: call.numeric(p_duration_seconds),
        region: call.text(p_region),
        vcpu_seconds: call.numeric(p_vcpu_seconds),
        memory_gib_seconds: call.numeric(p_memory_gib_seconds),
        provider: call.text(p_provider),
        disk_gib_seconds: call.numeric(p_disk_gib_seconds),
        gpu_seconds: call.numeric(p_gpu_seconds),
        creations: call.numeric(p_creations),
        egress_gib: call.numeric(p_egress_gib),
    };
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let one = SandboxSession::try_from(given)?;
        spi::session(|spi| record_one(spi, &one))
    });
    call.row(&columns(&outcome))
}

/// Records a batch, of which a bad record refuses the whole.
fn record_batch<R: Batched + Record>(caller: &Caller, given: Option<GivenJson>) -> Result<Vec<Outcome>> {
    require_service_role(caller)?;
    let given = arguments::required(given, "p_records")?;
    let records: Vec<R> = batch::parse(given)?;
    let records: Vec<&dyn Record> = records.iter().map(|one| one as &dyn Record).collect();
    spi::session(|spi| record(spi, &records))
}

fn numbered(outcomes: &[Outcome]) -> impl Iterator<Item = Vec<Value>> {
    let numbered = outcomes.iter().zip(1i32..);
    numbered.map(|(outcome, ordinal)| [vec![Value::from(ordinal)], columns(outcome)].concat())
}

#[pg_extern(sql = false)]
fn record_llm_costs(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::<RecordLlmCosts>::new(fcinfo);
    let outcomes = call.kernel(|caller| record_batch::<LlmCall>(caller, call.jsonb(RecordLlmCosts::p_records)));
    call.rows(numbered(&outcomes));
}

#[pg_extern(sql = false)]
fn record_e2b_costs(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::<RecordE2bCosts>::new(fcinfo);
    let outcomes = call.kernel(|caller| record_batch::<SandboxSession>(caller, call.jsonb(RecordE2bCosts::p_records)));
    call.rows(numbered(&outcomes));
}

/// The payer of a charge, as the seed application names it.
fn payer(spi: &Session, call: Call<CheckAndRecordQuotaAtomic>) -> Result<Payer> {
    use CheckAndRecordQuotaAtomic::*;

    let text = arguments::required(call.text(p_scope), "p_scope")?;
    let scope =
        Scope::parse(&text).ok_or_else(|| Error::invalid(format!("unknown scope \"{}\"", arguments::shown(&text))))?;
    let scope_id = arguments::id(call.uuid(p_scope_id), "p_scope_id")?;
    let tenant = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
    let resource = arguments::resource(call.text(p_resource_type))?;
    match scope {
        Scope::Platform if scope_id.is_some() || tenant.is_some() => {
            Err(Error::invalid("a charge to the platform names neither p_scope_id nor p_tenant_id"))
        }
        Scope::Platform => Ok(Payer { tenant: None, user: None, resource }),
        Scope::Tenant => {
            let id = arguments::required(scope_id, "p_scope_id")?;
            if tenant.is_some_and(|tenant| tenant != id) {
                return Err(Error::invalid("p_tenant_id and p_scope_id name different tenants"));
            }
            Ok(Payer { tenant: Some(id), user: None, resource })
        }
        Scope::User => {
            let user = arguments::required(scope_id, "p_scope_id")?;
            let tenant: Option<Uuid> = match tenant {
                None => access::sole(spi, user)?,
                given => given,
            };
            let tenant = tenant.ok_or_else(|| {
                Error::invalid("p_tenant_id is needed: the user does not belong to exactly one tenant")
            })?;
            Ok(Payer { tenant: Some(tenant), user: Some(user), resource })
        }
    }
}

#[pg_extern(sql = false)]
fn check_and_record_quota_atomic(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use CheckAndRecordQuotaAtomic::*;

    let call = Call::<CheckAndRecordQuotaAtomic>::new(fcinfo);
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        spi::session(|spi| {
            let cost = arguments::required(call.numeric(p_cost_usd), "p_cost_usd")?;
            let one = DirectCharge {
                payer: payer(spi, call)?,
                cost: arguments::amount(&cost, "p_cost_usd")?,
                request_id: arguments::text(call.text(p_request_id), "p_request_id")?,
                enforce: true,
                reservation: None,
                log_denial: arguments::required(call.boolean(p_log_denial), "p_log_denial")?,
            };
            record_one(spi, &one)
        })
    });
    let figures = reported_quota(&outcome).map(Figures::of);
    let figures = figures.as_ref();
    call.row(&[
        outcome.recorded.into(),
        usd(figures, |figures| figures.spent),
        usd(figures, |figures| figures.limit),
        usd(figures, |figures| figures.remaining),
        usage_percentage(figures),
        outcome.reason.as_deref().into(),
        figures.map(|figures| figures.period).into(),
        figures.and_then(|figures| figures.period_end).map_or(Value::NULL, Value::timestamp),
        outcome.quota_status.as_str().into(),
        outcome.replayed.into(),
        outcome.retryable.into(),
    ])
}
