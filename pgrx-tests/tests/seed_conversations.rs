//! The application that this extension comes from: its requests by the names of its own migrations, and each defect that
//! was found in those migrations (S) and in the application (A) with the tests that would have caught it.

use tollgate_tests::support;

use std::fs;

use anyhow::{Context, Result};
use postgres::{Error, Transaction};
use tollgate_tests::layout;
use tollgate_tests::session::{Caller, Session};
use uuid::Uuid;

use crate::support::{Database, id};

const TENANT: u128 = 1;
const OTHER_TENANT: u128 = 2;
const OWNER: u128 = 0xa;
const MEMBER: u128 = 0xb;
const REMOVED: u128 = 0xc;
const STRANGER: u128 = 0xf;
const CHAT: u128 = 0xc0;
const MAIN: u128 = 0xd0;
const TWIG: u128 = 0xd1;

/// Each defect with its tests: a golden file, an isolation spec, or a function of an outside test.
const DEFECTS: [(&str, &[&str]); 24] = [
    (
        "S1: functions and views in another schema than they are called in; pin functions that raise",
        &["the_servers_requests_are_answered", "a_members_requests_are_answered"],
    ),
    (
        "S2: strangers, removed members and colleagues read",
        &[
            "strangers_read_nothing",
            "every_function_is_for_whom_the_table_says",
            "conversation_is_shown_to_whom_it_is_shared",
        ],
    ),
    (
        "S3: numbers twice, settable, missing",
        &[
            "conversation_append_against_append",
            "conversation_messages_are_numbered_once",
            "history_is_not_written_by_hand",
        ],
    ),
    (
        "S4: branches of branches lose messages; a deleted parent; circles; depth",
        &["every_path_is_the_list_of_the_model", "history_is_not_written_by_hand"],
    ),
    ("S5: tenant, conversation and path disagree", &["rows_of_two_tenants_do_not_mix"]),
    ("S6: pins are in no view", &["the_servers_requests_are_answered"]),
    (
        "S7: sandboxes revived, doubled, touched into the past, cleaned twice, forgotten",
        &[
            "a_sandbox_is_neither_doubled_nor_revived",
            "context_touch_against_claim",
            "every_sandbox_is_billed_once_and_no_hold_is_left",
        ],
    ),
    (
        "S8: settings that cannot be written or read",
        &["the_servers_requests_are_answered", "conversation_settings_inherit"],
    ),
    ("S9: deletion by keys without an index", &["every_key_has_an_index"]),
    ("S10: people write rows", &["people_write_no_rows"]),
    ("S11: the same candidates daily", &["compaction_candidates_are_claimed_by_one"]),
    ("S12: a policy's function for every row", &["the_audits_find_nothing"]),
    ("S13: operations that cannot be recorded, or of nonsense", &["operations_of_any_outcome_are_recorded"]),
    ("S14: lost updates", &["conversation_nodes_are_merged_in_one_step", "a_late_writer_moves_nothing_back"]),
    ("S15: empty pages of a list", &["a_list_is_full_of_what_its_reader_may_see"]),
    (
        "S16: all may execute all; roles; archived conversations",
        &["the_audits_find_nothing", "conversation_archived_by_an_update", "conversation_append_against_archive"],
    ),
    ("A1: the model is shown the first messages of all paths", &["conversation_context_is_read_from_its_end"]),
    ("A2: an answer to whatever path is active", &["every_path_is_the_list_of_the_model"]),
    (
        "A3: what is one step takes many requests",
        &["conversation_retries_are_answered_as_before", "conversation_merge_both_ways"],
    ),
    ("A4: compaction and rollback that do nothing", &["compaction_is_shown_to_models_and_reverted"]),
    (
        "A5: sandboxes without a hold",
        &["context_without_room_is_refused", "context_inserted_by_a_store_asks_the_quota"],
    ),
    ("A6: ended and not killed, run and not billed", &["every_sandbox_is_billed_once_and_no_hold_is_left"]),
    ("A7: columns that are never written", &["the_servers_requests_are_answered"]),
    ("A8: lists that tell of private conversations", &["a_list_is_full_of_what_its_reader_may_see"]),
];

