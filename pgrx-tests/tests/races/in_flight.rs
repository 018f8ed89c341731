//! Charges in flight while something else changes: definitions, snapshots, the first quota of the platform.

use std::thread;

use anyhow::Result;
use postgres::{Client, IsolationLevel};
use tollgate_tests::session::sqlstate;

use crate::charger::{LEVELS, Way, connect, is_blocked, transact, until, wait_until_blocked};
use crate::support::{
    Database, USD, all_charged_nanos, assert_verified, charged_nanos, id, limit, make_tenant, preloaded,
};

fn begin_with(client: &mut Client, level: IsolationLevel, charge: &str) -> Result<()> {
    let name = match level {
        IsolationLevel::Serializable => "serializable",
        IsolationLevel::RepeatableRead => "repeatable read",
        _ => "read committed",
    };
    client.batch_execute(&format!("begin isolation level {name}"))?;
    assert!(client.query_one(charge, &[])?.get::<_, bool>(0));
    Ok(())
}

/// There was no quota yet when the first charge was made; it counts all the same.
#[test]
fn a_quota_created_meanwhile_counts_what_is_in_flight() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    for (number, level) in (1..).zip(LEVELS) {
        for (scope, end, admitted) in [("tenant", "commit", 0), ("user", "commit", 0), ("tenant", "rollback", 1)] {
            let tenant = id(number * 16 + scope.len() as u128 + end.len() as u128);
            let user = id(0xf1);
            make_tenant(&mut database.superuser()?, tenant)?;
            let mut first = connect(&database)?;
            begin_with(&mut first, level, &Way::Llm.charge(tenant, Some(user), "6", ""))?;
            let scope_id = if scope == "tenant" { tenant } else { user };
            let sql = "select public.set_quota($1, $2, 'llm', 10, 'lifetime', $3)";
            server.execute(sql, &[&scope, &scope_id, &tenant])?;
            let second = thread::scope(|scope| {
                let charge = Way::Llm.charge(tenant, Some(user), "5", "");
                let database = &database;
                let second = scope.spawn(move || transact(&mut connect(database)?, level, &[charge]));
                wait_until_blocked(database, 1)?;
                first.batch_execute(end)?;
                second.join().unwrap_or_else(|_| anyhow::bail!("the second session panicked"))
            })?;
            assert_eq!(second, admitted, "{scope}, {end} at {level:?}");
            let expected = if end == "commit" { 6 } else { 5 };
            assert_eq!(charged_nanos(&mut server, tenant)?, expected * USD);
        }
    }
    assert_verified(&mut server);
    Ok(())
}

/// Makes the platform's quota in a session of its own. Either it waits for the charges in flight, or it is there at
/// once and they are waited for. That is the implementation's choice. Either way it has made its move when this
/// returns.
fn create_platform_quota(database: &Database) -> Result<thread::JoinHandle<Result<(), postgres::Error>>> {
    let mut client = connect(database)?;
    let pid = client.query_one("select pg_backend_pid()", &[])?.get(0);
    let creator =
        thread::spawn(move || client.batch_execute("select public.set_quota('platform', null, 'llm', 10, 'lifetime')"));
    let mut watcher = database.superuser()?;
    until("the creator waits or has ended", || Ok(creator.is_finished() || is_blocked(&mut watcher, pid)?))?;
    Ok(creator)
}

