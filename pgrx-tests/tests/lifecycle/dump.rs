//! `pg_dump` and `pg_restore`, as an operator moves a database or rehearses its loss.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, SUPERUSER};
use tollgate_tests::cluster_pool;

use crate::picture::{figures, grants};
use crate::sample_app;
use crate::support::{Database, assert_verified, id, make_tenant, text};

pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run a client program")?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn dump(cluster: &Cluster, name: &str) -> Result<PathBuf> {
    let file = cluster.dir().join(format!("{name}.dump"));
    run(cluster.client_program("pg_dump", name, SUPERUSER).arg("-Fc").arg("-f").arg(&file))?;
    Ok(file)
}

/// Into a database made for it, stopping at the first error.
pub fn restore(cluster: &Cluster, file: &PathBuf, name: &str) -> Result<Client> {
    cluster.superuser("postgres")?.batch_execute(&format!("create database \"{name}\" template template0"))?;
    run(cluster.client_program("pg_restore", name, SUPERUSER).args(["--exit-on-error", "-d", name]).arg(file))?;
    cluster.superuser(name)
}

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
    assert!(pending > 0, "nothing is pending");
    // Some events are dealt with, one is with a consumer, the rest wait.
    client
        .batch_execute("select public.acknowledge_quota_events(array(select id from public.claim_quota_events(1)))")?;
    client.batch_execute("select public.claim_quota_events(1)")?;
    let events: i64 = client.query_one("select count(*) from copilot_internal.quota_events", &[])?.get(0);
    assert!(events >= 3, "{events} events");
    Ok(())
}

#[test]
fn a_restored_database_says_the_same_and_goes_on() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    populate(&mut client)?;
    let file = dump(database.cluster, &database.name)?;
    let mut restored = restore(database.cluster, &file, "restored")?;
    assert_eq!(figures(&mut restored)?, figures(&mut client)?);
    assert_eq!(grants(&mut restored)?, grants(&mut client)?);
    assert_verified(&mut restored);
    // Nothing is told of twice.
    let sql = "select count(*) from public.claim_quota_events()";
    let waiting: i64 =
        client.query_one("select count(*) from copilot_internal.quota_events where claimed_until is null", &[])?.get(0);
    assert_eq!(restored.query_one(sql, &[])?.get::<_, i64>(0), waiting);
    assert_eq!(client.query_one(sql, &[])?.get::<_, i64>(0), waiting);

    // Retries of requests from before the dump replay; the next charge is new and counts on top.
    let before =
        text(&mut restored, "select current_spend_usd::text from metrics.quota_status where scope = 'user'", &[])?;
    for state in ["folded", "pending"] {
        let sql = "select replayed from public.record_e2b_cost($1, 's', 't', $2::integer, p_request_id => $3)";
        let seconds = if state == "folded" { 1 } else { 2 };
        assert!(restored.query_one(sql, &[&id(1), &seconds, &state])?.get::<_, bool>(0), "{state}");
    }
    let sql = "select recorded, not replayed from public.record_llm_cost($1, 'p', 'm', 1000000, 0, p_user_id => $2, p_enforce => true)";
    let row = restored.query_one(sql, &[&id(1), &id(0xf1)])?;
    assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), (true, true));
    let sql = "select (current_spend_usd - $1::text::numeric)::text from metrics.quota_status where scope = 'user'";
    assert_eq!(text(&mut restored, sql, &[&before])?.trim_end_matches('0').trim_end_matches('.'), "1");
    restored.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(&mut restored);

    // A dump of what was restored is as good.
    let file = dump(database.cluster, "restored")?;
    let mut again = restore(database.cluster, &file, "restored_again")?;
    assert_eq!(figures(&mut again)?, figures(&mut restored)?);
    assert_verified(&mut again);
    Ok(())
}

/// A second restore into the same database meets its own rows: it complains, and adds nothing.
#[test]
fn a_second_restore_doubles_nothing() -> Result<()> {
    let database = Database::fresh()?;
    populate(&mut database.superuser()?)?;
    let file = dump(database.cluster, &database.name)?;
    let mut restored = restore(database.cluster, &file, "restored_twice")?;
    let before = figures(&mut restored)?;
    let mut again = database.cluster.client_program("pg_restore", "restored_twice", SUPERUSER);
    again.args(["--data-only", "-d", "restored_twice"]).arg(&file);
    assert!(run(&mut again).is_err(), "rows that are there should be refused");
    assert_eq!(figures(&mut restored)?, before);
    assert_verified(&mut restored);
    Ok(())
}

/// The application's table refers to tenants and its policy calls `has_quota`, so the order of the dump matters.
#[test]
fn an_application_s_database_restores_too() -> Result<()> {
    let cluster = cluster_pool::shared();
    sample_app::reset(cluster, "app_dumped")?;
    let file = dump(cluster, "app_dumped")?;
    let mut restored = restore(cluster, &file, "app_restored")?;
    assert_eq!(figures(&mut restored)?, figures(&mut cluster.superuser("app_dumped")?)?);
    assert_eq!(grants(&mut restored)?, grants(&mut cluster.superuser("app_dumped")?)?);
    assert_verified(&mut restored);
    sample_app::works(cluster, "app_restored")
}
