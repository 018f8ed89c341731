//! Who may ask about which tenant, and which tenant a person is working in.

use pgrx::Uuid;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::pg::identity::Caller;
use crate::pg::invalidation::{current_generation, generation, watch};
use crate::pg::spi::types::UUID;
use crate::pg::spi::{self, Look, Plan, Session};

const ROLE: &str = "select m.role from copilot_internal.active_memberships m where m.tenant_id = $1 and m.user_id = $2";

const TENANTS: &str = "select m.tenant_id from copilot_internal.active_memberships m where m.user_id = $1";

const CURRENT: &str = "
    select m.tenant_id
    from copilot_internal.active_memberships m
    left join copilot_internal.user_preferences p on p.user_id = $1
    where m.user_id = $1 and (m.tenant_id = $2 or m.tenant_id = p.current_tenant_id)
    order by m.tenant_id = $2 desc nulls last
    limit 1";

const SOLE: &str = "select copilot_internal.sole_tenant($1)";

static ROLE_PLAN: Plan = Plan::new(ROLE, &[UUID, UUID]);
static TENANTS_PLAN: Plan = Plan::new(TENANTS, &[UUID]);
static CURRENT_PLAN: Plan = Plan::new(CURRENT, &[UUID, UUID]);
static SOLE_PLAN: Plan = Plan::new(SOLE, &[UUID]);

/// What a membership allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Owner or admin: may ask about any member.
    Leading,
    Plain,
}

/// Memberships, and their absence, that are kept in a backend.
const MOST_MEMBERSHIPS: usize = 4_096;

thread_local! {
    static MEMBERSHIPS: Cache<(Uuid, Uuid), Option<Member>> = Cache::new(MOST_MEMBERSHIPS);
}

/// Whether the caller may ask about the tenant and the user, if that is known without looking.
pub fn may_ask_at_hand(caller: &Caller, tenant: Uuid, about: Option<Uuid>) -> Option<bool> {
    if caller.serves_all_tenants() {
        return Some(true);
    }
    let Some(subject) = caller.subject() else { return Some(false) };
    let member = MEMBERSHIPS.with(|cache| cache.get(&(tenant, subject)))?;
    Some(member.is_some_and(|member| member == Member::Leading || about.is_none_or(|user| user == subject)))
}

fn membership(tenant: Uuid, subject: Uuid) -> Result<Option<Member>> {
    if let Some(known) = MEMBERSHIPS.with(|cache| cache.get(&(tenant, subject))) {
        return Ok(*known);
    }
    watch();
    let read_in = generation();
    let member = spi::session(|spi| {
        let rows = spi.run(&ROLE_PLAN, Look::Latest, &[tenant.into(), subject.into()])?;
        rows.first()
            .map(|row| {
                let leads = matches!(row.need::<String>(1)?.as_str(), "owner" | "admin");
                Ok(if leads { Member::Leading } else { Member::Plain })
            })
            .transpose()
    })?;
    MEMBERSHIPS.with(|cache| cache.keep(read_in, (tenant, subject), member));
    Ok(member)
}

/// Refuses whoever is neither `service_role` nor an active member, and a member who asks about somebody else without
/// being owner or admin. Whether the tenant exists is not told.
pub fn authorise(caller: &Caller, tenant: Uuid, about: Option<Uuid>) -> Result<()> {
    if caller.serves_all_tenants() {
        return Ok(());
    }
    let stranger = || Error::forbidden("you are not an active member of this tenant");
    let subject = caller.subject().ok_or_else(stranger)?;
    current_generation();
    let member = membership(tenant, subject)?.ok_or_else(stranger)?;
    if about.is_some_and(|user| user != subject) && member != Member::Leading {
        return Err(Error::forbidden("only an owner or admin may ask about another user"));
    }
    Ok(())
}

/// The tenants of which the caller is an active member.
pub fn of_caller(spi: &Session, caller: &Caller) -> Result<Vec<Uuid>> {
    let Some(subject) = caller.subject() else { return Ok(Vec::new()) };
    let rows = spi.run(&TENANTS_PLAN, Look::Statement, &[subject.into()])?;
    rows.iter().map(|row| row.need(1)).collect()
}

/// The tenant of the token, else of the user's preference, and only while he is an active member of it.
pub fn current(spi: &Session, caller: &Caller, user: Option<Uuid>) -> Result<Option<Uuid>> {
    let subject = if caller.serves_all_tenants() {
        user
    } else {
        let subject = caller.subject();
        if user.is_some() && user != subject {
            return Err(Error::forbidden("you may ask for your own tenant only"));
        }
        subject
    };
    let Some(subject) = subject else { return Ok(None) };
    let claimed = if caller.serves_all_tenants() { None } else { caller.claimed_tenant() };
    let rows = spi.run(&CURRENT_PLAN, Look::Statement, &[subject.into(), claimed.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}

/// The tenant of a user who has exactly one.
pub fn sole(spi: &Session, user: Uuid) -> Result<Option<Uuid>> {
    let rows = spi.run(&SOLE_PLAN, Look::Latest, &[user.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}
