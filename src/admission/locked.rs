//! The locked mode: correct without preloading the library.
//!
//! It takes the payer's locks (see [`crate::pg::lock`]) and handles what is known to have changed. Then it sums the
//! tables in a snapshot taken after that, at every isolation level. No figure is kept: the tables alone decide.

use std::cell::Cell;
use std::rc::Rc;

use pgrx::Uuid;

use super::charge::{Admission, Charge, Counted};
use super::unwritten;
use crate::error::Result;
use crate::pg::lock::{self, Strength};
use crate::pg::spi::{Session, Snapshot};
use crate::pg::{Timestamp, invalidation, library, nil, to_unix_seconds};
use crate::quota::definitions::{Definition, Definitions};
use crate::quota::sums::Sums;
use crate::quota::{Payer, QuotaUsage, definitions};
use tollgate_core::decision::Resource;

/// Every quota that applies to the payer, as of the moment, from the tables. Holds are counted that have not expired.
pub fn quota_usage(spi: &Session, payer: Payer, at: Timestamp, snapshot: Snapshot) -> Result<QuotaUsage> {
    invalidation::handle_messages();
    stand(spi, &definitions::of(payer, [0; 2])?, payer, at, &mut Sums::new(snapshot))
}

fn stand(
    spi: &Session,
    definitions: &Rc<Definitions>,
    payer: Payer,
    at: Timestamp,
    sums: &mut Sums,
) -> Result<QuotaUsage> {
    let mut usage = QuotaUsage { tenant: definitions.tenant.clone(), ..QuotaUsage::default() };
    for definition in &definitions.all {
        let bounds = definition.window_at(to_unix_seconds(at)).bounds;
        let sum = sums.get(spi, payer, definition.scope, bounds)?;
        usage.quotas.push(unwritten::counting(definition, payer, &sum));
        usage.tail = usage.tail.max(sum.tail);
    }
    usage.definitions = Some(Rc::clone(definitions));
    Ok(usage)
}

pub fn admit(spi: &Session, charge: Charge) -> Result<Admission> {
    invalidation::handle_messages();
    let definitions = definitions::of(charge.payer, [0; 2])?;
    let mut sums = Sums::new(Snapshot::Latest);
    let mut usage = stand(spi, &definitions, charge.payer, charge.at, &mut sums)?;
    for quota in &mut usage.quotas {
        quota.held -= charge.given_up(quota.scope, sums.now());
    }
    let verdict = usage.decide(charge.wanted(), charge.enforce);
    if charge.enforce && !verdict.allowed {
        return Ok(Admission::refused(usage, verdict));
    }
    Ok(Admission::admitted(usage, verdict, &charge, Counted::default()))
}

/// The same for one of many charges that are not enforced, by sums that are read once: the locks of all payers are held,
/// so that only these charges change them. `None` where a sum has to be read and earlier charges are not in the tables.
pub fn admit_in_run(spi: &Session, charge: Charge, sums: &mut Sums, unwritten: bool) -> Result<Option<Admission>> {
    invalidation::handle_messages();
    let definitions = definitions::of(charge.payer, [0; 2])?;
    let is_known = |definition: &Definition| {
        let bounds = definition.window_at(to_unix_seconds(charge.at)).bounds;
        sums.known(charge.payer, definition.scope, bounds).is_some()
    };
    if unwritten && !definitions.all.iter().all(is_known) {
        return Ok(None);
    }
    let usage = stand(spi, &definitions, charge.payer, charge.at, sums)?;
    sums.add(charge.payer, charge.at, |scope| charge.spent(scope));
    let verdict = usage.decide(charge.wanted(), false);
    Ok(Some(Admission::admitted(usage, verdict, &charge, Counted::default())))
}

thread_local! {
    /// Whether a platform quota existed when last read: only a first guess at which lock to take.
    static PLATFORM_IS_LIMITED: Cell<bool> = const { Cell::new(false) };
}

/// Whether there is a quota of the platform, of either resource.
fn platform_is_limited() -> Result<bool> {
    invalidation::handle_messages();
    for resource in [Resource::Llm, Resource::E2b] {
        if !definitions::of(Payer { tenant: None, user: None, resource }, [0; 2])?.all.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes the locks of all payers that are about to be charged; see the protocol in [`crate::pg::lock`].
pub fn lock_payers(tenants: impl IntoIterator<Item = Option<Uuid>>) -> Result<()> {
    let mut tenants: Vec<[u8; 16]> = tenants.into_iter().map(|id| lock::key(id.unwrap_or_else(nil))).collect();
    tenants.sort_unstable();
    tenants.dedup();
    loop {
        let limited = PLATFORM_IS_LIMITED.get();
        let strength = if limited { Strength::Exclusive } else { Strength::Shared };
        lock::LockTarget::Platform.lock(strength);
        for tenant in &tenants {
            lock::LockTarget::Tenant(*tenant).lock(Strength::Exclusive);
        }
        let exists = platform_is_limited()?;
        PLATFORM_IS_LIMITED.set(exists);
        if limited || !exists {
            // A script of the extension may have had the lock.
            return library::CORE.require_own_version();
        }
        // A platform quota exists that this backend had not seen. It was committed while no transaction held the
        // platform's lock. So what is given back here was taken just now: start again in the right strength.
        for tenant in &tenants {
            lock::LockTarget::Tenant(*tenant).unlock(Strength::Exclusive);
        }
        lock::LockTarget::Platform.unlock(strength);
    }
}
