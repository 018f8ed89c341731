//! From Postgres 15 to the version in use: what a dump and `pg_upgrade` carry over. Where 15 is in use, from one server of
//! it to another.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions, SUPERUSER};
use tollgate_tests::major::Major;
use tollgate_tests::populated::populate;

use crate::dump::{restore, run};
use crate::picture::{self, grants};
use crate::support::{assert_verified, id};

fn old_server() -> Result<Cluster> {
    Cluster::start(ClusterOptions { major: Major::Pg15, ..ClusterOptions::default() })
}

/// A database with rows in every table. No other must refuse connections: `pg_upgrade` looks into all of them.
fn fill(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.create_database_without_extension(name)?;
    let mut client = cluster.superuser(name)?;
    client.batch_execute("create extension pg_tollgate")?;
    populate(&mut client)?;
    forget_options_of_debian(cluster, name)
}

/// Debian's 15.20 writes an option of its own into the catalog, which no other build of Postgres reads back. It has
/// nothing to do with the extension.
fn forget_options_of_debian(cluster: &Cluster, name: &str) -> Result<()> {
    for database in ["template1", "postgres", name] {
        cluster
            .superuser(database)?
            .batch_execute("update pg_attribute set attoptions = null where attoptions::text like '%pg_attver%'")?;
    }
    Ok(())
}

/// What tables and views say; what is in a server's memory is its own.
fn figures(client: &mut Client) -> Result<Vec<String>> {
    let mut found = picture::figures(client)?;
    found.retain(|line| !line.starts_with("metrics.admission:"));
    Ok(found)
}

/// Since 17 the owner of a table has a privilege more.
fn grants_of_all_versions(client: &mut Client) -> Result<Vec<String>> {
    let mut found = grants(client)?;
    found.retain(|line| !line.contains(": MAINTAIN to tollgate_owner"));
    Ok(found)
}

/// It says the same, it is exact, retries replay, and a new charge counts on top.
fn goes_on(client: &mut Client, figures_before: &[String], grants_before: &[String]) -> Result<()> {
    assert_eq!(figures(client)?, figures_before);
    assert_eq!(grants_of_all_versions(client)?, grants_before);
    assert_verified(client);
    let spent = "select coalesce(sum(current_spend_usd), 0)::text from metrics.quota_status where scope = 'user'";
    let before: String = client.query_one(spent, &[])?.get(0);
    let charge = "select recorded, replayed from public.record_llm_cost($1, 'p', 'm', 1000000, 0, p_user_id => $2,
                      p_enforce => true, p_request_id => 'after')";
    for replayed in [false, true] {
        let row = client.query_one(charge, &[&id(1), &id(0xf1)])?;
        assert_eq!((row.get::<_, bool>(0), row.get::<_, bool>(1)), (true, replayed));
    }
    let more =
        "select (sum(current_spend_usd) - $1::text::numeric)::float8 from metrics.quota_status where scope = 'user'";
    assert_eq!(client.query_one(more, &[&before])?.get::<_, f64>(0), 1.0);
    client.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(client);
    Ok(())
}

#[test]
fn a_dump_of_postgres_15_is_restored() -> Result<()> {
    let (old, new) = (old_server()?, Cluster::start(ClusterOptions::default())?);
    fill(&old, "moved")?;
    let mut before = old.superuser("moved")?;
    let file = new.dir().join("moved.dump");
    // The newer version's program, as Postgres' manual has it.
    let mut dump = new.client_program("pg_dump", "moved", SUPERUSER);
    run(dump.env("PGHOST", old.dir()).arg("-Fc").arg("-f").arg(&file))?;
    let mut client = restore(&new, &file, "moved")?;
    let version: String = client.query_one("show server_version", &[])?.get(0);
    assert!(version.starts_with(&format!("{}.", Major::in_use())), "{version}");
    goes_on(&mut client, &figures(&mut before)?, &grants(&mut before)?)
}

#[test]
fn a_server_of_postgres_15_is_upgraded() -> Result<()> {
    let old = old_server()?;
    fill(&old, "upgraded")?;
    let mut before = old.superuser("upgraded")?;
    let (figures_before, grants_before) = (figures(&mut before)?, grants(&mut before)?);
    drop(before);
    let new = old.upgrade(ClusterOptions::default())?;
    goes_on(&mut new.superuser("upgraded")?, &figures_before, &grants_before)
}
