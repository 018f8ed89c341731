//! A table that is smaller than what is asked of it.

use anyhow::{Context, Result};
use postgres::Client;
use tollgate_tests::session::sqlstate;
use uuid::Uuid;

use crate::servers::{assert_exact, charge, connect, counter, fresh, no_defaults, pending, server, start};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, limit, make_tenant};

/// The least that can be had.
const ENTRIES: &str = "64";

/// So many tenants with quotas of a dollar, for ever, made at once.
fn make_tenants(client: &mut Client, tenants: i64) -> Result<()> {
    let sql = "
        with made as (
            insert into copilot_internal.tenants (id, name)
            select ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, 'tenant' from generate_series(1, $1::bigint) n
            returning id)
        insert into copilot_internal.cost_quotas (scope, scope_id, resource_type, limit_usd, period)
        select 'tenant', id, resource_type, 1, 'lifetime' from made, unnest(array['llm', 'all']) resource_type";
    client.execute(sql, &[&tenants])?;
    // Nor do the defaults, which have another period, refuse anything.
    no_defaults(client)?;
    Ok(())
}

/// What no entry can be had for is refused and not recorded, and works again when there is room.
#[test]
fn a_table_full_of_open_transactions_refuses_and_recovers() -> Result<()> {
    let cluster = start(&[("pg_tollgate.quota_entries", ENTRIES)])?;
    let database = cluster.fresh_database()?;
    let mut client = server(&cluster, &database)?;
    make_tenants(&mut client, 100)?;
    let mut holders = Vec::new();
    let mut pinned = 0;
    let refused = loop {
        let mut holder = server(&cluster, &database)?;
        holder.batch_execute("begin")?;
        pinned += 1;
        match charge(&mut holder, id(pinned), "1") {
            Ok(admitted) => assert!(admitted),
            Err(error) => {
                assert_eq!(sqlstate(&error), "53400", "{error:?}");
                let hint = error.as_db_error().and_then(|it| it.hint()).context("no hint")?;
                assert!(hint.contains("pg_tollgate.quota_entries"), "{hint}");
                break id(pinned);
            }
        }
        holders.push(holder);
        assert!(pinned <= 32, "more is pinned than there is");
    };
    assert!(counter(&mut client, "entries_pinned")? > 16);
    // After the fact, too: it would not be counted.
    let sql = "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)";
    assert_eq!(sqlstate(&client.execute(sql, &[&refused]).expect_err("recorded")), "53400");
    assert_eq!(charged_nanos(&mut client, refused)?, 0);
    // A check needs no entry.
    assert!(client.query_one("select public.has_quota($1, 'llm', 1)", &[&refused])?.get::<_, bool>(0));
    assert_eq!(pending(&mut client)?.len(), holders.len());
    for (index, mut holder) in holders.into_iter().enumerate() {
        holder.batch_execute(if index % 2 == 0 { "commit" } else { "rollback" })?;
    }
    assert_eq!(counter(&mut client, "entries_pinned")?, 0);
    for number in 1..=100 {
        assert_exact(&mut client, id(number), 1);
    }
    Ok(())
}

