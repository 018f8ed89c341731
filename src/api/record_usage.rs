//! Recording a call by the usage object that its provider, gateway or library gave.

use pgrx::{pg_extern, pg_sys};

use super::record::{columns, record_args, record_one, require_service_role};
use crate::arguments;
use crate::ledger::llm::{Arguments, LlmCall};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::spi;

signatures! {
    RecordLlmUsage = record_llm_usage(
        p_tenant_id, p_model_provider, p_model_name, p_usage, p_user_id, p_conversation_id, p_path_id, p_task,
        p_service_tier, p_cost_usd, p_request_id, p_reservation_id, p_enforce, p_occurred_at, p_trace_id, p_span_id,
        p_metadata, p_log_denial
    );
}

#[pg_extern(sql = false)]
fn record_llm_usage(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use RecordLlmUsage::*;

    let call = Call::<RecordLlmUsage>::new(fcinfo);
    let given = Arguments {
        attribution: record_args!(call, RecordLlmUsage),
        model_provider: call.text(p_model_provider),
        model_name: call.text(p_model_name),
        task: call.text(p_task),
        service_tier: call.text(p_service_tier),
        trace_id: call.text(p_trace_id),
        span_id: call.text(p_span_id),
        ..Arguments::default()
    };
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let one = LlmCall::reported(given, arguments::report(call.jsonb(p_usage), "p_usage")?)?;
        spi::session(|spi| record_one(spi, &one))
    });
    call.row(&columns(&outcome))
}
