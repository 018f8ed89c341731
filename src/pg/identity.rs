//! The caller, and the switch to the owner's rights for what a kernel does on the caller's behalf.
//!
//! The caller is the role that invoked the function, never a claim. A role that has `service_role` (or is a superuser)
//! acts for every tenant. Any other is a user only if it has `authenticated`. Then the `sub` of the verified JWT names
//! the user, and memberships say of which tenants. `user_metadata` is written by the user and never read.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::{Uuid, pg_sys};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tollgate_core::json::Exact;

use super::invalidation::roles_generation;
use super::library;

/// Claims longer than this are not read: no issuer writes them, and parsing is work that a caller should not order.
const MAX_CLAIMS_BYTES: usize = 64 * 1024;

/// The role that invoked the running function, with what it may do.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    serves_all_tenants: bool,
    reads_all_metrics: bool,
    is_person: bool,
}

/// The role that owns everything that the extension has made, and as which kernels reach the tables. It has no other right.
const OWNER: &CStr = c"tollgate_owner";

/// What a person's verified claims say. A claim of another shape says nothing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Claims {
    #[serde(rename = "sub", deserialize_with = "uuid")]
    subject: Option<Uuid>,
    #[serde(rename = "app_metadata", deserialize_with = "tenant")]
    tenant: Option<Uuid>,
    #[serde(deserialize_with = "text")]
    email: Option<String>,
}

fn uuid<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<Uuid>, D::Error> {
    Ok(Exact::deserialize(claim)?.0.as_str().and_then(parse_uuid))
}

fn tenant<'de, D: Deserializer<'de>>(metadata: D) -> Result<Option<Uuid>, D::Error> {
    Ok(Exact::deserialize(metadata)?.0.get("tenant_id").and_then(Value::as_str).and_then(parse_uuid))
}

fn text<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<String>, D::Error> {
    Ok(Exact::deserialize(claim)?.0.as_str().map(str::to_owned))
}

thread_local! {
    /// The role that was last asked about, until a role or a membership of one changes.
    static LATEST: Cell<Option<(u64, pg_sys::Oid, Caller)>> = const { Cell::new(None) };
    /// The claims that were last read, with their text: they are the same only when every byte is.
    static READ: RefCell<(Vec<u8>, Claims)> = RefCell::default();
}

impl Caller {
    pub fn current() -> Self {
        // SAFETY: reads the backend's current user.
        Self::of_role(unsafe { pg_sys::GetUserId() })
    }

    /// The role outside of all SECURITY DEFINER functions: who called the one of ours that is running.
    pub fn outer() -> Self {
        // SAFETY: reads the backend's user as SET ROLE or the session has it.
        Self::of_role(unsafe { pg_sys::GetOuterUserId() })
    }

    fn of_role(role: pg_sys::Oid) -> Self {
        match LATEST.get() {
            Some((known_in, known, caller)) if known == role && known_in == roles_generation() => caller,
            _ => {
                let asked_in = roles_generation();
                let serves_all_tenants = has_role(role, c"service_role") || has_role(role, OWNER);
                let caller = Self {
                    serves_all_tenants,
                    reads_all_metrics: serves_all_tenants
                        || has_role(role, c"metrics_reader")
                        || passes_by_row_security(role),
                    // In a SECURITY DEFINER function of ours the claims are those of the request.
                    is_person: has_role(role, c"authenticated") || has_role(role, OWNER),
                };
                LATEST.set(Some((asked_in, role, caller)));
                caller
            }
        }
    }

    /// May act for and see every tenant. Superusers have every role's rights.
    pub fn serves_all_tenants(self) -> bool {
        self.serves_all_tenants
    }

    /// May read the figures of all tenants through the views, if its grants let it read these at all.
    pub fn reads_all_metrics(self) -> bool {
        self.reads_all_metrics
    }

    /// The user that the verified claims name, for a role that has `authenticated` and for no other.
    pub fn subject(self) -> Option<Uuid> {
        self.claim(|claims| claims.subject)
    }

    /// The tenant that the token was issued for; a wish until a membership confirms it.
    pub fn claimed_tenant(self) -> Option<Uuid> {
        self.claim(|claims| claims.tenant)
    }

    /// The e-mail address that the claims give the subject.
    pub fn claimed_email(self) -> Option<String> {
        self.subject()?;
        self.claim(|claims| claims.email.clone())
    }

    fn claim<T>(self, of: impl FnOnce(&Claims) -> Option<T>) -> Option<T> {
        if !self.is_person {
            return None;
        }
        let claim = |text: &[u8]| {
            READ.with_borrow_mut(|(read, claims)| {
                if read != text {
                    *claims = Claims::read(text);
                    text.clone_into(read);
                }
                of(claims)
            })
        };
        with_claims(claim).flatten()
    }
}

/// Reads the text of the claims, where the setting is known.
fn with_claims<T>(read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    // SAFETY: a missing setting gives a null pointer; the text is read before anything can change it.
    unsafe {
        let setting = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
        (!setting.is_null()).then(|| read(CStr::from_ptr(setting).to_bytes()))
    }
}

impl Claims {
    /// A reused session leaves an empty text, and a malformed one names no user.
    fn read(text: &[u8]) -> Self {
        // A derived reader takes a list of its fields as well.
        if text.len() > MAX_CLAIMS_BYTES || !text.trim_ascii_start().starts_with(b"{") {
            return Self::default();
        }
        serde_json::from_slice(text).unwrap_or_default()
    }
}

