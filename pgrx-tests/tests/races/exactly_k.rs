//! N sessions, room for k.

use anyhow::Result;

use crate::charger::{LEVELS, WAYS, Way, race, transact};
use crate::support::{Database, USD, all_charged_nanos, assert_verified, charged_nanos, id, limit, make_tenant};

const SESSIONS: usize = 6;
const TRANSACTIONS: usize = 4;
/// Not a multiple of three: the last transaction of three gets a part of what it asks for.
const ROOM: usize = 10;

/// Every way, level and transaction size, each against a tenant of its own.
#[test]
fn of_many_charges_exactly_those_that_fit_succeed() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    let mut number = 0;
    for way in WAYS {
        for level in LEVELS {
            for size in [1, 3] {
                number += 1;
                let tenant = id(number);
                make_tenant(&mut client, tenant)?;
                limit(&mut client, tenant, way.resource(), &ROOM.to_string())?;
                let charges = vec![way.charge(tenant, None, "1", ""); size];
                let admitted = race(&database, SESSIONS, |_, client| {
                    (0..TRANSACTIONS).map(|_| transact(client, level, &charges)).sum::<Result<usize>>()
                })?;
                let case = format!("{way:?} at {level:?} with {size} a transaction");
                assert_eq!(admitted.iter().sum::<usize>(), ROOM, "{case}: {admitted:?}");
                assert_eq!(charged_nanos(&mut client, tenant)?, ROOM as i64 * USD, "{case}");
            }
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// Amounts that do not divide the limit: the sum comes as close as a charge, and never a nano above.
#[test]
fn no_nano_dollar_goes_over() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    let tenant = id(1);
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "0.000001")?;
    // Each charge is 7.5 nano-dollars and counts as 8: 125 fit into 1000.
    let charges = vec![Way::Llm.charge(tenant, None, "0.0000000075", "")];
    let admitted = race(&database, SESSIONS, |_, client| {
        (0..30).map(|_| transact(client, LEVELS[0], &charges)).sum::<Result<usize>>()
    })?;
    assert_eq!(admitted.iter().sum::<usize>(), 125);
    assert_eq!(charged_nanos(&mut client, tenant)?, 1000);
    assert_verified(&mut client);
    Ok(())
}

/// A user's, the tenant's for the resource and for all: each is kept, and the charge counts against all or none.
#[test]
fn several_quotas_of_a_tenant_hold_at_once() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    for (number, level) in (1..).zip(LEVELS) {
        let tenant = id(number);
        let users = [id(0xf1), id(0xf2), id(0xf3)];
        make_tenant(&mut client, tenant)?;
        limit(&mut client, tenant, "llm", "7")?;
        limit(&mut client, tenant, "e2b", "20")?;
        limit(&mut client, tenant, "all", "11")?;
        for user in users {
            let sql = "select public.set_quota('user', $1, 'all', 5, 'lifetime', $2)";
            client.execute(sql, &[&user, &tenant])?;
        }
        let admitted = race(&database, SESSIONS, |index, client| {
            let user = users[index % 3];
            let way = if index < 3 { Way::Llm } else { Way::E2b };
            let pair = [way.charge(tenant, Some(user), "1", ""), way.charge(tenant, Some(user), "1", "")];
            let one = [Way::Bare.charge(tenant, Some(user), "1", "")];
            let mut admitted = 0;
            for _ in 0..4 {
                admitted += transact(client, level, &pair)? + transact(client, level, &one)?;
            }
            Ok(admitted)
        })?;
        let spent = |client: &mut postgres::Client, filter: &str| -> Result<i64> {
            let sql = format!(
                "select coalesce(sum(charge_nanos), 0)::bigint from copilot_internal.ledger_lines
                 where tenant_id = $1 and {filter}"
            );
            Ok(client.query_one(&sql, &[&tenant])?.get(0))
        };
        // 3 users at 5 are 15, so the whole tenant's 11 is what binds; every user asked for more.
        assert_eq!(admitted.iter().sum::<usize>(), 11, "{level:?}");
        assert_eq!(spent(&mut client, "true")?, 11 * USD, "{level:?}");
        assert!(spent(&mut client, "resource_type = 'llm'")? <= 7 * USD, "{level:?}");
        for user in users {
            assert!(spent(&mut client, &format!("user_id = '{user}'"))? <= 5 * USD, "{level:?}");
        }
    }
    assert_verified(&mut client);
    Ok(())
}

/// The one limit that all tenants share, against tenants with room enough.
#[test]
fn the_platform_s_quota_holds_over_all_tenants() -> Result<()> {
    for level in LEVELS {
        let database = Database::fresh()?;
        let mut client = database.superuser()?;
        for number in 1..=3 {
            make_tenant(&mut client, id(number))?;
        }
        client.batch_execute("select public.set_quota('platform', null, 'all', 10, 'lifetime')")?;
        let admitted = race(&database, SESSIONS, |index, client| {
            let tenant = id(1 + index as u128 % 3);
            let charges = vec![WAYS[index % 3].charge(tenant, None, "1", ""); 1 + 2 * (index % 2)];
            (0..6).map(|_| transact(client, level, &charges)).sum::<Result<usize>>()
        })?;
        assert_eq!(admitted.iter().sum::<usize>(), 10, "{level:?}");
        assert_eq!(all_charged_nanos(&mut client)?, 10 * USD, "{level:?}");
        assert_verified(&mut client);
    }
    Ok(())
}
