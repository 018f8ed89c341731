//! `cargo xtask lifecycle`: random life cycles of reservations, costs and corrections, one step at a time. A model says
//! beforehand what each answer must be: allowed or not, every amount, status, figure and SQLSTATE. In between
//! transactions are rolled back, sessions ended and servers killed. Counters are few, so that they make room for each
//! other. `verify()` must find nothing, and the views must show what the model has.
//!
//! One session acts at a time: what happens to several at once is for `history`, `torture` and the isolation specs.

mod amounts;
mod comparison;
mod model;
mod steps;
mod walk;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::Client;
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use self::amounts::{clock, usd};
use self::model::{
    HOUR, Hold, ModelWorld, Payer, Period, Quota, QuotaMode, QuotaScope, ReservationState, Resource, SECOND, ceil_nanos,
};
use self::walk::{Ended, TENANTS, Walk, ask, tenant, user};
use crate::books::DIFFERENCES;
use crate::cluster::{Cluster, ClusterOptions};

#[derive(Clone, Debug)]
pub struct LifecycleOptions {
    pub steps: u64,
    pub seed: u64,
    /// Whether the library is preloaded.
    pub preload: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: u64,
    /// How often each answer came, by step.
    pub tally: BTreeMap<String, u64>,
}

/// Every so many steps outside of a transaction the whole ledger is verified and the view compared.
const VERIFY_EVERY: u64 = 40;
/// How near the end of a hold may be for a step to begin before it.
const CLOSE: i64 = 25_000;
/// As few counters as the library takes.
const ENTRIES: &str = "64";

pub fn run(options: &LifecycleOptions) -> Result<Report> {
    let mode = if options.preload { "preloaded" } else { "not preloaded" };
    println!("lifecycle: seed {}, {} steps, {mode}", options.seed, options.steps);
    let entries = ("pg_tollgate.quota_entries".to_string(), ENTRIES.to_string());
    let cluster = Cluster::start(ClusterOptions {
        preload: options.preload,
        extra_conf: if options.preload { vec![entries] } else { Vec::new() },
        ..ClusterOptions::default()
    })?;
    let database = cluster.fresh_database()?;
    let mut run = Run {
        client: connect(&cluster, &database)?,
        rng: ChaCha8Rng::seed_from_u64(options.seed),
        world: ModelWorld { waits_for_commit: options.preload, ..ModelWorld::default() },
        said: Vec::new(),
        tally: BTreeMap::new(),
        active_expiry: i64::MAX,
        cluster,
        database,
        preload: options.preload,
    };
    let started = Instant::now();
    run.furnish()?;
    let mut done = 0;
    let mut verified = 0;
    while done < options.steps {
        let steps = run.transaction().and_then(|steps| {
            if done + steps >= verified + VERIFY_EVERY {
                verified = done + steps;
                run.verify()?;
            }
            Ok(steps)
        });
        let steps = steps.with_context(|| {
            let said = &run.said[run.said.len().saturating_sub(40)..];
            format!("seed {}, after {done} steps, {mode}:\n{}", options.seed, said.join(";\n"))
        })?;
        done += steps;
    }
    run.verify()?;
    for (what, times) in &run.tally {
        println!("  {times:>6} {what}");
    }
    println!("{done} steps in {:.1} s, as the model says", started.elapsed().as_secs_f64());
    Ok(Report { steps: done, tally: run.tally })
}

fn connect(cluster: &Cluster, database: &str) -> Result<Client> {
    let mut client = cluster.superuser(database)?;
    client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
    Ok(client)
}

struct Run {
    cluster: Cluster,
    database: String,
    client: Client,
    rng: ChaCha8Rng,
    world: ModelWorld,
    said: Vec<String>,
    tally: BTreeMap<String, u64>,
    /// See [`Walk::active_expiry`].
    active_expiry: i64,
    preload: bool,
}

impl Run {
    fn count(&mut self, what: &str) {
        *self.tally.entry(what.to_string()).or_default() += 1;
    }

