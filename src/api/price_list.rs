//! Price lists on their way in.

use pgrx::{pg_extern, pg_sys};

use crate::arguments;
use crate::error::{Error, Result};
use crate::pg::call::{Call, Reply, signatures};
use crate::pg::jsonb::Bounds;
use crate::pg::value::Value;
use tollgate_core::json;
use tollgate_core::pricing::list::Reading;
use tollgate_core::pricing::strict;

signatures! {
    ReadPriceList = read_price_list(p_prices);
    PriceList = price_list(p_text);
}

/// The list that people use has 3 MB.
const BOUNDS: Bounds = Bounds { bytes: 32_000_000, depth: strict::MAX_LEVELS, number: 1_000 };

#[pg_extern(sql = false)]
fn read_price_list(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    let call = Call::<ReadPriceList>::new(fcinfo);
    Reply::new(read(call).unwrap_or_else(|error| error.raise()).datum())
}

fn read(call: Call<ReadPriceList>) -> Result<Value> {
    let given = call.jsonb(ReadPriceList::p_prices).ok_or_else(|| Error::invalid("p_prices must not be NULL"))?;
    let text = arguments::document(given, "the price list", &BOUNDS)?.text().into_owned();
    let list = json::parse(&text).map_err(|error| Error::invalid(format!("the price list cannot be read: {error}")))?;
    drop(text);
    let reading = Reading::of(&list).map_err(Error::invalid)?;
    let out = serde_json::json!({
        "rows": reading.rows,
        "price_values": reading.price_values,
        "aliases": reading.aliases,
        "skipped": reading.count_skipped(),
        "skipped_because": reading.skipped,
        "unknown": reading.unknown,
    });
    Ok(Value::jsonb(&out.to_string()))
}

#[pg_extern(sql = false)]
fn price_list(fcinfo: pg_sys::FunctionCallInfo) -> Reply {
    use PriceList::*;

    let call = Call::<PriceList>::new(fcinfo);
    let strict = |text: &str| {
        if text.len() > BOUNDS.bytes {
            return Err(Error::invalid(format!("the price list is larger than {} MB", BOUNDS.bytes / 1_000_000)));
        }
        // Postgres' own reader would name a state of its own for text that is no JSON.
        strict::read(text).map_err(Error::invalid)?;
        Ok(Value::jsonb(text))
    };
    let read = call.with_text(p_text, strict).unwrap_or_else(|| Err(Error::invalid("p_text must not be NULL")));
    Reply::new(read.unwrap_or_else(|error| error.raise()).datum())
}
