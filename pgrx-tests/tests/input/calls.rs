//! Good calls, what spoils them, and the proof that a refusal changes nothing.

use anyhow::Result;
use postgres::Client;
use tollgate_tests::session::{Caller, Session, message, sqlstate};

use crate::support::{Database, id, make_tenant, text, texts};

/// A database with one tenant, and the application's server connected.
pub fn prepared() -> Result<(Database, Session)> {
    let database = Database::fresh()?;
    make_tenant(&mut database.superuser()?, id(1))?;
    let session = database.session()?;
    Ok((database, session))
}

pub const TENANT: &str = "'00000000-0000-0000-0000-000000000001'";

/// A call by argument names: a good one, with some arguments replaced or added.
pub fn call(function: &str, good: &[(&str, &str)], changed: &[(&str, &str)]) -> String {
    let kept = good.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    let list: Vec<String> = kept.chain(changed).map(|(name, value)| format!("{name} => {value}")).collect();
    format!("select * from public.{function}({})", list.join(", "))
}

pub const LLM: &[(&str, &str)] = &[
    ("p_tenant_id", TENANT),
    ("p_model_provider", "'openai'"),
    ("p_model_name", "'gpt-4o'"),
    ("p_input_tokens", "100"),
    ("p_output_tokens", "10"),
];
pub const E2B: &[(&str, &str)] = &[
    ("p_tenant_id", TENANT),
    ("p_sandbox_id", "'sandbox'"),
    ("p_sandbox_type", "'standard'"),
    ("p_duration_seconds", "10"),
];
pub const BARE: &[(&str, &str)] = &[("p_scope", "'tenant'"), ("p_scope_id", TENANT), ("p_cost_usd", "1")];
pub const CHECK: &[(&str, &str)] =
    &[("p_tenant_id", TENANT), ("p_resource_type", "'llm'"), ("p_estimated_cost_usd", "1")];
pub const QUOTA: &[(&str, &str)] =
    &[("p_scope", "'tenant'"), ("p_scope_id", TENANT), ("p_resource_type", "'llm'"), ("p_limit_usd", "10")];
pub const PRICE: &[(&str, &str)] = &[
    ("p_model_provider", "'a'"),
    ("p_model_name", "'b'"),
    ("p_input_per_million_usd", "1"),
    ("p_output_per_million_usd", "1"),
];

/// No amount of money, in any argument that is one.
pub const NO_AMOUNTS: &[&str] =
    &["'NaN'", "'Infinity'", "'-Infinity'", "-1", "-0.000000000000000001", "'1e131071'", "1000000001"];
pub const NIL: &str = "'00000000-0000-0000-0000-000000000000'";
pub const LONG: &str = "repeat('x', 501)";

/// How many rows every table has: what a refused call must leave as it was.
pub fn counts(client: &mut Client) -> Result<String> {
    let sql = "
        select string_agg(format('select %L || count(*) from copilot_internal.%I', relname || ' ', relname),
                          ' union all ')
        from pg_class where relnamespace = 'copilot_internal'::regnamespace and relkind = 'r'";
    let sql = text(client, sql, &[])?;
    let mut counts = texts(client, &sql, &[])?;
    counts.sort();
    Ok(counts.join(", "))
}

/// Each must be refused with this SQLSTATE, in one sentence of our own, and change nothing.
pub fn refused(cases: &[(String, &str)]) -> Result<()> {
    let (database, mut session) = prepared()?;
    let mut superuser = database.superuser()?;
    let before = counts(&mut superuser)?;
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        match session.request(&Caller::service(), |tx| tx.query(sql, &[])) {
            Ok(_) => wrong.push(format!("accepted: {sql}")),
            Err(error) if sqlstate(&error) == *expected => {
                let said = message(&error);
                if said.contains('\n') || said.len() > 200 || said.contains("Rust") {
                    wrong.push(format!("{said:?} to: {sql}"));
                }
            }
            Err(error) => wrong.push(format!("{} ({}): {sql}", sqlstate(&error), message(&error))),
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(counts(&mut superuser)?, before);
    Ok(())
}

/// The cases of one function: each value of each argument.
pub fn each(function: &str, good: &[(&str, &str)], bad: &[(&str, &[&str])]) -> Vec<(String, &'static str)> {
    let pairs = bad.iter().flat_map(|(name, values)| values.iter().map(move |value| (*name, *value)));
    pairs.map(|pair| (call(function, good, &[pair]), "22023")).collect()
}
