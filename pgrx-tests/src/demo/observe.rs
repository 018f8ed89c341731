//! Watches a replay through the views of `metrics`, as a dashboard would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use postgres::Client;
use uuid::Uuid;

use super::DATABASE;
use super::world::DemoWorld;
use crate::cluster::Cluster;

/// Often enough for a curve, and seldom enough to leave the replay its time.
const INTERVAL: Duration = Duration::from_millis(100);

/// Pixels are drawn of them, and nothing is added up: doubles will do.
const SPEND: &str = "
    select tenant_id, model_provider || '/' || model_name, total_cost::float8 from metrics.llm_costs
     where total_cost is not null
    union all
    select tenant_id, 'sandboxes', total_cost::float8 from metrics.e2b_costs where total_cost is not null";

const TIGHT: &str = "
    select current_spend_usd::float8, reserved_usd::float8 from metrics.quota_status
     where tenant_id = $1 and scope = 'tenant' and resource_type = 'llm'";

/// What the views said at one moment, in USD.
#[derive(Debug, Default)]
pub struct Sample {
    /// Since the replay began.
    pub at: Duration,
    pub by_tenant: BTreeMap<Uuid, f64>,
    /// Models, and sandboxes as one more.
    pub by_model: BTreeMap<String, f64>,
    /// What the tight tenant's llm quota has spent, and what reservations hold of it.
    pub tight_spent: f64,
    pub tight_held: f64,
}

pub struct Observer {
    finished: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Sample>>>,
}

impl Observer {
    pub fn start(cluster: &Cluster, world: &DemoWorld, began: Instant) -> Result<Observer> {
        let mut client = cluster.connect(DATABASE, "authenticator")?;
        client.batch_execute("set role service_role").context("cannot become service_role")?;
        let finished = Arc::new(AtomicBool::new(false));
        let (seen, tight) = (Arc::clone(&finished), world.tenants[world.tight].id);
        let thread = thread::spawn(move || {
            let mut samples = vec![Sample::default()];
            loop {
                // Read before: what comes after the end is in the last sample.
                let last = seen.load(Ordering::Acquire);
                samples.push(sample(&mut client, tight, began)?);
                if last {
                    return Ok(samples);
                }
                thread::sleep(INTERVAL);
            }
        });
        Ok(Observer { finished, thread })
    }

    /// Once the replay has ended: all samples, the last one after everything.
    pub fn finish(self) -> Result<Vec<Sample>> {
        self.finished.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("the observer's thread ended badly"))?
    }
}

fn sample(client: &mut Client, tight: Uuid, began: Instant) -> Result<Sample> {
    let mut sample = Sample { at: began.elapsed(), ..Sample::default() };
    for row in client.query(SPEND, &[]).context("metrics.llm_costs and metrics.e2b_costs")? {
        let (tenant, model, usd): (Uuid, String, f64) = (row.get(0), row.get(1), row.get(2));
        *sample.by_tenant.entry(tenant).or_default() += usd;
        *sample.by_model.entry(model).or_default() += usd;
    }
    let row = client.query_one(TIGHT, &[&tight]).context("metrics.quota_status")?;
    (sample.tight_spent, sample.tight_held) = (row.get(0), row.get(1));
    Ok(sample)
}
