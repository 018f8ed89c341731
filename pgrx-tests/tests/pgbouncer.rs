//! Through PgBouncer in transaction mode, one server connection for all: the session that one tenant's request leaves is
//! the next tenant's.

use tollgate_tests::support;

use anyhow::Result;
use support::{Database, id, limit, make_tenant};
use tollgate_tests::pgbouncer::Pgbouncer;
use tollgate_tests::session::{Caller, Session, sqlstate};
use uuid::Uuid;

const ANN: u128 = 0xa1;
const BEN: u128 = 0xb1;

/// Two tenants, one of Ann's and one of Ben's, with limits that tell them apart; Ben is a member of Ann's, too.
fn two_tenants() -> Result<(Database, Uuid, Uuid)> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    let (anns, bens) = (id(0xa), id(0xb));
    for (tenant, owner, usd) in [(anns, ANN, "7"), (bens, BEN, "9")] {
        make_tenant(&mut client, tenant)?;
        client.execute("update copilot_internal.tenants set owner_id = $1 where id = $2", &[&id(owner), &tenant])?;
        limit(&mut client, tenant, "llm", usd)?;
        client.execute("select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)", &[&tenant])?;
    }
    Ok((database, anns, bens))
}

/// What users see of themselves, in one text: the tenant they work in, the limits, the ledger, and the server process.
fn seen(session: &mut Session, caller: &Caller) -> Result<(String, String)> {
    let sql = "select concat_ws(' ', coalesce(public.get_current_tenant_id()::text, 'no user'),
                   (select string_agg(trim_scale(limit_usd)::text, ',') from metrics.quota_status where period = 'lifetime'),
                   (select string_agg(tenant_id::text, ',') from copilot_internal.llm_cost_records)),
               pg_backend_pid()::text";
    let messages = session.request(caller, |tx| tx.simple_query(sql))?;
    let row = messages.iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |index| row.and_then(|row| row.get(index)).unwrap_or_default().to_string();
    Ok((text(0), text(1)))
}

#[test]
fn two_tenants_in_turn_on_one_server_connection() -> Result<()> {
    let (database, anns, bens) = two_tenants()?;
    let pooler = Pgbouncer::start(database.cluster)?;
    let open = || Session::pooled(&pooler, &database.name, "authenticator");
    let mut clients = [open()?, open()?];
    let (ann, ben) = (Caller::user(id(ANN), Some(anns)), Caller::user(id(BEN), Some(bens)));
    let no_user = Caller::role("authenticated", None);
    let mut processes = Vec::new();
    for round in 0..50 {
        for (client, caller, expected) in [
            (0, &ann, format!("{anns} 7 {anns}")),
            (1, &ben, format!("{bens} 9 {bens}")),
            // The same client again, and the other's: without claims neither is a user.
            (0, &no_user, "no user".to_string()),
            (1, &ann, format!("{anns} 7 {anns}")),
            (0, &ben, format!("{bens} 9 {bens}")),
        ] {
            let (text, process) = seen(&mut clients[client], caller)?;
            assert_eq!(text, expected, "round {round}");
            processes.push(process);
        }
    }
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 1, "one server connection: {processes:?}");
    println!(
        "PgBouncer, transaction mode: 250 requests of two tenants and of no user in turn, by server process {}",
        processes[0]
    );
    Ok(())
}

#[test]
fn what_one_client_changes_the_other_s_session_knows_at_once() -> Result<()> {
    let (database, anns, bens) = two_tenants()?;
    let pooler = Pgbouncer::start(database.cluster)?;
    let open = || Session::pooled(&pooler, &database.name, "authenticator");
    let (mut one, mut other) = (open()?, open()?);
    let (ann, ben) = (Caller::user(id(ANN), None), Caller::user(id(BEN), None));
    let run = |session: &mut Session, caller: &Caller, call: String| {
        session.request(caller, |tx| tx.simple_query(&format!("select {call}"))).map(|_| ())
    };
    let bens_id = id(BEN);
    let denied = |result: Result<(), postgres::Error>| match result {
        Ok(()) => "answered".to_string(),
        Err(error) => sqlstate(&error).to_string(),
    };
    assert_eq!(denied(run(&mut other, &ben, format!("public.switch_tenant('{anns}')"))), "42501");
    run(&mut one, &ann, format!("public.invite_member('{anns}', '{bens_id}')"))?;
    assert_eq!(denied(run(&mut other, &ben, format!("public.switch_tenant('{anns}')"))), "42501");
    run(&mut other, &ben, format!("public.accept_invitation('{anns}')"))?;
    run(&mut other, &ben, format!("public.switch_tenant('{anns}')"))?;
    assert!(seen(&mut other, &ben)?.0.starts_with(&anns.to_string()));
    // A change that another server session makes, of another login role.
    database.superuser()?.batch_execute(&format!("select public.remove_member('{anns}', '{bens_id}')"))?;
    assert!(seen(&mut other, &ben)?.0.starts_with("no user 9"));
    run(&mut other, &ben, format!("public.switch_tenant('{bens}')"))?;
    assert!(seen(&mut one, &ben)?.0.starts_with(&bens.to_string()));
    assert_eq!(seen(&mut other, &ann)?.0, format!("no user 7 {anns}"));
    Ok(())
}
