//! Tenants and their people: making and deleting the ones, inviting and removing the others.
//!
//! A caller without access is refused from what is cached of memberships, and so never locks a row. A caller that may
//! change something then locks the tenant's row (`for no key update`) to the end of the transaction. It decides by what
//! is committed under that lock ([`Snapshot::Latest`]) at every isolation level: two owners cannot remove each other.

pub mod access;
mod members;
mod onboarding;
pub mod policy;
mod slug;

use pgrx::Uuid;

pub use members::{accept, invite, remove, set_role, switch};
pub use onboarding::{NewTenant, create, create_personal, delete, initialize_quotas};

use crate::error::{Error, Result};
use crate::pg::identity::Caller;
use crate::pg::spi::types::UUID;
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::tenancy::access::{Role, not_a_member, role, stored_role};

/// The acting user, or the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Server,
    Person(Uuid),
}

impl Actor {
    pub fn of(caller: &Caller) -> Result<Self> {
        if caller.serves_all_tenants() {
            return Ok(Self::Server);
        }
        caller.subject().map(Self::Person).ok_or_else(|| Error::forbidden("you are not signed in"))
    }

    /// The user that a call acts for: the server must name one.
    pub fn acts_for(self, user: Option<Uuid>) -> Result<Uuid> {
        match self {
            Self::Server => user.ok_or_else(|| Error::invalid("p_user_id must not be NULL")),
            Self::Person(subject) if user.is_none_or(|user| user == subject) => Ok(subject),
            Self::Person(_) => Err(Error::forbidden("you may act for yourself only")),
        }
    }

    /// The id that a new tenant is to have. Who routes calls chooses it, so that the machine that owns it is known before.
    fn chosen_id(self, id: Option<Uuid>) -> Result<Option<Uuid>> {
        match (self, id) {
            (Self::Person(_), Some(_)) => Err(Error::forbidden("only the server chooses the id of a tenant")),
            (_, id) => Ok(id),
        }
    }
}

const LOCK: &str = "select t.owner_id, t.type = 'personal' from copilot_internal.tenants t
    where t.id = $1 and t.deleted_at is null for no key update";
static LOCK_PLAN: Plan = Plan::new(LOCK, &[UUID]);

/// Under the lock: the actor's role, and the target's with its status.
const STANDING: &str = "
    select a.role, case when t.owner_id = $3 then 'owner' else m.role end,
           case when t.owner_id = $3 then coalesce(m.status, 'active') else m.status end
    from copilot_internal.tenants t
    left join copilot_internal.tenant_memberships m on m.tenant_id = t.id and m.user_id = $3
    left join copilot_internal.active_memberships a on a.tenant_id = t.id and a.user_id = $2
    where t.id = $1";
static STANDING_PLAN: Plan = Plan::new(STANDING, &[UUID, UUID, UUID]);

/// A tenant whose row this transaction has locked.
struct Locked {
    id: Uuid,
    owner: Option<Uuid>,
    is_personal: bool,
}

/// A membership or what is left of one.
struct Target {
    role: Role,
    status: String,
}

impl Locked {
    fn lock(spi: &Session, actor: Actor, tenant: Uuid) -> Result<Self> {
        let rows = spi.run_write(&LOCK_PLAN, &[tenant.into()])?;
        let row = rows.first().ok_or_else(|| match actor {
            Actor::Server => Error::NotFound { message: "there is no such tenant".to_owned() },
            Actor::Person(_) => not_a_member(),
        })?;
        Ok(Self { id: tenant, owner: row.get(1), is_personal: row.need(2)? })
    }

    /// The actor's role as it is now, and the target's membership. The server stands above all.
    fn standing(&self, spi: &Session, actor: Actor, target: Uuid) -> Result<(Option<Role>, Option<Target>)> {
        let subject = match actor {
            Actor::Server => None,
            Actor::Person(subject) => Some(subject),
        };
        let rows = spi.run(&STANDING_PLAN, Snapshot::Latest, &[self.id.into(), subject.into(), target.into()])?;
        let Some(row) = rows.first() else { return Ok((None, None)) };
        let acting = match actor {
            Actor::Server => Some(Role::Owner),
            Actor::Person(_) => row.get::<String>(1).map(|text| stored_role(&text)).transpose()?,
        };
        let target = match (row.get::<String>(2), row.get::<String>(3)) {
            (Some(role), Some(status)) => Some(Target { role: stored_role(&role)?, status }),
            _ => None,
        };
        Ok((acting, target))
    }
}

/// The actor's role as far as it is known without a lock; refuses a not_a_member. The server stands above all.
fn acting_role(actor: Actor, tenant: Uuid) -> Result<Role> {
    match actor {
        Actor::Server => Ok(Role::Owner),
        Actor::Person(subject) => role(tenant, subject)?.ok_or_else(not_a_member),
    }
}
