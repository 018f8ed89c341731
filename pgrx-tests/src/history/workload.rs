//! Makes a history: many connections, small transactions, limits that are reached again and again.
//!
//! A scene is a database of its own. It goes through rounds of fresh tenants, each with several limits that its round's
//! charges reach about half way. Clients follow seeded plans; only their interleaving is left to chance.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use postgres::Client;
use postgres::error::SqlState;
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use super::checker::{History, Operation, Quota, Resource, Subject};
use crate::books::DIFFERENCES;
use crate::charging::{Charge, Function, Statements, Surface};
use crate::cluster::{Cluster, SUPERUSER};

/// Operations on one set of tenants.
const ROUND: u64 = 10_000;
/// Amounts are spread evenly up to this; shipped default quotas stay far away.
const LARGEST: i64 = 1_000_000;
/// Users of each tenant with quotas of their own; there are as many charges without a user as of one of them.
const USERS: u8 = 3;

/// The payers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Everything goes to one tenant.
    Hot,
    /// Tenants are as likely as one another.
    Uniform,
    /// The k-th tenant is charged in proportion to 1/k.
    Zipf,
    /// Tenants with room enough, and one limit over all of them.
    Platform,
}

impl Scene {
    pub const ALL: [Scene; 4] = [Scene::Hot, Scene::Uniform, Scene::Zipf, Scene::Platform];

    pub fn name(self) -> &'static str {
        match self {
            Scene::Hot => "hot tenant",
            Scene::Uniform => "uniform",
            Scene::Zipf => "zipf",
            Scene::Platform => "platform quota",
        }
    }

    /// Its share of all operations, in tenths: where all wait for one lock, the locked mode needs longer.
    pub fn tenths(self) -> u64 {
        match self {
            Scene::Hot => 2,
            Scene::Uniform => 4,
            Scene::Zipf => 3,
            Scene::Platform => 1,
        }
    }

    /// How likely each tenant of a round is; the sum is one.
    fn shares(self) -> Vec<f64> {
        let weights: Vec<f64> = match self {
            Scene::Hot => vec![1.0],
            Scene::Uniform | Scene::Platform => vec![1.0; 16],
            Scene::Zipf => (1..=48).map(|rank| 1.0 / f64::from(rank)).collect(),
        };
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    }
}

pub struct Played {
    pub history: History,
    pub took: Duration,
    /// Where the tables are not what the history says.
    pub differences: Vec<String>,
}

/// Plays a scene in a fresh database, and compares its tables with the history in the end.
pub fn play(
    cluster: &Cluster,
    scene: Scene,
    operations: u64,
    seed: u64,
    clients: u32,
    bar: &ProgressBar,
) -> Result<Played> {
    let database = format!("history_{}", scene.name().replace(' ', "_"));
    cluster.create_database(&database)?;
    let mut admin = cluster.superuser(&database)?;
    let plan = Plan::new(scene, operations, seed, clients);
    plan.furnish(&mut admin)?;
    let surface = Surface::of(&mut admin)?;
    let clock = Instant::now();
    let (stop, charged) = (AtomicBool::new(false), AtomicU64::new(0));
    let operations = thread::scope(|scope| {
        let housekeeper = scope.spawn(|| keep_house(cluster, &database, &stop));
        let mover = scope.spawn(|| move_definitions(cluster, &database, &stop));
        let threads: Vec<_> = (0..clients)
            .map(|number| {
                let (plan, database, charged) = (&plan, &database, &charged);
                scope.spawn(move || Player::new(cluster, database, surface, plan, number, clock)?.play(charged, bar))
            })
            .collect();
        let mut operations = Vec::new();
        let mut failure = None;
        for thread in threads {
            match thread.join().map_err(|_| anyhow!("a client's thread panicked")).flatten() {
                Ok(mine) => operations.extend(mine),
                Err(error) => failure = Some(error),
            }
        }
        stop.store(true, Ordering::SeqCst);
        housekeeper.join().map_err(|_| anyhow!("the housekeeper's thread panicked"))??;
        mover.join().map_err(|_| anyhow!("the mover's thread panicked"))??;
        failure.map_or(Ok(operations), Err)
    })?;
    let took = clock.elapsed();
    let history = History { quotas: plan.quotas, operations };
    let differences = differences(&mut admin, &history)?;
    drop(admin);
    cluster.drop_database(&database)?;
    Ok(Played { history, took, differences })
}

