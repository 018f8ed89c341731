//! Each program of `examples/` against a real server. What it says came of its calls is compared with the ledger: a call
//! that was billed is there once, and one that was not holds nothing.

use std::fs;

use anyhow::{Context, Result, ensure};
use postgres::Client;
use serde_json::{Value, json};
use tollgate_tests::examples::{self, Http, TENANT};
use tollgate_tests::layout;
use tollgate_tests::support::{Database, assert_verified, id, make_tenant, text, texts};
use uuid::Uuid;

/// A database with the tenant of the examples and its limit for LLM calls, a month.
fn database(limit_usd: &str) -> Result<(Database, Client)> {
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    make_tenant(&mut client, TENANT)?;
    let sql = "select public.set_quota('tenant', $1, 'llm', $2::text::numeric, 'month')";
    client.execute(sql, &[&TENANT, &limit_usd])?;
    Ok((database, client))
}

/// What a program told under a name, without the name.
fn told(lines: &[Value], what: &str) -> Result<Value> {
    let mut line =
        lines.iter().find(|line| line["what"] == what).with_context(|| format!("no {what}: {lines:?}"))?.clone();
    if let Value::Object(facts) = &mut line {
        facts.remove("what");
    }
    Ok(line)
}

fn assert_told(lines: &[Value], expected: &[(&str, Value)]) -> Result<()> {
    for (what, facts) in expected {
        assert_eq!(&told(lines, what)?, facts, "{what}");
    }
    Ok(())
}

/// The records, as `status cost`, and the reservations, as `state`, in any order; and nothing is wrong in the books.
fn assert_ledger(client: &mut Client, records: &[&str], reservations: &[(&str, usize)]) -> Result<()> {
    let sql =
        "select concat_ws(' ', cost_status, trim_scale(cost_usd)) from copilot_internal.llm_cost_records order by 1";
    assert_eq!(texts(client, sql, &[])?, records);
    let sql = "select state || ' ' || count(*) from copilot_internal.quota_reservations group by state order by 1";
    let expected: Vec<String> = reservations.iter().map(|(state, count)| format!("{state} {count}")).collect();
    assert_eq!(texts(client, sql, &[])?, expected);
    assert_verified(client);
    Ok(())
}

#[test]
fn the_generated_types_are_those_of_the_extension() -> Result<()> {
    let (present, wanted) = examples::types(&Database::fresh()?)?;
    let mut lines = present.lines().zip(wanted.lines()).zip(1..);
    let differs = lines.find(|((present, wanted), _)| present != wanted);
    ensure!(present == wanted, "examples/typescript/database.types.ts is old; run cargo xtask types. {differs:?}");
    ensure!(wanted.contains("record_llm_cost: {"), "the generator saw no function: {wanted}");
    Ok(())
}

/// Strictly, with what must not compile: `test/types.ts` says that it does not.
#[test]
fn the_examples_are_well_typed() -> Result<()> {
    examples::type_errors()
}

/// What the page shows is what the examples do.
#[test]
fn the_page_quotes_the_examples() -> Result<()> {
    let page = fs::read_to_string(layout::root().join("docs/how-to/clients.md"))?;
    let mut sources = String::new();
    for dir in ["examples/typescript", "examples/python"] {
        for entry in fs::read_dir(layout::root().join(dir))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "ts" || it == "py") {
                let link = format!("(../../{dir}/{})", path.file_name().unwrap_or_default().display());
                ensure!(page.contains(&link) || path.ends_with("database.types.ts"), "the page does not name {link}");
                sources.push_str(&fs::read_to_string(path)?);
            }
        }
    }
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).filter(|block| !block.starts_with("sh\n")).collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let (_, code) = block.split_once('\n').context("an empty block")?;
        ensure!(sources.contains(code.trim()), "not in the examples:\n{code}");
    }
    Ok(())
}

