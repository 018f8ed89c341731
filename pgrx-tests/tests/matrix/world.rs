//! Two tenants and a platform whose every value can be recognised.

use anyhow::Result;
use postgres::Client;
use uuid::Uuid;

use crate::support::{Database, id};

/// One tenant's people and the values that only it uses.
pub struct Tenant {
    pub tenant: Uuid,
    pub owner: Uuid,
    pub member: Uuid,
    pub conversation: Uuid,
    /// Appears in every name of the tenant's rows.
    pub name: &'static str,
    /// Digits that appear in every amount of the tenant's and in no other.
    pub amount: &'static str,
}

pub fn tenant_a() -> Tenant {
    Tenant {
        tenant: id(0xa000_0000_0000_000a),
        owner: id(0xa000_0000_0000_0001),
        member: id(0xa000_0000_0000_0002),
        conversation: id(0xa000_0000_0000_c001),
        name: "alphaberry",
        amount: "1.001357",
    }
}

pub fn tenant_b() -> Tenant {
    Tenant {
        tenant: id(0xb000_0000_0000_000b),
        owner: id(0xb000_0000_0000_0001),
        member: id(0xb000_0000_0000_0002),
        conversation: id(0xb000_0000_0000_c001),
        name: "bravocherry",
        amount: "3.002468",
    }
}

/// Further people of tenant A.
pub fn admin_a() -> Uuid {
    id(0xa000_0000_0000_0003)
}
pub fn viewer_a() -> Uuid {
    id(0xa000_0000_0000_0004)
}
pub fn invited_a() -> Uuid {
    id(0xa000_0000_0000_0006)
}
pub fn suspended_a() -> Uuid {
    id(0xa000_0000_0000_0005)
}

/// The platform's own limit, charge and what all spend together; only roles that see all may ever read them.
pub const PLATFORM_MARKERS: [&str; 2] = ["97531.24", "0.770077"];

impl Tenant {
    /// What no caller outside of the tenant may ever read.
    pub fn markers(&self) -> Vec<String> {
        let ids = [self.tenant, self.owner, self.member, self.conversation];
        ids.iter().map(Uuid::to_string).chain([self.name.to_string(), self.amount.to_string()]).collect()
    }

    fn seed(&self, client: &mut Client) -> Result<()> {
        let Tenant { tenant, owner, member, conversation, name, amount } = self;
        client.batch_execute(&format!(
            "insert into copilot_internal.tenants (id, name, slug, owner_id) values ('{tenant}', '{name}', '{name}', '{owner}');
             insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values ('{tenant}', '{member}', 'member');
             insert into copilot_internal.user_preferences (user_id, current_tenant_id, preferences)
                 values ('{owner}', '{tenant}', '{{\"theme\": \"{name}\"}}'), ('{member}', '{tenant}', '{{\"theme\": \"{name}\"}}');
             select public.set_quota('tenant', '{tenant}', 'llm', 10 * {amount}, p_event_thresholds => '{{0.1}}');
             select public.raise_quota(q.quota_id, {amount}, clock_timestamp() + interval '1 day', p_reason => '{name}')
             from copilot_internal.effective_quotas q where q.tenant_id = '{tenant}' and q.resource_type = 'e2b';
             select public.set_quota('user', '{member}', 'llm', 5 * {amount}, 'day', '{tenant}');
             select public.set_llm_policy('{tenant}', '{{\"default_model\": \"model-{name}\", \"denied_models\": [\"not-{name}\"]}}');
             select public.set_model_price('own', 'model-{name}', {amount}, {amount}, '2020-01-01', '{{}}', '{tenant}');
             insert into copilot_internal.e2b_pricing (tenant_id, sandbox_type, per_second_usd, effective_from)
                 values ('{tenant}', 'box-{name}', {amount}, '2020-01-01');
             insert into copilot_internal.price_markups (tenant_id, factor, effective_from) values ('{tenant}', 1, '2020-01-01');",
        ))?;
        // Definitions first, and then charges, in transactions of their own.
        client.batch_execute(&format!(
            "select public.record_llm_cost('{tenant}', 'own', 'model-{name}', 1000000, 0, p_user_id => '{member}',
                 p_conversation_id => '{conversation}', p_request_id => 'request-{name}', p_metadata => '{{\"note\": \"{name}\"}}');
             select public.record_e2b_cost('{tenant}', 'sandbox-{name}', 'box-{name}', 1, p_user_id => '{owner}',
                 p_conversation_id => '{conversation}', p_request_id => 'request-{name}');
             -- What no user was named for, every member sees.
             select public.record_llm_cost('{tenant}', 'own', 'model-{name}', 1000000, 0, p_request_id => 'unnamed-{name}');
             select public.record_e2b_cost('{tenant}', 'unnamed-{name}', 'box-{name}', 1, p_request_id => 'unnamed-{name}');
             select public.check_and_record_quota_atomic('tenant', '{tenant}', {amount}, 'llm', null, 'charge-{name}');
             select public.reserve_quota('{tenant}', 'llm', {amount}, 'held-{name}', '{member}', '8 days', '{{\"note\": \"{name}\"}}');
             select public.reserve_quota('{tenant}', 'llm', {amount}, 'plain-{name}', p_ttl => '8 days');
             select public.extend_reservation(id, '8 days', p_request_id => 'extended-' || request_id)
                 from copilot_internal.quota_reservations where tenant_id = '{tenant}';
             select public.refund_cost(id, {amount} / 1000000, 'refund-' || request_id, '{name}')
                 from copilot_internal.llm_cost_records where tenant_id = '{tenant}';",
        ))?;
        Ok(())
    }
}

