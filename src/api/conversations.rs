//! What the second extension, `pg_tollgate_conversations`, needs of the library, and what the first asks about it.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::require_service_role_to;
use crate::arguments;
use crate::conversations::append::{Message, append};
use crate::conversations::page::{self, Asked};
use crate::conversations::{self, Right};
use crate::error::{Error, Result};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::identity::{ActAsOwner, Caller};
use crate::pg::library::CONVERSATIONS;
use crate::pg::lock::{LockTarget, Strength};
use crate::pg::value::Value;
use crate::pg::{lock, new_id};

signatures! {
    ConversationAccess = access | can_access(p_tenant_id, p_conversation_id, p_user_id, p_right);
    ConversationCosts = caller_sees_costs_of(p_tenant_id, p_conversation_id);
    ResolvePathMessages = resolve_path_messages(p_path_id, p_limit, p_before);
    GetPathMessages =
        get_path_messages(p_tenant_id, p_path_id, p_limit, p_before, p_after, p_include_deleted, p_user_id);
    AppendPlainMessage = append_plain_message(
        p_tenant_id,
        p_conversation_id,
        p_role,
        p_content,
        p_user_id,
        p_path_id,
        p_parts,
        p_metadata,
        p_message_type,
        p_token_count,
        p_expected_last_message_id,
        p_request_id,
        p_trace_id,
        p_root_span_name,
        p_root_span_id,
        p_draft
    );
}

/// Some of these functions are called by SECURITY DEFINER functions, so the role outside of all is who calls.
fn authorised(call: Call<ConversationAccess>) -> Result<Option<Uuid>> {
    use ConversationAccess::*;

    CONVERSATIONS.require_own_version()?;
    let caller = Caller::outer();
    let tenant = arguments::tenant(call.uuid(p_tenant_id))?;
    let user = arguments::id(call.uuid(p_user_id), "p_user_id")?;
    let right = arguments::required(call.text(p_right), "p_right")?;
    let right = Right::parse(&right).ok_or_else(|| Error::internal("there is no such right"))?;
    match call.uuid(p_conversation_id) {
        Some(conversation) => conversations::authorise(&caller, tenant, conversation, user, right),
        None => conversations::authorise_in_tenant(&caller, tenant, user, right),
    }
}

#[pg_extern(sql = false)]
fn access(fcinfo: pg_sys::FunctionCallInfo) -> Option<Uuid> {
    let call = Call::<ConversationAccess>::new(fcinfo);
    call.kernel(|_| authorised(call))
}

#[pg_extern(sql = false)]
fn can_access(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let call = Call::<ConversationAccess>::new(fcinfo);
    if [ConversationAccess::p_tenant_id, ConversationAccess::p_conversation_id]
        .into_iter()
        .any(|id| call.uuid(id).is_none())
    {
        return false;
    }
    let _owner = ActAsOwner::of_function(fcinfo);
    match authorised(call) {
        Ok(_) => true,
        Err(error @ (Error::Internal { .. } | Error::OtherVersion { .. })) => error.raise(),
        Err(_) => false,
    }
}

/// Called for each row that a policy or a view looks at.
#[pg_extern(sql = false)]
fn caller_sees_costs_of(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    use ConversationCosts::*;

    let call = Call::<ConversationCosts>::new(fcinfo);
    let (Some(tenant), Some(conversation)) = (call.uuid(p_tenant_id), call.uuid(p_conversation_id)) else {
        return Caller::current().reads_all_metrics();
    };
    call.kernel(|caller| conversations::sees_costs(caller, tenant, conversation))
}

#[pg_extern(sql = false)]
fn caller_serves_all() -> bool {
    CONVERSATIONS.require_own_version().unwrap_or_else(|error| error.raise());
    Caller::outer().serves_all_tenants()
}

#[pg_extern(sql = false)]
fn try_path_lock(tenant: Uuid, path: Uuid) -> bool {
    require_service_role_to(&Caller::current(), "make a sandbox").unwrap_or_else(|error| error.raise());
    LockTarget::Path(lock::key(tenant), lock::key(path)).try_lock(Strength::Exclusive)
}

#[pg_extern(sql = false, name = "new_id")]
fn give_new_id() -> Uuid {
    new_id()
}

#[pg_extern(sql = false)]
fn resolve_path_messages(fcinfo: pg_sys::FunctionCallInfo) {
    use ResolvePathMessages::*;

    let call = Call::<ResolvePathMessages>::new(fcinfo);
    call.kernel(|_| {
        CONVERSATIONS.require_own_version()?;
        let asked = Asked {
            tenant: None,
            path: call.uuid(p_path_id),
            user: None,
            limit: call.integer(p_limit),
            before: call.integer(p_before),
            after: None,
            with_deleted: false,
        };
        page::read(&Caller::outer(), &page::RESOLVE_PATH_MESSAGES, &asked, &call.row_set())
    });
}

#[pg_extern(sql = false)]
fn get_path_messages(fcinfo: pg_sys::FunctionCallInfo) {
    use GetPathMessages::*;

    let call = Call::<GetPathMessages>::new(fcinfo);
    call.kernel(|_| {
        CONVERSATIONS.require_own_version()?;
        let (tenant, with_deleted) = (call.uuid(p_tenant_id), call.boolean(p_include_deleted));
        let (Some(tenant), Some(with_deleted)) = (tenant, with_deleted) else {
            return Err(Error::invalid("p_tenant_id and p_include_deleted must not be NULL"));
        };
        let asked = Asked {
            tenant: Some(tenant),
            path: call.uuid(p_path_id),
            user: call.uuid(p_user_id),
            limit: call.integer(p_limit),
            before: call.integer(p_before),
            after: call.integer(p_after),
            with_deleted,
        };
        page::read(&Caller::outer(), &page::GET_PATH_MESSAGES, &asked, &call.row_set())
    });
}

/// What has all that a plain message has.
fn message(call: Call<AppendPlainMessage>) -> Option<Message> {
    use AppendPlainMessage::*;

    if call.raw(p_expected_last_message_id).is_some() {
        return None;
    }
    Some(Message {
        tenant: call.uuid(p_tenant_id)?,
        conversation: call.uuid(p_conversation_id)?,
        path: call.uuid(p_path_id),
        user: call.uuid(p_user_id),
        role: call.text(p_role)?,
        kind: call.text(p_message_type)?,
        content: call.value(p_content),
        parts: call.jsonb(p_parts),
        metadata: call.jsonb(p_metadata)?,
        token_count: call.integer(p_token_count),
        request_id: call.text(p_request_id),
        trace: [p_trace_id, p_root_span_name, p_root_span_id].map(|argument| call.text(argument)),
        is_draft: call.boolean(p_draft)?,
    })
}

/// NULL where the message is none that is appended here.
#[pg_extern(sql = false)]
fn append_plain_message(fcinfo: pg_sys::FunctionCallInfo) -> Option<Reply> {
    let call = Call::<AppendPlainMessage>::new(fcinfo);
    call.kernel(|_| {
        CONVERSATIONS.require_own_version()?;
        let Some(message) = message(call) else { return Ok(None) };
        let place = append(&Caller::outer(), &message)?;
        Ok(place.map(|place| {
            call.row(&[
                place.id.into(),
                place.path.into(),
                place.sequence.into(),
                place.effective.into(),
                Value::timestamp(place.created_at),
                false.into(),
            ])
        }))
    })
}
