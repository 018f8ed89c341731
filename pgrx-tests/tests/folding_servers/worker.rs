//! The launcher and its workers, on servers of their own.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tollgate_tests::cluster::{Cluster, once_unused};

use crate::servers::{LAUNCHER, WORKER, processes, server, worker_in};
use crate::support::{assert_verified, id, make_tenant, texts};
use crate::world::{pend, pending, until};

/// So many rows that a worker is in the middle of them for a while.
const LONG: i64 = 100_000;

fn charge(client: &mut postgres::Client) -> Result<()> {
    client.execute("select public.record_llm_cost($1, 'p', 'm', 1, 1, p_cost_usd => 0.01)", &[&id(1)])?;
    Ok(())
}

/// A database with a long tail, which a worker has begun to fold.
fn being_folded(cluster: &Cluster) -> Result<String> {
    let database = cluster.fresh_database()?;
    make_tenant(&mut cluster.superuser(&database)?, id(1))?;
    fold_more(cluster, &database)?;
    Ok(database)
}

/// Adds a long tail, and waits for the worker.
fn fold_more(cluster: &Cluster, database: &str) -> Result<()> {
    let mut client = cluster.superuser(database)?;
    pend(&mut client, id(1), LONG)?;
    worker_in(&mut client, database)?;
    Ok(())
}

#[test]
fn what_is_charged_is_folded_and_nobody_stays() -> Result<()> {
    let cluster = server(2)?;
    let mut admin = cluster.superuser("postgres")?;
    until("there is a launcher", || Ok(processes(&mut admin, LAUNCHER, None)?.len() == 1))?;
    // In two databases at the same time.
    let databases = [cluster.fresh_database()?, cluster.fresh_database()?];
    for database in &databases {
        let mut client = cluster.superuser(database)?;
        make_tenant(&mut client, id(1))?;
        charge(&mut client)?;
    }
    for database in &databases {
        let mut client = cluster.superuser(database)?;
        until("the charge is folded", || Ok(pending(&mut client)? == 0))?;
        assert_verified(&mut client);
    }
    until("the workers have ended", || Ok(processes(&mut admin, WORKER, None)?.is_empty()))?;
    // Nobody charges: it sleeps, and starts nothing.
    let launcher = processes(&mut admin, LAUNCHER, None)?[0];
    let before = wake_ups(launcher)?;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_secs(12) {
        assert_eq!(processes(&mut admin, WORKER, None)?, Vec::<i32>::new());
        thread::sleep(Duration::from_millis(100));
    }
    let woke = wake_ups(launcher)? - before;
    assert!(woke <= 6, "it woke up {woke} times in 12 seconds");
    // Charges go on, and are folded again.
    let mut client = cluster.superuser(&databases[0])?;
    charge(&mut client)?;
    until("the next charge is folded", || Ok(pending(&mut client)? == 0))?;
    Ok(())
}

/// How often a process has gone to sleep of its own accord.
fn wake_ups(pid: i32) -> Result<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.context("no count of wake-ups")?.trim().parse().context("no number")
}

#[test]
fn a_database_is_copied_and_dropped_while_a_worker_is_in_it() -> Result<()> {
    let cluster = server(2)?;
    let mut admin = cluster.superuser("postgres")?;
    let database = being_folded(&cluster)?;
    once_unused(&mut admin, &format!("create database copied template {database}"))?;
    let mut copy = cluster.superuser("copied")?;
    assert_verified(&mut copy);
    drop(copy);
    // On a busy machine the worker may be done before it was in the way.
    fold_more(&cluster, &database)?;
    once_unused(&mut admin, &format!("alter database {database} rename to renamed"))?;
    fold_more(&cluster, "renamed")?;
    once_unused(&mut admin, "drop database renamed")?;
    once_unused(&mut admin, "drop database copied")?;
    Ok(())
}

