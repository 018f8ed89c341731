//! Triggers that are switched off and on, one by one and all together, in a server that nothing replicates to.

use anyhow::Result;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::support::{assert_verified, texts};
use crate::world::{CHANGES, Open, Tenant};

const TABLES: &str = "
    select distinct t.tgrelid::regclass::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid
     where p.proname = 'configuration_changed'";

/// However they are switched, rows that change unheard are read anew; a session that poses as a subscription's too.
#[test]
fn what_triggers_do_not_tell_is_followed_all_the_same() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let database = cluster.fresh_database()?;
    let mut owner = cluster.superuser(&database)?;
    let tables = texts(&mut owner, TABLES, &[])?;
    assert_eq!(tables.len(), 13);
    let all = |how: &str| -> Vec<String> { tables.iter().map(|table| format!("alter table {table} {how}")).collect() };
    let mut open = Open::connect(&cluster, &database)?;
    let drop_one = "do $$ declare v record; begin
        for v in select tgname, tgrelid::regclass as relation from pg_trigger t join pg_proc p on p.oid = t.tgfoid
                  where p.proname = 'configuration_changed' and t.tgtype & 32 = 0 loop
            execute format('drop trigger %I on %s', v.tgname, v.relation);
        end loop; end $$";
    let ways: [(&str, Vec<String>); 6] = [
        ("disabled", all("disable trigger all")),
        ("enabled", all("enable trigger all")),
        ("enabled, as a subscription", vec!["set session_replication_role = replica".into()]),
        ("armed, as a subscription", vec!["select copilot_internal.arm_triggers()".into()]),
        ("armed", vec!["reset session_replication_role".into()]),
        // In an extension that is altered by hand there is nothing else to be seen.
        (
            "dropped",
            vec!["alter extension pg_tollgate drop function copilot_internal.arm_triggers()".into(), drop_one.into()],
        ),
    ];
    for (way, (name, statements)) in (1..).zip(ways) {
        // Also what was kept until now is forgotten.
        let known = Tenant::numbered(way * 100);
        known.create(&mut owner)?;
        open.expect(&CHANGES[0], known, "true", "before it is switched")?;
        for statement in statements {
            owner.batch_execute(&statement)?;
        }
        CHANGES[0].make(&mut owner, known)?;
        open.expect(&CHANGES[0], known, "false", name)?;
        for (number, change) in (1..).zip(CHANGES) {
            let tenant = Tenant::numbered(way * 100 + number);
            tenant.create(&mut owner)?;
            for _ in 0..2 {
                open.expect(change, tenant, change.before, name)?;
                change.make(&mut owner, tenant)?;
                open.expect(change, tenant, change.after, name)?;
                change.undo(&mut owner, tenant)?;
            }
            open.expect(change, tenant, change.before, name)?;
        }
    }
    assert_verified(&mut owner);
    Ok(())
}

/// In the transaction that changes rows, before them and after them.
#[test]
fn triggers_that_are_switched_with_the_change_hide_nothing() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let database = cluster.fresh_database()?;
    let mut owner = cluster.superuser(&database)?;
    let mut open = Open::connect(&cluster, &database)?;
    let tables = texts(&mut owner, TABLES, &[])?;
    let all = |how: &str| -> String {
        tables.iter().map(|table| format!("alter table {table} {how} trigger all;")).collect()
    };
    for (number, change) in (1..).zip(CHANGES) {
        let tenant = Tenant::numbered(number);
        tenant.create(&mut owner)?;
        open.expect(change, tenant, change.before, "before")?;
        owner.batch_execute(&format!("begin; {}", all("disable")))?;
        change.make(&mut owner, tenant)?;
        owner.batch_execute(&format!("{} commit", all("enable")))?;
        open.expect(change, tenant, change.after, "after it was hidden")?;
        change.undo(&mut owner, tenant)?;
        open.expect(change, tenant, change.before, "after its end")?;
    }
    assert_verified(&mut owner);
    Ok(())
}

/// Rows of a table that inherits belong to ours, and its triggers tell nothing.
#[test]
fn rows_of_a_table_that_inherits_are_followed() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let database = cluster.fresh_database()?;
    let mut owner = cluster.superuser(&database)?;
    let mut open = Open::connect(&cluster, &database)?;
    let tenant = Tenant::numbered(1);
    tenant.create(&mut owner)?;
    let limit = &CHANGES[0];
    open.expect(limit, tenant, "true", "before")?;
    owner.batch_execute("create table public.further () inherits (copilot_internal.cost_quotas)")?;
    open.expect(limit, tenant, "true", "while it is empty")?;
    owner.batch_execute(&format!(
        "insert into public.further (id, scope, scope_id, tenant_id, resource_type, limit_usd, period)
         values (gen_random_uuid(), 'tenant', '{id}', '{id}', 'llm', 4, 'year')",
        id = tenant.id
    ))?;
    open.expect(limit, tenant, "false", "with a quota in it")?;
    owner.batch_execute("drop table public.further")?;
    open.expect(limit, tenant, "true", "without it")
}