    fn furnish(&mut self) -> Result<()> {
        for number in 0..TENANTS {
            let of = Some(tenant(number));
            let limits: [(Resource, QuotaMode, Option<i64>, Period); 5] = match number {
                // Everything binds.
                0 => [
                    (Resource::Llm, QuotaMode::Hard, Some(3), Period::Hour),
                    (Resource::All, QuotaMode::Hard, Some(9), Period::Lifetime),
                    (Resource::E2b, QuotaMode::Hard, Some(2), Period::Day),
                    (Resource::Llm, QuotaMode::Soft, Some(2), Period::Day),
                    (Resource::All, QuotaMode::Shadow, Some(1), Period::Hour),
                ],
                // One pool for all, and what is only metered.
                1 => [
                    (Resource::All, QuotaMode::Hard, Some(6), Period::Day),
                    (Resource::Llm, QuotaMode::Hard, None, Period::Lifetime),
                    (Resource::E2b, QuotaMode::Soft, Some(1), Period::Lifetime),
                    (Resource::E2b, QuotaMode::Hard, None, Period::Hour),
                    (Resource::Llm, QuotaMode::Hard, Some(5), Period::Hour),
                ],
                // No sandboxes at all.
                2 => [
                    (Resource::E2b, QuotaMode::Hard, Some(0), Period::Lifetime),
                    (Resource::Llm, QuotaMode::Hard, Some(4), Period::Hour),
                    (Resource::All, QuotaMode::Soft, Some(3), Period::Day),
                    (Resource::Llm, QuotaMode::Shadow, None, Period::Lifetime),
                    (Resource::All, QuotaMode::Hard, None, Period::Hour),
                ],
                _ => [
                    (Resource::Llm, QuotaMode::Hard, Some(1), Period::Hour),
                    (Resource::Llm, QuotaMode::Hard, Some(2), Period::Day),
                    (Resource::Llm, QuotaMode::Hard, Some(7), Period::Lifetime),
                    (Resource::E2b, QuotaMode::Hard, Some(1), Period::Hour),
                    (Resource::All, QuotaMode::Hard, Some(4), Period::Day),
                ],
            };
            for (resource, mode, dollars, period) in limits {
                self.quota(QuotaScope::Tenant, of, None, resource, mode, dollars.map(|it| it * 1_000_000_000), period)?;
            }
            let limit = Some(1_500_000_000 + number as i64);
            self.quota(QuotaScope::User, of, Some(user(1)), Resource::Llm, QuotaMode::Hard, limit, Period::Hour)?;
            self.quota(
                QuotaScope::User,
                of,
                Some(user(1)),
                Resource::All,
                QuotaMode::Hard,
                Some(3_000_000_001),
                Period::Day,
            )?;
            self.quota(
                QuotaScope::User,
                of,
                Some(user(2)),
                Resource::All,
                QuotaMode::Soft,
                Some(500_000_000),
                Period::Day,
            )?;
        }
        let platform = Some(20_000_000_000);
        self.quota(QuotaScope::Platform, None, None, Resource::All, QuotaMode::Hard, platform, Period::Hour)?;
        self.quota(QuotaScope::Platform, None, None, Resource::Llm, QuotaMode::Shadow, Some(1), Period::Lifetime)
    }

    #[allow(clippy::too_many_arguments)]
    fn quota(
        &mut self,
        scope: QuotaScope,
        tenant: Option<Uuid>,
        user: Option<Uuid>,
        resource: Resource,
        mode: QuotaMode,
        limit: Option<i64>,
        period: Period,
    ) -> Result<()> {
        let mut quota = Quota { id: Uuid::nil(), scope, tenant, user, resource, mode, limit, period };
        quota.id = self.set(&quota)?;
        match self.world.quotas.iter_mut().find(|known| known.id == quota.id) {
            Some(known) => *known = quota,
            None => self.world.quotas.push(quota),
        }
        Ok(())
    }

    fn set(&mut self, quota: &Quota) -> Result<Uuid> {
        let text = |id: Option<Uuid>| id.map_or("null".to_string(), |id| format!("'{id}'"));
        let scope_id = if quota.scope == QuotaScope::User { quota.user } else { quota.tenant };
        let sql = format!(
            "select public.set_quota('{}', {}, '{}', {}, '{}', {}, p_mode => '{}')",
            quota.scope.name(),
            text(scope_id),
            quota.resource.name(),
            quota.limit.map_or("null".to_string(), |limit| usd(limit * 1_000)),
            match quota.period {
                Period::Hour => "hour",
                Period::Day => "day",
                Period::Lifetime => "lifetime",
            },
            text(quota.tenant),
            match quota.mode {
                QuotaMode::Hard => "hard",
                QuotaMode::Soft => "soft",
                QuotaMode::Shadow => "shadow",
            }
        );
        self.said.push(sql.clone());
        Ok(self.client.query_one(&sql, &[])?.get(0))
    }

