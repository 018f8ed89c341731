//! Where the queue of a tenant's pending rows starts: so that a sum in the locked mode passes over no row that was folded.
//!
//! Rows that were folded stay in the index for as long as an old snapshot may see them. A sum that looks at all of a
//! tenant's entries gets slower with each.
//!
//! # Protocol
//! In the locked mode a record's id begins with the place in the write-ahead log at which it was given
//! ([`new_record_id`]). It is given under the tenant's lock, so the ids of a tenant's charges ascend in the order in which
//! they become visible. That is true under this lock alone: no other order of ids is one of commits.
//!
//! A *start* is a row of `queue_starts`: no pending row of the tenant that counts anything has a lower id, and none will.
//! Now and then a charge moves it on ([`advance`]): to the first pending row that is there, or to the first id that its
//! own transaction gave, whichever is lower.
//! - It has the tenant's lock, to the end of the transaction. What others charged to the tenant is committed and visible,
//!   or gone. What they charge from now on gets a higher id.
//! - Rows of its own transaction that are not written yet have ids from that first one on. Triggers on the ledger may run
//!   a charge inside another.
//! - What another session is folding is there until that commits. What this transaction has folded or charged is taken
//!   back together with the start, for the start is later.
//! - Rows of marks count nothing, and have random ids.
//!
//! A reader finds the start in the snapshot in which it sums, or in an older one: all that the one who moved it on has
//! seen folded is folded there. The newest start of a tenant is found first, whatever dead ones lie before it.
//!
//! Rows that the kernels did not write may have any id. A transaction that writes such takes the lock `ForeignRows`, which
//! others may have too, *then* writes a row for the nil UUID with the place in the log ([`void_starts`]). Starts from
//! before that place do not hold once it has committed. A charge notes the place *first*, then asks whether the lock is
//! free, and only then looks for the first row: so it has seen the rows, or has an earlier place.
//!
//! A start holds for one run of the server and one database. So it means nothing where it was dumped or replicated to,
//! nor after another mode: the escrow mode gives ids without a lock. A platform's sum over all tenants uses none.

use std::cell::Cell;

use pgrx::{Uuid, pg_sys};

use super::lock::{LockTarget, Strength};
use super::memory::shared;
use super::shape::required;
use super::spi::types::{MOMENT, TEXT, UUID};
use super::spi::{self, Plan, Session, Snapshot};
use super::table::Table;
use super::value::Value;
use super::{new_id, nil, random_bits};
use crate::error::Result;
use crate::version;

static STARTS: Table = Table::new(
    c"queue_starts",
    &[
        required("tenant_id", UUID),
        required("since", UUID),
        required("first_id", UUID),
        required("server_started", MOMENT),
        required("database", TEXT),
    ],
    &[],
    false,
);

/// The newest start, where it starts if it holds, and the first row from there on.
const LOOK: &str = "
    select s.since, (
               select p.record_id from copilot_internal.pending_costs p
               where p.tenant_id = $1
                 and p.record_id >= coalesce(s.first_id, '00000000-0000-0000-0000-000000000000')
               order by p.record_id limit 1),
           s.first_id
    from (values (1)) as v (one)
    left join lateral (
        select n.since, n.first_id from copilot_internal.checked_queue_starts n
        where n.tenant_id = $1 order by n.since desc limit 1
    ) s on true";

const MOVE: &str = "
    with gone as (
        delete from copilot_internal.queue_starts s where s.tenant_id = $1 and s.since = $2
    )
    insert into copilot_internal.queue_starts (tenant_id, since, first_id, server_started, database)
    values ($1, $3, $4, pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database())";

static LOOK_PLAN: Plan = Plan::new(LOOK, &[UUID]);
static MOVE_PLAN: Plan = Plan::new(MOVE, &[UUID, UUID, UUID, UUID]);

/// One charge in so many moves the start on. A start that lies back by as many rows costs nothing that one could measure.
const CHARGES_BETWEEN_MOVES: u64 = 16;

