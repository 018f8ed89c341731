//! Random lives of conversations, one step at a time over one connection: append, draft, branch, merge, pin, compact,
//! revert, delete, archive, erase, and each of them again. A model keeps a path as a plain list of messages. After every
//! step each path's history, context, pins, ancestors and numbers must be the model's.
//!
//! A failure prints its seed and the steps that led to it. `PG_TOLLGATE_LIVES=1000` runs as many lives.

use tollgate_tests::support;

mod comparison;
mod editing;
mod model;
mod reading;
mod walk;
mod writing;

use std::collections::BTreeMap;
use std::env;

use anyhow::{Context, Result};

use crate::support::{Database, id};
use crate::walk::Walk;

const TENANT: u128 = 1;
const OWNER: u128 = 0xa;

/// The fewest steps of a life.
const STEPS: usize = 60;

/// What must have come about, each so often in so many lives: a model that expects nothing agrees with everything.
const MUST_HAPPEN: [(&str, usize); 34] = [
    ("append", 8),
    ("append, refused", 1),
    ("append again", 2),
    ("batch", 2),
    ("draft", 1),
    ("finish", 1),
    ("finish again", 1),
    ("finish, refused", 1),
    ("branch", 3),
    ("branch before", 1),
    ("branch again", 1),
    ("merge full", 1),
    ("merge selective", 1),
    ("merge summary", 1),
    ("merge of nothing", 1),
    ("merge again", 1),
    ("merge, refused", 1),
    ("merge, stale", 1),
    ("merge, some known", 1),
    ("pin", 1),
    ("unpin", 1),
    ("delete", 1),
    ("compact", 2),
    ("compact, not smaller", 1),
    ("compact, refused", 2),
    ("compact, stale", 1),
    ("compact again", 1),
    ("revert", 1),
    ("archive", 1),
    ("erase a message", 1),
    ("erase all", 1),
    ("path goes", 1),
    ("page", 8),
    ("context cut", 1),
];

fn lives() -> Result<u64> {
    match env::var("PG_TOLLGATE_LIVES") {
        Ok(lives) => lives.parse().context("PG_TOLLGATE_LIVES is no number"),
        Err(_) => Ok(20),
    }
}

#[test]
fn every_path_is_the_list_of_the_model() -> Result<()> {
    let database = Database::fresh()?;
    let mut admin = database.superuser()?;
    admin.batch_execute("create extension pg_tollgate_conversations")?;
    let tenant = "insert into copilot_internal.tenants (id, name, owner_id) values ($1, 'Acme', $2)";
    admin.execute(tenant, &[&id(TENANT), &id(OWNER)])?;
    let lives = lives()?;
    let mut tally = BTreeMap::new();
    let mut client = database.superuser()?;
    // Compiling the query that compares would take longer than all else.
    client.batch_execute("set role service_role; set statement_timeout = '60s'; set jit = off")?;
    for seed in 0..lives {
        let mut walk = Walk::new(client, seed, tally)?;
        walk.live(STEPS).with_context(|| format!("seed {seed}, after:\n{}", walk.said.join(";\n")))?;
        (client, tally) = walk.end();
    }
    println!("{lives} lives of {STEPS} steps");
    for (what, times) in &tally {
        println!("  {times:>6} {what}");
    }
    for (what, least) in MUST_HAPPEN {
        let times = tally.get(what).copied().unwrap_or_default();
        assert!(times >= least * lives as usize / 20, "{what}: {times} times");
    }
    Ok(())
}
