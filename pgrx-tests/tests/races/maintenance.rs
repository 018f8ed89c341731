//! Folding while others charge and read: no figure ever moves by it.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::charger::{LEVELS, Way, race, transact, until};
use crate::support::{Database, assert_verified, differences, id, make_tenant, preloaded};

const CHARGERS: usize = 3;
const CHARGES: usize = 60;

#[test]
fn totals_are_monotone_and_exact_while_all_sessions_fold() -> Result<()> {
    let database = Database::fresh()?;
    let tenants = [id(1), id(2)];
    for tenant in tenants {
        make_tenant(&mut database.superuser()?, tenant)?;
    }
    database.superuser()?.batch_execute("select public.set_quota('platform', null, 'all', 1000, 'lifetime')")?;
    let charging = AtomicUsize::new(CHARGERS);
    let folded = AtomicUsize::new(0);
    race(&database, CHARGERS + 4, |index, client| match index {
        0..CHARGERS => {
            let outcome = (0..CHARGES).try_for_each(|call| {
                if call == CHARGES / 2 {
                    // However fast the charges are, half of them come after a fold.
                    until("a row is folded", || Ok(folded.load(Ordering::SeqCst) > 0))?;
                }
                let charges = [Way::Llm.charge(tenants[(index + call) % 2], Some(id(0xf1)), "0.001", "")];
                transact(client, LEVELS[call % 3], &charges).map(drop)
            });
            charging.fetch_sub(1, Ordering::SeqCst);
            outcome
        }
        3 | 4 => {
            while charging.load(Ordering::SeqCst) > 0 {
                // Small steps, so that there are many.
                let row = client.query_one("select done from copilot_internal.maintain(7) where task = 'fold'", &[])?;
                folded.fetch_add(usize::try_from(row.get::<_, i64>(0))?, Ordering::SeqCst);
            }
            Ok(())
        }
        5 => {
            client.batch_execute("reset role")?;
            while charging.load(Ordering::SeqCst) > 0 {
                assert_eq!(differences(client)?, Vec::<String>::new(), "while running");
            }
            Ok(())
        }
        _ => watch_totals(client, &charging),
    })?;
    let mut client = database.superuser()?;
    let sql = "select sum(request_count)::bigint, sum(total_cost) = 0.001 * sum(request_count) from metrics.llm_costs";
    let before = client.query_one(sql, &[])?;
    assert_eq!((before.get::<_, i64>(0), before.get::<_, bool>(1)), ((CHARGERS * CHARGES) as i64, true));
    client.batch_execute("select copilot_internal.maintain()")?;
    let pending: i64 = client.query_one("select count(*) from copilot_internal.pending_costs", &[])?.get(0);
    assert_eq!(pending, 0);
    assert_verified(&mut client);
    Ok(())
}

/// Every charge is a thousandth, so the totals of each view say how many there are, and they only grow.
fn watch_totals(client: &mut postgres::Client, charging: &AtomicUsize) -> Result<()> {
    let sql = "
        select (select coalesce(sum(request_count), 0)::bigint from metrics.llm_costs),
               (select coalesce(sum(total_cost) * 1000, 0)::bigint from metrics.llm_costs),
               (select coalesce(sum(llm_cost) * 1000, 0)::bigint from metrics.tenant_total_costs),
               (select coalesce(sum(total_cost) * 1000, 0)::bigint from metrics.cost_by_user),
               (select coalesce(sum(total_cost) * 1000, 0)::bigint from metrics.llm_costs_daily),
               (select (current_spend_usd * 1000)::bigint from metrics.quota_status where scope = 'platform')";
    let mut last = 0;
    while charging.load(Ordering::SeqCst) > 0 {
        let row = client.query_one(sql, &[])?;
        let totals: Vec<i64> = (0..row.len()).map(|column| row.get(column)).collect();
        assert!(totals.iter().all(|total| *total == totals[0]), "the views disagree: {totals:?}");
        assert!(totals[0] >= last, "{} after {last}", totals[0]);
        last = totals[0];
    }
    Ok(())
}

