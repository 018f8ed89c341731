//! What must be in the ledger, from what clients were told. Pure: no server in here.
//!
//! Every attempt to charge ends in one of a few ways. The book adds them up by request and says what the ledger must
//! hold once nothing is in flight. The limits are judged by what quotas have counted from one rest to the next.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use crate::charging::{Charge, Function};

/// How one attempt ended, as far as its client can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, and acknowledged.
    Recorded(Option<Uuid>),
    /// An earlier attempt had been committed.
    Replayed(Option<Uuid>),
    /// There was no room; nothing was recorded.
    Refused,
    /// An error, or a rollback: certainly nothing was recorded.
    Undone,
    /// The connection was lost between the question and its answer.
    Unknown,
    /// Part of a prepared transaction, which another session ends later.
    Prepared { transaction: String, commit_sent: bool },
}

#[derive(Clone, Debug)]
pub struct Attempt {
    pub charge: Charge,
    pub outcome: Outcome,
}

/// A row of one of the three ledgers.
#[derive(Clone, Debug)]
pub struct LedgerRow {
    pub function: Function,
    pub tenant: Uuid,
    pub user: Option<Uuid>,
    pub request: Option<String>,
    pub id: Uuid,
    pub nanos: i64,
}

/// Request ids are unique per tenant and function.
type Key = (Uuid, Function, String);

#[derive(Debug)]
struct Entry {
    charge: Charge,
    acknowledged: bool,
    /// Attempts that were told to be the first one.
    effects: u32,
    ids: Vec<Uuid>,
    unknown: bool,
    prepared: Vec<(String, bool)>,
}

/// Everything that clients were told about one database.
#[derive(Debug, Default)]
pub struct Book {
    requests: HashMap<Key, Entry>,
    /// Acknowledged records without a request id.
    anonymous: HashSet<Uuid>,
    /// Attempts without a request id whose outcome is unknown, by tenant.
    anonymous_unknown: HashMap<Uuid, usize>,
}

impl Book {
    pub fn add(&mut self, attempt: Attempt) {
        let Some(request) = attempt.charge.request.clone() else {
            return self.add_anonymous(&attempt);
        };
        let key = (attempt.charge.tenant, attempt.charge.function, request);
        let entry = self.requests.entry(key).or_insert_with(|| Entry {
            charge: attempt.charge.clone(),
            acknowledged: false,
            effects: 0,
            ids: Vec::new(),
            unknown: false,
            prepared: Vec::new(),
        });
        match attempt.outcome {
            Outcome::Recorded(id) | Outcome::Replayed(id) => {
                entry.acknowledged = true;
                entry.effects += u32::from(matches!(attempt.outcome, Outcome::Recorded(_)));
                entry.ids.extend(id.filter(|id| !entry.ids.contains(id)));
            }
            Outcome::Unknown => entry.unknown = true,
            Outcome::Prepared { transaction, commit_sent } => entry.prepared.push((transaction, commit_sent)),
            Outcome::Refused | Outcome::Undone => {}
        }
    }

    fn add_anonymous(&mut self, attempt: &Attempt) {
        match attempt.outcome {
            Outcome::Recorded(Some(id)) => {
                self.anonymous.insert(id);
            }
            Outcome::Unknown | Outcome::Recorded(None) | Outcome::Prepared { .. } => {
                *self.anonymous_unknown.entry(attempt.charge.tenant).or_default() += 1;
            }
            Outcome::Replayed(_) | Outcome::Refused | Outcome::Undone => {}
        }
    }

    /// How the prepared transactions ended: those that were committed, and all others that are gone. One whose commit
    /// was sent and not answered may have been either.
    pub fn settle_prepared(&mut self, committed: &HashSet<String>, rolled_back: &HashSet<String>) {
        for entry in self.requests.values_mut() {
            for (transaction, commit_sent) in entry.prepared.drain(..) {
                if committed.contains(&transaction) {
                    entry.acknowledged = true;
                } else if commit_sent && !rolled_back.contains(&transaction) {
                    entry.unknown = true;
                }
            }
        }
    }