fn has_role(role: pg_sys::Oid, name: &CStr) -> bool {
    // SAFETY: both look roles up in the catalog cache; a missing role is InvalidOid.
    unsafe {
        let wanted = pg_sys::get_role_oid(name.as_ptr(), true);
        wanted != pg_sys::InvalidOid && pg_sys::has_privs_of_role(role, wanted)
    }
}

/// Such a role is shown every row of a table that it may read, so that a view hides nothing from it.
fn passes_by_row_security(role: pg_sys::Oid) -> bool {
    // SAFETY: looks the role up in the catalog cache.
    unsafe { pg_sys::has_bypassrls_privilege(role) }
}

/// The hyphenated form of a UUID and nothing else.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0u8; 16];
    let mut digits = 0usize;
    for (place, byte) in text.iter().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16)? as u8;
        bytes[digits / 2] = (bytes[digits / 2] << 4) | digit;
        digits += 1;
    }
    Some(Uuid::from_bytes(bytes))
}

/// The hyphenated form, in lower case.
pub fn print_uuid(id: Uuid) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (place, byte) in id.as_bytes().iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
    text
}

/// While it lives, the backend has the rights of the function's owner, which all kernels need to reach tables. It is refused
/// where these are of another version than the library. An ERROR restores the caller's rights with the
/// (sub)transaction; any other way out restores them here.
pub struct ActAsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl ActAsOwner {
    pub fn of_function(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        library::require_own_version();
        // SAFETY: fcinfo is that of the running call, made through the function manager, so flinfo is set. The local
        // change forbids SET ROLE and friends until it is undone, as in a SECURITY DEFINER function.
        unsafe {
            let function = (*(*fcinfo).flinfo).fn_oid;
            let mut saved = Self { user: pg_sys::InvalidOid, context: 0 };
            pg_sys::GetUserIdAndSecContext(&raw mut saved.user, &raw mut saved.context);
            if let Some(function) = PgProc::new(function) {
                pg_sys::SetUserIdAndSecContext(
                    function.proowner(),
                    saved.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE.cast_signed(),
                );
            }
            saved
        }
    }
}

/// While it lives, the backend has the rights of a role, and cannot take on another.
pub struct ActAs {
    _saved: ActAsOwner,
}

impl ActAs {
    pub fn role(role: pg_sys::Oid) -> Self {
        let mut saved = ActAsOwner { user: pg_sys::InvalidOid, context: 0 };
        // SAFETY: saves and sets the backend's user, as `ActAsOwner` does.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&raw mut saved.user, &raw mut saved.context);
            pg_sys::SetUserIdAndSecContext(role, saved.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE.cast_signed());
        }
        Self { _saved: saved }
    }
}

impl Drop for ActAsOwner {
    fn drop(&mut self) {
        // SAFETY: gives back exactly what was found; setting the user never fails.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "b0000000-0000-4000-8000-000000000001";

    #[test]
    fn a_claim_of_another_shape_says_nothing_and_the_others_are_read() {
        let id = parse_uuid(ID);
        let told = |text: &str| {
            let claims = Claims::read(text.as_bytes());
            (claims.subject == id, claims.tenant == id, claims.email.is_some())
        };
        for (text, expected) in [
            (
                format!(r#" {{"sub":"{ID}","app_metadata":{{"tenant_id":"{ID}"}},"email":"a@b.c","aud":[1.5]}}"#),
                (true, true, true),
            ),
            (format!(r#"{{"sub":7,"app_metadata":{{"tenant_id":"{ID}"}},"email":null}}"#), (false, true, false)),
            (format!(r#"{{"sub":"{ID}","app_metadata":"{ID}","email":{{}}}}"#), (true, false, false)),
            (format!(r#"{{"sub":"{ID}","user_metadata":{{"tenant_id":"{ID}"}}}}"#), (true, false, false)),
            (format!(r#"{{"sub":"{ID}","sub":"{ID}"}}"#), (false, false, false)),
            (format!(r#"["{ID}","{ID}","{ID}"]"#), (false, false, false)),
            (format!(r#"{{"sub":"{ID}""#), (false, false, false)),
            (format!(r#"{{"sub":"{ID}"}} x"#), (false, false, false)),
            (String::new(), (false, false, false)),
        ] {
            assert_eq!(told(&text), expected, "{text}");
        }
    }

    fn any_claims() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            Just(Value::from(ID)),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let key = proptest::sample::select(&["sub", "app_metadata", "tenant_id", "email", "role"][..]);
            prop_oneof![
                1 => proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                4 => proptest::collection::vec((key.prop_map(str::to_owned), inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the setting holds; and of JSON, what a reader of trees finds.
        #[test]
        fn any_claims_are_read_or_name_no_user(bytes in any::<Vec<u8>>(), claims in any_claims(), cut in 0..60_usize) {
            let _ = Claims::read(&bytes);
            let text = claims.to_string();
            let _ = Claims::read(text.as_bytes().get(..cut).unwrap_or_default());
            let id = |claim: Option<&Value>| claim.and_then(Value::as_str).and_then(parse_uuid);
            let expected = Claims {
                subject: id(claims.get("sub")),
                tenant: id(claims.get("app_metadata").and_then(|metadata| metadata.get("tenant_id"))),
                email: claims.get("email").and_then(Value::as_str).map(str::to_owned),
            };
            prop_assert_eq!(Claims::read(text.as_bytes()), expected);
        }
    }
}
