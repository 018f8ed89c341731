//! A batch of LLM calls as JSON: an array of objects keyed by the argument names of `record_llm_cost` without `p_`.

use chrono::DateTime;
use pgrx::Uuid;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tollgate_core::json::{self, Misfit};

use super::attribution::RecordArgs;
use super::llm::{Arguments, LlmCall};
use crate::arguments::shown;
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
    let call = |record| LlmCall::try_from(arguments(record)?);
    let numbered = records.into_iter().enumerate();
    numbered.map(|(index, record)| call(record).map_err(|error| error.at_ordinal(index + 1))).collect()
}

fn arguments(record: Value) -> Result<Arguments> {
    let Value::Object(fields) = record else { return Err(Error::invalid("is not a JSON object")) };
    let read = json::read::<Record>(fields).map_err(|Misfit { path, why }| {
        let key = path.join(".");
        Error::invalid(match why {
            Some(why) => format!("{key} {why}"),
            None => format!("unknown key \"{}\"", shown(&key)),
        })
    });
    read.map(Arguments::from)
}

/// One record. A key that is not among these would be a cost recorded without what it said.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Record {
    tenant_id: Field<Uuid>,
    model_provider: Field<String>,
    model_name: Field<String>,
    input_tokens: Field<i64>,
    output_tokens: Field<i64>,
    user_id: Field<Uuid>,
    conversation_id: Field<Uuid>,
    path_id: Field<Uuid>,
    task: Field<String>,
    usage: Field<GivenJson>,
    service_tier: Field<String>,
    cost_usd: Field<Amount>,
    request_id: Field<String>,
    reservation_id: Field<Uuid>,
    enforce: Field<bool>,
    occurred_at: Field<Moment>,
    trace_id: Field<String>,
    span_id: Field<String>,
    metadata: Field<GivenJson>,
    log_denial: Field<bool>,
}

impl From<Record> for Arguments {
    fn from(record: Record) -> Self {
        Self {
            attribution: RecordArgs {
                tenant_id: record.tenant_id.0,
                user_id: record.user_id.0,
                conversation_id: record.conversation_id.0,
                path_id: record.path_id.0,
                cost_usd: record.cost_usd.0.map(|Amount(text)| text),
                request_id: record.request_id.0,
                reservation_id: record.reservation_id.0,
                enforce: record.enforce.0.or(Some(false)),
                occurred_at: record.occurred_at.0.map(|Moment(at)| at),
                metadata: record.metadata.0,
                log_denial: record.log_denial.0.or(Some(false)),
            },
            model_provider: record.model_provider.0,
            model_name: record.model_name.0,
            input_tokens: record.input_tokens.0,
            output_tokens: record.output_tokens.0,
            task: record.task.0,
            usage: record.usage.0,
            service_tier: record.service_tier.0,
            trace_id: record.trace_id.0,
            span_id: record.span_id.0,
        }
    }
}

/// An argument; one that is null or missing has its default.
struct Field<T>(Option<T>);

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Argument> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        let read = |value| T::from_json(value).ok_or_else(|| format!("must be {}", T::EXPECTED));
        json::nullable(json, read).map(Self)
    }
}

trait Argument: Sized {
    const EXPECTED: &'static str;

    fn from_json(value: Value) -> Option<Self>;
}

impl Argument for String {
    const EXPECTED: &'static str = "a string";

    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Argument for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_json(value: Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Argument for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_json(value: Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Argument for Uuid {
    const EXPECTED: &'static str = "a UUID";

    fn from_json(value: Value) -> Option<Self> {
        value.as_str().and_then(parse_uuid)
    }
}

impl Argument for GivenJson {
    const EXPECTED: &'static str = "JSON";

    fn from_json(value: Value) -> Option<Self> {
        Some(Self::Text(value.to_string()))
    }
}

/// A number, or a string of one for clients whose numbers are doubles.
struct Amount(String);

impl Argument for Amount {
    const EXPECTED: &'static str = "a number";

    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self(number.to_string())),
            Value::String(text) => Some(Self(text)),
            _ => None,
        }
    }
}

/// RFC 3339, to the microsecond.
struct Moment(Timestamp);

impl Argument for Moment {
    const EXPECTED: &'static str = "a time such as 2026-01-31T12:00:00Z";

    fn from_json(value: Value) -> Option<Self> {
        let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
        Some(Self(crate::pg::from_unix_seconds(at.timestamp()) + i64::from(at.timestamp_subsec_micros())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(text: &str) -> Option<Timestamp> {
        Moment::from_json(text.into()).map(|Moment(at)| at)
    }

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(rfc3339("2000-01-01T00:00:00Z"), Some(0));
        assert_eq!(rfc3339("2000-01-01T01:00:00.25+01:00"), Some(250_000));
        assert_eq!(rfc3339("2000-03-01T00:00:00-00:30"), Some((60 * 86_400 + 1_800) * 1_000_000));
        assert_eq!(rfc3339("2000-01-01 00:00:00.1234567Z"), Some(123_456));
        assert_eq!(rfc3339("2000-01-01t00:00:00.12345678901234567890z"), Some(123_456));
        // A second that is inserted is the next one.
        assert_eq!(rfc3339("1999-12-31T23:59:60.5Z"), Some(500_000));
        assert_eq!(rfc3339("1999-12-31T23:59:59.999999Z"), Some(-1));
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
            "2000-01-01T00:00:00+0100",
            "2000-01-01T00:00:00+24:00",
            "2000-01-01T00:00:00+01:60",
            "2000-01-01T00:00:61Z",
            "2000-01-01T00:00:00Z ",
            " 2000-01-01T00:00:00Z",
            "2000-1-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "+000-01-01T00:00:00Z",
            "2000-01-01T00:00:00Zé",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn a_record_is_read_or_its_key_named() {
        let said = |record: &str| match serde_json::from_str(record).map(arguments) {
            Ok(Err(Error::Invalid { message, .. })) => message,
            _ => String::new(),
        };
        for (record, message) in [
            ("[]", "is not a JSON object"),
            (r#"["00000000-0000-0000-0000-000000000001"]"#, "is not a JSON object"),
            (r#"{"tokens": null}"#, "unknown key \"tokens\""),
            (r#"{"tokens": 5}"#, "unknown key \"tokens\""),
            (r#"{"task": 5}"#, "task must be a string"),
            (r#"{"enforce": 1}"#, "enforce must be true or false"),
            (r#"{"tenant_id": "x"}"#, "tenant_id must be a UUID"),
            (r#"{"input_tokens": 1.0}"#, "input_tokens must be a whole number"),
            (r#"{"input_tokens": "1"}"#, "input_tokens must be a whole number"),
            (r#"{"cost_usd": true}"#, "cost_usd must be a number"),
            (r#"{"occurred_at": 5}"#, "occurred_at must be a time such as 2026-01-31T12:00:00Z"),
        ] {
            assert_eq!(said(record), message, "{record}");
        }
        let Ok(Ok(read)) =
            serde_json::from_str(r#"{"cost_usd": 0.10, "task": null, "usage": {"a": 1.50}}"#).map(arguments)
        else {
            panic!("not read")
        };
        let usage = match read.usage {
            Some(GivenJson::Text(text)) => Some(text),
            _ => None,
        };
        assert_eq!((read.attribution.cost_usd.as_deref(), usage.as_deref()), (Some("0.10"), Some(r#"{"a":1.50}"#)));
        assert_eq!((read.task, read.attribution.enforce), (None, Some(false)));
    }
}
