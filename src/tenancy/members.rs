//! Inviting, accepting, promoting, removing, and the tenant that a user prefers.

use pgrx::Uuid;

use super::{Actor, Locked, Target, acting_role};
use crate::error::{Error, Result};
use crate::pg::spi::types::{BIGINT, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::tenancy::access::{Role, not_a_member, role};

/// Members and invitations that people may give a tenant. The server is not bound.
const MAX_MEMBERS: i64 = 10_000;

const INVITE: &str = "
    insert into copilot_internal.tenant_memberships (tenant_id, user_id, role, status) values ($1, $2, $3, 'pending')
    on conflict (tenant_id, user_id) do update
        set role = excluded.role, status = 'pending', joined_at = pg_catalog.clock_timestamp()";
const ACCEPT: &str = "
    update copilot_internal.tenant_memberships set status = 'active', joined_at = pg_catalog.clock_timestamp()
    where tenant_id = $1 and user_id = $2";
/// The status of a member stays; an owner of the tenant's row gets a row of his own.
const SET_ROLE: &str = "
    insert into copilot_internal.tenant_memberships as m (tenant_id, user_id, role, status) values ($1, $2, $3, 'active')
    on conflict (tenant_id, user_id) do update
        set role = excluded.role, status = case when $4 = 1 then 'active' else m.status end";
const REMOVE: &str = "
    insert into copilot_internal.tenant_memberships (tenant_id, user_id, role, status) values ($1, $2, $3, 'removed')
    on conflict (tenant_id, user_id) do update set status = 'removed'";
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
static SET_ROLE_PLAN: Plan = Plan::new(SET_ROLE, &[UUID, UUID, TEXT, BIGINT]);
static REMOVE_PLAN: Plan = Plan::new(REMOVE, &[UUID, UUID, TEXT]);
static SUCCESSOR_PLAN: Plan = Plan::new(SUCCESSOR, &[UUID, UUID]);
static ANOTHER_OWNER_PLAN: Plan = Plan::new(ANOTHER_OWNER, &[UUID, UUID]);
static HAND_OVER_PLAN: Plan = Plan::new(HAND_OVER, &[UUID, UUID]);
static COUNT_PLAN: Plan = Plan::new(COUNT, &[UUID, BIGINT]);
static PREFER_PLAN: Plan = Plan::new(PREFER, &[UUID, UUID]);

fn not_above() -> Error {
    Error::forbidden("owners give and take every role, admins member and viewer, others none")
}

/// Refuses whoever is_admin nobody.
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
            return Err(Error::Taken { message: "this user is a member already".to_owned() });
        }
        // An admin cannot turn an owner's offer into a lesser one.
        Some(Target { role, status }) if status == "pending" && !acting.manages(role) => return Err(not_above()),
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
    spi.run_write(&INVITE_PLAN, &[tenant.into(), user.into(), offered.as_str().into()])?;
    Ok(true)
}

/// The user takes up what he was offered. Whether there is a tenant that has not invited him is not told.
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
            spi.run_write(&ACCEPT_PLAN, &[tenant.into(), user.into()])?;
            Ok(true)
        }
        _ => Err(uninvited()),
    }
}

const STATUS: &str = "
    select case when t.owner_id = $2 then 'active' else m.status end
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
    if target.role == given {
        return Ok(true);
    }
    let owned = make_room_for_an_owner(spi, &locked, user, &target)?;
    let owned = i64::from(owned);
    spi.run_write(&SET_ROLE_PLAN, &[tenant.into(), user.into(), given.as_str().into(), owned.into()])?;
    Ok(true)
}

/// Ends a membership or withdraws an invitation. Anybody may leave, and decline.
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
    make_room_for_an_owner(spi, &locked, user, &target)?;
    spi.run_write(&REMOVE_PLAN, &[tenant.into(), user.into(), target.role.as_str().into()])?;
    Ok(true)
}

/// Before an owner stops being one: sees that another is left, and hands the tenant's row over to him if it names the one
/// who goes. Says whether it did.
fn make_room_for_an_owner(spi: &Session, locked: &Locked, user: Uuid, target: &Target) -> Result<bool> {
    if target.role != Role::Owner || target.status != "active" {
        return Ok(false);
    }
    let last = || Error::forbidden("the last owner of a tenant stays its owner");
    if locked.owner != Some(user) {
        let rows = spi.run(&ANOTHER_OWNER_PLAN, Snapshot::Latest, &[locked.id.into(), user.into()])?;
        let another = rows.first().and_then(|row| row.get::<bool>(1)).unwrap_or(false);
        return if another { Ok(false) } else { Err(last()) };
    }
    if locked.is_personal {
        return Err(Error::forbidden("a personal tenant stays with the user for whom it was made"));
    }
    let rows = spi.run(&SUCCESSOR_PLAN, Snapshot::Latest, &[locked.id.into(), user.into()])?;
    let successor: Uuid = rows.first().and_then(|row| row.get(1)).ok_or_else(last)?;
    spi.run_write(&HAND_OVER_PLAN, &[locked.id.into(), successor.into()])?;
    Ok(true)
}

/// The user prefers a tenant of which he is an active member.
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
