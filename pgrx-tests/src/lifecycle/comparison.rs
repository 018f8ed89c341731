//! A row that came against what the model says must come, column by column.

use std::fmt::Display;

use anyhow::{Result, bail};
use uuid::Uuid;

use super::amounts::{picos, usd};

/// The answer's columns against what they must be.
pub struct Comparison {
    row: Vec<Option<String>>,
    at: usize,
    wrong: Vec<String>,
}

impl Comparison {
    pub fn new(row: Vec<Option<String>>) -> Comparison {
        Comparison { row, at: 0, wrong: Vec::new() }
    }

    /// What is wrong beside single columns.
    pub fn wrong(&mut self, sentence: String) {
        self.wrong.push(sentence);
    }

    pub fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.row.get(self.at - 1).cloned().flatten()
    }

    pub fn is(&mut self, name: &str, expected: Option<impl Display>) {
        let (expected, came) = (expected.map(|it| it.to_string()), self.next());
        if expected != came {
            self.wrong.push(format!("{name} is {came:?}, not {expected:?}"));
        }
    }

    pub fn says(&mut self, name: &str, expected: bool) {
        self.is(name, Some(if expected { "t" } else { "f" }));
    }

    pub fn money(&mut self, name: &str, expected: Option<i64>) {
        let came = self.next();
        if came.as_deref().map(picos) != expected.map(Some) {
            self.wrong.push(format!("{name} is {came:?}, not {:?}", expected.map(usd)));
        }
    }

    /// Nano-dollars of one of several quotas.
    pub fn one_of(&mut self, name: &str, expected: &[Option<i64>]) {
        let came = self.next();
        let fits = expected.iter().any(|nanos| came.as_deref().map(picos) == nanos.map(|nanos| Some(nanos * 1_000)));
        let none = came.is_none() && expected.is_empty();
        if !fits && !none {
            let expected: Vec<_> = expected.iter().map(|it| it.map(|nanos| usd(nanos * 1_000))).collect();
            self.wrong.push(format!("{name} is {came:?}, not one of {expected:?}"));
        }
    }

    pub fn id(&mut self, name: &str) -> Uuid {
        let came = self.next();
        came.as_deref().and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_else(|| {
            self.wrong.push(format!("{name} is {came:?} and no id"));
            Uuid::nil()
        })
    }

    pub fn number(&mut self, name: &str) -> i64 {
        let came = self.next();
        came.as_deref().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            self.wrong.push(format!("{name} is {came:?} and no number"));
            0
        })
    }

    pub fn between(&mut self, name: &str, from: i64, to: i64) -> i64 {
        let came = self.number(name);
        if !(from..=to).contains(&came) {
            self.wrong.push(format!("{name} is {came}, not from {from} to {to}"));
        }
        came
    }

    pub fn pass(&mut self, columns: usize) {
        self.at += columns;
    }

    pub fn end(self) -> Result<()> {
        if self.wrong.is_empty() { Ok(()) } else { bail!("{}; the row: {:?}", self.wrong.join("; "), self.row) }
    }
}