    /// Requests that must be sent again to learn what became of them, in a stable order.
    pub fn unknown(&self) -> Vec<Charge> {
        let open = self.requests.values().filter(|entry| entry.unknown && !entry.acknowledged);
        let mut charges: Vec<Charge> = open.map(|entry| entry.charge.clone()).collect();
        charges.sort_by(|a, b| (a.tenant, a.function, &a.request).cmp(&(b.tenant, b.function, &b.request)));
        charges
    }

    /// After every unknown request was sent again while nothing else ran, nothing is unknown any more.
    pub fn all_known(&mut self) {
        for entry in self.requests.values_mut() {
            entry.unknown = false;
        }
    }

    pub fn acknowledged(&self) -> usize {
        self.requests.values().filter(|entry| entry.acknowledged).count() + self.anonymous.len()
    }

    /// What is wrong with the ledger, in sentences.
    pub fn compare(&self, rows: &[LedgerRow]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut found: HashMap<Key, u32> = HashMap::new();
        let mut ids: HashSet<Uuid> = HashSet::new();
        let mut unexplained: BTreeMap<Uuid, usize> = BTreeMap::new();
        for row in rows {
            if !ids.insert(row.id) {
                wrong.push(format!("the id {} is in the ledger twice", row.id));
            }
            let Some(request) = &row.request else {
                if !self.anonymous.contains(&row.id) {
                    *unexplained.entry(row.tenant).or_default() += 1;
                }
                continue;
            };
            let key = (row.tenant, row.function, request.clone());
            match self.requests.get(&key) {
                None => wrong.push(format!("{row:?} was not asked for")),
                Some(entry) => wrong.extend(entry.differences(row)),
            }
            *found.entry(key).or_default() += 1;
        }
        for (key, entry) in &self.requests {
            let times = found.get(key).copied().unwrap_or(0);
            if entry.acknowledged && times != 1 {
                wrong.push(format!("acknowledged, and {times} times in the ledger: {:?}", entry.charge));
            }
            // check_and_record_quota_atomic does not tell a replay from the first time.
            if entry.effects > 1 && entry.charge.function != Function::Bare {
                wrong.push(format!("{} attempts were told to be the first: {:?}", entry.effects, entry.charge));
            }
            if entry.ids.len() > 1 {
                wrong.push(format!("a replay told another id, {:?}: {:?}", entry.ids, entry.charge));
            }
        }
        wrong.extend(self.anonymous.difference(&ids).map(|id| format!("the acknowledged record {id} is lost")));
        for (tenant, rows) in unexplained {
            let possible = self.anonymous_unknown.get(&tenant).copied().unwrap_or(0);
            if rows > possible {
                wrong.push(format!("{tenant} has {rows} unknown rows without a request; {possible} may be"));
            }
        }
        wrong
    }
}

impl Entry {
    fn differences(&self, row: &LedgerRow) -> Option<String> {
        let wrong = if !self.acknowledged && !self.unknown {
            "refused or undone, and in the ledger all the same"
        } else if (row.nanos, row.user) != (self.charge.nanos(), self.charge.user) {
            "in the ledger with another amount or user"
        } else if self.ids.first().is_some_and(|id| *id != row.id) {
            "in the ledger with another id than was told"
        } else {
            return None;
        };
        Some(format!("{wrong}: {:?}, row {row:?}, told {:?}", self.charge, self.ids))
    }
}

/// What a quota is known by, in every view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuotaKey {
    pub scope: String,
    pub scope_id: Option<Uuid>,
    pub tenant: Option<Uuid>,
    pub resource: String,
    pub period: String,
}

/// Limits that only enforced charges count against, in nano-dollars; `None` is no limit.
#[derive(Debug, Default)]
pub struct Limits {
    quotas: HashMap<QuotaKey, Limit>,
}

#[derive(Debug)]
struct Limit {
    /// Every limit that may have been in force since the last rest.
    in_force: Vec<Option<i64>>,
    /// What was counted at the last rest, and in which period; unknown for a quota that was made since.
    baseline: Option<(i64, String)>,
}

impl Limits {
    /// A quota that exists before anything is charged to its subject.
    pub fn made_first(&mut self, key: QuotaKey, nanos: i64) {
        self.quotas.insert(key, Limit { in_force: vec![Some(nanos)], baseline: Some((0, String::new())) });
    }

