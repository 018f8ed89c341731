//! Appending one message, in the plain case: a message without a fault, to an open conversation, that is no retry.
//!
//! Anything else is left to `copilot_internal.append_message`, which has every rule and says what is wrong. SQL calls it,
//! for an SQLSTATE of ours gets lost on its way through Rust. Until then nothing was done but to lock the path, which it
//! does too.
//!
//! The path's row is locked by the statement that takes the next number, to the end of the transaction: numbers have no
//! gaps, and `created_at`, which that statement reads off the clock, does not fall. A request id is looked for under the
//! same lock, in a snapshot after it, so that a retry waits for its twin.

use pgrx::Uuid;

use super::{Conversation, Right, authorised};
use crate::arguments::OBJECT;
use crate::error::Result;
use crate::pg::identity::Caller;
use crate::pg::jsonb::Bounds;
use crate::pg::spi::types::{BOOL, INT, JSONB, MOMENT, TEXT, UUID};
use crate::pg::spi::{self, Plan, Session, Snapshot, columns};
use crate::pg::value::{GivenJson, Value, stored_bytes};
use crate::pg::{Timestamp, new_id, nil};

const LOCK: &str = "
    select true from copilot_internal.conversation_paths p
    where p.id = $1 and p.tenant_id = $2 and p.conversation_id = $3 for no key update";

static LOCK_PLAN: Plan = Plan::new(LOCK, &[UUID, UUID, UUID]);

const TWIN: &str = "
    select true from copilot_internal.conversation_messages m where m.tenant_id = $1 and m.request_id = $2";

static TWIN_PLAN: Plan = Plan::new(TWIN, &[UUID, TEXT]);

/// A path that takes no message gives no row. A key to the path is looked up by the statement itself.
const APPEND: &str = "
    with path as (
        update copilot_internal.conversation_paths p
        set last_sequence = p.last_sequence + 1, last_message_id = $1,
            last_message_at = greatest(pg_catalog.clock_timestamp(), p.last_message_at),
            open_message_count = p.open_message_count + 1,
            open_token_count = p.open_token_count + copilot_internal.tokens_of($9, $7, $8)
        where p.id = $4 and p.tenant_id = $3 and p.conversation_id = $2 and p.is_active and p.archived_at is null
          and p.last_sequence < 1000000
        returning p.last_sequence, p.inherited_count, p.last_message_at
    )
    insert into copilot_internal.conversation_messages as m
        (id, conversation_id, path_id, tenant_id, user_id, role, content, parts, token_count, metadata, message_type,
         request_id, trace_id, root_span_name, root_span_id, finished_at, sequence_in_path, created_at)
    select $1, $2, $4, $3, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
           case when not $16 then p.last_message_at end, p.last_sequence, p.last_message_at
    from path p
    returning m.sequence_in_path, m.created_at,
              m.sequence_in_path + (select p.inherited_count from path p) as effective_sequence";

columns! {
    Appended(sequence_in_path, created_at, effective_sequence)
}

static APPEND_PLAN: Plan = Plan::new(
    APPEND,
    &[UUID, UUID, UUID, UUID, UUID, TEXT, TEXT, JSONB, INT, JSONB, TEXT, TEXT, TEXT, TEXT, TEXT, BOOL],
);

static NOTE_PLAN: Plan = Plan::new("select copilot_internal.note_activity($1, $2, $3)", &[UUID, UUID, MOMENT]);

/// Most bytes of a message.
const CONTENT: usize = 1_048_576;
const PARTS: Bounds = Bounds { bytes: 4_194_304, depth: OBJECT.depth, number: OBJECT.number };
/// Most bytes of an id or a name that are certainly no more characters than there may be.
const LABEL: usize = 200;
/// A list of conversations shows when the last message came, as new as this.
const ACTIVITY: Timestamp = 1_000_000;

/// What is to be appended.
pub struct Message {
    pub tenant: Uuid,
    pub conversation: Uuid,
    pub path: Option<Uuid>,
    pub user: Option<Uuid>,
    pub role: String,
    pub kind: String,
    pub content: Value,
    pub parts: Option<GivenJson>,
    pub metadata: GivenJson,
    pub token_count: Option<i32>,
    pub request_id: Option<String>,
    /// Trace id, root span's name, root span's id.
    pub trace: [Option<String>; 3],
    pub is_draft: bool,
}

