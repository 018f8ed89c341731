//! The edges of every type in every argument, generated from the catalog.

use anyhow::Result;
use tollgate_tests::session::{Caller, message, sqlstate};

use crate::calls::{NIL, TENANT, prepared};

/// Every function that the server may call, every argument, every value that its type can hold at its edges. Whatever
/// is answered, it is never an internal error, and no crash.
#[test]
fn no_argument_of_any_function_is_an_internal_error() -> Result<()> {
    let (database, mut session) = prepared()?;
    let mut client = database.superuser()?;
    let sql = "
        select p.oid::regproc::text, p.proargnames[1:p.pronargs], p.proargtypes::regtype[]::text[],
               case p.prokind when 'p' then 'call' else 'select * from' end
        from pg_proc p join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        where d.deptype = 'e' and d.refobjid = (select oid from pg_extension where extname = 'pg_tollgate')
          and has_function_privilege('service_role', p.oid, 'execute') and p.pronargs > 0";
    client.batch_execute("set search_path = pg_catalog")?;
    let functions = client.query(sql, &[])?;
    let mut wrong = Vec::new();
    let mut tried = 0;
    for row in &functions {
        let (function, names, types): (String, Option<Vec<String>>, Vec<String>) = (row.get(0), row.get(1), row.get(2));
        let (names, verb) = (names.unwrap_or_default(), row.get::<_, String>(3));
        let good: Vec<String> = names.iter().zip(&types).map(|(name, kind)| usual(&function, name, kind)).collect();
        for (place, kind) in types.iter().enumerate() {
            for value in edges(kind) {
                let mut arguments = good.clone();
                arguments[place] = format!("{value}::{kind}");
                let sql = format!("{verb} {function}({})", arguments.join(", "));
                tried += 1;
                let undone = session.request(&Caller::service(), |tx| {
                    let mut savepoint = tx.savepoint("tried")?;
                    savepoint.query(&sql, &[])?;
                    savepoint.rollback()
                });
                if let Err(error) = undone
                    && !matches!(sqlstate(&error), "22023" | "P0002" | "42501" | "PT429" | "PGRST" | "23503")
                {
                    wrong.push(format!("{} {}: {sql}", sqlstate(&error), message(&error)));
                }
            }
        }
    }
    assert!(tried > 500, "only {tried} calls");
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}

/// A good value of an argument.
fn usual(function: &str, name: &str, kind: &str) -> String {
    let value = match (name, kind) {
        // The tenant is there.
        ("p_tenant_id", _) if function.starts_with("public.create_") => "null",
        ("p_tenant_id" | "p_scope_id", _) => TENANT,
        ("p_reservation_id", _) => "null",
        ("p_quota_id", _) => "(select quota_id from metrics.quota_status limit 1)",
        ("p_ends_at", _) => "'2900-01-01'",
        (_, "numeric[]") => "'{0.5}'",
        (_, "uuid[]" | "text[]") => "'{}'",
        ("p_scope", _) => "'tenant'",
        ("p_resource_type", _) => "'llm'",
        ("p_period", _) => "'month'",
        ("p_mode", _) => "'hard'",
        ("p_time_zone", _) => "'UTC'",
        ("p_confidence_level", _) => "'typical'",
        (_, "uuid") => "null",
        (_, "text") => "'x'",
        (_, "jsonb") => "'{}'",
        (_, "boolean") => "true",
        (_, "interval") => "'1 hour'",
        (_, "timestamp with time zone") => "'2026-01-15'",
        ("p_warning_threshold", _) => "0.5",
        _ => "1",
    };
    format!("{value}::{kind}")
}

const TEXTS: &[&str] = &[
    "null",
    "''",
    "repeat('x', 100000)",
    "E'\\x01'",
    "'ü😀'",
    "'''; drop table x --'",
    "repeat('😀', 10)",
    "'all'",
    "'platform'",
    "'user'",
    "'lifetime'",
    "'Europe/Berlin'",
    "'../../etc/passwd'",
];

const DOCUMENTS: &[&str] = &[
    "null",
    "'null'",
    "'[]'",
    "'1'",
    "'\"x\"'",
    "'{\"a\": 1e131071}'",
    "'{\"cache_read_input_tokens\": 1e400}'",
    "(repeat('[', 1000) || repeat(']', 1000))",
    "(repeat('{\"a\":', 500) || '1' || repeat('}', 500))",
    "'{\"input_cost_per_token\": 1e-400}'",
    "'{\"\\u00fc\": \"\\u0001\"}'",
];

#[allow(clippy::panic, reason = "a type that has no edges here would go untested")]
fn edges(kind: &str) -> &'static [&'static str] {
    match kind {
        "numeric" => &[
            "null",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "-1",
            "0",
            "'1e131071'",
            "'-1e131071'",
            "1e-20",
            "'1e-16383'",
            "1000000000",
        ],
        "bigint" => &["null", "(-9223372036854775808)", "-1", "0", "1000000000000", "9223372036854775807"],
        "integer" => &["null", "(-2147483648)", "-1", "0", "2147483647"],
        "text" => TEXTS,
        "uuid" => &["null", NIL, "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        "jsonb" => DOCUMENTS,
        "boolean" => &["null", "true", "false"],
        "numeric[]" => {
            &["null", "'{}'", "'{null}'", "'{NaN}'", "'{0.5, 10}'", "'{{0.5}, {1}}'", "'{1e-16383}'", "'{Infinity}'"]
        }
        "uuid[]" => &["null", "'{}'", "'{null}'", "'{{00000000-0000-0000-0000-000000000000}}'"],
        "text[]" => &["null", "'{}'", "'{null}'", "'{ordinal, recorded}'", "'{{a}, {b}}'"],
        "timestamp with time zone" => &[
            "null",
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'2000-01-01'",
            "'1970-01-01'",
            "'9999-12-31'",
        ],
        "interval" => &[
            "null",
            "'0'",
            "'-1 second'",
            "'1 second'",
            "'0.999999 seconds'",
            "'8 days'",
            "'8 days 0.000001 seconds'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 mon -30 days 5 seconds'",
            "'2562047788:00:54.775807'",
        ],
        other => panic!("say what the edges of {other} are"),
    }
}
