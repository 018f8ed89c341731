//! Tables that are written past the executor, changed in every way that a role may, under a session that has written to
//! them. The next charge is recorded with all that the change brings, or refused with a clear error. The server lives,
//! and nothing is lost or written twice.

use tollgate_tests::support;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use postgres::{Client, Error, NoTls};
use support::{Database, charged_nanos, differences, id, limit, make_tenant};
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::session::{message, sqlstate};

/// A table, and a call that writes a row into it for a request id.
struct Written {
    table: &'static str,
    call: &'static str,
    /// A column that takes no NULL, one that does and is given none here, and a text that is given.
    required: &'static str,
    empty: Option<&'static str>,
    text: &'static str,
    /// A text that nothing of ours depends on.
    note: Option<&'static str>,
}

const LLM: &str =
    "select replayed from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.25, p_request_id => $2)";

/// A hold that is settled is written anew.
const SETTLED: Written = Written {
    table: "quota_reservations",
    call: "select c.replayed from public.reserve_quota($1, 'llm', 0.25, $2) r
           cross join lateral public.commit_reservation(r.reservation_id, 0.2) c",
    required: "held_nanos",
    empty: Some("user_id"),
    text: "resource_type",
    note: Some("reason"),
};

const WRITTEN: [Written; 6] = [
    Written { table: "llm_cost_records", call: LLM, required: "input_tokens", empty: Some("user_id"), text: "model_name", note: Some("span_id") },
    Written {
        table: "e2b_cost_records",
        call: "select replayed from public.record_e2b_cost($1, 's', 't', 1, p_cost_usd => 0.25, p_request_id => $2)",
        required: "duration_seconds",
        empty: Some("user_id"),
        text: "sandbox_type",
        note: Some("sandbox_id"),
    },
    Written {
        table: "quota_charges",
        call: "select not allowed from public.check_and_record_quota_atomic('tenant', $1, 0.25, 'llm', $1, $2)",
        required: "cost_usd",
        empty: Some("user_id"),
        text: "resource_type",
        note: Some("reason"),
    },
    Written {
        table: "quota_reservations",
        call: "select replayed from public.reserve_quota($1, 'llm', 0.25, $2)",
        required: "held_nanos",
        empty: Some("user_id"),
        text: "resource_type",
        note: Some("reason"),
    },
    Written {
        table: "cost_corrections",
        call: "select c.replayed from copilot_internal.llm_cost_records r
               cross join lateral public.refund_cost(r.id, 0.001, $2) c where r.tenant_id = $1 and r.request_id = 'first'",
        required: "provider",
        empty: Some("user_id"),
        text: "name",
        note: Some("reason"),
    },
    Written { table: "pending_costs", call: LLM, required: "nanos", empty: None, text: "resource_type", note: None },
];

/// What comes of the next call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Recorded,
    /// And the trigger has seen it.
    Seen,
    Refused(&'static str),
    /// One or the other, as Postgres itself has it.
    Either,
}

use Outcome::{Either, Recorded, Refused, Seen};

/// The tables' owner may do nothing but write them, so a trigger that does more is SECURITY DEFINER, as pg_repack's is.
const SEES: &str = "
    create table public.seen (request text);
    create function public.see() returns trigger language plpgsql security definer set search_path = '' as $$
    begin insert into public.seen values (tg_op); return new; end $$;";

