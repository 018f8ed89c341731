//! `alter extension … update`: what was upgraded is as what is created, in the catalog and with data.
//!
//! Every version below `sql/released/` is upgraded to this one. None is there before the first release. So the machinery
//! itself is tried with a version that never was: this one, frozen as a release is, under another number.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use postgres::Client;
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::release::{self, data_of};
use tollgate_tests::scripts::extensions;

use crate::dump::run;
use crate::other_version::{Server, THIS, earlier};
use crate::picture::{catalog, grants, rows};
use crate::support::{assert_none, assert_verified, texts};

const UPGRADE: &str =
    "begin; alter extension pg_tollgate update; alter extension pg_tollgate_conversations update; commit";

fn picture(client: &mut Client) -> Result<Vec<String>> {
    let picture = [catalog(client)?, grants(client)?].concat();
    client.batch_execute("reset search_path")?;
    Ok(picture)
}

/// Both extensions in a version, by its own library and with the data that it has left.
fn create(server: &Server, frozen: &Path, version: &str, name: &str) -> Result<()> {
    for extension in extensions()? {
        let script = format!("{extension}--{version}.sql");
        fs::copy(frozen.join(&script), server.tree.extension_dir().join(&script))?;
    }
    server.use_library(version)?;
    server.cluster.create_database_without_extension(name)?;
    let mut client = server.cluster.superuser(name)?;
    client.batch_execute(&format!(
        "create extension pg_tollgate version '{version}'; create extension pg_tollgate_conversations version '{version}'"
    ))?;
    let mut psql = server.cluster.client_program("psql", name, SUPERUSER);
    run(psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(frozen.join(data_of(version))))?;
    server.use_library(THIS)
}

/// Upgrades a database of the version that has rows in every table.
fn upgrade(server: &Server, frozen: &Path, version: &str) -> Result<Vec<String>> {
    let name = format!("from_{version}");
    create(server, frozen, version, &name)?;
    let mut client = server.cluster.superuser(&name)?;
    let before = rows(&mut client)?;
    assert!(before.iter().filter(|(_, rows)| !rows.is_empty()).count() > 25, "{before:?}");
    client.batch_execute(UPGRADE)?;
    for (sql, rows) in before {
        assert_eq!(texts(&mut client, &sql, &[])?, rows, "before and after the upgrade from {version}: {sql}");
    }
    assert_verified(&mut client);
    assert_none(&mut client, "wrong conversations", "select v::text from public.verify_conversations() v");
    client.batch_execute("select copilot_internal.maintain()")?;
    assert_verified(&mut client);
    picture(&mut client)
}

fn fresh(server: &Server) -> Result<Vec<String>> {
    server.cluster.create_database_without_extension("fresh")?;
    let mut client = server.cluster.superuser("fresh")?;
    client.batch_execute("create extension pg_tollgate_conversations cascade")?;
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

/// A script without the places in the library where pgrx found its parts.
fn statements(script: &str) -> Vec<&str> {
    script.lines().filter(|line| !line.starts_with("-- src/lib.rs:")).collect()
}

fn difference(found: &[String], expected: &[String]) -> Vec<String> {
    let (found, expected): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), expected.iter().collect());
    found.symmetric_difference(&expected).map(|line| line.to_string()).collect()
}

#[test]
fn what_was_upgraded_is_as_what_is_created() -> Result<()> {
    let server = Server::start()?;
    let expected = fresh(&server)?;
    let dir = release::dir();
    for extension in extensions()? {
        let Ok(frozen) = fs::read_to_string(dir.join(format!("{extension}--{THIS}.sql"))) else { continue };
        let now = fs::read_to_string(server.script(&extension, THIS))?;
        assert!(statements(&frozen) == statements(&now), "{extension} {THIS} is released, and its script has changed");
    }
    for version in released(&dir)? {
        let found = upgrade(&server, &dir, &version).with_context(|| format!("the upgrade from {version}"))?;
        assert_eq!(difference(&found, &expected), Vec::<String>::new(), "upgraded from {version}, and created");
    }
    Ok(())
}

