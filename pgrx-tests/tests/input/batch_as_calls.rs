//! A batch is one call per record: random batches in one database, the same records one by one in another, and nothing
//! tells the two apart.

use anyhow::{Context, Result};
use postgres::Client;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use tollgate_tests::session::{message, sqlstate};
use uuid::Uuid;

use crate::support::{Database, assert_verified, id, make_tenant, texts};

const TENANTS: u128 = 5;
/// One that has no row, and no quota.
const UNKNOWN: u128 = 9;

/// What a recording function is given by the argument names of JSON, for each kind of record.
const LLM: &str = "
    record_llm_cost((r ->> 'tenant_id')::uuid, r ->> 'model_provider', r ->> 'model_name',
        (r ->> 'input_tokens')::bigint, (r ->> 'output_tokens')::bigint, p_task => r ->> 'task',
        p_usage => r -> 'usage', p_service_tier => r ->> 'service_tier', p_trace_id => r ->> 'trace_id',";
const E2B: &str = "
    record_e2b_cost((r ->> 'tenant_id')::uuid, r ->> 'sandbox_id', r ->> 'sandbox_type',
        (r ->> 'duration_seconds')::numeric, p_region => r ->> 'region',
        p_vcpu_seconds => (r ->> 'vcpu_seconds')::numeric,";
const SHARED: &str = "
        p_user_id => (r ->> 'user_id')::uuid, p_path_id => (r ->> 'path_id')::uuid,
        p_conversation_id => (r ->> 'conversation_id')::uuid, p_cost_usd => (r ->> 'cost_usd')::numeric,
        p_request_id => r ->> 'request_id', p_reservation_id => (r ->> 'reservation_id')::uuid,
        p_enforce => coalesce((r ->> 'enforce')::boolean, false), p_occurred_at => (r ->> 'occurred_at')::timestamptz,
        p_metadata => coalesce(r -> 'metadata', '{}'), p_log_denial => coalesce((r ->> 'log_denial')::boolean, false))";

fn named(number: u128) -> Value {
    json!(id(number).to_string())
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Llm,
    E2b,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Llm => "llm",
            Kind::E2b => "e2b",
        }
    }

    fn batch(self) -> String {
        format!("select b.ordinal, {RESULT} from public.record_{}_costs($1) b order by b.ordinal", self.as_str())
    }

    fn calls(self) -> String {
        let own = if self == Kind::Llm { LLM } else { E2B };
        format!(
            "select e.ordinal, {RESULT} from jsonb_array_elements($1) with ordinality e (r, ordinal)
             cross join lateral public.{}{SHARED} b order by e.ordinal",
            own.trim_start()
        )
    }
}

/// All that is no id or moment.
const RESULT: &str = "concat_ws(' ', b.recorded, b.cost_usd, b.cost_status, b.quota_status, 'left', b.remaining_usd,
    b.overrun_usd, b.reason, b.replayed, b.retryable, b.blocked_scope, b.blocked_resource_type, b.limit_usd)";

/// What is in the tables afterwards, but for ids and the moments of the clock.
const TABLES: [&str; 7] = [
    "select (to_jsonb(r) - 'id' - 'recorded_at' - 'charged_at' - 'reservation_id'
             || jsonb_build_object('settles', r.reservation_id is not null,
                                   'charged', case when r.charged_at = r.occurred_at then r.charged_at end))::text
     from copilot_internal.llm_cost_records r order by 1",
    "select (to_jsonb(r) - 'id' - 'recorded_at' - 'charged_at' - 'reservation_id'
             || jsonb_build_object('settles', r.reservation_id is not null,
                                   'charged', case when r.charged_at = r.occurred_at then r.charged_at end))::text
     from copilot_internal.e2b_cost_records r order by 1",
    "select concat_ws(' ', r.tenant_id, r.user_id, r.resource_type, r.grain, sum(r.nanos))
     from copilot_internal.quota_rollups r group by r.tenant_id, r.user_id, r.resource_type, r.grain order by 1",
    "select to_jsonb(r)::text from copilot_internal.cost_rollups r order by 1",
    "select (to_jsonb(r) - 'id' - 'quota_id' - 'created_at' - 'payload')::text || (payload - 'scope_id')::text
     from copilot_internal.quota_events r order by 1",
    "select concat_ws(' ', q.scope, q.scope_id, q.resource_type, q.period, q.limit_usd, q.current_spend_usd,
                      q.reserved_usd, q.status)
     from metrics.quota_status q order by 1",
    "select concat_ws(' ', r.request_id, r.state, r.charged_usd, r.released_usd, r.overrun_usd, r.late)
     from copilot_internal.quota_reservations r order by 1",
];

