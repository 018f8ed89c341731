//! Who may what with conversations, over connections as PostgREST has them: every public function of
//! `pg_tollgate_conversations`, by every kind of caller, on every kind of conversation. The functions come from the
//! catalog, and each must be listed here. Each answer must be the table's: done, or its SQLSTATE.

use tollgate_tests::support;

use std::collections::BTreeSet;

use anyhow::Result;
use tollgate_tests::cluster::SUPERUSER;
use tollgate_tests::session::{Caller, Session, sqlstate};
use uuid::Uuid;

use crate::support::{Database, id, texts};

const TENANT: u128 = 1;
const OWNER: u128 = 0xa;
const ADMIN: u128 = 0xb;
const MEMBER: u128 = 0xc;
const VIEWER: u128 = 0xd;
const SUSPENDED: u128 = 0xe;
const STRANGER: u128 = 0xf;
/// Whose conversations are another's to all callers.
const COLLEAGUE: u128 = 0x10;

/// What one does with a conversation, as a letter of [`TABLE`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Read,
    Write,
    Manage,
    Archive,
    Erase,
    /// Of the tenant and no conversation: for all its members.
    Member,
    /// The same, but not for viewers.
    Creator,
    /// The tenant's owners and admins.
    Leader,
    /// Anybody who has signed in.
    SignedIn,
    /// Whether it may be read; answers all who have signed in.
    Whether,
    Server,
}

/// Section 12 of the design: by role, what they may with their own conversation, with one that is shared with the tenant
/// to view, to edit, that is public, that is another's private one, and that is private and nobody's. `A` is to archive,
/// by its id alone.
const TABLE: [(u128, [&str; 6]); 4] = [
    (VIEWER, ["R", "R", "R", "R", "", ""]),
    (MEMBER, ["RWME", "R", "RW", "R", "", ""]),
    (ADMIN, ["RWME", "RME", "RWME", "RME", "AE", "AE"]),
    (OWNER, ["RWME", "RME", "RWME", "RME", "AE", "AE"]),
];

