//! What admission shows of itself, and is asked for.

use pgrx::{Uuid, pg_extern, pg_sys};
use tollgate_escrow::epochs::partition;
use tollgate_escrow::registry::{Holding, Statistic};
use tollgate_escrow::table::Entry;

use super::require_service_role_to;
use super::triggers::change;
use crate::admission::differing;
use crate::error::Error;
use crate::pg::call::{Call, Reply};
use crate::pg::identity::Caller;
use crate::pg::invalidation::ledger;
use crate::pg::memory::shared;
use crate::pg::own_database;
use crate::pg::queue::void_starts;
use crate::pg::spi;
use crate::pg::transaction::with;
use crate::pg::value::Value;

/// What counters of one tenant are read from changes with this transaction: no charge meets them once it has committed.
#[pg_extern(sql = false)]
fn reload_tenant_counters(tenant: Uuid) {
    require_service_role_to(&Caller::current(), "reload counters").unwrap_or_else(|error| error.raise());
    change(partition(own_database(), tenant.as_bytes()));
}

#[pg_extern(sql = false)]
fn reload_counters(fcinfo: pg_sys::FunctionCallInfo) -> i64 {
    Call::without_arguments(fcinfo).kernel(|caller| {
        require_service_role_to(caller, "reload counters")?;
        with(|state| state.note_reload());
        void_starts()?;
        let counters = shared().map_or(0, |shared| shared.table.counters(own_database(), ledger().to_u32()).count());
        Ok(i64::try_from(counters).unwrap_or(i64::MAX))
    })
}

#[pg_extern(sql = false)]
fn verify_counters(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::without_arguments(fcinfo);
    let found = call.kernel(|caller| {
        require_service_role_to(caller, "verify counters")?;
        spi::session(differing)
    });
    call.rows(found.into_iter().map(|found| {
        vec![found.check.into(), found.tenant.into(), Value::whole(found.expected), Value::whole(found.actual)]
    }));
}

#[pg_extern(sql = false)]
fn holdings(fcinfo: pg_sys::FunctionCallInfo) {
    require_service_role_to(&Caller::current(), "see what others hold").unwrap_or_else(|error| error.raise());
    let database = own_database();
    let holdings: Vec<Holding> =
        shared().map(|shared| shared.registry.holdings(database).collect()).unwrap_or_default();
    Call::without_arguments(fcinfo).rows(holdings.iter().map(|holding| {
        vec![
            holding.process.cast_signed().into(),
            holding.tenant.map(Uuid::from_bytes).into(),
            Value::timestamp(holding.since),
            holding.amount.into(),
        ]
    }));
}

#[pg_extern(sql = false)]
fn admission_counters(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::without_arguments(fcinfo);
    if !Caller::current().reads_all_metrics() {
        Error::forbidden("only roles that see all tenants may see these counters").raise();
    }
    let whole = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    let Some(shared) = shared() else {
        let mut row = vec![Value::from("locked")];
        row.resize(12, Value::NULL);
        return call.row(&row);
    };
    let (entries, used, pinned) = shared.table.census();
    let counted = |event| Value::from(i64::try_from(shared.registry.counted(event)).unwrap_or(i64::MAX));
    call.row(&[
        "escrow".into(),
        whole(entries),
        whole(used),
        whole(pinned),
        whole(size_of::<Entry>()),
        whole(shared.bytes),
        counted(Statistic::Admission),
        counted(Statistic::Refusal),
        counted(Statistic::RetryableRefusal),
        counted(Statistic::Load),
        counted(Statistic::Eviction),
        counted(Statistic::Wait),
    ])
}