thread_local! {
    /// The transaction that gave an id last, and the place of the first that it gave.
    static FIRST: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    /// The transaction and the subtransaction in which starts were voided last.
    static VOIDED: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// Random bits of an id that begins with a place.
const TAIL: u32 = 58;

/// Where the next record of the write-ahead log goes, at the earliest.
fn place() -> u64 {
    // SAFETY: reads shared memory. No charge is made while the server recovers.
    unsafe { pg_sys::GetXLogInsertRecPtr() }
}

/// A UUID of version 8 (RFC 9562 §5.8) that is ordered by the place, then by the tail.
fn id_at(place: u64, tail: u64) -> Uuid {
    let custom = (u128::from(place) << TAIL) | u128::from(tail & ((1 << TAIL) - 1));
    let (a, b, c) = (custom >> 74, (custom >> 62) & 0xfff, custom & ((1 << 62) - 1));
    Uuid::from_bytes(((a << 80) | (8 << 76) | (b << 64) | (0b10 << 62) | c).to_be_bytes())
}

/// The id of a record that is about to be written. In the locked mode its payer's lock is held.
pub fn new_record_id() -> Uuid {
    if shared().is_some() {
        return new_id();
    }
    let place = place();
    let transaction = version::own_transaction();
    if FIRST.get().0 != transaction {
        FIRST.set((transaction, place));
    }
    id_at(place, random_bits())
}

/// After so many records: moves the start of the tenant's queue on, mostly not. The tenant's lock is held. Only at READ
/// COMMITTED: elsewhere the start of another would be a serialization failure.
pub fn advance(spi: &Session, tenant: Uuid, records: usize) -> Result<()> {
    let is_turn = random_bits() % CHARGES_BETWEEN_MOVES < u64::try_from(records).unwrap_or(u64::MAX);
    let own_transaction = version::own_transaction();
    // Rows that it wrote itself past the kernels it may go on to write.
    let is_foreign = VOIDED.get().0 == own_transaction;
    if !is_turn || is_foreign || shared().is_some() || spi::has_one_snapshot() {
        return Ok(());
    }
    let now = place();
    if !LockTarget::ForeignRows.is_free() {
        return Ok(());
    }
    let rows = spi.run(&LOOK_PLAN, Snapshot::Latest, &[tenant.into()])?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (newest, pending, start): (Option<Uuid>, Option<Uuid>, Option<Uuid>) = (row.get(1), row.get(2), row.get(3));
    let (transaction, first) = FIRST.get();
    let own = id_at(if transaction == own_transaction { first } else { now }, 0);
    let first = pending.map_or(own, |pending| pending.min(own));
    if start.is_none_or(|start| first > start) {
        spi.run_write(&MOVE_PLAN, &[tenant.into(), newest.into(), id_at(now, 0).into(), first.into()])?;
    }
    Ok(())
}

/// Rows that this library did not write come with the running transaction: no start holds that does not know them.
pub fn void_starts() -> Result<()> {
    // SAFETY: reads the state of the running transaction.
    let here = (version::own_transaction(), unsafe { pg_sys::GetCurrentSubTransactionId() });
    // SAFETY: reads a variable of the process. What pg_upgrade runs writes no row.
    if shared().is_some() || VOIDED.get() == here || unsafe { pg_sys::IsBinaryUpgrade } {
        return Ok(());
    }
    LockTarget::ForeignRows.lock(Strength::Joint);
    // After every start that was noted at this very place, and beside what others void there.
    let since = id_at(place(), random_bits() | (1 << (TAIL - 1)));
    // SAFETY: set once, before the server took connections.
    let started = unsafe { pg_sys::PgStartTime };
    STARTS.insert(&[nil().into(), since.into(), nil().into(), Value::timestamp(started), "".into()])?;
    VOIDED.set(here);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_their_places() {
        let places = [0, 1, 15, 16, 17, 0xffff, 0x1_0000, 0x1_0001, 0xf_ffff, 0x10_0000, 0x16_b3f0_1234, u64::MAX];
        let most = u64::MAX >> (64 - TAIL);
        let mut last = None;
        for place in places {
            for tail in [0, 1, 1 << (TAIL - 1), most] {
                let id = *id_at(place, tail).as_bytes();
                assert!(last < Some(id), "{place:x} {tail:x}");
                assert_eq!((id[6] >> 4, id[8] >> 6), (8, 0b10), "version and variant");
                last = Some(id);
            }
        }
        assert_eq!(id_at(1, most + 1).as_bytes(), id_at(1, 0).as_bytes(), "a tail reaches into no place");
    }
}