/// Each function with a call: `$T` is the tenant, `$C` a conversation, `$P` its primary path, `$B` a branch, `$M` a message
/// of the server's, `$O` an operation. `$AS` stands where the server may name a user, `$ME` is the caller.
const FUNCTIONS: &[(&str, For, &str)] = &[
    ("get_path_messages", For::Read, "get_path_messages('$T', '$P'$AS)"),
    ("get_path_context", For::Read, "get_path_context('$T', '$P'$AS)"),
    ("resolve_path_messages", For::Read, "resolve_path_messages('$P')"),
    ("get_path_ancestors", For::Read, "get_path_ancestors('$P')"),
    ("get_pinned_messages", For::Read, "get_pinned_messages('$T', '$C')"),
    ("get_pinned_message_count", For::Read, "get_pinned_message_count('$T', '$C', '$P')"),
    ("append_message", For::Write, "append_message('$T', '$C', 'user', 'w'$AS)"),
    ("branch_from_message", For::Write, "branch_from_message('$T', '$C', '$M'$AS)"),
    ("set_active_path", For::Write, "set_active_path('$T', '$C', '$P'$AS)"),
    ("ensure_primary_path", For::Write, "ensure_primary_path('$T', '$C')"),
    ("update_path", For::Write, "update_path('$T', '$P', 'name'$AS)"),
    ("merge_path", For::Write, "merge_path('$T', '$C', '$B', '$P', 'full'$AS)"),
    ("pin_message", For::Write, "pin_message('$T', '$C', '$M'$OR_NULL)"),
    ("unpin_message", For::Write, "unpin_message('$T', '$C', '$M'$AS)"),
    ("delete_message", For::Manage, "delete_message('$T', '$C', '$M'$AS)"),
    ("set_conversation_sharing", For::Manage, "set_conversation_sharing('$T', '$C', p_title => 'name'$AS)"),
    ("revert_compaction", For::Manage, "revert_compaction('$T', '$O'$AS)"),
    ("archive_conversation", For::Archive, "archive_conversation('$T', '$C'$AS)"),
    ("erase_conversation", For::Erase, "erase_conversation('$T', '$C'$AS)"),
    // Reading is asked first, for the author may erase what they wrote: an admin erases another's whole conversation.
    ("erase_message", For::Manage, "erase_message('$T', '$C', '$M'$AS)"),
    ("can_read_conversation", For::Whether, "can_read_conversation('$T', '$C')"),
    ("list_conversations", For::Member, "list_conversations('$T'$AS)"),
    ("get_effective_conversation_config", For::Member, "get_effective_conversation_config('$T')"),
    ("get_compaction_metrics", For::Member, "get_compaction_metrics(p_tenant_id => '$T')"),
    ("get_compaction_strategy_breakdown", For::Member, "get_compaction_strategy_breakdown(p_tenant_id => '$T')"),
    ("get_recent_compaction_operations", For::Member, "get_recent_compaction_operations(5, '$T')"),
    ("create_conversation", For::Creator, "create_conversation('$T'$AS)"),
    ("erase_user_conversations", For::Creator, "erase_user_conversations('$T', '$ME')"),
    (
        "set_conversation_config",
        For::Leader,
        "set_conversation_config('tenant', '$T', null, '{\"path_max_messages\": 9}')",
    ),
    ("current_tenant_id", For::SignedIn, "current_tenant_id()"),
    ("append_messages", For::Server, "append_messages('$T', '$C', '$P', '[{\"role\": \"user\", \"content\": \"w\"}]')"),
    ("finish_message", For::Server, "finish_message('$T', '$M', 'w')"),
    ("apply_compaction", For::Server, "apply_compaction('$T', '$C', '$P', '$M', 'semantic')"),
    ("claim_paths_for_compaction", For::Server, "claim_paths_for_compaction()"),
    ("get_conversations_needing_compaction", For::Server, "get_conversations_needing_compaction()"),
    ("record_compaction_operation", For::Server, "record_compaction_operation('$C')"),
    ("merge_conversation_context", For::Server, "merge_conversation_context('$T', '$C', '{a}')"),
    ("acquire_execution_context", For::Server, "acquire_execution_context('$T', '$C', '$P')"),
    ("activate_execution_context", For::Server, "activate_execution_context('$P', 'box')"),
    ("fail_execution_context", For::Server, "fail_execution_context('$P', 'no')"),
    ("touch_execution_context", For::Server, "touch_execution_context('$P')"),
    ("terminate_execution_context", For::Server, "terminate_execution_context('$P')"),
    ("release_execution_context", For::Server, "release_execution_context('$P')"),
    ("claim_expired_execution_contexts", For::Server, "claim_expired_execution_contexts()"),
    ("get_expired_execution_contexts", For::Server, "get_expired_execution_contexts()"),
    ("cleanup_old_terminated_contexts", For::Server, "cleanup_old_terminated_contexts()"),
    ("export_user_conversations", For::Server, "export_user_conversations('$T', '$ME')"),
    ("maintain_conversations", For::Server, "maintain_conversations()"),
    ("verify_conversations", For::Server, "verify_conversations()"),
    ("conversation_store_healthcheck", For::Server, "conversation_store_healthcheck()"),
];

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Anon,
    MetricsReader,
    /// Signed in.
    Person(u128),
    Server,
    /// The server on behalf of a user.
    ServerFor(u128),
}

impl Asker {
    fn caller(self) -> Caller {
        match self {
            Asker::Anon => Caller::anon(),
            Asker::MetricsReader => Caller::role("metrics_reader", None),
            Asker::Person(user) => Caller::user(id(user), Some(id(TENANT))),
            Asker::Server | Asker::ServerFor(_) => Caller::service(),
        }
    }

    fn user(self) -> Option<u128> {
        match self {
            Asker::Person(user) | Asker::ServerFor(user) => Some(user),
            _ => None,
        }
    }
}

