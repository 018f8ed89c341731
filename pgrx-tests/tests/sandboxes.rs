//! Sandboxes of `pg_tollgate_conversations`: many at once with every step that may be lost, who may call what, and a
//! database that is dumped, restored and left. In the mode of the tier.

use tollgate_tests::support;

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use postgres::Client;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::session::{Caller, sqlstate};
use uuid::Uuid;

use crate::support::{Database, assert_verified, id, limit, text};

const TENANT: u128 = 1;
const OTHER: u128 = 2;
const OWNER: u128 = 0xa;
const MEMBER: u128 = 0xb;
const STRANGER: u128 = 0xc;
const WORKERS: u64 = 4;
const CONTEXTS: usize = 50;

fn furnish(database: &Database) -> Result<Client> {
    let mut client = database.superuser()?;
    client.batch_execute(&format!(
        "create extension pg_tollgate_conversations;
         insert into copilot_internal.tenants (id, name, owner_id) values ('{}', 'Acme', '{}'), ('{}', 'Other', '{}');
         insert into copilot_internal.tenant_memberships (tenant_id, user_id) values ('{}', '{}')",
        id(TENANT),
        id(OWNER),
        id(OTHER),
        id(STRANGER),
        id(TENANT),
        id(MEMBER)
    ))?;
    Ok(client)
}

fn server(database: &Database) -> Result<Client> {
    let mut client = database.superuser()?;
    client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    Ok(client)
}

fn conversation(client: &mut Client) -> Result<(Uuid, Uuid)> {
    let sql = "select conversation_id, path_id from public.create_conversation($1, $2, 'a secret title')";
    let row = client.query_one(sql, &[&id(TENANT), &id(OWNER)])?;
    Ok((row.get(0), row.get(1)))
}

/// A life of a sandbox in which any later step may be lost.
fn live(client: &mut Client, chat: Uuid, path: Uuid, random: &mut ChaCha8Rng, name: &str) -> Result<()> {
    let sql = "select outcome, context_id from public.acquire_execution_context($1, $2, $3, $4)";
    let row = client.query_one(sql, &[&id(TENANT), &chat, &path, &id(OWNER)])?;
    let (outcome, context): (String, Option<Uuid>) = (row.get(0), row.get(1));
    if outcome == "refused" {
        bail!("refused, with room enough");
    }
    let Some(context) = context.filter(|_| outcome != "wait") else { return Ok(()) };
    if outcome == "create" {
        match random.random_range(0..8) {
            0 => return Ok(()),
            1 => {
                client.execute("select * from public.fail_execution_context($1, 'no')", &[&context])?;
                return Ok(());
            }
            _ => client.execute("select * from public.activate_execution_context($1, $2)", &[&context, &name])?,
        };
    }
    if random.random_range(0..3) == 0 {
        client.execute("select * from public.touch_execution_context($1, 45)", &[&context])?;
    }
    if random.random_range(0..2) == 0 {
        client.execute("select * from public.terminate_execution_context($1)", &[&context])?;
        if random.random_range(0..2) == 0 {
            client.execute("select * from public.release_execution_context($1)", &[&context])?;
        }
    }
    Ok(())
}

fn kill_all(client: &mut Client) -> Result<()> {
    let claim = "select context_id from public.claim_expired_execution_contexts(100)";
    for row in client.query(claim, &[])? {
        client.execute("select * from public.release_execution_context($1)", &[&row.get::<_, Uuid>(0)])?;
    }
    Ok(())
}

