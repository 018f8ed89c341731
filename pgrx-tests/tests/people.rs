//! People's data: erased, exported and purged over real connections, in steps, beside charges, and through crashes.

use tollgate_tests::support;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;
use support::{Database, USD, all_charged_nanos, assert_verified, charged_nanos, id, make_tenant, text, texts};
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::session::{Caller, message, sqlstate};
use uuid::Uuid;

const TENANT: u128 = 0xa1;
const BOB: u128 = 0xb0b;
const ANN: u128 = 0xa22;
/// What one call changes at most; the few rows of a tenant's people come on top.
const STEP: i64 = 10_000 + 100;

/// What a step answered.
struct Step {
    finished: bool,
    changed: i64,
    remaining: Vec<String>,
}

fn step(client: &mut Client, sql: &str, subject: Uuid) -> Result<Step, postgres::Error> {
    let row = client.query_one(&format!("select * from {sql}"), &[&subject])?;
    Ok(Step { finished: row.get(0), changed: row.get(1), remaining: row.get(2) })
}

const ERASE: &str = "public.erase_user($1)";
const PURGE: &str = "public.purge_tenant($1)";

/// Records of a user's or of nobody's, of the first months of a year, as the kernels write them.
fn records(client: &mut Client, user: Option<Uuid>, count: i64) -> Result<()> {
    client.execute(
        "with written as (
             insert into copilot_internal.llm_cost_records (tenant_id, user_id, conversation_id, task, model_provider,
                 model_name, input_tokens, output_tokens, usage, cost_usd, cost_status, charge_nanos, request_id,
                 charged_at, occurred_at, metadata)
             select $1::uuid, $2::uuid, md5((n % 7)::text)::uuid, 'a task', 'p', 'm' || n % 3, n, 1, '{}', 0.0000000001 * n,
                    'provided', ceil(0.1 * n), format('%s %s', $2::uuid, n), m.at, m.at, '{\"note\": \"n\"}'
             from generate_series(1, $3::bigint) n
             cross join lateral (select timestamptz '2026-01-01 00:00Z' + n * interval '7 minutes' as at) m
             returning *)
         insert into copilot_internal.pending_costs
             (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         select tenant_id, id, 'llm', coalesce(user_id, '00000000-0000-0000-0000-000000000000'), 'llm', charged_at,
                charge_nanos
         from written",
        &[&id(TENANT), &user, &count],
    )?;
    Ok(())
}

fn own_server(preload_as_asked: ClusterOptions) -> Result<(Cluster, Client)> {
    let cluster = Cluster::start(preload_as_asked)?;
    cluster.create_database("people")?;
    let client = cluster.superuser("people")?;
    Ok((cluster, client))
}

fn tenant_with_bob(client: &mut Client) -> Result<()> {
    make_tenant(client, id(TENANT))?;
    client.execute(
        "insert into copilot_internal.tenant_memberships (tenant_id, user_id) select $1, unnest($2::uuid[])",
        &[&id(TENANT), &vec![id(BOB), id(ANN)]],
    )?;
    client.batch_execute("select public.set_quota('platform', null, 'all', 1000, 'lifetime')")?;
    client.execute("select public.set_quota('user', $1, 'llm', 500, 'lifetime', $2)", &[&id(BOB), &id(TENANT)])?;
    Ok(())
}

/// What colleagues and the platform are shown: the same at every moment.
const SUMS: &str = "
    select format('%s %s %s', (select array_agg(t::text order by t) from metrics.tenant_total_costs t),
        (select array_agg(u.total_cost order by u.total_cost) from metrics.cost_by_user u where u.user_id is null),
        (select q.current_spend_usd from metrics.quota_status q where q.scope = 'platform'))";

const MIXED: &str = "
    select count(distinct user_id)::text from copilot_internal.llm_cost_records
    where user_id is not null and user_id <> '00000000-0000-0000-0000-000000000a22'";

