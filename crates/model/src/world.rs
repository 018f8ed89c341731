//! What scenarios and states are made of: tenants, quotas, their definitions, and the modes of admission.

/// Bounds of arrays; no scenario needs more.
pub const QUOTAS: usize = 2;
pub const TENANTS: usize = 2;
/// Definitions are guarded by partition: the tenants share the first (as two of many may), the platform has the second.
pub const PARTITIONS: usize = 2;

/// The partition of the platform's definitions; that of all tenants is 0.
pub const PLATFORM: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    Tenant(usize),
    Platform,
}

impl Scope {
    pub fn covers(self, tenant: usize) -> bool {
        self == Scope::Platform || self == Scope::Tenant(tenant)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AdmissionMode {
    #[default]
    Escrow,
    Locked,
}

/// A quota's row. `version` counts its changes and is only known to the checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Definition {
    /// None: there is no such quota.
    pub limit: Option<i8>,
    pub version: u8,
}

pub type Definitions = [Definition; QUOTAS];

/// The partition that a quota's definition belongs to.
pub fn partition(scope: Scope) -> usize {
    match scope {
        Scope::Tenant(_) => 0,
        Scope::Platform => PLATFORM,
    }
}
