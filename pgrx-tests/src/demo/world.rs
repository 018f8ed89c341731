//! Three tenants, their members and quotas, and the models and sandboxes they use.

use anyhow::{Context, Result, bail};
use postgres::Client;
use uuid::Uuid;

use super::DATABASE;
use crate::cluster::Cluster;
use crate::price_list;
use crate::trace::{Call, deal};

/// Dealt over the calls. All are priced by the list that ships with the extension.
const MODELS: [(&str, &str); 6] = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-haiku-4-5"),
    ("gemini", "gemini-2.5-flash"),
];

/// Type, vCPUs and GiB of memory.
const SANDBOXES: [(&str, i64, i64); 4] =
    [("standard", 2, 4), ("gpu", 4, 16), ("high-memory", 4, 32), ("high-cpu", 8, 16)];

/// One deck for each thing that is dealt, so that they do not go together.
const TENANT_DECK: u64 = 1;
const USER_DECK: u64 = 2;
const MODEL_DECK: u64 = 3;
const CONVERSATION_DECK: u64 = 4;
const SECONDS_DECK: u64 = 5;

const CONVERSATIONS_PER_TENANT: usize = 500;

pub struct Tenant {
    pub id: Uuid,
    pub name: &'static str,
    slug: &'static str,
    plan: &'static str,
    /// The first one owns it.
    pub members: Vec<Uuid>,
}

pub struct DemoWorld {
    pub tenants: Vec<Tenant>,
    /// The tenant whose llm quota is too small for its calls.
    pub tight: usize,
    /// That quota, as the numeric that was set.
    pub tight_limit_usd: String,
}

/// What the trace does not tell of a call.
pub struct CallAttribution {
    pub tenant: usize,
    pub user: Uuid,
    pub conversation: Uuid,
    pub provider: &'static str,
    pub model: &'static str,
}

/// A sandbox session.
pub struct Sandbox {
    pub kind: &'static str,
    pub seconds: i64,
    pub vcpu_seconds: i64,
    pub memory_gib_seconds: i64,
}

impl DemoWorld {
    pub fn attribution(&self, index: usize) -> CallAttribution {
        let tenant = deal(index, TENANT_DECK, self.tenants.len());
        let members = &self.tenants[tenant].members;
        let (provider, model) = MODELS[model(index)];
        let conversation = deal(index, CONVERSATION_DECK, CONVERSATIONS_PER_TENANT);
        CallAttribution {
            tenant,
            user: members[deal(index, USER_DECK, members.len())],
            conversation: id(0xc0, (tenant * CONVERSATIONS_PER_TENANT + conversation) as u128),
            provider,
            model,
        }
    }

    /// The `number`-th sandbox session; the types take turns.
    pub fn sandbox(&self, number: usize) -> Sandbox {
        let (kind, vcpus, gib) = SANDBOXES[number % SANDBOXES.len()];
        let seconds = 60 + deal(number, SECONDS_DECK, 600) as i64;
        Sandbox { kind, seconds, vcpu_seconds: seconds * vcpus, memory_gib_seconds: seconds * gib }
    }

    pub fn describe(&self) {
        for (index, tenant) in self.tenants.iter().enumerate() {
            let quota = match index {
                _ if index == self.tight => format!("a tight llm quota of {} USD a month", self.tight_limit_usd),
                0 => "roomy llm, e2b and all quotas, and a daily llm quota for one member".to_string(),
                _ => "the default quotas that come with a tenant".to_string(),
            };
            println!("Tenant {} (plan {}, {} members): {quota}", tenant.name, tenant.plan, tenant.members.len());
        }
        let models: Vec<String> = MODELS.iter().map(|(provider, model)| format!("{provider}/{model}")).collect();
        println!("Models dealt over the calls: {}\n", models.join(", "));
    }
}

fn model(index: usize) -> usize {
    deal(index, MODEL_DECK, MODELS.len())
}

/// Ids that are the same in every run.
fn id(kind: u8, number: u128) -> Uuid {
    Uuid::from_u128((u128::from(kind) << 120) | 0x4000_8000_0000_0000_0000 | (number + 1))
}

/// Everything up to the first call, written by the application's server.
pub fn build(cluster: &Cluster, calls: &[Call]) -> Result<DemoWorld> {
    let mut admin = cluster.superuser(DATABASE)?;
    let mut server = cluster.connect(DATABASE, "authenticator")?;
    server.batch_execute("set role service_role").context("cannot become service_role")?;
    let (models, prices) = price_list::import(&mut server, "2020-01-01Z")?;
    println!("Imported LiteLLM's price list: {prices} prices of {models} models.\n");
    check_prices(&mut server)?;
    let mut world = DemoWorld { tenants: tenants(), tight: 2, tight_limit_usd: String::new() };
    for tenant in &world.tenants {
        create_tenant(&mut admin, &mut server, tenant)
            .with_context(|| format!("cannot create tenant {}", tenant.name))?;
    }
    let roomy = &world.tenants[0];
    set_quota(&mut server, "tenant", roomy.id, "llm", "5000", "month", None)?;
    set_quota(&mut server, "tenant", roomy.id, "e2b", "1000", "month", None)?;
    set_quota(&mut server, "tenant", roomy.id, "all", "5500", "month", None)?;
    set_quota(&mut server, "user", roomy.members[1], "llm", "500", "day", Some(roomy.id))?;
    world.tight_limit_usd = tight_limit(&mut server, &world, calls)?;
    set_quota(&mut server, "tenant", world.tenants[world.tight].id, "llm", &world.tight_limit_usd, "month", None)?;
    Ok(world)
}

