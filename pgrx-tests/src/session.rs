//! One connection, used as PostgREST uses its own: every request is a transaction under an API role.

use anyhow::Result;
use postgres::types::ToSql;
use postgres::{Client, Error, IsolationLevel, Transaction};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::pgbouncer::Pgbouncer;

/// The login role of PostgREST: it may become `anon`, `authenticated` and `service_role`, and nothing else.
const API_LOGIN: &str = "authenticator";

/// The role and user of a request, and how it connects.
#[derive(Clone, Debug)]
pub struct Caller {
    role: String,
    claims: Option<Value>,
    read_only: bool,
    isolation: IsolationLevel,
}

impl Caller {
    /// A role with the claims of its verified JWT; PostgREST adds `role` to them.
    pub fn role(role: &str, claims: Option<Value>) -> Caller {
        Caller { role: role.to_string(), claims, read_only: false, isolation: IsolationLevel::ReadCommitted }
    }

    pub fn anon() -> Caller {
        Caller::role("anon", None)
    }

    /// A signed-in user whose token names a tenant.
    pub fn user(user: Uuid, tenant: Option<Uuid>) -> Caller {
        Caller::role("authenticated", Some(claims(user, tenant)))
    }

    /// The application's server.
    pub fn service() -> Caller {
        Caller::role("service_role", None)
    }

    /// As GET, and as POST to a STABLE function.
    pub fn read_only(mut self) -> Caller {
        self.read_only = true;
        self
    }

    pub fn isolation(mut self, level: IsolationLevel) -> Caller {
        self.isolation = level;
        self
    }

    fn jwt(&self) -> Value {
        let mut claims = self.claims.clone().unwrap_or_else(|| json!({}));
        if let Value::Object(map) = &mut claims
            && !map.contains_key("role")
        {
            map.insert("role".to_string(), json!(self.role));
        }
        claims
    }
}

/// The claims of a Supabase user's access token.
pub fn claims(user: Uuid, tenant: Option<Uuid>) -> Value {
    let app_metadata = match tenant {
        Some(tenant) => json!({ "provider": "email", "tenant_id": tenant.to_string() }),
        None => json!({ "provider": "email" }),
    };
    json!({
        "sub": user.to_string(), "aud": "authenticated", "role": "authenticated",
        "email": format!("{user}@example.com"), "app_metadata": app_metadata, "user_metadata": {}
    })
}

pub struct Session {
    client: Client,
    /// Through a pooler a prepared statement may be another client's: every word is sent as text.
    is_pooled: bool,
}

impl Session {
    /// As PostgREST connects.
    pub fn open(cluster: &Cluster, database: &str) -> Result<Session> {
        Session::open_as(cluster, database, API_LOGIN)
    }

    /// With another login role; a superuser can take on any role in a request.
    pub fn open_as(cluster: &Cluster, database: &str, user: &str) -> Result<Session> {
        Ok(Session { client: cluster.connect(database, user)?, is_pooled: false })
    }

    /// Through PgBouncer.
    pub fn pooled(pooler: &Pgbouncer, database: &str, user: &str) -> Result<Session> {
        Ok(Session { client: pooler.connect(database, user)?, is_pooled: true })
    }

    /// The connection itself, outside of any request.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// One request: committed when `work` succeeds, rolled back when it fails.
    pub fn request<T>(
        &mut self,
        caller: &Caller,
        work: impl FnOnce(&mut Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let builder = self.client.build_transaction().read_only(caller.read_only).isolation_level(caller.isolation);
        let mut transaction = builder.start()?;
        if self.is_pooled {
            transaction.batch_execute(&entrance(caller))?;
        } else {
            enter(&mut transaction, caller)?;
        }
        let result = work(&mut transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// One request that runs a statement for its first column of its first row.
    pub fn value<T>(&mut self, caller: &Caller, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<T, Error>
    where
        T: for<'a> postgres::types::FromSql<'a>,
    {
        self.request(caller, |tx| tx.query_one(sql, params)?.try_get(0))
    }

    /// One request that must fail with this SQLSTATE; for tests, so anything else is a panic that says what came.
    #[track_caller]
    #[allow(clippy::panic, reason = "an assertion, for tests alone")]
    pub fn expect_sqlstate(
        &mut self,
        caller: &Caller,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        expected: &str,
    ) -> Error {
        match self.request(caller, |tx| tx.query(sql, params)) {
            Ok(rows) => panic!("expected {expected}, got {} rows from: {sql}", rows.len()),
            Err(error) if sqlstate(&error) == expected => error,
            Err(error) => panic!("expected {expected}, got {}: {} from: {sql}", sqlstate(&error), message(&error)),
        }
    }
}

/// What PostgREST sends first, in its order. Everything is local to the transaction.
fn enter(transaction: &mut Transaction, caller: &Caller) -> Result<(), Error> {
    let method = if caller.read_only { "GET" } else { "POST" };
    transaction.execute(
        "select set_config('search_path', '\"public\", \"extensions\"', true),
                (select array_agg(set_config(split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1), true))
                   from pg_roles, unnest(rolconfig) as setting where rolname = $1),
                set_config('role', $1, true),
                set_config('request.jwt.claims', $2, true),
                set_config('request.method', $3, true),
                set_config('request.path', '/rpc/test', true),
                set_config('request.headers', '{}', true),
                set_config('request.cookies', '{}', true)",
        &[&caller.role, &caller.jwt().to_string(), &method],
    )?;
    Ok(())
}

/// The same as text.
fn entrance(caller: &Caller) -> String {
    let method = if caller.read_only { "GET" } else { "POST" };
    format!(
        "select set_config('search_path', '\"public\", \"extensions\"', true), set_config('role', {role}, true),
                set_config('request.jwt.claims', {claims}, true), set_config('request.method', '{method}', true)",
        role = literal(&caller.role),
        claims = literal(&caller.jwt().to_string()),
    )
}

/// A text as SQL has it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The five characters, or an empty text when the error is not the server's.
pub fn sqlstate(error: &Error) -> &str {
    error.code().map_or("", |state| state.code())
}

/// The server's own words.
pub fn message(error: &Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |server| server.message().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgrest_adds_the_role_to_the_claims() {
        assert_eq!(Caller::anon().jwt(), json!({ "role": "anon" }));
        let forged = Caller::role("authenticated", Some(json!({ "sub": "x", "role": "service_role" })));
        assert_eq!(forged.jwt()["role"], "service_role");
    }
}
