//! Tenants that are made and charged while others are: no transaction that makes tenants is in another tenant's way.

use std::sync::Barrier;
use std::thread;

use anyhow::Result;

use crate::charger::{Way, connect, race};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, make_tenant};

const SESSIONS: usize = 8;
const ROUNDS: usize = 25;

/// Each onboarding is one transaction: it makes a tenant, in every third also a quota and a plan of its own, and charges.
#[test]
fn eight_onboardings_at_once_end_without_a_deadlock() -> Result<()> {
    let database = Database::fresh()?;
    let start = Barrier::new(SESSIONS);
    let outcomes = race(&database, SESSIONS, |session, client| {
        (0..ROUNDS)
            .map(|round| {
                let tenant = id((1 + session * ROUNDS + round) as u128);
                let further = match round % 3 {
                    0 => format!(
                        "update copilot_internal.tenants set plan = 'gold' where id = '{tenant}';
                         select public.set_quota('tenant', '{tenant}', 'llm', 2, 'lifetime')"
                    ),
                    _ => String::new(),
                };
                let insert = format!("insert into copilot_internal.tenants (id, name) values ('{tenant}', 'new')");
                let charge = Way::Llm.charge(tenant, None, "1", "");
                // All have made their tenants before any charges, whatever becomes of each.
                start.wait();
                let made = client.batch_execute(&format!("begin; {insert}; {further}"));
                start.wait();
                let charged = made.and_then(|()| client.batch_execute(&format!("{charge}; commit")));
                Ok(charged.map_err(|error| format!("{error:?}")))
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let failed: Vec<_> = outcomes.into_iter().flatten().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {} failed: {}", failed.len(), SESSIONS * ROUNDS, failed[0]);
    let mut server = connect(&database)?;
    for tenant in (1..=SESSIONS * ROUNDS).map(|number| id(number as u128)) {
        assert_eq!(charged_nanos(&mut server, tenant)?, USD);
    }
    assert_verified(&mut server);
    Ok(())
}

/// 500 tenants are of every 64th of the tenants. A session that waited for the import would be told so by the timeout.
#[test]
fn an_open_import_of_tenants_keeps_no_first_charge_waiting() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    for number in 1..=40 {
        make_tenant(&mut server, id(number))?;
    }
    let mut import = connect(&database)?;
    import.batch_execute(
        "begin;
         insert into copilot_internal.tenants (id, name)
         select md5(n::text)::uuid, 'imported' from generate_series(1, 500) n",
    )?;
    server.batch_execute("set lock_timeout = '5s'")?;
    for number in 1..=20 {
        assert!(server.query_one(&Way::Llm.charge(id(number), None, "1", ""), &[])?.get::<_, bool>(0));
    }
    // Nor is a tenant kept waiting that is new itself, nor the import by that one.
    make_tenant(&mut server, id(100))?;
    assert!(server.query_one(&Way::Llm.charge(id(100), None, "1", ""), &[])?.get::<_, bool>(0));
    import.batch_execute("commit")?;
    for number in 21..=40 {
        assert!(server.query_one(&Way::Llm.charge(id(number), None, "1", ""), &[])?.get::<_, bool>(0));
    }
    assert_verified(&mut server);
    Ok(())
}

/// Sessions that have been told that there is no such tenant believe it no longer once its sign-up was acknowledged.
#[test]
fn a_sign_up_that_was_acknowledged_is_known_to_every_session() -> Result<()> {
    let database = Database::fresh()?;
    let mut server = connect(&database)?;
    let mut others = (0..4).map(|_| connect(&database)).collect::<Result<Vec<_>>>()?;
    for number in 1..=20 {
        let charge = Way::Llm.charge(id(number), None, "1", "");
        for other in &mut others {
            assert!(!other.query_one(&charge, &[])?.get::<_, bool>(0), "there is no tenant {number} yet");
        }
        make_tenant(&mut server, id(number))?;
        let known = thread::scope(|scope| {
            let charge = &charge;
            let asked: Vec<_> = others
                .iter_mut()
                .map(|other| scope.spawn(move || Ok(other.query_one(charge, &[])?.get::<_, bool>(0))))
                .collect();
            let answers = asked.into_iter().map(|it| it.join().unwrap_or_else(|_| anyhow::bail!("a session panicked")));
            answers.collect::<Result<Vec<_>>>()
        })?;
        assert_eq!(known, [true; 4], "tenant {number}");
    }
    assert_verified(&mut server);
    Ok(())
}
