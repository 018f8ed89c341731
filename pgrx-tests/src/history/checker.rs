//! Judges a history of charges after the fact. Pure: times, amounts and answers in, findings out.
//!
//! A client cannot know when within `[asked, answered]` a decision fell. So every statement here is one that holds
//! wherever it fell: what is reported did happen.
//!
//! - **I1, no overshoot.** A charge counts against its quotas from the answer that admits it until its rollback is
//!   asked for. When it was committed, it counts for ever. At no moment may those that certainly count exceed the
//!   limit. This includes, at each admission, everything that was certain before it was asked for, and the sum at the
//!   end.
//! - **I2, refusals are justified.** For some quota, everything that can have counted while the refusal was decided,
//!   plus the amount itself, exceeds the limit. A charge can have counted if it was asked for before the refusal was
//!   answered. Its rollback must not have been answered before the refusal was asked for.
//! - **The flag.** `retryable` is said when only work in flight stands in the way, and not when what is committed does.
//! - **The figures.** What an answer says is left, some quota can have had left at that moment.

use std::collections::HashMap;

/// What a charge uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    Llm,
    E2b,
}

/// A hard limit in nano-dollars that never changes. What is `None` counts all tenants and users, or every resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub tenant: Option<u32>,
    pub user: Option<u8>,
    pub resource: Option<Resource>,
    pub limit: i64,
}

impl Quota {
    fn applies(&self, subject: Subject) -> bool {
        (self.tenant.is_none() || self.tenant == Some(subject.tenant))
            && (self.user.is_none() || self.user == subject.user)
            && (self.resource.is_none() || self.resource == Some(subject.resource))
    }
}

/// The payers, and the amounts of their charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub tenant: u32,
    pub user: Option<u8>,
    pub resource: Resource,
}

/// One charge. Times are nanoseconds on one clock that never goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Charges of one transaction of one client stand together, in their order.
    pub client: u32,
    pub transaction: u32,
    pub subject: Subject,
    pub nanos: i64,
    pub asked: u64,
    pub answered: u64,
    pub admitted: bool,
    pub committed: bool,
    /// When its commit or rollback was asked for and answered; the charge itself, where it is its own transaction.
    pub end_asked: u64,
    pub end_answered: u64,
    pub retryable: Option<bool>,
    pub remaining: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub quotas: Vec<Quota>,
    pub operations: Vec<Operation>,
}

/// What was found, with sentences for what must not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub operations: usize,
    pub admitted: usize,
    pub committed: usize,
    pub refused: usize,
    /// Refusals that said so.
    pub said_retryable: usize,
    /// Refusals that what was committed may explain.
    pub because_of_spent: usize,
    /// Refusals that only work in flight explains.
    pub because_of_flight: usize,
    /// Refusals that only attempts explain which were refused themselves.
    pub because_of_attempts: usize,
    pub overshoots: Vec<String>,
    pub unjustified: Vec<String>,
    pub flags: Vec<String>,
    pub figures: Vec<String>,
}

impl Findings {
    pub fn violations(&self) -> impl Iterator<Item = &String> {
        self.overshoots.iter().chain(&self.unjustified).chain(&self.flags).chain(&self.figures)
    }
}

pub fn check(history: &History) -> Findings {
    let mut findings = Findings { operations: history.operations.len(), ..Findings::default() };
    let mut applying: HashMap<Subject, Vec<usize>> = HashMap::new();
    for operation in &history.operations {
        applying.entry(operation.subject).or_insert_with_key(|subject| {
            (0..history.quotas.len()).filter(|quota| history.quotas[*quota].applies(*subject)).collect()
        });
    }
    let mut books: Vec<Lines> = vec![Lines::default(); history.quotas.len()];
    for operation in &history.operations {
        applying[&operation.subject].iter().for_each(|quota| books[*quota].add(operation));
    }
    let books: Vec<Timeline> = books.into_iter().map(Timeline::from).collect();
    for (quota, book) in history.quotas.iter().zip(&books) {
        if let Some((moment, sum)) = book.overshoot(quota.limit) {
            findings.overshoots.push(format!("I1: {sum} at {moment} ns, above the limit of {quota:?}"));
        }
    }
    for (index, operation) in history.operations.iter().enumerate() {
        let quotas: Vec<Seen> = applying[&operation.subject]
            .iter()
            .map(|quota| Seen::of(&history.quotas[*quota], &books[*quota], operation, own(history, index, *quota)))
            .collect();
        findings.count(operation, &quotas);
    }
    findings
}