/// The words that the types name are those that the tables and the documents know.
#[test]
fn the_words_of_the_types_are_those_of_the_extension() -> Result<()> {
    let types = fs::read_to_string(layout::root().join("examples/typescript/tollgate.ts"))?;
    let database = Database::fresh()?;
    let mut client = database.superuser()?;
    for (name, table, column) in [
        ("Scope", "cost_quotas", "scope"),
        ("Resource", "cost_quotas", "resource_type"),
        ("Period", "cost_quotas", "period"),
        ("Mode", "cost_quotas", "mode"),
        ("CostStatus", "llm_cost_records", "cost_status"),
        ("ReservationState", "quota_reservations", "state"),
    ] {
        let sql = "select distinct m[1] from pg_constraint c, regexp_matches(pg_get_constraintdef(c.oid), '''(\\w+)''::text', 'g') m
                   where c.contype = 'c' and c.conrelid = ('copilot_internal.' || $1)::regclass
                     and c.conkey = (select array[attnum] from pg_attribute where attrelid = c.conrelid and attname = $2)
                   order by 1";
        assert_eq!(words(&types, name)?, texts(&mut client, sql, &[&table, &column])?, "{name}");
    }
    let answers = fs::read_to_string(layout::root().join("docs/reference/answers.md"))?;
    let status = answers.split("\n## ").nth(1).context("no section on status")?;
    let cells = status.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut documented: Vec<&str> = cells.collect();
    documented.sort_unstable();
    assert_eq!(words(&types, "QuotaStatus")?, documented);
    Ok(())
}

/// The texts of a union type, in order.
fn words(types: &str, name: &str) -> Result<Vec<String>> {
    let (_, union) = types.split_once(&format!("export type {name} =")).with_context(|| format!("no {name}"))?;
    let union = union.split("\n\n").next().unwrap_or_default().split("\nexport").next().unwrap_or_default();
    let mut words: Vec<String> = union.split('\'').skip(1).step_by(2).map(str::to_string).collect();
    words.sort_unstable();
    Ok(words)
}

#[test]
fn supabase_js_over_http() -> Result<()> {
    let (database, mut client) = database("0.01")?;
    let http = Http::start(&database)?;
    let lines = examples::typescript(&database, Some(&http), "supabase.ts")?;
    let waits = |what: &str| -> Result<bool> {
        let wait = told(&lines, what)?["wait"].as_str().unwrap_or_default().parse::<u32>();
        Ok(wait.is_ok_and(|wait| (1..=31 * 86_400).contains(&wait)))
    };
    assert!(waits("refused")? && waits("required")?, "{lines:?}");
    let recorded = |replayed: bool| json!({ "status": 200, "cost_usd": "0.0035", "replayed": replayed });
    assert_told(&lines, &[("req-1", recorded(false)), ("req-2", recorded(false))])?;
    assert_eq!(lines[1]["replayed"], true, "{lines:?}");
    for (what, key, expected) in
        [("refused", "status", json!(429)), ("required", "status", json!(429)), ("required", "code", json!("PT429"))]
    {
        assert_eq!(told(&lines, what)?[key], expected, "{lines:?}");
    }
    let reason = told(&lines, "refused")?["reason"].to_string();
    assert!(reason.contains("would exceed the tenant's llm limit of 0.01 USD"), "{reason}");
    for (what, code) in [("reused id", "23505"), ("bad input", "22023")] {
        let message = told(&lines, what)?["message"].to_string();
        assert!(message.starts_with(&format!("\"{code}: ")), "{message}");
    }
    // 1,000 input tokens and 16,384 output tokens, at the dearest.
    let dearest = told(&lines, "dearest")?;
    assert!(dearest["known"].as_f64().is_some_and(|usd| usd >= 0.16) && dearest["unknown"].is_null(), "{dearest}");
    let models = json!([{ "model_name": "gpt-4o", "request_count": 2, "total_cost": "0.007" }]);
    assert_told(&lines, &[("spend", json!({ "models": models }))])?;
    let present = told(&lines, "present")?;
    assert_eq!(present["absent"], json!([]), "typed as never null");
    assert_eq!(present["unseen"], json!(["ordinal", "is_active", "has_access"]), "not asked about");
    assert_eq!(present["rows"], 13);
    let limits = "select concat_ws(' ', scope, resource_type, period, coalesce(trim_scale(limit_usd)::text, 'metered'))
                  from copilot_internal.cost_quotas order by 1";
    let expected = ["platform all day 10000", "tenant e2b month metered", "tenant llm month 25.5"];
    assert_eq!(texts(&mut client, limits, &[])?, expected);
    let records = ["priced 0.0035", "priced 0.0035", "provided 0.000000000001", "unpriced"];
    assert_ledger(&mut client, &records, &[("released", 1)])
}

