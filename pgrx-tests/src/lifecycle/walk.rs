//! A step at work: what it can reach, and how it asks.

use anyhow::{Result, bail};
use postgres::{Client, SimpleQueryMessage};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use uuid::Uuid;

use super::amounts::clock;
use super::comparison::Comparison;
use super::model::{
    Counted, HOUR, Hold, ModelWorld, Payer, Prediction, ReservationState, Resource, Settlement, Status, ceil_nanos,
};

/// What became of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Well,
    /// With the error that was expected: the transaction, or the part since its savepoint, is gone.
    Refused,
    /// Something expired or a period ended while it ran, so that the model cannot say what should have come.
    Unclear,
}

/// A row as text, or an SQLSTATE with its message.
type RowOrError = std::result::Result<Vec<Option<String>>, (String, String)>;

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
    pub world: &'a mut ModelWorld,
    pub rng: &'a mut ChaCha8Rng,
    pub now: i64,
    /// The earliest expiry of the holds that this transaction has made active. Counters keep it, and what expires later.
    pub active_expiry: &'a mut i64,
    /// Every statement so far, for the reader of a failure.
    pub said: &'a mut Vec<String>,
    /// How often each kind of answer came.
    pub tally: &'a mut std::collections::BTreeMap<String, u64>,
}

/// The first row of a query whose columns are named in the order in which they are compared.
pub fn ask(client: &mut Client, sql: &str) -> RowOrError {
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

impl Walk<'_> {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    /// Asks, and compares with an error if one is expected. `None`: there is nothing more to compare.
    pub fn asked(
        &mut self,
        what: &str,
        sql: &str,
        error: Option<&str>,
    ) -> Result<std::result::Result<Comparison, Ended>> {
        self.said.push(sql.to_string());
        let answer = ask(self.client, sql);
        let after = clock();
        let moved = |at: i64| at > self.now && at <= after;
        let expired =
            self.world.holds.iter().any(|hold| hold.state == ReservationState::Held && moved(hold.expires_at));
        if expired || self.now.div_euclid(HOUR) != after.div_euclid(HOUR) {
            return Ok(Err(Ended::Unclear));
        }
        match (answer, error) {
            (Ok(row), None) => Ok(Ok(Comparison::new(row))),
            (Err((state, _)), Some(expected)) if state == expected => {
                self.count(format!("{what}: {expected}"));
                Ok(Err(Ended::Refused))
            }
            (Ok(row), Some(expected)) => bail!("expected {expected}, came {row:?}"),
            (Err((state, message)), None) => bail!("came {state}: {message}"),
            (Err((state, message)), Some(expected)) => bail!("expected {expected}, came {state}: {message}"),
        }
    }

    pub fn chance(&mut self, in_hundred: u32) -> bool {
        self.rng.random_ratio(in_hundred, 100)
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    pub fn payer(&mut self) -> Payer {
        let tenant = tenant(self.rng.random_range(0..TENANTS));
        let user = Some(self.rng.random_range(0..=USERS)).filter(|number| *number > 0).map(user);
        let resource = if self.chance(75) { Resource::Llm } else { Resource::E2b };
        Payer { tenant: Some(tenant), user, resource }
    }

    pub fn amount(&mut self) -> i64 {
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

    /// Mostly an unused one.
    pub fn request(&mut self, one_in: u32, used: &[String]) -> String {
        if !used.is_empty() && self.rng.random_ratio(1, one_in) {
            return used[self.rng.random_range(used.len().saturating_sub(30)..used.len())].clone();
        }
        format!("r{}", self.rng.random_range(0..u64::MAX))
    }

    /// Mostly one of the tenant's, or of any tenant's, that is still open.
    pub fn any_hold(&mut self) -> Option<Hold> {
        let open_only = self.chance(75);
        let now = self.now;
        let expired_only = self.chance(15);
        let holds: Vec<&Hold> = self
            .world
            .holds
            .iter()
            .filter(|hold| match (expired_only, open_only) {
                (true, _) => hold.has_expired(now),
                (false, true) => matches!(hold.state, ReservationState::Held | ReservationState::Expired),
                (false, false) => true,
            })
            .collect();
        let hold = match holds.len() {
            0 => return None,
            len => holds[self.rng.random_range(len.saturating_sub(40)..len)].clone(),
        };
        *self.active_expiry = hold.expires_at.min(*self.active_expiry);
        Some(hold)
    }

    /// What the told quota's figures may be after a charge: limit, spent, held, remaining.
    pub fn figures(
        &self,
        prediction: &Prediction,
        standing: &[Counted],
        spent: i64,
        held: i64,
    ) -> Vec<[Option<i64>; 4]> {
        prediction
            .told
            .iter()
            .filter_map(|told| standing.iter().find(|counted| counted.quota == *told))
            .map(|counted| {
                let limit = self.world.quotas[counted.quota].limit;
                let used = counted.spent + spent + counted.held + held;
                // No more is shown as held than there is of both.
                let held = (counted.held + held).clamp(0, used.max(0));
                [limit, Some(used - held), Some(held), limit.map(|limit| (limit - used).max(0))]
            })
            .collect()
    }

    pub fn without(&self, standing: &mut [Counted], hold: &Hold) {
        for counted in standing {
            if hold.counts(self.now) && self.world.quotas[counted.quota].applies(hold.payer) {
                counted.held -= hold.nanos();
            }
        }
    }

    /// Status, and the figures of the told quota.
    pub fn compare_figures(
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

    /// An id that may be unknown, and a tenant that may be another.
    pub fn named(&mut self, hold: &Hold) -> (Uuid, Option<Uuid>, bool) {
        match self.rng.random_range(0..40) {
            0 => (Uuid::from_u128(1), None, false),
            1 => (hold.id, Some(Uuid::from_u128(2)), false),
            2..20 => (hold.id, hold.payer.tenant, true),
            _ => (hold.id, None, true),
        }
    }

    /// What it costs: less than is held, as much, or more.
    pub fn cost_near(&mut self, reserved: i64) -> i64 {
        match self.rng.random_range(0..10) {
            0 => 0,
            1..6 => self.rng.random_range(0..=reserved),
            6..8 => reserved,
            _ => reserved + self.amount() / 4,
        }
    }

    /// Settles a hold in the model.
    pub fn settle(&mut self, hold: &Hold, payer: Payer, cost: i64) -> Settlement {
        let now = self.now;
        let late = hold.has_expired(now);
        let settled = Settlement {
            charged: cost,
            released: if late { 0 } else { (hold.reserved - cost).max(0) },
            overrun: (cost - hold.reserved).max(0),
            late,
        };
        let noted = settled.clone();
        let (id, at) = (hold.id, hold.reserved_at);
        self.world.change(at, now, |world| {
            world.change_hold(id, |hold| {
                hold.state = ReservationState::Committed;
                hold.settled = Some(noted);
            });
            world.spend(payer, at, ceil_nanos(cost));
        });
        settled
    }
}