#[test]
fn an_erasure_goes_on_after_a_crash_in_bounded_steps() -> Result<()> {
    let (cluster, mut client) = own_server(ClusterOptions { fsync: true, ..ClusterOptions::default() })?;
    tenant_with_bob(&mut client)?;
    records(&mut client, Some(id(BOB)), 23_000)?;
    records(&mut client, Some(id(ANN)), 500)?;
    records(&mut client, None, 100)?;
    client.batch_execute("select copilot_internal.maintain(12000)")?;
    assert_verified(&mut client);
    let before = text(&mut client, SUMS, &[])?;
    let of_bob = text(&mut client, "select max(total_cost)::text from metrics.cost_by_user", &[])?;
    let first = step(&mut client, ERASE, id(BOB))?;
    assert!(!first.finished && first.changed >= 10_000 && first.changed <= STEP, "{}", first.changed);
    assert!(first.remaining.contains(&"llm_cost_records".to_string()), "{:?}", first.remaining);
    assert_verified(&mut client);
    assert_eq!(text(&mut client, SUMS, &[])?, before);
    assert_eq!(text(&mut client, MIXED, &[])?, "2");
    // Nothing enforced is admitted for the user meanwhile; what was spent is recorded, and counts.
    let enforced = "select quota_status from public.record_llm_cost($1, 'p', 'm', 1, 1, $2, p_cost_usd => 0,
        p_enforce => $3)";
    assert_eq!(text(&mut client, enforced, &[&id(TENANT), &id(BOB), &true])?, "SUSPENDED");
    client.execute(enforced, &[&id(TENANT), &id(BOB), &false])?;
    // A step that is killed has done nothing.
    let pid: i32 = client.query_one("select pg_backend_pid()", &[])?.get(0);
    let mut killer = cluster.superuser("people")?;
    let killed = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            thread::sleep(Duration::from_millis(60));
            killer.execute("select pg_terminate_backend($1)", &[&pid])
        });
        client.batch_execute("begin").and_then(|()| step(&mut client, ERASE, id(BOB))).and_then(|_| {
            killer.join().expect("the killer panicked").expect("the session is killed");
            client.batch_execute("commit")
        })
    });
    assert!(killed.is_err(), "the session outlived its end");
    // Neither does a crash lose the pseudonym.
    cluster.crash()?;
    let mut client = cluster.superuser("people")?;
    assert_verified(&mut client);
    let mut steps = 0;
    loop {
        // It loads the counters of all that applies to the user.
        client.execute(enforced, &[&id(TENANT), &id(BOB), &false])?;
        let next = step(&mut client, ERASE, id(BOB))?;
        steps += 1;
        assert!(next.changed <= STEP, "{}", next.changed);
        assert_verified(&mut client);
        let mixed = next.remaining.contains(&"llm_cost_records".to_string());
        assert_eq!(text(&mut client, MIXED, &[])?, if mixed { "2" } else { "1" });
        if next.finished {
            assert!(next.remaining.is_empty());
            break;
        }
        assert!(steps < 10, "{:?}", next.remaining);
    }
    assert_eq!(text(&mut client, "select max(total_cost)::text from metrics.cost_by_user", &[])?, of_bob);
    let left = "select count(*)::text from copilot_internal.erasures";
    assert_eq!(text(&mut client, left, &[])?, "0");
    nothing_names(&mut client, &[&id(BOB).to_string()])
}

#[test]
fn a_purge_goes_on_after_a_crash_in_bounded_steps() -> Result<()> {
    let (cluster, mut client) = own_server(ClusterOptions { fsync: true, ..ClusterOptions::default() })?;
    tenant_with_bob(&mut client)?;
    make_tenant(&mut client, id(TENANT + 1))?;
    client.execute("select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)", &[&id(TENANT + 1)])?;
    records(&mut client, Some(id(BOB)), 15_000)?;
    records(&mut client, None, 100)?;
    client.batch_execute("select copilot_internal.maintain(12000)")?;
    let spent = "select format('%s %s', trim_scale((select sum(total_cost) from metrics.tenant_total_costs)),
        (select q.current_spend_usd from metrics.quota_status q where q.scope = 'platform'))";
    let before = text(&mut client, spent, &[])?;
    client.execute("select public.delete_tenant($1)", &[&id(TENANT)])?;
    for round in 0.. {
        let next = step(&mut client, PURGE, id(TENANT))?;
        assert!(next.changed <= STEP, "{}", next.changed);
        assert_verified(&mut client);
        assert_eq!(text(&mut client, spent, &[])?, before);
        if next.finished {
            assert!(round > 1, "it took one step");
            break;
        }
        assert!(round < 12, "{:?}", next.remaining);
        if round == 1 {
            drop(client);
            cluster.crash()?;
            client = cluster.superuser("people")?;
            assert_verified(&mut client);
        }
    }
    nothing_names(&mut client, &[&id(BOB).to_string(), &id(TENANT).to_string()])?;
    let error = step(&mut client, PURGE, id(TENANT)).err().context("it was purged twice")?;
    assert_eq!(sqlstate(&error), "P0002");
    let other = "select total_cost::text from metrics.tenant_total_costs where tenant_id is not null";
    assert_eq!(text(&mut client, other, &[])?, "1");
    Ok(())
}

