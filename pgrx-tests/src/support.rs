//! What several of the tests from outside need: a database of their own, tenants in it, and the figures that must be exact.
//!
//! Money crosses the wire as nano-dollars or as text, never as a float.

#![allow(clippy::panic, reason = "assertions, which say what they found")]

use crate::books::DIFFERENCES;
use crate::cluster::Cluster;
use crate::cluster_pool;
use crate::session::Session;
use crate::supabase::DefaultPrivileges;
use anyhow::Result;
use postgres::Client;
use postgres::types::ToSql;
use uuid::Uuid;

/// A database that no other test touches.
pub struct Database {
    pub cluster: &'static Cluster,
    pub name: String,
}

impl Database {
    pub fn fresh() -> Result<Database> {
        let cluster = cluster_pool::shared();
        Ok(Database { cluster, name: cluster.fresh_database()? })
    }

    pub fn with_privileges(name: &str, privileges: DefaultPrivileges) -> Result<Database> {
        let cluster = cluster_pool::shared();
        cluster.create_database_with(name, privileges)?;
        Ok(Database { cluster, name: name.to_string() })
    }

    /// For a test that makes many: others go when the test has ended.
    pub fn remove(self) -> Result<()> {
        self.cluster.drop_database(&self.name)
    }

    pub fn superuser(&self) -> Result<Client> {
        self.cluster.superuser(&self.name)
    }

    /// A connection as PostgREST's login role.
    pub fn session(&self) -> Result<Session> {
        Session::open(self.cluster, &self.name)
    }
}

/// Whether the server has the library preloaded, for what differs.
pub fn preloaded(client: &mut Client) -> Result<bool> {
    let sql = "select count(*) from pg_settings where name = 'pg_tollgate.quota_entries'";
    Ok(client.query_one(sql, &[])?.get::<_, i64>(0) == 1)
}

/// Ids that can be told apart in a failure's text: `0000…0a01`.
pub fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A tenant without an owner; its shipped default quotas (100, 50 and 150 USD a month) apply.
pub fn make_tenant(client: &mut Client, tenant: Uuid) -> Result<()> {
    client.execute("insert into copilot_internal.tenants (id, name) values ($1, 'tenant')", &[&tenant])?;
    Ok(())
}

/// Replaces a tenant's default for a resource by its own limit, for ever, so that no test depends on the calendar.
pub fn limit(client: &mut Client, tenant: Uuid, resource: &str, usd: &str) -> Result<()> {
    let sql = "select public.set_quota('tenant', $1, $2, $3::text::numeric, 'lifetime')";
    client.execute(sql, &[&tenant, &resource, &usd])?;
    Ok(())
}

/// What `verify()` and `verify_counters()` find wrong, as text.
pub fn differences(client: &mut Client) -> Result<Vec<String>> {
    texts(client, DIFFERENCES, &[])
}

#[track_caller]
pub fn assert_verified(client: &mut Client) {
    match differences(client) {
        Ok(found) => assert_eq!(found, Vec::<String>::new(), "verify() finds differences"),
        Err(error) => panic!("verify() fails: {error:#}"),
    }
}

/// The ledger's charges, from the tables themselves.
const CHARGES: &str = "
    (select tenant_id, charge_nanos from copilot_internal.llm_cost_records
     union all select tenant_id, charge_nanos from copilot_internal.e2b_cost_records
     union all select tenant_id, charge_nanos from copilot_internal.quota_charges
     union all select tenant_id, charge_nanos from copilot_internal.cost_corrections) charges";

/// What a tenant has been charged in nano-dollars.
pub fn charged_nanos(client: &mut Client, tenant: Uuid) -> Result<i64> {
    let sql = format!("select coalesce(sum(charge_nanos), 0)::bigint from {CHARGES} where tenant_id = $1");
    Ok(client.query_one(&sql, &[&tenant])?.get(0))
}

pub fn all_charged_nanos(client: &mut Client) -> Result<i64> {
    let sql = format!("select coalesce(sum(charge_nanos), 0)::bigint from {CHARGES}");
    Ok(client.query_one(&sql, &[])?.get(0))
}

/// The first column of every row.
pub fn texts(client: &mut Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<String>> {
    Ok(client.query(sql, params)?.iter().map(|row| row.get(0)).collect())
}

/// The one text that a query gives.
pub fn text(client: &mut Client, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<String> {
    Ok(client.query_one(sql, params)?.get(0))
}

/// Fails with the list, when a query that looks for offenders finds any.
#[track_caller]
pub fn assert_none(client: &mut Client, what: &str, sql: &str) {
    match texts(client, sql, &[]) {
        Ok(found) => assert_eq!(found, Vec::<String>::new(), "{what}"),
        Err(error) => panic!("{what}: {error:#}"),
    }
}

pub const USD: i64 = 1_000_000_000;
