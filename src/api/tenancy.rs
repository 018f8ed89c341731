//! Tenants, their people, and their policies.

use pgrx::{Uuid, pg_extern, pg_sys};

use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::call::{Call, Reply};
use crate::pg::jsonb::Bounds;
use crate::pg::spi::{self, Session};
use crate::pg::value::{Json, Value};
use crate::tenancy::access::{self, Role};
use crate::tenancy::policy;
use crate::tenancy::{self, Actor, NewTenant};
use tollgate_core::policy::{Policy, as_json};

/// A required id.
fn id(call: Call, index: usize, name: &str) -> Result<Uuid> {
    arguments::required(arguments::id(call.uuid(index), name)?, name)
}

/// Runs what changes something, having told it who acts.
fn change<T>(call: Call, kernel: impl FnOnce(&Session, Actor) -> Result<T>) -> T {
    call.kernel(|caller| {
        let actor = Actor::of(caller)?;
        spi::session(|spi| kernel(spi, actor))
    })
}

#[pg_extern(sql = false)]
fn get_current_tenant_id(fcinfo: pg_sys::FunctionCallInfo) -> Option<Uuid> {
    let call = Call::new(fcinfo);
    call.kernel(|caller| access::current(caller, call.uuid(0)))
}

#[pg_extern(sql = false)]
fn get_user_tenants(fcinfo: pg_sys::FunctionCallInfo) {
    let call = Call::new(fcinfo);
    let (memberships, current) = call.kernel(|caller| {
        if caller.serves_all_tenants() {
            arguments::required(call.uuid(0), "p_user_id")?;
        }
        let user = access::about(caller, call.uuid(0))?;
        let memberships = user.map(access::of_user).transpose()?.unwrap_or_default();
        Ok((memberships, access::current(caller, user)?))
    });
    call.rows(memberships.iter().map(|one| {
        vec![
            one.tenant.into(),
            one.name.as_str().into(),
            one.slug.as_deref().into(),
            one.kind.as_str().into(),
            one.plan.as_str().into(),
            one.role.as_str().into(),
            one.is_active.into(),
            Value::timestamp(one.joined_at),
            (current == Some(one.tenant)).into(),
        ]
    }));
}

#[pg_extern(sql = false)]
fn verify_tenant_access(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let role = call.kernel(|caller| {
        let user = id(call, 0, "p_user_id")?;
        let tenant = id(call, 1, "p_tenant_id")?;
        access::about(caller, Some(user))?;
        access::role(tenant, user)
    });
    call.row(&[role.is_some().into(), role.map(Role::as_str).into()])
}

#[pg_extern(sql = false)]
fn create_personal_tenant(fcinfo: pg_sys::FunctionCallInfo) -> Uuid {
    let call = Call::new(fcinfo);
    call.kernel(|caller| {
        let actor = Actor::of(caller)?;
        let user = arguments::id(call.uuid(0), "p_user_id")?;
        spi::session(|spi| tenancy::create_personal(spi, caller, actor, user, call.text(1)))
    })
}

#[pg_extern(sql = false)]
fn create_tenant(fcinfo: pg_sys::FunctionCallInfo) -> Uuid {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| {
        let asked = NewTenant {
            name: call.text(0),
            slug: call.text(1),
            kind: call.text(2),
            plan: call.text(3),
            owner: arguments::id(call.uuid(4), "p_owner_id")?,
        };
        tenancy::create(spi, actor, asked)
    })
}

fn role(call: Call, index: usize) -> Result<Role> {
    let text = arguments::required(call.text(index), "p_role")?;
    Role::parse(&text).ok_or_else(|| Error::invalid("p_role must be owner, admin, member or viewer"))
}

#[pg_extern(sql = false)]
fn invite_member(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| {
        tenancy::invite(spi, actor, id(call, 0, "p_tenant_id")?, id(call, 1, "p_user_id")?, role(call, 2)?)
    })
}

