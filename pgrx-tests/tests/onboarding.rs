//! Many at once: slugs, personal tenants, how many a user may make, and owners that remove each other.

use tollgate_tests::support;

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::thread;

use anyhow::Result;
use postgres::{Client, IsolationLevel};
use support::{Database, id, make_tenant, text, texts};
use tollgate_tests::session::{Caller, sqlstate};
use uuid::Uuid;

/// Runs the same at once on so many connections of the server's.
fn at_once<T: Send>(
    database: &Database,
    count: usize,
    work: impl Fn(usize, &mut Client) -> Result<T, postgres::Error> + Sync,
) -> Result<Vec<Result<T, postgres::Error>>> {
    let barrier = Barrier::new(count);
    let clients: Vec<Client> = (0..count).map(|_| database.superuser()).collect::<Result<_>>()?;
    let (work, barrier) = (&work, &barrier);
    Ok(thread::scope(|scope| {
        let run = |(number, mut client): (usize, Client)| {
            scope.spawn(move || {
                barrier.wait();
                work(number, &mut client)
            })
        };
        let threads: Vec<_> = clients.into_iter().enumerate().map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    }))
}

const PERSONAL: &str = "select public.create_personal_tenant($1, $2)";

#[test]
fn slugs_are_unique_without_a_race() -> Result<()> {
    let database = Database::fresh()?;
    let made = at_once(&database, 16, |number, client| {
        let user = id(0xa000 + number as u128);
        client.query_one(PERSONAL, &[&user, &format!("ann@{number}.example.com")])?.try_get::<_, Uuid>(0)
    })?;
    let mut ids = made.into_iter().collect::<Result<Vec<Uuid>, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 16);
    let slugs = texts(&mut database.superuser()?, "select slug from copilot_internal.tenants order by slug", &[])?;
    assert!(slugs.iter().all(|slug| slug.starts_with("personal-")), "{slugs:?}");
    Ok(())
}

/// However many sign up at once, there are no more of them than there may be while nothing bounds their budgets
/// together. A user whose session stays in a transaction makes no other user wait for long.
#[test]
fn sign_ups_at_once_mint_no_more_budgets_than_they_may() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    client.batch_execute("select public.get_current_tenant_id()")?;
    client.batch_execute(&format!("alter database {} set pg_tollgate.personal_tenants = 5", database.name))?;
    let sign_up = |number: usize, client: &mut Client| {
        let user = id(0xe000 + number as u128);
        let claims = format!("{{\"sub\": \"{user}\", \"email\": \"{user}@example.com\"}}");
        client.execute("select set_config('request.jwt.claims', $1, false)", &[&claims])?;
        client.batch_execute("set role authenticated")?;
        client.query_one(PERSONAL, &[&user, &format!("{user}@example.com")])?.try_get::<_, Uuid>(0)
    };
    let made = at_once(&database, 12, sign_up)?;
    let refused: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).map(sqlstate).collect();
    assert_eq!(refused, ["53400"; 7]);
    assert_eq!(text(&mut client, "select count(*)::text from copilot_internal.tenants", &[])?, "5");
    client.batch_execute(&format!("alter database {} set pg_tollgate.personal_tenants = 50", database.name))?;
    let mut idle = database.superuser()?;
    idle.batch_execute("begin")?;
    sign_up(100, &mut idle)?;
    let mut other = database.superuser()?;
    let started = std::time::Instant::now();
    assert_eq!(sqlstate(&sign_up(101, &mut other).expect_err("one after the other")), "53400");
    // Some seconds, on a busy machine many.
    assert!(started.elapsed() < std::time::Duration::from_secs(60));
    idle.batch_execute("commit")?;
    sign_up(101, &mut other)?;
    Ok(())
}

#[test]
fn a_user_has_one_personal_tenant_however_often_they_sign_up_at_once() -> Result<()> {
    let database = Database::fresh()?;
    for round in 0..10 {
        let user = id(0xb000 + round);
        let made = at_once(&database, 8, |_, client| {
            client.query_one(PERSONAL, &[&user, &"ben@example.com"])?.try_get::<_, Uuid>(0)
        })?;
        let mut ids = made.into_iter().collect::<Result<Vec<Uuid>, _>>()?;
        ids.dedup();
        assert_eq!(ids.len(), 1, "round {round}: {ids:?}");
    }
    Ok(())
}

#[test]
fn a_user_makes_no_more_tenants_at_once_than_they_may() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    client.batch_execute("select public.get_current_tenant_id()")?;
    client.batch_execute(&format!("alter database {} set pg_tollgate.tenants_per_user = 2", database.name))?;
    let user = id(0xc0);
    let made = thread::scope(|scope| {
        let run = |_| {
            scope.spawn(|| {
                let mut session = database.session().unwrap();
                session.value::<Uuid>(&Caller::user(user, None), "select public.create_tenant('Acme')", &[])
            })
        };
        let threads: Vec<_> = (0..8).map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let refused: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).map(sqlstate).collect();
    assert_eq!(refused, ["42501"; 6]);
    assert_eq!(text(&mut client, "select count(*)::text from copilot_internal.tenants", &[])?, "2");
    Ok(())
}

#[test]
fn two_owners_that_remove_each_other_leave_one() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    let owners = [id(0xd1), id(0xd2)];
    let levels = [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable];
    for round in 0..24 {
        let tenant = id(0xd00 + round);
        make_tenant(&mut client, tenant)?;
        client.execute("update copilot_internal.tenants set owner_id = $1 where id = $2", &[&owners[0], &tenant])?;
        client.execute(
            "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values ($1, $2, 'owner')",
            &[&tenant, &owners[1]],
        )?;
        let level = levels[usize::try_from(round)? % levels.len()];
        let removed = at_once(&database, 2, |number, client| {
            let mut transaction = client.build_transaction().isolation_level(level).start()?;
            // The snapshot of the whole transaction is taken before either has done anything.
            transaction.query("select from copilot_internal.tenants", &[])?;
            transaction.batch_execute("set local role authenticated")?;
            let claims = format!("{{\"sub\": \"{}\", \"role\": \"authenticated\"}}", owners[number]);
            transaction.execute("select set_config('request.jwt.claims', $1, true)", &[&claims])?;
            let sql = "select public.remove_member($1, $2)";
            let removed = transaction.query_one(sql, &[&tenant, &owners[1 - number]])?.try_get::<_, bool>(0)?;
            transaction.commit()?;
            Ok(removed)
        })?;
        let owners =
            "select count(*)::text from copilot_internal.active_memberships where tenant_id = $1 and role = 'owner'";
        assert_eq!(text(&mut client, owners, &[&tenant])?, "1", "{level:?}: {removed:?}");
        let refused: Vec<_> = removed.iter().filter_map(|removed| removed.as_ref().err()).map(sqlstate).collect();
        assert_eq!(refused.len(), 1, "{level:?}: {removed:?}");
        assert!(["42501", "40001"].contains(&refused[0]), "{level:?}: {refused:?}");
    }
    Ok(())
}