/// `{t}` is the table, `{required}`, `{empty}` and `{text}` its columns.
const CHANGES: &[(&str, &str, Outcome)] = &[
    ("no change", "select 1", Recorded),
    ("a column", "alter table {t} add column note text", Recorded),
    ("a column with a default", "alter table {t} add column note text not null default 'x'", Recorded),
    ("a column that came and went", "alter table {t} add column note text; alter table {t} drop column note", Recorded),
    ("a generated column", "alter table {t} add column note text generated always as ({text} || '!') stored", Recorded),
    ("a column that must be given", "delete from {t}; alter table {t} add column note text not null", Refused("23502")),
    (
        "a column that no longer takes NULL",
        "delete from {t}; alter table {t} alter column {empty} set not null",
        Refused("23502"),
    ),
    ("a column that takes NULL", "alter table {t} alter column {required} drop not null", Recorded),
    ("a shorter type", "alter table {t} alter column {note} type varchar(1000)", Recorded),
    ("a column that is gone", "alter table {t} drop column {note}", Refused("42703")),
    ("a check", "alter table {t} add constraint more check (octet_length({text}) > 0)", Recorded),
    (
        "a check that fails",
        "delete from {t}; alter table {t} add constraint more check ({text} <> {text})",
        Refused("23514"),
    ),
    (
        "a check that was not validated",
        "alter table {t} add constraint more check ({text} <> {text}) not valid",
        Refused("23514"),
    ),
    (
        "a check instead of another",
        "do $$ begin execute (select format('alter table {t} drop constraint %I', conname) from pg_constraint
             where conrelid = '{t}'::regclass and contype = 'c' limit 1); end $$;
         delete from {t}; alter table {t} add constraint other check ({text} <> {text})",
        Refused("23514"),
    ),
    ("a trigger after rows", "create trigger s after insert on {t} for each row execute function public.see()", Seen),
    ("a trigger before rows", "create trigger s before insert on {t} for each row execute function public.see()", Seen),
    (
        "a trigger on statements",
        "create trigger s after insert on {t} for each statement execute function public.see()",
        Seen,
    ),
    (
        "a trigger that is switched off",
        "create trigger s after insert on {t} for each row execute function public.see(); alter table {t} disable trigger s",
        Recorded,
    ),
    (
        "triggers that are switched off and on",
        "alter table {t} disable trigger all; alter table {t} enable trigger all",
        Recorded,
    ),
    (
        "a trigger on other events",
        "create trigger s after update on {t} for each row execute function public.see()",
        Recorded,
    ),
    (
        "a trigger that drops rows",
        "create function public.no() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger s before insert on {t} for each row execute function public.no()",
        Refused("55000"),
    ),
    (
        "a trigger that gives rows to others",
        "create function public.no() returns trigger language plpgsql as $$
         begin new.tenant_id := '00000000-0000-4000-8000-0000000000ff'; return new; end $$;
         create trigger s before insert on {t} for each row execute function public.no()",
        Refused("55000"),
    ),
    ("a rule", "create rule r as on insert to {t} do instead nothing", Refused("0A000")),
    ("a second rule", "create rule r as on insert to {t} do also notify written", Either),
    ("another index", "create index on {t} ({text})", Recorded),
    (
        "a unique index that it meets",
        "delete from {t} where ctid <> (select min(ctid) from {t}); create unique index on {t} (tenant_id)",
        Refused("23505"),
    ),
    (
        "the index of requests twice",
        "create unique index on {t} (tenant_id, request_id) where request_id is not null",
        Recorded,
    ),
    (
        "what a REINDEX CONCURRENTLY that failed leaves",
        "create unique index leftover on {t} (tenant_id, request_id) where request_id is not null;
         update pg_index set indisvalid = false where indexrelid = 'copilot_internal.leftover'::regclass",
        Recorded,
    ),
    ("REINDEX CONCURRENTLY", "reindex table concurrently {t}", Recorded),
    ("REINDEX", "reindex table {t}", Recorded),
    ("no index of requests", "drop index {t}_request_id_idx", Refused("55000")),
    ("VACUUM FULL", "vacuum full {t}", Recorded),
    ("CLUSTER", "alter table {t} cluster on {pkey}; cluster {t}", Recorded),
    (
        "row level security by force",
        "alter table {t} enable row level security; alter table {t} force row level security",
        Refused("42501"),
    ),
    ("a child", "create table public.child () inherits ({t})", Recorded),
    ("a parent", "create table public.parent (tenant_id uuid); alter table {t} inherit public.parent", Recorded),
    ("TRUNCATE", "truncate {t}", Recorded),
    (
        "Citus",
        "set allow_system_table_mods = on; create table pg_catalog.pg_dist_partition (logicalrelid regclass);
         grant select on pg_catalog.pg_dist_partition to public;
         insert into pg_catalog.pg_dist_partition values ('{t}'); alter table {t} set (fillfactor = 90)",
        Refused("0A000"),
    ),
    (
        "pg_repack",
        "create table public.copy (like {t} including all);
         create trigger repack_trigger after insert on {t} for each row execute function public.see()",
        Seen,
    ),
];

/// Changes that only a table with request ids can have, and those that a fixture of it does not survive.
fn concerns(written: &Written, change: &str) -> bool {
    let of_requests = change.contains("request_id");
    let lacks = |mark: &str, column: Option<&str>| change.contains(mark) && column.is_none();
    let has_no_requests = of_requests && written.table == "pending_costs";
    !(has_no_requests || lacks("{empty}", written.empty) || lacks("{note}", written.note))
}

fn prepared(written: &Written) -> Result<(Database, Client, Client)> {
    let database = Database::fresh()?;
    let mut owner = database.superuser()?;
    make_tenant(&mut owner, id(1))?;
    limit(&mut owner, id(1), "llm", "100")?;
    owner.execute(LLM, &[&id(1), &"first"])?;
    let mut session = database.superuser()?;
    session.batch_execute("set role service_role; set statement_timeout = '30s'")?;
    call(&mut session, written, "before")?;
    owner.batch_execute(SEES)?;
    Ok((database, owner, session))
}

