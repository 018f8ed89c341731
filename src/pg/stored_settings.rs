//! Settings of ours that ALTER DATABASE and ALTER ROLE have stored. Before the server has loaded the library, Postgres takes
//! any name and value from a superuser. As a session begins afterwards it warns of those that are none, in the log, and
//! goes on with the default, which may be weaker than what was meant.

use pgrx::pg_sys;

use super::own_database;
use super::spi::{self, Plan, Snapshot};
use super::value::Value;
use crate::settings;

/// What is stored for sessions like this one.
const STORED: &str = "
    select pg_catalog.split_part(s.setting, '=', 1), pg_catalog.substr(s.setting, pg_catalog.strpos(s.setting, '=') + 1)
    from pg_catalog.pg_db_role_setting d cross join lateral pg_catalog.unnest(d.setconfig) as s (setting)
    where d.setdatabase in (0, $1) and d.setrole in (0, $2) and s.setting ilike 'pg\\_tollgate.%'";
static STORED_PLAN: Plan = Plan::new(STORED, &[pg_sys::OIDOID, pg_sys::OIDOID]);

/// The name of one that is no setting, or has a value that it cannot have.
pub fn find_mistake() -> Option<String> {
    // SAFETY: reads a variable of the session.
    let user = unsafe { pg_sys::GetSessionUserId() };
    let parameters = [pg_sys::Oid::from(own_database()), user].map(|oid| Value::raw(Some(oid.into())));
    let found = spi::session(|spi| {
        for row in spi.run(&STORED_PLAN, Snapshot::Latest, &parameters)?.iter() {
            let (name, value): (String, String) = (row.need(1)?, row.need(2)?);
            if !settings::is_valid(&name, &value) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    });
    found.unwrap_or_else(|error| error.raise())
}
