//! The price list that people use, as the demo and the tests import it.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use postgres::Client;

use crate::layout;

/// What the import is told of where it is from.
pub const SOURCE: &str = "litellm 1.109.1";

/// The same of the list of a month later.
pub const NEWER_SOURCE: &str = "litellm 1.110.2";

/// The file in the checkout; its NOTICE says where it is from.
pub fn path() -> PathBuf {
    layout::tests_dir().join("data/litellm_model_prices.json.gz")
}

/// The list as it was published.
pub fn text() -> Result<String> {
    read(path())
}

/// The list of a month later, as it was published.
pub fn newer_text() -> Result<String> {
    read(layout::tests_dir().join("data/litellm_model_prices_1.110.2.json.gz"))
}

fn read(path: PathBuf) -> Result<String> {
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(text)
}

/// Imports the list in force from a moment on; gives the counts of models and of prices.
pub fn import(client: &mut Client, from: &str) -> Result<(i64, i64)> {
    let sql = "select inserted, price_values from copilot_internal.import_model_pricing(
                   copilot_internal.price_list($1), $2, $3::text::timestamptz)";
    let row = client.query_one(sql, &[&text()?, &SOURCE, &from]).context("cannot import the price list")?;
    let (models, prices) = (row.get(0), row.get(1));
    ensure!(models > 4_000, "only {models} models were imported");
    Ok((models, prices))
}
