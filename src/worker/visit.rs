//! A worker's visit to one database.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::REST;
use crate::error::{Error, Result};
use crate::pg::activity::DatabaseActivity;
use crate::pg::background;
use crate::pg::lock::LockTarget;
use crate::pg::memory::{self, shared};
use crate::pg::spi::types::BOOL;
use crate::pg::spi::{self, Plan, Snapshot};
use crate::pg::{Timestamp, clock_timestamp, from_unix_seconds};
use crate::settings;

/// The tables that housekeeping writes or reads, which are all: locked before anything else, so that it waits for none.
const TABLES: &str = "
    select c.oid::int8 from pg_catalog.pg_class c
    where c.relnamespace = pg_catalog.to_regnamespace('copilot_internal') and c.relkind = 'r'
      and exists (select from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    order by c.oid";

const STEP: &str = "select * from copilot_internal.housekeeping_step($1)";

/// When the next hold expires.
const DUE: &str = "
    select pg_catalog.floor(extract(epoch from h.expires_at))::int8
    from copilot_internal.quota_reservations h where h.state = 'held' order by h.expires_at limit 1";

static TABLES_PLAN: Plan = Plan::new(TABLES, &[]);
static STEP_PLAN: Plan = Plan::new(STEP, &[BOOL]);
static DUE_PLAN: Plan = Plan::new(DUE, &[]);

/// Between two steps, if the first has left fewer rows than these.
const NAP: Duration = Duration::from_secs(1);
const FEW: i64 = 1_000;
/// From how many rows on, left by a step, those who charge help. As many as a step counts.
const MANY: i64 = 50_000;
/// After so many steps that found nothing it ends.
const DRY_STEPS: u32 = 3;
/// The launcher may have other databases waiting.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a database is left alone before it is looked at for holds that expire.
const LEAST_PAUSE: Timestamp = 60_000_000;

const ACTIVITY: &CStr = c"pg_tollgate: housekeeping";

/// What came of a step.
enum Step {
    /// So many rows were folded, and so many are left.
    Done { folded: i64, remaining: i64 },
    /// Others are at work on the tables: later.
    Busy,
    /// Somebody waits for the sessions of the database to end.
    GiveWay,
    /// The database has not the extension, any more.
    Gone,
}

pub fn run(database: u32) {
    background::connect(database);
    let (has_extension, is_alone) = background::transaction(|| {
        let has_extension = background::has_extension();
        (has_extension, has_extension && LockTarget::Worker.keep())
    });
    if !has_extension {
        // Nobody else takes the hints back.
        if let Some(activity) = memory::activity_of(database) {
            activity.forget_charged();
            activity.set_due(None);
            activity.rest_until(None);
        }
        return;
    }
    if !is_alone {
        return;
    }
    let activity = shared().map(|shared| shared.activity);
    if let Some(activity) = activity {
        // What holds if it fails.
        let again = clock_timestamp() + REST;
        activity.rest_until(Some(again));
        activity.set_due(Some(again));
    }
    let leaves_work = fold(activity);
    if let Some(activity) = activity {
        activity.rest_until(None);
        if leaves_work {
            activity.note_charged();
        }
    }
}

/// Says whether it has left something to fold.
fn fold(activity: Option<&DatabaseActivity>) -> bool {
    let began = Instant::now();
    let (mut dry_steps, mut is_last) = (0, false);
    // What is more than folding waits until little is left, or for the last step.
    let mut is_whole = false;
    while dry_steps < DRY_STEPS {
        if settings::workers() == 0 || is_last {
            return true;
        }
        is_last = began.elapsed() > LONGEST;
        is_whole |= is_last;
        if let Some(activity) = activity {
            activity.forget_charged();
        }
        background::show_activity(Some(ACTIVITY));
        let (step, due) = background::transaction_as_owner(|| step(is_whole)).unwrap_or((Step::Gone, None));
        background::show_activity(None);
        let (folded, remaining) = match step {
            Step::Done { folded, remaining } => (folded, remaining),
            Step::Busy => (0, 0),
            Step::GiveWay => return true,
            Step::Gone => {
                if let Some(activity) = activity {
                    activity.set_due(None);
                }
                return false;
            }
        };
        match (&step, activity) {
            (Step::Done { .. }, Some(activity)) => {
                activity.set_behind(remaining >= MANY);
                activity.set_due(due.map(|due| due.max(clock_timestamp() + LEAST_PAUSE)));
            }
            (Step::Busy, Some(activity)) => activity.note_charged(),
            _ => {}
        }
        is_whole = remaining < FEW;
        dry_steps = if folded == 0 { dry_steps + 1 } else { 0 };
        background::nap(if folded == 0 || remaining < FEW { NAP } else { Duration::ZERO });
    }
    false
}

/// Says also when there will be work though nobody charges.
fn step(is_whole: bool) -> (Step, Option<Timestamp>) {
    if !background::database_is_free() {
        return (Step::GiveWay, None);
    }
    if !background::has_extension() {
        return (Step::Gone, None);
    }
    match spi::session_for_functions(|spi| housekeep(spi, is_whole)) {
        Ok(outcome) => outcome,
        Err(error) => error.raise(),
    }
}

fn housekeep(spi: &spi::Session, is_whole: bool) -> Result<(Step, Option<Timestamp>)> {
    let tables = spi.run(&TABLES_PLAN, Snapshot::Latest, &[])?;
    if tables.len() == 0 {
        return Ok((Step::Gone, None));
    }
    for row in tables.iter() {
        let table: i64 = row.need(1)?;
        if !background::try_lock_table(pg_sys::Oid::from(u32::try_from(table).unwrap_or_default())) {
            return Ok((Step::Busy, None));
        }
    }
    // It may have gone while the locks were taken.
    if !background::has_extension() {
        return Ok((Step::Gone, None));
    }
    let rows = spi.run_write(&STEP_PLAN, &[is_whole.into()])?;
    let row = rows.first().ok_or_else(|| Error::internal("a step gave no row"))?;
    let done = Step::Done { folded: row.need(1)?, remaining: row.need(2)? };
    let due = spi.run(&DUE_PLAN, Snapshot::Latest, &[])?.first().and_then(|row| row.get::<i64>(1));
    Ok((done, due.map(from_unix_seconds)))
}