/// What the operation's own transaction had charged before, and not taken back.
fn own(history: &History, index: usize, quota: usize) -> i64 {
    let it = &history.operations[index];
    history.operations[..index]
        .iter()
        .rev()
        .take_while(|other| (other.client, other.transaction) == (it.client, it.transaction))
        .filter(|other| other.admitted && history.quotas[quota].applies(other.subject))
        .filter(|other| other.committed || other.end_asked > it.asked)
        .map(|other| other.nanos)
        .sum()
}

impl Findings {
    fn count(&mut self, operation: &Operation, quotas: &[Seen]) {
        if operation.admitted {
            self.admitted += 1;
            self.committed += usize::from(operation.committed);
        } else {
            self.refused += 1;
            self.refusal(operation, quotas);
        }
        if let Some(remaining) = operation.remaining
            && !quotas.iter().any(|quota| quota.may_have_left(operation, remaining))
        {
            self.figures.push(format!("no quota can have had {remaining} left: {operation:?}, {quotas:?}"));
        }
    }

    fn refusal(&mut self, operation: &Operation, quotas: &[Seen]) {
        let said = operation.retryable;
        self.said_retryable += usize::from(said == Some(true));
        let above = |sum: fn(&Seen) -> i64| quotas.iter().any(|it| !fits(it.limit, sum(it), operation.nanos));
        if above(|it| it.maybe_spent) {
            self.because_of_spent += 1;
        } else if above(|it| it.possible) {
            self.because_of_flight += 1;
        } else if above(|it| it.possible + it.attempts) {
            self.because_of_attempts += 1;
            if said != Some(true) {
                self.unjustified.push(format!("I2: only attempts stood in the way: {operation:?}, {quotas:?}"));
            }
        } else {
            self.unjustified.push(format!("I2: there was room: {operation:?}, {quotas:?}"));
        }
        if said == Some(true) && above(|it| it.surely_spent) {
            self.flags.push(format!("said to be retryable, while what is committed stands in the way: {operation:?}"));
        }
        if said == Some(false) && !above(|it| it.maybe_spent) {
            self.flags
                .push(format!("not said to be retryable, while only work in flight stands in the way: {operation:?}"));
        }
    }
}

fn fits(limit: i64, counted: i64, nanos: i64) -> bool {
    limit != 0 && counted + nanos <= limit
}

/// What one quota can have counted when one operation was decided.
#[derive(Debug)]
struct Seen {
    limit: i64,
    /// Committed before the operation was asked for.
    surely_spent: i64,
    /// Possibly committed before it was answered, or charged before by its own transaction.
    maybe_spent: i64,
    /// Everything that can have counted; without the operation itself.
    possible: i64,
    /// What others asked for at the same time, and were refused.
    attempts: i64,
}

impl Seen {
    fn of(quota: &Quota, book: &Timeline, operation: &Operation, own: i64) -> Seen {
        let itself = if operation.admitted { operation.nanos } else { 0 };
        let itself_spent = if operation.committed && operation.end_asked < operation.answered { itself } else { 0 };
        let attempt = if operation.admitted { 0 } else { operation.nanos };
        Seen {
            limit: quota.limit,
            surely_spent: book.committed.until(operation.asked),
            maybe_spent: book.committing.before(operation.answered) - itself_spent + own,
            possible: book.asked.before(operation.answered) - book.gone.until(operation.asked) - itself,
            attempts: book.attempts_asked.before(operation.answered)
                - book.attempts_answered.until(operation.asked)
                - attempt,
        }
    }

    fn may_have_left(&self, operation: &Operation, remaining: i64) -> bool {
        let itself = if operation.admitted { operation.nanos } else { 0 };
        let least = (self.limit - self.possible - self.attempts - itself).max(0);
        let most = (self.limit - self.surely_spent - itself).max(0);
        (least..=most).contains(&remaining)
    }
}

/// Amounts by moment, and the sum of all up to a moment.
#[derive(Clone, Debug, Default)]
struct Sums {
    moments: Vec<u64>,
    /// Of everything up to and including each moment.
    sums: Vec<i64>,
}

impl Sums {
    fn new(mut amounts: Vec<(u64, i64)>) -> Sums {
        amounts.sort_unstable();
        let mut sum = 0;
        let running = amounts.iter().map(|(_, nanos)| {
            sum += nanos;
            sum
        });
        Sums { sums: running.collect(), moments: amounts.into_iter().map(|(moment, _)| moment).collect() }
    }

    fn first(&self, count: usize) -> i64 {
        count.checked_sub(1).map_or(0, |last| self.sums[last])
    }

    fn before(&self, moment: u64) -> i64 {
        self.first(self.moments.partition_point(|it| *it < moment))
    }