/// Charges, holds and refunds of the person, and of colleagues, go on while it is erased. The first go on for a while.
#[test]
fn an_erasure_beside_charges_loses_none() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    records(&mut client, Some(id(BOB)), 6_000)?;
    client.batch_execute("select copilot_internal.maintain(5000)")?;
    let before = charged_nanos(&mut client, id(TENANT))?;
    let (bobs_end, end, charged) = (AtomicBool::new(false), AtomicBool::new(false), AtomicI64::new(0));
    let outcome = thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for (number, user) in [(1, BOB), (2, BOB), (3, ANN)] {
            let (database, charged) = (&database, &charged);
            let until = if user == BOB { &bobs_end } else { &end };
            threads.push(scope.spawn(move || -> Result<()> {
                let mut client = database.superuser()?;
                client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
                for round in 0.. {
                    let request = format!("{number} {round}");
                    let hold = client
                        .query_one(
                            "select reservation_id from public.reserve_quota($1, 'llm', 0.000001, $2, $3)",
                            &[&id(TENANT), &request, &id(user)],
                        )?
                        .get::<_, Option<Uuid>>(0);
                    let record = "select cost_record_id from public.record_llm_cost($1, 'p', 'm', 1, 1, $2,
                        p_cost_usd => 0.000001, p_request_id => $3, p_reservation_id => $4, p_conversation_id => $2)";
                    let record: Uuid = client.query_one(record, &[&id(TENANT), &id(user), &request, &hold])?.get(0);
                    charged.fetch_add(1_000, Ordering::SeqCst);
                    if round % 3 == 0 {
                        let refund = "select refunded_usd from public.refund_cost($1, 0.0000005, $2)";
                        client.query_one(refund, &[&record, &request])?;
                        charged.fetch_sub(500, Ordering::SeqCst);
                    }
                    if round % 10 == 9 {
                        client.batch_execute("select copilot_internal.maintain(50)")?;
                    }
                    if until.load(Ordering::SeqCst) {
                        break;
                    }
                }
                Ok(())
            }));
        }
        thread::sleep(Duration::from_millis(300));
        for round in 0..400 {
            let next = step(&mut client, ERASE, id(BOB))?;
            if round < 20 {
                assert_verified(&mut client);
            }
            if round == 20 {
                bobs_end.store(true, Ordering::SeqCst);
            }
            if round > 20 && next.finished && threads[..2].iter().all(|thread| thread.is_finished()) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // What was under way when the last step looked is found by one more.
        assert!(step(&mut client, ERASE, id(BOB))?.finished);
        end.store(true, Ordering::SeqCst);
        threads.into_iter().try_for_each(|thread| thread.join().expect("a charger panicked"))
    });
    bobs_end.store(true, Ordering::SeqCst);
    end.store(true, Ordering::SeqCst);
    outcome?;
    assert_verified(&mut client);
    assert_eq!(charged_nanos(&mut client, id(TENANT))?, before + charged.load(Ordering::SeqCst));
    assert_eq!(all_charged_nanos(&mut client)?, before + charged.load(Ordering::SeqCst));
    println!("{} charges beside the erasure", charged.load(Ordering::SeqCst) / 1_000);
    nothing_names(&mut client, &[&id(BOB).to_string()])
}

