//! What the second extension, `pg_tollgate_conversations`, needs of the library, and what the first asks about it.

use pgrx::{Uuid, pg_extern, pg_sys};

use super::require_service_role_to;
use crate::arguments;
use crate::conversations::{self, Right};
use crate::error::{Error, Result};
use crate::pg::call::{Call, signatures};
use crate::pg::identity::{ActAsOwner, Caller};
use crate::pg::library::CONVERSATIONS;
use crate::pg::lock::{LockTarget, Strength};
use crate::pg::{lock, new_id};

signatures! {
    ConversationAccess = access | can_access(p_tenant_id, p_conversation_id, p_user_id, p_right);
    ConversationCosts = caller_sees_costs_of(p_tenant_id, p_conversation_id);
}

/// These functions are called by SECURITY DEFINER functions, so the role outside of them is who calls.
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
