//! Tenants, their people, and their policies.

use pgrx::{Uuid, pg_extern, pg_sys};

use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::call::{Argument, Call, Reply, signatures};
use crate::pg::jsonb::Bounds;
use crate::pg::spi::{self, Session};
use crate::pg::value::{Json, Value};
use crate::tenancy::access::{self, Role};
use crate::tenancy::policy;
use crate::tenancy::{self, Actor, NewTenant};
use tollgate_core::policy::{Policy, as_json};

signatures! {
    GetCurrentTenantId = get_current_tenant_id(p_user_id);
    GetUserTenants = get_user_tenants(p_user_id);
    VerifyTenantAccess = verify_tenant_access(p_user_id, p_tenant_id);
    CreatePersonalTenant = create_personal_tenant(p_user_id, p_user_email, p_tenant_id);
    CreateTenant = create_tenant(p_name, p_slug, p_type, p_plan, p_owner_id, p_tenant_id);
    InviteMember = invite_member(p_tenant_id, p_user_id, p_role);
    AcceptInvitation = accept_invitation(p_tenant_id, p_user_id);
    SetMemberRole = set_member_role(p_tenant_id, p_user_id, p_role);
    RemoveMember = remove_member(p_tenant_id, p_user_id);
    SwitchTenant = switch_tenant(p_tenant_id, p_user_id);
    DeleteTenant = delete_tenant(p_tenant_id);
    InitializeTenantQuotas = initialize_tenant_quotas(p_tenant_id);
    PolicyProblem = policy_problem(
        p_default_provider, p_default_model, p_allowed_providers, p_denied_providers, p_allowed_models, p_denied_models,
        p_egress_mode, p_task_overrides, p_user_overrides
    );
    ResolveLlmPolicy = resolve_llm_policy(p_tenant_id, p_task, p_user_id);
}

/// A required id.
fn id<A: Argument>(call: Call<A>, argument: A) -> Result<Uuid> {
    let name = argument.name();
    arguments::required(arguments::id(call.uuid(argument), name)?, name)
}

/// Runs a kernel that changes something. It is given the acting user or server.
fn change<A: Argument, T>(call: Call<A>, kernel: impl FnOnce(&Session, Actor) -> Result<T>) -> T {
    call.kernel(|caller| {
        let actor = Actor::of(caller)?;
        spi::session(|spi| kernel(spi, actor))
    })
}

#[pg_extern(sql = false)]
fn get_current_tenant_id(fcinfo: pg_sys::FunctionCallInfo) -> Option<Uuid> {
    use GetCurrentTenantId::*;

    let call = Call::<GetCurrentTenantId>::new(fcinfo);
    call.kernel(|caller| access::current(caller, call.uuid(p_user_id)))
}

