//! Making and deleting tenants. A new tenant is under its default quotas without anything being done for it here.

use std::time::Duration;

use pgrx::Uuid;

use super::slug::{attempt, is_reserved, is_slug, slug_of};
use super::{Actor, Locked, acting_role, members};
use crate::error::{Error, Result};
use crate::pg::identity::{ActAs, Caller};
use crate::pg::lock::LockTarget;
use crate::pg::random_bits;
use crate::pg::spi::types::{BIGINT, TEXT, UUID};
use crate::pg::spi::{Plan, Session, Snapshot};
use crate::settings;
use crate::tenancy::access::Role;

const PERSONAL: &str = "
    select t.id, t.deleted_at is not null from copilot_internal.tenants t
    where t.owner_id = $1 and t.type = 'personal'";
const REVIVE: &str = "
    update copilot_internal.tenants set deleted_at = null, updated_at = pg_catalog.clock_timestamp() where id = $1";
/// Waits for a transaction that is making a tenant with the same id or slug, or a personal one for the same owner.
const MAKE: &str = "
    insert into copilot_internal.tenants (id, name, slug, type, plan, owner_id, created_by)
    values (coalesce($1, pg_catalog.gen_random_uuid()), $2, $3, $4, $5, $6, $7)
    on conflict do nothing returning id";
/// Makes other transactions that create a tenant for the same user wait until this one ends.
const SERIALISE: &str = "
    insert into copilot_internal.user_preferences as p (user_id) values ($1)
    on conflict (user_id) do update set user_id = excluded.user_id where false";
const SERIALISE_ROW: &str =
    "select p.current_tenant_id from copilot_internal.user_preferences p where p.user_id = $1 for no key update";
const MADE: &str = "
    select count(*) from (select from copilot_internal.tenants t
        where t.created_by = $1 and t.type <> 'personal' limit $2) t";
/// Whether a hard quota of the platform bounds all budgets together, for all resources or for each. Then how many
/// personal tenants users have made for themselves, deleted ones too, counted no further than the decision needs.
const SIGN_UPS: &str = "
    select (select count(distinct q.resource_type) + count(*) filter (where q.resource_type = 'all') >= 2
            from copilot_internal.cost_quotas q
            where q.scope = 'platform' and q.mode = 'hard' and q.limit_usd is not null),
           (select count(*) from (select from copilot_internal.tenants t
               where t.type = 'personal' and t.created_by is not null limit $1) t)";
const DELETE: &str = "
    update copilot_internal.tenants set deleted_at = pg_catalog.clock_timestamp(), updated_at = pg_catalog.clock_timestamp()
    where id = $1";
const IS_THERE: &str = "select exists (select from copilot_internal.tenants t where t.id = $1)";
const INITIALIZE: &str = "
    insert into copilot_internal.cost_quotas
        (scope, scope_id, tenant_id, resource_type, limit_usd, period, time_zone, mode, warning_threshold)
    select q.scope, q.scope_id, q.tenant_id, q.resource_type, q.limit_usd, q.period, q.time_zone, q.mode,
           q.warning_threshold
    from copilot_internal.effective_quotas q
    where q.tenant_id = $1 and q.is_default
    on conflict (tenant_id, scope, scope_id, resource_type, period) do nothing";
/// The table in which Supabase knows people, by its owner. What another relation of that name would run is not run.
const USERS: &str = "
    select c.relowner::bigint from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'auth' and c.relname = 'users' and c.relkind = 'r'
      and (select count(*) from pg_catalog.pg_attribute a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             and (a.attname = 'id' and a.atttypid = 'pg_catalog.uuid'::pg_catalog.regtype
                  or a.attname = 'email' and a.atttypid in ('pg_catalog.text'::pg_catalog.regtype,
                      'pg_catalog.varchar'::pg_catalog.regtype))) = 2";