#[pg_extern(sql = false)]
fn accept_invitation(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| {
        let tenant = id(call, 0, "p_tenant_id")?;
        tenancy::accept(spi, actor, tenant, actor.acts_for(arguments::id(call.uuid(1), "p_user_id")?)?)
    })
}

#[pg_extern(sql = false)]
fn set_member_role(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| {
        tenancy::set_role(spi, actor, id(call, 0, "p_tenant_id")?, id(call, 1, "p_user_id")?, role(call, 2)?)
    })
}

#[pg_extern(sql = false)]
fn remove_member(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| tenancy::remove(spi, actor, id(call, 0, "p_tenant_id")?, id(call, 1, "p_user_id")?))
}

#[pg_extern(sql = false)]
fn switch_tenant(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| {
        let tenant = id(call, 0, "p_tenant_id")?;
        tenancy::switch(spi, actor, tenant, actor.acts_for(arguments::id(call.uuid(1), "p_user_id")?)?)
    })
}

#[pg_extern(sql = false)]
fn delete_tenant(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::new(fcinfo);
    change(call, |spi, actor| tenancy::delete(spi, actor, id(call, 0, "p_tenant_id")?))
}

#[pg_extern(sql = false)]
fn initialize_tenant_quotas(fcinfo: pg_sys::FunctionCallInfo) -> i32 {
    let call = Call::new(fcinfo);
    call.kernel(|caller| {
        if !caller.serves_all_tenants() {
            return Err(Error::forbidden("only service_role may write quotas"));
        }
        let tenant = id(call, 0, "p_tenant_id")?;
        let written = spi::session(|spi| tenancy::initialize_quotas(spi, tenant))?;
        Ok(i32::try_from(written).unwrap_or(i32::MAX))
    })
}

/// A column of a policy. A session keeps the policies of many tenants.
const POLICY: Bounds = Bounds { bytes: 256 * 1024, depth: 100, number: 1_000 };

#[pg_extern(sql = false)]
fn policy_problem(fcinfo: pg_sys::FunctionCallInfo) -> Option<String> {
    const KEYS: [&str; 9] = [
        "default_provider",
        "default_model",
        "allowed_providers",
        "denied_providers",
        "allowed_models",
        "denied_models",
        "egress_mode",
        "task_overrides",
        "user_overrides",
    ];
    let call = Call::new(fcinfo);
    let part = |(index, key): (usize, &str)| -> Option<std::result::Result<String, String>> {
        let value = match index {
            0 | 1 | 6 => Ok(serde_json::Value::from(call.text(index)?).to_string()),
            _ => match call.jsonb(index)?.within(&POLICY) {
                Ok(json) => Ok(json.text().into_owned()),
                Err(excess) => Err(arguments::beyond(key, &POLICY, excess)),
            },
        };
        Some(value.map(|value| format!("\"{key}\": {value}")))
    };
    match KEYS.into_iter().enumerate().filter_map(part).collect::<std::result::Result<Vec<_>, _>>() {
        Ok(parts) => Policy::read(&format!("{{{}}}", parts.join(", "))).err(),
        Err(problem) => Some(problem),
    }
}

#[pg_extern(sql = false)]
fn resolve_llm_policy(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::new(fcinfo);
    let (rules, has_policy) = call.kernel(|caller| {
        let tenant = id(call, 0, "p_tenant_id")?;
        let task = arguments::text(call.text(1), "p_task")?;
        let user = arguments::id(call.uuid(2), "p_user_id")?;
        access::authorise(caller, tenant, user)?;
        policy::resolve(tenant, user, task.as_deref())
    });
    let list = |entries: Option<&[String]>| as_json(entries).map_or(Value::NULL, |text| Json::Text(text).value());
    call.row(&[
        rules.default_provider.as_deref().into(),
        rules.default_model.as_deref().into(),
        list(rules.allowed_providers.as_deref()),
        list(Some(&rules.denied_providers)),
        list(rules.allowed_models.as_deref()),
        list(Some(&rules.denied_models)),
        rules.egress.unwrap_or_default().as_str().into(),
        has_policy.into(),
    ])
}
