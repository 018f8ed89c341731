//! What is rolled back makes room again, and nothing else does.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::charger::{LEVELS, Way, connect, race, transact};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, limit, make_tenant};

fn tenant_with_room(database: &Database, number: u128, usd: &str) -> Result<uuid::Uuid> {
    let mut client = database.superuser()?;
    make_tenant(&mut client, id(number))?;
    limit(&mut client, id(number), "llm", usd)?;
    Ok(id(number))
}

/// Sessions that charge and take it back run between those that keep theirs; none of these is refused in the end.
#[test]
fn a_rollback_gives_back_what_it_took() -> Result<()> {
    let database = Database::fresh()?;
    for (number, level) in (1..).zip(LEVELS) {
        let tenant = tenant_with_room(&database, number, "4")?;
        let charge = Way::Llm.charge(tenant, None, "1", "");
        race(&database, 8, |index, client| {
            if index % 2 == 0 {
                for _ in 0..10 {
                    let mut transaction = client.build_transaction().isolation_level(level).start()?;
                    let _ = transaction.query(&charge, &[]);
                    transaction.rollback()?;
                }
                return Ok(());
            }
            // Refused for a moment is fair, while what will be rolled back is in flight.
            let deadline = Instant::now() + Duration::from_secs(120);
            while transact(client, level, std::slice::from_ref(&charge))? == 0 {
                if Instant::now() > deadline {
                    bail!("refused although there is room");
                }
            }
            Ok(())
        })?;
        let mut client = database.superuser()?;
        assert_eq!(charged_nanos(&mut client, tenant)?, 4 * USD, "{level:?}");
        assert_eq!(transact(&mut client, level, &[charge])?, 0, "{level:?}: the limit is reached");
    }
    assert_verified(&mut database.superuser()?);
    Ok(())
}

#[test]
fn a_savepoint_s_rollback_gives_back_its_part_and_release_keeps_it() -> Result<()> {
    let database = Database::fresh()?;
    for (number, level) in (1..).zip(LEVELS) {
        let tenant = tenant_with_room(&database, number, "5")?;
        let charge = |usd: &str| Way::Llm.charge(tenant, None, usd, "");
        let mut client = connect(&database)?;
        let mut transaction = client.build_transaction().isolation_level(level).start()?;
        let admitted = |row: postgres::Row| row.get::<_, bool>(0);
        assert!(admitted(transaction.query_one(&charge("1"), &[])?));
        let mut outer = transaction.savepoint("first_part")?;
        assert!(admitted(outer.query_one(&charge("2"), &[])?));
        let mut inner = outer.savepoint("second_part")?;
        assert!(admitted(inner.query_one(&charge("2"), &[])?));
        assert!(!admitted(inner.query_one(&charge("0.000000001"), &[])?), "{level:?}: 5 of 5");
        inner.rollback()?;
        assert!(!admitted(outer.query_one(&charge("3"), &[])?), "{level:?}: 3 of 5");
        outer.commit()?;
        let mut last = transaction.savepoint("last_part")?;
        assert!(admitted(last.query_one(&charge("2"), &[])?), "{level:?}: the inner part is free again");
        last.rollback()?;
        transaction.commit()?;
        let mut client = database.superuser()?;
        assert_eq!(charged_nanos(&mut client, tenant)?, 3 * USD, "{level:?}");
    }
    assert_verified(&mut database.superuser()?);
    Ok(())
}

/// An error is a rollback that was not asked for; so is the end of a session.
#[test]
fn an_error_and_a_lost_client_give_back_too() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = tenant_with_room(&database, 1, "1")?;
    let charge = Way::Llm.charge(tenant, None, "1", "");
    let mut client = connect(&database)?;
    for failure in ["select 1/0", "select * from public.record_llm_cost(null, null, null, null, null)"] {
        let mut transaction = client.transaction()?;
        assert!(transaction.query_one(&charge, &[])?.get::<_, bool>(0));
        assert!(transaction.batch_execute(failure).is_err());
        drop(transaction);
    }
    let mut lost = connect(&database)?;
    lost.batch_execute("begin")?;
    assert!(lost.query_one(&charge, &[])?.get::<_, bool>(0));
    let mut waiting = connect(&database)?;
    let pid: i32 = lost.query_one("select pg_backend_pid()", &[])?.get(0);
    database.superuser()?.execute("select pg_terminate_backend($1)", &[&pid])?;
    assert_eq!(transact(&mut waiting, LEVELS[0], &[charge])?, 1);
    let mut client = database.superuser()?;
    assert_eq!(charged_nanos(&mut client, tenant)?, USD);
    assert_verified(&mut client);
    Ok(())
}