/// A conversation, and what can be named in it.
struct Chat {
    /// Its place in the columns of [`TABLE`].
    column: usize,
    owner: Option<u128>,
    names: Vec<(&'static str, Uuid)>,
}

fn make(server: &mut postgres::Client, column: usize, owner: Option<u128>) -> Result<Chat> {
    let (audience, access) = [("private", "view"), ("tenant", "view"), ("tenant", "edit"), ("public", "view")]
        .get(column)
        .copied()
        .unwrap_or(("private", "view"));
    let row = server.query_one(
        "select conversation_id, path_id from public.create_conversation($1, $2, p_share_audience => $3, p_tenant_access => $4)",
        &[&id(TENANT), &owner.map(id), &audience, &access],
    )?;
    let (chat, path): (Uuid, Uuid) = (row.get(0), row.get(1));
    let append = "select message_id from public.append_message($1, $2, 'assistant', 'a message of some length', p_path_id => $3)";
    let message: Uuid = server.query_one(append, &[&id(TENANT), &chat, &path])?.get(0);
    let branch = "select path_id from public.branch_from_message($1, $2, $3)";
    let branch: Uuid = server.query_one(branch, &[&id(TENANT), &chat, &message])?.get(0);
    server.query_one(append, &[&id(TENANT), &chat, &branch])?;
    let compact = "select operation_id from public.apply_compaction($1, $2, $3, $4, 'semantic', 's')";
    let operation: Uuid = server.query_one(compact, &[&id(TENANT), &chat, &path, &message])?.get(0);
    Ok(Chat {
        column,
        owner,
        names: vec![("$C", chat), ("$P", path), ("$B", branch), ("$M", message), ("$O", operation)],
    })
}

fn furnish(database: &Database) -> Result<Vec<Chat>> {
    let mut admin = database.superuser()?;
    admin.batch_execute("create extension pg_tollgate_conversations")?;
    let tenants =
        "insert into copilot_internal.tenants (id, name, owner_id) values ($1, 'Acme', $2), ($3, 'Other', $4)";
    admin.execute(tenants, &[&id(TENANT), &id(OWNER), &id(2), &id(STRANGER)])?;
    for user in [ADMIN, MEMBER, VIEWER, SUSPENDED, COLLEAGUE] {
        let role = if user == ADMIN { "admin" } else { "member" };
        let member = "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values ($1, $2, $3)";
        admin.execute(member, &[&id(TENANT), &id(user), &role])?;
    }
    let mut server = database.superuser()?;
    server.batch_execute("set role service_role")?;
    let mut chats = Vec::new();
    for owner in [OWNER, ADMIN, MEMBER, VIEWER] {
        chats.push(make(&mut server, 0, Some(owner))?);
    }
    for column in 1..6 {
        chats.push(make(&mut server, column, (column < 5).then_some(COLLEAGUE))?);
    }
    // What they made while they were members stays theirs.
    let change = "update copilot_internal.tenant_memberships set role = $1, status = $2 where user_id = $3";
    admin.execute(change, &[&"viewer", &"active", &id(VIEWER)])?;
    admin.execute(change, &[&"member", &"suspended", &id(SUSPENDED)])?;
    Ok(chats)
}

/// What must come of a call: an empty text where it is done.
fn expected(asker: Asker, chat: &Chat, what: For) -> &'static str {
    let user = match asker {
        Asker::Anon | Asker::MetricsReader => return "42501",
        Asker::Server => return "",
        Asker::Person(_) if what == For::Server => return "42501",
        Asker::Person(user) | Asker::ServerFor(user) => user,
    };
    let role = TABLE.iter().find(|(role, _)| *role == user);
    let column = if chat.owner == Some(user) {
        0
    } else if chat.column == 0 {
        4
    } else {
        chat.column
    };
    let may = role.map(|(_, columns)| columns[column]);
    let letter = match what {
        For::SignedIn | For::Whether => return "",
        For::Member => return if may.is_some() { "" } else { "42501" },
        For::Creator => return if may.is_some() && user != VIEWER { "" } else { "42501" },
        For::Leader => return if [OWNER, ADMIN].contains(&user) { "" } else { "42501" },
        For::Server | For::Read => 'R',
        For::Write => 'W',
        For::Manage => 'M',
        For::Archive => 'A',
        For::Erase => 'E',
    };
    let may = may.unwrap_or_default();
    if may.contains(letter) || letter == 'A' && may.contains('M') {
        ""
    } else if may.contains('R') {
        "42501"
    } else {
        "P0002"
    }
}