fn tenants() -> Vec<Tenant> {
    let tenant = |number: u8, name, slug, plan, members: u8| Tenant {
        id: id(0x10, u128::from(number)),
        name,
        slug,
        plan,
        members: (0..members).map(|member| id(0x20, u128::from(number) * 100 + u128::from(member))).collect(),
    };
    vec![
        tenant(0, "Aurora", "aurora", "enterprise", 4),
        tenant(1, "Borealis", "borealis", "pro", 3),
        tenant(2, "Cobalt", "cobalt", "free", 3),
    ]
}

fn create_tenant(admin: &mut Client, server: &mut Client, tenant: &Tenant) -> Result<()> {
    for (number, member) in tenant.members.iter().enumerate() {
        let email = format!("member{number}@{}.example", tenant.slug);
        admin.execute("insert into auth.users (id, email) values ($1, $2)", &[member, &email])?;
    }
    server.execute(
        "insert into copilot_internal.tenants (id, name, slug, plan, owner_id) values ($1, $2, $3, $4, $5)",
        &[&tenant.id, &tenant.name, &tenant.slug, &tenant.plan, &tenant.members[0]],
    )?;
    for member in &tenant.members[1..] {
        server.execute(
            "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role, status)
             values ($1, $2, 'member', 'active')",
            &[&tenant.id, member],
        )?;
    }
    Ok(())
}

fn set_quota(
    server: &mut Client,
    scope: &str,
    scope_id: Uuid,
    resource: &str,
    limit_usd: &str,
    period: &str,
    tenant: Option<Uuid>,
) -> Result<()> {
    server
        .execute(
            "select public.set_quota(p_scope => $1, p_scope_id => $2, p_resource_type => $3,
                                     p_limit_usd => $4::text::numeric, p_period => $5, p_tenant_id => $6)",
            &[&scope, &scope_id, &resource, &limit_usd, &period, &tenant],
        )
        .with_context(|| format!("cannot set the {resource} quota of a {scope}"))?;
    Ok(())
}

/// A demo of costs needs prices.
fn check_prices(server: &mut Client) -> Result<()> {
    for (provider, model) in MODELS {
        let sql = "select pricing_found from public.estimate_llm_cost($1, $2, 1000, 100)";
        if !server.query_one(sql, &[&provider, &model]).context("estimate_llm_cost")?.get::<_, bool>(0) {
            bail!("there is no price for {provider}/{model}");
        }
    }
    for (kind, vcpus, gib) in SANDBOXES {
        let sql = "select pricing_found from public.estimate_e2b_cost($1, 60, p_vcpu_seconds => $2::bigint,
                                                                      p_memory_gib_seconds => $3::bigint)";
        let found = server.query_one(sql, &[&kind, &(60 * vcpus), &(60 * gib)]).context("estimate_e2b_cost")?;
        if !found.get::<_, bool>(0) {
            bail!("there is no price for a {kind} sandbox");
        }
    }
    Ok(())
}

/// Two fifths of what the tight tenant's calls would cost, in whole dollars when it comes to any.
fn tight_limit(server: &mut Client, world: &DemoWorld, calls: &[Call]) -> Result<String> {
    // Calls, input and output tokens by model. Averages are priced, as a sum could reach a long-context price.
    let mut sums = [(0i64, 0i64, 0i64); MODELS.len()];
    for (index, call) in calls.iter().enumerate().filter(|(index, _)| world.attribution(*index).tenant == world.tight) {
        let sum = &mut sums[model(index)];
        *sum = (sum.0 + 1, sum.1 + call.input_tokens, sum.2 + call.output_tokens);
    }
    let used: Vec<_> = sums.into_iter().zip(MODELS).filter(|(sum, _)| sum.0 > 0).collect();
    let providers: Vec<&str> = used.iter().map(|(_, model)| model.0).collect();
    let models: Vec<&str> = used.iter().map(|(_, model)| model.1).collect();
    let counts: Vec<i64> = used.iter().map(|(sum, _)| sum.0).collect();
    let inputs: Vec<i64> = used.iter().map(|(sum, _)| sum.1 / sum.0).collect();
    let outputs: Vec<i64> = used.iter().map(|(sum, _)| sum.2 / sum.0).collect();
    let row = server.query_one(
        "with whole as (
             select 0.4 * sum(e.estimated_cost_usd * u.calls) as usd
               from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                    as u (provider, model, calls, input_tokens, output_tokens),
                    public.estimate_llm_cost(u.provider, u.model, u.input_tokens, u.output_tokens) e)
         select (case when usd >= 1 then floor(usd) else trunc(usd, 4) end)::text from whole",
        &[&providers, &models, &counts, &inputs, &outputs],
    );
    Ok(row.context("cannot estimate what the tight tenant would spend")?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_and_model_gets_calls() {
        let world = DemoWorld { tenants: tenants(), tight: 2, tight_limit_usd: String::new() };
        let calls: Vec<CallAttribution> = (0..1_000).map(|index| world.attribution(index)).collect();
        for tenant in 0..3 {
            for (_, model) in MODELS {
                assert!(calls.iter().any(|call| call.tenant == tenant && call.model == model), "{tenant} {model}");
            }
        }
        assert!(calls.iter().all(|call| world.tenants[call.tenant].members.contains(&call.user)));
    }

    #[test]
    fn ids_differ() {
        let mut ids: Vec<Uuid> = tenants().iter().flat_map(|it| it.members.iter().copied().chain([it.id])).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 13);
    }
}
