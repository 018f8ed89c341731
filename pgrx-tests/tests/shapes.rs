//! Usage as providers, gateways and client libraries write it: what the server makes of each shape, counted by provider.

use tollgate_tests::support;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use postgres::Client;
use postgres::error::SqlState;
use serde_json::Value;
use support::{Database, id, make_tenant};

/// The same cases that the reader of usage is tested with, so that a shape is added once.
const GOLDEN: &str = include_str!("../../crates/core/src/usage/golden.json");

/// What comes of a report; nothing where it is refused as no usage.
fn normalized(client: &mut Client, provider: &str, report: &Value) -> Result<Option<Value>> {
    let sql = "select public.normalize_llm_usage($1, $2::text::jsonb)::text";
    match client.query_one(sql, &[&provider, &report.to_string()]) {
        Ok(row) => Ok(Some(serde_json::from_str(row.get(0))?)),
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As numbers of SQL print: without trailing zeros or exponents.
fn same(client: &mut Client, a: &Value, b: &Value) -> Result<bool> {
    let sql = "select $1::text::jsonb = $2::text::jsonb";
    Ok(client.query_one(sql, &[&a.to_string(), &b.to_string()])?.get(0))
}

#[test]
fn every_shape_is_read_and_read_again_as_it_is() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    client.batch_execute("set role service_role")?;
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).context("golden.json is damaged")?;
    // By provider: how many come out right, of how many, and how many of those are rightly refused.
    let mut table: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let field = |name: &str| case[name].as_str().with_context(|| format!("a case has no {name}"));
        let (name, provider, want) = (field("name")?, field("provider")?, &case["want"]);
        let refused = want == "refuse";
        let got = normalized(&mut client, provider, &case["usage"])?;
        let right = match &got {
            None => refused,
            Some(got) => {
                !refused
                    && same(&mut client, got, want)?
                    && normalized(&mut client, "any", got)?.is_some_and(|again| again == *got)
            }
        };
        let counts = table.entry(provider.to_owned()).or_default();
        counts[0] += usize::from(right);
        counts[1] += 1;
        counts[2] += usize::from(right && refused);
        if !right {
            wrong.push(format!("{provider}, {name}: got {got:?}, want {want}"));
        }
    }
    let (single, several): (Vec<_>, Vec<_>) = table.iter().partition(|(_, [_, all, _])| *all == 1);
    for (provider, [right, all, refused]) in several {
        let refused = if *refused > 0 { format!(", {refused} of them rightly refused") } else { String::new() };
        println!("counted: shapes, {provider}: {right} of {all} right{refused}");
    }
    let right: usize = single.iter().map(|(_, [right, ..])| right).sum();
    println!("counted: shapes, of providers with one: {right} of {} right", single.len());
    println!("counted: shapes of {} providers: {} of {} right", table.len(), cases.len() - wrong.len(), cases.len());
    ensure!(cases.len() > 350, "only {} shapes", cases.len());
    ensure!(wrong.is_empty(), "{} of {} shapes go wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

/// What is stored of a report, with its two wholes.
fn recorded(client: &mut Client, provider: &str, report: &Value) -> Result<(Value, i64, i64)> {
    let sql = "select cost_record_id from public.record_llm_usage($1, $2, 'model', $3::text::jsonb)";
    let record: uuid::Uuid = client.query_one(sql, &[&id(1), &provider, &report.to_string()])?.get(0);
    let sql = "select usage::text, input_tokens, output_tokens from copilot_internal.llm_cost_records where id = $1";
    let row = client.query_one(sql, &[&record])?;
    Ok((serde_json::from_str(row.get(0))?, row.get(1), row.get(2)))
}

/// The second of two like reports may be read by what is remembered of the first; `normalize_llm_usage` remembers nothing.
#[test]
fn every_shape_is_recorded_alike_however_often_it_was_met() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    client.batch_execute("set role service_role")?;
    make_tenant(&mut client, id(1))?;
    let cases: Vec<Value> = serde_json::from_str(GOLDEN).context("golden.json is damaged")?;
    let mut wrong = Vec::new();
    for case in &cases {
        let field = |name: &str| case[name].as_str().with_context(|| format!("a case has no {name}"));
        let (name, provider) = (field("name")?, field("provider")?);
        let Some(mut want) = normalized(&mut client, provider, &case["usage"])? else { continue };
        let wholes = (want["input_tokens"].as_i64(), want["output_tokens"].as_i64());
        want.as_object_mut().context("it is no object")?.remove("reported_cost_usd");
        for time in ["first", "second", "third"] {
            let (usage, input, output) = recorded(&mut client, provider, &case["usage"])?;
            if !same(&mut client, &usage, &want)? || wholes != (Some(input), Some(output)) {
                wrong.push(format!("{provider}, {name}, the {time} time: got {usage}, want {want}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} records go wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
