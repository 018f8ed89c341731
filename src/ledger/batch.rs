//! A batch as JSON: an array of objects keyed by the argument names of the function that records one, without `p_`.

use chrono::DateTime;
use pgrx::Uuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tollgate_core::json::{self, Misfit};

use super::attribution::RecordArgs;
use super::e2b::{self, SandboxSession};
use super::llm::{self, LlmCall};
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

/// A kind of record that can come in a batch.
pub trait Batched: TryFrom<Self::Arguments, Error = Error> {
    type Arguments;

    /// The arguments that an element of the array gives.
    fn arguments(element: Value) -> Result<Self::Arguments>;
}

/// Reads the batch, or says which record (counted from 1) is wrong and how.
pub fn parse<R: Batched>(text: &str) -> Result<Vec<R>> {
    let Ok(Value::Array(records)) = json::parse(text) else {
        return Err(Error::invalid("p_records must be a JSON array of objects"));
    };
    if records.len() > MAX_RECORDS {
        return Err(Error::invalid(format!("p_records must not hold more than {MAX_RECORDS} records")));
    }
    let one = |element| R::try_from(R::arguments(element)?);
    let numbered = records.into_iter().enumerate();
    numbered.map(|(index, element)| one(element).map_err(|error| error.at_ordinal(index + 1))).collect()
}

fn read<T: DeserializeOwned>(element: Value) -> Result<T> {
    let Value::Object(fields) = element else { return Err(Error::invalid("is not a JSON object")) };
    json::read(fields).map_err(|Misfit { path, why }| {
        let key = path.join(".");
        Error::invalid(match why {
            Some(why) => format!("{key} {why}"),
            None => format!("unknown key \"{}\"", shown(&key)),
        })
    })
}

/// The keys of one kind of record: those that all kinds have, and its own. A key that is not among these would be a cost
/// recorded without what it said.
macro_rules! batched {
    ($record:ty as $element:ident of $module:ident { $($field:ident: $kind:ty,)* }) => {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct $element {
            tenant_id: Field<Uuid>,
            user_id: Field<Uuid>,
            conversation_id: Field<Uuid>,
            path_id: Field<Uuid>,
            cost_usd: Field<Amount>,
            request_id: Field<String>,
            reservation_id: Field<Uuid>,
            enforce: Field<bool>,
            occurred_at: Field<Moment>,
            metadata: Field<GivenJson>,
            log_denial: Field<bool>,
            $($field: Field<$kind>,)*
        }

        impl Batched for $record {
            type Arguments = $module::Arguments;

            fn arguments(element: Value) -> Result<$module::Arguments> {
                let given: $element = read(element)?;
                Ok($module::Arguments {
                    attribution: RecordArgs {
                        tenant_id: given.tenant_id.0,
                        user_id: given.user_id.0,
                        conversation_id: given.conversation_id.0,
                        path_id: given.path_id.0,
                        cost_usd: given.cost_usd.0,
                        request_id: given.request_id.0,
                        reservation_id: given.reservation_id.0,
                        enforce: given.enforce.0.or(Some(false)),
                        occurred_at: given.occurred_at.0,
                        metadata: given.metadata.0,
                        log_denial: given.log_denial.0.or(Some(false)),
                    },
                    $($field: given.$field.0,)*
                })
            }
        }
    };
}

batched! {
    LlmCall as Call of llm {
        model_provider: String,
        model_name: String,
        input_tokens: i64,
        output_tokens: i64,
        task: String,
        usage: GivenJson,
        service_tier: String,
        trace_id: String,
        span_id: String,
    }
}

batched! {
    SandboxSession as Sandbox of e2b {
        sandbox_id: String,
        sandbox_type: String,
        duration_seconds: Amount,
        region: String,
        vcpu_seconds: Amount,
        memory_gib_seconds: Amount,
        provider: String,
        disk_gib_seconds: Amount,
        gpu_seconds: Amount,
        creations: Amount,
        egress_gib: Amount,
    }
}

/// An argument; one that is null or missing has its default.
struct Field<T: Argument>(Option<T::Given>);

impl<T: Argument> Default for Field<T> {
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

trait Argument {
    /// As the function takes it.
    type Given;
    const EXPECTED: &'static str;

    fn from_json(value: Value) -> Option<Self::Given>;
}

impl Argument for String {
    type Given = Self;
    const EXPECTED: &'static str = "a string";

    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Argument for bool {
    type Given = Self;
    const EXPECTED: &'static str = "true or false";

    fn from_json(value: Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Argument for i64 {
    type Given = Self;
    const EXPECTED: &'static str = "a whole number";

    fn from_json(value: Value) -> Option<Self> {
        value.as_i64()
    }
}

impl Argument for Uuid {
    type Given = Self;
    const EXPECTED: &'static str = "a UUID";

    fn from_json(value: Value) -> Option<Self> {
        value.as_str().and_then(parse_uuid)
    }
}

impl Argument for GivenJson {
    type Given = Self;
    const EXPECTED: &'static str = "JSON";

    fn from_json(value: Value) -> Option<Self> {
        Some(Self::Text(value.to_string()))
    }
}

/// A number, or a string of one for clients whose numbers are doubles.
struct Amount;

impl Argument for Amount {
    type Given = String;
    const EXPECTED: &'static str = "a number";

    fn from_json(value: Value) -> Option<Self::Given> {
        match value {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// RFC 3339, to the microsecond.
struct Moment;

impl Argument for Moment {
    type Given = Timestamp;
    const EXPECTED: &'static str = "a time such as 2026-01-31T12:00:00Z";

    fn from_json(value: Value) -> Option<Self::Given> {
        let at = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
        Some(crate::pg::from_unix_seconds(at.timestamp()) + i64::from(at.timestamp_subsec_micros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rfc3339(text: &str) -> Option<Timestamp> {
        Moment::from_json(text.into())
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
        let said = |record: &str| match serde_json::from_str(record).map(LlmCall::arguments) {
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
        let said = |record: &str| match serde_json::from_str(record).map(SandboxSession::arguments) {
            Ok(Err(Error::Invalid { message, .. })) => message,
            _ => String::new(),
        };
        assert_eq!(said(r#"{"duration_seconds": []}"#), "duration_seconds must be a number");
        assert_eq!(said(r#"{"model_name": "m"}"#), "unknown key \"model_name\"");
        let Ok(Ok(read)) =
            serde_json::from_str(r#"{"cost_usd": 0.10, "task": null, "usage": {"a": 1.50}}"#).map(LlmCall::arguments)
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
