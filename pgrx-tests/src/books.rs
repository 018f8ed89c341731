//! What must be exact wherever the server is at rest.

/// What `verify()` finds in the tables and `verify_counters()` in shared memory, as text: no rows.
pub const DIFFERENCES: &str = "select v::text from copilot_internal.verify() v
     union all select v::text from copilot_internal.verify_counters() v";
