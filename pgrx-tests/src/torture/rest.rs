//! At rest: nothing is in flight, so the figures must be exact, and everything that clients were told must be true.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::Client;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use super::chaos::{Ended, end_prepared, prepared, wait_for_server};
use super::expectation::{Attempt, Book, LedgerRow, Limits, Outcome, QuotaKey};
use super::talk;
use super::tally::Tally;
use super::world::{Tenant, World};
use crate::books::DIFFERENCES;
use crate::charging::{Charge, Function, Statements, Surface, usd};
use crate::cluster::Cluster;

/// By then every session of the burst has noticed that its client is gone.
const SETTLES: Duration = Duration::from_secs(60);

/// One database with everything that is known about it.
pub struct Ground {
    pub world: World,
    pub book: Book,
    pub limits: Limits,
    /// How prepared transactions of the last burst ended.
    pub ended: Ended,
}

/// Waits until nothing is in flight, learns what was unknown, and compares. Returns what is wrong, in sentences.
pub fn check(
    cluster: &Cluster,
    ground: &mut Ground,
    surface: Surface,
    rng: &mut ChaCha8Rng,
    everything: bool,
    tally: &mut Tally,
) -> Result<Vec<String>> {
    let mut client = wait_for_server(cluster, &ground.world.database)?;
    // A lock that is not given back is a finding, not a reason to wait for ever.
    client.batch_execute("set statement_timeout = '60s'")?;
    settle(&mut client)?;
    let left = prepared(&mut client)?;
    let mut ended = std::mem::take(&mut ground.ended);
    ended.merge(end_prepared(&mut client, &left, rng)?);
    ground.book.settle_prepared(&ended.committed, &ended.rolled_back);
    let mut server = cluster.superuser(&ground.world.database)?;
    server.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    let statements = Statements::prepare(&mut server, surface)?;
    resolve(&mut ground.book, &mut server, &statements, tally)?;
    release(&mut server, tally)?;

    let mut wrong = ground.book.compare(&ledger(&mut client)?);
    tally.checked("acknowledged costs there once, all in each cycle", ground.book.acknowledged());
    wrong.extend(verify(&mut server, tally)?);
    wrong.extend(talk::verify(&mut server, tally)?);
    let waves = if everything { ground.world.waves.len() } else { 2 };
    let tenants: Vec<Tenant> = ground.world.waves.iter().rev().take(waves).flatten().cloned().collect();
    wrong.extend(figures(&mut server, ground, &statements, &tenants, tally)?);
    if surface.pending {
        let rows = client.query("select p::text from copilot_internal.pending() p", &[])?;
        wrong.extend(rows.iter().map(|row| format!("pending at rest: {}", row.get::<_, String>(0))));
        tally.checked("pending() is empty", 1);
    }
    Ok(wrong)
}