/// One side: a database with the tenants, their quotas and a price.
struct Side {
    database: Database,
    client: Client,
}

impl Side {
    fn new() -> Result<Self> {
        let database = Database::fresh()?;
        let mut client = database.superuser()?;
        for tenant in 1..=TENANTS {
            make_tenant(&mut client, id(tenant))?;
        }
        client.batch_execute(&format!(
            "select public.set_quota('platform', null, 'all', 100000, 'lifetime');
             select public.set_quota('tenant', '{one}', 'all', 6, 'lifetime');
             select public.set_quota('tenant', '{two}', 'llm', 4, 'month');
             select public.set_quota('tenant', '{two}', 'e2b', 4, 'lifetime', p_mode => 'soft');
             select public.set_quota('user', '{user}', 'all', 1, 'lifetime', p_tenant_id => '{two}');
             select public.set_model_price('acme', 'priced', 2.5, 10);
             update copilot_internal.tenants set deleted_at = '2026-01-01 00:00Z' where id = '{five}'",
            one = id(1),
            two = id(2),
            five = id(5),
            user = id(101),
        ))?;
        Ok(Self { database, client })
    }

    /// A hold of each tenant that is not deleted, if it has room, for a record of the round.
    fn holds(&mut self, kind: Kind, round: usize) -> Result<Vec<Option<Uuid>>> {
        let sql = "select h.reservation_id from public.reserve_quota($1, $2, 0.5, $3) h";
        let request = format!("hold {} {round}", kind.as_str());
        let hold = |tenant| -> Result<Option<Uuid>> {
            Ok(self.client.query_one(sql, &[&id(tenant), &kind.as_str(), &request])?.get(0))
        };
        (1..=4).map(hold).collect()
    }

    fn record(&mut self, sql: &str, records: &Value) -> Result<Vec<String>, postgres::Error> {
        let rows = self.client.query(sql, &[records])?;
        Ok(rows.iter().map(|row| row.get(1)).collect())
    }

    fn tables(&mut self) -> Result<Vec<Vec<String>>> {
        // Twice: what folds leave to the platform is folded by the next.
        for _ in 0..3 {
            self.client.execute("select from copilot_internal.maintain(1000000)", &[])?;
        }
        TABLES.iter().map(|sql| texts(&mut self.client, sql, &[]).with_context(|| sql.to_string())).collect()
    }
}

