//! Inviting, accepting, promoting, removing, and the tenant that a user prefers.

use pgrx::Uuid;

use super::{Actor, Locked, Target, acting_role};
use crate::error::{Error, Result};
use crate::pg::spi::types::{BIGINT, BOOL, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::tenancy::access::{Role, not_a_member, role};

/// Members and invitations that people may give a tenant. The server is not bound.
const MAX_MEMBERS: i64 = 10_000;

// The server suspends by writing the row, without the tenant's lock. So what changes a membership compares its status
// once more, in the row itself.
const INVITE: &str = "
    insert into copilot_internal.tenant_memberships as m (tenant_id, user_id, role, status) values ($1, $2, $3, 'pending')
    on conflict (tenant_id, user_id) do update
        set role = excluded.role, status = 'pending', joined_at = pg_catalog.clock_timestamp()
        where m.status in ('pending', 'removed')";
const ACCEPT: &str = "
    update copilot_internal.tenant_memberships m set status = 'active', joined_at = pg_catalog.clock_timestamp()
    where m.tenant_id = $1 and m.user_id = $2 and m.status = 'pending'";
/// The status of a member stays; an owner of the tenant's row gets a membership row.
const SET_ROLE: &str = "
    insert into copilot_internal.tenant_memberships as m (tenant_id, user_id, role, status) values ($1, $2, $3, 'active')
    on conflict (tenant_id, user_id) do update set role = excluded.role
        where m.status <> 'suspended' or $4";
const REMOVE: &str = "
    insert into copilot_internal.tenant_memberships as m (tenant_id, user_id, role, status) values ($1, $2, $3, 'removed')
    on conflict (tenant_id, user_id) do update set status = 'removed'
        where m.status <> 'suspended' or $4";
/// An invitation leaves nothing behind. The row of the tenant's owner stays: without one the owner would be a member.
const WITHDRAW: &str = "
    delete from copilot_internal.tenant_memberships m
    using copilot_internal.tenants t
    where m.tenant_id = $1 and m.user_id = $2 and m.status = 'pending'
      and t.id = m.tenant_id and t.owner_id is distinct from m.user_id";
const SUCCESSOR: &str = "
    select m.user_id from copilot_internal.active_memberships a
    join copilot_internal.tenant_memberships m on m.tenant_id = a.tenant_id and m.user_id = a.user_id
    where a.tenant_id = $1 and a.role = 'owner' and a.user_id <> $2
    order by m.joined_at, m.user_id limit 1";
const ANOTHER_OWNER: &str = "
    select exists (select from copilot_internal.active_memberships a
        where a.tenant_id = $1 and a.role = 'owner' and a.user_id <> $2)";
const HAND_OVER: &str = "
    update copilot_internal.tenants set owner_id = $2, updated_at = pg_catalog.clock_timestamp() where id = $1";
const COUNT: &str = "
    select count(*) from (select from copilot_internal.tenant_memberships m
        where m.tenant_id = $1 and m.status <> 'removed' limit $2) m";
const PREFER: &str = "
    insert into copilot_internal.user_preferences as p (user_id, current_tenant_id) values ($1, $2)
    on conflict (user_id) do update set current_tenant_id = excluded.current_tenant_id
        where p.current_tenant_id is distinct from excluded.current_tenant_id";

static INVITE_PLAN: Plan = Plan::new(INVITE, &[UUID, UUID, TEXT]);
static ACCEPT_PLAN: Plan = Plan::new(ACCEPT, &[UUID, UUID]);
static SET_ROLE_PLAN: Plan = Plan::new(SET_ROLE, &[UUID, UUID, TEXT, BOOL]);
static REMOVE_PLAN: Plan = Plan::new(REMOVE, &[UUID, UUID, TEXT, BOOL]);
static WITHDRAW_PLAN: Plan = Plan::new(WITHDRAW, &[UUID, UUID]);
static SUCCESSOR_PLAN: Plan = Plan::new(SUCCESSOR, &[UUID, UUID]);
static ANOTHER_OWNER_PLAN: Plan = Plan::new(ANOTHER_OWNER, &[UUID, UUID]);
static HAND_OVER_PLAN: Plan = Plan::new(HAND_OVER, &[UUID, UUID]);
static COUNT_PLAN: Plan = Plan::new(COUNT, &[UUID, BIGINT]);
static PREFER_PLAN: Plan = Plan::new(PREFER, &[UUID, UUID]);

fn not_above() -> Error {
    Error::forbidden("owners give and take every role, admins member and viewer, others none")
}

/// Also of a member who is suspended.
fn member_already() -> Error {
    Error::Taken { message: "this user is a member already".to_owned() }
}

/// A suspension is the server's, to begin and to end.
fn suspended() -> Error {
    Error::forbidden("this membership is suspended; only the server changes it")
}

/// Refuses a caller who is neither owner nor admin.
fn must_lead(actor: Actor, tenant: Uuid) -> Result<()> {
    if acting_role(actor, tenant)?.is_admin() { Ok(()) } else { Err(not_above()) }
}

/// Offers a membership.
pub fn invite(spi: &Session, actor: Actor, tenant: Uuid, user: Uuid, offered: Role) -> Result<bool> {
    must_lead(actor, tenant)?;
    let locked = Locked::lock(spi, actor, tenant)?;
    let (acting, target) = locked.standing(spi, actor, user)?;
    let acting = acting.ok_or_else(not_a_member)?;
    if !acting.manages(offered) {
        return Err(not_above());
    }
    match target {
        Some(Target { status, .. }) if status == "active" || status == "suspended" => {
            return Err(member_already());
        }
        // An admin cannot turn an owner's offer into a lesser one, nor bring back the owner of the tenant's row.
        Some(Target { role, status })
            if (status == "pending" || locked.owner == Some(user)) && !acting.manages(role) =>
        {
            return Err(not_above());
        }
        _ => {}
    }
    if actor != Actor::Server {
        let rows = spi.run(&COUNT_PLAN, Snapshot::Latest, &[tenant.into(), MAX_MEMBERS.into()])?;
        if rows.first().and_then(|row| row.get::<i64>(1)) >= Some(MAX_MEMBERS) {
            return Err(Error::Limit {
                message: format!("a tenant has at most {MAX_MEMBERS} members and invitations"),
                hint: "The server may add more.",
            });
        }
    }
    let written = spi.run_write(&INVITE_PLAN, &[tenant.into(), user.into(), offered.as_str().into()])?.written();
    if written == 0 { Err(member_already()) } else { Ok(true) }
}

/// The user accepts what they were offered. A tenant that has not invited them is not told from one that does not
/// exist.
pub fn accept(spi: &Session, actor: Actor, tenant: Uuid, user: Uuid) -> Result<bool> {
    let uninvited = || match actor {
        Actor::Server => Error::NotFound { message: "this user has no invitation to this tenant".to_owned() },
        Actor::Person(_) => Error::forbidden("you have no invitation to this tenant"),
    };
    let invited = |status: &str| matches!(status, "active" | "pending");
    if !status_of(spi, tenant, user)?.is_some_and(|status| invited(&status)) {
        return Err(uninvited());
    }
    let locked = Locked::lock(spi, Actor::Server, tenant).map_err(|_| uninvited())?;
    match locked.standing(spi, Actor::Server, user)?.1 {
        Some(Target { status, .. }) if status == "active" => Ok(true),
        Some(Target { status, .. }) if status == "pending" => {
            let written = spi.run_write(&ACCEPT_PLAN, &[tenant.into(), user.into()])?.written();
            if written == 0 { Err(uninvited()) } else { Ok(true) }
        }
        _ => Err(uninvited()),
    }
}

const STATUS: &str = "
    select case when t.owner_id = $2 then coalesce(m.status, 'active') else m.status end
    from copilot_internal.tenants t
    left join copilot_internal.tenant_memberships m on m.tenant_id = t.id and m.user_id = $2
    where t.id = $1 and t.deleted_at is null";
static STATUS_PLAN: Plan = Plan::new(STATUS, &[UUID, UUID]);

/// How a user stands to a living tenant, without a lock.
fn status_of(spi: &Session, tenant: Uuid, user: Uuid) -> Result<Option<String>> {
    let rows = spi.run(&STATUS_PLAN, Snapshot::Latest, &[tenant.into(), user.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}

/// Gives a member, or an invitation, another role.
pub fn set_role(spi: &Session, actor: Actor, tenant: Uuid, user: Uuid, given: Role) -> Result<bool> {
    must_lead(actor, tenant)?;
    let locked = Locked::lock(spi, actor, tenant)?;
    let (acting, target) = locked.standing(spi, actor, user)?;
    let acting = acting.ok_or_else(not_a_member)?;
    if !acting.manages(given) {
        return Err(not_above());
    }
    let target = target.filter(|target| target.status != "removed");
    let target =
        target.ok_or_else(|| Error::NotFound { message: "this user is no member of this tenant".to_owned() })?;
    if !acting.manages(target.role) {
        return Err(not_above());
    }
    let is_server = actor == Actor::Server;
    if target.status == "suspended" && !is_server {
        return Err(suspended());
    }
    if target.role == given {
        return Ok(true);
    }
    make_room_for_an_owner(spi, &locked, user, &target)?;
    let parameters = [tenant.into(), user.into(), given.as_str().into(), is_server.into()];
    let written = spi.run_write(&SET_ROLE_PLAN, &parameters)?.written();
    if written == 0 { Err(suspended()) } else { Ok(true) }
}

/// Ends a membership or withdraws an invitation. Any member may leave, and any invited user may decline.
pub fn remove(spi: &Session, actor: Actor, tenant: Uuid, user: Uuid) -> Result<bool> {
    let oneself = actor == Actor::Person(user);
    if oneself {
        let status = status_of(spi, tenant, user)?;
        if !status.is_some_and(|status| matches!(status.as_str(), "active" | "pending")) {
            return Err(not_a_member());
        }
    } else {
        must_lead(actor, tenant)?;
    }
    let locked = Locked::lock(spi, actor, tenant)?;
    let (acting, target) = locked.standing(spi, actor, user)?;
    if !oneself && !acting.ok_or_else(not_a_member)?.is_admin() {
        return Err(not_above());
    }
    let Some(target) = target.filter(|target| target.status != "removed") else { return Ok(false) };
    if !oneself && !acting.is_some_and(|role| role.manages(target.role)) {
        return Err(not_above());
    }
    let is_server = actor == Actor::Server;
    if target.status == "suspended" && !is_server {
        return Err(suspended());
    }
    if target.status == "pending" && spi.run_write(&WITHDRAW_PLAN, &[tenant.into(), user.into()])?.written() > 0 {
        return Ok(true);
    }
    make_room_for_an_owner(spi, &locked, user, &target)?;
    let parameters = [tenant.into(), user.into(), target.role.as_str().into(), is_server.into()];
    let written = spi.run_write(&REMOVE_PLAN, &parameters)?.written();
    if written == 0 { Err(suspended()) } else { Ok(true) }
}

/// Before an owner stops being one: sees that another is left. Names that one in the tenant's row, if the row names the
/// leaving owner.
fn make_room_for_an_owner(spi: &Session, locked: &Locked, user: Uuid, target: &Target) -> Result<()> {
    let owns_the_row = locked.owner == Some(user);
    if target.role != Role::Owner || target.status != "active" && !owns_the_row {
        return Ok(());
    }
    let last = || Error::forbidden("the last owner of a tenant stays its owner");
    if !owns_the_row {
        let rows = spi.run(&ANOTHER_OWNER_PLAN, Snapshot::Latest, &[locked.id.into(), user.into()])?;
        let another = rows.first().and_then(|row| row.get::<bool>(1)).unwrap_or(false);
        return if another { Ok(()) } else { Err(last()) };
    }
    if locked.is_personal {
        return Err(Error::forbidden("a personal tenant stays with the user it was made for"));
    }
    let rows = spi.run(&SUCCESSOR_PLAN, Snapshot::Latest, &[locked.id.into(), user.into()])?;
    let successor: Uuid = rows.first().and_then(|row| row.get(1)).ok_or_else(last)?;
    spi.run_write(&HAND_OVER_PLAN, &[locked.id.into(), successor.into()])?;
    Ok(())
}

/// The user prefers a tenant of which they are an active member.
pub fn switch(spi: &Session, actor: Actor, tenant: Uuid, user: Uuid) -> Result<bool> {
    if role(tenant, user)?.is_none() {
        return Err(match actor {
            Actor::Server => Error::forbidden("this user is not an active member of this tenant"),
            Actor::Person(_) => not_a_member(),
        });
    }
    prefer(spi, user, tenant)?;
    Ok(true)
}

pub fn prefer(spi: &Session, user: Uuid, tenant: Uuid) -> Result<()> {
    spi.run_write(&PREFER_PLAN, &[user.into(), tenant.into()])?;
    Ok(())
}