#[test]
fn the_extension_is_dropped_while_a_worker_folds_and_comes_back() -> Result<()> {
    let cluster = server(2)?;
    let database = being_folded(&cluster)?;
    let mut client = cluster.superuser(&database)?;
    let launcher = processes(&mut client, LAUNCHER, None)?;
    client.batch_execute("set lock_timeout = '60s'; drop extension pg_tollgate")?;
    client.batch_execute("create extension pg_tollgate")?;
    make_tenant(&mut client, id(1))?;
    charge(&mut client)?;
    until("the charge is folded", || Ok(pending(&mut client)? == 0))?;
    assert_verified(&mut client);
    assert_eq!(processes(&mut client, LAUNCHER, None)?, launcher, "the server has not crashed");
    Ok(())
}

/// What was not committed is pending again, and folded by the next worker.
#[test]
fn a_worker_that_is_killed_loses_nothing_and_counts_nothing_twice() -> Result<()> {
    let cluster = server(2)?;
    let database = being_folded(&cluster)?;
    for _ in 0..2 {
        let mut client = cluster.superuser(&database)?;
        let pid = worker_in(&mut client, &database)?;
        thread::sleep(Duration::from_millis(150));
        // It may have just ended by itself: then the next one.
        let process = Pid::from_raw(pid).context("no process id")?;
        if kill_process(process, Signal::KILL).is_err() {
            continue;
        }
        until("the server has crashed", || Ok(client.simple_query("select 1").is_err()))?;
        until("the server is back", || {
            Ok(cluster.superuser(&database).is_ok_and(|mut client| pending(&mut client).is_ok()))
        })?;
    }
    let mut client = cluster.superuser(&database)?;
    until("all is folded", || Ok(pending(&mut client)? == 0))?;
    let total = "select (total_cost / 0.0000001)::bigint::text from metrics.tenant_total_costs";
    assert_eq!(crate::support::text(&mut client, total, &[])?, LONG.to_string());
    assert_verified(&mut client);
    Ok(())
}

#[test]
fn workers_end_when_they_are_told_to() -> Result<()> {
    let cluster = server(2)?;
    let database = being_folded(&cluster)?;
    let mut admin = cluster.superuser("postgres")?;
    let worker = worker_in(&mut admin, &database)?;
    let launcher = processes(&mut admin, LAUNCHER, None)?[0];
    admin.execute("select pg_terminate_backend($1), pg_terminate_backend($2)", &[&worker, &launcher])?;
    until("they have ended", || {
        Ok(processes(&mut admin, WORKER, None)? != [worker] && processes(&mut admin, LAUNCHER, None)? != [launcher])
    })?;
    until("there is another launcher", || Ok(processes(&mut admin, LAUNCHER, None)?.len() == 1))?;
    drop(admin);
    // In the middle of work again: a fast shutdown and a smart one wait for nothing.
    for round in 0..2 {
        let other = being_folded(&cluster)?;
        let began = Instant::now();
        if round == 0 {
            cluster.restart()?
        } else {
            cluster.restart_smartly()?
        }
        assert!(began.elapsed() < Duration::from_secs(120), "it takes {:?}", began.elapsed());
        let mut client = cluster.superuser(&other)?;
        // What is left from before the start is found without a charge.
        until("all is folded", || Ok(pending(&mut client)? == 0))?;
        assert_verified(&mut client);
    }
    Ok(())
}

/// The setting is followed without a restart.
#[test]
fn without_workers_nobody_folds() -> Result<()> {
    let cluster = server(0)?;
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    make_tenant(&mut client, id(1))?;
    charge(&mut client)?;
    thread::sleep(Duration::from_secs(7));
    assert_eq!(pending(&mut client)?, 1);
    client.batch_execute("alter system set pg_tollgate.workers = 1")?;
    client.batch_execute("select pg_reload_conf()")?;
    until("the charge is folded", || Ok(pending(&mut client)? == 0))?;
    Ok(())
}

#[test]
fn a_standby_has_workers_from_its_promotion_on() -> Result<()> {
    let primary = server(0)?;
    let database = primary.fresh_database()?;
    let mut client = primary.superuser(&database)?;
    make_tenant(&mut client, id(1))?;
    charge(&mut client)?;
    let standby = primary.standby()?;
    standby.configure("pg_tollgate.workers", "2")?;
    standby.restart()?;
    let mut client = standby.superuser(&database)?;
    thread::sleep(Duration::from_secs(2));
    assert_eq!(processes(&mut client, LAUNCHER, None)?, Vec::<i32>::new());
    client.batch_execute("select pg_promote()")?;
    until("the charge is folded", || Ok(pending(&mut client)? == 0))?;
    assert_verified(&mut client);
    Ok(())
}

