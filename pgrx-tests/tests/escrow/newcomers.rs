//! Tenants that are new: what their counters must not miss, and what others must not notice.

use anyhow::{Result, bail};
use postgres::Client;
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::servers::{assert_exact, charge, connect, counter, fresh, server, start, until, while_blocked};
use crate::support::{USD, charged_nanos, id, limit, make_tenant};

/// After the fact, which is always taken.
fn record(client: &mut Client, tenant: Uuid, usd: &str) -> Result<()> {
    let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => $2::text::numeric)";
    assert!(client.query_one(sql, &[&tenant, &usd])?.get::<_, bool>(0));
    Ok(())
}

fn insert(tenant: Uuid) -> String {
    format!("insert into copilot_internal.tenants (id, name) values ('{tenant}', 'tenant')")
}

/// Charges that do not know the tenant are in flight when it is made. Its default allows 100.
#[test]
fn what_is_charged_to_a_tenant_without_a_row_counts_when_the_row_comes() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    for (number, ending, admitted) in [(1, "commit", false), (2, "rollback", true)] {
        let tenant = id(number);
        other.batch_execute("begin")?;
        record(&mut other, tenant, "60")?;
        make_tenant(&mut client, tenant)?;
        let fits = while_blocked(
            database.cluster,
            &database.name,
            |client| Ok(charge(client, tenant, "41")?),
            || Ok(other.batch_execute(ending)?),
        )?;
        assert_eq!(fits, admitted, "{ending}");
        assert_exact(&mut client, tenant, 100);
        assert_exact(&mut other, tenant, 100);
    }
    Ok(())
}

/// What was charged before a tenant was deleted counts when it is made again, also while it is in flight.
#[test]
fn a_tenant_that_is_made_again_counts_what_is_in_flight_of_its_earlier_life() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    make_tenant(&mut client, id(1))?;
    other.batch_execute("begin")?;
    assert!(charge(&mut other, id(1), "60")?);
    client.execute("delete from copilot_internal.tenants where id = $1", &[&id(1)])?;
    let fits = while_blocked(
        database.cluster,
        &database.name,
        |client| {
            client.batch_execute(&format!("begin; {}", insert(id(1))))?;
            let fits = charge(client, id(1), "60")?;
            client.batch_execute("commit")?;
            Ok(fits)
        },
        || Ok(other.batch_execute("commit")?),
    )?;
    assert!(!fits, "120 of 100");
    assert_exact(&mut client, id(1), 100);
    Ok(())
}

/// A session that remembers that there is no such tenant charges it in the statement that makes it.
#[test]
fn a_session_that_knows_no_such_tenant_sees_the_row_of_its_own_statement() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    client.execute("select public.set_quota('tenant', $1, 'llm', 1000, 'day')", &[&id(1)])?;
    assert!(charge(&mut client, id(1), "60")?);
    let sql = format!(
        "with t as ({} returning id)
         select r.allowed from t, public.check_and_record_quota_atomic('tenant', t.id, 60, 'llm', t.id) r",
        insert(id(1))
    );
    assert!(!client.query_one(&sql, &[])?.get::<_, bool>(0), "120 of 100 a month");
    Ok(())
}

/// The transaction that makes a tenant and charges it has that tenant to itself, and no other.
#[test]
fn a_transaction_that_makes_a_tenant_and_charges_it_waits_and_is_waited_for() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    let (cluster, name) = (database.cluster, database.name.as_str());
    // It waits for those that do not know the tenant.
    other.batch_execute("begin")?;
    record(&mut other, id(1), "60")?;
    let fits = while_blocked(
        cluster,
        name,
        |client| {
            client.batch_execute(&format!("begin; {}", insert(id(1))))?;
            let fits = charge(client, id(1), "41")?;
            assert!(charge(client, id(1), "40")?);
            client.batch_execute("commit")?;
            Ok(fits)
        },
        || Ok(other.batch_execute("commit")?),
    )?;
    assert!(!fits, "it did not count what was in flight");
    assert_exact(&mut other, id(1), 100);
    // They wait for it.
    for (number, ending, spent) in [(2, "commit", 90), (3, "rollback", 30)] {
        let tenant = id(number);
        client.batch_execute(&format!("begin; {}", insert(tenant)))?;
        assert!(charge(&mut client, tenant, "60")?);
        while_blocked(cluster, name, |client| record(client, tenant, "30"), || Ok(client.batch_execute(ending)?))?;
        assert_eq!(charged_nanos(&mut other, tenant)?, spent * USD, "{ending}");
        if ending == "commit" {
            assert_exact(&mut other, tenant, 100);
            assert_exact(&mut client, tenant, 100);
        }
    }
    Ok(())
}

