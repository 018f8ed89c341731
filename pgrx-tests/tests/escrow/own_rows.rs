//! Statements that write and check at once, while the counters go out of use between the two. What is loaded then has
//! the rows of its own command.

use anyhow::{Context, Result};
use postgres::Client;

use crate::servers::{charge, connect, fresh, quota_figures, until_blocked, while_blocked};
use crate::support::{Database, USD, assert_verified, charged_nanos, id, limit, make_tenant};

const USER: u128 = 0x0a;

/// Something that writes, as a FROM item named `w`, for the tenant [`id`] of 1.
struct Writer {
    name: &'static str,
    from: &'static str,
}

const WRITERS: [Writer; 12] = [
    Writer { name: "a bare charge", from: "public.check_and_record_quota_atomic('user', $2, 0.4, 'llm', $1) w" },
    Writer {
        name: "an LLM cost",
        from: "public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => 0.4) w",
    },
    Writer {
        name: "an enforced LLM cost",
        from: "public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => 0.4, p_enforce => true) w",
    },
    Writer {
        name: "a batch",
        from: "public.record_llm_costs(jsonb_build_array(
                   jsonb_build_object('tenant_id', $1::uuid, 'user_id', $2::uuid, 'model_provider', 'p', 'model_name', 'm',
                       'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 0.4))) w",
    },
    Writer { name: "a hold", from: "public.reserve_quota($1, 'llm', 0.4, 'new', p_user_id => $2) w" },
    Writer {
        name: "a hold that costs less",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.commit_reservation(h.id, 0.1) w",
    },
    Writer {
        name: "a hold that costs more",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.commit_reservation(h.id, 0.4) w",
    },
    Writer {
        name: "a hold that is settled by a record",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => 0.05,
                   p_reservation_id => h.id) w",
    },
    Writer {
        name: "a hold that is released",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.release_reservation(h.id) w",
    },
    Writer {
        name: "a hold that is extended",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.extend_reservation(h.id, p_additional_usd => 0.15) w",
    },
    Writer {
        name: "a refund",
        from: "(select r.id from copilot_internal.llm_cost_records r where r.request_id = 'first') h
               cross join lateral public.refund_cost(h.id, 0.05, 'refund') w",
    },
    Writer {
        name: "an adjustment",
        from: "(select q.id from copilot_internal.cost_quotas q where q.scope = 'tenant') h
               cross join lateral copilot_internal.adjust_quota(h.id, -0.05, 'adjust', 'for the test') w",
    },
];

/// A tenant whose tenant, user and platform have quotas of 1, 0.9 and 2 USD, with 0.1 spent and 0.2 held.
fn prepared() -> Result<(Database, Client, Client)> {
    let database = fresh()?;
    let mut client = connect(&database)?;
    make_tenant(&mut client, id(1))?;
    limit(&mut client, id(1), "llm", "1")?;
    client.batch_execute(&format!(
        "select public.set_quota('user', '{user}', 'llm', 0.9, 'lifetime', p_tenant_id => '{tenant}');
         select public.set_quota('platform', null, 'llm', 2, 'lifetime');
         select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, p_user_id => '{user}', p_cost_usd => 0.1,
             p_request_id => 'first');
         select public.reserve_quota('{tenant}', 'llm', 0.2, 'old', p_user_id => '{user}', p_ttl => '1 hour')",
        user = id(USER),
        tenant = id(1)
    ))?;
    let other = connect(&database)?;
    Ok((database, client, other))
}

/// Makes the counters that are loaded those of an earlier epoch.
fn move_epochs(client: &mut Client) -> Result<()> {
    client.batch_execute(
        "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('moved', 'e2b', 1);
         delete from copilot_internal.default_quotas where plan = 'moved'",
    )?;
    Ok(())
}

/// What the tables have: spent and held by the tenant.
fn in_tables(client: &mut Client) -> Result<(i64, i64)> {
    let held =
        "select coalesce(sum(held_nanos), 0)::bigint from copilot_internal.quota_reservations where state = 'held'";
    Ok((charged_nanos(client, id(1))?, client.query_one(held, &[])?.get(0)))
}

/// The counters say what the tables say: all three quotas admit what is left by the tables and not a nano-dollar more.
fn assert_counted(client: &mut Client, what: &str) -> Result<()> {
    let (spent, held) = in_tables(client)?;
    assert_eq!(quota_figures(client, id(1))?, (spent, held), "{what}: a check without a user");
    // What an adjustment of the tenant's quota gives back belongs to no particular user.
    let nobodys = "select coalesce(sum(charge_nanos) filter (where tenant_id is not null), 0)::bigint,
                          coalesce(sum(charge_nanos) filter (where tenant_id is null), 0)::bigint
                   from copilot_internal.quota_charges where user_id is null";
    let row = client.query_one(nobodys, &[])?;
    let (users, platforms) = (spent - row.get::<_, i64>(0), spent + row.get::<_, i64>(1));
    for (quota, usd, spent) in [("user", 9 * USD / 10, users), ("tenant", USD, spent), ("platform", 2 * USD, platforms)]
    {
        let left = usd - spent - held;
        for (amount, fits) in [(left + 1, false), (left, true)] {
            client.batch_execute("begin")?;
            client.batch_execute(&format!(
                "update copilot_internal.cost_quotas set limit_usd = null where scope <> '{quota}'"
            ))?;
            let sql =
                "select allowed from public.check_and_record_quota_atomic('user', $1, $2::text::numeric, 'llm', $3)";
            let amount = format!("{}.{:09}", amount / USD, amount % USD);
            let admitted: bool = client.query_one(sql, &[&id(USER), &amount, &id(1)])?.get(0);
            client.batch_execute("rollback")?;
            assert_eq!(admitted, fits, "{what}: {amount} of what is left of the quota of the {quota}");
        }
    }
    assert_verified(client);
    Ok(())
}

