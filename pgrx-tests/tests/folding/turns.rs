//! Whose rows a call of `maintain()` folds, and when it ends.

use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::support::{Database, assert_verified, id, texts};
use crate::world::{pend, pend_for, pending};

const LATE: Uuid = Uuid::from_u128(u128::MAX - 0xff);
const PLATFORM: Uuid = Uuid::nil();

fn pending_of(client: &mut postgres::Client, tenant: Uuid) -> Result<i64> {
    let sql = "select count(*) from copilot_internal.pending_costs where tenant_id = $1";
    Ok(client.query_one(sql, &[&tenant])?.get(0))
}

fn folded(client: &mut postgres::Client, call: &str) -> Result<i64> {
    let sql = format!("select done from copilot_internal.{call} where task = 'fold'");
    Ok(client.query_one(&sql, &[])?.get(0))
}

/// In every call, however long the tail of another is that comes before them.
#[test]
fn a_late_tenant_and_the_platform_are_folded_in_every_call() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    pend(&mut client, id(1), 30_000)?;
    for _ in 0..3 {
        pend(&mut client, LATE, 5)?;
        assert!(folded(&mut client, "maintain(1000)")? >= 1000);
        assert_eq!(pending_of(&mut client, LATE)?, 0);
        assert_eq!(pending_of(&mut client, PLATFORM)?, 0);
    }
    // What others leave of the limit is for the longest tail.
    assert_eq!(pending_of(&mut client, id(1))?, 30_000 - (3 * 1000 - 3 * 5));
    assert_verified(&mut client);
    Ok(())
}

