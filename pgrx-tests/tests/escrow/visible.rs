//! What was acknowledged binds every session: none decides by a limit, a price or a membership that is no more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, bail};
use tollgate_tests::session::Caller;

use crate::servers::{assert_exact, charge, connect, fresh, no_defaults, pending, quota_figures, until};
use crate::support::{charged_nanos, id, limit, make_tenant, text};

const ROUNDS: u64 = 100;
const CHARGERS: usize = 4;

/// Tells the chargers that it is over, also when the setter has failed: nothing would end them otherwise.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One session shuts and opens the limit; others charge all the time. A charge must be refused if it begins after the
/// shutting was acknowledged and ends before the next opening began. One that lies in an open time must be admitted.
/// What is admitted at all was counted by the time of the acknowledgement: nothing slips in behind a check that follows
/// it.
#[test]
fn no_charge_is_decided_by_a_limit_that_is_no_more() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut setter = connect(&database)?;
    make_tenant(&mut setter, tenant)?;
    no_defaults(&mut setter)?;
    limit(&mut setter, tenant, "llm", "1000")?;
    // Even while a change is under way or what it says is uncertain; then 1 while shut, 3 while open.
    let phase = AtomicU64::new(3);
    let done = AtomicBool::new(false);
    let decided = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| -> Result<()> {
        let chargers: Vec<_> = (0..CHARGERS)
            .map(|_| {
                let (database, phase, done, decided) = (&database, &phase, &done, &decided);
                scope.spawn(move || -> Result<()> {
                    let mut client = connect(database)?;
                    while !done.load(Ordering::SeqCst) {
                        let before = phase.load(Ordering::SeqCst);
                        let admitted = charge(&mut client, tenant, "0.000001")?;
                        if before % 2 == 1 && phase.load(Ordering::SeqCst) == before {
                            let open = before % 4 == 3;
                            if admitted != open {
                                done.store(true, Ordering::SeqCst);
                                bail!("admitted: {admitted}, in phase {before}");
                            }
                            decided[usize::from(open)].fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        let end = End(&done);
        let mut rounds = 0;
        while !done.load(Ordering::SeqCst) && rounds < ROUNDS {
            for usd in ["0", "1000"] {
                phase.fetch_add(1, Ordering::SeqCst);
                limit(&mut setter, tenant, "llm", usd)?;
                phase.fetch_add(1, Ordering::SeqCst);
                if usd == "0" {
                    let (spent, held) = quota_figures(&mut setter, tenant)?;
                    until("nothing is in flight", || Ok(pending(&mut setter)?.is_empty()))?;
                    let charged = charged_nanos(&mut setter, tenant)?;
                    assert!(charged <= spent + held, "{charged} of {spent} and {held}");
                }
                assert_eq!(charge(&mut setter, tenant, "0.000001")?, usd != "0");
            }
            rounds += 1;
        }
        drop(end);
        chargers.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a session panicked")))
    })?;
    assert!(decided.iter().all(|count| count.load(Ordering::SeqCst) > 20), "{decided:?}");
    assert_exact(&mut setter, tenant, 1000);
    Ok(())
}

/// The same for which quotas there are: between its creation and its removal, a quota of nothing refuses everything.
#[test]
fn no_charge_slips_by_a_quota_that_is_there() -> Result<()> {
    const CREATED: u64 = 40;
    let database = fresh()?;
    let tenant = id(1);
    let mut setter = connect(&database)?;
    make_tenant(&mut setter, tenant)?;
    no_defaults(&mut setter)?;
    limit(&mut setter, tenant, "llm", "1000")?;
    let phase = AtomicU64::new(3);
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let chargers: Vec<_> = (0..CHARGERS)
            .map(|_| {
                let (database, phase, done) = (&database, &phase, &done);
                scope.spawn(move || -> Result<()> {
                    let mut client = connect(database)?;
                    while !done.load(Ordering::SeqCst) {
                        let before = phase.load(Ordering::SeqCst);
                        let admitted = charge(&mut client, tenant, "0.000001")?;
                        if before % 2 == 1 && phase.load(Ordering::SeqCst) == before && admitted != (before % 4 == 3) {
                            done.store(true, Ordering::SeqCst);
                            bail!("admitted: {admitted}, in phase {before}");
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        let end = End(&done);
        let changes = [
            ("platform", "delete from copilot_internal.cost_quotas where scope = 'platform'"),
            ("tenant", "delete from copilot_internal.cost_quotas where scope = 'tenant' and resource_type = 'all'"),
        ];
        for round in 0..CREATED {
            let (scope, remove) = changes[round as usize % 2];
            let whose = (scope == "tenant").then_some(tenant);
            phase.fetch_add(1, Ordering::SeqCst);
            setter.execute("select public.set_quota($1, $2, 'all', 0, 'lifetime')", &[&scope, &whose])?;
            phase.fetch_add(1, Ordering::SeqCst);
            assert!(!charge(&mut setter, tenant, "0.000001")?);
            phase.fetch_add(1, Ordering::SeqCst);
            setter.batch_execute(remove)?;
            phase.fetch_add(1, Ordering::SeqCst);
            assert!(charge(&mut setter, tenant, "0.000001")?);
        }
        drop(end);
        chargers.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| bail!("a session panicked")))
    })?;
    assert_exact(&mut setter, tenant, 1000);
    Ok(())
}

#[test]
fn a_price_a_mode_and_a_setting_bind_from_their_acknowledgement() -> Result<()> {
    let database = fresh()?;
    let tenant = id(1);
    let mut setter = connect(&database)?;
    let mut other = connect(&database)?;
    make_tenant(&mut setter, tenant)?;
    no_defaults(&mut setter)?;
    limit(&mut setter, tenant, "llm", "0.000001")?;
    let recorded = "select recorded || ' ' || cost_usd from public.record_llm_cost($1, 'p', 'm', 1000000, 0)";
    let shown = "select estimated_cost_usd::text from public.estimate_llm_cost('p', 'm', 1000000, 0)";
    let first = "select public.set_model_price('p', 'm', $1::text::numeric, 0, '2020-01-01')";
    setter.execute(first, &[&"1"])?;
    for round in 1..60 {
        let price = format!("{round}.25");
        setter.execute(first, &[&price])?;
        assert_eq!(text(&mut other, recorded, &[&tenant])?, format!("true {price}"));
        assert_eq!(text(&mut other, shown, &[])?, price);
        let mode = ["hard", "soft", "shadow"][round % 3];
        let sql = "select public.set_quota('tenant', $1, 'llm', 0.000001, 'lifetime', p_mode => $2)";
        setter.execute(sql, &[&tenant, &mode])?;
        assert_eq!(charge(&mut other, tenant, "0.000000001")?, mode != "hard", "{mode}");
    }
    Ok(())
}

/// A member who is removed is out with the acknowledgement, in sessions that had cached them.
#[test]
fn a_membership_that_is_revoked_is_seen_by_every_session() -> Result<()> {
    let database = fresh()?;
    let (tenant, user) = (id(1), id(0xf1));
    let mut setter = connect(&database)?;
    make_tenant(&mut setter, tenant)?;
    let insert = "insert into copilot_internal.tenant_memberships (tenant_id, user_id, role) values ($1, $2, 'member')";
    setter.execute(insert, &[&tenant, &user])?;
    let mut sessions = [database.session()?, database.session()?];
    let caller = Caller::user(user, Some(tenant));
    for round in 0..40 {
        for (status, member) in [("active", true), ("suspended", false)] {
            let sql = "update copilot_internal.tenant_memberships set status = $1 where user_id = $2";
            setter.execute(sql, &[&status, &user])?;
            for session in &mut sessions {
                let has: bool = session.value(&caller, "select public.has_quota($1, 'llm', 1)", &[&tenant])?;
                assert_eq!(has, member, "round {round}, {status}");
                let current = "select public.get_current_tenant_id() is not null";
                assert_eq!(session.value::<bool>(&caller, current, &[])?, member, "round {round}, {status}");
            }
        }
    }
    Ok(())
}
