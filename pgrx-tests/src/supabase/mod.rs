//! Makes a plain server look like Supabase: its roles, schemas, `auth` functions and default privileges.

use anyhow::{Context, Result};
use postgres::Client;

/// What Supabase's default privileges say about new objects in `public`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DefaultPrivileges {
    /// Projects from before 2026: everything for the API roles.
    Legacy,
    /// Newer projects: nothing.
    Secure,
}

impl DefaultPrivileges {
    pub fn name(self) -> &'static str {
        match self {
            DefaultPrivileges::Legacy => "legacy",
            DefaultPrivileges::Secure => "secure",
        }
    }
}

/// Once per server.
pub fn create_roles(client: &mut Client) -> Result<()> {
    client.batch_execute(include_str!("roles.sql")).context("cannot create Supabase's roles")
}

/// Once per database; the roles exist.
pub fn furnish_database(client: &mut Client, privileges: DefaultPrivileges) -> Result<()> {
    client.batch_execute(include_str!("database.sql")).context("cannot create Supabase's schemas")?;
    if privileges == DefaultPrivileges::Legacy {
        let legacy = include_str!("legacy_privileges.sql");
        client.batch_execute(legacy).context("cannot set Supabase's default privileges")?;
    }
    Ok(())
}

/// The database itself belongs to `postgres`, as on Supabase. A copy of a database does not inherit this.
pub fn hand_over(client: &mut Client, database: &str) -> Result<()> {
    let sql = format!(
        "alter database \"{database}\" owner to postgres; grant all on database \"{database}\" to postgres, dashboard_user"
    );
    client.batch_execute(&sql).with_context(|| format!("cannot make postgres the owner of database {database}"))
}