/// A tenant that is rolled back leaves no counter behind: one that is made later counts what came in between.
#[test]
fn a_tenant_that_is_rolled_back_leaves_nothing() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    let beginnings = ["begin; ", "begin; savepoint s; ", "begin; savepoint s; savepoint t; "];
    let endings = ["rollback", "rollback to s; commit", "release t; rollback to s; commit"];
    for ((number, begin), end) in (1..).zip(beginnings).zip(endings) {
        let tenant = id(number);
        client.batch_execute(&format!("{begin}{}", insert(tenant)))?;
        assert!(charge(&mut client, tenant, "60")?);
        assert!(!charge(&mut client, tenant, "40.000000001")?, "its default binds it");
        client.batch_execute(end)?;
        assert!(!charge(&mut client, tenant, "1")?, "there is no such tenant: {end}");
        record(&mut other, tenant, "30")?;
        make_tenant(&mut client, tenant)?;
        assert_exact(&mut other, tenant, 100);
        assert_exact(&mut client, tenant, 100);
    }
    Ok(())
}

/// In one statement, and by a trigger of the application's: the tenant is charged before any trigger of ours has run.
#[test]
fn a_tenant_can_be_charged_by_the_statement_that_makes_it() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    database.superuser()?.batch_execute(
        "create function public.welcome() returns trigger language plpgsql as $$
         begin
             update copilot_internal.tenants set name = 'welcome' where id = new.id;
             perform public.record_llm_cost(new.id, 'p', 'm', 1, 1, p_cost_usd => 20, p_enforce => true);
             return null;
         end $$;
         create trigger a_welcome after insert on copilot_internal.tenants for each row
             when (new.name = 'welcomed') execute function public.welcome()",
    )?;
    let in_one = |tenant: Uuid| {
        format!(
            "with t as (insert into copilot_internal.tenants (id, name) values ('{tenant}', 'tenant') returning id)
             select r.recorded from t, public.record_llm_cost(t.id, 'p', 'm', 1, 1, p_cost_usd => 20) r"
        )
    };
    let by_trigger =
        |tenant: Uuid| format!("insert into copilot_internal.tenants (id, name) values ('{tenant}', 'welcomed')");
    for (number, sql) in [(1, &in_one as &dyn Fn(Uuid) -> String), (2, &by_trigger)] {
        let tenant = id(number);
        // Fails with the statement, with the transaction, with a savepoint; then stays.
        if number == 2 {
            let failing = format!("do $$ begin {}; raise 'no'; end $$", sql(tenant));
            assert!(client.batch_execute(&failing).is_err());
        }
        client.batch_execute(&format!("begin; {}; rollback", sql(tenant)))?;
        client.batch_execute(&format!("begin; savepoint s; {}; rollback to s; commit", sql(tenant)))?;
        record(&mut other, tenant, "30")?;
        client.batch_execute(&format!("begin; {}", sql(tenant)))?;
        assert!(charge(&mut client, tenant, "10")?);
        client.batch_execute("commit")?;
        assert_eq!(charged_nanos(&mut other, tenant)?, 60 * USD);
        assert_exact(&mut other, tenant, 100);
        assert_exact(&mut client, tenant, 100);
    }
    Ok(())
}