/// A record of anything that is taken; some of the requests are those of earlier records.
fn record(random: &mut ChaCha8Rng, kind: Kind, requests: &mut Vec<Value>) -> Value {
    if !requests.is_empty() && random.random_bool(0.1) {
        return requests[random.random_range(0..requests.len())].clone();
    }
    let tenant = if random.random_bool(0.05) { UNKNOWN } else { random.random_range(1..=TENANTS) };
    let mut record = match kind {
        Kind::Llm => {
            let tokens = random.random_range(10..5_000);
            let model = ["priced", "gpt-4o", "of no price"][random.random_range(0..3)];
            json!({ "model_provider": if model == "gpt-4o" { "openai" } else { "acme" }, "model_name": model,
                "input_tokens": tokens, "output_tokens": random.random_range(0..900), "task": "plan",
                "usage": random.random_bool(0.5).then(|| json!({ "cache_read_input_tokens": tokens / 2, "of": [1.50, null] })) })
        }
        Kind::E2b => json!({ "sandbox_id": format!("s{}", random.random_range(0..9)), "sandbox_type": "standard",
            "duration_seconds": format!("{}.5", random.random_range(1..90)), "region": null,
            "vcpu_seconds": random.random_range(1..900) }),
    };
    record["tenant_id"] = named(tenant);
    // Some days of this month, and of others.
    record["occurred_at"] =
        json!(format!("2026-0{}-1{}T12:00:00.25Z", random.random_range(1..9), random.random_range(0..9)));
    if random.random_bool(0.6) {
        record["user_id"] = named(100 + random.random_range(0..4));
    }
    if random.random_bool(0.3) {
        record["conversation_id"] = named(200 + random.random_range(0..4));
        record["metadata"] = json!({ "n": 1.0, "deep": { "er": ["é", -2, 1e30] } });
    }
    if random.random_bool(0.5) {
        record["cost_usd"] = json!(format!("0.{:06}", random.random_range(0..400_000)));
    }
    if random.random_bool(0.15) {
        record["enforce"] = json!(true);
        record["log_denial"] = json!(random.random_bool(0.5));
    }
    if random.random_bool(0.7) {
        record["request_id"] = json!(format!("r{}", random.random_range(0..u64::MAX)));
        requests.push(record.clone());
    }
    record
}

/// The records as one side has them: with its own holds.
fn with_holds(records: &[Value], holds: &[Option<Uuid>], settling: &[usize]) -> Value {
    let mut records = records.to_vec();
    for (hold, place) in holds.iter().zip(settling) {
        records[*place]["reservation_id"] = json!(hold.map(|hold| hold.to_string()));
    }
    Value::Array(records)
}

fn agree(kind: Kind, seed: u64, sizes: &[usize]) -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut batches, mut calls) = (Side::new()?, Side::new()?);
    let (mut requests, mut seen) = (Vec::new(), Map::new());
    for (round, size) in sizes.iter().enumerate() {
        let mut records: Vec<Value> = (0..*size).map(|_| record(&mut random, kind, &mut requests)).collect();
        // What settles a hold is a record of its tenant, and of its user.
        let settling: Vec<usize> = (1..=4)
            .map(|tenant| {
                let mut one = record(&mut random, kind, &mut Vec::new());
                one["tenant_id"] = named(tenant);
                one["request_id"] = json!(format!("settles {round} {tenant}"));
                let place = random.random_range(0..=records.len());
                records.insert(place, one);
                place
            })
            .collect();
        // Inserting moved those that came before.
        let settling: Vec<usize> = (0..settling.len())
            .filter_map(|index| {
                let request = json!(format!("settles {round} {}", index + 1));
                records.iter().position(|one| one["request_id"] == request)
            })
            .collect();
        let mut answers = Vec::new();
        for (side, sql) in [(&mut batches, kind.batch()), (&mut calls, kind.calls())] {
            let holds = side.holds(kind, round)?;
            answers.push(side.record(&sql, &with_holds(&records, &holds, &settling))?);
        }
        for (place, (batch, call)) in answers[0].iter().zip(&answers[1]).enumerate() {
            assert_eq!(batch, call, "record {place} of round {round}, seed {seed}: {}", records[place]);
            for (what, is) in
                [("replayed", " t f"), ("over", "although"), ("refused", "would exceed"), ("unpriced", "unpriced")]
            {
                if batch.contains(is) {
                    seen.insert(what.to_string(), true.into());
                }
            }
        }
        assert_eq!(answers[0].len(), records.len());
        let (mine, theirs) = (batches.tables()?, calls.tables()?);
        for (sql, (batch, call)) in TABLES.iter().zip(mine.iter().zip(&theirs)) {
            assert_eq!(batch, call, "round {round}, seed {seed}: {sql}");
        }
    }
    for side in [&mut batches, &mut calls] {
        assert_verified(&mut side.client);
    }
    // The records must have been of all kinds, or agreeing says little.
    assert!(["replayed", "over", "refused"].iter().all(|what| seen.contains_key(*what)), "{seen:?}");
    batches.database.remove()?;
    calls.database.remove()
}

