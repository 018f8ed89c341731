//! What must hold in spite of a careless or hostile administrator. Examples are a schema of another owner, a grant too
//! many, a time zone that is gone.

use tollgate_tests::support;

use anyhow::Result;
use postgres::Client;
use postgres::error::SqlState;
use serde_json::json;
use support::{Database, assert_verified, differences, id, make_tenant, text, texts};
use tollgate_tests::cluster_pool;
use tollgate_tests::session::{Caller, message, sqlstate};

/// The owner of a schema can rename it and put another in its place. A role that may create in it can overload what is
/// called there. An empty one is taken over.
#[test]
fn a_schema_in_strange_hands_is_refused_unless_it_is_empty() -> Result<()> {
    let cluster = cluster_pool::shared();
    cluster.create_database_without_extension("hostile_schema")?;
    let mut client = cluster.superuser("hostile_schema")?;
    client.batch_execute(
        "create role mallory;
         create schema copilot_internal authorization mallory;
         grant create on schema copilot_internal to public;
         set role mallory;
         create function copilot_internal.fold(p text, n integer) returns bigint language sql as 'select 0::bigint';
         reset role;",
    )?;
    let refused = |client: &mut Client, why: &str| {
        let error = client.batch_execute("create extension pg_tollgate").expect_err(why);
        assert_eq!(sqlstate(&error), "55000", "{why}: {}", message(&error));
    };
    refused(&mut client, "a schema that another role owns");
    client.batch_execute("alter schema copilot_internal owner to supabase_admin")?;
    refused(&mut client, "a schema with a function that another role owns");
    client.batch_execute(
        "drop function copilot_internal.fold(text, integer); alter schema copilot_internal owner to mallory;
         create schema metrics authorization mallory; create view metrics.mine as select 1 as a",
    )?;
    refused(&mut client, "another schema that another role owns");
    client.batch_execute("drop view metrics.mine; create extension pg_tollgate")?;
    let owners =
        "select distinct nspowner::regrole::text from pg_namespace where nspname in ('copilot_internal', 'metrics')";
    assert_eq!(texts(&mut client, owners, &[])?, ["supabase_admin"]);
    let error = client
        .batch_execute("set role mallory; create function copilot_internal.f() returns int language sql as 'select 1'")
        .expect_err("mallory creates in copilot_internal");
    assert_eq!(sqlstate(&error), "42501");
    Ok(())
}

/// Code that an attacker brings to run with the extension's rights: the role under which it ran, if it did.
const EVIL: &str = "
    begin
        insert into app.ran values (current_user);
        execute format('alter role %I superuser', current_database());
        return %s;
    exception when insufficient_privilege then
        insert into app.ran values (current_user);
        return %s;
    end";

fn evil(result: &str) -> String {
    EVIL.replace("%s", result)
}

/// A database whose owner is the attacker, a role of its name: no superuser, no createrole, no bypassrls, a member of
/// service_role.
fn attacked(name: &str) -> Result<Client> {
    let cluster = cluster_pool::shared();
    cluster.create_database_without_extension(name)?;
    let mut client = cluster.superuser(name)?;
    client.batch_execute(&format!(
        "create role {name} nosuperuser nocreaterole nobypassrls; grant service_role to {name};
         alter database {name} owner to {name}; create extension pg_tollgate;
         create schema app authorization {name}; create table app.ran (as_whom text); grant all on app.ran to public;
         grant usage on schema app to public;
         insert into copilot_internal.tenants (id, name) values ('{}', 'A');",
        id(1)
    ))?;
    Ok(client)
}

#[track_caller]
fn no_role_became_a_superuser(client: &mut Client, ran_as: &[&str]) -> Result<()> {
    client.batch_execute("reset role")?;
    let superuser: bool =
        client.query_one("select rolsuper from pg_roles where rolname = current_database()", &[])?.get(0);
    assert!(!superuser, "the attacker is a superuser");
    let ran = texts(client, "select distinct as_whom from app.ran order by 1", &[])?;
    assert_eq!(ran, ran_as, "the attacker's code ran as");
    Ok(())
}

