//! The steps: what is asked of the server, and what the model says must come.

use std::fmt::Display;

use anyhow::{Result, bail};
use postgres::{Client, SimpleQueryMessage};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use super::model::{
    Bare, Counted, Extension, HOUR, Hold, Record, Refund, Resource, SECOND, Settled, State, Status, Subject, Verdict,
    World, ceil_nanos,
};

/// What became of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Well,
    /// With the error that was expected: the transaction, or the part since its savepoint, is gone.
    Refused,
    /// Something expired or a period ended while it ran, so that nobody can say what should have come.
    Unclear,
}

/// A row as text, or an SQLSTATE with its message.
type Answer = std::result::Result<Vec<Option<String>>, (String, String)>;

pub const TENANTS: u128 = 4;
const USERS: u128 = 2;

pub fn tenant(number: u128) -> Uuid {
    Uuid::from_u128(0xa000_0000_0000_4000_8000_0000_0000_00a0 + number)
}

pub fn user(number: u128) -> Uuid {
    Uuid::from_u128(0xb0 + number)
}

/// One step at work.
pub struct Walk<'a> {
    pub client: &'a mut Client,
    pub world: &'a mut World,
    pub rng: &'a mut ChaCha8Rng,
    pub now: i64,
    /// Every statement so far, for whoever has to find out.
    pub said: &'a mut Vec<String>,
    /// How often each kind of answer came.
    pub tally: &'a mut std::collections::BTreeMap<String, u64>,
}

pub fn usd(picos: i64) -> String {
    let sign = if picos < 0 { "-" } else { "" };
    let (whole, part) = (picos.unsigned_abs() / 1_000_000_000_000, picos.unsigned_abs() % 1_000_000_000_000);
    format!("{sign}{whole}.{part:012}")
}

/// Whole pico-dollars out of a decimal.
pub fn picos(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    (part.len() <= 12).then_some(())?;
    let part: i64 = if part.is_empty() { 0 } else { format!("{part:0<12}").parse().ok()? };
    Some(sign * (whole.parse::<i64>().ok()?.checked_mul(1_000_000_000_000)? + part))
}

pub fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as i64
}

fn quoted(value: Option<impl Display>) -> String {
    value.map_or("null".to_string(), |value| format!("'{value}'"))
}

fn interval(micros: i64) -> String {
    format!("'{} microseconds'", micros)
}

/// The first row of a query whose columns are named in the order in which they are compared.
pub fn ask(client: &mut Client, sql: &str) -> Answer {
    match client.simple_query(sql) {
        Ok(messages) => Ok(messages
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|column| row.get(column).map(str::to_string)).collect())
                }
                _ => None,
            })
            .unwrap_or_default()),
        Err(error) => match error.as_db_error() {
            Some(server) => Err((server.code().code().to_string(), server.message().to_string())),
            None => Err(("".to_string(), error.to_string())),
        },
    }
}

/// The answer's columns against what they must be.
struct Comparison {
    row: Vec<Option<String>>,
    at: usize,
    wrong: Vec<String>,
}

impl Comparison {
    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.row.get(self.at - 1).cloned().flatten()
    }

    fn is(&mut self, name: &str, expected: Option<impl Display>) {
        let (expected, came) = (expected.map(|it| it.to_string()), self.next());
        if expected != came {
            self.wrong.push(format!("{name} is {came:?}, not {expected:?}"));
        }
    }

    fn says(&mut self, name: &str, expected: bool) {
        self.is(name, Some(if expected { "t" } else { "f" }));
    }

    fn money(&mut self, name: &str, expected: Option<i64>) {
        let came = self.next();
        if came.as_deref().map(picos) != expected.map(Some) {
            self.wrong.push(format!("{name} is {came:?}, not {:?}", expected.map(usd)));
        }
    }

    /// Nano-dollars of one of several quotas.
    fn one_of(&mut self, name: &str, expected: &[Option<i64>]) {
        let came = self.next();
        let fits = expected.iter().any(|nanos| came.as_deref().map(picos) == nanos.map(|nanos| Some(nanos * 1_000)));
        let none = came.is_none() && expected.is_empty();
        if !fits && !none {
            let expected: Vec<_> = expected.iter().map(|it| it.map(|nanos| usd(nanos * 1_000))).collect();
            self.wrong.push(format!("{name} is {came:?}, not one of {expected:?}"));
        }
    }

    fn id(&mut self, name: &str) -> Uuid {
        let came = self.next();
        came.as_deref().and_then(|text| Uuid::parse_str(text).ok()).unwrap_or_else(|| {
            self.wrong.push(format!("{name} is {came:?} and no id"));
            Uuid::nil()
        })
    }

    fn number(&mut self, name: &str) -> i64 {
        let came = self.next();
        came.as_deref().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            self.wrong.push(format!("{name} is {came:?} and no number"));
            0
        })
    }

    fn between(&mut self, name: &str, from: i64, to: i64) -> i64 {
        let came = self.number(name);
        if !(from..=to).contains(&came) {
            self.wrong.push(format!("{name} is {came}, not from {from} to {to}"));
        }
        came
    }

    fn pass(&mut self, columns: usize) {
        self.at += columns;
    }

    fn end(self) -> Result<()> {
        if self.wrong.is_empty() { Ok(()) } else { bail!("{}; the row: {:?}", self.wrong.join("; "), self.row) }
    }
}