    /// Said before the change is sent, since its answer may be lost. Charges may have been made before the quota was.
    pub fn about_to_change(&mut self, key: QuotaKey, nanos: Option<i64>) {
        let limit = self.quotas.entry(key).or_insert_with(|| Limit { in_force: Vec::new(), baseline: None });
        limit.in_force.push(nanos);
    }

    /// Said before the quota is deleted: it may come back, and what is charged meanwhile is not its business.
    pub fn about_to_delete(&mut self, key: &QuotaKey) {
        if let Some(limit) = self.quotas.get_mut(key) {
            limit.baseline = None;
        }
    }

    pub fn knows(&self, key: &QuotaKey) -> bool {
        self.quotas.contains_key(key)
    }

    /// At rest: whether a quota has counted more than it was ever allowed to since the last rest. From here on its present
    /// limit and count are the measure.
    pub fn judge(&mut self, key: &QuotaKey, limit: Option<i64>, spent: i64, period_start: &str) -> Option<String> {
        let known = self.quotas.get_mut(key)?;
        let mut wrong = None;
        if !known.in_force.contains(&limit) {
            wrong = Some(format!("{key:?} has the limit {limit:?}, which was not set: {:?}", known.in_force));
        } else if let Some((before, period)) = &known.baseline
            && let Some(highest) = highest(&known.in_force)
        {
            let before = if period.is_empty() || period == period_start { *before } else { 0 };
            if spent > highest.max(before) {
                wrong = Some(format!("{key:?} counts {spent}, above {highest} nano-dollars; {before} before"));
            }
        }
        known.in_force = vec![limit];
        known.baseline = Some((spent, period_start.to_string()));
        wrong
    }

    /// Quotas that are not there any more are known no more.
    pub fn keep(&mut self, there: &HashSet<QuotaKey>) {
        self.quotas.retain(|key, _| there.contains(key));
    }
}