fn call(session: &mut Client, written: &Written, request: &str) -> Result<bool, Error> {
    session.query_one(written.call, &[&id(1), &request])?.try_get(0)
}

fn rows(owner: &mut Client, table: &str) -> Result<i64> {
    Ok(owner.query_one(&format!("select count(*) from copilot_internal.{table}"), &[])?.get(0))
}

/// Each statement by itself: some do not run in a transaction.
fn change(owner: &mut Client, written: &Written, sql: &str) -> Result<(), Error> {
    let table = format!("copilot_internal.{}", written.table);
    let sql = sql
        .replace("{t}_request_id_idx", &format!("{table}_request_id_idx"))
        .replace("{pkey}", &format!("{}_pkey", written.table))
        .replace("{t}", &table)
        .replace("{required}", written.required)
        .replace("{empty}", written.empty.unwrap_or_default())
        .replace("{text}", written.text)
        .replace("{note}", written.note.unwrap_or_default());
    if sql.contains("$$") {
        return owner.batch_execute(&sql);
    }
    sql.split(';').try_for_each(|statement| owner.batch_execute(statement))
}

fn check(written: &Written, sql: &str, expected: Outcome) -> Result<()> {
    let (database, mut owner, mut session) = prepared(written)?;
    if let Err(error) = change(&mut owner, written, sql) {
        // What something of ours depends on cannot be changed.
        let code = error.code().map(|code| code.code().to_string()).unwrap_or_default();
        ensure!(["2BP01", "0A000"].contains(&code.as_str()), "the change: {}", message(&error));
        return Ok(());
    }
    let before =
        (rows(&mut owner, written.table)?, rows(&mut owner, "pending_costs")?, charged_nanos(&mut owner, id(1))?);
    let outcome = call(&mut session, written, "after");
    let after =
        (rows(&mut owner, written.table)?, rows(&mut owner, "pending_costs")?, charged_nanos(&mut owner, id(1))?);
    match &outcome {
        Err(error) => {
            let code = error.code().map(|code| code.code().to_string()).unwrap_or_default();
            ensure!(!code.is_empty() && !code.starts_with("XX"), "{}", message(error));
            ensure!(before == after, "something is left of what was refused: {before:?} {after:?}");
            match expected {
                Refused(wanted) => ensure!(code == wanted, "{}", message(error)),
                Recorded | Seen => bail!("{code} {}", message(error)),
                Either => {}
            }
        }
        Ok(_) => {
            ensure!(!matches!(expected, Refused(_)), "it was not refused");
            ensure!(after.0 == before.0 + 1, "rows: {before:?} {after:?}");
            let seen: i64 = owner.query_one("select count(*) from public.seen", &[])?.get(0);
            ensure!(seen == i64::from(expected == Seen), "the trigger has seen {seen}");
            // A retry, from a session that knows the table and from one that does not.
            for mut retry in [database.superuser()?, session] {
                call(&mut retry, written, "after").with_context(|| "a retry")?;
            }
            ensure!(rows(&mut owner, written.table)? == after.0, "a retry wrote a row");
        }
    }
    // Where rows would be hidden from it, verify() gives no answer rather than a wrong one.
    if sql.contains("force row level") {
        let answer = differences(&mut owner);
        ensure!(answer.is_err_and(|error| format!("{error:#}").contains("row-level security")), "verify() answered");
    } else if !sql.contains("delete from") && !sql.contains("truncate") {
        let found = differences(&mut owner)?;
        ensure!(found.is_empty(), "verify(): {found:?}");
    }
    database.remove()
}

fn every_change(table: &str) -> Result<()> {
    let written = WRITTEN.iter().find(|written| written.table == table).context("no such table")?;
    every_change_of(written, |_, expected| expected)
}

fn every_change_of(written: &Written, expected_of: impl Fn(&str, Outcome) -> Outcome) -> Result<()> {
    let mut problems = Vec::new();
    for (name, sql, expected) in CHANGES.iter().filter(|(_, sql, _)| concerns(written, sql)) {
        if let Err(problem) = check(written, sql, expected_of(name, *expected)) {
            problems.push(format!("{name}: {problem:#}"));
        }
    }
    assert_eq!(problems, Vec::<String>::new(), "{}", written.table);
    Ok(())
}