static PERSONAL_PLAN: Plan = Plan::new(PERSONAL, &[UUID]);
static REVIVE_PLAN: Plan = Plan::new(REVIVE, &[UUID]);
static MAKE_PLAN: Plan = Plan::new(MAKE, &[UUID, TEXT, TEXT, TEXT, TEXT, UUID, UUID]);
static SERIALISE_PLAN: Plan = Plan::new(SERIALISE, &[UUID]);
static SERIALISE_ROW_PLAN: Plan = Plan::new(SERIALISE_ROW, &[UUID]);
static MADE_PLAN: Plan = Plan::new(MADE, &[UUID, BIGINT]);
static SIGN_UPS_PLAN: Plan = Plan::new(SIGN_UPS, &[BIGINT]);
static DELETE_PLAN: Plan = Plan::new(DELETE, &[UUID]);
static IS_THERE_PLAN: Plan = Plan::new(IS_THERE, &[UUID]);
static INITIALIZE_PLAN: Plan = Plan::new(INITIALIZE, &[UUID]);
static USERS_PLAN: Plan = Plan::new(USERS, &[]);
static EMAIL_PLAN: Plan = Plan::new("select u.email::text from auth.users u where u.id = $1", &[UUID]);

const PERSONAL_TYPE: &str = "personal";
/// How long one transaction waits for another, which may be idle.
const SIGN_UP_PATIENCE: Duration = Duration::from_secs(2);
const PERSONAL_NAME: &str = "Personal";
const FREE_PLAN: &str = "free";
/// Longest e-mail address (RFC 5321, 64 + 1 + 255 octets).
const MAX_EMAIL: usize = 320;
const MAX_NAME: usize = 200;
/// Slugs tried: after the first each has a random suffix of 32 bits.
const ATTEMPTS: usize = 16;

fn gone() -> Error {
    Error::NotFound { message: "there is no such tenant".to_owned() }
}

/// The one personal tenant of a user. A new one has the id that was chosen for it.
pub fn create_personal(
    spi: &Session,
    caller: &Caller,
    actor: Actor,
    (user, chosen): (Option<Uuid>, Option<Uuid>),
    email: Option<String>,
) -> Result<Uuid> {
    let chosen = actor.chosen_id(chosen)?;
    let user = user.ok_or_else(|| Error::invalid("p_user_id must not be NULL"))?;
    if actor != Actor::Server && actor != Actor::Person(user) {
        return Err(Error::forbidden("a personal tenant can be made for yourself only"));
    }
    let email = match actor {
        Actor::Person(_) => own_email(caller, email)?,
        Actor::Server => match email {
            Some(email) => email,
            None => known_email(spi, user)?.ok_or_else(|| Error::invalid("p_user_email must not be NULL"))?,
        },
    };
    must_be_an_address(&email)?;
    if let Some(id) = existing(spi, actor, user)? {
        return Ok(id);
    }
    let preferred = serialise(spi, user)?;
    if let Some(id) = existing(spi, actor, user)? {
        return Ok(id);
    }
    if actor != Actor::Server {
        must_be_bounded(spi)?;
    }
    let creator = if actor == Actor::Server { None } else { Some(user) };
    for number in 0..ATTEMPTS {
        // A list of tenants, or an address, must not show a user's e-mail.
        let slug = attempt(PERSONAL_TYPE, number, random_bits());
        let made = make(spi, chosen, (PERSONAL_NAME, &slug, PERSONAL_TYPE, FREE_PLAN), Some(user), creator)?;
        if let Some(id) = made {
            if preferred.is_none() {
                members::prefer(spi, user, id)?;
            }
            return Ok(id);
        }
        // The slug is taken, or the tenant was inserted without this function.
        if let Some(id) = existing(spi, actor, user)? {
            return Ok(id);
        }
    }
    Err(Error::Taken { message: "no slug was free; try again".to_owned() })
}

/// A person's tenant brings a budget. As long as nothing bounds all budgets together there are only so many, and they are
/// made one after the other.
fn must_be_bounded(spi: &Session) -> Result<()> {
    const HINT: &str = "Set a hard quota of the platform, or pg_tollgate.personal_tenants; or let the server make it.";
    let most = settings::personal_tenants();
    // Whether a budget is bounded, or there may be one more.
    let read = |spi: &Session| -> Result<(bool, bool)> {
        let rows = spi.run(&SIGN_UPS_PLAN, Snapshot::Latest, &[most.into()])?;
        let row = rows.first().ok_or_else(|| Error::internal("a query without a condition gave no row"))?;
        Ok((row.need(1)?, row.need::<i64>(2)? < most))
    };
    let (is_bounded, mut is_free) = read(spi)?;
    if is_bounded {
        return Ok(());
    }
    if is_free {
        if !LockTarget::SignUps.lock_within(SIGN_UP_PATIENCE) {
            let message = "another user is just signing up; try again".to_owned();
            return Err(Error::Limit { message, hint: HINT });
        }
        is_free = read(spi)?.1;
    }
    if is_free {
        return Ok(());
    }
    let message =
        format!("people make at most {most} personal tenants while no quota of the platform bounds their budgets");
    Err(Error::Limit { message, hint: HINT })
}