    fn until(&self, moment: u64) -> i64 {
        self.first(self.moments.partition_point(|it| *it <= moment))
    }
}

/// What counts against one quota, not yet in order.
#[derive(Clone, Debug, Default)]
struct Lines {
    asked: Vec<(u64, i64)>,
    gone: Vec<(u64, i64)>,
    committing: Vec<(u64, i64)>,
    committed: Vec<(u64, i64)>,
    attempts_asked: Vec<(u64, i64)>,
    attempts_answered: Vec<(u64, i64)>,
    /// Additions and subtractions of what certainly counts.
    certain: Vec<(u64, i64)>,
}

impl Lines {
    fn add(&mut self, operation: &Operation) {
        let nanos = operation.nanos;
        if !operation.admitted {
            self.attempts_asked.push((operation.asked, nanos));
            self.attempts_answered.push((operation.answered, nanos));
            return;
        }
        self.asked.push((operation.asked, nanos));
        self.certain.push((operation.answered, nanos));
        if operation.committed {
            self.committing.push((operation.end_asked, nanos));
            self.committed.push((operation.end_answered, nanos));
        } else {
            self.gone.push((operation.end_answered, nanos));
            self.certain.push((operation.end_asked, -nanos));
        }
    }
}

struct Timeline {
    asked: Sums,
    gone: Sums,
    committing: Sums,
    committed: Sums,
    attempts_asked: Sums,
    attempts_answered: Sums,
    certain: Sums,
}

impl From<Lines> for Timeline {
    fn from(lines: Lines) -> Timeline {
        Timeline {
            asked: Sums::new(lines.asked),
            gone: Sums::new(lines.gone),
            committing: Sums::new(lines.committing),
            committed: Sums::new(lines.committed),
            attempts_asked: Sums::new(lines.attempts_asked),
            attempts_answered: Sums::new(lines.attempts_answered),
            // At one moment subtractions sort first: what may have been over is not certain.
            certain: Sums::new(lines.certain),
        }
    }
}

