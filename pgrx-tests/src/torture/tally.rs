//! What happened, counted.

use std::collections::BTreeMap;

use crate::table::Table;

/// How one charge, or one check, came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Admitted,
    Refused,
    /// Refused, and said to be so because of work in flight alone.
    Retryable,
    Replayed,
    /// Charged and taken back: by rollback, rollback to a savepoint, a raised error.
    Undone,
    Failed,
    Unknown,
    /// Not a charge: a check, a change of a quota, housekeeping.
    Done,
}

impl Said {
    const COLUMNS: [(Said, &'static str); 8] = [
        (Said::Admitted, "admitted"),
        (Said::Refused, "refused"),
        (Said::Retryable, "retryable"),
        (Said::Replayed, "replayed"),
        (Said::Undone, "undone"),
        (Said::Failed, "failed"),
        (Said::Unknown, "unknown"),
        (Said::Done, "done"),
    ];
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    operations: BTreeMap<(&'static str, Said), u64>,
    /// By SQLSTATE, with the reason why it is expected.
    errors: BTreeMap<(String, &'static str), u64>,
    cycles: BTreeMap<&'static str, u64>,
    checks: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn said(&mut self, operation: &'static str, said: Said) {
        *self.operations.entry((operation, said)).or_default() += 1;
    }

    pub fn error(&mut self, state: &str, reason: &'static str) {
        *self.errors.entry((state.to_string(), reason)).or_default() += 1;
    }

    pub fn cycle(&mut self, kind: &'static str) {
        *self.cycles.entry(kind).or_default() += 1;
    }

    pub fn checked(&mut self, check: &'static str, times: usize) {
        *self.checks.entry(check).or_default() += times as u64;
    }

    pub fn merge(&mut self, other: Tally) {
        fn add<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key).or_default() += count;
            }
        }
        add(&mut self.operations, other.operations);
        add(&mut self.errors, other.errors);
        add(&mut self.cycles, other.cycles);
        add(&mut self.checks, other.checks);
    }

    /// How many of all operations came out so.
    pub fn total(&self, said: Said) -> u64 {
        self.operations.iter().filter(|((_, it), _)| *it == said).map(|(_, count)| count).sum()
    }

    pub fn cycles(&self) -> u64 {
        self.cycles.values().sum()
    }

    pub fn render(&self) -> String {
        let mut header = vec!["operation"];
        header.extend(Said::COLUMNS.map(|(_, name)| name));
        let mut operations = Table::new(&header);
        let mut names: Vec<&str> = self.operations.keys().map(|(name, _)| *name).collect();
        names.dedup();
        for name in names {
            let count = |said| self.operations.get(&(name, said)).map_or("-".to_string(), u64::to_string);
            let mut row = vec![name.to_string()];
            row.extend(Said::COLUMNS.map(|(said, _)| count(said)));
            operations.row(row);
        }
        let mut total = vec!["in all".to_string()];
        total.extend(Said::COLUMNS.map(|(said, _)| self.total(said).to_string()));
        operations.row(total);
        let mut errors = Table::new(&["SQLSTATE", "times", "expected since"]);
        for ((state, reason), count) in &self.errors {
            let state = if state.is_empty() { "none" } else { state };
            // A word, lest the table take a column of SQLSTATEs for figures.
            errors.row(vec![state.to_string(), count.to_string(), reason.to_string()]);
        }
        format!(
            "{}\n{}\n{}\n{}",
            operations.render(),
            errors.render(),
            counts("cycles ended by", &self.cycles),
            counts("checked", &self.checks)
        )
    }
}

fn counts(title: &str, counts: &BTreeMap<&'static str, u64>) -> String {
    let mut table = Table::new(&[title, "times"]);
    for (name, count) in counts {
        table.row(vec![name.to_string(), count.to_string()]);
    }
    table.render()
}