/// A quota may be there before its tenant's row. It keeps its counter, which counts what the maker of the row charges.
#[test]
fn a_quota_that_was_there_before_the_row_goes_on_counting() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    for (number, ending, left) in [(1, "commit", "5"), (2, "rollback", "9")] {
        let tenant = id(number);
        limit(&mut client, tenant, "llm", "10")?;
        assert!(charge(&mut other, tenant, "1")?);
        client.batch_execute(&format!("begin; {}", insert(tenant)))?;
        assert!(charge(&mut client, tenant, "4")?);
        client.batch_execute(ending)?;
        assert!(!charge(&mut other, tenant, &format!("{left}.000000001"))?, "{ending}");
        assert_exact(&mut other, tenant, 10);
        assert_exact(&mut client, tenant, 10);
    }
    // A quota that comes with the row, and one that is known and goes with it.
    let tenant = id(3);
    limit(&mut client, tenant, "llm", "10")?;
    assert!(charge(&mut other, tenant, "1")?);
    client.batch_execute(&format!("begin; {}", insert(tenant)))?;
    limit(&mut client, tenant, "all", "3")?;
    assert!(charge(&mut client, tenant, "1")?);
    client.batch_execute("delete from copilot_internal.cost_quotas where resource_type = 'llm' and tenant_id = '00000000-0000-0000-0000-000000000003'")?;
    assert!(charge(&mut client, tenant, "0.5")?);
    assert!(!charge(&mut client, tenant, "0.500000001")?);
    client.batch_execute("commit")?;
    assert_exact(&mut other, tenant, 3);
    assert_exact(&mut client, tenant, 3);
    Ok(())
}

/// The row goes and comes back: in one transaction, in two, and under other ids.
#[test]
fn a_tenant_whose_row_comes_back_counts_what_was_charged_without_it() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    let tenant = id(1);
    let delete = format!("delete from copilot_internal.tenants where id = '{tenant}'");
    make_tenant(&mut client, tenant)?;
    assert!(charge(&mut other, tenant, "10")?);
    client.batch_execute(&delete)?;
    record(&mut other, tenant, "10")?;
    client.batch_execute(&insert(tenant))?;
    assert_exact(&mut other, tenant, 100);
    client.batch_execute(&format!("begin; {delete}"))?;
    record(&mut client, tenant, "10")?;
    client.batch_execute(&insert(tenant))?;
    assert!(charge(&mut client, tenant, "10")?);
    client.batch_execute("commit")?;
    assert_exact(&mut other, tenant, 100);
    client.batch_execute(&format!("begin; {}", insert(id(2))))?;
    client.batch_execute(&format!("update copilot_internal.tenants set id = '{}' where id = '{}'", id(3), id(2)))?;
    assert!(charge(&mut client, id(3), "10")?);
    client.batch_execute("commit")?;
    assert_eq!(charged_nanos(&mut other, tenant)?, 40 * USD);
    assert_exact(&mut other, id(3), 100);
    assert_exact(&mut client, tenant, 100);
    Ok(())
}

/// Sign-ups, and upserts that find the tenant, make no session read a counter again.
#[test]
fn counters_of_others_stay_where_they_are_when_tenants_sign_up() -> Result<()> {
    let database = fresh()?;
    let (mut client, mut other) = (connect(&database)?, connect(&database)?);
    let known: Vec<Uuid> = (1..=64).map(id).collect();
    for tenant in &known {
        make_tenant(&mut client, *tenant)?;
        assert!(charge(&mut other, *tenant, "1")?);
    }
    let before = counter(&mut other, "loads")?;
    for number in 101..=150 {
        client.batch_execute(&format!("begin; {}", insert(id(number))))?;
        if number % 2 == 0 {
            limit(&mut client, id(number), "llm", "5")?;
            client.execute("update copilot_internal.tenants set plan = 'gold' where id = $1", &[&id(number)])?;
        }
        assert!(charge(&mut client, id(number), "1")?);
        client.batch_execute("commit")?;
    }
    client.execute(
        "insert into copilot_internal.tenants (id, name)
         select md5(n::text)::uuid, 'imported' from generate_series(1, 500) n",
        &[],
    )?;
    for tenant in &known {
        client.batch_execute(&format!(
            "begin; {} on conflict (id) do update set name = excluded.name",
            insert(*tenant)
        ))?;
        assert!(charge(&mut client, *tenant, "1")?);
        assert!(charge(&mut other, *tenant, "1")?, "it does not wait");
        client.batch_execute("commit")?;
    }
    assert_eq!(counter(&mut other, "loads")? - before, 0);
    assert_exact(&mut other, id(101), 100);
    assert_exact(&mut other, id(102), 5);
    assert_exact(&mut client, known[0], 100);
    Ok(())
}

/// A person with a table that charges what is inserted into it, signed in.
fn person(client: &mut Client, number: u128) -> Result<()> {
    client.batch_execute(&format!(
        "set role authenticated;
         set request.jwt.claims = '{{\"sub\": \"{}\", \"email\": \"p{number}@example.com\"}}'",
        id(number)
    ))?;
    Ok(())
}