fn sentence(schema: &str, call: &str, asker: Asker, chat: &Chat) -> String {
    let user = asker.user().unwrap_or(MEMBER);
    let named = matches!(asker, Asker::ServerFor(_)).then(|| format!(", p_user_id => '{}'", id(user)));
    let mut sql = format!("select * from {schema}.{call}");
    sql = sql.replace("$OR_NULL", named.as_deref().unwrap_or(", null")).replace("$AS", named.as_deref().unwrap_or(""));
    sql = sql.replace("$T", &id(TENANT).to_string()).replace("$ME", &id(user).to_string());
    for (name, value) in &chat.names {
        sql = sql.replace(name, &value.to_string());
    }
    sql
}

/// The SQLSTATE of a call that is undone, empty where it was done.
fn answer(session: &mut Session, asker: Asker, sql: &str) -> Result<String> {
    let answer = session.request(&asker.caller(), |tx| {
        let mut asked = tx.savepoint("asked")?;
        let answer = asked.query(sql, &[]).err().map(|error| sqlstate(&error).to_owned()).unwrap_or_default();
        asked.rollback()?;
        Ok(answer)
    })?;
    Ok(answer)
}

#[test]
fn every_function_is_for_whom_the_table_says() -> Result<()> {
    let database = Database::fresh()?;
    let chats = furnish(&database)?;
    let mut api = database.session()?;
    let mut other = Session::open_as(database.cluster, &database.name, SUPERUSER)?;
    let listed: BTreeSet<String> = FUNCTIONS.iter().map(|(name, ..)| (*name).to_string()).collect();
    let members = "select distinct p.proname::text from pg_depend d
        join pg_proc p on d.classid = 'pg_proc'::regclass and p.oid = d.objid
        join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
        where e.extname = 'pg_tollgate_conversations' and d.deptype = 'e' and p.pronamespace = 'public'::regnamespace";
    let found: BTreeSet<String> = texts(&mut database.superuser()?, members, &[])?.into_iter().collect();
    assert_eq!(listed, found, "the functions of the extension");

    let people = [OWNER, ADMIN, MEMBER, VIEWER, SUSPENDED, STRANGER].map(Asker::Person);
    let on_behalf = [OWNER, ADMIN, MEMBER, VIEWER, SUSPENDED, STRANGER].map(Asker::ServerFor);
    let others = [Asker::Anon, Asker::MetricsReader, Asker::Server];
    let (mut asked, mut refused, mut wrong) = (0, 0, Vec::new());
    for asker in people.into_iter().chain(on_behalf).chain(others) {
        for (name, what, call) in FUNCTIONS {
            let is_of_a_chat =
                matches!(what, For::Read | For::Write | For::Manage | For::Archive | For::Erase | For::Whether);
            if matches!(asker, Asker::ServerFor(_)) && !call.contains("$AS") && !call.contains("$OR_NULL") {
                continue;
            }
            for chat in if is_of_a_chat { &chats[..] } else { &chats[..1] } {
                for schema in ["public", "copilot_internal"] {
                    if schema == "copilot_internal" && *name == "current_tenant_id" {
                        continue;
                    }
                    let sql = sentence(schema, call, asker, chat);
                    let session = if asker == Asker::MetricsReader { &mut other } else { &mut api };
                    let answer = answer(session, asker, &sql)?;
                    let expected = expected(asker, chat, *what);
                    asked += 1;
                    refused += usize::from(!expected.is_empty());
                    // What the server is told of things that are not there is no matter of roles.
                    let is_servers = asker == Asker::Server && *what == For::Server && answer != "42501";
                    if answer != expected && !is_servers {
                        wrong.push(format!("{asker:?} {sql}: {answer:?}, and not {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} answers:\n{}", wrong.len(), wrong.join("\n"));
    println!("{} functions, {asked} calls, of which {refused} must be refused", FUNCTIONS.len());
    assert!(refused > 1000 && asked - refused > 500);
    Ok(())
}
