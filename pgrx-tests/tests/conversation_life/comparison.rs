//! What the database shows of each path, as text, and what the model says it must show.

use anyhow::Result;
use postgres::Client;
use uuid::Uuid;

use crate::model::{Chat, PathNumber, Shown};
use crate::support::id;
use crate::{TENANT, support};

/// Of every path of a conversation: history, context, pins, ancestors and numbers, one line each.
const PATHS: &str = "
    select p.id, concat_ws(E'\\n',
        (select string_agg(format('history %s %s/%s %s %s %s %s', h.id, h.effective_sequence, h.sequence_in_path, h.role,
                                  h.is_pinned, h.finished_at is not null, h.content), E'\\n' order by h.effective_sequence)
         from public.get_path_messages($1, p.id, 1000) h),
        (select string_agg(format('context %s %s %s %s %s %s', coalesce(c.message_id, c.operation_id), c.effective_sequence,
                                  c.role, c.operation_id is not null, c.truncated, c.content), E'\\n' order by c.place)
         from public.get_path_context($1, p.id, $3, $4) with ordinality
              c (kind, message_id, role, content, parts, token_count, effective_sequence, is_pinned, operation_id,
                 truncated, removal_count, place)),
        (select string_agg(format('pinned %s %s', g.message_id, g.effective_sequence), E'\\n' order by g.effective_sequence)
         from public.get_pinned_messages($1, p.conversation_id, p.id) g),
        (select string_agg(format('ancestor %s %s', a.path_id, a.depth), E'\\n' order by a.depth desc)
         from public.get_path_ancestors(p.id) a),
        format('numbers %s %s', p.inherited_count, p.last_sequence))
    from copilot_internal.conversation_paths p
    where p.tenant_id = $1 and p.conversation_id = $2 and p.id = any ($5)";

/// How much of a path a model is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages: i32,
    pub tokens: Option<i64>,
}

/// What a path must show.
fn expected(chat: &Chat, path: PathNumber, limits: Limits) -> (Vec<String>, bool) {
    let this = &chat.paths[path];
    let sequence = |position: usize, number: usize| {
        let owner = &chat.paths[chat.messages[number].owner];
        format!("{position}/{}", position - owner.inherited)
    };
    let mut lines = Vec::new();
    for (position, number) in chat.history(path, false) {
        let message = &chat.messages[number];
        lines.push(format!(
            "history {} {} {} {} {} {}",
            message.id,
            sequence(position, number),
            message.role.name(),
            letter(message.is_pinned),
            letter(message.is_finished),
            message.content
        ));
    }
    let context = chat.context(path, limits.messages as usize, limits.tokens);
    let through = context.operation.map_or(0, |number| chat.operations[number].through);
    let cut = letter(context.is_cut);
    for shown in &context.shown {
        lines.push(match shown {
            Shown::Summary(number) => {
                let operation = &chat.operations[*number];
                format!("context {} {through} user t {cut} {}", operation.id, operation.summary)
            }
            Shown::Message { number, position } => {
                let message = &chat.messages[*number];
                let is_covered = letter(*position <= through);
                format!(
                    "context {} {position} {} {is_covered} {cut} {}",
                    message.id,
                    message.role.name(),
                    message.content
                )
            }
        });
    }
    for (position, number) in chat.history(path, false) {
        if chat.messages[number].is_pinned {
            lines.push(format!("pinned {} {position}", chat.messages[number].id));
        }
    }
    let lineage = chat.lineage(path);
    for (index, (ancestor, _)) in lineage.iter().enumerate() {
        lines.push(format!("ancestor {} {}", chat.paths[*ancestor].id, lineage.len() - 1 - index));
    }
    lines.push(format!("numbers {} {}", this.inherited, this.list.len() - this.inherited));
    (lines, context.is_cut)
}

fn letter(yes: bool) -> &'static str {
    if yes { "t" } else { "f" }
}

/// Compares these paths; whether some context was cut.
pub fn compare(client: &mut Client, chat: &Chat, paths: &[PathNumber], limits: Limits) -> Result<bool> {
    let ids: Vec<Uuid> = paths.iter().map(|path| chat.paths[*path].id).collect();
    let rows = client.query(PATHS, &[&id(TENANT), &chat.id, &limits.messages, &limits.tokens, &ids])?;
    let mut was_cut = false;
    for path in paths.iter().copied() {
        let (expected, is_cut) = expected(chat, path, limits);
        was_cut |= is_cut;
        let row = rows.iter().find(|row| row.get::<_, Uuid>(0) == chat.paths[path].id);
        let found: String = row.map(|row| row.get(1)).unwrap_or_default();
        let found: Vec<&str> = found.lines().collect();
        if found != expected {
            let only = |these: &[String], those: &[String]| -> String {
                these.iter().filter(|line| !those.contains(line)).map(|line| format!("\n  {line}")).collect()
            };
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            anyhow::bail!(
                "path {path} ({}) with {limits:?}\nonly in the database:{}\nonly in the model:{}",
                chat.paths[path].id,
                only(&found, &expected),
                only(&expected, &found)
            );
        }
    }
    Ok(was_cut)
}

/// What is not the model's to say: counters, order of moments, what operations cover.
pub fn verify(client: &mut Client) -> Result<()> {
    let sql = "select format('%s of %s: %s, and it says %s', check_name, id, expected, actual)
               from public.verify_conversations()";
    let found = support::texts(client, sql, &[])?;
    anyhow::ensure!(found.is_empty(), "verify_conversations() finds:\n  {}", found.join("\n  "));
    Ok(())
}