/// Without an index by user every row is found: pending or folded, of any day and amount, corrected late, on days that
/// come to nothing. Neither other tenants' rows are read for it, nor other days'.
#[test]
fn rows_are_found_where_sums_say_that_they_are() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    make_tenant(&mut client, id(TENANT + 1))?;
    client.batch_execute(&format!(
        "select public.record_llm_cost('{tenant}', 'acme', 'm', 1, 1, '{bob}', p_occurred_at => a.at, p_cost_usd => a.usd,
             p_request_id => a.name)
         from (values ('zero', timestamptz '2025-03-01Z', 0), ('unpriced', '2025-03-02Z', null), ('back', '2025-03-03Z', 1),
                      ('last', '2025-03-03 23:59:59.999999Z', 1), ('first', '2025-03-04Z', 1)) a (name, at, usd);
         select public.record_e2b_cost('{tenant}', 'box', 't', 10, '{bob}', p_occurred_at => '2025-04-01Z', p_cost_usd => 0);
         select public.commit_reservation(r.reservation_id, 0)
         from public.reserve_quota('{tenant}', 'llm', 1, 'h', '{bob}') r;
         select copilot_internal.adjust_quota(q.quota_id, 0.5, 'a') from metrics.quota_status q where q.scope = 'user';
         select copilot_internal.maintain();
         -- Late, of what was folded long ago; one is folded again, one is pending.
         select public.refund_cost(r.id, 1, 'all') from copilot_internal.llm_cost_records r where r.request_id = 'back';
         select copilot_internal.maintain();
         select public.refund_cost(r.id, 0.5, 'half') from copilot_internal.llm_cost_records r where r.request_id = 'last';
         select public.record_llm_cost('{tenant}', 'acme', 'm', 1, 1, '{bob}', p_cost_usd => 1);",
        tenant = id(TENANT),
        bob = id(BOB)
    ))?;
    // A day whose corrections come to nothing once its record has moved.
    let all = ["llm_cost_records", "e2b_cost_records", "quota_charges", "cost_corrections"]
        .map(|table| format!("select count(*) as n from copilot_internal.{table} where user_id = $1"));
    let all = format!("select sum(n)::text from ({}) t", all.join(" union all "));
    assert_eq!(text(&mut client, &all, &[&id(BOB)])?, "11");
    let exported = "select count(*)::text from public.export_user_data($1, p_limit => 1000)
        where source in ('llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections')";
    assert_eq!(text(&mut client, exported, &[&id(BOB)])?, "11");
    // Many rows of others: on other days, and in another tenant on the same.
    records(&mut client, Some(id(ANN)), 20_000)?;
    client.batch_execute("select copilot_internal.maintain(50000)")?;
    client.execute(
        "insert into copilot_internal.llm_cost_records (tenant_id, model_provider, model_name, input_tokens, output_tokens,
             cost_usd, cost_status, charge_nanos, charged_at, occurred_at)
         select $1, 'p', 'm', 1, 1, 0, 'provided', 0, at, at
         from generate_series(timestamptz '2025-03-01Z', '2025-03-14Z', interval '1 minute') at",
        &[&id(TENANT + 1)],
    )?;
    client.batch_execute("analyze")?;
    let (scans, read) = ledger_reads(&mut client)?;
    assert_eq!(text(&mut client, exported, &[&id(BOB)])?, "11");
    let (scans_exported, read_exported) = ledger_reads(&mut client)?;
    assert!(step(&mut client, ERASE, id(BOB))?.finished);
    let (scans_erased, read_erased) = ledger_reads(&mut client)?;
    assert_eq!((scans_exported, scans_erased), (scans, scans), "the ledger was read through");
    println!("rows read: {} to export, {} to erase", read_exported - read, read_erased - read_exported);
    assert!(read_exported - read < 500 && read_erased - read_exported < 1_000);
    assert_eq!(text(&mut client, &all, &[&id(BOB)])?, "0");
    nothing_names(&mut client, &[&id(BOB).to_string()])
}

