//! The postmaster is killed while sessions charge: what was acknowledged is there, and the figures are exact.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::support::{assert_verified, id, make_tenant};

const SESSIONS: usize = 3;
const ENOUGH: usize = 60;

fn charge(client: &mut postgres::Client, request: &str) -> Result<bool, postgres::Error> {
    let sql = "select replayed from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.01, p_request_id => $2)";
    Ok(client.query_one(sql, &[&id(1), &request])?.get(0))
}

#[test]
fn what_was_acknowledged_survives_a_crash() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { fsync: true, ..ClusterOptions::default() })?;
    cluster.create_database("crashing")?;
    let mut client = cluster.superuser("crashing")?;
    make_tenant(&mut client, id(1))?;
    client.batch_execute("select public.set_quota('platform', null, 'all', 100000)")?;
    drop(client);
    for round in 0..2 {
        let crashed = AtomicBool::new(false);
        let charged = AtomicUsize::new(0);
        let acknowledged: Vec<String> = thread::scope(|scope| {
            let threads: Vec<_> = (0..SESSIONS)
                .map(|session| {
                    let (cluster, crashed, charged) = (&cluster, &crashed, &charged);
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        let Ok(mut client) = cluster.superuser("crashing") else { return acknowledged };
                        for number in 0.. {
                            let request = format!("{round} {session} {number}");
                            match charge(&mut client, &request) {
                                Ok(_) => {
                                    acknowledged.push(request);
                                    charged.fetch_add(1, Ordering::SeqCst);
                                }
                                Err(_) => break,
                            }
                            if number % 10 == 9 && client.batch_execute("select copilot_internal.maintain(20)").is_err()
                            {
                                break;
                            }
                        }
                        assert!(crashed.load(Ordering::SeqCst), "a session failed before the crash");
                        acknowledged
                    })
                })
                .collect();
            // In the middle of work, after enough of it.
            let deadline = Instant::now() + Duration::from_secs(120);
            while charged.load(Ordering::SeqCst) < ENOUGH && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            crashed.store(true, Ordering::SeqCst);
            let crash = cluster.crash();
            let lists: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
            crash.map(|()| lists)
        })?;
        assert!(acknowledged.len() >= ENOUGH, "only {} charges before the crash", acknowledged.len());
        let mut client = cluster.superuser("crashing")?;
        for request in &acknowledged {
            assert!(charge(&mut client, request)?, "{request} is lost");
        }
        assert_verified(&mut client);
        let sql = "select (select sum(total_cost) from metrics.tenant_total_costs) = 0.01 * (select count(*) from copilot_internal.llm_cost_records)";
        assert!(client.query_one(sql, &[])?.get::<_, bool>(0));
    }
    Ok(())
}