const IMAGES: &str = "
    create table public.images (tenant_id uuid, cost numeric);
    create trigger charge after insert on public.images for each row
        execute function copilot_internal.charge_on_insert('tenant_id', 'llm', 'cost');
    grant insert on public.images to authenticated";

const SIGN_UP_AND_CHARGE: &str = "
    begin;
    insert into public.images
    select public.create_personal_tenant((current_setting('request.jwt.claims')::json ->> 'sub')::uuid,
        current_setting('request.jwt.claims')::json ->> 'email'), 1";

/// The session of a process has been ended, and finds out.
fn ended(client: &mut Client, process: i32, mut session: Client) -> Result<()> {
    let gone = "select not exists (select from pg_stat_activity where pid = $1)";
    until("the session has ended", || Ok(client.query_one(gone, &[&process])?.get(0)))?;
    let Err(error) = session.batch_execute("commit") else { bail!("the session goes on") };
    assert!(error.code().is_none_or(|code| code.code() == "57P01"), "{error:?}");
    Ok(())
}

/// The person's tenant shares its 64th with about eight of these.
#[test]
fn a_person_who_stays_idle_after_signing_up_keeps_no_other_tenant_waiting() -> Result<()> {
    let database = fresh()?;
    let (mut idle, mut other) = (database.superuser()?, connect(&database)?);
    database.superuser()?.batch_execute(IMAGES)?;
    person(&mut idle, 1)?;
    idle.batch_execute(SIGN_UP_AND_CHARGE)?;
    other.batch_execute("set lock_timeout = '5s'")?;
    for number in 2..=500 {
        make_tenant(&mut other, id(number))?;
        assert!(charge(&mut other, id(number), "1")?);
    }
    idle.batch_execute("commit")?;
    Ok(())
}

/// A tenant that a person makes and charges has no row for others before the commit. One that charges the same tenant
/// waits for the person some seconds, and no longer.
#[test]
fn a_person_who_stays_idle_with_a_new_tenant_is_not_waited_for_without_end() -> Result<()> {
    let database = fresh()?;
    let (mut idle, mut other) = (database.superuser()?, connect(&database)?);
    database.superuser()?.batch_execute(IMAGES)?;
    person(&mut idle, 1)?;
    idle.batch_execute(SIGN_UP_AND_CHARGE)?;
    idle.batch_execute("reset role")?;
    let tenant: Uuid = idle.query_one("select tenant_id from public.images", &[])?.get(0);
    let process: i32 = idle.query_one("select pg_backend_pid()", &[])?.get(0);
    other.batch_execute("set lock_timeout = '40s'")?;
    record(&mut other, tenant, "1")?;
    ended(&mut other, process, idle)
}

/// What was charged before a quota of all tenants came has to end before it is counted. A person's session is given some
/// seconds for that.
#[test]
fn a_person_who_stays_idle_is_not_waited_for_without_end() -> Result<()> {
    let cluster = start(&[])?;
    let database = cluster.fresh_database()?;
    let mut admin = cluster.superuser(&database)?;
    admin.batch_execute(IMAGES)?;
    let mut other = server(&cluster, &database)?;
    make_tenant(&mut other, id(7))?;
    let mut idle = cluster.superuser(&database)?;
    let process: i32 = idle.query_one("select pg_backend_pid()", &[])?.get(0);
    person(&mut idle, 1)?;
    idle.batch_execute(SIGN_UP_AND_CHARGE)?;
    other.batch_execute("select public.set_quota('platform', null, 'llm', 50); set lock_timeout = '40s'")?;
    assert!(charge(&mut other, id(7), "50")?, "the person's charge was rolled back");
    ended(&mut admin, process, idle)?;
    // The server's own transactions are the operator's to end.
    let mut patient = server(&cluster, &database)?;
    patient.batch_execute("begin")?;
    assert!(!charge(&mut patient, id(7), "0.5")?);
    record(&mut patient, id(7), "0.5")?;
    other.batch_execute("select public.set_quota('platform', null, 'all', 60); set lock_timeout = '7s'")?;
    let error = charge(&mut other, id(7), "1").expect_err("it waits for the server's transaction");
    assert_eq!(sqlstate(&error), "55P03");
    patient.batch_execute("commit")?;
    assert_eq!(charged_nanos(&mut other, id(7))?, 50 * USD + USD / 2);
    Ok(())
}
