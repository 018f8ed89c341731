//! Which models a tenant's policy lets its calls use. Policies are kept until a row of `tenant_llm_policies` changes.

use std::rc::Rc;

use pgrx::Uuid;

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::pg::invalidation::{Kind, Subject, handle_messages};
use crate::pg::jsonb_value;
use crate::pg::spi::types::UUID;
use crate::pg::spi::{self, Plan, Snapshot};
use crate::pg::value::Json;
use tollgate_core::policy::{Policy, Rules};

const ANY: &str = "select exists (select from copilot_internal.tenant_llm_policies)";

const OF_TENANT: &str = "
    select pg_catalog.jsonb_build_object(
        'default_provider', p.default_provider, 'default_model', p.default_model,
        'allowed_providers', p.allowed_providers, 'denied_providers', p.denied_providers,
        'allowed_models', p.allowed_models, 'denied_models', p.denied_models, 'egress_mode', p.egress_mode,
        'task_overrides', p.task_overrides, 'user_overrides', p.user_overrides)::text
    from copilot_internal.tenant_llm_policies p
    where p.tenant_id = $1";

static ANY_PLAN: Plan = Plan::new(ANY, &[]);
static OF_TENANT_PLAN: Plan = Plan::new(OF_TENANT, &[UUID]);

/// Tenants whose policy, or that they have none, is kept in a backend.
const MAX_TENANTS: usize = 1_024;

thread_local! {
    /// Whether there is any policy: where there is none, checking for one costs nothing.
    static USED: Cache<(), bool> = Cache::new(Kind::Policies, |()| Subject::Any, 1);
    static KEPT: Cache<Uuid, Option<Policy>> =
        Cache::new(Kind::Policies, |tenant| Subject::One(*tenant.as_bytes()), MAX_TENANTS);
}

/// The tenant's policy. Its table was validated, so what cannot be read has been written past the constraint: an error,
/// for to let everything pass would be worse.
fn of(tenant: Uuid) -> Result<Rc<Option<Policy>>> {
    handle_messages();
    let exists = |(): &()| {
        spi::session(|spi| {
            let rows = spi.run(&ANY_PLAN, Snapshot::Latest, &[])?;
            rows.first().ok_or_else(|| Error::internal("exists gave no row"))?.need(1)
        })
    };
    if !*USED.with(|used| used.get_or_read((), exists))? {
        return Ok(Rc::new(None));
    }
    let read = |tenant: &Uuid| {
        let text: Option<String> = spi::session(|spi| {
            let rows = spi.run(&OF_TENANT_PLAN, Snapshot::Latest, &[(*tenant).into()])?;
            Ok(rows.first().and_then(|row| row.get(1)))
        })?;
        text.map(|text| Policy::read(&text)).transpose().map_err(Error::internal)
    };
    KEPT.with(|kept| kept.get_or_read(tenant, read))
}

fn key(user: Option<Uuid>) -> Option<String> {
    user.map(|user| user.to_string())
}

/// Why the tenant's policy refuses this model to a user and a task, in one clause. `None` when it does not, or when
/// there is no policy. Admission calls it. In the usual case it reads this backend's memory alone.
pub fn refuses(
    tenant: Uuid,
    user: Option<Uuid>,
    task: Option<&str>,
    provider: &str,
    model: &str,
) -> Result<Option<String>> {
    let policy = of(tenant)?;
    let Some(policy) = policy.as_ref() else { return Ok(None) };
    Ok(policy.resolve(task, key(user).as_deref()).refuses(provider, model))
}

/// The same for an operation of which a reservation's metadata may tell `model_name`, `model_provider` and `task`. Where
/// it names no model, only a policy that lets nothing out refuses it.
pub fn refuses_described(tenant: Uuid, user: Option<Uuid>, metadata: Option<&Json>) -> Result<Option<String>> {
    let policy = of(tenant)?;
    let Some(policy) = policy.as_ref() else { return Ok(None) };
    let metadata = metadata.map(jsonb_value::of).unwrap_or_default();
    let said = |key: &str| metadata.get(key).and_then(serde_json::Value::as_str);
    let rules = policy.resolve(said("task"), key(user).as_deref());
    Ok(match said("model_name") {
        Some(model) => rules.refuses(said("model_provider").unwrap_or_default(), model),
        None => rules.refuses_all(),
    })
}

/// The rules for a task and a user of the tenant, without any where there is no policy; and whether there is one.
pub fn resolve(tenant: Uuid, user: Option<Uuid>, task: Option<&str>) -> Result<(Rules, bool)> {
    let policy = of(tenant)?;
    let rules = policy.as_ref().as_ref().map(|policy| policy.resolve(task, key(user).as_deref()));
    Ok((rules.clone().unwrap_or_default(), rules.is_some()))
}
