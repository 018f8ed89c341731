//! `alter extension … update`: what was upgraded is as what is created, in the catalog and with data.
//!
//! Every version below `sql/released/` is upgraded to this one. None is there before the first release. So the machinery
//! itself is tried with a version that never was: this one's script under another number.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use postgres::Client;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::install;
use tollgate_tests::layout;
use tollgate_tests::postgres_tree::PostgresTree;

use crate::dump::populate;
use crate::picture::{catalog, figures, grants};
use crate::support::assert_verified;

const THIS: &str = env!("CARGO_PKG_VERSION");
/// A version that never was.
const EARLIER: &str = "0.0.0";

/// A server whose scripts are its own, so that some can be added.
fn server() -> Result<(tempfile::TempDir, PostgresTree, Cluster)> {
    let dir = tempfile::tempdir()?;
    let tree = install::ensure()?.copy(&dir.path().join("server"))?;
    let cluster = Cluster::start_in(&tree, ClusterOptions::default())?;
    Ok((dir, tree, cluster))
}

fn script(tree: &PostgresTree, versions: &str) -> PathBuf {
    tree.extension_dir().join(format!("pg_tollgate--{versions}.sql"))
}

fn picture(client: &mut Client) -> Result<Vec<String>> {
    let picture = [catalog(client)?, grants(client)?].concat();
    client.batch_execute("reset search_path")?;
    Ok(picture)
}

/// Upgrades a database of the version that has rows in every table.
fn upgrade(cluster: &Cluster, from: &str, name: &str) -> Result<Vec<String>> {
    cluster.create_database_without_extension(name)?;
    let mut client = cluster.superuser(name)?;
    client.batch_execute(&format!("create extension pg_tollgate version '{from}'"))?;
    populate(&mut client)?;
    let before = figures(&mut client)?;
    client.batch_execute(&format!("alter extension pg_tollgate update to '{THIS}'"))?;
    assert_eq!(figures(&mut client)?, before, "figures before and after the upgrade from {from}");
    assert_verified(&mut client);
    picture(&mut client)
}

fn fresh(cluster: &Cluster) -> Result<Vec<String>> {
    cluster.create_database_without_extension("fresh")?;
    let mut client = cluster.superuser("fresh")?;
    client.batch_execute("create extension pg_tollgate")?;
    picture(&mut client)
}

/// The versions of a directory of released scripts, but for this one.
fn released(dir: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(Vec::new()) };
    let mut versions = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version = name.strip_prefix("pg_tollgate--").and_then(|rest| rest.strip_suffix(".sql"));
        versions.extend(version.filter(|it| !it.contains("--") && *it != THIS).map(str::to_string));
    }
    versions.sort();
    Ok(versions)
}

#[test]
fn what_was_upgraded_is_as_what_is_created() -> Result<()> {
    let (_dir, tree, cluster) = server()?;
    let expected = fresh(&cluster)?;
    let dir = layout::root().join("sql/released");
    for version in released(&dir)? {
        fs::copy(dir.join(format!("pg_tollgate--{version}.sql")), script(&tree, &version))?;
        let found = upgrade(&cluster, &version, &format!("from_{version}"))
            .with_context(|| format!("the upgrade from {version}"))?;
        assert_eq!(found, expected, "upgraded from {version}, and created");
    }
    // The machinery: an upgrade that changes nothing is equal, and each that changes something is told.
    fs::copy(script(&tree, THIS), script(&tree, EARLIER))?;
    let path = script(&tree, &format!("{EARLIER}--{THIS}"));
    fs::write(&path, "select 1;\n")?;
    assert_eq!(upgrade(&cluster, EARLIER, "same")?, expected);
    let changes = [
        "comment on table copilot_internal.tenants is 'another'",
        "grant select on copilot_internal.tenants to anon",
        "alter table copilot_internal.tenants add column more integer",
        "drop policy if exists nothing on copilot_internal.tenants; create policy nothing on copilot_internal.tenants for select to anon using (false)",
        "alter function public.set_quota owner to supabase_admin",
        "alter table copilot_internal.cost_quotas add constraint more check (true)",
        "select pg_catalog.pg_extension_config_dump('copilot_internal.tenants', 'where false')",
        "comment on function public.has_quota is 'another'",
    ];
    for (number, change) in changes.iter().enumerate() {
        fs::write(&path, format!("{change};\n"))?;
        let name = format!("other_{number}");
        cluster.create_database_without_extension(&name)?;
        let mut client = cluster.superuser(&name)?;
        client.batch_execute(&format!("create extension pg_tollgate version '{EARLIER}'"))?;
        client.batch_execute("alter extension pg_tollgate update")?;
        assert_ne!(picture(&mut client)?, expected, "not noticed: {change}");
    }
    Ok(())
}
