//! Access: the tenants that a caller may ask about, and the tenant that a user is working in.
//!
//! What is cached is read in the latest snapshot and dropped when a membership, a preference or a tenant changes. A
//! membership that was revoked is over with the commit, whatever the token and the transaction's snapshot say.

use std::rc::Rc;

use pgrx::Uuid;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::pg::identity::Caller;
use crate::pg::invalidation::{Kind, Subject, handle_messages};
use crate::pg::spi::types::UUID;
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};

const ROLE: &str = "select m.role from copilot_internal.active_memberships m where m.tenant_id = $1 and m.user_id = $2";

const TENANTS: &str = "select m.tenant_id from copilot_internal.active_memberships m where m.user_id = $1";

/// An owner or admin may ask about any member; a tenant may let all of its members see of each other.
const OPEN: &str = "
    select m.tenant_id
    from copilot_internal.active_memberships m
    join copilot_internal.tenants t on t.id = m.tenant_id
    where m.user_id = $1 and (m.role in ('owner', 'admin') or t.settings -> 'share_details' = 'true')";

const CURRENT: &str = "
    select m.tenant_id
    from copilot_internal.active_memberships m
    left join copilot_internal.user_preferences p on p.user_id = $1
    where m.user_id = $1 and (m.tenant_id = $2 or m.tenant_id = p.current_tenant_id)
    order by m.tenant_id = $2 desc nulls last
    limit 1";

const OF_USER: &str = "
    select t.id, t.name, t.slug, t.type as kind, t.plan, m.role, m.status = 'active' as is_active, m.joined_at
    from (
        select t.id as tenant_id, 'owner' as role, 'active' as status, t.created_at as joined_at
        from copilot_internal.tenants t
        where t.owner_id = $1
          and not exists (select from copilot_internal.tenant_memberships o
              where o.tenant_id = t.id and o.user_id = $1 and o.status <> 'active')
        union all
        select m.tenant_id, m.role, m.status, m.joined_at
        from copilot_internal.tenant_memberships m
        join copilot_internal.tenants o on o.id = m.tenant_id
        where m.user_id = $1 and m.status in ('active', 'pending') and o.owner_id is distinct from $1
    ) m
    join copilot_internal.tenants t on t.id = m.tenant_id
    where t.deleted_at is null
    order by m.joined_at, t.id";

columns! {
    MembershipColumn(id, name, slug, kind, plan, role, is_active, joined_at)
}

const SOLE: &str = "select copilot_internal.sole_tenant($1)";

static ROLE_PLAN: Plan = Plan::new(ROLE, &[UUID, UUID]);
static TENANTS_PLAN: Plan = Plan::new(TENANTS, &[UUID]);
static OPEN_PLAN: Plan = Plan::new(OPEN, &[UUID]);
static CURRENT_PLAN: Plan = Plan::new(CURRENT, &[UUID, UUID]);
static OF_USER_PLAN: Plan = Plan::new(OF_USER, &[UUID]);
static SOLE_PLAN: Plan = Plan::new(SOLE, &[UUID]);

/// What a member is, from the least to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    Viewer,
    Member,
    Admin,
    Owner,
}

impl Role {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "viewer" => Some(Self::Viewer),
            "member" => Some(Self::Member),
            "admin" => Some(Self::Admin),
            "owner" => Some(Self::Owner),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// May ask about any member, and has members to manage.
    pub fn is_admin(self) -> bool {
        self >= Self::Admin
    }

    /// May give and take this role.
    pub fn manages(self, other: Self) -> bool {
        self == Self::Owner || self == Self::Admin && other < Self::Admin
    }
}

/// Memberships, and their absence, that are kept in a backend; as many users' tenants.
const MAX_MEMBERSHIPS: usize = 4_096;

/// Lists of tenants longer than this are read again by each statement.
const MAX_TENANTS: usize = 64;

thread_local! {
    static MEMBERSHIPS: Cache<(Uuid, Uuid), Option<Role>> =
        Cache::new(Kind::People, |(_, user)| person(*user), MAX_MEMBERSHIPS);
    static TENANTS_OF: Cache<Uuid, Vec<Uuid>> =
        Cache::new(Kind::People, |user| person(*user), MAX_MEMBERSHIPS).only(|tenants| tenants.len() <= MAX_TENANTS);
    /// By user and claimed tenant.
    static CURRENT_OF: Cache<(Uuid, Option<Uuid>), Option<Uuid>> =
        Cache::new(Kind::People, |(user, _)| person(*user), MAX_MEMBERSHIPS);
}

/// A change of a membership, a preference or an ownership concerns its user.
fn person(user: Uuid) -> Subject {
    Subject::One(*user.as_bytes())
}

/// Whether the caller may ask about the tenant and the user, if that is known without looking.
pub fn cached_may_ask(caller: &Caller, tenant: Uuid, about: Option<Uuid>) -> Option<bool> {
    if caller.serves_all_tenants() {
        return Some(true);
    }
    let Some(subject) = caller.subject() else { return Some(false) };
    let role = *MEMBERSHIPS.with(|cache| cache.get(&(tenant, subject)))?;
    Some(role.is_some_and(|role| role.is_admin() || about.is_none_or(|user| user == subject)))
}

