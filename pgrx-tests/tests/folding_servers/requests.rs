//! A charge that cannot sum a very long tail in time has it folded by a process that no time-out takes back.

use anyhow::Result;
use tollgate_tests::cluster::{Cluster, ClusterOptions};
use tollgate_tests::session::sqlstate;

use crate::servers::conf;
use crate::support::{assert_verified, id, limit, make_tenant};
use crate::world::{pend, pending, until};

fn time_outs_end(preload: bool) -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { preload, extra_conf: conf(1), ..ClusterOptions::default() })?;
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    for tenant in [id(1), id(2)] {
        make_tenant(&mut client, tenant)?;
        limit(&mut client, tenant, "llm", "100")?;
    }
    // As a restored database, or one whose housekeeping has been forgotten: no transaction has told of them.
    client.batch_execute("set session_replication_role = replica")?;
    pend(&mut client, id(1), 100_000)?;
    client.batch_execute("reset session_replication_role")?;
    let sql = "select recorded from public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.01, p_enforce => true)";
    let mut time_outs = 0;
    until("a charge is in time", || {
        // Who is cut off may never come back.
        let mut caller = cluster.superuser(&database)?;
        // What a session does once would take the time on a busy machine.
        caller.query("select allowed from public.check_quota_before_operation($1, 'llm', 0)", &[&id(2)])?;
        caller.batch_execute("set statement_timeout = '15ms'")?;
        match caller.query_one(sql, &[&id(1)]) {
            Ok(row) => Ok(row.get(0)),
            Err(error) => {
                assert_eq!(sqlstate(&error), "57014", "{error}");
                time_outs += 1;
                Ok(false)
            }
        }
    })?;
    assert!(time_outs > 0, "the tail is not long enough");
    until("it is folded", || Ok(pending(&mut client)? <= 300))?;
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn time_outs_end_where_the_library_is_not_preloaded() -> Result<()> {
    time_outs_end(false)
}

#[test]
fn time_outs_end_where_the_library_is_preloaded() -> Result<()> {
    time_outs_end(true)
}
