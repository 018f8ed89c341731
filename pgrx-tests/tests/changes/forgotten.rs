//! A session reads again what has changed, and nothing else.

use anyhow::{Result, ensure};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::world::Tenant;

/// The tables by which a session shows that it has read a kind again.
const QUOTAS: &str = "cost_quotas";
const PRICES: &str = "model_pricing";
const POLICIES: &str = "tenant_llm_policies";
const PEOPLE: &str = "tenant_memberships";

/// The tables that one charge and two questions of a member read, all of which were asked before.
fn read_again(client: &mut Client, tenant: Tenant) -> Result<Vec<&'static str>> {
    // What earlier transactions have read is counted with this one until it is told.
    client.batch_execute("select pg_stat_force_next_flush()")?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!(
        "set local role service_role;
         select recorded from public.record_llm_cost('{id}', 'p', 'm', 1, 1, p_enforce => true);
         set local role authenticated;
         set local request.jwt.claims = '{{\"sub\": \"{owner}\"}}';
         select public.has_quota('{id}', 'llm', 1);
         select public.get_current_tenant_id();
         reset role",
        id = tenant.id,
        owner = tenant.owner
    ))?;
    let sql = "select coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0 from pg_stat_xact_user_tables
                where schemaname = 'copilot_internal' and relname = $1";
    let mut read = Vec::new();
    for table in [QUOTAS, PRICES, POLICIES, PEOPLE] {
        if transaction.query_one(sql, &[&table])?.get(0) {
            read.push(table);
        }
    }
    transaction.rollback()?;
    Ok(read)
}

/// What a change of this tenant, and of another, has read again. Of policies and prices it is always looked up
/// whether a tenant has any, which is one small query for all tenants.
const CHANGES: [(&str, &[&str], &[&str]); 8] = [
    ("update copilot_internal.cost_quotas set limit_usd = limit_usd + 1 where tenant_id = '{id}'", &[QUOTAS], &[]),
    (
        "insert into copilot_internal.quota_overrides (quota_id, ends_at, amount_usd)
         select q.id, now() + interval '1 day', 1 from copilot_internal.cost_quotas q where q.tenant_id = '{id}'",
        &[QUOTAS],
        &[],
    ),
    ("update copilot_internal.tenants set name = name || 'x', settings = '{}' where id = '{id}'", &[], &[]),
    (
        "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values ('{id}', '{user}', 'admin')",
        &[PEOPLE],
        &[],
    ),
    ("insert into copilot_internal.user_preferences (user_id) values ('{user}')", &[PEOPLE], &[]),
    ("update copilot_internal.tenants set owner_id = md5(owner_id::text)::uuid where id = '{id}'", &[PEOPLE], &[]),
    ("select public.set_llm_policy('{id}', '{\"denied_models\": [\"y\"]}')", &[POLICIES], &[POLICIES]),
    ("select public.set_model_price('q', 'm', 2, 1, p_tenant_id => '{id}')", &[PRICES], &[PRICES]),
];

#[test]
fn a_session_forgets_what_changed_and_nothing_else() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        extra_conf: vec![("autovacuum".to_string(), "off".to_string())],
        ..ClusterOptions::default()
    })?;
    let database = cluster.fresh_database()?;
    let elsewhere = cluster.fresh_database()?;
    let mut owner = cluster.superuser(&database)?;
    let mut session = cluster.superuser(&database)?;
    let (own, other) = (Tenant::numbered(1), Tenant::numbered(2));
    own.create(&mut owner)?;
    other.create(&mut owner)?;
    owner.batch_execute(
        "select public.set_model_price('p', 'm', 1, 1);
         create role grantor;
         create role granted",
    )?;
    for tenant in [own, other] {
        owner.execute("select public.set_llm_policy($1, '{\"denied_models\": [\"x\"]}')", &[&tenant.id])?;
        owner.execute("select public.set_model_price('q', 'm', 1, 1, p_tenant_id => $1)", &[&tenant.id])?;
    }
    let of = |tenant: Tenant, sql: &str| {
        sql.replace("{id}", &tenant.id.to_string()).replace("{user}", &tenant.owner.to_string())
    };
    for (sql, by_own, by_other) in CHANGES {
        for (tenant, expected) in [(other, by_other), (own, by_own)] {
            read_again(&mut session, own)?;
            let known = read_again(&mut session, own)?;
            ensure!(known.is_empty(), "{known:?} are read again before {sql}");
            owner.batch_execute(&of(tenant, sql))?;
            let read = read_again(&mut session, own)?;
            ensure!(read == expected, "{read:?} instead of {expected:?} after {}", of(tenant, sql));
        }
    }
    let unrelated = [
        "grant granted to grantor; alter role granted createdb; drop role granted; create role granted",
        "create table public.t (n integer); alter table public.t add m text; create index on public.t (n); drop table public.t",
        "create function public.f() returns integer language sql as 'select 1'; drop function public.f()",
        "analyze copilot_internal.llm_cost_records, copilot_internal.pending_costs",
    ];
    for sql in unrelated {
        read_again(&mut session, own)?;
        owner.batch_execute(sql)?;
        let read = read_again(&mut session, own)?;
        ensure!(read.is_empty(), "{read:?} after {sql}");
    }
    read_again(&mut session, own)?;
    let mut elsewhere = cluster.superuser(&elsewhere)?;
    own.create(&mut elsewhere)?;
    elsewhere.batch_execute(
        "select public.set_quota('platform', null, 'llm', 1000); select public.set_model_price('p', 'm', 9, 9);
         delete from copilot_internal.tenants",
    )?;
    let read = read_again(&mut session, own)?;
    ensure!(read.is_empty(), "{read:?} after changes in another database");
    Ok(())
}

/// One statement that changes very many rows tells sessions once.
#[test]
fn a_statement_that_changes_very_many_rows_is_told_in_short() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let database = cluster.fresh_database()?;
    let mut owner = cluster.superuser(&database)?;
    let mut session = cluster.superuser(&database)?;
    let tenant = Tenant::numbered(1);
    tenant.create(&mut owner)?;
    read_again(&mut session, tenant)?;
    owner.batch_execute(
        "create table public.untouched (n integer);
         insert into copilot_internal.tenants (id, name) select md5(n::text)::uuid, n from generate_series(1, 20000) n;
         update copilot_internal.cost_quotas set limit_usd = 20 where true",
    )?;
    read_again(&mut session, tenant)?;
    // Both parts of it are told of, whichever of them is rolled back.
    for (first, second) in [("release", "rollback to"), ("rollback to", "release")] {
        owner.batch_execute(&format!(
            "begin; savepoint s;
             update copilot_internal.tenants set plan = plan || 'x' where name <> 'tenant';
             update copilot_internal.cost_quotas set limit_usd = limit_usd + 1 where true;
             {first} s; savepoint s;
             update copilot_internal.tenants set plan = plan || 'y' where name <> 'tenant';
             update copilot_internal.cost_quotas set limit_usd = limit_usd + 1 where true;
             {second} s; commit"
        ))?;
        let read = read_again(&mut session, tenant)?;
        ensure!(read.contains(&QUOTAS), "{read:?} after {first} and {second}");
    }
    Ok(())
}
