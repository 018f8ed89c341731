//! Creating and dropping the extension, on servers of every look.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::cluster_pool;

use crate::picture::{catalog, grants};
use crate::support::{assert_none, assert_verified, id, make_tenant, texts};

fn plain_server() -> Result<Cluster> {
    Cluster::start(ClusterOptions { supabase: false, ..ClusterOptions::default() })
}

/// The shortest proof that it works: a limit, a charge within it, a charge above.
fn works(client: &mut Client) -> Result<()> {
    let tenant = id(0x77);
    make_tenant(client, tenant)?;
    client.execute("select public.set_quota('tenant', $1, 'llm', 1)", &[&tenant])?;
    let charge = "select allowed from public.check_and_record_quota_atomic('tenant', $1, 0.75)";
    assert!(client.query_one(charge, &[&tenant])?.get::<_, bool>(0));
    assert!(!client.query_one(charge, &[&tenant])?.get::<_, bool>(0));
    client.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(client);
    Ok(())
}

const OURS: &str = "('copilot_internal', 'metrics')";

/// Nothing of ours but the roles and the schema `copilot_internal`, which Postgres itself made and does not count.
fn assert_gone(client: &mut Client) {
    let sql = format!(
        "with left_over as (
             select 'schema ' || nspname from pg_namespace where nspname = 'metrics'
             union all
             select 'relation ' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in {OURS}
             union all
             select 'type ' || t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname in {OURS}
             union all
             select 'function ' || p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
             where n.nspname in ('copilot_internal', 'metrics', 'public')
             union all
             select 'policy ' || polname from pg_policy
             union all
             select 'default privileges of ' || defaclrole::regrole from pg_default_acl where defaclnamespace <> 'public'::regnamespace
             union all
             select 'initial privileges of ' || pg_describe_object(classoid, objoid, objsubid) from pg_init_privs where privtype = 'e'
               and classoid = 'pg_proc'::regclass and objoid not in (select oid from pg_proc)
             union all
             select 'library function ' || proname from pg_proc where probin like '%pg_tollgate%')
         select * from left_over"
    );
    assert_none(client, "left behind by drop extension", &sql);
}

#[test]
fn a_plain_server_without_any_role_of_supabase() -> Result<()> {
    let cluster = plain_server()?;
    let mut client = cluster.superuser("postgres")?;
    let roles = "select rolname || case when rolcanlogin then ' login' else '' end || case when rolbypassrls then ' bypassrls' else '' end
                    || case when rolsuper or rolcreaterole or rolcreatedb then ' powerful' else '' end
                 from pg_roles where rolname in ('anon', 'authenticated', 'service_role', 'metrics_reader', 'tollgate_owner') order by 1";
    assert_eq!(texts(&mut client, roles, &[])?, Vec::<String>::new());
    client.batch_execute("create extension pg_tollgate")?;
    assert_eq!(
        texts(&mut client, roles, &[])?,
        ["anon", "authenticated", "metrics_reader", "service_role bypassrls", "tollgate_owner"]
    );
    works(&mut client)?;
    // As a second one: the roles are there.
    client.batch_execute("create database second template template0")?;
    let mut second = cluster.superuser("second")?;
    second.batch_execute("create extension pg_tollgate")?;
    works(&mut second)?;
    assert_eq!(grants(&mut second)?, grants(&mut client)?);
    second.batch_execute("drop extension pg_tollgate")?;
    assert_gone(&mut second);
    Ok(())
}

#[test]
fn schemas_that_exist_are_used_and_stay() -> Result<()> {
    let cluster = plain_server()?;
    let mut client = cluster.superuser("postgres")?;
    client.batch_execute(
        "create role app_owner; create schema metrics; create schema copilot_internal authorization app_owner;
         create table metrics.mine as select 1 as a; create extension pg_tollgate",
    )?;
    works(&mut client)?;
    client.batch_execute("drop extension pg_tollgate")?;
    let left = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('metrics', 'copilot_internal')";
    assert_eq!(texts(&mut client, left, &[])?, ["metrics.mine"]);
    let owners = "select nspowner::regrole::text from pg_namespace where nspname in ('metrics', 'copilot_internal')";
    assert_eq!(texts(&mut client, owners, &[])?, ["supabase_admin", "supabase_admin"]);
    client.batch_execute("create extension pg_tollgate")?;
    works(&mut client)?;
    Ok(())
}

#[test]
fn dropped_and_created_again_it_is_as_new() -> Result<()> {
    let cluster = cluster_pool::shared();
    cluster.create_database_without_extension("again")?;
    let mut client = cluster.superuser("again")?;
    let mut before = Vec::new();
    for round in 0..3 {
        client.batch_execute("create extension pg_tollgate")?;
        let picture = [catalog(&mut client)?, grants(&mut client)?].concat();
        client.batch_execute("reset search_path")?;
        if round == 0 {
            before = picture;
        } else {
            assert_eq!(picture, before);
        }
        works(&mut client)?;
        client.batch_execute("drop extension pg_tollgate")?;
        assert_gone(&mut client);
    }
    Ok(())
}

/// Only a superuser makes functions in C; Supabase's `postgres` gets a plain answer and no half of an extension.
#[test]
fn who_is_no_superuser_is_refused() -> Result<()> {
    let cluster = cluster_pool::shared();
    cluster.create_database_without_extension("unprivileged")?;
    let mut client = cluster.connect("unprivileged", "postgres")?;
    let error = client.batch_execute("create extension pg_tollgate").expect_err("postgres is no superuser");
    assert_eq!(error.code().map(postgres::error::SqlState::code), Some("42501"));
    assert_gone(&mut cluster.superuser("unprivileged")?);
    Ok(())
}
