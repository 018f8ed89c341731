//! An application on top, set up as `supabase db reset` does: a fresh database, the extension, then its migrations.

use std::fs;

use anyhow::{Context, Result};
use tollgate_tests::cluster::Cluster;
use tollgate_tests::cluster_pool;
use tollgate_tests::layout;
use tollgate_tests::session::{Caller, Session};
use uuid::Uuid;

use crate::picture::{catalog, figures};
use crate::support::assert_verified;

const ACME: Uuid = Uuid::from_u128(0x5eed_0000_0000_0000_0000_0000_0000_0001);
const OWNER: Uuid = Uuid::from_u128(0x5eed_0000_0000_0000_0000_0000_0000_00f1);
const MEMBER: Uuid = Uuid::from_u128(0x5eed_0000_0000_0000_0000_0000_0000_00f2);

/// From nothing: the superuser creates the extension, `postgres` runs the application's files in order.
pub fn reset(cluster: &Cluster, name: &str) -> Result<()> {
    cluster.create_database_without_extension(name)?;
    cluster.superuser(name)?.batch_execute("create extension pg_tollgate")?;
    let mut client = cluster.connect(name, "postgres")?;
    for file in ["01_documents.sql", "02_summarise.sql", "03_seed.sql"] {
        let path = layout::tests_dir().join("sample_app").join(file);
        let sql = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        client.batch_execute(&sql).with_context(|| format!("{file} fails"))?;
    }
    Ok(())
}

/// People write within the limit, the server records, and the limit then stops them.
pub fn works(cluster: &Cluster, name: &str) -> Result<()> {
    let mut session = Session::open(cluster, name)?;
    let member = Caller::user(MEMBER, Some(ACME));
    let insert = "insert into public.documents (tenant_id, title) values ($1, 'New') returning id";
    let document: Uuid = session.value(&member, insert, &[&ACME])?;
    assert_eq!(session.value::<i64>(&member, "select count(*) from public.documents", &[])?, 2);
    let stranger = Caller::user(Uuid::from_u128(7), Some(ACME));
    assert_eq!(session.value::<i64>(&stranger, "select count(*) from public.documents", &[])?, 0);
    session.expect_sqlstate(&stranger, insert, &[&ACME], "42501");
    let summarise = "select public.summarise_document($1, 'Short.', 1000, 100)::text";
    session.expect_sqlstate(&Caller::user(OWNER, Some(ACME)), summarise, &[&document], "42501");
    // 1000 × 0.15/M + 100 × 0.6/M
    assert_eq!(session.value::<String>(&Caller::service(), summarise, &[&document])?, "0.00021");
    // Again is the same request.
    assert_eq!(session.value::<String>(&Caller::service(), summarise, &[&document])?, "0.00021");
    let spend = "select public.record_llm_cost($1, 'openai', 'gpt-4o', 1, 1, p_cost_usd => 5)::text";
    session.value::<String>(&Caller::service(), spend, &[&ACME])?;
    session.expect_sqlstate(&member, insert, &[&ACME], "42501");
    assert_verified(&mut cluster.superuser(name)?);
    Ok(())
}

#[test]
fn db_reset_twice_gives_the_same_database() -> Result<()> {
    let cluster = cluster_pool::shared();
    let mut first = Vec::new();
    for round in 0..2 {
        reset(cluster, "app_reset")?;
        let mut client = cluster.superuser("app_reset")?;
        let picture = catalog(&mut client)?;
        assert!(picture.iter().any(|line| line.contains("documents_insert")), "the application is not in the picture");
        assert!(figures(&mut client)?.iter().any(|line| line.contains(&ACME.to_string())));
        drop(client);
        works(cluster, "app_reset")?;
        if round == 0 {
            first = picture;
        } else {
            assert_eq!(picture, first);
        }
        cluster.drop_database("app_reset")?;
    }
    Ok(())
}