/// Seeds rows of every kind, of them some folded and some pending.
pub fn seed(database: &Database) -> Result<()> {
    let mut client = database.superuser()?;
    let (a, b) = (tenant_a(), tenant_b());
    a.seed(&mut client)?;
    b.seed(&mut client)?;
    client.batch_execute(&format!(
        "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role, status) values
             ('{tenant}', '{admin}', 'admin', 'active'), ('{tenant}', '{viewer}', 'viewer', 'active'),
             ('{tenant}', '{suspended}', 'member', 'suspended'), ('{tenant}', '{invited}', 'member', 'pending');
         insert into copilot_internal.tenants (id, name, deleted_at) values ('00000000-0000-0000-0000-00000000de1e', 'Gone', now());
         select public.set_quota('platform', null, 'all', 97531.24, 'year', p_event_thresholds => '{{0.000001}}');
         select public.raise_quota(id, 0.770077, clock_timestamp() + interval '1 day', clock_timestamp() + interval '1 hour')
         from copilot_internal.cost_quotas where scope = 'platform';
         select public.set_model_price('shared', 'model-for-all', 1, 2, '2020-01-01');
         insert into copilot_internal.e2b_pricing (sandbox_type, per_second_usd) values ('box-for-all', 0.01);
         insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('shared', 'model-for-all', 0.1);
         insert into copilot_internal.e2b_cost_estimates (sandbox_type, estimated_cost_usd) values ('box-for-all', 0.2);
         insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('gold', 'llm', 12345);
         -- Nothing limits what sandboxes cost either of them, so that the audit names both.
         insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('e2b', null), ('all', null);",
        tenant = a.tenant,
        admin = admin_a(),
        viewer = viewer_a(),
        suspended = suspended_a(),
        invited = invited_a(),
    ))?;
    client.batch_execute(&format!(
        "select public.check_and_record_quota_atomic('platform', null, 0.770077);
         select * from copilot_internal.maintain();
         -- Once more, so that some of everything is pending.
         select public.record_llm_cost('{tenant}', 'own', 'model-{name}', 1000000, 0, p_conversation_id => '{conversation}');
         select public.record_llm_cost('{tenant_b}', 'own', 'model-{name_b}', 1000000, 0, p_conversation_id => '{conversation_b}');
         select public.check_and_record_quota_atomic('platform', null, 0.770077);",
        tenant = a.tenant,
        name = a.name,
        conversation = a.conversation,
        tenant_b = b.tenant,
        name_b = b.name,
        conversation_b = b.conversation,
    ))?;
    Ok(())
}