/// How often the ledger was read through, and how many of its rows were read by an index.
fn ledger_reads(client: &mut Client) -> Result<(i64, i64)> {
    client.batch_execute("select pg_stat_force_next_flush(); select pg_stat_clear_snapshot()")?;
    let row = client.query_one(
        "select sum(seq_scan)::bigint, sum(idx_tup_fetch)::bigint from pg_stat_user_tables
         where relname = 'llm_cost_records'",
        &[],
    )?;
    Ok((row.get(0), row.get(1)))
}

/// An erasure that goes on and a purge of the same tenant come one after the other.
#[test]
fn an_erasure_and_a_purge_do_not_deadlock() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    records(&mut client, Some(id(BOB)), 10)?;
    client.execute("select public.delete_tenant($1)", &[&id(TENANT)])?;
    // As a call that did not finish leaves it.
    client.execute("insert into copilot_internal.erasures values ($1, $2)", &[&id(BOB), &id(TENANT)])?;
    let mut delaying = client.transaction()?;
    delaying.execute("select from copilot_internal.cost_quotas where tenant_id = $1 for update", &[&id(TENANT)])?;
    let other = |sql: &'static str, subject: u128| {
        let database = &database;
        move || -> Result<Step> { Ok(step(&mut database.superuser()?, sql, id(subject))?) }
    };
    let (purged, erased) = thread::scope(|scope| -> Result<_> {
        // The purge has the tenant's row and waits; the erasure comes to it.
        let purge = scope.spawn(other(PURGE, TENANT));
        thread::sleep(Duration::from_millis(500));
        let erasure = scope.spawn(other(ERASE, BOB));
        thread::sleep(Duration::from_millis(500));
        delaying.commit()?;
        Ok((purge.join().expect("the purge panicked")?, erasure.join().expect("the erasure panicked")?))
    })?;
    assert!(purged.finished && erased.finished, "{:?} {:?}", purged.remaining, erased.remaining);
    assert_verified(&mut client);
    nothing_names(&mut client, &[&id(BOB).to_string()])
}

/// Limits hold on while people are erased: the tenant's is reached exactly.
#[test]
fn an_erasure_makes_no_room() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    support::limit(&mut client, id(TENANT), "llm", "1")?;
    let charge = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, $2,
        p_cost_usd => $3::text::numeric, p_enforce => true)";
    let charge = |client: &mut Client, user: u128, usd: &str| -> Result<bool> {
        Ok(client.query_one(charge, &[&id(TENANT), &id(user), &usd])?.get(0))
    };
    assert!(charge(&mut client, BOB, "0.6")?);
    client.query("select * from public.reserve_quota($1, 'llm', 0.3, 'h', $2)", &[&id(TENANT), &id(BOB)])?;
    assert!(step(&mut client, ERASE, id(BOB))?.finished);
    assert!(!charge(&mut client, ANN, "0.100000001")?);
    assert!(charge(&mut client, ANN, "0.1")?);
    assert_eq!(charged_nanos(&mut client, id(TENANT))?, 7 * USD / 10);
    assert_verified(&mut client);
    // The user's own quota has gone, too.
    let quotas = "select count(*)::text from copilot_internal.cost_quotas where scope = 'user'";
    assert_eq!(text(&mut client, quotas, &[])?, "0");
    Ok(())
}

/// Every row that has one of these texts in any column, by table.
fn nothing_names(client: &mut Client, texts_of: &[&str]) -> Result<()> {
    let tables = texts(
        client,
        "select relname::text from pg_class where relnamespace = 'copilot_internal'::regnamespace and relkind = 'r'",
        &[],
    )?;
    let mut found = Vec::new();
    for table in tables {
        for name in texts_of {
            let sql =
                format!("select r::text from copilot_internal.{table} r where strpos(lower(r::text), lower($1)) > 0");
            found.extend(texts(client, &sql, &[name])?.into_iter().map(|row| format!("{table}: {row}")));
        }
    }
    assert_eq!(found, Vec::<String>::new(), "rows that name {texts_of:?}");
    Ok(())
}

/// What names no person: models and providers, by which sums and prices go; and words of our own.
const OURS: &[&str] = &[
    "model_provider",
    "model_name",
    "cost_status",
    "sandbox_type",
    "provider",
    "name",
    "source",
    "resource_type",
    "state",
    "grain",
    "role",
    "status",
];

