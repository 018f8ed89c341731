//! Who calls, and the switch to the owner's rights for what a kernel does on the caller's behalf.
//!
//! The caller is the role that invoked the function, never a claim. A role that has `service_role` (or is a superuser)
//! acts for every tenant. Any other is a person only if it has `authenticated`: then the `sub` of the verified JWT says
//! who, and memberships say of which tenants. `user_metadata` is written by the user and never read.

use std::ffi::CStr;

use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::{Uuid, pg_sys};

/// Claims longer than this are not read: no issuer writes them, and parsing is work that a caller should not order.
const MAX_CLAIMS_BYTES: usize = 64 * 1024;

/// The role that invoked the running function.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    role: pg_sys::Oid,
}

impl Caller {
    pub fn current() -> Self {
        // SAFETY: reads the backend's current user.
        Self { role: unsafe { pg_sys::GetUserId() } }
    }

    fn has_role(self, name: &CStr) -> bool {
        // SAFETY: both look roles up in the catalog cache; a missing role is InvalidOid.
        unsafe {
            let role = pg_sys::get_role_oid(name.as_ptr(), true);
            role != pg_sys::InvalidOid && pg_sys::has_privs_of_role(self.role, role)
        }
    }

    /// May act for and see every tenant. Superusers have every role's rights.
    pub fn serves_all_tenants(self) -> bool {
        self.has_role(c"service_role")
    }

    /// May read the figures of all tenants through the views.
    pub fn reads_all_metrics(self) -> bool {
        self.serves_all_tenants() || self.has_role(c"metrics_reader")
    }

    /// The user that the verified claims name, for a role that has `authenticated` and for no other.
    pub fn subject(self) -> Option<Uuid> {
        let claims = self.claims()?;
        uuid_claim(claims.get("sub")?)
    }

    /// The tenant that the token was issued for; a wish until a membership confirms it.
    pub fn claimed_tenant(self) -> Option<Uuid> {
        let claims = self.claims()?;
        uuid_claim(claims.get("app_metadata")?.get("tenant_id")?)
    }

    fn claims(self) -> Option<serde_json::Value> {
        if !self.has_role(c"authenticated") {
            return None;
        }
        // SAFETY: a missing setting gives a null pointer; the text is copied before anything can change it.
        let text = unsafe {
            let setting = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
            if setting.is_null() {
                return None;
            }
            CStr::from_ptr(setting).to_bytes()
        };
        // A reused session leaves an empty text, and a malformed one names nobody.
        if text.len() > MAX_CLAIMS_BYTES {
            return None;
        }
        serde_json::from_slice(text).ok()
    }
}

fn uuid_claim(claim: &serde_json::Value) -> Option<Uuid> {
    parse_uuid(claim.as_str()?)
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

/// While it lives, the backend has the rights of the function's owner. An ERROR restores the caller with the
/// (sub)transaction; any other way out restores him here.
pub struct ActAsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl ActAsOwner {
    pub fn of_function(fcinfo: pg_sys::FunctionCallInfo) -> Self {
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

impl Drop for ActAsOwner {
    fn drop(&mut self) {
        // SAFETY: gives back exactly what was found; setting the user never fails.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}
