//! The harness itself: what every other test here relies on.

use anyhow::Result;
use serde_json::Value;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::cluster_pool;
use tollgate_tests::session::{Caller, Session};
use tollgate_tests::supabase::DefaultPrivileges;
use uuid::Uuid;

fn plain_database(cluster: &Cluster, name: &str) -> Result<String> {
    cluster.create_database_without_extension(name)?;
    Ok(name.to_string())
}

#[test]
fn a_request_has_the_role_and_the_claims_of_its_caller() -> Result<()> {
    let cluster = cluster_pool::shared();
    let database = plain_database(cluster, "requests")?;
    let mut session = Session::open(cluster, &database)?;
    let (user, tenant) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let caller = Caller::user(user, Some(tenant));
    assert_eq!(session.value::<String>(&caller, "select current_user::text", &[])?, "authenticated");
    assert_eq!(session.value::<Uuid>(&caller, "select auth.uid()", &[])?, user);
    let jwt: Value = session.value(&caller, "select auth.jwt()", &[])?;
    assert_eq!(jwt["app_metadata"]["tenant_id"], tenant.to_string());
    assert_eq!(session.value::<String>(&caller, "show statement_timeout", &[])?, "8s");
    assert_eq!(session.value::<String>(&Caller::anon(), "show statement_timeout", &[])?, "3s");
    assert_eq!(session.value::<String>(&Caller::service(), "select auth.role()", &[])?, "service_role");
    // Nothing of a request survives it.
    assert_eq!(session.client().query_one("select current_user::text", &[])?.get::<_, String>(0), "authenticator");
    let claims = "select coalesce(current_setting('request.jwt.claims', true), '')";
    assert_eq!(session.client().query_one(claims, &[])?.get::<_, String>(0), "");
    Ok(())
}

#[test]
fn a_read_only_request_writes_nothing() -> Result<()> {
    let cluster = cluster_pool::shared();
    let database = plain_database(cluster, "read_only")?;
    cluster.superuser(&database)?.batch_execute("create table t (a int); grant all on t to service_role")?;
    let mut session = Session::open(cluster, &database)?;
    session.expect_sqlstate(&Caller::service().read_only(), "insert into t values (1)", &[], "25006");
    session.request(&Caller::service(), |tx| tx.execute("insert into t values (1)", &[]))?;
    session.expect_sqlstate(&Caller::anon(), "select * from t", &[], "42501");
    Ok(())
}

#[test]
fn default_privileges_follow_the_profile() -> Result<()> {
    for (profile, open) in [(DefaultPrivileges::Legacy, true), (DefaultPrivileges::Secure, false)] {
        let cluster = Cluster::start(ClusterOptions { default_privileges: profile, ..ClusterOptions::default() })?;
        let mut client = cluster.superuser("postgres")?;
        client.batch_execute("create table public.t (a int)")?;
        let readable: bool = client.query_one("select has_table_privilege('anon', 'public.t', 'select')", &[])?.get(0);
        assert_eq!(readable, open, "{profile:?}");
    }
    Ok(())
}

/// So every test that sees an error's DETAIL would see a backtrace that a client is shown.
#[test]
fn a_server_s_environment_asks_for_backtraces() -> Result<()> {
    let environment = std::fs::read(format!("/proc/{}/environ", cluster_pool::shared().postmaster_pid()?))?;
    assert!(String::from_utf8_lossy(&environment).contains("RUST_BACKTRACE=1"));
    Ok(())
}

#[test]
fn a_server_survives_restart_and_crash_and_is_gone_at_the_end() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { supabase: false, fsync: true, ..ClusterOptions::default() })?;
    cluster.superuser("postgres")?.batch_execute("create table t as select 1 as a")?;
    let first = cluster.postmaster_pid()?;
    cluster.restart()?;
    cluster.crash()?;
    assert_ne!(cluster.postmaster_pid()?, first);
    let rows: i64 = cluster.superuser("postgres")?.query_one("select count(*) from t", &[])?.get(0);
    assert_eq!(rows, 1);
    let (dir, pid) = (cluster.dir().to_path_buf(), cluster.postmaster_pid()?);
    drop(cluster);
    assert!(!dir.exists());
    // It may not have been reaped yet, but it has no files open any more.
    assert!(std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count) == 0);
    Ok(())
}