/// What the message has become.
pub struct Place {
    pub id: Uuid,
    pub path: Uuid,
    pub sequence: i32,
    pub effective: i32,
    pub created_at: Timestamp,
}

impl Message {
    /// Whether it is certainly none that would be refused for what it holds. `check_message` has the same rules; a golden
    /// file compares the two.
    fn is_plain(&self) -> bool {
        let is_role = matches!(&*self.role, "system" | "user" | "assistant" | "tool" | "developer");
        let is_kind = matches!(&*self.kind, "standard" | "merge_summary" | "branch_point" | "system");
        let label = |text: &Option<String>| text.as_ref().is_none_or(|text| (1..=LABEL).contains(&text.len()));
        is_role
            && is_kind
            && self.user != Some(nil())
            && self.token_count.is_none_or(|count| count >= 0)
            && stored_bytes(self.content).is_some_and(|bytes| bytes <= CONTENT)
            && label(&self.request_id)
            && self.trace.iter().all(label)
            && self.metadata.is_object_within(&OBJECT)
            && self.parts.as_ref().is_none_or(|parts| parts.is_within(&PARTS))
    }
}

/// Appends a plain message; `None` where it is left to SQL.
pub fn append(caller: &Caller, message: &Message) -> Result<Option<Place>> {
    let is_server = caller.serves_all_tenants();
    let is_servers = message.role != "user" || message.is_draft || matches!(&*message.kind, "merge_summary" | "system");
    if !message.is_plain() || is_servers && !is_server {
        return Ok(None);
    }
    // What the server writes for a user is the server's.
    let on_behalf = message.user.filter(|_| message.role == "user");
    let Ok((acting, conversation)) = authorised(caller, message.tenant, message.conversation, on_behalf, Right::Write)
    else {
        return Ok(None);
    };
    let author = if message.role == "user" { acting } else { message.user };
    match message.path.or(conversation.active_path) {
        Some(path) if conversation.is_open => write(message, path, author, &conversation),
        _ => Ok(None),
    }
}

fn write(message: &Message, path: Uuid, author: Option<Uuid>, conversation: &Conversation) -> Result<Option<Place>> {
    let place = spi::session(|spi| {
        if let Some(request_id) = &message.request_id {
            spi.run_write(&LOCK_PLAN, &[path.into(), message.tenant.into(), message.conversation.into()])?;
            let twins = spi.run(&TWIN_PLAN, Snapshot::Latest, &[message.tenant.into(), (&**request_id).into()])?;
            if twins.len() > 0 {
                return Ok(None);
            }
        }
        insert(spi, message, path, author)
    })?;
    let Some(place) = place else { return Ok(None) };
    if conversation.last_message_at.is_none_or(|last| last < place.created_at.saturating_sub(ACTIVITY)) {
        let at = Value::timestamp(place.created_at);
        spi::session_for_functions(|spi| {
            spi.run_write(&NOTE_PLAN, &[message.tenant.into(), message.conversation.into(), at]).map(|_| ())
        })?;
    }
    Ok(Some(place))
}

fn insert(spi: &Session, message: &Message, path: Uuid, author: Option<Uuid>) -> Result<Option<Place>> {
    let id = new_id();
    let text = |text: &Option<String>| text.as_deref().into();
    let [trace_id, span_name, span_id] = &message.trace;
    let rows = spi.run_write(
        &APPEND_PLAN,
        &[
            id.into(),
            message.conversation.into(),
            message.tenant.into(),
            path.into(),
            author.into(),
            (&*message.role).into(),
            message.content,
            message.parts.as_ref().map_or(Value::NULL, GivenJson::value),
            message.token_count.into(),
            message.metadata.value(),
            (&*message.kind).into(),
            text(&message.request_id),
            text(trace_id),
            text(span_name),
            text(span_id),
            message.is_draft.into(),
        ],
    )?;
    let place = |row: spi::Row| {
        Ok(Place {
            id,
            path,
            sequence: row.need(Appended::sequence_in_path)?,
            effective: row.need(Appended::effective_sequence)?,
            created_at: row.need(Appended::created_at)?,
        })
    };
    rows.first().map(place).transpose()
}
