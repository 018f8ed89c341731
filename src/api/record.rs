//! Spending: every function here is for `service_role` alone, by its grants and again by its kernel, for a grant on all
//! functions of `public` is quickly made.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::{usage_percentage, usd};
use crate::arguments;
use crate::error::{Error, Result};
use crate::ledger::attribution::RecordArgs;
use crate::ledger::direct_charge::DirectCharge;
use crate::ledger::e2b::{self, SandboxSession};
use crate::ledger::llm::{self, LlmCall};
use crate::ledger::{Outcome, Record, batch, record};
use crate::pg::call::{Call, Reply};
use crate::pg::identity::Caller;
use crate::pg::spi::{self, Session};
use crate::pg::value::Value;
use crate::quota::Payer;
use crate::quota::figures::{Figures, wait_for};
use crate::tenancy::access;
use tollgate_core::decision::{Quota, Scope};

pub fn reported_quota(outcome: &Outcome) -> Option<&Quota> {
    outcome.reported_quota.map(|index| &outcome.usage.quotas[index])
}

/// The columns of `record_llm_cost`, `record_llm_usage`, `record_e2b_cost` and, after its ordinal, `record_llm_costs`.
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
    let call = Call::new(fcinfo);
    let given = llm::Arguments {
        attribution: RecordArgs {
            tenant_id: call.uuid(0),
            user_id: call.uuid(5),
            conversation_id: call.uuid(6),
            path_id: call.uuid(7),
            cost_usd: call.numeric(11),
            request_id: call.text(12),
            reservation_id: call.uuid(13),
            enforce: call.boolean(14),
            occurred_at: call.timestamp(15),
            metadata: call.jsonb(18),
            log_denial: call.boolean(19),
        },
        model_provider: call.text(1),
        model_name: call.text(2),
        input_tokens: call.bigint(3),
        output_tokens: call.bigint(4),
        task: call.text(8),
        usage: call.jsonb(9),
        service_tier: call.text(10),
        trace_id: call.text(16),
        span_id: call.text(17),
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
    let call = Call::new(fcinfo);
    let given = e2b::Arguments {
        attribution: RecordArgs {
            tenant_id: call.uuid(0),
            user_id: call.uuid(4),
            conversation_id: call.uuid(5),
            path_id: call.uuid(6),
            cost_usd: call.numeric(10),
            request_id: call.text(11),
            reservation_id: call.uuid(12),
            enforce: call.boolean(13),
            occurred_at: call.timestamp(14),
            metadata: call.jsonb(15),
            log_denial: call.boolean(16),
        },
        sandbox_id: call.text(1),
        sandbox_type: call.text(2),
        duration_seconds: call.numeric(3),
        region: call.text(7),
        vcpu_seconds: call.numeric(8),
        memory_gib_seconds: call.numeric(9),
        provider: call.text(17),
        disk_gib_seconds: call.numeric(18),
        gpu_seconds: call.numeric(19),
        creations: call.numeric(20),
        egress_gib: call.numeric(21),
    };
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let one = SandboxSession::try_from(given)?;
        spi::session(|spi| record_one(spi, &one))
    });
    call.row(&columns(&outcome))
}

#[pg_extern(sql = false)]
fn record_llm_costs(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::new(fcinfo);
    let outcomes = call.kernel(|caller| {
        require_service_role(caller)?;
        let given = arguments::required(call.jsonb(0), "p_records")?;
        let records = batch::parse(&arguments::document(given, "p_records", &batch::BATCH)?.text())?;
        let records: Vec<&dyn Record> = records.iter().map(|one| one as &dyn Record).collect();
        spi::session(|spi| record(spi, &records))
    });
    call.rows(outcomes.iter().zip(1i32..).map(|(outcome, ordinal)| {
        let mut row = vec![Value::from(ordinal)];
        row.extend(columns(outcome));
        row
    }));
}

/// Whose quotas a charge counts against, from the seed application's way of saying it.
fn payer(spi: &Session, call: Call) -> Result<Payer> {
    let text = arguments::required(call.text(0), "p_scope")?;
    let scope =
        Scope::parse(&text).ok_or_else(|| Error::invalid(format!("unknown scope \"{}\"", arguments::shown(&text))))?;
    let scope_id = arguments::id(call.uuid(1), "p_scope_id")?;
    let tenant = arguments::id(call.uuid(4), "p_tenant_id")?;
    let resource = arguments::resource(call.text(3))?;
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
    let call = Call::new(fcinfo);
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        spi::session(|spi| {
            let cost = arguments::required(call.numeric(2), "p_cost_usd")?;
            let one = DirectCharge {
                payer: payer(spi, call)?,
                cost: arguments::amount(&cost, "p_cost_usd")?,
                request_id: arguments::text(call.text(5), "p_request_id")?,
                enforce: true,
                reservation: None,
                log_denial: arguments::required(call.boolean(6), "p_log_denial")?,
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