#[pg_extern(sql = false)]
fn get_user_tenants(fcinfo: pg_sys::FunctionCallInfo) {
    use GetUserTenants::*;

    let call = Call::<GetUserTenants>::new(fcinfo);
    let (memberships, current) = call.kernel(|caller| {
        if caller.serves_all_tenants() {
            arguments::required(call.uuid(p_user_id), "p_user_id")?;
        }
        let user = access::about(caller, call.uuid(p_user_id))?;
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
    use VerifyTenantAccess::*;

    let call = Call::<VerifyTenantAccess>::new(fcinfo);
    let role = call.kernel(|caller| {
        let user = id(call, p_user_id)?;
        let tenant = id(call, p_tenant_id)?;
        access::about(caller, Some(user))?;
        access::role(tenant, user)
    });
    call.row(&[role.is_some().into(), role.map(Role::as_str).into()])
}

#[pg_extern(sql = false)]
fn create_personal_tenant(fcinfo: pg_sys::FunctionCallInfo) -> Uuid {
    use CreatePersonalTenant::*;

    let call = Call::<CreatePersonalTenant>::new(fcinfo);
    call.kernel(|caller| {
        let actor = Actor::of(caller)?;
        let user = arguments::id(call.uuid(p_user_id), "p_user_id")?;
        let chosen = arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?;
        spi::session(|spi| tenancy::create_personal(spi, caller, actor, (user, chosen), call.text(p_user_email)))
    })
}

#[pg_extern(sql = false)]
fn create_tenant(fcinfo: pg_sys::FunctionCallInfo) -> Uuid {
    use CreateTenant::*;

    let call = Call::<CreateTenant>::new(fcinfo);
    change(call, |spi, actor| {
        let asked = NewTenant {
            name: call.text(p_name),
            slug: call.text(p_slug),
            kind: call.text(p_type),
            plan: call.text(p_plan),
            owner: arguments::id(call.uuid(p_owner_id), "p_owner_id")?,
            id: arguments::id(call.uuid(p_tenant_id), "p_tenant_id")?,
        };
        tenancy::create(spi, actor, asked)
    })
}

fn role<A: Argument>(call: Call<A>, argument: A) -> Result<Role> {
    let text = arguments::required(call.text(argument), "p_role")?;
    Role::parse(&text).ok_or_else(|| Error::invalid("p_role must be owner, admin, member or viewer"))
}

#[pg_extern(sql = false)]
fn invite_member(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use InviteMember::*;

    let call = Call::<InviteMember>::new(fcinfo);
    change(call, |spi, actor| {
        tenancy::invite(spi, actor, id(call, p_tenant_id)?, id(call, p_user_id)?, role(call, p_role)?)
    })
}

#[pg_extern(sql = false)]
fn accept_invitation(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use AcceptInvitation::*;

    let call = Call::<AcceptInvitation>::new(fcinfo);
    change(call, |spi, actor| {
        let tenant = id(call, p_tenant_id)?;
        tenancy::accept(spi, actor, tenant, actor.acts_for(arguments::id(call.uuid(p_user_id), "p_user_id")?)?)
    })
}

#[pg_extern(sql = false)]
fn set_member_role(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use SetMemberRole::*;

    let call = Call::<SetMemberRole>::new(fcinfo);
    change(call, |spi, actor| {
        tenancy::set_role(spi, actor, id(call, p_tenant_id)?, id(call, p_user_id)?, role(call, p_role)?)
    })
}

#[pg_extern(sql = false)]
fn remove_member(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use RemoveMember::*;

    let call = Call::<RemoveMember>::new(fcinfo);
    change(call, |spi, actor| tenancy::remove(spi, actor, id(call, p_tenant_id)?, id(call, p_user_id)?))
}

#[pg_extern(sql = false)]
fn switch_tenant(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use SwitchTenant::*;

    let call = Call::<SwitchTenant>::new(fcinfo);
    change(call, |spi, actor| {
        let tenant = id(call, p_tenant_id)?;
        tenancy::switch(spi, actor, tenant, actor.acts_for(arguments::id(call.uuid(p_user_id), "p_user_id")?)?)
    })
}

#[pg_extern(sql = false)]
fn delete_tenant(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use DeleteTenant::*;

    let call = Call::<DeleteTenant>::new(fcinfo);
    change(call, |spi, actor| tenancy::delete(spi, actor, id(call, p_tenant_id)?))
}

#[pg_extern(sql = false)]
fn initialize_tenant_quotas(fcinfo: pg_sys::FunctionCallInfo) -> i32 {
    use InitializeTenantQuotas::*;

    let call = Call::<InitializeTenantQuotas>::new(fcinfo);
    call.kernel(|caller| {
        if !caller.serves_all_tenants() {
            return Err(Error::forbidden("only service_role may write quotas"));
        }
        let tenant = id(call, p_tenant_id)?;
        let written = spi::session(|spi| tenancy::initialize_quotas(spi, tenant))?;
        Ok(i32::try_from(written).unwrap_or(i32::MAX))
    })
}

/// A column of a policy. A session keeps the policies of many tenants.
const POLICY: Bounds = Bounds { bytes: 256 * 1024, depth: 100, number: 1_000 };

#[pg_extern(sql = false)]
fn policy_problem(fcinfo: pg_sys::FunctionCallInfo) -> Option<String> {
    use PolicyProblem::*;

    const COLUMNS: [PolicyProblem; 9] = [
        p_default_provider,
        p_default_model,
        p_allowed_providers,
        p_denied_providers,
        p_allowed_models,
        p_denied_models,
        p_egress_mode,
        p_task_overrides,
        p_user_overrides,
    ];
    let call = Call::<PolicyProblem>::new(fcinfo);
    let part = |column: PolicyProblem| -> Option<std::result::Result<String, String>> {
        let key = column.name().trim_start_matches("p_");
        let value = match column {
            p_default_provider | p_default_model | p_egress_mode => {
                Ok(serde_json::Value::from(call.text(column)?).to_string())
            }
            _ => match call.jsonb(column)?.within(&POLICY) {
                Ok(json) => Ok(json.text().into_owned()),
                Err(excess) => Err(arguments::beyond(key, &POLICY, excess)),
            },
        };
        Some(value.map(|value| format!("\"{key}\": {value}")))
    };
    match COLUMNS.into_iter().filter_map(part).collect::<std::result::Result<Vec<_>, _>>() {
        Ok(parts) => Policy::read(&format!("{{{}}}", parts.join(", "))).err(),
        Err(problem) => Some(problem),
    }
}

#[pg_extern(sql = false)]
fn resolve_llm_policy(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use ResolveLlmPolicy::*;

    let call = Call::<ResolveLlmPolicy>::new(fcinfo);
    let (rules, has_policy) = call.kernel(|caller| {
        let tenant = id(call, p_tenant_id)?;
        let task = arguments::text(call.text(p_task), "p_task")?;
        let user = arguments::id(call.uuid(p_user_id), "p_user_id")?;
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
