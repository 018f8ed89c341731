//! The payers of one database, and their quotas. Every cycle brings a wave of fresh tenants, since a limit that was
//! reached long ago has little left to get wrong. The older ones go on being charged now and then.

use anyhow::{Context, Result};
use postgres::Client;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use super::expectation::{Limits, QuotaKey};
use crate::charging::{Charge, Function};

/// Nano-dollars in a dollar.
pub const USD: i64 = 1_000_000_000;

/// What is special about a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Enforced charges only, under quotas that never change.
    Steady,
    /// Enforced charges only, under limits that go up and down.
    Moving,
    /// Also recording after the fact, which may pass a limit.
    Mixed,
    /// Enforced charges only; quotas are made and deleted, its plan changes, and one outer quota stays.
    Churn,
    /// Limits far away.
    Roomy,
    /// Where transactions are prepared.
    Parked,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Steady, Kind::Moving, Kind::Mixed, Kind::Churn, Kind::Roomy, Kind::Parked];

    /// Tenants that an operation may charge that locks for long, or not at all.
    const OPEN: [Kind; 5] = [Kind::Steady, Kind::Moving, Kind::Mixed, Kind::Churn, Kind::Roomy];

    /// Whether everything that counts against its quotas was admitted by them.
    pub fn is_strict(self) -> bool {
        !matches!(self, Kind::Mixed)
    }

    /// Its quotas from the beginning: scope (a user by number), resource, period, zone, mode, limit in USD thousandths.
    fn quotas(self) -> &'static [Definition] {
        match self {
            Kind::Steady => &[
                Definition { user: None, resource: "llm", period: "month", zone: "Europe/Berlin", millis: 4_000 },
                Definition { user: None, resource: "e2b", period: "day", zone: "UTC", millis: 2_000 },
                Definition { user: None, resource: "all", period: "lifetime", zone: "UTC", millis: 5_000 },
                Definition { user: Some(0), resource: "llm", period: "hour", zone: "UTC", millis: 2_000 },
                Definition { user: Some(1), resource: "all", period: "month", zone: "Asia/Kathmandu", millis: 1_500 },
            ],
            Kind::Moving => &[
                Definition { user: None, resource: "llm", period: "lifetime", zone: "UTC", millis: 2_000 },
                Definition { user: Some(0), resource: "all", period: "day", zone: "America/New_York", millis: 1_000 },
            ],
            Kind::Mixed => &[
                Definition { user: None, resource: "llm", period: "month", zone: "UTC", millis: 3_000 },
                Definition { user: None, resource: "all", period: "lifetime", zone: "UTC", millis: 60_000 },
                Definition { user: Some(0), resource: "llm", period: "hour", zone: "UTC", millis: 1_000 },
            ],
            Kind::Churn => {
                &[Definition { user: None, resource: "all", period: "lifetime", zone: "UTC", millis: 4_000 }]
            }
            Kind::Roomy => {
                &[Definition { user: None, resource: "llm", period: "month", zone: "UTC", millis: 1_000_000_000 }]
            }
            Kind::Parked => {
                &[Definition { user: None, resource: "all", period: "lifetime", zone: "UTC", millis: 3_000 }]
            }
        }
    }
}

struct Definition {
    user: Option<usize>,
    resource: &'static str,
    period: &'static str,
    zone: &'static str,
    millis: i64,
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: Uuid,
    pub kind: Kind,
    pub users: [Uuid; 2],
}

impl Tenant {
    pub fn key(&self, user: Option<usize>, resource: &str, period: &str) -> QuotaKey {
        QuotaKey {
            scope: if user.is_some() { "user" } else { "tenant" }.to_string(),
            scope_id: Some(user.map_or(self.id, |user| self.users[user])),
            tenant: Some(self.id),
            resource: resource.to_string(),
            period: period.to_string(),
        }
    }
}

/// The platform's own quotas.
pub fn platform_key(resource: &str, period: &str) -> QuotaKey {
    QuotaKey {
        scope: "platform".into(),
        scope_id: None,
        tenant: None,
        resource: resource.into(),
        period: period.into(),
    }
}

#[derive(Debug)]
pub struct World {
    pub database: String,
    /// Whether quotas of scope platform exist, which change how the locked mode locks.
    pub platform: bool,
    /// Whether transactions lock in any order. Where none does there must be no deadlock.
    pub crossing: bool,
    pub waves: Vec<Vec<Tenant>>,
}

