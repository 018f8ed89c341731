//! Names of providers and models as clients spell them, against the whole list: each finds its own price, or none.

use tollgate_tests::support;

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use postgres::Client;
use support::{Database, id, make_tenant};
use tollgate_tests::{layout, price_list};

/// A client's spellings by the client: provider, model, and the key of the price in the list.
type Names = BTreeMap<String, Vec<(String, String, Option<String>)>>;

fn names() -> Result<Names> {
    let path = layout::tests_dir().join("data/provider_names.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// The key of the price by which a call of one token was priced.
fn key(client: &mut Client, provider: &str, model: &str) -> Result<Option<String>> {
    let record: uuid::Uuid = client
        .query_one("select cost_record_id from public.record_llm_cost($1, $2, $3, 1, 0)", &[&id(1), &provider, &model])?
        .get(0);
    let sql = "
        select p.list_key, r.cost_status
        from copilot_internal.llm_cost_records r
        left join copilot_internal.model_pricing p on p.id = (r.pricing ->> 'price_id')::uuid
        where r.id = $1";
    let row = client.query_one(sql, &[&record])?;
    let (key, status): (Option<String>, String) = (row.get(0), row.get(1));
    assert_eq!(key.is_some(), status == "priced", "{provider}/{model} is {status}");
    Ok(key)
}

#[test]
fn every_spelling_finds_its_own_price_or_none() -> Result<()> {
    let mut client = Database::fresh()?.superuser()?;
    client.batch_execute("set role service_role")?;
    make_tenant(&mut client, id(1))?;
    let sql = "select inserted from copilot_internal.import_model_pricing(
                   copilot_internal.price_list($1), $2, '2026-01-01Z')";
    let models: i64 = client.query_one(sql, &[&price_list::newer_text()?, &price_list::NEWER_SOURCE])?.get(0);
    assert!(models > 4_600, "only {models} models were imported");

    let mut wrong = Vec::new();
    let mut checked = 0;
    for (client_name, spellings) in names()? {
        let (mut found, mut none) = (0, 0);
        for (provider, model, want) in &spellings {
            let got = key(&mut client, provider, model)?;
            if got == *want {
                *(if want.is_some() { &mut found } else { &mut none }) += 1;
            } else {
                wrong.push(format!("{provider}/{model}: got {got:?}, want {want:?}"));
            }
        }
        checked += spellings.len();
        let (right, all) = (found + none, spellings.len());
        println!("counted: names, {client_name}: {right} of {all} right, {none} of them rightly without a price");
    }
    println!("counted: names of all: {} of {checked} right", checked - wrong.len());
    assert!(checked > 120, "only {checked} names");
    assert!(wrong.is_empty(), "{} of {checked} names go wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