/// Every column of every table that has a user in it, whatever it is called, gets the person's address. A column that
/// is added and forgotten is found.
#[test]
fn no_column_is_forgotten() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    client.batch_execute(&format!(
        "select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, '{bob}', p_cost_usd => 1, p_usage => '{{}}',
             p_request_id => 'a');
         select public.record_e2b_cost('{tenant}', 'box', 'standard', 10, '{bob}', p_request_id => 'a');
         select public.check_and_record_quota_atomic('user', '{bob}', 1, 'llm', '{tenant}');
         select public.refund_cost(id, 0.5, 'r') from copilot_internal.llm_cost_records;
         select public.extend_reservation(r.reservation_id, '1 hour', p_request_id => 'x')
             from public.reserve_quota('{tenant}', 'llm', 1, 'h', '{bob}') r;
         select public.switch_tenant('{tenant}', '{bob}');
         select copilot_internal.maintain();
         select public.record_llm_cost('{tenant}', 'p', 'm', 1, 1, '{bob}', p_cost_usd => 1);",
        tenant = id(TENANT),
        bob = id(BOB)
    ))?;
    // Tables with a user, and what hangs on their rows.
    let columns = client.query(
        "select c.relname::text, a.attname::text, t.typname::text
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         join pg_type t on t.oid = a.atttypid
         where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r' and t.typname in ('text', 'jsonb')
           and (c.relname = 'reservation_extensions' or exists (
               select from pg_attribute u where u.attrelid = c.oid and u.attname = 'user_id' and not u.attisdropped))
           and a.attname <> all ($1) order by 1, 2",
        &[&OURS],
    )?;
    client.batch_execute("begin; set local session_replication_role = replica")?;
    let mut marked = Vec::new();
    for column in &columns {
        let (table, name, kind): (&str, &str, &str) = (column.get(0), column.get(1), column.get(2));
        let value = match kind {
            "jsonb" => "'{\"mail\": \"bob@example.com\"}'".to_string(),
            _ => format!("format('bob@example.com %s', {name})"),
        };
        client.batch_execute(&format!("update copilot_internal.{table} set {name} = {value}"))?;
        marked.push(format!("{table}.{name}"));
    }
    client.batch_execute("commit")?;
    println!("{} columns: {marked:?}", marked.len());
    assert!(marked.len() >= 17, "{marked:?}");
    assert_verified(&mut client);
    assert!(step(&mut client, ERASE, id(BOB))?.finished);
    assert_verified(&mut client);
    nothing_names(&mut client, &["bob@example.com", &id(BOB).to_string()])
}

/// The application's server alone, whatever was granted to others.
#[test]
fn only_the_server_erases_exports_and_purges() -> Result<()> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    tenant_with_bob(&mut client)?;
    let mut session = database.session()?;
    let calls = [
        "select * from public.erase_user($1)",
        "select * from public.export_user_data($1)",
        "select * from public.purge_tenant($1)",
    ];
    for granted in [false, true] {
        if granted {
            client.batch_execute("grant execute on all functions in schema public to public")?;
        }
        for caller in [Caller::anon(), Caller::user(id(BOB), Some(id(TENANT)))] {
            for call in calls {
                session.expect_sqlstate(&caller, call, &[&id(BOB)], "42501");
            }
        }
    }
    let server = Caller::service();
    let rows = "select count(*) from public.export_user_data($1)";
    assert_eq!(session.value::<i64>(&server.clone().read_only(), rows, &[&id(BOB)])?, 2);
    session.expect_sqlstate(&server, calls[2], &[&id(TENANT)], "55000");
    assert!(session.value::<bool>(&server, "select finished from public.erase_user($1)", &[&id(BOB)])?);
    assert_eq!(session.value::<i64>(&server, rows, &[&id(BOB)])?, 0);
    let error = session.expect_sqlstate(&server, "select * from public.erase_user(null)", &[], "22023");
    assert_eq!(message(&error), "p_user_id must not be NULL");
    Ok(())
}