/// The machinery: this version is frozen, and upgraded from under another number by scripts that change nothing.
#[test]
fn a_frozen_version_is_upgraded_with_its_data() -> Result<()> {
    let (server, dir) = (Server::start()?, tempfile::tempdir()?);
    // What a call leaves that is interrupted is written anew.
    fs::write(dir.path().join(release::data_of(THIS)), "half")?;
    let names = release::freeze(dir.path())?;
    assert!(names.len() >= 3, "{names:?}");
    let again = release::freeze(dir.path()).expect_err("a version is frozen once");
    assert!(again.to_string().contains("is released"), "{again}");
    for name in &names {
        fs::rename(dir.path().join(name), dir.path().join(name.replace(THIS, &earlier())))?;
    }
    assert_eq!(released(dir.path())?, [earlier()]);
    for extension in extensions()? {
        server.write_upgrade(&extension, &earlier(), THIS, "")?;
    }
    let expected = fresh(&server)?;
    assert_eq!(difference(&upgrade(&server, dir.path(), &earlier())?, &expected), Vec::<String>::new());
    Ok(())
}

/// What an upgrade script may get wrong, in either extension.
#[test]
fn a_difference_is_found() -> Result<()> {
    let server = Server::start()?;
    let expected = fresh(&server)?;
    for extension in extensions()? {
        fs::copy(server.script(&extension, THIS), server.script(&extension, &earlier()))?;
    }
    let changes = [
        ("pg_tollgate", "comment on table copilot_internal.tenants is 'another'"),
        ("pg_tollgate", "comment on column copilot_internal.tenants.name is 'another'"),
        ("pg_tollgate", "grant select on copilot_internal.tenants to anon"),
        ("pg_tollgate", "alter table copilot_internal.tenants add column more integer"),
        ("pg_tollgate", "alter table copilot_internal.tenants alter column plan drop default"),
        ("pg_tollgate", "create policy nothing on copilot_internal.tenants for select to anon using (false)"),
        ("pg_tollgate", "alter function public.set_quota owner to supabase_admin"),
        ("pg_tollgate", "alter function public.set_quota set search_path = public"),
        ("pg_tollgate", "alter table copilot_internal.cost_quotas add constraint more check (true)"),
        ("pg_tollgate", "create index more on copilot_internal.cost_quotas (id)"),
        ("pg_tollgate", "alter table copilot_internal.cost_quotas disable trigger user"),
        ("pg_tollgate", "select pg_catalog.pg_extension_config_dump('copilot_internal.tenants', 'where false')"),
        ("pg_tollgate", "comment on function public.has_quota is 'another'"),
        ("pg_tollgate", "create function copilot_internal.more() returns integer language sql return 1"),
        ("pg_tollgate", "alter extension pg_tollgate drop function public.has_quota"),
        ("pg_tollgate", "alter default privileges in schema metrics grant select on tables to authenticated"),
        ("pg_tollgate_conversations", "alter table copilot_internal.conversations add column more integer"),
        ("pg_tollgate_conversations", "grant execute on function public.append_message to anon"),
        (
            "pg_tollgate_conversations",
            "select pg_catalog.pg_extension_config_dump('copilot_internal.conversations', 'where false')",
        ),
    ];
    let template = "earlier";
    server.cluster.create_database_without_extension(template)?;
    let version = earlier();
    server.cluster.superuser(template)?.batch_execute(&format!(
        "create extension pg_tollgate version '{version}'; create extension pg_tollgate_conversations version '{version}'"
    ))?;
    for (number, (extension, change)) in changes.iter().enumerate() {
        for each in extensions()? {
            let changes = if each == *extension { format!("{change};\n") } else { String::new() };
            server.write_upgrade(&each, &earlier(), THIS, &changes)?;
        }
        let name = format!("other_{number}");
        let copy = format!("create database {name} template {template}");
        server.cluster.superuser("postgres")?.batch_execute(&copy)?;
        let mut client = server.cluster.superuser(&name)?;
        client.batch_execute(UPGRADE).with_context(|| change.to_string())?;
        let found = difference(&picture(&mut client)?, &expected);
        assert!(!found.is_empty(), "not noticed: {change}");
        drop(client);
        server.cluster.drop_database(&name)?;
    }
    Ok(())
}
