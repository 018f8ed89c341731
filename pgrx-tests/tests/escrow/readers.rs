//! Sessions that only read: on a standby, in parallel workers, and what others have in flight.

use anyhow::Result;
use tollgate_tests::major::Major;
use tollgate_tests::session::sqlstate;

use crate::servers::{backend, charge, connect, fresh, pending, quota_figures, server, start, until};
use crate::support::{USD, charged_nanos, id, limit, make_tenant, text};

/// It has no counters of its own and cannot have any: it looks at the tables, and records nothing.
#[test]
fn a_standby_answers_from_the_tables_and_refuses_to_record() -> Result<()> {
    let cluster = start(&[])?;
    let database = cluster.fresh_database()?;
    let tenant = id(1);
    let mut client = server(&cluster, &database)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    let standby = cluster.standby()?;
    let mut reader = server(&standby, &database)?;
    assert!(reader.query_one("select pg_is_in_recovery()", &[])?.get::<_, bool>(0));
    let has = "select public.has_quota($1, 'llm', $2::text::numeric)::text";
    for spent in ["0.25", "0.5", "0.75"] {
        if spent != "0.25" {
            assert!(charge(&mut client, tenant, "0.25")?);
        }
        let charged = charged_nanos(&mut client, tenant)?;
        until("the standby has it", || Ok(quota_figures(&mut reader, tenant)? == (charged, 0)))?;
        let left = USD - charged;
        for (nanos, fits) in [(left, "true"), (left + 1, "false")] {
            assert_eq!(text(&mut reader, has, &[&tenant, &format!("0.{nanos:09}")])?, fits, "{spent} spent");
        }
    }
    for sql in [
        "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.1, p_enforce => true)",
        "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.1)",
        "select public.record_e2b_cost($1, 's', 'standard', 1)",
        "select public.check_and_record_quota_atomic('tenant', $1, 0.1)",
        "select public.set_quota('tenant', $1, 'llm', 5)",
    ] {
        let error = reader.execute(sql, &[&tenant]).expect_err(sql);
        assert_eq!(sqlstate(&error), "25006", "{sql}: {error:?}");
    }
    let sql = "select string_agg(current_spend_usd::text, ' ') from metrics.quota_status where resource_type = 'llm'";
    assert_eq!(text(&mut reader, sql, &[])?, "0.75 0.75", "of the user's own quota and of the default");
    assert_eq!(pending(&mut reader)?, Vec::<String>::new());
    assert_eq!(text(&mut reader, "select count(*)::text from metrics.admission", &[])?, "1");
    // A change of the limit arrives with its rows.
    limit(&mut client, tenant, "llm", "0.8")?;
    until("the standby has the limit", || {
        Ok(text(&mut reader, has, &[&tenant, &"0.06"])? == "false"
            && text(&mut reader, has, &[&tenant, &"0.05"])? == "true")
    })
}