/// More tenants than a call has seats: the oldest tails come first, and none is passed over for ever.
#[test]
fn the_oldest_tails_come_first() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    pend_for(&mut client, "md5(n::text)::uuid", 40)?;
    client.batch_execute(
        "update copilot_internal.pending_costs p set charged_at = charged_at - interval '1 day'
         where tenant_id = md5('17')::uuid;
         update copilot_internal.llm_cost_records p set charged_at = charged_at - interval '1 day'
         where tenant_id = md5('17')::uuid",
    )?;
    folded(&mut client, "maintain(1)")?;
    assert_eq!(
        texts(
            &mut client,
            "select tenant_id::text from copilot_internal.pending_costs where tenant_id = md5('17')::uuid",
            &[]
        )?,
        Vec::<String>::new()
    );
    assert_eq!(pending(&mut client)?, 39);
    // Half of the seats are for the oldest, and a tenant may have both.
    for _ in 0..20 {
        folded(&mut client, "maintain(4)")?;
    }
    assert_eq!(pending(&mut client)?, 0);
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn a_call_ends_in_time_and_when_it_is_cancelled() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    pend(&mut client, id(1), 60_000)?;
    let began = Instant::now();
    let done = folded(&mut client, "maintain(1000000, '1 millisecond')")?;
    assert!(done > 0 && done < 60_000, "{done} rows in {:?}", began.elapsed());
    client.batch_execute("set statement_timeout = '20ms'")?;
    match client.batch_execute("select copilot_internal.maintain(1000000, '1 day')") {
        Ok(()) => panic!("it is not cancelled"),
        Err(error) => assert_eq!(sqlstate(&error), "57014"),
    }
    client.batch_execute("reset statement_timeout")?;
    for wrong in ["null", "'0'", "'-1 second'", "'2 days'"] {
        match client.batch_execute(&format!("select copilot_internal.maintain(10, {wrong})")) {
            Ok(()) => panic!("{wrong} is taken"),
            Err(error) => assert_eq!(sqlstate(&error), "22023", "{wrong}"),
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// Each step commits, so what was done before it is cancelled stays done.
#[test]
fn housekeeping_in_steps_leaves_progress_behind() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    pend(&mut client, id(1), 100_000)?;
    client.batch_execute("call copilot_internal.housekeep('1 millisecond')")?;
    let left = pending(&mut client)?;
    assert!((1..100_000).contains(&left), "{left} rows are pending");
    // In a transaction it is one step, and can be rolled back.
    client.batch_execute("begin; call copilot_internal.housekeep(); rollback")?;
    assert_eq!(pending(&mut client)?, left);
    client.batch_execute("call copilot_internal.housekeep()")?;
    // A little may be left to the next call.
    assert!(pending(&mut client)? < 100);
    for wrong in ["null", "'0'", "'2 days'"] {
        match client.batch_execute(&format!("call copilot_internal.housekeep({wrong})")) {
            Ok(()) => panic!("{wrong} is taken"),
            Err(error) => assert_eq!(sqlstate(&error), "22023", "{wrong}"),
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// A lock for each of them would not fit.
#[test]
fn any_number_of_tenants_fits_into_a_small_lock_table() -> Result<()> {
    const TENANTS: i64 = 12_000;
    let extra_conf = vec![("max_connections".to_string(), "60".to_string())];
    let cluster = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?;
    let mut client = cluster.superuser(&cluster.fresh_database()?)?;
    // They have reached a threshold, so each of them has an event to be written, under a lock of its own.
    client.batch_execute(&format!(
        "insert into copilot_internal.tenants (id, name) select md5(n::text)::uuid, 'tenant' from generate_series(1, {TENANTS}) n;
         insert into copilot_internal.default_quotas (resource_type, period, limit_usd) values ('llm', 'lifetime', 0.0000001)"
    ))?;
    pend_for(&mut client, "md5(n::text)::uuid", TENANTS)?;
    let (mut calls, began) = (0, Instant::now());
    while calls < 3 {
        assert!(folded(&mut client, "maintain()")? > 0);
        calls += 1;
    }
    client.batch_execute("call copilot_internal.housekeep('10 minutes')")?;
    assert!(pending(&mut client)? < 100);
    client.batch_execute("select copilot_internal.maintain()")?;
    let took = began.elapsed();
    println!("{TENANTS} tenants with an event each: {took:?}");
    assert!(took < Duration::from_secs(300));
    assert_eq!(pending(&mut client)?, 0);
    let events =
        "select count(*)::text from copilot_internal.quota_events where event_type = 'threshold' and threshold = 1";
    assert_eq!(texts(&mut client, events, &[])?, [TENANTS.to_string()]);
    assert_verified(&mut client);
    Ok(())
}

/// Each quota that lacks an event takes a lock, too: a call writes a share of them, and calls reach all.
#[test]
fn any_number_of_events_fits_into_a_small_lock_table() -> Result<()> {
    const USERS: i64 = 9_000;
    let extra_conf = vec![("max_connections".to_string(), "40".to_string())];
    let cluster = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?;
    let mut client = cluster.superuser(&cluster.fresh_database()?)?;
    crate::support::make_tenant(&mut client, id(1))?;
    pend(&mut client, id(1), USERS)?;
    client.batch_execute(&format!(
        "with ids as (select row_number() over () as n, record_id from copilot_internal.pending_costs),
              records as (update copilot_internal.llm_cost_records r set user_id = md5(i.n::text)::uuid
                          from ids i where i.record_id = r.id)
         update copilot_internal.pending_costs p set user_id = md5(i.n::text)::uuid
         from ids i where i.record_id = p.record_id;
         insert into copilot_internal.cost_quotas (scope, tenant_id, scope_id, resource_type, period, limit_usd)
         select 'user', '{}', md5(n::text)::uuid, 'llm', 'lifetime', 0.0000001 from generate_series(1, {USERS}) n",
        id(1)
    ))?;
    let events = "select count(distinct quota_id)::text from copilot_internal.quota_events where threshold = 1";
    let mut calls = 0;
    while texts(&mut client, events, &[])? != [USERS.to_string()] {
        client.batch_execute("call copilot_internal.housekeep('10 seconds')")?;
        calls += 1;
        assert!(calls < 1000, "{:?} events after {calls} calls", texts(&mut client, events, &[])?);
    }
    assert!(calls > 1, "they fit into one call");
    assert_verified(&mut client);
    Ok(())
}