#[test]
fn the_first_platform_quota_counts_what_all_tenants_have_in_flight() -> Result<()> {
    for end in ["commit", "rollback"] {
        let database = Database::fresh()?;
        let mut server = connect(&database)?;
        let mut flying = Vec::new();
        for number in 1..=3 {
            make_tenant(&mut database.superuser()?, id(number))?;
            if number < 3 {
                let mut client = connect(&database)?;
                begin_with(&mut client, LEVELS[0], &Way::Llm.charge(id(number), None, "3", ""))?;
                flying.push(client);
            }
        }
        let creator = create_platform_quota(&database)?;
        let third = thread::scope(|scope| {
            let database = &database;
            let third = scope
                .spawn(move || transact(&mut connect(database)?, LEVELS[0], &[Way::Llm.charge(id(3), None, "5", "")]));
            wait_until_blocked(database, 1)?;
            for client in &mut flying {
                client.batch_execute(end)?;
            }
            third.join().unwrap_or_else(|_| anyhow::bail!("the third session panicked"))
        })?;
        creator.join().unwrap_or_else(|_| panic!("the creator panicked"))?;
        assert_eq!(third, usize::from(end == "rollback"));
        assert_eq!(all_charged_nanos(&mut server)?, if end == "commit" { 6 } else { 5 } * USD);
        assert_verified(&mut server);
    }
    Ok(())
}

/// Two transactions of two tenants have charged when the first quota of the platform appears, and each charges again.
/// They share nothing but the platform, so whatever each waits for in the locked mode, it must not be the other. Preloaded,
/// each has charged by what there was before, and would have to count the other: one may be told so.
#[test]
fn the_first_platform_quota_deadlocks_no_open_transaction() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    let mut sessions = Vec::new();
    for number in 1..=2 {
        make_tenant(&mut database.superuser()?, id(number))?;
        let mut client = connect(&database)?;
        begin_with(&mut client, LEVELS[0], &Way::Llm.charge(id(number), None, "3", ""))?;
        sessions.push((number, client));
    }
    let creator = create_platform_quota(&database)?;
    let outcomes: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .map(|(number, client)| {
                scope.spawn(move || {
                    let charge = Way::Llm.charge(id(*number), None, "1", "");
                    let outcome = client.query_one(&charge, &[]).map(|row| row.get::<_, bool>(0).to_string());
                    let outcome = outcome.unwrap_or_else(|error| sqlstate(&error).to_string());
                    let ended = client.batch_execute("commit");
                    format!("{outcome}{}", if ended.is_err() { " and no commit" } else { "" })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| "panic".to_string())).collect()
    });
    creator.join().unwrap_or_else(|_| panic!("the creator panicked"))?;
    let ended = outcomes.iter().filter(|outcome| *outcome == "40P01").count();
    assert!(ended <= usize::from(preloaded(&mut server)?), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "true").count(), 2 - ended, "{outcomes:?}");
    assert_eq!(all_charged_nanos(&mut server)?, (8 - 4 * ended as i64) * USD);
    assert_verified(&mut server);
    Ok(())
}

/// REPEATABLE READ shows an old world to queries; admission must look at the present one.
#[test]
fn a_snapshot_older_than_a_charge_does_not_hide_it() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    for (number, (level, name)) in (1..).zip([(LEVELS[1], "repeatable read"), (LEVELS[2], "serializable")]) {
        for way in [Way::Llm, Way::Bare] {
            let tenant = id(number * 16 + way as u128);
            make_tenant(&mut database.superuser()?, tenant)?;
            limit(&mut database.superuser()?, tenant, "llm", "10")?;
            let mut old = connect(&database)?;
            old.batch_execute(&format!("begin isolation level {name}; select count(*) from copilot_internal.tenants"))?;
            assert_eq!(transact(&mut server, level, &[way.charge(tenant, None, "8", "")])?, 1);
            // The definition too may be younger than the snapshot.
            limit(&mut server, tenant, "llm", "9")?;
            let admitted = old.query_one(&way.charge(tenant, None, "1.5", ""), &[]).map(|row| row.get::<_, bool>(0));
            match admitted {
                Ok(admitted) => assert!(!admitted, "{way:?} at {name} slips by"),
                Err(error) => assert_eq!(sqlstate(&error), "40001", "{error}"),
            }
            old.batch_execute("rollback")?;
            assert_eq!(charged_nanos(&mut server, tenant)?, 8 * USD);
        }
    }
    assert_verified(&mut server);
    Ok(())
}