/// Two threads of charges through a table that holds a thirtieth of them.
#[test]
fn a_thousand_tenants_through_sixty_four_entries_are_exact() -> Result<()> {
    const TENANTS: i64 = 1_000;
    let cluster = start(&[("pg_tollgate.quota_entries", ENTRIES)])?;
    let database = cluster.fresh_database()?;
    let mut client = server(&cluster, &database)?;
    make_tenants(&mut client, TENANTS)?;
    // Each charge is 0.3 and a transaction: a tenant has room for three of four.
    let round = |order: &str| {
        format!(
            "do $$
             declare
                 v_tenant uuid;
             begin
                 for v_tenant in select id from copilot_internal.tenants order by md5(id::text || '{order}') loop
                     perform public.record_llm_cost(v_tenant, 'p', 'm', 1, 1, p_cost_usd => 0.3, p_enforce => true);
                     commit;
                 end loop;
             end $$"
        )
    };
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..2)
            .map(|session| {
                let (cluster, database) = (&cluster, database.as_str());
                scope.spawn(move || -> Result<()> {
                    let mut client = server(cluster, database)?;
                    (0..2).try_for_each(|turn| Ok(client.batch_execute(&round(&format!("{session}{turn}")))?))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|it| it.join().ok().context("a session panicked")?)
    })?;
    // No session rolled back, so each has three, and no refusal was for the want of an entry.
    let sql = "select count(*) from (select tenant_id from copilot_internal.llm_cost_records group by 1
               having sum(charge_nanos) = 900000000) exact";
    assert_eq!(client.query_one(sql, &[])?.get::<_, i64>(0), TENANTS);
    assert!(counter(&mut client, "evictions")? > TENANTS);
    for number in [1, 500, 1000] {
        assert_exact(&mut client, id(number), 1);
    }
    assert_verified(&mut client);
    Ok(())
}

/// A batch charges each tenant's quotas, and is all or nothing.
#[test]
fn a_batch_over_many_tenants_counts_each() -> Result<()> {
    const TENANTS: u128 = 120;
    let database: Database = fresh()?;
    let mut client = connect(&database)?;
    make_tenants(&mut client, TENANTS as i64)?;
    let batch = |usd: &str, enforce: bool, last: &str| {
        format!(
            "select count(*) filter (where recorded)::bigint from public.record_llm_costs((
                 select jsonb_agg(jsonb_build_object('tenant_id', t.id, 'model_provider', 'p', 'model_name', 'm',
                     'input_tokens', 1, 'output_tokens', 1, 'cost_usd', {usd}, 'enforce', {enforce}) {last})
                 from copilot_internal.tenants t, generate_series(1, 2)))"
        )
    };
    let recorded: i64 = client.query_one(&batch("0.4", true, ""), &[])?.get(0);
    assert_eq!(recorded, 2 * TENANTS as i64);
    let recorded: i64 = client.query_one(&batch("0.15", true, ""), &[])?.get(0);
    assert_eq!(recorded, TENANTS as i64, "one more fits");
    // A bad row at the end undoes those before it.
    let bad = format!(
        "|| case when t.id = '{}' then '{{\"output_tokens\": -1}}' else '{{}}' end::jsonb order by t.id",
        id(TENANTS)
    );
    assert!(client.query_one(&batch("0.01", true, &bad), &[]).is_err());
    assert_eq!(pending(&mut client)?, Vec::<String>::new());
    for number in [1, 2, TENANTS] {
        assert_eq!(charged_nanos(&mut client, id(number))?, 950_000_000);
        assert_exact(&mut client, id(number), 1);
    }
    // After the fact all is taken, and counted above the limit; then it is rolled back.
    client.batch_execute("begin")?;
    let recorded: i64 = client.query_one(&batch("5", false, ""), &[])?.get(0);
    assert_eq!(recorded, 2 * TENANTS as i64);
    assert_eq!(pending(&mut client)?.len(), 5);
    client.batch_execute("rollback")?;
    assert_exact(&mut client, id(2), 1);
    Ok(())
}

/// Amounts up to the ceiling of what is counted, over and over.
#[test]
fn sums_that_no_integer_holds_neither_wrap_nor_stay() -> Result<()> {
    let database = fresh()?;
    let tenant: Uuid = id(1);
    let mut client = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    client.batch_execute("begin")?;
    // A billion dollars each: twelve are more than 64 bits of nano-dollars hold.
    client.batch_execute(&format!(
        "select count(*) from generate_series(1, 12) n,
             lateral public.record_llm_cost('{tenant}', 'p', 'm', n, 1, p_cost_usd => 1000000000)"
    ))?;
    let mut other = connect(&database)?;
    assert!(!charge(&mut other, tenant, "0.000000001")?);
    client.batch_execute("rollback")?;
    assert_eq!(charged_nanos(&mut other, tenant)?, USD / 4);
    assert_exact(&mut other, tenant, 1);
    Ok(())
}