/// The owner of the database may rename schema public and put another in its place.
#[test]
fn a_shadowed_public_schema_is_not_called_by_a_trigger() -> Result<()> {
    let mut client = attacked("shadowed")?;
    client.batch_execute(&format!(
        "set role shadowed;
         alter schema public rename to public_old; create schema public;
         create function public.check_and_record_quota_atomic(text, uuid, numeric, text, uuid, text)
             returns boolean language plpgsql as $f$ {} $f$;
         create table public.images (tenant_id uuid, cost numeric);
         create trigger charge after insert on public.images for each row
             execute function copilot_internal.charge_on_insert('tenant_id', 'llm', 'cost');
         insert into public.images values ('{}', 1);",
        evil("true"),
        id(1)
    ))?;
    no_role_became_a_superuser(&mut client, &[])?;
    let charged = text(&mut client, "select sum(nanos)::text from copilot_internal.pending_costs", &[])?;
    assert_eq!(charged, "1000000000");
    Ok(())
}

/// A foreign key's check runs as the owner of the table that it refers to, with a cast of the attacker's own inside.
#[test]
fn a_foreign_keys_cast_runs_without_a_superusers_rights() -> Result<()> {
    let mut client = attacked("caster")?;
    client.batch_execute(&format!(
        "set role caster;
         create type app.evil as enum ('a');
         create function app.evil_to_uuid(app.evil) returns uuid language plpgsql as $f$ {} $f$;
         create cast (app.evil as uuid) with function app.evil_to_uuid(app.evil) as implicit;
         create table app.keys (x app.evil references copilot_internal.tenants (id));
         insert into app.keys values ('a');",
        evil(&format!("'{}'::uuid", id(1)))
    ))?;
    no_role_became_a_superuser(&mut client, &["tollgate_owner"])
}

/// Where there is no schema auth yet, the role that may create one decides what auth.users is.
#[test]
fn a_view_named_auth_users_is_not_read() -> Result<()> {
    let mut client = attacked("users_owner")?;
    client.batch_execute(&format!(
        "drop schema if exists auth cascade; set role users_owner; create schema auth;
         create function auth.evil() returns text language plpgsql as $f$ {} $f$;
         create view auth.users as select '{}'::uuid as id, auth.evil() as email;",
        evil("'a@b.c'::text"),
        id(2)
    ))?;
    let make = "select public.create_personal_tenant($1, null)";
    let error = client.execute(make, &[&id(2)]).expect_err("an address came out of the view");
    assert_eq!(sqlstate(&error), "22023", "{}", message(&error));
    no_role_became_a_superuser(&mut client, &[])?;
    // A table is read as its owner. Policies that would hold that owner are an error, and do not run.
    client.batch_execute(&format!(
        "set role users_owner; drop view auth.users; create table auth.users (id uuid, email text);
         insert into auth.users values ('{}', 'a@b.c'); alter table auth.users enable row level security;
         alter table auth.users force row level security;
         create policy evil on auth.users using (auth.evil() is not null);",
        id(2)
    ))?;
    let error = client.execute(make, &[&id(2)]).expect_err("a policy of another role was run");
    assert_eq!(sqlstate(&error), "42501", "{}", message(&error));
    no_role_became_a_superuser(&mut client, &[])
}