/// Workers read the same memory, and at the same rows.
#[test]
fn a_parallel_query_gives_the_same_answers() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    for number in 1..=20 {
        make_tenant(&mut client, id(number))?;
        limit(&mut client, id(number), "llm", "1")?;
        if number % 2 == 0 {
            charge(&mut client, id(number), "0.75")?;
        }
    }
    let mut superuser = database.superuser()?;
    superuser.batch_execute(
        "create table public.asked as select t.id, n from copilot_internal.tenants t, generate_series(1, 500) n;
         alter table public.asked set (parallel_workers = 2); analyze public.asked;
         grant select on public.asked to service_role",
    )?;
    let sql = "select string_agg(id || ' ' || has, ',' order by id) from (
                   select id, bool_or(public.has_quota(id, 'llm', 0.5))::text as has from public.asked group by id) a";
    let serial = text(&mut client, sql, &[])?;
    assert_eq!(serial.matches("true").count(), 10);
    // As it is called since 16.
    let force = if Major::in_use() == Major::Pg15 { "force_parallel_mode" } else { "debug_parallel_query" };
    let forced = format!(
        "set {force} = on; set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
         set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 2"
    );
    client.batch_execute(&forced)?;
    let plan = crate::support::texts(&mut client, &format!("explain {sql}"), &[])?.join("\n");
    println!("{plan}");
    assert_eq!(text(&mut client, sql, &[])?, serial);
    // Cold, and with a charge and a quota of one's own in flight.
    let mut cold = connect(&database)?;
    cold.batch_execute(&format!("{forced}; begin"))?;
    assert_eq!(text(&mut cold, sql, &[])?, serial);
    assert!(charge(&mut cold, id(1), "0.75")?);
    let charged = serial.replace(&format!("{} true", id(1)), &format!("{} false", id(1)));
    assert_eq!(text(&mut cold, sql, &[])?, charged);
    limit(&mut cold, id(3), "all", "0.1")?;
    let limited = charged.replace(&format!("{} true", id(3)), &format!("{} false", id(3)));
    assert_eq!(text(&mut cold, sql, &[])?, limited);
    cold.batch_execute("rollback")?;
    assert_eq!(text(&mut cold, sql, &[])?, serial);
    // Recording is nothing for workers.
    let record = "select count(*) filter (where r.recorded)::text
                  from public.asked a, public.record_llm_cost(a.id, 'p', 'm', 1, 1, p_cost_usd => 0.001) r where n = 1";
    assert_eq!(text(&mut cold, record, &[])?, "20");
    Ok(())
}

#[test]
fn what_is_in_flight_is_shown_while_it_is() -> Result<()> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    let mut other = connect(&database)?;
    for number in 1..=6 {
        make_tenant(&mut other, id(number))?;
        limit(&mut other, id(number), "llm", "1")?;
    }
    let pid = backend(&mut client)?;
    let line = |number: u128, usd: &str| format!("{pid} {} {usd}", id(number));
    client.batch_execute("begin")?;
    assert!(charge(&mut client, id(1), "0.25")?);
    assert_eq!(pending(&mut other)?, [line(1, "0.25")]);
    assert_eq!(quota_figures(&mut other, id(1))?, (0, USD / 4), "held by others");
    assert_eq!(quota_figures(&mut client, id(1))?, (USD / 4, 0), "spent by oneself");
    client.batch_execute("savepoint s")?;
    assert!(charge(&mut client, id(1), "0.5")?);
    assert!(charge(&mut client, id(2), "0.5")?);
    assert!(!charge(&mut client, id(2), "0.75")?, "what is refused is not held");
    assert_eq!(pending(&mut other)?, [line(1, "0.75"), line(2, "0.5")]);
    client.batch_execute("rollback to s")?;
    assert_eq!(pending(&mut other)?, [line(1, "0.25")]);
    assert_eq!(quota_figures(&mut other, id(2))?, (0, 0));
    client.batch_execute("savepoint s")?;
    assert!(charge(&mut client, id(1), "0.125")?);
    client.batch_execute("release s")?;
    assert_eq!(pending(&mut other)?, [line(1, "0.375")]);
    // A slot has four lines for tenants, and one more for the rest.
    for number in 2..=6 {
        assert!(charge(&mut client, id(number), "0.5")?);
    }
    let shown = pending(&mut other)?;
    assert_eq!(shown.len(), 5, "{shown:?}");
    assert!(shown.contains(&format!("{pid}  1")), "{shown:?}");
    let young = "select bool_and(age between '0' and '1 minute') from copilot_internal.pending()";
    assert!(other.query_one(young, &[])?.get::<_, bool>(0));
    client.batch_execute("commit")?;
    assert_eq!(pending(&mut other)?, Vec::<String>::new());
    assert_eq!(quota_figures(&mut other, id(1))?, (375_000_000, 0));
    client.batch_execute("begin")?;
    assert!(charge(&mut client, id(1), "0.5")?);
    client.batch_execute("rollback")?;
    assert_eq!(pending(&mut other)?, Vec::<String>::new());
    Ok(())
}
