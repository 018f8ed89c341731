//! The outbox, as far as its SQL needs the kernel.

use pgrx::{Uuid, pg_extern, pg_sys};

use crate::arguments;
use crate::outbox;
use crate::pg::call::Call;
use crate::pg::spi;

#[pg_extern(sql = false)]
fn catch_up_events(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    let call = Call::new(fcinfo);
    call.kernel(|_owner| {
        let tenant: Uuid = arguments::required(call.uuid(0), "p_tenant_id")?;
        spi::session(|spi| outbox::catch_up(spi, tenant))
    })
}