/// A fold moves a tenant's rows into the platform's own queue: a charge must find each in the one or the other.
#[test]
fn a_charge_to_the_platform_counts_what_a_fold_is_moving() -> Result<()> {
    const ALONE: usize = 800;
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    database.superuser()?.batch_execute("select public.set_quota('platform', null, 'llm', 10, 'lifetime')")?;
    let charging = AtomicUsize::new(1);
    race(&database, 3, |index, client| -> Result<()> {
        if index > 0 {
            while charging.load(Ordering::SeqCst) > 0 {
                client.batch_execute("select copilot_internal.maintain(2)")?;
            }
            return Ok(());
        }
        let sql = "select (current_spend_usd * 1000)::bigint
            from public.check_and_record_quota_atomic('tenant', $1, 0.001)";
        let spent = (0..ALONE).map(|_| Ok(client.query_one(sql, &[&tenant])?.get(0))).collect::<Result<Vec<i64>>>();
        charging.fetch_sub(1, Ordering::SeqCst);
        // No other session charges, so each answer is one more than the last.
        assert_eq!(spent?, (1..=i64::try_from(ALONE)?).collect::<Vec<i64>>());
        Ok(())
    })?;
    Ok(())
}

/// Where `maintain()` is never called, a charge that has to sum a long tail shortens it. In the locked mode that is
/// each charge, in the shared one a charge that loads a counter.
#[test]
fn a_long_tail_is_folded_by_charges_that_sum_it() -> Result<()> {
    let database = Database::fresh()?;
    let tenant = id(1);
    make_tenant(&mut database.superuser()?, tenant)?;
    let mut client = database.superuser()?;
    let batch = format!(
        "select count(*) from public.record_llm_costs((select jsonb_agg(jsonb_build_object('tenant_id', '{tenant}',
             'model_provider', 'p', 'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 0.001))
         from generate_series(1, 1000)))"
    );
    for _ in 0..3 {
        client.batch_execute(&batch)?;
    }
    race(&database, 3, |_, client| {
        (0..20).try_for_each(|_| transact(client, LEVELS[0], &[Way::Llm.charge(tenant, None, "0.001", "")]).map(drop))
    })?;
    let periods: &[&str] = if preloaded(&mut client)? { &["hour", "day", "week", "year"] } else { &[] };
    for period in periods {
        client.query_one("select public.set_quota('tenant', $1, 'llm', 100, $2)", &[&tenant, period])?;
        transact(&mut client, LEVELS[0], &[Way::Llm.charge(tenant, None, "0.001", "")])?;
    }
    let pending: i64 = client
        .query_one("select count(*) from copilot_internal.pending_costs where tenant_id = $1", &[&tenant])?
        .get(0);
    assert!(pending < 1000, "{pending} rows are pending");
    let total: String = client
        .query_one("select total_cost::text from metrics.tenant_total_costs", &[])?
        .try_get(0)
        .context("no total")?;
    assert_eq!(total, format!("3.{:03}", 60 + periods.len()).trim_end_matches('0'));
    assert_verified(&mut client);
    Ok(())
}

/// A charge that compiles its query with LLVM takes a third of a second instead of a millisecond, under a lock. The
/// plans of the hot path must look cheap to the planner, whatever quotas exist; the compiler is loaded at first need.
#[test]
fn no_charge_and_no_check_wakes_the_jit_compiler() -> Result<()> {
    let database = Database::fresh()?;
    let (tenant, user) = (id(1), id(0xf1));
    let mut client = database.superuser()?;
    make_tenant(&mut client, tenant)?;
    client.batch_execute(&format!(
        "select public.set_quota('platform', null, 'all', 1000, 'lifetime');
         select public.set_quota('platform', null, 'llm', 1000);
         select public.set_quota('user', '{user}', 'llm', 1000, 'day', '{tenant}', 'Europe/Berlin')"
    ))?;
    // A connection of its own, with the compiler on whatever the server's setting is.
    let mut client = database.superuser()?;
    client.batch_execute("set jit = on")?;
    let pid: i32 = client.query_one("select pg_backend_pid()", &[])?.get(0);
    for round in 0..10 {
        for way in [Way::Llm, Way::E2b, Way::Bare] {
            client.query_one(&way.charge(tenant, Some(user), "0.001", ""), &[])?;
        }
        client.query_one("select public.has_quota($1, 'llm', 1, $2)", &[&tenant, &user])?;
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        assert!(!maps.contains("llvmjit"), "in round {round}");
    }
    Ok(())
}
