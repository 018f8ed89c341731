//! What a caller may do with a conversation, and what is done so often that it is not left to SQL: a plain append, and a
//! page of the history. All else about conversations is SQL, in `sql/conversations/`.

pub mod append;
pub mod page;

use pgrx::Uuid;

use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::identity::Caller;
use crate::pg::spi::types::UUID;
use crate::pg::spi::{self, Plan, Snapshot, columns};
use crate::tenancy::access::{self, Role};

const CONVERSATION: &str = "
    select c.user_id, c.effective_audience as audience, c.tenant_access = 'edit' as is_editable,
           c.erasing_at is not null as is_erasing,
           c.erasing_at is null and c.archived_at is null
               and (c.expires_at is null or c.expires_at > pg_catalog.clock_timestamp()) as is_open,
           c.active_path_id, c.last_message_at
    from copilot_internal.conversations c
    where c.id = $1 and c.tenant_id = $2";

columns! {
    ConversationColumn(user_id, audience, is_editable, is_erasing, is_open, active_path_id, last_message_at)
}

static CONVERSATION_PLAN: Plan = Plan::new(CONVERSATION, &[UUID, UUID]);

/// Whether the second extension is there.
const STORED: &str = "select pg_catalog.to_regclass('copilot_internal.conversations') is not null";

static STORED_PLAN: Plan = Plan::new(STORED, &[]);

/// What one may want to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    Read,
    /// Delete what one wrote oneself.
    Author,
    /// Append, pin, branch, merge.
    Write,
    /// Share, rename, revert.
    Manage,
    Archive,
    Erase,
}

impl Right {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => Some(Self::Read),
            "author" => Some(Self::Author),
            "write" => Some(Self::Write),
            "manage" => Some(Self::Manage),
            "archive" => Some(Self::Archive),
            "erase" => Some(Self::Erase),
            _ => None,
        }
    }
}

/// The same words for what does not exist and for what the caller may not see.
fn unknown() -> Error {
    Error::NotFound { message: "there is no such conversation".to_owned() }
}

fn refused() -> Error {
    Error::forbidden("you may read this conversation and not do this with it")
}

/// Who a conversation is for.
#[derive(Clone, Debug)]
struct Audience {
    owner: Option<Uuid>,
    is_private: bool,
    /// For members of the tenant who may also write.
    is_editable: bool,
    /// It is hidden, and what is left of it goes.
    is_erasing: bool,
}

/// A conversation as it is at this moment.
struct Conversation {
    audience: Audience,
    /// It takes changes.
    is_open: bool,
    active_path: Option<Uuid>,
    last_message_at: Option<Timestamp>,
}

/// Checks that a member of the tenant may do this.
fn check(user: Uuid, role: Role, audience: &Audience, right: Right) -> Result<()> {
    let is_own = audience.owner == Some(user);
    if !is_own && audience.is_private {
        // By its id, and without reading it.
        let may = role.is_admin() && matches!(right, Right::Archive | Right::Erase);
        return if may { Ok(()) } else { Err(unknown()) };
    }
    let may = match right {
        Right::Read => true,
        Right::Author => role > Role::Viewer,
        Right::Write => role > Role::Viewer && (is_own || audience.is_editable),
        Right::Manage | Right::Archive | Right::Erase => role.is_admin() || is_own && role > Role::Viewer,
    };
    if may { Ok(()) } else { Err(refused()) }
}

/// The user on whose behalf the caller acts: themselves, or the one that the server names. The server alone may name none.
fn acting(caller: &Caller, user: Option<Uuid>) -> Result<Option<Uuid>> {
    if caller.serves_all_tenants() {
        return Ok(user);
    }
    let subject = caller.subject();
    if user.is_some() && user != subject {
        return Err(Error::forbidden("you may act for yourself only"));
    }
    match subject {
        Some(_) => Ok(subject),
        None => Err(access::not_a_member()),
    }
}

/// Checks that the caller, or the user that the server names, may do this in the tenant. Gives the user.
pub fn authorise_in_tenant(caller: &Caller, tenant: Uuid, user: Option<Uuid>, right: Right) -> Result<Option<Uuid>> {
    let acting = acting(caller, user)?;
    if let Some(user) = acting {
        let role = access::role(tenant, user)?.ok_or_else(access::not_a_member)?;
        if right != Right::Read && role == Role::Viewer {
            return Err(Error::forbidden("a viewer may only read"));
        }
    }
    Ok(acting)
}

/// Checks that the caller, or the user that the server names, may do this with the conversation. Gives the user.
pub fn authorise(
    caller: &Caller,
    tenant: Uuid,
    conversation: Uuid,
    user: Option<Uuid>,
    right: Right,
) -> Result<Option<Uuid>> {
    authorised(caller, tenant, conversation, user, right).map(|(acting, _)| acting)
}