#[test]
fn a_batch_of_calls_is_one_call_per_record() -> Result<()> {
    agree(Kind::Llm, 1, &[1, 2, 40, 700, 300])?;
    agree(Kind::Llm, 2, &[600, 3, 256, 257])
}

#[test]
fn a_batch_of_sandboxes_is_one_call_per_record() -> Result<()> {
    agree(Kind::E2b, 3, &[300, 60, 256])
}

/// The sentence is the call's, with the ordinal before it, and nothing of the batch is left.
#[test]
fn a_bad_record_anywhere_says_what_its_call_says() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (mut batches, mut calls) = (Side::new()?, Side::new()?);
    let mut records: Vec<Value> = (0..400).map(|_| record(&mut random, Kind::Llm, &mut Vec::new())).collect();
    records[0]["request_id"] = json!("first");
    records[0]["tenant_id"] = named(1);
    for (key, value) in [
        ("input_tokens", json!(-1)),
        ("usage", json!({ "cache_read_input_tokens": 1_000_000 })),
        ("usage", json!([1])),
        ("metadata", json!("text")),
        ("metadata", json!({ "long": "x".repeat(70_000) })),
        ("model_name", json!("")),
        ("request_id", json!("x".repeat(501))),
        ("cost_usd", json!("NaN")),
        ("cost_usd", json!(1_000_000_001)),
        ("occurred_at", json!("1999-01-01T00:00:00Z")),
        ("tenant_id", named(0)),
        ("tenant_id", Value::Null),
        ("reservation_id", named(77)),
        ("request_id", json!("first")),
    ] {
        let place = random.random_range(1..records.len());
        let mut records = records.clone();
        records[place]["tenant_id"] = named(1);
        records[place][key] = value;
        let error = batches.record(&Kind::Llm.batch(), &Value::Array(records.clone())).expect_err("it is refused");
        let call = calls.record(&Kind::Llm.calls(), &Value::Array(records.clone())).expect_err("it is refused");
        assert_eq!(sqlstate(&error), sqlstate(&call), "{key}: {error}");
        assert_eq!(message(&error), format!("record {}: {}", place + 1, message(&call)), "{key}");
        for side in [&mut batches, &mut calls] {
            let left = texts(&mut side.client, "select r.id::text from copilot_internal.llm_cost_records r", &[])?;
            assert!(left.is_empty(), "{key}: {left:?}");
            assert_verified(&mut side.client);
        }
    }
    batches.database.remove()?;
    calls.database.remove()
}

/// A table that others have added to is written by the executor, with the same result.
#[test]
fn a_batch_runs_the_triggers_of_others() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut plain, mut altered) = (Side::new()?, Side::new()?);
    altered.client.batch_execute(
        "create table public.heard (tenant_id uuid);
         create function public.hear() returns trigger language plpgsql security definer as $$
         begin
             insert into public.heard values (new.tenant_id);
             return new;
         end $$;
         create trigger hear before insert on copilot_internal.llm_cost_records for each row execute function public.hear()",
    )?;
    let records: Vec<Value> = (0..300).map(|_| record(&mut random, Kind::Llm, &mut Vec::new())).collect();
    let records = Value::Array(records);
    assert_eq!(plain.record(&Kind::Llm.batch(), &records)?, altered.record(&Kind::Llm.batch(), &records)?);
    let heard = "select count(*)::text from public.heard";
    let written = "select count(*)::text from copilot_internal.llm_cost_records";
    assert_eq!(texts(&mut altered.client, heard, &[])?, texts(&mut altered.client, written, &[])?);
    assert_eq!(plain.tables()?, altered.tables()?);
    plain.database.remove()?;
    altered.database.remove()
}
