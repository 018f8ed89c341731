//! A tenant, what open sessions ask about it, and the changes that they have to follow.

use anyhow::{Result, ensure};
use postgres::Client;
use tollgate_tests::cluster::Cluster;
use tollgate_tests::session::{Caller, Session};
use uuid::Uuid;

use crate::support::id;

/// A tenant with its owner and another user, as one of several in a database.
#[derive(Clone, Copy)]
pub struct Tenant {
    pub id: Uuid,
    pub owner: Uuid,
    pub user: Uuid,
}

impl Tenant {
    pub fn numbered(number: u128) -> Self {
        Self { id: id(number * 16 + 1), owner: id(number * 16 + 2), user: id(number * 16 + 3) }
    }

    pub fn create(self, client: &mut Client) -> Result<()> {
        let Self { id, owner, .. } = self;
        client.batch_execute(&format!(
            "insert into copilot_internal.tenants (id, name, owner_id) values ('{id}', 'tenant', '{owner}');
             select public.set_quota('tenant', '{id}', 'llm', 10, 'lifetime')"
        ))?;
        Ok(())
    }
}

/// A change, and what a session says before and after it.
pub struct Change {
    pub name: &'static str,
    /// With `{id}`, `{owner}` and `{user}` of the tenant.
    pub sql: &'static str,
    pub back: &'static str,
    pub asks: Question,
    pub before: &'static str,
    pub after: &'static str,
}

/// What tells whether a session has followed. Nothing that is asked is left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Whether 5 USD may be charged.
    Admitted,
    /// Whether 12 USD may be charged.
    AdmittedAbove,
    /// Whether 0.001 USD of `p/m` may be charged.
    Allowed,
    /// What a thousand tokens of `p/m` cost.
    Priced,
    /// What a second of the sandbox `box` of provider `p` costs.
    SandboxPriced,
    /// The role of the user in the tenant.
    Role,
    /// The role of the owner.
    OwnersRole,
    /// The tenant that the user works in.
    Current,
}

pub const CHANGES: &[Change] = &[
    Change {
        name: "a limit",
        sql: "update copilot_internal.cost_quotas set limit_usd = 4 where tenant_id = '{id}'",
        back: "update copilot_internal.cost_quotas set limit_usd = 10 where tenant_id = '{id}'",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a raise",
        sql: "insert into copilot_internal.quota_overrides (quota_id, ends_at, amount_usd)
              select q.id, now() + interval '1 day', 1 from copilot_internal.cost_quotas q where q.tenant_id = '{id}';
              update copilot_internal.quota_overrides set amount_usd = 3 where amount_usd = 1",
        back: "delete from copilot_internal.quota_overrides where true",
        asks: Question::AdmittedAbove,
        before: "false",
        after: "true",
    },
    Change {
        name: "a quota that comes",
        sql:
            "insert into copilot_internal.cost_quotas (id, scope, scope_id, tenant_id, resource_type, limit_usd, period)
              values (md5('{id}')::uuid, 'tenant', '{id}', '{id}', 'all', 4, 'year')",
        back: "delete from copilot_internal.cost_quotas where id = md5('{id}')::uuid",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a platform quota",
        sql: "insert into copilot_internal.cost_quotas (scope, resource_type, limit_usd, period)
              values ('platform', 'llm', 4, 'year')",
        back: "delete from copilot_internal.cost_quotas where scope = 'platform'",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a default",
        sql: "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('llm', 4)",
        back: "delete from copilot_internal.default_quotas where true",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a plan",
        sql: "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('gold', 'llm', 4);
              update copilot_internal.tenants set plan = 'gold' where id = '{id}'",
        back: "update copilot_internal.tenants set plan = 'free' where id = '{id}';
               delete from copilot_internal.default_quotas where true",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a tenant's deletion",
        sql: "update copilot_internal.tenants set deleted_at = now() where id = '{id}'",
        back: "update copilot_internal.tenants set deleted_at = null where id = '{id}'",
        asks: Question::Admitted,
        before: "true",
        after: "false",
    },
    Change {
        name: "a tenant's deletion, to its owner",
        sql: "update copilot_internal.tenants set deleted_at = now() where id = '{id}'",
        back: "update copilot_internal.tenants set deleted_at = null where id = '{id}'",
        asks: Question::OwnersRole,
        before: "owner",
        after: "none",
    },
    Change {
        name: "a handover",
        sql: "update copilot_internal.tenants set owner_id = '{user}' where id = '{id}'",
        back: "update copilot_internal.tenants set owner_id = '{owner}' where id = '{id}'",
        asks: Question::OwnersRole,
        before: "owner",
        after: "none",
    },
    Change {
        name: "a handover, to the new owner",
        sql: "update copilot_internal.tenants set owner_id = '{user}' where id = '{id}'",
        back: "update copilot_internal.tenants set owner_id = '{owner}' where id = '{id}'",
        asks: Question::Role,
        before: "none",
        after: "owner",
    },
    Change {
        name: "a membership",
        sql: "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role)
              values ('{id}', '{user}', 'member');
              update copilot_internal.tenant_memberships set role = 'admin' where user_id = '{user}'",
        back: "delete from copilot_internal.tenant_memberships where user_id = '{user}'",
        asks: Question::Role,
        before: "none",
        after: "admin",
    },
    Change {
        name: "a preference",
        sql: "insert into copilot_internal.tenant_memberships (tenant_id, user_id) values ('{id}', '{user}');
              insert into copilot_internal.user_preferences (user_id, current_tenant_id) values ('{user}', '{id}')",
        back: "delete from copilot_internal.user_preferences where user_id = '{user}';
               delete from copilot_internal.tenant_memberships where user_id = '{user}'",
        asks: Question::Current,
        before: "none",
        after: "here",
    },
    Change {
        name: "a policy",
        sql: "insert into copilot_internal.tenant_llm_policies (tenant_id, denied_models) values ('{id}', '[\"m\"]')",
        back: "delete from copilot_internal.tenant_llm_policies where tenant_id = '{id}'",
        asks: Question::Allowed,
        before: "true",
        after: "false",
    },
    Change {
        name: "a price",
        sql: "insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd,
                  output_per_million_usd) values ('p', 'm', 1, 1);
              update copilot_internal.model_pricing set input_per_million_usd = 2 where model_name = 'm'",
        back: "delete from copilot_internal.model_pricing where model_name = 'm'",
        asks: Question::Priced,
        before: "none",
        after: "0.002",
    },
    Change {
        name: "a tenant's own price",
        sql: "insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd,
                  output_per_million_usd, tenant_id) values ('p', 'm', 3, 1, '{id}')",
        back: "delete from copilot_internal.model_pricing where model_name = 'm'",
        asks: Question::Priced,
        before: "none",
        after: "0.003",
    },
    Change {
        name: "an alias",
        sql: "insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd,
                  output_per_million_usd) values ('p', 'other', 4, 1);
              insert into copilot_internal.model_aliases (model_provider, model_name, price_provider, price_model)
              values ('p', 'm', 'p', 'other')",
        back: "delete from copilot_internal.model_aliases where model_name = 'm';
               delete from copilot_internal.model_pricing where model_name = 'other'",
        asks: Question::Priced,
        before: "none",
        after: "0.004",
    },
    Change {
        name: "a markup",
        sql: "insert into copilot_internal.model_pricing (model_provider, model_name, input_per_million_usd,
                  output_per_million_usd) values ('p', 'm', 5, 1);
              insert into copilot_internal.price_markups (tenant_id, factor) values ('{id}', 2)",
        back: "delete from copilot_internal.price_markups where tenant_id = '{id}';
               delete from copilot_internal.model_pricing where model_name = 'm'",
        asks: Question::Priced,
        before: "none",
        after: "0.01",
    },
    Change {
        name: "a sandbox's price",
        sql: "insert into copilot_internal.e2b_pricing (provider, sandbox_type, per_second_usd) values ('p', 'box', 6)",
        back: "delete from copilot_internal.e2b_pricing where provider = 'p'",
        asks: Question::SandboxPriced,
        before: "none",
        after: "6",
    },
];