#[test]
fn every_sandbox_is_billed_once_and_no_hold_is_left() -> Result<()> {
    let database = Database::fresh()?;
    let mut admin = furnish(&database)?;
    limit(&mut admin, id(TENANT), "e2b", "1000")?;
    let mut client = server(&database)?;
    // A creation that is lost keeps its path waiting for two minutes: enough of them are left.
    let chats: Vec<_> = (0..24).map(|_| conversation(&mut client)).collect::<Result<_>>()?;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (database, chats) = (&database, &chats);
                scope.spawn(move || -> Result<()> {
                    let mut client = server(database)?;
                    let mut random = ChaCha8Rng::seed_from_u64(worker);
                    for turn in 0..CONTEXTS {
                        let (chat, path) = chats[random.random_range(0..chats.len())];
                        live(&mut client, chat, path, &mut random, &format!("box {worker} {turn}"))
                            .with_context(|| format!("worker {worker}, turn {turn}"))?;
                        if turn % 10 == 9 {
                            kill_all(&mut client)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
    })?;
    // Their time passes: the killers find what was lost.
    admin.batch_execute(
        "update copilot_internal.execution_contexts set creating_until = clock_timestamp()
             where sandbox_status = 'creating';
         update copilot_internal.execution_contexts set expires_at = clock_timestamp() where terminated_at is null;
         update copilot_internal.execution_contexts set kill_claimed_until = null where kill_claimed_until is not null",
    )?;
    kill_all(&mut client)?;
    let counts = "select format('%s unreleased, %s held, %s activated without one bill, %s bills of others',
        (select count(*) from copilot_internal.execution_contexts where released_at is null),
        (select count(*) from copilot_internal.quota_reservations where state = 'held'),
        (select count(*) from copilot_internal.execution_contexts x where ready_at is not null and 1 <> (
            select count(*) from copilot_internal.e2b_cost_records r
            where r.request_id = 'execution_context:' || x.id and r.id = x.cost_record_id)),
        (select count(*) from copilot_internal.e2b_cost_records r where not exists (
            select from copilot_internal.execution_contexts x where r.request_id = 'execution_context:' || x.id)))";
    let found = text(&mut admin, counts, &[])?;
    assert_eq!(found, "0 unreleased, 0 held, 0 activated without one bill, 0 bills of others");
    let bills: i64 = admin.query_one("select count(*) from copilot_internal.e2b_cost_records", &[])?.get(0);
    println!("{bills} bills");
    assert!(bills > 20, "{bills} bills");
    assert_verified(&mut admin);
    assert_eq!(text(&mut admin, "select count(*)::text from public.verify_conversations()", &[])?, "0");
    Ok(())
}

/// What nobody but the server calls; `$C`, `$P` and `$T` stand for conversation, path and tenant.
const SERVERS: [&str; 19] = [
    "public.apply_compaction('$T', '$C', '$P', '$P', 'semantic')",
    "public.claim_paths_for_compaction()",
    "public.get_conversations_needing_compaction()",
    "public.record_compaction_operation('$C')",
    "public.acquire_execution_context('$T', '$C', '$P')",
    "public.activate_execution_context('$P', 'box')",
    "public.fail_execution_context('$P', 'no')",
    "public.touch_execution_context('$P')",
    "public.terminate_execution_context('$P')",
    "public.release_execution_context('$P')",
    "public.claim_expired_execution_contexts()",
    "public.get_expired_execution_contexts()",
    "public.cleanup_old_terminated_contexts()",
    "public.merge_conversation_context('$T', '$C', '{a}')",
    "public.maintain_conversations()",
    "public.verify_conversations()",
    "copilot_internal.bill_context(null, 1, 1, 1)",
    "copilot_internal.archive_locked('$T', '$C', true)",
    "copilot_internal.erase_step('$T', '$C', 1)",
];

/// What a person calls: by the conversation's owner, a colleague, another tenant's owner. `0` is success.
const PEOPLE: [(&str, [&str; 3]); 9] = [
    ("public.get_compaction_metrics(p_tenant_id => '$T')", ["0", "0", "42501"]),
    ("public.get_compaction_metrics()", ["42501", "42501", "42501"]),
    ("public.get_recent_compaction_operations(5, '$T')", ["0", "0", "42501"]),
    ("public.get_effective_conversation_config('$T')", ["0", "0", "42501"]),
    ("public.set_conversation_config('tenant', '$T', null, '{\"path_max_messages\": 9}')", ["0", "42501", "42501"]),
    ("public.archive_conversation('$T', '$C')", ["0", "P0002", "P0002"]),
    ("public.revert_compaction('$T', '$P')", ["P0002", "P0002", "P0002"]),
    ("public.erase_message('$T', '$C', '$P')", ["P0002", "P0002", "P0002"]),
    ("public.erase_conversation('$T', '$C')", ["0", "P0002", "P0002"]),
];

#[test]
fn who_may_call_what() -> Result<()> {
    let database = Database::fresh()?;
    furnish(&database)?;
    let (chat, path) = conversation(&mut server(&database)?)?;
    let query = |call: &str| {
        let call = call.replace("$T", &id(TENANT).to_string()).replace("$C", &chat.to_string());
        format!("select * from {}", call.replace("$P", &path.to_string()))
    };
    let mut session = database.session()?;
    let person = |user| Caller::user(id(user), Some(id(TENANT)));
    for call in SERVERS {
        for caller in [Caller::anon(), person(OWNER), person(MEMBER), person(STRANGER)] {
            session.expect_sqlstate(&caller, &query(call), &[], "42501");
        }
    }
    for (call, expected) in PEOPLE {
        session.expect_sqlstate(&Caller::anon(), &query(call), &[], "42501");
        let seen = [STRANGER, MEMBER, OWNER].map(|user| {
            let run = session.request(&person(user), |client| client.query(&query(call), &[]).map(|_| ()));
            run.err().map_or("0".to_owned(), |error| sqlstate(&error).to_owned())
        });
        let [stranger, member, owner] = seen;
        assert_eq!([owner, member, stranger], expected.map(str::to_owned), "{call}");
    }
    Ok(())
}

#[test]
fn what_was_erased_is_in_no_dump_and_a_restore_goes_on() -> Result<()> {
    let database = Database::fresh()?;
    let mut admin = furnish(&database)?;
    let mut client = server(&database)?;
    let (kept, path) = conversation(&mut client)?;
    let (erased, _) = conversation(&mut client)?;
    client.execute("select * from public.merge_conversation_context($1, $2, '{a}')", &[&id(TENANT), &kept])?;
    let acquire = "select context_id from public.acquire_execution_context($1, $2, $3)";
    let context: Uuid = client.query_one(acquire, &[&id(TENANT), &kept, &path])?.get(0);
    client.execute("select * from public.activate_execution_context($1, 'box')", &[&context])?;
    client.execute(
        "select * from public.set_conversation_config('tenant', $1, null, '{\"path_max_messages\": 9}')",
        &[&id(TENANT)],
    )?;
    client.execute("select public.record_compaction_operation($1)", &[&kept])?;
    client.execute("update copilot_internal.conversations set title = 'a plain one' where id = $1", &[&kept])?;
    client.execute("update copilot_internal.conversations set title = 'a hidden word' where id = $1", &[&erased])?;
    client.execute("select * from public.erase_conversation($1, $2)", &[&id(TENANT), &erased])?;

    let run = |command: &mut Command| -> Result<Vec<u8>> {
        let output = command.output().context("cannot run a client program")?;
        if !output.status.success() {
            bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.stdout)
    };
    let cluster = database.cluster;
    let plain = run(&mut cluster.client_program("pg_dump", &database.name, SUPERUSER))?;
    let plain = String::from_utf8(plain)?;
    assert!(plain.contains("a plain one") && !plain.contains("a hidden word"));
    let file = cluster.dir().join(format!("{}.dump", database.name));
    run(cluster.client_program("pg_dump", &database.name, SUPERUSER).arg("-Fc").arg("-f").arg(&file))?;
    let name = format!("{}_restored", database.name);
    cluster.superuser("postgres")?.batch_execute(&format!("create database \"{name}\" template template0"))?;
    run(cluster.client_program("pg_restore", &name, SUPERUSER).args(["--exit-on-error", "-d", &name]).arg(&file))?;

    let mut restored = cluster.superuser(&name)?;
    let tables = [
        "conversations",
        "conversation_paths",
        "conversation_contexts",
        "conversation_configs",
        "compaction_operations",
        "execution_contexts",
        "conversation_erasures",
    ];
    for table in tables {
        let rows = format!("select count(*)::text from copilot_internal.{table}");
        assert_eq!(text(&mut restored, &rows, &[])?, text(&mut admin, &rows, &[])?, "{table}");
    }
    restored.batch_execute("set role service_role")?;
    restored.execute("select * from public.release_execution_context($1, 10)", &[&context])?;
    restored.batch_execute("reset role")?;
    assert_verified(&mut restored);
    assert_eq!(text(&mut restored, "select count(*)::text from public.verify_conversations()", &[])?, "0");
    // What is left after the second extension is the first, with every cost.
    restored.batch_execute("drop extension pg_tollgate_conversations")?;
    let costs: i64 = restored.query_one("select count(*) from copilot_internal.e2b_cost_records", &[])?.get(0);
    assert_eq!(costs, 1);
    assert_verified(&mut restored);
    Ok(())
}