impl World {
    /// What a database has before its first wave: a function that charges in a loop of subtransactions, and a plan to
    /// switch to. Some have quotas of the platform. The run's databases differ, by their number.
    pub fn furnish(client: &mut Client, database: &str, number: u64, limits: &mut Limits) -> Result<World> {
        // A platform quota makes the locked mode serialise everything, so not every database has one.
        let (platform, crossing) = (number % 4 == 1 || number % 4 == 2, number.is_multiple_of(2));
        client.batch_execute(include_str!("storm.sql")).context("cannot furnish the database")?;
        client.batch_execute(include_str!("talk.sql")).context("cannot furnish the conversations")?;
        client.batch_execute(
            "insert into copilot_internal.default_quotas (plan, resource_type, period, limit_usd)
                  values ('tight', 'llm', 'day', 0.5), ('tight', 'all', 'month', 3)",
        )?;
        if platform {
            // Sandboxes are charged enforced only, so their sum is judged; model calls are not.
            limits.made_first(platform_key("e2b", "lifetime"), 12 * USD);
            client.batch_execute(
                "select public.set_quota('platform', null, 'e2b', 12, 'lifetime');
                 select public.set_quota('platform', null, 'all', 100000, 'month')",
            )?;
        }
        Ok(World { database: database.to_string(), platform, crossing, waves: Vec::new() })
    }

    /// A fresh tenant of every kind, under its quotas before anything is charged.
    pub fn add_wave(&mut self, client: &mut Client, limits: &mut Limits) -> Result<()> {
        let number = self.waves.len() as u128 + 1;
        let mut wave = Vec::new();
        for (index, kind) in (1..).zip(Kind::ALL) {
            let id = Uuid::from_u128(number << 16 | index << 8);
            let users = [1, 2].map(|user| Uuid::from_u128(number << 16 | index << 8 | user));
            let tenant = Tenant { id, kind, users };
            client.execute("insert into copilot_internal.tenants (id, name) values ($1, 'tenant')", &[&id])?;
            for quota in kind.quotas() {
                let key = tenant.key(quota.user, quota.resource, quota.period);
                let sql = "select public.set_quota($1, $2, $3, $4::bigint::numeric / 1000, $5, $6, $7)";
                client.execute(
                    sql,
                    &[&key.scope, &key.scope_id, &key.resource, &quota.millis, &key.period, &id, &quota.zone],
                )?;
                if kind.is_strict() {
                    limits.made_first(key, quota.millis * (USD / 1_000));
                }
            }
            if kind == Kind::Mixed {
                client.execute(
                    "select public.set_quota('user', $2, 'llm', 1, 'day', $1, p_mode => 'soft'),
                            public.set_quota('tenant', $1, 'all', 1, 'hour', p_mode => 'shadow')",
                    &[&id, &users[1]],
                )?;
            }
            wave.push(tenant);
        }
        self.waves.push(wave);
        Ok(())
    }

    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.waves.iter().flatten()
    }

    /// The tenant of a kind in the newest wave.
    pub fn newest(&self, kind: Kind) -> &Tenant {
        let wave = &self.waves[self.waves.len() - 1];
        wave.iter().find(|tenant| tenant.kind == kind).unwrap_or(&wave[0])
    }

    /// Mostly of the newest wave.
    fn any(&self, rng: &mut ChaCha8Rng, kinds: &[Kind]) -> &Tenant {
        let newest = self.waves.len() - 1;
        let wave = if rng.random_ratio(3, 4) { newest } else { rng.random_range(0..=newest) };
        let kind = kinds[rng.random_range(0..kinds.len())];
        self.waves[wave].iter().find(|tenant| tenant.kind == kind).unwrap_or(&self.waves[wave][0])
    }

    pub fn tenant(&self, rng: &mut ChaCha8Rng) -> &Tenant {
        // Charges of the tenant whose transactions are prepared wait for these.
        if rng.random_ratio(1, 50) { self.any(rng, &[Kind::Parked]) } else { self.any(rng, &Kind::OPEN) }
    }

    pub fn tenant_of(&self, rng: &mut ChaCha8Rng, kind: Kind) -> &Tenant {
        self.any(rng, &[kind])
    }

    /// An enforced charge.
    pub fn charge(&self, rng: &mut ChaCha8Rng, tenant: &Tenant, request: String) -> Charge {
        let function = match rng.random_range(0..10) {
            0..6 => Function::Llm,
            6..8 => Function::E2b,
            _ => Function::Bare,
        };
        let user = match rng.random_range(0..4) {
            0 => Some(tenant.users[0]),
            1 => Some(tenant.users[1]),
            _ => None,
        };
        Charge { function, tenant: tenant.id, user, picos: amount(rng), enforce: true, request: Some(request) }
    }
}

/// Mostly small, now and then so large that only little fits beside it; one in five is no whole nano-dollar.
fn amount(rng: &mut ChaCha8Rng) -> i64 {
    let nanos = match rng.random_range(0..20) {
        0 => rng.random_range(USD / 5..USD / 2),
        1..8 => rng.random_range(USD / 100..USD / 10),
        _ => rng.random_range(1..USD / 100),
    };
    nanos * 1_000 + if rng.random_ratio(1, 5) { rng.random_range(1..1_000) } else { 0 }
}
