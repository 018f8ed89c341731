//! A period ends by the clock alone; each has a counter of its own.

use anyhow::Result;

use crate::servers::{charge, connect, fresh, quota_figures};
use crate::support::{USD, assert_verified, id, make_tenant, text};

/// Charges after the fact into past hours: each hour has its own sum, the present one is untouched, and no job has run.
#[test]
fn each_hour_has_its_own_counter() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut client = connect(&database)?;
    make_tenant(&mut client, tenant)?;
    client.execute("select public.set_quota('tenant', $1, 'llm', 1, 'hour')", &[&tenant])?;
    let mut other = connect(&database)?;
    let after_the_fact = "
        select quota_status || ' ' || remaining_usd from public.record_llm_cost($1, 'p', 'm', 1, 1,
            p_cost_usd => $3::text::numeric, p_occurred_at => date_trunc('hour', now()) - make_interval(hours => $2))";
    for hours in [1, 2, 3] {
        for (usd, answer) in [("0.25", "OK 0.75"), ("0.75", "WARNING 0"), ("1", "EXCEEDED 0")] {
            assert_eq!(text(&mut client, after_the_fact, &[&tenant, &hours, &usd])?, answer, "{hours} hours ago");
        }
    }
    assert_eq!(quota_figures(&mut other, tenant)?, (0, 0));
    assert!(charge(&mut other, tenant, "1")?, "this hour is free");
    assert_eq!(quota_figures(&mut client, tenant)?.0, USD);
    // What is rolled back is given back to its hour.
    client.batch_execute("begin")?;
    assert_eq!(text(&mut client, after_the_fact, &[&tenant, &4, &"0.5"])?, "OK 0.5");
    client.batch_execute("rollback")?;
    assert_eq!(text(&mut other, after_the_fact, &[&tenant, &4, &"0.25"])?, "OK 0.75");
    assert_verified(&mut client);
    Ok(())
}
