//! Tenants with long tails.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use postgres::Client;
use uuid::Uuid;

/// Records of a tenant that nobody has folded, as an import leaves them: each of 100 nano-dollars.
pub fn pend(client: &mut Client, tenant: Uuid, rows: i64) -> Result<()> {
    pend_for(client, &format!("'{tenant}'::uuid"), rows)
}

/// The same, for tenants that an expression of the row's number `n` gives.
pub fn pend_for(client: &mut Client, tenant: &str, rows: i64) -> Result<()> {
    client.batch_execute(&format!(
        "with records as (
             insert into copilot_internal.llm_cost_records (tenant_id, model_provider, model_name, input_tokens,
                 output_tokens, cost_usd, cost_status, charge_nanos, charged_at, occurred_at)
             select {tenant}, 'p', 'm' || n % 3, 1, 1, 0.0000001, 'provided', 100, clock_timestamp(), clock_timestamp()
             from generate_series(1, {rows}) n
             returning *)
         insert into copilot_internal.pending_costs
             (tenant_id, record_id, source, user_id, resource_type, charged_at, nanos)
         select r.tenant_id, r.id, 'llm', '00000000-0000-0000-0000-000000000000', 'llm', r.charged_at, r.charge_nanos
         from records r"
    ))?;
    Ok(())
}

pub fn pending(client: &mut Client) -> Result<i64> {
    Ok(client.query_one("select count(*) from copilot_internal.pending_costs", &[])?.get(0))
}

/// Asks again and again. The bound is far above what a busy machine needs.
pub fn until(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !happened()? {
        if Instant::now() > deadline {
            bail!("it does not happen that {what}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
