//! Every change, by every way in which a transaction can end, and while others ask all the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tollgate_tests::cluster::{Cluster, ClusterOptions};

use crate::world::{CHANGES, Change, Open, Question, Tenant, filled};

fn start() -> Result<(Cluster, String)> {
    let extra_conf = vec![("max_prepared_transactions".to_string(), "4".to_string())];
    let cluster = Cluster::start(ClusterOptions { extra_conf, ..ClusterOptions::default() })?;
    let database = cluster.fresh_database()?;
    Ok((cluster, database))
}

#[test]
fn a_change_is_followed_when_it_is_acknowledged_and_not_when_it_is_rolled_back() -> Result<()> {
    let (cluster, database) = start()?;
    let mut owner = cluster.superuser(&database)?;
    let mut open = Open::connect(&cluster, &database)?;
    for (number, change) in (1..).zip(CHANGES) {
        let tenant = Tenant::numbered(number);
        tenant.create(&mut owner)?;
        open.expect(change, tenant, change.before, "before")?;
        change.make(&mut owner, tenant)?;
        open.expect(change, tenant, change.after, "after it")?;
        change.undo(&mut owner, tenant)?;
        open.expect(change, tenant, change.before, "after its end")?;
        for (begin, end, expected) in [
            ("begin", "rollback", change.before),
            ("begin; savepoint s", "rollback to s; commit", change.before),
            ("begin; savepoint s", "release s; rollback", change.before),
            ("begin; savepoint s", "release s; savepoint t; rollback to t; commit", change.after),
        ] {
            owner.batch_execute(&format!("{begin}; {}", filled(change.sql, tenant)))?;
            // A charge waits for a change of which quotas exist in the locked mode alone, where there is a platform's.
            if change.name != "a platform quota" {
                open.expect(change, tenant, change.before, "while it is open")?;
            }
            owner.batch_execute(end)?;
            open.expect(change, tenant, expected, end)?;
            change.undo(&mut owner, tenant)?;
            open.expect(change, tenant, change.before, "after its end")?;
        }
    }
    Ok(())
}

/// What the changing transaction itself keeps goes with what is rolled back.
#[test]
fn a_transaction_follows_its_own_changes() -> Result<()> {
    let (cluster, database) = start()?;
    let mut owner = cluster.superuser(&database)?;
    let of_the_server = CHANGES.iter().filter(|change| {
        let people = [Question::Role, Question::OwnersRole, Question::Current, Question::SandboxPriced];
        !people.contains(&change.asks)
    });
    for (number, change) in (1..).zip(of_the_server) {
        let tenant = Tenant::numbered(number);
        tenant.create(&mut owner)?;
        let ask = match change.asks {
            Question::Priced => {
                "select coalesce(trim_scale(cost_usd)::text, 'none')
                   from public.record_llm_cost('{id}', 'p', 'm', 1000, 0, p_metadata => '{}')"
            }
            Question::Admitted => {
                "select recorded::text
                   from public.record_llm_cost('{id}', 'p', 'm', 1000, 0, p_cost_usd => 5, p_enforce => true)"
            }
            Question::AdmittedAbove => {
                "select recorded::text
                   from public.record_llm_cost('{id}', 'p', 'm', 1000, 0, p_cost_usd => 12, p_enforce => true)"
            }
            _ => {
                "select recorded::text
                   from public.record_llm_cost('{id}', 'p', 'm', 1000, 0, p_cost_usd => 0.001, p_enforce => true)"
            }
        };
        let ask = filled(ask, tenant);
        let mut transaction = owner.transaction()?;
        for _ in 0..2 {
            let mut part = transaction.transaction()?;
            let said: String = part.query_one(&ask, &[])?.get(0);
            ensure!(said == change.before, "{}: {said} before", change.name);
            part.rollback()?;
            let mut part = transaction.transaction()?;
            part.batch_execute(&filled(change.sql, tenant))?;
            let said: String = part.query_one(&ask, &[])?.get(0);
            ensure!(said == change.after, "{}: {said} after", change.name);
            part.rollback()?;
        }
        transaction.rollback()?;
        let said: String = owner.query_one(&ask, &[])?.get(0);
        ensure!(said == change.before, "{}: {said} in the end", change.name);
    }
    Ok(())
}