/// Writes, waits for `then` and looks, in one statement; ends the transaction with what is in `ending`.
fn at_once(database: &Database, writer: &Writer, ending: &str, then: impl FnOnce() -> Result<()>) -> Result<()> {
    let sql = format!(
        "select q.current_spend_usd::text, q.reserved_usd::text
         from {}
         cross join lateral (select pg_advisory_xact_lock(77 + 0 * length(w::text)) as lock offset 0) b
         cross join lateral public.check_quota_before_operation(
             $1, 'llm', 0.000000001 + length(b.lock::text), $2) q",
        writer.from
    );
    while_blocked(
        database.cluster,
        &database.name,
        |client| {
            client.batch_execute("begin")?;
            client.batch_execute("savepoint s")?;
            client.query(&sql, &[&id(1), &id(USER)])?;
            Ok(client.batch_execute(ending)?)
        },
        then,
    )
}

#[test]
fn what_is_loaded_has_the_rows_of_its_own_command() -> Result<()> {
    for writer in &WRITERS {
        for ending in ["commit", "rollback", "rollback to s; commit", "release s; commit"] {
            let (database, mut client, mut other) = prepared()?;
            client.execute("select pg_advisory_lock(77)", &[])?;
            at_once(&database, writer, ending, || {
                move_epochs(&mut other)?;
                client.execute("select pg_advisory_unlock(77)", &[])?;
                Ok(())
            })
            .with_context(|| format!("{} and {ending}", writer.name))?;
            assert_counted(&mut other, &format!("{} and {ending}", writer.name))?;
        }
    }
    Ok(())
}

const BILLED: [Writer; 3] = [
    Writer {
        name: "a cost with a markup",
        from: "public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => 0.2, p_enforce => true) w",
    },
    Writer {
        name: "a hold that is settled by a cost with a markup",
        from: "(select r.id from copilot_internal.quota_reservations r where r.request_id = 'old') h
               cross join lateral public.record_llm_cost($1, 'p', 'm', 1, 1, p_user_id => $2, p_cost_usd => 0.15,
                   p_reservation_id => h.id) w",
    },
    Writer {
        name: "a refund of a cost with a markup",
        from: "(select r.id from copilot_internal.llm_cost_records r where r.request_id = 'second') h
               cross join lateral public.refund_cost(h.id, 0.02, 'refund') w",
    },
];

/// Where the platform counts what the provider bills, be that less than what the tenant pays or more.
#[test]
fn what_is_loaded_has_what_the_platform_counts_beyond() -> Result<()> {
    for (writer, factor) in BILLED.iter().flat_map(|writer| [(writer, "2"), (writer, "0.5")]) {
        for ending in ["commit", "rollback", "rollback to s; commit", "release s; commit"] {
            let (database, mut client, _) = prepared()?;
            database.superuser()?.batch_execute(&format!(
                "do $$ begin execute format('alter database %I set pg_tollgate.platform_counts = provider_cost',
                     current_database()); end $$;
                 insert into copilot_internal.price_markups (factor, on_provided, effective_from) values ({factor}, true, '2020-01-01')",
            ))?;
            let mut other = connect(&database)?;
            other.batch_execute(&format!(
                "select public.record_llm_cost('{}', 'p', 'm', 1, 1, p_user_id => '{}', p_cost_usd => 0.05,
                     p_request_id => 'second')",
                id(1),
                id(USER)
            ))?;
            client.execute("select pg_advisory_lock(77)", &[])?;
            let what = format!("{}, factor {factor}, and {ending}", writer.name);
            at_once(&database, writer, ending, || {
                move_epochs(&mut other)?;
                client.execute("select pg_advisory_unlock(77)", &[])?;
                Ok(())
            })
            .with_context(|| what.clone())?;
            assert_counted(&mut other, &what)?;
            let counted = "select count(*) > 0 from copilot_internal.quota_charges where record_id is not null";
            assert!(other.query_one(counted, &[])?.get::<_, bool>(0), "{what}: the platform counts something else");
        }
    }
    Ok(())
}

/// While it is in flight, what it has charged is held for the others, no more and no less.
#[test]
fn what_is_loaded_in_flight_is_exact_for_others() -> Result<()> {
    let (database, mut client, mut other) = prepared()?;
    client.execute("select pg_advisory_lock(77)", &[])?;
    let cluster = database.cluster;
    at_once(&database, &WRITERS[0], "select pg_advisory_xact_lock(78); commit", || {
        other.execute("select pg_advisory_lock(78)", &[])?;
        move_epochs(&mut other)?;
        client.execute("select pg_advisory_unlock(77)", &[])?;
        until_blocked(cluster, &database.name, 1)?;
        assert_eq!(quota_figures(&mut other, id(1))?, (USD / 10, 6 * USD / 10));
        assert!(!charge(&mut other, id(1), "0.300000001")?);
        assert!(charge(&mut other, id(1), "0.3")?);
        other.execute("select pg_advisory_unlock(78)", &[])?;
        Ok(())
    })?;
    assert_eq!(quota_figures(&mut other, id(1))?, (8 * USD / 10, 2 * USD / 10));
    Ok(())
}
