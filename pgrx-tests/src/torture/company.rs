//! Other sessions at work: an operator that changes quotas, a housekeeper that folds, an observer that reads.

use crate::books::DIFFERENCES;
use std::thread;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::burst::{Burst, Session};
use super::errors::Circumstances;
use super::expectation::QuotaKey;
use super::tally::Tally;
use super::world::{Kind, USD, platform_key};

/// Streams of the seed, apart from the clients'.
const OPERATOR: u64 = 1_001;
const HOUSEKEEPER: u64 = 1_002;
const OBSERVER: u64 = 1_003;

fn pause(rng: &mut ChaCha8Rng, milliseconds: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.random_range(milliseconds)));
}

/// Moves limits, makes and deletes quotas, changes plans.
pub fn operator(burst: &Burst) -> Tally {
    let mut session = Session::new(burst);
    let mut rng = burst.rng(OPERATOR);
    while burst.goes_on() {
        session.within_timeout("the operator", |session| operate(session, &mut rng));
        pause(&mut rng, 10..60);
    }
    session.tally
}

/// Sets a limit, of a quota that there is or of a new one.
fn set(session: &mut Session, what: &'static str, key: QuotaKey, nanos: i64) {
    const SET: &str = "select public.set_quota($1, $2, $3, $4::bigint::numeric / 1000000000, $5, $6)";
    session.burst.limits().about_to_change(key.clone(), Some(nanos));
    session.run(what, Circumstances::default(), |connection| {
        let parameters: [&(dyn postgres::types::ToSql + Sync); 6] =
            [&key.scope, &key.scope_id, &key.resource, &nanos, &key.period, &key.tenant];
        connection.client.execute(SET, &parameters)
    });
}

fn operate(session: &mut Session, rng: &mut ChaCha8Rng) {
    let burst = session.burst;
    let none = Circumstances::default();
    let moving = burst.world.tenant_of(rng, Kind::Moving).clone();
    let churn = burst.world.tenant_of(rng, Kind::Churn).clone();
    let user = rng.random_range(0..2);
    let passing = match rng.random_range(0..4) {
        0 => churn.key(Some(user), "llm", "day"),
        1 => churn.key(Some(user), "all", "week"),
        2 => churn.key(None, "e2b", "year"),
        _ => churn.key(None, "llm", "hour"),
    };
    match rng.random_range(0..if burst.world.platform { 12 } else { 10 }) {
        0..5 => {
            let key = if rng.random_ratio(2, 3) {
                moving.key(None, "llm", "lifetime")
            } else {
                moving.key(Some(0), "all", "day")
            };
            let nanos = if rng.random_ratio(1, 20) { 0 } else { rng.random_range(USD / 4..6 * USD) };
            set(session, "change a limit", key, nanos);
        }
        5..7 => {
            set(session, "make a quota", passing, rng.random_range(USD / 10..3 * USD));
        }
        7..9 => {
            burst.limits().about_to_delete(&passing);
            session.run("delete a quota", none, |connection| {
                let sql = "delete from copilot_internal.cost_quotas
                           where scope = $1 and scope_id = $2 and resource_type = $3 and period = $4 and tenant_id = $5";
                let parameters: [&(dyn postgres::types::ToSql + Sync); 5] =
                    [&passing.scope, &passing.scope_id, &passing.resource, &passing.period, &passing.tenant];
                connection.client.execute(sql, &parameters)
            });
        }
        9 => {
            let plan = rng.random_ratio(1, 2).then_some("tight");
            session.run("change a plan", none, |connection| {
                let sql = "update copilot_internal.tenants set plan = coalesce($2, 'free') where id = $1";
                connection.client.execute(sql, &[&churn.id, &plan])
            });
        }
        10 => {
            let key = platform_key("e2b", "lifetime");
            let nanos = rng.random_range(8 * USD..16 * USD);
            burst.limits().about_to_change(key, Some(nanos));
            session.run("change a limit", none, |connection| {
                let sql =
                    "select public.set_quota('platform', null, 'e2b', $1::bigint::numeric / 1000000000, 'lifetime')";
                connection.client.execute(sql, &[&nanos])
            });
        }
        _ => {
            // A quota that limits nothing comes and goes.
            let sql = if rng.random_ratio(1, 2) {
                "select public.set_quota('platform', null, 'llm', null, 'year')"
            } else {
                "delete from copilot_internal.cost_quotas where scope = 'platform' and period = 'year'"
            };
            session.run("a platform quota", none, |connection| connection.client.batch_execute(sql));
        }
    }
}

/// Folds, in pieces of every size.
pub fn housekeeper(burst: &Burst) -> Tally {
    let mut session = Session::new(burst);
    let mut rng = burst.rng(HOUSEKEEPER);
    while burst.goes_on() {
        let limit = rng.random_range(1..400);
        let end = if rng.random_ratio(1, 6) { "rollback" } else { "commit" };
        let sql = format!("begin; select * from copilot_internal.maintain({limit}); {end}");
        session.within_timeout("maintain", |session| {
            let ended = session.run("maintain", Circumstances::default(), |it| it.client.batch_execute(&sql));
            if let Some(Err(_)) = ended {
                session.roll_back();
            }
        });
        pause(&mut rng, 5..40);
    }
    session.tally
}

/// Reads everything, and recomputes it from the ledger while it changes: one snapshot is always exact.
pub fn observer(burst: &Burst) -> Tally {
    let mut session = Session::new(burst);
    let mut rng = burst.rng(OBSERVER);
    while burst.goes_on() {
        let tenant = burst.world.tenant(&mut rng).clone();
        let user = rng.random_ratio(1, 2).then_some(tenant.users[0]);
        let kind = rng.random_range(0..20);
        session.within_timeout("a check", |session| check_quota(session, kind, &tenant.id, user.as_ref()));
        pause(&mut rng, 2..20);
    }
    session.tally
}

fn check_quota(session: &mut Session, kind: u32, tenant: &uuid::Uuid, user: Option<&uuid::Uuid>) {
    let none = Circumstances::default();
    let surface = session.burst.surface;
    match kind {
        0..13 => {
            session.run("check", none, |connection| {
                let sql = "select allowed, public.has_quota($1, 'llm', 0.01, $2), current_spend_usd + reserved_usd >= 0
                           from public.check_quota_before_operation($1, 'llm', 0.01, $2)";
                connection.client.query_one(sql, &[tenant, &user])
            });
        }
        13 if surface.admission => {
            session.run("admission", none, |connection| {
                connection.client.query("select * from metrics.admission", &[]).map(|rows| rows.len())
            });
        }
        14..17 => {
            session.run("read the views", none, |connection| {
                connection.client.query_one(
                    "select (select count(*) from metrics.quota_status), (select sum(total_cost) from metrics.tenant_total_costs)::text",
                    &[],
                )
            });
        }
        17..19 if surface.pending => {
            session.run("pending", none, |connection| {
                connection.client.batch_execute("reset role")?;
                let read = connection
                    .client
                    .query("select pid, tenant_id, age, amount_usd from copilot_internal.pending()", &[]);
                connection.client.batch_execute("set role service_role")?;
                read
            });
        }
        _ => {
            let found = session.run("verify under load", none, |connection| connection.client.query(DIFFERENCES, &[]));
            if let Some(Ok(rows)) = found
                && let Some(row) = rows.first()
            {
                let first: String = row.get(0);
                session.burst.violations.report(format!("verify() under load: {} rows, first {first}", rows.len()));
            }
        }
    }
}