/// As a job does that calls maintain() every now and then.
fn keep_house(cluster: &Cluster, database: &str, stop: &AtomicBool) -> Result<()> {
    let mut client = cluster.superuser(database)?;
    while !stop.load(Ordering::SeqCst) {
        client.batch_execute("select copilot_internal.maintain(5000)").context("maintain()")?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A default that applies to no payer comes and goes. Counters are loaded again, also between a charge and a check in
/// one statement.
fn move_definitions(cluster: &Cluster, database: &str, stop: &AtomicBool) -> Result<()> {
    let mut client = cluster.superuser(database)?;
    while !stop.load(Ordering::SeqCst) {
        client.batch_execute(
            "insert into copilot_internal.default_quotas (plan, resource_type, limit_usd) values ('moved', 'llm', 1);
             delete from copilot_internal.default_quotas where plan = 'moved'",
        )?;
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

struct Plan {
    seed: u64,
    rounds: u64,
    /// Operations of each client.
    share: u64,
    tenants_per_round: u32,
    /// How likely a tenant or one before it is.
    cumulated: Vec<f64>,
    quotas: Vec<Quota>,
}

impl Plan {
    fn new(scene: Scene, operations: u64, seed: u64, clients: u32) -> Plan {
        let shares = scene.shares();
        let rounds = operations.div_ceil(ROUND);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::MAX);
        let tenants_per_round = shares.len() as u32;
        let mut quotas = Vec::new();
        let all = (operations as f64) * (LARGEST as f64) / 2.0;
        for tenant in 0..rounds as u32 * tenants_per_round {
            let expected = all / rounds as f64 * shares[(tenant % tenants_per_round) as usize];
            let mut limit = |share: f64| (expected * share * rng.random_range(0.3..0.8)) as i64 + 1;
            let roomy = if scene == Scene::Platform { 3 } else { 1 };
            let mut quota = |user, resource, share| {
                quotas.push(Quota { tenant: Some(tenant), user, resource, limit: limit(share) * roomy });
            };
            quota(None, Some(Resource::Llm), 0.8);
            quota(None, None, 1.0);
            quota(Some(1), Some(Resource::Llm), 0.8 / 4.0);
            quota(Some(2), None, 1.0 / 4.0);
        }
        if scene == Scene::Platform {
            quotas.push(Quota { tenant: None, user: None, resource: None, limit: (all * 0.5) as i64 });
        }
        let mut sum = 0.0;
        let cumulated = shares.iter().map(|share| {
            sum += share;
            sum
        });
        Plan {
            seed,
            rounds,
            share: operations / u64::from(clients),
            tenants_per_round,
            cumulated: cumulated.collect(),
            quotas,
        }
    }

    fn furnish(&self, admin: &mut Client) -> Result<()> {
        let tenants: Vec<Uuid> = (0..self.rounds as u32 * self.tenants_per_round).map(tenant_id).collect();
        admin.execute(
            "insert into copilot_internal.tenants (id, name) select id, 'tenant' from unnest($1::uuid[]) as id",
            &[&tenants],
        )?;
        let set = "select public.set_quota($1, $2, $3, $4::bigint::numeric / 1000000000, 'lifetime', $5)";
        let set = admin.prepare(set)?;
        let mut transaction = admin.transaction()?;
        for quota in &self.quotas {
            let tenant = quota.tenant.map(tenant_id);
            let (scope, scope_id) = match (quota.tenant, quota.user) {
                (None, _) => ("platform", None),
                (Some(tenant), None) => ("tenant", Some(tenant_id(tenant))),
                (Some(_), Some(user)) => ("user", Some(user_id(user))),
            };
            let resource = match quota.resource {
                None => "all",
                Some(Resource::Llm) => "llm",
                Some(Resource::E2b) => "e2b",
            };
            transaction.execute(&set, &[&scope, &scope_id, &resource, &quota.limit, &tenant])?;
        }
        transaction.commit().context("cannot set the quotas")
    }

    /// One charge of a client that has made so many.
    fn charge(&self, rng: &mut ChaCha8Rng, done: u64) -> (Subject, i64) {
        let round = (done * self.rounds / self.share.max(1)).min(self.rounds - 1) as u32;
        let chance: f64 = rng.random();
        let place = self.cumulated.partition_point(|it| *it <= chance).min(self.cumulated.len() - 1) as u32;
        let resource = if rng.random_ratio(4, 5) { Resource::Llm } else { Resource::E2b };
        let user = Some(rng.random_range(0..=USERS)).filter(|user| *user > 0);
        let subject = Subject { tenant: round * self.tenants_per_round + place, user, resource };
        (subject, rng.random_range(1..LARGEST))
    }
}

fn tenant_id(tenant: u32) -> Uuid {
    Uuid::from_u128(0xa << 64 | u128::from(tenant))
}

fn user_id(user: u8) -> Uuid {
    Uuid::from_u128(0xb << 64 | u128::from(user))
}

/// How a transaction ends, and what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A charge that is its own transaction.
    Single,
    Commit,
    Rollback,
    /// The last charges are taken back to a savepoint, the others committed.
    Savepoint,
}

impl Shape {
    fn choose(rng: &mut ChaCha8Rng) -> Shape {
        match rng.random_range(0..100) {
            0..82 => Shape::Single,
            82..89 => Shape::Commit,
            89..96 => Shape::Rollback,
            _ => Shape::Savepoint,
        }
    }
}

struct Player<'a> {
    client: Client,
    statements: Statements,
    plan: &'a Plan,
    rng: ChaCha8Rng,
    number: u32,
    clock: Instant,
    transaction: u32,
    operations: Vec<Operation>,
}

impl<'a> Player<'a> {
    fn new(
        cluster: &Cluster,
        database: &str,
        surface: Surface,
        plan: &'a Plan,
        number: u32,
        clock: Instant,
    ) -> Result<Player<'a>> {
        let mut client = cluster.connect(database, SUPERUSER)?;
        client.batch_execute("set role service_role; set statement_timeout = '60s'")?;
        let statements = Statements::prepare(&mut client, surface)?;
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(u64::from(number));
        let operations = Vec::with_capacity(plan.share as usize + 4);
        Ok(Player { client, statements, plan, rng, number, clock, transaction: 0, operations })
    }

    fn play(mut self, charged: &AtomicU64, bar: &ProgressBar) -> Result<Vec<Operation>> {
        while (self.operations.len() as u64) < self.plan.share {
            let before = self.operations.len();
            self.transaction += 1;
            match Shape::choose(&mut self.rng) {
                Shape::Single => self.charge(None)?,
                shape => {
                    if let Err(error) = self.transact(shape) {
                        self.give_up(before, error)?;
                    }
                }
            }
            let made = (self.operations.len() - before) as u64;
            charged.fetch_add(made, Ordering::Relaxed);
            bar.inc(made);
        }
        Ok(self.operations)
    }

    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// The next charge of the plan, of the given tenant if there is one. Written down as if its answer ended it.
    fn charge(&mut self, tenant: Option<u32>) -> Result<()> {
        let (mut subject, nanos) = self.plan.charge(&mut self.rng, self.operations.len() as u64);
        subject.tenant = tenant.unwrap_or(subject.tenant);
        let charge = Charge {
            function: if subject.resource == Resource::Llm { Function::Llm } else { Function::E2b },
            tenant: tenant_id(subject.tenant),
            user: subject.user.map(user_id),
            picos: nanos * 1_000,
            enforce: true,
            request: None,
        };
        let asked = self.now();
        let answer = self.statements.charge(&mut self.client, &charge).with_context(|| format!("{charge:?}"))?;
        let answered = self.now();
        self.operations.push(Operation {
            client: self.number,
            transaction: self.transaction,
            subject,
            nanos,
            asked,
            answered,
            admitted: answer.recorded,
            committed: answer.recorded,
            end_asked: asked,
            end_answered: answered,
            retryable: answer.retryable,
            remaining: answer.remaining_nanos,
        });
        Ok(())
    }

    /// One to three charges of one tenant: those of several could deadlock.
    fn transact(&mut self, shape: Shape) -> Result<()> {
        let pause = self.rng.random_ratio(1, 30).then(|| Duration::from_micros(self.rng.random_range(200..3_000)));
        self.client.batch_execute("begin")?;
        let first = self.operations.len();
        self.charge(None)?;
        let tenant = self.operations[first].subject.tenant;
        if shape == Shape::Savepoint {
            self.client.batch_execute("savepoint kept")?;
        }
        for _ in 0..self.rng.random_range(0..3) {
            self.charge(Some(tenant))?;
        }
        pause.into_iter().for_each(thread::sleep);
        let all = first..self.operations.len();
        match shape {
            Shape::Savepoint => {
                self.end("rollback to savepoint kept", first + 1..all.end, false)?;
                self.end("commit", first..first + 1, true)
            }
            Shape::Rollback => self.end("rollback", all, false),
            Shape::Commit | Shape::Single => self.end("commit", all, true),
        }
    }

    /// Two transactions that charge in an earlier epoch and again in a later one may wait for each other. Postgres ends
    /// one of them, and nothing of it is left.
    fn give_up(&mut self, first: usize, error: anyhow::Error) -> Result<()> {
        let state = error.downcast_ref::<postgres::Error>().and_then(postgres::Error::code);
        if state != Some(&SqlState::T_R_DEADLOCK_DETECTED) {
            return Err(error);
        }
        self.end("rollback", first..self.operations.len(), false)
    }

    /// Ends some operations with a statement.
    fn end(&mut self, sql: &str, part: std::ops::Range<usize>, committed: bool) -> Result<()> {
        let asked = self.now();
        self.client.batch_execute(sql).with_context(|| sql.to_string())?;
        let answered = self.now();
        for operation in &mut self.operations[part] {
            operation.end_asked = asked;
            operation.end_answered = answered;
            operation.committed = committed && operation.admitted;
        }
        Ok(())
    }
}