/// Sessions whose client is gone end when they notice it.
fn settle(client: &mut Client) -> Result<()> {
    let sql = "select pid, state, query from pg_stat_activity
               where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let deadline = Instant::now() + SETTLES;
    loop {
        let rows = client.query(sql, &[])?;
        let Some(row) = rows.first() else { return Ok(()) };
        if Instant::now() > deadline {
            let (state, query): (Option<String>, Option<String>) = (row.get(1), row.get(2));
            bail!("{} sessions do not end, the first: {state:?} in {query:?}", rows.len());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends every request again whose outcome is unknown, as clients do that want it done once.
fn resolve(book: &mut Book, server: &mut Client, statements: &Statements, tally: &mut Tally) -> Result<()> {
    let open = book.unknown();
    tally.checked("unknown outcomes, resolved by sending again", open.len());
    for charge in open {
        let answer = statements
            .charge(server, &charge)
            .with_context(|| format!("nothing else runs, and this cannot be charged: {charge:?}"))?;
        let outcome = match (answer.recorded, answer.replayed) {
            (false, _) => Outcome::Refused,
            (true, true) => Outcome::Replayed(answer.id),
            (true, false) => Outcome::Recorded(answer.id),
        };
        book.add(Attempt { charge, outcome });
    }
    book.all_known();
    Ok(())
}

/// Gives up what no client holds any more.
fn release(server: &mut Client, tally: &mut Tally) -> Result<()> {
    let sql = "select id from copilot_internal.quota_reservations where state = 'held'";
    let held = server.query(sql, &[])?;
    tally.checked("holds without a holder, released", held.len());
    for row in held {
        server
            .query_one("select status from public.release_reservation($1)", &[&row.get::<_, Uuid>(0)])
            .context("nothing else runs, and a hold cannot be released")?;
    }
    Ok(())
}

fn ledger(client: &mut Client) -> Result<Vec<LedgerRow>> {
    let mut rows = Vec::new();
    for function in Function::ALL {
        let sql = format!("select tenant_id, user_id, request_id, id, charge_nanos from {}", function.ledger());
        rows.extend(client.query(&sql, &[])?.iter().map(|row| LedgerRow {
            function,
            tenant: row.get(0),
            user: row.get(1),
            request: row.get(2),
            id: row.get(3),
            nanos: row.get(4),
        }));
    }
    Ok(rows)
}

pub fn verify(client: &mut Client, tally: &mut Tally) -> Result<Vec<String>> {
    let rows = client.query(DIFFERENCES, &[])?;
    tally.checked("verify() and verify_counters() return no row", 1);
    Ok(rows.iter().map(|row| format!("verify(): {}", row.get::<_, String>(0))).collect())
}

/// A quota in force, as the view shows it and as the ledger adds up.
struct Standing {
    key: QuotaKey,
    limit: Option<i64>,
    hard: bool,
    shadow: bool,
    period_start: String,
    shown: i64,
    reserved: i64,
    ledger: i64,
}

impl Standing {
    fn applies(&self, tenant: &Tenant, user: Option<Uuid>, resource: &str) -> bool {
        let whose = match self.key.scope.as_str() {
            "platform" => true,
            "tenant" => self.key.tenant == Some(tenant.id),
            _ => self.key.tenant == Some(tenant.id) && self.key.scope_id == user,
        };
        whose && (self.key.resource == "all" || self.key.resource == resource)
    }
}

/// Quotas of every kind, with what the view says of them, and the ledger's own sum over the same period.
const STANDINGS: &str = "
    with ledger as materialized (
        select tenant_id, user_id, 'llm' as resource_type, charged_at, charge_nanos from copilot_internal.llm_cost_records
        union all
        select tenant_id, user_id, 'e2b', charged_at, charge_nanos from copilot_internal.e2b_cost_records
        union all
        select tenant_id, user_id, resource_type, charged_at, charge_nanos from copilot_internal.quota_charges
    )
    select s.scope, s.scope_id, s.tenant_id, s.resource_type, s.period, floor(s.limit_usd * 1000000000)::bigint,
           s.mode, coalesce(s.period_start::text, ''), (s.current_spend_usd * 1000000000)::bigint,
           (s.reserved_usd * 1000000000)::bigint, l.nanos
    from metrics.quota_status s
    cross join lateral (
        select coalesce(sum(l.charge_nanos), 0)::bigint as nanos from ledger l
        where (s.scope = 'platform' or l.tenant_id = s.tenant_id) and (s.scope <> 'user' or l.user_id = s.scope_id)
          and s.resource_type in (l.resource_type, 'all')
          and l.charged_at >= coalesce(s.period_start, '-infinity')
          and l.charged_at < coalesce(s.period_end, 'infinity')
    ) l
    where s.tenant_id is null or s.tenant_id = any ($1)";

fn standings(server: &mut Client, tenants: &[Tenant]) -> Result<Vec<Standing>> {
    let ids: Vec<Uuid> = tenants.iter().map(|tenant| tenant.id).collect();
    let rows = server.query(STANDINGS, &[&ids]).context("cannot read metrics.quota_status")?;
    let standing = |row: &postgres::Row| {
        let mode: String = row.get(6);
        Standing {
            key: QuotaKey {
                scope: row.get(0),
                scope_id: row.get(1),
                tenant: row.get(2),
                resource: row.get(3),
                period: row.get(4),
            },
            limit: row.get(5),
            hard: mode == "hard",
            shadow: mode == "shadow",
            period_start: row.get(7),
            shown: row.get(8),
            reserved: row.get(9),
            ledger: row.get(10),
        }
    };
    Ok(rows.iter().map(standing).collect())
}

/// Every figure that is shown, and every answer at the edge of a limit, against the ledger.
fn figures(
    server: &mut Client,
    ground: &mut Ground,
    statements: &Statements,
    tenants: &[Tenant],
    tally: &mut Tally,
) -> Result<Vec<String>> {
    // An hour that ends between two checks changes the figures rightly: then all of it is checked once more.
    for _ in 0..3 {
        let hour = hour(server)?;
        let standings = standings(server, tenants)?;
        let mut wrong = shown(&standings);
        let mut checks = 0;
        for tenant in tenants {
            for user in [None, Some(tenant.users[0]), Some(tenant.users[1])] {
                for resource in ["llm", "e2b"] {
                    wrong.extend(figures_at_rest(server, &standings, tenant, user, resource)?);
                    wrong.extend(edge(server, statements, &standings, tenant, user, resource)?);
                    checks += 1;
                }
            }
        }
        if self::hour(server)? != hour {
            continue;
        }
        tally.checked("quota_status equals the ledger", standings.len());
        tally.checked("the check equals the ledger, nothing is reserved", checks);
        tally.checked("admitted up to the last nano-dollar and no further", checks);
        wrong.extend(judged(&mut ground.limits, &standings, tally));
        if tenants.len() == ground.world.tenants().count() {
            let there: HashSet<QuotaKey> = standings.iter().map(|it| it.key.clone()).collect();
            ground.limits.keep(&there);
        }
        return Ok(wrong);
    }
    bail!("three hours ended within one check")
}

fn hour(server: &mut Client) -> Result<String> {
    // Kathmandu's days begin at a quarter to an hour of UTC's.
    let sql = "select date_bin('15 minutes', clock_timestamp(), '2000-01-01 00:00+00')::text";
    Ok(server.query_one(sql, &[])?.get(0))
}

fn shown(standings: &[Standing]) -> Vec<String> {
    let wrong = standings.iter().filter(|it| it.shown != it.ledger || it.reserved != 0);
    let sentence = |it: &Standing| {
        format!(
            "quota_status shows {} spent and {} reserved, the ledger {}: {:?}",
            it.shown, it.reserved, it.ledger, it.key
        )
    };
    wrong.map(sentence).collect()
}

fn judged(limits: &mut Limits, standings: &[Standing], tally: &mut Tally) -> Vec<String> {
    let known: Vec<&Standing> = standings.iter().filter(|it| it.hard && limits.knows(&it.key)).collect();
    tally.checked("never above the highest limit in force", known.len());
    known.iter().filter_map(|it| limits.judge(&it.key, it.limit, it.ledger, &it.period_start)).collect()
}

/// What the check says at rest: figures of one of the quotas that apply, and nothing reserved.
fn figures_at_rest(
    server: &mut Client,
    standings: &[Standing],
    tenant: &Tenant,
    user: Option<Uuid>,
    resource: &str,
) -> Result<Option<String>> {
    let sql = "select floor(limit_usd * 1000000000)::bigint, (current_spend_usd * 1000000000)::bigint,
                      (reserved_usd * 1000000000)::bigint, coalesce(period_start::text, '')
               from public.check_quota_before_operation($1, $2, 0.000000001, $3)";
    let row = server.query_one(sql, &[&tenant.id, &resource, &user]).context("check_quota_before_operation")?;
    let (limit, spent, reserved, start): (Option<i64>, Option<i64>, Option<i64>, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let mut applying = standings.iter().filter(|it| !it.shadow && it.applies(tenant, user, resource));
    let known = applying.any(|it| (it.limit, Some(it.ledger), &it.period_start) == (limit, spent, &start));
    Ok((!known || reserved != Some(0)).then(|| {
        format!(
            "the check of {} {user:?} {resource} shows limit {limit:?}, spent {spent:?}, reserved {reserved:?} since \
             {start:?}, which no quota of the ledger has",
            tenant.id
        )
    }))
}

/// A check and a charge of exactly what is left must pass, and of one nano-dollar more must not. The charges are rolled
/// back: they ask whatever decides about admission, the check may be answered otherwise.
fn edge(
    server: &mut Client,
    statements: &Statements,
    standings: &[Standing],
    tenant: &Tenant,
    user: Option<Uuid>,
    resource: &str,
) -> Result<Option<String>> {
    let applying = || standings.iter().filter(|it| it.hard && it.applies(tenant, user, resource));
    let Some(left) = applying().filter_map(|it| it.limit.map(|limit| limit - it.ledger)).min() else {
        return Ok(None);
    };
    // What is free is admitted under every limit but 0, also where that is overrun.
    let blocked = applying().any(|it| it.limit == Some(0));
    let function = if resource == "llm" { Function::Llm } else { Function::E2b };
    let charge =
        |nanos: i64| Charge { function, tenant: tenant.id, user, picos: nanos * 1_000, enforce: true, request: None };
    let (fits, too_much) = (charge(left.max(0)), charge(left.max(0) + 1));
    let sql = "select public.has_quota($1, $2, $3::text::numeric, $4), public.has_quota($1, $2, $5::text::numeric, $4)";
    let checks = server.query_one(sql, &[&tenant.id, &resource, &usd(fits.picos), &user, &usd(too_much.picos)])?;
    server.batch_execute("begin")?;
    let refused_before = !statements.charge(server, &too_much)?.recorded;
    let admitted = statements.charge(server, &fits)?.recorded;
    let refused_after = !statements.charge(server, &charge(1))?.recorded;
    server.batch_execute("rollback")?;
    let said = (checks.get::<_, bool>(0), checks.get::<_, bool>(1), admitted, refused_before, refused_after);
    let expected = (!blocked, false, !blocked, true, true);
    Ok((said != expected).then(|| {
        format!(
            "{} {user:?} {resource} has {left} left (blocked: {blocked}); checks of that and one more: {}, {}; charge \
             admitted: {admitted}, one more refused before: {refused_before}, and after: {refused_after}",
            tenant.id, said.0, said.1
        )
    }))
}

/// Rows by tenant, for the message of a failure.
pub fn describe(cluster: &Cluster, world: &World) -> Result<String> {
    let mut client = cluster.superuser(&world.database)?;
    let mut rows: HashMap<&str, i64> = HashMap::new();
    for function in Function::ALL {
        let sql = format!("select count(*) from {}", function.ledger());
        rows.insert(function.ledger(), client.query_one(&sql, &[])?.get(0));
    }
    Ok(format!("database {}, {} waves of tenants, rows {rows:?}", world.database, world.waves.len()))
}
