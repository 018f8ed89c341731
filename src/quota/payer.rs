//! The payer, and what is paid for.

use pgrx::Uuid;

use crate::pg::nil;
use tollgate_core::decision::Resource;

/// The tenant and user that pay, and the resource.
#[derive(Clone, Copy, Debug)]
pub struct Payer {
    /// `None` is the platform alone.
    pub tenant: Option<Uuid>,
    pub user: Option<Uuid>,
    pub resource: Resource,
}

impl Payer {
    pub fn tenant_key(&self) -> [u8; 16] {
        *self.tenant.unwrap_or_else(nil).as_bytes()
    }

    pub fn user_key(&self) -> [u8; 16] {
        *self.user.unwrap_or_else(nil).as_bytes()
    }
}
