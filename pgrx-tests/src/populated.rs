//! A database in which every table has rows, for what must keep them: dumps, upgrades and new versions.

use anyhow::{Result, ensure};
use postgres::Client;

use crate::support::{id, make_tenant};

/// Rows in every table, some of them folded and some pending; prices, quotas and defaults of an operator.
pub fn populate(client: &mut Client) -> Result<()> {
    for number in 1..=2 {
        make_tenant(client, id(number))?;
    }
    client.batch_execute(&format!(
        "insert into copilot_internal.tenant_memberships (tenant_id, user_id) values ('{tenant}', '{user}');
         insert into copilot_internal.user_preferences (user_id, current_tenant_id) values ('{user}', '{tenant}');
         select public.create_personal_tenant('{user}', 'ann@example.com');
         select public.initialize_tenant_quotas('{tenant}');
         select public.set_llm_policy('{tenant}', '{{\"denied_models\": [\"x*\"], \"user_overrides\": {{\"{tenant}\": {{\"egress_mode\": \"blocked\"}}}}}}');
         insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values (null, 'e2b', 7), ('gold', 'llm', 9);
         insert into copilot_internal.llm_cost_estimates (model_provider, model_name, estimated_cost_usd) values ('p', 'm', 0.5);
         insert into copilot_internal.e2b_cost_estimates (sandbox_type, estimated_cost_usd) values ('t', 0.5);
         insert into copilot_internal.e2b_pricing (sandbox_type, per_second_usd, effective_from) values ('t', 0.25, '2020-01-01');
         select public.set_model_price('p', 'm', 1, 2, '2020-01-01', '{{\"cache_read_input_token_cost\": 0.0000001}}');
         insert into copilot_internal.model_aliases (model_provider, model_name, price_provider, price_model) values ('p', 'alias', 'p', 'm');
         insert into copilot_internal.price_markups (tenant_id, factor, effective_from) values ('{tenant}', 1, '2020-01-01');
         -- A list with history: a change, and a model that is gone.
         select copilot_internal.import_model_pricing('{{\"l/a\": {{\"litellm_provider\": \"l\", \"input_cost_per_token\": 0.000001}},
             \"l/b\": {{\"litellm_provider\": \"l\", \"input_cost_per_token\": 1.3e-10}}}}', 'one', '2020-01-01');
         select copilot_internal.import_model_pricing('{{\"l/a\": {{\"litellm_provider\": \"l\", \"input_cost_per_token\": 0.000002}}}}', 'two', '2021-01-01');
         -- Dearer than what ships: the operator's row wins after a restore too.
         select public.set_model_price('openai', 'gpt-4o', 1000, 1000, '2020-01-01');
         select public.set_quota('tenant', '{tenant}', 'llm', 10, 'year', null, 'Europe/Berlin', 'soft', 0.5);
         select public.set_quota('user', '{user}', 'all', 10, 'lifetime', '{tenant}');
         select public.set_quota('platform', null, 'all', 1000, 'lifetime');
         select public.set_quota('tenant', '{tenant}', 'e2b', 1, 'lifetime', p_event_thresholds => '{{0.1, 0.2, 1}}');
         -- Writes an event, which a restore must not write again.
         select public.set_quota('tenant', '{tenant}', 'e2b', 2, 'lifetime');
         select public.raise_quota(quota_id, 1, '2900-01-01', '2890-01-01', 'an anniversary')
         from copilot_internal.effective_quotas where tenant_id = '{tenant}'",
        tenant = id(1),
        user = id(0xf1),
    ))?;
    for (round, state) in [(1, "folded"), (2, "pending")] {
        client.batch_execute(&format!(
            "select public.record_llm_cost('{tenant}', 'p', 'm', i, i, p_user_id => '{user}', p_conversation_id => '{user}',
                 p_request_id => '{state} ' || i, p_occurred_at => clock_timestamp() - i * interval '5 hours') from generate_series(1, 20) i;
             select public.record_llm_cost('{other}', 'p', 'unknown', 1, 1);
             select public.record_e2b_cost('{tenant}', 's', 't', {round}, p_request_id => '{state}');
             select public.check_and_record_quota_atomic('tenant', '{tenant}', 0.5, 'llm', null, '{state}');
             select public.check_and_record_quota_atomic('platform', null, 0.25, 'e2b', null, '{state}')",
            tenant = id(1),
            other = id(2),
            user = id(0xf1),
        ))?;
        if state == "folded" {
            client.batch_execute("select copilot_internal.maintain()")?;
        }
    }
    let pending: i64 = client.query_one("select count(*) from copilot_internal.pending_costs", &[])?.get(0);
    ensure!(pending > 0, "nothing is pending");
    // Some events are dealt with, one is with a consumer, the rest wait.
    client
        .batch_execute("select public.acknowledge_quota_events(array(select id from public.claim_quota_events(1)))")?;
    client.batch_execute("select public.claim_quota_events(1)")?;
    let events: i64 = client.query_one("select count(*) from copilot_internal.quota_events", &[])?.get(0);
    ensure!(events >= 3, "{events} events");
    Ok(())
}

/// The same of `pg_tollgate_conversations`: a conversation with a branch, a pin, and a sandbox that is billed.
pub fn populate_conversations(client: &mut Client) -> Result<()> {
    let sql = "select conversation_id from public.create_conversation($1, $2, 'a chat', p_share_audience => 'tenant')";
    let (tenant, user) = (id(1), id(0xf1));
    let chat: uuid::Uuid = client.query_one(sql, &[&tenant, &user])?.get(0);
    let append = "select message_id from public.append_message($1, $2, 'assistant', 'said at some length')";
    let mut last = None;
    for _ in 0..3 {
        last = client.query_one(append, &[&tenant, &chat])?.get::<_, Option<uuid::Uuid>>(0);
    }
    client.execute("select public.pin_message($1, $2, $3, $4)", &[&tenant, &chat, &last, &user])?;
    let branch = "select path_id from public.branch_from_message($1, $2, $3)";
    let path: uuid::Uuid = client.query_one(branch, &[&tenant, &chat, &last])?.get(0);
    let acquire = "select context_id from public.acquire_execution_context($1, $2, $3, $4)";
    let context: Option<uuid::Uuid> = client.query_one(acquire, &[&tenant, &chat, &path, &user])?.get(0);
    ensure!(context.is_some(), "no sandbox");
    client.execute("select * from public.activate_execution_context($1, 'box')", &[&context])?;
    client.execute("select * from public.touch_execution_context($1, 45)", &[&context])?;
    Ok(())
}