/// The same, with the conversation.
fn authorised(
    caller: &Caller,
    tenant: Uuid,
    conversation: Uuid,
    user: Option<Uuid>,
    right: Right,
) -> Result<(Option<Uuid>, Conversation)> {
    let acting = match acting(caller, user) {
        Err(_) if user.is_none() => return Err(unknown()),
        acting => acting?,
    };
    // Looked up before the conversation, so that strangers learn nothing of it.
    let role = acting.map(|user| access::role(tenant, user)?.ok_or_else(unknown)).transpose()?;
    let found = read(tenant, conversation)?.ok_or_else(unknown)?;
    let audience = &found.audience;
    if audience.is_erasing && right == Right::Read {
        return Err(unknown());
    }
    if let (Some(user), Some(role)) = (acting, role) {
        check(user, role, audience, right)?;
    }
    Ok((acting, found))
}

/// Whether the caller may know what a conversation cost. A plain member may where they may read it; where conversations are
/// not stored, nothing says that one is private.
pub fn sees_costs(caller: &Caller, tenant: Uuid, conversation: Uuid) -> Result<bool> {
    if caller.reads_all_metrics() {
        return Ok(true);
    }
    let Some(user) = caller.subject() else { return Ok(false) };
    let Some(role) = access::role(tenant, user)? else { return Ok(false) };
    if role.is_admin() || !are_stored()? {
        return Ok(true);
    }
    let audience = read(tenant, conversation)?.map(|found| found.audience);
    Ok(audience.is_some_and(|it| !it.is_erasing && check(user, role, &it, Right::Read).is_ok()))
}

fn are_stored() -> Result<bool> {
    spi::session(|spi| {
        let rows = spi.run(&STORED_PLAN, Snapshot::Latest, &[])?;
        rows.first().map_or(Ok(false), |row| row.need(1))
    })
}

/// What others have committed counts at once, as it does for memberships.
fn read(tenant: Uuid, conversation: Uuid) -> Result<Option<Conversation>> {
    spi::session(|spi| {
        let rows = spi.run(&CONVERSATION_PLAN, Snapshot::Latest, &[conversation.into(), tenant.into()])?;
        let found = |row: spi::Row| {
            let shared_with: String = row.need(ConversationColumn::audience)?;
            let is_editable: bool = row.need(ConversationColumn::is_editable)?;
            let audience = Audience {
                owner: row.get(ConversationColumn::user_id),
                is_private: shared_with == "private",
                is_editable: shared_with == "tenant" && is_editable,
                is_erasing: row.need(ConversationColumn::is_erasing)?,
            };
            Ok(Conversation {
                audience,
                is_open: row.need(ConversationColumn::is_open)?,
                active_path: row.get(ConversationColumn::active_path_id),
                last_message_at: row.get(ConversationColumn::last_message_at),
            })
        };
        rows.first().map(found).transpose()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Right; 6] = [Right::Read, Right::Author, Right::Write, Right::Manage, Right::Archive, Right::Erase];

    /// The rights that a user has, by their first letters; `U` for those to which the conversation is unknown.
    fn rights(role: Role, owner: Option<u8>, shared_with: &str, access: &str) -> String {
        let id = |byte| Uuid::from_bytes([byte; 16]);
        let audience = Audience {
            owner: owner.map(id),
            is_private: shared_with == "private",
            is_editable: shared_with == "tenant" && access == "edit",
            is_erasing: false,
        };
        let letter = |right| match check(id(1), role, &audience, right) {
            Ok(()) => format!("{right:?}").remove(0).to_string(),
            Err(Error::NotFound { .. }) => "U".to_owned(),
            Err(_) => String::new(),
        };
        // Author and Archive share a letter.
        ALL.map(letter).concat().replacen("RA", "Ra", 1)
    }

    #[test]
    fn rights_are_those_of_the_contract() {
        for (role, expected) in [
            (Role::Viewer, ["R", "R", "R", "R", "UUUUUU", "UUUUUU"]),
            (Role::Member, ["RaWMAE", "Ra", "RaW", "Ra", "UUUUUU", "UUUUUU"]),
            (Role::Admin, ["RaWMAE", "RaMAE", "RaWMAE", "RaMAE", "UUUUAE", "UUUUAE"]),
            (Role::Owner, ["RaWMAE", "RaMAE", "RaWMAE", "RaMAE", "UUUUAE", "UUUUAE"]),
        ] {
            let seen = [
                rights(role, Some(1), "private", "view"),
                rights(role, Some(2), "tenant", "view"),
                rights(role, Some(2), "tenant", "edit"),
                rights(role, Some(2), "public", "edit"),
                rights(role, Some(2), "private", "edit"),
                rights(role, None, "private", "view"),
            ];
            assert_eq!(seen, expected, "{role:?}");
            assert_eq!(rights(role, None, "tenant", "edit"), expected[2], "{role:?}, without an owner");
        }
    }
}