/// `drop schema public cascade` is how many a database is emptied.
#[test]
fn a_schema_that_is_dropped_does_not_take_the_ledger_with_it() -> Result<()> {
    let mut client = attacked("emptied")?;
    let spend = "select * from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 2)";
    // A session that has loaded the library; where it is preloaded each has.
    client.batch_execute("set role emptied")?;
    client.execute(spend, &[&id(1)])?;
    for sql in ["drop schema public cascade", "drop owned by emptied cascade; drop schema public cascade"] {
        let error = client.batch_execute(sql).expect_err(sql);
        assert_eq!(sqlstate(&error), "55000", "{sql}: {}", message(&error));
        assert!(message(&error).contains("holds what was charged"), "{}", message(&error));
    }
    client.batch_execute("reset role")?;
    let error = client.batch_execute("drop schema copilot_internal cascade").expect_err("the schema went");
    assert_eq!(sqlstate(&error), "55000");
    let rows = "select count(*)::text from copilot_internal.llm_cost_records";
    assert_eq!(text(&mut client, rows, &[])?, "1");
    // A superuser that says so may, and so may a setting.
    client.batch_execute("begin; drop extension pg_tollgate; rollback")?;
    client.batch_execute("begin; set local pg_tollgate.drop_ledger = on; drop schema public cascade; rollback")?;
    // Without a row there is nothing to keep.
    client
        .batch_execute("begin; delete from copilot_internal.llm_cost_records; drop schema public cascade; rollback")?;
    assert_eq!(text(&mut client, rows, &[])?, "1");
    Ok(())
}

/// The grants say which roles may spend; the kernels say it again.
#[test]
fn a_grant_on_every_function_lets_no_role_spend() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    database
        .superuser()?
        .batch_execute("grant execute on all functions in schema public to public, anon, authenticated")?;
    let mut session = database.session()?;
    let record = json!([{ "tenant_id": tenant.to_string(), "model_provider": "p", "model_name": "m",
        "input_tokens": 1, "output_tokens": 1, "cost_usd": 1 }]);
    for caller in [Caller::anon(), Caller::user(id(0xf1), Some(tenant))] {
        for sql in [
            "select * from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)",
            "select * from public.record_e2b_cost($1, 's', 'standard', 1)",
            "select * from public.check_and_record_quota_atomic('tenant', $1, 1)",
            "select public.set_quota('tenant', $1, 'llm', 1000)",
            "select public.set_model_price('p', 'm', 0, 0, p_tenant_id => $1)",
            "select public.initialize_tenant_quotas($1)",
            "select public.set_llm_policy($1, '{}')",
            "select public.set_llm_policy($1, null)",
            "select public.create_tenant('Another', p_owner_id => $1)",
            "select public.create_personal_tenant($1, 'ann@example.com')",
            "select public.invite_member($1, $1, 'owner')",
            "select public.accept_invitation($1)",
            "select public.delete_tenant($1)",
            "select public.erase_user($1)",
            "select public.export_user_data($1)",
            "select public.purge_tenant($1)",
            "select public.redact_cost_metadata($1, $1)",
        ] {
            session.expect_sqlstate(&caller, sql, &[&tenant], "42501");
        }
        session.expect_sqlstate(&caller, "select * from public.record_llm_costs($1)", &[&record], "42501");
        let platform = "select * from public.check_and_record_quota_atomic('platform', null, 1)";
        session.expect_sqlstate(&caller, platform, &[], "42501");
    }
    let charges = text(&mut database.superuser()?, "select count(*)::text from copilot_internal.pending_costs", &[])?;
    assert_eq!(charges, "0");
    Ok(())
}

