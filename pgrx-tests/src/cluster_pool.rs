//! Servers for the tests of one process, lent to one test at a time. A change of definitions moves the epochs of a
//! whole server. A transaction that charges after such a change keeps all others of a partition waiting.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::cluster::{Cluster, ClusterOptions};

/// As many servers as tests run at once. None is ever dropped; the watchdog ends them with the process.
pub struct ClusterPool {
    idle: Mutex<Vec<&'static Cluster>>,
    start: fn() -> Result<Cluster>,
}

/// A server for as long as the thread of a test lasts.
pub struct Lease {
    pool: &'static ClusterPool,
    cluster: &'static Cluster,
}

impl ClusterPool {
    pub const fn new(start: fn() -> Result<Cluster>) -> Self {
        Self { idle: Mutex::new(Vec::new()), start }
    }

    #[allow(clippy::panic, reason = "for tests alone: without the server no test can go on")]
    pub fn lease(&'static self) -> Lease {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // The test that had it before has ended.
        idle.iter().for_each(|cluster| cluster.drop_fresh_databases());
        let cluster = idle.unwrap_or_else(|| match (self.start)() {
            Ok(cluster) => Box::leak(Box::new(cluster)),
            Err(error) => panic!("a server for a test does not start: {error:#}"),
        });
        Lease { pool: self, cluster }
    }
}

impl Lease {
    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.cluster);
    }
}

/// The server of the test that runs in this thread.
pub fn shared() -> &'static Cluster {
    static POOL: ClusterPool = ClusterPool::new(|| Cluster::start(ClusterOptions::default()));
    thread_local! {
        static LEASE: Lease = POOL.lease();
    }
    LEASE.with(Lease::cluster)
}