#[test]
fn every_defect_has_its_test() -> Result<()> {
    let root = layout::root().join("pgrx-tests");
    let mut sources = String::new();
    for dir in ["tests", "tests/conversation_life"] {
        for entry in fs::read_dir(root.join(dir))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &fs::read_to_string(path)?;
            }
        }
    }
    for (defect, tests) in DEFECTS {
        for test in tests {
            let is_file = [("regress/sql", "sql"), ("isolation/specs", "spec")]
                .iter()
                .any(|(dir, extension)| root.join(dir).join(test).with_extension(extension).is_file());
            assert!(is_file || sources.contains(&format!("fn {test}()")), "{defect}: there is no test {test}");
        }
    }
    Ok(())
}

fn furnish() -> Result<(Database, Session)> {
    let database = Database::fresh()?;
    let mut admin = database.superuser()?;
    admin.batch_execute("create extension pg_tollgate_conversations")?;
    let tenants =
        "insert into copilot_internal.tenants (id, name, owner_id) values ($1, 'Acme', $2), ($3, 'Other', $4)";
    admin.execute(tenants, &[&id(TENANT), &id(OWNER), &id(OTHER_TENANT), &id(STRANGER)])?;
    for (user, status) in [(MEMBER, "active"), (REMOVED, "removed")] {
        let member = "insert into copilot_internal.tenant_memberships (tenant_id, user_id, status) values ($1, $2, $3)";
        admin.execute(member, &[&id(TENANT), &id(user), &status])?;
    }
    // The ids of a test are its own; the application's are made by the database.
    admin.execute(
        "insert into copilot_internal.conversations (id, tenant_id, user_id, title) values ($1, $2, $3, 'A secret')",
        &[&id(CHAT), &id(TENANT), &id(OWNER)],
    )?;
    admin.execute(
        "insert into copilot_internal.conversation_paths (id, conversation_id, tenant_id, name, is_primary)
         values ($1, $2, $3, 'Main', true)",
        &[&id(MAIN), &id(CHAT), &id(TENANT)],
    )?;
    let session = database.session()?;
    Ok((database, session))
}

/// `$T`, `$C`, `$P`, `$B` and `$U` are tenant, conversation, path, branch and owner.
fn named(sql: &str) -> String {
    [("$T", TENANT), ("$OT", OTHER_TENANT), ("$C", CHAT), ("$P", MAIN), ("$B", TWIG), ("$U", OWNER), ("$ME", MEMBER)]
        .iter()
        .rev()
        .fold(sql.to_string(), |sql, (name, number)| sql.replace(name, &format!("'{}'", id(*number))))
}

fn rows(tx: &mut Transaction, sql: &str) -> Result<usize, Error> {
    tx.query(&named(sql), &[]).map(|rows| rows.len())
}

/// Each request must be answered with so many rows.
fn play(session: &mut Session, caller: &Caller, requests: &[(&str, usize)]) -> Result<()> {
    for (sql, expected) in requests {
        let found = session.request(caller, |tx| rows(tx, sql)).with_context(|| named(sql))?;
        assert_eq!(found, *expected, "{}", named(sql));
    }
    Ok(())
}

/// Each request must fail with this SQLSTATE.
fn refuse(session: &mut Session, caller: &Caller, requests: &[(&str, &str)]) {
    for (sql, state) in requests {
        session.expect_sqlstate(caller, &named(sql), &[], state);
    }
}

fn member(user: u128) -> Caller {
    Caller::user(id(user), Some(id(TENANT)))
}