/// What a table ships with is all recognised: else every charge would take the slow way, unnoticed.
#[test]
fn tables_as_they_ship_are_written_past_the_executor() -> Result<()> {
    for (written, verb, event) in
        WRITTEN.iter().map(|one| (one, "insert into", "insert")).chain([(&SETTLED, "update", "update")])
    {
        let (database, mut owner, _) = prepared(written)?;
        let heard = Arc::new(Mutex::new(String::new()));
        let mut config = database.cluster.config(&database.name, SUPERUSER);
        let hearing = Arc::clone(&heard);
        config.notice_callback(move |notice| {
            hearing.lock().unwrap_or_else(PoisonError::into_inner).push_str(notice.message());
        });
        let mut session = config.connect(NoTls)?;
        session.batch_execute(
            "load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
             set auto_explain.log_level = notice",
        )?;
        let statement = format!("{verb} copilot_internal.{} ", written.table);
        call(&mut session, written, "directly")?;
        let told = |what: &str| -> Result<bool> {
            let told = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
            ensure!(told.contains("Query Text"), "{what}: nothing was told");
            Ok(told.contains(&statement))
        };
        ensure!(!told("as shipped")?, "{} as it ships is written through the executor", written.table);
        let trigger = format!("create trigger s after {event} on {{t}} for each row execute function public.see()");
        change(&mut owner, written, &trigger)?;
        call(&mut session, written, "through the executor")?;
        ensure!(told("with a trigger")?, "{} with a trigger is written past it", written.table);
    }
    Ok(())
}

/// One clear sentence and one state, in both modes, from a session that knows the table and from one that does not. It works
/// again once the name is back.
#[test]
fn a_table_by_another_name_is_missed() -> Result<()> {
    for written in &WRITTEN {
        let (database, mut owner, session) = prepared(written)?;
        change(&mut owner, written, "alter table {t} rename to elsewhere")?;
        let mut fresh = database.superuser()?;
        fresh.batch_execute("set role service_role")?;
        let mut sessions = [session, fresh];
        for session in &mut sessions {
            let error = call(session, written, "after").err().with_context(|| written.table)?;
            let wanted = format!("the table copilot_internal.{} is missing", written.table);
            ensure!(message(&error).contains(&wanted), "{}: {}", written.table, message(&error));
            ensure!(sqlstate(&error) == "55000", "{}: {}", written.table, sqlstate(&error));
        }
        owner.batch_execute(&format!("alter table copilot_internal.elsewhere rename to {}", written.table))?;
        for (number, session) in sessions.iter_mut().enumerate() {
            call(session, written, &format!("again {number}"))?;
        }
        ensure!(differences(&mut owner)?.is_empty(), "{}", written.table);
    }
    Ok(())
}

#[test]
fn llm_cost_records_are_changed_under_an_open_session() -> Result<()> {
    every_change("llm_cost_records")
}

#[test]
fn e2b_cost_records_are_changed_under_an_open_session() -> Result<()> {
    every_change("e2b_cost_records")
}

#[test]
fn quota_charges_are_changed_under_an_open_session() -> Result<()> {
    every_change("quota_charges")
}

#[test]
fn quota_reservations_are_changed_under_an_open_session() -> Result<()> {
    every_change("quota_reservations")
}

#[test]
fn holds_are_settled_though_their_table_is_changed_under_an_open_session() -> Result<()> {
    every_change_of(&SETTLED, |name, expected| if name == "a trigger on other events" { Seen } else { expected })
}

/// What an UPDATE would do that is not the kernel's: it keeps the settlement from being written, or is kept by it.
#[test]
fn a_trigger_on_updates_decides_about_a_settlement() -> Result<()> {
    for (returns, code) in [("null", Some("55000")), ("new", None)] {
        let (database, mut owner, mut session) = prepared(&SETTLED)?;
        owner.batch_execute(&format!(
            "create function public.decide() returns trigger language plpgsql as $$
             begin new.reason := 'seen'; return {returns}; end $$;
             create trigger s before update on copilot_internal.quota_reservations for each row
                 execute function public.decide()"
        ))?;
        let outcome = call(&mut session, &SETTLED, "after");
        assert_eq!(outcome.as_ref().err().map(sqlstate), code);
        let reasons = "select count(*) from copilot_internal.quota_reservations where reason = 'seen'";
        assert_eq!(owner.query_one(reasons, &[])?.get::<_, i64>(0), i64::from(code.is_none()));
        assert!(differences(&mut owner)?.is_empty());
        database.remove()?;
    }
    Ok(())
}

#[test]
fn cost_corrections_are_changed_under_an_open_session() -> Result<()> {
    every_change("cost_corrections")
}

#[test]
fn pending_costs_are_changed_under_an_open_session() -> Result<()> {
    every_change("pending_costs")
}