/// Every grant there is, and the role that may write everything: what was charged stays as it is, and the kernels work.
#[test]
fn no_role_changes_the_ledger_whatever_it_was_granted() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    let mut client = database.superuser()?;
    make_tenant(&mut client, tenant)?;
    client.batch_execute(
        "create role writer; grant pg_write_all_data, pg_read_all_data to writer; create role granted bypassrls;
         grant usage on schema copilot_internal to granted, authenticated;
         grant all on all tables in schema copilot_internal to granted, service_role, authenticated;",
    )?;
    let spend = "select * from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 2, p_request_id => 'a',
         p_conversation_id => $1)";
    client.execute(spend, &[&tenant])?;
    client.batch_execute("select copilot_internal.maintain()")?;
    let tables = texts(
        &mut client,
        "select tgrelid::regclass::text from pg_trigger where tgname = 'keep_ledger' order by 1",
        &[],
    )?;
    assert_eq!(tables.len(), 15, "{tables:?}");
    let mut refused = 0;
    for role in ["writer", "granted", "service_role", "authenticated"] {
        for table in &tables {
            let column = if table.ends_with("purged_costs") { "id" } else { "tenant_id" };
            for sql in [
                format!("update {table} set {column} = {column}"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("with gone as (delete from {table} returning 1) select count(*) from gone"),
            ] {
                // pg_write_all_data grants TRUNCATE to no role.
                let error = client.batch_execute(&format!("begin; set local role {role}; {sql}")).unwrap_err();
                client.batch_execute("rollback")?;
                assert_eq!(sqlstate(&error), "42501", "{role}: {sql}: {}", message(&error));
                refused += usize::from(message(&error).contains("never changed"));
            }
        }
    }
    println!("{refused} changes of the ledger refused by its trigger");
    assert_eq!(refused, 4 * tables.len() * 4 - tables.len());
    // What the functions do goes on.
    let mut session = database.session()?;
    let id: uuid::Uuid = session.value(
        &Caller::service(),
        "select cost_record_id from public.record_llm_cost($1, 'p', 'm', 1, 1,
         p_cost_usd => 2)",
        &[&tenant],
    )?;
    session.value::<uuid::Uuid>(&Caller::service(), "select refund_id from public.refund_cost($1, 1, 'r')", &[&id])?;
    let hold = "select reservation_id from public.reserve_quota($1, 'llm', 1, 'h')";
    let hold: uuid::Uuid = session.value(&Caller::service(), hold, &[&tenant])?;
    session.value::<bool>(
        &Caller::service(),
        "select allowed from public.extend_reservation($1, '1 hour', 1)",
        &[&hold],
    )?;
    session.value::<String>(&Caller::service(), "select status from public.commit_reservation($1, 1)", &[&hold])?;
    session.value::<i64>(&Caller::service(), "select sum(done)::bigint from copilot_internal.maintain()", &[])?;
    assert_verified(&mut client);
    // The superuser repairs what has to be repaired.
    client.batch_execute("delete from copilot_internal.cost_rollups where true")?;
    assert!(!differences(&mut client)?.is_empty());
    Ok(())
}

/// Distributions drop names from their time zone data. A quota made before must not stop costs from being recorded.
#[test]
fn a_time_zone_that_is_gone_stops_nothing() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    let mut client = database.superuser()?;
    make_tenant(&mut client, tenant)?;
    client.batch_execute(
        "alter table copilot_internal.cost_quotas drop constraint cost_quotas_time_zone_check;
         insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, limit_usd, period, time_zone)
         select 'tenant', id, 'llm', 1, 'day', 'US/Gone' from copilot_internal.tenants",
    )?;
    let mut spend = |usd: &str| -> Result<bool> {
        let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1,
            p_cost_usd => $2::text::numeric, p_enforce => true)";
        Ok(client.query_one(sql, &[&tenant, &usd])?.get(0))
    };
    // Its limit holds, in UTC's days.
    assert_eq!((spend("0.6")?, spend("0.6")?), (true, false));
    let sql = "select period_start = date_trunc('day', clock_timestamp(), 'UTC') from metrics.quota_status
        where period = 'day'";
    assert!(client.query_one(sql, &[])?.get::<_, bool>(0));
    Ok(())
}

/// Text is handled as UTF-8, so a database of another encoding is refused whole and not later, by call.
#[test]
fn another_encoding_is_refused() -> Result<()> {
    let cluster = cluster_pool::shared();
    cluster
        .superuser("postgres")?
        .batch_execute("create database latin encoding 'LATIN1' locale 'C' template template0")?;
    let error = cluster.superuser("latin")?.batch_execute("create extension pg_tollgate").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{}", message(&error));
    assert_eq!(sqlstate(&error), "0A000");
    Ok(())
}
