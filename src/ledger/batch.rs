//! A batch of LLM calls as JSON: an array of objects keyed by the argument names of `record_llm_cost` without `p_`.

use serde_json::{Map, Value};

use super::llm::{Arguments, LlmCall};
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::identity::parse_uuid;
use crate::pg::jsonb::Bounds;
use crate::pg::value::GivenJson;

/// Most records in one batch: one transaction holds the tenants' locks for all of them.
const MAX_RECORDS: usize = 1_000;

/// All of a batch: 16 KiB for each of a thousand records.
pub const BATCH: Bounds = Bounds { bytes: 16 * 1024 * 1024, depth: 110, number: 1_000 };

/// Reads the batch, or says which record (counted from 1) is wrong and how.
pub fn parse(text: &str) -> Result<Vec<LlmCall>> {
    let Ok(Value::Array(records)) = serde_json::from_str(text) else {
        return Err(Error::invalid("p_records must be a JSON array of objects"));
    };
    if records.len() > MAX_RECORDS {
        return Err(Error::invalid(format!("p_records must not hold more than {MAX_RECORDS} records")));
    }
    records
        .into_iter()
        .enumerate()
        .map(|(index, record)| {
            let Value::Object(fields) = record else {
                return Err(Error::invalid("is not a JSON object").at_ordinal(index + 1));
            };
            arguments(fields).and_then(LlmCall::try_from).map_err(|error| error.at_ordinal(index + 1))
        })
        .collect()
}

fn arguments(fields: Map<String, Value>) -> Result<Arguments> {
    let mut given = Arguments::default();
    given.attribution.enforce = Some(false);
    given.attribution.log_denial = Some(false);
    for (key, value) in fields {
        if value.is_null() {
            // As an absent argument: the default applies.
            known(&key)?;
            continue;
        }
        match key.as_str() {
            "tenant_id" => given.attribution.tenant_id = Some(uuid(&key, &value)?),
            "model_provider" => given.model_provider = Some(text(&key, value)?),
            "model_name" => given.model_name = Some(text(&key, value)?),
            "input_tokens" => given.input_tokens = Some(whole(&key, &value)?),
            "output_tokens" => given.output_tokens = Some(whole(&key, &value)?),
            "user_id" => given.attribution.user_id = Some(uuid(&key, &value)?),
            "conversation_id" => given.attribution.conversation_id = Some(uuid(&key, &value)?),
            "path_id" => given.attribution.path_id = Some(uuid(&key, &value)?),
            "task" => given.task = Some(text(&key, value)?),
            "usage" => given.usage = Some(GivenJson::Text(value.to_string())),
            "service_tier" => given.service_tier = Some(text(&key, value)?),
            "cost_usd" => given.attribution.cost_usd = Some(decimal(&key, value)?),
            "request_id" => given.attribution.request_id = Some(text(&key, value)?),
            "reservation_id" => given.attribution.reservation_id = Some(uuid(&key, &value)?),
            "enforce" => given.attribution.enforce = Some(truth(&key, &value)?),
            "log_denial" => given.attribution.log_denial = Some(truth(&key, &value)?),
            "occurred_at" => given.attribution.occurred_at = Some(moment(&key, &value)?),
            "trace_id" => given.trace_id = Some(text(&key, value)?),
            "span_id" => given.span_id = Some(text(&key, value)?),
            "metadata" => given.attribution.metadata = Some(GivenJson::Text(value.to_string())),
            _ => known(&key)?,
        }
    }
    Ok(given)
}

/// A misspelt key would be a cost recorded without what it said.
fn known(key: &str) -> Result<()> {
    const KEYS: [&str; 20] = [
        "tenant_id",
        "model_provider",
        "model_name",
        "input_tokens",
        "output_tokens",
        "user_id",
        "conversation_id",
        "path_id",
        "task",
        "usage",
        "service_tier",
        "cost_usd",
        "request_id",
        "reservation_id",
        "enforce",
        "occurred_at",
        "trace_id",
        "span_id",
        "metadata",
        "log_denial",
    ];
    if KEYS.contains(&key) {
        Ok(())
    } else {
        Err(Error::invalid(format!("unknown key \"{}\"", crate::arguments::shown(key))))
    }
}

fn wrong(key: &str, expected: &str) -> Error {
    Error::invalid(format!("{key} must be {expected}"))
}

fn text(key: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong(key, "a string")),
    }
}

fn truth(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn uuid(key: &str, value: &Value) -> Result<pgrx::Uuid> {
    value.as_str().and_then(parse_uuid).ok_or_else(|| wrong(key, "a UUID"))
}

fn whole(key: &str, value: &Value) -> Result<i64> {
    value.as_i64().ok_or_else(|| wrong(key, "a whole number"))
}

/// A number, or a string of one for clients whose numbers are doubles.
fn decimal(key: &str, value: Value) -> Result<String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text),
        _ => Err(wrong(key, "a number")),
    }
}

fn moment(key: &str, value: &Value) -> Result<Timestamp> {
    value.as_str().and_then(rfc3339).ok_or_else(|| wrong(key, "a time such as 2026-01-31T12:00:00Z"))
}

/// RFC 3339 §5.6, to the microsecond: `2026-01-31T12:00:00.5+01:00`.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|byte| expected.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = tollgate_core::period::days_from_date(year, month, day)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if is(at, b".") {
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(6);
        micros = number(at + 1, at + 1 + kept)? * 10_i64.pow(6 - u32::try_from(kept).ok()?);
        at += 1 + digits;
    }
    let offset = if is(at, b"Zz") && bytes.len() == at + 1 {
        0
    } else if is(at, b"+-") && is(at + 3, b":") && bytes.len() == at + 6 {
        let offset = number(at + 1, at + 3)? * 3_600 + number(at + 4, at + 6)? * 60;
        if is(at, b"-") { -offset } else { offset }
    } else {
        return None;
    };
    let unix = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(crate::pg::from_unix_seconds(unix) + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(rfc3339("2000-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339("2000-01-01T01:00:00.25+01:00"), Some(250_000));
        assert_eq!(rfc3339("2000-03-01T00:00:00-00:30"), Some((60 * 86_400 + 1_800) * 1_000_000));
        assert_eq!(rfc3339("2000-01-01 00:00:00.1234567Z"), Some(123_456));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2000-01-01",
            "2000-01-01T00:00:00",
            "2000-02-30T00:00:00Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01T00:00:00.Z",
            "2000-01-01T00:00:00+1:00",
            "+000-01-01T00:00:00Z",
            "2000-01-01T00:00:00Zé",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }
}
