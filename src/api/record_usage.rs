//! Recording a call by the usage object that its provider, gateway or library gave.

use pgrx::{pg_extern, pg_sys};

use super::record::{columns, record_one, require_service_role};
use crate::arguments;
use crate::ledger::attribution::RecordArgs;
use crate::ledger::llm::{Arguments, LlmCall};
use crate::pg::call::{Call, Reply};
use crate::pg::spi;

#[pg_extern(sql = false)]
fn record_llm_usage(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let given = Arguments {
        attribution: RecordArgs {
            tenant_id: call.uuid(0),
            user_id: call.uuid(4),
            conversation_id: call.uuid(5),
            path_id: call.uuid(6),
            cost_usd: call.numeric(9),
            request_id: call.text(10),
            reservation_id: call.uuid(11),
            enforce: call.boolean(12),
            occurred_at: call.timestamp(13),
            metadata: call.jsonb(16),
            log_denial: call.boolean(17),
        },
        model_provider: call.text(1),
        model_name: call.text(2),
        task: call.text(7),
        service_tier: call.text(8),
        trace_id: call.text(14),
        span_id: call.text(15),
        ..Arguments::default()
    };
    let outcome = call.kernel(|caller| {
        require_service_role(caller)?;
        let one = LlmCall::reported(given, arguments::report(call.jsonb(3), "p_usage")?)?;
        spi::session(|spi| record_one(spi, &one))
    });
    call.row(&columns(&outcome))
}