/// Where the ledger is not what the history says was committed, and what verify() finds.
fn differences(admin: &mut Client, history: &History) -> Result<Vec<String>> {
    let mut sums: HashMap<(Uuid, &str), i64> = HashMap::new();
    for operation in history.operations.iter().filter(|operation| operation.committed) {
        let resource = if operation.subject.resource == Resource::Llm { "llm" } else { "e2b" };
        *sums.entry((tenant_id(operation.subject.tenant), resource)).or_default() += operation.nanos;
    }
    let mut wrong = Vec::new();
    for (resource, ledger) in [("llm", Function::Llm.ledger()), ("e2b", Function::E2b.ledger())] {
        let sql = format!("select tenant_id, sum(charge_nanos)::bigint from {ledger} group by 1");
        for row in admin.query(&sql, &[])? {
            let (tenant, nanos): (Uuid, i64) = (row.get(0), row.get(1));
            let told = sums.remove(&(tenant, resource)).unwrap_or(0);
            if told != nanos {
                wrong.push(format!("{tenant} was told of {told} nano-dollars for {resource}, the ledger has {nanos}"));
            }
        }
    }
    wrong.extend(sums.into_iter().map(|(key, nanos)| format!("{key:?}: {nanos} nano-dollars are not in the ledger")));
    let found = admin.query(DIFFERENCES, &[])?;
    wrong.extend(found.iter().map(|row| format!("verify(): {}", row.get::<_, String>(0))));
    if history.operations.is_empty() {
        bail!("nothing was charged");
    }
    Ok(wrong)
}
