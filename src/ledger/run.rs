//! Records of a batch that nothing can refuse: they are not enforced, settle no hold, and were not recorded before. All
//! comes out as if each was recorded by itself, but their rows are written together.
//!
//! # Protocol
//! 1. The ledger rows come first, before admission, which does not decide about them. They are written up to the first
//!    whose request id another transaction has just written. That record is recorded by itself, which waits for the
//!    other. So two batches of the same requests, in one order, never wait for each other. From here on a
//!    transaction that has one of the requests finds its row and waits.
//! 2. Each is admitted in its order. So each outcome has the figures as they were after it.
//! 3. Their pending rows are written, which are what sums read. Where admission has to read the tables before that, the
//!    rows so far are written first: a counter loaded, or a sum read, without them would be too small.
//! 4. Their events follow, whose triggers may charge in turn.

use pgrx::Uuid;
use tollgate_escrow::registry::Statistic;

use super::charge::{Attempt, recorded};
use super::pending::{self, Unqueued};
use super::{Cost, Moments, Outcome, Record, Row};
use crate::admission::{AdmissionMode, Charge};
use crate::error::Result;
use crate::outbox;
use crate::pg;
use crate::pg::queue::new_record_id;
use crate::pg::spi::{self, Session, Snapshot};
use crate::pg::value::Value;
use crate::quota::Payer;
use crate::quota::sums::Sums;

/// Most records that are written together: another that meets one of their rows waits for all to be there.
const MOST: usize = 256;

/// What a batch knows from one run to the next.
pub struct Runs {
    /// What the locked mode has read.
    sums: Sums,
    /// Whether a request was known. Then all are looked up, so that a retry writes nothing. Before that the first of a run
    /// speaks for the others, and one that is known after all is met where its row is written, and taken back.
    has_known: bool,
}

impl Runs {
    pub fn new() -> Self {
        Self { sums: Sums::new(Snapshot::Latest), has_known: false }
    }

    /// What the sums are of may have changed: by a record that was recorded by itself, or by a trigger on an event.
    pub fn break_off(&mut self) {
        self.sums = Sums::new(Snapshot::Latest);
    }
}

/// A record with its row and what is asked for it.
struct Priced {
    id: Uuid,
    payer: Payer,
    cost: Cost,
    charge: Charge,
    row: Vec<Value>,
}

/// Records as many of the first records as go together, and adds their outcomes; none where the first has to be recorded
/// by itself.
pub fn record_run(
    spi: &Session,
    mode: &AdmissionMode,
    records: &[&dyn Record],
    runs: &mut Runs,
    outcomes: &mut Vec<Outcome>,
) -> Result<()> {
    let Some(source) = records.first().map(|record| record.source()) else { return Ok(()) };
    if !source.table.is_as_shipped()? || !pending::is_as_shipped()? {
        return Ok(());
    }
    spi::see_own_rows();
    let unknown = runs.unknown(records)?;
    let mut run = priced(spi, mode, unknown);
    let written = source.table.insert_rows(&run.iter().map(|one| &one.row).collect::<Vec<_>>())?;
    runs.has_known = written < run.len() || runs.has_known && unknown.len() < MOST;
    run.truncate(written);
    let (mut unqueued, first) = (Unqueued::default(), outcomes.len());
    for one in &run {
        let mut admission = mode.admit_in_run(spi, one.charge, &mut runs.sums, !unqueued.is_empty())?;
        if admission.is_none() {
            unqueued.write()?;
            admission = mode.admit_in_run(spi, one.charge, &mut runs.sums, false)?;
        }
        let mut admission = match admission {
            Some(admission) => admission,
            None => mode.admit(spi, one.charge)?,
        };
        unqueued.push(source, one.id, &one.charge, admission.unwritten.take());
        mode.count_outcome(Statistic::Admission);
        outcomes.push(recorded(one.id, &one.cost, admission, &one.charge, None));
    }
    unqueued.write()?;
    for (one, outcome) in run.iter().zip(&outcomes[first..]) {
        if outbox::note(spi, one.payer, &outcome.usage)? {
            runs.break_off();
        }
    }
    Ok(())
}

impl Runs {
    /// The first records that nothing can refuse, up to one whose request id has a row.
    fn unknown<'a>(&mut self, records: &'a [&'a dyn Record]) -> Result<&'a [&'a dyn Record]> {
        let plain = |record: &&&dyn Record| {
            let terms = record.terms();
            !terms.enforce && terms.reservation.is_none() && terms.hold_for.is_none()
        };
        let plain = &records[..records.iter().take(MOST).take_while(plain).count()];
        let Some(first) = plain.first() else { return Ok(plain) };
        let looked_up = if self.has_known { plain.len() } else { 1 };
        let requests = plain[..looked_up].iter().map(|record| {
            let terms = record.terms();
            terms.request_id.map(|request_id| [terms.payer.tenant.into(), request_id.into()])
        });
        let Some(known) = first.source().table.first_known(requests)? else { return Ok(plain) };
        self.has_known = true;
        Ok(&plain[..known])
    }
}

/// Their rows, up to one of which there is more to say: it has no cost, or the platform counts more of it than its payer.
fn priced(spi: &Session, mode: &AdmissionMode, records: &[&dyn Record]) -> Vec<Priced> {
    let price = |record: &&dyn Record| -> Option<Priced> {
        let attempt = Attempt::new(spi, mode, *record, None);
        let moments: Moments = attempt.moments(pg::clock_timestamp());
        let cost = record.cost(moments.occurred_at).ok()?;
        let charge = Charge { request: 0, ..attempt.ask(&cost, moments) };
        let (id, user) = (new_record_id(), attempt.payer.user);
        let row = Row { id, cost: &cost, moments, user, reservation: None, expires_at: moments.recorded_at };
        let row = record.row(&row).ok().filter(|_| charge.platform_extra == 0)?;
        Some(Priced { id, payer: attempt.payer, cost, charge, row })
    };
    records.iter().map_while(price).collect()
}