impl Change {
    pub fn make(&self, client: &mut Client, tenant: Tenant) -> Result<()> {
        Ok(client.batch_execute(&filled(self.sql, tenant))?)
    }

    pub fn undo(&self, client: &mut Client, tenant: Tenant) -> Result<()> {
        Ok(client.batch_execute(&filled(self.back, tenant))?)
    }
}

pub fn filled(sql: &str, tenant: Tenant) -> String {
    sql.replace("{id}", &tenant.id.to_string())
        .replace("{owner}", &tenant.owner.to_string())
        .replace("{user}", &tenant.user.to_string())
}

/// Sessions that stay open while configuration changes.
pub struct Open {
    server: Client,
    people: Session,
}

impl Open {
    pub fn connect(cluster: &Cluster, database: &str) -> Result<Self> {
        let mut server = cluster.superuser(database)?;
        server.batch_execute("set role service_role; set statement_timeout = '60s'")?;
        Ok(Self { server, people: Session::open(cluster, database)? })
    }

    pub fn ask(&mut self, question: Question, tenant: Tenant) -> Result<String> {
        let charge = "coalesce(trim_scale(r.cost_usd)::text, 'none')";
        let recorded = "r.recorded::text";
        let sql = match question {
            Question::Admitted => format!("select {recorded} {}", call("p_cost_usd => 5, p_enforce => true")),
            Question::AdmittedAbove => {
                format!("select {recorded} {}", call("p_cost_usd => 12, p_enforce => true"))
            }
            Question::Allowed => format!("select {recorded} {}", call("p_cost_usd => 0.001, p_enforce => true")),
            Question::Priced => format!("select {charge} {}", call("p_metadata => '{}'")),
            Question::SandboxPriced => {
                format!("select {charge} from public.record_e2b_cost($1, 's', 'box', 1, p_provider => 'p') r")
            }
            Question::Role => return self.role(tenant, tenant.user),
            Question::OwnersRole => return self.role(tenant, tenant.owner),
            Question::Current => {
                let sql = "select case public.get_current_tenant_id() when $1 then 'here' else 'none' end";
                return Ok(self.people.value(&Caller::user(tenant.user, None), sql, &[&tenant.id])?);
            }
        };
        let mut transaction = self.server.transaction()?;
        let answer = transaction.query_one(&sql, &[&tenant.id])?.get(0);
        transaction.rollback()?;
        Ok(answer)
    }

    fn role(&mut self, tenant: Tenant, user: Uuid) -> Result<String> {
        let sql = "select coalesce(min(a.role), 'none') from public.verify_tenant_access($1, $2) a where a.has_access";
        Ok(self.people.value(&Caller::user(user, None), sql, &[&user, &tenant.id])?)
    }

    /// Answers what was acknowledged.
    pub fn expect(&mut self, change: &Change, tenant: Tenant, expected: &str, when: &str) -> Result<()> {
        let said = self.ask(change.asks, tenant)?;
        ensure!(said == expected, "{}: {said} instead of {expected} {when}", change.name);
        Ok(())
    }
}

fn call(further: &str) -> String {
    format!("from public.record_llm_cost($1, 'p', 'm', 1000, 0, {further}) r")
}