/// 25 requests with their expected status, none of which tells of the other tenant.
#[test]
fn members_forgers_and_strangers_over_http() -> Result<()> {
    let (database, mut client) = database("1")?;
    let (ann, other) = (Uuid::from_u128(0xb000_0000_0000_4000_8000_0000_0000_0001), id(0xdead_beef));
    make_tenant(&mut client, other)?;
    let owner = "update copilot_internal.tenants set owner_id = $1 where id = $2";
    client.execute(owner, &[&ann, &TENANT])?;
    client.execute(owner, &[&id(0xc0), &other])?;
    // The stand-in looks up whose token it is, as Supabase's auth server would.
    client.batch_execute("grant usage on schema auth to authenticator; grant select on auth.users to authenticator")?;
    let spent = "select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 1)";
    client.execute(spent, &[&TENANT])?;
    let said = examples::requests(&Http::start(&database)?, TENANT, other)?;
    ensure!(said.ends_with("25 requests, 0 wrong\n"), "{said}");
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn the_ai_sdk_middleware_records_what_is_billed_and_releases_the_rest() -> Result<()> {
    let (database, mut client) = database("100")?;
    let http = Http::start(&database)?;
    let lines = examples::typescript(&database, Some(&http), "ai-middleware.ts")?;
    let text = json!({ "text": "Hello" });
    let not_called = |status: &str| json!({ "status": status, "calls": 0 });
    assert_told(
        &lines,
        &[
            ("generated", text.clone()),
            ("counted", text.clone()),
            ("served", text.clone()),
            ("failed", json!({ "message": "the provider is down" })),
            ("streamed", text),
            ("broken stream", json!({ "message": "connection lost" })),
            ("cancelled", json!({ "cancelled": true })),
            ("recorded at last", json!({ "text": "Hello", "away": 0 })),
            ("unpriced", not_called("UNPRICED")),
            ("unknown tenant", not_called("NO_TENANT")),
            ("refused", json!({ "status": "EXCEEDED", "waits": true, "calls": 0 })),
        ],
    )?;
    // Billed: generated, counted, served, streamed, billed error, recorded at last. Released: failed, a stream that was refused,
    // broke, was aborted, cancelled, or ended in an error without usage.
    let mut records = ["priced 0.0035"; 6];
    records[5] = "priced 0.00595";
    assert_ledger(&mut client, &records, &[("committed", 6), ("released", 6)])?;
    let names = "select distinct model_provider || '/' || model_name from copilot_internal.llm_cost_records";
    assert_eq!(texts(&mut client, names, &[])?, ["openai.chat/gpt-4o"]);
    Ok(())
}

#[test]
fn node_postgres() -> Result<()> {
    let (database, mut client) = database("100")?;
    let lines = examples::typescript(&database, None, "node-postgres.ts")?;
    assert_told(
        &lines,
        &[
            ("metered", json!({ "text": "Hello" })),
            ("failed", json!({ "message": "the provider is down" })),
            ("bad input", json!({ "code": "22023" })),
            ("reused id", json!({ "code": "23505" })),
            ("restarted", json!({ "text": "Hello" })),
        ],
    )?;
    assert_eq!(told(&lines, "refused")?["status"], "EXCEEDED");
    assert_ledger(&mut client, &["priced 0.0035"; 2], &[("committed", 2), ("released", 1)])
}

#[test]
fn drizzle() -> Result<()> {
    let (database, mut client) = database("100")?;
    let lines = examples::typescript(&database, None, "drizzle.ts")?;
    let recorded = json!({ "recorded": true, "cost_usd": "0.0035", "reason": null });
    assert_told(
        &lines,
        &[
            ("recorded", recorded.clone()),
            ("again", recorded),
            ("bad input", json!({ "code": "22023" })),
            ("quota", json!({ "status": "OK", "spent": "0.0035", "ends": true })),
        ],
    )?;
    assert_eq!(told(&lines, "refused")?["recorded"], false);
    assert_ledger(&mut client, &["priced 0.0035"], &[])
}

#[test]
fn psycopg() -> Result<()> {
    let (database, mut client) = database("50")?;
    let lines = examples::python(&database, "test_psycopg.py")?;
    assert_told(
        &lines,
        &[
            ("recorded", json!({ "cost_usd": "0.0035" })),
            ("restarted", json!({ "cost_usd": "0.0035" })),
            ("unpriced", json!({ "status": "UNPRICED" })),
            ("unknown tenant", json!({ "status": "NO_TENANT" })),
            ("refused", json!({ "status": "EXCEEDED", "waits": true })),
            // A Python float is double precision, and no function has such an argument.
            ("float", json!({ "code": "42883" })),
            ("bad input", json!({ "code": "22023" })),
        ],
    )?;
    assert_ledger(&mut client, &["priced 0.0035"; 2], &[("committed", 2), ("released", 1)])
}

#[test]
fn sqlalchemy() -> Result<()> {
    let (database, mut client) = database("50")?;
    let lines = examples::python(&database, "test_sqlalchemy.py")?;
    assert_told(
        &lines,
        &[
            ("recorded", json!({ "cost_usd": "0.0035" })),
            ("refused", json!({ "recorded": false, "waits": true })),
            ("reused id", json!({ "code": "23505" })),
            ("left", json!({ "usd": ["49.9965"] })),
        ],
    )?;
    assert_ledger(&mut client, &["priced 0.0035"], &[])
}

#[test]
fn the_openai_wrapper_records_what_is_billed_and_releases_the_rest() -> Result<()> {
    let (database, mut client) = database("50")?;
    let lines = examples::python(&database, "test_openai.py")?;
    assert_told(
        &lines,
        &[
            ("answered", json!({ "text": "Hello" })),
            ("streamed", json!({ "text": "Hello" })),
            ("failed", json!({ "stream": false, "code": 500 })),
            ("refused", json!({ "status": "EXCEEDED", "calls": 0 })),
        ],
    )?;
    // Released: two calls that failed, a stream that was cut, one that was left.
    assert_ledger(&mut client, &["priced 0.0035"; 2], &[("committed", 2), ("released", 4)])
}

#[test]
fn the_litellm_callback_records_what_is_billed_and_releases_the_rest() -> Result<()> {
    let (database, mut client) = database("50")?;
    let lines = examples::python(&database, "test_litellm.py")?;
    assert_told(
        &lines,
        &[
            ("answered", json!({ "text": "Hello" })),
            ("streamed", json!({ "text": "Hello" })),
            ("served", json!({ "text": "Hello" })),
            ("failed", json!({ "code": 500 })),
            ("refused", json!({ "status": "EXCEEDED", "calls": 0 })),
        ],
    )?;
    // Priced here, not by the cost that LiteLLM adds to what a stream used.
    let records = ["priced 0.0035", "priced 0.0035", "priced 0.00595"];
    assert_ledger(&mut client, &records, &[("committed", 3), ("released", 1)])?;
    assert_eq!(text(&mut client, "select max(model_provider) from copilot_internal.llm_cost_records", &[])?, "openai");
    Ok(())
}
