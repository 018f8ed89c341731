//! `PREPARE TRANSACTION`: refused where shared memory counts, and honoured where the locked mode has left one behind.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::cluster::Cluster;
use tollgate_tests::session::sqlstate;

use crate::servers::{
    assert_exact, charge, connect, end_prepared, fresh, pending, quota_figures, server, start, until, while_blocked,
};
use crate::support::{charged_nanos, id, limit, make_tenant};

/// No session would be there to give back what a prepared transaction holds.
#[test]
fn what_has_charged_cannot_be_prepared_and_gives_everything_back() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut client = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    let mut other = connect(&database)?;
    for step in [
        format!("select public.check_and_record_quota_atomic('tenant', '{tenant}', 1)"),
        format!("savepoint s; select public.check_and_record_quota_atomic('tenant', '{tenant}', 1); release s"),
        format!("select public.set_quota('tenant', '{tenant}', 'e2b', 1, 'hour')"),
        format!(
            "select public.set_quota('tenant', '{tenant}', 'e2b', 1, 'day');
                 select public.check_and_record_quota_atomic('tenant', '{tenant}', 1)"
        ),
        "select public.set_quota('platform', null, 'llm', 1)".to_string(),
        "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('gold', 'llm', 1)"
            .to_string(),
    ] {
        client.batch_execute(&format!("begin; {step}"))?;
        let error = client.batch_execute("prepare transaction 'refused'").expect_err(&step);
        assert_eq!(sqlstate(&error), "0A000", "{step}");
        // The transaction is over and has left nothing, neither here nor elsewhere.
        until("the room is free", || Ok(pending(&mut other)?.is_empty()))?;
        assert_exact(&mut other, tenant, 1);
        assert_exact(&mut client, tenant, 1);
        client.batch_execute("reset role; begin; create temporary table if not exists t (); rollback")?;
        client.batch_execute(&format!(
            "begin; select public.has_quota('{tenant}', 'llm', 1); update copilot_internal.tenants set name = 'x';
             prepare transaction 'unrelated'"
        ))?;
        end_prepared(&mut client, "commit", "unrelated")?;
    }
    assert_eq!(charged_nanos(&mut client, tenant)?, 0);
    Ok(())
}

/// A server in the locked mode with some tenants, and room for prepared transactions.
fn locked_server() -> Result<(Cluster, String)> {
    let cluster = start(&[])?;
    cluster.configure_preload(false)?;
    cluster.restart()?;
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    for tenant in [id(1), id(2), id(3)] {
        make_tenant(&mut client, tenant)?;
        limit(&mut client, tenant, "llm", "10")?;
    }
    Ok((cluster, database))
}

/// What is prepared is in no table yet and in no counter: a session that loads the counter waits for its end.
#[test]
fn a_load_waits_for_a_charge_that_the_locked_mode_left_prepared() -> Result<()> {
    let (cluster, database) = locked_server()?;
    for (tenant, ending, left) in [(id(1), "rollback", "5"), (id(3), "commit", "4")] {
        let mut client = server(&cluster, &database)?;
        client.batch_execute("begin")?;
        assert!(charge(&mut client, tenant, "6")?);
        client.batch_execute("prepare transaction 'left'")?;
        drop(client);
        cluster.configure_preload(true)?;
        cluster.restart()?;
        let mut other = server(&cluster, &database)?;
        assert!(charge(&mut other, id(2), "1")?, "another tenant does not wait");
        // A check waits for no transaction, and tells what is committed.
        assert_eq!(quota_figures(&mut other, tenant)?.0, 0);
        let admitted = while_blocked(
            &cluster,
            &database,
            |client| Ok(charge(client, tenant, "5")?),
            || end_prepared(&mut other, ending, "left"),
        )?;
        assert_eq!(admitted, ending == "rollback", "5 of 10 after {ending}");
        assert_exact(&mut other, tenant, 10);
        assert!(charge(&mut other, tenant, left)?);
        assert!(!charge(&mut other, tenant, "0.000000001")?);
        drop(other);
        cluster.configure_preload(false)?;
        cluster.restart()?;
    }
    Ok(())
}

/// It could be committed in the other mode, where no callback would say that the quotas have changed.
#[test]
fn no_mode_prepares_a_change_of_which_quotas_exist() -> Result<()> {
    let (cluster, database) = locked_server()?;
    let mut client = server(&cluster, &database)?;
    for step in [
        format!("select public.set_quota('tenant', '{}', 'llm', 5, 'year')", id(1)),
        "select public.set_quota('platform', null, 'llm', 5)".to_string(),
        "delete from copilot_internal.cost_quotas where true".to_string(),
        "update copilot_internal.tenants set plan = 'gold' where true".to_string(),
        "insert into copilot_internal.default_quotas (resource_type, limit_usd) values ('llm', 1)".to_string(),
        "savepoint s; truncate copilot_internal.cost_quotas; rollback to s".to_string(),
    ] {
        client.batch_execute(&format!("reset role; begin; {step}"))?;
        let error = client.batch_execute("prepare transaction 'refused'").expect_err(&step);
        assert_eq!(sqlstate(&error), "0A000", "{step}");
        assert!(charge(&mut client, id(1), "1")?, "{step}");
    }
    // A limit is no such change: it may be prepared in one mode and committed in the other.
    client.batch_execute("begin")?;
    limit(&mut client, id(1), "llm", "7")?;
    client.batch_execute("prepare transaction 'left'")?;
    drop(client);
    cluster.configure_preload(true)?;
    cluster.restart()?;
    let mut other = server(&cluster, &database)?;
    assert!(!charge(&mut other, id(1), "4.000000001")?, "6 are spent of 10");
    end_prepared(&mut cluster.superuser(&database)?, "commit", "left")?;
    assert_exact(&mut other, id(1), 7);
    Ok(())
}

/// A transaction that has notified cannot be prepared: the hint is given at the commit alone.
#[test]
fn an_event_is_prepared_with_the_charge_that_the_locked_mode_makes() -> Result<()> {
    let (cluster, database) = locked_server()?;
    let mut client = server(&cluster, &database)?;
    let told = |client: &mut Client| -> Result<i64> {
        Ok(client.query_one("select count(*) from copilot_internal.quota_events", &[])?.get(0))
    };
    for (tenant, ending, events) in [(id(1), "rollback", 0), (id(2), "commit", 1)] {
        client.batch_execute("begin")?;
        assert!(charge(&mut client, tenant, "9")?);
        client.batch_execute("prepare transaction 'event'")?;
        assert_eq!(told(&mut client)?, 0);
        end_prepared(&mut client, ending, "event")?;
        assert_eq!(told(&mut client)?, events, "{ending}");
    }
    Ok(())
}