/// An address that the verified claims do not confirm would name a tenant after another user. A user without an
/// address, such as an anonymous sign-in, could be made at will, and each would bring a budget.
fn own_email(caller: &Caller, email: Option<String>) -> Result<String> {
    let claimed = caller.claimed_email().filter(|claimed| !claimed.is_empty());
    match (email, claimed) {
        (Some(email), Some(claimed)) if email.to_lowercase() == claimed.to_lowercase() => Ok(email),
        (None, _) => Err(Error::invalid("p_user_email must not be NULL")),
        _ => Err(Error::forbidden("p_user_email must be the e-mail address of your token")),
    }
}

/// Read with the rights of the table's own owner. A policy or a view of that name may run code, which then has no more
/// rights than the role that put it there.
fn known_email(spi: &Session, user: Uuid) -> Result<Option<String>> {
    let rows = spi.run(&USERS_PLAN, Snapshot::Statement, &[])?;
    let Some(owner) = rows.first().and_then(|row| row.get::<i64>(1)) else { return Ok(None) };
    let owner = u32::try_from(owner).map_err(|_| Error::internal("the owner of a table is no role"))?;
    let _owner = ActAs::role(owner.into());
    let rows = spi.run(&EMAIL_PLAN, Snapshot::Statement, &[user.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}

fn must_be_an_address(email: &str) -> Result<()> {
    let odd = |text: &str| text.is_empty() || text.chars().any(|it| it.is_control() || it.is_whitespace());
    match email.rsplit_once('@') {
        Some((local, domain)) if email.len() <= MAX_EMAIL && !odd(local) && !odd(domain) => Ok(()),
        _ => Err(Error::invalid("p_user_email must be an e-mail address")),
    }
}

/// The user's personal tenant, brought back if it was deleted and the server asks.
fn existing(spi: &Session, actor: Actor, user: Uuid) -> Result<Option<Uuid>> {
    let rows = spi.run(&PERSONAL_PLAN, Snapshot::Latest, &[user.into()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let id: Uuid = row.need(1)?;
    if row.need::<bool>(2)? {
        if actor != Actor::Server {
            return Err(Error::forbidden("your personal tenant was deleted; only the server brings it back"));
        }
        spi.run_write(&REVIVE_PLAN, &[id.into()])?;
    }
    Ok(Some(id))
}

/// One transaction after the other for one user. Gives the tenant that they prefer.
fn serialise(spi: &Session, user: Uuid) -> Result<Option<Uuid>> {
    spi.run_write(&SERIALISE_PLAN, &[user.into()])?;
    let rows = spi.run_write(&SERIALISE_ROW_PLAN, &[user.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)))
}

fn make(
    spi: &Session,
    id: Option<Uuid>,
    (name, slug, kind, plan): (&str, &str, &str, &str),
    owner: Option<Uuid>,
    creator: Option<Uuid>,
) -> Result<Option<Uuid>> {
    let values = [id.into(), name.into(), slug.into(), kind.into(), plan.into(), owner.into(), creator.into()];
    let rows = spi.run_write(&MAKE_PLAN, &values)?;
    let made = rows.first().and_then(|row| row.get(1));
    if let (None, Some(id)) = (made, id)
        && is_there(spi, id)?
    {
        return Err(Error::Taken { message: "there is a tenant of this id".to_owned() });
    }
    Ok(made)
}

fn is_there(spi: &Session, tenant: Uuid) -> Result<bool> {
    let rows = spi.run(&IS_THERE_PLAN, Snapshot::Latest, &[tenant.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)).unwrap_or(false))
}

/// The arguments of `create_tenant`, as they came.
pub struct NewTenant {
    pub name: Option<String>,
    pub slug: Option<String>,
    pub kind: Option<String>,
    pub plan: Option<String>,
    pub owner: Option<Uuid>,
    pub id: Option<Uuid>,
}

/// A tenant by order of the server, or of a person as far as the setting allows.
pub fn create(spi: &Session, actor: Actor, asked: NewTenant) -> Result<Uuid> {
    let name = asked.name.ok_or_else(|| Error::invalid("p_name must not be NULL"))?;
    if name.trim().is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("p_name must have 1 to {MAX_NAME} printable characters")));
    }
    if asked.slug.as_deref().is_some_and(|slug| !is_slug(slug)) {
        return Err(Error::invalid(
            "p_slug must have 1 to 63 lower-case letters, digits and single hyphens between them",
        ));
    }
    let id = actor.chosen_id(asked.id)?;
    let kind = label(asked.kind, "p_type")?;
    let plan = label(asked.plan, "p_plan")?;
    if kind == PERSONAL_TYPE {
        return Err(Error::Invalid {
            message: "p_type must not be personal".to_owned(),
            hint: Some("create_personal_tenant makes the one personal tenant of a user."),
        });
    }
    let (owner, creator, preferred) = match actor {
        Actor::Server => (asked.owner, None, None),
        Actor::Person(subject) => {
            if asked.owner.is_some_and(|owner| owner != subject) {
                return Err(Error::forbidden("only the server makes a tenant for another user"));
            }
            if plan != FREE_PLAN {
                return Err(Error::forbidden("only the server gives a tenant a plan other than free"));
            }
            if asked.slug.as_deref().is_some_and(is_reserved) {
                return Err(Error::invalid("p_slug is reserved; only the server gives it to a tenant"));
            }
            let most = settings::tenants_per_user();
            let too_many = || {
                Error::forbidden(match most {
                    0 => "only the server makes tenants".to_owned(),
                    most => format!("you have made {most} tenants, which is as many as you may"),
                })
            };
            if made_by(spi, subject, most)? >= most {
                return Err(too_many());
            }
            let preferred = serialise(spi, subject)?;
            if made_by(spi, subject, most)? >= most {
                return Err(too_many());
            }
            (Some(subject), Some(subject), Some(preferred))
        }
    };
    let base = slug_of(&name);
    let attempts = if asked.slug.is_some() { 1 } else { ATTEMPTS };
    for number in 0..attempts {
        let slug = asked.slug.clone().unwrap_or_else(|| attempt(&base, number, random_bits()));
        if let Some(id) = make(spi, id, (&name, &slug, &kind, &plan), owner, creator)? {
            if let (Some(None), Some(owner)) = (preferred, owner) {
                members::prefer(spi, owner, id)?;
            }
            return Ok(id);
        }
    }
    Err(Error::Taken { message: "this slug is taken".to_owned() })
}