impl Walk<'_> {
    fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    /// Asks, and compares with an error if one is expected. `None`: there is nothing more to compare.
    fn asked(&mut self, what: &str, sql: &str, error: Option<&str>) -> Result<std::result::Result<Comparison, Ended>> {
        self.said.push(sql.to_string());
        let answer = ask(self.client, sql);
        let after = clock();
        let moved = |at: i64| at > self.now && at <= after;
        let expired = self.world.holds.iter().any(|hold| hold.state == State::Held && moved(hold.expires_at));
        if expired || self.now.div_euclid(HOUR) != after.div_euclid(HOUR) {
            return Ok(Err(Ended::Unclear));
        }
        match (answer, error) {
            (Ok(row), None) => Ok(Ok(Comparison { row, at: 0, wrong: Vec::new() })),
            (Err((state, _)), Some(expected)) if state == expected => {
                self.count(format!("{what}: {expected}"));
                Ok(Err(Ended::Refused))
            }
            (Ok(row), Some(expected)) => bail!("expected {expected}, came {row:?}"),
            (Err((state, message)), None) => bail!("came {state}: {message}"),
            (Err((state, message)), Some(expected)) => bail!("expected {expected}, came {state}: {message}"),
        }
    }

    fn chance(&mut self, in_hundred: u32) -> bool {
        self.rng.random_ratio(in_hundred, 100)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    fn subject(&mut self) -> Subject {
        let tenant = tenant(self.rng.random_range(0..TENANTS));
        let user = Some(self.rng.random_range(0..=USERS)).filter(|number| *number > 0).map(user);
        let resource = if self.chance(75) { Resource::Llm } else { Resource::E2b };
        Subject { tenant: Some(tenant), user, resource }
    }

    fn amount(&mut self) -> i64 {
        const NANO: i64 = 1_000;
        const CENT: i64 = 10_000_000_000;
        match self.rng.random_range(0..20) {
            0 => 0,
            1..4 => self.rng.random_range(1..5 * NANO),
            4..8 => self.rng.random_range(1..CENT),
            8..18 => self.rng.random_range(CENT / 10..10 * CENT) / NANO * NANO,
            _ => self.rng.random_range(10 * CENT..150 * CENT),
        }
    }

    /// Mostly one that nobody has used.
    fn request(&mut self, one_in: u32, used: &[String]) -> String {
        if !used.is_empty() && self.rng.random_ratio(1, one_in) {
            return used[self.rng.random_range(used.len().saturating_sub(30)..used.len())].clone();
        }
        format!("r{}", self.rng.random_range(0..u64::MAX))
    }

    /// Mostly one of the tenant's, or of any tenant's, that is still open.
    fn any_hold(&mut self) -> Option<Hold> {
        let open_only = self.chance(75);
        let now = self.now;
        let expired_only = self.chance(15);
        let holds: Vec<&Hold> = self
            .world
            .holds
            .iter()
            .filter(|hold| match (expired_only, open_only) {
                (true, _) => hold.has_expired(now),
                (false, true) => matches!(hold.state, State::Held | State::Expired),
                (false, false) => true,
            })
            .collect();
        match holds.len() {
            0 => None,
            len => Some(holds[self.rng.random_range(len.saturating_sub(40)..len)].clone()),
        }
    }

    /// What the told quota's figures may be after a charge: limit, spent, held, remaining.
    fn figures(&self, verdict: &Verdict, standing: &[Counted], spent: i64, held: i64) -> Vec<[Option<i64>; 4]> {
        verdict
            .told
            .iter()
            .filter_map(|told| standing.iter().find(|counted| counted.quota == *told))
            .map(|counted| {
                let limit = self.world.quotas[counted.quota].limit;
                let (spent, held) = (counted.spent + spent, counted.held + held);
                [limit, Some(spent), Some(held), limit.map(|limit| (limit - spent - held).max(0))]
            })
            .collect()
    }

    fn without(&self, standing: &mut [Counted], hold: &Hold) {
        for counted in standing {
            if hold.counts(self.now) && self.world.quotas[counted.quota].applies(hold.subject) {
                counted.held -= hold.nanos();
            }
        }
    }

    /// Status, and the figures of the told quota.
    fn compare_figures(
        &self,
        row: &mut Comparison,
        status: Status,
        figures: &[[Option<i64>; 4]],
        columns: &[(&str, usize)],
    ) {
        row.is("status", Some(status.name()));
        for (name, column) in columns {
            row.one_of(name, &figures.iter().map(|figures| figures[*column]).collect::<Vec<_>>());
        }
    }

    pub fn reserve(&mut self) -> Result<Ended> {
        let mut subject = self.subject();
        let used: Vec<String> = self
            .world
            .holds
            .iter()
            .filter(|hold| hold.subject.tenant == subject.tenant)
            .map(|hold| hold.request.clone())
            .collect();
        let request = self.request(6, &used);
        let mut amount = self.amount();
        let mut ttl = if self.chance(20) {
            SECOND + self.rng.random_range(0..SECOND / 4)
        } else {
            self.pick(&[60 * SECOND, 24 * HOUR, 8 * 24 * HOUR])
        };
        let known = self
            .world
            .holds
            .iter()
            .find(|hold| hold.subject.tenant == subject.tenant && hold.request == request)
            .cloned();
        if let Some(known) = &known
            && self.chance(70)
        {
            (subject, amount, ttl) = (known.subject, known.requested, known.ttl);
        }
        let sql = format!(
            "select allowed, reservation_id, reserved_usd, (extract(epoch from expires_at) * 1000000)::bigint, replayed,
                    retryable, blocked_scope, blocked_resource_type, status, limit_usd, current_spend_usd, remaining_usd
             from public.reserve_quota({}, '{}', {}, '{request}', {}, {})",
            quoted(subject.tenant),
            subject.resource.name(),
            usd(amount),
            quoted(subject.user),
            interval(ttl)
        );
        let columns = [("limit_usd", 0), ("current_spend_usd", 1), ("remaining_usd", 3)];
        let standing = self.world.standing(subject, self.now, self.now);
        if let Some(known) = known {
            let same = (known.subject, known.requested, known.ttl) == (subject, amount, ttl);
            let mut row = match self.asked("reserve again", &sql, (!same).then_some("23505"))? {
                Ok(row) => row,
                Err(ended) => return Ok(ended),
            };
            let verdict = self.world.judge(&standing, 0, self.now);
            row.says("allowed", true);
            row.is("reservation_id", Some(known.id));
            row.money("reserved_usd", Some(known.requested));
            row.is("expires_at", Some(known.reserved_at + known.ttl));
            row.says("replayed", true);
            row.says("retryable", false);
            row.pass(2);
            let figures = self.figures(&verdict, &standing, 0, 0);
            self.compare_figures(&mut row, verdict.status, &figures, &columns);
            row.end()?;
            self.count("reserve again: replayed");
            return Ok(Ended::Well);
        }
        let nanos = ceil_nanos(amount);
        let verdict = self.world.judge(&standing, nanos, self.now);
        let mut row = match self.asked("reserve", &sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", verdict.allowed);
        if verdict.allowed {
            let id = row.id("reservation_id");
            row.money("reserved_usd", Some(amount));
            let expires_at = row.between("expires_at", self.now + ttl, clock() + ttl);
            row.says("replayed", false);
            row.says("retryable", false);
            row.pass(2);
            let figures = self.figures(&verdict, &standing, 0, nanos);
            self.compare_figures(&mut row, verdict.status, &figures, &columns);
            row.end()?;
            self.world.holds.push(Hold {
                id,
                subject,
                request,
                requested: amount,
                ttl,
                reserved: amount,
                reserved_at: expires_at - ttl,
                expires_at,
                state: State::Held,
                settled: None,
            });
            self.count("reserve: held");
        } else {
            row.is("reservation_id", None::<Uuid>);
            row.money("reserved_usd", None);
            row.is("expires_at", None::<i64>);
            row.says("replayed", false);
            row.says("retryable", verdict.retryable);
            let blocking = &self.world.quotas[verdict.told[0]];
            row.is("blocked_scope", Some(blocking.scope.name()));
            row.is("blocked_resource_type", Some(blocking.resource.name()));
            let figures = self.figures(&verdict, &standing, 0, 0);
            self.compare_figures(&mut row, verdict.status, &figures, &columns);
            row.end()?;
            self.count(if verdict.retryable { "reserve: refused, retryable" } else { "reserve: refused" });
        }
        Ok(Ended::Well)
    }

    /// An id that may be unknown, and a tenant that may be another.
    fn named(&mut self, hold: &Hold) -> (Uuid, Option<Uuid>, bool) {
        match self.rng.random_range(0..40) {
            0 => (Uuid::from_u128(1), None, false),
            1 => (hold.id, Some(Uuid::from_u128(2)), false),
            2..20 => (hold.id, hold.subject.tenant, true),
            _ => (hold.id, None, true),
        }
    }

    /// What it costs: less than is held, as much, or more.
    fn cost_near(&mut self, reserved: i64) -> i64 {
        match self.rng.random_range(0..10) {
            0 => 0,
            1..6 => self.rng.random_range(0..=reserved),
            6..8 => reserved,
            _ => reserved + self.amount() / 4,
        }
    }

    /// Settles a hold in the model.
    fn settle(&mut self, hold: &Hold, subject: Subject, cost: i64) -> Settled {
        let now = self.now;
        let late = hold.has_expired(now);
        let settled = Settled {
            charged: cost,
            released: if late { 0 } else { (hold.reserved - cost).max(0) },
            overrun: (cost - hold.reserved).max(0),
            late,
        };
        let noted = settled.clone();
        let (id, at) = (hold.id, hold.reserved_at);
        self.world.change(at, now, |world| {
            let hold = world.hold_mut(id);
            hold.state = State::Committed;
            hold.settled = Some(noted);
            world.spend(subject, at, ceil_nanos(cost));
        });
        settled
    }

    pub fn commit(&mut self) -> Result<Ended> {
        let Some(hold) = self.any_hold() else { return Ok(Ended::Well) };
        let (id, of, is_known) = self.named(&hold);
        let mut cost = self.cost_near(hold.reserved);
        if let Some(settled) = &hold.settled
            && self.chance(70)
        {
            cost = settled.charged;
        }
        let reject = self.chance(30);
        let policy = if reject { "reject" } else { "record" };
        let sql = format!(
            "select status, charged_usd, released_usd, overrun_usd, late, replayed
             from public.commit_reservation('{id}', {}, '{policy}', {})",
            usd(cost),
            quoted(of)
        );
        let again = hold.settled.clone().filter(|_| hold.state == State::Committed);
        let error = match (&hold.state, &again) {
            _ if !is_known => Some("P0002"),
            (State::Committed, Some(settled)) if settled.charged != cost => Some("23505"),
            (State::Released, _) => Some("55000"),
            _ => None,
        };
        let mut row = match self.asked("commit", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let replayed = again.is_some();
        let rejected = !replayed && reject && cost > hold.reserved;
        let settled = match again {
            Some(settled) => settled,
            None if rejected => {
                let late = hold.has_expired(self.now);
                Settled { charged: 0, released: 0, overrun: cost - hold.reserved, late }
            }
            None => self.settle(&hold, hold.subject, cost),
        };
        row.is("status", Some(if rejected { "rejected" } else { "committed" }));
        row.money("charged_usd", Some(settled.charged));
        row.money("released_usd", Some(settled.released));
        row.money("overrun_usd", Some(settled.overrun));
        row.says("late", settled.late);
        row.says("replayed", replayed);
        row.end()?;
        self.count(match (rejected, replayed, settled.late, settled.overrun > 0) {
            (true, ..) => "commit: rejected",
            (_, true, ..) => "commit: replayed",
            (_, _, true, _) => "commit: late",
            (_, _, _, true) => "commit: overrun",
            _ => "commit: within",
        });
        Ok(Ended::Well)
    }

    pub fn release(&mut self) -> Result<Ended> {
        let Some(hold) = self.any_hold() else { return Ok(Ended::Well) };
        let (id, of, is_known) = self.named(&hold);
        let sql = format!(
            "select status, released_usd, replayed from public.release_reservation('{id}', 'no need', {})",
            quoted(of)
        );
        let error = match hold.state {
            _ if !is_known => Some("P0002"),
            State::Committed => Some("55000"),
            _ => None,
        };
        let mut row = match self.asked("release", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let replayed = hold.state != State::Held;
        let expired = hold.has_expired(self.now);
        row.is("status", Some(if expired { "expired" } else { "released" }));
        row.money("released_usd", Some(if expired { 0 } else { hold.reserved }));
        row.says("replayed", replayed);
        row.end()?;
        let state = if expired { State::Expired } else { State::Released };
        self.world.change(hold.reserved_at, self.now, |world| world.hold_mut(hold.id).state = state);
        self.count(match (expired, replayed) {
            (_, true) => "release: replayed",
            (true, _) => "release: expired",
            (false, _) => "release: freed",
        });
        Ok(Ended::Well)
    }

    pub fn extend(&mut self) -> Result<Ended> {
        let Some(mut hold) = self.any_hold() else { return Ok(Ended::Well) };
        let used: Vec<String> = self
            .world
            .extensions
            .keys()
            .filter(|(tenant, _)| *tenant == hold.subject.tenant)
            .map(|(_, request)| request.clone())
            .collect();
        let request = self.chance(60).then(|| self.request(4, &used));
        let mut ttl = match self.rng.random_range(0..4) {
            0 => None,
            1 => Some(SECOND + self.rng.random_range(0..SECOND / 4)),
            _ => Some(self.pick(&[120 * SECOND, 36 * HOUR])),
        };
        let mut additional = self.chance(if ttl.is_none() { 100 } else { 50 }).then(|| self.amount());
        let known =
            request.as_ref().and_then(|it| self.world.extensions.get(&(hold.subject.tenant, it.clone()))).cloned();
        if let Some(known) = &known
            && self.chance(70)
            && let Some(extended) = self.world.hold(known.hold).cloned()
        {
            (hold, ttl, additional) = (extended, known.ttl, known.additional);
        }
        let sql = format!(
            "select allowed, reserved_usd, (extract(epoch from expires_at) * 1000000)::bigint, retryable, replayed, status
             from public.extend_reservation('{}', {}, {}, {})",
            hold.id,
            ttl.map_or("null".to_string(), interval),
            additional.map_or("null".to_string(), usd),
            quoted(request.as_ref())
        );
        if let Some(known) = known {
            let same = (known.hold, known.ttl, known.additional) == (hold.id, ttl, additional);
            let mut row = match self.asked("extend again", &sql, (!same).then_some("23505"))? {
                Ok(row) => row,
                Err(ended) => return Ok(ended),
            };
            row.says("allowed", true);
            row.money("reserved_usd", Some(known.reserved));
            row.is("expires_at", Some(known.expires_at));
            row.says("retryable", false);
            row.says("replayed", true);
            row.end()?;
            self.count("extend again: replayed");
            return Ok(Ended::Well);
        }
        let error = matches!(hold.state, State::Committed | State::Released).then_some("55000");
        let expired = hold.has_expired(self.now);
        let reserved = hold.reserved + additional.unwrap_or_default();
        let wanted = ceil_nanos(reserved);
        let mut standing = self.world.standing(hold.subject, hold.reserved_at, self.now);
        self.without(&mut standing, &hold);
        let verdict = self.world.judge(&standing, wanted, hold.reserved_at);
        let allowed = verdict.allowed || !(expired || wanted > hold.nanos());
        let mut row = match self.asked("extend", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", allowed);
        if !allowed {
            row.money("reserved_usd", Some(if expired { 0 } else { hold.reserved }));
            row.is("expires_at", Some(hold.expires_at));
            row.says("retryable", verdict.retryable);
            row.says("replayed", false);
            row.end()?;
            self.count(if expired { "extend: refused what had expired" } else { "extend: refused" });
            return Ok(Ended::Well);
        }
        row.money("reserved_usd", Some(reserved));
        let after = clock();
        let expires_at = match (ttl, expired) {
            (None, false) => row.between("expires_at", hold.expires_at, hold.expires_at),
            (Some(ttl), false) => {
                row.between("expires_at", hold.expires_at.max(self.now + ttl), hold.expires_at.max(after + ttl))
            }
            (ttl, true) => {
                let ttl = ttl.unwrap_or(hold.ttl);
                row.between("expires_at", self.now + ttl, after + ttl)
            }
        };
        row.says("retryable", false);
        row.says("replayed", false);
        row.is("status", Some(verdict.status.name()));
        row.end()?;
        self.world.change(hold.reserved_at, self.now, |world| {
            let hold = world.hold_mut(hold.id);
            (hold.state, hold.reserved, hold.expires_at) = (State::Held, reserved, expires_at);
        });
        if let Some(request) = request {
            let extension = Extension { hold: hold.id, ttl, additional, reserved, expires_at };
            self.world.extensions.insert((hold.subject.tenant, request), extension);
        }
        self.count(if expired { "extend: admitted again" } else { "extend: extended" });
        Ok(Ended::Well)
    }

    /// `record_llm_cost` or `record_e2b_cost`: plain, enforced, late, or on a reservation.
    pub fn record(&mut self) -> Result<Ended> {
        let mut subject = self.subject();
        let hold = if self.chance(60) { self.any_hold() } else { None };
        let mut wrong_user = false;
        if let Some(hold) = &hold {
            let asked = subject;
            subject = hold.subject;
            if self.chance(5) {
                subject.resource = asked.resource;
            }
            if self.chance(10) {
                subject.user = asked.user;
            }
            wrong_user = matches!((hold.subject.user, subject.user), (Some(held), Some(user)) if held != user);
        }
        let mut provided = match &hold {
            Some(hold) if self.chance(80) => Some(self.cost_near(hold.reserved)),
            Some(_) => None,
            None => Some(self.amount()),
        };
        let mut reservation = hold.as_ref().map(|hold| hold.id);
        let enforce = self.chance(60);
        let mut occurred = (hold.is_none() && !enforce && self.chance(20))
            .then(|| self.now - self.rng.random_range(0..30) * HOUR - self.rng.random_range(0..HOUR));
        let used: Vec<String> = self
            .world
            .records
            .iter()
            .filter(|record| record.subject.tenant == subject.tenant && record.subject.resource == subject.resource)
            .filter_map(|record| record.request.clone())
            .collect();
        let mut request = (occurred.is_none() && self.chance(70)).then(|| self.request(5, &used));
        let mut spoken = subject.user;
        if reservation.is_some() && self.chance(40) {
            spoken = None;
            wrong_user = false;
        }
        // The same again, also of one that settled a reservation.
        let repeatable: Vec<&Record> =
            self.world.records.iter().filter(|record| record.request.is_some()).rev().take(40).collect();
        let mut hold = hold;
        if !repeatable.is_empty() && self.rng.random_ratio(1, 8) {
            let again = repeatable[self.rng.random_range(0..repeatable.len())].clone();
            (subject, provided, reservation) = (again.subject, again.provided, again.reservation);
            (request, occurred, spoken, wrong_user) = (again.request, None, again.subject.user, false);
            hold = reservation.and_then(|id| self.world.hold(id)).cloned();
            if self.chance(15) {
                provided = provided.map(|cost| cost + 1);
            }
        }
        let effective_user = spoken.or(hold.as_ref().and_then(|hold| hold.subject.user));
        let subject = Subject { user: effective_user, ..subject };
        let (function, what) = match subject.resource {
            Resource::E2b => ("public.record_e2b_cost", "'box', 'a type', 1"),
            _ => ("public.record_llm_cost", "'acme', 'a model', 1, 1"),
        };
        let sql = format!(
            "select recorded, cost_record_id, cost_usd, cost_status, replayed, retryable, overrun_usd, quota_status, remaining_usd
             from {function}({}, {what}, p_user_id => {}, p_cost_usd => {}, p_request_id => {},
                 p_reservation_id => {}, p_enforce => {enforce}, p_occurred_at => {})",
            quoted(subject.tenant),
            quoted(spoken),
            provided.map_or("null".to_string(), usd),
            quoted(request.as_ref()),
            quoted(reservation),
            occurred.map_or("null".to_string(), |at| format!("to_timestamp({}::numeric / 1000000)", at)),
        );
        let known = request.as_ref().and_then(|request| {
            self.world.records.iter().find(|record| {
                record.subject.tenant == subject.tenant
                    && record.subject.resource == subject.resource
                    && record.request.as_ref() == Some(request)
            })
        });
        let known = known.cloned();
        let fits = hold.as_ref().is_none_or(|hold| hold.subject.resource == subject.resource) && !wrong_user;
        let same = known.as_ref().is_some_and(|known| {
            (known.subject, known.provided, known.reservation) == (subject, provided, reservation)
        });
        let open = hold.as_ref().is_none_or(|hold| matches!(hold.state, State::Held | State::Expired));
        let error = match &known {
            _ if !fits => Some("22023"),
            Some(_) if !same => Some("23505"),
            Some(_) => None,
            None if !open => Some("55000"),
            None => None,
        };
        let at = hold.as_ref().map_or(occurred.unwrap_or(self.now), |hold| hold.reserved_at);
        let present = if known.is_some() { self.now } else { at };
        let mut standing = self.world.standing(subject, present, self.now);
        let mut row = match self.asked("record", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let told = [("remaining_usd", 3)];
        if let Some(known) = known {
            let verdict = self.world.judge(&standing, 0, self.now);
            row.says("recorded", true);
            row.is("cost_record_id", Some(known.id));
            row.money("cost_usd", Some(known.cost));
            row.is("cost_status", Some(if known.provided.is_some() { "provided" } else { "estimated" }));
            row.says("replayed", true);
            row.says("retryable", false);
            row.money("overrun_usd", Some(0));
            let figures = self.figures(&verdict, &standing, 0, 0);
            self.compare_figures(&mut row, verdict.status, &figures, &told);
            row.end()?;
            self.count("record again: replayed");
            return Ok(Ended::Well);
        }
        let cost = provided.or(hold.as_ref().map(|hold| hold.reserved)).unwrap_or_default();
        let nanos = ceil_nanos(cost);
        if let Some(hold) = &hold {
            self.without(&mut standing, hold);
        }
        let verdict = self.world.judge(&standing, nanos, at);
        let recorded = verdict.allowed || !enforce || hold.is_some();
        row.says("recorded", recorded);
        if !recorded {
            row.is("cost_record_id", None::<Uuid>);
            row.money("cost_usd", Some(cost));
            row.is("cost_status", Some("provided"));
            row.says("replayed", false);
            row.says("retryable", verdict.retryable);
            row.money("overrun_usd", Some(0));
            let figures = self.figures(&verdict, &standing, 0, 0);
            self.compare_figures(&mut row, verdict.status, &figures, &told);
            row.end()?;
            self.count("record: refused");
            return Ok(Ended::Well);
        }
        let id = row.id("cost_record_id");
        row.money("cost_usd", Some(cost));
        row.is("cost_status", Some(if provided.is_some() { "provided" } else { "estimated" }));
        row.says("replayed", false);
        row.says("retryable", false);
        let settled = hold.as_ref().map(|hold| self.settle(hold, subject, cost));
        match &settled {
            Some(settled) => row.money("overrun_usd", Some(ceil_nanos(settled.overrun) * 1_000)),
            None => row.money("overrun_usd", Some(verdict.overrun * 1_000)),
        }
        let figures = self.figures(&verdict, &standing, nanos, 0);
        self.compare_figures(&mut row, verdict.status, &figures, &told);
        row.end()?;
        if settled.is_none() {
            self.world.spend(subject, at, nanos);
        }
        self.world.records.push(Record {
            id,
            subject,
            request,
            provided,
            cost,
            reservation,
            charged_at: at,
            refunded: 0,
        });
        self.count(match (&hold, enforce, occurred) {
            (Some(_), ..) => "record: on a reservation",
            (None, true, _) => "record: enforced",
            (None, false, Some(_)) => "record: of the past",
            _ => "record: plain",
        });
        Ok(Ended::Well)
    }

    /// `check_and_record_quota_atomic`.
    pub fn charge(&mut self) -> Result<Ended> {
        let mut subject = self.subject();
        if self.chance(10) {
            subject = Subject { tenant: None, user: None, ..subject };
        }
        let used: Vec<String> = self
            .world
            .bares
            .keys()
            .filter(|(tenant, request)| *tenant == subject.tenant && !request.starts_with("adjust"))
            .map(|(_, request)| request.clone())
            .collect();
        let request = self.chance(60).then(|| self.request(5, &used));
        let known = request.as_ref().and_then(|it| self.world.bares.get(&(subject.tenant, it.clone()))).cloned();
        let mut amount = self.amount();
        if let Some(known) = &known
            && self.chance(70)
        {
            (subject, amount) = (known.subject, known.cost);
        }
        let (scope, id, of) = match (subject.tenant, subject.user) {
            (None, _) => ("platform", None, None),
            (Some(tenant), None) => ("tenant", Some(tenant), None),
            (tenant, Some(user)) => ("user", Some(user), tenant),
        };
        let sql = format!(
            "select allowed, limit_usd, current_spend_usd, remaining_usd
             from public.check_and_record_quota_atomic('{scope}', {}, {}, '{}', {}, {})",
            quoted(id),
            usd(amount),
            subject.resource.name(),
            quoted(of),
            quoted(request.as_ref())
        );
        let standing = self.world.standing(subject, self.now, self.now);
        let same = known.as_ref().is_some_and(|known| (known.subject, known.cost) == (subject, amount));
        let error = (known.is_some() && !same).then_some("23505");
        let mut row = match self.asked("charge", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let nanos = if known.is_some() { 0 } else { ceil_nanos(amount) };
        let verdict = self.world.judge(&standing, nanos, self.now);
        let allowed = verdict.allowed || known.is_some();
        row.says("allowed", allowed);
        let figures = self.figures(&verdict, &standing, if allowed { nanos } else { 0 }, 0);
        for (name, column) in [("limit_usd", 0), ("current_spend_usd", 1), ("remaining_usd", 3)] {
            row.one_of(name, &figures.iter().map(|figures| figures[column]).collect::<Vec<_>>());
        }
        row.end()?;
        if known.is_none() && allowed {
            self.world.spend(subject, self.now, nanos);
            if let Some(request) = request {
                self.world.bares.insert((subject.tenant, request), Bare { id: None, subject, cost: amount });
            }
        }
        self.count(match (known.is_some(), allowed) {
            (true, _) => "charge: replayed",
            (false, true) => "charge: charged",
            (false, false) => "charge: refused",
        });
        Ok(Ended::Well)
    }

    pub fn refund(&mut self) -> Result<Ended> {
        let len = self.world.records.len();
        if len == 0 {
            return Ok(Ended::Well);
        }
        let mut record = self.world.records[self.rng.random_range(len.saturating_sub(60)..len)].clone();
        let tenant = record.subject.tenant;
        let used: Vec<String> =
            self.world.refunds.keys().filter(|(of, _)| *of == tenant).map(|(_, request)| request.clone()).collect();
        let request = self.request(5, &used);
        let left = record.cost - record.refunded;
        let mut amount = match self.rng.random_range(0..8) {
            0 => left + 1,
            1..4 => left,
            _ => self.rng.random_range(0..=left),
        };
        let known = self.world.refunds.get(&(tenant, request.clone())).cloned();
        if let Some(known) = &known
            && self.chance(70)
            && let Some(refunded) = self.world.records.iter().find(|record| record.id == known.record)
        {
            (record, amount) = (refunded.clone(), known.amount);
        }
        let unknown = known.is_none() && self.chance(3);
        let id = if unknown { Uuid::from_u128(3) } else { record.id };
        let sql = format!(
            "select refund_id, refunded_usd, replayed from public.refund_cost('{id}', {}, '{request}', 'a gift')",
            usd(amount)
        );
        let error = match &known {
            _ if unknown => Some("P0002"),
            Some(known) if (known.record, known.amount) != (record.id, amount) => Some("23505"),
            Some(_) => None,
            None if amount > record.cost - record.refunded => Some("22023"),
            None => None,
        };
        let mut row = match self.asked("refund", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        if let Some(known) = known {
            row.is("refund_id", Some(known.id));
            row.money("refunded_usd", Some(amount));
            row.says("replayed", true);
            row.end()?;
            self.count("refund: replayed");
            return Ok(Ended::Well);
        }
        let refund = row.id("refund_id");
        row.money("refunded_usd", Some(amount));
        row.says("replayed", false);
        row.end()?;
        let before = record.cost - record.refunded;
        let nanos = ceil_nanos(before - amount) - ceil_nanos(before);
        let (subject, at) = (record.subject, record.charged_at);
        self.world.change(at, self.now, |world| {
            if let Some(record) = world.records.iter_mut().find(|it| it.id == record.id) {
                record.refunded += amount;
            }
            world.spend(subject, at, nanos);
        });
        self.world.refunds.insert((tenant, request), Refund { id: refund, record: record.id, amount });
        self.count("refund: refunded");
        Ok(Ended::Well)
    }

    pub fn adjust(&mut self) -> Result<Ended> {
        let quota = self.world.quotas[self.rng.random_range(0..self.world.quotas.len())].clone();
        let mut subject = Subject { tenant: quota.tenant, user: quota.user, resource: quota.resource };
        let used: Vec<String> = self
            .world
            .bares
            .keys()
            .filter(|(tenant, request)| *tenant == subject.tenant && request.starts_with("adjust"))
            .map(|(_, request)| request.clone())
            .collect();
        let request = match self.request(5, &used) {
            again if again.starts_with("adjust") => again,
            other => format!("adjust{other}"),
        };
        let amount = self.amount();
        let mut delta = if self.chance(60) { -amount } else { amount / 4 };
        let known = self.world.bares.get(&(subject.tenant, request.clone())).cloned();
        if let Some(known) = &known
            && self.chance(60)
        {
            delta = known.cost;
        }
        let sql = format!(
            "select adjustment_id, current_spend_usd, replayed
             from copilot_internal.adjust_quota('{}', {}, '{request}', 'a gift')",
            quota.id,
            usd(delta)
        );
        let nanos = ceil_nanos(delta);
        let standing = self.world.standing(subject, self.now, self.now);
        let error = match &known {
            Some(known) if (known.subject, known.cost) != (subject, delta) => Some("23505"),
            Some(_) => None,
            None if standing.iter().any(|counted| counted.spent + nanos < 0) => Some("22023"),
            None => None,
        };
        let mut row = match self.asked("adjust", &sql, error)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let spent = standing
            .iter()
            .find(|counted| self.world.quotas[counted.quota].id == quota.id)
            .map_or(0, |counted| counted.spent);
        let id = row.id("adjustment_id");
        row.money("current_spend_usd", Some((spent + if known.is_some() { 0 } else { nanos }) * 1_000));
        row.says("replayed", known.is_some());
        if known.as_ref().is_some_and(|known| known.id != Some(id)) {
            row.wrong.push(format!("adjustment_id is {id}, not {known:?}"));
        }
        row.end()?;
        if known.is_some() {
            self.count("adjust: replayed");
            return Ok(Ended::Well);
        }
        subject.resource = quota.resource;
        self.world.change(self.now, self.now, |world| world.spend(subject, self.now, nanos));
        self.world.bares.insert((subject.tenant, request), Bare { id: Some(id), subject, cost: delta });
        self.count(if delta < 0 { "adjust: given back" } else { "adjust: charged" });
        Ok(Ended::Well)
    }

    pub fn maintain(&mut self) -> Result<Ended> {
        let limit = self.pick(&[1, 3, 20, 10_000]);
        let sql = format!("select sum(done) filter (where task = 'expire') from copilot_internal.maintain({limit})");
        let mut row = match self.asked("maintain", &sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let now = self.now;
        let mut expired: Vec<(i64, Uuid)> = self
            .world
            .holds
            .iter()
            .filter(|hold| hold.state == State::Held && hold.expires_at <= now)
            .map(|hold| (hold.expires_at, hold.id))
            .collect();
        expired.sort();
        expired.truncate(limit as usize);
        row.is("expired", Some(expired.len()));
        row.end()?;
        for (_, id) in &expired {
            self.world.hold_mut(*id).state = State::Expired;
        }
        self.count(if expired.is_empty() { "maintain: nothing expired" } else { "maintain: marked expired" });
        Ok(Ended::Well)
    }

    /// What a look tells of a subject: every figure of the quota that it tells about.
    pub fn look(&mut self) -> Result<Ended> {
        let subject = self.subject();
        let amount = self.amount();
        let sql = format!(
            "select allowed, retryable, status, limit_usd, current_spend_usd, reserved_usd, remaining_usd
             from public.check_quota_before_operation({}, '{}', {}, {})",
            quoted(subject.tenant),
            subject.resource.name(),
            usd(amount),
            quoted(subject.user)
        );
        let standing = self.world.standing(subject, self.now, self.now);
        let verdict = self.world.judge(&standing, ceil_nanos(amount), self.now);
        let figures = self.figures(&verdict, &standing, 0, 0);
        let mut row = match self.asked("look", &sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        row.says("allowed", verdict.allowed);
        row.says("retryable", verdict.retryable);
        let columns = [("limit_usd", 0), ("current_spend_usd", 1), ("reserved_usd", 2), ("remaining_usd", 3)];
        self.compare_figures(&mut row, verdict.status, &figures, &columns);
        row.end()?;
        Ok(Ended::Well)
    }

    /// Every row of `metrics.quota_status`; outside of transactions.
    pub fn view(&mut self) -> Result<Ended> {
        let sql =
            "select string_agg(format('%s %s %s %s', q.id, s.limit_usd, s.current_spend_usd, s.reserved_usd), ',')
             from metrics.quota_status s
             join copilot_internal.cost_quotas q on q.scope = s.scope and q.scope_id is not distinct from s.scope_id
              and q.tenant_id is not distinct from s.tenant_id
              and q.resource_type = s.resource_type and q.period = s.period";
        let mut row = match self.asked("view", sql, None)? {
            Ok(row) => row,
            Err(ended) => return Ok(ended),
        };
        let text = row.next().unwrap_or_default();
        let rows: Vec<Vec<&str>> = text.split(',').map(|row| row.split(' ').collect()).collect();
        if rows.len() != self.world.quotas.len() {
            bail!("metrics.quota_status has {} rows of {} quotas: {text}", rows.len(), self.world.quotas.len());
        }
        for (number, quota) in self.world.quotas.iter().enumerate() {
            let subject = Subject { tenant: quota.tenant, user: quota.user, resource: quota.resource };
            let standing = self.world.standing(subject, self.now, self.now);
            let Some(counted) = standing.iter().find(|counted| counted.quota == number) else { continue };
            let id = quota.id.to_string();
            let shown = rows.iter().find(|row| row[0] == id).map(|row| [picos(row[2]), picos(row[3])]);
            let expected = [counted.spent, counted.held].map(|nanos| Some(nanos * 1_000));
            if shown != Some(expected) {
                bail!("metrics.quota_status shows {shown:?} of {quota:?}, not {expected:?}");
            }
        }
        Ok(Ended::Well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_as_it_is_written() {
        for amount in [0, 1, -1, 1_000_000_000_000, -2_500_000_000_001] {
            assert_eq!(picos(&usd(amount)), Some(amount));
        }
        assert_eq!(picos("1"), Some(1_000_000_000_000));
        assert_eq!(picos("0.0000000000001"), None);
    }
}