/// It is the bootstrap user that connects, and the extension's owner that folds: a trigger gets no more.
#[test]
fn a_worker_folds_with_the_rights_of_the_owner_alone() -> Result<()> {
    let cluster = server(2)?;
    let database = cluster.fresh_database()?;
    let mut client = cluster.superuser(&database)?;
    make_tenant(&mut client, id(1))?;
    client.batch_execute(
        "create table public.seen (who text not null, outcome text not null);
         grant insert on public.seen to tollgate_owner;
         create function public.grasp() returns trigger language plpgsql as $$
         declare v_outcome text := 'is taken';
         begin
             begin
                 reset role;
                 perform set_config('role', session_user, true);
             exception when others then v_outcome := sqlstate;
             end;
             insert into public.seen values (current_user, v_outcome);
             return null;
         end $$;
         create trigger grasp after insert on copilot_internal.quota_rollups
             for each row execute function public.grasp();
         create function public.grasp_late() returns trigger language plpgsql as $$ begin
             insert into public.seen values (current_user, 'at the commit');
             return null;
         end $$;
         create constraint trigger grasp_late after insert on copilot_internal.quota_rollups
             deferrable initially deferred for each row execute function public.grasp_late();
         create function public.by_cursor() returns text language plpgsql as $$ begin
             insert into public.seen values (current_user, 'by a cursor');
             return '';
         end $$;
         create function public.grasp_by_cursor() returns trigger language plpgsql as $$ begin
             execute format('declare %I cursor with hold for select public.by_cursor()', gen_random_uuid());
             return null;
         end $$;
         create trigger grasp_by_cursor after insert on copilot_internal.quota_rollups
             execute function public.grasp_by_cursor()",
    )?;
    charge(&mut client)?;
    until("the charge is folded", || Ok(pending(&mut client)? == 0))?;
    let seen = texts(&mut client, "select distinct who || ' ' || outcome from public.seen order by 1", &[])?;
    assert_eq!(seen, ["tollgate_owner 42501", "tollgate_owner at the commit", "tollgate_owner by a cursor"]);
    Ok(())
}

/// A database that takes no connections is left alone until it does. One that cannot be connected to is tried once a
/// minute, not again and again.
#[test]
fn databases_that_take_no_connections_are_left_alone() -> Result<()> {
    let cluster = server(2)?;
    let mut admin = cluster.superuser("postgres")?;
    let [closed, broken] = [cluster.fresh_database()?, cluster.fresh_database()?];
    let fail = |name: &str| format!("update pg_database set datconnlimit = -2 where datname = '{name}'");
    for database in [&closed, &broken] {
        let mut client = cluster.superuser(database)?;
        make_tenant(&mut client, id(1))?;
        // Sees to it that it can only be found by the hint.
        until("it has been visited", || Ok(pending(&mut client)? == 0))?;
    }
    until("the workers have ended", || Ok(processes(&mut admin, WORKER, None)?.is_empty()))?;
    let mut clients = [cluster.superuser(&closed)?, cluster.superuser(&broken)?];
    admin.batch_execute(&format!("alter database {closed} allow_connections false"))?;
    // As an interrupted DROP DATABASE leaves it.
    admin.batch_execute(&fail(&broken))?;
    for client in &mut clients {
        charge(client)?;
    }
    thread::sleep(Duration::from_secs(16));
    let log = fs::read_to_string(cluster.log_path())?;
    let tried = log.matches(&format!("cannot connect to invalid database \"{broken}\"")).count();
    assert_eq!(tried, 1, "{log}");
    assert!(!log.contains(&format!("database \"{closed}\" is not currently accepting connections")), "{log}");
    assert_eq!(pending(&mut clients[0])?, 1);
    admin.batch_execute(&format!("alter database {closed} allow_connections true"))?;
    until("the charge is folded", || Ok(pending(&mut clients[0])? == 0))?;
    Ok(())
}