/// Whichever session commits it, and whenever.
#[test]
fn a_prepared_change_is_followed_when_it_is_committed() -> Result<()> {
    let (cluster, database) = start()?;
    let mut owner = cluster.superuser(&database)?;
    let mut other = cluster.superuser(&database)?;
    let mut open = Open::connect(&cluster, &database)?;
    // A change of which quotas exist cannot be prepared.
    let defines = ["a quota that comes", "a platform quota", "a default", "a plan"];
    for (number, change) in (1..).zip(CHANGES.iter().filter(|change| !defines.contains(&change.name))) {
        let tenant = Tenant::numbered(number);
        tenant.create(&mut owner)?;
        for (ending, expected) in [("rollback", change.before), ("commit", change.after)] {
            owner.batch_execute(&format!("begin; {}; prepare transaction 'change'", filled(change.sql, tenant)))?;
            open.expect(change, tenant, change.before, "while it is prepared")?;
            other.batch_execute(&format!("{ending} prepared 'change'"))?;
            open.expect(change, tenant, expected, ending)?;
        }
        change.undo(&mut owner, tenant)?;
    }
    Ok(())
}

/// Sessions that ask all the time never say what an acknowledged change has ended. The counter is odd from when a change
/// is acknowledged until before it is undone, and even the other way round.
#[test]
fn no_session_that_asks_all_the_time_is_behind() -> Result<()> {
    let (cluster, database) = start()?;
    let mut owner = cluster.superuser(&database)?;
    let changes = ["a limit", "a raise", "a quota that comes", "a membership", "a policy", "a price"];
    let changes = CHANGES.iter().filter(|change| changes.contains(&change.name));
    for (number, change) in (1..).zip(changes) {
        let tenant = Tenant::numbered(number);
        tenant.create(&mut owner)?;
        let shared = Shared::default();
        thread::scope(|scope| -> Result<()> {
            // Charges that are in flight together could take each other's room.
            let spends = matches!(change.asks, Question::Admitted | Question::AdmittedAbove);
            let askers: Vec<_> = (0..if spends { 1 } else { 3 })
                .map(|_| scope.spawn(|| ask_until(&cluster, &database, change, tenant, &shared)))
                .collect();
            let changed = keep_changing(&cluster, &database, change, tenant, &shared);
            shared.over.store(true, Ordering::SeqCst);
            for asker in askers {
                asker.join().unwrap_or_else(|_| anyhow::bail!("an asker panicked"))?;
            }
            changed
        })?;
        ensure!(shared.has_been_asked(), "{}: asked {:?} times", change.name, shared.asked);
    }
    Ok(())
}

#[derive(Default)]
struct Shared {
    state: AtomicU64,
    /// How often before a change and after it.
    asked: [AtomicU64; 2],
    over: AtomicBool,
}

impl Shared {
    fn has_been_asked(&self) -> bool {
        self.asked.iter().all(|count| count.load(Ordering::SeqCst) > 20)
    }
}

fn ask_until(cluster: &Cluster, database: &str, change: &Change, tenant: Tenant, shared: &Shared) -> Result<()> {
    let Shared { state, asked, over } = shared;
    let mut open = Open::connect(cluster, database)?;
    while !over.load(Ordering::SeqCst) {
        let before = state.load(Ordering::SeqCst);
        let said = open.ask(change.asks, tenant)?;
        // Four states: unchanged, changing, changed, changing back.
        if before == state.load(Ordering::SeqCst) && before.is_multiple_of(2) {
            let is_changed = before % 4 == 2;
            asked[usize::from(is_changed)].fetch_add(1, Ordering::SeqCst);
            let expected = if is_changed { change.after } else { change.before };
            if said != expected {
                over.store(true, Ordering::SeqCst);
            }
            ensure!(said == expected, "{}: {said} instead of {expected} in state {before}", change.name);
        }
    }
    Ok(())
}

fn keep_changing(cluster: &Cluster, database: &str, change: &Change, tenant: Tenant, shared: &Shared) -> Result<()> {
    let Shared { state, over, .. } = shared;
    let mut owner = cluster.superuser(database)?;
    let began = Instant::now();
    while !over.load(Ordering::SeqCst) {
        let is_late = began.elapsed() > Duration::from_secs(3);
        if is_late && (shared.has_been_asked() || began.elapsed() > Duration::from_secs(120)) {
            break;
        }
        // On a busy machine who asks needs a while between two changes.
        let pause = Duration::from_millis(if is_late { 200 } else { 5 });
        for back in [false, true] {
            state.fetch_add(1, Ordering::SeqCst);
            let sql = if back { change.back } else { change.sql };
            // In a transaction of several statements, with a part that is rolled back.
            let sql = filled(sql, tenant);
            owner.batch_execute(&format!("begin; savepoint s; {sql}; rollback to s; {sql}; commit"))?;
            state.fetch_add(1, Ordering::SeqCst);
            thread::sleep(pause);
        }
    }
    Ok(())
}