impl Timeline {
    /// The first moment at which more than the limit certainly counted, and how much.
    fn overshoot(&self, limit: i64) -> Option<(u64, i64)> {
        let place = self.certain.sums.iter().position(|sum| *sum > limit)?;
        Some((self.certain.moments[place], self.certain.sums[place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLM: Subject = Subject { tenant: 1, user: None, resource: Resource::Llm };

    fn limit(limit: i64) -> Quota {
        Quota { tenant: Some(1), user: None, resource: Some(Resource::Llm), limit }
    }

    /// Admitted and committed in a transaction of its own.
    fn spent(client: u32, nanos: i64, asked: u64, answered: u64) -> Operation {
        Operation {
            client,
            transaction: asked as u32,
            subject: LLM,
            nanos,
            asked,
            answered,
            admitted: true,
            committed: true,
            end_asked: asked,
            end_answered: answered,
            retryable: None,
            remaining: None,
        }
    }

    fn refused(client: u32, nanos: i64, asked: u64, answered: u64) -> Operation {
        Operation { admitted: false, committed: false, ..spent(client, nanos, asked, answered) }
    }

    /// Admitted, and committed or rolled back later.
    fn open(client: u32, nanos: i64, times: [u64; 4], committed: bool) -> Operation {
        let [asked, answered, end_asked, end_answered] = times;
        Operation { committed, end_asked, end_answered, ..spent(client, nanos, asked, answered) }
    }

    fn judged(quotas: &[Quota], operations: &[Operation]) -> Findings {
        check(&History { quotas: quotas.to_vec(), operations: operations.to_vec() })
    }

    #[test]
    fn up_to_the_limit_is_good() {
        let findings = judged(&[limit(10)], &[spent(1, 6, 0, 5), spent(2, 4, 1, 6), refused(1, 1, 7, 8)]);
        assert_eq!(findings.violations().count(), 0, "{findings:?}");
        assert_eq!((findings.admitted, findings.refused, findings.because_of_spent), (2, 1, 1));
    }

    #[test]
    fn an_overshoot_by_one_is_reported() {
        let findings = judged(&[limit(10)], &[spent(1, 6, 0, 5), spent(2, 5, 6, 9)]);
        assert_eq!(findings.overshoots.len(), 1);
    }

    #[test]
    fn an_overshoot_of_charges_at_the_same_time_is_reported() {
        assert_eq!(judged(&[limit(10)], &[spent(1, 6, 0, 9), spent(2, 5, 1, 8)]).overshoots.len(), 1);
    }

    #[test]
    fn an_overshoot_that_was_rolled_back_later_is_reported() {
        let findings = judged(&[limit(10)], &[open(1, 6, [0, 1, 20, 21], false), spent(2, 5, 5, 9)]);
        assert_eq!(findings.overshoots.len(), 1);
        // Had the rollback been asked for before the other was answered, it may have come first.
        let findings = judged(&[limit(10)], &[open(1, 6, [0, 1, 8, 21], false), spent(2, 5, 5, 9)]);
        assert_eq!(findings.overshoots.len(), 0);
    }

    #[test]
    fn every_quota_that_applies_is_judged() {
        let user = Quota { user: Some(7), resource: None, ..limit(5) };
        let platform = Quota { tenant: None, user: None, resource: None, limit: 8 };
        let by_user = Operation { subject: Subject { user: Some(7), ..LLM }, ..spent(1, 6, 0, 1) };
        let elsewhere = Operation { subject: Subject { tenant: 2, ..LLM }, ..spent(2, 3, 2, 3) };
        let findings = judged(&[limit(10), user, platform], &[by_user, elsewhere]);
        assert_eq!(findings.overshoots.len(), 2, "{findings:?}");
    }

    #[test]
    fn a_refusal_while_there_is_room_is_reported() {
        let findings = judged(&[limit(10)], &[spent(1, 6, 0, 5), refused(2, 4, 6, 7)]);
        assert_eq!(findings.unjustified.len(), 1);
        // What was rolled back before is no excuse, nor is what came after.
        let rolled_back = open(1, 6, [0, 1, 2, 3], false);
        assert_eq!(judged(&[limit(10)], &[rolled_back, refused(2, 5, 4, 6)]).unjustified.len(), 1);
        assert_eq!(judged(&[limit(10)], &[refused(2, 5, 0, 2), spent(1, 6, 3, 4)]).unjustified.len(), 1);
    }

    #[test]
    fn work_in_flight_justifies_a_refusal() {
        let flying = open(1, 6, [0, 1, 8, 9], false);
        let findings = judged(&[limit(10)], &[flying, refused(2, 5, 4, 6)]);
        assert_eq!((findings.because_of_flight, findings.unjustified.len()), (1, 0));
    }

    #[test]
    fn attempts_that_were_refused_justify_only_what_is_said_to_be_retryable() {
        let attempts = [spent(3, 4, 0, 1), refused(1, 7, 2, 5)];
        let with = |retryable| {
            let it = Operation { retryable, ..refused(2, 5, 3, 4) };
            judged(&[limit(10)], &[attempts[0].clone(), attempts[1].clone(), it])
        };
        assert_eq!(with(Some(true)).unjustified.len(), 0);
        assert_eq!(with(Some(true)).because_of_attempts, 1);
        assert_eq!(with(Some(false)).unjustified.len(), 1);
        assert_eq!(with(None).unjustified.len(), 1);
    }

    #[test]
    fn the_flag_is_judged_both_ways() {
        let flagged = |before: Operation, said| {
            let it = Operation { retryable: Some(said), ..refused(2, 5, 4, 6) };
            judged(&[limit(10)], &[before, it]).flags.len()
        };
        let (flying, committed) = (open(1, 6, [0, 1, 8, 9], false), spent(1, 6, 0, 1));
        assert_eq!([flagged(flying.clone(), true), flagged(flying, false)], [0, 1]);
        assert_eq!([flagged(committed.clone(), true), flagged(committed, false)], [1, 0]);
    }

    #[test]
    fn what_the_own_transaction_charged_is_no_work_of_others() {
        let first = Operation { transaction: 1, ..open(1, 6, [0, 1, 8, 9], false) };
        let second = Operation { transaction: 1, retryable: Some(false), ..refused(1, 5, 2, 3) };
        let findings = judged(&[limit(10)], &[first, second]);
        assert_eq!((findings.because_of_spent, findings.violations().count()), (1, 0), "{findings:?}");
    }

    #[test]
    fn figures_that_no_quota_can_have_had_are_reported() {
        let left = |remaining| {
            let it = Operation { remaining: Some(remaining), ..spent(2, 3, 4, 6) };
            judged(&[limit(10)], &[spent(1, 4, 0, 1), open(3, 2, [2, 5, 7, 8], true), it]).figures.len()
        };
        assert_eq!([0, 1, 2, 3, 4].map(left), [1, 0, 0, 0, 1]);
    }

    #[test]
    fn a_limit_of_nothing_refuses_everything() {
        assert_eq!(judged(&[limit(0)], &[refused(1, 0, 0, 1)]).unjustified.len(), 0);
    }
}