/// The user's role in the tenant, if they are an active member of it.
pub fn role(tenant: Uuid, user: Uuid) -> Result<Option<Role>> {
    handle_messages();
    let read = |_: &(Uuid, Uuid)| {
        spi::session(|spi| {
            let rows = spi.run(&ROLE_PLAN, Snapshot::Latest, &[tenant.into(), user.into()])?;
            rows.first().map(|row| stored_role(&row.need::<String>(1)?)).transpose()
        })
    };
    MEMBERSHIPS.with(|cache| cache.get_or_read((tenant, user), read)).map(|role| *role)
}

/// A role out of a table.
pub fn stored_role(text: &str) -> Result<Role> {
    Role::parse(text).ok_or_else(|| Error::internal("a membership has an unknown role"))
}

/// The same words for a user who is no member and for a tenant that does not exist. They do not tell which ids are
/// taken.
pub fn not_a_member() -> Error {
    Error::forbidden("you are not an active member of this tenant")
}

/// Refuses a caller that is neither `service_role` nor an active member. Refuses a member who asks about another user
/// without being owner or admin. It does not tell whether the tenant exists.
pub fn authorise(caller: &Caller, tenant: Uuid, about: Option<Uuid>) -> Result<()> {
    if caller.serves_all_tenants() {
        return Ok(());
    }
    let subject = caller.subject().ok_or_else(not_a_member)?;
    let role = role(tenant, subject)?.ok_or_else(not_a_member)?;
    if about.is_some_and(|user| user != subject) && !role.is_admin() {
        return Err(Error::forbidden("only an owner or admin may ask about another user"));
    }
    Ok(())
}

/// The tenants of which the caller is an active member.
pub fn of_caller(caller: &Caller) -> Result<Rc<Vec<Uuid>>> {
    let Some(subject) = caller.subject() else { return Ok(Rc::default()) };
    handle_messages();
    let read = |subject: &Uuid| {
        spi::session(|spi| {
            let rows = spi.run(&TENANTS_PLAN, Snapshot::Latest, &[(*subject).into()])?;
            rows.iter().map(|row| row.need(1)).collect()
        })
    };
    TENANTS_OF.with(|cache| cache.get_or_read(subject, read))
}

/// Those of them in which the caller may see what is noted of other members' operations.
pub fn open_to_caller(caller: &Caller) -> Result<Vec<Uuid>> {
    let Some(subject) = caller.subject() else { return Ok(Vec::new()) };
    spi::session(|spi| {
        let rows = spi.run(&OPEN_PLAN, Snapshot::Latest, &[subject.into()])?;
        rows.iter().map(|row| row.need(1)).collect()
    })
}

/// The user that a question is about: the server says, a user asks about themselves.
pub fn about(caller: &Caller, user: Option<Uuid>) -> Result<Option<Uuid>> {
    if caller.serves_all_tenants() {
        return Ok(user);
    }
    let subject = caller.subject();
    if user.is_some() && user != subject {
        return Err(Error::forbidden("you may ask for yourself only"));
    }
    Ok(subject)
}

/// The tenant of the token, else of the user's preference, and only while they are an active member of it.
pub fn current(caller: &Caller, user: Option<Uuid>) -> Result<Option<Uuid>> {
    let Some(subject) = about(caller, user)? else { return Ok(None) };
    let claimed = if caller.serves_all_tenants() { None } else { caller.claimed_tenant() };
    handle_messages();
    let read = |_: &(Uuid, Option<Uuid>)| {
        spi::session(|spi| {
            let rows = spi.run(&CURRENT_PLAN, Snapshot::Latest, &[subject.into(), claimed.into()])?;
            Ok(rows.first().and_then(|row| row.get(1)))
        })
    };
    CURRENT_OF.with(|cache| cache.get_or_read((subject, claimed), read)).map(|current| *current)
}

/// One tenant as its member sees it.
pub struct Membership {
    pub tenant: Uuid,
    pub name: String,
    pub slug: Option<String>,
    pub kind: String,
    pub plan: String,
    pub role: String,
    pub is_active: bool,
    pub joined_at: i64,
}

/// Where a user is an active member or invited, the oldest first.
pub fn of_user(user: Uuid) -> Result<Vec<Membership>> {
    spi::session(|spi| {
        let rows = spi.run(&OF_USER_PLAN, Snapshot::Statement, &[user.into()])?;
        let membership = |row: spi::Row| {
            Ok(Membership {
                tenant: row.need(MembershipColumn::id)?,
                name: row.need(MembershipColumn::name)?,
                slug: row.get(MembershipColumn::slug),
                kind: row.need(MembershipColumn::kind)?,
                plan: row.need(MembershipColumn::plan)?,
                role: row.need(MembershipColumn::role)?,
                is_active: row.need(MembershipColumn::is_active)?,
                joined_at: row.need(MembershipColumn::joined_at)?,
            })
        };
        rows.iter().map(membership).collect()
    })
}

/// The tenant of a user who has exactly one.
pub fn sole(spi: &Session, user: Uuid) -> Result<Option<Uuid>> {
    let rows = spi.run(&SOLE_PLAN, Snapshot::Latest, &[user.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_manage_all_and_admins_those_below_them() {
        let all = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];
        for role in all {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            for other in all {
                let expected = match role {
                    Role::Owner => true,
                    Role::Admin => matches!(other, Role::Viewer | Role::Member),
                    _ => false,
                };
                assert_eq!(role.manages(other), expected, "{role:?} {other:?}");
            }
        }
    }
}