/// `None` when one of them is no limit.
fn highest(limits: &[Option<i64>]) -> Option<i64> {
    limits.iter().copied().collect::<Option<Vec<i64>>>()?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(request: Option<&str>) -> Charge {
        Charge {
            function: Function::Llm,
            tenant: Uuid::from_u128(1),
            user: None,
            picos: 1_500,
            enforce: true,
            request: request.map(str::to_string),
        }
    }

    fn row(request: Option<&str>, id: u128) -> LedgerRow {
        LedgerRow {
            function: Function::Llm,
            tenant: Uuid::from_u128(1),
            user: None,
            request: request.map(str::to_string),
            id: Uuid::from_u128(id),
            nanos: 2,
        }
    }

    fn book(outcomes: &[Outcome]) -> Book {
        let mut book = Book::default();
        for outcome in outcomes {
            book.add(Attempt { charge: charge(Some("r")), outcome: outcome.clone() });
        }
        book
    }

    fn told(id: u128) -> Option<Uuid> {
        Some(Uuid::from_u128(id))
    }

    #[test]
    fn an_acknowledged_cost_is_there_once() {
        let book = book(&[Outcome::Unknown, Outcome::Recorded(told(7)), Outcome::Replayed(told(7)), Outcome::Refused]);
        assert_eq!(book.compare(&[row(Some("r"), 7)]), Vec::<String>::new());
        assert_eq!(book.compare(&[]).len(), 1, "lost");
        assert!(!book.compare(&[row(Some("r"), 7), row(Some("r"), 8)]).is_empty(), "twice");
        assert!(!book.compare(&[row(Some("r"), 8)]).is_empty(), "another id");
        let dearer = LedgerRow { nanos: 3, ..row(Some("r"), 7) };
        assert!(!book.compare(&[dearer]).is_empty(), "another amount");
    }

    #[test]
    fn two_first_times_and_two_ids_are_found() {
        let row = [row(Some("r"), 7)];
        assert_eq!(book(&[Outcome::Recorded(told(7)), Outcome::Recorded(told(7))]).compare(&row).len(), 1);
        assert_eq!(book(&[Outcome::Recorded(told(7)), Outcome::Replayed(told(8))]).compare(&row).len(), 1);
    }

    #[test]
    fn what_was_undone_is_not_there() {
        for outcome in [Outcome::Refused, Outcome::Undone] {
            let book = book(&[outcome]);
            assert_eq!(book.compare(&[]), Vec::<String>::new());
            assert_eq!(book.compare(&[row(Some("r"), 7)]).len(), 1);
        }
        assert_eq!(Book::default().compare(&[row(Some("r"), 7)]).len(), 1, "not asked for");
    }

    #[test]
    fn a_refusal_does_not_tell_what_became_of_an_earlier_attempt() {
        let mut book = book(&[Outcome::Unknown, Outcome::Refused]);
        assert_eq!(book.unknown().len(), 1);
        assert_eq!(book.compare(&[row(Some("r"), 7)]), Vec::<String>::new());
        book.all_known();
        assert_eq!(book.compare(&[row(Some("r"), 7)]).len(), 1);
    }

    #[test]
    fn a_prepared_transaction_counts_when_it_is_committed() {
        let prepared = |commit_sent| book(&[Outcome::Prepared { transaction: "t".into(), commit_sent }]);
        let one: HashSet<String> = ["t".to_string()].into();
        let none = HashSet::new();
        let mut committed = prepared(false);
        committed.settle_prepared(&one, &none);
        assert_eq!(committed.compare(&[]).len(), 1);
        let mut gone = prepared(false);
        gone.settle_prepared(&none, &none);
        assert_eq!(gone.compare(&[row(Some("r"), 7)]).len(), 1);
        let mut unanswered = prepared(true);
        unanswered.settle_prepared(&none, &none);
        assert_eq!(unanswered.unknown().len(), 1);
        let mut taken_back = prepared(true);
        taken_back.settle_prepared(&none, &one);
        assert_eq!(taken_back.unknown().len(), 0);
    }

    #[test]
    fn records_without_a_request_are_known_by_their_id() {
        let mut book = Book::default();
        book.add(Attempt { charge: charge(None), outcome: Outcome::Recorded(told(7)) });
        assert_eq!(book.compare(&[row(None, 7)]), Vec::<String>::new());
        assert_eq!(book.compare(&[]).len(), 1, "lost");
        assert_eq!(book.compare(&[row(None, 7), row(None, 8)]).len(), 1, "one too many");
        book.add(Attempt { charge: charge(None), outcome: Outcome::Unknown });
        assert_eq!(book.compare(&[row(None, 7), row(None, 8)]), Vec::<String>::new());
    }

    fn key() -> QuotaKey {
        QuotaKey {
            scope: "tenant".into(),
            scope_id: told(1),
            tenant: told(1),
            resource: "llm".into(),
            period: "month".into(),
        }
    }

    #[test]
    fn a_quota_never_counts_more_than_the_highest_limit() {
        let mut limits = Limits::default();
        limits.made_first(key(), 10);
        assert_eq!(limits.judge(&key(), Some(10), 10, "may"), None);
        assert!(limits.judge(&key(), Some(10), 11, "may").is_some());
        limits.about_to_change(key(), Some(20));
        limits.about_to_change(key(), Some(5));
        assert_eq!(limits.judge(&key(), Some(5), 20, "may"), None);
        // Lowered below what is spent: nothing more may come.
        assert_eq!(limits.judge(&key(), Some(5), 20, "may"), None);
        assert!(limits.judge(&key(), Some(5), 21, "may").is_some());
        assert!(limits.judge(&key(), Some(6), 21, "may").is_some(), "6 was not set");
    }

    #[test]
    fn another_period_begins_at_nothing() {
        let mut limits = Limits::default();
        limits.made_first(key(), 10);
        limits.about_to_change(key(), Some(5));
        assert_eq!(limits.judge(&key(), Some(5), 9, "may"), None);
        assert!(limits.judge(&key(), Some(5), 9, "june").is_some());
    }

    #[test]
    fn a_quota_made_meanwhile_is_judged_from_the_next_rest_on() {
        let mut limits = Limits::default();
        limits.about_to_change(key(), Some(10));
        assert_eq!(limits.judge(&key(), Some(10), 15, "may"), None);
        assert!(limits.judge(&key(), Some(10), 16, "may").is_some());
    }
}
