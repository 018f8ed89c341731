//! A long transaction of many small parts: the backend must not grow with what was rolled back.

use std::fs;

use anyhow::{Context, Result};
use postgres::Client;

use crate::servers::{assert_exact, backend, charge, connect, fresh, pending};
use crate::support::{charged_nanos, id, limit, make_tenant};

/// Kilobytes that the backend has for itself: every process touches what it shares with others sooner or later.
fn private_kilobytes(client: &mut Client) -> Result<u64> {
    let pid = backend(client)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the backend has no status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
    line.trim().trim_end_matches(" kB").parse().context("RssAnon is no number")
}

fn exceptions(tenant: uuid::Uuid, blocks: u32) -> String {
    format!(
        "do $$ begin
             for i in 1..{blocks} loop
                 begin
                     perform public.check_and_record_quota_atomic('tenant', '{tenant}', 0.5);
                     raise exception 'undone';
                 exception when raise_exception then null;
                 end;
             end loop;
         end $$"
    )
}

#[test]
fn a_hundred_thousand_exceptions_in_one_transaction_leave_nothing() -> Result<()> {
    const BLOCKS: u32 = 100_000;
    let database = fresh()?;
    let tenant = id(1);
    let mut client = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    limit(&mut client, tenant, "llm", "1")?;
    client.batch_execute("set statement_timeout = '300s'; begin")?;
    assert!(charge(&mut client, tenant, "0.25")?);
    client.batch_execute(&exceptions(tenant, BLOCKS / 10))?;
    let before = private_kilobytes(&mut client)?;
    client.batch_execute(&exceptions(tenant, BLOCKS - BLOCKS / 10))?;
    let grown = private_kilobytes(&mut client)?.saturating_sub(before);
    // Postgres itself keeps some bytes for each subtransaction to the end.
    assert!(grown < 16 * 1024, "grown by {grown} kB");
    let mut other = connect(&database)?;
    assert_eq!(pending(&mut other)?.len(), 1);
    assert!(charge(&mut other, tenant, "0.5")?, "only a quarter is held");
    assert!(charge(&mut client, tenant, "0.25")?);
    client.batch_execute("commit")?;
    assert_eq!(charged_nanos(&mut other, tenant)?, 1_000_000_000);
    assert_exact(&mut other, tenant, 1);
    Ok(())
}
