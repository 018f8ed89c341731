//! A batch as JSON: an array of objects keyed by the argument names of the function that records one, without `p_`. It is
//! read where it lies.

use chrono::DateTime;
use pgrx::Uuid;
use tollgate_core::usage::{Kind, Node};

use super::attribution::RecordArgs;
use super::e2b::{self, SandboxSession};
use super::llm::{self, LlmCall};
use crate::arguments::{self, shown};
use crate::error::{Error, Result};
use crate::pg::Timestamp;
use crate::pg::identity::parse_uuid;
use crate::pg::jsonb::Bounds;
use crate::pg::jsonb_node::JsonbNode;
use crate::pg::jsonb_value;
use crate::pg::value::GivenJson;

/// Most records in one batch: one transaction holds the tenants' locks for all of them.
const MAX_RECORDS: usize = 10_000;

/// All of a batch, in bytes as they are stored.
const BATCH: Bounds = Bounds { bytes: 16 * 1024 * 1024, depth: 110, number: 1_000 };

/// A kind of record that can come in a batch.
pub trait Batched: TryFrom<Self::Arguments, Error = Error> {
    type Arguments: Default;

    /// Takes an argument by its key; `false` when there is none of that name.
    fn take(given: &mut Self::Arguments, key: &str, value: JsonbNode<'_>) -> Result<bool>;
}

/// Reads the batch, or says which record (counted from 1) is wrong and how.
pub fn parse<R: Batched>(given: GivenJson) -> Result<Vec<R>> {
    let beyond = |excess| Error::invalid(arguments::beyond("p_records", &BATCH, excess));
    let array = jsonb_value::open(&given, &BATCH).map_err(beyond)?;
    if let Some(excess) = array.excess() {
        return Err(beyond(excess));
    }
    if !matches!(array.kind(), Kind::List) {
        return Err(Error::invalid("p_records must be a JSON array of objects"));
    }
    if array.elements().count() > MAX_RECORDS {
        return Err(Error::invalid(format!("p_records must not hold more than {MAX_RECORDS} records")));
    }
    let one = |element| R::try_from(read::<R>(element)?);
    let numbered = array.elements().enumerate();
    numbered.map(|(index, element)| one(element).map_err(|error| error.at_ordinal(index + 1))).collect()
}

/// A key that is not among the arguments would be a cost recorded without what it said.
fn read<R: Batched>(element: JsonbNode<'_>) -> Result<R::Arguments> {
    if !matches!(element.kind(), Kind::Object) {
        return Err(Error::invalid("is not a JSON object"));
    }
    let mut members: Vec<(&[u8], JsonbNode<'_>)> = element.members().collect();
    // Of several mistakes the first is told, as keys are sorted.
    members.sort_unstable_by_key(|(key, _)| *key);
    let mut given = R::Arguments::default();
    for (key, value) in members {
        let key = str::from_utf8(key).unwrap_or_default();
        if !R::take(&mut given, key, value)? {
            return Err(Error::invalid(format!("unknown key \"{}\"", shown(key))));
        }
    }
    Ok(given)
}

/// An argument; one that is null or missing has its default.
fn argument<T: Argument>(key: &str, value: JsonbNode<'_>) -> Result<Option<T::Given>> {
    if matches!(value.kind(), Kind::Null) {
        return Ok(None);
    }
    match T::read(value) {
        None => Err(Error::invalid(format!("{key} must be {}", T::EXPECTED))),
        given => Ok(given),
    }
}

/// Takes the arguments that all kinds of records have, and its own.
macro_rules! batched {
    ($record:ty as $module:ident { $($field:ident: $kind:ty,)* }) => {
        impl Batched for $record {
            type Arguments = $module::Arguments;

            fn take(given: &mut $module::Arguments, key: &str, value: JsonbNode<'_>) -> Result<bool> {
                match key {
                    $(stringify!($field) => given.$field = argument::<$kind>(key, value)?,)*
                    _ => return take_shared(&mut given.attribution, key, value),
                }
                Ok(true)
            }
        }
    };
}

fn take_shared(given: &mut RecordArgs, key: &str, value: JsonbNode<'_>) -> Result<bool> {
    match key {
        "tenant_id" => given.tenant_id = argument::<Uuid>(key, value)?,
        "user_id" => given.user_id = argument::<Uuid>(key, value)?,
        "conversation_id" => given.conversation_id = argument::<Uuid>(key, value)?,
        "path_id" => given.path_id = argument::<Uuid>(key, value)?,
        "cost_usd" => given.cost_usd = argument::<Amount>(key, value)?,
        "request_id" => given.request_id = argument::<String>(key, value)?,
        "reservation_id" => given.reservation_id = argument::<Uuid>(key, value)?,
        "enforce" => given.enforce = argument::<bool>(key, value)?.or(given.enforce),
        "occurred_at" => given.occurred_at = argument::<Moment>(key, value)?,
        "metadata" => given.metadata = argument::<GivenJson>(key, value)?,
        "log_denial" => given.log_denial = argument::<bool>(key, value)?.or(given.log_denial),
        _ => return Ok(false),
    }
    Ok(true)
}

batched! {
    LlmCall as llm {
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
    SandboxSession as e2b {
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

trait Argument {
    /// As the function takes it.
    type Given;
    const EXPECTED: &'static str;

    fn read(value: JsonbNode<'_>) -> Option<Self::Given>;
}

fn text(value: JsonbNode<'_>) -> Option<&str> {
    match value.kind() {
        Kind::Text(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

impl Argument for String {
    type Given = Self;
    const EXPECTED: &'static str = "a string";

    fn read(value: JsonbNode<'_>) -> Option<Self> {
        text(value).map(str::to_owned)
    }
}

impl Argument for bool {
    type Given = Self;
    const EXPECTED: &'static str = "true or false";

    fn read(value: JsonbNode<'_>) -> Option<Self> {
        match value.kind() {
            Kind::Bool(truth) => Some(truth),
            _ => None,
        }
    }
}

impl Argument for i64 {
    type Given = Self;
    const EXPECTED: &'static str = "a whole number";

    fn read(value: JsonbNode<'_>) -> Option<Self> {
        value.number()?.parse().ok()
    }
}

impl Argument for Uuid {
    type Given = Self;
    const EXPECTED: &'static str = "a UUID";

    fn read(value: JsonbNode<'_>) -> Option<Self> {
        text(value).and_then(parse_uuid)
    }
}

impl Argument for GivenJson {
    type Given = Self;
    const EXPECTED: &'static str = "JSON";

    fn read(value: JsonbNode<'_>) -> Option<Self> {
        Some(Self::new(value.document().datum()))
    }
}

/// A number, or a string of one for clients whose numbers are doubles.
struct Amount;

impl Argument for Amount {
    type Given = String;
    const EXPECTED: &'static str = "a number";

    fn read(value: JsonbNode<'_>) -> Option<String> {
        value.number().or_else(|| text(value).map(str::to_owned))
    }
}

/// RFC 3339, to the microsecond.
struct Moment;

impl Argument for Moment {
    type Given = Timestamp;
    const EXPECTED: &'static str = "a time such as 2026-01-31T12:00:00Z";

    fn read(value: JsonbNode<'_>) -> Option<Timestamp> {
        text(value).and_then(rfc3339)
    }
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some(crate::pg::from_unix_seconds(at.timestamp()) + i64::from(at.timestamp_subsec_micros()))
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
}