    /// A moment before which and soon after which nothing ends.
    fn quiet_moment(&self) -> i64 {
        loop {
            let now = clock();
            let ends =
                self.world.holds.iter().filter(|hold| hold.state == ReservationState::Held).map(|hold| hold.expires_at);
            let close = ends.chain([(now / HOUR + 1) * HOUR]).filter(|end| (now..now + CLOSE).contains(end)).max();
            match close {
                Some(end) => thread::sleep(Duration::from_micros((end - now) as u64 + 500)),
                None => return now,
            }
        }
    }

    /// Between transactions: what is not a step of the life cycle, once in a while.
    fn interlude(&mut self) -> Result<()> {
        match self.rng.random_range(0..300) {
            0 => {
                self.count("the server was killed");
                self.cluster.crash()?;
                self.client = connect(&self.cluster, &self.database)?;
                self.age()
            }
            1 => {
                self.count("the server was restarted");
                self.cluster.restart()?;
                self.client = connect(&self.cluster, &self.database)?;
                self.age()
            }
            2..5 => {
                self.count("everything short was let expire");
                let now = clock();
                let ends =
                    self.world.holds.iter().filter(|hold| hold.state == ReservationState::Held).map(|it| it.expires_at);
                if let Some(last) = ends.filter(|end| (now..now + 2 * SECOND).contains(end)).max() {
                    thread::sleep(Duration::from_micros((last - now) as u64 + 500));
                }
                Ok(())
            }
            5..70 => self.change_a_limit(),
            70..73 => {
                self.client = connect(&self.cluster, &self.database)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Limits follow what is spent, so that they go on to bind.
    fn change_a_limit(&mut self) -> Result<()> {
        let number = self.rng.random_range(0..self.world.quotas.len());
        let mut quota = self.world.quotas[number].clone();
        if quota.limit.is_none_or(|limit| limit < 2) {
            return Ok(());
        }
        let now = self.quiet_moment();
        let payer = Payer { tenant: quota.tenant, user: quota.user, resource: quota.resource };
        let standing = self.world.standing(payer, now, now);
        let used = standing.iter().find(|it| it.quota == number).map_or(0, |it| it.spent + it.held);
        quota.limit = Some((used + self.rng.random_range(-100_000_000..2_500_000_000)).max(2));
        self.set(&quota)?;
        self.world.quotas[number] = quota;
        self.count("a limit was changed");
        Ok(())
    }

    /// Holds of hours and days ago, as they would be there by now; while no counter is loaded.
    fn age(&mut self) -> Result<()> {
        self.client.batch_execute("reset role")?;
        for _ in 0..4 {
            let now = clock();
            let payer = Payer {
                tenant: Some(tenant(self.rng.random_range(0..TENANTS))),
                user: Some(user(1)).filter(|_| self.rng.random_ratio(1, 2)),
                resource: Resource::Llm,
            };
            let age = match self.rng.random_range(0..3) {
                0 => HOUR + self.rng.random_range(0..HOUR),
                1 => 3 * HOUR,
                _ => 72 * HOUR,
            };
            let reserved_at = now - age;
            let expires_at = if self.rng.random_ratio(1, 3) { now - HOUR / 2 } else { now + 2 * HOUR };
            let reserved = self.rng.random_range(1..300_000_000_000);
            let id = Uuid::from_u128(self.rng.random());
            let hold = Hold {
                id,
                payer,
                request: format!("old{id}"),
                requested: reserved,
                ttl: expires_at - reserved_at,
                reserved,
                reserved_at,
                expires_at,
                state: ReservationState::Held,
                settled: None,
            };
            let moment = |at: i64| format!("'epoch'::timestamptz + {at} * interval '1 microsecond'");
            let sql = format!(
                "insert into copilot_internal.quota_reservations (id, tenant_id, user_id, resource_type, request_id,
                     requested_usd, ttl, reserved_usd, held_nanos, reserved_at, expires_at, state, metadata)
                 values ('{id}', '{}', {}, 'llm', '{}', {usd}, {} * interval '1 microsecond', {usd}, {}, {}, {}, 'held', '{{}}')",
                payer.tenant.unwrap_or_default(),
                payer.user.map_or("null".to_string(), |user| format!("'{user}'")),
                hold.request,
                hold.ttl,
                ceil_nanos(reserved),
                moment(reserved_at),
                moment(expires_at),
                usd = usd(reserved),
            );
            self.said.push(sql.clone());
            self.client.batch_execute(&sql)?;
            self.world.holds.push(hold);
        }
        self.client.batch_execute("set role service_role")?;
        Ok(())
    }

    /// One transaction of a few steps. How many counted.
    fn transaction(&mut self) -> Result<u64> {
        self.interlude()?;
        let steps = if self.rng.random_ratio(1, 2) { 1 } else { self.rng.random_range(2..7) };
        let level = match self.rng.random_range(0..6) {
            0 => "repeatable read",
            1 => "serializable",
            _ => "read committed",
        };
        let savepoints = self.rng.random_ratio(1, 2);
        let before = self.world.clone();
        self.active_expiry = i64::MAX;
        self.say(&format!("begin isolation level {level}"))?;
        let mut done = 0;
        for _ in 0..steps {
            // What a counter has let go of by then depends on when it was loaded.
            if self.preload && self.active_expiry <= clock() {
                self.count("cut short");
                break;
            }
            let kept = self.world.clone();
            if savepoints {
                self.say("savepoint s")?;
            }
            match self.step()? {
                Ended::Well => done += 1,
                Ended::Refused if savepoints => {
                    done += 1;
                    self.say("rollback to s")?;
                    continue;
                }
                Ended::Refused => {
                    self.say("rollback")?;
                    self.world = before;
                    return Ok(done + 1);
                }
                Ended::Unclear => {
                    self.count("unclear, and taken back");
                    self.say("rollback")?;
                    self.world = before;
                    return Ok(0);
                }
            }
            if savepoints {
                match self.rng.random_range(0..4) {
                    0 => {
                        self.count("a savepoint was rolled back");
                        self.say("rollback to s")?;
                        self.world = kept;
                    }
                    1 => self.say("release s")?,
                    _ => {}
                }
            }
        }
        match self.rng.random_range(0..20) {
            0..3 => {
                self.count("a transaction was rolled back");
                self.say("rollback")?;
                self.world = before;
            }
            3 => {
                self.count("a session was ended in a transaction");
                self.end_session()?;
                self.world = before;
            }
            _ => {
                self.say("commit")?;
                self.world.committed();
            }
        }
        Ok(done)
    }

    fn say(&mut self, sql: &str) -> Result<()> {
        self.said.push(sql.to_string());
        self.client.batch_execute(sql).with_context(|| sql.to_string())
    }

    fn end_session(&mut self) -> Result<()> {
        let pid: i32 = self.client.query_one("select pg_backend_pid()", &[])?.get(0);
        self.said.push("-- the session is ended".to_string());
        let mut other = connect(&self.cluster, &self.database)?;
        other
            .batch_execute(&format!("reset role; select pg_terminate_backend({pid}, 10000); set role service_role"))?;
        self.client = other;
        Ok(())
    }

    /// One step and, where its answer is certain, a check.
    fn step(&mut self) -> Result<Ended> {
        let now = self.quiet_moment();
        let mut walk = Walk {
            client: &mut self.client,
            world: &mut self.world,
            rng: &mut self.rng,
            now,
            active_expiry: &mut self.active_expiry,
            said: &mut self.said,
            tally: &mut self.tally,
        };
        let ended = match walk.rng.random_range(0..100) {
            0..31 => walk.reserve(),
            31..46 => walk.commit(),
            46..53 => walk.release(),
            53..66 => walk.extend(),
            66..79 => walk.record(),
            79..84 => walk.charge(),
            84..91 => walk.refund(),
            91..96 => walk.adjust(),
            96..98 => walk.maintain(),
            _ => walk.check(),
        }?;
        if ended != Ended::Well {
            return Ok(ended);
        }
        // Where a counter has to be refreshed and cannot be, the tables tell, and they show what was given back at once.
        let blurred = walk.world.has_credits() && walk.world.has_unmarked(now);
        if self.preload && (blurred || *walk.active_expiry <= now) {
            return Ok(ended);
        }
        walk.now = clock();
        if walk
            .world
            .holds
            .iter()
            .any(|hold| hold.state == ReservationState::Held && (now..=walk.now).contains(&hold.expires_at))
        {
            return Ok(Ended::Unclear);
        }
        walk.check()
    }

    /// The ledger agrees with itself, and the view with the model.
    fn verify(&mut self) -> Result<()> {
        let now = self.quiet_moment();
        let found = ask(&mut self.client, &format!("select string_agg(v, E'\\n') from ({DIFFERENCES}) d (v)"));
        match found {
            Ok(row) if row.first().cloned().flatten().is_none() => {}
            other => bail!("verify() finds {other:?}"),
        }
        let mut walk = Walk {
            client: &mut self.client,
            world: &mut self.world,
            rng: &mut self.rng,
            now: now.max(clock()),
            active_expiry: &mut self.active_expiry,
            said: &mut self.said,
            tally: &mut self.tally,
        };
        walk.view()?;
        self.count("verified");
        Ok(())
    }
}