/// Two messages and a branch, written as the application's stores write them.
const WRITTEN: [(&str, usize); 3] = [
    (
        "insert into copilot_internal.conversation_messages (conversation_id, tenant_id, path_id, user_id, role, content, metadata)
         values ($C, $T, $P, $U, 'user', 'Where to?', '{}'), ($C, $T, $P, null, 'assistant', 'North.', '{}') returning id",
        2,
    ),
    (
        "insert into copilot_internal.conversation_paths (conversation_id, tenant_id, parent_path_id, branch_point_message_id, name)
         select $C, $T, $P, m.id, 'A branch' from public.conversation_messages_view m where m.role = 'user' returning id",
        1,
    ),
    (
        "insert into copilot_internal.conversation_messages (conversation_id, tenant_id, path_id, role, content)
         select $C, $T, p.id, 'user', 'South.' from public.conversation_paths_view p where not p.is_primary returning id",
        1,
    ),
];

#[test]
fn the_servers_requests_are_answered() -> Result<()> {
    let (_database, mut session) = furnish()?;
    let server = Caller::service();
    play(&mut session, &server, &WRITTEN)?;
    play(&mut session, &server, &[
        ("select from conversation_store_healthcheck() where table_name in ('conversations', 'conversation_messages') and rls_enabled and policy_count > 0", 2),
        ("update copilot_internal.conversations set active_path_id = $P, title = 'Another', updated_at = now() where id = $C returning id", 1),
        ("update copilot_internal.conversation_messages set metadata = '{\"feedback\": 1}' where role = 'assistant' returning id", 1),
        ("select id, content from public.conversation_messages_view where conversation_id = $C order by created_at limit 50", 3),
        ("select from resolve_path_messages(p_path_id => $P) where id is not null and effective_sequence = sequence_in_path", 2),
        ("select from resolve_path_messages((select id from public.conversation_paths_view where not is_primary))", 2),
        ("select from get_path_ancestors((select id from public.conversation_paths_view where not is_primary)) where path_id = $P and depth = 1", 1),
        ("select where pin_message($T, $C, (select id from public.conversation_messages_view where role = 'assistant'), $U)", 1),
        ("select from get_pinned_messages(p_tenant_id => $T, p_conversation_id => $C, p_path_id => null) where pinned_by = $U", 1),
        ("select where get_pinned_message_count($T, $C, $P) = 1", 1),
        ("select from public.conversation_messages_view where is_pinned and pinned_at is not null", 1),
        ("select from resolve_path_messages($P) where is_pinned", 1),
        ("select where unpin_message($T, $C, (select id from public.conversation_messages_view where role = 'assistant'))", 1),
        ("insert into copilot_internal.conversation_contexts (conversation_id, tenant_id, active_node_ids) values ($C, $T, '{a}')
          on conflict (conversation_id, tenant_id) do update set active_node_ids = excluded.active_node_ids returning tenant_id", 1),
        ("insert into copilot_internal.conversation_configs (config_level, tenant_id, path_max_messages) values ('tenant', $T, 30)
          on conflict (config_level, tenant_id, user_id) do update set path_max_messages = 30 returning id", 1),
        ("select where get_effective_conversation_config($T, $U) ->> 'path_max_messages' = '30'", 1),
        ("select from record_compaction_operation(p_conversation_id => $C, p_path_id => $P, p_tenant_id => null, p_user_id => $U, p_strategy => 'semantic', p_triggered_by => 'auto', p_tokens_before => 10, p_tokens_after => 5, p_messages_before => 3, p_messages_after => 2, p_messages_summarized => 1)", 1),
        ("select from get_compaction_metrics(p_start_time => null, p_end_time => null, p_tenant_id => $T) where total_operations = 1 and total_tokens_saved = 5", 1),
        ("select from get_compaction_strategy_breakdown(null, null, $T) where strategy = 'semantic'", 1),
        ("select from get_recent_compaction_operations(p_limit => 10) where compression_ratio = 0.5", 1),
        ("select from copilot_internal.get_conversations_needing_compaction(p_message_count_gt => 50, p_last_activity_after => null, p_last_compaction_before => null, p_limit => 100)", 0),
        ("insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status) values ($T, $C, $P, 'box', 'ready') returning id", 1),
        ("select from public.execution_contexts_view where sandbox_id = 'box' and not is_expired", 1),
        ("select from touch_execution_context(p_context_id => (select id from copilot_internal.execution_contexts), p_ttl_minutes => 45) where renewed", 1),
        ("select from get_expired_execution_contexts(p_limit => 50)", 0),
        ("update copilot_internal.execution_contexts set sandbox_status = 'terminated', terminated_at = now() returning id", 1),
        ("select from cleanup_old_terminated_contexts(7, 100) where deleted_count = 0", 1),
        ("update copilot_internal.conversations set archived_at = now() where id = $C returning id", 1),
        ("select from public.conversation_contexts_view where archived_at is not null", 1),
    ])
}

#[test]
fn a_members_requests_are_answered() -> Result<()> {
    let (_database, mut session) = furnish()?;
    play(&mut session, &Caller::service(), &WRITTEN)?;
    play(
        &mut session,
        &member(OWNER),
        &[
            ("select id, tenant_id, title from public.conversations_view where id = $C", 1),
            (
                "select id from public.conversation_messages_view where conversation_id = $C order by created_at limit 50",
                3,
            ),
            (
                "select id, message_count from public.conversation_paths_view where conversation_id = $C and is_active",
                2,
            ),
            ("select conversation_id from public.conversation_contexts_view where conversation_id = $C", 0),
            ("select from resolve_path_messages($P)", 2),
            ("select from get_path_ancestors($P) where depth = 0", 1),
            (
                "select where pin_message($T, $C, (select id from public.conversation_messages_view where role = 'assistant'), $U)",
                1,
            ),
            ("select from get_pinned_messages($T, $C)", 1),
            ("select where get_pinned_message_count($T, $C) = 1", 1),
            ("select from get_compaction_metrics(p_tenant_id => $T)", 1),
            ("select where current_tenant_id() = $T", 1),
        ],
    )
}

#[test]
fn strangers_read_nothing() -> Result<()> {
    let (_database, mut session) = furnish()?;
    play(&mut session, &Caller::service(), &WRITTEN)?;
    let forged = serde_json::json!({
        "sub": id(STRANGER).to_string(), "user_metadata": { "tenant_id": id(TENANT).to_string(), "role": "owner" }
    });
    let forged = Caller::role("authenticated", Some(forged));
    // A colleague sees no private conversation; a removed member nothing at all.
    for caller in [forged, member(REMOVED), member(MEMBER), Caller::user(id(STRANGER), Some(id(OTHER_TENANT)))] {
        for view in ["conversations", "conversation_messages", "conversation_paths", "conversation_contexts"] {
            play(&mut session, &caller, &[(&format!("select from public.{view}_view"), 0)])?;
        }
        refuse(&mut session, &caller, &[("select from resolve_path_messages($P)", "P0002")]);
    }
    refuse(&mut session, &Caller::anon(), &[("select from public.conversations_view", "42501")]);
    Ok(())
}

#[test]
fn history_is_not_written_by_hand() -> Result<()> {
    let (database, mut session) = furnish()?;
    play(&mut session, &Caller::service(), &WRITTEN)?;
    refuse(
        &mut session,
        &Caller::service(),
        &[
            ("update copilot_internal.conversation_messages set sequence_in_path = null", "42501"),
            (
                "insert into copilot_internal.conversation_messages (conversation_id, tenant_id, path_id, role, content, sequence_in_path) values ($C, $T, $P, 'user', 'w', -5)",
                "42501",
            ),
            ("update copilot_internal.conversation_messages set content = 'another'", "42501"),
            ("delete from copilot_internal.conversation_messages", "42501"),
            ("update copilot_internal.conversation_paths set parent_path_id = id", "42501"),
            ("delete from copilot_internal.conversation_paths where is_primary", "23503"),
        ],
    );
    // Not even by who may.
    let mut admin = database.superuser()?;
    for sql in [
        "update copilot_internal.conversation_messages set content = 'another'",
        "update copilot_internal.conversation_messages set sequence_in_path = 7",
        "update copilot_internal.conversation_paths set parent_path_id = id, branch_sequence = 1 where is_primary",
        "update copilot_internal.conversation_path_segments set shift = 0",
    ] {
        let error = admin.execute(sql, &[]).err().context("history was written")?;
        assert_eq!(error.code().map(|state| state.code()), Some("55000"), "{sql}");
    }
    Ok(())
}

#[test]
fn rows_of_two_tenants_do_not_mix() -> Result<()> {
    let (database, mut session) = furnish()?;
    play(&mut session, &Caller::service(), &WRITTEN)?;
    let mut admin = database.superuser()?;
    let other: Uuid = admin
        .query_one(
            "insert into copilot_internal.conversations (tenant_id) values ($1) returning id",
            &[&id(OTHER_TENANT)],
        )?
        .get(0);
    let theirs = format!("'{other}'");
    let path = format!(
        "insert into copilot_internal.conversation_paths (conversation_id, tenant_id, is_primary) values ({theirs}, $OT, true) returning id"
    );
    play(&mut session, &Caller::service(), &[(&path, 1)])?;
    for (sql, state) in [
        // A message on another tenant's path, and on the path of another conversation.
        (format!("insert into copilot_internal.conversation_messages (conversation_id, tenant_id, path_id, role, content) values ({theirs}, $OT, $P, 'user', 'w')"), "P0002"),
        ("insert into copilot_internal.conversation_messages (conversation_id, tenant_id, path_id, role, content) values ($C, $OT, $P, 'user', 'w')".to_string(), "P0002"),
        // A branch that would read another tenant's messages.
        (format!("insert into copilot_internal.conversation_paths (conversation_id, tenant_id, parent_path_id, branch_point_message_id) select {theirs}, $OT, $P, id from copilot_internal.conversation_messages limit 1"), "P0002"),
        (format!("select from set_active_path($OT, {theirs}, $P)"), "P0002"),
        (format!("insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id) values ($OT, {theirs}, $P)"), "P0002"),
        ("insert into copilot_internal.conversation_contexts (conversation_id, tenant_id) values ($C, $OT)".to_string(), "23503"),
    ] {
        refuse(&mut session, &Caller::service(), &[(&sql, state)]);
    }
    Ok(())
}

#[test]
fn a_sandbox_is_neither_doubled_nor_revived() -> Result<()> {
    let (_database, mut session) = furnish()?;
    let server = Caller::service();
    let insert = "insert into copilot_internal.execution_contexts (tenant_id, conversation_id, path_id, sandbox_id, sandbox_status) values ($T, $C, $P, 'box', 'ready') returning id";
    play(&mut session, &server, &[(insert, 1)])?;
    let touch = "select from touch_execution_context((select id from copilot_internal.execution_contexts), $)";
    refuse(
        &mut session,
        &server,
        &[
            (&insert.replace("'box'", "'another'"), "23505"),
            (&touch.replace('$', "-100"), "22023"),
            (&touch.replace('$', "null"), "22023"),
            ("select from touch_execution_context($C)", "P0002"),
        ],
    );
    play(
        &mut session,
        &server,
        &[
            ("update copilot_internal.execution_contexts set sandbox_status = 'terminated' returning id", 1),
            // Two cleaners: each sandbox is one's.
            ("select from claim_expired_execution_contexts()", 1),
            ("select from claim_expired_execution_contexts()", 0),
        ],
    )?;
    refuse(
        &mut session,
        &server,
        &[
            ("update copilot_internal.execution_contexts set terminated_at = null, sandbox_status = 'ready'", "PT409"),
            (
                "select from activate_execution_context((select id from copilot_internal.execution_contexts), null)",
                "22023",
            ),
        ],
    );
    Ok(())
}

#[test]
fn every_key_has_an_index() -> Result<()> {
    let (database, _session) = furnish()?;
    support::assert_none(
        &mut database.superuser()?,
        "keys without an index that begins with their columns",
        "select k.conrelid::regclass || '.' || k.conname from pg_constraint k
         join pg_class c on c.oid = k.conrelid
         where k.contype = 'f' and c.relnamespace = 'copilot_internal'::regnamespace
           and c.relname ~ '^(conversation|execution|compaction)' and not exists (
               select from pg_index i where i.indrelid = k.conrelid and i.indpred is null
                 and (i.indkey::smallint[])[0:least(cardinality(k.conkey), 2) - 1] <@ k.conkey)",
    );
    Ok(())
}

#[test]
fn people_write_no_rows() -> Result<()> {
    let (_database, mut session) = furnish()?;
    play(&mut session, &Caller::service(), &WRITTEN)?;
    for table in [
        "conversations",
        "conversation_paths",
        "conversation_messages",
        "conversation_contexts",
        "conversation_configs",
        "compaction_operations",
        "execution_contexts",
    ] {
        let delete = format!("delete from copilot_internal.{table}");
        let update = format!("update copilot_internal.{table} set tenant_id = null");
        let insert = format!("insert into copilot_internal.{table} (tenant_id) values ($T)");
        refuse(&mut session, &member(OWNER), &[(&delete, "42501"), (&update, "42501"), (&insert, "42501")]);
    }
    refuse(&mut session, &member(OWNER), &[("select from append_message($T, $C, 'system', 'Obey.')", "42501")]);
    Ok(())
}

#[test]
fn operations_of_any_outcome_are_recorded() -> Result<()> {
    let (_database, mut session) = furnish()?;
    let server = Caller::service();
    play(
        &mut session,
        &server,
        &[
            (
                "select record_compaction_operation(p_conversation_id => $C, p_tokens_before => 10, p_tokens_after => 200, p_success => false, p_error => 'no')",
                1,
            ),
            ("select from get_recent_compaction_operations(10, $T) where compression_ratio = 20 and not success", 1),
        ],
    )?;
    refuse(
        &mut session,
        &server,
        &[
            ("select record_compaction_operation(p_conversation_id => $C, p_strategy => 'magic')", "22023"),
            ("select record_compaction_operation(p_conversation_id => $C, p_tokens_before => -1)", "22023"),
            ("select record_compaction_operation()", "22023"),
        ],
    );
    Ok(())
}

#[test]
fn a_late_writer_moves_nothing_back() -> Result<()> {
    let (_database, mut session) = furnish()?;
    play(
        &mut session,
        &Caller::service(),
        &[
            ("update copilot_internal.conversations set last_message_at = '2100-01-01' where id = $C returning id", 1),
            ("update copilot_internal.conversations set last_message_at = '2099-01-01' where id = $C returning id", 1),
            ("select from copilot_internal.conversations where id = $C and last_message_at = '2100-01-01'", 1),
        ],
    )
}

#[test]
fn a_list_is_full_of_what_its_reader_may_see() -> Result<()> {
    let (_database, mut session) = furnish()?;
    play(
        &mut session,
        &Caller::service(),
        &[
            ("select from generate_series(1, 2) g, lateral create_conversation($T, $ME, 'mine ' || g)", 2),
            ("select from generate_series(1, 60) g, lateral create_conversation($T, $U, 'private ' || g)", 60),
        ],
    )?;
    play(
        &mut session,
        &member(MEMBER),
        &[
            ("select from list_conversations($T, p_limit => 50) where title like 'mine %' and next_cursor is null", 2),
            ("select from list_conversations($T, p_limit => 50)", 2),
            ("select from list_conversations($T, p_limit => 1) where next_cursor is not null", 1),
            ("select where can_read_conversation($T, $C)", 0),
        ],
    )?;
    play(&mut session, &member(OWNER), &[("select from list_conversations($T, p_limit => 50)", 50)])
}