/// How many tenants a user has made, at most as many as it takes to know.
fn made_by(spi: &Session, user: Uuid, most: i64) -> Result<i64> {
    let rows = spi.run(&MADE_PLAN, Snapshot::Latest, &[user.into(), most.into()])?;
    Ok(rows.first().and_then(|row| row.get(1)).unwrap_or(0))
}

/// As the table's checks have it.
fn label(value: Option<String>, name: &str) -> Result<String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    match value {
        Some(text)
            if text.len() <= 40
                && text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.bytes().all(inner) =>
        {
            Ok(text)
        }
        _ => Err(Error::invalid(format!(
            "{name} must have 1 to 40 lower-case letters, digits, hyphens and underscores, a letter first"
        ))),
    }
}

/// Softly: the row stays with all that hangs on it.
pub fn delete(spi: &Session, actor: Actor, tenant: Uuid) -> Result<bool> {
    let not_owner = || Error::forbidden("only an owner may delete a tenant");
    if acting_role(actor, tenant)? != Role::Owner {
        return Err(not_owner());
    }
    if actor == Actor::Server && !is_there(spi, tenant)? {
        return Err(gone());
    }
    let locked = match (Locked::lock(spi, actor, tenant), actor) {
        (Err(Error::NotFound { .. }), Actor::Server) => return Ok(false),
        (locked, _) => locked?,
    };
    if let Actor::Person(subject) = actor {
        let (acting, _) = locked.standing(spi, actor, subject)?;
        if acting != Some(Role::Owner) {
            return Err(not_owner());
        }
    }
    spi.run_write(&DELETE_PLAN, &[tenant.into()])?;
    Ok(true)
}

/// Writes the defaults that apply as rows. Says how many.
pub fn initialize_quotas(spi: &Session, tenant: Uuid) -> Result<usize> {
    if !is_there(spi, tenant)? {
        return Err(gone());
    }
    Ok(spi.run_write(&INITIALIZE_PLAN, &[tenant.into()])?.written())
}
